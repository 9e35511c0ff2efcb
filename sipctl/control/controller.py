"""The controller process: links, store, compiler and names around the single writer (DESIGN §4).

It begins by listening: its routers say what they hold, the store says what was written, and the newer of the two is what calls
follow already. Only then does it take a term above both and speak. From there on everything is an input to the loop or an effect
of it; whatever may block (store, folder, compiler, DNS, disk) is somebody else's thread or process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from sipctl.control.audit import Auditor, OpenAudit, no_audit
from sipctl.control.auto_apply import AutoApply
from sipctl.control.canary_state import Wish, read_wish
from sipctl.control.canary_turn import resumed
from sipctl.control.changes import role_missing
from sipctl.control.dns import Resolver
from sipctl.control.keyring import SECRET_BYTES, Stored, next_key_id, ring
from sipctl.control.loop import Loop, StoreThread
from sipctl.control.names import Names
from sipctl.control.plan_requests import CANARY_OPS
from sipctl.control.plan_requests import OPS as PLAN_OPS
from sipctl.control.plans import Plans, Reached, nowhere
from sipctl.control.ports import (
    Answer,
    CallReport,
    Command,
    CompilePlan,
    DeskLink,
    Hello,
    Links,
    Notice,
    Observe,
    ProbeNow,
    Publish,
    RouterLink,
    SbcObservation,
    Store,
    ToDesk,
    View,
    Wishes,
    WriteFailed,
)
from sipctl.control.state import adopted, world_of
from sipctl.control.status import detail, status
from sipctl.control.world import (
    CanaryLive,
    CanaryLost,
    CanaryOrdered,
    CanaryPromoting,
    CanaryStuck,
    Effect,
    EndCanary,
    Faults,
    Folder,
    Gone,
    Happening,
    Heard,
    KeepGeneration,
    Keys,
    NodeNews,
    Ordered,
    Persist,
    PlanLive,
    Probe,
    PromoteCanary,
    Record,
    Reply,
    Reported,
    Resolved,
    SaveTerm,
    Say,
    Tell,
    Tick,
    World,
)
from sipctl.errors import SipctlError, StoreError
from sipctl.routing.snapshot import Decision, RoutingState

TICK_S: Final = 0.1
VIEW_S: Final = 1.0
MIN_VIEW_S: Final = 0.05  # between two views that were asked for by changes
FOLDER_S: Final = 60.0
KEYS_S: Final = 30.0
DESK_FAULT_S: Final = 60.0  # how long a failed write of the desk stays an alarm
CANCEL_S: Final = 0.1
BACKLOG: Final = 2000  # notices and answers that wait for a desk
EARLY: Final = 1000  # frames kept while the controller boots

ReadFolder = Callable[[], Mapping[str, str] | None]
WriteGeneration = Callable[[RoutingState, tuple[str, ...]], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a controller is given to live with.

    read_folder and write_generation block and are called in threads; write_generation gets the path of the state's table image,
    then that of its canary's.
    """

    links: Links
    store: Store
    compile_plan: CompilePlan
    read_folder: ReadFolder
    write_generation: WriteGeneration
    resolver: Resolver
    mono_s: Callable[[], float]
    wall_s: Callable[[], float]
    new_secret: Callable[[], bytes] = lambda: os.urandom(SECRET_BYTES)
    expected_routers: int = 1  # to be heard before a start goes on
    hear_s: float = 1.0  # but no longer than this
    reached: Reached = nowhere  # told of each step of an apply (plans.STEPS)
    folder_changes: Callable[[], AsyncIterator[None]] | None = None  # after each burst of saves; None: edits wait for `apply`
    open_audit: OpenAudit = no_audit
    node_news: Callable[[], AsyncIterator[Faults | NodeNews]] | None = None  # of this node's processes, as its supervisor tells

    def monotonic_s(self) -> float:
        return self.mono_s()

    def unix_s(self) -> float:
        return self.wall_s()


async def run_controller(
    around: Surroundings, stopped: asyncio.Event, on_ready: Callable[[int], None] | None = None
) -> None:
    """Decide until `stopped` is set.

    Args:
        on_ready: told the live revision once it has been published.
    Raises: PlanError if the first plan has errors; StoreError or EngineError if it cannot start.
    """
    controller = Controller(around)
    try:
        await controller.run(stopped, on_ready)
    finally:
        await controller.close()


