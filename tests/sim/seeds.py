"""Worlds made of dice: one seed, one plan, one weather, one long list of misfortunes, and every invariant checked on the way.

`calm` seeds have no loss and always one SBC that answers, so they promise more: whatever dies or is edited, no call is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from sipctl.routing.snapshot import Admin, Probe
from sipctl.testing.caller import Script
from sipctl.testing.ledger import TIMED_OUT, CallNote
from sipctl.testing.sbc import ANSWER, RING_FOR_EVER, SILENT, TRYING_ONLY, Behaviour, refuse
from sipctl.testing.wire import Address, Message
from tests.support.invariants import LOSSY_LEG_S, SECOND_LEG_S
from tests.support.network import Weather
from tests.support.router_host import UNIX_MINUS_MONO_S, Doom
from tests.support.world import World
from tests.support.world_plan import REVERSED, SALES, SBC_ADDRESS, SECOND, SERVICE, Plan

MAX_EVENTS: Final = 2000
LIVELY_EVENTS: Final = 1500  # after so many, no new misfortune: the rest is for the end
HORIZON_S: Final = 45.0
READY: Final = 0.5  # share of worlds with overlays and kill switches, which go on and off
CALM_WISHES: Final = (("overlay", "emergency"), ("switch", "acme-away"))  # these send calls elsewhere and refuse none
WISHES: Final = (
    *CALM_WISHES, ("overlay", "evening"), ("switch", "sales-off"), ("switch", "carrier-off"), ("switch", "bcp-off"),
)  # fmt: skip
CONTROLLED: Final = 0.7  # share of worlds in which the real controller decides
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
    publications: int  # taken from the real controller, in order
    decisions: int  # records of it that replay
    legs: int  # second answered legs that were seen to go
    switched: int = 0  # overlays and kill switches that were told to go on or off
    places: int = 0  # calls whose first target was judged while one was on


def run_seed(seed: int) -> Outcome:
    """Run one world to its end.

    Raises: AssertionError with the seed and the tail of the story, the moment an invariant is broken.
    """
    return Fate(seed).run()


class Fate:
    """Decides what happens to one world."""

    routers = 1
    controlled_share = CONTROLLED
    ready_share = READY

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.calm = seed % 4 == 0
        self.wishes = Random(f"overlays {seed}")  # dice of their own: worlds without overlays stay what they were
        self.controlled = self.dice.random() < self.controlled_share
        self.ready = self.wishes.random() < self.ready_share
        bcp_percent = self.dice.choice((0, 0, 100, 50))
        self.world = World(seed, self._a_plan(), self._a_weather(), bcp_percent, controlled=self.controlled, routers=self.routers)
        self.world.invariants.second_leg_s = self._second_leg_s()
        for party in self.world.parties.values():
            party.names_transport = seed % 3 != 0
        self.notes: list[CallNote] = []
        self.switched = 0
        self.cut: set[tuple[str, str]] = set()  # (source host, destination host) pairs the network does not connect
        for name, sbc in self.world.sbcs.items():
            sbc.behave = self._behaviour_of(name)

    def run(self) -> Outcome:
        world = self.world
        self.live()
        self._heal()
        world.finish()
        if self.calm:
            self._nothing_was_lost()
        assert world.events <= MAX_EVENTS, f"seed {world.seed}: {world.events} events"
        answered = sum(note.answered_s is not None for note in self.notes)
        control = world.control
        return Outcome(
            world.digest, world.events, len(self.notes), answered, world.router.deaths, world.invariants.checked,
            control.taken if control else 0, control.decisions if control else 0, world.invariants.judged_legs,
            self.switched, world.invariants.judged_places,
        )  # fmt: skip

    def live(self) -> None:
        """Calls come and misfortunes happen, until the horizon."""
        world, dice = self.world, self.dice
        world.network.drop = self._is_cut
        for _ in range(dice.randrange(8, 26)):
            world.at(dice.uniform(0.0, HORIZON_S * 0.8), self._place)
        misfortunes = self._calm_misfortunes() if self.calm else self._misfortunes()
        for _ in range(dice.randrange(3, 14)):
            world.at(dice.uniform(0.5, HORIZON_S), dice.choice(misfortunes))
        for _ in range(self.wishes.randrange(2, 8) if self.ready else 0):
            world.at(self.wishes.uniform(0.1, HORIZON_S * 0.9), self._switch)
        world.run(HORIZON_S, max_events=LIVELY_EVENTS)

    # -- what the world is made of ---------------------------------------------------------------------------------------------

    def _a_plan(self) -> Plan:
        dice = self.dice
        tcp = not self.calm and dice.random() < 0.25
        family = dice.choice(("v4", "v4", "v4", "trunks", "sbcs", "both"))
        return Plan(
            v6_trunks=family in ("trunks", "both"), v6_sbcs=family in ("sbcs", "both"), more_groups=dice.random() < 0.4,
            contacts=dice.choice(("address", "address", "address", "known", "asked", "unknown")),
            hold_off_s=dice.choice((0.5, 2.0, 5.0)), failback=dice.choice(("automatic", "automatic", "manual")),
            hold_down_s=dice.choice((2.0, 8.0)), ramp_step_s=dice.choice((1.0, 4.0)),
            shared_dialogs=dice.random() < 0.3, symmetric=dice.random() < 0.3, tcp_trunks=tcp and dice.random() < 0.6,
            tcp_sbcs=tcp and dice.random() < 0.6, no_progress_s=dice.choice((2.0, 6.0)),
            probe=None if dice.random() < 0.4 else Probe(interval_s=6.0), exhausted=dice.choice((480, 503)),
            strategy=dice.choice(("active-standby", "active-standby", "load-share")),
            advance_across="both" if self.calm else dice.choice(("to-bcp", "to-bcp", "both", "never")),
            sbc_max_calls=None if self.calm else dice.choice((None, None, 3)),
            trunk_max_calls=None if self.calm else dice.choice((None, None, 6)), ready=self.ready,
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
        answer = Behaviour(
            trying_s=dice.choice((0.0, 0.0, 0.2)), ring_s=ring_s, final_s=final_s, then=then,
            answers_despite_cancel=dice.random() < 0.2,
        )  # fmt: skip
        if self.calm:
            well = name[4] == "b" or dice.random() < 0.7
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
        routed = (SALES, SALES, SECOND, REVERSED) if self.world.plan.more_groups else (SALES,)
        called = dice.choice(routed) if self.calm or dice.random() < 0.8 else dice.choice((SERVICE, "+49309"))
        caller = "carrier-one" if self.calm else dice.choice(("carrier-one", "carrier-one", "carrier-two"))
        self.notes.append(self.world.call(called, script, caller=caller))

    # -- what happens to it ----------------------------------------------------------------------------------------------------

    def _calm_misfortunes(self) -> list[Callable[[], None]]:
        deaths = [self._kill, self._kill, self._doom_outputs, self._doom_lines]
        return [*deaths, self._decide, self._decide, self._edit, self._new_controller]

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
        """The group's decision changes: by an operator's order to the real controller, or because the world says so."""
        if self.controlled:
            self._order()
            return
        self.world.decide(self.dice.choice((0, 10, 50, 100)), pinned=not self.calm and self.dice.random() < 0.2)

    def _order(self) -> None:
        dice, world = self.dice, self.world
        group = dice.choice(("acme", "beta", "gamma") if world.plan.more_groups else ("acme",))
        to = dice.choice(("bcp", "primary"))
        orders: list[tuple[str, dict[str, Any]]] = [
            ("failover", {"group": group, "to": to}), ("failover", {"all": True, "to": to}),
            ("failback", {"group": group, "now": dice.random() < 0.3}), ("pin", {"group": group, "to": to}),
            ("unpin", {"group": group}), ("unlatch", {"group": group}),
            ("automation", {"state": dice.choice(("pause", "resume", "resume"))}),
        ]  # fmt: skip
        if not self.calm:
            sbc, trunk = dice.choice(("fra-a", "fra-b", "ams-a", "ams-b")), dice.choice(("carrier-one", "carrier-two"))
            state, move = dice.choice(("draining", "enabled", "disabled")), dice.random() < 0.5
            tenant = dice.choice(("acme-prod", "acme-bcp"))
            orders += [
                ("sbc-admin", {"sbc": sbc, "state": state, "move": move}), ("sbc-probe", {"sbc": sbc}),
                ("tenant-admin", {"tenant": tenant, "state": state, "move": move}),
                ("trunk-admin", {"trunk": trunk, "state": state}),
            ]  # fmt: skip
        op, args = dice.choice(orders)
        world.order(op, **args)

    def _switch(self) -> None:
        """An overlay or a kill switch goes on, with or without an end, or off."""
        world, dice = self.world, self.wishes
        kind, name = dice.choice(CALM_WISHES if self.calm else WISHES)
        turned, ends_s = dice.choice(("on", "on", "off")), dice.choice((None, dice.uniform(0.2, 3.0), dice.uniform(3.0, 20.0)))
        until_unix_s = None if ends_s is None else world.now_s + UNIX_MINUS_MONO_S + ends_s
        self.switched += 1
        if self.controlled:
            more = {"until": until_unix_s} if turned == "on" else {}
            world.order(f"{kind}-{turned}", **{kind: name}, **more)
            return
        section = "overlays" if kind == "overlay" else "switches"
        on = dict(getattr(world.state, section))
        on.pop(name, None)
        if turned == "on":
            on[name] = until_unix_s or 0.0
        world.note(f"{kind} {name} is {turned} {until_unix_s or ''}")
        world.publish(**{section: tuple(sorted(on.items()))})

    def _new_controller(self) -> None:
        if self.world.control is None:
            self.world.new_controller()
        else:
            self.world.control.die(self.dice.choice((0.05, 0.3, 2.0)))

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
        router = [address[0] for address in self.world.router_addresses]
        cut = {(host, party.address[0]) for host in router} if dice.random() < 0.7 else set()
        cut |= {(party.address[0], host) for host in router} if not cut or dice.random() < 0.5 else set()
        self.cut |= cut
        self.world.at(dice.uniform(0.5, 8.0), lambda: self.cut.difference_update(cut))

    def _port_closes(self) -> None:
        address = self.dice.choice([sbc.address for sbc in self.world.sbcs.values()])
        self.world.closed.add(address)
        self.world.at(self.dice.uniform(0.5, 6.0), lambda: self.world.closed.discard(address))

    def _admin(self) -> None:
        name = self.dice.choice([name for name in SBC_ADDRESS if name not in self.world.plan.without])
        admin = self.dice.choice((Admin.DRAINING, Admin.ENABLED, Admin.DISABLED))
        if self.controlled:
            self.world.order("sbc-admin", sbc=name, state=admin.name.lower(), move=True)
        else:
            self.world.sbc_admin(name, admin)

    def _drain_node(self) -> None:
        self._set_node(Admin.DRAINING)
        self.world.at(self.dice.uniform(1.0, 10.0), lambda: self._set_node(Admin.ENABLED))

    def _set_node(self, admin: Admin) -> None:
        if self.controlled:
            self.world.order("node-admin", state=admin.name.lower())
        else:
            self.world.node_admin(admin)

    def _stand_still(self) -> None:
        if self.world.router.core is not None and not self.world.router.paused:
            self.world.stand_still(self.dice.choice((0.3, 1.5, 4.0)))

    def _weather(self) -> None:
        self.world.network.weather = self._a_weather()

    def _is_cut(self, source: Address, to: Address, data: bytes) -> bool:
        return (source[0], to[0]) in self.cut

    def _second_leg_s(self) -> float | None:
        """How long two legs of one call may be up: over TCP a BYE that a dying router had taken is lost for good."""
        if self.world.plan.tcp_trunks or self.world.plan.tcp_sbcs:
            return None
        return SECOND_LEG_S if self.calm else LOSSY_LEG_S

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
