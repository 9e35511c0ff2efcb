"""The router's loop on real datagram sockets, with a core that does as it is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sipctl.engine.embedded import driver as module
from sipctl.engine.embedded.driver import MAX_BATCH, MAX_POISON, MAX_POISON_BYTES, Driver
from sipctl.routing.snapshot import Listen
from tests.engine.fake_core import FakeCore, turn_until


@dataclass
class Bench:
    """A driver with one IPv4 and one IPv6 socket, and a peer of each kind."""

    core: FakeCore
    driver: Driver
    sockets: list[socket.socket]
    peers: list[socket.socket]
    notes: list[tuple[Any, ...]]

    def address(self, index: int) -> tuple[str, int]:
        host, port = self.sockets[index].getsockname()[:2]
        return host, port


def a_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(5)
    return sock


@pytest.fixture
def bench() -> Iterator[Bench]:
    core = FakeCore()
    notes: list[tuple[Any, ...]] = []
    driver = Driver(core, lambda told, now_s: notes.extend(told))
    sockets = [a_socket("127.0.0.1"), a_socket("::1")]
    peers = [a_socket("127.0.0.1"), a_socket("::1")]
    listens = [Listen(f"l{index}", "udp", *sock.getsockname()[:2], *sock.getsockname()[:2]) for index, sock in enumerate(sockets)]
    driver.open(listens, sockets)
    yield Bench(core, driver, sockets, peers, notes)
    for sock in (*sockets, *peers):
        sock.close()


@pytest.mark.parametrize("family", [0, 1])
def test_a_datagram_goes_to_the_core_and_its_answer_back(bench: Bench, family: int) -> None:
    peer = bench.peers[family]
    peer.sendto(b"hello", bench.address(family))
    turn_until(bench.driver, lambda: len(bench.core.received) == 1)
    assert bench.core.received == [(b"hello", family, peer.getsockname()[:2])]
    assert peer.recv(100) == b"echo hello"


def test_more_than_a_batch_is_taken_in_order_and_timers_get_their_turn_between(bench: Bench) -> None:
    for number in range(MAX_BATCH * 2 + 5):
        bench.peers[0].sendto(b"%d" % number, bench.address(0))
    bench.core.next_due_s = 0.0
    seen: list[int] = []
    bench.core.on_tick = lambda now_s, out: seen.append(len(bench.core.received))
    turn_until(bench.driver, lambda: len(bench.core.received) == MAX_BATCH * 2 + 5)
    assert [int(data) for data, *_ in bench.core.received] == list(range(MAX_BATCH * 2 + 5))
    assert seen == [MAX_BATCH]


def test_a_timer_fires_when_it_is_due_and_never_before(bench: Bench) -> None:
    due_s = bench.core.next_due_s = time.monotonic() + 0.03
    turn_until(bench.driver, lambda: len(bench.core.ticks) == 1)
    assert due_s <= bench.core.ticks[0] < due_s + 2.0


def test_an_exception_costs_one_message_and_keeps_its_bytes(bench: Bench) -> None:
    def fail_on_poison(data: bytes, where: int, address: tuple[str, int], out: Any, notes: Any) -> None:
        out.append((where, b"half done", address))
        if data.startswith(b"poison"):
            raise AssertionError("an invariant")

    bench.core.on_receive = fail_on_poison
    for data in (b"poison" + b"x" * 5000, b"fine"):
        bench.peers[0].sendto(data, bench.address(0))
    turn_until(bench.driver, lambda: len(bench.core.received) == 2)
    assert bench.peers[0].recv(100) == b"half done"
    bench.peers[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        bench.peers[0].recv(100)
    assert bench.driver.counters["core_exceptions"] == 1
    assert len(bench.core.forgotten) == 1
    said, data = bench.driver.poison[0]
    assert "AssertionError" in said
    assert "an invariant" in said
    assert len(data) == MAX_POISON_BYTES
    assert bench.notes[0][:2] == ("log", "core-exception")


def test_poison_is_kept_in_a_bounded_ring(bench: Bench) -> None:
    def fail(*_: Any) -> None:
        raise ValueError

    bench.core.on_receive = fail
    for number in range(MAX_POISON + 8):
        bench.peers[0].sendto(b"%d" % number, bench.address(0))
    turn_until(bench.driver, lambda: bench.driver.counters["core_exceptions"] == MAX_POISON + 8)
    assert [int(data) for _, data in bench.driver.poison] == list(range(8, MAX_POISON + 8))


def test_an_exception_in_a_timer_lets_the_loop_go_on(bench: Bench) -> None:
    def fail(now_s: float, out: Any) -> None:
        raise ZeroDivisionError

    bench.core.on_tick = fail
    bench.core.next_due_s = 0.0
    bench.peers[0].sendto(b"hello", bench.address(0))
    turn_until(bench.driver, lambda: len(bench.core.received) == 1 and len(bench.core.ticks) == 1)
    assert bench.driver.counters["core_exceptions"] == 1


@pytest.mark.parametrize("family", [0, 1])
def test_a_closed_port_is_told_to_the_core_with_its_address(bench: Bench, family: int) -> None:
    closed = a_socket(("127.0.0.1", "::1")[family])
    nobody = closed.getsockname()[:2]
    closed.close()
    bench.core.on_receive = lambda data, where, address, out, notes: out.append((where, data, nobody))
    bench.peers[family].sendto(b"hello", bench.address(family))
    turn_until(bench.driver, lambda: bool(bench.core.failed))
    assert bench.core.failed == [(family, nobody)]
    assert bench.driver.counters["icmp_errors"] == 1
    assert bench.driver.counters["local_errors"] == 0


def test_an_icmp_error_of_one_peer_does_not_cost_another_its_message(bench: Bench) -> None:
    closed = a_socket("127.0.0.1")
    nobody = closed.getsockname()
    closed.close()
    other = a_socket("127.0.0.1")

    def send_both(data: bytes, where: int, address: tuple[str, int], out: Any, notes: Any) -> None:
        out += [(where, b"lost", nobody), (where, b"kept", other.getsockname())]

    bench.core.on_receive = send_both
    bench.peers[0].sendto(b"hello", bench.address(0))
    turn_until(bench.driver, lambda: bool(bench.core.failed))
    assert other.recv(100) == b"kept"
    assert bench.core.failed == [(0, nobody)]
    other.close()


def test_what_the_core_does_about_a_failed_send_is_sent_at_once(bench: Bench) -> None:
    unreachable = ("127.0.0.1", 0)
    bench.core.on_receive = lambda data, where, address, out, notes: out.append((where, data, unreachable))
    bench.core.on_failed = lambda where, address, out: out.append((where, b"advanced", bench.peers[0].getsockname()))
    bench.peers[0].sendto(b"hello", bench.address(0))
    turn_until(bench.driver, lambda: bool(bench.core.failed))
    assert bench.peers[0].recv(100) == b"advanced"
    assert bench.driver.counters["local_errors"] == 1
    assert bench.driver.counters["send_retries"] == 1


@pytest.mark.parametrize("address", [("127.0.0.1", 70000), ("127.0.0.1", -1), ("not an address", 5060), ("", 5060)])
def test_an_address_that_no_socket_takes_harms_nobody(bench: Bench, address: tuple[str, int]) -> None:
    def send_both(data: bytes, where: int, source: tuple[str, int], out: Any, notes: Any) -> None:
        out += [(where, b"to nowhere", address), (where, b"answer", source)]

    bench.core.on_receive = send_both
    bench.peers[0].sendto(b"hello", bench.address(0))
    turn_until(bench.driver, lambda: len(bench.core.received) == 1)
    assert bench.peers[0].recv(100) == b"answer"


def test_standing_still_is_told_to_the_core(bench: Bench) -> None:
    turns: list[float] = []

    def every(now_s: float) -> None:
        turns.append(now_s)
        if len(turns) == 1:
            time.sleep(0.3)
        if len(turns) == 3:
            bench.driver.stop()

    bench.driver.run(every)
    assert len(bench.core.gaps) == 1
    assert bench.core.gaps[0] >= 0.3
    assert bench.driver.gap_s == bench.core.gaps[0]


def flood(bench: Bench, turns: int, waiting: int = MAX_BATCH + 1) -> list[bool]:
    """Have so many datagrams wait in each of so many turns of the loop; says after each whether new calls were shed."""
    shed: list[bool] = []
    sent = [0]

    def every(_now_s: float) -> None:
        shed.append(bench.core.is_shedding)
        while sent[0] - len(bench.core.received) < waiting:
            bench.peers[0].sendto(b"hello", bench.address(0))
            sent[0] += 1
        if len(shed) == turns:
            bench.driver.stop()

    bench.core.on_receive = lambda data, where, address, out, notes: None
    bench.driver.run(every)
    bench.driver.resume()
    return shed


def test_a_router_that_stays_behind_sheds_new_calls_and_stops_once_it_has_caught_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CATCH_UP_S", 0.0)
    monkeypatch.setattr(module, "BEHIND_S", 0.0)
    monkeypatch.setattr(module, "BEHIND_BYTES", 0)
    assert flood(bench, 20)[-1]
    turn_until(bench.driver, lambda: not bench.core.is_shedding)
    assert bench.driver.counters["fell_behind"] == 1


def test_a_socket_that_stays_full_of_a_moments_work_is_no_overload(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATCH_UP_S", 0.0)
    monkeypatch.setattr(module, "BEHIND_S", 0.0)
    assert not any(flood(bench, 20))


def test_a_router_whose_small_buffer_stays_more_than_half_full_sheds_new_calls(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CATCH_UP_S", 0.0)
    monkeypatch.setattr(module, "BEHIND_S", 0.0)
    bench.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
    assert flood(bench, 20, waiting=1000)[-1]


def test_an_icmp_error_among_what_waits_does_not_end_the_shedding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CATCH_UP_S", 0.0), ("BEHIND_S", 0.0), ("BEHIND_BYTES", 0)):
        monkeypatch.setattr(module, name, value)
    closed = a_socket("127.0.0.1")
    nobody = closed.getsockname()
    closed.close()
    flood(bench, 20, waiting=4 * MAX_BATCH)
    assert bench.core.is_shedding

    def answer_nobody_once(data: bytes, where: int, address: tuple[str, int], out: Any, notes: Any) -> None:
        if not bench.core.failed:
            out.append((where, data, nobody))

    shed: list[bool] = []

    def watch(where: int, address: tuple[str, int], out: Any) -> None:
        bench.core.on_tick = lambda now_s, out: shed.append(bench.core.is_shedding)
        bench.core.next_due_s = 0.0  # at the end of this turn

    bench.core.on_receive, bench.core.on_failed = answer_nobody_once, watch
    turn_until(bench.driver, lambda: bool(shed))
    assert shed == [True], "there was more to read"
    turn_until(bench.driver, lambda: not bench.core.is_shedding)
    assert bench.driver.counters["fell_behind"] == 1


def test_a_last_batch_that_takes_all_there_was_ends_the_shedding_once_nothing_comes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("CATCH_UP_S", 0.0), ("BEHIND_S", 0.0), ("BEHIND_BYTES", 0)):
        monkeypatch.setattr(module, name, value)
    flood(bench, 20)
    bench.sockets[0].recv(100)  # a whole batch is left
    assert bench.core.is_shedding
    turn_until(bench.driver, lambda: not bench.core.is_shedding)


def test_what_waited_while_nobody_read_is_no_overload(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATCH_UP_S", 60.0)
    monkeypatch.setattr(module, "BEHIND_S", 0.0)
    assert not any(flood(bench, 20))


def test_after_stop_reading_datagrams_wait_for_the_successor(bench: Bench) -> None:
    bench.driver.stop_reading()
    bench.peers[0].sendto(b"hello", bench.address(0))
    turns = [0]

    def every(_now_s: float) -> None:
        turns[0] += 1
        if turns[0] == 2:
            bench.driver.stop()

    bench.driver.run(every)
    assert bench.core.received == []
    assert bench.sockets[0].recv(100) == b"hello"
