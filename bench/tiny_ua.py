"""A carrier that keeps calling and SBCs that say busy, in one thread: enough to see when the first call arrives where.

Each call is INVITE / 486 / ACK, so nothing stays up and every instant of arrival is our own clock's.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.processes import SIP_PORT

BUFFER_BYTES = 4 << 20


def bound(host: str) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    udp.bind((host, SIP_PORT))
    udp.setblocking(False)
    return udp


def header_lines(data: bytes, *names: bytes) -> list[bytes]:
    """The lines of these headers as they came, in the order of the message."""
    lines = data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
    return [line for line in lines if line.partition(b":")[0].strip().lower() in names]


def reply(request: bytes, status: bytes) -> bytes:
    lines = header_lines(request, b"via", b"from", b"to", b"call-id", b"cseq")
    lines = [line + b";tag=busy" if line[:3].lower() == b"to:" and b";tag=" not in line else line for line in lines]
    return b"\r\n".join([b"SIP/2.0 " + status, *lines, b"Content-Length: 0", b"", b""])


@dataclass(slots=True)
class Lab:
    """One carrier address and some SBC addresses; `arrivals` holds (SBC's name, monotonic instant) of every INVITE there."""

    carrier: str
    target: str
    number: str
    sbcs: dict[str, str]  # name → address
    interval_s: float
    arrivals: list[tuple[str, float]] = field(default_factory=list)
    placed: int = 0
    answered: int = 0
    _sockets: dict[int, tuple[socket.socket, str | None]] = field(default_factory=dict)
    _poll: select.epoll = field(default_factory=select.epoll)
    _invites: dict[bytes, bytes] = field(default_factory=dict)  # Call-ID → INVITE, until its final answer

    def open(self) -> None:
        for name, host in [(None, self.carrier), *self.sbcs.items()]:
            udp = bound(host)
            self._sockets[udp.fileno()] = (udp, name)
            self._poll.register(udp.fileno(), select.EPOLLIN)

    def close(self) -> None:
        for udp, _ in self._sockets.values():
            udp.close()
        self._poll.close()

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Keep calling until `done`; False when the time is up first."""
        carrier = next(udp for udp, name in self._sockets.values() if name is None)
        next_s = time.monotonic()
        end_s = next_s + timeout_s
        while not done():
            now_s = time.monotonic()
            if now_s >= end_s:
                return False
            if now_s >= next_s:
                self._place(carrier)
                next_s = max(next_s + self.interval_s, now_s - 0.1)
            for fd, _ in self._poll.poll(max(0.0, min(next_s - time.monotonic(), 0.01))):
                self._read(*self._sockets[fd])
        return True

    def _place(self, carrier: socket.socket) -> None:
        self.placed += 1
        call_id = b"%d.%d@bench" % (self.placed, time.monotonic_ns())
        me, number, target = self.carrier.encode(), self.number.encode(), self.target.encode()
        invite = b"\r\n".join([
            b"INVITE sip:%s@%s SIP/2.0" % (number, target),
            b"Via: SIP/2.0/UDP %s:%d;branch=z9hG4bK%d" % (me, SIP_PORT, time.monotonic_ns()),
            b"Max-Forwards: 70", b"From: <sip:+4930%07d@%s>;tag=%d" % (self.placed, me, self.placed),
            b"To: <sip:%s@%s>" % (number, target), b"Call-ID: " + call_id, b"CSeq: 1 INVITE",
            b"Contact: <sip:carrier@%s:%d>" % (me, SIP_PORT), b"Content-Length: 0", b"", b"",
        ])  # fmt: skip
        self._invites[call_id] = invite
        carrier.sendto(invite, (self.target, SIP_PORT))

    def _read(self, udp: socket.socket, name: str | None) -> None:
        while True:
            try:
                data, source = udp.recvfrom(65535)
            except BlockingIOError:
                return
            if name is None:
                self._carrier_heard(udp, data)
            elif data.startswith(b"INVITE "):
                self.arrivals.append((name, time.monotonic()))
                udp.sendto(reply(data, b"486 Busy Here"), source)
            elif data.startswith(b"OPTIONS "):
                udp.sendto(reply(data, b"200 OK"), source)

    def _carrier_heard(self, udp: socket.socket, data: bytes) -> None:
        if not data.startswith(b"SIP/2.0 ") or data[8:9] == b"1":
            return
        call_id = header_lines(data, b"call-id")[0].partition(b":")[2].strip()
        invite = self._invites.pop(call_id, None)
        if invite is None:
            return
        self.answered += 1
        start = invite.split(b"\r\n", 1)[0].replace(b"INVITE", b"ACK", 1)
        lines = [*header_lines(invite, b"via", b"from"), *header_lines(data, b"to"), b"Call-ID: " + call_id]
        ack = b"\r\n".join([start, *lines, b"CSeq: 1 ACK", b"Max-Forwards: 70", b"Content-Length: 0", b"", b""])
        udp.sendto(ack, (self.target, SIP_PORT))
