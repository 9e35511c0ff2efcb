"""Exact numbers, ranges and patterns of one scope become disjoint intervals, each with its treatment.

Precedence: an exact number before a range, a range before a pattern, a pattern with more fixed digits before one with fewer.
Equal precedence on one number is a conflict, wherever it lies: the order of lines or files never decides.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple


class Block(NamedTuple):
    """One interval of a range or pattern."""

    first: int  # keys, both included
    last: int
    precedence: int
    treatment: int
    origin: int  # where it was written


@dataclass(frozen=True, slots=True)
class Clash:
    """Two expressions that claim one number."""

    key: int
    one: int  # origins, in order of appearance
    other: int
    is_exact: bool


class Rows:
    """Disjoint intervals in ascending order."""

    __slots__ = ("first", "last", "treatment")

    def __init__(self) -> None:
        self.first = array("Q")
        self.last = array("Q")
        self.treatment = array("I")

    def add(self, first: int, last: int, treatment: int) -> None:
        """Append an interval, growing the one before where it goes on unchanged."""
        if self.first and self.treatment[-1] == treatment and self.last[-1] == first - 1:
            self.last[-1] = last
        else:
            self.first.append(first)
            self.last.append(last)
            self.treatment.append(treatment)


def in_order(keys: Sequence[int]) -> Sequence[int]:
    """Indexes of keys in ascending order, equal ones as they came. Cost: nothing to sort if they are in order already."""
    if all(keys[at] <= keys[at + 1] for at in range(len(keys) - 1)):
        return range(len(keys))
    return sorted(range(len(keys)), key=keys.__getitem__)


def exact_clashes(keys: Sequence[int], origins: Sequence[int], order: Sequence[int]) -> Iterator[Clash]:
    """Every number that stands more than once."""
    before = -1
    for at in order:
        if before >= 0 and keys[before] == keys[at]:
            yield Clash(keys[at], origins[before], origins[at], True)
        else:
            before = at


def block_clashes(blocks: Sequence[Block]) -> Iterator[Clash]:
    """Every pair of neighbours of equal precedence that share numbers; once for each pair of origins."""
    told: set[tuple[int, int]] = set()
    reach: dict[int, Block] = {}  # precedence → the block seen that ends last
    for block in sorted(blocks):
        before = reach.get(block.precedence)
        if before is not None and before.last >= block.first:
            pair = (min(before.origin, block.origin), max(before.origin, block.origin))
            if pair not in told:
                told.add(pair)
                yield Clash(block.first, *pair, False)
        if before is None or block.last > before.last:
            reach[block.precedence] = block


def flatten(keys: Sequence[int], treatments: Sequence[int], order: Sequence[int], blocks: Sequence[Block]) -> Rows:
    """Lay exact numbers over ranges over patterns.

    Args:
        keys, treatments: the exact numbers; order: indexes of keys, ascending (see `in_order`).
    Cost: one pass over everything, about 1 µs a number.
    """
    rows = Rows()
    add = rows.add
    if not blocks:
        for at in order:
            add(keys[at], keys[at], treatments[at])
        return rows
    ordered = [keys[at] for at in order]
    done = 0  # exact numbers already written
    for first, last, treatment in winners(blocks):
        start = bisect_left(ordered, first, done)
        for at in range(done, start):
            add(ordered[at], ordered[at], treatments[order[at]])
        done = start
        here = first
        while done < len(ordered) and ordered[done] <= last:
            key = ordered[done]
            if key > here:
                add(here, key - 1, treatment)
            add(key, key, treatments[order[done]])
            here = key + 1
            done += 1
        if here <= last:
            add(here, last, treatment)
    for at in range(done, len(ordered)):
        add(ordered[at], ordered[at], treatments[order[at]])
    return rows


def winners(blocks: Sequence[Block]) -> Iterator[tuple[int, int, int]]:
    """(first, last, treatment) of the block that wins each stretch of keys, ascending."""
    starts = sorted(blocks)
    points = sorted({block.first for block in blocks} | {block.last + 1 for block in blocks})
    open_blocks: list[tuple[int, int, int, int]] = []  # (-precedence, order, last, treatment)
    next_start = 0
    for here, beyond in pairwise(points):
        while next_start < len(starts) and starts[next_start].first <= here:
            block = starts[next_start]
            heappush(open_blocks, (-block.precedence, next_start, block.last, block.treatment))
            next_start += 1
        while open_blocks and open_blocks[0][2] < here:
            heappop(open_blocks)
        if open_blocks:
            yield here, beyond - 1, open_blocks[0][3]


def subtract(intervals: Sequence[tuple[int, int]], holes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals without the keys of holes."""
    left = list(intervals)
    for low, high in holes:
        kept: list[tuple[int, int]] = []
        for first, last in left:
            if last < low or first > high:
                kept.append((first, last))
                continue
            if first < low:
                kept.append((first, low - 1))
            if last > high:
                kept.append((high + 1, last))
        left = kept
    return left


def covers(holes: Sequence[tuple[int, int]], key: int) -> bool:
    """Whether a key lies in one of the intervals."""
    return any(low <= key <= high for low, high in holes)
