"""The supervisor: owns sockets and memory, keeps a router in the slot, a spare behind it, a controller and a desk.

It is synchronous, one poll, and does little, so that it has little to die of; and if it dies all the same, its children go on
and the next one takes them over (`takeover`). What it does:

- a router that ends is replaced at once by the spare, which gets the slot's memory, the sockets and the snapshot its
predecessor held; a new
  spare is started behind it. Two deaths while booting, and the successor gets the oldest snapshot and refuses the one that
  killed.
- no heartbeat for 1 s and stopped, or none for 5 s: kill -9 and replace, never revive.
- controller and desk are started again with a growing delay; each new end of a link is handed out as a fresh socketpair.

Slots exist from the start; this build fills one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sipctl.clock import monotonic_s
from sipctl.engine.embedded import wire
from sipctl.engine.generation import Generations
from sipctl.errors import EngineError
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.children import Child, spawn
from sipctl.supervisor.snapshots import Snapshots
from sipctl.supervisor.sockets import open_sockets
from sipctl.supervisor.state_dir import StateDir
from sipctl.supervisor.takeover import Inheritance, inherit

TURN_S = 0.1
STALL_S = 0.5  # a turn of ours longer than this excuses the heartbeats that we did not read
SPARE_DELAY_S = 0.2  # a new spare's imports leave the CPU to the successor's first calls
MAX_BACKOFF_S = 5.0
CALM_S = 30.0  # a child that lived so long starts anew without delay
STOP_TIMEOUT_S = 5.0
BOOT_DEATHS_BEFORE_OLDEST = 2
MAX_START_FAILURES = 5
MAX_LOG_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """What `sipctl run` was asked for."""

    state_dir: Path
    config_dir: Path = Path()
    api: str = "127.0.0.1:8080"
    node: str = ""
    program: tuple[str, ...] = ("-P", "-m", "sipctl.app")  # -P: never from the folder it was started in
    slot_bytes: int = 0
    watch: bool = False  # apply the folder by itself whenever it is saved
    roles: tuple[str, ...] = ("controller", "desk")


@dataclass(slots=True)
class Slot:
    """The place of one router: its memory outlives each of them."""

    number: int
    memory_fd: int
    router: Child | None = None
    boot_deaths: int = 0
    distrust: tuple[int, int] | None = None
    assign_at_s: float = 0.0


@dataclass(slots=True)
class Backoff:
    """When a role may be started again."""

    at_s: float = 0.0
    failures: int = 0

    def died(self, lived_s: float, now_s: float) -> None:
        self.failures = 0 if lived_s > CALM_S else self.failures + 1
        self.at_s = now_s + (min(0.1 * 2 ** (self.failures - 1), MAX_BACKOFF_S) if self.failures > 1 else 0.0)


class Supervisor:
    """One run of `sipctl run`."""

    def __init__(self, settings: Settings, say: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._say = say if say is not None else _print
        self._state = StateDir(settings.state_dir)
        self._snapshots = Snapshots(Generations(self._state.snapshots))
        self._listens: tuple[Listen, ...] = ()
        self._sockets: list[socket.socket] = []
        self._slots: list[Slot] = []
        self._spares: list[Child] = []
        self._solo: dict[str, Child] = {}  # controller and desk
        self._backoff = {role: Backoff() for role in (*settings.roles, "router")}
        self._api = ""  # where the desk serves now, once it said so
        self._wanted_api = settings.api
        self._revision = 0
        self._is_announced = False
        self._said: set[str] = set()
        self._stop_reason = ""
        self._failure: wire.Fatal | None = None
        self._serial = 0
        self._noted: dict[str, tuple[int, bool]] = {}  # run files as we wrote them
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)

    def run(self) -> int:
        """Run until told to stop; returns the exit code.

        Raises: EngineError before anything was started: STATE in use or not writable, a socket that cannot be opened.
        """
        self._state.prepare()
        self._state.lock()
        self._handle_signals()
        self._state.note_process("supervisor", os.getpid())
        self._state.remove("ready")
        try:
            self._begin()
            self._turn_until_stopped()
        except EngineError:
            self._stop_all()
            raise
        self._stop_all()
        if self._failure is not None:
            print(self._failure.text, file=sys.stderr, flush=True)
            return self._failure.exit_code
        return 0

    # -- beginning -------------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        inherited = inherit(self._state)
        for sentence in inherited.story:
            self._note(sentence)
        for fault in self._snapshots.refresh():
            self._note(fault)
        if self._settings.api.endswith(":0"):
            self._wanted_api = self._state.read("api") or self._settings.api
        memory = inherited.memory_fd
        if memory is None:
            memory = os.memfd_create("slot-0", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(memory, self._settings.slot_bytes)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self._slots = [Slot(0, memory)]
        if inherited.holding is not None:
            holding, state_fd, table_fd = inherited.holding
            self._revision = holding.revision
            self._snapshots.hold(holding, state_fd, table_fd)
        if inherited.sockets:
            self._listens, self._sockets = inherited.listens, inherited.sockets
        else:
            listens, faults = self._snapshots.listens()
            for fault in faults:
                self._note(fault)
            if listens is not None:
                self._open_sockets(listens)
        self._take_in(inherited)

    def _take_in(self, inherited: Inheritance) -> None:
        """Go on with the children that answered; a slot has one router, and one spare is enough."""
        for child in inherited.routers:
            slot = self._slots[child.slot] if child.slot is not None and child.slot < len(self._slots) else None
            if slot is None or slot.router is not None:
                child.kill()
                child.reap()
            else:
                slot.router = child
        for child in inherited.spares:
            if self._spares:
                child.kill()
                child.reap()
            else:
                self._spares.append(child)
        self._note_processes()

    def _open_sockets(self, listens: Sequence[Listen]) -> None:
        self._sockets = open_sockets(listens)
        self._listens = tuple(listens)
        for spare in self._spares:
            self._give_to_keep(spare)

    # -- the loop --------------------------------------------------------------------------------------------------------------

    def _turn_until_stopped(self) -> None:
        turned_s = monotonic_s()
        while not self._stop_reason:
            now_s = monotonic_s()
            if now_s - turned_s > STALL_S:
                self._note(f"the supervisor stood still for {now_s - turned_s:.1f} s: missed heartbeats are excused")
                for child in self._children():
                    child.beat_s = now_s
            turned_s = now_s
            self._fill(now_s)
            self._wait()
            now_s = monotonic_s()
            for child in self._children():
                self._hear(child, now_s)
            for child in self._children():
                if _has_ended(child):
                    self._bury(child, now_s)
                elif (fault := child.fault(now_s)) is not None:
                    self._note(f"{self._name(child)}, process {child.pid}, is killed: {fault}")
                    child.kill()
            self._announce()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        for child in self._children():
            poll.register(child.pidfd, select.POLLIN)
            if child.sock is not None:
                poll.register(child.sock, select.POLLIN)
        poll.poll(TURN_S * 1000)
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)

    def _children(self) -> list[Child]:
        routers = [slot.router for slot in self._slots if slot.router is not None]
        return [*routers, *self._spares, *self._solo.values()]

    def _note_processes(self) -> None:
        """Keep STATE/run true: the next supervisor, tests and people go by it."""
        running = {self._name(child): child for child in reversed(self._children())}  # the older spare has the name
        for number, spare in enumerate(self._spares[1:], start=2):
            running[f"spare-{number}"] = spare
        told = {name: (child.pid, child.is_at_work) for name, child in running.items()}
        for name in self._noted.keys() - told.keys():
            self._state.remove(f"{name}.json")
        for name, (pid, is_ready) in told.items():
            if self._noted.get(name) != (pid, is_ready):
                self._state.note_process(name, pid, is_ready=is_ready)
        self._noted = told

    def _name(self, child: Child) -> str:
        if child.slot is not None:
            return f"router-{child.slot}"
        return "spare" if child.role == "router" else child.role

    # -- starting --------------------------------------------------------------------------------------------------------------

    def _fill(self, now_s: float) -> None:
        """Whatever should run and does not is started; a free slot takes a spare that has booted."""
        for slot in self._slots:
            if slot.router is None and self._sockets and now_s >= slot.assign_at_s:
                spare = next((spare for spare in self._spares if spare.is_booted and not spare.is_stopping), None)
                if spare is not None:
                    self._assign(slot, spare, now_s)
        wanted = 1 + sum(slot.router is None for slot in self._slots)
        if len(self._spares) < wanted and now_s >= self._backoff["router"].at_s:
            self._start_spare(now_s)
        for role in self._settings.roles:
            if role not in self._solo and now_s >= self._backoff[role].at_s:
                self._start_solo(role, now_s)

    def _start(self, role: str, arguments: Sequence[str], now_s: float, takeover: str = "") -> Child | None:
        try:
            child = spawn(self._state, self._settings.program, role, arguments, now_s, takeover=takeover)
        except OSError as error:
            self._note(f"a {role} cannot be started: {error}")
            self._backoff[role].died(0.0, now_s)
            return None
        self._note(f"{role} started as process {child.pid}")
        return child

    def _start_spare(self, now_s: float) -> None:
        self._serial += 1
        spare = self._start("router", (), now_s, takeover=f"{os.getpid()}-{self._serial}.sock")
        if spare is not None:
            self._spares.append(spare)
            self._note_processes()
            self._give_to_keep(spare)

    def _give_to_keep(self, spare: Child) -> None:
        if self._sockets:
            fds = [sock.fileno() for sock in self._sockets] + [self._slots[0].memory_fd]
            spare.send(wire.Keep(self._listens), fds)

    def _start_solo(self, role: str, now_s: float) -> None:
        settings = self._settings
        arguments = ["--state", str(self._state.root), "--config", str(settings.config_dir.absolute())]
        arguments += ["--node", settings.node, "--api", self._wanted_api]
        arguments += ["--watch"] if settings.watch and role == "controller" else []
        child = self._start(role, arguments, now_s)
        if child is None:
            return
        self._solo[role] = child
        self._note_processes()
        other = self._solo.get("desk" if role == "controller" else "controller")
        if other is not None:
            self._join(child, role, other, other.role)
        for slot in self._slots:
            if slot.router is not None:
                self._join(slot.router, _router_name(slot), child, role)

    def _assign(self, slot: Slot, child: Child, now_s: float) -> None:
        """Make a spare the slot's router."""
        self._spares.remove(child)
        child.slot = slot.number
        slot.router = child
        child.started_s = now_s
        fds = [sock.fileno() for sock in self._sockets] + [slot.memory_fd]
        sources = []
        for snapshot in self._snapshots.best_first(oldest_only=slot.boot_deaths >= BOOT_DEATHS_BEFORE_OLDEST):
            sources.append(wire.Source(snapshot.name, len(fds)))
            fds += [snapshot.state_fd, snapshot.table_fd]
        child.send(
            wire.Assign(slot.number, _router_name(slot), self._settings.node, self._listens, tuple(sources), slot.distrust), fds
        )
        for role, solo in self._solo.items():
            self._join(child, _router_name(slot), solo, role)
        self._note_processes()
        self._note(f"process {child.pid} takes slot {slot.number}")

    def _join(self, one: Child, one_name: str, other: Child, other_name: str) -> None:
        """A fresh link between two children; what a router tells the desk goes by the name "events" at the router's end."""
        ends = wire.socket_pair()
        to_other = "events" if other_name == "desk" and one.role == "router" else other_name
        one.send(wire.Link(to_other), (ends[0].fileno(),))
        other.send(wire.Link(one_name), (ends[1].fileno(),))
        for end in ends:
            end.close()

    # -- hearing ---------------------------------------------------------------------------------------------------------------

    def _hear(self, child: Child, now_s: float) -> None:
        for frame, fds in child.frames():
            child.beat_s = now_s
            try:
                self._heed(child, frame, fds)
            finally:
                wire.close_all(fds)

    def _heed(self, child: Child, frame: wire.FromChild, fds: list[int]) -> None:
        if isinstance(frame, wire.Booted):
            child.is_booted = True
            self._note_processes()
        elif isinstance(frame, wire.Ready):
            child.is_ready = True
            self._revision = frame.revision or self._revision
            if child.slot is not None:
                self._slots[child.slot].boot_deaths = 0
            self._note_processes()
            self._note(f"{self._name(child)} reads: snapshot {frame.generation}, revision {frame.revision}, {frame.calls} calls")
        elif isinstance(frame, wire.Holding) and len(fds) == 2:
            self._revision = frame.revision
            slot = self._slots[frame.slot]
            if slot.distrust is not None and (frame.term, frame.seq) > slot.distrust:
                slot.distrust = None
            self._snapshots.hold(frame, fds.pop(0), fds.pop(0))
        elif isinstance(frame, wire.Generation):
            for fault in self._snapshots.refresh():
                self._note(fault)
        elif isinstance(frame, wire.Planned):
            self._plan(frame)
        elif isinstance(frame, wire.Bound):
            child.is_ready = True
            self._note_processes()
            self._api = self._wanted_api = frame.api  # a desk that comes back keeps its port
        elif isinstance(frame, wire.Remark):
            self._note(frame.text)
            if frame.text not in self._said:  # a controller that comes back repeats itself
                self._said.add(frame.text)
                self._say(frame.text)
        elif isinstance(frame, wire.Fatal):
            self._note(f"{self._name(child)} cannot start: {frame.text}")
            if child.role == "desk":
                self._wanted_api = self._settings.api  # if a free port was asked for, another one will do
            if not self._is_announced and not any(slot.router is not None for slot in self._slots):
                self._failure = frame
                self._stop_reason = "a child cannot start"

    def _plan(self, frame: wire.Planned) -> None:
        if not self._sockets:
            self._open_sockets(frame.listens)
        elif frame.listens != self._listens:
            self._note(f"revision {frame.revision} changes `listen`: it takes effect with the next start of sipctl run")

    def _bury(self, child: Child, now_s: float) -> None:
        """A child ended: take in what it said last, then replace it."""
        self._hear(child, now_s)
        name = self._name(child)
        how = child.reap()
        self._note(f"{name}, process {child.pid}, {how}")
        if child.takeover:
            self._state.remove(child.takeover)
        if child.role != "router":
            del self._solo[child.role]
            self._backoff[child.role].died(now_s - child.started_s, now_s)
        elif child.slot is None:
            self._spares.remove(child)
            self._backoff["router"].died(now_s - child.started_s, now_s)
        else:
            self._free(self._slots[child.slot], child, now_s)
        self._note_processes()
        self._watch_start(name)

    def _watch_start(self, name: str) -> None:
        """Before calls were ever carried, a child that keeps dying is for the operator to see."""
        role = name if name in self._backoff else "router"
        if not self._is_announced and self._backoff[role].failures >= MAX_START_FAILURES:
            text = f"{name} does not start: its last words are in {self._state.log / (role + '.stderr')}"
            self._failure = wire.Fatal(text, exit_code=1)
            self._stop_reason = text

    def _free(self, slot: Slot, child: Child, now_s: float) -> None:
        slot.router = None
        slot.assign_at_s = now_s
        self._backoff["router"].at_s = now_s + SPARE_DELAY_S if any(spare.is_booted for spare in self._spares) else now_s
        if child.is_ready:
            slot.boot_deaths = 0
            return
        slot.boot_deaths += 1
        if slot.boot_deaths >= BOOT_DEATHS_BEFORE_OLDEST:
            known = self._snapshots.best_first(oldest_only=False)
            if len(known) > 1:
                slot.distrust = known[0].order
                self._note(f"two routers died while booting: slot {slot.number} goes back to the {known[-1].name} snapshot")
            slot.assign_at_s = now_s + min(0.1 * 2 ** (slot.boot_deaths - BOOT_DEATHS_BEFORE_OLDEST), MAX_BACKOFF_S)

    def _announce(self) -> None:
        """Say once that calls are carried and the API answers."""
        if self._is_announced:
            return
        routers = [slot.router for slot in self._slots]
        if not self._revision or any(router is None or not router.is_ready for router in routers):
            return
        if "desk" in self._settings.roles and not self._api:
            return
        self._is_announced = True
        where = [f"{listen.transport}:{_bracketed(listen.host)}:{listen.port}" for listen in self._listens]
        self._state.write("ready", json.dumps({"api": self._api, "sockets": where, "revision": self._revision}))
        api = f"API http://{self._api}, " if self._api else ""
        self._say(f"sipctl carries calls: {api}sockets {' '.join(where)}, revision {self._revision}, STATE {self._state.root}")

    # -- ending ----------------------------------------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        def told(number: int, _frame: object) -> None:
            self._stop_reason = signal.Signals(number).name

        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, told)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends no calls

    def _stop_all(self) -> None:
        """Routers first: their last words go to controller and desk, which end after them."""
        self._note(f"stopping: {self._stop_reason or 'failed'}")
        routers = [child for child in self._children() if child.role == "router"]
        self._stop(routers)
        for role in ("controller", "desk"):
            if role in self._solo:
                self._stop([self._solo[role]])
        self._state.clear_run()
        self._state.unlock()

    def _stop(self, children: Sequence[Child]) -> None:
        for child in children:
            child.is_stopping = True
            child.send(wire.Stop(self._stop_reason or "failed"))
            child.signal(signal.SIGTERM)
        deadline_s = monotonic_s() + STOP_TIMEOUT_S
        for child in children:
            while not _has_ended(child) and monotonic_s() < deadline_s:
                for _, fds in child.frames():
                    wire.close_all(fds)
                poll = select.poll()
                poll.register(child.pidfd, select.POLLIN)
                poll.poll(50)
            if not _has_ended(child):
                self._note(f"{self._name(child)}, process {child.pid}, does not end: killed")
                child.kill()
            child.reap()

    def _note(self, sentence: str) -> None:
        """The supervisor's own log: it must not depend on a desk that may be dead, nor on a terminal that may hang."""
        path = self._state.log / "supervisor.log"
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
                path.rename(path.with_suffix(".log.1"))
            with self._state.append_to_log(path.name) as log:
                log.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {sentence}\n".encode())


def _has_ended(child: Child) -> bool:
    poll = select.poll()
    poll.register(child.pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _router_name(slot: Slot) -> str:
    return f"r{slot.number + 1}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _print(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, flush=True)
