"""Findings as people read them on a terminal: those of `sipctl check`, and those the API brings of a plan it refused or took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from sipctl.cli.output import say
from sipctl.errors import Finding

MAX_SHOWN: Final = 100
MAX_CARETS: Final = 60


def print_findings(body: Mapping[str, Any], folder: Path = Path()) -> None:
    """Print what is there; a finding of another version's shape is printed as it came."""
    findings = body.get("findings")
    if not isinstance(findings, list):
        return
    for finding in findings[:MAX_SHOWN]:
        try:
            say("\n".join(finding_lines(msgspec.convert(finding, Finding), folder)))
        except msgspec.ValidationError:
            say(str(finding))
    if len(findings) > MAX_SHOWN:
        say(f"… and {len(findings) - MAX_SHOWN} more: sipctl check")


def finding_lines(finding: Finding, folder: Path = Path()) -> list[str]:
    """One finding as compilers write them: place, message, the line with a caret, the hint."""
    path = finding.path if folder == Path() else (folder / finding.path).as_posix()
    place = f"{path}:{finding.line}:{finding.column}: " if finding.line else f"{path}: " if finding.path else ""
    lines = [f"{place}{finding.severity} {finding.code}: {finding.message}"]
    if finding.line and finding.excerpt:
        number = str(finding.line)
        margin = " " * len(number)
        excerpt = finding.excerpt.replace("\t", " ")
        indent = max(finding.column - 1, 0)
        lines += [f"{margin} |", f"{number} | {excerpt}"]
        if indent < len(excerpt):
            lines.append(f"{margin} | {' ' * indent}{'^' * _width(excerpt[indent:])}")
    if finding.hint:
        lines.append(f"  = hint: {finding.hint}")
    return lines


def _width(rest: str) -> int:
    """How many carets: the word or quoted text that begins here."""
    if rest[:1] in ("'", '"'):
        end = rest.find(rest[0], 1)
        return min(end + 1 if end > 0 else len(rest), MAX_CARETS)
    end = next((at for at, char in enumerate(rest) if char in " ,]}#:" and at), len(rest))
    return min(max(end, 1), MAX_CARETS)


def finding_body(finding: Finding) -> dict[str, Any]:
    return {
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "hint": finding.hint,
        "excerpt": finding.excerpt,
    }
