"""Who has a number, by which line of which file, and what lies next to it; also in a plan that does not compile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sipctl.dialplan.compile import numbers_of
from sipctl.dialplan.flatten import covers
from sipctl.dialplan.inventory import Inventory, Scope
from sipctl.dialplan.load import Draft
from sipctl.dialplan.numbers_list import dial_text
from sipctl.dialplan.report import Mark, Report
from sipctl.model.numbers import RANGE_PRECEDENCE, NumberError, NumberText, read_number, strip_separators
from sipctl.routing.numbers import E164_SCOPE, digits_of

EXACT_PRECEDENCE = RANGE_PRECEDENCE + 1


@dataclass(frozen=True, slots=True)
class Holder:
    """One expression of the plan that holds the number."""

    mark: Mark
    excerpt: str  # the line as written
    entry_point: str
    group: str  # "" if the entry point did not read
    rule: str  # "exact number", "range A..B", "pattern …"
    precedence: int
    primary: str  # what is dialled at the primary, "" for the called number; trailing Xs copy its last digits
    bcp: str
    trunks: tuple[str, ...] | None  # who may call it; None: all
    wins: bool  # calls take it; False: an earlier one has the number, or one of the same precedence stands against it


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An `except` that takes the number away from an entry point."""

    mark: Mark
    entry_point: str
    text: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The next number of the same length that somebody has."""

    number: str
    entry_point: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Where:
    """The answer."""

    number: str
    holders: tuple[Holder, ...]  # first in precedence first
    exclusions: tuple[Exclusion, ...]
    below: Neighbour | None
    above: Neighbour | None

    @property
    def is_clash(self) -> bool:
        """Whether two expressions of the same precedence hold it, so that the plan does not compile."""
        return bool(self.holders) and not any(holder.wins for holder in self.holders)


def where(files: Mapping[str, bytes], text: str) -> Where:
    """Everything a plan says about one number.

    Args:
        text: "+" and digits, or a private number or word; separators are removed.
    Raises: NumberError if it is no single number.
    Cost: that of reading the plan.
    """
    number = read_number(strip_separators(text.strip()))
    if number.kind not in ("exact", "word"):
        raise NumberError(
            "number.bad", f"{number.text} is a {number.kind}", "ask for one number, or `sipctl numbers list --prefix`"
        )
    report = Report(files)
    draft, inventory = numbers_of(files, report)
    return _Search(draft, inventory, report, number).answer()


class _Search:
    __slots__ = ("_draft", "_inventory", "_key", "_names", "_number", "_report", "_scopes")

    def __init__(self, draft: Draft, inventory: Inventory, report: Report, number: NumberText) -> None:
        self._draft = draft
        self._inventory = inventory
        self._report = report
        self._number = number
        self._names = draft.names("entry_points")
        self._key = number.intervals[0][0] if number.intervals else 0
        scopes = inventory.scopes
        self._scopes = scopes[E164_SCOPE : E164_SCOPE + 1] if number.is_e164 else scopes[E164_SCOPE + 1 :]

    def answer(self) -> Where:
        found = {one for scope in self._scopes for one in self._held(scope)}  # private scopes share expressions
        first = max((precedence for precedence, _, _ in found), default=0)
        is_alone = sum(precedence == first for precedence, _, _ in found) == 1
        ordered = sorted(found, key=lambda one: (-one[0], one[2]))
        holders = tuple(self._holder(*one, wins=is_alone and one[0] == first) for one in ordered)
        return Where(self._number.text, holders, self._exclusions(), *self._neighbours())

    def _held(self, scope: Scope) -> list[tuple[int, int, int]]:
        """(precedence, treatment, origin) of everything that holds the number."""
        found: list[tuple[int, int, int]] = []
        if not self._key:
            known = scope.words.get(self._number.text)
            return [(EXACT_PRECEDENCE, *known)] if known else []
        at = -1
        for _ in range(scope.keys.count(self._key)):
            at = scope.keys.index(self._key, at + 1)
            found.append((EXACT_PRECEDENCE, scope.treatments[at], scope.origins[at]))
        found += [
            (block.precedence, block.treatment, block.origin) for block in scope.blocks if block.first <= self._key <= block.last
        ]
        return found

    def _holder(self, precedence: int, treatment: int, origin: int, wins: bool) -> Holder:
        columns = self._inventory.columns
        name = self._names[columns.entry_point[treatment]]
        model = self._draft.entry_points.get(name)
        mark = self._inventory.mark(origin)
        copied = columns.copied[treatment]
        rules = list(self._inventory.rules)
        return Holder(
            mark=mark,
            excerpt=self._report.line_at(mark).strip(),
            entry_point=name,
            group="" if model is None else model.group or ", ".join(model.split),
            rule=rules[columns.rule[treatment]],
            precedence=precedence,
            primary=dial_text(columns.primary_base[treatment], copied >> 8),
            bcp=dial_text(columns.bcp_base[treatment], copied & 0xFF),
            trunks=None if model is None else model.trunks,
            wins=wins,
        )

    def _exclusions(self) -> tuple[Exclusion, ...]:
        found = []
        for name, model in self._draft.entry_points.items():
            for at, text in enumerate(model.except_):
                try:
                    hole = read_number(strip_separators(text))
                except NumberError:
                    continue  # `check` says so
                if self._key and hole.is_e164 == self._number.is_e164 and covers(hole.intervals, self._key):
                    found.append(Exclusion(self._draft.mark("entry_points", name, "except", at), name, text))
        return tuple(found)

    def _neighbours(self) -> tuple[Neighbour | None, Neighbour | None]:
        """The nearest numbers of the same length on either side. Cost: one pass over all numbers."""
        if not self._key:
            return None, None
        key, low = self._key, 10 ** (len(str(self._key)) - 1)
        below: tuple[int, int, int] | None = None  # (key, treatment, origin)
        above: tuple[int, int, int] | None = None
        for scope in self._scopes:
            at_below = max((one for one in scope.keys if low <= one < key), default=0)
            at_above = min((one for one in scope.keys if key < one < 2 * low), default=0)
            for near in filter(None, (at_below, at_above)):
                at = scope.keys.index(near)
                below, above = _nearer(below, above, near, near, key, scope.treatments[at], scope.origins[at])
            for block in scope.blocks:
                if low <= block.first < 2 * low:
                    below, above = _nearer(below, above, block.first, block.last, key, block.treatment, block.origin)
        return self._neighbour(below), self._neighbour(above)

    def _neighbour(self, near: tuple[int, int, int] | None) -> Neighbour | None:
        if near is None:
            return None
        name = self._names[self._inventory.columns.entry_point[near[1]]]
        return Neighbour(("+" if self._number.is_e164 else "") + digits_of(near[0]), name, self._inventory.mark(near[2]))


_Near = tuple[int, int, int] | None


def _nearer(below: _Near, above: _Near, first: int, last: int, key: int, treatment: int, origin: int) -> tuple[_Near, _Near]:
    """The nearest on either side, after one more interval; one that holds the key has neighbours inside."""
    under, over = min(last, key - 1), max(first, key + 1)
    if first <= under and (below is None or under > below[0]):
        below = (under, treatment, origin)
    if over <= last and (above is None or over < above[0]):
        above = (over, treatment, origin)
    return below, above
