"""The board: a piece of memory on which the routers of one machine tell each other what limits and health need (DESIGN §4.2).

Every slot has a section which its router alone writes, and all read: nobody ever waits for anybody. A section holds

    head      beat: when its router last turned (monotonic seconds), 0 after its death
    counts    twice, one in use: keys and, for each, calls now and the window of new calls a second
    health    what the router that probes knows of each SBC, packed by `health`

Counts are laid out anew with every snapshot: the half not in use is filled, then one number is written that says which half is
in use. So a reader sees one layout or the other, whole, and so it does if the writer is killed at any line. A single number is
written by one store. A health cell has a checksum: one that is read while it is written is left for the next look. A section
outlives its router as the slot's memory does: its calls are up, so its counts stand until the successor counts again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final
from zlib import crc32

LAYOUT: Final = "board-1"  # changes with anything that is laid out here, or told at the doors: builds that differ do not mix
MAX_COUNTED: Final = 16_384  # entry points, tenants, trunks and SBCs that have a limit
MAX_HEALTH: Final = 4096  # SBCs
MAX_PACKED_BYTES: Final = 87  # of one SBC's health
LIVE_S: Final = 1.0  # a router that has not turned for so long is not counted on

_HEAD_BYTES: Final = 64
_BEAT, _HEALTH_AT, _HEALTH_SEQ, _LAYOUT, _CELLS = 0, 1, 2, 3, 4  # eight octets each: two floats, then integers
_KEYS_AT: Final = 8  # in a half, behind the number of its keys
_VALUES_AT: Final = _KEYS_AT + 4 * MAX_COUNTED
_LASTS_AT: Final = _VALUES_AT + 4 * MAX_COUNTED
_STARTS_AT: Final = _LASTS_AT + 4 * MAX_COUNTED
_HALF_BYTES: Final = _STARTS_AT + 8 * MAX_COUNTED
_HEALTH_START: Final = _HEAD_BYTES + 2 * _HALF_BYTES
_CELL: Final = Struct("<IIB87s")  # crc, SBC id, length, data
SECTION_BYTES: Final = _HEALTH_START + MAX_HEALTH * _CELL.size
assert SECTION_BYTES % 8 == 0 and _HALF_BYTES % 8 == 0


def board_bytes(slots: int) -> int:
    """Size of the board of so many slots; it begins as zeros."""
    return slots * SECTION_BYTES


class _Half:
    """One of two layouts of a section's counts."""

    __slots__ = ("keys", "lasts", "size", "starts", "values")

    def __init__(self, memory: memoryview) -> None:
        self.size = memory[:_KEYS_AT].cast("Q")
        self.keys = memory[_KEYS_AT:_VALUES_AT].cast("I")
        self.values = memory[_VALUES_AT:_LASTS_AT].cast("i")
        self.lasts = memory[_LASTS_AT:_STARTS_AT].cast("i")
        self.starts = memory[_STARTS_AT:_HALF_BYTES].cast("d")


class Section:
    """What one slot's router tells; written by that router, read by all."""

    __slots__ = ("_cell_of", "_places", "_places_of", "floats", "halves", "health", "numbers")

    def __init__(self, memory: memoryview) -> None:
        self.floats = memory[:_HEAD_BYTES].cast("d")
        self.numbers = memory[:_HEAD_BYTES].cast("Q")
        self.halves = (
            _Half(memory[_HEAD_BYTES : _HEAD_BYTES + _HALF_BYTES]), _Half(memory[_HEAD_BYTES + _HALF_BYTES : _HEALTH_START]),
        )  # fmt: skip
        self.health = memory[_HEALTH_START:SECTION_BYTES]
        self._cell_of: dict[int, int] = {sbc_id: number for number, sbc_id in enumerate(self._cell_ids())}
        self._places: list[int] = []  # the reader's places → ours, for the layout …
        self._places_of = -1  # … of this number

    # -- counts ----------------------------------------------------------------------------------------------------------------

    @property
    def half(self) -> _Half:
        """The layout in use."""
        return self.halves[self.numbers[_LAYOUT] & 1]

    def lay_out(self, keys: Sequence[int], values: Sequence[int]) -> None:
        """Tell other keys than before, at most MAX_COUNTED, each once."""
        layout = self.numbers[_LAYOUT] + 1
        half = self.halves[layout & 1]
        for place, key in enumerate(keys):
            half.keys[place] = key
            half.values[place] = values[place]
            half.lasts[place] = 0
            half.starts[place] = 0.0
        half.size[0] = len(keys)
        self.numbers[_LAYOUT] = layout

    def place_in(self, keys: Sequence[int], place: int) -> int:
        """Where this section tells what the reader keeps at `place` of its `keys`; -1 if it does not."""
        layout = self.numbers[_LAYOUT]
        if layout != self._places_of:
            half = self.half
            ours = {half.keys[at]: at for at in range(min(half.size[0], MAX_COUNTED))}
            self._places = [ours.get(key, -1) for key in keys]
            self._places_of = layout
        return self._places[place]

    def forget_places(self) -> None:
        """The reader's keys have changed."""
        self._places_of = -1

    # -- health ----------------------------------------------------------------------------------------------------------------

    def write_health(self, sbc_id: int, data: bytes) -> bool:
        """Tell what is known of one SBC; False if there is no room for another one."""
        number = self._cell_of.get(sbc_id)
        if number is None:
            number = len(self._cell_of)
            if number >= MAX_HEALTH or len(data) > MAX_PACKED_BYTES:
                return False
            self._cell_of[sbc_id] = number
        packed = _CELL.pack(0, sbc_id, len(data), data)
        at = number * _CELL.size
        self.health[at + 4 : at + _CELL.size] = packed[4:]
        self.health[at : at + 4] = crc32(packed[4:]).to_bytes(4, "little")
        self.numbers[_CELLS] = len(self._cell_of)
        return True

    def sign_health(self, now_s: float) -> None:
        """What was written is to be looked at."""
        self.floats[_HEALTH_AT] = now_s
        self.numbers[_HEALTH_SEQ] += 1

    @property
    def health_seq(self) -> int:
        return int(self.numbers[_HEALTH_SEQ])

    @property
    def health_at_s(self) -> float:
        """When this slot's router last told of health; 0: never."""
        return float(self.floats[_HEALTH_AT])

    def read_health(self) -> Iterator[tuple[int, bytes]]:
        """(SBC id, data) of every cell that is whole now."""
        for number in range(min(self.numbers[_CELLS], MAX_HEALTH)):
            at = number * _CELL.size
            cell = bytes(self.health[at : at + _CELL.size])
            checksum, sbc_id, size, data = _CELL.unpack(cell)
            if checksum == crc32(cell[4:]):
                yield sbc_id, data[:size]

    def _cell_ids(self) -> list[int]:
        return [
            int.from_bytes(self.health[number * _CELL.size + 4 : number * _CELL.size + 8], "little")
            for number in range(min(self.numbers[_CELLS], MAX_HEALTH))
        ]


