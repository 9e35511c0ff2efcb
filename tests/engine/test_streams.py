"""Connections of the router on real TCP sockets: who may connect, what is framed, what ends a connection."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sipctl.engine.embedded import streams as module
from sipctl.engine.embedded.driver import FLOW_BASE, Driver
from sipctl.engine.embedded.streams import Streams, refusal
from sipctl.routing.snapshot import Listen
from tests.engine.fake_core import FakeCore, turn_until

MESSAGE = (
    b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:c@d>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody"
)


@dataclass
class Bench:
    core: FakeCore
    driver: Driver
    streams: Streams
    listener: socket.socket
    known: set[str] = field(default_factory=lambda: {"127.0.0.1"})
    strangers: list[str] = field(default_factory=list)
    opened: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.getsockname()
        return host, port

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        peer = socket.create_connection(self.address, timeout=5, source_address=(source, 0))
        self.opened.append(peer)
        return peer

    def turn_until_counted(self, name: str, count: int = 1) -> None:
        turn_until(self.driver, lambda: self.streams.counters[name] >= count)


@pytest.fixture
def bench() -> Iterator[Bench]:
    core = FakeCore()
    driver = Driver(core, lambda notes, now_s: None)
    listener = socket.create_server(("127.0.0.1", 0))
    bench: list[Bench] = []
    streams = Streams(driver, lambda host, port, index: host in bench[0].known, lambda host: bench[0].strangers.append(host))
    bench.append(Bench(core, driver, streams, listener))
    listens = [Listen("stream", "tcp", *listener.getsockname(), *listener.getsockname())]
    driver.open(listens, [listener], streams)
    streams.open(listens, [listener])
    yield bench[0]
    streams.close()
    for sock in (*bench[0].opened, listener):
        sock.close()


def test_messages_come_whole_however_they_were_cut_and_answers_take_the_same_connection(bench: Bench) -> None:
    peer = bench.connect()
    data = MESSAGE * 3
    for start in range(0, len(data), 37):
        peer.sendall(data[start : start + 37])
    turn_until(bench.driver, lambda: len(bench.core.received) == 3)
    assert {received[0] for received in bench.core.received} == {MESSAGE}
    assert {received[1] for received in bench.core.received} == {FLOW_BASE}
    assert bench.core.opened == [(FLOW_BASE, 0, peer.getsockname())]
    answered = b""
    while len(answered) < 3 * len(b"echo " + MESSAGE):
        answered += peer.recv(65536)
    assert answered == (b"echo " + MESSAGE) * 3


def test_a_stranger_is_closed_unanswered_and_counted(bench: Bench) -> None:
    peer = bench.connect(source="127.0.0.66")
    bench.turn_until_counted("tcp_strangers")
    assert peer.recv(100) == b""
    assert bench.strangers == ["127.0.0.66"]
    assert bench.core.opened == []


def test_a_keep_alive_is_answered_with_one_line_end(bench: Bench) -> None:
    peer = bench.connect()
    peer.sendall(b"\r\n\r\n")
    turn_until(bench.driver, lambda: bool(_waiting(peer)))
    assert peer.recv(100) == b"\r\n"
    assert bench.core.received == []


def _waiting(peer: socket.socket) -> bytes:
    peer.setblocking(False)
    try:
        return peer.recv(100, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def test_bad_framing_hears_400_and_loses_its_connection(bench: Bench) -> None:
    peer = bench.connect()
    peer.sendall(MESSAGE.replace(b"Content-Length: 4", b"Content-Length: +4"))
    bench.turn_until_counted("tcp_closed")
    answer = peer.recv(4096)
    assert answer.startswith(b"SIP/2.0 400 ")
    assert b"Call-ID: one\r\n" in answer
    assert b"Reason: Q.850;cause=111" in answer
    assert peer.recv(100) == b""
    assert bench.core.received == []
    assert bench.core.closed == [FLOW_BASE]
    assert bench.streams.counters["tcp_bad_framing"] == 1


def test_whole_messages_before_the_bad_one_are_taken_and_none_after(bench: Bench) -> None:
    peer = bench.connect()
    peer.sendall(MESSAGE + b"rubbish\r\n\r\n" + MESSAGE)
    bench.turn_until_counted("tcp_closed")
    assert len(bench.core.received) == 1


def test_a_message_that_stays_unfinished_ends_its_connection(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_DEADLINE_S", 0.2)
    peer = bench.connect()
    peer.sendall(MESSAGE[:50])
    bench.turn_until_counted("tcp_timeouts")
    assert peer.recv(100) == b""


def test_an_idle_connection_ends_and_a_busy_one_does_not(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.6)
    idle, busy = bench.connect(), bench.connect()
    busy.sendall(MESSAGE)
    turn_until(bench.driver, lambda: len(bench.core.received) == 1)
    sent_s = [time.monotonic()]

    def over() -> bool:
        if time.monotonic() - sent_s[0] > 0.2:
            busy.sendall(MESSAGE)
            sent_s[0] = time.monotonic()
        return bench.streams.counters["tcp_timeouts"] == 1

    turn_until(bench.driver, over)
    assert idle.recv(100) == b""
    assert len(bench.streams) == 1


def test_one_source_gets_so_many_connections_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_SOURCE", 3)
    peers = [bench.connect() for _ in range(5)]
    bench.turn_until_counted("tcp_refused_limit", 2)
    assert len(bench.streams) == 3
    peers[0].close()
    bench.turn_until_counted("tcp_closed")
    bench.connect()
    bench.turn_until_counted("tcp_accepted", 4)
    assert len(bench.streams) == 3


def test_a_process_that_may_open_few_files_has_fewer_connections_and_refuses_the_rest(bench: Bench) -> None:
    assert [module.room_for(files) for files in (1 << 20, 1024, 256, 0)] == [module.MAX_CONNECTIONS, 768, 0, 0]
    bench.streams.close()
    few = Streams(bench.driver, lambda host, port, index: True, bench.strangers.append, max_connections=1)
    few.open([Listen("stream", "tcp", *bench.address, *bench.address)], [bench.listener])
    bench.connect()
    turn_until(bench.driver, lambda: few.counters["tcp_accepted"] == 1)
    refused = bench.connect()
    turn_until(bench.driver, lambda: few.counters["tcp_refused_limit"] == 1)
    assert refused.recv(100) == b""
    few.close()


def test_without_a_descriptor_left_nothing_is_accepted_for_a_while_and_then_what_waited(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.1)
    monkeypatch.setattr(module, "SWEEP_S", 0.0)
    tried: list[float] = []

    class Listener:
        """The listener of a process that has no descriptor left until the third try."""

        def fileno(self) -> int:
            return bench.listener.fileno()

        def accept(self) -> tuple[socket.socket, tuple[str, int]]:
            tried.append(time.monotonic())
            if len(tried) < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return bench.listener.accept()

    bench.streams._listeners[0] = Listener()  # type: ignore[assignment]
    bench.connect()
    bench.turn_until_counted("tcp_accepted")
    assert tried[1] - tried[0] >= 0.09
    assert tried[2] - tried[1] >= 0.09
    assert bench.streams.counters["tcp_accept_rests"] == bench.streams.counters["tcp_refused_limit"] == 2


def test_a_connection_for_which_no_descriptor_is_left_is_told_to_the_core(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", no_descriptor)
        bench.driver.call(lambda now_s, out, notes: out.append((0, MESSAGE, ("127.0.0.1", 5060))))
    assert bench.core.failed == [(0, ("127.0.0.1", 5060))]
    assert bench.streams.counters["tcp_refused_limit"] == 1


def test_a_message_to_an_address_opens_one_connection_and_keeps_using_it(bench: Bench) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    bench.opened.append(server)
    target = server.getsockname()

    def send_twice(now_s: float, out: list[tuple[int, bytes, tuple[str, int]]]) -> None:
        out += [(0, b"first ", target), (0, b"second", target)]

    bench.core.on_tick = send_twice
    bench.core.next_due_s = 0.0
    bench.turn_until_counted("tcp_connected")
    peer, source = server.accept()
    bench.opened.append(peer)
    assert source[0] == "127.0.0.1"
    peer.settimeout(5)
    got = b""
    while len(got) < 12:
        got += peer.recv(100)
    assert got == b"first second"
    peer.sendall(MESSAGE)
    turn_until(bench.driver, lambda: len(bench.core.received) == 1)
    assert bench.core.received[0][2] == target
    assert len(bench.streams) == 1


def test_a_refused_connection_is_told_to_the_core(bench: Bench) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    target = server.getsockname()
    server.close()
    bench.core.on_tick = lambda now_s, out: out.append((0, MESSAGE, target))
    bench.core.next_due_s = 0.0
    turn_until(bench.driver, lambda: bool(bench.core.failed))
    assert bench.core.failed == [(0, target)]
    assert len(bench.streams) == 0


def test_a_connection_that_does_not_come_about_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.3)
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    target = full.getsockname()
    fillers = []
    for _ in range(4):  # a backlog that is full drops further SYNs: silence
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(target)
        fillers.append(filler)
    bench.opened += [full, *fillers]
    bench.core.on_tick = lambda now_s, out: out.append((0, MESSAGE, target))
    bench.core.next_due_s = 0.0
    turn_until(bench.driver, lambda: bool(bench.core.failed))
    assert bench.core.failed == [(0, target)]
    assert bench.streams.counters["tcp_timeouts"] == 1


def test_an_answer_whose_connection_is_gone_goes_to_its_address(bench: Bench) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    bench.opened.append(server)
    target = server.getsockname()
    peer = bench.connect()
    peer.sendall(MESSAGE)
    turn_until(bench.driver, lambda: len(bench.core.received) == 1)
    peer.close()
    bench.turn_until_counted("tcp_closed")
    bench.core.on_tick = lambda now_s, out: out.append((FLOW_BASE, b"late answer", target))
    bench.core.next_due_s = 0.0
    bench.turn_until_counted("tcp_connected")
    again, _ = server.accept()
    bench.opened.append(again)
    again.settimeout(5)
    assert again.recv(100) == b"late answer"


def test_a_peer_that_does_not_read_is_closed_before_memory_fills(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNSENT_BYTES", 100_000)
    peer = bench.connect()
    bench.core.on_receive = lambda data, where, address, out, notes: out.extend([(where, b"x" * 60_000, address)] * 200)
    peer.sendall(MESSAGE)
    bench.turn_until_counted("tcp_unsent_limit")
    assert bench.core.closed[0] == FLOW_BASE
    assert (0, peer.getsockname()) in bench.core.failed


def test_a_large_answer_arrives_whole_once_the_peer_reads(bench: Bench) -> None:
    peer = bench.connect()
    bench.core.on_receive = lambda data, where, address, out, notes: out.extend([(where, b"y" * 60_000, address)] * 10)
    peer.sendall(MESSAGE)
    got = [0]
    peer.setblocking(False)

    def read_some() -> bool:
        with contextlib.suppress(BlockingIOError):
            while chunk := peer.recv(65_536):
                got[0] += len(chunk)
        return got[0] >= 600_000

    turn_until(bench.driver, read_some, turns=2000)
    assert got[0] == 600_000


@pytest.mark.parametrize("lost", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_without_the_headers_of_a_response_nothing_is_answered(lost: bytes) -> None:
    head = b"\r\n".join(line for line in MESSAGE.split(b"\r\n\r\n")[0].split(b"\r\n") if not line.startswith(lost + b":"))
    assert refusal(head, 400) == b""


def test_compact_headers_are_answered_and_responses_and_acks_are_not() -> None:
    head = b"BYE sip:a SIP/2.0\r\nv: SIP/2.0/TCP h\r\nf: <sip:a>;tag=1\r\nt: <sip:b>\r\ni: 1\r\nCSeq: 1 BYE"
    assert refusal(head, 513).startswith(b"SIP/2.0 513 Message Too Large\r\nv: SIP/2.0/TCP h\r\n")
    assert refusal(head.replace(b"BYE sip", b"ACK sip"), 400) == b""
    assert refusal(head.replace(b"BYE sip:a SIP/2.0", b"SIP/2.0 200 OK"), 400) == b""
