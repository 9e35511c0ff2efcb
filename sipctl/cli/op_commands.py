"""Operations: what is under way, how far it is, what waits for a second person; and the glass."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_REFUSED, EXIT_TIMEOUT, EXIT_UNHEALTHY, EXIT_USAGE, Client, segment, stop
from sipctl.cli.operate import OF_USE, show
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table, say, when
from sipctl.cli.writes import Wish, as_write, wish

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="op-… of an operation; P-… of a proposal.")]
LimitOption = Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many operations, newest first.")]
WATCH_S: Final = 2  # between two looks at what goes on
_EXIT_OF: Final[Mapping[str, int]] = {
    "failed": EXIT_UNHEALTHY, "lost": EXIT_UNHEALTHY, "refused": EXIT_REFUSED, "conflict": EXIT_REFUSED, "invalid": EXIT_USAGE,
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    op = typer.Typer(no_args_is_help=True, help="Operations: what is under way, and what waits for a second person.")
    op.command("ls")(ls)
    op.command("show")(show_one)
    op.command("watch")(watch)
    op.command("abort")(as_write(abort))
    op.command("approve")(as_write(approve))
    op.command("reject")(as_write(reject, forced=False, rehearsed=False))
    app.add_typer(op, name="op")
    glass = typer.Typer(
        no_args_is_help=True, help="The way round approvals and safety rules, for an emergency; told to everybody."
    )
    glass.command("on")(as_write(break_glass_on, forced=False))
    glass.command("off")(as_write(break_glass_off, forced=False, rehearsed=False))
    app.add_typer(glass, name="break-glass")


def ls(limit: LimitOption = 20, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """What waits for a second person, and operations, newest first; those that go on say how far they are."""
    client = Client.find(state_dir(state))
    proposals = client.get("/v1/proposals")["proposals"]
    operations = client.get("/v1/operations", {"limit": limit})["operations"]
    for one in operations:
        if one.get("ended_at_unix_s") is None:
            one.update(client.get(f"/v1/operations/{segment(one['id'])}"))
    if output is Output.json:
        print_json({"proposals": proposals, "operations": operations})
        return
    if proposals:
        waiting = [
            (one["id"], when(one["until_unix_s"]), one["actor"], one["reason"], f"{one['text']} ({one['why']})")
            for one in proposals
        ]
        print_table("proposals", ("ID", "UNTIL", "BY", "REASON", "WHAT"), waiting)
    rows = [(one["id"], when(one["at_unix_s"]), one["actor"], one["op"], one["status"], _how_far(one)) for one in operations]
    print_table("operations", ("ID", "AT", "BY", "OP", "STATUS", "WHAT"), rows)


def show_one(identifier: IdArgument, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """One operation or proposal, with all it touches."""
    client = Client.find(state_dir(state))
    if identifier.startswith("P-"):
        found = next((one for one in client.get("/v1/proposals")["proposals"] if one["id"] == identifier), None)
        if found is None:
            stop(EXIT_USAGE, f"there is no proposal {identifier}", "it was decided, or its time is over: sipctl op ls")
        body: dict[str, Any] = {**found, "status": "waits for a second person"}
    else:
        body = client.get(f"/v1/operations/{segment(identifier)}")
    if output is Output.json:
        print_json(body)
        return
    say(f"{body['id']}: {body['op']} by {body['actor']} at {when(body['at_unix_s'])}: {body['status']}")
    say(f"  reason: {body['reason']}")
    if identifier.startswith("P-"):
        say(f"  needs: {' or '.join(body['by'])}, another token, until {when(body['until_unix_s'])}: {body['why']}")
    if body.get("progress"):
        say(f"  progress: {body['progress'].get('progress') or body['progress'].get('text')}")
    show(body)


def watch(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="op-… as a command printed it.")],
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to watch; then exit 4.", metavar="S")] = 86_400.0,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Follow an operation to its end: a line whenever something changes. Leave at any time, and come back to it by its id."""
    client, until_s, told = Client.find(state_dir(state)), time.monotonic() + timeout, ""
    while True:
        body = client.get(f"/v1/operations/{segment(identifier)}", {"wait": WATCH_S}, timeout_s=60.0)
        line = f"{body['status']}: {_how_far(body)}"
        if line != told:
            told = line
            if output is Output.json:
                print_json(body)
            else:
                say(line)
        if body.get("ended_at_unix_s") is not None:
            raise typer.Exit(_EXIT_OF.get(str(body["status"]), 0))
        if time.monotonic() >= until_s:
            stop(EXIT_TIMEOUT, f"after {timeout:g} s it goes on", f"sipctl op watch {identifier}")
        if body["status"] in OF_USE:
            time.sleep(min(WATCH_S, max(0.0, until_s - time.monotonic())))


def abort(identifier: Annotated[str, typer.Argument(metavar="ID", help="op-… of an operation that goes on.")]) -> Wish:
    """End an operation that goes on; it says what is undone and what stays."""
    return wish("operations", identifier, "abort")


def approve(identifier: Annotated[str, typer.Argument(metavar="ID", help="P-… of a proposal.")]) -> Wish:
    """Agree to what somebody else proposed: it is done, exactly as proposed. Refused if the world has changed since."""
    return wish("proposals", identifier, "approve")


def reject(identifier: Annotated[str, typer.Argument(metavar="ID", help="P-… of a proposal.")]) -> Wish:
    """Say that nobody shall approve it any more; your own you take back this way."""
    return wish("proposals", identifier, "reject")


def break_glass_on() -> Wish:
    """Approvals do not stop you, nor safety rules you force by name; for a time the plan sets, and told to everybody."""
    return wish("break-glass", state="on")


def break_glass_off() -> Wish:
    """It is over before its time."""
    return wish("break-glass", state="off")


def _how_far(body: Mapping[str, Any]) -> str:
    """An operation's sentence, or what the controller says of it now, with the forecast of a drain."""
    progress, forecast = body.get("progress") or {}, body.get("forecast") or {}
    text = str(progress.get("progress") or progress.get("text") or body.get("text") or "")
    return f"{text}; {forecast['text']}" if forecast.get("up") else text
