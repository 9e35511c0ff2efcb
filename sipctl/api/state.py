"""What the desk knows and what it has asked for: one object, owned by the desk's loop.

It holds the controller's last view (and its age), the operations under way, the story so far, and the valid tokens. It goes on
without a controller: reads are answered from the last view, writes are told that nobody answers. Everything that touches the
disk runs on two threads of its own, with a bound on how much may wait there.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import msgspec

from sipctl.api.problems import Problem
from sipctl.api.ring import EventRing
from sipctl.control.ports import MAX_FRAME_BYTES, Answer, Command, DecisionRecord, Notice, Revision, View
from sipctl.errors import StoreError
from sipctl.store.operations import Operation
from sipctl.store.sqlite import SqliteStore
from sipctl.store.tokens import Token, find
from sipctl.telemetry.call_ages import CallAges

MAX_OPERATIONS_KEPT: Final = 2_000  # in memory; older ones are read from the store
MAX_LINEAGE: Final = 64  # makers of makers of a token that are looked at
MAX_OPERATIONS_UNANSWERED: Final = 256
MAX_OPERATIONS_OPEN: Final = 1_500  # with those that go on; the controller keeps 1,000
MAX_STORE_WAITING: Final = 200
STORE_TIMEOUT_S: Final = 10.0
FIRST_ANSWER_S: Final = 5.0  # a write answers 202 when the controller has said nothing by then
FORGOTTEN_AFTER_S: Final = 300.0  # an operation of an earlier desk that nobody answered by then is lost
STORE_POLL_S: Final = 0.5
TOKENS_RETRY_S: Final = 1.0  # while tokens that changed cannot be read anew
LOST: Final = "the controller went away before it said what became of this; look at the status and repeat it if it is missing"
KEPT: Final = ("accepted", "going")  # what a controller has taken is kept over its death
REACHABLE_WITHIN_S: Final = 5.0  # a controller sends a view each second

T = TypeVar("T")


class Sender(Protocol):
    """The desk's end of its link to the controller."""

    def send(self, data: bytes) -> None:
        """Never waits. Raises: OSError if the link is closed."""


