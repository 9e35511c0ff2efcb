"""`STATE/audit/`: the audit chain on disk, appended to by one process at a time, read by any.

One file a UTC day, mode 0600 in a folder of mode 0700. Whoever appends holds the lock of `STATE/audit/lock` (flock: it ends with
its holder), looks where the chain ends, writes its records with one `write`, and returns once they are on disk. Days never go
back: while the clock is behind the newest file, that file goes on. Nothing is ever rewritten or removed here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sipctl.errors import StoreError
from sipctl.store.audit_chain import GENESIS, MAX_RECORD_BYTES, TORN, Record, Verdict, opened, seal, torn_facts, verify

FOLDER: Final = "audit"  # below STATE
LOCK: Final = "lock"
LOCK_WAIT_S: Final = 3.0  # a frozen holder is somebody's alarm, not our end
LOCK_POLL_S: Final = 0.01
TAIL_BYTES: Final = 2 * MAX_RECORD_BYTES  # read first when looking for the end of the chain


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain."""

    number: int = 0  # 0: there is no record yet
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the newest file, as it was seen."""

    head: Head
    path: Path | None  # None: there is no file yet
    inode: int
    size: int
    torn: bytes | None  # bytes behind the last record that are none; None: nothing
    lacks_newline: bool = False


class AuditLog:
    """One folder of day files. Not for several threads at once; several processes take turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._end: _End | None = None

    def append(self, bodies: Sequence[Mapping[str, Any]], unix_s: float) -> Head:
        """Write records behind the last one; they are on disk when it returns.

        Raises: StoreError if they are not; then none of them is, or it will be recognised as torn.
        """
        with _translated("writing the audit"), self._locked(fcntl.LOCK_EX):
            end = self._found()
            if end.torn is not None or end.lacks_newline:
                end = self._mended(end, unix_s)
            head, lines = end.head, []
            for body in bodies:
                line, digest = seal(body, head.number + 1, head.hash)
                head = Head(head.number + 1, digest)
                lines.append(line)
            path = self.folder / f"{_day(unix_s)}.jsonl"
            path = max(path, end.path) if end.path is not None else path
            self._write(path, b"".join(lines), head)
            return head

    def head(self) -> Head:
        """Where the chain ends now. Raises: StoreError."""
        if not self.folder.is_dir():
            return Head()
        with _translated("reading the audit"), self._locked(fcntl.LOCK_SH):
            return self._found().head

    def _found(self) -> _End:
        """The end of the chain; what was seen last time is believed if the newest file is as it was."""
        names = day_files(self.folder)
        if not names:
            return _End(Head(), None, 0, 0, None)
        stat = names[-1].stat()
        known = self._end
        if known is not None and (known.path, known.inode, known.size) == (names[-1], stat.st_ino, stat.st_size):
            return known
        last, behind = _last_record(names[-1])
        head = Head(last.number, last.hash) if last is not None else _head_before(names[:-1])
        lacks_newline = last is not None and behind == b""
        torn = behind if last is None else behind[1:]
        self._end = _End(head, names[-1], stat.st_ino, stat.st_size, torn or None, lacks_newline)
        return self._end

    def _mended(self, end: _End, unix_s: float) -> _End:
        """Close an end that a crash left: the missing newline, or a record that tells what the torn bytes were."""
        assert end.path is not None
        if end.torn is None:
            self._write(end.path, b"\n", end.head)
        else:
            region = end.torn
            facts = torn_facts(region)
            text = f"a write was cut short here: {facts['bytes']} bytes that are no record stand before this one"
            body = {"at": rfc3339(unix_s), "kind": TORN, "op": TORN, "actor": "sipctl", "text": text, TORN: facts}
            line, digest = seal(body, end.head.number + 1, end.head.hash)
            gap = b"" if region.endswith(b"\n") else b"\n"
            self._write(end.path, gap + line, Head(end.head.number + 1, digest))
        assert self._end is not None
        return self._end

    def _write(self, path: Path, data: bytes, head: Head) -> None:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(descriptor)
            self._end = None
            try:
                rest = data
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)
            except OSError:
                with suppress(OSError):  # where even this fails, the next writer finds a torn end and says so
                    os.ftruncate(descriptor, before.st_size)
                raise
            self._end = _End(head, path, before.st_ino, before.st_size + len(data), None)
        finally:
            os.close(descriptor)
        if is_new:
            _sync_folder(self.folder)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        if how == fcntl.LOCK_EX:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = self._opened_lock(how)
        if descriptor is None:
            yield  # a copy on a read-only disk: nobody writes there
            return
        try:
            until_s = time.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until_s:
                        raise OSError(errno.EBUSY, f"another process has held its lock for {LOCK_WAIT_S:g} s") from None
                    time.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def _opened_lock(self, how: int) -> int | None:
        path = self.folder / LOCK
        if how == fcntl.LOCK_EX:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None

    def verify(self, anchors: Iterable[tuple[int, str]] = ()) -> Verdict:
        """Is the whole chain whole? Writers wait only while the end of the newest file is looked at. Raises: StoreError."""
        if not self.folder.is_dir():
            return verify((), anchors=anchors)
        with _translated("reading the audit"):
            with self._locked(fcntl.LOCK_SH):
                sizes = [(path, path.stat().st_size) for path in day_files(self.folder)]
            return verify(((path.name, lines_of(path, size)) for path, size in sizes), anchors=anchors)

    def records(self) -> Iterator[Record]:
        """All records that can be read, newest first; what is no record is passed over: `verify` tells of it.

        Raises: StoreError.
        """
        with _translated("reading the audit"):
            for path in reversed(day_files(self.folder)):
                found = [one for one in (opened(line.removesuffix(b"\n")) for line in lines_of(path)) if isinstance(one, Record)]
                yield from reversed(found)


def day_files(folder: Path) -> list[Path]:
    """The day files, oldest first."""
    return sorted(path for path in folder.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].jsonl") if path.is_file())


def lines_of(path: Path, size: int | None = None) -> Iterator[bytes]:
    """The lines of a file with their newlines, up to `size` bytes; one that is longer than any record comes in pieces."""
    left = size
    with path.open("rb") as file:
        while left is None or left > 0:
            line = file.readline(2 * MAX_RECORD_BYTES if left is None else min(left, 2 * MAX_RECORD_BYTES))
            if not line:
                return
            if left is not None:
                left -= len(line)
            yield line


def rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _last_record(path: Path) -> tuple[Record | None, bytes]:
    """The last record of a file and the bytes behind it, its newline first; without a record, all bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in (max(0, size - TAIL_BYTES), 0):
            file.seek(start)
            data = file.read()
            found = _last_in(data, is_from_start=start == 0)
            if found is not None:
                return found
    return None, data


def _last_in(data: bytes, is_from_start: bool) -> tuple[Record, bytes] | None:
    end = len(data)
    while True:
        start = data.rfind(b"\n", 0, end) + 1
        if start == 0 and not is_from_start:
            return None  # that line may have begun before the piece
        record = opened(data[start:end])
        if isinstance(record, Record):
            return record, data[end:]
        if start == 0:
            return None
        end = start - 1


def _head_before(paths: Sequence[Path]) -> Head:
    for path in reversed(paths):
        record, _ = _last_record(path)
        if record is not None:
            return Head(record.number, record.hash)
    return Head()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free space where STATE is" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "is STATE/audit there and ours?"
        raise StoreError(f"{what}: {error.strerror or error}", hint=hint) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _day(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d}"
