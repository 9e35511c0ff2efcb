"""`sipctl apply` and `sipctl rollback`: shown first, then done.

Both ask the controller twice. The first time nothing changes: it compiles, tests and judges, and says what would become of calls.
The second time it does just that, or refuses if somebody applied in between; what it compiled it still has.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sipctl.cli.canary_commands import CanaryForOption, CanaryHoldOption, CanaryOption, canary_body
from sipctl.cli.client import EXIT_OK, EXIT_REFUSED, ApiProblemError, Client, segment, stop
from sipctl.cli.findings import print_findings
from sipctl.cli.folder import known_base, read_plan, remember_base
from sipctl.cli.operate import carry_out
from sipctl.cli.options import (
    DEFAULT_TIMEOUT_S,
    DryRunOption,
    ForceOption,
    ReasonOption,
    StateOption,
    TimeoutOption,
    state_dir,
)
from sipctl.cli.output import complain, say

MAX_SINCE_LINES: Final = 10  # of each revision that came in between


class Despite(StrEnum):
    tests = "tests"


AgainOption = Annotated[bool, typer.Option("--again", help="Although this very content was rolled back before.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; nobody is asked where stdin is no terminal.")]


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command("apply")(apply)
    app.command("rollback")(rollback)


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of the plan, on its way."""

    client: Client
    path: str
    body: Mapping[str, Any]
    reason: str
    force: list[str]
    timeout_s: float
    folder: Path = Path()

    def send(self, *, dry_run: bool, base: int | None) -> dict[str, Any]:
        """Do it or rehearse it; findings and conflicts are told. Returns: the operation's body."""
        sent = {**self.body, "base": base}
        try:
            done = carry_out(
                self.client, self.path, sent, reason=self.reason, dry_run=dry_run, force=self.force, timeout_s=self.timeout_s
            )
        except ApiProblemError as problem:
            found = problem.body.get("body") or {}
            print_findings(found, self.folder)
            _say_since(found)
            raise
        return dict(done.get("body") or {})


def apply(
    reason: ReasonOption,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Holds dialplans/ and sbc_configs/.")] = Path(),
    base: Annotated[
        int | None,
        typer.Option(help="Only if this revision is still live; default: the one applied from DIR last.", metavar="REV"),
    ] = None,
    commit: Annotated[str | None, typer.Option(help="Where the folder comes from; the history keeps it.", metavar="ID")] = None,
    despite: Annotated[list[Despite], typer.Option(help="Apply although the plan's own tests fail; an alarm says so.")] = [],  # noqa: B006
    again: AgainOption = False,
    canary: CanaryOption = None,
    canary_for: CanaryForOption = None,
    canary_hold: CanaryHoldOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Make the folder the live plan: checked, tested, shown, kept as a revision, carried by every router; or nothing changes."""
    first = canary_body(canary, canary_for, canary_hold)
    files = read_plan(folder)
    where = state_dir(state)
    client = Client.find(where)
    if base is None:
        base = known_base(folder, where)
        base = _first_base(client, files) if base is None else base
    body = {"files": files, "commit": commit, "despite": [word.value for word in despite], "again": again, **first}
    number = _show_and_do(_Change(client, "/v1/revisions", body, reason, force, timeout, folder), base, dry_run, yes)
    if number is not None:
        remember_base(folder, where, number)
        if canary is not None:
            say("sipctl canary show tells how it goes; grow, promote and abort change it")


def rollback(
    revision: Annotated[int, typer.Argument(min=1, metavar="REV", help="Whose content is to be live again.")],
    reason: ReasonOption,
    again: AgainOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    force: ForceOption = [],  # noqa: B006
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    state: StateOption = None,
) -> None:
    """Make the content of an older revision live again, as a new revision; tests of the plan do not stop it."""
    client = Client.find(state_dir(state))
    live = client.get("/v1/revisions", {"limit": 1}).get("live")
    path = f"/v1/revisions/{segment(str(revision))}/rollback"
    _show_and_do(_Change(client, path, {"again": again}, reason, force, timeout), live, dry_run, yes)


def _show_and_do(change: _Change, base: int | None, dry_run: bool, yes: bool) -> int | None:
    """Rehearse, show, ask if there is somebody, do. Returns: the revision that is live now; None after a dry run."""
    shown = change.send(dry_run=True, base=base)
    print_findings(shown, change.folder)
    if "dry_run" not in shown:  # it is live already
        return None if dry_run else _number(shown)
    _say_diff(shown)
    if dry_run:
        return None
    if not yes and sys.stdin.isatty() and not typer.confirm("apply this?"):
        say("nothing was changed")
        raise typer.Exit(EXIT_OK)
    return _number(change.send(dry_run=False, base=base if base is not None else shown.get("base")))


def _number(body: Mapping[str, Any]) -> int | None:
    number = body.get("revision")
    return number if isinstance(number, int) else None


def _say_diff(body: Mapping[str, Any]) -> None:
    lines = [str(line) for line in body.get("diff") or ()]
    say("what changes for calls:" if lines else "no call changes")
    for line in lines:
        say(f"  {line}")
    if body.get("restart"):
        complain("some of it takes effect with the next start of `sipctl run` only: it is marked")


def _say_since(body: Mapping[str, Any]) -> None:
    """What others made live since the base of the second of two editors."""
    for one in body.get("since") or ():
        back = f", back to {one['rollback_to']}" if one.get("rollback_to") else ""
        say(f"revision {one.get('revision')} by {one.get('author')}{back}: {one.get('reason')}")
        lines = [str(line) for line in one.get("diff") or ()]
        for line in lines[:MAX_SINCE_LINES]:
            say(f"  {line}")
        if len(lines) > MAX_SINCE_LINES:
            say(f"  … and {len(lines) - MAX_SINCE_LINES} more: sipctl revisions show {one.get('revision')}")


def _first_base(client: Client, files: Mapping[str, str]) -> int | None:
    """The base of a folder that was never applied from: the live revision, if nobody applied anything since the first start."""
    number = client.get("/v1/revisions", {"limit": 1}).get("live")
    if number is None:
        return None
    live = client.get(f"/v1/revisions/{number}")
    if live["base"] is not None and live["files"] != files:
        text = f"nothing was ever applied from this folder, and {live['author']} made revision {number} live: {live['reason']}"
        stop(EXIT_REFUSED, text, f"compare with `sipctl diff`, then --base {number}")
    return int(number)
