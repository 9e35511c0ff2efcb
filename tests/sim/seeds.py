"""Worlds made of dice: one seed, one plan, one weather, one long list of misfortunes, and every invariant checked on the way.

`calm` seeds have no loss and always one SBC that answers, so they promise more: whatever dies or is edited, no call is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from sipctl.routing.snapshot import Admin, Probe
from sipctl.testing.caller import Script
from sipctl.testing.ledger import TIMED_OUT, CallNote
from sipctl.testing.sbc import ANSWER, RING_FOR_EVER, SILENT, TRYING_ONLY, Behaviour, refuse
from sipctl.testing.wire import Address, Message
from tests.support.network import Weather
from tests.support.router_host import Doom
from tests.support.world import World
from tests.support.world_plan import SALES, SERVICE, Plan

MAX_EVENTS: Final = 2000
LIVELY_EVENTS: Final = 1500  # after so many, no new misfortune: the rest is for the end
HORIZON_S: Final = 45.0
METHODS: Final = ("INFO", "INVITE", "OPTIONS", "UPDATE")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed did."""

    digest: str
    events: int
    calls: int
    answered: int
    deaths: int
    messages: int  # said by the router and judged


def run_seed(seed: int) -> Outcome:
    """Run one world to its end.

    Raises: AssertionError with the seed and the tail of the story, the moment an invariant is broken.
    """
    return Fate(seed).run()


