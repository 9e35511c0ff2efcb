"""Findings as people read them on a terminal: those of `sipctl check`, and those the API brings of a plan it refused or took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from sipctl.cli.output import say
from sipctl.dialplan.lint.formats import caret_width
from sipctl.errors import Finding

MAX_SHOWN: Final = 100


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
            lines.append(f"{margin} | {' ' * indent}{'^' * caret_width(excerpt[indent:])}")
    if finding.hint:
        lines.append(f"  = hint: {finding.hint}")
    return lines


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
