"""Two cores of one machine on one board: limits, what calls show of SBCs, and our own Call-IDs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sipctl.call.core import Core
from sipctl.call.judging import FLAG_REST, FLAG_SUSPECT, FLAG_TRUSTED
from sipctl.call.owner import owner_of
from sipctl.call.records import SLOT_BYTES
from sipctl.health.judge import Judge
from sipctl.health.together import Together
from sipctl.routing.board import Board, board_bytes
from sipctl.routing.counts import Counts
from sipctl.routing.join import RoutingSnapshot
from tests.call.support import CARRIER, OUTSIDE, SBC, Out, a_response, an_invite
from tests.support.plans import a_snapshot, a_topology

SLOTS = 2


class Machine:
    """Cores that share a board and nothing else."""

    def __init__(self, snapshot: RoutingSnapshot) -> None:
        memory = memoryview(bytearray(board_bytes(SLOTS)))
        self.now_s = 1000.0
        self.notes: list[tuple[object, ...]] = []
        self.cores: list[Core] = []
        self.boards: list[Board] = []
        for slot in range(SLOTS):
            board = Board(memory, SLOTS, slot)
            core = Core(
                slot=slot, sockets=snapshot.listens, memory=memoryview(bytearray(SLOT_BYTES)), entropy=bytes(32),
                unix_minus_mono_s=1e9, judge=Together(Judge(slot), board), board=board,
            )  # fmt: skip
            core.swap(snapshot, self.now_s)
            core.adopt(self.now_s, [], self.notes)
            self.cores.append(core)
            self.boards.append(board)

    def receive(self, slot: int, data: bytes, socket: int = OUTSIDE, address: tuple[str, int] = CARRIER) -> Out:
        out: Out = []
        self.cores[slot].receive(data, socket, address, self.now_s, out, self.notes)
        return out

    def flags(self) -> list[tuple[object, ...]]:
        return [note[1:3] for note in self.notes if note[0] == "flag"]


def limited(**changes: int) -> RoutingSnapshot:
    topology = a_topology()
    topology = replace(topology, trunks=tuple(replace(trunk, **changes) for trunk in topology.trunks))  # type: ignore[arg-type]
    return a_snapshot(topology)


def status_of(out: Out) -> bytes:
    return next((data[8:11] for _, data, _ in out if data.startswith(b"SIP/2.0")), b"")


def test_calls_of_a_trunk_are_counted_wherever_they_are_and_end_wherever_they_were() -> None:
    machine = Machine(limited(max_calls=3))
    asked = [machine.receive(number % SLOTS, an_invite(number)) for number in range(4)]
    assert [status_of(out) for out in asked] == [b"100", b"100", b"100", b"503"]
    invite = next(data for _, data, _ in asked[1] if data.startswith(b"INVITE"))
    machine.receive(1, a_response(invite, 486), socket=1, address=SBC)
    assert status_of(machine.receive(0, an_invite(5))) == b"100", "its place is free at once for the other router"
    assert status_of(machine.receive(1, an_invite(6))) == b"503"


def test_new_calls_a_second_are_counted_over_both() -> None:
    machine = Machine(limited(max_cps=3))
    heard = [status_of(machine.receive(number % SLOTS, an_invite(number))) for number in range(4)]
    assert heard == [b"100", b"100", b"100", b"503"]
    machine.now_s += 2.0
    assert status_of(machine.receive(0, an_invite(9))) == b"100"


class Racing(Counts):
    """Counts of a router whose neighbour lets a call in between its look at the limit and its own count."""

    def __init__(self, board: Board, neighbour: Callable[[], object]) -> None:
        super().__init__(board)
        self.neighbour: Callable[[], object] | None = neighbour

    def note(self, kind: int, number: int, count: int) -> None:
        neighbour, self.neighbour = self.neighbour, None
        if neighbour is not None:
            neighbour()
        super().note(kind, number, count)


@pytest.mark.interpreted
def test_a_call_let_in_elsewhere_at_the_same_instant_is_one_too_many() -> None:
    snapshot = limited(max_calls=1)
    machine = Machine(snapshot)
    core = machine.cores[0]
    heard: list[bytes] = []
    core.shared = Racing(machine.boards[0], lambda: heard.append(status_of(machine.receive(1, an_invite(2)))))
    core.swap(snapshot, machine.now_s)
    assert status_of(machine.receive(0, an_invite(1))) == b"503"
    assert heard == [b"100"]
    assert [one.calls for one in machine.cores] == [0, 1]
    assert core.census()["counts"] == 0


def test_what_a_call_shows_of_an_sbc_is_told_once_and_not_told_on() -> None:
    machine = Machine(a_snapshot())
    first = next(data for _, data, _ in machine.receive(0, an_invite(1)) if data.startswith(b"INVITE"))
    machine.receive(0, a_response(first, 503, b"Retry-After: 20\r\n"), socket=1, address=SBC)
    sbc = machine.cores[0].snapshot.sbcs[0]  # type: ignore[union-attr]
    assert machine.flags() == [(FLAG_REST, int(sbc.id))]
    other = machine.cores[1]
    other.hear_flag(FLAG_REST, int(sbc.id), machine.now_s + 20)
    assert other.live.resting_until_s[0] == machine.now_s + 20
    other.hear_flag(FLAG_SUSPECT, int(sbc.id), 0.0)
    assert other.live.suspect[0]
    other.hear_flag(FLAG_TRUSTED, int(sbc.id), 0.0)
    assert not other.live.suspect[0]
    other.hear_flag(FLAG_SUSPECT, 999_999, 0.0)
    assert len(machine.flags()) == 1


def test_answers_to_our_options_come_to_who_sent_them() -> None:
    machine = Machine(a_snapshot())
    for core in machine.cores:
        assert isinstance(core.judge, Together)
        core.judge.leads = True
        out: Out = []
        core.tick(machine.now_s + 1.0, out, machine.notes)
        probes = [data for _, data, _ in out if data.startswith(b"OPTIONS")]
        assert probes
        assert {owner_of(a_response(probe, 200), SLOTS, -1) for probe in probes} == {core.slot}
