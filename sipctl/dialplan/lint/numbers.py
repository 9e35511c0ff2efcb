"""What is legal in numbers and still wrong: those no country has, those nobody reaches, those the BCP tenant does not know.

A million numbers are judged by their place in ascending order, never one by one: numbers of one length and one country code are
neighbours, and one question to the metadata answers for all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import compress, pairwise
from typing import Final

import phonenumbers

from sipctl.dialplan.flatten import Block
from sipctl.dialplan.inventory import Inventory, Scope
from sipctl.dialplan.load import Draft
from sipctl.dialplan.report import Mark, Report
from sipctl.model.numbers import PRIVATE_BIT, NumberError, read_dialled_at
from sipctl.routing.numbers import E164_SCOPE, digits_of

_MOST_CODE_DIGITS: Final = 3


def lint_numbers(draft: Draft, inventory: Inventory, report: Report) -> None:
    """Every such check. Cost: about 10 ms for a million exact numbers, O(n log n) in ranges and patterns."""
    _lint_possible(inventory, report)
    _lint_called_at(draft, report)
    _lint_shadowed(inventory, report)
    _lint_bcp_numbers(draft, inventory, report)


# -- possible numbers ------------------------------------------------------------------------------------------------------------


class _Possible:
    """Which lengths each country code has, asked once."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def code_of(self, digits: str) -> str:
        """The country code digits begin with; the first three digits if there is none."""
        for length in range(1, _MOST_CODE_DIGITS + 1):
            if int(digits[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
                return digits[:length]
        return digits[:_MOST_CODE_DIGITS]

    def why_not(self, code: str, length: int) -> str:
        """What is wrong with numbers of so many digits, country code included; "" if nothing."""
        country, rest = int(code), length - len(code)
        if country not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return f"no country has the code +{code}"
        known = self._known.get((country, rest))
        if known is None:
            number = phonenumbers.PhoneNumber(country_code=country, national_number=int("2" * rest)) if rest > 0 else None
            known = self._known[country, rest] = number is not None and phonenumbers.is_possible_number(number)
        return "" if known else f"no number of +{code} has {rest} digits behind it"


def _lint_possible(inventory: Inventory, report: Report) -> None:
    scope = inventory.scopes[E164_SCOPE]
    possible = _Possible()
    for first, beyond, why in _impossible_runs(scope, possible):
        order = scope.order()
        for at in range(first, beyond):
            if report.is_full("number.impossible"):
                report.drop("number.impossible", beyond - at)
                break
            place = inventory.mark(scope.origins[order[at]])
            message = f"{digits_of(scope.keys[order[at]])}: {why}"
            report.add("number.impossible", place, message, "a digit is missing, one too many, or the country code wrong")
    wrong: dict[int, str] = {}
    fine: set[int] = set()
    for block in scope.blocks:
        why = _why_not_block(block, possible) if block.origin not in fine else ""
        if why:
            wrong[block.origin] = why
        else:
            fine.add(block.origin)
    for origin, why in wrong.items():
        if origin not in fine:
            report.add("number.impossible", inventory.mark(origin), why, "nobody can dial any number of it")


def _impossible_runs(scope: Scope, possible: _Possible) -> Iterator[tuple[int, int, str]]:
    """(first, beyond, why) of neighbours in ascending order that no country has."""
    keys, order = scope.keys, scope.order()
    at = 0
    while at < len(order):
        digits = str(keys[order[at]])[1:]
        code = possible.code_of(digits)
        last = int("1" + code + "9" * (len(digits) - len(code)))
        beyond = bisect_left(order, last + 1, at, key=keys.__getitem__)
        why = possible.why_not(code, len(digits))
        if why:
            yield at, beyond, why
        at = beyond


def _why_not_block(block: Block, possible: _Possible) -> str:
    """Why no number of a block exists; "" if one may."""
    first, last = str(block.first)[1:], str(block.last)[1:]
    code = possible.code_of(first)
    if not last.startswith(code) and possible.code_of(last) != code:
        return ""  # more than one country
    return possible.why_not(code, len(first))


def _lint_called_at(draft: Draft, report: Report) -> None:
    possible = _Possible()
    for name, entry in draft.entry_points.items():
        for side, text in (("primary", entry.called_at.primary), ("bcp", entry.called_at.bcp)):
            if not text:
                continue
            try:
                dialled = read_dialled_at(text)
            except NumberError:
                continue  # told already
            digits = str(dialled.base)[1:]
            why = "" if dialled.copied & PRIVATE_BIT else possible.why_not(possible.code_of(digits), len(digits))
            if why:
                place = draft.mark("entry_points", name, "called_at", side)
                report.add("number.impossible", place, f"{text}: {why}", "count its digits")


# -- numbers nobody reaches ------------------------------------------------------------------------------------------------------


def _lint_shadowed(inventory: Inventory, report: Report) -> None:
    reached: set[int] = set()
    written: set[int] = set()
    for scope in inventory.scopes:
        if scope.blocks:
            written.update(block.origin for block in scope.blocks)
            reached |= _reached(scope, reached)
    for origin in sorted(written - reached):
        message = "more precise entries take every number of this one, so it decides nothing"
        report.add("number.shadowed", inventory.mark(origin), message, "remove it, or mend those; a range comes before a pattern")


def _reached(scope: Scope, known: set[int]) -> set[int]:
    """Origins of ranges and patterns that decide at least one number of a scope."""
    keys, order = scope.keys, scope.order()
    found: set[int] = set()
    for first, last, origin in _winning_origins(scope.blocks):
        if origin in found or origin in known:
            continue
        size = last - first + 1
        if size <= len(order):
            start = bisect_left(order, first, key=keys.__getitem__)
            if bisect_left(order, last + 1, start, key=keys.__getitem__) - start >= size:
                continue  # each is an exact number
        found.add(origin)
    return found


def _winning_origins(blocks: Sequence[Block]) -> Iterator[tuple[int, int, int]]:
    """(first, last, origin) of the block that wins each stretch of keys, ascending; see `flatten.winners`."""
    starts = sorted(blocks)
    points = sorted({block.first for block in blocks} | {block.last + 1 for block in blocks})
    open_blocks: list[tuple[int, int, int, int]] = []  # (-precedence, order, last, origin)
    next_start = 0
    for here, beyond in pairwise(points):
        while next_start < len(starts) and starts[next_start].first <= here:
            block = starts[next_start]
            heappush(open_blocks, (-block.precedence, next_start, block.last, block.origin))
            next_start += 1
        while open_blocks and open_blocks[0][2] < here:
            heappop(open_blocks)
        if open_blocks:
            yield here, beyond - 1, open_blocks[0][3]


# -- numbers at the BCP tenant ---------------------------------------------------------------------------------------------------


def _lint_bcp_numbers(draft: Draft, inventory: Inventory, report: Report) -> None:
    """Entry points without any number of their own at the BCP tenant, in groups where others have them."""
    names = draft.names("entry_points")
    columns = inventory.columns
    used = bytearray(len(columns.rule))
    for scope in inventory.scopes:
        for treatment in scope.treatments:
            used[treatment] = 1
        for block in scope.blocks:
            used[block.treatment] = 1
        for treatment, _ in scope.words.values():
            used[treatment] = 1
    have = set(compress(columns.entry_point, (base and use for base, use in zip(columns.bcp_base, used, strict=True))))
    lack = set(compress(columns.entry_point, (not base and use for base, use in zip(columns.bcp_base, used, strict=True))))
    neighbours: dict[str, str] = {}  # group → an entry point that has one for each of its numbers
    for at in sorted(have - lack):
        entry = draft.entry_points.get(names[at])
        if entry is not None and entry.group:
            neighbours.setdefault(entry.group, names[at])
    for at, name in enumerate(names):
        entry = draft.entry_points.get(name)
        if entry is None or at in have or entry.called_at.bcp or not inventory.counts[at]:
            continue
        neighbour = neighbours.get(entry.group or "")
        if neighbour is not None:
            place: Mark = draft.mark("entry_points", name, at_key=True)
            message = f"{name} has no numbers of its own at the BCP tenant, as {neighbour} of the same group has"
            report.add("entry.bcp-missing", place, message, 'add called_at: {bcp: "+31…"}, or allow this if they are the same')
