"""Commands that move groups, hold them, and let them go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sipctl.cli.client import EXIT_USAGE, stop
from sipctl.cli.local_commands import LocalWish
from sipctl.cli.options import Side
from sipctl.cli.until import span_s
from sipctl.cli.writes import Wish, as_write, wish

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Name of a continuity group.")]
TenantOption = Annotated[str | None, typer.Option(help="Every group whose tenant matches this pattern.", metavar="GLOB")]
AllOption = Annotated[bool, typer.Option("--all", help="Every group.")]
PartialOption = Annotated[bool, typer.Option("--partial", help="Groups that a rule refuses stay, the others move.")]
SpreadOption = Annotated[
    str | None, typer.Option("--spread", metavar="TIME", help="One group after the other, over so long: 90s, 10m, 2h.")
]
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
    tenant: TenantOption = None,
    every: AllOption = False,
    partial: PartialOption = False,
    spread: SpreadOption = None,
    local: LocalOption = False,
) -> Wish:
    """Send new calls to the other tenant and hold them there until failback; calls that are up stay up."""
    more = _which(group, tenant, every, partial, spread)
    if local:
        if partial or spread is not None:
            stop(EXIT_USAGE, "without a controller groups move at once, each as it can", "leave out --partial and --spread")
        return Wish("", local=LocalWish("failover", to.value, group or "", tenant or "", every))
    if group is not None:
        return wish("groups", group, "failover", to=to.value)
    return wish("failover", to=to.value, **more)


def failback(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Name of a continuity group.")] = None,
    tenant: TenantOption = None,
    every: AllOption = False,
    now: Annotated[bool, typer.Option("--now", help="No ramp: all new calls at once.")] = False,
    partial: PartialOption = False,
    spread: SpreadOption = None,
    local: LocalOption = False,
) -> Wish:
    """Let a group return to its primary tenant, by its ramp; or all groups of a tenant, or all."""
    more = _which(group, tenant, every, partial, spread)
    if local:
        if group is None:
            stop(EXIT_USAGE, "without a controller groups go back one by one", "failback GROUP --now --local")
        if not now:
            stop(EXIT_USAGE, "without a controller there is no ramp", "failback GROUP --now --local moves all new calls at once")
        return Wish("", local=LocalWish("failback", "primary", group))
    if group is not None:
        return wish("groups", group, "failback", now=now)
    return wish("failback", now=now, **more)


def _which(group: str | None, tenant: str | None, every: bool, partial: bool, spread: str | None) -> dict[str, Any]:
    """Which groups a move of several is about, and how; empty for one group."""
    if [group is not None, tenant is not None, every].count(True) != 1:
        stop(EXIT_USAGE, "say which: GROUP, --tenant GLOB, or --all")
    if group is not None:
        if partial or spread is not None:
            stop(EXIT_USAGE, "--partial and --spread are for several groups", "--tenant GLOB or --all")
        return {}
    more: dict[str, Any] = {"all": True} if every else {"tenant": tenant}
    if partial:
        more["partial"] = True
    if spread is not None:
        more["spread_s"] = span_s(spread)
    return more


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
