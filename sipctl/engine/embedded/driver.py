"""The router's loop: one epoll, no threads, no asyncio, no waiting (DESIGN §4.4).

The core decides; this loop carries bytes. After each message it drains what the core wants sent (`out`) and said (`notes`), so
the order on the wire is the order of the core's decisions, and a crash between two messages leaves whole messages only.

The fence (DESIGN §3.5): an exception out of the core costs the one message that caused it. It is counted, the bytes are kept in a
bounded ring, the core forgets the message's transaction, and the loop goes on.

Cost: about 1 µs per datagram beyond its two system calls. That is why bound methods live in local variables, one clock reading
serves a batch, and lists are reused.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from select import EPOLLERR, EPOLLEXCLUSIVE, EPOLLIN
from typing import Any, Protocol

from sipctl.clock import monotonic_s
from sipctl.engine.embedded.datagrams import Address, Datagrams, datagrams
from sipctl.routing.snapshot import Listen

MAX_BATCH = 64  # datagrams per socket and wake, so that timers and other sockets get their turn
CATCH_UP_S = 2.0  # a router that begins takes what waited for it while nobody read; that is no overload
MAX_ERRORS_PER_WAKE = 64  # entries read from a socket's error queue at once
MAX_POISON = 32  # messages kept that raised inside the core
MAX_POISON_BYTES = 4096  # of each
POLL_S = 0.1  # the loop turns at least this often, so a longer turn is a stall of ours
BEHIND_S = 0.25  # a socket that was never found empty for so long …
BEHIND_BYTES = 4 << 20  # … and holds more than this (some 1,800 messages), or more than half of what a smaller buffer takes:
# new calls are shed until it is empty (CALLS 1.6)
RESTED_S = 20e-6  # a poll that took longer had nothing to give at once
GAP_S = 0.25  # a turn longer than this is told to the core (CALLS 3.5)
FLOW_BASE = 1 << 20  # numbers from here on are connections, below are listens

Out = list[tuple[int, bytes, Address]]
Notes = list[tuple[Any, ...]]

# linux/in.h, linux/in6.h, linux/errqueue.h; Python's socket module lacks them.
_SO_MEMINFO = 55  # nine u32: the first tells how many bytes wait to be read, the second how many may
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_ORIGIN_ICMP = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_UNREACHABLE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENOPROTOOPT})


class DrivenCore(Protocol):
    """What the driver asks of the call core (`sipctl.call.core.Core`)."""

    @property
    def next_due_s(self) -> float | None: ...
    def receive(self, data: bytes, socket: int, address: Address, now_s: float, out: Out, notes: Notes) -> None: ...
    def tick(self, now_s: float, out: Out, notes: Notes) -> None: ...
    def send_failed(self, socket: int, address: Address, now_s: float, out: Out, notes: Notes) -> None: ...
    def flow_opened(self, flow: int, socket: int, address: Address) -> None: ...
    def flow_closed(self, flow: int, now_s: float, out: Out, notes: Notes) -> None: ...
    def on_gap(self, gap_s: float, now_s: float) -> None: ...
    is_shedding: bool  # set by the driver: new calls are refused until it has caught up
    def forget(self, data: bytes) -> None: ...


class StreamSide(Protocol):
    """What the driver asks of the connections beside it (`streams.Streams`)."""

    def send(self, where: int, data: bytes, address: Address) -> None: ...
    def due(self, now_s: float) -> None: ...
    def close(self) -> None: ...


class Driver:
    """Carries datagrams between sockets and core, and turns the loop that everything else of a router hangs on."""

    __slots__ = (
        "_burst",
        "_by_fd",
        "_calm_from_s",
        "_full_since_s",
        "_heed",
        "_notes",
        "_out",
        "_poll",
        "_senders",
        "_sending",
        "_sockets",
        "_stopping",
        "_streams",
        "_watched",
        "after_turn",
        "core",
        "counters",
        "gap_s",
        "has_work",
        "idle_until_s",
        "now_s",
        "poison",
    )

    def __init__(self, core: DrivenCore, heed: Callable[[Notes, float], None]) -> None:
        """`heed` is handed the core's notes (a list that is reused: copy what you keep)."""
        self.core = core
        self._heed = heed
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}  # datagram sockets by listen index
        self._senders: list[Callable[[bytes, Address], None] | None] = []
        self._by_fd: dict[int, tuple[int, Datagrams]] = {}
        self._watched: dict[int, Callable[[int], None]] = {}
        self._streams: StreamSide | None = None
        self._out: Out = []
        self._notes: Notes = []
        self._sending = False
        self._stopping = False
        self._burst = MAX_BATCH  # datagrams read of one socket in this turn
        self._full_since_s: dict[int, float] = {}  # sockets whose batches have been full, and since when: we fall behind
        self.now_s = monotonic_s()
        self.after_turn: Callable[[], None] | None = None  # what was set aside for others in this turn leaves
        self.has_work = False  # `every` has more to do: the loop turns without a rest
        self.idle_until_s = 0.0  # `every` has nothing to do before: whoever knows may set it
        self.gap_s = 0.0  # longest turn since somebody read and cleared it
        self.poison: deque[tuple[str, bytes]] = deque(maxlen=MAX_POISON)
        self.counters = dict.fromkeys(
            (
                "datagrams_in", "datagrams_out", "local_errors", "icmp_errors", "send_retries", "core_exceptions", "loop_gaps",
                "fell_behind",
            ),
            0,
        )

    def open(self, listens: Sequence[Listen], sockets: Sequence[socket.socket], streams: StreamSide | None = None) -> None:
        """Begin to read: datagram sockets here, the others are left to `streams`."""
        self._streams = streams
        self._senders = [None] * len(listens)
        for index, (listen, sock) in enumerate(zip(listens, sockets, strict=True)):
            if listen.transport != "udp":
                continue
            sock.setblocking(False)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            self._sockets[index] = sock
            port = datagrams(sock)
            self._senders[index] = port.send
            self._by_fd[sock.fileno()] = (index, port)
            self._poll.register(sock.fileno(), EPOLLIN | EPOLLEXCLUSIVE)

    def watch(self, fd: int, ready: Callable[[int], None], mask: int = EPOLLIN) -> None:
        """Call `ready(mask)` from the loop whenever the descriptor has news."""
        if fd in self._watched:
            self._poll.modify(fd, mask)
        else:
            self._poll.register(fd, mask)
        self._watched[fd] = ready

    def unwatch(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._poll.unregister(fd)

    def stop(self) -> None:
        """Leave `run` after this turn."""
        self._stopping = True

    @property
    def burst(self) -> int:
        """Messages read of one place in this turn: 1 after a rest, more while they queue."""
        return self._burst

    def resume(self) -> None:
        """Let `run` be called again."""
        self._stopping = False

    def stop_reading(self) -> None:
        """Hand over silently: what arrives from now on waits in the sockets for the successor."""
        for fd in self._by_fd:
            self._poll.unregister(fd)
        self._by_fd.clear()

    # -- the loop --------------------------------------------------------------------------------------------------------------

    def run(self, every: Callable[[float], None]) -> None:
        """Turn until `stop`. `every(now_s)` is called in each turn from `idle_until_s` on, and turns are at most POLL_S apart."""
        core, poll = self.core, self._poll.poll
        by_fd, watched = self._by_fd, self._watched
        turned_s = monotonic_s()
        self._calm_from_s = turned_s + CATCH_UP_S
        due_s = core.next_due_s
        while not self._stopping:
            wait_s = POLL_S
            asked_s = monotonic_s()
            if self.has_work:
                wait_s = 0.0
            elif due_s is not None:
                wait_s = due_s - asked_s
                if wait_s < 0.0:
                    wait_s = 0.0
                elif wait_s > POLL_S:
                    wait_s = POLL_S
            events = poll(wait_s, MAX_BATCH)
            now_s = self.now_s = monotonic_s()
            # One datagram after a rest: a second read that finds nothing costs as much as the next poll. More while they queue.
            self._burst = 1 if now_s - asked_s > RESTED_S else min(2 * self._burst, MAX_BATCH)
            if now_s - turned_s > GAP_S:
                self._note_gap(now_s - turned_s, now_s)
            turned_s = now_s
            if not events and self._full_since_s:
                self._rest()
            for fd, mask in events:
                entry = by_fd.get(fd)
                if entry is not None:
                    if mask & EPOLLERR:
                        self._read_errors(entry[0])
                    if mask & EPOLLIN:
                        self._read(entry[0], entry[1], now_s)
                elif (ready := watched.get(fd)) is not None:
                    self._heed_other(ready, mask)
            if now_s >= self.idle_until_s:
                if self._streams is not None:
                    self._streams.due(now_s)
                every(now_s)
            if self._out or self._notes:
                self.flush()
            due_s = core.next_due_s
            if due_s is not None and due_s <= now_s:
                self._tick(now_s)
                due_s = core.next_due_s
            if self.after_turn is not None:
                self.after_turn()

    def _read(self, index: int, port: Datagrams, now_s: float) -> None:
        """One batch of one socket. The inner loop is the hot path: nothing is done in it that can be done outside."""
        receive, take = self.core.receive, port.receive
        out, notes = self._out, self._notes
        count, limit, is_empty = 0, self._burst, False
        try:
            while count < limit:
                taken = take()
                if taken is None:
                    is_empty = True
                    break
                data, source = taken
                count += 1
                try:
                    receive(data, index, source, now_s, out, notes)
                except Exception as failure:  # noqa: BLE001 - the fence: one message must not cost the router
                    self._fence(failure, data)
                if out:
                    self._send_all()
                if notes:
                    self._tell()
        except OSError:  # a pending ICMP error: the queue tells which peer; of what waits behind it, it tells nothing
            self._read_errors(index)
        self.counters["datagrams_in"] += count
        if is_empty:
            if self._full_since_s.pop(index, None) is not None and not self._full_since_s:
                self.core.is_shedding = False
        elif limit == MAX_BATCH and not self.core.is_shedding and self._has_fallen_behind(index, now_s):
            self.core.is_shedding = True
            self.counters["fell_behind"] += 1

    def _rest(self) -> None:
        """Nothing waits anywhere, also where the last batch took all there was and did not look again."""
        self._full_since_s.clear()
        self.core.is_shedding = False

    def _has_fallen_behind(self, index: int, now_s: float) -> bool:
        """Whether that socket was not found empty for BEHIND_S, the first moments of this router not counted, and still holds
        more than a moment's work."""
        if now_s - self._full_since_s.setdefault(index, max(now_s, self._calm_from_s)) <= BEHIND_S:
            return False
        memory = self._sockets[index].getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        waiting, room = int.from_bytes(memory[:4], sys.byteorder), int.from_bytes(memory[4:8], sys.byteorder)
        return waiting > min(BEHIND_BYTES, room // 2)  # without CAP_NET_ADMIN the kernel gives far less room than was asked for

    def _heed_other(self, ready: Callable[[int], None], mask: int) -> None:
        try:
            ready(mask)
        except Exception as failure:  # noqa: BLE001 - the fence: a bad frame must not cost the router either
            self._count_exception(failure, b"")
        self.flush()

    def _tick(self, now_s: float) -> None:
        try:
            self.core.tick(now_s, self._out, self._notes)
        except Exception as failure:  # noqa: BLE001 - the fence, around timers
            self._count_exception(failure, b"")
        self.flush()

    def flush(self) -> None:
        """Send and tell what is there; for callers that let the core act outside the loop's own calls."""
        if self._out:
            self._send_all()
        if self._notes:
            self._tell()

    # -- for streams and the router: the core, fenced --------------------------------------------------------------------------

    def receive(self, data: bytes, where: int, address: Address) -> None:
        """A whole message from a stream."""
        try:
            self.core.receive(data, where, address, self.now_s, self._out, self._notes)
        except Exception as failure:  # noqa: BLE001 - the fence
            self._fence(failure, data)
        self.flush()

    def call(self, act: Callable[[float, Out, Notes], None]) -> None:
        """Let the core act (`adopt`, `flow_closed` …) behind the fence and carry out what it says."""
        try:
            act(self.now_s, self._out, self._notes)
        except Exception as failure:  # noqa: BLE001 - the fence
            self._count_exception(failure, b"")
        self.flush()

    def send_failed(self, where: int, address: Address) -> None:
        """A peer cannot be reached: tell the core, which may advance at once."""
        try:
            self.core.send_failed(where, address, self.now_s, self._out, self._notes)
        except Exception as failure:  # noqa: BLE001 - the fence
            self._count_exception(failure, b"")

    # -- sending ---------------------------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        """Empty `out`. What the core appends meanwhile (an advance after a failed send) is sent in the same sweep."""
        if self._sending:  # called from within the sweep below, which goes on until the list ends
            return
        self._sending = True
        out, senders = self._out, self._senders
        known = len(senders)
        try:
            for where, data, address in out:
                send = senders[where] if where < known else None
                try:
                    if send is not None:
                        send(data, address)
                    elif self._streams is not None:
                        self._streams.send(where, data, address)
                    else:
                        self.send_failed(where, address)
                except OSError:
                    self._send_again(where, data, address)
                except (OverflowError, TypeError, ValueError) as failure:  # an address no socket can take
                    self._count_exception(failure, data)
        finally:
            self.counters["datagrams_out"] += len(out)
            out.clear()
            self._sending = False

    def _send_again(self, where: int, data: bytes, address: Address) -> None:
        """A failed send may tell of another peer's ICMP error: the second failure is our own."""
        self.counters["send_retries"] += 1
        sock = self._sockets.get(where)
        if sock is None:  # of a connection, which has told already what became of it
            self.counters["local_errors"] += 1
            return
        try:
            sock.sendto(data, address)
        except OSError as failure:
            self.counters["local_errors"] += 1
            if failure.errno not in (errno.EAGAIN, errno.ENOBUFS):  # a full buffer is healed by retransmission
                self.send_failed(where, address)

    def _read_errors(self, index: int) -> None:
        """ICMP errors, each with the destination of the datagram that caused it; the core hears of each destination once."""
        sock = self._sockets[index]
        unreachable: dict[Address, None] = {}
        for _ in range(MAX_ERRORS_PER_WAKE):
            try:
                _, ancillary, _, address = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                break
            except OSError:
                continue
            for level, kind, payload in ancillary:
                if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                    code, origin, *_ = _EXTENDED_ERROR.unpack_from(payload)
                    if origin in _ORIGIN_ICMP and code in _UNREACHABLE:
                        self.counters["icmp_errors"] += 1
                        unreachable[address[:2]] = None
        for gone in unreachable:
            self.send_failed(index, gone)
        self.flush()

    # -- the fence -------------------------------------------------------------------------------------------------------------

    def _fence(self, failure: Exception, data: bytes) -> None:
        self._out.clear()
        self._notes.clear()
        self._count_exception(failure, data)
        try:
            self.core.forget(data)
        except Exception as second:  # noqa: BLE001 - forgetting may fail on the same bytes
            self._count_exception(second, b"")

    def _count_exception(self, failure: Exception, data: bytes) -> None:
        self.counters["core_exceptions"] += 1
        where = failure.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = f"{where.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{where.tb_lineno}" if where is not None else "?"
        said = f"{type(failure).__name__} at {line}: {failure}"[:300]
        self.poison.append((said, data[:MAX_POISON_BYTES]))
        self._notes.append(("log", "core-exception", {"failure": said, "bytes": len(data)}))

    def _tell(self) -> None:
        try:
            self._heed(self._notes, self.now_s)
        finally:
            self._notes.clear()

    def _note_gap(self, gap_s: float, now_s: float) -> None:
        self.counters["loop_gaps"] += 1
        if gap_s > self.gap_s:
            self.gap_s = gap_s
        try:
            self.core.on_gap(gap_s, now_s)
        except Exception as failure:  # noqa: BLE001 - the fence
            self._count_exception(failure, b"")
