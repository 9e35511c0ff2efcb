"""The composition root: the one place that builds objects and joins them into processes (DESIGN §4).

    python -m sipctl.app supervisor   what `sipctl run` is
    python -m sipctl.app router       born a spare; carries calls once assigned
    python -m sipctl.app controller   decisions
    python -m sipctl.app desk         API, metrics, records
    python -m sipctl.app compiler     files in, table out; short-lived
    python -m sipctl.app check        imports what the others need, and says which build it is

Each role imports only what it needs: a router never loads the control half, and is ready to take a slot the sooner for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipctl.errors import EngineError, PlanError, SipctlError

DEFAULT_API = "127.0.0.1:8080"
STORE_FILE = "sipctl.db"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
WHAT_ROLES_NEED = (
    "sipctl.supervisor.supervisor", "sipctl.supervisor.compiler", "sipctl.engine.embedded.router",
    "sipctl.engine.embedded.observing", "sipctl.engine.embedded.link", "sipctl.health.judge", "sipctl.control.controller",
    "sipctl.control.dns", "sipctl.store.sqlite", "sipctl.api.desk", "sipctl.dialplan.compile",
)  # fmt: skip


# -- sipctl run ----------------------------------------------------------------------------------------------------------------


def run(
    config_dir: Path, state_dir: Path, api: str = DEFAULT_API, routers: int = 1, node: str = "", watch: bool = False
) -> int:
    """Carry calls until told to stop; returns the exit code, having said on stderr what was wrong."""
    from sipctl.call.owner import MAX_ROUTERS
    from sipctl.call.records import SLOT_BYTES
    from sipctl.supervisor.supervisor import Settings, Supervisor

    if not 1 <= routers <= MAX_ROUTERS:
        print(f"--routers {routers}: a machine has 1 to {MAX_ROUTERS} of them", file=sys.stderr)
        return 2
    settings = Settings(
        state_dir, config_dir, api, node, slot_bytes=SLOT_BYTES, watch=watch, routers=routers, build=_build()
    )  # fmt: skip
    try:
        return Supervisor(settings).run()
    except SipctlError as error:
        print(_said(error), file=sys.stderr)
        return error.exit_code


@dataclass
class Running:
    """A sipctl that was started as a child process, for the demo and tests."""

    process: subprocess.Popen[bytes]
    state_dir: Path
    ready: Mapping[str, Any]  # api, sockets, revision, as STATE/run/ready has them

    @property
    def api(self) -> str:
        return str(self.ready["api"])

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def role_pid(self, name: str) -> int | None:
        """The process that is supervisor, router-0, spare, controller or desk now."""
        from sipctl.supervisor.state_dir import StateDir

        found = StateDir(self.state_dir).process(name)
        return found.pid if found is not None else None

    def stop(self) -> int:
        """End it in order, by force if it will not; leaves no process behind. Returns the supervisor's exit code."""
        from sipctl.supervisor.state_dir import StateDir

        left = StateDir(self.state_dir).processes()
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for process in (*left.values(), *StateDir(self.state_dir).processes().values()):
            if process.is_alive:
                os.kill(process.pid, signal.SIGKILL)
        return self.process.returncode


