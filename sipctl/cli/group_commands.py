"""Commands that move groups, hold them, and let them go."""

from __future__ import annotations

from typing import Annotated

import typer

from sipctl.cli.client import EXIT_USAGE, stop
from sipctl.cli.local_commands import LocalWish
from sipctl.cli.options import Side
from sipctl.cli.writes import Wish, as_write, wish

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Name of a continuity group.")]
ToOption = Annotated[Side, typer.Option("--to", help="Which tenant takes new calls.")]

LocalOption = Annotated[
    bool, typer.Option("--local", help="On this node, when no controller serves; for who owns STATE (docs/emergency.md).")
]


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    for command in (failover, failback, pin, unpin, unlatch):
        app.command(command.__name__)(as_write(command))
    automation = typer.Typer(no_args_is_help=True, help="Pause or resume what moves groups by itself.")
    automation.command("pause")(as_write(automation_pause, forced=False))
    automation.command("resume")(as_write(automation_resume, forced=False))
    app.add_typer(automation, name="automation")


def failover(
    to: ToOption,
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Name of a continuity group.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Every group whose tenant matches this pattern.", metavar="GLOB")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every group.")] = False,
    local: LocalOption = False,
) -> Wish:
    """Send new calls to the other tenant and hold them there until failback; calls that are up stay up."""
    if [group is not None, tenant is not None, every].count(True) != 1:
        stop(EXIT_USAGE, "say which: GROUP, --tenant GLOB, or --all")
    if local:
        return Wish("", local=LocalWish("failover", to.value, group or "", tenant or "", every))
    if group is not None:
        return wish("groups", group, "failover", to=to.value)
    return wish("failover", to=to.value, all=True) if every else wish("failover", to=to.value, tenant=tenant)


def failback(
    group: GroupArgument,
    now: Annotated[bool, typer.Option("--now", help="No ramp: all new calls at once.")] = False,
    local: LocalOption = False,
) -> Wish:
    """Let a group return to its primary tenant, by its ramp."""
    if local:
        if not now:
            stop(EXIT_USAGE, "without a controller there is no ramp", "failback GROUP --now --local moves all new calls at once")
        return Wish("", local=LocalWish("failback", "primary", group))
    return wish("groups", group, "failback", now=now)


def pin(group: GroupArgument, to: ToOption) -> Wish:
    """Keep a group where you say: nothing automatic moves it, and no call crosses."""
    return wish("groups", group, "pin", to=to.value)


def unpin(group: GroupArgument) -> Wish:
    """Let automation move a group again."""
    return wish("groups", group, "unpin")


def unlatch(group: GroupArgument) -> Wish:
    """Let a group fail back again after too many moves."""
    return wish("groups", group, "unlatch")


def automation_pause() -> Wish:
    """Nothing moves by itself any more, but for one call's advance to the next SBC."""
    return wish("automation", state="pause")


def automation_resume() -> Wish:
    """Let automation move groups again."""
    return wish("automation", state="resume")