class Board:
    """The whole board as the router of one slot uses it; `slot` -1: the supervisor, which only marks the dead."""

    __slots__ = ("keys", "mine", "others", "sections", "slot")

    def __init__(self, memory: memoryview, slots: int, slot: int) -> None:
        """Raises: ValueError if the memory is too small."""
        if len(memory) < board_bytes(slots):
            raise ValueError(f"the board has {len(memory)} bytes, {board_bytes(slots)} are needed")
        self.slot = slot
        self.sections = [Section(memory[at * SECTION_BYTES : (at + 1) * SECTION_BYTES]) for at in range(slots)]
        self.mine = self.sections[max(slot, 0)]
        self.others = [section for number, section in enumerate(self.sections) if number != slot]
        self.keys: list[int] = []

    # -- who lives -------------------------------------------------------------------------------------------------------------

    def beat(self, now_s: float) -> None:
        """This router turns, and holds a snapshot."""
        self.mine.floats[_BEAT] = now_s

    def mark_dead(self, slot: int) -> None:
        """Its router is gone: the next lowest need not wait until its beat is old."""
        self.sections[slot].floats[_BEAT] = 0.0

    def leader(self, now_s: float) -> int:
        """The lowest slot whose router lives: it probes for all (CALLS 3.1); -1 if there is none."""
        for slot, section in enumerate(self.sections):
            beat_s = section.floats[_BEAT]
            if beat_s and now_s - beat_s <= LIVE_S:
                return slot
        return -1

    def newest_health(self) -> Section | None:
        """The section of whoever told of health last; None if nobody did."""
        newest = max(self.sections, key=lambda section: section.health_at_s)
        return newest if newest.health_at_s else None

    # -- counts ----------------------------------------------------------------------------------------------------------------

    def lay_out(self, keys: Sequence[int], values: Sequence[int]) -> int:
        """Tell these counts from now on; returns how many found no room."""
        self.keys = list(keys[:MAX_COUNTED])
        self.mine.lay_out(self.keys, values)
        for section in self.others:
            section.forget_places()
        return len(keys) - len(self.keys)

    def write(self, place: int, value: int) -> None:
        self.mine.half.values[place] = value

    def write_window(self, place: int, start_s: float, now: int, last: int) -> None:
        """New calls: those since `start_s`, and those of the second before."""
        half = self.mine.half
        half.starts[place], half.values[place], half.lasts[place] = start_s, now, last

    def elsewhere(self, place: int) -> int:
        """The sum of what all other routers tell under the key at this place."""
        total = 0
        for section in self.others:
            at = section.place_in(self.keys, place)
            if at >= 0:
                total += section.half.values[at]
        return total

    def windows_elsewhere(self, place: int) -> list[tuple[float, int, int]]:
        """(start, now, last) of all other routers."""
        found: list[tuple[float, int, int]] = []
        for section in self.others:
            at = section.place_in(self.keys, place)
            if at >= 0:
                half = section.half
                found.append((half.starts[at], half.values[at], half.lasts[at]))
        return found
