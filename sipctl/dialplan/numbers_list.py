"""The numbers of a compiled plan, listed for people and exported as CSV that number files read again.

A list has one row for each interval of the table: what is routed, after precedence and `except` have had their say. An export has
one row for each expression as it was written, because an export is to be edited and read again: the same expressions, entry
points and `called_at` give the same table. `flat` exports the intervals instead, for readers who know no patterns.

A spreadsheet takes a cell that begins with = + - @ for a formula. The leading "+" of E.164 must stay, or the file would read as
private numbers; so every cell is held to an alphabet in which no formula can do anything: no = @ ( ) | ! and no quotes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sipctl.routing.numbers import E164_SCOPE, MAX_DIGITS, PRIVATE_BIT, RULE_EXACT, Numbers, digits_of
from sipctl.routing.table import Table

HEADER: Final = ("number", "entry_point", "called_at.primary", "called_at.bcp")
_EVERYTHING: Final = (0, (1 << 64) - 1)
_SAFE_CELL: Final = re.compile(r"[A-Za-z0-9+*#_~.:/\[\]-]*")


class UnsafeCellError(ValueError):
    """A text that has no place in a CSV file which a spreadsheet may open."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which numbers; None: any. All that are set must hold."""

    entry_points: frozenset[int] | None = None  # indexes
    prefix: str | None = None  # "+4930" or the beginning of private numbers


@dataclass(frozen=True, slots=True)
class Row:
    """Numbers next to each other that are treated alike."""

    first: str  # "+4930901830", or digits or a word if private
    last: str
    count: int
    entry_point: int  # index
    rule: str
    primary: str  # what is dialled at the primary, "" for the called number; trailing Xs copy its last digits
    bcp: str
    scope: int  # 0: E.164; else private to the trunks of that scope


def wanted_entry_points(table: Table, entry_point: str | None, group: str | None, tenant: str | None) -> frozenset[int] | None:
    """Indexes of the entry points that bear a name, are in a group, or whose group has a tenant on either side."""
    if entry_point is None and group is None and tenant is None:
        return None
    topology = table.topology
    found = set()
    for at, entry in enumerate(topology.entry_points):
        groups = [topology.groups[one] for one in entry.groups]
        tenants = {topology.tenants[one].name for of in groups for one in (of.primary, of.bcp)}
        if (
            (entry_point is None or entry.name == entry_point)
            and (group is None or any(of.name == group for of in groups))
            and (tenant is None or tenant in tenants)
        ):
            found.add(at)
    return frozenset(found)


def rows(table: Table, wanted: Wanted) -> Iterator[Row]:
    """What is routed, scope by scope, ascending; words last in their scope. Cost: about 2 µs an interval."""
    numbers = table.numbers
    for scope, (start, end) in enumerate(numbers.scopes):
        plus = "+" if scope == E164_SCOPE else ""
        bounds = [_EVERYTHING] if wanted.prefix is None else _bounds(wanted.prefix, scope == E164_SCOPE)
        for low, high in bounds:
            for at in range(_from(numbers, low, start, end), end):
                first, last, row = numbers.first[at], numbers.last[at], numbers.row[at]
                if first > high:
                    break
                if wanted.entry_points is None or numbers.entry_point[row] in wanted.entry_points:
                    first, last = max(first, low), min(last, high)
                    yield _row(numbers, row, plus + digits_of(first), plus + digits_of(last), last - first + 1, scope)
        for word, row in sorted(numbers.words[scope].items()):
            entry = numbers.entry_point[row]
            named = wanted.entry_points is None or entry in wanted.entry_points
            if named and (wanted.prefix is None or word.startswith(wanted.prefix)):
                yield _row(numbers, row, word, word, 1, scope)


def export(table: Table, wanted: Wanted, flat: bool = False) -> Iterator[str]:
    """The lines of a CSV file, header first, without line ends.

    Args:
        flat: intervals (`A..B`) instead of the expressions as written.
    Raises: UnsafeCellError if a text is not one a number file may hold.
    """
    yield ",".join(HEADER)
    names = [entry.name for entry in table.topology.entry_points]
    for number, entry, primary, bcp in _flat(table, wanted) if flat else _as_written(table, wanted):
        yield ",".join((_cell(number), _cell(names[entry]), _cell(primary), _cell(bcp)))


