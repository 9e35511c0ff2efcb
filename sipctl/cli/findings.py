"""Findings of a plan that was refused or taken with warnings, as the API brings them, told as `sipctl check` tells them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from sipctl.cli.output import say
from sipctl.cli.plan_commands import finding_lines
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
