"""Writes call records: one file a UTC day, mode 0600, from a thread of its own; and the journal that outlives the desk.

`STATE/cdr/YYYY-MM-DD.jsonl` holds the lines. `STATE/cdr/open.jsonl` holds the events of calls that have not ended, so that a
desk started after a crash still joins their ends; it is written after the lines, and rewritten when most of it is history. If the
desk died between the two, the tail of the newest day tells which ends were written.

Whoever says `keep_days` has the files of older days deleted, whole, once a file; until then, and without that word, all are kept.

A full disk drops lines, counts them and tells `on_failure`; events that do not fit into the queue are counted too.
Neither waits.
"""

from __future__ import annotations

import base64
import os
import queue
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from sipctl.call.events import CallEvent, Ended
from sipctl.telemetry.call_ages import Up
from sipctl.telemetry.cdr import CallJoiner, Line, OpenCall

MAX_QUEUED_EVENTS: Final = 50_000
MAX_BATCH_EVENTS: Final = 1_000
EXPIRE_EVERY_S: Final = 10.0
TELL_AGAIN_S: Final = 20.0  # while writes fail: an alarm made of it stands for a minute
TAIL_BYTES: Final = 4 << 20  # of the newest day, read at start
COMPACT_AT_BYTES: Final = 8 << 20  # a journal below this is never rewritten while running
JOURNAL: Final = "open.jsonl"
_DAY_S: Final = 86_400.0
_DAY_FILE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\.jsonl")
UP_TRIES: Final = 20  # to look at calls while the thread takes others

_EVENT: Final = msgspec.msgpack.Decoder(CallEvent)


