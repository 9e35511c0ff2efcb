"""How commands speak: tables and JSON on stdout, complaints on stderr, no colour where none is wanted.

Everything that came from outside is escaped before it reaches a terminal: a name or a reason may hold no orders for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sipctl.telemetry.mask import spell_out

# A state is told by its word first; colour only repeats it.
_STYLES = (
    ("green", frozenset({"normal", "in-service", "enabled", "on", "done", "ok", "primary"})),
    (
        "yellow",
        frozenset({"hold-off", "hold-down", "ramp", "draining", "unknown", "pause", "paused", "split", "warn", "accepted"}),
    ),
    ("red", frozenset({"on-bcp", "out-of-service", "disabled", "off", "failed", "refused", "lost", "fail"})),
)


def console() -> Console:
    """Made when it is needed, so that it sees the stdout and the NO_COLOR of the moment."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def say(text: str) -> None:
    """One line, or several; whatever else is no printable character is spelled out."""
    for line in text.split("\n"):
        typer.echo(spell_out(line))


def complain(text: str, hint: str = "") -> None:
    typer.echo(spell_out(f"sipctl: {text}"), err=True)
    if hint:
        typer.echo(spell_out(f"  hint: {hint}"), err=True)


def print_json(body: Any) -> None:
    typer.echo(json.dumps(body, indent=2, default=str))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table; without rows one line says so."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        say(f"{title}: none")
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*row)
    out = console()
    if not sys.stdout.isatty():
        out.width = max(out.width, 200)  # a pipe has no width: lines are for grep
    out.print(table)


def when(unix_s: Any) -> str:
    """Unix seconds as UTC."""
    if not isinstance(unix_s, int | float) or unix_s <= 0:
        return "-"
    return datetime.fromtimestamp(unix_s, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")


def moment(text: Any) -> str:
    """An instant as the API writes it (RFC 3339), told as `when` tells it."""
    try:
        return when(datetime.fromisoformat(str(text)).timestamp())
    except ValueError:
        return str(text) if text else "-"


def _cell(value: Any) -> Text:
    text = "-" if value is None or value == "" else spell_out(str(value))
    style = next((style for style, words in _STYLES if text in words), "")
    return Text(text, style=style)
