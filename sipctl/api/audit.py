"""The desk's part in the audit: it records what it does itself, tells the head to the log, checks the chain, serves readers.

The controller records what it changes; the desk records tokens, requests that never reached the controller, and who read the
audit in full. A chain that does not hold is an alarm for as long as it does not.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from sipctl.api.bodies import query_instant, query_int, query_text
from sipctl.api.context import STATE, principal
from sipctl.api.problems import Problem, json_answer
from sipctl.control.audit import AuditEntry
from sipctl.errors import StoreError
from sipctl.store.audit_chain import Verdict
from sipctl.store.audit_log import FOLDER, AuditLog, Head
from sipctl.store.audit_query import HEAD_EVENT, MAX_ROWS, Query, exported, select, shown, told_heads
from sipctl.store.audit_writer import AuditWriter
from sipctl.store.operations import Operation
from sipctl.telemetry.mask_record import masked_record

HEAD_EVERY_S: Final = 60.0  # a changed head is told to the log so often
VERIFY_EVERY_S: Final = 6 * 3600.0
TELL_AGAIN_S: Final = 20.0  # the alarm that the controller makes of it stands for a minute
DENIED_EVERY_S: Final = 60.0  # the same refusal to the same token is recorded so often, and counted between
MAX_DENIED: Final = 1000  # told apart
ADMIN: Final = "admin"

Failed = Callable[[str, str], None]  # what, text: becomes an alarm


class DeskAudit:
    """One desk's audit.

    Args:
        log_head: told each new head, for the log; failed: told what cannot be done, by any thread.
    """

    def __init__(
        self, state_dir: Path, wall_s: Callable[[], float], *, log_head: Callable[[str, Head], None], failed: Failed
    ) -> None:
        self.folder = state_dir / FOLDER
        self.head = Head()
        self.broken = ""
        self._state_dir = state_dir
        self._wall_s = wall_s
        self._log_head = log_head
        self._failed = failed
        self._seen: list[tuple[int, str]] = []  # heads of this desk's life, first and last of each check
        self._denied: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()
        self._build = f"sipctl {version('sipctl')}"
        self._writer = AuditWriter(
            AuditLog(self.folder),
            wall_s,
            role="desk",
            pid=os.getpid(),
            build=self._build,
            on_state=lambda text: failed("audit", text) if text else None,
        )

    # -- what the desk does itself ---------------------------------------------------------------------------------------------

    def began(self, node: str) -> None:
        args = {"pid": os.getpid(), "parent": os.getppid(), "node": node}
        self.put("process", "desk-start", "sipctl", f"a desk begins ({self._build}, pid {os.getpid()})", args=args)

    def put(self, kind: str, op: str, actor: str, text: str, **more: Any) -> None:
        self._writer.put(AuditEntry(kind, op, actor, text, self._wall_s(), **more))

    def operation(self, done: Operation) -> None:
        """Something the desk did itself, a token made or ended; or hands to the controller, which records what becomes of it."""
        kind, text = ("operation", done.text) if done.is_over else ("asked", f"{done.actor} asks for {done.op}")
        self.put(
            kind, done.op, done.actor, text, outcome=done.status, reason=done.reason, id=done.id, args=done.args,
            dry_run=done.dry_run, force=done.force,
        )  # fmt: skip

    def denied(self, actor: str, method: str, path: str, problem: Problem) -> None:
        """A write that did not get as far as the controller; one that is repeated all the time is counted."""
        key, now_s = (actor, path, problem.slug), self._wall_s()
        at_s, count = self._denied.pop(key, (-DENIED_EVERY_S, 0))
        if 0 <= now_s - at_s < DENIED_EVERY_S:
            self._denied[key] = (at_s, count + 1)
            return
        self._denied[key] = (now_s, 0)
        while len(self._denied) > MAX_DENIED:
            self._denied.popitem(last=False)
        args = {"method": method, "path": path, "status": problem.status} | ({"repeated_before": count} if count else {})
        self.put("denied", f"{method} {path}", actor, problem.detail, outcome="refused", rule=problem.slug, args=args)

    # -- its duties ------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """All of them, until cancelled."""
        await asyncio.gather(self.tell_heads(), self.keep_verifying())

    async def tell_heads(self) -> None:
        """Tell the log where the chain ends, whenever it has grown; for ever."""
        while True:
            await self._tell_head()
            await asyncio.sleep(HEAD_EVERY_S)

    async def _tell_head(self) -> None:
        try:
            head = await asyncio.to_thread(AuditLog(self.folder).head)
        except StoreError as error:
            self._failed("audit", error.detail)
            return
        if head != self.head:
            self.head = head
            self._seen = [*self._seen[:1], (head.number, head.hash)]
            self._log_head(HEAD_EVENT, head)

    async def keep_verifying(self) -> None:
        """Check the whole chain at start and now and then; tell for as long as it does not hold."""
        while True:
            try:
                verdict = await asyncio.to_thread(self.verify)
                self.broken = "" if verdict.broken is None or verdict.broken.is_torn_end else str(verdict.broken)
            except StoreError as error:
                self.broken = error.detail
            left_s = VERIFY_EVERY_S
            while self.broken and left_s > 0:
                self._failed("audit-chain", f"the audit does not hold: {self.broken}; sipctl audit verify")
                await asyncio.sleep(TELL_AGAIN_S)
                left_s -= TELL_AGAIN_S
            await asyncio.sleep(max(left_s, TELL_AGAIN_S))

    def verify(self) -> Verdict:
        """Blocks. Raises: StoreError."""
        return AuditLog(self.folder).verify((*told_heads(self._state_dir), *self._seen))

    async def close(self) -> None:
        await asyncio.to_thread(self._writer.close)
        await self._tell_head()

    @property
    def counts(self) -> dict[str, int]:
        return {"audit.records": self._writer.written, "audit.entries-lost": self._writer.dropped}


AUDIT: Final = web.AppKey("audit", DeskAudit)


async def read(request: web.Request) -> web.StreamResponse:
    """Records, newest first; or as lines for an export, oldest first. Numbers are masked unless an admin asks for `full`."""
    audit, query = request.app[AUDIT], _query(request)
    is_full, as_lines = _flag(request, "full"), _flag(request, "lines")
    limit = query_int(request, "limit", 50, 1, MAX_ROWS)
    if is_full:
        token = principal(request)
        if token.role != ADMIN:
            raise Problem(403, "forbidden", f"{token.name} is {token.role}; unmasked records need {ADMIN}", hint="without full=1")
        wanted = {key: value for key, value in request.query.items() if key != "full"}
        audit.put("access", "audit-read-full", token.name, f"{token.name} read the audit with whole numbers", args=wanted)
    found = await request.app[STATE].ask_store(lambda: select(audit.folder, query, limit, oldest_first=as_lines))
    head = {"n": audit.head.number, "hash": audit.head.hash}
    if as_lines:
        lines = [
            (record.number, exported(record, line, None if is_full else masked_record).decode("ascii")) for record, line in found
        ]
        return json_answer({"lines": lines, "masked": not is_full, "head": head})
    return json_answer(
        {
            "records": [shown(record, None if is_full else masked_record) for record, _ in found],
            "masked": not is_full,
            "head": head,
        }
    )


async def verify(request: web.Request) -> web.StreamResponse:
    """Walk along the whole chain, and compare it with the heads that were told to the log."""
    verdict = await request.app[STATE].ask_store(request.app[AUDIT].verify)
    broken = verdict.broken
    return json_answer(
        {
            "ok": broken is None, "records": verdict.records, "last": verdict.last, "head": verdict.head, "torn": verdict.torn,
            "missing": verdict.missing, "anchors": verdict.anchors, "broken": None if broken is None else str(broken),
        }
    )  # fmt: skip


def _query(request: web.Request) -> Query:
    number = query_int(request, "n", 0, 0, 10**9 - 1)
    after = query_int(request, "after", -1, 0, 10**9 - 1)
    return Query(
        number or None, after if after >= 0 else None, query_text(request, "group"), query_text(request, "actor"),
        query_text(request, "op"), query_instant(request, "since"), query_instant(request, "until"),
    )  # fmt: skip


def _flag(request: web.Request, name: str) -> bool:
    text = query_text(request, name)
    if text not in (None, "0", "1"):
        raise Problem(400, "bad-request", f"{name} is 0 or 1")
    return text == "1"
