"""What a plan's tests reach, and what they do not: entry points, their rules, and the ways a call may take through them.

Counted per entry point and rule, never per number: the exact numbers an entry point lists are one piece, those it has from number
files another, and so are its ranges and patterns beyond the first MAX_RULES_TOLD. A piece is reached if a test's call went
through it, whatever the test expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sipctl.dialplan.load import Draft, load
from sipctl.dialplan.plan_tests import ask_all
from sipctl.dialplan.report import Report
from sipctl.model.numbers import strip_separators
from sipctl.routing.answers import BY_OVERLAY, BY_SWITCH, CLOSED, OVERFLOW, UNUSABLE, NoRoute, Route
from sipctl.routing.numbers import E164_SCOPE, NOT_FOUND, RULE_EXACT, Numbers, is_digits, key_of
from sipctl.routing.resolve import normalise
from sipctl.routing.snapshot import EntryPoint, Topology
from sipctl.routing.table import Table, load_table

MAX_RULES_TOLD: Final = 50  # ranges and patterns of one entry point that are pieces of their own
MAX_MISSING_TOLD: Final = 10_000  # of a plan, in a list; further ones are counted

ENTRY: Final = "entry point"
RULE: Final = "rule"
BRANCH: Final = "branch"
LIMIT: Final = "over its limit"
EXACT: Final = "exact numbers"
FROM_FILES: Final = "numbers of number files"
ANY_CALL: Final = "any call"
NOT_ALLOWED: Final = "a trunk it does not name is refused"
NOBODY: Final = "a number nobody has is refused"
_SIDES: Final = ("primary", "bcp")
_FURTHER: Final = "further "


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing a test may reach."""

    kind: str  # ENTRY | RULE | BRANCH
    entry_point: str  # "" for what belongs to the whole plan
    name: str
    tests: int  # how many tests reached it

    def sentence(self) -> str:
        """As a list says it."""
        if self.kind == ENTRY:
            return f"{self.entry_point}: no test calls it"
        return f"{self.entry_point}: {self.name}" if self.entry_point else self.name


@dataclass(frozen=True, slots=True)
class Coverage:
    """All pieces of a plan, in its order."""

    tests: int
    pieces: tuple[Piece, ...]

    @property
    def percent(self) -> float:
        """Pieces reached, of all; a plan of nothing is reached wholly."""
        return 100.0 * self.reached / len(self.pieces) if self.pieces else 100.0

    @property
    def reached(self) -> int:
        return sum(piece.tests > 0 for piece in self.pieces)

    def missing(self) -> Iterator[Piece]:
        """What no test reaches; the rules and branches of an entry point no test calls at all are not listed beside it."""
        dead = {piece.entry_point for piece in self.pieces if piece.kind == ENTRY and not piece.tests}
        for piece in self.pieces:
            if not piece.tests and (piece.kind == ENTRY or piece.entry_point not in dead):
                yield piece

    def body(self) -> dict[str, Any]:
        """As JSON says it."""
        missing = list(self.missing())
        return {
            "tests": self.tests,
            "percent": round(self.percent, 1),
            "pieces": len(self.pieces),
            "reached": self.reached,
            "missing": [
                {"kind": piece.kind, "entry_point": piece.entry_point or None, "name": piece.name}
                for piece in missing[:MAX_MISSING_TOLD]
            ],
            "left_off": max(0, len(missing) - MAX_MISSING_TOLD),
        }


def coverage_of(files: Mapping[str, bytes], image: bytes) -> Coverage:
    """What the tests of a plan reach.

    Args:
        files: as `compile_plan` takes them; image: what it made of them.
    """
    report = Report(files)
    draft = load(files, report)
    table = load_table(image)
    gathering = Gathering(table, _listed(draft, table.topology))
    for heard in ask_all(draft, table):
        if heard.answer is not None:
            gathering.saw(heard.trunk, heard.called, heard.answer)
    return gathering.coverage()


