"""Reads: the picture, its history, what is wrong, and who knocks without being in the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sipctl.cli.canary_commands import line as canary_line
from sipctl.cli.client import EXIT_UNHEALTHY, Client, segment
from sipctl.cli.entity_commands import print_entities, print_switched, section_of
from sipctl.cli.local_status import local_status
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import complain, moment, print_json, print_table, say, when
from sipctl.cli.writes import Wish, as_write, wish

LimitOption = Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many, newest first.")]
MARKS = ("held", "pinned", "latched", "frozen")


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command("status")(status)
    app.command("history")(history)
    app.command("strangers")(strangers)
    alarm_app = typer.Typer(invoke_without_command=True, help="Alarms that stand; `alarms ack ID` says that you look after one.")
    alarm_app.callback()(alarms)
    alarm_app.command("ack")(as_write(ack, forced=False, rehearsed=False, reason="seen"))
    app.add_typer(alarm_app, name="alarms")


def status(
    local: Annotated[
        bool, typer.Option("--local", help="From STATE and the routers themselves, controller dead or not.")
    ] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """The whole picture. Exit 1 if a group is not normal or an alarm stands."""
    if local:
        local_status(state_dir(state), output)
        return
    body = Client.find(state_dir(state)).get("/v1/status")
    if output is Output.json:
        print_json(body)
    else:
        _print_status(body)
    if is_unhealthy(body):
        raise typer.Exit(EXIT_UNHEALTHY)


def is_unhealthy(body: Mapping[str, Any]) -> bool:
    """A group that is not normal, or an alarm."""
    groups = (body.get("groups") or {}).values()
    return bool(body.get("alarms")) or any(group.get("state") != "normal" for group in groups)


def history(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Of one group; else of all.")] = None,
    limit: LimitOption = 50,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Decisions, newest first: when, what, why, who."""
    path = "/v1/decisions" if group is None else f"/v1/groups/{segment(group)}/decisions"
    body = Client.find(state_dir(state)).get(path, {"limit": limit})
    if output is Output.json:
        print_json(body)
        return
    rows = [
        (when(entry["at_unix_s"]), entry["group"], entry["epoch"] or None, entry["rule"], entry["actor"], entry["sentence"])
        for entry in body["decisions"]
    ]
    print_table("decisions", ("AT", "GROUP", "EPOCH", "RULE", "BY", "WHAT"), rows)


def alarms(context: typer.Context, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Alarms that stand; exit 1 if there is one."""
    if context.invoked_subcommand is not None:
        return
    body = Client.find(state_dir(state)).get("/v1/alarms")
    if output is Output.json:
        print_json(body)
    else:
        _print_alarms(body["alarms"])
    if body["alarms"]:
        raise typer.Exit(EXIT_UNHEALTHY)


def ack(identifier: Annotated[str, typer.Argument(metavar="ID")]) -> Wish:
    """Say that you look after an alarm; it stays until its cause is gone."""
    return wish("alarms", identifier, "ack")


def strangers(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Sources that send packets and are in no trunk and no SBC pair; they get no answer."""
    body = Client.find(state_dir(state)).get("/v1/strangers")
    if output is Output.json:
        print_json(body)
        return
    rows = [(one["address"], one["packets"], moment(one["last_seen"]), one.get("near")) for one in body["strangers"]]
    print_table("strangers", ("ADDRESS", "PACKETS", "LAST SEEN", "NEAR"), rows)


def _print_status(body: Mapping[str, Any]) -> None:
    routers = body.get("routers") or []
    calls = (body.get("calls") or {}).get("active", 0)
    say(
        f"revision {body.get('revision')}   automation {body.get('automation')}   routers {len(routers)}   "
        f"calls {calls}   data {body.get('age_s')} s old"
    )
    if (body.get("node") or {}).get("admin") not in (None, "enabled"):
        say(f"this node is {body['node']['admin']}: new calls get 503")
    controller = body.get("controller") or {}
    if controller.get("reachable") is False:
        complain(str(controller.get("text")))
    glass = body.get("break_glass")
    if glass:
        until = when(glass["until_unix_s"])
        say(f"!! THE GLASS IS BROKEN by {glass['by']} until {until}: {glass['reason']} (sipctl break-glass off)")
    if body.get("canary"):
        say(f"canary: {canary_line(body['canary'])} (sipctl canary show)")
    if body.get("folder_differs"):
        say(f"folder differs from live revision {body.get('revision')}: sipctl diff")
    rows = [
        (name, group.get("state"), group.get("active"), f"{group.get('bcp_percent')} %", _marks(group), group.get("epoch"),
         group.get("reason"))
        for name, group in sorted((body.get("groups") or {}).items())
    ]  # fmt: skip
    print_table("groups", ("GROUP", "STATE", "ACTIVE", "BCP", "MARKS", "EPOCH", "REASON"), rows)
    for kind in ("overlay", "switch"):
        told = {name: one for name, one in (body.get(section_of(kind)) or {}).items() if one.get("state") == "on"}
        if told:
            print_switched(kind, told)
    for kind in ("sbc", "trunk", "tenant"):
        print_entities(kind, body.get(f"{kind}s") or {})
    fields = ("name", "revision", "term", "seq", "pid")
    held = [[router.get(field) for field in fields] for router in routers]
    print_table("routers", ("ROUTER", "REVISION", "TERM", "SEQ", "PID"), held)
    _print_alarms(body.get("alarms") or [])
    if body.get("strangers"):
        say(f"strangers: {body['strangers']} (sipctl strangers)")


def _print_alarms(found: list[Mapping[str, Any]]) -> None:
    rows = [
        (alarm.get("id"), alarm.get("severity"), moment(alarm.get("since")), _acked(alarm), _alarm_text(alarm)) for alarm in found
    ]
    print_table("alarms", ("ID", "SEVERITY", "SINCE", "ACKED", "TEXT"), rows)


def _acked(alarm: Mapping[str, Any]) -> str | None:
    """Who looks after it, and why."""
    return f"{alarm['acked_by']}: {alarm.get('acked_reason') or 'seen'}" if alarm.get("acked_by") else None


def _alarm_text(alarm: Mapping[str, Any]) -> str:
    return f"{alarm.get('text')}" + (f" (flaps: raised {alarm.get('raises')} times)" if alarm.get("state") == "flapping" else "")


def _marks(group: Mapping[str, Any]) -> str:
    """What holds a group where it is."""
    words = []
    for mark in MARKS:
        value = group.get(mark)
        if isinstance(value, Mapping):
            words.append(f"{mark} at {value.get('to')} by {value.get('by')}")
        elif value is True or (value and mark == "frozen"):  # why it is frozen is the group's reason anyway
            words.append(mark)
        elif value:
            words.append(f"{mark} {value}")
    return ", ".join(words)
