"""Commands that move groups, hold them, and let them go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sipctl.cli.client import EXIT_USAGE, Client, segment, stop
from sipctl.cli.operate import carry_out
from sipctl.cli.options import (
    DEFAULT_TIMEOUT_S,
    DryRunOption,
    ForceOption,
    ReasonOption,
    Side,
    StateOption,
    TimeoutOption,
    state_dir,
)

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Name of a continuity group.")]
ToOption = Annotated[Side, typer.Option("--to", help="Which tenant takes new calls.")]


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command("failover")(failover)
    app.command("failback")(failback)
    app.command("pin")(pin)
    app.command("unpin")(unpin)
    app.command("unlatch")(unlatch)
    automation = typer.Typer(no_args_is_help=True, help="Pause or resume what moves groups by itself.")
    automation.command("pause")(automation_pause)
    automation.command("resume")(automation_resume)
    app.add_typer(automation, name="automation")


def failover(
    to: ToOption,
    reason: ReasonOption,
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Name of a continuity group.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Every group whose tenant matches this pattern.", metavar="GLOB")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every group.")] = False,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006 - typer copies it
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    local: Annotated[bool, typer.Option("--local", help="Not built yet: without a controller.", hidden=True)] = False,
    state: StateOption = None,
) -> None:
    """Send new calls to the other tenant and hold them there until failback; calls that are up stay up."""
    if local:
        stop(EXIT_USAGE, "`failover --local` is not built yet", "a controller that died is back by itself: sipctl status")
    if [group is not None, tenant is not None, every].count(True) != 1:
        stop(EXIT_USAGE, "say which: GROUP, --tenant GLOB, or --all")
    body: dict[str, Any] = {"to": to.value}
    path = "/v1/failover"
    if group is not None:
        path = f"/v1/groups/{segment(group)}/failover"
    elif every:
        body["all"] = True
    else:
        body["tenant"] = tenant
    carry_out(Client.find(state_dir(state)), path, body, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)


def failback(
    group: GroupArgument,
    reason: ReasonOption,
    now: Annotated[bool, typer.Option("--now", help="No ramp: all new calls at once.")] = False,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Let a group return to its primary tenant, by its ramp."""
    path, client = f"/v1/groups/{segment(group)}/failback", Client.find(state_dir(state))
    carry_out(client, path, {"now": now}, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)


def pin(
    group: GroupArgument,
    to: ToOption,
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Keep a group where you say: nothing automatic moves it, and no call crosses."""
    path, client = f"/v1/groups/{segment(group)}/pin", Client.find(state_dir(state))
    carry_out(client, path, {"to": to.value}, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)


def unpin(
    group: GroupArgument,
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Let automation move a group again."""
    path, client = f"/v1/groups/{segment(group)}/unpin", Client.find(state_dir(state))
    carry_out(client, path, {}, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)


def unlatch(
    group: GroupArgument,
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Let a group fail back again after too many moves."""
    path, client = f"/v1/groups/{segment(group)}/unlatch", Client.find(state_dir(state))
    carry_out(client, path, {}, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)


def automation_pause(
    reason: ReasonOption, dry_run: DryRunOption = False, timeout: TimeoutOption = DEFAULT_TIMEOUT_S, state: StateOption = None
) -> None:
    """Nothing moves by itself any more, but for one call's advance to the next SBC."""
    client = Client.find(state_dir(state))
    carry_out(client, "/v1/automation", {"state": "pause"}, reason=reason, dry_run=dry_run, force=(), timeout_s=timeout)


def automation_resume(
    reason: ReasonOption, dry_run: DryRunOption = False, timeout: TimeoutOption = DEFAULT_TIMEOUT_S, state: StateOption = None
) -> None:
    """Let automation move groups again."""
    client = Client.find(state_dir(state))
    carry_out(client, "/v1/automation", {"state": "resume"}, reason=reason, dry_run=dry_run, force=(), timeout_s=timeout)
