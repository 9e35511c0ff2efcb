"""`sipctl overlay` and `sipctl switch`: what the plan keeps ready, switched on and off as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import typer

from sipctl.cli.client import Client
from sipctl.cli.entity_commands import NameArgument, lister, print_switched, section_of
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table, when
from sipctl.cli.status_commands import LimitOption
from sipctl.cli.until import UntilOption, until_text
from sipctl.cli.writes import Wish, as_write, wish

KINDS: Final = (
    ("overlay", "Overlays of the plan: changes kept ready, switched on and off as one."),
    ("switch", "Kill switches of the plan: calls stopped or sent elsewhere before anything else is judged."),
)


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    for kind, text in KINDS:
        group = typer.Typer(no_args_is_help=True, help=text)
        group.command("ls", help=f"Every {kind} of the live plan: on or off, until when, what it touches.")(
            lister(kind, print_switched)
        )
        help_on = f"Switch it on; with --until it goes off by itself. {section_of(kind).capitalize()} that collide are refused."
        group.command("on", help=help_on)(as_write(_turning_on(kind)))
        group.command("off", help="Switch it off.")(as_write(_turning_off(kind), forced=False))
        group.command("history", help="When it went on and off, newest first: who and why.")(_history(kind))
        app.add_typer(group, name=kind)


def _turning_on(kind: str) -> Callable[..., Wish]:
    def on(name: NameArgument, until: UntilOption = None) -> Wish:
        return wish(section_of(kind), name, "on", until=None if until is None else until_text(until))

    return on


def _turning_off(kind: str) -> Callable[..., Wish]:
    def off(name: NameArgument) -> Wish:
        return wish(section_of(kind), name, "off")

    return off


def _history(kind: str) -> Callable[..., None]:
    def history(
        name: NameArgument, limit: LimitOption = 50, output: OutputOption = Output.table, state: StateOption = None
    ) -> None:
        path = f"{wish(section_of(kind), name, 'decisions').path}"
        body = Client.find(state_dir(state)).get(path, {"limit": limit})
        if output is Output.json:
            print_json(body)
            return
        rows = [(when(one["at_unix_s"]), one["rule"], one["actor"], one["sentence"]) for one in body["decisions"]]
        print_table(f"{kind} {name}", ("AT", "RULE", "BY", "WHAT"), rows)

    return history
