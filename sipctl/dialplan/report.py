"""Findings: every problem of a plan, each at its place, collected before anything is refused.

A finding's code is a stable slug; `CODES` says in one line what each means and whether it stops the plan. Codes are added, never
reworded. The number of findings is bounded, in all and of one code: a damaged export of a million rows is one story.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from io import BytesIO
from itertools import accumulate
from typing import Final

from sipctl.dialplan.lint.allow import Allow, read_allows
from sipctl.dialplan.lint.secrets import hide_secrets
from sipctl.errors import Finding, Severity

MAX_FINDINGS: Final = 1_000
MAX_FINDINGS_OF_A_CODE: Final = 200  # so that one story does not hide the others
MAX_EXCERPT_CHARS: Final = 300
MAX_CHOICES: Final = 5_000  # names among which a near one is looked for
_OF_NUMBERS: Final = frozenset(
    {"number.bad", "number.duplicate", "number.overlap", "number.impossible", "number.shadowed", "entry.private"}
)
_MOST_EXCERPT_BYTES: Final = 4 * MAX_EXCERPT_CHARS + 3
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")

CODES: Final[Mapping[str, tuple[Severity, str]]] = {
    # files
    "file.too-large": ("error", "a file or the whole folder is larger than sipctl reads"),
    "file.not-utf8": ("error", "a file holds bytes that are not UTF-8"),
    "file.ignored": ("warning", "a YAML or CSV file that nothing reads"),
    "file.missing": ("error", "a number file is named but not there"),
    "plan.empty": ("error", "there is no sbc_configs or no dialplans file at all"),
    # YAML
    "yaml.syntax": ("error", "the file is not well-formed YAML"),
    "yaml.duplicate-key": ("error", "a key stands twice in one map"),
    "yaml.anchor": ("error", "anchors and aliases are refused: use `defaults`"),
    "yaml.tag": ("error", "tags (!…) are refused: every value is text"),
    "yaml.too-deep": ("error", "maps and lists are nested too deep"),
    "yaml.too-many": ("error", "the file holds too many values"),
    "yaml.documents": ("error", "a file holds more than one document"),
    "yaml.not-a-map": ("error", "a map of names or keys is expected here"),
    # keys and values
    "plan.unknown-key": ("error", "no such key here"),
    "plan.missing-key": ("error", "a required key is missing"),
    "plan.empty-value": ("error", "a key has no value"),
    "plan.not-built-yet": ("error", "the key or value is planned but not built yet"),
    "plan.defined-twice": ("error", "a name is defined twice, in one file or in two"),
    "plan.bad-name": ("error", "a name may hold letters, digits, . _ - only, 63 at most"),
    "plan.bad-value": ("error", "the value is not of the right kind"),
    "plan.bad-choice": ("error", "the value is none of those offered"),
    "plan.bad-duration": ("error", "not a duration such as 500ms, 2s, 5m, 12h, 1d"),
    "plan.bad-number": ("error", "not a whole number within its range"),
    "plan.bad-flag": ("error", "a boolean is true or false, nothing else"),
    "plan.bad-share": ("error", "not a share such as 10%"),
    "plan.bad-address": ("error", "not an address, network, bind or SIP URI of the form expected"),
    "plan.unknown-name": ("error", "something is named that is not defined"),
    "plan.secret": ("warning", "what looks like a password, key or token"),
    # edge
    "listen.wildcard": ("error", "a wildcard bind needs `advertise`: nobody can answer 0.0.0.0"),
    "listen.advertise": ("error", "`advertise` must have one address for each bind"),
    "listen.same-bind": ("error", "two listens bind the same address"),
    "listen.none": ("error", "there is no listen, so nothing can be received"),
    "trunk.ambiguous": ("error", "two trunks of one source cannot be told apart"),
    "trunk.overlap": ("warning", "a source lies within a source of another trunk"),
    "trunk.loop": ("warning", "the sources of a trunk hold an address of our own"),
    "trunk.country": ("error", "called_format: national needs a country; the country must exist"),
    "trunk.open": ("warning", "a source lets every address of the world call"),
    "pair.members": ("error", "a pair has either sbcs or srv, not both, not none"),
    "pair.no-listen": ("error", "no listen speaks the transport and family of an SBC"),
    "pair.single": ("warning", "a pair of one SBC has nothing that backs it up"),
    "pair.same-host": ("warning", "the SBCs of a pair are one host"),
    "pair.family": ("warning", "callers and SBCs have no address family in common"),
    "pair.unused": ("warning", "no tenant is reached by this pair"),
    "sbc.same-address": ("error", "two SBCs have one address"),
    "sbc.is-us": ("error", "an SBC is a socket of our own"),
    "site.needed": ("error", "there are several sites, so each trunk and pair must name its own"),
    "tenant.reach": ("error", "a tenant is reached twice in the same way"),
    "tenant.max-calls": ("warning", "a tenant may have more calls than its SBCs take"),
    "probe.slow": ("warning", "probes notice a silent SBC too late"),
    # dial plan
    "group.same-tenant": ("error", "primary and BCP tenant are the same"),
    "group.shared-pair": ("warning", "primary and BCP tenant stand behind the same SBC pair"),
    "group.same-host": ("warning", "primary and BCP tenant have SBCs on one host"),
    "group.same-site": ("warning", "all SBCs of primary and BCP tenant stand in one site"),
    "group.approval-unused": ("warning", "who may approve moves is said, and no move needs approval"),
    "group.bcp-smaller": ("warning", "the BCP tenant takes fewer calls than the primary"),
    "group.ramp": ("error", "a ramp's shares must grow and end at 100%"),
    "entry.no-numbers": ("warning", "an entry point has no number"),
    "entry.private": ("error", "a private number needs `trunks` with called_format: exact"),
    "entry.bcp-missing": ("warning", "no number at the BCP tenant, where others of the group have one"),
    "entry.max-calls": ("warning", "an entry point may have more calls than its primary tenant takes"),
    "number.bad": ("error", "not a number, range or pattern"),
    "number.separators": ("warning", "spaces or hyphens in numbers were removed"),
    "number.impossible": ("warning", "no country has numbers such as this one"),
    "number.duplicate": ("error", "a number stands twice"),
    "number.overlap": ("error", "two ranges or two patterns of equal precedence share numbers"),
    "number.shadowed": ("warning", "a range or pattern of which more precise entries leave nothing"),
    "number.too-wide": ("error", "a pattern has too many free places before fixed digits"),
    "number.called-at": ("error", "called_at is no number with trailing Xs, or copies more digits than a number has"),
    "except.unused": ("warning", "an `except` takes nothing away"),
    # schedules, exits, overlays, switches, and where calls go instead
    "schedule.window": ("error", "not a window of the week such as Mon-Fri 08:00-18:00"),
    "schedule.date": ("error", "not a date such as 2026-12-24, or a range of dates"),
    "schedule.zone": ("error", "no such time zone"),
    "schedule.holidays": ("error", "no public holidays are known of this country or part of one"),
    "schedule.overlap": ("warning", "two windows of a schedule share hours"),
    "schedule.horizon": ("warning", "the public holidays known are coming to an end"),
    "schedule.unused": ("warning", "no entry point keeps the hours of this schedule"),
    "entry.group": ("error", "an entry point has either a group or a split"),
    "entry.split": ("error", "the shares of a split must be 100% together"),
    "entry.closed": ("error", "schedule and closed belong together"),
    "entry.circle": ("error", "calls could be sent round for ever"),
    "entry.chain": ("error", "calls could be sent on too many times"),
    "to.place": ("error", "not one place for a call: an entry point, an SBC pair, or a number with its exit"),
    "exit.allow": ("error", "an exit allows what is no number, range or pattern with +"),
    "exit.number": ("error", "not a single number with +"),
    "exit.not-allowed": ("error", "a number may not leave through its exit"),
    "exit.own-number": ("error", "a number outside is a number of this plan: the call would come back"),
    "exit.shared-pair": ("error", "the SBC pair of an exit is used for something else"),
    "switch.match": ("error", "a kill switch must match something"),
    "send.placeholder": ("error", "a placeholder that stands for nothing"),
    "send.called": ("error", "not a form of the called number"),
    "send.country": ("error", "national numbers need a country; the country must exist"),
    "send.header": ("error", "a header that is not a plan's to set, or set and removed at once"),
    "send.label": ("warning", "a header shows a label that no entry point has"),
    "group.renamed": ("error", "a group goes on under two names"),
    # number files
    "csv.header": ("error", "the header names no such column"),
    "csv.columns": ("error", "a row has more or fewer cells than the header"),
    "csv.spreadsheet": ("error", "a number was damaged by a spreadsheet (4,96922E+12)"),
    "csv.no-entry-point": ("warning", "rows without an entry point were left out"),
    "csv.syntax": ("error", "a row does not read as CSV"),
    # tests and sizes
    "test.failed": ("error", "a test of the plan fails"),
    "test.trunk": ("error", "a test must name its trunk when there are several"),
    "test.at": ("error", "not a date and time with its zone, or one the clocks skip"),
    "test.needs-at": ("error", "the answer depends on opening hours, so the test must say when"),
    "test.file": ("error", "a row of a file of tests does not read"),
    "test.given": ("error", "a test assumes a state that does not exist"),
    "test.given-idle": ("warning", "a test assumes a state of what its call does not touch"),
    "test.nothing": ("warning", "a test expects nothing"),
    "test.same": ("warning", "a test asks and expects what another does"),
    "plan.ids": ("error", "no numeric id is left for a new name"),
    "plan.too-many-findings": ("error", "there are more errors than are listed"),
    "plan.more-findings": ("warning", "there are more warnings than are listed"),
    # allowances
    "allow.bad": ("warning", "an allowance lacks its reason, or names no finding that can be allowed"),
    "allow.unused": ("warning", "an allowance that no longer hides anything"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1, 0 where the file as a whole is meant."""

    path: str
    line: int = 0
    column: int = 0


