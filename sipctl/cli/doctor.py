"""`sipctl doctor`: what about this machine and this STATE would hurt calls, each with what to do about it.

Every check is a function that looks and changes nothing; what cannot be seen here (no /proc, no rights) is said to be unknown,
which is no finding.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_UNHEALTHY, ApiProblemError, Client, UnreachableError
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table
from sipctl.cli.status_commands import is_unhealthy
from sipctl.dialplan.load import load
from sipctl.dialplan.report import Report
from sipctl.errors import StoreError
from sipctl.store.sqlite import SqliteStore
from sipctl.supervisor.local import look
from sipctl.supervisor.plan_folder import FolderError, read_folder

WANTED_BUFFER_BYTES: Final = 8 << 20
WANTED_FILES: Final = 4_096
WANTED_FREE_BYTES: Final = 1 << 30
OLDEST_PYTHON: Final = (3, 11)
_TIMEX_BYTES: Final = 512  # struct timex is 208; the rest stays zero
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


@dataclass(frozen=True, slots=True)
class Found:
    """What one check saw."""

    check: str
    verdict: str  # "ok" | "warn" | "fail" | "unknown"
    text: str
    hint: str = ""

    @property
    def is_finding(self) -> bool:
        return self.verdict in ("warn", "fail")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where to look; tests give other roots."""

    state: Path
    folder: Path
    proc: Path = Path("/proc")


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("doctor")(doctor)


