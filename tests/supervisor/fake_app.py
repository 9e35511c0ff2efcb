"""Children with nothing in them, started as `python -m tests.supervisor.fake_app ROLE`: what the supervisor does is the point.

The router's core answers every datagram with `pid slot revision count`, the count being kept in the slot's memory: it shows
which process answered, by which snapshot, and that memory outlives a router.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sipctl.control.ports import Observe
from sipctl.engine.embedded import wire
from sipctl.engine.embedded.link import ChildWire
from sipctl.engine.embedded.router import Wire, run_router
from sipctl.errors import SipctlError
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.supervisor import Settings, Supervisor

SLOT_BYTES = 4096
LAYOUT = os.environ.get("SIPCTL_FAKE_LAYOUT", "fake-1")
BUILD = os.environ.get("SIPCTL_FAKE_BUILD", "fake 1")


class EchoCore:
    """Answers with who it is."""

    judge = None
    calls = 0
    next_due_s: float | None = None
    is_shedding = False

    def __init__(self, slot: int, listens: Sequence[Listen], memory: memoryview, *_: object) -> None:
        self._slot = slot
        self._memory = memory
        self._memory[:16] = LAYOUT.encode().ljust(16, b"\0")
        self._revision = 0

    def swap(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        self._revision = snapshot.state.seq

    def adopt(self, now_s: float, out: Any, notes: Any) -> None:
        assert len(self._memory) == SLOT_BYTES

    def receive(self, data: bytes, socket: int, address: tuple[str, int], now_s: float, out: Any, notes: Any) -> None:
        count = int.from_bytes(self._memory[16:20], "little") + 1
        self._memory[16:20] = count.to_bytes(4, "little")
        if data == b"raise":
            raise AssertionError("told to")
        out.append((socket, f"{os.getpid()} {self._slot} {self._revision} {count}".encode(), address))

    def tick(self, now_s: float, out: Any, notes: Any) -> None: ...
    def send_failed(self, socket: int, address: tuple[str, int], now_s: float, out: Any, notes: Any) -> None: ...
    def flow_opened(self, flow: int, socket: int, address: tuple[str, int]) -> None: ...
    def flow_closed(self, flow: int, now_s: float, out: Any, notes: Any) -> None: ...
    def on_gap(self, gap_s: float, now_s: float) -> None: ...
    def forget(self, data: bytes) -> None: ...
    def probe_now(self, sbc: str, now_s: float) -> None: ...
    def hear_flag(self, kind: int, sbc_id: int, until_s: float) -> None: ...

    def heeds(self, socket: int, address: tuple[str, int]) -> bool:
        return True

    def is_stream(self, socket: int) -> bool:
        return socket != 0

    def observe(self, now_s: float) -> Observe:
        return Observe("", now_s, {}, {}, {}, {}, 0, 0.0, 0)


async def _idle(sock: socket.socket, role: str) -> None:
    """A controller or desk that only lives."""
    control = ChildWire(sock, lambda _name, link: link.close())
    control.say(wire.Booted(role, os.getpid()))
    if role == "desk":
        control.say(wire.Bound("127.0.0.1:1"))
    elif os.environ.get("SIPCTL_FAKE_PLANNED"):
        control.say(wire.Planned(1, ()))
    beating = asyncio.create_task(control.beat())
    listening = asyncio.create_task(control.listen())
    await control.stopped.wait()
    beating.cancel()
    listening.cancel()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    parser.add_argument("--wire", type=int, default=-1)
    parser.add_argument("--takeover", type=int, default=-1)
    parser.add_argument("--state", type=Path, default=Path())
    arguments, _ = parser.parse_known_args()
    if arguments.role == "supervisor":
        program = ("-m", "tests.supervisor.fake_app")
        try:
            routers = int(os.environ.get("FAKE_ROUTERS", "1"))
            return Supervisor(Settings(arguments.state, program=program, slot_bytes=SLOT_BYTES, routers=routers)).run()
        except SipctlError as error:
            print(f"{error} ({error.hint})", file=sys.stderr)
            return error.exit_code
    if arguments.role == "check":
        return 0
    if arguments.role == os.environ.get("SIPCTL_FAKE_DYING"):
        return 1
    sock = socket.socket(fileno=arguments.wire)
    if arguments.role == "router":
        failpoints = frozenset(os.environ.get("SIPCTL_FAILPOINTS", "").split(","))
        wire_end = Wire(sock, socket.socket(fileno=arguments.takeover))
        layout = f"{LAYOUT} {os.environ.get('SIPCTL_FAKE_BOARD', '')}".strip()
        return run_router(wire_end, EchoCore, failpoints, build=BUILD, layout=layout)
    asyncio.run(_idle(sock, arguments.role))
    return 0


if __name__ == "__main__":
    sys.exit(main())
