"""Findings: every problem of a plan, each at its place, collected before anything is refused.

A finding's code is a stable slug; `CODES` says in one line what each means and whether it stops the plan. Codes are added, never
reworded. The number of findings is bounded: a damaged export of a million rows is one story, not a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from sipctl.errors import Finding, Severity

MAX_FINDINGS: Final = 1_000
MAX_EXCERPT_CHARS: Final = 300

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
    # edge
    "listen.wildcard": ("error", "a wildcard bind needs `advertise`: nobody can answer 0.0.0.0"),
    "listen.advertise": ("error", "`advertise` must have one address for each bind"),
    "listen.same-bind": ("error", "two listens bind the same address"),
    "listen.none": ("error", "there is no listen, so nothing can be received"),
    "trunk.ambiguous": ("error", "two trunks of one source cannot be told apart"),
    "trunk.country": ("error", "called_format: national needs a country; the country must exist"),
    "trunk.open": ("warning", "a source lets every address of the world call"),
    "pair.members": ("error", "a pair has either sbcs or srv, not both, not none"),
    "pair.no-listen": ("error", "no listen speaks the transport and family of an SBC"),
    "pair.single": ("warning", "a pair of one SBC has nothing that backs it up"),
    "pair.unused": ("warning", "no tenant is reached by this pair"),
    "sbc.same-address": ("error", "two SBCs have one address"),
    "site.needed": ("error", "there are several sites, so each trunk and pair must name its own"),
    "tenant.reach": ("error", "a tenant is reached twice in the same way"),
    # dial plan
    "group.same-tenant": ("error", "primary and BCP tenant are the same"),
    "group.shared-pair": ("warning", "primary and BCP tenant stand behind the same SBC pair"),
    "group.ramp": ("error", "a ramp's shares must grow and end at 100%"),
    "entry.no-numbers": ("warning", "an entry point has no number"),
    "entry.private": ("error", "a private number needs `trunks` with called_format: exact"),
    "number.bad": ("error", "not a number, range or pattern"),
    "number.separators": ("warning", "spaces or hyphens in numbers were removed"),
    "number.duplicate": ("error", "a number stands twice"),
    "number.overlap": ("error", "two ranges or two patterns of equal precedence share numbers"),
    "number.too-wide": ("error", "a pattern has too many free places before fixed digits"),
    "number.called-at": ("error", "called_at is no number with trailing Xs, or copies more digits than a number has"),
    "except.unused": ("warning", "an `except` takes nothing away"),
    # number files
    "csv.header": ("error", "the header names no such column"),
    "csv.columns": ("error", "a row has more or fewer cells than the header"),
    "csv.spreadsheet": ("error", "a number was damaged by a spreadsheet (4,96922E+12)"),
    "csv.no-entry-point": ("warning", "rows without an entry point were left out"),
    "csv.syntax": ("error", "a row does not read as CSV"),
    # tests and sizes
    "test.failed": ("error", "a test of the plan fails"),
    "test.trunk": ("error", "a test must name its trunk when there are several"),
    "test.given": ("error", "a test assumes a state that does not exist"),
    "plan.ids": ("error", "no numeric id is left for a new name"),
    "plan.too-many-findings": ("error", "there are more findings than are listed"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1, 0 where the file as a whole is meant."""

    path: str
    line: int = 0
    column: int = 0


class Report:
    """Collects findings; one per code and place."""

    __slots__ = ("_files", "_found", "_lines", "_seen", "dropped")

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._found: list[Finding] = []
        self._seen: set[tuple[str, int, int, str, str]] = set()
        self._lines: dict[str, list[bytes]] = {}
        self.dropped = 0  # findings beyond MAX_FINDINGS

    def add(self, code: str, mark: Mark, message: str, hint: str = "") -> None:
        """Note one problem; its severity is that of its code."""
        severity = CODES[code][0]
        seen = (mark.path, mark.line, mark.column, code, message)
        if seen in self._seen:
            return
        if len(self._found) >= MAX_FINDINGS:
            self.dropped += severity == "error"
            return
        self._seen.add(seen)
        self._found.append(Finding(mark.path, mark.line, mark.column, code, severity, message, hint, self.line_at(mark)))

    def line_at(self, mark: Mark) -> str:
        """The line a mark stands in, as written."""
        if mark.line < 1 or mark.path not in self._files:
            return ""
        if mark.path not in self._lines:
            self._lines[mark.path] = self._files[mark.path].removeprefix(b"\xef\xbb\xbf").splitlines()
        lines = self._lines[mark.path]
        return lines[mark.line - 1].decode(errors="replace")[:MAX_EXCERPT_CHARS] if mark.line <= len(lines) else ""

    @property
    def has_errors(self) -> bool:
        """Whether anything found stops the plan; failed tests do not count here."""
        return any(finding.severity == "error" and finding.code != "test.failed" for finding in self._found) or self.dropped > 0

    def findings(self) -> tuple[Finding, ...]:
        """All of them by file, line and column."""
        found = sorted(self._found, key=lambda finding: (finding.path, finding.line, finding.column, finding.code))
        if self.dropped:
            message = f"{self.dropped} more errors are not listed"
            found.append(Finding("", 0, 0, "plan.too-many-findings", "error", message, "mend those listed first"))
        return tuple(found)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or with what there is."""
    choices = sorted(known)
    near = get_close_matches(name, choices, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    if not choices:
        return "none is defined"
    return "there is: " + ", ".join(choices[:8]) + (" …" if len(choices) > 8 else "")