def start(
    config_dir: Path,
    state_dir: Path,
    api: str = "127.0.0.1:0",
    node: str = "",
    environment: Mapping[str, str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
    routers: int = 1,
) -> Running:
    """Start `sipctl run` as a child process and wait until it carries calls and its API answers.

    Raises: EngineError with what it said, if it ends or is not ready in time; nothing is left running then.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    ready = state_dir / "run" / "ready"
    said = state_dir / "start.log"
    argv = [sys.executable, "-P", "-m", "sipctl.app", "supervisor", "--config", str(config_dir), "--state", str(state_dir)]
    argv += ["--api", api, "--node", node, "--routers", str(routers)]
    env = {**os.environ, **(environment or {})}
    with said.open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=env)
    running = Running(process, state_dir, {})
    until_s = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < until_s:
        supervisor = running.role_pid("supervisor")
        if supervisor == process.pid and ready.exists():
            running.ready = json.loads(ready.read_text(encoding="utf-8"))
            if _answers(running.api):
                return running
        time.sleep(0.02)
    if process.poll() is None:
        running.stop()
    raise EngineError(f"sipctl did not start: {said.read_text(encoding='utf-8', errors='replace').strip() or 'it said nothing'}")


def _answers(api: str) -> bool:
    """Does the API say that every router holds a snapshot?"""
    try:
        with urllib.request.urlopen(f"http://{api}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# -- roles ---------------------------------------------------------------------------------------------------------------------


def _supervisor(arguments: argparse.Namespace) -> int:
    return run(arguments.config, arguments.state, arguments.api, arguments.routers, arguments.node, arguments.watch)


def _router(arguments: argparse.Namespace) -> int:
    from sipctl.call.records import MAGIC
    from sipctl.engine.embedded.observing import ObservedCore
    from sipctl.engine.embedded.router import RouterCore, Wire, run_router
    from sipctl.health.judge import Judge
    from sipctl.health.together import Together
    from sipctl.routing.board import LAYOUT, Board
    from sipctl.routing.snapshot import Listen
    from sipctl.supervisor.failpoints import doomed

    def make_core(
        slot: int, listens: Sequence[Listen], memory: memoryview, entropy: bytes, offset_s: float, failpoints: frozenset[str],
        board: Board | None,
    ) -> RouterCore:
        judge = Judge(int.from_bytes(entropy[-8:], "little"))
        core = ObservedCore(
            slot=slot,
            sockets=tuple(listens),
            memory=memory,
            entropy=entropy,
            unix_minus_mono_s=offset_s,
            judge=judge if board is None else Together(judge, board),
            failpoints=failpoints,
            board=board,
        )
        router_core: RouterCore = doomed(core) if failpoints else core
        return router_core

    takeover = socket.socket(fileno=arguments.takeover) if arguments.takeover >= 0 else None
    failpoints = frozenset(filter(None, os.environ.get("SIPCTL_FAILPOINTS", "").split(",")))
    control, layout = Wire(socket.socket(fileno=arguments.wire), takeover), f"{MAGIC.rstrip(bytes(1)).decode()} {LAYOUT}"
    return run_router(control, make_core, failpoints, build=_build(), layout=layout)


def _controller(arguments: argparse.Namespace) -> int:
    from sipctl.clock import monotonic_s, unix_s
    from sipctl.control.audit import Put
    from sipctl.control.controller import Surroundings, run_controller
    from sipctl.control.dns import DnsPython
    from sipctl.control.ports import CompileResult
    from sipctl.control.world import Faults, NodeNews
    from sipctl.engine.embedded.link import ChildWire, ControllerLinks
    from sipctl.engine.embedded.wire import Generation, Planned, Remark, Story, Troubles
    from sipctl.engine.generation import Generations
    from sipctl.routing.snapshot import RoutingState
    from sipctl.routing.table import load_table
    from sipctl.store.audit_log import FOLDER as AUDIT_FOLDER
    from sipctl.store.audit_log import AuditLog
    from sipctl.store.audit_writer import AuditWriter
    from sipctl.store.sqlite import SqliteStore
    from sipctl.supervisor.compiler import Compiler
    from sipctl.supervisor.failpoints import failpoints
    from sipctl.supervisor.plan_folder import read_texts

    async def live() -> None:
        loop = asyncio.get_running_loop()
        links = ControllerLinks()
        told: asyncio.Queue[Troubles | Story] = asyncio.Queue()
        control = ChildWire(socket.socket(fileno=arguments.wire), links.take, told.put_nowait, _build())
        store = SqliteStore(arguments.state / STORE_FILE)
        compiler = Compiler(arguments.state / "tmp", arguments.node)
        generations = Generations(arguments.state / "snapshots")
        compiled: dict[int, str] = {}  # revision → its image
        first_files = store.live_revision()

        async def compile_plan(
            files: Mapping[str, str], revision: int, ids: Mapping[str, Mapping[str, int]], despite: tuple[str, ...] = (),
            against: str = "",
        ) -> CompileResult:
            result = await compiler(files, revision, ids, despite, against)
            compiled[revision] = result.image_path
            return result

        audits: list[AuditWriter] = []

        def open_audit(tell: Callable[[str], None]) -> Put:
            log = AuditLog(arguments.state / AUDIT_FOLDER)
            audits.append(AuditWriter(log, unix_s, role="controller", pid=os.getpid(), build=_build(), on_state=tell))
            return audits[-1].put

        def read_folder() -> Mapping[str, str] | None:
            try:
                return read_texts(arguments.config)
            except SipctlError:
                if first_files is None:
                    raise
                return None  # a running system needs no folder

        def write_generation(state: RoutingState, images: tuple[str, ...]) -> None:
            generations.write(state, *(Path(image).read_bytes() for image in images))
            loop.call_soon_threadsafe(control.say, Generation(state.term, state.seq, state.revision))

        async def node_news() -> AsyncIterator[Faults | NodeNews]:
            while True:
                frame = await told.get()
                if isinstance(frame, Troubles):
                    yield Faults("process", frame.texts)
                else:
                    yield NodeNews(frame.text, frame.actor, frame.reason)

        def on_ready(revision: int) -> None:
            control.say(Planned(revision, load_table(Path(compiled.pop(revision)).read_bytes()).topology.listens))
            compiled.clear()
            if first_files is not None and (folder := read_folder()) is not None and dict(folder) != dict(first_files.files):
                control.say(Remark(f"folder differs from live revision {revision}: sipctl diff"))

        around = Surroundings(
            links=links,
            store=store,
            compile_plan=compile_plan,
            read_folder=read_folder,
            write_generation=write_generation,
            resolver=DnsPython(),
            mono_s=monotonic_s,
            wall_s=unix_s,
            # Before the first plan there are no sockets, so no routers.
            expected_routers=0 if first_files is None else arguments.routers,
            reached=failpoints(arguments.state, "apply-received"),
            folder_changes=_folder_changes(arguments.config) if arguments.watch else None,
            node_news=node_news,
            open_audit=open_audit,
        )
        try:
            await control.live("controller", run_controller(around, control.stopped, on_ready))
        finally:
            for writer in audits:
                writer.close()
            store.close()

    return _live_as_child(live, arguments)


def _build() -> str:
    """Which sipctl this is, for records."""
    from importlib.metadata import version

    return f"sipctl {version('sipctl')}"


def _folder_changes(config: Path) -> Callable[[], AsyncIterator[None]]:
    from sipctl.supervisor.plan_watch import folder_changes  # only who watches loads the watcher

    return lambda: folder_changes(config)


def _desk(arguments: argparse.Namespace) -> int:
    from sipctl.api.desk import run_desk
    from sipctl.clock import monotonic_s, unix_s
    from sipctl.engine.embedded.link import ChildWire, DeskLinks
    from sipctl.engine.embedded.wire import Bound
    from sipctl.store.sqlite import SqliteStore

    async def live() -> None:
        links = DeskLinks()
        control = ChildWire(socket.socket(fileno=arguments.wire), links.take, build=_build())
        store = SqliteStore(arguments.state / STORE_FILE)
        try:
            serving = run_desk(
                links,
                store,
                arguments.state,
                arguments.api,
                mono_s=monotonic_s,
                wall_s=unix_s,
                stopped=control.stopped,
                node=arguments.node,
                on_bound=lambda address: control.say(Bound(address)),
            )
            await control.live("desk", serving)
        finally:
            store.close()

    return _live_as_child(live, arguments)


def _check(_arguments: argparse.Namespace) -> int:
    """Import all that the roles need: what a new build must be able to do before anything is replaced by it."""
    for module in WHAT_ROLES_NEED:
        importlib.import_module(module)
    print(_build())
    return 0


def _compiler(_arguments: argparse.Namespace) -> int:
    from sipctl.supervisor.compiler import compile_child

    return compile_child(sys.stdin.buffer, sys.stdout.buffer)


def _live_as_child(live: Callable[[], Coroutine[Any, Any, None]], arguments: argparse.Namespace) -> int:
    """Run an asyncio role to its end; what it cannot start with is told to the supervisor."""
    from sipctl.engine.embedded.wire import Fatal, encode, send_packet

    wire = os.dup(arguments.wire)
    try:
        asyncio.run(live())
    except SipctlError as error:
        with contextlib.suppress(OSError), socket.socket(fileno=wire) as control:
            send_packet(control, encode(Fatal(_said(error), error.exit_code)))
        return error.exit_code
    return 0


def _said(error: SipctlError) -> str:
    """An error as a person reads it: every finding of a plan, or the sentence and its hint."""
    if isinstance(error, PlanError):
        lines = [str(finding) + (f"\n    {finding.hint}" if finding.hint else "") for finding in error.findings]
        return "\n".join([*lines, f"sipctl: {error}"])
    return f"sipctl: {error}" + (f"\n  {error.hint}" if error.hint else "")


ROLES: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "supervisor": _supervisor,
    "router": _router,
    "controller": _controller,
    "desk": _desk,
    "compiler": _compiler,
    "check": _check,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Be one process of sipctl; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sipctl.app", description="One process of sipctl; `sipctl run` starts all.")
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument("--wire", type=int, default=-1)
    parser.add_argument("--takeover", type=int, default=-1)
    parser.add_argument("--config", type=Path, default=Path())
    parser.add_argument("--state", type=Path, default=Path(".sipctl"))
    parser.add_argument("--api", default=DEFAULT_API)
    parser.add_argument("--routers", type=int, default=1)
    parser.add_argument("--node", default="")
    parser.add_argument("--watch", action="store_true")
    arguments = parser.parse_args(argv)
    return ROLES[arguments.role](arguments)


if __name__ == "__main__":
    sys.exit(main())
