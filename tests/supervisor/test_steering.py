"""The kernel's choice among the sockets of one address is the one that the routers would make."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from sipctl.call.owner import MAX_ROUTERS, owner_of
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.sockets import ListenError, open_sockets
from sipctl.supervisor.steering import LAST, MAX_INSTRUCTIONS, program
from tests.call.test_owner import a_request, a_response

SLOTS = 5


@pytest.fixture(params=["127.0.0.1", "::1"])
def group(request: pytest.FixtureRequest) -> Iterator[list[socket.socket]]:
    with socket.socket(socket.AF_INET6 if ":" in request.param else socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((request.param, 0))
        port = free.getsockname()[1]
    faults: list[str] = []
    sockets = open_sockets([Listen("udp", "udp", request.param, port, request.param, port)], SLOTS, faults.append)
    assert faults == []
    yield sockets
    for sock in sockets:
        sock.close()


def chosen(group: list[socket.socket], data: bytes) -> int:
    """The slot whose socket that datagram came to."""
    with socket.socket(group[0].family, socket.SOCK_DGRAM) as peer:
        peer.sendto(data, group[0].getsockname())
    found = []
    for slot, sock in enumerate(group):
        try:
            found.append((slot, sock.recv(65535)))
        except BlockingIOError:
            continue
    assert [data for _, data in found] == [data]
    return found[0][0]


def test_messages_of_all_kinds_and_lengths_come_to_their_owner(group: list[socket.socket]) -> None:
    for number in range(120):
        call_id = f"{number * 7919}-{'x' * (number % 50)}@198.51.100.1"
        branch = "z9hG4bK" + "b" * (number * 13 % 900)
        bye = a_request("BYE", call_id, branch, to_tag="t")
        for data in (a_request("INVITE", call_id, branch), a_response(call_id, branch), bye):
            assert chosen(group, data) == owner_of(data, SLOTS, -1)


def test_where_a_call_id_begins_does_not_matter(group: list[socket.socket]) -> None:
    for pad in range(64):
        data = a_request("INVITE", "4711@198.51.100.1", "z9hG4bK" + "b" * pad)
        assert chosen(group, data) == owner_of(data, SLOTS, -1)


def test_what_the_kernel_does_not_find_comes_to_slot_0(group: list[socket.socket]) -> None:
    unusual = a_request("BYE", "4711@198.51.100.1", "z9hG4bKb", header="i: ")
    late = a_request("BYE", "4711@198.51.100.1", "z9hG4bK" + "b" * LAST)
    misled = a_request("BYE", "4711@a", "z9hG4bKb").replace(b"<sip:a@", b'"Call Centre" <sip:a@')
    for data in (unusual, late, b"\r\n\r\n", b"x" * 3000, misled):
        assert 0 <= chosen(group, data) < SLOTS


def test_the_program_fits_for_any_number_of_slots() -> None:
    for slots in range(2, MAX_ROUTERS + 1):
        code = program(slots)
        assert len(code) <= MAX_INSTRUCTIONS
        for at, (kind, if_true, if_false, k) in enumerate(code):
            assert 0 <= if_true < 256
            assert 0 <= if_false < 256
            if kind in (0x05, 0x15):
                assert all(at + 1 + jump < len(code) for jump in ((k,) if kind == 0x05 else (if_true, if_false)))


def test_an_address_that_is_taken_is_told_also_where_several_sockets_would_share_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match="in use"):
            open_sockets([Listen("udp", "udp", "127.0.0.1", port, "127.0.0.1", port)], SLOTS)
