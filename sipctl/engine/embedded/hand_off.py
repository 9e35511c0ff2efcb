"""One of several routers of a machine: what it reads and does not own goes to the owner's door, what it owns comes by its own.

Who sees what. `HandOff` stands between the driver and the call core. Whose a message is, says its Call-ID (`call/owner.py`). Each
slot has its own socket on every UDP listen, and the kernel finds the owner of nearly every datagram (`supervisor/steering.py`);
what it does not find, what a kernel without that help spreads anyhow, and what comes over connections, is handed over here.

A datagram that is another's leaves for that slot's door (a datagram socketpair, `shared.py`) with its source and the listen it
came by, and the owner answers on its own socket of that listen. A connection belongs to the router that
accepted or opened it; a message from it that is another's takes the number of the connection along, the owner's core knows the
connection by a number of its own (from ELSEWHERE_BASE on), and what it sends there goes back through the door of the
connection's owner. When a connection ends, everybody who was handed something of it hears so; when its router ends, its successor
says that it has begun, which ends them all.

What came by a door is never handed on: it is served here, whatever its Call-ID says. So nothing can go round in circles.

Nobody waits. A door has room for some thousands of messages, which is what a slot without a router gathers until the spare has
it. When it is full, a datagram is dropped and counted: over UDP its sender repeats it. What travels for a connection is kept, in
order, up to MAX_WAITING, and tried again; beyond that it is counted, and the connection whose message was lost is closed.

Messages that are read in one turn and belong to the same slot travel together, up to MAX_TOGETHER.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import termios
from collections import deque
from struct import Struct
from typing import Final, Protocol

from sipctl.call.owner import owner_of
from sipctl.engine.embedded.datagrams import MAX_DATAGRAM_BYTES, Address
from sipctl.engine.embedded.driver import BEHIND_S, FLOW_BASE, DrivenCore, Driver, Notes, Out
from sipctl.engine.embedded.shared import Shared
from sipctl.engine.embedded.streams import ELSEWHERE_BASE, Streams
from sipctl.health.together import Together
from sipctl.routing.board import Board
from sipctl.sip.framing import MAX_MESSAGE_BYTES

ATTEND_S: Final = 0.05  # between two looks at the board
MAX_TOGETHER: Final = 8  # messages in one packet
MAX_PACKET_BYTES: Final = 32 << 10  # of several; one message may be longer
MAX_WAITING: Final = 4096  # records for connections that wait for room at one door
MAX_PACKETS_PER_WAKE: Final = 16
MAX_ELSEWHERE: Final = 16_384  # connections of other routers known here
MAX_HOSTS: Final = 65_536
BUFFER_BYTES: Final = MAX_PACKET_BYTES + MAX_MESSAGE_BYTES + 4096

# A record: its length, kind, slot of its sender, listen, birth of the router whose connection it is, connection, port, length of
# the host | host, data. A packet is one record after the other.
_HEAD: Final = Struct("=IBBHIQHB")
_FLAG: Final = Struct("=BId")
DATAGRAM, STREAM, WRITE, CLOSED, BEGAN, GONE, EVIDENCE, FLAG = range(1, 9)
_KEPT: Final = frozenset((STREAM, WRITE, CLOSED, BEGAN))  # waits where the door is full
_NOWHERE: Final[Address] = ("", 0)
assert MAX_DATAGRAM_BYTES < MAX_MESSAGE_BYTES


class SharedCore(DrivenCore, Protocol):
    """What of the call core only several routers need (`sipctl.call.core.Core`)."""

    @property
    def judge(self) -> object: ...  # a Together, in a real core
    def heeds(self, socket: int, address: Address) -> bool: ...
    def hear_flag(self, kind: int, sbc_id: int, until_s: float) -> None: ...
    def is_stream(self, socket: int) -> bool: ...


class HandOff:
    """The core as the driver sees it where there are several routers; see the module's docstring."""

    def __init__(self, core: SharedCore, shared: Shared, slot: int, board: Board) -> None:
        self._core = core
        self._slot = slot
        self._slots = shared.slots
        self._board = board
        self._together = core.judge if isinstance(core.judge, Together) else None
        self._attend_due_s = 0.0
        self._birth = int.from_bytes(os.urandom(4), "little")
        self._inbox = socket.socket(fileno=os.dup(shared.reads[slot]))
        self._doors = [socket.socket(fileno=os.dup(fd)) for fd in shared.writes]
        for sock in (self._inbox, *self._doors):
            sock.setblocking(False)
        self._door_bytes = self._doors[slot].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._pieces: list[list[bytes]] = [[] for _ in range(self._slots)]
        self._sizes = [0] * self._slots
        self._waiting: list[deque[bytes]] = [deque() for _ in range(self._slots)]
        self._set_aside = False  # something of this turn has not left
        self._is_handed = False  # what is received now came by a door
        self._hosts: dict[bytes, str] = {}
        self._listen_of: dict[int, int] = {}  # own connection → its listen
        self._handed: dict[int, set[int]] = {}  # own connection → slots that were handed something of it
        self._number_of: dict[tuple[int, int, int], int] = {}  # (slot, birth, connection) → our number for it
        self._elsewhere: dict[int, tuple[int, int, int, int]] = {}  # our number → (slot, birth, connection, listen)
        self._left: dict[int, int] = {}  # numbers of ended ones → listen, oldest first
        self._next_number = ELSEWHERE_BASE
        self._gone: set[tuple[int, Address]] = set()  # told to the others in this turn
        self._behind_since_s: float | None = None
        self._door_is_behind = self._sockets_are_behind = False
        self._driver: Driver | None = None
        self._streams: Streams | None = None
        self.counters = dict.fromkeys(
            (
                "handed_over", "handed_here", "hand_off_full", "hand_off_lost", "hand_off_malformed", "hand_off_packets",
                "hand_off_late", "evidence_dropped", "leads",
            ),
            0,
        )  # fmt: skip

    def join(self, driver: Driver, streams: Streams) -> None:
        """Begin to read the own door, and say that this router has begun."""
        self._driver, self._streams = driver, streams
        streams.elsewhere = self._write
        driver.after_turn = self._after_turn
        driver.watch(self._inbox.fileno(), self._ready)
        self._tell_all(BEGAN)
        self.flush()

    def leave(self) -> None:
        """Read no more: what comes from now on waits for the successor."""
        assert self._driver is not None
        self._driver.unwatch(self._inbox.fileno())
        self.flush()

    def attend(self, now_s: float, *, is_live: bool) -> None:
        """Duties, every ATTEND_S: who leads, what is known of the SBCs, what this router's calls show.

        Args:
            is_live: this router holds a snapshot, so others may count on it.
        """
        if now_s < self._attend_due_s:
            return
        self._attend_due_s = now_s + ATTEND_S
        together = self._together
        if is_live:
            if together is not None:
                together.attend(now_s)
            self._board.beat(now_s)
        if together is not None:
            evidence = together.take_evidence(now_s)
            if evidence and 0 <= together.leader != self._slot:
                self._put(together.leader, EVIDENCE, 0, 0, 0, _NOWHERE, evidence)
            self.counters["leads"] = int(together.leads)
            self.counters["evidence_dropped"] = together.evidence_dropped
        self.flush()

    def tell_flag(self, kind: int, sbc_id: int, until_s: float) -> None:
        """A call here showed something of an SBC (`call.judging.FLAG_*`)."""
        self._tell_all(FLAG, data=_FLAG.pack(kind, sbc_id, until_s))

    # -- between the driver and the core: `DrivenCore` ---------------------------------------------------------------------------

    def receive(self, data: bytes, socket: int, address: Address, now_s: float, out: Out, notes: Notes) -> None:
        core = self._core
        if not self._is_handed:
            owner = owner_of(data, self._slots, self._slot)
            if owner != self._slot and (socket >= FLOW_BASE or core.heeds(socket, address)):
                self._hand_over(owner, data, socket, address)
                return
        core.receive(data, socket, address, now_s, out, notes)

    @property
    def next_due_s(self) -> float | None:
        return self._core.next_due_s

    def tick(self, now_s: float, out: Out, notes: Notes) -> None:
        self._core.tick(now_s, out, notes)

    def send_failed(self, socket: int, address: Address, now_s: float, out: Out, notes: Notes) -> None:
        """An ICMP error is read by whoever looks first, whichever router's datagram it answers: all must hear of it."""
        if not self._core.is_stream(socket) and (socket, address) not in self._gone:
            self._gone.add((socket, address))
            self._tell_all(GONE, listen=socket, address=address)
        self._core.send_failed(socket, address, now_s, out, notes)

    def flow_opened(self, flow: int, socket: int, address: Address) -> None:
        self._listen_of[flow] = socket
        self._core.flow_opened(flow, socket, address)

    def flow_closed(self, flow: int, now_s: float, out: Out, notes: Notes) -> None:
        self._listen_of.pop(flow, None)
        for slot in self._handed.pop(flow, ()):
            self._put(slot, CLOSED, 0, self._birth, flow, _NOWHERE, b"")
        self._core.flow_closed(flow, now_s, out, notes)

    def on_gap(self, gap_s: float, now_s: float) -> None:
        self._core.on_gap(gap_s, now_s)

    def forget(self, data: bytes) -> None:
        self._core.forget(data)

    @property
    def is_shedding(self) -> bool:
        """As the driver last said of the sockets; new calls are shed also while the own door is behind."""
        return self._sockets_are_behind

    @is_shedding.setter
    def is_shedding(self, behind: bool) -> None:
        self._sockets_are_behind = behind
        self._core.is_shedding = behind or self._door_is_behind

    # -- out -------------------------------------------------------------------------------------------------------------------

    def _hand_over(self, owner: int, data: bytes, where: int, address: Address) -> None:
        self.counters["handed_over"] += 1
        if where < FLOW_BASE:
            self._put(owner, DATAGRAM, where, 0, 0, address, data)
            return
        self._handed.setdefault(where, set()).add(owner)
        self._put(owner, STREAM, self._listen_of.get(where, 0), self._birth, where, address, data)

    def _write(self, where: int, data: bytes, address: Address) -> None:
        """The core answers on a connection of another router; one that has ended is replaced by one of our own."""
        known = self._elsewhere.get(where)
        if known is not None:
            slot, birth, flow, listen = known
            self._put(slot, WRITE, listen, birth, flow, address, data)
        elif self._streams is not None:
            self._streams.send(self._left.get(where, next(iter(self._listen_of.values()), 0)), data, address)

    def _tell_all(self, kind: int, *, listen: int = 0, address: Address = _NOWHERE, data: bytes = b"") -> None:
        for slot in range(self._slots):
            if slot != self._slot:
                self._put(slot, kind, listen, self._birth, 0, address, data)

    def _put(self, slot: int, kind: int, listen: int, birth: int, flow: int, address: Address, data: bytes) -> None:
        host = address[0].encode()
        size = _HEAD.size + len(host) + len(data)
        record = _HEAD.pack(size, kind, self._slot, listen, birth, flow, address[1], len(host)) + host + data
        pieces = self._pieces[slot]
        if pieces and self._sizes[slot] + size > MAX_PACKET_BYTES:
            self._send(slot)
        pieces.append(record)
        self._sizes[slot] += size
        self._set_aside = True
        if len(pieces) >= MAX_TOGETHER:
            self._send(slot)

    def flush(self) -> None:
        """Send what was set aside, and what has waited for room."""
        if not self._set_aside:
            return
        self._set_aside = False
        for slot, pieces in enumerate(self._pieces):
            if pieces or self._waiting[slot]:
                self._send(slot)

    def _after_turn(self) -> None:
        self._gone.clear()
        self.flush()

    def _send(self, slot: int) -> None:
        """Everything for one slot, in order: what waited longest first."""
        pieces, waiting = self._pieces[slot], self._waiting[slot]
        while waiting:
            if not self._post(slot, waiting[0]):
                self._set_aside = True
                break
            waiting.popleft()
        if pieces and (waiting or not self._post(slot, pieces[0] if len(pieces) == 1 else b"".join(pieces))):
            for record in pieces:
                self._keep(slot, record)
        pieces.clear()
        self._sizes[slot] = 0

    def _post(self, slot: int, packet: bytes) -> bool:
        try:
            self._doors[slot].send(packet)
        except OSError:  # no room, or no memory for it
            return False
        self.counters["hand_off_packets"] += 1
        return True

    def _keep(self, slot: int, record: bytes) -> None:
        """The door is full: what may be lost is lost and counted, the rest waits."""
        _, kind, _, _, _, flow, _, _ = _HEAD.unpack_from(record)
        if kind not in _KEPT:
            self.counters["hand_off_full"] += 1
        elif len(self._waiting[slot]) < MAX_WAITING:
            self._waiting[slot].append(record)
            self._set_aside = True
        else:
            self.counters["hand_off_lost"] += 1
            if kind == STREAM and self._streams is not None:
                self._streams.drop(flow)

    # -- in --------------------------------------------------------------------------------------------------------------------

    def _ready(self, _mask: int) -> None:
        driver = self._driver
        assert driver is not None
        limit = min(driver.burst, MAX_PACKETS_PER_WAKE)
        for _ in range(limit):
            try:
                size = self._inbox.recv_into(self._buffer)
            except BlockingIOError:
                self._note_rest()
                return
            self._take(size)
        if limit == MAX_PACKETS_PER_WAKE:
            self._note_full(driver.now_s)

    def _take(self, size: int) -> None:
        at = 0
        while at + _HEAD.size <= size:
            length, kind, slot, listen, birth, flow, port, host_length = _HEAD.unpack_from(self._buffer, at)
            start = at + _HEAD.size + host_length
            if length < _HEAD.size + host_length or at + length > size:
                break
            host = bytes(self._view[at + _HEAD.size : start])
            self._serve(kind, slot, listen, birth, flow, (self._host(host), port), bytes(self._view[start : at + length]))
            at += length
        if at != size:  # of a router of another version
            self.counters["hand_off_malformed"] += 1

    def _host(self, packed: bytes) -> str:
        host = self._hosts.get(packed)
        if host is None:
            if len(self._hosts) >= MAX_HOSTS:
                self._hosts.clear()
            host = self._hosts[packed] = packed.decode("ascii", "replace")
        return host

    def _serve(self, kind: int, slot: int, listen: int, birth: int, flow: int, address: Address, data: bytes) -> None:
        driver, streams, core = self._driver, self._streams, self._core
        assert driver is not None and streams is not None
        if kind == DATAGRAM:
            self._receive(data, listen, address)
        elif kind == STREAM:
            self._receive(data, self._number(slot, birth, flow, listen, address), address)
        elif kind == WRITE:
            if birth != self._birth:
                self.counters["hand_off_late"] += 1  # of a connection of our predecessor: by its address
            streams.send(flow if birth == self._birth else listen, data, address)
            driver.flush()
        elif kind == CLOSED:
            self._close((slot, birth, flow))
        elif kind == BEGAN:
            for key in [key for key in self._number_of if key[0] == slot and key[1] != birth]:
                self._close(key)
        elif kind == GONE:
            driver.call(lambda now_s, out, notes: core.send_failed(listen, address, now_s, out, notes))
        elif kind == EVIDENCE and self._together is not None:
            self._together.heed_evidence(data)
        elif kind == FLAG and len(data) == _FLAG.size:
            core.hear_flag(*_FLAG.unpack(data))
        else:
            self.counters["hand_off_malformed"] += 1

    def _receive(self, data: bytes, where: int, address: Address) -> None:
        assert self._driver is not None
        self.counters["handed_here"] += 1
        self._is_handed = True
        try:
            self._driver.receive(data, where, address)
        finally:
            self._is_handed = False

    def _number(self, slot: int, birth: int, flow: int, listen: int, address: Address) -> int:
        """Our number for a connection of another router."""
        key = (slot, birth, flow)
        number = self._number_of.get(key)
        if number is None:
            if len(self._number_of) >= MAX_ELSEWHERE:
                self._close(next(iter(self._number_of)))
            number = self._number_of[key] = self._next_number
            self._next_number += 1
            self._elsewhere[number] = (slot, birth, flow, listen)
            self._core.flow_opened(number, listen, address)
        return number

    def _close(self, key: tuple[int, int, int]) -> None:
        number = self._number_of.pop(key, None)
        if number is None or self._driver is None:
            return
        self._left[number] = self._elsewhere.pop(number)[3]
        if len(self._left) > MAX_ELSEWHERE:
            del self._left[next(iter(self._left))]
        self._driver.call(lambda now_s, out, notes: self._core.flow_closed(number, now_s, out, notes))

    # -- falling behind ----------------------------------------------------------------------------------------------------------

    def _note_rest(self) -> None:
        self._behind_since_s = None
        if self._door_is_behind:
            self._door_is_behind = False
            self._core.is_shedding = self._sockets_are_behind

    def _note_full(self, now_s: float) -> None:
        """Full wakes for BEHIND_S, and the door half full: new calls are shed until it is empty (CALLS 1.6)."""
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        elif now_s - self._behind_since_s > BEHIND_S and self._unread_bytes() > self._door_bytes // 2:
            self._door_is_behind = self._core.is_shedding = True

    def _unread_bytes(self) -> int:
        """What waits at the own door; the kernel keeps it with the end that was written to."""
        answer = fcntl.ioctl(self._doors[self._slot], termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, "little")


def map_board(shared: Shared, slot: int) -> Board | None:
    """The board as the router of that slot uses it; None where there is one router."""
    if shared.board < 0:
        return None
    return Board(memoryview(mmap.mmap(shared.board, os.fstat(shared.board).st_size)), shared.slots, slot)
