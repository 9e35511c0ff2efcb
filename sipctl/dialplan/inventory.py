"""The numbers of a plan, gathered from entry points and CSV files into flat arrays: no object for a number.

A number is kept as its key, its treatment, and its **origin**: file, line and column packed into one integer, from which its
place is made again when there is something to say about it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Final

from sipctl.dialplan.flatten import Block, covers, in_order, subtract
from sipctl.dialplan.report import Mark, Report
from sipctl.model.numbers import DialledAt, NumberError, NumberText, read_dialled_at, read_number, strip_separators
from sipctl.routing.numbers import E164_SCOPE, EXACT_TEXT, RULE_EXACT, Treatment

_COLUMN_BITS: Final = 12
_LINE_BITS: Final = 28
_MOST_COLUMN: Final = (1 << _COLUMN_BITS) - 1
_MOST_LINE: Final = (1 << _LINE_BITS) - 1


class Scope:
    """Numbers that may stand beside each other: E.164, or the private ones of some trunks."""

    __slots__ = ("_order", "blocks", "keys", "origins", "treatments", "words")

    def __init__(self) -> None:
        self.keys = array("Q")
        self.treatments = array("I")
        self.origins = array("Q")
        self.blocks: list[Block] = []
        self.words: dict[str, tuple[int, int]] = {}  # word → (treatment, origin)
        self._order: Sequence[int] | None = None

    def order(self) -> Sequence[int]:
        """Indexes of the exact numbers in ascending order, once all are in; sorted once."""
        if self._order is None or len(self._order) != len(self.keys):
            self._order = in_order(self.keys)
        return self._order


class Columns:
    """The treatments, column by column, as the table holds them."""

    __slots__ = ("bcp_base", "copied", "entry_point", "primary_base", "rule")

    def __init__(self) -> None:
        self.entry_point = array("I")
        self.rule = array("I")
        self.primary_base = array("Q")
        self.bcp_base = array("Q")
        self.copied = array("H")

    def add(self, made: Treatment) -> int:
        """Append one; returns its number."""
        self.entry_point.append(made.entry_point)
        self.rule.append(made.rule)
        self.primary_base.append(made.primary_base)
        self.bcp_base.append(made.bcp_base)
        self.copied.append(made.primary_copied << 8 | made.bcp_copied)
        return len(self.rule) - 1

    def add_own(self, entry_point: int, primary: int, bcp: int) -> int:
        """Append that of one exact number with numbers of its own at the tenants; nobody shares it, so nobody looks for it."""
        self.entry_point.append(entry_point)
        self.rule.append(RULE_EXACT)
        self.primary_base.append(primary)
        self.bcp_base.append(bcp)
        self.copied.append(0)
        return len(self.rule) - 1


class Inventory:
    """All numbers, before they are laid out.

    Args:
        scopes_of: by entry point index, the private scopes its numbers belong to; () if it may have none.
        holes: by entry point index, the intervals its `except` takes away, E.164 and private keys apart.
    """

    __slots__ = (
        "_holes",
        "_paths",
        "_report",
        "_scopes_of",
        "_treatments",
        "columns",
        "counts",
        "paths",
        "read_files",
        "rules",
        "scopes",
        "used_holes",
    )

    def __init__(
        self,
        scopes: int,
        scopes_of: Sequence[tuple[int, ...]],
        holes: Sequence[dict[bool, list[tuple[int, int]]]],
        report: Report,
    ) -> None:
        self.scopes = [Scope() for _ in range(scopes)]
        self.rules = {EXACT_TEXT: RULE_EXACT}
        self.counts = [0] * len(scopes_of)  # expressions by entry point
        self.columns = Columns()
        self.paths: list[str] = []
        self.read_files: set[str] = set()  # number files, also those without a row
        self.used_holes: set[int] = set()  # entry points whose `except` took something away
        self._paths: dict[str, int] = {}
        self._treatments: dict[Treatment, int] = {}
        self._scopes_of = scopes_of
        self._holes = holes
        self._report = report

    def origin(self, mark: Mark) -> int:
        """A place as one integer."""
        return self.file(mark.path) | min(mark.line, _MOST_LINE) << _COLUMN_BITS | min(mark.column, _MOST_COLUMN)

    def file(self, path: str) -> int:
        """The part of an origin that names a file."""
        index = self._paths.setdefault(path, len(self._paths))
        if index == len(self.paths):
            self.paths.append(path)
        return index << (_LINE_BITS + _COLUMN_BITS)

    def mark(self, origin: int) -> Mark:
        """The place an integer stands for."""
        line = origin >> _COLUMN_BITS & _MOST_LINE
        return Mark(self.paths[origin >> (_LINE_BITS + _COLUMN_BITS)], line, origin & _MOST_COLUMN)

    def treatment(self, entry_point: int, rule: str, primary: DialledAt | None, bcp: DialledAt | None) -> int:
        """The number of a treatment; the same one for the same meaning."""
        made = Treatment(
            entry_point,
            self.rules.setdefault(rule, len(self.rules)),
            primary.base if primary else 0,
            primary.copied if primary else 0,
            bcp.base if bcp else 0,
            bcp.copied if bcp else 0,
        )
        index = self._treatments.get(made)
        if index is None:
            index = self._treatments[made] = self.columns.add(made)
        return index

    def exact_treatment(self, entry_point: int, primary: DialledAt | None, bcp: DialledAt | None) -> int:
        """The treatment of exact numbers."""
        return self.treatment(entry_point, EXACT_TEXT, primary, bcp)

    def add(
        self, entry_point: int, number: NumberText, primary: DialledAt | None, bcp: DialledAt | None, where: Callable[[], Mark]
    ) -> None:
        """Take in one expression of an entry point."""
        self.counts[entry_point] += 1
        scopes = (E164_SCOPE,) if number.is_e164 else self._scopes_of[entry_point]
        if not scopes:
            message = f"{number.text} has no +, so it is private, but the entry point names no trunk with called_format: exact"
            self._report.add("entry.private", where(), message, "write +COUNTRY NUMBER, or name such trunks under `trunks`")
            return
        for dialled in (primary, bcp):
            if dialled is not None and dialled.copied & 0x7F > number.fewest_digits:
                message = f"called_at copies {dialled.copied & 0x7F} digits, but {number.text} has {number.fewest_digits}"
                self._report.add("number.called-at", where(), message, "use fewer Xs")
                return
        exact = number.kind in ("exact", "word")
        rule = EXACT_TEXT if exact else f"{number.kind} {number.text}"
        treatment = self.treatment(entry_point, rule, primary, bcp)
        origin = self.origin(where())
        holes = self._holes[entry_point].get(number.is_e164, [])
        for index in scopes:
            scope = self.scopes[index]
            if number.kind == "word":
                self._add_word(scope, number.text, treatment, origin)
            elif number.kind == "exact":
                key = number.intervals[0][0]
                if holes and covers(holes, key):
                    self.used_holes.add(entry_point)
                    continue
                scope.keys.append(key)
                scope.treatments.append(treatment)
                scope.origins.append(origin)
            else:
                left = subtract(number.intervals, holes) if holes else number.intervals
                if holes and list(left) != list(number.intervals):
                    self.used_holes.add(entry_point)
                scope.blocks += [Block(low, high, number.precedence, treatment, origin) for low, high in left]

    def exact_scope(self, entry_point: int) -> Scope | None:
        """Where a fast reader may put exact E.164 numbers of an entry point itself; None if each must be looked at."""
        return None if self._holes[entry_point] else self.scopes[E164_SCOPE]

    def _add_word(self, scope: Scope, word: str, treatment: int, origin: int) -> None:
        if word in scope.words:
            first = self.mark(scope.words[word][1])
            self._report.add(
                "number.duplicate", self.mark(origin), f"{word} stands also in {first.path}:{first.line}", "remove one"
            )
        else:
            scope.words[word] = (treatment, origin)


def read_text(text: str, mark: Mark, report: Report) -> NumberText | None:
    """One expression as written in a plan; a finding if it is none."""
    bare = strip_separators(text)
    try:
        number = read_number(bare)
    except NumberError as error:
        report.add(error.code, mark, str(error), error.hint)
        return None
    if bare != text:
        report.add("number.separators", mark, f"{text!r} was read as {bare}", "write it without spaces and hyphens")
    return number


def read_dial(text: str | None, mark: Mark, report: Report) -> DialledAt | None:
    """One `called_at`; None if there is none, or a finding."""
    if not text:
        return None
    try:
        return read_dialled_at(text)
    except NumberError as error:
        report.add(error.code, mark, str(error), error.hint)
        return None
