"""Sets of numbers told exactly: intervals of keys, and the keys of an interval that are dialled alike.

What a number is dialled as at a tenant is a function of its key: the number itself, or a base whose last digits are copied
from it (routing/numbers.py: `dialled_at`). Two such functions agree on every key, on none, or on the keys whose remainder by a
power of ten lies between two bounds; so the numbers for which they differ are counted and listed without trying one after the
other, however wide the interval is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from sipctl.routing.numbers import PRIVATE_BIT, Numbers

MAX_CUTS: Final = 64  # an interval that would fall into more pieces is kept whole, with what it leaves out
_BEYOND: Final = 10**19  # above every key


class Agreement(NamedTuple):
    """The keys on which two ways to dial agree: low <= key % modulus <= high. Powers of ten only."""

    modulus: int
    low: int
    high: int

    def among(self, first: int, last: int) -> int:
        """How many keys of an interval agree."""
        return self._below(last + 1) - self._below(first)

    def next_outside(self, key: int) -> int:
        """The key itself if it does not agree, else the next one that does not."""
        inside = self.low <= key % self.modulus <= self.high
        return key - key % self.modulus + self.high + 1 if inside else key

    def _below(self, key: int) -> int:
        whole, rest = divmod(key, self.modulus)
        return whole * (self.high - self.low + 1) + min(max(rest - self.low, 0), self.high - self.low + 1)


ALWAYS: Final = Agreement(1, 0, 0)
NEVER: Final = Agreement(1, 0, -1)


def dial_of(numbers: Numbers, row: int, side: str) -> tuple[int, int]:
    """(base, copied) of what a treatment dials at "primary" or "bcp"."""
    copied = numbers.copied[row]
    if side == "primary":
        return numbers.primary_base[row], copied >> 8
    return numbers.bcp_base[row], copied & 0xFF


def dialled_key(key: int, base: int, copied: int, is_e164: bool) -> int:
    """The key of what is dialled for one number; negative without a "+"."""
    if not base:
        return key if is_e164 else -key
    count = copied & ~PRIVATE_BIT
    made = base + key % 10**count if count else base
    return -made if copied & PRIVATE_BIT else made


def agreement(one: int, one_copied: int, other: int, other_copied: int, is_e164: bool) -> Agreement:
    """On which keys two ways to dial give the same text.

    Args:
        one, one_copied: base (0: the number itself) and `copied` as in Treatment; other, other_copied: the same.
        is_e164: the number itself has a "+".
    """
    if one == other and one_copied == other_copied:
        return ALWAYS
    has_plus = (is_e164 if not one else not one_copied & PRIVATE_BIT, is_e164 if not other else not other_copied & PRIVATE_BIT)
    if has_plus[0] != has_plus[1]:
        return NEVER
    if not one or not other:
        if one == other:
            return ALWAYS
        base, copied = (one, one_copied) if one else (other, other_copied)
        return Agreement(_BEYOND, base, base + 10 ** (copied & ~PRIVATE_BIT) - 1)
    fewer, more = sorted(((one_copied & ~PRIVATE_BIT, one), (other_copied & ~PRIVATE_BIT, other)))
    if fewer[0] == more[0]:
        return ALWAYS if one == other else NEVER
    low = fewer[1] - more[1]
    if not 0 <= low < 10 ** more[0] or low % 10 ** fewer[0]:
        return NEVER
    return Agreement(10 ** more[0], low, low + 10 ** fewer[0] - 1)


def both(one: Agreement, other: Agreement, first: int, last: int) -> int:
    """How many keys of an interval two agreements hold in common."""
    if one.modulus > other.modulus:
        one, other = other, one

    def below(key: int) -> int:
        whole, rest = divmod(key, other.modulus)
        period = one.among(other.low, other.high) if other.high >= other.low else 0
        here = one.among(other.low, min(rest - 1, other.high)) if rest > other.low and other.high >= other.low else 0
        return whole * period + here

    return below(last + 1) - below(first)


def differing(rule: Agreement, first: int, last: int) -> Iterator[tuple[int, int, Agreement]]:
    """The pieces of an interval on which two ways to dial differ: (first, last, what is left out of it)."""
    inside = rule.among(first, last)
    if inside == 0:
        yield first, last, NEVER
        return
    if inside == last - first + 1:
        return
    if last // rule.modulus - first // rule.modulus >= MAX_CUTS:
        yield first, last, rule
        return
    here = first
    for period in range(first // rule.modulus, last // rule.modulus + 1):
        low, high = period * rule.modulus + rule.low, period * rule.modulus + rule.high
        if high < here:
            continue
        if low > last:
            break
        if low > here:
            yield here, low - 1, NEVER
        here = high + 1
    if here <= last:
        yield here, last, NEVER


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `first` to `last`, keys, both included."""

    first: int
    last: int
    left_out: Agreement  # NEVER: nothing is left out

    @property
    def count(self) -> int:
        return self.last - self.first + 1 - self.left_out.among(self.first, self.last)


class Spans:
    """An exact set of numbers of one kind, built in ascending order; neighbours are joined."""

    __slots__ = ("_first", "_last", "_rules", "count", "is_e164", "words")

    def __init__(self, is_e164: bool) -> None:
        self.is_e164 = is_e164  # else private to some trunks
        self.count = 0
        self.words: list[str] = []  # private words
        self._first = array("Q")
        self._last = array("Q")
        self._rules: dict[int, Agreement] = {}  # place → what is left out

    def add(self, first: int, last: int, left_out: Agreement = NEVER) -> None:
        """Append an interval that lies behind all others."""
        self.count += last - first + 1
        if left_out is not NEVER:
            self.count -= left_out.among(first, last)
            self._rules[len(self._first)] = left_out
        elif self._first and self._last[-1] == first - 1 and len(self._first) - 1 not in self._rules:
            self._last[-1] = last
            return
        self._first.append(first)
        self._last.append(last)

    def add_word(self, word: str) -> None:
        """Append a private word."""
        self.words.append(word)
        self.count += 1

    def intervals(self, most: int | None = None) -> list[Interval]:
        """The intervals, ascending; the first ones only if `most` says so."""
        places = range(len(self._first) if most is None else min(most, len(self._first)))
        return [Interval(self._first[at], self._last[at], self._rules.get(at, NEVER)) for at in places]

    def __len__(self) -> int:
        """How many intervals and words there are."""
        return len(self._first) + len(self.words)

    def holds(self, key: int) -> bool:
        """Whether a key is in the set. Cost: one pass; for tests and questions, not for every number."""
        return any(one.first <= key <= one.last and not one.left_out.among(key, key) for one in self.intervals())
