"""A UDP fault proxy: stands between two parties and loses, delays, doubles or swaps what rules name, by SIP method or status.

    a ──> front │ proxy │ back ──> b          a takes `front` for b, b takes `back` for a

Rules come and go while it runs; every datagram is counted. It is for real sockets what `Network` is for the simulated world: loss
that hits exactly the ACK, or the second 200, not loss in general.
"""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from select import select
from threading import Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Final, Literal

Address = tuple[str, int]
Direction = Literal["a-to-b", "b-to-a", "both"]
Action = Literal["drop", "delay", "double", "swap"]  # swap: with whatever passes next in that direction
MAX_DATAGRAM_BYTES: Final = 65_535
MAX_WAITING: Final = 10_000  # delayed datagrams; beyond it they are lost and counted
BUFFER_BYTES: Final = 4 << 20


@dataclass(slots=True)
class Rule:
    """What to do with which datagrams; the first rule that fits decides."""

    what: str  # "INVITE", "200", "200/INVITE", "1xx", "2xx/BYE", "*"
    action: Action = "drop"
    direction: Direction = "both"
    probability: float = 1.0
    times: int | None = None  # applies so many times, then no more
    delay_s: float = 0.0
    jitter_s: float = 0.0  # up to so much more, drawn for each datagram: they may overtake each other
    applied: int = 0

    def fits(self, label: str, way: str) -> bool:
        if self.direction not in ("both", way) or (self.times is not None and self.applied >= self.times):
            return False
        return matches(self.what, label)


def label_of(data: bytes) -> str:
    """A datagram in a word: the method of a request, "status/method" of a response, "?" for anything else."""
    first, _, rest = data.partition(b"\r\n")
    parts = first.split(b" ", 2)
    if len(parts) == 3 and parts[2] == b"SIP/2.0":
        return parts[0].decode("ascii", "replace")
    if len(parts) >= 2 and parts[0] == b"SIP/2.0" and parts[1].isdigit():
        for line in rest.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"cseq" and value.split():
                return f"{parts[1].decode()}/{value.split()[-1].decode('ascii', 'replace')}"
    return "?"


def matches(what: str, label: str) -> bool:
    """If a rule's `what` names a label of `label_of`."""
    if what == "*":
        return True
    status, _, method = label.partition("/")
    if not method:
        return what == label
    want, _, want_method = what.partition("/")
    if want_method and want_method != method:
        return False
    return want == status or (want.endswith("xx") and want[:-2] == status[:1])


class FaultProxy:
    """Runs in a thread of its own between `start` and `stop`; use it as a context manager.

    Args:
        a, b: addresses of the two parties.
        front, back: where the proxy listens for a and for b; port 0 takes a free one.
        seed: of the dice for rules with a probability below 1.
    """

    def __init__(self, a: Address, b: Address, *, front: Address, back: Address, seed: int = 0) -> None:
        self._peers = {"a-to-b": b, "b-to-a": a}
        self._sockets = {"a-to-b": _bound(front), "b-to-a": _bound(back)}  # where what goes that way arrives
        self._wake, self._woken = socket.socketpair()
        self._random = Random(seed)
        self._rules: list[Rule] = []
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lock = Lock()
        self._waiting: list[tuple[float, int, str, bytes]] = []
        self._swapped: dict[str, bytes] = {}  # what goes after the next one, by direction
        self._number = 0
        self._stopping = False
        self._thread = Thread(target=self._run, name="fault-proxy", daemon=True)

    @property
    def front(self) -> Address:
        host, port = self._sockets["a-to-b"].getsockname()[:2]
        return str(host), int(port)

    @property
    def back(self) -> Address:
        host, port = self._sockets["b-to-a"].getsockname()[:2]
        return str(host), int(port)

    def add(self, rule: Rule) -> Rule:
        """Apply a rule from now on, after those that stand."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def one_way(self, direction: Direction) -> Rule:
        """Only what goes that way passes from now on."""
        return self.add(Rule("*", "drop", "b-to-a" if direction == "a-to-b" else "a-to-b"))

    def clear(self) -> None:
        """Let everything pass from now on; what was delayed still comes."""
        with self._lock:
            self._rules.clear()

    def count(self, what: str = "*", *, action: str | None = None, direction: Direction = "both") -> int:
        """How many datagrams of a kind were seen; action "pass" or that of a rule, None for all."""
        with self._lock:
            return sum(
                number
                for (way, label, done), number in self._counts.items()
                if matches(what, label) and action in (None, done) and direction in ("both", way)
            )

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping = True
        self._wake.send(b"x")
        self._thread.join(5.0)
        for sock in (*self._sockets.values(), self._wake, self._woken):
            sock.close()

    def _run(self) -> None:
        ways = {sock: way for way, sock in self._sockets.items()}
        while not self._stopping:
            wait_s = None if not self._waiting else max(0.0, self._waiting[0][0] - monotonic())
            ready, _, _ = select([*ways, self._woken], [], [], wait_s)
            for sock in ready:
                if sock in ways:
                    self._take(ways[sock], sock)
            while self._waiting and self._waiting[0][0] <= monotonic():
                _, _, way, data = heappop(self._waiting)
                self._send(way, data)

    def _take(self, way: str, sock: socket.socket) -> None:
        try:
            data = sock.recv(MAX_DATAGRAM_BYTES)
        except (BlockingIOError, ConnectionRefusedError):
            return
        label = label_of(data)
        with self._lock:
            rule = next((rule for rule in self._rules if rule.fits(label, way)), None)
            if rule is not None and rule.probability < 1.0 and self._random.random() >= rule.probability:
                rule = None
            if rule is not None:
                rule.applied += 1
            done = rule.action if rule is not None else "pass"
            if done == "delay" and len(self._waiting) >= MAX_WAITING:
                done = "drop"
            if done == "swap" and way in self._swapped:
                done = "pass"
            self._counts[way, label, done] += 1
            jitter_s = rule.jitter_s * self._random.random() if rule is not None and rule.jitter_s else 0.0
        if done == "delay" and rule is not None:
            self._number += 1
            heappush(self._waiting, (monotonic() + rule.delay_s + jitter_s, self._number, way, data))
        elif done == "swap":
            self._swapped[way] = data
        elif done != "drop":
            self._send(way, data)
            if done == "double":
                self._send(way, data)
            if (swapped := self._swapped.pop(way, None)) is not None:
                self._send(way, swapped)

    def _send(self, way: str, data: bytes) -> None:
        """Out of the other socket, so that the receiver takes it for its peer's."""
        other = self._sockets["b-to-a" if way == "a-to-b" else "a-to-b"]
        try:
            other.sendto(data, self._peers[way])
        except (BlockingIOError, ConnectionRefusedError):
            with self._lock:
                self._counts[way, label_of(data), "unsent"] += 1


def _bound(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.bind(address)
    sock.setblocking(False)
    return sock
