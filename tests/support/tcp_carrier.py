"""A carrier over TCP that lives through the death of its connections, which SIPp's TCP mode does not.

One connection to the router for its own requests, made anew when it is lost; it also listens at its own address, since a router
that took over answers there. Calls are INVITE / 200 / ACK … BYE / 200; a set-up that is pending on a connection that dies has
failed (RFC 3261 §17.1.4), unless its answer still comes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from dataclasses import dataclass, field
from enum import Enum

from tests.support.processes import SIP_PORT

RECONNECT_S = 0.05
MESSAGE_BYTES = 65536


class Fate(Enum):
    """What became of one call so far."""

    CALLING = "calling"
    UP = "up"
    LEAVING = "leaving"  # BYE sent
    ENDED = "ended"  # its BYE was answered 200
    FAILED = "failed"  # a final failure, or its connection died before any answer
    LOST = "lost"  # it was up, and its BYE was refused


@dataclass(slots=True)
class Call:
    """One call: what its requests are made of."""

    number: int
    fate: Fate = Fate.CALLING
    finals: int = 0  # final failures heard
    to: str = ""
    target: str = ""
    routes: tuple[str, ...] = ()
    up_s: float = 0.0
    bye_s: float = 0.0


@dataclass(slots=True)
class TcpCarrier:
    """All its calls; `turn` does whatever there is to do for a while."""

    host: str
    router: str
    called: str
    calls: dict[str, Call] = field(default_factory=dict)
    reconnects: int = 0
    _connection: socket.socket | None = None
    _listener: socket.socket | None = None
    _buffers: dict[socket.socket, bytes] = field(default_factory=dict)
    _retry_s: float = 0.0

    def open(self) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.host, SIP_PORT))
        self._listener.listen()
        self._connect()

    def close(self) -> None:
        for sock in (self._listener, *self._buffers):
            if sock is not None:
                sock.close()

    def place(self) -> None:
        """Begin one call."""
        call = Call(len(self.calls) + 1)
        self.calls[f"{call.number}@{self.host}"] = call
        self._request(call, "INVITE", 1)

    def hang_up(self, call: Call) -> None:
        """Send this call's BYE, or send it again over the connection there is now."""
        call.fate, call.bye_s = Fate.LEAVING, time.monotonic()
        self._request(call, "BYE", 2)

    def count(self, fate: Fate) -> int:
        return sum(1 for call in self.calls.values() if call.fate is fate)

    def turn(self, seconds: float) -> None:
        """Read, answer and reconnect for so long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            if self._connection is None and time.monotonic() >= self._retry_s:
                self._connect()
            assert self._listener is not None
            ready, _, _ = select.select([self._listener, *self._buffers], [], [], min(left_s, RECONNECT_S))
            for sock in ready:
                if sock is self._listener:
                    accepted, _ = sock.accept()
                    self._buffers[accepted] = b""
                else:
                    self._read(sock)

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind((self.host, 0))
        try:
            sock.connect((self.router, SIP_PORT))
        except OSError:
            sock.close()
            self._retry_s = time.monotonic() + RECONNECT_S
            return
        self._connection = sock
        self._buffers[sock] = b""

    def _lost(self, sock: socket.socket) -> None:
        self._buffers.pop(sock, None)
        sock.close()
        if sock is not self._connection:
            return
        self._connection = None
        self.reconnects += 1
        for call in self.calls.values():
            if call.fate is Fate.CALLING:
                call.fate = Fate.FAILED

    def _send(self, data: bytes) -> bool:
        if self._connection is None:
            return False
        with contextlib.suppress(OSError):
            self._connection.sendall(data)
            return True
        self._lost(self._connection)
        return False

    def _request(self, call: Call, method: str, cseq: int) -> None:
        target = call.target or f"sip:{self.called}@{self.router}"
        # The ACK of a refusal belongs to the INVITE's transaction (RFC 3261 §17.1.1.3); any other request is one of its own.
        own = method == "BYE" or call.fate is Fate.UP
        branch = f"z9hG4bK{call.number}.{time.monotonic_ns()}" if own else f"z9hG4bK{call.number}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/TCP {self.host}:{SIP_PORT};branch={branch}",
            *(f"Route: {route}" for route in call.routes),
            "Max-Forwards: 70",
            f"From: <sip:+4930{call.number:07d}@{self.host}>;tag=t{call.number}",
            f"To: {call.to or f'<sip:{self.called}@{self.router}>'}",
            f"Call-ID: {call.number}@{self.host}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:carrier@{self.host}:{SIP_PORT};transport=tcp>",
            "Content-Length: 0",
        ]
        if not self._send("\r\n".join([*lines, "", ""]).encode()) and method == "INVITE":
            call.fate = Fate.FAILED

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(MESSAGE_BYTES)
        except OSError:
            data = b""
        if not data:
            self._lost(sock)
            return
        rest = self._buffers[sock] + data
        while (end := rest.find(b"\r\n\r\n")) >= 0:
            head = rest[:end].decode(errors="replace").split("\r\n")
            size = next((int(line.partition(":")[2]) for line in head if line.lower().startswith(("content-length:", "l:"))), 0)
            if len(rest) < end + 4 + size:
                break
            rest = rest[end + 4 + size :]
            if head[0].startswith("SIP/2.0 "):
                self._response(head)
        if sock in self._buffers:
            self._buffers[sock] = rest

    def _response(self, head: list[str]) -> None:
        fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:])]
        first = dict(reversed(fields))
        status, call = int(head[0].split(" ")[1]), self.calls.get(first.get("call-id", ""))
        if call is None or status < 200:
            return
        if first["cseq"].endswith("INVITE"):
            self._answered(call, status, first, [value for name, value in fields if name == "record-route"])
        elif first["cseq"].endswith("BYE") and call.fate is Fate.LEAVING:
            call.fate = Fate.ENDED if status < 300 else Fate.LOST

    def _answered(self, call: Call, status: int, first: dict[str, str], routes: list[str]) -> None:
        call.to = first["to"]
        if status >= 300:
            call.finals += 1
            call.fate = Fate.FAILED
            self._request(call, "ACK", 1)
            return
        if call.fate in (Fate.CALLING, Fate.FAILED):
            call.fate, call.up_s = Fate.UP, time.monotonic()
        contact = first.get("contact", "")
        call.target = contact[contact.find("<") + 1 : contact.find(">")] if "<" in contact else contact
        call.routes = tuple(reversed([part.strip() for line in routes for part in line.split(",")]))
        self._request(call, "ACK", 1)
