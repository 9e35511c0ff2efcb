"""Child processes of a test: everything that is started is ended again, also when the test fails.

Each child leads a session of its own, so that its children end with it; a stopped one (SIGSTOP) is woken first. Ports need no
allocation: all of 127.0.0.0/8 is this host, so every party gets an address of its own and keeps port 5060.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SIP_PORT = 5060
END_GRACE_S = 3.0
_NETS = itertools.count()


@dataclass(frozen=True, slots=True)
class Net:
    """A /24 of loopback that no other test of this host uses; `net[7]` is its seventh address."""

    prefix: str

    def __getitem__(self, host: int) -> str:
        return f"{self.prefix}.{host}"

    @property
    def cidr(self) -> str:
        return f"{self.prefix}.0/24"


def a_net() -> Net:
    """A fresh /24; two test runs side by side differ by their pid, and an address still in use is passed over."""
    for _ in range(4096):
        step = next(_NETS)
        prefix = f"127.{64 + os.getpid() % 128}.{1 + (os.getpid() // 128 + step * 7) % 250}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                udp.bind((f"{prefix}.1", SIP_PORT))
            except OSError:
                continue
            return Net(prefix)
    raise AssertionError("no free loopback network")


def wait_until(true: Callable[[], object], timeout_s: float, what: str, every_s: float = 0.02) -> None:
    """Wait for a condition of the outside world.

    Raises: AssertionError naming `what` when it did not come true in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, f"waited {timeout_s} s in vain: {what}"
        time.sleep(every_s)


def is_bound(host: str, port: int, transport: str = "udp") -> bool:
    """Whether a socket of this host is bound (udp) or listening (tcp) there."""
    wanted = f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"
    for line in Path(f"/proc/net/{transport}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted and (transport == "udp" or fields[3] == "0A"):
            return True
    return False


def kernel_drops(host: str, port: int) -> int:
    """Datagrams the kernel threw away because the socket's buffer was full."""
    wanted = f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted:
            return int(fields[-1])
    return 0


def is_alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time the kernel has charged to these processes, in seconds (ticks of 10 ms)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def descendants_of(pid: int) -> list[int]:
    """All processes below one, parents first."""
    below: list[int] = []
    with contextlib.suppress(OSError):
        for child in children_of(pid):
            below += [child, *descendants_of(child)]
    return below


@dataclass(slots=True)
class Child:
    """One process a test started."""

    popen: subprocess.Popen[bytes]
    log: Path
    name: str

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def fall_silent(self) -> None:
        """Stop without closing anything: its sockets stay open and nobody reads them."""
        os.killpg(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def wait(self, timeout_s: float) -> int:
        """Exit code; AssertionError with the log's tail when it doesn't end in time."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s} s\n{self.tail()}") from None

    def tail(self, size_bytes: int = 3000) -> str:
        return self.log.read_bytes()[-size_bytes:].decode(errors="replace") if self.log.exists() else ""

    def end(self) -> None:
        """End it and its session: politely first, then by force."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)
            os.killpg(self.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(END_GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait(END_GRACE_S)


@dataclass(slots=True)
class Processes:
    """What a test has running; `end_all` ends it, the last started first."""

    work: Path
    _children: list[Child] = field(default_factory=list)
    _at_end: list[Callable[[], None]] = field(default_factory=list)

    def start(
        self, name: str, argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Child:
        log = self.work / f"{name}-{len(self._children)}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                cwd=cwd or self.work, env=None if env is None else dict(env), start_new_session=True,
            )  # fmt: skip
        child = Child(popen, log, name)
        self._children.append(child)
        return child

    def at_end(self, action: Callable[[], None]) -> None:
        """Run this when the test is over, before the children are ended."""
        self._at_end.append(action)

    def end_all(self) -> None:
        errors: list[Exception] = []
        for action in reversed(self._at_end):
            try:
                action()
            except (OSError, AssertionError) as error:
                errors.append(error)
        for child in reversed(self._children):
            if child.is_running:
                child.end()
        self._children.clear()
        self._at_end.clear()
        if errors:
            raise ExceptionGroup("cleaning up after a test", errors)


@contextlib.contextmanager
def processes(work: Path) -> Iterator[Processes]:
    """Start children inside this block; none outlives it, also when we are told to end (SIGTERM)."""
    work.mkdir(parents=True, exist_ok=True)
    started = Processes(work)
    before = signal.getsignal(signal.SIGTERM)
    in_charge = threading.current_thread() is threading.main_thread() and before is signal.SIG_DFL
    if in_charge:
        signal.signal(signal.SIGTERM, _end_in_order)
    try:
        yield started
    finally:
        started.end_all()
        if in_charge:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_in_order(_number: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)
