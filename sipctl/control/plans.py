"""Plans on their way to the calls: compiled by a child, written, and only then handed to the World.

The order of steps is what makes a crash harmless: the table image, the ids, the revision, and last, in one transaction, the word
that it is live and what will be retired by it. A controller that dies in between boots with the old revision or with the new one,
never with half of one; a revision that was kept and never made live stays in the history and says so. STEPS names every step,
`reached` is told of each: a test ends the process there, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from sipctl.control.canary_state import Running, Wish, share_text
from sipctl.control.canary_turn import NO_CANARY, begun
from sipctl.control.loop import Clock, StoreThread
from sipctl.control.plan_canary import CANARY_RUNNING, unfit
from sipctl.control.plan_history import MAX_HISTORY, changes_since, content_of, fallen, is_still_base, undone
from sipctl.control.plan_images import Image, load_image, remove_file
from sipctl.control.plan_requests import PlanRequest, request_of
from sipctl.control.plan_rules import carried, forbidden, may_overrule, touched
from sipctl.control.ports import Answer, Command, CompilePlan, CompileResult, Revision, Store
from sipctl.control.retire import retired_now
from sipctl.control.state import wishes_of
from sipctl.control.world import CanaryLive, CanaryOrdered, Plan, PlanLive, World
from sipctl.errors import EngineError, Finding, PlanError, SipctlError, StoreError
from sipctl.routing.canary import moved_sbcs
from sipctl.routing.snapshot import RoutingState

KEEP_IMAGES: Final = 2  # the live one and the one before: a reader may still hold its path
FIRST_DNS_SBC_ID: Final = 1 << 23  # the plan's own SBCs have ids below
MAX_SBC_ID: Final = (1 << 24) - 1
PREPARED_S: Final = 600.0  # what a dry run compiled is kept so long for the apply that follows it
TEST_FAILED: Final = "test.failed"  # the one finding an operator may overrule
# Every step of an apply, in order; the last four are the controller's (controller.py).
STEPS: Final = (
    "apply-received", "apply-compiled", "apply-allowed", "apply-ids-written", "apply-stored", "apply-live-written",
    "apply-published", "apply-acknowledged", "apply-answered", "apply-generation-written",
)  # fmt: skip

Reached = Callable[[str], None]
Outcome = PlanLive | CanaryLive | CanaryOrdered | Answer
Made = tuple[CompileResult, tuple[Plan, Image] | None]


def nowhere(step: str) -> None:
    """Nobody watches the steps."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a dry run compiled, for the apply that follows it."""

    content: str
    number: int
    despite: tuple[str, ...]
    made: tuple[CompileResult, tuple[Plan, Image]]


