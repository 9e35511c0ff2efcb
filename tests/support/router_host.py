"""The machine a simulated router runs on: its sockets, its slot's memory, its connections, and the many ways in which it dies.

What survives a router, survives here too: the memory of the slot, datagrams waiting in the sockets, connections nobody has
accepted yet. What dies with a process dies here: the Core object with everything it knows, and its TCP connections with what
was under way.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from sipctl.call.records import SLOT_BYTES
from sipctl.engine.embedded.observing import ObservedCore
from sipctl.health.judge import Judge
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import Listen
from sipctl.testing.wire import Address

FLOW_BASE: Final = 1 << 20
MAX_BACKLOG: Final = 10_000  # datagrams that wait in the sockets' buffers while no router reads
UNIX_MINUS_MONO_S: Final = 1_700_000_000.0

Sent = list[tuple[int, bytes, Address]]


class Killed(BaseException):
    """The router's process ended at this line; nothing in the product may catch it."""


@dataclass(slots=True)
class Flow:
    """One TCP connection between the router and a party."""

    number: int
    socket: int
    party: Address
    peer: Address  # the party's end, as the router sees it
    alive: bool = True


@dataclass(slots=True)
class Doom:
    """When the router dies: after so many messages left, or so many lines of the call path ran, counted from now."""

    outputs: int | None = None
    lines: int | None = None
    only: Callable[[bytes], bool] | None = None  # counts only outputs like this
    down_s: float = 0.08


