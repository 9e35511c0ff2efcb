"""The TCP fault proxy delays, cuts up, loses one way, resets at an octet, and counts what passed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.fault_proxy_tcp import StreamRule, TcpFaultProxy
from tests.support.processes import wait_until

WORD = b"INVITE sip:x@y SIP/2.0\r\n\r\n"


class Ends:
    """A server, the proxy before it, and clients that take the proxy for the server."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(5.0)
        self.proxy = TcpFaultProxy(self.server.getsockname())
        self.opened: list[socket.socket] = [self.server]

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection(self.proxy.front, timeout=5.0)
        served, _ = self.server.accept()
        served.settimeout(5.0)
        self.opened += [client, served]
        return client, served


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    with ends.proxy:
        yield ends
    for sock in ends.opened:
        sock.close()


def taken(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (chunk := sock.recv(size - len(data))):
        data += chunk
    return data


def test_octets_pass_both_ways_and_each_half_is_closed_by_itself(ends: Ends) -> None:
    client, served = ends.connect()
    client.sendall(WORD)
    client.shutdown(socket.SHUT_WR)
    assert taken(served, 1000) == WORD, "and then nothing more"
    served.sendall(b"200")
    assert taken(client, 3) == b"200"
    served.close()
    assert client.recv(10) == b""
    assert (ends.proxy.count("a-to-b"), ends.proxy.count("b-to-a")) == (len(WORD), 3)


def test_octet_by_octet_and_late_is_the_same_in_the_end(ends: Ends) -> None:
    ends.proxy.rule(StreamRule(chunk_bytes=1, delay_s=0.01))
    client, served = ends.connect()
    client.sendall(WORD)
    assert taken(served, len(WORD)) == WORD
    assert ends.proxy.count("a-to-b") == len(WORD)


def test_one_way_takes_the_other_ways_octets_and_loses_them(ends: Ends) -> None:
    client, served = ends.connect()
    ends.proxy.rule(StreamRule(one_way="a-to-b"))
    served.sendall(b"lost")
    wait_until(lambda: ends.proxy.count("lost") == 4, 5.0, "four octets are lost")
    client.sendall(WORD)
    assert taken(served, len(WORD)) == WORD
    ends.proxy.rule(StreamRule())
    served.sendall(b"heard")
    assert taken(client, 5) == b"heard"


@pytest.mark.parametrize("offset", [1, 10, len(WORD) - 1])
def test_a_connection_is_reset_at_an_octet(ends: Ends, offset: int) -> None:
    ends.proxy.rule(StreamRule(reset_after_bytes=offset))
    client, served = ends.connect()
    client.sendall(WORD)
    got = b""
    with pytest.raises(ConnectionResetError):
        while chunk := served.recv(100):
            got += chunk
    assert WORD[:offset].startswith(got), "never more than was let through"
    assert ends.proxy.count("a-to-b") == offset and ends.proxy.count("resets") == 1


def test_connections_are_cut_on_command_and_new_ones_refused(ends: Ends) -> None:
    client, served = ends.connect()
    ends.proxy.cut()
    for sock in (client, served):
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    ends.proxy.rule(StreamRule(refuses=True))
    with pytest.raises(ConnectionResetError):
        socket.create_connection(ends.proxy.front, timeout=5.0).recv(10)
    assert ends.proxy.count("refused") == 1