def doctor(
    folder: Annotated[Path, typer.Option("--config", metavar="DIR", help="Folder of the plan.")] = Path(),
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Look for what would hurt calls here. Exit 1 if something was found."""
    found = list(examine(Surroundings(state_dir(state), folder)))
    if output is Output.json:
        print_json([asdict(entry) for entry in found])
    else:
        print_table("doctor", ("CHECK", "VERDICT", "WHAT", "HINT"), [(f.check, f.verdict, f.text, f.hint) for f in found])
    if any(entry.is_finding for entry in found):
        raise typer.Exit(EXIT_UNHEALTHY)


def examine(where: Surroundings) -> Iterator[Found]:
    """Every check, in the order an engineer would look."""
    for check in CHECKS:
        yield from check(where)


def python(where: Surroundings) -> Iterator[Found]:
    name = ".".join(str(part) for part in sys.version_info[:3])
    old = sys.version_info[:2] < OLDEST_PYTHON
    yield Found("python", "fail" if old else "ok", f"Python {name}", "install Python 3.11 or newer" if old else "")


def kernel_buffers(where: Surroundings) -> Iterator[Found]:
    size = _number(where.proc / "sys/net/core/rmem_max")
    if size is None:
        yield Found("kernel buffers", "unknown", "rmem_max cannot be read")
    elif size < WANTED_BUFFER_BYTES and os.geteuid() != 0:
        hint = f"sysctl -w net.core.rmem_max={WANTED_BUFFER_BYTES}, or run with CAP_NET_ADMIN"
        yield Found("kernel buffers", "warn", f"a socket may buffer {size >> 10} KiB; a burst of calls needs 8 MiB", hint)
    else:
        yield Found("kernel buffers", "ok", f"rmem_max {size >> 10} KiB")


def open_files(where: Surroundings) -> Iterator[Found]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < WANTED_FILES:
        yield Found(
            "open files", "warn", f"a process may open {limit} files", f"ulimit -n {WANTED_FILES}, or LimitNOFILE= in the unit"
        )
    else:
        yield Found("open files", "ok", f"limit {limit}")


def clock(where: Surroundings) -> Iterator[Found]:
    """Call records and audit need a right clock; routing does not."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        state = -1
    if state == -1:
        yield Found("clock", "unknown", "the kernel does not say whether the clock is synchronised")
    elif state == _TIME_ERROR:
        yield Found(
            "clock", "warn", "the clock is not synchronised: call records will not match the carrier's", "run chrony or ntpd"
        )
    else:
        yield Found("clock", "ok", "synchronised")


def sip_helper(where: Surroundings) -> Iterator[Found]:
    """The kernel's SIP helper rewrites messages behind our back (reference/threats C14)."""
    try:
        modules = (where.proc / "modules").read_text()
    except OSError:
        yield Found("SIP helper", "unknown", "the list of kernel modules cannot be read")
        return
    if any(line.split(" ", 1)[0] in ("nf_conntrack_sip", "nf_nat_sip") for line in modules.splitlines()):
        hint = "rmmod nf_nat_sip nf_conntrack_sip, and blacklist them"
        yield Found("SIP helper", "fail", "nf_conntrack_sip is loaded: it parses and rewrites SIP in the kernel", hint)
    else:
        yield Found("SIP helper", "ok", "not loaded")


def state_folder(where: Surroundings) -> Iterator[Found]:
    root = where.state
    if not root.exists():
        parent = root.absolute().parent
        if os.access(parent, os.W_OK):
            yield Found("STATE", "ok", f"{root} is made at the first run")
        else:
            yield Found("STATE", "fail", f"{root} cannot be made", "--state DIR, or make it for the user sipctl runs as")
        return
    if not os.access(root, os.W_OK | os.X_OK):
        yield Found("STATE", "fail", f"{root} may not be written", "it must belong to the user sipctl runs as")
        return
    free = shutil.disk_usage(root).free
    if free < WANTED_FREE_BYTES:
        yield Found("STATE", "warn", f"{free >> 20} MiB are left where {root} is", "call records grow by about 1 KiB a call")
    else:
        yield Found("STATE", "ok", f"{root}, {free >> 30} GiB free")
    yield from _secrets(root)


def store(where: Surroundings) -> Iterator[Found]:
    path = where.state / "sipctl.db"
    if not path.exists():
        yield Found("store", "ok", "made at the first run")
        return
    try:
        SqliteStore(path, read_only=True).close()
    except StoreError as error:
        yield Found("store", "fail", error.detail, error.hint)
    else:
        yield Found("store", "ok", "whole")


def snapshots(where: Surroundings) -> Iterator[Found]:
    picture = look(where.state)
    for fault in picture.faults:
        yield Found("snapshots", "fail", fault, "it is written anew at the next change; look at the disk")
    if picture.generations:
        newest = picture.generations[0]
        text = f"{len(picture.generations)} whole, newest is revision {newest.revision}, term {newest.term}, seq {newest.seq}"
        yield Found("snapshots", "ok", text)
    elif not picture.faults:
        yield Found("snapshots", "ok", "none yet")


def api(where: Surroundings) -> Iterator[Found]:
    """Is it up, what does it say, and is the folder what is live?"""
    try:
        body = Client.find(where.state).get("/v1/status", timeout_s=10.0)
    except (UnreachableError, ApiProblemError) as error:
        running = look(where.state).processes
        if running:
            yield Found("API", "fail", str(error), f"{', '.join(sorted(running))} live: STATE/log says what the desk does")
        else:
            yield Found("API", "ok", "sipctl does not run here")
        return
    except typer.Exit:
        yield Found("API", "fail", "there is no token to ask with", "SIPCTL_TOKEN_FILE names a file with a token of yours")
        return
    yield from _status(body)


def sockets(where: Surroundings) -> Iterator[Found]:
    """Can the addresses of the plan be bound? Only asked while nothing of ours holds them."""
    if look(where.state).processes:
        yield Found("sockets", "ok", "held by the sipctl that runs here")
        return
    binds = list(_binds(where.folder))
    if not binds:
        yield Found("sockets", "unknown", f"no plan with addresses in {where.folder}", "sipctl check")
    for transport, host, port in binds:
        text = f"{transport}:{host}:{port}"
        fault = _bind_fault(transport, host, port)
        if fault:
            yield Found("sockets", "fail", f"{text}: {fault}", "ss -lnp shows who has it")
        else:
            yield Found("sockets", "ok", f"{text} is free")


CHECKS: Final[tuple[Callable[[Surroundings], Iterator[Found]], ...]] = (
    python, state_folder, store, snapshots, api, sockets, kernel_buffers, open_files, clock, sip_helper,
)  # fmt: skip


def _status(body: dict[str, Any]) -> Iterator[Found]:
    controller = body.get("controller") or {}
    if controller.get("reachable") is False:
        yield Found("API", "fail", str(controller.get("text")), "STATE/log says why the controller is away; calls go on")
    else:
        yield Found("API", "ok", f"live revision {body.get('revision')}")
    if body.get("folder_differs"):
        yield Found(
            "folder", "warn", f"the folder differs from live revision {body.get('revision')}", "sipctl apply, or put it back"
        )
    if is_unhealthy(body):
        yield Found("status", "warn", "a group is not normal, or an alarm stands", "sipctl status")


def _secrets(root: Path) -> Iterator[Found]:
    for name in ("admin.token", "sipctl.db"):
        path = root / name
        if path.exists() and path.stat().st_mode & 0o077:
            yield Found("secrets", "fail", f"{path} may be read by others", f"chmod 600 {path}")


def _binds(folder: Path) -> Iterator[tuple[str, str, int]]:
    """(transport, host, port) of every `listen` in the plan, as far as it reads; its faults are for `sipctl check` to tell."""
    try:
        files = read_folder(folder)
    except FolderError:
        return
    draft = load(files, Report(files))
    for listen in draft.listen.values():
        for bind in listen.bind:
            yield bind.transport, bind.host, bind.port


def _bind_fault(transport: str, host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        try:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
