"""The number table: a million numbers in a few flat arrays, found by one bisect.

A number is a **key**: its digits after a leading 1, as an unsigned 64-bit integer ("+4930" and "4930" are 14930, "0123" is
10123). The leading 1 keeps leading zeros and length apart, so numbers of different length never mix and an interval of keys is
an interval of numbers of one length. Exact numbers, ranges and patterns are flattened by the compiler into **disjoint**
intervals, each with a **treatment**: the entry point, the rule it came from, and what to dial at either tenant.

Scope 0 holds the E.164 numbers, reached through any trunk. Every further scope holds the private numbers (`called_format:
exact`) of one trunk, and beside them its **words**: private strings that are not digits alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

MAX_DIGITS: Final = 18  # of a key: 1 and 18 digits fit into 64 bits
MAX_E164_DIGITS: Final = 15
MAX_WORD_CHARS: Final = 64
NOT_FOUND: Final = -1
E164_SCOPE: Final = 0
PRIVATE_BIT: Final = 0x80  # in `copied`: dial without "+"

RULE_EXACT: Final = 0  # index into `rules` of what every exact number shares
EXACT_TEXT: Final = "exact number"

_TEN: Final = tuple(10**power for power in range(MAX_DIGITS + 1))


class Treatment(NamedTuple):
    """What a row means: where its calls go, and what to dial there."""

    entry_point: int  # index
    rule: int  # index into Numbers.rules
    primary_base: int = 0  # key to dial at the primary; 0: the called number itself
    primary_copied: int = 0  # how many last digits of the called number replace those of the base; PRIVATE_BIT: without "+"
    bcp_base: int = 0
    bcp_copied: int = 0


def is_digits(text: str) -> bool:
    """Whether text is 1..MAX_DIGITS of the ten ASCII digits and nothing else."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def key_of(digits: str) -> int:
    """The key of a string of digits (without "+"); digits must satisfy `is_digits`."""
    return int("1" + digits)


def digits_of(key: int) -> str:
    """The digits a key stands for."""
    return str(key)[1:]


def dialled_at(called: str, key: int, base: int, copied: int) -> str:
    """What to dial at a tenant: the base with the called number's last digits copied over its own.

    Args:
        called: the number in the form it was found, returned as it is when there is no base.
        key: its key; base: Treatment.*_base; copied: Treatment.*_copied.
    """
    if not base:
        return called
    count = copied & ~PRIVATE_BIT
    digits = str(base + key % _TEN[count])[1:]
    return digits if copied & PRIVATE_BIT else "+" + digits


class Numbers:
    """All numbers of one plan, ready to be searched; immutable by convention, its arrays may be views of a mapped file.

    Args:
        first, last: bounds (both included) of the disjoint intervals, ascending inside each scope.
        row: treatment of each interval.
        entry_point … copied: the treatments, column by column; copied = primary_copied << 8 | bcp_copied.
        rules: texts the treatments' rules refer to.
        scopes: (start, end) of each scope's rows; scope 0 is E.164.
        words: private strings of each scope → treatment.
        scope_of_trunk: by trunk index, its private scope or -1.
    """

    __slots__ = (
        "bcp_base",
        "copied",
        "entry_point",
        "first",
        "last",
        "primary_base",
        "row",
        "rule",
        "rules",
        "scope_of_trunk",
        "scopes",
        "words",
    )

    def __init__(
        self,
        first: Sequence[int],
        last: Sequence[int],
        row: Sequence[int],
        entry_point: Sequence[int],
        rule: Sequence[int],
        primary_base: Sequence[int],
        bcp_base: Sequence[int],
        copied: Sequence[int],
        rules: tuple[str, ...],
        scopes: tuple[tuple[int, int], ...],
        words: tuple[Mapping[str, int], ...],
        scope_of_trunk: tuple[int, ...],
    ) -> None:
        self.first = first
        self.last = last
        self.row = row
        self.entry_point = entry_point
        self.rule = rule
        self.primary_base = primary_base
        self.bcp_base = bcp_base
        self.copied = copied
        self.rules = rules
        self.scopes = scopes
        self.words = words
        self.scope_of_trunk = scope_of_trunk

    def find(self, scope: int, key: int) -> int:
        """The treatment of a key, or NOT_FOUND. Cost: one bisect, 0.5 µs with a million rows."""
        start, end = self.scopes[scope]
        at = bisect_right(self.first, key, start, end) - 1
        if at < start or self.last[at] < key:
            return NOT_FOUND
        return self.row[at]

    def lookup(self, trunk: int, called: str) -> tuple[int, int]:
        """(treatment or NOT_FOUND, key or 0 for a word) of a normalised number as one trunk may call it.

        Args:
            called: "+" and digits, or the exact private string.
        """
        if called[:1] == "+":
            digits = called[1:]
            if not digits.isdigit() or len(digits) > MAX_DIGITS or not digits.isascii():
                return NOT_FOUND, 0
            key = int("1" + digits)
            start, end = self.scopes[E164_SCOPE]
            at = bisect_right(self.first, key, start, end) - 1
            if at < start or self.last[at] < key:
                return NOT_FOUND, key
            return self.row[at], key
        scope = self.scope_of_trunk[trunk]
        if scope < 0:
            return NOT_FOUND, 0
        if is_digits(called):
            key = int("1" + called)
            return self.find(scope, key), key
        return self.words[scope].get(called, NOT_FOUND), 0

    def is_proper_prefix(self, trunk: int, called: str) -> bool:
        """Whether more digits could still make a number of the plan (484 on an overlap trunk). Cost: ≤ 18 bisects."""
        plus = called[:1] == "+"
        digits = called[1:] if plus else called
        scope = E164_SCOPE if plus else self.scope_of_trunk[trunk]
        if scope < 0 or (digits and not is_digits(digits)):
            return False
        start, end = self.scopes[scope]
        low = high = int("1" + digits)
        for _ in range(MAX_DIGITS - len(digits)):
            low = low * 10
            high = high * 10 + 9
            at = bisect_right(self.first, high, start, end) - 1
            if at >= start and self.last[at] >= low:
                return True
        return False

    def treatment(self, index: int) -> Treatment:
        """One treatment whole, for explanations and tests."""
        copied = self.copied[index]
        return Treatment(
            self.entry_point[index],
            self.rule[index],
            self.primary_base[index],
            copied >> 8,
            self.bcp_base[index],
            copied & 0xFF,
        )

    def __len__(self) -> int:
        """How many intervals there are, over all scopes."""
        return len(self.first)
