"""Several routers, and controllers that do not know of each other: late plans, split views, lost links, a store that fails.

The control plane alone, in virtual time: the real `reconcile`, the real judges, the rule by which a router takes a publication.
A seat is a place where controllers live one after another; while the fleet is split, two seats decide at once and each router
hears one of them. What must hold meanwhile: no router goes back, no two states bear one (term, seq), no table is empty, no
decision is without its record. And once all faults have ended, every router goes by one and the same state within ten seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from sipctl.control.ports import Ack, Command, FromRouter, Hello, Nack, Observe, SbcObservation, TrunkObservation, Wishes
from sipctl.control.reconcile import reconcile
from sipctl.control.state import adopted, world_of
from sipctl.control.world import (
    Faults,
    Gone,
    Happening,
    Heard,
    Keys,
    Ordered,
    Persist,
    PlanLive,
    Record,
    Reply,
    SaveTerm,
    Tell,
    Tick,
    World,
)
from sipctl.failover.memory import Memory
from sipctl.failover.records import replay
from sipctl.health.judge import Judge
from sipctl.routing.fence import Ruling, ruling
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import Operating, ProbeSpec, RoutingState, SigningKey
from tests.control.scene import the_plan
from tests.sim.troubles import is_right, return_s
from tests.support.plans import a_topology

UNIX_S: Final = 1_800_000_000.0
STEP_S: Final = 0.1
HORIZON_S: Final = 60.0
ROUTERS: Final = 3
LINK_S: Final = 0.002
ONE_TABLE_S: Final = 10.0  # R7: after healing one table everywhere
PROBED_S: Final = 15.0
SLACK_S: Final = 5.0
RETRY_S: Final = 1.0
MAX_STORY: Final = 80
KEPT_BACK: Final = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fleet."""

    publications: int  # taken by routers
    refused: int  # that came too late
    successions: int  # of controllers
    splits: int
    moves: int
    one_table_s: float  # after the last fault
    recovered_s: float


def run_fleet(seed: int) -> Outcome:
    """Run one fleet to its recovery.

    Raises: AssertionError with the seed and the end of the story, the moment something is broken.
    """
    return Fleet(seed).run()


class FleetRouter:
    """One router as the controllers know it: what it holds, what it measures, whom it hears."""

    def __init__(self, slot: int, seed: int) -> None:
        self.slot = slot
        self.name = f"r{slot + 1}"
        self.held: RoutingState | None = None
        self.judge = Judge(seed)
        self.deaf: set[str] = set()  # SBCs whose answers do not reach it
        self.seat: Seat | None = None
        self.link = 0
        self.alive = True
        self.observe_s = 0.0
        self.heard_s: float | None = None
        self.sent_s: float | None = None