class Fate:
    """Decides what happens to one world."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.calm = seed % 4 == 0
        self.world = World(seed, self._a_plan(), self._a_weather(), bcp_percent=self.dice.choice((0, 0, 100, 50)))
        self.notes: list[CallNote] = []
        self.cut: set[tuple[str, str]] = set()  # (source host, destination host) pairs the network does not connect
        for name, sbc in self.world.sbcs.items():
            sbc.behave = self._behaviour_of(name)

    def run(self) -> Outcome:
        world, dice = self.world, self.dice
        world.network.drop = self._is_cut
        for _ in range(dice.randrange(8, 26)):
            world.at(dice.uniform(0.0, HORIZON_S * 0.8), self._place)
        misfortunes = self._calm_misfortunes() if self.calm else self._misfortunes()
        for _ in range(dice.randrange(3, 14)):
            world.at(dice.uniform(0.5, HORIZON_S), dice.choice(misfortunes))
        for at_s in range(5, int(HORIZON_S), 5):
            world.at(float(at_s), world.invariants.check_legs)
        world.run(HORIZON_S, max_events=LIVELY_EVENTS)
        self._heal()
        world.finish()
        if self.calm:
            self._nothing_was_lost()
        assert world.events <= MAX_EVENTS, f"seed {world.seed}: {world.events} events"
        answered = sum(note.answered_s is not None for note in self.notes)
        return Outcome(world.digest, world.events, len(self.notes), answered, world.router.deaths, world.invariants.checked)

    # -- what the world is made of ---------------------------------------------------------------------------------------------

    def _a_plan(self) -> Plan:
        dice = self.dice
        tcp = not self.calm and dice.random() < 0.25
        return Plan(
            shared_dialogs=dice.random() < 0.3, symmetric=dice.random() < 0.3, tcp_trunks=tcp and dice.random() < 0.6,
            tcp_sbcs=tcp and dice.random() < 0.6, no_progress_s=dice.choice((2.0, 6.0)),
            probe=None if dice.random() < 0.4 else Probe(interval_s=6.0), exhausted=dice.choice((480, 503)),
            strategy=dice.choice(("active-standby", "active-standby", "load-share")),
            advance_across="both" if self.calm else dice.choice(("to-bcp", "to-bcp", "both", "never")),
            sbc_max_calls=None if self.calm else dice.choice((None, None, 3)),
            trunk_max_calls=None if self.calm else dice.choice((None, None, 6)),
        )  # fmt: skip

    def _a_weather(self) -> Weather:
        dice = self.dice
        if self.calm:
            delay_s, jitter_s = dice.uniform(0.001, 0.02), dice.choice((0.0, 0.005))
            return Weather(delay_s=delay_s, jitter_s=jitter_s, duplicate=dice.choice((0.0, 0.2)))
        return Weather(
            delay_s=dice.uniform(0.001, 0.05), jitter_s=dice.choice((0.0, 0.02, 0.3)), loss=dice.choice((0.0, 0.02, 0.1, 0.2)),
            duplicate=dice.choice((0.0, 0.05, 0.2)),
        )  # fmt: skip

    def _behaviour_of(self, name: str) -> Callable[[Message], Behaviour]:
        return lambda invite: self._a_behaviour(name)

    def _a_behaviour(self, name: str) -> Behaviour:
        dice = self.dice
        final_s = dice.choice((0.05, 0.3, 1.0, 1.4, 4.0))
        then = ((dice.uniform(1.0, 20.0), dice.choice((*METHODS, "BYE"))),) if dice.random() < 0.4 else ()
        ring_s = 0.02 if self.calm else dice.choice((0.02, 0.02, None))
        ring_s = 0.02 if self.calm else dice.choice((0.02, 0.02, None))
        answer = Behaviour(
            trying_s=dice.choice((0.0, 0.0, 0.2)), ring_s=ring_s, final_s=final_s, then=then,
            answers_despite_cancel=dice.random() < 0.2,
        )  # fmt: skip
        if self.calm:
            well = name.endswith("b") or dice.random() < 0.7
            return answer if well else dice.choice((SILENT, refuse(503), refuse(500, after_s=0.6)))
        return dice.choice((
            answer, answer, answer, answer, ANSWER, SILENT, TRYING_ONLY, RING_FOR_EVER, refuse(486), refuse(500, after_s=1.2),
            refuse(503, retry_after_s=dice.randrange(1, 20)), refuse(500, cause=17), refuse(503, after_s=final_s),
            Behaviour(trying_s=None, ring_s=None, final_s=final_s), Behaviour(trying_s=None, ring_s=1.2, final_s=3.0),
            Behaviour(final_s=final_s, forks=1), Behaviour(final_s=final_s, status=404),
        ))  # fmt: skip

    def _place(self) -> None:
        dice = self.dice
        last_s = dice.uniform(0.1, 30.0)
        then = tuple(sorted((dice.uniform(0.0, last_s), dice.choice(METHODS)) for _ in range(dice.randrange(3))))
        cancel_after_s = dice.choice((0.0, 0.1, 0.7, 1.2, 3.0)) if dice.random() < 0.2 else None
        script = Script(
            cancel_after_s=cancel_after_s, then=(*then, (last_s, "BYE")), calling=f"+49151{dice.randrange(50):07d}",
            patience_s=60.0, offer=dice.random() < 0.9,
        )  # fmt: skip
        called = SALES if self.calm or dice.random() < 0.8 else dice.choice((SERVICE, "+49309"))
        caller = "carrier-one" if self.calm else dice.choice(("carrier-one", "carrier-one", "carrier-two"))
        self.notes.append(self.world.call(called, script, caller=caller))

    # -- what happens to it ----------------------------------------------------------------------------------------------------

    def _calm_misfortunes(self) -> list[Callable[[], None]]:
        return [self._kill, self._kill, self._doom_outputs, self._doom_lines, self._decide, self._edit, self.world.new_controller]

    def _misfortunes(self) -> list[Callable[[], None]]:
        more = [self._silence, self._silence, self._partition, self._leave_plan, self._admin, self._drain_node, self._stand_still]
        return [*self._calm_misfortunes(), *more, self._weather, self._port_closes]

    def _kill(self) -> None:
        self.world.kill(self.dice.choice((0.03, 0.08, 0.08, 0.3, 2.0)))

    def _doom_outputs(self) -> None:
        self.world.doom(Doom(outputs=self.dice.randrange(20), down_s=0.08))

    def _doom_lines(self) -> None:
        self.world.doom(Doom(lines=self.dice.randrange(3000), down_s=0.08))

    def _decide(self) -> None:
        self.world.decide(self.dice.choice((0, 10, 50, 100)), pinned=not self.calm and self.dice.random() < 0.2)

    def _edit(self) -> None:
        self.world.edit(no_progress_s=self.dice.choice((2.0, 4.0, 6.0)), exhausted=self.dice.choice((480, 503)))

    def _leave_plan(self) -> None:
        gone = frozenset({"fra-b", "carrier-two"}) if not self.world.plan.without else frozenset()
        self.world.edit(without=gone)

    def _silence(self) -> None:
        dice, sbc = self.dice, self.dice.choice(list(self.world.sbcs.values()))
        kind = dice.choice(("mute", "deaf_to_options", "deaf_to_invites"))
        setattr(sbc, kind, True)
        self.world.at(dice.uniform(1.0, 15.0), lambda: setattr(sbc, kind, False))

    def _partition(self) -> None:
        dice = self.dice
        party = dice.choice([party for party in self.world.parties.values() if not party.reliable])
        router = ("203.0.113.9", "10.1.0.5")
        cut = {(host, party.address[0]) for host in router} if dice.random() < 0.7 else set()
        cut |= {(party.address[0], host) for host in router} if not cut or dice.random() < 0.5 else set()
        self.cut |= cut
        self.world.at(dice.uniform(0.5, 8.0), lambda: self.cut.difference_update(cut))

    def _port_closes(self) -> None:
        address = self.dice.choice([sbc.address for sbc in self.world.sbcs.values()])
        self.world.closed.add(address)
        self.world.at(self.dice.uniform(0.5, 6.0), lambda: self.world.closed.discard(address))

    def _admin(self) -> None:
        name = self.dice.choice([name for name in self.world.sbcs if name not in self.world.plan.without])
        self.world.sbc_admin(name, self.dice.choice((Admin.DRAINING, Admin.ENABLED, Admin.DISABLED)))

    def _drain_node(self) -> None:
        self.world.node_admin(Admin.DRAINING)
        self.world.at(self.dice.uniform(1.0, 10.0), lambda: self.world.node_admin(Admin.ENABLED))

    def _stand_still(self) -> None:
        if self.world.router.core is not None and not self.world.router.paused:
            self.world.stand_still(self.dice.choice((0.3, 1.5, 4.0)))

    def _weather(self) -> None:
        self.world.network.weather = self._a_weather()

    def _is_cut(self, source: Address, to: Address, data: bytes) -> bool:
        return (source[0], to[0]) in self.cut

    def _heal(self) -> None:
        self.cut.clear()
        self.world.router.doom = None

    def _nothing_was_lost(self) -> None:
        """In calm weather every call is answered and ends by BYE, or is cancelled by its caller.

        A caller who gave up may hear the refusal that its SBC was sending at that moment: the search is over (CALLS 1.7).
        """
        for note in self.notes:
            wanted = note.cancelled_s is not None and note.final is not None and note.final != TIMED_OUT
            ended = note.answered_s is not None and note.ended_by in ("me", "peer")
            assert wanted or ended, f"a call was lost in calm weather: {note}\n{self.world.tail()}"
