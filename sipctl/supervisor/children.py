"""One child process as the supervisor holds it: its wire, its pidfd, its heartbeat."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec

from sipctl.engine.embedded import wire
from sipctl.supervisor.state_dir import StateDir, process_fields

BOOT_TIMEOUT_S = 30.0  # from start to the first heartbeat; imports on a busy machine
STOPPED_AFTER_S = 1.0  # no heartbeat for so long and stopped: killed
SILENT_AFTER_S = 5.0  # no heartbeat for so long: killed, whatever its state
MAX_FRAMES_PER_WAKE = 256


class Child:
    """A router, a spare, the controller or the desk; started by us or taken over from a supervisor that died."""

    def __init__(self, role: str, pid: int, sock: socket.socket, now_s: float, process: subprocess.Popen[bytes] | None) -> None:
        self.role = role
        self.pid = pid
        self.sock: socket.socket | None = sock
        self.started_s = now_s
        self.beat_s = now_s
        self.is_booted = process is None  # one that was taken over works already
        self.is_ready = process is None  # a router reads, a desk serves
        self.is_stopping = False
        self.build = ""  # of its code, as it told
        self.layout = ""  # how a router lays out its slot's memory, as it told
        self.slot: int | None = None
        self.takeover = ""  # name of its takeover socket in STATE/run
        self._process = process
        try:
            self.pidfd = os.pidfd_open(pid)
        except OSError:
            sock.close()
            raise

    @property
    def is_at_work(self) -> bool:
        """A router reads its sockets, a desk serves its API, a controller or a spare has started."""
        has_more_to_do = self.role == "desk" or (self.role == "router" and self.slot is not None)
        return self.is_ready if has_more_to_do else self.is_booted

    def send(self, frame: msgspec.Struct, fds: Sequence[int] = ()) -> bool:
        """Say something; False if the child is gone or does not read."""
        if self.sock is None:
            return False
        try:
            wire.send_packet(self.sock, wire.encode(frame), fds)
        except OSError:
            return False
        return True

    def frames(self) -> list[tuple[wire.FromChild, list[int]]]:
        """What it said since the last look; the caller closes the descriptors."""
        found: list[tuple[wire.FromChild, list[int]]] = []
        while self.sock is not None and len(found) < MAX_FRAMES_PER_WAKE:
            try:
                packet = wire.receive_packet(self.sock)
            except BlockingIOError:
                break
            except OSError:
                packet = None
            if packet is None:
                self.sock.close()
                self.sock = None
                break
            try:
                found.append((wire.from_child(packet[0]), packet[1]))
            except msgspec.MsgspecError:
                wire.close_all(packet[1])
        return found

    def fault(self, now_s: float) -> str | None:
        """Why this child must be killed, or None (DESIGN §4.5)."""
        silent_s = now_s - self.beat_s
        if not self.is_booted:
            return f"did not start within {BOOT_TIMEOUT_S:.0f} s" if silent_s > BOOT_TIMEOUT_S else None
        if silent_s > SILENT_AFTER_S:
            return f"no heartbeat for {silent_s:.1f} s"
        if silent_s > STOPPED_AFTER_S:
            fields = process_fields(self.pid)
            if fields is not None and fields[0] in "Tt":
                return f"stopped, and no heartbeat for {silent_s:.1f} s"
        return None

    def has_ended(self) -> bool:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def reap(self) -> str:
        """Forget a child whose pidfd says that it ended; tells how it ended, as far as we may know."""
        how = "ended"
        if self._process is not None:
            how = _how(self._process.wait())
        else:
            with contextlib.suppress(ChildProcessError):  # ours still, if the supervisor became another image in place
                how = _how(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))
        os.close(self.pidfd)
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        return how


def _how(code: int) -> str:
    return f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"


def spawn(
    state: StateDir, program: Sequence[str], role: str, arguments: Sequence[str], now_s: float, *, takeover: str = "",
    python: str = sys.executable,
) -> Child:
    """Start a child with its wire, and with a takeover socket of that name in STATE/run if one is named.

    Args:
        python: the interpreter, and so the build of sipctl, that it runs.
    Raises: OSError if the machine does not let us.
    """
    ours, theirs = wire.socket_pair()
    passed = [theirs.fileno()]
    argv = [python, *program, role, "--wire", str(theirs.fileno()), *arguments]
    listener = _takeover_listener(state, takeover) if takeover else None
    if listener is not None:
        passed.append(listener.fileno())
        argv += ["--takeover", str(listener.fileno())]
    try:
        with state.append_to_log(f"{role}.stderr") as errors:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, pass_fds=passed, start_new_session=True
            )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        if listener is not None:
            listener.close()
    child = Child(role, process.pid, ours, now_s, process)
    child.takeover = takeover
    return child


def in_run(state: StateDir, use: Callable[[str], None]) -> None:
    """Do something with a short path of STATE/run: names of sockets may have no more than 107 octets, STATE may be longer."""
    folder = os.open(state.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{folder}")
    finally:
        os.close(folder)


def _takeover_listener(state: StateDir, name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        in_run(state, lambda folder: listener.bind(f"{folder}/{name}"))
        listener.listen(2)
    except OSError:
        listener.close()
        raise
    return listener