class Gathering:
    """Takes in the answers of tests, one after the other.

    Args:
        listed: by entry point, the exact numbers written in its list; all others it has are of number files.
    Cost: one pass over the table at the start (about 0.5 s with a million numbers); a few µs a test.
    """

    __slots__ = ("_listed", "_reached", "_rules", "_table", "_tests")

    def __init__(self, table: Table, listed: Mapping[int, frozenset[str]]) -> None:
        self._table = table
        self._listed = listed
        self._rules = _rules(table, listed)
        self._reached: dict[tuple[str, int, str], int] = {}  # (kind, entry point or -1, name) → tests
        self._tests = 0

    def saw(self, trunk: int, dialled: str, answer: Route | NoRoute) -> None:
        """One test's call and what became of it.

        Args:
            trunk: index; dialled: as `resolve` was asked.
        """
        self._tests += 1
        for piece in set(self._met(trunk, dialled, answer)):
            self._reached[piece] = self._reached.get(piece, 0) + 1

    def coverage(self) -> Coverage:
        """Everything there is to reach, with how often it was."""
        topology = self._table.topology
        pieces = [
            Piece(kind, entry.name, name, self._count(kind, at, name))
            for at, entry in enumerate(topology.entry_points)
            for kind, name in ((ENTRY, ANY_CALL), *self._rule_names(at), *_branches(topology, at, entry))
        ]
        pieces += [
            Piece(BRANCH, "", name, self._reached.get((BRANCH, -1, name), 0))
            for name in (
                *(f"{BY_OVERLAY} {overlay.name}" for overlay in topology.overlays),
                *(f"{BY_SWITCH} {switch.name}" for switch in topology.switches),
                NOBODY,
            )
        ]
        return Coverage(self._tests, tuple(pieces))

    def _count(self, kind: str, entry: int, name: str) -> int:
        if kind == RULE and name.startswith(_FURTHER):
            return min(self._reached.get((RULE, entry, rule), 0) for rule in self._rules[entry][MAX_RULES_TOLD:])
        return self._reached.get((kind, entry, name), 0)

    def _rule_names(self, entry: int) -> list[tuple[str, str]]:
        rules = self._rules[entry]
        named = [(RULE, rule) for rule in rules[:MAX_RULES_TOLD]]
        if len(rules) > MAX_RULES_TOLD:
            named.append((RULE, f"{_FURTHER}{len(rules) - MAX_RULES_TOLD} ranges and patterns, all of them"))
        return named

    def _rule_of(self, treatment: int, entry: int, called: str) -> str:
        rule = self._table.numbers.rule[treatment]
        if rule != RULE_EXACT:
            return self._table.numbers.rules[rule]
        return EXACT if called in self._listed.get(entry, ()) else FROM_FILES

    def _met(self, trunk: int, dialled: str, answer: Route | NoRoute) -> Iterator[tuple[str, int, str]]:
        topology, numbers = self._table.topology, self._table.numbers
        called = normalise(topology.trunks[trunk], dialled, None)
        found = NOT_FOUND if isinstance(called, NoRoute) else numbers.lookup(trunk, called)[0]
        if found == NOT_FOUND:
            yield BRANCH, -1, NOBODY
            return
        entry = numbers.entry_point[found]
        allowed = topology.entry_points[entry].trunks
        if allowed is not None and trunk not in allowed:
            yield BRANCH, entry, NOT_ALLOWED
            return
        yield ENTRY, entry, ANY_CALL
        yield RULE, entry, self._rule_of(found, entry, str(called))
        for way in answer.retargets:
            yield from _way(way.entry_point, way.reason, way.by)
            yield ENTRY, way.entry_point, ANY_CALL
        if answer.entry_point is None:
            return
        at = answer.entry_point
        yield ENTRY, at, ANY_CALL
        if isinstance(answer, NoRoute):
            if answer.step is not None:
                yield from _way(at, answer.step, answer.by)
            elif answer.limit in ("entry-point", "tenant"):
                yield BRANCH, at, LIMIT
        elif answer.stand_in < 0:
            yield BRANCH, at, _side_name(topology, topology.entry_points[at], answer.group, answer.side)


