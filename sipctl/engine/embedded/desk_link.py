"""What a router tells the desk: call events and log lines, in packets, never waited for (DESIGN §4.4).

Events are kept a few milliseconds so that several share one system call. While the desk is away or slow they wait in a bounded
backlog; what does not fit is dropped and counted. SIP never waits for it.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from sipctl.call.events import MAX_EVENTS_PER_PACKET, RouterEvent
from sipctl.engine.embedded.wire import send_packet

MAX_BACKLOG = 16384
GATHER_S = 0.02

_encoder = msgspec.msgpack.Encoder()


class DeskLink:
    """The sending end of a router's event link."""

    def __init__(self, otherwise: Callable[[tuple[Any, ...], float], None]) -> None:
        """`otherwise(note, now_s)` is handed what the core notes besides events."""
        self._otherwise = otherwise
        self._sock: socket.socket | None = None
        self._backlog: deque[RouterEvent] = deque()
        self._due_s: float | None = None
        self.counters = {"events_sent": 0, "events_dropped": 0}

    def connect(self, sock: socket.socket) -> None:
        """A new desk listens; the old link, if any, is closed."""
        if self._sock is not None:
            self._sock.close()
        self._sock = sock

    def heed(self, notes: list[tuple[Any, ...]], now_s: float) -> None:
        """Keep the events among the core's notes; the rest is somebody else's."""
        for note in notes:
            if note[0] == "event":
                self.add(note[1], now_s)
            else:
                self._otherwise(note, now_s)

    def add(self, event: RouterEvent, now_s: float) -> None:
        if len(self._backlog) >= MAX_BACKLOG:
            self.counters["events_dropped"] += 1
            return
        self._backlog.append(event)
        if self._due_s is None:
            self._due_s = now_s + GATHER_S

    def due(self, now_s: float) -> None:
        """Send what has waited long enough or fills a packet."""
        if self._due_s is not None and (now_s >= self._due_s or len(self._backlog) >= MAX_EVENTS_PER_PACKET):
            self.flush(now_s)

    def flush(self, now_s: float) -> None:
        """Send as much as the desk takes now."""
        backlog, sock = self._backlog, self._sock
        self._due_s = now_s + GATHER_S if backlog else None
        if sock is None:
            return
        while backlog:
            count = min(len(backlog), MAX_EVENTS_PER_PACKET)
            packet = [backlog[index] for index in range(count)]
            try:
                send_packet(sock, _encoder.encode(packet))
            except BlockingIOError:
                return
            except (OSError, msgspec.MsgspecError, TypeError, ValueError) as error:
                if not isinstance(error, OSError):  # an event that does not encode must not dam the others
                    self._drop(count)
                    continue
                sock.close()
                self._sock = None
                return
            for _ in range(count):
                backlog.popleft()
            self.counters["events_sent"] += count
        self._due_s = None

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._backlog.popleft()
        self.counters["events_dropped"] += count
