"""A compiled plan as one image of bytes: written once by the compiler, mapped by every router.

    0   8  magic
    8   4  format version, little-endian
    12  4  length of the head
    16  32 BLAKE2b-256 of everything else (bytes 0..16 and 48..end); in hex it names the table
    48  …  head: msgpack of Topology and the number table's small parts
    …   …  number arrays, each aligned to 8 bytes: u64 first last primary_base bcp_base, u32 row entry_point rule, u16 copied

The arrays are used where they lie (a memoryview of the mapping), so a million numbers cost their pages once for all routers. A
damaged image never yields a table: any flipped, missing or added byte breaks the hash, and a table whose arrays contradict each
other is refused although its hash is right.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Generator, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from sipctl.errors import SnapshotError
from sipctl.routing.numbers import Numbers
from sipctl.routing.snapshot import Topology

MAGIC: Final = b"sipctl\x00T"
VERSION: Final = 1
MAX_HEAD_BYTES: Final = 256 << 20
STEP_BYTES: Final = 256 << 10  # hashed at once: half a millisecond
STEP_NUMBERS: Final = 16_384  # looked at at once

_Code = Literal["Q", "I", "H"]

_FIXED: Final = 16
_HEAD_AT: Final = 48
_WIDTHS: Final[tuple[tuple[_Code, int], ...]] = (("Q", 8), ("Q", 8), ("I", 4), ("I", 4), ("I", 4), ("Q", 8), ("Q", 8), ("H", 2))
_HINT: Final = "the older snapshot is used; compile the plan again"


class Table:
    """One plan, loaded: topology, numbers, and the hash that names it."""

    __slots__ = ("hash", "image", "numbers", "topology")

    def __init__(self, topology: Topology, numbers: Numbers, hash_: str, image: memoryview) -> None:
        self.topology = topology
        self.numbers = numbers
        self.hash = hash_  # 64 hex digits
        self.image = image  # what it was loaded from, kept alive for the number arrays


class _Head(msgspec.Struct, frozen=True):
    """What the image holds besides arrays."""

    topology: Topology
    rules: tuple[str, ...]
    scopes: tuple[tuple[int, int], ...]
    words: tuple[dict[str, int], ...]
    scope_of_trunk: tuple[int, ...]
    rows: int
    treatments: int


def encode_table(topology: Topology, numbers: Numbers) -> bytes:
    """The image of a plan. The same plan gives the same bytes."""
    assert sys.byteorder == "little", "images are little-endian"
    head = msgspec.msgpack.encode(
        _Head(
            topology,
            numbers.rules,
            numbers.scopes,
            tuple(dict(words) for words in numbers.words),
            numbers.scope_of_trunk,
            len(numbers.first),
            len(numbers.entry_point),
        ),
        order="deterministic",
    )
    image = bytearray(MAGIC)
    image += VERSION.to_bytes(4, "little") + len(head).to_bytes(4, "little") + bytes(32) + head
    for (code, _), column in zip(_WIDTHS, _columns(numbers), strict=True):
        image += bytes(-len(image) % 8)
        image += memoryview(column if isinstance(column, array | memoryview) else array(code, column)).cast("B")
    image[_FIXED:_HEAD_AT] = _digest(memoryview(image))
    return bytes(image)


def load_table(buffer: memoryview | bytes) -> Table:
    """Check an image and make it usable without copying its arrays, in one go.

    Raises: SnapshotError for anything wrong with it.
    Cost: one hash over the image and one look at each number (1 million, 40 MB: 100 to 300 ms), and a few ms for the topology.
    """
    steps = load_steps(buffer)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            table: Table = done.value
            return table


def load_steps(buffer: memoryview | bytes) -> Generator[None, None, Table]:
    """As `load_table`, in steps of a millisecond at most each but the last, for a loop that has calls to serve between them."""
    view = memoryview(buffer).cast("B") if not isinstance(buffer, bytes) else memoryview(buffer)
    if len(view) < _HEAD_AT or bytes(view[:8]) != MAGIC:
        raise SnapshotError("this is no table image", hint=_HINT)
    version = int.from_bytes(view[8:12], "little")
    if version != VERSION:
        raise SnapshotError(f"the table image has format {version}, this build reads {VERSION}", hint=_HINT)
    digest = bytes(view[_FIXED:_HEAD_AT])
    hashed = blake2b(view[:_FIXED], digest_size=32)
    for start in range(_HEAD_AT, len(view), STEP_BYTES):
        hashed.update(view[start : start + STEP_BYTES])
        yield
    if hashed.digest() != digest:
        raise SnapshotError("the table image is damaged: its checksum does not match", hint=_HINT)
    head_bytes = int.from_bytes(view[12:16], "little")
    if head_bytes > MAX_HEAD_BYTES or _HEAD_AT + head_bytes > len(view):
        raise SnapshotError("the table image is cut", hint=_HINT)
    try:
        head = _DECODER.decode(view[_HEAD_AT : _HEAD_AT + head_bytes])
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"the table's topology does not read: {error}", hint=_HINT) from error
    numbers = yield from _read_numbers(view, _HEAD_AT + head_bytes, head)
    return Table(head.topology, numbers, digest.hex(), view)


def _read_numbers(view: memoryview, at: int, head: _Head) -> Generator[None, None, Numbers]:
    counts = (head.rows, head.rows, head.rows, *(head.treatments,) * 5)
    columns: list[memoryview] = []
    for (code, width), count in zip(_WIDTHS, counts, strict=True):
        at += -at % 8
        end = at + count * width
        if end > len(view):
            raise SnapshotError("the table's numbers are cut", hint=_HINT)
        columns.append(view[at:end].cast(code))
        at = end
    first, last, row, entry_point, rule, primary_base, bcp_base, copied = columns
    numbers = Numbers(
        first,
        last,
        row,
        entry_point,
        rule,
        primary_base,
        bcp_base,
        copied,
        head.rules,
        head.scopes,
        head.words,
        head.scope_of_trunk,
    )
    yield from _check_numbers(numbers, head)
    return numbers


def _largest(column: Sequence[int]) -> Generator[None, None, int]:
    """The largest of a column, -1 of an empty one."""
    largest = -1
    for start in range(0, len(column), STEP_NUMBERS):
        largest = max(largest, max(column[start : start + STEP_NUMBERS]))
        yield
    return largest


def _check_numbers(numbers: Numbers, head: _Head) -> Generator[None, None, None]:
    """Refuse small contradictions at once; the arrays' own order is the compiler's promise, sealed by the hash."""
    topology = head.topology
    wrong = []
    if not head.scopes or len(head.words) != len(head.scopes) or len(head.scope_of_trunk) != len(topology.trunks):
        wrong.append("its scopes do not fit its trunks")
    if any(not 0 <= start <= end <= head.rows for start, end in head.scopes):
        wrong.append("a scope lies outside its rows")
    if any(scope >= len(head.scopes) for scope in head.scope_of_trunk):
        wrong.append("a trunk names no scope")
    if (yield from _largest(numbers.entry_point)) >= len(topology.entry_points):
        wrong.append("a number names no entry point")
    if (yield from _largest(numbers.rule)) >= len(head.rules):
        wrong.append("a number names no rule")
    if (yield from _largest(numbers.row)) >= head.treatments:
        wrong.append("a number names no treatment")
    if any(index >= head.treatments for scope in head.words for index in scope.values()):
        wrong.append("a private word names no treatment")
    if wrong:
        raise SnapshotError("the table contradicts itself: " + "; ".join(wrong), hint=_HINT)


def _columns(numbers: Numbers) -> tuple[Sequence[int], ...]:
    return (
        numbers.first,
        numbers.last,
        numbers.row,
        numbers.entry_point,
        numbers.rule,
        numbers.primary_base,
        numbers.bcp_base,
        numbers.copied,
    )


def _digest(view: memoryview) -> bytes:
    digest = blake2b(view[:_FIXED], digest_size=32)
    digest.update(view[_HEAD_AT:])
    return digest.digest()


_DECODER: Final = msgspec.msgpack.Decoder(_Head)
