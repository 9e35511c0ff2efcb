"""Commands that are agreed on and not built yet: each says so and ends with 2, whatever follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import typer

from sipctl.cli.client import EXIT_USAGE, stop

INSTEAD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "top": "sipctl status",
        "events": "curl -N -H 'Authorization: Bearer …' http://…/v1/events",
        "cdr": "the lines are in STATE/cdr/YYYY-MM-DD.jsonl",
        "drill": "sipctl failover --dry-run",
    }
)


def register(app: typer.Typer) -> None:
    """Add every command that no one has added."""
    for name, instead in INSTEAD.items():
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(name, help="Not built yet.", hidden=True, context_settings=settings)(_command(name, instead))


def _command(name: str, instead: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        stop(EXIT_USAGE, f"`sipctl {name}` is not built yet", f"meanwhile: {instead}" if instead else "")

    return command
