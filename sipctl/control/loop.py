"""The single writer: inputs in one queue, one World, effects carried out in order.

Nothing here decides (reconcile.py does) and nothing here waits for a disk: the store has a thread of its own behind a bounded
queue. A write that fails is tried again and is an alarm meanwhile, never a stop; of the wishes only the newest are worth writing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from sipctl.control.ports import DecisionRecord, Store, Wishes
from sipctl.control.reconcile import reconcile
from sipctl.control.world import Effect, Faults, Happening, World
from sipctl.errors import StoreError

MAX_INPUTS: Final = 10_000
MAX_RECORDS: Final = 10_000  # decisions that wait to be written; the oldest go first
RETRY_S: Final = 1.0

T = TypeVar("T")


class Clock(Protocol):
    """The two times; the process's own, or a test's."""

    def monotonic_s(self) -> float: ...
    def unix_s(self) -> float: ...


class StoreThread:
    """The store's own thread: jobs in order, and the two queues that must get written in the end.

    Args:
        report: told the faults of kind "write", whole, whenever they change.
    """

    def __init__(self, store: Store, report: Callable[[Faults], None]) -> None:
        self._store = store
        self._report = report
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._wishes: Wishes | None = None
        self._records: deque[DecisionRecord] = deque()
        self._term: int | None = None
        self._ended: dict[int, tuple[str, bool]] = {}  # canaries: revision → why, and whether by itself
        self._wake = asyncio.Event()
        self._faults: dict[str, str] = {}
        self.dropped = 0  # decisions that could not be kept

    async def run(self, job: Callable[[Store], T]) -> T:
        """Do one job in the thread.

        Raises: whatever the job raises; StoreError, if the store failed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, job, self._store)

    def save_wishes(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._wake.set()

    def append(self, record: DecisionRecord) -> None:
        if len(self._records) >= MAX_RECORDS:
            self._records.popleft()
            self.dropped += 1
        self._records.append(record)
        self._wake.set()

    def end_canary(self, number: int, text: str, fell: bool) -> None:
        self._ended[number] = (text, fell)
        self._wake.set()

    def save_term(self, term: int) -> None:
        self._term = term
        self._wake.set()

    @property
    def idle(self) -> bool:
        return self._wishes is None and not self._records and self._term is None and not self._ended

    async def keep_writing(self) -> None:
        """Write what waits, for ever; after a failure all of it is tried again each second."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.flush():
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def flush(self) -> bool:
        """Write all that waits now; False if something is left."""
        term, wishes, records = self._term, self._wishes, tuple(self._records)
        faults: dict[str, str] = {}
        if term is not None and await self._try(faults, "term", _taking(term)) and self._term == term:
            self._term = None
        if wishes is not None and await self._try(faults, "wishes", _saving(wishes)) and self._wishes is wishes:
            self._wishes = None
        for number, (text, fell) in tuple(self._ended.items()):
            if await self._try(faults, "revisions", _ending(number, text, fell)):
                self._ended.pop(number, None)
        for record in records:
            if not await self._try(faults, "decisions", _appending(record)):
                break
            if self._records and self._records[0] is record:
                self._records.popleft()
        if faults != self._faults:
            self._faults = faults
            self._report(Faults("write", faults))
        return not faults

    async def _try(self, faults: dict[str, str], what: str, job: Callable[[Store], object]) -> bool:
        try:
            await self.run(job)
        except StoreError as error:
            faults[what] = f"the store does not write {what}: {error.detail}; it is tried again"
            return False
        return True

    def close(self) -> None:
        self._thread.shutdown(wait=True)


def _taking(term: int) -> Callable[[Store], int]:
    return lambda store: store.take_term(term - 1)


def _saving(wishes: Wishes) -> Callable[[Store], None]:
    return lambda store: store.save_wishes(wishes)


def _ending(number: int, text: str, fell: bool) -> Callable[[Store], None]:
    return lambda store: store.end_canary(number, text, fell)


def _appending(record: DecisionRecord) -> Callable[[Store], None]:
    return lambda store: store.append_decision(record)


class Loop:
    """The single writer.

    Args:
        perform: carries out one effect; must not raise and must not wait.
        after: called after each input with the new World, and whether anything followed from it.
        on_bug: told of an input that could not be taken in (the World stays as it was); None: the error propagates.
        seen: told each turn whole, once its effects were carried out: for the audit.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        perform: Callable[[Effect], None],
        after: Callable[[World, bool], None],
        on_bug: Callable[[Happening, Exception], None] | None = None,
        seen: Callable[[World, Happening, World, tuple[Effect, ...]], None] | None = None,
    ) -> None:
        self.world = world
        self._clock = clock
        self._perform = perform
        self._after = after
        self._on_bug = on_bug
        self._seen = seen
        self._inputs: asyncio.Queue[Happening] = asyncio.Queue(MAX_INPUTS)
        self.dropped = 0

    def put(self, happening: Happening) -> None:
        """Queue one input; only a flood can fill the queue, and what it loses is told again (Observe, Tick, Hello)."""
        try:
            self._inputs.put_nowait(happening)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        while True:
            self.take(await self._inputs.get())

    def take(self, happening: Happening) -> None:
        """Reconcile with one input, now."""
        try:
            world, effects = reconcile(self.world, happening, self._clock.monotonic_s(), self._clock.unix_s())
        except Exception as error:
            if self._on_bug is None:
                raise
            self._on_bug(happening, error)
            return
        before, self.world = self.world, world
        for effect in effects:
            self._perform(effect)
        if self._seen is not None:
            try:
                self._seen(before, happening, world, effects)
            except Exception as error:
                if self._on_bug is None:
                    raise
                self._on_bug(happening, error)
        self._after(world, bool(effects))
