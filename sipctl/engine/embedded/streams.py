"""Connections of the router: accept, connect, frame, write; SIP over TCP as RFC 3261 §18 and RFC 5626 §3.5.1 have it.

A connection has a number, its *flow*, from FLOW_BASE upwards and never used twice. The core names either a flow (answer where the
request came from) or a listen and an address (use the connection to that address, or open one). A flow that is gone falls back to
its address (RFC 3261 §18.2.2).

Strangers are turned away before a byte is read: the source must be known to the snapshot. Every wait has a deadline, every
buffer and table a limit, and reaching one is counted. Connections die with their router; calls don't.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections.abc import Callable, Sequence

from sipctl.engine.embedded.datagrams import Address
from sipctl.engine.embedded.driver import FLOW_BASE, Driver
from sipctl.routing.snapshot import Listen
from sipctl.sip.framing import HEAD_DEADLINE_S, KEEPALIVE, FramingError, StreamFramer

MAX_CONNECTIONS = 4096
MAX_PER_SOURCE = 64  # accepted connections of one address
MAX_ACCEPTS_PER_WAKE = 16
MAX_READ_BYTES = 65536
MAX_READS_PER_WAKE = 8  # of one connection, so that others get their turn
MAX_UNSENT_BYTES = 1 << 20  # per connection; beyond, the peer does not read and the connection is closed
MAX_GONE = 4096  # closed flows whose listen is remembered
CONNECT_TIMEOUT_S = 2.0
IDLE_S = 900.0  # no byte either way
SWEEP_S = 0.25
SPARE_DESCRIPTORS = 256  # left of what the process may open for all that is no connection: listens, tables, links, a packet's
REST_S = 1.0  # a listen that this process or machine has no descriptor or memory for accepts nothing for so long
ELSEWHERE_BASE = 1 << 40  # numbers from here on are connections of other routers of this machine (hand_off.py)

_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EAGAIN})
_USED_UP = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ONE_OF_ALL = select.EPOLLIN | select.EPOLLEXCLUSIVE  # one router of several is woken for a connection
_ECHOED = frozenset({b"via", b"from", b"to", b"call-id", b"cseq"})
_PHRASES = {413: b"Request Entity Too Large", 513: b"Message Too Large"}
_COMPACT = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id"}

Identify = Callable[[str, int, int], bool]


class Connection:
    """One TCP connection: its socket, what is half read and what is not yet written."""

    __slots__ = (
        "accepted",
        "active_s",
        "address",
        "connecting_until_s",
        "flow",
        "framer",
        "index",
        "sock",
        "started_s",
        "unsent",
    )

    def __init__(self, sock: socket.socket, flow: int, index: int, address: Address, now_s: float, accepted: bool) -> None:
        self.sock = sock
        self.flow = flow
        self.index = index
        self.address = address
        self.accepted = accepted
        self.active_s = now_s
        self.connecting_until_s: float | None = None
        self.started_s: float | None = None  # when the message that is half read began
        self.framer = StreamFramer()
        self.unsent = bytearray()


class Streams:
    """All connections of a router."""

    def __init__(
        self, driver: Driver, known: Identify, stranger: Callable[[str], None], max_connections: int = MAX_CONNECTIONS
    ) -> None:
        """Args:
        known: is (host, port, listen) in the plan, asked before anything is read.
        stranger: told the address of each connection turned away.
        max_connections: how many there may be at once, accepted and opened (`room_for`).
        """
        self._driver = driver
        self._max_connections = max_connections
        self._resting: dict[int, float] = {}  # listens that accept nothing now, and until when
        self._known = known
        self._stranger = stranger
        self._listens: Sequence[Listen] = ()
        self._listeners: dict[int, socket.socket] = {}
        self._flows: dict[int, Connection] = {}
        self._by_address: dict[tuple[int, Address], Connection] = {}
        self._per_source: dict[str, int] = {}
        self._gone: dict[int, int] = {}  # closed flow → its listen, oldest first
        self._next_flow = FLOW_BASE
        self._swept_s = 0.0
        self.elsewhere: Callable[[int, bytes, Address], None] | None = None  # sends on connections of other routers here
        self.counters = dict.fromkeys(
            (
                "tcp_accepted",
                "tcp_connected",
                "tcp_closed",
                "tcp_strangers",
                "tcp_refused_limit",
                "tcp_accept_rests",
                "tcp_bad_framing",
                "tcp_connect_failed",
                "tcp_timeouts",
                "tcp_unsent_limit",
            ),
            0,
        )

    def open(self, listens: Sequence[Listen], sockets: Sequence[socket.socket]) -> None:
        """Begin to accept on every stream listen."""
        self._listens = listens
        for index, (listen, sock) in enumerate(zip(listens, sockets, strict=True)):
            if listen.transport != "tcp":
                continue
            sock.setblocking(False)
            self._listeners[index] = sock
            self._watch_listener(index)

    def _watch_listener(self, index: int) -> None:
        self._driver.watch(self._listeners[index].fileno(), lambda _mask: self._accept(index), _ONE_OF_ALL)

    def __len__(self) -> int:
        return len(self._flows)

    def drop(self, flow: int) -> None:
        """End a connection of which a message was lost: its peer must not wait for an answer."""
        connection = self._flows.get(flow)
        if connection is not None:
            self._close(connection)

    def close(self) -> None:
        """Stop accepting and end every connection."""
        for sock in self._listeners.values():
            self._driver.unwatch(sock.fileno())
        self._listeners.clear()
        self._resting.clear()
        for connection in list(self._flows.values()):
            self._close(connection)

    # -- sending ---------------------------------------------------------------------------------------------------------------

    def send(self, where: int, data: bytes, address: Address) -> None:
        """Send on a flow, or from a listen to an address; a connection that cannot be had is told to the core."""
        if where >= ELSEWHERE_BASE and self.elsewhere is not None:
            self.elsewhere(where, data, address)
            return
        if where >= FLOW_BASE:
            connection = self._flows.get(where)
            index = connection.index if connection is not None else self._listen_of_gone(where)
        else:
            connection, index = None, where
        if connection is None and index is not None:
            connection = self._by_address.get((index, address)) or self._connect(index, address)
        if connection is None:
            self._driver.send_failed(where if index is None else index, address)
            return
        if len(connection.unsent) + len(data) > MAX_UNSENT_BYTES:
            self.counters["tcp_unsent_limit"] += 1
            self._close(connection)
            self._driver.send_failed(connection.index, address)
            return
        if connection.unsent or connection.connecting_until_s is not None:
            connection.unsent += data
            return
        connection.unsent += data
        self._write(connection)

    def _write(self, connection: Connection) -> None:
        unsent = connection.unsent
        try:
            while unsent:
                sent = connection.sock.send(unsent, socket.MSG_NOSIGNAL)
                del unsent[:sent]
                connection.active_s = self._driver.now_s
        except BlockingIOError:
            self._watch(connection)
            return
        except OSError:
            self._close(connection)
            self._driver.send_failed(connection.index, connection.address)
            return
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        mask = select.EPOLLIN
        if connection.unsent or connection.connecting_until_s is not None:
            mask |= select.EPOLLOUT
        self._driver.watch(connection.sock.fileno(), lambda got: self._ready(connection, got), mask)

    # -- opening and closing ---------------------------------------------------------------------------------------------------

    def _accept(self, index: int) -> None:
        for _ in range(MAX_ACCEPTS_PER_WAKE):
            try:
                sock, source = self._listeners[index].accept()
            except BlockingIOError:
                return
            except OSError as error:  # the peer left before we looked, or we ran out of descriptors: counted with the limits
                self.counters["tcp_refused_limit"] += 1
                if error.errno in _USED_UP:  # the connection waits on, and would wake us again at once
                    self.counters["tcp_accept_rests"] += 1
                    self._driver.unwatch(self._listeners[index].fileno())
                    self._resting[index] = self._driver.now_s + REST_S
                return
            address = (str(source[0]), int(source[1]))
            if not self._known(address[0], address[1], index):
                self.counters["tcp_strangers"] += 1
                self._stranger(address[0])
                sock.close()
            elif len(self._flows) >= self._max_connections or self._per_source.get(address[0], 0) >= MAX_PER_SOURCE:
                self.counters["tcp_refused_limit"] += 1
                sock.close()
            else:
                self.counters["tcp_accepted"] += 1
                self._per_source[address[0]] = self._per_source.get(address[0], 0) + 1
                self._add(sock, index, address, accepted=True)

    def _connect(self, index: int, address: Address) -> Connection | None:
        listener = self._listeners.get(index)
        if listener is None or len(self._flows) >= self._max_connections:
            self.counters["tcp_refused_limit"] += 1
            return None
        try:
            sock = socket.socket(listener.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:  # no descriptor is left
            self.counters["tcp_refused_limit"] += 1
            return None
        try:
            host = listener.getsockname()[0]
            if host not in ("0.0.0.0", "::"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((host, 0))
            failed = sock.connect_ex(address)
        except OSError:
            failed = errno.EADDRNOTAVAIL
        if failed and failed not in _IN_PROGRESS:
            self.counters["tcp_connect_failed"] += 1
            sock.close()
            return None
        connection = self._add(sock, index, address, accepted=False)
        if failed:
            connection.connecting_until_s = self._driver.now_s + CONNECT_TIMEOUT_S
            self._watch(connection)
        return connection

    def _add(self, sock: socket.socket, index: int, address: Address, *, accepted: bool) -> Connection:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, self._next_flow, index, address, self._driver.now_s, accepted)
        self._next_flow += 1
        self._flows[connection.flow] = connection
        self._by_address.setdefault((index, address), connection)
        self._driver.call(lambda _now_s, _out, _notes: self._driver.core.flow_opened(connection.flow, index, address))
        self._watch(connection)
        return connection

    def _close(self, connection: Connection) -> None:
        if self._flows.pop(connection.flow, None) is None:
            return
        self.counters["tcp_closed"] += 1
        self._driver.unwatch(connection.sock.fileno())
        connection.sock.close()
        key = (connection.index, connection.address)
        if self._by_address.get(key) is connection:
            del self._by_address[key]
        if connection.accepted:
            left = self._per_source.get(connection.address[0], 1) - 1
            if left > 0:
                self._per_source[connection.address[0]] = left
            else:
                self._per_source.pop(connection.address[0], None)
        self._gone[connection.flow] = connection.index
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]
        self._driver.call(lambda now_s, out, notes: self._driver.core.flow_closed(connection.flow, now_s, out, notes))

    def _listen_of_gone(self, flow: int) -> int | None:
        index = self._gone.get(flow)
        return index if index is not None else next(iter(self._listeners), None)

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def _ready(self, connection: Connection, mask: int) -> None:
        if connection.connecting_until_s is not None:
            if mask & (select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP):
                self._connected(connection)
            return
        if mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._read(connection)
        if mask & select.EPOLLOUT and connection.flow in self._flows:
            self._write(connection)

    def _connected(self, connection: Connection) -> None:
        failed = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            self._connect_failed(connection)
            return
        self.counters["tcp_connected"] += 1
        connection.connecting_until_s = None
        self._write(connection)

    def _connect_failed(self, connection: Connection) -> None:
        self.counters["tcp_connect_failed"] += 1
        self._close(connection)
        self._driver.send_failed(connection.index, connection.address)
        self._driver.flush()

    def _read(self, connection: Connection) -> None:
        for _ in range(MAX_READS_PER_WAKE):
            try:
                data = connection.sock.recv(MAX_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close(connection)
                return
            connection.active_s = self._driver.now_s
            connection.framer.feed(data)
            self._take(connection)
            if connection.flow not in self._flows:
                return

    def _take(self, connection: Connection) -> None:
        """Give the core every whole message that has arrived."""
        framer = connection.framer
        try:
            while (message := framer.next()) is not None:
                connection.started_s = None
                if message is KEEPALIVE:
                    self.send(connection.flow, b"\r\n", connection.address)
                else:
                    assert isinstance(message, bytes)
                    self._driver.receive(message, connection.flow, connection.address)
                if connection.flow not in self._flows:
                    return
        except FramingError as error:
            self._refuse(connection, error)
            return
        if not framer.started:
            connection.started_s = None
        elif connection.started_s is None:
            connection.started_s = self._driver.now_s

    def _refuse(self, connection: Connection, error: FramingError) -> None:
        """Where a message ends can no longer be told: say so if its head allows it, and close (RFC 3261 §18.3)."""
        self.counters["tcp_bad_framing"] += 1
        answer = refusal(error.head, error.status)
        if answer:
            with contextlib.suppress(OSError):
                connection.sock.send(answer, socket.MSG_NOSIGNAL)
        self._close(connection)

    # -- deadlines -------------------------------------------------------------------------------------------------------------

    def due(self, now_s: float) -> None:
        """End what has waited too long; looks once per SWEEP_S."""
        if now_s - self._swept_s < SWEEP_S:
            return
        self._swept_s = now_s
        for index in [index for index, until_s in self._resting.items() if now_s >= until_s]:
            del self._resting[index]
            self._watch_listener(index)
        late = [connection for connection in self._flows.values() if self._is_late(connection, now_s)]
        for connection in late:
            self.counters["tcp_timeouts"] += 1
            if connection.connecting_until_s is not None:
                self._connect_failed(connection)
            else:
                self._close(connection)

    @staticmethod
    def _is_late(connection: Connection, now_s: float) -> bool:
        if connection.connecting_until_s is not None:
            return now_s >= connection.connecting_until_s
        if connection.started_s is not None and now_s - connection.started_s >= HEAD_DEADLINE_S:
            return True
        return now_s - connection.active_s >= IDLE_S


def room_for(max_descriptors: int) -> int:
    """How many connections a process may have that may open so many descriptors, 0..MAX_CONNECTIONS."""
    return max(0, min(MAX_CONNECTIONS, max_descriptors - SPARE_DESCRIPTORS))


def refusal(head: bytes, status: int) -> bytes:
    """A response made of nothing but lines the head already holds; b"" for a response, an ACK, or without what a reply needs."""
    lines = head.split(b"\r\n")
    if lines[0].startswith((b"SIP/", b"ACK ")):
        return b""
    echoed = []
    missing = {b"via", b"from", b"to", b"call-id", b"cseq"}
    for line in lines[1:]:
        name = line.partition(b":")[0].strip().lower()
        name = _COMPACT.get(name, name)
        if name in _ECHOED:
            if b"\r" in line or b"\n" in line:
                return b""
            echoed.append(line)
            missing.discard(name)
    if missing:
        return b""
    said = b'Reason: Q.850;cause=111;text="bad framing"'
    start = b"SIP/2.0 %d %s" % (status, _PHRASES.get(status, b"Bad Request"))
    return b"\r\n".join([start, *echoed, said, b"Content-Length: 0", b"", b""])
