"""A bound UDP address that takes everything and says nothing: what a tenant whose signalling is gone looks like from outside.

Unlike a stopped process it can be asked what came.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field

from tests.support.processes import SIP_PORT

BUFFER_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Heard:
    """One datagram and when it came."""

    at_s: float
    source: tuple[str, int]
    data: bytes

    @property
    def start_line(self) -> str:
        return self.data.split(b"\r\n", 1)[0].decode(errors="replace")

    @property
    def method(self) -> str:
        return self.start_line.split(" ", 1)[0]


@dataclass(slots=True)
class Mute:
    """The listener; use as a context manager."""

    host: str
    port: int = SIP_PORT
    heard: list[Heard] = field(default_factory=list)
    _socket: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    _thread: threading.Thread | None = None

    def __enter__(self) -> Mute:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.bind((self.host, self.port))
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self._thread is not None:
            self._thread.join(1)

    def send(self, data: bytes, target: tuple[str, int]) -> None:
        """Send from this address."""
        self._socket.sendto(data, target)

    def count(self, method: str) -> int:
        return sum(1 for one in self.heard if one.method == method)

    def _listen(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            except OSError:
                return
            self.heard.append(Heard(time.monotonic(), source, data))
