"""Commands on the live plan: apply a folder, list revisions; and the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sipctl.cli.client import EXIT_REFUSED, ApiProblemError, Client, segment, stop
from sipctl.cli.findings import print_findings
from sipctl.cli.folder import known_base, read_plan, remember_base
from sipctl.cli.operate import carry_out
from sipctl.cli.options import (
    DEFAULT_TIMEOUT_S,
    DryRunOption,
    ForceOption,
    Output,
    OutputOption,
    ReasonOption,
    StateOption,
    TimeoutOption,
    state_dir,
)
from sipctl.cli.output import print_json, print_table, say, when


class Despite(StrEnum):
    tests = "tests"


class Role(StrEnum):
    viewer = "viewer"
    editor = "editor"
    operator = "operator"
    admin = "admin"


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command("apply")(apply)
    app.command("revisions")(revisions)
    token = typer.Typer(no_args_is_help=True, help="Who may use the API.")
    token.command("create")(token_create)
    token.command("ls")(token_ls)
    token.command("revoke")(token_revoke)
    app.add_typer(token, name="token")


def apply(
    reason: ReasonOption,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Holds dialplans/ and sbc_configs/.")] = Path(),
    base: Annotated[
        int | None,
        typer.Option(help="Only if this revision is still live; default: the one applied from DIR last.", metavar="REV"),
    ] = None,
    commit: Annotated[str | None, typer.Option(help="Where the folder comes from; the history keeps it.", metavar="ID")] = None,
    despite: Annotated[list[Despite], typer.Option(help="Apply although the plan's own tests fail.")] = [],  # noqa: B006
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Make the folder the live plan: checked, tested, kept as a revision, then carried by every router; or nothing changes."""
    files = read_plan(folder)
    where = state_dir(state)
    client = Client.find(where)
    if base is None:
        base = known_base(folder, where)
        base = _first_base(client, files) if base is None else base
    body = {"files": files, "base": base, "commit": commit, "despite": [word.value for word in despite]}
    try:
        done = carry_out(client, "/v1/revisions", body, reason=reason, dry_run=dry_run, force=force, timeout_s=timeout)
    except ApiProblemError as problem:
        print_findings(problem.body.get("body") or {}, folder)
        raise
    print_findings(done.get("body") or {}, folder)
    number = (done.get("body") or {}).get("revision")
    if not dry_run and isinstance(number, int):
        remember_base(folder, where, number)


def _first_base(client: Client, files: Mapping[str, str]) -> int | None:
    """The base of a folder that was never applied from: the live revision, if nobody applied anything since the first start."""
    live = _live(client)
    if live is None:
        return None
    number = int(live["number"])
    if live["base"] is not None and live["files"] != files:
        text = f"nothing was ever applied from this folder, and {live['author']} made revision {number} live: {live['reason']}"
        stop(EXIT_REFUSED, text, f"compare with `sipctl diff`, then --base {number}")
    return number


def _live(client: Client) -> Mapping[str, Any] | None:
    number = client.get("/v1/revisions", {"limit": 1}).get("live")
    return None if number is None else client.get(f"/v1/revisions/{number}")


def revisions(
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many, newest first.")] = 20,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Plans that were applied, newest first; `*` marks the live one."""
    body = Client.find(state_dir(state)).get("/v1/revisions", {"limit": limit})
    if output is Output.json:
        print_json(body)
        return
    rows = [
        ("*" if entry["number"] == body["live"] else " ", entry["number"], when(entry["at_unix_s"]), entry["author"],
         entry["commit"], entry["reason"])
        for entry in body["revisions"]
    ]  # fmt: skip
    print_table("revisions", (" ", "REVISION", "AT", "BY", "COMMIT", "REASON"), rows)


def token_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; the history names them by it.")],
    role: Annotated[Role, typer.Option(help="What they may do; each may do what those before it may.")],
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    state: StateOption = None,
) -> None:
    """Make a token and print it: now and never again."""
    body = {"name": name, "role": role.value, "reason": reason, "dry_run": dry_run}
    made = Client.find(state_dir(state)).post("/v1/tokens", body)
    say(made.get("token") or f"would make token {name} with role {role.value}")


def token_ls(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Every token, revoked ones too; never their secrets."""
    body = Client.find(state_dir(state)).get("/v1/tokens")
    if output is Output.json:
        print_json(body)
        return
    rows = [
        (entry["name"], entry["role"], when(entry["at_unix_s"]), entry["author"], when(entry["revoked_at_unix_s"]))
        for entry in body["tokens"]
    ]
    print_table("tokens", ("NAME", "ROLE", "MADE", "BY", "REVOKED"), rows)


def token_revoke(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    state: StateOption = None,
) -> None:
    """End a token at once."""
    body = {"reason": reason, "dry_run": dry_run}
    Client.find(state_dir(state)).post(f"/v1/tokens/{segment(name)}/revoke", body)
    say(f"token {name} {'would be' if dry_run else 'is'} revoked")