def _way(entry: int, reason: str, by: str) -> Iterable[tuple[str, int, str]]:
    """What a call met that was sent on, or refused, instead of going to its group."""
    if reason in (BY_SWITCH, BY_OVERLAY):
        return ((BRANCH, -1, f"{reason} {by}"),)
    return ((BRANCH, entry, reason),)


def _branches(topology: Topology, at: int, entry: EntryPoint) -> Iterator[tuple[str, str]]:
    """The ways a call may take from an entry point."""
    for group in entry.groups:
        for side in (0, 1):
            yield BRANCH, _side_name(topology, entry, group, side)
    if entry.trunks is not None and len(entry.trunks) < len(topology.trunks):
        yield BRANCH, NOT_ALLOWED
    if entry.schedule is not None:
        yield BRANCH, CLOSED
    if entry.overflow:
        yield BRANCH, OVERFLOW
    elif entry.max_calls is not None:
        yield BRANCH, LIMIT
    if entry.unusable is not None:
        yield BRANCH, UNUSABLE


def _side_name(topology: Topology, entry: EntryPoint, group: int, side: int) -> str:
    return f"group {topology.groups[group].name}: {_SIDES[side]}" if entry.split else _SIDES[side]


def _listed(draft: Draft, topology: Topology) -> dict[int, frozenset[str]]:
    """By entry point: the exact numbers and words written in its list."""
    found = {}
    for at, entry in enumerate(topology.entry_points):
        model = draft.entry_points.get(entry.name)
        found[at] = frozenset(strip_separators(text) for text in model.numbers) if model is not None else frozenset()
    return found


def _rules(table: Table, listed: Mapping[int, frozenset[str]]) -> list[list[str]]:
    """By entry point: its rules by name, exact numbers first, then ranges and patterns as the plan has them."""
    numbers = table.numbers
    blocks: list[dict[int, None]] = [{} for _ in table.topology.entry_points]
    before = (-1, -1)
    for pair in zip(numbers.entry_point, numbers.rule, strict=True):
        if pair != before:
            blocks[pair[0]][pair[1]] = None
            before = pair
    from_lists, all_exact = _exact_counts(table, listed)
    named = []
    for at, rules in enumerate(blocks):
        exact = [EXACT] if from_lists[at] else []
        exact += [FROM_FILES] if all_exact[at] > from_lists[at] else []
        named.append(exact + [numbers.rules[rule] for rule in sorted(rules) if rule != RULE_EXACT])
    return named


def _exact_counts(table: Table, listed: Mapping[int, frozenset[str]]) -> tuple[list[int], list[int]]:
    """By entry point: how many of its listed exact numbers the table has, and how many exact ones there are, over all scopes."""
    numbers = table.numbers
    entries = len(table.topology.entry_points)
    of_lists, in_all, by_treatment = [0] * entries, [0] * entries, [0] * len(numbers.rule)
    for first, last, treatment in zip(numbers.first, numbers.last, numbers.row, strict=True):
        by_treatment[treatment] += last - first + 1
    for words in numbers.words:
        for treatment in words.values():
            by_treatment[treatment] += 1
    for treatment, count in enumerate(by_treatment):
        if count and numbers.rule[treatment] == RULE_EXACT:
            in_all[numbers.entry_point[treatment]] += count
    for at, texts in listed.items():
        of_lists[at] = sum(_is_exact(numbers, scope, text, at) for text in texts for scope in range(len(numbers.scopes)))
    return of_lists, in_all


def _is_exact(numbers: Numbers, scope: int, text: str, entry: int) -> bool:
    """Whether a text is an exact number, or a word, of that entry point in that scope."""
    digits = text.removeprefix("+")
    if is_digits(digits):
        found = numbers.find(scope, key_of(digits)) if text.startswith("+") == (scope == E164_SCOPE) else NOT_FOUND
    else:
        found = numbers.words[scope].get(text, NOT_FOUND)
    return found != NOT_FOUND and numbers.entry_point[found] == entry and numbers.rule[found] == RULE_EXACT
