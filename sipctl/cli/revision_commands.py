"""`sipctl revisions`: every plan that was ever applied, and one of them whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sipctl.cli.client import Client
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table, say, when


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    part = typer.Typer(help="Plans that were applied.", invoke_without_command=True)
    part.callback()(revisions)
    part.command("show")(show)
    app.add_typer(part, name="revisions")


def revisions(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many, newest first.")] = 20,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Plans that were applied, newest first; `*` marks the live one. `revisions show REV` tells one of them whole."""
    if context.invoked_subcommand is not None:
        return
    body = Client.find(state_dir(state)).get("/v1/revisions", {"limit": limit})
    if output is Output.json:
        print_json(body)
        return
    rows = [
        ("*" if entry["number"] == body["live"] else " ", entry["number"], when(entry["at_unix_s"]), entry["author"],
         entry["commit"], _said(entry))
        for entry in body["revisions"]
    ]  # fmt: skip
    print_table("revisions", (" ", "REVISION", "AT", "BY", "COMMIT", "REASON"), rows)


def show(
    revision: Annotated[int, typer.Argument(min=1, metavar="REV")],
    files: Annotated[bool, typer.Option("--files", help="Also the files, whole.")] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """One revision: who made it, why, from what, and what it changed for calls."""
    body = Client.find(state_dir(state)).get(f"/v1/revisions/{revision}")
    if output is Output.json:
        print_json(body if files else {**body, "files": sorted(body["files"])})
        return
    live = body.get("ended") or "never live: the apply that kept it did not get that far"
    facts = (
        ("revision", body["number"]), ("by", body["author"]), ("reason", body["reason"]), ("commit", body["commit"]),
        ("kept", when(body["at_unix_s"])), ("live since", when(body["live_at_unix_s"]) if body["live_at_unix_s"] else live),
        ("made from", body["base"]), ("back to", body.get("rollback_to")), ("despite", ", ".join(body.get("despite") or ())),
        ("again", "rolled back before, and applied all the same" if body.get("again") else None),
        ("canary", f"{body['canary'] / 10:g}% of the callers had it first" if body.get("canary") else None),
        ("content", (body.get("content") or "")[:16]), ("files", len(body["files"])),
    )  # fmt: skip
    for name, value in facts:
        if value not in (None, ""):
            say(f"{name:<10}  {value}")
    if body.get("diff"):
        say("changed for calls:")
        for line in body["diff"]:
            say(f"  {line}")
    for path, text in sorted(body["files"].items()) if files else ():
        say(f"--- {path}\n{text}")


def _said(entry: Mapping[str, Any]) -> str:
    """The reason, and what is unusual about the revision."""
    marks = [f"back to {entry['rollback_to']}"] if entry.get("rollback_to") else []
    marks += [f"despite {', '.join(entry['despite'])}"] if entry.get("despite") else []
    marks += [_unlived(entry)] if entry.get("live_at_unix_s") is None else []
    return f"{entry['reason']} ({'; '.join(marks)})" if marks else str(entry["reason"])


def _unlived(entry: Mapping[str, Any]) -> str:
    """Why a revision never was live."""
    if entry.get("fell"):
        return "rolled back by canary"
    return ("canary aborted" if entry.get("ended") else "as a canary") if entry.get("canary") else "never live"
