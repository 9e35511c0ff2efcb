"""The supervisor: owns sockets and memory, keeps a router in the slot, a spare behind it, a controller and a desk.

It is synchronous, one poll, and does little, so that it has little to die of; and if it dies all the same, its children go on
and the next one takes them over (`takeover`). What it does:

- a router that ends is replaced at once by the spare, which gets the slot's memory, the sockets and the snapshot its
  predecessor held; a new spare is started behind it (`crew`). Two deaths while booting, and the successor gets the oldest
  snapshot and refuses the one that killed.
- no heartbeat for 1 s and stopped, or none for 5 s: kill -9 and replace, never revive. That goes for every child.
- controller and desk are started again with a growing delay; each new end of a link is handed out as a fresh socketpair.

Slots exist from the start; this build fills one.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping

from sipctl.clock import monotonic_s
from sipctl.engine.embedded import wire
from sipctl.engine.generation import Generations
from sipctl.errors import EngineError
from sipctl.supervisor import local_wire
from sipctl.supervisor.children import Child
from sipctl.supervisor.crew import Crew, Settings
from sipctl.supervisor.diary import Diary
from sipctl.supervisor.door import Client, Door
from sipctl.supervisor.emergency import Emergency
from sipctl.supervisor.hand_off import make_shared
from sipctl.supervisor.order_book import OrderBook
from sipctl.supervisor.re_exec import Kept, let_signals_in, re_execute, received
from sipctl.supervisor.rolling import Rolling
from sipctl.supervisor.snapshots import Snapshots
from sipctl.supervisor.state_dir import StateDir
from sipctl.supervisor.takeover import inherit

__all__ = ["Settings", "Supervisor"]

TURN_S = 0.1
FRESH_S = 1.5  # who was not heard for longer does not serve
STALL_S = 0.5  # a turn of ours longer than this excuses the heartbeats that we did not read
MAX_START_FAILURES = 5


class Supervisor:
    """One run of `sipctl run`."""

    def __init__(self, settings: Settings, say: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._say = say if say is not None else _print
        self._state = StateDir(settings.state_dir)
        self._note = Diary(self._state).note
        self._snapshots = Snapshots(Generations(self._state.snapshots))
        self._crew = Crew(settings, self._state, self._snapshots, os.getpid(), self._note)
        self._door = Door(self._state)
        book = OrderBook(self._state.root)
        self._emergency = Emergency(self._crew, book, self._snapshots, self._note, self._serves, lambda: dict(self._troubles))
        self._troubles: dict[str, str] = {}
        self._passed = received()
        self._rolling = Rolling(self._crew, settings.program, self._tell_story, self._become)
        self._api = ""  # where the desk serves now, once it said so
        self._revision = 0
        self._is_announced = False
        self._may_carry: frozenset[str] = frozenset()  # roles without which calls are carried, from the start on
        self._said: set[str] = set()
        self._stop_reason = ""
        self._failure: wire.Fatal | None = None
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)

    def run(self) -> int:
        """Run until told to stop; returns the exit code.

        Raises: EngineError before anything was started: STATE in use or not writable, a socket that cannot be opened.
        """
        self._state.prepare()
        if self._passed is not None:
            self._state.keep_lock(self._passed.lock)
        else:
            self._state.lock()
            self._state.remove("ready")
        self._handle_signals()
        let_signals_in()
        self._state.note_process("supervisor", os.getpid())
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
        kept = self._passed.kept if self._passed is not None else {}
        inherited, crew = inherit(self._state, [one.pid for one in kept.values()]), self._crew
        for sentence in inherited.story:
            self._note(sentence)
        for fault in self._snapshots.refresh():
            self._note(fault)
        if self._settings.api.endswith(":0"):
            crew.wanted_api = self._state.read("api") or self._settings.api
        shared, wanted = inherited.shared, self._settings.routers
        crew.share(shared if shared is not None else make_shared(wanted, self._settings.slot_bytes))
        if len(crew.slots) != wanted:
            self._remark(f"{len(crew.slots)} routers go on: another number, {wanted}, takes effect once sipctl was stopped")
        if inherited.holding is not None:
            holding, held_fds = inherited.holding
            self._revision = holding.revision
            self._snapshots.hold(holding, *held_fds)
        if inherited.sockets:
            crew.listens, crew.sockets = inherited.listens, inherited.sockets
        else:
            listens, faults = self._snapshots.listens()
            for fault in faults:
                self._note(fault)
            if listens is not None:
                crew.open_sockets(listens)
        crew.take_in(inherited)
        if crew.routers():  # they carry calls, whatever else does not start
            self._may_carry = frozenset({"router", "controller", "desk"})
        elif self._snapshots.best_first(oldest_only=False):
            self._may_carry = frozenset({"controller", "desk"})
        self._go_on_with(kept)
        self._emergency.begin()
        if fault := self._door.open():
            self._remark(fault)

    # -- the loop --------------------------------------------------------------------------------------------------------------

    def _turn_until_stopped(self) -> None:
        crew = self._crew
        turned_s = monotonic_s()
        while not self._stop_reason:
            now_s = monotonic_s()
            if now_s - turned_s > STALL_S:
                self._note(f"the supervisor stood still for {now_s - turned_s:.1f} s: missed heartbeats are excused")
                for child in crew.children():
                    child.beat_s = now_s
            turned_s = now_s
            crew.fill(now_s)
            self._wait()
            now_s = monotonic_s()
            for child in crew.children():
                self._hear(child, now_s)
            for child in crew.children():
                if child.has_ended():
                    self._bury(child, now_s)
                elif (fault := child.fault(now_s)) is not None:
                    self._tell_story(f"{crew.name(child)}, process {child.pid}, is killed: {fault}")
                    child.kill()
            for client, request in self._door.requests(now_s):
                self._asked(client, request, now_s)
            self._emergency.turn(now_s)
            self._rolling.turn(now_s)
            self._tell_passed()
            self._tell_troubles(now_s)
            self._announce()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        self._door.register(poll)
        for child in self._crew.children():
            poll.register(child.pidfd, select.POLLIN)
            if child.sock is not None:
                poll.register(child.sock, select.POLLIN)
        poll.poll(TURN_S * 1000)
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)

    # -- hearing ---------------------------------------------------------------------------------------------------------------

    def _hear(self, child: Child, now_s: float) -> None:
        for frame, fds in child.frames():
            child.beat_s = now_s
            try:
                self._heed(child, frame, fds)
            finally:
                wire.close_all(fds)

    def _heed(self, child: Child, frame: wire.FromChild, fds: list[int]) -> None:
        crew = self._crew
        if isinstance(frame, wire.Booted):
            child.is_booted = True
            child.build, child.layout = frame.build, frame.layout
            crew.note_processes()
        elif isinstance(frame, wire.Ready):
            child.is_ready = True
            self._revision = frame.revision or self._revision
            if child.slot is not None:
                crew.slots[child.slot].boot_deaths = 0
            crew.note_processes()
            self._note(f"{crew.name(child)} reads: snapshot {frame.generation}, revision {frame.revision}, {frame.calls} calls")
        elif isinstance(frame, wire.Holding) and len(fds) in (2, 3):
            self._revision = frame.revision
            slot = crew.slots[frame.slot]
            if slot.distrust is not None and (frame.term, frame.seq) > slot.distrust:
                slot.distrust = None
            held_fds = fds[:]
            fds.clear()
            self._snapshots.hold(frame, *held_fds)
        elif isinstance(frame, wire.Generation):
            for fault in self._snapshots.refresh():
                self._note(fault)
            self._emergency.settle()
        elif isinstance(frame, wire.Seen | wire.Obeyed):
            self._emergency.heard(child, frame)
        elif isinstance(frame, wire.Planned):
            child.is_ready = True
            child.send(wire.Troubles(self._troubles))
            self._plan(frame)
        elif isinstance(frame, wire.Bound):
            child.is_ready = True
            crew.note_processes()
            self._api = crew.wanted_api = frame.api  # a desk that comes back keeps its port
        elif isinstance(frame, wire.Remark):
            self._remark(frame.text)
        elif isinstance(frame, wire.Fatal):
            self._note(f"{crew.name(child)} cannot start: {frame.text}")
            if child.role == "desk":
                crew.wanted_api = self._settings.api  # if a free port was asked for, another one will do
            if not self._is_announced and not crew.routers() and child.role not in self._may_carry:
                self._failure = frame
                self._stop_reason = "a child cannot start"

    def _plan(self, frame: wire.Planned) -> None:
        crew = self._crew
        if not crew.sockets:
            crew.open_sockets(frame.listens)
        elif frame.listens != crew.listens:
            self._note(f"revision {frame.revision} changes `listen`: it takes effect with the next start of sipctl run")

    def _remark(self, text: str) -> None:
        self._note(text)
        if text not in self._said:  # a controller that comes back repeats itself
            self._said.add(text)
            self._say(text)

    def _bury(self, child: Child, now_s: float) -> None:
        """A child ended: take in what it said last, then replace it."""
        self._hear(child, now_s)
        self._watch_start(self._crew.bury(child, now_s))

    def _watch_start(self, name: str) -> None:
        """Before calls were ever carried, a child that keeps dying is for the operator to see; where they are carried without
        it, or can be from what is on disk, it is said and tried again."""
        backoff = self._crew.backoff
        role = name if name in backoff else "router"
        if not self._is_announced and backoff[role].failures >= MAX_START_FAILURES:
            text = f"{name} does not start: its last words are in {self._state.log / (role + '.stderr')}"
            if role in self._may_carry:
                self._remark(text)
                return
            self._failure = wire.Fatal(text, exit_code=1)
            self._stop_reason = text

    def _announce(self) -> None:
        """Say once that calls are carried and the API answers."""
        if self._is_announced:
            return
        routers = [slot.router for slot in self._crew.slots]
        if not self._revision or any(router is None or not router.is_ready for router in routers):
            return
        if "desk" in self._settings.roles and not self._api:
            return
        self._is_announced = True
        where = [f"{listen.transport}:{_bracketed(listen.host)}:{listen.port}" for listen in self._crew.listens]
        self._state.write("ready", json.dumps({"api": self._api, "sockets": where, "revision": self._revision}))
        api = f"API http://{self._api}, " if self._api else ""
        self._say(f"sipctl carries calls: {api}sockets {' '.join(where)}, revision {self._revision}, STATE {self._state.root}")

    # -- people and the controller ---------------------------------------------------------------------------------------------

    def _asked(self, client: Client, request: local_wire.Request, now_s: float) -> None:
        if isinstance(request, local_wire.Renew):
            self._rolling.begin(client, request, now_s)
        else:
            self._emergency.ask(client, request, now_s)

    def _serves(self) -> bool:
        """Does a controller decide, and does its API answer?"""
        now_s = monotonic_s()
        both = [self._crew.solo.get(role) for role in ("controller", "desk")]
        return all(one is not None and one.is_ready and not one.is_stopping and now_s - one.beat_s < FRESH_S for one in both)

    def _tell_troubles(self, now_s: float) -> None:
        """What is wrong with processes is an alarm of the controller's, and a line of our own if there is none to hear it."""
        troubles = self._crew.troubles(now_s)
        if troubles == self._troubles:
            return
        for name in troubles.keys() - self._troubles.keys():
            self._note(troubles[name])
        self._troubles = troubles
        controller = self._crew.solo.get("controller")
        if controller is not None:
            controller.send(wire.Troubles(troubles))

    def _tell_story(self, text: str, actor: str = "sipctl", reason: str = "") -> None:
        """A line of our log, and of the history."""
        self._note(text)
        controller = self._crew.solo.get("controller")
        if controller is not None:
            controller.send(wire.Story(text, actor, reason))

    # -- another image of ourselves ---------------------------------------------------------------------------------------------

    def _become(self, client: Client) -> str:
        """Go on as the build that new children run, in place; returns only if that cannot be, with the reason."""
        settings, crew = self._settings, self._crew
        argv = [crew.python, *settings.program, "supervisor", "--state", str(self._state.root), "--node", settings.node]
        argv += ["--config", str(settings.config_dir.absolute()), "--api", settings.api, "--routers", str(len(crew.slots))]
        argv += ["--watch"] if settings.watch else []
        kept = {
            role: Kept(child.pid, child.sock.fileno(), child.build)
            for role, child in crew.solo.items() if child.sock is not None and child.is_at_work
        }  # fmt: skip
        self._note("the supervisor goes on as another image of itself")
        return re_execute(argv, self._state.lock_fd, kept, client.sock, client.actor, "replaced, the supervisor last")

    def _go_on_with(self, kept: Mapping[str, Kept]) -> None:
        """The desk and the controller that the image before us held."""
        crew = self._crew
        for role, one in kept.items():
            sock = socket.socket(fileno=one.wire)
            try:
                child = Child(role, one.pid, sock, monotonic_s(), None)
            except OSError:  # it ended between the images
                continue
            child.build = one.build
            crew.solo[role] = child
        if self._passed is None:
            return
        crew.note_processes()
        self._api = self._state.read("api")
        crew.wanted_api = self._api or crew.wanted_api
        self._is_announced = True
        self._note(f"the supervisor goes on as process {os.getpid()} under {sys.executable}")

    def _tell_passed(self) -> None:
        """Whoever waited for the other image hears that it works."""
        if self._passed is None or any(slot.router is None for slot in self._crew.slots):
            return
        passed, self._passed = self._passed, None
        self._tell_story(passed.text, passed.actor)
        if passed.client is not None:
            Client(passed.client, passed.actor, monotonic_s()).end(local_wire.End("done", passed.text))

    # -- ending ----------------------------------------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        def told(number: int, _frame: object) -> None:
            self._stop_reason = signal.Signals(number).name

        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, told)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends no calls

    def _stop_all(self) -> None:
        reason = self._stop_reason or "failed"
        self._note(f"stopping: {reason}")
        self._rolling.stop()
        self._door.close()
        self._crew.stop_all(reason)
        self._state.clear_run()
        self._state.unlock()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _print(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, flush=True)