class Seat:
    """A place of controllers, of which at most one lives there at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.world: World | None = None
        self.life = 0
        self.newest: Wishes | None = None


class Fleet:
    """See the module's docstring."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = Random(f"fleet {seed}")
        self.now_s = 1000.0
        policy: dict[str, Any] = {
            "failback": self.dice.choice(("automatic", "automatic", "manual")), "hold_off_s": self.dice.choice((0.5, 2.0)),
            "hold_down_s": self.dice.choice((2.0, 6.0)), "ramp": self.dice.choice(((100,), (10, 50, 100))), "ramp_step_s": 2.0,
        }  # fmt: skip
        topology = a_topology()
        self.topology = replace(topology, groups=tuple(replace(one, **policy) for one in topology.groups))
        self.plan, self.table = the_plan(self.topology)
        self.routers = [FleetRouter(slot, seed * 10 + slot) for slot in range(ROUTERS)]
        self.seats = [Seat("a"), Seat("b")]
        self.silent: set[str] = set()
        self.jump_s = 0.0
        self.link_s = LINK_S
        self.store, self.term, self.store_fails = Wishes(), 0, False
        self.taken: dict[tuple[int, int], RoutingState] = {}  # what each (term, seq) stands for
        self.sent: deque[RoutingState] = deque(maxlen=KEPT_BACK)
        self.story: deque[str] = deque(maxlen=MAX_STORY)
        self.publications = self.refused = self.splits = self.successions = self.moves = 0
        self._evidence: dict[tuple[str, int, int], int] = {}  # (group, term, epoch) → share that a record accounts for
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = self._links = self._commands = 0
        for router in self.routers:
            self._measures(router)
        self._begin(self.seats[0])
        self._link_all(self.seats[0])

    def run(self) -> Outcome:
        self._run(8.0)
        for _ in range(self.dice.randrange(4, 16)):
            self.at(self.dice.uniform(0.0, HORIZON_S), self.dice.choice(self._misfortunes()))
        self._run(HORIZON_S)
        self._heal()
        healed_s = self.now_s
        one_table_s = self._until(self._is_one_table, ONE_TABLE_S, "one table everywhere") - healed_s
        self._until(self._all_in_service, PROBED_S, "every SBC in service")
        world = self._the_world()
        group = self.topology.groups[0]
        self._until(self._is_right, return_s(group, world.groups) + SLACK_S, "the group where its policy wants it")
        recovered_s = self._until(self._is_one_table, ONE_TABLE_S, "and every router told so") - healed_s
        return Outcome(self.publications, self.refused, self.successions, self.splits, self.moves, one_table_s, recovered_s)

    # -- time ------------------------------------------------------------------------------------------------------------------

    def at(self, after_s: float, act: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._agenda, (self.now_s + after_s, self._count, act))

    def note(self, text: str) -> None:
        self.story.append(f"{self.now_s:10.3f} {text}")

    def must(self, holds: bool, text: str) -> None:
        if not holds:
            raise AssertionError("\n".join([f"seed {self.seed}: {text}", *self.story]))

    def _run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self._step()

    def _until(self, holds: Callable[[], bool], at_most_s: float, what: str) -> float:
        end_s = self.now_s + at_most_s
        while not holds():
            self.must(self.now_s < end_s, f"not within {at_most_s} s: {what}")
            self._step()
        return self.now_s

    def _step(self) -> None:
        """What is due within one step, each at its instant; then everybody's timers."""
        end_s = round(self.now_s + STEP_S, 6)
        while self._agenda and self._agenda[0][0] <= end_s:
            at_s, _, act = heappop(self._agenda)
            self.now_s = max(self.now_s, at_s)
            act()
        self.now_s = end_s
        for router in self.routers:
            if router.alive:
                self._probes(router)
        for seat in self.seats:
            self.put(seat, Tick())

    # -- controllers -----------------------------------------------------------------------------------------------------------

    def _begin(self, seat: Seat) -> None:
        """A controller begins in a seat: it hears whom it reaches, and takes a term above all it knows."""
        world = world_of(self.store)
        held = [router.held for router in self.routers if router.alive and router.seat is seat and router.held is not None]
        best = max(held, key=lambda state: (state.term, state.seq), default=None)
        if best is not None:
            world = adopted(world, best)
        term = max(self.term, world.term) + 1
        if not self.store_fails:
            self.term = term
        seat.life += 1
        self.successions += 1
        seat.world = replace(world, term=term, seq=0)
        self.note(f"a controller begins in seat {seat.name} with term {term}")
        self.put(seat, Keys((SigningKey(1, bytes(32)),), 1))
        self.put(seat, PlanLive(self.plan))
        for router in self.routers:
            if router.seat is seat:
                self._connect(router, seat)

    def put(self, seat: Seat, happening: Happening) -> None:
        before = seat.world
        if before is None:
            return
        after, effects = reconcile(before, happening, self.now_s, UNIX_S + self.now_s + self.jump_s)
        self.must((after.term, after.seq) >= (before.term, before.seq), "(term, seq) of a controller fell")
        seat.world = after
        for effect in effects:
            if isinstance(effect, Record) and effect.record.kind == "group":
                record = effect.record
                again = replay(record.before, record.inputs)
                self.must((again.rule, again.sentence) == (record.rule, record.sentence), "a record does not replay")
                self._evidence[record.group, record.term, record.epoch] = record.after["bcp_percent"]
                self.moves += record.before["bcp_percent"] != record.after["bcp_percent"]
                self.note(f"seat {seat.name} epoch {record.epoch}: {record.sentence}")
        for effect in effects:
            self._perform(seat, effect, before)

    def _perform(self, seat: Seat, effect: object, before: World) -> None:
        life = seat.life
        match effect:
            case Tell(state, link):
                self._has_evidence(before.published, state)
                self.sent.append(state)
                for router in self.routers:
                    if router.seat is seat and link in (None, router.link):
                        self._carry(router, state)
            case Persist(wishes):
                seat.newest = wishes
                self.at(0.02, lambda: self._write(seat, life, wishes))
            case SaveTerm(term):
                if not self.store_fails:
                    self.term = max(self.term, term)
            case Reply(answer):
                self.note(f"seat {seat.name} answers {answer.id}: {answer.status} {answer.code}")

    def _has_evidence(self, before: RoutingState | None, state: RoutingState) -> None:
        for name, decision in state.decisions.items():
            if before is not None and decision.bcp_percent != before.decisions[name].bcp_percent:
                known = {share for (group, _, epoch), share in self._evidence.items() if (group, epoch) == (name, decision.epoch)}
                self.must(decision.bcp_percent in known, f"{name} goes to {decision} without a record")

    def _write(self, seat: Seat, life: int, wishes: Wishes) -> None:
        """The newest wishes; while the store fails, once more in a second. Whoever writes last has the last word."""
        if seat.life != life or seat.world is None or wishes is not seat.newest:
            return
        if self.store_fails:
            self.put(seat, Faults("write", {"wishes": "the disk is full"}))
            self.at(RETRY_S, lambda: self._write(seat, life, wishes))
            return
        self.store = wishes
        if any(name.startswith("write:") for name in seat.world.faults):
            self.put(seat, Faults("write", {}))

    def die(self, seat: Seat, down_s: float | None = None) -> None:
        """`kill -9` of a controller; its successor comes after down_s, or never."""
        if seat.world is None:
            return
        self.note(f"the controller in seat {seat.name} dies")
        seat.world = None
        seat.life += 1
        if down_s is not None:
            self.at(down_s, lambda: self._begin(seat) if seat.world is None else None)

    # -- links -----------------------------------------------------------------------------------------------------------------

    def _link_all(self, seat: Seat) -> None:
        for router in self.routers:
            self._relink(router, seat)

    def _relink(self, router: FleetRouter, seat: Seat | None) -> None:
        """Whom a router hears from now on."""
        if router.seat is seat:
            return
        old, link = router.seat, router.link
        router.seat, router.link = seat, 0
        if old is not None:
            self.at(LINK_S, lambda: self.put(old, Gone(link)))
        if seat is not None:
            self._connect(router, seat)

    def _connect(self, router: FleetRouter, seat: Seat) -> None:
        if seat.world is None or not router.alive:
            return
        self._links += 1
        router.link = self._links
        self._say(router, Hello(router.name, router.slot, 4711, router.held))

    def _say(self, router: FleetRouter, frame: FromRouter) -> None:
        seat, link = router.seat, router.link
        if seat is not None and link:
            self.at(self.link_s, lambda: self.put(seat, Heard(link, frame)) if router.link == link else None)

    def _carry(self, router: FleetRouter, state: RoutingState) -> None:
        link = router.link
        self.at(self.link_s, lambda: self._arrives(router, state) if router.link == link else None)

    def _arrives(self, router: FleetRouter, state: RoutingState) -> None:
        """A publication reaches a router: it judges it by the rule of the product."""
        if not router.alive:
            return
        verdict = ruling(router.held, state)
        order = (state.term, state.seq)
        if verdict is Ruling.OLDER:
            self.refused += 1
            self._say(router, Nack(router.name, *order, "older than what is held"))
            return
        if verdict is Ruling.NEWER:
            RoutingSnapshot.build(self.table, state)
            self.must(
                bool(state.decisions) and set(state.decisions) == {group.name for group in self.topology.groups}, "an empty table"
            )
            self.publications += 1
            router.held = state
        known = self.taken.setdefault(order, state)
        self.must(known == state == router.held, f"two states under {order}")
        self._say(router, Ack(router.name, *order, state.revision))

    # -- routers ---------------------------------------------------------------------------------------------------------------

    def _measures(self, router: FleetRouter) -> None:
        router.judge.swap(
            [
                ProbeSpec(int(sbc.id), sbc.name, self.topology.pairs[sbc.pair].probe, sbc.host, sbc.port, sbc.transport)
                for sbc in self.topology.sbcs
            ],
            self.now_s,
        )

    def _probes(self, router: FleetRouter) -> None:
        names = {int(sbc.id): sbc.name for sbc in self.topology.sbcs}
        for sbc_id in router.judge.due(self.now_s):
            router.judge.sent(sbc_id, self.now_s)
            router.sent_s = self.now_s
            if names[sbc_id] not in self.silent and names[sbc_id] not in router.deaf:
                router.judge.on_reply(sbc_id, 200, None, self.now_s)
                router.heard_s = self.now_s
        if router.judge.changes() or self.now_s >= router.observe_s:
            router.observe_s = self.now_s + 0.5
            self._say(router, self._observation(router))

    def _observation(self, router: FleetRouter) -> Observe:
        seen: dict[str, SbcObservation] = {}
        for sbc in self.topology.sbcs:
            one = router.judge.observation(int(sbc.id), self.now_s)
            seen[sbc.name] = SbcObservation(
                one.operating,
                one.reason,
                one.since_s,
                one.resting_s,
                False,
                0,
                one.missed_probes,
                one.last_missed_s,
                one.last_heard_s,
                one.last_sent_s,
                one.probe_rtt_ms,
            )
        trunks = {trunk.name: TrunkObservation() for trunk in self.topology.trunks}
        return Observe(router.name, self.now_s, seen, trunks, {}, {}, 0, 0.0, 0, heard_s=router.heard_s, sent_s=router.sent_s)

    # -- misfortunes -----------------------------------------------------------------------------------------------------------

    def _misfortunes(self) -> list[Callable[[], None]]:
        return [
            self._controller_dies, self._controller_dies, self._split, self._split, self._cut, self._router_dies, self._late_plan,
            self._late_plan, self._silence, self._silence, self._deafen, self._store_stops, self._slow_link, self._jump,
            self._order, self._order, self._order,
        ]  # fmt: skip

    def _living(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.world is not None]

    def _controller_dies(self) -> None:
        if living := self._living():
            self.die(self.dice.choice(living), self.dice.choice((0.1, 0.5, 3.0)))

    def _split(self) -> None:
        """A second controller begins while the first lives; each router hears one of the two; later one of them is gone."""
        idle = [seat for seat in self.seats if seat.world is None]
        if len(idle) != 1:
            return
        self.splits += 1
        self.note("the fleet splits")
        for router in self.routers:
            self._relink(router, self.dice.choice(self.seats))
        self._begin(idle[0])
        self.at(self.dice.uniform(1.0, 20.0), self._unite)

    def _unite(self) -> None:
        if len(living := self._living()) == 2:
            stays = self.dice.choice(living)
            self.note(f"the fleet unites in seat {stays.name}")
            self.die(next(seat for seat in self.seats if seat is not stays))
            self._link_all(stays)

    def _cut(self) -> None:
        """A router is cut off from every controller, and finds one again."""
        router = self.dice.choice(self.routers)
        self.note(f"{router.name} is cut off")
        self._relink(router, None)
        self.at(self.dice.uniform(0.5, 15.0), lambda: self._finds(router))

    def _finds(self, router: FleetRouter) -> None:
        if router.seat is None and (living := self._living()):
            self._relink(router, self.dice.choice(living))

    def _router_dies(self) -> None:
        router, seat = (one := self.dice.choice(self.routers)), one.seat
        if not router.alive:
            return
        self.note(f"{router.name} dies")
        router.alive = False
        self._relink(router, None)

        def succeed() -> None:
            router.alive, router.judge = True, Judge(self.seed * 10 + router.slot + self._count)
            self._measures(router)
            self._relink(router, seat)

        self.at(self.dice.choice((0.1, 1.0)), succeed)

    def _late_plan(self) -> None:
        """A publication of some time ago comes to some router, over no link that lives."""
        if self.sent:
            state, router = self.dice.choice(tuple(self.sent)), self.dice.choice(self.routers)
            self.at(self.dice.uniform(0.0, 8.0), lambda: self._comes_late(router, state))

    def _comes_late(self, router: FleetRouter, state: RoutingState) -> None:
        """Only what is no news: a state that no router ever took is its controller's alone to tell."""
        if (state.term, state.seq) in self.taken:
            self.note(f"term {state.term} seq {state.seq} comes late to {router.name}")
            self._arrives(router, state)

    def _silence(self) -> None:
        struck = set(self.dice.choice((("fra-a", "fra-b"), ("ams-a", "ams-b"), ("fra-a",), ("fra-a", "fra-b", "ams-a", "ams-b"))))
        self.note(f"{sorted(struck)} fall silent")
        self.silent |= struck
        self.at(self.dice.uniform(1.0, 20.0), lambda: self.silent.difference_update(struck))

    def _deafen(self) -> None:
        """One router hears nothing of one tenant."""
        router, struck = self.dice.choice(self.routers), set(self.dice.choice((("fra-a", "fra-b"), ("ams-a", "ams-b"))))
        router.deaf |= struck
        self.at(self.dice.uniform(1.0, 15.0), lambda: router.deaf.difference_update(struck))

    def _store_stops(self) -> None:
        self.note("the store fails")
        self.store_fails = True
        self.at(self.dice.uniform(1.0, 25.0), lambda: setattr(self, "store_fails", False))

    def _slow_link(self) -> None:
        self.link_s = self.dice.choice((0.2, 1.0))
        self.at(self.dice.uniform(1.0, 8.0), lambda: setattr(self, "link_s", LINK_S))

    def _jump(self) -> None:
        self.jump_s = self.dice.choice((3600.0, -3600.0, 86400.0, 0.5))

    def _order(self) -> None:
        to = self.dice.choice(("bcp", "primary"))
        op, args = self.dice.choice((
            ("failover", {"group": "acme", "to": to}), ("failback", {"group": "acme"}), ("pin", {"group": "acme", "to": to}),
            ("unpin", {"group": "acme"}), ("unlatch", {"group": "acme"}), ("automation", {"state": "pause"}),
            ("automation", {"state": "resume"}),
        ))  # fmt: skip
        if living := self._living():
            self._commands += 1
            self.put(self.dice.choice(living), Ordered(Command(f"op-{self._commands}", op, args, "ops-1", "a test", False, ())))

    # -- and how it ends -------------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        """Every fault ends: one controller, every router hears it, the store writes, every SBC answers everybody."""
        self.note("every fault has ended")
        self._agenda = [entry for entry in self._agenda if entry[0] <= self.now_s + 2 * LINK_S]
        self.silent.clear()
        self.store_fails, self.link_s = False, LINK_S
        if len(living := self._living()) == 2:
            self.die(living[self.dice.randrange(2)])
        seat = living[0] if (living := self._living()) else self.seats[0]
        for router in self.routers:
            router.deaf.clear()
            if not router.alive:
                router.alive = True
                self._measures(router)
        if seat.world is None:
            for router in self.routers:
                router.seat = seat
            self._begin(seat)
        self._link_all(seat)
        for router in self.routers:
            if not router.link:
                self._connect(router, seat)

    def _the_world(self) -> World:
        (seat,) = self._living()
        assert seat.world is not None
        return seat.world

    def _is_one_table(self) -> bool:
        published = self._the_world().published
        return published is not None and all(router.held == published for router in self.routers)

    def _all_in_service(self) -> bool:
        seen = self._the_world().sbcs
        return len(seen) == len(self.topology.sbcs) and all(one.operating == Operating.IN_SERVICE for one in seen.values())

    def _is_right(self) -> bool:
        world, group = self._the_world(), self.topology.groups[0]
        return is_right(world.groups.get(group.name, Memory()), group.failback, automation=world.automation)
