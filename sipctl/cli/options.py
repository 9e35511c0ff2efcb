"""Options that many commands share, spelled once."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_TIMEOUT_S: Final = 60.0


class Output(StrEnum):
    table = "table"
    json = "json"


class Side(StrEnum):
    bcp = "bcp"
    primary = "primary"


StateOption = Annotated[
    Path | None,
    typer.Option("--state", envvar="SIPCTL_STATE", help="Where sipctl remembers everything; default ./.sipctl.", metavar="DIR"),
]  # fmt: skip
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="Table for people, JSON for programs.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; the history keeps it.", metavar="TEXT")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what it would touch (numbers, active calls); change nothing.")]
ForceOption = Annotated[list[str], typer.Option("--force", help="Override this safety rule, by its name.", metavar="RULE")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, max=3600, help="Seconds to wait until every router has it; then exit 4.", metavar="S")
]  # fmt: skip
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask, though a terminal is there to ask at.")]
BreakGlassOption = Annotated[
    bool,
    typer.Option(
        "--break-glass",
        help="In an emergency: no second person, and rules that are forced by name yield. It is told to everybody.",
    ),
]
MoveOption = Annotated[
    bool, typer.Option("--move", help="Move the group first if this takes its last usable SBC; it holds then.")
]


def state_dir(given: Path | None) -> Path:
    """`--state`, else SIPCTL_STATE, else ./.sipctl."""
    if given is not None:
        return given
    return Path(os.environ.get("SIPCTL_STATE") or ".sipctl")
