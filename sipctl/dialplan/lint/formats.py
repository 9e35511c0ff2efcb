"""Findings for other programs: SARIF 2.1.0 for code scanners and editors, workflow commands for GitHub.

Source: OASIS SARIF 2.1.0 §3.13 (log), §3.19 (tool component), §3.27 (result), §3.29 (physical location), §3.30 (region);
docs.github.com, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from sipctl.dialplan.report import CODES
from sipctl.errors import Finding

MAX_CARETS: Final = 60
SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_STOPS: Final = frozenset(" ,]}#:")


def caret_width(rest: str) -> int:
    """How many characters are meant: the word or quoted text that `rest` begins with."""
    if rest[:1] in ("'", '"'):
        end = rest.find(rest[0], 1)
        return min(end + 1 if end > 0 else len(rest), MAX_CARETS)
    end = next((at for at, char in enumerate(rest) if char in _STOPS and at), len(rest))
    return min(max(end, 1), MAX_CARETS)


def sarif(findings: Sequence[Finding], version: str, prefix: str = "") -> dict[str, Any]:
    """One SARIF log of one run.

    Args:
        prefix: what stands in front of each path, "" or with a "/" at its end.
    """
    codes = sorted({finding.code for finding in findings})
    places = {code: at for at, code in enumerate(codes)}
    driver = {"name": "sipctl", "version": version, "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True}],
        "results": [_result(finding, places[finding.code], prefix) for finding in findings],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def github(findings: Sequence[Finding], prefix: str = "") -> list[str]:
    """A workflow command for each finding: GitHub shows it beside the line of the pull request."""
    return [_command(finding, prefix) for finding in findings]


def _rule(code: str) -> dict[str, Any]:
    severity, meaning = CODES[code]
    text = f"sipctl check --explain {code}"
    return {
        "id": code,
        "shortDescription": {"text": meaning},
        "help": {"text": text},
        "defaultConfiguration": {"level": severity},
    }


def _result(finding: Finding, place: int, prefix: str) -> dict[str, Any]:
    text = finding.message + (f" ({finding.hint})" if finding.hint else "")
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": place,
        "level": finding.severity,
        "message": {"text": text},
    }
    if finding.path:
        physical: dict[str, Any] = {"artifactLocation": {"uri": quote(prefix + finding.path)}}
        if finding.line:
            physical["region"] = _region(finding)
        result["locations"] = [{"physicalLocation": physical}]
    return result


def _region(finding: Finding) -> dict[str, Any]:
    region: dict[str, Any] = {"startLine": finding.line}
    if finding.column:
        region["startColumn"] = finding.column
        region["endColumn"] = _end_column(finding)
    if finding.excerpt:
        region["snippet"] = {"text": finding.excerpt}
    return region


def _end_column(finding: Finding) -> int:
    """The column behind what is meant."""
    rest = finding.excerpt[finding.column - 1 :]
    return finding.column + (caret_width(rest) if rest else 1)


def _command(finding: Finding, prefix: str) -> str:
    properties = [("title", finding.code)]
    if finding.path:
        properties.append(("file", prefix + finding.path))
    if finding.line:
        properties.append(("line", str(finding.line)))
        if finding.column:
            properties += [("col", str(finding.column)), ("endColumn", str(_end_column(finding) - 1))]
    text = finding.message + (f"\nhint: {finding.hint}" if finding.hint else "")
    listed = ",".join(f"{name}={_escaped(value, True)}" for name, value in properties)
    return f"::{finding.severity} {listed}::{_escaped(text, False)}"


def _escaped(text: str, is_property: bool) -> str:
    for char, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")) + (((":", "%3A"), (",", "%2C")) if is_property else ()):
        text = text.replace(char, code)
    return text
