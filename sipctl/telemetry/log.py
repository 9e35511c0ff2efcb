"""Log lines: one JSON object each, written by a thread of their own.

`structlog` shapes a line, a bounded queue takes it, one thread writes. When the queue is full, the disk full or the pipe
blocked, lines are dropped and counted; the next line that gets through says how many. Whoever logs never waits.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from sipctl.telemetry.mask import masked

MAX_QUEUED_LINES: Final = 10_000
MAX_FILE_BYTES: Final = 64 << 20  # then the file becomes FILE.1, the one before is gone
MAX_BATCH_LINES: Final = 500
TELL_AGAIN_S: Final = 20.0  # while writes fail: an alarm made of it stands for a minute


class LineWriter:
    """Takes lines from anyone at once, writes them from its own thread to a file or a descriptor."""

    def __init__(
        self,
        target: Path | int,
        *,
        max_queued: int = MAX_QUEUED_LINES,
        max_file_bytes: int = MAX_FILE_BYTES,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            target: a file, appended to and rotated once; or an open descriptor such as 1.
            on_failure: told of failed writes, once and then every TELL_AGAIN_S while they last; from the writing thread.
        """
        self._target = target
        self._max_file_bytes = max_file_bytes
        self._on_failure = on_failure
        self._queue: queue.Queue[bytes | None] = queue.Queue(max_queued)
        self._descriptor: int | None = target if isinstance(target, int) else None
        self._is_failing = False
        self._told_at_s = 0.0
        self._said = 0  # of the dropped lines, how many a line told of
        self.dropped = 0  # lines lost since start: queue full or write failed
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take a line that ends in a newline, or drop and count it; never waits."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued, within ``timeout_s``; a blocked target keeps it."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while len(batch) < MAX_BATCH_LINES and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            is_open = batch[-1] is not None
            lines = [line for line in batch if line is not None]
            dropped = self.dropped
            if dropped > self._said and lines:
                lines.append(orjson.dumps({"level": "warning", "event": "log lines were dropped", "dropped": dropped}) + b"\n")
            if self._write_out(lines):
                self._said = dropped
        if self._descriptor is not None and not isinstance(self._target, int):
            os.close(self._descriptor)

    def _write_out(self, lines: list[bytes]) -> bool:
        if not lines:
            return False
        try:
            data = b"".join(lines)
            descriptor = self._opened()
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError as error:
            self.dropped += len(lines)
            now_s = time.monotonic()
            if self._on_failure is not None and (not self._is_failing or now_s - self._told_at_s >= TELL_AGAIN_S):
                self._told_at_s = now_s
                self._on_failure(str(error))
            self._is_failing = True
            return False
        self._is_failing = False
        return True

    def _opened(self) -> int:
        if isinstance(self._target, int):
            return self._target
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        if self._descriptor is None:
            self._descriptor = os.open(self._target, flags, 0o600)
        if os.fstat(self._descriptor).st_size >= self._max_file_bytes:
            self._target.replace(self._target.with_name(f"{self._target.name}.1"))
            os.close(self._descriptor)
            self._descriptor = None
            self._descriptor = os.open(self._target, flags, 0o600)
        return self._descriptor


def logger(writer: LineWriter, wall_s: Callable[[], float], **always: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger of its own: nothing global is configured, so several may live in one process (tests, the demo).

    Args:
        wall_s: unix time in seconds.
        always: fields of every line, such as ``role="desk"``.
    """

    def stamp(_logger: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        at = datetime.fromtimestamp(wall_s(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"at": at, "level": level, **event}

    bound = structlog.wrap_logger(
        _Sink(writer),
        processors=[stamp, structlog.processors.format_exc_info, _masked_event, _to_line],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=True,
    )
    return bound.bind(**always)  # type: ignore[no-any-return]


class _Sink:
    """What structlog calls by the name of the level; they all end in the same queue."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = writer.write


def _masked_event(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: masked(key, value) for key, value in event.items()}


def _to_line(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> tuple[tuple[bytes], dict[str, Any]]:
    return (orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n",), {}
