"""A TCP fault proxy: stands between a client and a server and loses, delays, cuts or resets what passes, octet by octet if asked.

    a ──> front │ proxy │ ──> b          a takes `front` for b; for each connection of a's the proxy makes one to b

Rules hold for what comes from now on and may change while connections are up. Every octet is counted.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from threading import Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Final

from tests.support.fault_proxy import Address, Direction

CHUNK_BYTES: Final = 65_536
MAX_CONNECTIONS: Final = 4096
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close sends RST
A_TO_B: Final = "a-to-b"
B_TO_A: Final = "b-to-a"


@dataclass(slots=True)
class StreamRule:
    """What happens to what flows; all of it together, one rule for the whole proxy."""

    one_way: Direction | None = None  # only this direction passes; the other's octets are taken and lost
    delay_s: float = 0.0
    chunk_bytes: int = CHUNK_BYTES  # 1: octet by octet
    reset_after_bytes: int | None = None  # of one connection, both directions together: then RST to both ends
    refuses: bool = False  # new connections are reset at once


@dataclass(slots=True)
class _Pair:
    """One connection of a's and its twin to b."""

    ends: dict[str, socket.socket]  # by the direction whose octets are read from it
    passed_bytes: int = 0
    over: set[str] = field(default_factory=set)  # directions whose sender has closed its half
    is_closed: bool = False


class TcpFaultProxy:
    """Runs in a thread of its own between `start` and `stop`; use it as a context manager.

    Args:
        b: the server's address. front: where the proxy listens; port 0 takes a free one.
    """

    def __init__(self, b: Address, *, front: Address = ("127.0.0.1", 0)) -> None:
        self._b = b
        self._listener = socket.create_server(front)
        self._listener.setblocking(False)
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, tuple[_Pair, str]] = {}
        self._waiting: list[tuple[float, int, _Pair, str, bytes]] = []
        self._number = 0
        self._rule = StreamRule()
        self._counts: Counter[str] = Counter()
        self._lock = Lock()
        self._stopping = self._cutting = False
        self._thread = Thread(target=self._run, name="tcp-fault-proxy", daemon=True)

    @property
    def front(self) -> Address:
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def rule(self, rule: StreamRule) -> None:
        """What holds from now on."""
        with self._lock:
            self._rule = rule

    def cut(self) -> None:
        """Reset every connection that is up, now."""
        self._cutting = True
        self._wake.send(b"x")

    def count(self, what: str) -> int:
        """Of "connections", "refused", "resets", "lost" (octets), "a-to-b", "b-to-a" (octets that passed)."""
        with self._lock:
            return self._counts[what]

    def __enter__(self) -> TcpFaultProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping = True
        self._wake.send(b"x")
        self._thread.join(5.0)
        for pair in {id(pair): pair for pair, _ in self._pairs.values()}.values():
            self._close(pair)
        for sock in (self._listener, self._wake, self._woken):
            sock.close()
        self._selector.close()

    # -- the thread ------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            wait_s = None if not self._waiting else max(0.0, self._waiting[0][0] - monotonic())
            for key, _ in self._selector.select(wait_s):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(100)
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._pairs:
                    self._read(key.fileobj)
            if self._cutting:
                self._cutting = False
                for pair in {id(pair): pair for pair, _ in self._pairs.values()}.values():
                    self._reset(pair)
            while self._waiting and self._waiting[0][0] <= monotonic():
                _, _, pair, way, data = heappop(self._waiting)
                self._pass(pair, way, data)

    def _accept(self) -> None:
        try:
            a, _ = self._listener.accept()
        except OSError:
            return
        with self._lock:
            refuses = self._rule.refuses or len(self._pairs) // 2 >= MAX_CONNECTIONS
        try:
            b = None if refuses else socket.create_connection(self._b, timeout=2.0)
        except OSError:
            b = None
        if b is None:
            self._counted("refused")
            a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            a.close()
            return
        self._counted("connections")
        pair = _Pair({A_TO_B: a, B_TO_A: b})
        for way, sock in pair.ends.items():
            sock.setblocking(True)
            sock.settimeout(5.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[sock] = pair, way
            self._selector.register(sock, selectors.EVENT_READ)

    def _read(self, sock: socket.socket) -> None:
        pair, way = self._pairs[sock]
        with self._lock:
            rule = self._rule
        try:
            data = sock.recv(rule.chunk_bytes)
        except OSError:
            self._reset(pair)
            return
        if not data:
            self._selector.unregister(sock)
            del self._pairs[sock]
        if data and rule.one_way not in (None, "both", way):
            self._counted("lost", len(data))
        elif rule.delay_s or self._waiting:  # nothing overtakes what already waits
            self._number += 1
            heappush(self._waiting, (monotonic() + rule.delay_s, self._number, pair, way, data))
        else:
            self._pass(pair, way, data)

    def _pass(self, pair: _Pair, way: str, data: bytes) -> None:
        """Hand on some octets, or that there will be no more."""
        if pair.is_closed:
            return
        other = pair.ends[B_TO_A if way == A_TO_B else A_TO_B]
        with self._lock:
            limit = self._rule.reset_after_bytes
        left = None if limit is None else max(0, limit - pair.passed_bytes)
        passed = data if left is None else data[:left]
        pair.passed_bytes += len(passed)
        self._counted(way, len(passed))  # before it leaves: who has it finds it counted
        try:
            if passed:
                other.sendall(passed)
            if not data:
                pair.over.add(way)
                other.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(pair)
            return
        if limit is not None and pair.passed_bytes >= limit:
            self._reset(pair)
        elif len(pair.over) == 2:
            self._close(pair)

    def _reset(self, pair: _Pair) -> None:
        if not pair.is_closed:
            self._counted("resets")
            for sock in pair.ends.values():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._close(pair)

    def _close(self, pair: _Pair) -> None:
        pair.is_closed = True
        for sock in pair.ends.values():
            if self._pairs.pop(sock, None) is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(sock)
            sock.close()

    def _counted(self, what: str, number: int = 1) -> None:
        with self._lock:
            self._counts[what] += number
