"""The controller of a simulated world: the real `reconcile`, its store, its links, and its many deaths.

What the processes do around the decision function is modelled here in virtual time: frames take a moment, the store is written
after the routers were told, a new controller hears its router first and takes a term above all it knows (CALLS 4.6). What must
hold is asserted where it must hold: at the router, which takes publications in order and never a lower one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sipctl.control.canary_state import Running, Wish, read_wish
from sipctl.control.canary_turn import begun, resumed
from sipctl.control.plans import FIRST_DNS_SBC_ID
from sipctl.control.ports import Ack, Answer, Command, FromRouter, Hello, Nack, Wishes
from sipctl.control.reconcile import reconcile
from sipctl.control.state import adopted, wishes_of, world_of
from sipctl.control.world import (
    CanaryLive,
    CanaryLost,
    Effect,
    Faults,
    Gone,
    Happening,
    Heard,
    Keys,
    Ordered,
    Persist,
    PlanLive,
    Probe,
    PromoteCanary,
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
from sipctl.routing.canary import moved_sbcs
from sipctl.routing.fence import Ruling, ruling
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
RETRY_S: Final = 1.0  # after a failed write
KEPT_BACK: Final = 32  # publications remembered to come once more, late
RESOLVE_S: Final = 0.3  # until a name has its addresses
STORY: Final = ("decision", "overlay", "switch", "operator", "alarm")


class Control:
    """One controller after the other; `knows` is None while there is none."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self.knows: Knowledge | None = None
        self.plan = plan  # the live revision, as the store holds it
        self.canary_plan: Plan | None = None  # the revision a canary has, or had last
        self.wishes = Wishes()  # as the store holds them
        self.term = 0
        self.tables: dict[str, Table] = {}
        self.deaths = 0
        self.decisions = 0
        self.moves: list[tuple[float, str, str]] = []  # (instant, group, rule) of each decision that moved new calls
        self.taken = 0  # publications that were new to a router
        self.again = 0  # and those that said the same again
        self.answers: list[Answer] = []
        self.refused = 0  # publications that came too late
        self.link_s = LINK_S  # how long a frame takes now; on one link none overtakes another
        self.store_fails = False
        self.wall_jump_s = 0.0  # of the controller's and the next routers' wall clock
        self.dies_after: Callable[[tuple[Effect, ...]], int | None] | None = None  # how many of these effects are carried out
        self._is_cut = False  # the router and the controllers do not reach each other
        self.sent: deque[RoutingState] = deque(maxlen=KEPT_BACK)  # publications, those of dead controllers among them
        self._free_s = 0.0
        self._waiting: list[Happening] | None = None  # what a controller that stands still will hear
        self._newest: Wishes | None = None  # asked to be written
        self._evidence: dict[tuple[str, int], int] = {}  # (group, epoch) → share at BCP that a record accounts for
        self._told: dict[str, int] = {}  # share at BCP by group, as was published last
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
        reachable = world.router.core is not None and not world.router.paused and not self._is_cut
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
        self._go_on_with_canary()
        self.put(PlanLive(self._live(self.plan)))
        self._tick(self.deaths)

    def first_snapshot(self) -> RoutingSnapshot:
        """What the first router is started with."""
        assert self.knows is not None and self.knows.published is not None
        self.held = self.knows.published
        return self._built(self.held)

    @property
    def is_followed(self) -> bool:
        """Whether the router holds what was published last."""
        return self.knows is not None and self.knows.published == self.held

    def die(self, down_s: float) -> None:
        """`kill -9`: what was told is told, what was not yet written is lost."""
        if self.knows is None:
            return
        self._world.note(f"the controller dies, successor in {down_s:.3f} s")
        self.knows = self._waiting = None
        self.deaths += 1
        self._world.at(down_s, self.boot)

    def stand_still(self, gap_s: float) -> None:
        """The controller stands still, as under SIGSTOP, for less than would have it replaced."""
        if self.knows is None or self._waiting is not None:
            return
        self._world.note(f"the controller stands still for {gap_s} s")
        self._waiting = []
        life = self.deaths
        self._world.at(gap_s, lambda: self.wake() if self.deaths == life else None)

    def wake(self) -> None:
        """It goes on with what it had not heard meanwhile."""
        waiting, self._waiting = self._waiting, None
        for happening in waiting or ():
            self.put(happening)

    def comes_late(self, state: RoutingState) -> None:
        """A publication that was held back somewhere reaches the router now, whoever lives meanwhile."""
        router = self._world.router
        if router.core is not None and not router.paused:
            self._world.note(f"term {state.term} seq {state.seq} comes late")
            self._offered(state, late=True)

    def cut(self) -> None:
        """From now on nothing passes between the router and any controller."""
        self._is_cut = True
        self.router_died()

    def mend(self) -> None:
        """They hear each other again."""
        self._is_cut = False
        self._connect()

    def stop(self) -> None:
        """The end of the world: nothing is decided any more."""
        self.knows = None
        self.deaths += 1

    def begin_canary(self, plan: Plan, permille: int, for_s: float | None = None) -> bool:
        """Another revision for a share of the callers: written, then published; False while there is no controller to ask."""
        if self.knows is None or self.knows.plan is None:
            return False
        moved = moved_sbcs(self.knows.plan.topology, self._live(plan).topology)
        unix_s = self._world.now_s + UNIX_MINUS_MONO_S
        ids = {name: FIRST_DNS_SBC_ID + at for at, name in enumerate(moved)}
        until = None if for_s is None else unix_s + for_s
        self.canary_plan = plan
        running = self._running(Wish(plan.revision, permille, unix_s, until, "ops-1", "a try", ids))
        self._write(self.deaths, wishes_of(begun(self.knows, running, unix_s)))
        self.put(CanaryLive(running))
        return True

    def _running(self, wish: Wish) -> Running:
        assert self.canary_plan is not None
        live = self._live(self.canary_plan)
        return Running(wish, live.topology, live.table, live.numbers)

    def _go_on_with_canary(self) -> None:
        """What a new controller does with the wish it finds (Controller._boot_canary)."""
        wish = read_wish(self.wishes.canary)
        if wish is None or wish.revision == self.plan.revision:
            return
        newer = self.held is not None and (self.held.term, self.held.seq) > (self.wishes.term, self.wishes.seq)
        going_on, why = resumed(wish, self.held if newer else None)
        if going_on is not None:
            self.put(CanaryLive(self._running(going_on)))
        elif why:
            self.put(CanaryLost(wish.revision, why))

    def _built(self, state: RoutingState) -> RoutingSnapshot:
        canary = None if state.canary is None else self.tables[state.canary.table]
        return RoutingSnapshot.build(self.tables[state.table], state, canary)

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
            self._asked = {asked: one for asked, one in self._asked.items() if one[0] != (kind, args[kind])}
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
        if self._waiting is not None:
            self._waiting.append(happening)
            return
        now_s = self._world.now_s
        self.knows, effects = reconcile(before, happening, now_s, now_s + UNIX_MINUS_MONO_S + self.wall_jump_s)
        assert (self.knows.term, self.knows.seq) >= (before.term, before.seq), "(term, seq) fell"
        for name, memory in self.knows.groups.items():
            assert name not in before.groups or memory.epoch >= before.groups[name].epoch, f"the epoch of {name} fell"
        for effect in effects:
            if isinstance(effect, Record) and effect.record.kind == "group":
                self._evidence[effect.record.group, effect.record.epoch] = effect.record.after["bcp_percent"]
        last = None if self.dies_after is None else self.dies_after(effects)
        for effect in effects[:last]:
            self._perform(effect)
        if last is not None:
            self.die(0.3)

    def _perform(self, effect: Effect) -> None:
        world, life, link = self._world, self.deaths, self._link
        match effect:
            case Tell(state):
                self._has_evidence(state)
                self.sent.append(state)
                world.at(self._takes_s(), lambda: self._arrives(link, state))
            case Probe(sbc):
                world.at(self._takes_s(), lambda: self._probe(link, sbc))
            case Persist(wishes):
                self._newest = wishes
                world.at(WRITE_S, lambda: self._write(life, wishes))
            case Record(record) if record.kind == "group":
                again = replay(record.before, record.inputs)
                assert (again.rule, again.sentence) == (record.rule, record.sentence), "a decision record does not replay"
                self.decisions += 1
                if record.before["bcp_percent"] != record.after["bcp_percent"]:
                    self.moves.append((world.now_s, record.group, record.rule))
            case PromoteCanary():
                assert self.canary_plan is not None
                self.plan = self.canary_plan
                self.put(PlanLive(self._live(self.plan)))
            case SaveTerm(term):
                self.term = max(self.term, term)
            case Reply(answer):
                self.answers.append(answer)
                if answer.status == "done" and answer.id in self._asked:
                    wish, until_unix_s = self._asked.pop(answer.id)
                    self.granted[wish] = until_unix_s
            case Say(notice) if notice.kind in STORY:
                world.note(notice.text)

    def _takes_s(self) -> float:
        """How long a frame that is said now takes to the router."""
        at_s = max(self._world.now_s + self.link_s, self._free_s)
        self._free_s = at_s
        return at_s - self._world.now_s

    def _has_evidence(self, state: RoutingState) -> None:
        """No decision without recorded evidence: a share that changed is the one a record of that epoch accounts for."""
        for name, decision in state.decisions.items():
            before, self._told[name] = self._told.get(name, 0), decision.bcp_percent
            if decision.bcp_percent != before:
                known = self._evidence.get((name, decision.epoch))
                assert known == decision.bcp_percent, f"{name} goes to {decision} without a record\n{self._world.tail()}"

    def _write(self, life: int, wishes: Wishes) -> None:
        """Write the newest wishes; while the store fails, an alarm, and once more in a second."""
        if self.deaths != life or wishes is not self._newest:
            return
        if self.store_fails:
            self.put(Faults("write", {"wishes": "the disk is full; it is tried again"}))
            self._world.at(RETRY_S, lambda: self._write(life, wishes))
            return
        self.wishes = wishes
        if self.knows is not None and any(name.startswith("write:") for name in self.knows.faults):
            self.put(Faults("write", {}))

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
        if self.knows is None or core is None or self._is_cut:
            return
        self._link += 1
        self._free_s = 0.0
        self._say(Hello("router-0", 0, 100 + self._world.router.deaths, self.held))

    def _say(self, frame: FromRouter) -> None:
        """The router sends a frame; it is lost with its link."""
        if self._is_cut:
            return
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
        unix_s = self._world.now_s + UNIX_MINUS_MONO_S + self.wall_jump_s
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
        self._offered(state, late=False)

    def _offered(self, state: RoutingState, *, late: bool) -> None:
        """The router judges what it is offered, by the rule of the product."""
        world, held = self._world, self.held
        verdict = ruling(held, state)
        if held is not None and verdict is Ruling.OLDER:
            assert late, f"(term, seq) {state.term, state.seq} after {held.term, held.seq}\n{world.tail()}"
            self.refused += 1
            self._say(Nack("router-0", state.term, state.seq, "older than what is held"))
            return
        if verdict is Ruling.AGAIN:
            assert state == held, f"two states under {state.term, state.seq}\n{world.tail()}"
            self.again += 1
            self._say(Ack("router-0", state.term, state.seq, state.revision))
            return
        try:
            snapshot = self._built(state)
        except SnapshotError as error:
            self._say(Nack("router-0", state.term, state.seq, str(error)))
            raise AssertionError(f"a publication does not fit: {error}\n{world.tail()}") from error
        self.held = state
        self._check_granted(state)
        self.taken += 1
        world.take(snapshot)
        self._say(Ack("router-0", state.term, state.seq, state.revision))