class CdrWriter:
    """`put` takes an event of a router; everything else happens in the thread."""

    def __init__(
        self,
        folder: Path,
        wall_s: Callable[[], float],
        *,
        node: str = "",
        on_failure: Callable[[str], None] | None = None,
        on_line: Callable[[Line], None] | None = None,
        on_removed: Callable[[str], None] | None = None,
        max_queued: int = MAX_QUEUED_EVENTS,
    ) -> None:
        """
        Args:
            wall_s: unix time in seconds.
            on_failure: told of failed writes, once and then every TELL_AGAIN_S while they last; from the thread.
            on_line: told each line, from the thread: the metrics count them.
            on_removed: told each day ("2026-11-22") whose file was deleted for its age; from the thread.
        """
        self._folder = folder
        self._wall_s = wall_s
        self._on_failure = on_failure
        self._on_line = on_line
        self._on_removed = on_removed
        self._keep_days: int | None = None
        self._joiner = CallJoiner(node)
        self._queue: queue.Queue[CallEvent | None] = queue.Queue(max_queued)
        self._is_failing = False
        self._told_at_s = 0.0
        self._expire_at_s = wall_s() + EXPIRE_EVERY_S
        self._journal_bytes = 0
        self.written = 0
        self.dropped_events = 0  # the queue was full
        self.dropped_lines = 0  # the disk was full, or said no
        self.bad_journal_lines = 0
        self.removed_days = 0  # files deleted for their age
        self._thread = threading.Thread(target=self._run, name="cdr-writer", daemon=True)
        self._thread.start()

    @property
    def open_calls(self) -> int:
        return len(self._joiner)

    def up(self) -> tuple[Up, ...]:
        """The answered calls that have not ended, as the thread knows them now; from any thread."""
        for _ in range(UP_TRIES):
            with suppress(RuntimeError):  # the thread took or ended a call meanwhile
                known = [one for _, one in self._joiner.open_calls()]
                return tuple(
                    Up(one.facts.tenant, one.facts.sbc, one.answered_unix_s)
                    for one in known if one.facts is not None and one.answered_unix_s
                )  # fmt: skip
        return ()

    def name_node(self, node: str) -> None:
        """The plan says what this node is called."""
        self._joiner.node = node

    def keep_days(self, days: int | None) -> None:
        """Delete files of days more than so many before today, now and from now on; None: keep them all."""
        self._keep_days = days

    @property
    def ends_without_facts(self) -> int:
        return self._joiner.ends_without_facts

    @property
    def evicted(self) -> int:
        return self._joiner.evicted

    def put(self, event: CallEvent) -> None:
        """Take one event, or drop and count it; never waits."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.dropped_events += 1

    def close(self, timeout_s: float = 3.0) -> None:
        """Write what is queued, within ``timeout_s``."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    # -- the thread --------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._failures_told():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._read_journal()
            self._rewrite_journal()
        is_open = True
        while is_open:
            batch = self._take()
            is_open = None not in batch
            self._step([event for event in batch if event is not None])
            if self._wall_s() >= self._expire_at_s:
                self._expire_at_s = self._wall_s() + EXPIRE_EVERY_S
                self._write_lines(self._joiner.expire(self._wall_s()))
                self._remove_old()

    def _remove_old(self) -> None:
        """Whole days, by the date in their names: what is not named so is nobody's call records, and stays."""
        days = self._keep_days
        if days is None:
            return
        first = _day(self._wall_s() - days * _DAY_S)
        with self._failures_told():
            for path in sorted(self._folder.glob("*.jsonl")):
                if _DAY_FILE.fullmatch(path.name) and path.name[:10] < first:
                    path.unlink()
                    self.removed_days += 1
                    if self._on_removed is not None:
                        self._on_removed(path.name[:10])

    def _take(self) -> list[CallEvent | None]:
        try:
            batch = [self._queue.get(timeout=EXPIRE_EVERY_S)]
        except queue.Empty:
            return []
        while len(batch) < MAX_BATCH_EVENTS:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _step(self, batch: list[CallEvent]) -> None:
        """Join a batch, write its lines, then journal it: an end in the journal has its line on disk."""
        now_s = self._wall_s()
        lines: list[Line] = []
        journal: list[bytes] = []
        for event in batch:
            lines += self._joiner.feed(event, now_s)
            journal.append(_journal_line(event, now_s))
        self._write_lines(lines)
        if journal:
            with self._failures_told():
                self._journal_bytes += _append(self._folder / JOURNAL, b"".join(journal))
                if self._journal_bytes > COMPACT_AT_BYTES:
                    self._rewrite_journal()

    def _write_lines(self, lines: list[Line]) -> None:
        if not lines:
            return
        for line in lines:
            if self._on_line is not None:
                self._on_line(line)
        path = self._folder / f"{_day(self._wall_s())}.jsonl"
        failures = self._failures_told()
        with failures:
            _append(path, b"".join(orjson.dumps(line) + b"\n" for line in lines))
            self.written += len(lines)
        if failures.happened:
            self.dropped_lines += len(lines)

    def _failures_told(self) -> _Failures:
        return _Failures(self)

    def failed(self, error: OSError) -> None:
        """Note a failed write; the first of a spell is told, and one now and then while it lasts."""
        now_s = self._wall_s()
        if self._on_failure is not None and (not self._is_failing or now_s - self._told_at_s >= TELL_AGAIN_S):
            self._told_at_s = now_s
            self._on_failure(str(error))
        self._is_failing = True

    def succeeded(self) -> None:
        self._is_failing = False

    # -- the journal -------------------------------------------------------------------------------------------------------

    def _read_journal(self) -> None:
        """Take over the open calls of the desk before this one; a torn or foreign line is counted and passed over."""
        try:
            raw = (self._folder / JOURNAL).read_bytes()
        except FileNotFoundError:
            return
        for text in raw.splitlines():
            try:
                entry: dict[str, Any] = orjson.loads(text)
                if "known" in entry:
                    self._joiner.restore(entry["call"], msgspec.msgpack.decode(base64.b64decode(entry["known"]), type=OpenCall))
                elif "end" in entry:
                    self._joiner.forget(entry["end"])
                else:
                    self._joiner.feed(_EVENT.decode(base64.b64decode(entry["event"])), float(entry["at"]))
            except (ValueError, KeyError, TypeError, msgspec.DecodeError):
                self.bad_journal_lines += 1
        for call in self._ends_written():
            self._joiner.forget(call)

    def _ends_written(self) -> list[str]:
        """Calls whose end stands near the end of today's or yesterday's file."""
        today = datetime.fromtimestamp(self._wall_s(), UTC)
        ends = []
        for day in (today - timedelta(days=1), today):
            with suppress(FileNotFoundError), (self._folder / f"{day:%Y-%m-%d}.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                for text in file.read().splitlines():
                    with suppress(ValueError, KeyError, TypeError):
                        line = orjson.loads(text)
                        if line["type"] == "call":
                            ends.append(line["call"])
        return ends

    def _rewrite_journal(self) -> None:
        """Keep only what is open, in a new file that takes the old one's place whole."""
        path = self._folder / JOURNAL
        draft = path.with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        data = b"".join(
            orjson.dumps({"call": call, "known": base64.b64encode(msgspec.msgpack.encode(known)).decode()}) + b"\n"
            for call, known in self._joiner.open_calls()
        )
        _append(draft, data)
        draft.replace(path)
        self._journal_bytes = 0


class _Failures:
    """`with` block in which an OSError is told to the writer instead of ending its thread."""

    def __init__(self, writer: CdrWriter) -> None:
        self._writer = writer
        self.happened = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self._writer.succeeded()
            return False
        if isinstance(error, OSError):
            self.happened = True
            self._writer.failed(error)
            return True
        return False


def _journal_line(event: CallEvent, now_s: float) -> bytes:
    if isinstance(event, Ended):
        return orjson.dumps({"end": event.call}) + b"\n"
    return orjson.dumps({"at": now_s, "event": base64.b64encode(msgspec.msgpack.encode(event)).decode()}) + b"\n"


def _append(path: Path, data: bytes) -> int:
    """Append all of ``data`` or, when the disk is full half-way, nothing: a line is never left torn."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            rest = data
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    return len(data)


def _day(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d}"
