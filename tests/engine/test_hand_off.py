"""Two routers of one machine on real doors, with cores that do as they are told: what is read here and owned there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sipctl.call.owner import owner_of
from sipctl.engine.embedded import hand_off as module
from sipctl.engine.embedded.datagrams import Address
from sipctl.engine.embedded.driver import FLOW_BASE, Driver, Notes, Out
from sipctl.engine.embedded.hand_off import HandOff, map_board
from sipctl.engine.embedded.shared import Shared, fd_count, from_fds
from sipctl.engine.embedded.streams import ELSEWHERE_BASE, Streams
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.hand_off import DeathBoard, close_shared, make_shared
from tests.engine.fake_core import FakeCore, turn_until

SLOTS = 2


def of(slot: int, body: str = "") -> bytes:
    """A message that belongs to that slot."""
    number = 0
    while owner_of(f"\r\nCall-ID: {number}\r\n\r\n".encode(), SLOTS, -1) != slot:
        number += 1
    return f"ASK sip:a SIP/2.0\r\nCall-ID: {number}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Core(FakeCore):
    """Answers, and knows some hosts."""

    judge = None

    def __init__(self) -> None:
        super().__init__()
        self.hosts = {"127.0.0.1", "::1"}
        self.flags: list[tuple[int, int, float]] = []

    def heeds(self, socket: int, address: Address) -> bool:
        return address[0] in self.hosts

    def hear_flag(self, kind: int, sbc_id: int, until_s: float) -> None:
        self.flags.append((kind, sbc_id, until_s))

    def is_stream(self, socket: int) -> bool:
        return socket == 1 or socket >= FLOW_BASE


class Router:
    """What is in one process."""

    def __init__(self, shared: Shared, slot: int, sockets: list[socket.socket]) -> None:
        self.core = Core()
        board = map_board(shared, slot)
        assert board is not None
        self.hand_off = HandOff(self.core, shared, slot, board)
        self.driver = Driver(self.hand_off, lambda notes, now_s: None)
        self.streams = Streams(self.driver, lambda host, port, index: True, lambda host: None)
        self.listens = [
            Listen(name, kind, *sock.getsockname(), *sock.getsockname())
            for name, kind, sock in zip(("datagrams", "stream"), ("udp", "tcp"), sockets, strict=True)
        ]
        self.sockets = [socket.socket(fileno=os.dup(sock.fileno())) for sock in sockets]

    def open(self) -> Router:
        self.driver.open(self.listens, self.sockets, self.streams)
        self.streams.open(self.listens, self.sockets)
        self.hand_off.join(self.driver, self.streams)
        return self

    def join(self) -> None:
        """Read the own door and no socket."""
        self.driver.open(self.listens, self.sockets, self.streams)
        self.driver.stop_reading()
        self.hand_off.join(self.driver, self.streams)

    def turn(self) -> None:
        turns = [0]

        def every(_now_s: float) -> None:
            turns[0] += 1
            if turns[0] == 2:
                self.driver.stop()

        self.driver.run(every)
        self.driver.resume()

    def counted(self, name: str) -> int:
        return self.hand_off.counters[name]

    def end(self) -> None:
        self.streams.close()
        for sock in self.sockets:
            sock.close()


@dataclass
class Bench:
    shared: Shared
    sockets: list[socket.socket]
    routers: list[Router] = field(default_factory=list)
    peers: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> Address:
        host, port = self.sockets[0].getsockname()
        return host, port

    def router(self, slot: int) -> Router:
        router = Router(self.shared, slot, self.sockets)
        self.routers.append(router)
        return router

    def datagrams(self) -> socket.socket:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        self.peers.append(peer)
        return peer

    def connection(self) -> socket.socket:
        peer = socket.create_connection(self.sockets[1].getsockname(), timeout=5)
        self.peers.append(peer)
        return peer


@pytest.fixture
def bench() -> Iterator[Bench]:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    bench = Bench(make_shared(SLOTS, 4096), [datagrams, socket.create_server(("127.0.0.1", 0))])
    yield bench
    for router in bench.routers:
        router.end()
    for sock in (*bench.sockets, *bench.peers):
        sock.close()
    close_shared(bench.shared)


def test_a_datagram_of_another_is_served_by_its_owner_who_answers_by_the_same_socket(bench: Bench) -> None:
    reader, owner = bench.router(0).open(), bench.router(1)
    owner.join()
    peer = bench.datagrams()
    for number in range(20):
        peer.sendto(of(1, str(number)), bench.address)
    peer.sendto(of(0), bench.address)
    turn_until(reader.driver, lambda: reader.counted("handed_over") == 20 and len(reader.core.received) == 1)
    assert peer.recv(1000) == b"echo " + of(0)
    turn_until(owner.driver, lambda: len(owner.core.received) == 20)
    assert owner.core.received == [(of(1, str(number)), 0, peer.getsockname()) for number in range(20)]
    assert [peer.recv(1000) for _ in range(20)] == [b"echo " + of(1, str(number)) for number in range(20)]
    assert reader.counted("hand_off_packets") <= 20, "those of one turn travel together"
    assert owner.counted("handed_here") == 20
    assert reader.core.received == [(of(0), 0, peer.getsockname())]


def test_what_was_handed_is_never_handed_on(bench: Bench) -> None:
    one, two = bench.router(0).open(), bench.router(1).open()
    one.hand_off._put(1, module.DATAGRAM, 0, 0, 0, ("127.0.0.1", 9), of(0))  # by one who counts slots otherwise
    one.hand_off.flush()
    turn_until(two.driver, lambda: len(two.core.received) == 1)
    assert two.counted("handed_over") == 0
    assert one.counted("handed_here") == 0


def test_a_stranger_costs_no_hand_off(bench: Bench) -> None:
    reader = bench.router(0).open()
    reader.core.hosts.clear()
    bench.datagrams().sendto(of(1), bench.address)
    turn_until(reader.driver, lambda: len(reader.core.received) == 1)
    assert reader.counted("handed_over") == 0


def test_what_is_handed_to_a_slot_without_router_waits_for_the_one_that_comes(bench: Bench) -> None:
    reader = bench.router(0).open()
    peer = bench.datagrams()
    for number in range(30):
        peer.sendto(of(1, str(number)), bench.address)
    turn_until(reader.driver, lambda: reader.counted("handed_over") == 30)
    late = bench.router(1)
    late.join()
    turn_until(late.driver, lambda: len(late.core.received) == 30)
    assert [received[0] for received in late.core.received] == [of(1, str(number)) for number in range(30)]


def test_a_full_door_costs_datagrams_that_are_counted_and_nobody_waits(bench: Bench) -> None:
    reader = bench.router(0)
    reader.join()
    for slot, sock in enumerate(reader.hand_off._doors):
        if slot == 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    for number in range(400):
        reader.hand_off.receive(of(1, "x" * 600 + str(number)), 0, ("127.0.0.1", 9), 0.0, [], [])
    reader.hand_off.flush()
    lost = reader.counted("hand_off_full")
    assert 0 < lost < 400
    owner = bench.router(1)
    owner.join()
    turn_until(owner.driver, lambda: len(owner.core.received) == 400 - lost)


def test_what_belongs_to_a_connection_waits_in_order_at_a_full_door(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 100)
    reader = bench.router(0).open()
    reader.hand_off._doors[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    peer = bench.connection()
    turn_until(reader.driver, lambda: len(reader.core.opened) == 1)
    for number in range(60):
        peer.sendall(of(1, f"{number:600}"))
    turn_until(reader.driver, lambda: reader.counted("handed_over") == 60)
    assert reader.counted("hand_off_lost") == 0
    owner = bench.router(1)
    owner.join()

    def some_more() -> bool:
        reader.turn()
        return len(owner.core.received) == 60

    turn_until(owner.driver, some_more)
    assert [int(received[0][-600:]) for received in owner.core.received] == list(range(60))


def test_a_connection_of_which_a_message_is_lost_is_closed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    reader = bench.router(0).open()
    reader.hand_off._doors[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    peer = bench.connection()
    for number in range(60):
        peer.sendall(of(1, f"{number:600}"))
    turn_until(reader.driver, lambda: reader.counted("hand_off_lost") > 0)
    assert reader.core.closed == [FLOW_BASE]


def test_a_message_of_a_connection_is_answered_on_it_whoever_owns_it(bench: Bench) -> None:
    reader = bench.router(0).open()
    peer = bench.connection()
    turn_until(reader.driver, lambda: len(reader.core.opened) == 1)
    owner = bench.router(1)
    owner.join()
    peer.sendall(of(1, "theirs") + of(0, "ours"))
    turn_until(reader.driver, lambda: len(reader.core.received) == 1)
    assert peer.recv(1000) == b"echo " + of(0, "ours")
    turn_until(owner.driver, lambda: len(owner.core.received) == 1)
    assert owner.core.received == [(of(1, "theirs"), ELSEWHERE_BASE, peer.getsockname())]
    assert owner.core.opened == [(ELSEWHERE_BASE, 1, peer.getsockname())]
    turn_until(reader.driver, lambda: bool(_waiting(peer)))
    assert reader.counted("hand_off_late") == 0
    assert peer.recv(1000) == b"echo " + of(1, "theirs")
    peer.close()
    turn_until(reader.driver, lambda: reader.core.closed == [FLOW_BASE])
    turn_until(owner.driver, lambda: owner.core.closed == [ELSEWHERE_BASE])


def test_connections_of_a_router_that_died_end_when_its_successor_begins(bench: Bench) -> None:
    dead, owner = bench.router(0).open(), bench.router(1)
    owner.join()
    peer = bench.connection()
    peer.sendall(of(1))
    turn_until(dead.driver, lambda: dead.counted("handed_over") == 1)
    turn_until(owner.driver, lambda: len(owner.core.received) == 1)
    dead.streams.elsewhere = None
    successor = bench.router(0)
    successor.join()
    turn_until(owner.driver, lambda: owner.core.closed == [ELSEWHERE_BASE])
    turn_until(successor.driver, lambda: successor.counted("hand_off_late") == 1, turns=50)


def test_an_icmp_error_is_told_to_all_once_a_turn(bench: Bench) -> None:
    one, two = bench.router(0).open(), bench.router(1).open()
    for _ in range(3):
        one.driver.send_failed(0, ("127.0.0.9", 5060))
    one.driver.send_failed(1, ("127.0.0.9", 5060))  # of its own connection: nobody else's affair
    one.hand_off.flush()
    two.turn()
    assert two.core.failed == [(0, ("127.0.0.9", 5060))]
    one.turn()
    one.driver.send_failed(0, ("127.0.0.9", 5060))
    one.hand_off.flush()
    two.turn()
    assert len(two.core.failed) == 2


def test_what_a_call_showed_of_an_sbc_is_told_to_all(bench: Bench) -> None:
    one, two = bench.router(0).open(), bench.router(1).open()
    one.hand_off.tell_flag(1, 4711, 12.5)
    one.hand_off.attend(0.0, is_live=True)
    two.turn()
    assert two.core.flags == [(1, 4711, 12.5)]
    assert one.core.flags == []


def test_rubbish_at_the_door_is_counted_and_costs_nothing_else(bench: Bench) -> None:
    one = bench.router(0).open()
    door = socket.socket(fileno=os.dup(bench.shared.writes[0]))
    bench.peers.append(door)
    for rubbish in (b"x", b"\xff" * 100, module._HEAD.pack(5, 1, 0, 0, 0, 0, 0, 0), module._HEAD.pack(23, 99, 0, 0, 0, 0, 0, 0)):
        door.send(rubbish)
    turn_until(one.driver, lambda: one.counted("hand_off_malformed") == 4)
    assert one.core.received == []


def test_a_core_that_raises_on_what_was_handed_costs_that_message(bench: Bench) -> None:
    one = bench.router(0).open()

    def fall(data: bytes, where: int, address: Address, out: Out, notes: Notes) -> None:
        raise RuntimeError("told to")

    one.core.on_receive = fall
    sender = bench.router(1)
    sender.hand_off.receive(of(0), 0, ("127.0.0.1", 9), 0.0, [], [])
    sender.hand_off.flush()
    turn_until(one.driver, lambda: one.driver.counters["core_exceptions"] == 1)
    assert one.core.forgotten == [of(0)]
    assert one.hand_off._is_handed is False


def test_descriptors_travel_and_are_read_back() -> None:
    shared = make_shared(3, 4096)
    try:
        assert len(shared.fds) == fd_count(3) == 10
        assert from_fds(3, [*shared.fds, 99]) == shared
        assert from_fds(1, [7, 8, 9]) == Shared((7,))
        for slots, fds in ((3, shared.fds[:-1]), (0, [1]), (17, list(range(100)))):
            with pytest.raises(ValueError, match="descriptors"):
                from_fds(slots, fds)
        board = map_board(shared, 1)
        assert board is not None
        board.beat(50.0)
        DeathBoard(shared).mark_dead(1)
        assert board.leader(50.0) == -1
        DeathBoard(Shared((1,))).mark_dead(0)
    finally:
        close_shared(shared)


def _waiting(peer: socket.socket) -> bytes:
    peer.setblocking(False)
    try:
        return peer.recv(100, socket.MSG_PEEK)
    except BlockingIOError:
        return b""
    finally:
        peer.settimeout(5)


