"""What an operator asks of the plan, checked for form: `apply` brings files, `rollback` names a revision that brought them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sipctl.control.canary_state import is_share
from sipctl.control.case import MAX_TEXT
from sipctl.control.ports import Answer, Command

MAX_FILES: Final = 10_000
MAX_FILES_BYTES: Final = 64 << 20
OPS: Final = ("apply", "rollback")
CANARY_OPS: Final = ("canary-grow", "canary-promote", "canary-abort")
CANARY_FOR_S: Final = 600.0
MAX_CANARY_FOR_S: Final = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class CanaryRequest:
    """To a share of the callers first."""

    permille: int
    for_s: float | None  # then it is promoted if it is judged well; None: an operator does that


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A well-formed wish for another plan."""

    files: Mapping[str, str] = field(default_factory=dict)  # none yet, if it is a rollback
    base: int | None = None  # only if this revision is still live
    commit: str | None = None
    despite: tuple[str, ...] = ()  # "tests": although the plan's own tests fail
    again: bool = False  # although this content was rolled back
    rollback_to: int | None = None
    canary: CanaryRequest | None = None


def request_of(command: Command) -> PlanRequest | Answer:
    """The arguments of `apply` or `rollback`, or what is wrong with them."""
    if not command.reason.strip():
        return Answer(command.id, "invalid", "a change needs a reason", "reason-required", "--reason TEXT")
    if len(command.reason) > MAX_TEXT:
        return Answer(command.id, "invalid", f"a reason has at most {MAX_TEXT} characters", "reason-too-long")
    if command.break_glass:
        text = "an apply breaks no glass by itself"
        return Answer(command.id, "invalid", text, "bad-argument", "sipctl break-glass on, then apply --force RULE")
    args = command.args
    of_op = _wrong_in_rollback(args) if command.op == "rollback" else _wrong_in_files(args.get("files"))
    wrong = _wrong_in_both(args) or _wrong_in_canary(args) or of_op
    if wrong:
        return Answer(command.id, "invalid", wrong, "bad-argument")
    despite = args.get("despite") or ()
    return PlanRequest(
        files=dict(args.get("files") or {}), base=args.get("base"), commit=args.get("commit"),
        despite=(despite,) if isinstance(despite, str) else tuple(despite), again=args.get("again") or False,
        rollback_to=args["revision"] if command.op == "rollback" else None, canary=_canary_of(args),
    )  # fmt: skip


def _wrong_in_both(args: Mapping[str, Any]) -> str:
    base, commit, despite, again = args.get("base"), args.get("commit"), args.get("despite") or (), args.get("again")
    if base is not None and not _is_number(base):
        return "base is the number of a revision"
    if commit is not None and (not isinstance(commit, str) or len(commit) > MAX_TEXT):
        return f"commit is a text of at most {MAX_TEXT} characters"
    chosen = (despite,) if isinstance(despite, str) else despite
    if not isinstance(chosen, list | tuple) or any(one != "tests" for one in chosen):
        return "despite is tests or nothing"
    if again is not None and not isinstance(again, bool):
        return "again is true or false"
    return ""


def _canary_of(args: Mapping[str, Any]) -> CanaryRequest | None:
    if args.get("canary") is None:
        return None
    return CanaryRequest(args["canary"], args.get("canary_for_s", CANARY_FOR_S))


def _wrong_in_canary(args: Mapping[str, Any]) -> str:
    share, for_s = args.get("canary"), args.get("canary_for_s", CANARY_FOR_S)
    if share is None:
        return "canary_for_s goes with canary" if "canary_for_s" in args else ""
    if not is_share(share):
        return "canary is a share of 0.1% to 99.9% of the callers"
    is_number = isinstance(for_s, int | float) and not isinstance(for_s, bool)
    if for_s is not None and not (is_number and 1 <= for_s <= MAX_CANARY_FOR_S):
        return f"a canary runs for 1 s to {MAX_CANARY_FOR_S / 86400:g} days, or until an operator promotes it"
    return ""


def _wrong_in_rollback(args: Mapping[str, Any]) -> str:
    if args.get("canary") is not None:
        return "a rollback is for all callers at once"
    if "files" in args:
        return "a rollback brings no files"
    return "" if _is_number(args.get("revision")) else "revision is the number of the revision to go back to"


def _wrong_in_files(files: object) -> str:
    if not isinstance(files, Mapping) or not files or len(files) > MAX_FILES:
        return f"files is a map of 1 to {MAX_FILES} paths to their texts"
    if not all(isinstance(path, str) and isinstance(text, str) for path, text in files.items()):
        return "files is a map of paths to their texts"
    if any(path.startswith("/") or ".." in path.split("/") or "\0" in path for path in files):
        return "paths are relative to the folder and stay in it"
    if sum(len(text) for text in files.values()) > MAX_FILES_BYTES:
        return f"a plan has at most {MAX_FILES_BYTES >> 20} MiB"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
