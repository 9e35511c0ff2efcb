"""What every write does: send it, print its operation id, wait until every router has it, end with the right code."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sipctl.cli.client import EXIT_TIMEOUT, EXIT_USAGE, ApiProblemError, Client, stop
from sipctl.cli.output import say

LONGEST_POLL_S: Final = 20.0
MAX_LISTED: Final = 20
_NOT_SHOWN: Final = frozenset({"findings", "dry_run", "revision", "base", "diff", "restart", "missing"})  # told in other words

_HTTP_OF: Final[Mapping[str, int]] = MappingProxyType({"refused": 409, "conflict": 409, "invalid": 422})


def carry_out(
    client: Client, path: str, body: Mapping[str, Any], *, reason: str, dry_run: bool, force: Sequence[str], timeout_s: float
) -> dict[str, Any]:
    """Do one write and print what became of it.

    Returns: the operation, done. Ends the command with 3 when a safety rule forbids it, 4 when it goes on beyond ``timeout_s``.
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
        raise
    identifier = operation.get("id")
    if identifier is None:
        return operation
    say(f"operation {identifier}{' (dry run: nothing changes)' if dry_run else ''}")
    while operation.get("ended_at_unix_s") is None:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            text = operation.get("text") or "it is under way"
            stop(
                EXIT_TIMEOUT,
                f"after {timeout_s:g} s: {text}; the operation goes on",
                f"sipctl status; GET /v1/operations/{identifier}",
            )
        operation = client.get(f"/v1/operations/{identifier}", {"wait": max(1, int(min(left_s, LONGEST_POLL_S)))}, timeout_s=60.0)
    if operation.get("status") != "done":
        raise _problem(operation)
    show(operation)
    return operation


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


def _show_facts(facts: Mapping[str, Any], of: str = "") -> None:
    """One line a fact; what is empty is left out."""
    for name, value in facts.items():
        words = f"{of}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            _show_facts(value, f"{words} ")
        elif name not in _NOT_SHOWN and value not in (None, "", []):
            say(f"  {words}: {_listed(value) if isinstance(value, list) else value}")


def _listed(values: list[Any]) -> str:
    rest = f" and {len(values) - MAX_LISTED} more" if len(values) > MAX_LISTED else ""
    return ", ".join(str(one) for one in values[:MAX_LISTED]) + rest
