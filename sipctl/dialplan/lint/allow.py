"""Findings somebody has looked at and lets stand: `# sipctl: allow CODE -- reason`, on the line or on the line above.

A comment behind a value speaks for its own line; one that stands alone for the next line that is no comment. On the line that
names a number file it speaks for that file too, as CSV has no comments. The reason is required, and an allowance that no longer
hides anything is itself a finding: otherwise they outlive what they were written for and hide the next mistake.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

MAX_ALLOWS: Final = 1_000  # of one file
_MARKER: Final = b"sipctl:"
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#\s*sipctl:\s*(.*)$")
_ALLOW: Final = re.compile(r"allow\s+(?P<codes>[^\s,]+(?:\s*,\s*[^\s,]+)*)\s*(?:--\s*(?P<reason>.*))?$")


class Allow:
    """One allowance: what it says, and whether it was needed."""

    __slots__ = ("code", "column", "fault", "for_line", "is_used", "line", "reason")

    def __init__(self, line: int, column: int, for_line: int, code: str, reason: str, fault: str) -> None:
        self.line = line
        self.column = column
        self.for_line = for_line
        self.code = code
        self.reason = reason
        self.fault = fault  # what is wrong with it; "" if nothing
        self.is_used = False


def read_allows(data: bytes) -> list[Allow]:
    """Every allowance of a YAML file, the faulty ones too; [] for a file without, whatever its bytes.

    Cost: one search for a word, unless the word is there.
    """
    if _MARKER not in data:
        return []
    text = data.decode("utf-8-sig", errors="replace")
    lines = _LINE_END.split(text)
    inside = _quoted(text, lines)
    found: list[Allow] = []
    for number, line in enumerate(lines, 1):
        comment = _COMMENT.search(line)
        if comment is None or any(start < (number, comment.start()) < end for start, end in inside):
            continue
        alone = not line[: comment.start()].strip()
        for_line = _next_line(lines, number) if alone else number
        for code, reason, fault in _read(comment[1].strip()):
            found.append(Allow(number, comment.start() + 1, for_line, code, reason, fault))
        if len(found) >= MAX_ALLOWS:
            break
    return found


def _read(text: str) -> list[tuple[str, str, str]]:
    """(code, reason, fault) of each code a comment names."""
    allow = _ALLOW.fullmatch(text)
    if allow is None:
        return [("", "", "this comment says nothing sipctl knows")]
    reason = (allow["reason"] or "").strip()
    fault = "" if reason else "an allowance needs a reason"
    return [(code.strip(), reason, fault) for code in allow["codes"].split(",")]


def _next_line(lines: list[str], number: int) -> int:
    """The line a comment of its own speaks for: the next that holds more than a comment."""
    after = number + 1
    while after <= len(lines) and lines[after - 1].lstrip().startswith("#"):
        after += 1
    return after


def _quoted(text: str, lines: list[str]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """From where to where quoted and block scalars with the word reach: a # in there begins no comment."""
    spans = []
    try:
        for token in yaml.scan(text, Loader=yaml.CBaseLoader):
            if isinstance(token, yaml.ScalarToken) and not token.plain:
                start, end = token.start_mark, token.end_mark
                if any(_MARKER.decode() in line for line in lines[start.line : end.line + 1]):
                    spans.append(((start.line + 1, start.column), (end.line + 1, end.column)))
    except yaml.YAMLError:
        pass  # what is behind a syntax error is not read anyway
    return spans
