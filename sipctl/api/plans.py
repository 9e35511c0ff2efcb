"""Questions about whole plans: `diff`, `numbers`, `replay`, answered by the command of that name in a child process.

A plan of a million numbers takes seconds to compile, and call records are read by the gigabyte; the desk does neither. It writes
the revisions asked about to a folder of the child's own, lets the command answer as JSON, and passes that on: so the API says
what the command line says. A child has a time, a memory and a size of answer that it may not pass, and runs at low priority.
MAX_AT_ONCE run beside each other; who comes on top is told to come back.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from sipctl.api.bodies import MAX_STRING_CHARACTERS, query_int, query_number, query_text, read_body
from sipctl.api.context import STATE
from sipctl.api.problems import Problem, json_answer
from sipctl.api.state import DeskState

MAX_AT_ONCE: Final = 2
TIMEOUT_S: Final = 120.0
REPLAY_TIMEOUT_S: Final = 600.0
MAX_MEMORY_BYTES: Final = 4 << 30
MAX_ANSWER_BYTES: Final = 64 << 20
MAX_SAID_BYTES: Final = 4_000
MAX_ROWS: Final = 10_000  # of numbers in one answer
MAX_SCENES: Final = 64  # states given to a replay
NICE: Final = 10
LIVE: Final = "live"
_MAIN: Final = "from sipctl.cli.main import main; main()"
_ANSWERED: Final = (0, 1)  # exit codes of a command that had an answer
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
_running = web.AppKey("plan_questions", list)


class Replay(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Call records of this STATE through two revisions."""

    old: str = LIVE  # live, a revision's number, or logged: what the routers did
    new: str
    given: list[str] = []  # NAME=STATE[@FROM..TO]
    only_new: bool = False  # what is given holds for the new plan only


async def diff(request: web.Request) -> web.StreamResponse:
    """What becomes of calls from one revision to another."""
    old, new = query_text(request, "from") or LIVE, query_text(request, "to") or LIVE
    return json_answer(await _asked(request, ("diff",), (("", old), ("", new)), labels=("from", "to")))


async def numbers(request: web.Request) -> web.StreamResponse:
    """What numbers there are in a revision; or, of one number, who has it, and by which line."""
    named = query_text(request, "revision") or LIVE
    number = query_number(request, "number")
    if number is not None:
        if number.startswith("-"):
            raise Problem(400, "bad-request", f"{number} is no number")
        return json_answer(await _asked(request, ("numbers", "where", number), (("--config", named),), labels=("asked",)))
    limit = query_int(request, "limit", 1_000, 1, MAX_ROWS)
    argv = ["numbers", "list", "--limit", str(limit)]
    for name in ("entry_point", "group", "tenant"):
        wanted = query_text(request, name)
        argv += [] if wanted is None else [f"--{name.replace('_', '-')}={wanted}"]
    prefix = query_number(request, "prefix")
    argv += [] if prefix is None else [f"--prefix={prefix}"]
    return json_answer(await _asked(request, argv, (("--config", named),), labels=("asked",)))


async def replay(request: web.Request) -> web.StreamResponse:
    """What if: the calls that were, through two plans."""
    body = await read_body(request, Replay)
    if len(body.given) > MAX_SCENES or any(len(text) > MAX_STRING_CHARACTERS for text in body.given):
        raise Problem(400, "bad-request", f"{len(body.given)} states are given, {MAX_SCENES} is the most")
    argv = ["replay", "--state", str(_state_dir(request)), *(f"--given={text}" for text in body.given)]
    argv += ["--only-new"] if body.only_new else []
    sides = (("--old", body.old), ("--new", body.new))
    return json_answer(await _asked(request, argv, sides, labels=("old", "new"), timeout_s=REPLAY_TIMEOUT_S))


