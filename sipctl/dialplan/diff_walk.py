"""Two tables walked side by side: every stretch of numbers on which one of them says something else than the other.

Both tables hold disjoint intervals in ascending order (dialplan/flatten.py), so their merged boundaries cut the whole number
space into stretches on which either side is constant; comparing one stretch compares every number in it. Where whole blocks of
rows are alike, which is everywhere but at the edits, they are compared as blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sipctl.routing.numbers import NOT_FOUND, Numbers

LEAST_BLOCK: Final = 64
MOST_BLOCK: Final = 8192
_END: Final = 1 << 64  # above every key

Emit = Callable[[int, int, int, int], None]  # first, last, treatment before, treatment after (NOT_FOUND: none)


class Side:
    """One table's rows of one scope.

    Args:
        codes: by entry point index, a number that is equal on both sides where nothing about the entry point differs.
    """

    __slots__ = ("bcp_base", "codes", "copied", "end", "first", "last", "primary_base", "row", "start")

    def __init__(self, numbers: Numbers, scope: int, codes: Sequence[int]) -> None:
        self.start, self.end = numbers.scopes[scope] if scope >= 0 else (0, 0)
        self.first, self.last, self.row = numbers.first, numbers.last, numbers.row
        self.codes = [codes[entry] for entry in numbers.entry_point]
        self.primary_base, self.bcp_base, self.copied = numbers.primary_base, numbers.bcp_base, numbers.copied


def walk(old: Side, new: Side, emit: Emit) -> None:
    """Tell `emit` every stretch of numbers that may be treated differently, in ascending order.

    Cost: about 0.4 µs a row where nothing differs, 2 µs where something does.
    """
    i, j = old.start, new.start
    size = LEAST_BLOCK
    while i < old.end or j < new.end:
        rows = min(size, old.end - i, new.end - j)
        if rows > 0 and _is_same(old, i, new, j, rows):
            i, j = i + rows, j + rows
            size = min(size * 2, MOST_BLOCK)
        else:
            i, j = _merge(old, i, new, j, emit)
            size = LEAST_BLOCK


def _is_same(old: Side, i: int, new: Side, j: int, rows: int) -> bool:
    if list(old.first[i : i + rows]) != list(new.first[j : j + rows]):
        return False
    if list(old.last[i : i + rows]) != list(new.last[j : j + rows]):
        return False
    before, after = list(old.row[i : i + rows]), list(new.row[j : j + rows])
    return (
        list(map(old.codes.__getitem__, before)) == list(map(new.codes.__getitem__, after))
        and list(map(old.copied.__getitem__, before)) == list(map(new.copied.__getitem__, after))
        and list(map(old.primary_base.__getitem__, before)) == list(map(new.primary_base.__getitem__, after))
        and list(map(old.bcp_base.__getitem__, before)) == list(map(new.bcp_base.__getitem__, after))
    )


def _merge(old: Side, i: int, new: Side, j: int, emit: Emit) -> tuple[int, int]:
    """Walk stretch by stretch for at least a block of rows, until both sides are between two rows."""
    stop = i + j + LEAST_BLOCK
    here_old = old.first[i] if i < old.end else _END  # where what is left of the row begins
    here_new = new.first[j] if j < new.end else _END
    while i < old.end or j < new.end:
        if here_old < here_new:
            last = min(old.last[i], here_new - 1)
            emit(here_old, last, old.row[i], NOT_FOUND)
            here_old = last + 1
        elif here_new < here_old:
            last = min(new.last[j], here_old - 1)
            emit(here_new, last, NOT_FOUND, new.row[j])
            here_new = last + 1
        else:
            last = min(old.last[i], new.last[j])
            emit(here_old, last, old.row[i], new.row[j])
            here_old = here_new = last + 1
        if i < old.end and here_old > old.last[i]:
            i += 1
            here_old = old.first[i] if i < old.end else _END
        if j < new.end and here_new > new.last[j]:
            j += 1
            here_new = new.first[j] if j < new.end else _END
        if i + j >= stop and (i >= old.end or here_old == old.first[i]) and (j >= new.end or here_new == new.first[j]):
            break
    return i, j
