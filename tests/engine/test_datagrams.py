"""A UDP socket as the loop uses it: the same in C and in Python."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from sipctl.engine.embedded.datagrams import MAX_DATAGRAM_BYTES, Datagrams, PlainDatagrams, datagrams
from tests.support.compiled import compiled

MOST = 65507  # octets of the longest datagram IPv4 carries

Make = Callable[[socket.socket], Datagrams]


def in_c(sock: socket.socket) -> Datagrams:
    made: Datagrams = compiled("sipctl.engine.embedded._datagrams").Datagrams(sock.fileno())
    return made


@pytest.fixture(params=[PlainDatagrams, in_c], ids=["python", "c"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two UDP sockets on loopback that don't wait."""
    ends = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for end in ends:
        end.bind(("127.0.0.1", 0))
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_what_is_sent_arrives_with_its_sender(make: Make, pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = make(pair[0]), make(pair[1])
    for data in (b"one", b"", b"x" * MOST):
        here.send(data, pair[1].getsockname())
        assert there.receive() == (data, pair[0].getsockname())
    assert there.receive() is None


def test_peers_that_share_a_place_of_the_cache_stay_apart(make: Make, pair: tuple[socket.socket, socket.socket]) -> None:
    """More peers than places: each datagram comes with its own sender, in any order."""
    reader = make(pair[0])
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(300)]
    try:
        for number, peer in enumerate(peers):
            peer.bind((f"127.0.{number % 7}.{1 + number % 250}", 0))
        for peer in [*peers, *reversed(peers)]:
            peer.sendto(b"x", pair[0].getsockname())
            assert reader.receive() == (b"x", peer.getsockname())
    finally:
        for peer in peers:
            peer.close()


def test_addresses_no_socket_takes_are_refused(make: Make, pair: tuple[socket.socket, socket.socket]) -> None:
    port = make(pair[0])
    for wrong in (("127.0.0.1", 70000), ("127.0.0.1", -1), ("127.0.0.1", "x"), ("127.0.0.1",), None):
        with pytest.raises((OverflowError, TypeError, ValueError, OSError)):
            port.send(b"x", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        port.send("text", ("127.0.0.1", 9))  # type: ignore[arg-type]
    with pytest.raises(OSError):
        port.send(b"x" * (MOST + 1), pair[1].getsockname())


def test_names_are_never_resolved_on_the_call_path(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ValueError):
        in_c(pair[0]).send(b"x", ("localhost", 9))


def test_an_icmp_error_that_waits_is_raised(make: Make, pair: tuple[socket.socket, socket.socket]) -> None:
    port, gone = make(pair[0]), pair[1].getsockname()
    pair[0].setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    pair[1].close()
    port.send(b"x", gone)
    with pytest.raises(ConnectionRefusedError):
        port.receive()


def test_a_closed_socket_is_an_error_and_no_crash(make: Make, pair: tuple[socket.socket, socket.socket]) -> None:
    port = make(pair[0])
    to = pair[1].getsockname()
    pair[0].close()
    with pytest.raises(OSError):
        port.receive()
    with pytest.raises(OSError):
        port.send(b"x", to)


def test_nothing_is_left_behind_by_many_datagrams(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there, to = in_c(pair[0]), in_c(pair[1]), pair[1].getsockname()

    def exchange(count: int) -> int:
        for number in range(count):
            here.send(b"%d" % number, to)
            there.receive()
            there.receive()
            with pytest.raises(ValueError):
                here.send(b"x", ("nowhere", 1))
        gc.collect()
        return sys.getallocatedblocks()

    exchange(100)
    assert exchange(2000) - exchange(100) < 200


def test_ipv6_is_read_by_the_socket_module() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.setblocking(False)
        six.bind(("::1", 0))
        port = datagrams(six)
        assert isinstance(port, PlainDatagrams)
        port.send(b"x", six.getsockname()[:2])
        assert port.receive() == (b"x", six.getsockname()[:2])


def test_a_datagram_may_be_as_long_as_udp_allows() -> None:
    assert MAX_DATAGRAM_BYTES >= MOST
