"""One UDP socket as the router's loop uses it; `_datagrams.c` is the same for IPv4 where it was built (decision 0021)."""

from __future__ import annotations

import socket
from typing import Protocol

Address = tuple[str, int]

MAX_DATAGRAM_BYTES = 65535

try:
    from sipctl.engine.embedded._datagrams import Datagrams as _Native
except ImportError:
    _Native = None  # type: ignore[assignment, misc]


class Datagrams(Protocol):
    """Reads and writes without waiting; the socket stays its owner's."""

    def receive(self, /) -> tuple[bytes, Address] | None:
        """The next datagram and who sent it; None if there is none now.

        Raises: OSError for an ICMP error that waits in the socket.
        """

    def send(self, data: bytes, address: Address, /) -> None:
        """Raises: OSError if the datagram cannot leave; ValueError, OverflowError or TypeError for an address no socket takes."""


def datagrams(sock: socket.socket) -> Datagrams:
    """The quickest way to read and write this non-blocking socket."""
    if _Native is not None and sock.family == socket.AF_INET:
        return _Native(sock.fileno())
    return PlainDatagrams(sock)


class PlainDatagrams:
    """`Datagrams` over the socket module."""

    __slots__ = ("_recvfrom", "_sendto")

    def __init__(self, sock: socket.socket) -> None:
        self._recvfrom = sock.recvfrom
        self._sendto = sock.sendto

    def receive(self) -> tuple[bytes, Address] | None:
        try:
            data, source = self._recvfrom(MAX_DATAGRAM_BYTES)
        except BlockingIOError:
            return None
        return data, source[:2]

    def send(self, data: bytes, address: Address) -> None:
        self._sendto(data, address)
