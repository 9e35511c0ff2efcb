"""Writes the audit from a thread of its own, so that no decision and no answer ever waits for a disk.

What is put in waits in a bounded queue until it is on disk. A failed write is told and tried again every second, whole; entries
that come while the queue is full are lost, counted, and told by a `gap` record that takes their place in the chain. So does an
entry that cannot be made a record: it stops none of the others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from sipctl.control.audit import AuditEntry
from sipctl.errors import StoreError
from sipctl.store.audit_log import AuditLog, Head, rfc3339

MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 200
RETRY_S: Final = 1.0
TELL_AGAIN_S: Final = 20.0  # while writes fail: an alarm made of it stands for a minute
MAX_TOLD: Final = 200  # characters of what is told of an entry that cannot be a record


class AuditWriter:
    """One process's way to the audit.

    Args:
        role: who writes: controller, desk, …; build: which sipctl it is; both stand in every record.
        on_state: told from the thread why nothing can be written, now and then while that lasts, and "" when it is over.
    """

    def __init__(
        self,
        log: AuditLog,
        wall_s: Callable[[], float],
        *,
        role: str,
        pid: int,
        build: str,
        on_state: Callable[[str], None] = lambda text: None,
        max_waiting: int = MAX_WAITING,
        retry_s: float = RETRY_S,
    ) -> None:
        self._log = log
        self._wall_s = wall_s
        self._always = {"by": f"{role}/{pid}", "build": build}
        self._on_state = on_state
        self._max_waiting = max_waiting
        self._retry_s = retry_s
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._news = threading.Condition()
        self._is_closing = False
        self._lost = 0  # since the last gap record
        self._lost_since_s = 0.0
        self._told_at_s: float | None = None  # while failing
        self.dropped = 0  # entries lost since start
        self.written = 0
        self.head: Head | None = None  # after our last write
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    def put(self, entry: AuditEntry) -> None:
        """Take one entry, or count it as lost; never waits for a disk."""
        with self._news:
            if self._lost or len(self._waiting) >= self._max_waiting:
                if not self._lost:
                    self._lost_since_s = self._wall_s()
                self._lost += 1
                self.dropped += 1
            else:
                self._waiting.append(body_of(entry, self._always))
            self._news.notify()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, within `timeout_s`."""
        with self._news:
            self._is_closing = True
            self._news.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._waiting and not self._lost and not self._is_closing:
                    self._news.wait()
                if not self._waiting and not self._lost:
                    return
                batch = [self._waiting[at] for at in range(min(len(self._waiting), MAX_BATCH))]
                gap = self._lost if len(batch) == len(self._waiting) else 0
                bodies = [*batch, self._gap(gap)] if gap else batch
            done = self._written(bodies)
            with self._news:
                for _ in batch[:done]:
                    self._waiting.popleft()
                if done == len(bodies):
                    self._lost -= gap
                    continue
                if self._is_closing:
                    return
                self._news.wait_for(lambda: self._is_closing, self._retry_s)

    def _written(self, bodies: list[Mapping[str, Any]]) -> int:
        """Write these; how many of them, from the first on, need no further try."""
        try:
            self._append(bodies)
        except StoreError as error:
            self._failed(error.detail)
            return 0
        except Exception:  # noqa: BLE001 - told by _one_by_one, which tries each
            return self._one_by_one(bodies)
        self._went_well()
        return len(bodies)

    def _one_by_one(self, bodies: list[Mapping[str, Any]]) -> int:
        """The same after a failure that is no disk's: what cannot be a record has a gap record in its place."""
        unfit = ""
        for done, body in enumerate(bodies):
            try:
                unfit = self._put_down(body) or unfit
            except StoreError as error:
                self._failed(error.detail)
                return done
            except Exception as error:  # noqa: BLE001 - the thread must outlive it: nothing is lost, and it is told
                self._failed(f"the audit cannot be written: {error!r}"[:MAX_TOLD])
                return done
        self._went_well()
        if unfit:
            self._on_state(unfit)
        return len(bodies)

    def _put_down(self, body: Mapping[str, Any]) -> str:
        """Write one entry, or else the gap record that says why it cannot be one: that is returned."""
        try:
            self._append([body])
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others are to be written
            unfit = f"an entry ({str(body.get('op'))[:MAX_TOLD]}) cannot be a record: {error!r}"[: 2 * MAX_TOLD]
            self._append([self._unfit(body, unfit)])
            self.dropped += 1
            return unfit
        return ""

    def _append(self, bodies: list[Mapping[str, Any]]) -> None:
        self.head = self._log.append(bodies, self._wall_s())
        self.written += len(bodies)

    def _failed(self, why: str) -> None:
        now_s = self._wall_s()
        if self._told_at_s is None or now_s - self._told_at_s >= TELL_AGAIN_S:
            self._told_at_s = now_s
            self._on_state(f"{why}; {len(self._waiting)} entries wait, decisions go on")

    def _went_well(self) -> None:
        if self._told_at_s is not None:
            self._told_at_s = None
            self._on_state("")

    def _unfit(self, body: Mapping[str, Any], why: str) -> Mapping[str, Any]:
        """The record that stands in the place of an entry that cannot be one."""
        at = rfc3339(self._wall_s())
        gap = {"at": at, "kind": "gap", "op": "gap", "actor": "sipctl", "text": why, "missing": 1, "since": at}
        named = {name: str(body.get(name, ""))[:MAX_TOLD] for name in ("id", "actor")}
        return {**gap, "args": named, **self._always}

    def _gap(self, missing: int) -> Mapping[str, Any]:
        """The record that stands where entries are missing."""
        since, until = rfc3339(self._lost_since_s), rfc3339(self._wall_s())
        text = f"{missing} entries could not be kept between {since} and {until}: nothing could be written and the queue was full"
        body = {"at": until, "kind": "gap", "op": "gap", "actor": "sipctl", "text": text, "missing": missing, "since": since}
        return {**body, **self._always}


def body_of(entry: AuditEntry, always: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as the fields of its record."""
    body: dict[str, Any] = msgspec.to_builtins(entry)
    at_unix_s = body.pop("at_unix_s")
    return {"at": rfc3339(at_unix_s), "outcome": entry.outcome, **body, **always}