_Line = tuple[str, int, str, str]  # number, entry point, called_at.primary, called_at.bcp


def _flat(table: Table, wanted: Wanted) -> Iterator[_Line]:
    told: set[_Line] = set()
    for row in rows(table, wanted):
        text = row.first if row.first == row.last else f"{row.first}..{row.last}"
        line = (text, row.entry_point, row.primary, row.bcp)
        if row.scope == E164_SCOPE or line not in told:  # trunks of several private scopes share numbers
            if row.scope != E164_SCOPE:
                told.add(line)
            yield line


def _as_written(table: Table, wanted: Wanted) -> Iterator[_Line]:
    """Ranges and patterns from their rules, then the exact numbers one by one."""
    numbers = table.numbers
    for at, rule in enumerate(numbers.rule):
        entry = numbers.entry_point[at]
        if rule != RULE_EXACT and (wanted.entry_points is None or entry in wanted.entry_points):
            text = numbers.rules[rule].partition(" ")[2]
            if wanted.prefix is None or text.startswith(wanted.prefix):
                yield text, entry, *_dials(numbers, at)
    exact = frozenset(at for at, rule in enumerate(numbers.rule) if rule == RULE_EXACT)
    told: set[tuple[str, int]] = set()
    for row in _exact_rows(numbers, exact):
        treatment, text, is_private = row
        entry = numbers.entry_point[treatment]
        if wanted.entry_points is not None and entry not in wanted.entry_points:
            continue
        if wanted.prefix is not None and not text.startswith(wanted.prefix):
            continue
        if is_private:
            if (text, treatment) in told:
                continue
            told.add((text, treatment))
        yield text, entry, *_dials(numbers, treatment)


def _exact_rows(numbers: Numbers, exact: frozenset[int]) -> Iterator[tuple[int, str, bool]]:
    for scope, (start, end) in enumerate(numbers.scopes):
        plus = "+" if scope == E164_SCOPE else ""
        for at in range(start, end):
            treatment = numbers.row[at]
            if treatment in exact:
                for key in range(numbers.first[at], numbers.last[at] + 1):
                    yield treatment, plus + digits_of(key), scope != E164_SCOPE
        for word, treatment in numbers.words[scope].items():
            yield treatment, word, True


def _row(numbers: Numbers, row: int, first: str, last: str, count: int, scope: int) -> Row:
    primary, bcp = _dials(numbers, row)
    return Row(first, last, count, numbers.entry_point[row], numbers.rules[numbers.rule[row]], primary, bcp, scope)


def _dials(numbers: Numbers, row: int) -> tuple[str, str]:
    copied = numbers.copied[row]
    return dial_text(numbers.primary_base[row], copied >> 8), dial_text(numbers.bcp_base[row], copied & 0xFF)


def dial_text(base: int, copied: int) -> str:
    """A `called_at` as a plan writes it; "" for the called number itself."""
    if not base:
        return ""
    count = copied & ~PRIVATE_BIT
    digits = digits_of(base)
    return ("" if copied & PRIVATE_BIT else "+") + digits[: len(digits) - count] + "X" * count


def _from(numbers: Numbers, key: int, start: int, end: int) -> int:
    """The first row of a scope that does not end below a key."""
    at = max(bisect_right(numbers.first, key, start, end) - 1, start)
    return at + 1 if at < end and numbers.last[at] < key else at


def _bounds(prefix: str, is_e164: bool) -> list[tuple[int, int]]:
    """The keys of every length that begin with a prefix."""
    if prefix.startswith("+") != is_e164:
        return []
    digits = prefix.removeprefix("+")
    if digits and not (digits.isascii() and digits.isdigit()):
        return []
    low = high = int("1" + digits)
    found = [(low, high)]
    for _ in range(MAX_DIGITS - len(digits)):
        low, high = low * 10, high * 10 + 9
        found.append((low, high))
    return found


def _cell(text: str) -> str:
    if not _SAFE_CELL.fullmatch(text):
        raise UnsafeCellError(f"{text!r} has no place in a CSV file of numbers")
    return text
