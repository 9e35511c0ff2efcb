"""The last good snapshots on disk: two generations, so that one is whole whatever happens while the other is written.

    STATE/snapshots/0/state            what was decided and wished, with the term and seq it was published under
    STATE/snapshots/0/<hash>.table     the compiled plan that state is meant for
    STATE/snapshots/0/<hash>.table     while a canary runs also its table
    STATE/snapshots/1/…                the same, one publication apart

Each directory is self-contained: nothing in it refers to the other. A write goes to the directory that holds the older
generation, or none: first the table, then the state that names it, each as a temporary file, fsync, rename, fsync of the
directory; tables no longer named leave last. So at every instant, also after a power cut, the other directory and either the
old or the new state of this one are whole.

A state file is `magic | length | BLAKE2b-256 of magic, length and body | body`, body being the msgpack RoutingState: any octet
changed or missing, or one too many, is noticed. A table carries its own checksum (`routing.table`).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from struct import Struct

import msgspec

from sipctl.errors import SnapshotError, StoreError
from sipctl.routing.snapshot import RoutingState

MAX_STATE_BYTES = 64 << 20
GENERATIONS = (0, 1)

_MAGIC = b"sipctl-state-1\n\0"
_LENGTH = Struct("<I")
_HASH_BYTES = 32
_HEAD_BYTES = len(_MAGIC) + _LENGTH.size + _HASH_BYTES
_HASH_LETTERS = frozenset("0123456789abcdef")
_decoder = msgspec.msgpack.Decoder(RoutingState)


def encode_state(state: RoutingState) -> bytes:
    """The bytes of a state file, as they also travel between processes."""
    body = msgspec.msgpack.encode(state)
    head = _MAGIC + _LENGTH.pack(len(body))
    return head + blake2b(head + body, digest_size=_HASH_BYTES).digest() + body


def decode_state(data: bytes) -> RoutingState:
    """The state in these bytes.

    Raises: SnapshotError for anything but exactly what `encode_state` made, by this version or a neighbour.
    """
    head = data[: len(_MAGIC) + _LENGTH.size]
    body = data[_HEAD_BYTES:]
    if not head.startswith(_MAGIC):
        raise SnapshotError("not a state of sipctl, or one of an unknown format")
    if len(data) < _HEAD_BYTES or _LENGTH.unpack_from(head, len(_MAGIC))[0] != len(body):
        raise SnapshotError("the state is cut short or too long")
    if blake2b(head + body, digest_size=_HASH_BYTES).digest() != data[len(head) : _HEAD_BYTES]:
        raise SnapshotError("the state's checksum does not match: it is damaged")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"the state is whole but not understood: {error}") from error


@dataclass(frozen=True, slots=True)
class Found:
    """One generation as it lies on disk; its table is checked by whoever maps it."""

    number: int
    state: RoutingState
    table: Path
    canary: Path | None = None  # the table of the state's canary; None if there is none, or its file is gone

    @property
    def order(self) -> tuple[int, int]:
        return self.state.term, self.state.seq


class Generations:
    """STATE/snapshots."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def found(self) -> tuple[list[Found], list[str]]:
        """Both generations, newest first, and a sentence for each that is there but cannot be used."""
        whole, faults = [], []
        for number in GENERATIONS:
            path = self._root / str(number) / "state"
            try:
                with path.open("rb") as file:
                    state = decode_state(file.read(MAX_STATE_BYTES + _HEAD_BYTES + 1))
                if not _is_hash(state.table):
                    raise SnapshotError("the state names no table")
                whole.append(Found(number, state, self._table(number, state.table), self._canary(number, state)))
            except FileNotFoundError:
                continue
            except (OSError, SnapshotError) as error:
                faults.append(f"generation {number} is not used: {error}")
        whole.sort(key=lambda generation: generation.order, reverse=True)
        return whole, faults

    def write(self, state: RoutingState, table: bytes | memoryview, canary: bytes | memoryview | None = None) -> int:
        """Make this the newest generation, in place of the older one; returns its directory's number.

        Args:
            canary: the table of the state's canary, if it has one.
        Raises: StoreError if the disk refuses; what was there before is whole then.
        """
        whole, _ = self.found()
        taken = {generation.number for generation in whole}
        number = next((number for number in GENERATIONS if number not in taken), whole[-1].number if whole else 0)
        place = self._root / str(number)
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            target = self._table(number, state.table)
            if not _holds(target, table):
                replace_file(target, table)
            kept = [target, place / "state"]
            if canary is not None and state.canary is not None:
                kept.append(self._table(number, state.canary.table))
                if not _holds(kept[-1], canary):
                    replace_file(kept[-1], canary)
            replace_file(place / "state", encode_state(state))
            for leftover in place.iterdir():
                if leftover not in kept:
                    leftover.unlink()
        except OSError as error:
            raise StoreError(f"generation {number} was not written: {error.strerror or error}") from error
        return number

    def _canary(self, number: int, state: RoutingState) -> Path | None:
        if state.canary is None or not _is_hash(state.canary.table):
            return None
        path = self._table(number, state.canary.table)
        return path if path.is_file() else None

    def _table(self, number: int, name: str) -> Path:
        return self._root / str(number) / f"{name}.table"


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Put a whole new file in the place of the old one: afterwards, or after a power cut, it is either the one or the other."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """A rename outlives a power cut only once its directory was synced."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_hash(name: str) -> bool:
    return 16 <= len(name) <= 128 and set(name) <= _HASH_LETTERS


def _holds(path: Path, data: bytes | memoryview) -> bool:
    """Is exactly this already in the file?"""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == len(data) and file.read() == data
    except FileNotFoundError:
        return False
