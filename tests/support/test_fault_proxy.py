"""The fault proxy loses, delays and doubles what its rules name, and counts it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.fault_proxy import FaultProxy, Rule, label_of, matches
from tests.support.processes import wait_until


def a_request(method: str) -> bytes:
    return f"{method} sip:x@y SIP/2.0\r\nCSeq: 1 {method}\r\n\r\n".encode()


def a_response(status: int, method: str) -> bytes:
    return f"SIP/2.0 {status} Text\r\nVia: x\r\ncseq : 1 {method}\r\n\r\n".encode()


class Ends:
    """Two UDP sockets and the proxy between them."""

    def __init__(self) -> None:
        self.a, self.b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.a, self.b):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(5.0)
        self.proxy = FaultProxy(self.a.getsockname(), self.b.getsockname(), front=("127.0.0.1", 0), back=("127.0.0.1", 0))

    def from_a(self, data: bytes) -> None:
        self.a.sendto(data, self.proxy.front)

    def from_b(self, data: bytes) -> None:
        self.b.sendto(data, self.proxy.back)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    with ends.proxy:
        yield ends
    ends.a.close()
    ends.b.close()


def test_datagrams_pass_both_ways_and_look_as_if_the_peer_had_sent_them(ends: Ends) -> None:
    ends.from_a(a_request("INVITE"))
    assert ends.b.recvfrom(9999) == (a_request("INVITE"), ends.proxy.back)
    ends.from_b(a_response(200, "INVITE"))
    assert ends.a.recvfrom(9999) == (a_response(200, "INVITE"), ends.proxy.front)
    assert ends.proxy.count() == 2 and ends.proxy.count("2xx", direction="b-to-a") == 1


def test_a_rule_drops_by_method_so_many_times_and_no_more(ends: Ends) -> None:
    ends.proxy.add(Rule("ACK", times=2))
    for method in ("ACK", "BYE", "ACK", "ACK"):
        ends.from_a(a_request(method))
    assert [ends.b.recv(9999).split()[0] for _ in range(2)] == [b"BYE", b"ACK"]
    assert ends.proxy.count("ACK", action="drop") == 2


def test_a_rule_doubles_and_delays_by_status_until_it_is_cleared(ends: Ends) -> None:
    ends.proxy.add(Rule("200/INVITE", "double", "b-to-a"))
    ends.proxy.add(Rule("180", "delay", delay_s=0.2))
    ends.from_b(a_response(180, "INVITE"))
    ends.from_b(a_response(200, "INVITE"))
    ends.from_b(a_response(200, "BYE"))
    labels = [label_of(ends.a.recv(9999)) for _ in range(4)]
    assert labels == ["200/INVITE", "200/INVITE", "200/BYE", "180/INVITE"]
    ends.proxy.clear()
    ends.from_b(a_response(200, "INVITE"))
    ends.from_b(a_response(486, "INVITE"))
    assert [label_of(ends.a.recv(9999)) for _ in range(2)] == ["200/INVITE", "486/INVITE"]


def test_a_rule_swaps_a_datagram_with_the_next_one(ends: Ends) -> None:
    ends.proxy.add(Rule("INFO", "swap", times=1))
    for method in ("INFO", "BYE", "UPDATE"):
        ends.from_a(a_request(method))
    assert [ends.b.recv(9999).split()[0] for _ in range(3)] == [b"BYE", b"INFO", b"UPDATE"]


def test_only_one_way_passes_until_it_is_cleared(ends: Ends) -> None:
    ends.proxy.one_way("a-to-b")
    ends.from_b(a_response(200, "INVITE"))
    ends.from_a(a_request("INVITE"))
    assert ends.b.recv(9999) == a_request("INVITE")
    wait_until(lambda: ends.proxy.count(action="drop") == 1, 5.0, "the response is lost")
    ends.proxy.clear()
    ends.from_b(a_response(180, "INVITE"))
    assert ends.a.recv(9999) == a_response(180, "INVITE")


def test_a_rule_with_a_probability_drops_the_same_datagrams_for_the_same_seed() -> None:
    def kept() -> list[bytes]:
        ends = Ends()
        with ends.proxy:
            ends.proxy.add(Rule("INFO", probability=0.5))
            got = []
            for number in range(20):
                ends.from_a(a_request("INFO") + b"%d" % number)
                ends.from_a(a_request("BYE"))
                while not (data := ends.b.recv(9999)).startswith(b"BYE"):
                    got.append(data)
        ends.a.close()
        ends.b.close()
        return got

    first = kept()
    assert 0 < len(first) < 20 and first == kept()


@pytest.mark.parametrize(
    ("what", "label", "fits"),
    [
        ("*", "?", True), ("INVITE", "INVITE", True), ("INVITE", "200/INVITE", False), ("200", "200/BYE", True),
        ("2xx", "202/REFER", True), ("2xx/BYE", "200/INVITE", False), ("1xx", "200/INVITE", False),
        ("180/INVITE", "180/INVITE", True),
    ],
)  # fmt: skip
def test_what_a_rule_names(what: str, label: str, fits: bool) -> None:
    assert matches(what, label) is fits


def test_what_is_not_sip_has_no_label() -> None:
    assert label_of(b"\r\n\r\n") == label_of(b"SIP/2.0 200 OK\r\n\r\n") == "?"