async def _asked(
    request: web.Request, argv: Sequence[str], plans: Sequence[tuple[str, str]], *, labels: Sequence[str],
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:  # fmt: skip
    """The command's answer.

    Args:
        plans: (option, revision) of each plan it is about; "" where it stands alone.
        labels: keys of the answer under which the command calls these plans by name.
    Raises: Problem 404 for no such revision, 400 for what the command refuses, 503 while others are asked, 504 after `timeout_s`.
    """
    running = _asked_now(request)
    if len(running) >= MAX_AT_ONCE:
        raise Problem(503, "busy", f"{MAX_AT_ONCE} questions about whole plans are being answered", hint="ask again in a minute")
    running.append(argv[0])
    try:
        with tempfile.TemporaryDirectory(prefix="sipctl-asked-") as folder:
            names = []
            for at, (option, named) in enumerate(plans):
                label, value = await _plan(
                    request.app[STATE], named, Path(folder) / f"{at}.json", may_be_logged=option == "--old"
                )
                names.append(label)
                argv = (*argv, *([option] if option else []), value)
            answer = await _child((*argv, "-o", "json"), folder, timeout_s)
    finally:
        running.remove(argv[0])
    for key, label in zip(labels, names, strict=True):
        if key in answer:
            answer[key] = label
    return answer


def _asked_now(request: web.Request) -> list[str]:
    found: list[str] = request.app[_running]
    return found


def prepare(app: web.Application) -> None:
    """Give the application what these routes keep."""
    app[_running] = []


def _state_dir(request: web.Request) -> Path:
    return request.app[STATE].store.database.path.parent


async def _plan(state: DeskState, named: str, path: Path, *, may_be_logged: bool) -> tuple[str, str]:
    """(what people call it, what the command is told) of a revision, whose files are written to `path`."""
    if may_be_logged and named == "logged":
        return named, named
    number: int | None = int(named) if named.isascii() and named.isdigit() and len(named) <= 12 else None
    if number is None and named != LIVE:
        raise Problem(400, "bad-request", f"{named} is no revision", hint="live, or a revision's number")
    label = f"revision {number}"
    if number is None:
        _, number = await state.revisions(1)
        label = f"live revision {number}"
        if number is None:
            raise Problem(404, "not-found", "no revision is live", hint="sipctl check, then sipctl apply")
    wanted = number
    found = await state.ask_store(lambda: state.store.revision(wanted))
    if found is None:
        raise Problem(404, "not-found", f"there is no revision {number}", hint="GET /v1/revisions lists them")
    files = {name: text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name, text in found.files.items()}
    await asyncio.to_thread(path.write_bytes, orjson.dumps({"files": files}))
    return label, str(path)


async def _child(argv: Sequence[str], folder: str, timeout_s: float) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _MAIN, *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, cwd=folder, env=environment, start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None and child.stderr is not None
    readers = (
        asyncio.ensure_future(_bounded(child.stdout, MAX_ANSWER_BYTES)),
        asyncio.ensure_future(_bounded(child.stderr, MAX_SAID_BYTES, cut=True)),
    )
    try:
        with suppress(OSError):  # it may be over already
            resource.prlimit(child.pid, resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
            os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
        async with asyncio.timeout(timeout_s):
            raw, said = await asyncio.gather(*readers)
            code = await child.wait()
    except TimeoutError as error:
        raise Problem(504, "failed", f"this was not answered within {timeout_s:.0f} s", hint=f"sipctl {argv[0]}") from error
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, 9)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            # Its end is told only once its pipes are read to their end, and one that was too full is not read by itself.
            await asyncio.gather(*(_bounded(pipe, 0, cut=True) for pipe in (child.stdout, child.stderr)))
            await child.wait()
    return await asyncio.to_thread(_read, raw, code, said)


def _read(raw: bytes, code: int, said: bytes) -> dict[str, Any]:
    if code in _ANSWERED and raw:
        with suppress(orjson.JSONDecodeError):
            answer: dict[str, Any] = orjson.loads(raw)
            return answer
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    text = lines[0].removeprefix("sipctl: ") if lines else f"the command ended with {code}"
    status, slug = (400, "invalid") if code == 2 else (500, "failed")
    raise Problem(status, slug, text, hint=" ".join(lines[1:3]))


async def _bounded(stream: asyncio.StreamReader, most: int, *, cut: bool = False) -> bytes:
    """All of a stream. Raises: Problem 500 beyond `most` bytes, unless it may be cut."""
    pieces: list[bytes] = []
    size = 0
    while piece := await stream.read(1 << 16):
        size += len(piece)
        if size <= most:
            pieces.append(piece)
        elif not cut:
            raise Problem(500, "failed", f"the answer is larger than {most >> 20} MiB", hint="ask for less")
    return b"".join(pieces)
