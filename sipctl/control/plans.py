"""Plans on their way to the calls: compiled by a child, written, and only then handed to the World.

The order of writes is what makes a crash harmless: what will be retired, the ids, the revision, and last the word that it is
live. A controller that dies in between boots with the old revision or with the new one, never with half of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sipctl.control.loop import Clock, StoreThread
from sipctl.control.ports import Answer, Command, CompilePlan, CompileResult, Revision, Store
from sipctl.control.retire import retired_now
from sipctl.control.state import wishes_of
from sipctl.control.world import Plan, PlanLive, World
from sipctl.errors import EngineError, Finding, PlanError, SipctlError, StoreError
from sipctl.routing.table import Table, load_table

MAX_FILES: Final = 10_000
MAX_FILES_BYTES: Final = 64 << 20
KEEP_IMAGES: Final = 2  # the live one and the one before: a reader may still hold its path
FIRST_DNS_SBC_ID: Final = 1 << 23  # the plan's own SBCs have ids below
MAX_SBC_ID: Final = (1 << 24) - 1
TEST_FAILED: Final = "test.failed"  # the one finding an operator may overrule
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class Image:
    """A compiled table: its file, and sealed memory that routers map."""

    path: str
    fd: int
    table: str  # content hash


class Plans:
    """The plans of one STATE.

    Args:
        store: the store's thread; compile_plan: the compiler child.
    """

    def __init__(self, store: StoreThread, compile_plan: CompilePlan, clock: Clock) -> None:
        self._store = store
        self._compile = compile_plan
        self._clock = clock
        self._ids: dict[str, dict[str, int]] = {}
        self._lock = asyncio.Lock()  # ids are given by one at a time
        self._paths: list[str] = []
        self.image: Image | None = None
        self.files: Mapping[str, str] = {}  # of the live revision
        self.live = 0

    # -- ids -------------------------------------------------------------------------------------------------------------------

    async def allocate(self, names: Iterable[str]) -> Mapping[str, int]:
        """Numeric ids of SBCs that DNS named; new ones are written before they are used.

        Raises: StoreError if a new one could not be written.
        """
        async with self._lock:
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
            result, plan = await self._made(live.files, live.number, despite=("tests",))
            if plan is None:
                raise _plan_error(result)
            self._now_live(live.number, live.files, plan)
            return plan[0]
        if not folder:
            raise EngineError("there is no live revision, and no folder to take the first one from", hint="--config DIR")
        number = await self._next_number()
        result, plan = await self._made(folder, number)
        if plan is None:
            raise _plan_error(result)
        await self._write(Revision(number, self._clock.unix_s(), "sipctl", "first start", None, None, folder), result, None)
        self._now_live(number, folder, plan)
        return plan[0]

    # -- apply -----------------------------------------------------------------------------------------------------------------

    async def apply(self, command: Command, world: World) -> PlanLive | Answer:
        """Compile and write an operator's plan.

        Returns: what to put into the World; or the answer, if nothing is to change (refused, invalid, a dry run).
        """
        asked = _asked(command)
        if isinstance(asked, Answer):
            return asked
        files, base, commit, despite = asked
        async with self._lock:
            if files == self.files:
                return Answer(command.id, "done", f"revision {self.live} is live and the same", body={"revision": self.live})
            if base is not None and base != self.live:
                text = f"revision {self.live} is live, not {base}: somebody applied in between"
                return Answer(command.id, "conflict", text, "stale-base", f"compare with `sipctl diff`, then --base {self.live}")
            number = await self._next_number()
            try:
                result, plan = await self._made(files, number, despite)
            except SipctlError as error:
                return Answer(command.id, "failed", error.detail, error.code, error.hint)
            if plan is None:
                text = _plan_error(result).detail
                return Answer(command.id, "invalid", text, PlanError.code, body={"findings": list(result.findings)})
            body = {**_touched(world, plan[0]), "revision": number, "findings": list(result.findings)}
            if command.dry_run:
                _drop(plan[1])
                return Answer(command.id, "done", f"would make revision {number} live", body={**body, "dry_run": True})
            base = self.live if base is None else base
            revision = Revision(number, self._clock.unix_s(), command.actor, command.reason, commit, base, files)
            try:
                await self._write(revision, result, _with_retired(world, plan[0], self._clock.unix_s()))
            except StoreError as error:
                _drop(plan[1])
                return Answer(command.id, "failed", f"not applied: {error.detail}", error.code, error.hint)
            self._now_live(number, files, plan)
        live = replace(plan[0], author=command.actor, reason=command.reason)
        return PlanLive(live, command.id, body, command.actor)

    async def _next_number(self) -> int:
        newest = await self._store.run(lambda store: store.revisions(1))
        return newest[0].number + 1 if newest else 1

    async def _made(
        self, files: Mapping[str, str], number: int, despite: tuple[str, ...] = ()
    ) -> tuple[CompileResult, tuple[Plan, Image] | None]:
        result = await self._compile(files, number, self._ids, despite)
        if not _is_acceptable(result, despite):
            return result, None
        return result, await asyncio.to_thread(_load, result.image_path, number)

    async def _write(self, revision: Revision, result: CompileResult, world: World | None) -> None:
        def write(store: Store) -> None:
            if world is not None:
                store.save_wishes(wishes_of(world))
            store.save_ids(result.ids)
            store.add_revision(revision)
            store.set_live(revision.number, revision.at_unix_s)

        await self._store.run(write)
        for kind, names in result.ids.items():
            self._ids.setdefault(kind, {}).update(names)

    def _now_live(self, number: int, files: Mapping[str, str], plan: tuple[Plan, Image]) -> None:
        if self.image is not None:
            os.close(self.image.fd)
        self.live, self.files, self.image = number, files, plan[1]
        self._paths.append(plan[1].path)
        while len(self._paths) > KEEP_IMAGES:
            old = self._paths.pop(0)
            if old not in self._paths:
                with contextlib.suppress(OSError):
                    Path(old).unlink()

    def close(self) -> None:
        if self.image is not None:
            os.close(self.image.fd)
            self.image = None


def _asked(command: Command) -> tuple[Mapping[str, str], int | None, str | None, tuple[str, ...]] | Answer:
    """The arguments of `apply`, checked."""
    args = command.args
    files, base, commit, despite = args.get("files"), args.get("base"), args.get("commit"), args.get("despite") or ()

    def invalid(text: str) -> Answer:
        return Answer(command.id, "invalid", text, "bad-argument")

    if not command.reason.strip():
        return Answer(command.id, "invalid", "a change needs a reason", "reason-required", "--reason TEXT")
    if not isinstance(files, Mapping) or not files or len(files) > MAX_FILES:
        return invalid(f"files is a map of 1 to {MAX_FILES} paths to their texts")
    if not all(isinstance(path, str) and isinstance(text, str) for path, text in files.items()):
        return invalid("files is a map of paths to their texts")
    if any(path.startswith("/") or ".." in path.split("/") or "\0" in path for path in files):
        return invalid("paths are relative to the folder and stay in it")
    if sum(len(text) for text in files.values()) > MAX_FILES_BYTES:
        return invalid(f"a plan has at most {MAX_FILES_BYTES >> 20} MiB")
    if base is not None and (isinstance(base, bool) or not isinstance(base, int)):
        return invalid("base is the number of a revision")
    if commit is not None and not isinstance(commit, str):
        return invalid("commit is a text")
    chosen = (despite,) if isinstance(despite, str) else tuple(despite) if isinstance(despite, list | tuple) else None
    if chosen is None or any(one != "tests" for one in chosen):
        return invalid("despite is tests or nothing")
    return dict(files), base, commit, chosen


def _touched(world: World, plan: Plan) -> dict[str, Any]:
    """What an apply touches: numbers before and after, what leaves the plan, and the calls that are up on it."""
    before = world.plan
    after = plan.topology
    body: dict[str, Any] = {"numbers": sum(plan.numbers.values())}
    if before is None:
        return body
    trunks = {trunk.name for trunk in before.topology.trunks} - {trunk.name for trunk in after.trunks}
    sbcs = {sbc.name for sbc in before.topology.sbcs} - {sbc.name for sbc in after.sbcs}
    entries = {entry.name for entry in before.topology.entry_points} - {entry.name for entry in after.entry_points}
    observed = [router.observe for router in world.routers.values() if router.observe is not None]
    body["numbers_before"] = sum(before.numbers.values())
    body["removed"] = {"trunks": sorted(trunks), "sbcs": sorted(sbcs), "entry_points": sorted(entries)}
    body["calls"] = sum(one.trunks[name].calls for one in observed for name in trunks if name in one.trunks) + sum(
        one.sbcs[name].calls for one in observed for name in sbcs if name in one.sbcs
    )
    return body


def _with_retired(world: World, plan: Plan, unix_s: float) -> World:
    """The world as it must be written before the plan is live: a successor must know what retires with it."""
    before = world.plan
    if before is None:
        return world
    resolved = world.resolved
    return replace(world, retired=retired_now(before.topology, resolved, plan.topology, resolved, world.retired, unix_s))


def _is_acceptable(result: CompileResult, despite: tuple[str, ...]) -> bool:
    errors = {one.get("code") for one in result.findings if one.get("severity") == "error"}
    return result.ok and errors <= ({TEST_FAILED} if "tests" in despite else set())


def _load(path: str, number: int) -> tuple[Plan, Image]:
    """Check an image and put it into sealed memory; runs in a thread.

    Raises: SnapshotError if the image is damaged; EngineError if it cannot be read.
    """
    try:
        fd = _sealed(path)
    except OSError as error:
        raise EngineError(f"the compiled table cannot be read: {error}") from error
    try:
        table = load_table(memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ)))
    except (SipctlError, OSError, ValueError) as error:
        os.close(fd)
        raise EngineError(f"the compiled table is damaged: {error}") from error
    plan = Plan(table.topology, table.hash, number, _counted(table))
    if plan.topology.revision != number:
        os.close(fd)
        raise EngineError(f"the compiler made revision {plan.topology.revision}, asked was {number}")
    return plan, Image(path, fd, table.hash)


def _sealed(path: str) -> int:
    size = os.stat(path).st_size
    fd = os.memfd_create("table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(path, "rb") as source:
            done = 0
            while done < size:
                done += os.sendfile(fd, source.fileno(), done, size - done) or _short(path)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def _short(path: str) -> int:
    raise OSError(f"{path} became shorter while it was read")


def _counted(table: Table) -> dict[str, int]:
    """How many numbers each entry point has."""
    numbers = table.numbers
    counts = [0] * len(table.topology.entry_points)
    entry_of_row = list(numbers.entry_point)
    for first, last, row in zip(numbers.first, numbers.last, numbers.row, strict=True):
        counts[entry_of_row[row]] += last - first + 1
    for words in numbers.words:
        for row in words.values():
            counts[entry_of_row[row]] += 1
    return {entry.name: counts[index] for index, entry in enumerate(table.topology.entry_points)}


def _drop(image: Image) -> None:
    """Forget an image that does not become live."""
    os.close(image.fd)
    with contextlib.suppress(OSError):
        Path(image.path).unlink()


def _plan_error(result: CompileResult) -> PlanError:
    fields = ("path", "line", "column", "code", "severity", "message", "hint", "excerpt")
    return PlanError(tuple(Finding(**{name: one[name] for name in fields if name in one}) for one in result.findings))
