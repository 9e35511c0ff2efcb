"""One router: takes a slot, maps its memory and the best snapshot it can get, and carries calls until it is told to stop.

It is born a spare: everything imported, nothing mapped. An assignment on the wire makes it a router in a few milliseconds, with
the calls of its predecessor. From then on it needs nobody: the supervisor may die (the next one finds it by its takeover
socket), the controller may die (it keeps its snapshot for ever), the desk may die (its events wait in a bounded backlog).

What it holds it tells the supervisor (`Holding`), so that a successor boots with the same snapshot, newer than any on disk.
A router never goes back: a publication with a lower (term, seq) is refused, an equal one is only acknowledged (CALLS 4.6).
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import msgspec

from sipctl.call.events import LogLine
from sipctl.clock import monotonic_s, unix_minus_mono_s
from sipctl.control.ports import Ack, Farewell, Hello, Nack, Observe, ProbeNow, Publish, ToRouter
from sipctl.engine.embedded import wire
from sipctl.engine.embedded.desk_link import DeskLink
from sipctl.engine.embedded.driver import Driver
from sipctl.engine.embedded.hand_off import HandOff, SharedCore, map_board
from sipctl.engine.embedded.seen import seen
from sipctl.engine.embedded.shared import from_fds
from sipctl.engine.embedded.streams import MAX_CONNECTIONS, Streams, room_for
from sipctl.engine.embedded.tables import Tables
from sipctl.engine.generation import decode_state, encode_state
from sipctl.errors import SnapshotError
from sipctl.routing.board import Board
from sipctl.routing.fence import Ruling, ruling
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.local_orders import LocalOrder, pending, with_orders
from sipctl.routing.snapshot import Listen, RoutingState
from sipctl.routing.table import Table

OBSERVE_S = 0.5
MIN_OBSERVE_S = 0.02  # between two that were asked for at once
MAX_WANTED_NAMES = 256
MAX_FRAMES_PER_WAKE = 16
DUTIES_S = 0.01  # between two rounds of duties, so that no message pays for them

_encoder = msgspec.msgpack.Encoder()
_to_router: msgspec.msgpack.Decoder[ToRouter] = msgspec.msgpack.Decoder(ToRouter)


class RouterCore(SharedCore, Protocol):
    """The call core as the router uses it (`sipctl.call.core.Core`)."""

    def swap(self, snapshot: RoutingSnapshot, now_s: float) -> None: ...
    def adopt(self, now_s: float, out: Any, notes: Any) -> None: ...
    def observe(self, now_s: float) -> Observe: ...
    def probe_now(self, sbc: str, now_s: float) -> None: ...
    @property
    def calls(self) -> int: ...


MakeCore = Callable[[int, Sequence[Listen], memoryview, bytes, float, frozenset[str], Board | None], RouterCore]


class Wire:
    """The router's end of its wire, and the socket by which the next supervisor finds it."""

    def __init__(self, sock: socket.socket, takeover: socket.socket | None) -> None:
        self.sock: socket.socket | None = sock
        self.takeover = takeover
        self.build, self.layout = "", ""  # version of our code, how it lays out a slot's memory
        self.cut = 0  # packets that arrived without their descriptors
        self.was_spoken_to = False  # the supervisor writes our run file first, so one that never spoke left no trace of us
        sock.setblocking(False)
        if takeover is not None:
            takeover.setblocking(False)

    def send(self, frame: msgspec.Struct, fds: Sequence[int] = ()) -> None:
        """Say something to the supervisor; lost if it is not there or does not listen."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                wire.send_packet(self.sock, wire.encode(frame), fds)

    def report(
        self, slot: int | None, listens: tuple[Listen, ...], holding: wire.Holding | None, slots: int, fds: Sequence[int]
    ) -> None:
        """Answer a supervisor that takes over."""
        self.send(wire.Report(os.getpid(), slot, listens, holding, slots, self.build, self.layout), fds)

    def receive(self) -> tuple[wire.ToChild, list[int]] | None:
        """The next frame, or None if there is none now; a dead supervisor's wire is closed, a packet that was cut is counted."""
        if self.sock is None:
            return None
        try:
            packet = wire.receive_packet(self.sock)
        except BlockingIOError:
            return None
        except wire.CutError:
            self.cut += 1
            return None
        except OSError:
            packet = None
        if packet is None:
            self.sock.close()
            self.sock = None
            return None
        self.was_spoken_to = True
        try:
            return wire.to_child(packet[0]), packet[1]
        except msgspec.MsgspecError:  # of a supervisor we do not understand
            wire.close_all(packet[1])
            return None

    def accept(self) -> bool:
        """Let the next supervisor in: its connection becomes the wire. Only our own user may be one."""
        assert self.takeover is not None
        try:
            sock, _ = self.takeover.accept()
        except OSError:
            return False
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if int.from_bytes(peer[4:8], "little") not in (0, os.getuid()):
            sock.close()
            return False
        if self.sock is not None:
            self.sock.close()
        sock.setblocking(False)
        self.sock = sock
        self.was_spoken_to = True
        return True


