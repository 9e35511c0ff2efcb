"""A router with its wire and its controller: what it does with publications, and what it does when something breaks."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from sipctl.control.ports import Ack, FromRouter, Nack, Observe, Publish
from sipctl.engine.embedded import wire
from sipctl.engine.embedded.router import Router, Wire, open_as_many_as_allowed
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import Listen
from sipctl.routing.table import Table, encode_table, load_table
from tests.engine.fake_core import FakeCore
from tests.support.plans import a_state, a_topology, the_numbers

MAX_TURNS = 100_000

Script = Iterator[None]


class Core(FakeCore):
    """Takes snapshots, or raises half-way as the test says."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.snapshot: RoutingSnapshot | None = None
        self.is_poisoned_by: Callable[[RoutingSnapshot], bool] = lambda snapshot: False

    def swap(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        self.snapshot = snapshot
        if self.is_poisoned_by(snapshot):
            raise ZeroDivisionError("an invariant")

    def adopt(self, now_s: float, out: Any, notes: Any) -> None:
        pass

    def probe_now(self, sbc: str, now_s: float) -> None:
        pass

    def observe(self, now_s: float) -> Observe:
        return Observe("", now_s, {}, {}, {}, {}, 0, 0.0, 0)


class Bench:
    """A router, the supervisor's end of its wire, and a controller; a script of the test's has its turn in each of the loop's."""

    def __init__(self) -> None:
        self.core = Core()
        self.supervisor, theirs = wire.socket_pair()
        self.controller, self.link = wire.socket_pair()
        sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sip.bind(("127.0.0.1", 0))
        host, port = sip.getsockname()
        memory = os.memfd_create("slot", os.MFD_CLOEXEC)
        os.ftruncate(memory, 4096)
        assign = wire.Assign(0, "r1", "", (Listen("udp", "udp", host, port, host, port),), ())
        core: Any = self.core
        self.router = Router(Wire(theirs, None), assign, [sip.detach(), memory], lambda *_: core, frozenset())
        self.heard: list[FromRouter] = []

    def run(self, script: Script) -> None:
        """Let the router turn until the script ends."""
        stopped: list[str] = []
        turns = [0]

        def turn(_now_s: float, _out: Any) -> None:
            self.core.next_due_s = 0.0
            turns[0] += 1
            self.hear()
            if turns[0] > MAX_TURNS or next(script, "ended") == "ended":
                stopped.append("the test is over")

        self.core.on_tick = turn
        self.core.next_due_s = 0.0
        wire.send_packet(self.supervisor, wire.encode(wire.Link("controller")), [self.link.fileno()])
        assert self.router.run(stopped) == 0
        assert turns[0] <= MAX_TURNS, "it did not come about"

    def publish(self, seq: int, table: Table, *images: bytes) -> None:
        fds = [wire.sealed_memfd("table", image) for image in images]
        frame = Publish(a_state(table, seq=seq), has_table=bool(images))
        wire.send_packet(self.controller, msgspec.msgpack.encode(frame), fds)
        wire.close_all(fds)

    def said(self, kind: type[Any]) -> list[int]:
        """The sequence numbers of all that were said of this kind."""
        return [frame.seq for frame in self.heard if isinstance(frame, kind)]

    def counters(self) -> dict[str, int]:
        return dict([frame for frame in self.heard if isinstance(frame, Observe)][-1].counters)

    def hear(self) -> None:
        while True:
            try:
                packet = wire.receive_packet(self.controller)
            except BlockingIOError:
                return
            if packet is None:
                return
            self.heard.append(msgspec.msgpack.decode(packet[0], type=FromRouter))

    def close(self) -> None:
        for sock in (self.supervisor, self.controller, self.link):
            sock.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def images(count: int) -> Sequence[bytes]:
    topologies = [a_topology(revision=revision + 1) for revision in range(count)]
    return [encode_table(topology, the_numbers(topology)) for topology in topologies]


@pytest.mark.parametrize("brings_a_table", [True, False])
def test_a_publication_that_the_core_raises_on_is_refused_and_the_router_goes_on_with_what_it_held(
    bench: Bench, brings_a_table: bool
) -> None:
    one, two, three = images(3)
    first, second, third = (load_table(image) for image in (one, two, three))
    bench.core.is_poisoned_by = lambda snapshot: snapshot.state.seq == 2

    def script() -> Script:
        bench.publish(1, first, one)
        while not bench.said(Ack):
            yield
        if brings_a_table:
            bench.publish(2, second, two)
        else:
            bench.publish(2, first)
        while not bench.said(Nack):
            yield
        assert bench.core.snapshot is not None
        assert bench.core.snapshot.state.seq == 1, "the core goes by the old one again"
        bench.publish(3, third, three)
        while len(bench.said(Ack)) < 2:
            yield

    bench.run(script())
    bench.hear()
    assert (bench.said(Ack), bench.said(Nack)) == ([1, 3], [2])
    assert "ZeroDivisionError: an invariant" in next(frame.reason for frame in bench.heard if isinstance(frame, Nack))
    counters = bench.counters()
    assert (counters["core_exceptions"], counters["publications_refused"]) == (1, 1)


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """No file can be opened by this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_packet_whose_descriptors_find_no_place_costs_neither_the_controllers_link_nor_the_wire(bench: Bench) -> None:
    one, two, three = images(3)
    first, second, third = (load_table(image) for image in (one, two, three))

    def script() -> Script:
        bench.publish(1, first, one)
        while not bench.said(Ack):
            yield
        bench.publish(2, second, two)
        wire.send_packet(bench.supervisor, wire.encode(wire.Link("nobody")), [0])
        with no_descriptor_left():
            while not bench.said(Nack) or not bench.router._control.cut:
                yield
        bench.publish(3, third, three)
        while len(bench.said(Ack)) < 2:
            yield

    bench.run(script())
    bench.hear()
    assert bench.counters()["packets_cut"] == 2
    assert (bench.said(Ack), bench.said(Nack)) == ([1, 3], [2]), "the controller hears that its table did not arrive"


def test_a_router_may_open_as_many_files_as_its_user_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
    try:
        told = open_as_many_as_allowed()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
        assert told >= before[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
