"""Finding what a supervisor that was killed left behind: routers that carry calls, sockets, slot memory (DESIGN §4).

Every router and spare answers on its own socket in STATE/run. Who answers is taken over, with descriptors; who does not answer,
or is a controller or desk, is ended by its run file (pid and start time, held by pidfd, so that no stranger with a reused pid
is hit).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from sipctl.clock import monotonic_s
from sipctl.engine.embedded import wire
from sipctl.engine.embedded.shared import Shared, fd_count, from_fds
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.children import Child, in_run
from sipctl.supervisor.hand_off import close_shared
from sipctl.supervisor.state_dir import Process, StateDir

ANSWER_TIMEOUT_S = 2.0
END_TIMEOUT_S = 1.0  # between SIGTERM and SIGKILL


@dataclass(slots=True)
class Inheritance:
    """What the next supervisor goes on with."""

    routers: list[Child] = field(default_factory=list)  # each with its slot
    spares: list[Child] = field(default_factory=list)
    listens: tuple[Listen, ...] = ()
    sockets: list[socket.socket] = field(default_factory=list)
    shared: Shared | None = None
    holding: tuple[wire.Holding, list[int]] | None = None  # with its descriptors: state, table, the canary's table if any
    story: list[str] = field(default_factory=list)  # what was done, a sentence each


def inherit(state: StateDir, kept: Collection[int] = ()) -> Inheritance:
    """Take over every router and spare that answers, and end everything else of the former supervisor.

    Args:
        kept: pids of those that go on with us anyway.
    """
    found = Inheritance()
    for path in sorted(state.run.glob("*.sock")):
        child = _call(state, path.name, found)
        if child is None:
            state.remove(path.name)
    taken = {child.pid for child in (*found.routers, *found.spares)} | set(kept)
    for name, process in state.processes().items():
        if process.pid not in taken and process.pid != os.getpid():
            found.story.append(f"{name}, process {process.pid}, is ended: it {_reason(name)}")
            end(process, at_once=not name.startswith(("controller", "desk")))
    for path in state.run.glob("*.json"):  # names change with roles; the new supervisor writes them anew
        if path.stem != "supervisor":
            state.remove(path.name)
    return found


def end(process: Process, *, at_once: bool) -> None:
    """End a process that is not our child."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if not process.is_alive:  # the pid was reused before we held it
            return
        with contextlib.suppress(OSError):
            if not at_once:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                if _ended(pidfd, END_TIMEOUT_S):
                    return
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _ended(pidfd, END_TIMEOUT_S)
    finally:
        os.close(pidfd)


def _reason(name: str) -> str:
    return "is started anew" if name.startswith(("controller", "desk")) else "did not answer"


def _ended(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _call(state: StateDir, name: str, found: Inheritance) -> Child | None:
    """Take over who answers at one takeover socket; None if nobody does."""
    called = call_router(state, name)
    if called is None:
        return None
    child, report, fds = called
    (found.routers if report.slot is not None else found.spares).append(child)
    found.story.append(f"process {child.pid} goes on as {'the spare' if child.slot is None else f'router {child.slot}'}")
    _keep(report, fds, found)
    return child


def call_router(state: StateDir, name: str) -> tuple[Child, wire.Report, list[int]] | None:
    """Ask one takeover socket who is there, and become its supervisor; None if nobody answers.

    Returns: the router or spare, what it reported, and the descriptors that came with that: the caller's.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wire.LINK_BUFFER_BYTES)
    try:
        sock.settimeout(ANSWER_TIMEOUT_S)
        in_run(state, lambda folder: sock.connect(f"{folder}/{name}"))
        report, fds = _report(sock)
        sock.setblocking(False)
        child = Child("router", report.pid, sock, monotonic_s(), None)
    except (OSError, msgspec.MsgspecError):
        sock.close()
        return None
    child.takeover = name
    child.slot, child.build, child.layout = report.slot, report.build, report.layout
    return child, report, fds


def _report(sock: socket.socket) -> tuple[wire.Report, list[int]]:
    deadline_s = monotonic_s() + ANSWER_TIMEOUT_S
    while monotonic_s() < deadline_s:
        packet = wire.receive_packet(sock)
        if packet is None:
            break
        frame = wire.from_child(packet[0])
        if isinstance(frame, wire.Report):
            return frame, packet[1]
        wire.close_all(packet[1])
    raise OSError("no report came")


def _keep(report: wire.Report, fds: list[int], found: Inheritance) -> None:
    """Sockets and memory from the first who has them, a router before a spare; the newest snapshot that a router holds."""
    count = len(report.listens) * report.slots
    size = fd_count(report.slots)
    if not count or len(fds) < count + size:
        wire.close_all(fds)
        return
    rest = fds[count + size :]
    if report.holding is not None and len(rest) in (2, 3) and _is_newer(report.holding, found.holding):
        if found.holding is not None:
            wire.close_all(found.holding[1])
        found.holding = (report.holding, rest)
    else:
        wire.close_all(rest)
    if not found.sockets or (report.slot is not None and len(found.routers) == 1):
        for sock in found.sockets:
            sock.close()
        if found.shared is not None:
            close_shared(found.shared)
        found.listens = report.listens
        found.sockets = [socket.socket(fileno=fd) for fd in fds[:count]]
        found.shared = from_fds(report.slots, fds[count : count + size])
    else:
        wire.close_all(fds[: count + size])


def _is_newer(holding: wire.Holding, known: tuple[wire.Holding, list[int]] | None) -> bool:
    return known is None or (holding.term, holding.seq) > (known[0].term, known[0].seq)
