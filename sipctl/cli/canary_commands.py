"""`sipctl canary`: the edit that a share of the callers has first, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_USAGE, Client, stop
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table, say
from sipctl.cli.until import span_s
from sipctl.cli.writes import Wish, as_write, wish
from sipctl.control.canary_state import SHARE_HINT, permille_of

CanaryOption = Annotated[
    str | None, typer.Option("--canary", help="To this share of the callers first; it goes back if calls fail.", metavar="SHARE")
]
CanaryForOption = Annotated[
    str | None, typer.Option("--canary-for", help="Promoted after so long, if it is judged well; default 10m.", metavar="TIME")
]
CanaryHoldOption = Annotated[bool, typer.Option("--canary-hold", help="Not promoted by itself: `sipctl canary promote`.")]
_SIDES: Final = (("canary", "calls"), ("others", "others"))
_ENDS: Final = ("answered", "busy", "failed", "cancelled")


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    part = typer.Typer(no_args_is_help=True, help="An edit that a share of the callers has first.")
    part.command("show")(show)
    part.command("grow")(as_write(grow, forced=False))
    part.command("promote")(as_write(promote))
    part.command("abort")(as_write(abort, forced=False))
    app.add_typer(part, name="canary")


def show(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """The canary that runs: its share, how calls of both sides ended, and what comes next."""
    body = Client.find(state_dir(state)).get("/v1/canary")
    if output is Output.json:
        print_json(body)
        return
    canary = body.get("canary")
    if canary is None:
        say("no canary runs")
        return
    say(line(canary))
    say(f"by {canary.get('by')}: {canary.get('reason')}")
    rows = [(name, *(canary[key][end] for end in _ENDS)) for name, key in _SIDES]
    print_table("calls", ("CALLERS", *(end.upper() for end in _ENDS)), rows)
    say(f"judged: {canary.get('judged')}")
    for name, operating in (canary.get("sbcs") or {}).items():
        say(f"SBC {name} of its plan alone: {operating}")
    say(str(canary.get("next")))


def line(canary: Mapping[str, Any]) -> str:
    """One line: which revision, which share, until when."""
    until = canary.get("until")
    end = "until an operator promotes it" if until is None else f"until {until}"
    return f"revision {canary.get('revision')} takes {canary.get('share')} of the callers since {canary.get('since')}, {end}"


def grow(share: Annotated[str, typer.Argument(metavar="SHARE", help="25%: of the callers; it only grows.")]) -> Wish:
    """Give it a larger share; those who have it keep it."""
    return wish("canary", "grow", share=checked_share(share))


def promote() -> Wish:
    """Make its revision live for everybody, now."""
    return wish("canary", "promote")


def abort() -> Wish:
    """End it: every caller has the live revision again; its content may be applied again."""
    return wish("canary", "abort")


def canary_body(share: str | None, for_: str | None, hold: bool) -> dict[str, Any]:
    """What `apply` sends of a canary; ends the command with 2 for what makes no sense."""
    if share is None:
        if for_ is not None or hold:
            stop(EXIT_USAGE, "--canary-for and --canary-hold go with --canary", "--canary 5%")
        return {}
    if for_ is not None and hold:
        stop(EXIT_USAGE, "a canary runs for a time, or until an operator promotes it: not both")
    return {"canary": checked_share(share), "canary_hold": hold, "canary_for_s": None if for_ is None else span_s(for_)}


def checked_share(share: str) -> str:
    if permille_of(share) is None:
        stop(EXIT_USAGE, f"{share} is no share of the callers", SHARE_HINT)
    return share
