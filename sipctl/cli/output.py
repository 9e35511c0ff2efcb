"""How commands speak: tables and JSON on stdout, complaints on stderr, no colour where none is wanted.

Everything that came from outside is escaped before it reaches a terminal: a name or a reason may hold no orders for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sipctl.telemetry.mask import spell_out

GAP: Final = 2  # columns between two columns of a table
INDENT: Final = 4  # of a last column that stands on a line of its own

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
    """A table; without rows one line says so.

    On a terminal that is too narrow for it, the last column, where sentences stand, goes to a line of its own below each row.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        say(f"{title}: none")
        return
    out = console()
    if not sys.stdout.isatty():
        out.width = max(out.width, 200)  # a pipe has no width: lines are for grep
    widths = [max(len(column), *(row[at].cell_len for row in cells)) for at, column in enumerate(columns)]
    if _width(widths) > out.width >= _width(widths[:-1]) and len(columns) > 1:
        _print_in_two(out, title, columns, widths, cells)
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*row)
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


def _print_in_two(
    out: Console, title: str, columns: Sequence[str], widths: Sequence[int], cells: Sequence[Sequence[Text]]
) -> None:
    """Each row in a line of its own, and what its last column says, if anything, indented below it."""
    out.print(Text(title, style="bold"))
    heads = [Text(column, style="bold") for column in columns]
    for row in (heads, *cells):
        line = Text()
        for at, cell in enumerate(row[:-1]):
            line.append_text(cell)
            line.append(" " * (widths[at] - cell.cell_len + GAP))
        line.rstrip()
        out.print(line, no_wrap=True)
        if row[-1].plain != "-":
            out.print(Padding(row[-1], (0, 0, 0, INDENT)))


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _cell(value: Any) -> Text:
    text = "-" if value is None or value == "" else spell_out(str(value))
    style = next((style for style, words in _STYLES if text in words), "")
    return Text(text, style=style)