def run_router(
    control: Wire, make_core: MakeCore, failpoints: frozenset[str] = frozenset(), *, build: str = "", layout: str = ""
) -> int:
    """Live as a spare until assigned, then as a router until told to stop; returns the exit code.

    Args:
        build, layout: version of the code, and how it lays out a slot's memory: the supervisor is told.
    """
    stopped: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append("terminated"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # the call path makes no cycles (DESIGN §4.6); what was imported is looked at once, before any call waits
    gc.collect()
    gc.freeze()
    max_descriptors = open_as_many_as_allowed()
    control.build, control.layout = build, layout
    control.send(wire.Booted("router", os.getpid(), build, layout))
    assigned = _wait_as_spare(control, stopped)
    if assigned is None:
        return 0
    router = Router(control, assigned[0], assigned[1], make_core, failpoints, max_connections=room_for(max_descriptors))
    return router.run(stopped)


def open_as_many_as_allowed() -> int:
    """Raise this process's limit of open descriptors as far as its user may; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _wait_as_spare(control: Wire, stopped: list[str]) -> tuple[wire.Assign, list[int]] | None:
    kept = wire.Keep(())
    kept_fds: list[int] = []
    while not stopped:
        poll = select.poll()
        for sock in (control.sock, control.takeover):
            if sock is not None:
                poll.register(sock, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(wire.HEARTBEAT_S * 1000)}
        if control.takeover is not None and control.takeover.fileno() in ready and control.accept():
            control.report(None, kept.listens, None, kept.slots, kept_fds)
        control.send(wire.Beat())
        while (received := control.receive()) is not None:
            frame, fds = received
            if isinstance(frame, wire.Assign):
                wire.close_all(kept_fds)
                return frame, fds
            if isinstance(frame, wire.Keep):
                kept_fds, fds = fds, kept_fds
                kept = frame
            wire.close_all(fds)
            if isinstance(frame, wire.Stop):
                return None
        if control.sock is None and not control.was_spoken_to:  # nobody would ever find us
            return None
        if control.cut:  # perhaps our assignment, or what we were to keep: another spare may fare better
            return None
    return None


class Router:
    """A router with its slot; see the module's docstring."""

    def __init__(
        self, control: Wire, assign: wire.Assign, fds: Sequence[int], make_core: MakeCore, failpoints: frozenset[str],
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._control = control
        self._assign = assign
        self._failpoints = failpoints
        self._orders = assign.orders
        count = len(assign.listens)
        self._all_sockets = [socket.socket(fileno=fd) for fd in fds[: count * assign.slots]]
        self._sockets = self._all_sockets[count * assign.slot :][:count]
        self._shared = from_fds(assign.slots, fds[count * assign.slots :])
        self._source_fds = list(fds)
        memory_fd = self._shared.memories[assign.slot]
        memory = mmap.mmap(memory_fd, os.fstat(memory_fd).st_size)
        self._unix_minus_mono_s = unix_minus_mono_s()
        board = map_board(self._shared, assign.slot)
        self._core = make_core(
            assign.slot, assign.listens, memoryview(memory), os.urandom(32), self._unix_minus_mono_s, failpoints, board
        )
        self._desk = DeskLink(self._heed)
        self._hand_off = HandOff(self._core, self._shared, assign.slot, board) if board is not None else None
        self._driver = Driver(self._core if self._hand_off is None else self._hand_off, self._desk.heed)
        self._max_connections = max_connections
        self._streams = Streams(
            self._driver, self._knows, lambda host: self._log("stranger-connected", host=host), max_connections
        )
        self._tables = Tables()
        self._snapshot: RoutingSnapshot | None = None
        self._state: RoutingState | None = None  # as published; the snapshot is built of it and of the local orders
        self._taking: tuple[Publish, Generator[None, None, None]] | None = None
        self._controller: socket.socket | None = None
        self._beat_due_s = 0.0
        self._observe_due_s = 0.0
        self._observed_s = 0.0
        self._wanted: dict[str, None] = {}
        self._generation = "none"
        self._counters = {"frames_dropped": 0, "packets_cut": 0, "publications_taken": 0, "publications_refused": 0}

    def run(self, stopped: list[str]) -> int:
        """Boot, read, turn until stopped, leave in order."""
        driver = self._driver
        faults = self._boot()
        driver.now_s = monotonic_s()
        driver.open(self._assign.listens, self._sockets, self._streams)
        self._streams.open(self._assign.listens, self._sockets)
        if self._snapshot is not None:
            driver.call(self._core.adopt)
        if self._hand_off is not None:
            self._hand_off.join(driver, self._streams)
        self._watch_wire()
        gc.freeze()
        self._control.send(wire.Ready(self._assign.slot, self._generation, self._revision, self._core.calls))
        self._tell_holding()
        for fault in faults:
            self._log("snapshot-refused", reason=fault)
        self._log("router-ready", generation=self._generation, revision=self._revision, calls=self._core.calls)
        if self._max_connections < MAX_CONNECTIONS:
            self._log("connections-limited", by="the number of open files (ulimit -n)", connections=self._max_connections)
        driver.run(lambda now_s: self._duties(now_s, stopped))
        self._leave(stopped[0] if stopped else "told to stop")
        return 0

    @property
    def _revision(self) -> int:
        return self._snapshot.revision if self._snapshot is not None else 0

    # -- snapshots -------------------------------------------------------------------------------------------------------------

    def _boot(self) -> list[str]:
        """Take the best snapshot of those handed over; returns why better ones were not taken."""
        faults = []
        for source in self._assign.sources:
            if f"die-booting-{source.name}" in self._failpoints:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                state = decode_state(wire.read_fd(self._source_fds[source.at]))
                table = self._tables.take(os.dup(self._source_fds[source.at + 1]))
                for more in range(2, source.tables + 1):
                    self._tables.take(os.dup(self._source_fds[source.at + more]))
                self._take(table, state)
            except (SnapshotError, OSError) as error:
                faults.append(f"{source.name}: {error}")
                continue
            self._generation = source.name
            break
        wire.close_all(self._source_fds[len(self._all_sockets) + len(self._shared.fds) :])
        return faults

    def _take(self, table: Table, state: RoutingState) -> None:
        """Raises: SnapshotError if the two do not fit, or what the core raises; what was held before is held then."""
        canary = None if state.canary is None else self._tables.table(state.canary.table)
        snapshot = RoutingSnapshot.build(table, with_orders(state, self._orders), canary)
        try:
            self._core.swap(snapshot, monotonic_s())
        except Exception:
            if self._snapshot is not None:
                self._core.swap(self._snapshot, monotonic_s())  # the core may have gone half of the way
            raise
        self._snapshot, self._state, self._orders = snapshot, state, pending(state, self._orders)
        self._counters["publications_taken"] += 1

    def _publish(self, publication: Publish, fds: list[int]) -> None:
        """Take a publication; one that brings a table is checked in steps, between calls, and nothing else is read meanwhile."""
        if fds and self._snapshot is not None:
            self._taking = publication, self._tables.taking_all(fds[:])
            fds.clear()
            self._driver.has_work = True
            self._driver.idle_until_s = 0.0
            if self._controller is not None:
                self._driver.unwatch(self._controller.fileno())
            self._take_on()  # the first step at once: from then on the steps own the descriptor
            return
        try:
            while fds:
                self._tables.take(fds.pop(0))
        except Exception as error:  # noqa: BLE001 - what is not the publication's fault is raised again
            self._refuse(publication, error)
            return
        self._hold(publication)

    def _take_on(self) -> None:
        """One step of the table that is being taken; after the last, its publication. Raises: as `_refuse`."""
        assert self._taking is not None
        publication, steps = self._taking
        try:
            next(steps)
            return
        except StopIteration:
            self._end_taking()
        except Exception as error:  # noqa: BLE001 - what is not the publication's fault is raised again
            self._end_taking()
            self._refuse(publication, error)
            return
        self._hold(publication)

    def _end_taking(self) -> None:
        """Nothing is being taken any more; what the controller sent meanwhile is read from now on."""
        if self._taking is None:
            return
        self._taking[1].close()
        self._taking = None
        self._driver.has_work = False
        if self._controller is not None:
            self._driver.watch(self._controller.fileno(), self._controller_ready)

    def _refuse(self, publication: Publish, error: Exception) -> None:
        """Tell the controller, and go on with what is held. Raises: `error` if it is a fault of ours, for the driver's fence."""
        state = publication.state
        is_ours = not isinstance(error, SnapshotError)
        reason = f"the router cannot take it: {type(error).__name__}: {error}" if is_ours else str(error)
        self._counters["publications_refused"] += 1
        self._say(Nack(self._assign.name, state.term, state.seq, reason))
        self._log("publication-refused", term=state.term, seq=state.seq, reason=reason)
        if is_ours:
            raise error

    def _hold(self, publication: Publish) -> None:
        """Go by a publication whose table is there. Raises: as `_refuse`."""
        state = publication.state
        order = (state.term, state.seq)
        name = self._assign.name
        try:
            held = self._state
            verdict = ruling(held, state)
            if held is not None and verdict is Ruling.AGAIN:
                self._say(Ack(name, *order, held.revision))
                return
            if held is not None and verdict is Ruling.OLDER:
                raise SnapshotError(f"term {state.term} seq {state.seq} is older than what is held: {held.term} {held.seq}")
            if order == self._assign.distrust:
                raise SnapshotError("this snapshot ended a router twice while it booted")
            table = self._tables.table(state.table)
            if table is None:
                raise SnapshotError(f"unknown table {state.table[:12]}")
            if state.canary is not None and self._tables.table(state.canary.table) is None:
                raise SnapshotError(f"unknown table {state.canary.table[:12]} of the canary")
            first = self._snapshot is None
            self._take(table, state)
        except Exception as error:  # noqa: BLE001 - what is not the publication's fault is raised again
            self._refuse(publication, error)
            return
        if first:
            self._driver.call(self._core.adopt)
        self._say(Ack(name, *order, state.revision))
        self._tell_holding()

    def _tell_holding(self) -> None:
        state = self._state
        if state is None:
            return
        memory = wire.sealed_memfd("state", encode_state(state))
        self._control.send(self._holding(state), (memory, *self._table_fds(state)))
        os.close(memory)

    def _table_fds(self, state: RoutingState) -> list[int]:
        """Its table's descriptor, then its canary's table's."""
        names = [state.table]
        if state.canary is not None and self._tables.table(state.canary.table) is not None:
            names.append(state.canary.table)
        return [self._tables.descriptor(name) for name in names]

    def _holding(self, state: RoutingState) -> wire.Holding:
        return wire.Holding(self._assign.slot, state.term, state.seq, state.revision)

    def _knows(self, host: str, port: int, listen: int) -> bool:
        return self._snapshot is not None and self._snapshot.identify(host, port, listen, stream=True) is not None

    # -- the wire --------------------------------------------------------------------------------------------------------------

    def _watch_wire(self) -> None:
        if self._control.sock is not None:
            self._driver.watch(self._control.sock.fileno(), self._wire_ready)
        if self._control.takeover is not None:
            self._driver.watch(self._control.takeover.fileno(), self._takeover_ready)

    def _wire_ready(self, _mask: int) -> None:
        sock = self._control.sock
        if sock is None:
            return
        fd = sock.fileno()
        for _ in range(MAX_FRAMES_PER_WAKE):
            received = self._control.receive()
            if received is None:
                break
            frame, fds = received
            if isinstance(frame, wire.Link) and fds:
                self._connect(frame.to, socket.socket(fileno=fds.pop(0)))
            elif isinstance(frame, wire.Stop):
                self._driver.stop()
            elif isinstance(frame, wire.Orders):
                self._obey(frame.orders)
            elif isinstance(frame, wire.Look):
                self._control.send(self._seen())
            wire.close_all(fds)
        if self._control.sock is None:  # the supervisor died: calls go on, the next one will come by the takeover socket
            self._driver.unwatch(fd)

    def _takeover_ready(self, _mask: int) -> None:
        old = self._control.sock.fileno() if self._control.sock is not None else None
        if not self._control.accept():
            return
        if old is not None:
            self._driver.unwatch(old)
        self._watch_wire()
        fds = [sock.fileno() for sock in self._all_sockets] + self._shared.fds
        holding = None
        memory = None
        if (state := self._state) is not None:
            holding = self._holding(state)
            memory = wire.sealed_memfd("state", encode_state(state))
            fds += [memory, *self._table_fds(state)]
        self._control.report(self._assign.slot, self._assign.listens, holding, self._shared.slots, fds)
        if memory is not None:
            os.close(memory)
        self._log("taken-over")

    def _obey(self, orders: tuple[LocalOrder, ...]) -> None:
        """Follow what an operator ordered on this node, besides what the controller published."""
        self._orders = pending(self._state, orders)
        if self._snapshot is not None and self._state is not None:
            self._take(self._snapshot.table, self._state)
        self._control.send(wire.Obeyed(self._assign.slot, max((order.number for order in orders), default=0)))
        self._observe(monotonic_s())
        self._log("orders-followed", orders=len(self._orders))

    def _seen(self) -> wire.Seen:
        observed = msgspec.structs.replace(self._core.observe(monotonic_s()), name=self._assign.name)
        return seen(self._assign, self._control.build, self._snapshot, self._state, self._orders, observed)

    def _connect(self, to: str, sock: socket.socket) -> None:
        sock.setblocking(False)
        if to == "events":
            self._desk.connect(sock)
        elif to == "controller":
            self._disconnect()
            self._controller = sock
            self._driver.watch(sock.fileno(), self._controller_ready)
            me, slots = self._assign, self._shared.slots
            self._say(Hello(me.name, me.slot, os.getpid(), self._state, self._control.build, self._orders, slots))
            self._observe_due_s = 0.0
        else:
            sock.close()

    # -- the controller --------------------------------------------------------------------------------------------------------

    def _controller_ready(self, _mask: int) -> None:
        for _ in range(MAX_FRAMES_PER_WAKE):
            if self._controller is None or self._taking is not None:
                return
            try:
                packet = wire.receive_packet(self._controller)
            except BlockingIOError:
                return
            except wire.CutError as cut:
                self._miss(cut)
                continue
            except OSError:
                packet = None
            if packet is None:
                self._disconnect()
                return
            data, fds = packet
            try:
                frame = _to_router.decode(data)
                if isinstance(frame, Publish):
                    self._publish(frame, fds)
                elif isinstance(frame, ProbeNow):
                    self._core.probe_now(frame.sbc, self._driver.now_s)
            except msgspec.MsgspecError as error:
                self._counters["publications_refused"] += 1
                self._log("frame-refused", reason=str(error))
            finally:
                wire.close_all(fds)

    def _miss(self, cut: wire.CutError) -> None:
        """Descriptors found no place here: the link itself is whole, and a publication without its table is refused."""
        self._counters["packets_cut"] += 1
        self._log("packet-cut", reason=str(cut))
        with contextlib.suppress(msgspec.MsgspecError):
            frame = _to_router.decode(cut.data)
            if isinstance(frame, Publish):
                self._refuse(frame, SnapshotError("its table did not arrive: this router has as many files open as it may"))

    def _disconnect(self) -> None:
        self._end_taking()
        if self._controller is not None:
            self._driver.unwatch(self._controller.fileno())
            self._controller.close()
            self._controller = None

    def _say(self, frame: msgspec.Struct) -> None:
        """To the controller; dropped and counted if it does not listen: the whole state and the whole view come again."""
        if self._controller is None:
            return
        try:
            wire.send_packet(self._controller, _encoder.encode(frame))
        except OSError:
            self._counters["frames_dropped"] += 1

    def _observe(self, now_s: float) -> None:
        self._observed_s = now_s
        self._observe_due_s = now_s + OBSERVE_S
        if self._controller is None:
            return
        driver = self._driver
        seen = self._core.observe(now_s)
        counters = {**seen.counters, **driver.counters, **self._streams.counters, **self._desk.counters, **self._counters}
        if self._hand_off is not None:
            counters.update(self._hand_off.counters)
        counters["packets_cut"] += self._control.cut
        counters["tcp_connections"] = len(self._streams)
        wanted = tuple(dict.fromkeys((*seen.wanted_names, *self._wanted)))[:MAX_WANTED_NAMES]
        self._say(
            msgspec.structs.replace(
                seen,
                name=self._assign.name,
                loop_gap_s=max(driver.gap_s, seen.loop_gap_s),
                local_errors=driver.counters["local_errors"],
                counters=counters,
                wanted_names=wanted,
                orders=self._orders,
            )
        )
        driver.gap_s = 0.0
        self._wanted.clear()

    # -- duties, every now and then -------------------------------------------------------------------------------------------

    def _duties(self, now_s: float, stopped: list[str]) -> None:
        if stopped:
            self._driver.stop()
        self._desk.due(now_s)
        self._driver.idle_until_s = now_s + DUTIES_S
        if self._taking is not None:
            self._driver.call(lambda *_: self._take_on())
        if self._driver.has_work:
            self._driver.idle_until_s = now_s
        if self._hand_off is not None:
            self._hand_off.attend(now_s, is_live=self._snapshot is not None)
        if now_s >= self._beat_due_s:
            self._beat_due_s = now_s + wire.HEARTBEAT_S
            self._control.send(wire.Beat(self._driver.gap_s))
        if now_s >= self._observe_due_s:
            self._observe(now_s)

    def _heed(self, note: tuple[Any, ...], now_s: float) -> None:
        kind = note[0]
        if kind == "observe":
            self._observe_due_s = min(self._observe_due_s, self._observed_s + MIN_OBSERVE_S)
            self._driver.idle_until_s = now_s
        elif kind == "name":
            if len(self._wanted) < MAX_WANTED_NAMES:
                self._wanted[note[1]] = None
        elif kind == "flag":
            if self._hand_off is not None:
                self._hand_off.tell_flag(note[1], note[2], note[3])
        elif kind == "log":
            self._log(note[1], **note[2])
        elif kind == "alarm":
            self._log("alarm", alarm=note[1], text=note[2])

    def _log(self, slug: str, **fields: object) -> None:
        now_s = self._driver.now_s
        self._desk.add(LogLine(slug, now_s + self._unix_minus_mono_s, self._assign.name, fields), now_s)

    def _leave(self, reason: str) -> None:
        """What arrives from now on waits in the sockets for the successor; calls in set-up wait in the slot's memory."""
        self._driver.stop_reading()
        self._driver.flush()
        if self._hand_off is not None:
            self._hand_off.leave()
        self._observe(monotonic_s())
        self._say(Farewell(self._assign.name, reason))
        self._log("router-stopped", reason=reason)
        self._desk.flush(monotonic_s())
        self._streams.close()