class RouterHost:
    """Runs Core objects one after another on the same memory and sockets."""

    def __init__(
        self, listens: tuple[Listen, ...], carry: Callable[[int, bytes, Address], None], died: Callable[[float], None]
    ) -> None:  # fmt: skip
        self.listens = listens
        self.core: ObservedCore | None = None
        self.snapshot: RoutingSnapshot | None = None
        self.memory = memoryview(mmap.mmap(-1, SLOT_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self.notes: list[Any] = []
        self.doom: Doom | None = None
        self.paused = False
        self.gap_s = 0.0  # the longest its loop stood still since the controller was told last
        self.wall_jump_s = 0.0  # what the next process finds the wall clock to have jumped
        self.deaths = 0
        self.adopted: list[dict[str, int]] = []  # census right after each adoption
        self.flows: dict[int, Flow] = {}
        self.entropy = bytes(range(100, 132))
        self.backlog: list[Callable[[float], None]] = []
        self.dropped = 0
        self._next_flow = FLOW_BASE
        self._carry = carry
        self._died = died

    def start(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        """A new process takes the slot: snapshot first, then the calls, then what waited in the sockets."""
        assert self.core is None
        self._next_flow = FLOW_BASE
        self.core = ObservedCore(
            slot=0, sockets=self.listens, memory=self.memory, entropy=self.entropy,
            unix_minus_mono_s=UNIX_MINUS_MONO_S + self.wall_jump_s, judge=Judge(self.deaths),
        )  # fmt: skip
        self.snapshot = snapshot
        core = self.core
        core.swap(snapshot, now_s)
        self._act(lambda out, notes: core.adopt(now_s, out, notes))
        if self.core is not None:
            self.adopted.append(self.core.census())
        self._take_backlog(now_s)

    def swap(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        """Hand the router a newer snapshot."""
        self.snapshot = snapshot
        if self.core is not None:
            self.core.swap(snapshot, now_s)

    def kill(self, down_s: float = 0.08) -> None:
        """The process is gone: `kill -9`."""
        if self.core is None:
            return
        self.core = None
        self.paused = False
        self.doom = None
        self.deaths += 1
        for flow in self.flows.values():
            flow.alive = False
        self.flows.clear()
        self._died(down_s)

    # -- what the driver does ---------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, socket: int, address: Address, now_s: float) -> None:
        """One datagram has arrived at a socket."""
        core = self.core
        if core is None or self.paused:
            self._wait(lambda at_s: self.receive(data, socket, address, at_s))
            return
        self._act(lambda out, notes: core.receive(data, socket, address, now_s, out, notes))

    def receive_on(self, flow: Flow, data: bytes, now_s: float) -> None:
        """One framed message has arrived on a connection; what a dead router had accepted is lost."""
        core = self.core
        if flow.alive and (self.paused or (core is None and flow.number == 0)):
            self._wait(lambda at_s: self.receive_on(flow, data, at_s))
        elif core is not None and flow.alive:
            if flow.number == 0:
                self.accept(flow)
            self._act(lambda out, notes: core.receive(data, flow.number, flow.peer, now_s, out, notes))

    def accept(self, flow: Flow) -> None:
        """The router takes a connection, or has made one."""
        assert self.core is not None
        flow.number = self._next_flow
        self._next_flow += 1
        self.flows[flow.number] = flow
        self.core.flow_opened(flow.number, flow.socket, flow.peer)

    def flow_to(self, socket: int, address: Address) -> Flow | None:
        """An open connection to an address, whichever side made it."""
        here = (flow for flow in self.flows.values() if flow.alive and flow.socket == socket)
        return next((flow for flow in here if address in (flow.peer, flow.party)), None)

    def close_flow(self, flow: Flow, now_s: float) -> None:
        """The far end closed a connection."""
        flow.alive = False
        self.flows.pop(flow.number, None)
        core = self.core
        if core is not None and flow.number:
            self._act(lambda out, notes: core.flow_closed(flow.number, now_s, out, notes))

    def send_failed(self, socket: int, address: Address, now_s: float) -> None:
        """An ICMP error or a refused connection."""
        core = self.core
        if core is not None and not self.paused:
            self._act(lambda out, notes: core.send_failed(socket, address, now_s, out, notes))

    def tick(self, now_s: float) -> None:
        core = self.core
        if core is not None and not self.paused:
            self._act(lambda out, notes: core.tick(now_s, out, notes))

    @property
    def next_due_s(self) -> float | None:
        return None if self.core is None or self.paused else self.core.next_due_s

    def pause(self) -> None:
        """The process stands still; what arrives waits in its sockets."""
        self.paused = self.core is not None

    def resume(self, gap_s: float, now_s: float) -> None:
        """It goes on, and notices how long it stood."""
        if self.core is not None and self.paused:
            self.paused = False
            self.gap_s = max(self.gap_s, gap_s)
            self.core.on_gap(gap_s, now_s)
            self._take_backlog(now_s)

    def _take_backlog(self, now_s: float) -> None:
        waiting, self.backlog = self.backlog, []
        for act in waiting:
            act(now_s)

    # -- one step of the core, and death in the midst of it -------------------------------------------------------------------

    def _act(self, step: Callable[[Sent, list[Any]], None]) -> None:
        out: Sent = []
        doom = self.doom
        if doom is not None and doom.lines is not None:
            try:
                left = _run_some_lines(lambda: step(out, self.notes), doom.lines)
            except Killed:
                self.kill(doom.down_s)
                return
            doom.lines = left
        else:
            step(out, self.notes)
        for socket, data, address in out:
            if doom is not None and doom.outputs is not None and (doom.only is None or doom.only(data)):
                if doom.outputs == 0:
                    self.kill(doom.down_s)
                    return
                doom.outputs -= 1
            self._carry(socket, data, address)

    def later(self, act: Callable[[float], None]) -> None:
        """Have something wait until the process goes on, or its successor begins."""
        self._wait(act)

    def _wait(self, act: Callable[[float], None]) -> None:
        if len(self.backlog) < MAX_BACKLOG:
            self.backlog.append(act)
        else:
            self.dropped += 1


def _run_some_lines(step: Callable[[], None], lines: int) -> int:
    """Run a step but raise Killed when so many lines of the package have run; return how many were left.

    Memory is written by the lines that ran and by no other: exactly what a successor of a killed process finds.
    """
    left = lines

    def local(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                raise Killed
        return local

    def watch(frame: FrameType, _event: str, _arg: Any) -> Any:
        return local if "/sipctl/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        step()
    finally:
        sys.settrace(before)
    return left
