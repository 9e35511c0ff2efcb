"""Tokens: who may use the API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sipctl.cli.client import Client, segment
from sipctl.cli.options import DryRunOption, Output, OutputOption, ReasonOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table, say, when


class Role(StrEnum):
    viewer = "viewer"
    editor = "editor"
    operator = "operator"
    admin = "admin"


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    token = typer.Typer(no_args_is_help=True, help="Who may use the API.")
    token.command("create")(token_create)
    token.command("ls")(token_ls)
    token.command("revoke")(token_revoke)
    app.add_typer(token, name="token")


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