class Refusal(Exception):  # noqa: N818 - carries an answer out of a step
    """An apply ends here, and nothing changed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


class Plans:
    """The plans of one STATE.

    Args:
        store: the store's thread; compile_plan: the compiler child.
        reached: told of each of STEPS.
    """

    def __init__(self, store: StoreThread, compile_plan: CompilePlan, clock: Clock, reached: Reached = nowhere) -> None:
        self._store = store
        self._compile = compile_plan
        self._clock = clock
        self._reached = reached
        self._ids: dict[str, dict[str, int]] = {}
        self._giving = asyncio.Lock()  # ids are given by one at a time
        self._applying = asyncio.Lock()  # one plan after the other
        self._paths: list[str] = []
        self._prepared: Prepared | None = None
        self.canary: tuple[Revision, CompileResult, tuple[Plan, Image]] | None = None  # the one that runs
        self.image: Image | None = None
        self.files: Mapping[str, str] = {}  # of the live revision
        self.live = 0
        self.overruled = ""  # a sentence, while a plan is live whose own tests fail

    # -- ids -------------------------------------------------------------------------------------------------------------------

    async def allocate(self, names: Iterable[str]) -> Mapping[str, int]:
        """Numeric ids of SBCs that DNS named; new ones are written before they are used.

        Raises: StoreError if a new one could not be written.
        """
        async with self._giving:
            known = self._ids.setdefault("sbc", {})
            wanted = list(names)
            free = max((number for number in known.values() if number >= FIRST_DNS_SBC_ID), default=FIRST_DNS_SBC_ID - 1) + 1
            new = {name: free + index for index, name in enumerate(dict.fromkeys(one for one in wanted if one not in known))}
            if free + len(new) > MAX_SBC_ID:
                raise StoreError("no id is left for another SBC that DNS named", hint="start with an empty STATE")
            if new:
                await self._store.run(lambda store: store.save_ids({"sbc": new}))
                known.update(new)
            return {name: known[name] for name in wanted}

    # -- booting ---------------------------------------------------------------------------------------------------------------

    async def boot(self, folder: Mapping[str, str] | None) -> Plan:
        """The live revision, or the folder as the first one.

        Raises: PlanError with every finding if it does not compile; StoreError; EngineError if there is neither.
        """
        self._ids = await self._store.run(lambda store: store.ids())
        live = await self._store.run(lambda store: store.live_revision())
        if live is not None:
            result, plan = await self._made(live.files, live.number, ("tests",))
            if plan is None:
                raise _plan_error(result)
            self._now_live(live, result, plan)
            return plan[0]
        if not folder:
            raise EngineError("there is no live revision, and no folder to take the first one from", hint="--config DIR")
        result, plan = await self._made(folder, number := await self._next_number())
        if plan is None:
            raise _plan_error(result)
        now_s = self._clock.unix_s()
        first = Revision(number, now_s, "sipctl", "first start", None, None, folder, content=content_of(folder))

        def write(store: Store) -> None:
            store.save_ids(result.ids)
            store.add_revision(first)
            store.set_live(number, now_s)

        await self._store.run(write)
        self._keep_ids(result.ids)
        self._now_live(first, result, plan)
        return plan[0]

    # -- apply and rollback ----------------------------------------------------------------------------------------------------

    async def apply(self, command: Command, world: Callable[[], World]) -> Outcome:
        """Compile and write an operator's plan, or an older revision's.

        Args:
            world: the World of the moment it is asked for; it goes on while a plan is compiled.
        Returns: what to put into the World; or the answer, if nothing is to change (refused, invalid, a dry run).
        """
        self._reached("apply-received")
        request = request_of(command)
        if isinstance(request, Answer):
            return request
        async with self._applying:
            try:
                return await self._applied(command, request, world)
            except Refusal as refusal:
                return refusal.answer
            except SipctlError as error:
                return Answer(command.id, "failed", f"not applied: {error.detail}", error.code, error.hint)

    async def _applied(self, command: Command, request: PlanRequest, world: Callable[[], World]) -> Outcome:
        request, content = await self._wanted(command, request)
        if self.canary is not None and request.rollback_to is None:
            text = f"the canary of revision {self.canary[0].number} runs: one edit after the other"
            hint = "sipctl canary promote, or abort, or wait for its end"
            return Answer(command.id, "refused", text, CANARY_RUNNING, hint, {"canary": self.canary[0].number})
        if request.files == self.files:
            if self.canary is not None:  # back to what all others have: that is the canary's end
                return CanaryOrdered(msgspec.structs.replace(command, op="canary-abort"))
            return Answer(command.id, "done", f"revision {self.live} is live and the same", body={"revision": self.live})
        history = await self._store.run(lambda store: store.revisions(MAX_HISTORY))
        self._check_history(command, request, content, history)
        number = max((one.number for one in history), default=0) + 1
        result, plan = await self._made_once(content, request, number)
        self._reached("apply-compiled")
        if plan is None:
            return _invalid(command, result)
        topology, image = plan
        failed = _failed_tests(result)
        does = "is live" if request.canary is None else f"takes {share_text(request.canary.permille)} of the callers"
        text = f"revision {number} {does}" + (f" although {failed} of its own tests fail" if failed else "")
        body = {
            **touched(world(), topology), "revision": number, "base": self.live, "findings": list(result.findings),
            "diff": list(result.diff), "restart": list(result.restart),
        }  # fmt: skip
        try:
            _check_rules(command, world(), topology)
            if request.canary is not None:
                _check_canary(command, world(), topology, result)
            if command.dry_run:
                self._prepare(Prepared(content, number, _despite(request), (result, plan)))
                would = f"would make {text.replace(does, does.replace('is live', 'live').replace('takes', 'take'), 1)}"
                return Answer(command.id, "done", would, body={**body, "dry_run": True})
            self._reached("apply-allowed")
            revision = Revision(
                number, self._clock.unix_s(), command.actor, command.reason, request.commit, self.live, request.files,
                content=content, rollback_to=request.rollback_to, despite=("tests",) if failed else (), again=request.again,
                diff=result.diff, canary=0 if request.canary is None else request.canary.permille,
            )  # fmt: skip
            if request.canary is not None:
                running = await self._write_canary(command, revision, request.canary.for_s, (result, plan), world)
                return CanaryLive(running, command.id, {**body, "canary": number}, text)
            await self._write(command, revision, result, topology, world)
        except (SipctlError, Refusal):
            image.drop()
            raise
        self._now_live(revision, result, plan)
        live = replace(topology, author=command.actor, reason=command.reason)
        return PlanLive(live, command.id, body, command.actor, text)

    async def _wanted(self, command: Command, request: PlanRequest) -> tuple[PlanRequest, str]:
        """The request with the files it is about, and their digest."""
        if (number := request.rollback_to) is not None:
            revision = await self._store.run(lambda store: store.revision(number))
            if revision is None:
                text = f"there is no revision {number}"
                raise Refusal(Answer(command.id, "invalid", text, "unknown-revision", "sipctl revisions"))
            request = replace(request, files=revision.files, commit=request.commit or revision.commit)
        return request, await asyncio.to_thread(content_of, request.files)

    def _check_history(self, command: Command, request: PlanRequest, content: str, history: list[Revision]) -> None:
        """Raises: Refusal if somebody applied since the base, or the content was rolled back and nobody says `again`."""
        if request.base is not None and not is_still_base(history, request.base, self.live):
            since = changes_since(history, request.base)
            who = ", ".join(f"{one['author']} (revision {one['revision']}: {one['reason']})" for one in since)
            text = f"revision {self.live} is live, not {request.base}: {who or 'somebody'} applied in between"
            hint = f"sipctl diff shows what is live against your folder; take it over, then --base {self.live}"
            body = {"live": self.live, "base": request.base, "since": since}
            raise Refusal(Answer(command.id, "conflict", text, "stale-base", hint, body))
        fell = fallen(history).get(content)
        if fell is not None and not request.again:
            text = f"this is the content of revision {fell.number}: {fell.ended}"
            raise Refusal(Answer(command.id, "refused", text, "rolled-back", "--again if it is meant", {"revision": fell.number}))
        before = undone(history).get(content)
        if before is not None and not request.again:
            left, rollback = before
            text = (
                f"this is the content of revision {left.number}, which {rollback.author} rolled back with revision "
                f"{rollback.number}: {rollback.reason}"
            )
            raise Refusal(Answer(command.id, "refused", text, "rolled-back", "--again if it is meant", {"revision": left.number}))

    async def _write(
        self, command: Command, revision: Revision, result: CompileResult, plan: Plan, world: Callable[[], World]
    ) -> None:
        """Keep the plan, then make it live: what is slow first, and the rules once more before the one write that counts."""

        await self._keep(revision, result)
        await self._make_live(command, revision, result, plan, world)

    async def _keep(self, revision: Revision, result: CompileResult) -> None:
        """The ids and the revision, not live yet."""
        renamed = self._renamed(result)
        fresh = {
            kind: {name: number for name, number in names.items() if name not in renamed.get(kind, {})}
            for kind, names in result.ids.items()
        }

        def keep(store: Store) -> None:
            store.save_ids(fresh)
            self._reached("apply-ids-written")
            store.add_revision(revision)
            self._reached("apply-stored")

        await self._store.run(keep)
        self._keep_ids(fresh)

    async def _make_live(
        self, command: Command, revision: Revision, result: CompileResult, plan: Plan, world: Callable[[], World]
    ) -> None:
        """The one write that counts, with the rules asked once more before it."""
        renamed = self._renamed(result)
        now = world()
        _check_rules(command, now, plan)
        wishes = wishes_of(_before_live(now, plan, self._clock.unix_s()))

        def make_live(store: Store) -> None:
            store.set_live(revision.number, self._clock.unix_s(), wishes, renamed)
            self._reached("apply-live-written")

        await self._store.run(make_live)
        for kind, names in renamed.items():
            for new, old in names.items():
                self._ids[kind][new] = self._ids[kind].pop(old)

    # -- a canary --------------------------------------------------------------------------------------------------------------

    async def _write_canary(
        self, command: Command, revision: Revision, for_s: float | None, made: tuple[CompileResult, tuple[Plan, Image]],
        world: Callable[[], World],
    ) -> Running:  # fmt: skip
        """Keep the plan and the wish that a share of the callers goes by it; live it becomes with its promotion."""
        result, (plan, _) = made
        before = world().plan
        assert before is not None
        await self._keep(revision, result)
        moved = moved_sbcs(before.topology, plan.topology)
        ids = await self.allocate([f"{name}@{place}" for name, place in moved.items()])
        now_s = self._clock.unix_s()
        wish = Wish(
            revision.number, revision.canary, now_s, None if for_s is None else now_s + for_s, command.actor, command.reason,
            {name: ids[f"{name}@{place}"] for name, place in moved.items()},
        )  # fmt: skip
        running = Running(wish, plan.topology, plan.table, plan.numbers)
        now = world()
        _check_rules(command, now, plan)
        wishes = wishes_of(begun(now, running, now_s))

        def begin(store: Store) -> None:
            store.save_wishes(wishes)
            self._reached("apply-live-written")

        await self._store.run(begin)
        self.canary = (revision, *made)
        return running

    async def resume(self, wish: Wish) -> Running | None:
        """After a restart: the canary's plan once more; None if it cannot be made."""
        revision = await self._store.run(lambda store: store.revision(wish.revision))
        if revision is None:
            return None
        try:
            result, plan = await self._made(revision.files, wish.revision, ("tests",))
        except SipctlError:
            return None
        if plan is None:
            return None
        self.canary = (revision, result, plan)
        return Running(wish, plan[0].topology, plan[0].table, plan[0].numbers)

    async def promote(
        self, command: Command, world: Callable[[], World], promoting: Callable[[bool], None]
    ) -> PlanLive | Answer:  # fmt: skip
        """Make the canary's revision live for everybody; compiled and kept it is already.

        Args:
            promoting: told True before the write that counts, so that nothing ends the canary meanwhile; False if it failed.
        """
        async with self._applying:
            if self.canary is None or world().canary is None:
                return Answer(command.id, "refused", "no canary runs", NO_CANARY, "sipctl apply --canary 5% begins one")
            revision, result, (plan, image) = self.canary
            text = f"revision {revision.number} is live"
            body = {**touched(world(), plan), "revision": revision.number, "base": self.live}
            try:
                if command.dry_run:
                    _check_rules(command, world(), plan)
                    would = f"would make revision {revision.number} live"
                    return Answer(command.id, "done", would, body={**body, "dry_run": True})
                promoting(True)
                try:
                    await self._make_live(command, revision, result, plan, world)
                except BaseException:
                    promoting(False)
                    raise
            except Refusal as refusal:
                return refusal.answer
            except SipctlError as error:
                return Answer(command.id, "failed", f"not promoted: {error.detail}", error.code, error.hint)
            self.canary = None
            self._now_live(revision, result, (plan, image))
            live = replace(plan, author=revision.author, reason=revision.reason)
            return PlanLive(live, command.id, body, command.actor, text)

    def end_canary(self, number: int) -> None:
        """It is over without becoming live: its table goes."""
        if self.canary is not None and self.canary[0].number == number:
            self.canary[2][1].drop()
            self.canary = None

    def images(self, state: RoutingState) -> tuple[Image, ...] | None:
        """The tables a state names, its canary's last; None if one of them is not here any more."""
        found = [] if self.image is None or self.image.table != state.table else [self.image]
        if found and state.canary is not None:
            image = None if self.canary is None else self.canary[2][1]
            if image is None or image.table != state.canary.table:
                return None
            found.append(image)
        return tuple(found) or None

    async def _next_number(self) -> int:
        newest = await self._store.run(lambda store: store.revisions(1))
        return newest[0].number + 1 if newest else 1

    # -- compiling -------------------------------------------------------------------------------------------------------------

    async def _made_once(self, content: str, request: PlanRequest, number: int) -> Made:
        """Compile, unless a dry run of the same plan just did."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            if (prepared.content, prepared.number, prepared.despite) == (content, number, _despite(request)):
                return prepared.made
            prepared.made[1][1].drop()
        return await self._made(request.files, number, _despite(request), self.image.path if self.image is not None else "")

    def _prepare(self, prepared: Prepared) -> None:
        self._prepared = prepared
        asyncio.get_running_loop().call_later(PREPARED_S, self._forget, prepared)

    def _forget(self, prepared: Prepared) -> None:
        if self._prepared is prepared:
            self._prepared = None
            prepared.made[1][1].drop()

    async def _made(self, files: Mapping[str, str], number: int, despite: tuple[str, ...] = (), against: str = "") -> Made:
        result = await self._compile(files, number, self._ids, despite, against)
        if not _is_acceptable(result, despite):
            return result, None
        return result, await asyncio.to_thread(load_image, result.image_path, number)

    def _keep_ids(self, ids: Mapping[str, Mapping[str, int]]) -> None:
        for kind, names in ids.items():
            self._ids.setdefault(kind, {}).update(names)

    def _renamed(self, result: CompileResult) -> dict[str, dict[str, str]]:
        """kind → new name → old name, where the compiler gave an entity the id of the one it replaces."""
        found: dict[str, dict[str, str]] = {}
        for kind, names in result.ids.items():
            holders = {number: name for name, number in self._ids.get(kind, {}).items() if name not in names}
            moved = {name: holders[number] for name, number in names.items() if number in holders}
            if moved:
                found[kind] = moved
        return found

    # -- the live one ----------------------------------------------------------------------------------------------------------

    def _now_live(self, revision: Revision, result: CompileResult, plan: tuple[Plan, Image]) -> None:
        if self.image is not None:
            self.image.close()
        self.live, self.files, self.image = revision.number, revision.files, plan[1]
        failed = _failed_tests(result)
        self.overruled = (
            f"revision {revision.number} is live although {failed} of its own tests fail: {revision.author} applied it all the "
            f"same ({revision.reason})"
            if failed
            else ""
        )
        self._paths.append(plan[1].path)
        while len(self._paths) > KEEP_IMAGES:
            old = self._paths.pop(0)
            if old not in self._paths:
                remove_file(old)

    def close(self) -> None:
        if self._prepared is not None:
            self._forget(self._prepared)
        if self.canary is not None:
            self.canary[2][1].close()
            self.canary = None
        if self.image is not None:
            self.image.close()
            self.image = None


def _despite(request: PlanRequest) -> tuple[str, ...]:
    """A rollback is never stopped by a test: its content was live before, and the night is not for mending tests."""
    return ("tests",) if request.rollback_to is not None else request.despite


def _check_rules(command: Command, world: World, plan: Plan) -> None:
    """Raises: Refusal by the first rule the plan breaks now."""
    broken = forbidden(world, plan, may_overrule(world, command))
    if broken is not None:
        raise Refusal(Answer(command.id, broken.status, broken.text, broken.code, broken.hint))


def _check_canary(command: Command, world: World, plan: Plan, result: CompileResult) -> None:
    """Raises: Refusal if this plan cannot be carried beside the live one."""
    assert world.plan is not None
    no = unfit(world.plan.topology, plan.topology, result.restart)
    if no is not None:
        raise Refusal(Answer(command.id, no.status, no.text, no.code, no.hint))


def _before_live(world: World, plan: Plan, unix_s: float) -> World:
    """The world as it must be written before the plan is live: a successor must know what retires with it.

    A renamed group stands under both names, since the successor may boot with either plan.
    """
    before = world.plan
    if before is None:
        return world
    resolved = world.resolved
    return replace(
        world,
        canary=None,
        canary_fell=None,
        retired=retired_now(before.topology, resolved, plan.topology, resolved, world.retired, unix_s),
        groups={**world.groups, **carried(world.groups, before.topology, plan.topology)},
    )


def _is_acceptable(result: CompileResult, despite: tuple[str, ...]) -> bool:
    errors = {one.get("code") for one in result.findings if one.get("severity") == "error"}
    return result.ok and errors <= ({TEST_FAILED} if "tests" in despite else set())


def _failed_tests(result: CompileResult) -> int:
    return sum(1 for one in result.findings if one.get("code") == TEST_FAILED)


def _invalid(command: Command, result: CompileResult) -> Answer:
    body: dict[str, Any] = {"findings": list(result.findings)}
    error = _plan_error(result)
    only_tests = {one.get("code") for one in result.findings if one.get("severity") == "error"} == {TEST_FAILED}
    hint = "mend the plan or its tests; --despite tests applies it all the same, and says so for as long as it is live"
    return Answer(command.id, "invalid", error.detail, PlanError.code, hint if only_tests else "", body=body)


def _plan_error(result: CompileResult) -> PlanError:
    fields = ("path", "line", "column", "code", "severity", "message", "hint", "excerpt")
    return PlanError(tuple(Finding(**{name: one[name] for name in fields if name in one}) for one in result.findings))
