"""How `sipctl route` tells its answer, live or of a folder: what was asked, why, and the targets in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sipctl.cli.output import print_table, say


def print_answer(answer: Mapping[str, Any]) -> None:
    """The first line says what was asked."""
    say(str(answer["asked"]))
    say(f"{answer['number']} on trunk {answer['trunk']}")
    if answer["refused"] is not None:
        cause = f", Q.850 {answer['q850_cause']}" if answer.get("q850_cause") else ""
        say(f"refused {answer['refused']}{cause}: {answer['reason']}")
        return
    say(str(answer["reason"]))
    rows = [
        (place, target["sbc"], target["tenant"], target["side"], target["operating"], target["uri"], target["to"])
        for place, target in enumerate(answer["targets"], start=1)
    ]
    print_table("targets in order", ("#", "SBC", "TENANT", "SIDE", "STATE", "INVITE", "TO"), rows)