class Controller:
    """See the module's docstring."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._here = asyncio.get_running_loop()
        self._store = StoreThread(around.store, self._put)
        self._plans = Plans(self._store, around.compile_plan, around, around.reached)
        self._names = Names(
            around.resolver, around.mono_s, self._plans.allocate,
            changed=lambda resolved, names: self._put(Resolved(resolved, names)),
            failed=lambda texts: self._put(Faults("dns", texts)),
        )
        self._loop: Loop | None = None
        self._auditor = Auditor(around.open_audit(self._audit_state), around.wall_s)
        self._early: deque[Happening] = deque(maxlen=EARLY)
        self._routers: dict[int, RouterLink] = {}
        self._desks: dict[int, DeskLink] = {}
        self._backlog: deque[ToDesk] = deque(maxlen=BACKLOG)
        self._links = 0
        self._hellos: dict[int, Hello] = {}
        self._heard = asyncio.Event()
        self._changed = asyncio.Event()
        self._shown: Mapping[str, SbcObservation] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._keys: list[Stored] = []
        self._desk_faults: dict[str, tuple[float, str]] = {}
        self._generation: RoutingState | None = None
        self._generation_wake = asyncio.Event()
        self._auto: AutoApply | None = None
        if around.folder_changes is not None:
            self._auto = AutoApply(self._plans, around.read_folder, self._apply, self._put)
        self._told_decisions: Mapping[str, Decision] | None = None  # as routers were told last
        self._told_revision = 0  # the newest one that routers were told, that all of them carry, that is on disk
        self._carried_revision = 0
        self._written_revision = 0

    async def run(self, stopped: asyncio.Event, on_ready: Callable[[int], None] | None) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        self._start(self._accept_routers())
        self._start(self._accept_desks())
        await self._boot()
        assert self._loop is not None
        if on_ready is not None:
            on_ready(self._plans.live)
        for duty in (
            self._loop.run(), self._store.keep_writing(), self._ticks(), self._views(), self._watch_folder(), self._turn_keys(),
            self._names.run(), self._write_generations(), self._apply_edits(),
        ):
            self._start(duty)
        if self._around.node_news is not None:
            self._start(self._heed_node(self._around.node_news()))
        stop = asyncio.ensure_future(stopped.wait())
        try:
            await asyncio.wait((stop, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            stop.cancel()

    async def close(self) -> None:
        """End every task, write what waits, let go of links."""
        while self._tasks:  # again and again: `wait_for` may swallow a cancellation that meets its result
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(tuple(self._tasks), timeout=CANCEL_S)
        if not self._store.idle:
            await self._store.flush()
        for router in tuple(self._routers.values()):
            router.close()
        for desk in tuple(self._desks.values()):
            desk.close()
        self._plans.close()
        self._store.close()

    # -- booting ---------------------------------------------------------------------------------------------------------------

    async def _boot(self) -> None:
        store = self._store
        wishes = await store.run(lambda held: held.load_wishes())
        faults: dict[str, str] = {}
        try:
            world = world_of(wishes)
        except (msgspec.ValidationError, ValueError) as error:
            world = world_of(Wishes(term=wishes.term, seq=wishes.seq))
            faults["wishes"] = f"the wishes in the store are damaged ({error}); what the routers hold is taken instead"
        folder = await asyncio.to_thread(self._around.read_folder)
        plan, _ = await asyncio.gather(self._plans.boot(folder), self._hear_routers())
        held = [hello.state for hello in self._hellos.values() if hello.state is not None]
        best = max(held, key=lambda state: (state.term, state.seq), default=None)
        is_newer = best is not None and (best.term, best.seq) > (world.term, world.seq)
        if best is not None:
            world = adopted(world, best)
        canary = await self._boot_canary(wishes, best if is_newer else None, plan.revision)
        try:
            term = await store.run(lambda kept: kept.take_term(world.term))
        except StoreError as error:
            term, faults["term"] = world.term + 1, f"the store does not write the term: {error.detail}"
        await self._load_keys()
        self._names.resolved = world.resolved
        world = replace(world, term=term, seq=0)
        self._auditor.began(wishes, world)
        self._loop = Loop(world, self._around, self._perform, self._after, self._on_bug, self._auditor.seen)
        keys, signing_key = ring(self._keys, plan.topology.max_call_age_s, self._around.wall_s())
        first: list[Happening] = [Keys(keys, signing_key), Faults("write", faults), *self._early]
        differs = folder is not None and dict(folder) != dict(self._plans.files)
        if self._auto is not None and folder is not None and not differs:
            self._auto.goes_on_from(self._plans.live)
        for happening in (*first, *canary, PlanLive(plan), Folder(differs)):
            self._loop.take(happening)
        self._tell_overruled()

    async def _boot_canary(self, wishes: Wishes, newer: RoutingState | None, live: int) -> tuple[Happening, ...]:
        """Go on with the canary that ran, before anything is published: nobody's calls change sides for a controller's death."""
        wish: Wish | None = None
        with contextlib.suppress(msgspec.ValidationError):
            wish = read_wish(wishes.canary)
        if wish is None or wish.revision == live:
            return ()
        going_on, why = resumed(wish, newer)
        if going_on is None:
            return (CanaryLost(wish.revision, why),) if why else ()
        running = await self._plans.resume(going_on)
        if running is None:
            text = f"the canary of revision {wish.revision} ended as its plan could not be made again after a restart"
            return (CanaryLost(wish.revision, text),)
        return (CanaryLive(running),)

    async def _hear_routers(self) -> None:
        """Wait a little for what the routers hold."""
        deadline_s = self._around.mono_s() + self._around.hear_s
        while len(self._hellos) < self._around.expected_routers and (left_s := deadline_s - self._around.mono_s()) > 0:
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), left_s)
            except TimeoutError:
                return

    async def _load_keys(self) -> None:
        self._keys = await self._store.run(lambda store: store.keys())
        if not self._keys:
            await self._make_key(0)

    async def _make_key(self, number: int) -> None:
        """A key is written before it is used: tokens signed with it must outlive us."""
        key = (number, self._around.new_secret(), self._around.wall_s())
        await self._store.run(lambda store: store.save_key(*key))
        self._keys = [*(one for one in self._keys if one[0] != number), key]

    # -- links -----------------------------------------------------------------------------------------------------------------

    async def _accept_routers(self) -> None:
        while True:
            link = await self._around.links.router()
            self._links += 1
            self._routers[self._links] = link
            self._start(self._read_router(self._links, link))

    async def _read_router(self, number: int, link: RouterLink) -> None:
        try:
            while (frame := await link.receive()) is not None:
                if isinstance(frame, Hello):
                    self._hellos[number] = frame
                    self._heard.set()
                elif isinstance(frame, Observe) and frame.wanted_names:
                    self._names.want(frame.wanted_names)
                self._put(Heard(number, frame))
        finally:
            self._routers.pop(number, None)
            self._hellos.pop(number, None)
            self._put(Gone(number))
            link.close()

    async def _accept_desks(self) -> None:
        while True:
            link = await self._around.links.desk()
            self._links += 1
            self._desks[self._links] = link
            while self._backlog:
                link.send(self._backlog.popleft())
            self._changed.set()
            self._start(self._read_desk(self._links, link))

    async def _read_desk(self, number: int, link: DeskLink) -> None:
        try:
            while (frame := await link.receive()) is not None:
                if isinstance(frame, WriteFailed):
                    self._desk_faults[frame.what] = (self._around.mono_s(), frame.text)
                    self._tell_desk_faults()
                elif isinstance(frame, CallReport):
                    self._put(Reported(frame))
                elif (answer := self._refused_at_once(frame)) is not None:
                    self._auditor.asked(frame)
                    self._auditor.answered(answer)
                    link.send(answer)
                elif frame.op in PLAN_OPS:
                    self._start(self._apply(frame))
                elif frame.op in CANARY_OPS:
                    self._canary(frame)
                else:
                    self._put(Ordered(frame))
        finally:
            self._desks.pop(number, None)
            link.close()

    def _refused_at_once(self, command: Command) -> Answer | None:
        """Why a command is not taken at all: nothing can be yet; or, of plans (`plan_change` asks the others), the role."""
        if self._loop is None:
            return Answer(command.id, "failed", "the controller is starting", "starting", "try again in a moment")
        no = role_missing(command) if command.op in PLAN_OPS or command.op in CANARY_OPS else None
        return None if no is None else Answer(command.id, no.status, no.text, no.code, no.hint)

    def _to_desks(self, frame: ToDesk) -> None:
        if not self._desks and not isinstance(frame, View):
            self._backlog.append(frame)
        for link in tuple(self._desks.values()):
            link.send(frame)

    async def _apply(self, command: Command) -> Answer | None:
        """Carry out `apply` or `rollback`; returns the answer if nothing changed."""
        assert self._loop is not None
        loop = self._loop
        self._auditor.asked(command)
        outcome = await self._plans.apply(command, lambda: loop.world)
        if isinstance(outcome, Answer):
            self._auditor.answered(outcome)
            self._to_desks(outcome)
            return outcome
        loop.take(outcome)  # at once: what was written is what the World holds
        self._tell_overruled()
        self._put(Folder(await self._folder_differs()))
        if self._auto is not None:
            self._start(self._auto.look())  # what was applied may be the folder itself, which then goes on from it
        return None

    def _canary(self, command: Command) -> None:
        """`canary-promote` is a matter of plans; the others are of the World alone."""
        self._auditor.asked(command)
        if command.op == "canary-promote":
            self._start(self._promote(command))
        else:
            self._put(CanaryOrdered(command))

    async def _promote(self, command: Command) -> None:
        """Make the canary's revision live; one that was due by itself and could not be is an alarm, and tried again."""
        assert self._loop is not None
        loop = self._loop
        outcome = await self._plans.promote(command, lambda: loop.world, lambda is_on: loop.take(CanaryPromoting(is_on)))
        if not isinstance(outcome, Answer):
            loop.take(outcome)
            self._tell_overruled()
            self._put(Folder(await self._folder_differs()))
            if self._auto is not None:
                self._start(self._auto.look())
        elif command.id:
            self._auditor.answered(outcome)
            self._to_desks(outcome)
        else:
            self._put(CanaryStuck(outcome.text))

    def _tell_overruled(self) -> None:
        """A plan that is live against its own tests is an alarm for as long as it is."""
        text = self._plans.overruled
        self._put(Faults("plan", {"tests-overruled": text} if text else {}))

    # -- effects ---------------------------------------------------------------------------------------------------------------

    def _put(self, happening: Happening) -> None:
        if self._loop is None:
            self._early.append(happening)
        else:
            self._loop.put(happening)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Tell(state, link):
                is_decision = self._told_decisions is not None and state.decisions != self._told_decisions
                self._told_decisions = state.decisions
                if is_decision:
                    self._around.reached("decision-made")
                for number in self._routers if link is None else (link,):
                    self._publish(number, state)
                if is_decision:
                    self._around.reached("decision-published")
                if state.revision != self._told_revision:
                    self._told_revision = state.revision
                    self._around.reached("apply-published")
            case Probe(sbc):
                for router in self._routers.values():
                    router.send(ProbeNow(sbc))
            case Persist(wishes):
                self._store.save_wishes(wishes)
            case Record(record):
                self._store.append(record)
                self._around.reached("decision-recorded")
            case SaveTerm(term):
                self._store.save_term(term)
            case Say(notice):
                self._to_desks(notice)
            case Reply(answer):
                is_apply = answer.final and answer.body.get("revision") == self._told_revision != self._carried_revision
                if is_apply:
                    self._around.reached("apply-acknowledged")
                self._to_desks(answer)
                if is_apply:
                    self._around.reached("apply-answered")
            case PromoteCanary():
                by_itself = Command("", "canary-promote", {}, "canary", "its time is over, and it was judged well")
                self._start(self._promote(by_itself))
            case EndCanary(revision, text, fell):
                self._plans.end_canary(revision)
                self._store.end_canary(revision, text, fell)
            case KeepGeneration(state):
                self._carried_revision = state.revision
                self._generation = state
                self._generation_wake.set()

    def _publish(self, number: int, state: RoutingState) -> None:
        """Send the state, with its tables whenever the router may not have them yet."""
        link, images = self._routers.get(number), self._plans.images(state)
        if link is None or self._loop is None:
            return
        seen = self._loop.world.routers.get(number)
        has = () if seen is None else (seen.table, seen.canary_table)
        missing = tuple(image.fd for image in images or () if image.table not in has)
        link.send(Publish(state, bool(missing)), missing)

    def _after(self, world: World, something: bool) -> None:
        if world.plan is not None:
            self._names.want_plan(world.plan.topology)
        if world.sbcs is not self._shown:
            something = something or _told_apart(world.sbcs) != _told_apart(self._shown)
            self._shown = world.sbcs
        if something:
            self._changed.set()

    def _on_bug(self, happening: Happening, error: Exception) -> None:
        text = f"{type(happening).__name__} could not be taken in: {type(error).__name__}: {error}"
        self._to_desks(Notice("alarm", f"a bug in the controller: {text}", self._around.wall_s(), {"id": "controller-bug"}))
        if not isinstance(happening, Faults):
            self._put(Faults("bug", {type(happening).__name__: text}))

    # -- duties ----------------------------------------------------------------------------------------------------------------

    def _start(self, duty: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(duty)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """A duty that raised ends the process: the supervisor starts a new one, and calls notice nothing."""
        self._tasks.discard(task)
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            self._failed.set_exception(error)

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._put(Tick())

    async def _views(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), VIEW_S)
            except TimeoutError:
                self._tell_desk_faults()
            self._changed.clear()
            if self._desks and self._loop is not None:
                self._to_desks(self.view(self._loop.world))
            await asyncio.sleep(MIN_VIEW_S)

    def view(self, world: World) -> View:
        """The whole picture, now."""
        now_s, image = self._around.mono_s(), self._plans.image
        return View(status(world, now_s), detail(world, now_s), world.published, image.path if image is not None else "")

    async def _watch_folder(self) -> None:
        while True:
            await asyncio.sleep(FOLDER_S)
            if self._auto is not None:
                await self._auto.look()  # a save may have gone unnoticed: a folder that was replaced, a share without events
            self._put(Folder(await self._folder_differs()))

    async def _apply_edits(self) -> None:
        """Apply the folder whenever it was saved, if that is wanted."""
        if self._auto is None or self._around.folder_changes is None:
            return
        await self._auto.look()
        async for _ in self._around.folder_changes():
            await self._auto.look()

    async def _heed_node(self, news: AsyncIterator[Faults | NodeNews]) -> None:
        async for one in news:
            self._put(one)

    async def _folder_differs(self) -> bool:
        try:
            folder = await asyncio.to_thread(self._around.read_folder)
        except (SipctlError, OSError):
            return True
        return folder is not None and dict(folder) != dict(self._plans.files)

    async def _turn_keys(self) -> None:
        """A new signing key now and then; each verifies everywhere before it signs."""
        while True:
            await asyncio.sleep(KEYS_S)
            assert self._loop is not None
            number = next_key_id(self._keys, self._around.wall_s())
            if number is not None:
                try:
                    await self._make_key(number)
                except StoreError as error:
                    self._put(Faults("key", {"new": f"no new signing key could be written: {error.detail}; the old one goes on"}))
                else:
                    self._put(Faults("key", {}))
            plan = self._loop.world.plan
            assert plan is not None
            keys, signing_key = ring(self._keys, plan.topology.max_call_age_s, self._around.wall_s())
            if (keys, signing_key) != (self._loop.world.keys, self._loop.world.signing_key):
                self._put(Keys(keys, signing_key))

    async def _write_generations(self) -> None:
        """Put the newest state that every router carries on disk; a failure is an alarm and tried again."""
        faults: dict[str, str] = {}
        while True:
            await self._generation_wake.wait()
            self._generation_wake.clear()
            state = self._generation
            images = None if state is None else self._plans.images(state)
            if state is None or images is None:
                continue
            before, faults = faults, {}
            try:
                await asyncio.to_thread(self._around.write_generation, state, tuple(one.path for one in images))
            except (SipctlError, OSError) as error:
                faults = {"disk": f"the snapshot could not be written to disk: {error}"}
            else:
                if state.revision != self._written_revision:
                    self._written_revision = state.revision
                    self._around.reached("apply-generation-written")
            if faults != before:
                self._put(Faults("generation", faults))
            if faults:
                await asyncio.sleep(VIEW_S)
                self._generation_wake.set()

    def _audit_state(self, text: str) -> None:
        """The audit cannot be written, or can be again. Called from its writer's thread."""
        self._here.call_soon_threadsafe(self._put, Faults("audit", {"write": text} if text else {}))

    def _tell_desk_faults(self) -> None:
        now_s = self._around.mono_s()
        kept = {what: one for what, one in self._desk_faults.items() if now_s - one[0] < DESK_FAULT_S}
        told = {f"desk:{what}" for what in kept}
        standing = self._loop.world.faults if self._loop is not None else {}
        if told != {name for name in standing if name.startswith("desk:")}:
            self._put(Faults("desk", {what: text for what, (_, text) in kept.items()}))
        self._desk_faults = kept


def _told_apart(sbcs: Mapping[str, SbcObservation]) -> list[tuple[str, bool, bool]]:
    """What of an SBC calls alone have shown, and is worth a view at once; measured states make a line of the story anyway."""
    return [(name, seen.resting_s > 0, seen.suspect) for name, seen in sbcs.items()]
