"""What every write does: send it, print its operation id, wait until every router has it, end with the right code."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import typer

from sipctl.cli.client import EXIT_TIMEOUT, EXIT_UNHEALTHY, EXIT_USAGE, ApiProblemError, Client, stop
from sipctl.cli.output import say, when

LONGEST_POLL_S: Final = 20.0
MAX_LISTED: Final = 20
_NOT_SHOWN: Final = frozenset(
    {"findings", "dry_run", "revision", "base", "diff", "restart", "missing", "would", "proposal"}
)  # told in other words

OF_USE: Final = ("done", "going", "proposed")  # what a write may come to without being a failure
_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "of_numbers": "of all numbers, %", "of_calls": "of all calls up, %", "cps_about": "new calls/s, about",
        "until_unix_s": "until", "overruled": "rules overruled",
    }
)  # fmt: skip
_HTTP_OF: Final[Mapping[str, int]] = MappingProxyType({"refused": 409, "conflict": 409, "invalid": 422})


def carry_out(
    client: Client, path: str, body: Mapping[str, Any], *, reason: str, dry_run: bool, force: Sequence[str], timeout_s: float
) -> dict[str, Any]:
    """Do one write and print what became of it.

    Returns: the operation: done; or going, once every router has it; or proposed, where it takes a second person. Ends the
        command with 3 when a safety rule forbids it, 4 when it is not everywhere after ``timeout_s`` and goes on.
    """
    if not reason.strip():
        stop(EXIT_USAGE, "a write needs a reason", '--reason "CHG0042 tenant patch"')
    until_s = time.monotonic() + timeout_s
    sent = {**body, "reason": reason, "dry_run": dry_run, "force": list(force)}
    try:
        operation = client.post(path, sent, timeout_s=max(30.0, timeout_s))
    except ApiProblemError as problem:
        if problem.body.get("operation"):
            say(f"operation {problem.body['operation']}")
        _show_results(problem.body.get("body") or {})
        raise
    identifier = operation.get("id")
    if identifier is None:
        return operation
    say(f"operation {identifier}{' (dry run: nothing changes)' if dry_run else ''}")
    while operation.get("ended_at_unix_s") is None and operation.get("status") != "going":
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            text = operation.get("text") or "it is under way"
            stop(
                EXIT_TIMEOUT,
                f"after {timeout_s:g} s: {text}; the operation goes on",
                f"sipctl op watch {identifier}",
            )
        operation = client.get(f"/v1/operations/{identifier}", {"wait": max(1, int(min(left_s, LONGEST_POLL_S)))}, timeout_s=60.0)
    if operation.get("status") not in OF_USE:
        _show_results(operation.get("body") or {})
        raise _problem(operation)
    show(operation)
    if operation.get("status") == "going":
        say(f"it goes on: sipctl op watch {identifier}")
    if operation.get("status") == "proposed":
        say(f"sipctl op approve {(operation.get('body') or {}).get('proposal')} --reason …, with the token of somebody else")
    return operation


def confirm(client: Client, path: str, body: Mapping[str, Any], *, reason: str, force: Sequence[str]) -> None:
    """Show what a write would touch and ask, where somebody sits at a terminal; ends the command with 1 if the answer is no."""
    if not sys.stdin.isatty() or not reason.strip():
        return
    operation = client.post(path, {**body, "reason": reason, "dry_run": True, "force": list(force)})
    show(operation)
    if not typer.confirm("Go ahead?"):
        stop(EXIT_UNHEALTHY, "nothing was changed")


def _problem(operation: Mapping[str, Any]) -> ApiProblemError:
    """The same problem the API answers with when it is known at once; here it took its time."""
    status = str(operation.get("status"))
    text, code = operation.get("text") or "it did not work", operation.get("code")
    body = {"detail": text, "code": status, "rule": code, "hint": operation.get("hint"), "body": operation.get("body")}
    return ApiProblemError(_HTTP_OF.get(status, 500), {**body, "operation": operation.get("id")})


def show(operation: Mapping[str, Any]) -> None:
    """The operation's sentence, and what it touched."""
    if operation.get("text"):
        say(str(operation["text"]))
    _show_facts(operation.get("body") or {})
    if (operation.get("forecast") or {}).get("up"):
        say(f"  drained: {operation['forecast']['text']}")


def _show_results(body: Mapping[str, Any]) -> None:
    """What each group of a refused command said."""
    for name, told in (body.get("results") or {}).items():
        say(f"  {name}: {told}")


def _show_facts(facts: Mapping[str, Any], of: str = "") -> None:
    """One line a fact; what is empty is left out."""
    for name, value in facts.items():
        words = f"{of}{_LABELS.get(name, str(name).replace('_', ' '))}"
        if name == "until_unix_s":
            value = when(value)
        if isinstance(value, Mapping):
            _show_facts(value, f"{words} ")
        elif name not in _NOT_SHOWN and value not in (None, "", []):
            say(f"  {words}: {_listed(value) if isinstance(value, list) else value}")


def _listed(values: list[Any]) -> str:
    rest = f" and {len(values) - MAX_LISTED} more" if len(values) > MAX_LISTED else ""
    return ", ".join(str(one) for one in values[:MAX_LISTED]) + rest
