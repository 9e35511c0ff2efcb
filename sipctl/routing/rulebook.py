"""Which rules hold a number, and why each of them is or is not the one that counts.

The table knows only who won: ranges and patterns were flattened into disjoint intervals. Their texts are still there, so every
rule that holds a number can be found again; the winner itself is never computed here, it is handed in as the table gave it.

A rule that holds the number and would come before the winner can only have lost it to its entry point's `except`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sipctl.model.numbers import NumberError, read_number
from sipctl.routing.numbers import NOT_FOUND, RULE_EXACT, Numbers, digits_of, is_digits, key_of

MAX_TOLD: Final = 32  # rules told of one number; further ones are counted
EXACT_PRECEDENCE: Final = 1_000  # above any range (100) and any pattern (its fixed digits)

_FREE: Final = frozenset("XNZ[.")


@dataclass(frozen=True, slots=True)
class Holder:
    """A range or pattern that holds a number."""

    rule: int  # index into Numbers.rules
    text: str  # "range A..B", "pattern …"
    precedence: int
    entry_points: tuple[int, ...]  # whose rule it is; several only in different private scopes


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest numbers of the same length below and above one that nobody has: (digits, entry point)."""

    below: tuple[str, int] | None
    above: tuple[str, int] | None


class RuleBook:
    """The ranges and patterns of one table; made once per table, about 60 ms with a million treatments."""

    __slots__ = ("_entry_points", "_numbers")

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        owners: dict[int, set[int]] = {}
        for entry_point, rule in zip(numbers.entry_point, numbers.rule, strict=True):
            if rule != RULE_EXACT:
                owners.setdefault(rule, set()).add(entry_point)
        self._entry_points = {rule: tuple(sorted(owner)) for rule, owner in owners.items()}

    def holders(self, called: str) -> tuple[list[Holder], int]:
        """Ranges and patterns that hold a normalised number, first in precedence first; and how many more there are.

        Cost: one comparison of texts for each rule of the table; only those that begin alike are read.
        """
        plus = called[:1] == "+"
        if not is_digits(called[1:] if plus else called):
            return [], 0
        found = [holder for rule in range(1, len(self._numbers.rules)) if (holder := self._holder(rule, called))]
        found.sort(key=lambda holder: (-holder.precedence, holder.text))
        return found[:MAX_TOLD], max(0, len(found) - MAX_TOLD)

    def neighbours(self, scope: int, called: str) -> Neighbours:
        """What lies next to a number that is in no interval of a scope."""
        digits = called.removeprefix("+")
        if scope < 0 or not is_digits(digits):
            return Neighbours(None, None)
        numbers, key = self._numbers, key_of(digits)
        start, end = numbers.scopes[scope]
        low, high = start, end
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if numbers.first[middle] > key else (middle + 1, high)
        below = self._neighbour(numbers.last[low - 1], low - 1, key, called) if low > start else None
        above = self._neighbour(numbers.first[low], low, key, called) if low < end else None
        return Neighbours(below, above)

    def _neighbour(self, near: int, row: int, key: int, called: str) -> tuple[str, int] | None:
        if len(str(near)) != len(str(key)):
            return None
        return ("+" if called[:1] == "+" else "") + digits_of(near), self._entry_point(row)

    def _entry_point(self, row: int) -> int:
        return self._numbers.entry_point[self._numbers.row[row]]

    def _holder(self, rule: int, called: str) -> Holder | None:
        text = self._numbers.rules[rule]
        kind, _, expression = text.partition(" ")
        if kind == "range":
            first, _, last = expression.partition("..")
            if len(first) != len(called) or not first <= called <= last:
                return None
        elif kind == "pattern":
            if not called.startswith(_fixed_prefix(expression)):
                return None
        else:
            return None
        try:
            read = read_number(expression)
        except NumberError:
            return None
        key = key_of(called.removeprefix("+"))
        if read.is_e164 != (called[:1] == "+") or not any(low <= key <= high for low, high in read.intervals):
            return None
        return Holder(rule, text, read.precedence, self._entry_points.get(rule, ()))


def precedence_of(numbers: Numbers, treatment: int) -> int:
    """How early the winning treatment's rule comes; -1 if there is none."""
    if treatment == NOT_FOUND:
        return -1
    if numbers.rule[treatment] == RULE_EXACT:
        return EXACT_PRECEDENCE
    return read_number(numbers.rules[numbers.rule[treatment]].partition(" ")[2]).precedence


def _fixed_prefix(pattern: str) -> str:
    return pattern[: next((at for at, char in enumerate(pattern) if char in _FREE), len(pattern))]
