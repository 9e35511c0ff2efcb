"""The controller of a simulated world: the real `reconcile`, its store, its links, and its many deaths.

What the processes do around the decision function is modelled here in virtual time: frames take a moment, the store is written
after the routers were told, a new controller hears its router first and takes a term above all it knows (CALLS 4.6). What must
hold is asserted where it must hold: at the router, which takes publications in order and never a lower one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sipctl.control.ports import Ack, Answer, Command, FromRouter, Hello, Nack, Wishes
from sipctl.control.reconcile import reconcile
from sipctl.control.state import adopted, world_of
from sipctl.control.world import (
    Effect,
    Gone,
    Happening,
    Heard,
    Keys,
    Ordered,
    Persist,
    PlanLive,
    Probe,
    Record,
    Reply,
    Resolved,
    SaveTerm,
    Say,
    Tell,
    Tick,
)
from sipctl.control.world import Plan as LivePlan
from sipctl.control.world import World as Knowledge
from sipctl.errors import SnapshotError
from sipctl.failover.records import replay
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import RoutingState
from sipctl.routing.table import Table
from tests.support.router_host import UNIX_MINUS_MONO_S
from tests.support.world_plan import KEYS, Plan, a_table

if TYPE_CHECKING:
    from tests.support.world import World

LINK_S: Final = 0.001  # a frame between controller and router
WRITE_S: Final = 0.02  # until the store has written what was told before
TICK_S: Final = 0.1
OBSERVE_S: Final = 0.5
HEAR_S: Final = 1.0  # a new controller waits so long for its router
HEAR_AGAIN_S: Final = 0.1
RESOLVE_S: Final = 0.3  # until a name has its addresses
STORY: Final = ("decision", "overlay", "switch", "operator", "alarm")


class Control:
    """One controller after the other; `knows` is None while there is none."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self.knows: Knowledge | None = None
        self.plan = plan  # the live revision, as the store holds it
        self.wishes = Wishes()  # as the store holds them
        self.term = 0
        self.tables: dict[str, Table] = {}
        self.deaths = 0
        self.decisions = 0
        self.moves: list[tuple[float, str, str]] = []  # (instant, group, rule) of each decision that moved new calls
        self.taken = 0  # publications that were new to a router
        self.again = 0  # and those that said the same again
        self.answers: list[Answer] = []
        self.held: RoutingState | None = None  # by the router that lives, or that lived last
        self._link = 0
        self._commands = 0
        self._notes_read = 0
        self._asked: dict[str, tuple[tuple[str, str], float]] = {}  # operation → overlay or switch asked to be on, and its end
        self.granted: dict[tuple[str, str], float] = {}  # (kind, name) → its end: what operators were told is on

    # -- a controller's life ---------------------------------------------------------------------------------------------------

    def boot(self, waited_s: float = 0.0) -> None:
        """A new controller: hears its router, if it is there, takes its term, publishes."""
        world = self._world
        reachable = world.router.core is not None and not world.router.paused
        if not reachable and waited_s < HEAR_S and world.router.deaths + self.deaths:
            world.at(HEAR_AGAIN_S, lambda: self.boot(waited_s + HEAR_AGAIN_S))
            return
        knows = world_of(self.wishes)
        if reachable and self.held is not None:
            knows = adopted(knows, self.held)
        self.term = max(self.term, knows.term) + 1
        self.knows = replace(knows, term=self.term, seq=0)
        world.note(f"a controller begins with term {self.term}")
        self.put(Keys(KEYS, 1))
        if world.names_known:
            self.put(Resolved({}, world.fqdns))
        self._connect()
        self.put(PlanLive(self._live(self.plan)))
        self._tick(self.deaths)

    def first_snapshot(self) -> RoutingSnapshot:
        """What the first router is started with."""
        assert self.knows is not None and self.knows.published is not None
        self.held = self.knows.published
        return RoutingSnapshot.build(self.tables[self.held.table], self.held)

    @property
    def is_followed(self) -> bool:
        """Whether the router holds what was published last."""
        return self.knows is not None and self.knows.published == self.held

    def die(self, down_s: float) -> None:
        """`kill -9`: what was told is told, what was not yet written is lost."""
        if self.knows is None:
            return
        self._world.note(f"the controller dies, successor in {down_s:.3f} s")
        self.knows = None
        self.deaths += 1
        self._world.at(down_s, self.boot)

    def stop(self) -> None:
        """The end of the world: nothing is decided any more."""
        self.knows = None
        self.deaths += 1

    def apply(self, plan: Plan) -> bool:
        """A new revision: written, then published; False while there is no controller to ask."""
        if self.knows is None:
            return False
        self.plan = plan
        self.put(PlanLive(self._live(plan)))
        return True

    def order(self, op: str, *, force: tuple[str, ...] = (), **args: Any) -> Answer | None:
        """An operator's command and its first answer; None while there is no controller."""
        if self.knows is None:
            return None
        self._commands += 1
        name = f"op-{self._commands}"
        kind, _, turned = op.partition("-")
        if kind in ("overlay", "switch"):
            self.granted.pop((kind, args[kind]), None)  # another wish: the old one is no promise any more
        if kind in ("overlay", "switch") and turned == "on":
            self._asked[name] = (kind, args[kind]), args.get("until") or 0.0
        self.put(Ordered(Command(name, op, args, "ops-1", "the world wants it", False, force)))
        answer = next((answer for answer in reversed(self.answers) if answer.id == name), None)
        self._world.note(f"{op} {args}: {answer.status if answer else 'nothing'}")
        return answer

    def _live(self, plan: Plan) -> LivePlan:
        table = a_table(plan)
        self.tables[table.hash] = table
        return LivePlan(table.topology, table.hash, plan.revision, {entry.name: 1 for entry in table.topology.entry_points})

    def _tick(self, life: int) -> None:
        if self.knows is not None and self.deaths == life:
            self.put(Tick())
            self._world.at(TICK_S, lambda: self._tick(life))

    # -- deciding --------------------------------------------------------------------------------------------------------------

    def put(self, happening: Happening) -> None:
        """One input to the real decision function, and what follows."""
        before = self.knows
        if before is None:
            return
        now_s = self._world.now_s
        self.knows, effects = reconcile(before, happening, now_s, now_s + UNIX_MINUS_MONO_S)
        assert (self.knows.term, self.knows.seq) >= (before.term, before.seq), "(term, seq) fell"
        for name, memory in self.knows.groups.items():
            assert name not in before.groups or memory.epoch >= before.groups[name].epoch, f"the epoch of {name} fell"
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        world, life, link = self._world, self.deaths, self._link
        match effect:
            case Tell(state):
                world.at(LINK_S, lambda: self._arrives(link, state))
            case Probe(sbc):
                world.at(LINK_S, lambda: self._probe(link, sbc))
            case Persist(wishes):
                world.at(WRITE_S, lambda: self._write(life, wishes))
            case Record(record) if record.kind == "group":
                again = replay(record.before, record.inputs)
                assert (again.rule, again.sentence) == (record.rule, record.sentence), "a decision record does not replay"
                self.decisions += 1
                if record.before["bcp_percent"] != record.after["bcp_percent"]:
                    self.moves.append((world.now_s, record.group, record.rule))
            case SaveTerm(term):
                self.term = max(self.term, term)
            case Reply(answer):
                self.answers.append(answer)
                if answer.status == "done" and answer.id in self._asked:
                    wish, until_unix_s = self._asked.pop(answer.id)
                    self.granted[wish] = until_unix_s
            case Say(notice) if notice.kind in STORY:
                world.note(notice.text)

    def _write(self, life: int, wishes: Wishes) -> None:
        if self.deaths == life:
            self.wishes = wishes

    # -- the link to the router ------------------------------------------------------------------------------------------------

    def router_began(self) -> None:
        """A router, the first or a successor, has taken the slot."""
        self._connect()
        self._observe_again(self._world.router.deaths)

    def router_died(self) -> None:
        """Its link ends."""
        link, self._link = self._link, self._link + 1
        self._world.at(LINK_S, lambda: self.put(Gone(link)))

    def after_step(self) -> None:
        """What the router noted in this step that the controller is to know."""
        notes = self._world.router.notes
        fresh, self._notes_read = notes[self._notes_read :], len(notes)
        if any(note[0] == "observe" for note in fresh):
            self._observe()
        names = {note[1] for note in fresh if note[0] == "name"}
        if names and self._world.plan.contacts == "asked":
            self._world.at(RESOLVE_S, lambda: self.put(Resolved({}, self._world.fqdns)))

    def _connect(self) -> None:
        """A new pair of sockets between the controller and the router that are there."""
        core = self._world.router.core
        if self.knows is None or core is None:
            return
        self._link += 1
        self._say(Hello("router-0", 0, 100 + self._world.router.deaths, self.held))

    def _say(self, frame: FromRouter) -> None:
        """The router sends a frame; it is lost with its link."""
        link = self._link
        self._world.at(LINK_S, lambda: self.put(Heard(link, frame)) if link == self._link else None)

    def _observe_again(self, life: int) -> None:
        if self._world.router.deaths == life and not self._world.finishing:
            self._observe()
            self._world.at(OBSERVE_S, lambda: self._observe_again(life))

    def _observe(self) -> None:
        router = self._world.router
        if router.core is None or router.paused:
            return
        seen = router.core.observe(self._world.now_s)
        gap_s, router.gap_s = router.gap_s, 0.0
        self._say(msgspec.structs.replace(seen, name="router-0", loop_gap_s=gap_s))

    def _check_granted(self, state: RoutingState) -> None:
        """Nothing that was acknowledged is lost, whoever died meanwhile; nothing is published beyond its end."""
        unix_s = self._world.now_s + UNIX_MINUS_MONO_S
        told = {("overlay", name): until for name, until in state.overlays}
        told |= {("switch", name): until for name, until in state.switches}
        for wish, until_unix_s in self.granted.items():
            over = bool(until_unix_s) and until_unix_s <= unix_s + TICK_S
            assert over or told.get(wish) == until_unix_s, f"{wish} was said to be on, and is {told}\n{self._world.tail()}"

    def _probe(self, link: int, sbc: str) -> None:
        core = self._world.router.core
        if core is not None and not self._world.router.paused and link == self._link:
            core.probe_now(sbc, self._world.now_s)

    def _arrives(self, link: int, state: RoutingState) -> None:
        """A publication reaches the router: taken if newer, nothing if equal; it is never lower (CALLS 4.6)."""
        world = self._world
        router = world.router
        if router.core is None or link != self._link:
            return
        if router.paused:
            router.later(lambda _: self._arrives(link, state))
            return
        held = self.held
        if held is not None:
            order = (held.term, held.seq)
            assert (state.term, state.seq) >= order, f"(term, seq) {state.term, state.seq} after {order}\n{world.tail()}"
            if (state.term, state.seq) == order:
                assert state == held, f"two states under {order}\n{world.tail()}"
                self.again += 1
                self._say(Ack("router-0", state.term, state.seq, state.revision))
                return
        try:
            snapshot = RoutingSnapshot.build(self.tables[state.table], state)
        except SnapshotError as error:
            self._say(Nack("router-0", state.term, state.seq, str(error)))
            raise AssertionError(f"a publication does not fit: {error}\n{world.tail()}") from error
        self.held = state
        self._check_granted(state)
        self.taken += 1
        world.take(snapshot)
        self._say(Ack("router-0", state.term, state.seq, state.revision))
