"""Commands on SBCs, trunks, tenants and the node: list, drain, enable, disable, probe, allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import Client, segment
from sipctl.cli.operate import carry_out
from sipctl.cli.options import (
    DEFAULT_TIMEOUT_S,
    DryRunOption,
    ForceOption,
    MoveOption,
    Output,
    OutputOption,
    ReasonOption,
    StateOption,
    TimeoutOption,
    state_dir,
)
from sipctl.cli.output import moment, print_json, print_table

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
ADMIN: Final = (
    ("enable", "enabled", "Let it take calls again."),
    ("drain", "draining", "It takes no new calls and keeps the old ones."),
    ("disable", "disabled", "It takes no new calls; probes stop."),
)
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "sbc": ("operating", "admin", "calls", "resting_s", "reason"),
    "trunk": ("admin", "calls", "cps", "last_invite"),
    "tenant": ("operating", "admin", "calls"),
}


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    for kind, help_text, moves in (
        ("sbc", "SBCs: what they measure, what you wish.", True),
        ("trunk", "Trunks: who sends us calls.", False),
        ("tenant", "Tenants: who takes calls.", True),
    ):
        group = typer.Typer(no_args_is_help=True, help=help_text)
        group.command("ls", help=f"List every {kind}.")(_lister(kind))
        for verb, state, text in ADMIN:
            group.command(verb, help=text)(_mover(kind, state) if moves else _setter(kind, state))
        if kind == "sbc":
            group.command("probe")(probe)
        if kind == "trunk":
            group.command("allow")(allow)
        app.add_typer(group, name=kind)
    node = typer.Typer(no_args_is_help=True, help="This node: drain it before an update, enable it after.")
    node.command("drain")(node_drain)
    node.command("enable")(node_enable)
    app.add_typer(node, name="node")


def probe(
    name: NameArgument, reason: ReasonOption = "probe now", timeout: TimeoutOption = DEFAULT_TIMEOUT_S, state: StateOption = None
) -> None:
    """Send OPTIONS to an SBC now; `sipctl sbc ls` shows what came of it."""
    client = Client.find(state_dir(state))
    carry_out(client, f"/v1/sbcs/{segment(name)}/probe", {}, reason=reason, dry_run=False, force=(), timeout_s=timeout)


def allow(
    name: NameArgument,
    cidr: Annotated[str, typer.Argument(metavar="CIDR", help="Such as 192.0.2.0/28.")],
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="RFC 3339, such as 2026-11-23T06:00:00Z.")],
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006 - typer copies it
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Let a trunk call from more addresses for a time: a carrier that calls from its disaster-recovery site."""
    client, body = Client.find(state_dir(state)), {"cidr": cidr, "until": until}
    path = f"/v1/trunks/{segment(name)}/allow"
    carry_out(client, path, body, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)


def node_drain(
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """OPTIONS and new INVITEs get 503; calls that are up go on."""
    body = {"state": "draining"}
    carry_out(
        Client.find(state_dir(state)), "/v1/node/admin", body, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout
    )  # fmt: skip


def node_enable(
    reason: ReasonOption, dry_run: DryRunOption = False, timeout: TimeoutOption = DEFAULT_TIMEOUT_S, state: StateOption = None
) -> None:
    """Take new calls again."""
    body = {"state": "enabled"}
    carry_out(Client.find(state_dir(state)), "/v1/node/admin", body, reason=reason, dry_run=dry_run, force=(), timeout_s=timeout)


def print_entities(kind: str, entities: Mapping[str, Mapping[str, Any]]) -> None:
    columns = COLUMNS[kind]
    rows = [[name, *(_told(entity, column) for column in columns)] for name, entity in sorted(entities.items())]
    print_table(f"{kind}s", [kind.upper(), *(column.upper().replace("_", " ") for column in columns)], rows)


def _told(entity: Mapping[str, Any], column: str) -> Any:
    value = entity.get(column)
    if column == "last_invite":
        return moment(value)
    if column == "reason" and entity.get("suspect"):
        return f"suspect: its last INVITE got no reply; {value}"
    return value


def _lister(kind: str) -> Callable[..., None]:
    def ls(output: OutputOption = Output.table, state: StateOption = None) -> None:
        entities = Client.find(state_dir(state)).get("/v1/status").get(f"{kind}s") or {}
        if output is Output.json:
            print_json(entities)
        else:
            print_entities(kind, entities)

    return ls


def _mover(kind: str, wished: str) -> Callable[..., None]:
    def change(
        name: NameArgument,
        reason: ReasonOption,
        move: MoveOption = False,
        dry_run: DryRunOption = False,
        force: ForceOption = [],  # noqa: B006
        timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
        state: StateOption = None,
    ) -> None:
        body = {"state": wished, "move": move}
        path, client = f"/v1/{kind}s/{segment(name)}/admin", Client.find(state_dir(state))
        carry_out(client, path, body, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)

    return change


def _setter(kind: str, wished: str) -> Callable[..., None]:
    def change(
        name: NameArgument,
        reason: ReasonOption,
        dry_run: DryRunOption = False,
        force: ForceOption = [],  # noqa: B006
        timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
        state: StateOption = None,
    ) -> None:
        path, client = f"/v1/{kind}s/{segment(name)}/admin", Client.find(state_dir(state))
        carry_out(client, path, {"state": wished}, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)

    return change
