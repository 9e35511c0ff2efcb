"""A call core that does what the test says and remembers what the driver told it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sipctl.engine.embedded.datagrams import Address
from sipctl.engine.embedded.driver import Notes, Out

OnReceive = Callable[[bytes, int, Address, Out, Notes], None]


class FakeCore:
    """Echoes by default."""

    def __init__(self) -> None:
        self.is_shedding = False
        self.next_due_s: float | None = None
        self.on_receive: OnReceive = lambda data, where, address, out, notes: out.append((where, b"echo " + data, address))
        self.received: list[tuple[bytes, int, Address]] = []
        self.failed: list[tuple[int, Address]] = []
        self.opened: list[tuple[int, int, Address]] = []
        self.closed: list[int] = []
        self.gaps: list[float] = []
        self.forgotten: list[bytes] = []
        self.ticks: list[float] = []
        self.on_tick: Callable[[float, Out], None] = lambda now_s, out: None
        self.on_failed: Callable[[int, Address, Out], None] = lambda where, address, out: None

    def receive(self, data: bytes, socket: int, address: Address, now_s: float, out: Out, notes: Notes) -> None:
        self.received.append((data, socket, address))
        self.on_receive(data, socket, address, out, notes)

    def tick(self, now_s: float, out: Out, notes: Notes) -> None:
        self.ticks.append(now_s)
        self.next_due_s = None
        self.on_tick(now_s, out)

    def send_failed(self, socket: int, address: Address, now_s: float, out: Out, notes: Notes) -> None:
        self.failed.append((socket, address))
        self.on_failed(socket, address, out)

    def flow_opened(self, flow: int, socket: int, address: Address) -> None:
        self.opened.append((flow, socket, address))

    def flow_closed(self, flow: int, now_s: float, out: Out, notes: Notes) -> None:
        self.closed.append(flow)

    def on_gap(self, gap_s: float, now_s: float) -> None:
        self.gaps.append(gap_s)

    def forget(self, data: bytes) -> None:
        self.forgotten.append(data)


def turn_until(driver: Any, done: Callable[[], bool], turns: int = 200) -> None:
    """Turn the driver's loop until something holds; it turns at least every 100 ms."""
    left = [turns]

    def every(_now_s: float) -> None:
        left[0] -= 1
        if done() or left[0] <= 0:
            driver.stop()

    driver.run(every)
    driver.resume()
    assert done(), "it did not come about"
