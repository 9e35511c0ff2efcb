"""`sipctl route … --save-as-test FILE`: the question and its answer become a test of the plan.

Nothing is written before the whole folder, with the new test in it, was compiled and the test passed: what cannot be said in a
test (a ramp half way, an SBC that rests) is refused here, not by the next `sipctl check`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sipctl.cli.client import EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.findings import finding_lines
from sipctl.cli.folder import plan_files
from sipctl.cli.output import say
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.saved_test import CannotInsertError, as_lines, with_test
from sipctl.dialplan.source import PLAN_FOLDER, is_plan_file

MAX_NAME: Final = 120


def the_test(body: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """A test as FORMATS §1 has it, made of a question and its answer (`RouteAnswer.body`)."""
    return {
        "name": name or _sentence(body),
        "call": body["number"],
        "trunk": body["trunk"],
        "from": body.get("from"),
        "at": body.get("at"),
        "given": body.get("given") or {},
        "expect": _expected(body),
    }


def save_test(target: Path, folder: Path | None, test: Mapping[str, Any]) -> str:
    """Write a test into a file of a plan's dialplans/ folder; returns what was done.

    Args:
        target: the file; it may be new. folder: the plan's DIR, if it was named; else it is found from the file.
    Ends the command with 2 if the file is no place for tests or the plan has errors, with 1 if the test would not pass.
    """
    home, path = _place(target, folder)
    files = plan_files(home)
    before = files.get(path, b"")
    try:
        text = with_test(before.decode("utf-8-sig"), test)
    except (CannotInsertError, UnicodeDecodeError) as error:
        stop(EXIT_USAGE, f"{path}: {error}", "put it there by hand:\n" + as_lines(test))
    mark = b"\xef\xbb\xbf" if before.startswith(b"\xef\xbb\xbf") else b""
    after = mark + text.encode()
    compiled = compile_plan({**files, path: after}, {}, revision=0)
    if not compiled.image:
        errors = [finding for finding in compiled.findings if finding.severity == "error"]
        for finding in errors:
            say("\n".join(finding_lines(finding, home)))
        stop(EXIT_USAGE, "nothing was saved: the plan has errors", "sipctl check")
    known = {(finding.path, finding.message) for finding in compile_plan(files, {}, revision=0).findings}
    ours = [one for one in compiled.findings if one.code == "test.failed" and (one.path, one.message) not in known]
    if ours:
        why = ours[0].message.removeprefix(f"{test['name']}: ")
        stop(EXIT_UNHEALTHY, f"nothing was saved: in this folder the test fails: {why}", ours[0].hint)
    _write(home / path, after)
    return f"saved in {(home / path).as_posix()}: {test['name']}"


def _expected(body: Mapping[str, Any]) -> dict[str, Any]:
    if body["refused"] is not None:
        return {"refused": {"code": body["refused"], "cause": body["q850_cause"]}}
    targets = body["targets"]
    first = targets[0]
    kind, stands_for, name = str(first["tenant"]).partition(":")  # "exit:NAME" and "pair:NAME" are no tenants of the plan
    return {
        "entry_point": body["entry_point"],
        "group": body["group"],
        "tenant": None if stands_for else kind,
        "exit": name if kind == "exit" and stands_for else None,
        "called": str(first["uri"]).removeprefix("sip:").partition("@")[0].partition(";")[0],
        "sbcs": [target["sbc"] for target in targets],
    }


def _sentence(body: Mapping[str, Any]) -> str:
    what = f"{body['number']} "
    if body["refused"] is not None:
        what += f"is refused with {body['refused']}"
    else:
        what += f"goes to {body['entry_point']} at {body['targets'][0]['tenant']}"
    said: list[str] = []
    for section, states in (body.get("given") or {}).items():
        if isinstance(states, Mapping):
            said += [
                f"{name} has {state} calls" if section == "calls" else f"{name} is {state}" for name, state in states.items()
            ]
        else:
            said += [f"{name} is on" for name in states]
    what += f", at {body['at']}" if body.get("at") else ""
    return (what + (f", while {', '.join(said)}" if said else ""))[:MAX_NAME]


def _place(target: Path, folder: Path | None) -> tuple[Path, str]:
    """(DIR, path of the file in it with "/")."""
    whole = target.resolve()
    if folder is None:
        homes = [parent.parent for parent in whole.parents if parent.name == PLAN_FOLDER.rstrip("/")]
        if not homes:
            stop(EXIT_USAGE, f"{target} is in no {PLAN_FOLDER} folder, so `sipctl check` would not read it", "name a file in it")
        folder = homes[0]
    home = folder.resolve()
    path = whole.relative_to(home).as_posix() if whole.is_relative_to(home) else ""
    if not path.startswith(PLAN_FOLDER) or not is_plan_file(path, PLAN_FOLDER):
        stop(EXIT_USAGE, f"{target} is no YAML file in {(folder / PLAN_FOLDER).as_posix()}", "e.g. dialplans/tests.yaml")
    if not whole.parent.is_dir():
        stop(EXIT_USAGE, f"there is no folder {target.parent}", "create it first")
    return home, path


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, with the file's own mode."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o7777)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        stop(EXIT_USAGE, f"{path} cannot be written: {error.strerror or error}")
