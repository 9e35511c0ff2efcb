"""Findings of a plan that was refused, as the API brings them, one line each as compilers write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sipctl.cli.output import say

MAX_SHOWN: Final = 50


def print_findings(body: Mapping[str, Any]) -> int:
    """Print what is there; returns how many."""
    findings = body.get("findings")
    if not isinstance(findings, list):
        return 0
    for finding in findings[:MAX_SHOWN]:
        if not isinstance(finding, dict):
            say(str(finding))
            continue
        where = f"{finding.get('path')}:{finding.get('line')}:{finding.get('column')}"
        say(f"{where}: {finding.get('severity')} {finding.get('code')}: {finding.get('message')}")
        if finding.get("hint"):
            say(f"  hint: {finding['hint']}")
    if len(findings) > MAX_SHOWN:
        say(f"… and {len(findings) - MAX_SHOWN} more: sipctl check")
    return len(findings)
