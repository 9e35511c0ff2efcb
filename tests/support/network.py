"""Datagrams in flight in virtual time: delay, loss, duplication, reordering and partitions drawn from one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Protocol

from sipctl.testing.wire import Address, Output


class Node(Protocol):
    """Whoever owns an address of the network."""

    @property
    def next_due_s(self) -> float | None: ...
    def receive(self, data: bytes, source: Address, now_s: float) -> Output: ...
    def tick(self, now_s: float) -> Output: ...


@dataclass(slots=True)
class Weather:
    """How the network treats datagrams now; probabilities 0..1."""

    delay_s: float = 0.005
    jitter_s: float = 0.0  # up to so much more, so datagrams may overtake each other
    loss: float = 0.0
    duplicate: float = 0.0


class Network:
    """Carries datagrams; for partitions and scenarios `drop` (source, destination, data) → True removes one, and `late` holds one
    back for so many seconds more.
    """

    def __init__(self, seed: int = 0, weather: Weather | None = None) -> None:
        self.random = Random(seed)
        self.weather = weather or Weather()
        self.drop: Callable[[Address, Address, bytes], bool] | None = None
        self.late: Callable[[Address, Address, bytes], float] | None = None
        self.sent = self.lost = self.doubled = 0
        self._flight: list[tuple[float, int, Address, Address, bytes]] = []
        self._count = 0

    def send(self, source: Address, to: Address, data: bytes, now_s: float) -> None:
        """Put one datagram on its way, or lose it."""
        weather, random = self.weather, self.random
        self.sent += 1
        if self.drop is not None and self.drop(source, to, data):
            self.lost += 1
            return
        copies = 1
        if weather.duplicate and random.random() < weather.duplicate:
            copies, self.doubled = 2, self.doubled + 1
        for _ in range(copies):
            if weather.loss and random.random() < weather.loss:
                self.lost += 1
                continue
            self._count += 1
            jitter_s = weather.jitter_s * random.random() if weather.jitter_s else 0.0
            if self.late is not None:
                jitter_s += self.late(source, to, data)
            heappush(self._flight, (now_s + weather.delay_s + jitter_s, self._count, source, to, data))

    @property
    def next_due_s(self) -> float | None:
        return self._flight[0][0] if self._flight else None

    def take_due(self, now_s: float) -> tuple[Address, Address, bytes] | None:
        """The next datagram that has arrived: (source, destination, data)."""
        if self._flight and self._flight[0][0] <= now_s:
            _, _, source, to, data = heappop(self._flight)
            return source, to, data
        return None

    def __len__(self) -> int:
        return len(self._flight)


def play(network: Network, nodes: dict[Address, Node], *, now_s: float, until_s: float) -> float:
    """Jump from one instant to the next until nothing is left or `until_s` is reached; return the time."""
    while True:
        due = [node.next_due_s for node in nodes.values()] + [network.next_due_s]
        instants = [at_s for at_s in due if at_s is not None]
        if not instants or min(instants) > until_s:
            return until_s
        now_s = max(now_s, min(instants))
        while (arrived := network.take_due(now_s)) is not None:
            source, to, data = arrived
            if to in nodes:
                for out, where in nodes[to].receive(data, source, now_s):
                    network.send(to, where, out, now_s)
        for address, node in nodes.items():
            if node.next_due_s is not None and node.next_due_s <= now_s:
                for out, where in node.tick(now_s):
                    network.send(address, where, out, now_s)