class Report:
    """Collects findings; one per code and place."""

    __slots__ = (
        "_allows",
        "_columns",
        "_dropped",
        "_files",
        "_found",
        "_named_at",
        "_of_code",
        "_seen",
        "_starts",
        "allowed",
        "are_tests_run",
    )

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._found: list[Finding] = []
        self._seen: set[tuple[str, int, int, str, str]] = set()
        self._of_code: dict[str, int] = {}
        self._dropped: dict[str, int] = {}  # by code: beyond the limits
        self._starts: dict[str, array[int]] = {}  # by path: where each line begins
        self._allows: dict[str, dict[tuple[int, str], list[Allow]]] = {}  # by path: (line, code) → allowances
        self._columns: dict[str, tuple[str, int]] = {}  # by number file: delimiter, index of the column with the number
        self._named_at: dict[str, Mark] = {}  # by number file: where the plan names it
        self.allowed = 0  # findings an allowance hides
        self.are_tests_run = False  # else an allowance of a failing test cannot show its use

    def add(self, code: str, mark: Mark, message: str, hint: str = "") -> None:
        """Note one problem; its severity is that of its code."""
        severity = CODES[code][0]
        if is_allowable(code) and self._is_allowed(code, mark):
            return
        if self.is_full(code):
            self.drop(code)
            return
        if mark.path in self._columns and code in _OF_NUMBERS:
            mark = Mark(mark.path, mark.line, self._column_at(mark))
        seen = (mark.path, mark.line, mark.column, code, message)
        if seen in self._seen:
            return
        self._seen.add(seen)
        self._of_code[code] = self._of_code.get(code, 0) + 1
        self._found.append(Finding(mark.path, mark.line, mark.column, code, severity, message, hint, self.line_at(mark)))

    def is_full(self, code: str) -> bool:
        """Whether another finding of this code would only be counted; who makes findings by the row asks before it explains."""
        return len(self._found) >= MAX_FINDINGS or self._of_code.get(code, 0) >= MAX_FINDINGS_OF_A_CODE

    def has(self, code: str) -> bool:
        """Whether such a finding was made."""
        return code in self._of_code

    def drop(self, code: str, count: int = 1) -> None:
        """Count findings nobody wants to read any more."""
        self._dropped[code] = self._dropped.get(code, 0) + count

    def name_file(self, path: str, mark: Mark) -> None:
        """A number file is named here: allowances of that line hold for it."""
        self._named_at.setdefault(path, mark)

    def name_column(self, path: str, delimiter: str, index: int) -> None:
        """Where in each row of a number file the number stands: there findings about numbers point."""
        self._columns[path] = delimiter, index

    def _column_at(self, mark: Mark) -> int:
        """The column a row's number begins in; as marked if the row is quoted or cut."""
        delimiter, index = self._columns[mark.path]
        cells = self.line_at(mark).split(delimiter)
        if index >= len(cells) or any('"' in cell for cell in cells[:index]):
            return mark.column
        return sum(len(cell) + 1 for cell in cells[:index]) + 1

    def line_at(self, mark: Mark) -> str:
        """The line a mark stands in, as written but for secrets."""
        if mark.line < 1 or mark.path not in self._files:
            return ""
        data = self._files[mark.path]
        starts = self._starts.get(mark.path)
        if starts is None:
            starts = self._starts[mark.path] = _line_starts(data)
        if mark.line > len(starts):
            return ""
        start = starts[mark.line - 1]
        end = starts[mark.line] if mark.line < len(starts) else len(data)
        line = data[start : min(end, start + _MOST_EXCERPT_BYTES)].removeprefix(b"\xef\xbb\xbf")
        return hide_secrets(line.decode(errors="replace").rstrip("\r\n")[:MAX_EXCERPT_CHARS])

    @property
    def has_errors(self) -> bool:
        """Whether anything found stops the plan; failed tests do not count here."""
        return any(_stops(finding.code) for finding in self._found) or any(map(_stops, self._dropped))

    def findings(self) -> tuple[Finding, ...]:
        """All of them by file, line and column; last what was not listed. To be asked for once, at the end."""
        self._judge_allows()
        found = sorted(self._found, key=lambda finding: (finding.path, finding.line, finding.column, finding.code))
        for code, count in sorted(self._dropped.items()):
            which = "plan.too-many-findings" if CODES[code][0] == "error" else "plan.more-findings"
            message = f"{count:,} more of {code} {'is' if count == 1 else 'are'} not listed"
            found.append(Finding("", 0, 0, which, CODES[which][0], message, "mend those listed first"))
        return tuple(found)

    # -- allowances --------------------------------------------------------------------------------------------------------------

    def _is_allowed(self, code: str, mark: Mark) -> bool:
        for place in (mark, self._named_at.get(mark.path)):
            for allow in self._allows_of(place.path).get((place.line, code), ()) if place is not None else ():
                if not allow.fault:
                    allow.is_used = True
                    self.allowed += 1
                    return True
        return False

    def _allows_of(self, path: str) -> dict[tuple[int, str], list[Allow]]:
        known = self._allows.get(path)
        if known is None:
            known = self._allows[path] = {}
            for allow in read_allows(self._files.get(path, b"")) if path.endswith((".yaml", ".yml")) else ():
                known.setdefault((allow.for_line, allow.code), []).append(allow)
        return known

    def _judge_allows(self) -> None:
        """Allowances that are no good, and those that hide nothing (as far as everything was looked at)."""
        is_whole = not self.has_errors
        for path in self._files:
            for allow in [allow for allows in self._allows_of(path).values() for allow in allows]:
                place = Mark(path, allow.line, allow.column)
                if allow.fault:
                    self.add("allow.bad", place, allow.fault, "write # sipctl: allow CODE -- reason")
                elif allow.code not in CODES:
                    self.add("allow.bad", place, f"there is no finding {allow.code}", did_you_mean(allow.code, CODES))
                elif not is_allowable(allow.code):
                    self.add("allow.bad", place, f"{allow.code} cannot be allowed: mend it", "remove the comment")
                elif not allow.is_used and is_whole and (self.are_tests_run or allow.code != "test.failed"):
                    self.add(
                        "allow.unused", place, f"there is no {allow.code} to allow in line {allow.for_line}", "remove the comment"
                    )


def is_allowable(code: str) -> bool:
    """Whether a comment may let such findings stand: those that leave a plan usable, except those about such comments."""
    return not _stops(code) and not code.startswith("allow.")


def _stops(code: str) -> bool:
    return CODES[code][0] == "error" and code != "test.failed"


def _line_starts(data: bytes) -> array[int]:
    """Where each line begins, lines as CSV and YAML count them. Cost: 8 bytes a line."""
    starts = array("Q", (0,))
    if b"\r" in data:
        starts.extend(match.end() for match in _LINE_END.finditer(data))
    else:  # the usual way, five times as fast
        starts.extend(accumulate(map(len, BytesIO(data))))
        if data and not data.endswith(b"\n"):
            starts.pop()
    if starts[-1] == len(data):
        starts.pop()
    return starts


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or with what there is."""
    choices = sorted(known)
    near = get_close_matches(name[:MAX_EXCERPT_CHARS], choices[:MAX_CHOICES], 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    if not choices:
        return "none is defined"
    return "there is: " + ", ".join(choices[:8]) + (" …" if len(choices) > 8 else "")