class DeskState:
    """Views, operations, events and tokens of one desk."""

    def __init__(self, store: SqliteStore, *, mono_s: Callable[[], float], wall_s: Callable[[], float]) -> None:
        self.store = store
        self.mono_s = mono_s
        self.wall_s = wall_s
        self.ring = EventRing(secrets.token_hex(4))
        self.view: View | None = None
        self.sender: Sender | None = None
        self.ages: CallAges | None = None
        self.audited: Callable[[Operation], None] = lambda operation: None  # told what is asked, and what the desk itself did
        self.audit_head: Callable[[], Mapping[str, Any]] = dict
        self.lost_operations = 0
        self.unsaved_operations = 0
        self._view_at_s = 0.0
        self._tokens: list[tuple[bytes, Token]] | None = None
        self._revoked: set[str] = set()  # names that the store has ended, until what is read knows it
        self._reading = asyncio.Lock()  # one at a time, so that what was read last is what holds
        self._rereading: asyncio.Task[None] | None = None
        self._operations: OrderedDict[str, Operation] = OrderedDict()
        self._changed: dict[str, asyncio.Event] = {}  # by operation that is not over
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="desk-store")
        self._waiting = 0
        self._is_closed = False
        self._saves: set[asyncio.Task[None]] = set()
        self._orphans: set[str] = set()  # operations whose controller went, until the next one says whether it goes on with them
        self._authors: dict[str, str] = {}  # who made which token, revoked ones too

    # -- what the controller says ------------------------------------------------------------------------------------------

    def on_view(self, view: View) -> None:
        self.view = view
        self._view_at_s = self.mono_s()
        if self._orphans:
            going = {one.get("id") for one in view.detail.get("operations") or ()}
            for identifier in [one for one in self._orphans - going if one in self._changed]:
                self._lose(identifier)
            self._orphans.clear()

    def on_notice(self, notice: Notice) -> None:
        self.ring.add(notice)

    def on_answer(self, answer: Answer) -> None:
        known = self._operations.get(answer.id)
        if known is None:
            self._in_background(self._answered_late(answer))
        elif not known.is_over:
            self._put(self._answered(known, answer))

    def _answered(self, known: Operation, answer: Answer) -> Operation:
        return msgspec.structs.replace(
            known, status=answer.status, text=answer.text, code=answer.code, hint=answer.hint, body=dict(answer.body),
            ended_at_unix_s=self.wall_s() if answer.final else None,
        )  # fmt: skip

    async def _answered_late(self, answer: Answer) -> None:
        """The desk before this one asked; its operation stands in the store."""
        try:
            stored = await self.ask_store(lambda: self.store.operations.get(answer.id))
        except Problem:
            self.unsaved_operations += 1
            return
        if stored is not None and not stored.is_over:
            self._put(self._answered(stored, answer))

    def on_link(self, sender: Sender | None) -> None:
        """A link to a controller is there, or gone: what it has not answered gets no answer any more.

        What it has taken is a wish that the next controller goes on with; if that one does not know it, it is lost then.
        """
        self.sender = sender
        for identifier in list(self._changed):
            if self._operations[identifier].status in KEPT:
                self._orphans.add(identifier)
            else:
                self._lose(identifier)

    def _lose(self, identifier: str) -> None:
        known = self._operations[identifier]
        self._put(msgspec.structs.replace(known, status="lost", code="lost", text=LOST, ended_at_unix_s=self.wall_s()))
        self.lost_operations += 1

    @property
    def view_age_s(self) -> float | None:
        return None if self.view is None else max(0.0, self.mono_s() - self._view_at_s)

    @property
    def is_reachable(self) -> bool:
        age_s = self.view_age_s
        return self.sender is not None and age_s is not None and age_s < REACHABLE_WITHIN_S

    def status(self) -> dict[str, Any]:
        """The body of `GET /v1/status`: the last view, its age, and whether its controller still speaks.

        Raises: Problem 503 before the first view.
        """
        view = self.seen()
        reachable = self.is_reachable
        return {
            **view.status,
            **self.switched(view),
            "age_s": round((view.status.get("age_s") or 0.0) + (self.view_age_s or 0.0), 1),
            "audit": dict(self.audit_head()),
            "controller": {
                "reachable": reachable,
                "text": "" if reachable else "controller not reachable: this is its last view",
            },
        }

    def switched(self, view: View) -> dict[str, Any]:
        """Overlays and kill switches of a view as they are now."""
        return {section: self._ended(view.status[section]) for section in ("overlays", "switches") if section in view.status}

    def _ended(self, switched: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """What is on ends at its instant, at the routers, also while no controller says so."""
        now_s = self.wall_s()
        return {
            name: {**one, "state": "off"} if one.get("until_unix_s") is not None and one["until_unix_s"] <= now_s else one
            for name, one in switched.items()
        }

    def seen(self) -> View:
        if self.view is None:
            raise Problem(
                503, "no-view", "no controller has told this desk anything yet", hint="sipctl status --local reads STATE"
            )
        return self.view

    # -- operations --------------------------------------------------------------------------------------------------------

    async def command(
        self,
        op: str,
        args: Mapping[str, Any],
        actor: Token,
        reason: str,
        *,
        dry_run: bool = False,
        force: tuple[str, ...] = (),
        break_glass: bool = False,
    ) -> Operation:
        """Send a wish; returns what is known of it after the controller's first word, or after FIRST_ANSWER_S.

        Raises: Problem 503 if there is no controller to send it to or too much is under way, 413 if it is too large to send.
        """
        if self.sender is None:
            raise Problem(
                503, "controller-unreachable", "no controller is connected; nothing was sent", hint="sipctl status --local"
            )
        unanswered = sum(1 for one in self._changed if self._operations[one].status == "running")
        if unanswered >= MAX_OPERATIONS_UNANSWERED:
            raise Problem(503, "busy", f"{unanswered} operations have no answer yet", hint="wait for them: sipctl history")
        if len(self._changed) >= MAX_OPERATIONS_OPEN:
            raise Problem(
                503, "busy", f"{len(self._changed)} operations go on", hint="end some: sipctl op ls; sipctl op abort ID"
            )
        identifier = f"op-{secrets.token_hex(5)}"
        command = Command(
            identifier,
            op,
            args,
            actor.name,
            reason,
            dry_run,
            force,
            actor.role,
            actor.at_unix_s,
            self.made_by(actor),
            break_glass,
        )
        data = msgspec.msgpack.encode(command)
        if len(data) > MAX_FRAME_BYTES:
            raise Problem(413, "too-large", f"the plan is {len(data)} bytes, {MAX_FRAME_BYTES} is the most")
        kept = {key: value for key, value in args.items() if key != "files"}  # a plan stands in its revision
        changed = self._changed[identifier] = asyncio.Event()
        self._put(Operation(identifier, op, kept, actor.name, reason, self.wall_s(), "running", dry_run=dry_run, force=force))
        self.audited(self._operations[identifier])
        try:
            self.sender.send(data)
        except OSError as error:
            known = self._operations[identifier]
            self._put(msgspec.structs.replace(known, status="lost", code="lost", text=str(error), ended_at_unix_s=self.wall_s()))
            raise Problem(503, "controller-unreachable", f"the controller's link broke: {error}", operation=identifier) from error
        await _within(changed, FIRST_ANSWER_S)
        return self._operations[identifier]

    def progress(self, identifier: str) -> Mapping[str, Any]:
        """What the last view says of an operation that goes on; empty if it says nothing."""
        found = self.view.detail.get("operations") or () if self.view is not None else ()
        return next((one for one in found if one.get("id") == identifier), {})

    async def forecast(self, what: str, name: str) -> dict[str, Any]:
        """How long the calls that are up at an SBC, a tenant or the node will last; empty where nobody keeps their ages."""
        return {} if self.ages is None else await asyncio.to_thread(self.ages.forecast, what, name)

    def record(self, operation: Operation) -> None:
        """Remember something the desk itself did."""
        self._put(operation)
        self.audited(operation)

    async def operation(self, identifier: str, wait_s: float = 0.0) -> Operation:
        """An operation, after at most ``wait_s`` for it to be over, or to go on by itself. Raises: Problem 404."""
        until_s = self.mono_s() + wait_s
        first = self._operations.get(identifier)
        while (known := self._operations.get(identifier)) is not None:
            left_s = until_s - self.mono_s()
            changed = self._changed.get(identifier)
            has_begun = first is not None and known.status == "going" != first.status
            if changed is None or left_s <= 0 or has_begun:
                return known
            await _within(changed, left_s)
        while True:
            stored = await self.ask_store(lambda: self.store.operations.get(identifier))
            if stored is None:
                raise Problem(404, "not-found", f"there is no operation {identifier}")
            if not stored.is_over and self.wall_s() - stored.at_unix_s > FORGOTTEN_AFTER_S and not self.progress(identifier):
                return msgspec.structs.replace(stored, status="lost", code="lost", text=LOST, ended_at_unix_s=self.wall_s())
            if stored.is_over or self.mono_s() >= until_s:
                return stored
            await asyncio.sleep(STORE_POLL_S)

    def _put(self, operation: Operation) -> None:
        self._operations[operation.id] = operation
        self._operations.move_to_end(operation.id)
        changed = self._changed.get(operation.id)
        if changed is not None and operation.status != "running":
            if operation.is_over:
                del self._changed[operation.id]
            else:
                self._changed[operation.id] = asyncio.Event()
            changed.set()
        while len(self._operations) > MAX_OPERATIONS_KEPT:
            oldest = next((one for one in self._operations if one not in self._changed), None)
            if oldest is None:
                break  # all are open, of which there is a most
            del self._operations[oldest]
        self._save(operation)

    def _save(self, operation: Operation) -> None:
        if self._waiting >= MAX_STORE_WAITING:
            self.unsaved_operations += 1
            return
        self._in_background(self._saved(operation))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)

    async def _saved(self, operation: Operation) -> None:
        try:
            await self.ask_store(lambda: self.store.operations.save(operation))
        except Problem:
            self.unsaved_operations += 1

    # -- the store ---------------------------------------------------------------------------------------------------------

    async def ask_store(self, work: Callable[[], T], on_end: Callable[[asyncio.Future[T]], None] | None = None) -> T:
        """Run something on the store's threads.

        Args:
            on_end: told when it has ended, also if that is long after this gave up.
        Raises: Problem 503 when it fails, takes too long, or too much waits.
        """
        if self._waiting >= MAX_STORE_WAITING:
            raise Problem(503, "busy", "the store is slow and too much waits for it", hint="is the disk of STATE well?")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._store_done)
        if on_end is not None:
            future.add_done_callback(on_end)
        try:
            return await asyncio.wait_for(asyncio.shield(future), STORE_TIMEOUT_S)
        except TimeoutError as error:
            raise Problem(503, "store-failed", f"the store said nothing for {STORE_TIMEOUT_S:.0f} s") from error
        except StoreError as error:
            raise Problem(503, "store-failed", error.detail, hint=error.hint) from error

    def _store_done(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # seen: whoever waited was told, or has gone

    async def decisions(self, group: str | None, limit: int) -> list[DecisionRecord]:
        return await self.ask_store(lambda: self.store.decisions(group, limit))

    async def revisions(self, limit: int) -> tuple[list[Revision], int | None]:
        return await self.ask_store(lambda: (self.store.revisions(limit), self.store.live_number()))

    # -- tokens ------------------------------------------------------------------------------------------------------------

    async def load_tokens(self) -> None:
        """Read the valid tokens; called at start and after each change. Raises: Problem 503."""
        async with self._reading:
            every = await self.ask_store(self.store.tokens.every)
            tokens = await self.ask_store(self.store.tokens.active)
            self._revoked &= {token.name for _, token in tokens}
            self._tokens = [one for one in tokens if one[1].name not in self._revoked]
            self._authors = {token.name: token.author for token in every}
        self.ring.wake()

    async def change_tokens(self, work: Callable[[], T], *, revokes: str = "") -> T:
        """Change the tokens. Whatever comes of it, and whenever: they are read anew after it, again and again until they are.

        Args:
            revokes: the name that is ended once the store says True.
        Raises: Problem 503 as `ask_store`; the change may come to be after that.
        """

        def ended(future: asyncio.Future[T]) -> None:
            if revokes and not future.cancelled() and future.exception() is None and future.result():
                self._end_token(revokes)
            if not self._is_closed:
                if self._rereading is not None:
                    self._rereading.cancel()  # it may have read before this
                self._rereading = asyncio.ensure_future(self._read_tokens_anew())

        return await self.ask_store(work, ended)

    def _end_token(self, name: str) -> None:
        self._revoked.add(name)  # names are never given twice
        self._tokens = [one for one in self._tokens or () if one[1].name != name]
        self.ring.wake()

    async def _read_tokens_anew(self) -> None:
        while True:
            try:
                await self.load_tokens()
            except Problem:
                await asyncio.sleep(TOKENS_RETRY_S)
            else:
                return

    def is_active(self, token: Token) -> bool:
        """Is this token one of those that are valid now?"""
        return any(one.id == token.id for _, one in self._tokens or ())

    def made_by(self, token: Token) -> tuple[str, ...]:
        """Who made a token, who made that one's, and so on; names are never given twice, so this never changes."""
        found: list[str] = []
        name = token.author
        while name and name not in found and len(found) < MAX_LINEAGE:
            found.append(name)
            name = self._authors.get(name, "")
        return tuple(found)

    def principal(self, secret: str) -> Token | None:
        """Who holds this secret. Raises: Problem 503 while the tokens could not be read."""
        if self._tokens is None:
            raise Problem(503, "store-failed", "the tokens could not be read yet", hint="is the disk of STATE well?")
        return find(self._tokens, secret)

    async def close(self) -> None:
        self._is_closed = True
        if self._rereading is not None:
            self._rereading.cancel()
        if self._saves:
            await asyncio.wait(self._saves, timeout=STORE_TIMEOUT_S)
        self._threads.shutdown(wait=False)


async def _within(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
