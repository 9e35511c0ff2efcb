"""F34: connections that are reset at any octet, half closed, idle by the thousand or fed octet by octet, on real TCP sockets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

import pytest

from sipctl.engine.embedded import streams as module
from tests.engine.fake_core import turn_until
from tests.engine.test_streams import MESSAGE, Bench, bench

__all__ = ["bench"]  # the fixture

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close sends RST


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def turn(bench: Bench) -> None:
    turn_until(bench.driver, lambda: True)


def ended(bench: Bench) -> Callable[[], bool]:
    return lambda: len(bench.streams) == 0 and bench.streams.counters["tcp_accepted"] > 0


def turn_until_ended(bench: Bench, accepted: int) -> None:
    turn_until(bench.driver, lambda: bench.streams.counters["tcp_accepted"] >= accepted and len(bench.streams) == 0)


def test_f34_a_reset_at_any_octet_of_a_message_costs_that_connection_and_nothing_else(bench: Bench) -> None:
    before = descriptors()
    offsets = [*range(0, len(MESSAGE), 3), len(MESSAGE)]
    for number, offset in enumerate(offsets, 1):
        peer = socket.create_connection(bench.address, timeout=5)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.sendall(MESSAGE[:offset])
        peer.close()
        turn_until_ended(bench, number)
    assert len(bench.core.received) <= 1, "only the whole message may have been taken"
    assert descriptors() == before, "no descriptor leaks"
    peer = bench.connect()
    taken = len(bench.core.received)
    peer.sendall(MESSAGE)
    turn_until(bench.driver, lambda: len(bench.core.received) == taken + 1)


def test_f34_who_closes_his_half_is_heard_out_and_then_let_go(bench: Bench) -> None:
    before = descriptors()
    for number in range(1, 6):
        peer = socket.create_connection(bench.address, timeout=5)
        peer.sendall(MESSAGE)
        peer.shutdown(socket.SHUT_WR)
        turn_until(bench.driver, lambda number=number: len(bench.core.received) == number)  # type: ignore[misc]
        turn_until_ended(bench, number)
        heard = b""
        while chunk := peer.recv(1000):
            heard += chunk
        assert heard.startswith(b"echo OPTIONS"), "its message was answered before it was told that it is over"
        peer.close()
    assert descriptors() == before


def test_f34_octet_by_octet_is_a_message_like_any_other_but_must_end_in_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = bench.connect()
    for at in range(len(MESSAGE)):
        peer.sendall(MESSAGE[at : at + 1])
        turn(bench)
    turn_until(bench.driver, lambda: len(bench.core.received) == 1)
    assert bench.core.received[0][0] == MESSAGE
    monkeypatch.setattr(module, "HEAD_DEADLINE_S", 0.3)
    slow = bench.connect()
    slow.sendall(MESSAGE[:40])
    bench.turn_until_counted("tcp_timeouts")
    assert slow.recv(100) == b""


def test_f34_idle_connections_by_the_hundred_keep_nobody_else_out(bench: Bench) -> None:
    """Each source has its share; who takes all of it leaves the others theirs."""
    bench.known.update({"127.0.0.1", "127.0.0.2"})
    before = descriptors()
    idle = []
    for _ in range(module.MAX_PER_SOURCE + 40):
        idle.append(socket.create_connection(bench.address, timeout=5, source_address=("127.0.0.1", 0)))
        turn(bench)
    bench.turn_until_counted("tcp_refused_limit", 40)
    assert len(bench.streams) == module.MAX_PER_SOURCE
    other = bench.connect("127.0.0.2")
    other.sendall(MESSAGE)
    turn_until(bench.driver, lambda: len(bench.core.received) == 1)
    other.close()
    for peer in idle:
        peer.close()
    turn_until(bench.driver, ended(bench))
    assert descriptors() <= before + 1
