"""Packets and descriptors between processes, and what waits when the other side does not read."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import socket
from collections.abc import Iterator

import msgspec
import pytest

from sipctl.call.events import LogLine, RouterEvent
from sipctl.engine.embedded import desk_link, link, wire
from sipctl.engine.embedded.desk_link import DeskLink
from sipctl.engine.embedded.link import PacketLink
from sipctl.engine.embedded.tables import MAX_TABLES, Tables, sealed
from sipctl.errors import SnapshotError
from sipctl.routing.table import encode_table
from tests.support.plans import a_topology, the_numbers


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = wire.socket_pair()
    yield ends
    for end in ends:
        end.close()


def open_descriptors() -> int:
    gc.collect()  # what earlier tests left to the collector
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", [1, wire.MAX_PACKET_BYTES, wire.MAX_PACKET_BYTES + 1, 5 << 20])
def test_a_frame_of_any_length_arrives_whole_with_its_descriptors(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    data = b"\x01" * size
    memory = wire.sealed_memfd("test", b"held")
    wire.send_packet(pair[0], data, (memory,))
    wire.send_packet(pair[0], b"next")
    packet = wire.receive_packet(pair[1])
    assert packet is not None
    assert packet[0] == data
    assert [wire.read_fd(fd) for fd in packet[1]] == [b"held"]
    assert wire.receive_packet(pair[1]) == (b"next", [])
    wire.close_all([memory, *packet[1]])


def test_a_full_link_refuses_instead_of_waiting_and_a_dead_one_says_so(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        for _ in range(10_000):
            wire.send_packet(pair[0], b"x" * 4096)
    pair[1].close()
    with pytest.raises(OSError, match=r"Broken pipe|Connection reset"):
        wire.send_packet(pair[0], b"x")


def test_a_closed_peer_is_told_from_an_empty_link(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        wire.receive_packet(pair[1])
    pair[0].close()
    assert wire.receive_packet(pair[1]) is None


def test_descriptors_do_not_leak_with_many_packets(pair: tuple[socket.socket, socket.socket]) -> None:
    before = open_descriptors()
    for _ in range(50):
        memory = wire.sealed_memfd("test", b"x")
        wire.send_packet(pair[0], b"y" * (wire.MAX_PACKET_BYTES + 1), (memory,))
        os.close(memory)
        packet = wire.receive_packet(pair[1])
        assert packet is not None
        wire.close_all(packet[1])
    assert open_descriptors() == before


def test_unknown_frames_are_an_error_to_catch_and_unknown_fields_are_ignored() -> None:
    with pytest.raises(msgspec.MsgspecError):
        wire.from_child(msgspec.msgpack.encode({"type": "of tomorrow"}))
    newer = msgspec.msgpack.encode({"type": "stop", "reason": "told", "since": 4})
    assert wire.to_child(newer) == wire.Stop("told")


# -- tables --------------------------------------------------------------------------------------------------------------------


def an_image(revision: int = 1) -> bytes:
    topology = a_topology(revision=revision)
    return encode_table(topology, the_numbers(topology))


def test_a_table_is_mapped_from_sealed_memory_whatever_it_came_in() -> None:
    fd = os.memfd_create("open", os.MFD_CLOEXEC)
    os.write(fd, an_image())
    tables = Tables()
    table = tables.take(fd)
    assert tables.table(table.hash) is table
    assert fcntl.fcntl(tables.descriptor(table.hash), fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE


def test_a_sealed_descriptor_is_used_as_it_is() -> None:
    fd = wire.sealed_memfd("table", b"x")
    assert sealed(fd) == fd
    os.close(fd)


@pytest.mark.parametrize("damage", [b"", b"rubbish", an_image()[:-1], an_image() + b"\0"])
def test_a_damaged_table_is_refused_and_its_descriptor_closed(damage: bytes) -> None:
    before = open_descriptors()
    with pytest.raises(SnapshotError):
        Tables().take(wire.sealed_memfd("table", damage))
    assert open_descriptors() == before


def test_only_the_newest_tables_are_kept_and_one_that_comes_twice_once() -> None:
    tables = Tables()
    taken = [tables.take(wire.sealed_memfd("table", an_image(revision))) for revision in range(1, MAX_TABLES + 3)]
    assert [tables.table(table.hash) is not None for table in taken] == [False, False] + [True] * MAX_TABLES
    assert tables.take(wire.sealed_memfd("table", an_image(MAX_TABLES + 2))) is taken[-1]


# -- events to the desk --------------------------------------------------------------------------------------------------------


def a_line(number: int) -> LogLine:
    return LogLine("test", 0.0, "r1", {"number": number})


def told(sock: socket.socket) -> list[int]:
    decoder = msgspec.msgpack.Decoder(list[RouterEvent])
    numbers: list[int] = []
    while True:
        try:
            packet = wire.receive_packet(sock)
        except BlockingIOError:
            return numbers
        assert packet is not None
        for event in decoder.decode(packet[0]):
            assert isinstance(event, LogLine)
            numbers.append(event.fields["number"])


def a_desk() -> DeskLink:
    return DeskLink(lambda note, now_s: None)


def test_the_desk_hears_events_and_the_router_the_other_notes(pair: tuple[socket.socket, socket.socket]) -> None:
    others: list[tuple[object, float]] = []
    desk = DeskLink(lambda note, now_s: others.append((note, now_s)))
    desk.connect(pair[0])
    desk.heed([("event", a_line(1)), ("observe",), ("event", a_line(2))], 1.0)
    desk.flush(1.0)
    assert told(pair[1]) == [1, 2]
    assert others == [(("observe",), 1.0)]


def test_events_share_packets_and_keep_their_order(pair: tuple[socket.socket, socket.socket]) -> None:
    desk = a_desk()
    desk.connect(pair[0])
    for number in range(200):
        desk.add(a_line(number), 1.0)
    desk.due(1.0 + desk_link.GATHER_S)
    assert told(pair[1]) == list(range(200))
    assert desk.counters == {"events_sent": 200, "events_dropped": 0}


def test_events_wait_for_a_desk_that_is_away_up_to_a_limit_and_what_is_beyond_is_counted(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    desk = a_desk()
    for number in range(desk_link.MAX_BACKLOG + 10):
        desk.add(a_line(number), 1.0)
    desk.due(2.0)
    assert desk.counters["events_dropped"] == 10
    desk.connect(pair[0])
    got: list[int] = []
    for turn in range(1000):
        desk.due(3.0 + turn)
        got += told(pair[1])
        if len(got) == desk_link.MAX_BACKLOG:
            break
    assert got == list(range(desk_link.MAX_BACKLOG))


def test_a_desk_that_dies_loses_no_event_that_was_not_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    desk = a_desk()
    desk.connect(pair[0])
    pair[1].close()
    desk.add(a_line(1), 1.0)
    desk.flush(1.0)
    ours, theirs = wire.socket_pair()
    desk.connect(ours)
    desk.flush(2.0)
    assert told(theirs) == [1]
    ours.close()
    theirs.close()


def test_an_event_that_does_not_encode_does_not_dam_the_others(pair: tuple[socket.socket, socket.socket]) -> None:
    desk = a_desk()
    desk.connect(pair[0])
    desk.add(LogLine("test", 0.0, "r1", {"number": object()}), 1.0)
    desk.flush(1.0)
    desk.add(a_line(2), 2.0)
    desk.flush(2.0)
    assert told(pair[1]) == [2]
    assert desk.counters["events_dropped"] == 1


# -- asyncio ends --------------------------------------------------------------------------------------------------------------


async def test_an_asyncio_end_queues_what_the_peer_does_not_read_yet(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = PacketLink(pair[0]), PacketLink(pair[1])
    memory = wire.sealed_memfd("test", b"held")
    for number in range(3000):
        sender.send(b"%d" % number + b" " * 1000, (memory,) if number % 500 == 0 else ())
    os.close(memory)
    for number in range(3000):
        packet = await asyncio.wait_for(receiver.receive(), 5)
        assert packet is not None
        assert int(packet[0]) == number
        assert len(packet[1]) == (number % 500 == 0)
        wire.close_all(packet[1])
    sender.close()
    assert await asyncio.wait_for(receiver.receive(), 5) is None


async def test_an_asyncio_end_whose_queue_is_full_closes(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "MAX_QUEUED_BYTES", 100_000)
    sender = PacketLink(pair[0])
    for _ in range(3000):
        sender.send(b"x" * 1000)
    assert not sender.is_open
    sender.send(b"lost, and no error")


async def test_an_asyncio_end_pauses_reading_when_nobody_takes(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "MAX_WAITING_PACKETS", 10)
    receiver = PacketLink(pair[1])
    for number in range(200):
        wire.send_packet(pair[0], b"%d" % number)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(200):
        packet = await asyncio.wait_for(receiver.receive(), 5)
        assert packet is not None
        assert int(packet[0]) == number
    receiver.close()
