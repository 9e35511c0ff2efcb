"""Connections: what hangs on one that closes is found by it, and nothing else is looked at."""

from __future__ import annotations

from typing import NoReturn

import pytest

from sipctl.call.forward import FLOW_BASE
from sipctl.call.relay import Relay
from tests.call.support import CARRIER, Bench, a_response, an_invite
from tests.support.world_plan import Plan, a_snapshot, a_state

PEER = ("198.51.100.1", 40_001)
OTHER_PEER = ("198.51.100.2", 40_002)
OUTSIDE_TCP, INSIDE_TCP = 2, 3
FIRST, SECOND, TO_SBC = FLOW_BASE, FLOW_BASE + 1, FLOW_BASE + 2
AMS_A = ("10.5.1.11", 5060)


class Unread(dict[bytes, Relay]):
    """A table that may be asked for one entry, never walked."""

    def values(self) -> NoReturn:
        raise AssertionError("every relay was looked at")

    items = values
    __iter__ = values
    __reversed__ = values


def over_tcp(number: int) -> bytes:
    return an_invite(number).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")


def a_bench(plan: Plan, bcp_percent: int = 0) -> Bench:
    bench = Bench(a_snapshot(plan, a_state(bcp_percent=bcp_percent)))
    bench.core.flow_opened(FIRST, OUTSIDE_TCP, PEER)
    bench.core.flow_opened(SECOND, OUTSIDE_TCP, OTHER_PEER)
    return bench


def seal(bench: Bench) -> None:
    core = bench.core
    core.invites, core.others, core.branches = Unread(core.invites), Unread(core.others), Unread(core.branches)


def test_a_connection_that_closes_gives_its_own_callers_another_way_and_looks_at_no_other() -> None:
    bench = a_bench(Plan(probe=None))
    invite, _ = bench.receive(over_tcp(1), FIRST, PEER)
    bench.receive(over_tcp(2), SECOND, OTHER_PEER)
    for number in range(3, 9):
        bench.receive(an_invite(number))
    seal(bench)
    bench.core.flow_closed(FIRST, bench.now_s, [], bench.notes)
    ((socket, data, to),) = bench.receive(a_response(invite[1], 180), 1, invite[2])
    assert (socket, to) == (OUTSIDE_TCP, CARRIER), "to a new connection, RFC 3261 §18.2.2"
    assert data.startswith(b"SIP/2.0 180")
    assert sorted(relay.socket for relay in dict.values(bench.core.invites)) == [0] * 6 + [OUTSIDE_TCP, SECOND]


@pytest.mark.parametrize("refused", [False, True])
def test_a_connection_to_an_sbc_that_closes_fails_what_waits_there_and_nothing_else(refused: bool) -> None:
    bench = a_bench(Plan(probe=None, tcp_sbcs=True), bcp_percent=100)
    for number in range(1, 4):
        sent = bench.receive(an_invite(number))
        assert sent[0][0] == INSIDE_TCP and sent[0][2] == AMS_A
    bench.core.flow_opened(TO_SBC, INSIDE_TCP, AMS_A)
    seal(bench)
    out: list[tuple[int, bytes, tuple[str, int]]] = []
    if refused:
        bench.core.send_failed(INSIDE_TCP, AMS_A, bench.now_s, out, bench.notes)
    else:
        bench.core.flow_closed(TO_SBC, bench.now_s, out, bench.notes)
    assert len([data for _, data, to in out if data.startswith(b"INVITE ") and to != AMS_A]) == 3, "each went on to the next"


def test_nothing_is_kept_of_connections_once_their_calls_are_over() -> None:
    bench = a_bench(Plan(probe=None, tcp_sbcs=True), bcp_percent=100)
    for number in range(1, 4):
        invite, *_ = bench.receive(over_tcp(number), FIRST, PEER)
        bench.receive(a_response(invite[1], 486), INSIDE_TCP, AMS_A)
    assert bench.core.census()["streams"] > 0
    bench.run(200.0)
    assert bench.core.census()["streams"] == 0


def test_a_message_that_raised_leaves_nothing_behind_on_its_connection() -> None:
    bench = a_bench(Plan(probe=None, tcp_sbcs=True), bcp_percent=100)
    bench.receive(over_tcp(1), FIRST, PEER)
    bench.core.forget(over_tcp(1))
    assert bench.core.census()["streams"] == 0
