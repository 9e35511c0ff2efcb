"""The same packets in asyncio: how controller and desk speak to routers, to each other and to the supervisor.

A `PacketLink` never makes its user wait: what the socket does not take at once is queued up to MAX_QUEUED_BYTES, and beyond
that the link is closed, since a peer that reads nothing for so long is dead or hung and the next link begins with the whole
state anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from sipctl.control.ports import FromDesk, FromRouter, ToDesk, ToRouter, View
from sipctl.engine.embedded import wire

MAX_QUEUED_BYTES = 16 << 20
MAX_WAITING_PACKETS = 4096  # received and not yet taken; reading pauses there
MAX_PACKETS_PER_WAKE = 64

Packet = tuple[bytes, list[int]]

_encoder = msgspec.msgpack.Encoder()
_from_router: msgspec.msgpack.Decoder[FromRouter] = msgspec.msgpack.Decoder(FromRouter)
_from_desk: msgspec.msgpack.Decoder[FromDesk] = msgspec.msgpack.Decoder(FromDesk)


class PacketLink:
    """One end of a SEQPACKET link under asyncio."""

    def __init__(self, sock: socket.socket, name: str = "") -> None:
        sock.setblocking(False)
        self.name = name
        self.is_open = True
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[Packet] = deque()
        self._unsent_bytes = 0
        self._received: deque[Packet] = deque()
        self._news = asyncio.Event()
        self._is_paused = False
        self._loop.add_reader(sock.fileno(), self._read)

    @property
    def is_busy(self) -> bool:
        """Something waits because the peer does not read as fast as we speak."""
        return bool(self._unsent)

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send or queue one packet; silently lost on a closed link. Descriptors are duplicated: the caller keeps its own."""
        if not self.is_open:
            return
        if not self._unsent:
            try:
                wire.send_packet(self._sock, data, fds)
                return
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._write)
            except OSError:
                self.close()
                return
        self._unsent.append((data, [os.dup(fd) for fd in fds]))
        self._unsent_bytes += len(data)
        if self._unsent_bytes > MAX_QUEUED_BYTES:
            self.close()

    async def receive(self) -> Packet | None:
        """The next packet, whose descriptors the caller closes; None once the link is closed and everything was taken."""
        while not self._received:
            if not self.is_open:
                return None
            self._news.clear()
            await self._news.wait()
        packet = self._received.popleft()
        if self._is_paused and self.is_open and len(self._received) < MAX_WAITING_PACKETS // 2:
            self._is_paused = False
            self._loop.add_reader(self._sock.fileno(), self._read)
        return packet

    def close(self) -> None:
        """Close this end; packets that were received can still be taken."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, fds in self._unsent:
            wire.close_all(fds)
        self._unsent.clear()
        self._news.set()

    def _read(self) -> None:
        for _ in range(MAX_PACKETS_PER_WAKE):
            try:
                packet = wire.receive_packet(self._sock)
            except BlockingIOError:
                break
            except OSError:
                packet = None
            if packet is None:
                self.close()
                return
            self._received.append(packet)
        self._news.set()
        if len(self._received) >= MAX_WAITING_PACKETS:
            self._is_paused = True
            self._loop.remove_reader(self._sock.fileno())

    def _write(self) -> None:
        while self._unsent:
            data, fds = self._unsent[0]
            try:
                wire.send_packet(self._sock, data, fds)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            wire.close_all(fds)
            self._unsent.popleft()
            self._unsent_bytes -= len(data)
        self._loop.remove_writer(self._sock.fileno())


class ChildWire:
    """The wire of controller or desk: heartbeats out; links and the order to stop in."""

    def __init__(
        self, sock: socket.socket, on_link: Callable[[str, socket.socket], None],
        on_news: Callable[[wire.Troubles | wire.Story], None] | None = None, build: str = "",
    ) -> None:
        self.stopped = asyncio.Event()
        self._on_news = on_news
        self._build = build
        self._link = PacketLink(sock, "supervisor")
        self._on_link = on_link

    def say(self, frame: msgspec.Struct) -> None:
        self._link.send(wire.encode(frame))

    async def live(self, role: str, work: Coroutine[Any, Any, None]) -> None:
        """Do the role's work with heartbeats; SIGTERM or the supervisor sets `stopped`. What the work raises is raised."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stopped.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # of a terminal: the supervisor decides
        self.say(wire.Booted(role, os.getpid(), self._build))
        beside = [asyncio.ensure_future(self.beat()), asyncio.ensure_future(self.listen())]
        try:
            await work
        finally:
            for task in beside:
                task.cancel()

    async def beat(self) -> None:
        """Say that the loop turns, for ever."""
        while True:
            self.say(wire.Beat())
            await asyncio.sleep(wire.HEARTBEAT_S)

    async def listen(self) -> None:
        """Take what the supervisor hands over. One that dies stops nobody, unless it never spoke: then no run file names us."""
        was_spoken_to = False
        while (packet := await self._link.receive()) is not None:
            was_spoken_to = True
            data, fds = packet
            try:
                frame = wire.to_child(data)
                if isinstance(frame, wire.Link) and fds:
                    self._on_link(frame.to, socket.socket(fileno=fds.pop(0)))
                elif isinstance(frame, wire.Stop):
                    self.stopped.set()
                elif isinstance(frame, wire.Troubles | wire.Story) and self._on_news is not None:
                    self._on_news(frame)
            except msgspec.MsgspecError:
                continue  # of a supervisor of another version
            finally:
                wire.close_all(fds)
        if not was_spoken_to:
            self.stopped.set()


class RouterEnd:
    """The controller's end of a router's link (`control.ports.RouterLink`)."""

    def __init__(self, link: PacketLink) -> None:
        self._link = link

    async def receive(self) -> FromRouter | None:
        """The next frame a neighbour's version would understand too; None once the router is gone."""
        while (packet := await self._link.receive()) is not None:
            wire.close_all(packet[1])
            with contextlib.suppress(msgspec.MsgspecError):
                return _from_router.decode(packet[0])
        return None

    def send(self, frame: ToRouter, fds: Sequence[int] = ()) -> None:
        self._link.send(_encoder.encode(frame), fds)

    def close(self) -> None:
        self._link.close()


class DeskEnd:
    """The controller's end of the desk's link (`control.ports.DeskLink`)."""

    def __init__(self, link: PacketLink) -> None:
        self._link = link

    async def receive(self) -> FromDesk | None:
        while (packet := await self._link.receive()) is not None:
            wire.close_all(packet[1])
            with contextlib.suppress(msgspec.MsgspecError):
                return _from_desk.decode(packet[0])
        return None

    def send(self, frame: ToDesk) -> None:
        """A View that would have to wait is dropped: the next one holds all of it."""
        if not (isinstance(frame, View) and self._link.is_busy):
            self._link.send(_encoder.encode(frame))

    def close(self) -> None:
        self._link.close()


class ControllerLinks:
    """Links as the supervisor hands them to the controller (`control.ports.Links`)."""

    def __init__(self) -> None:
        self._routers: asyncio.Queue[RouterEnd] = asyncio.Queue()
        self._desks: asyncio.Queue[DeskEnd] = asyncio.Queue()

    def take(self, name: str, sock: socket.socket) -> None:
        """A new link: to the desk, or to the router of that name."""
        link = PacketLink(sock, name)
        if name == "desk":
            self._desks.put_nowait(DeskEnd(link))
        else:
            self._routers.put_nowait(RouterEnd(link))

    async def router(self) -> RouterEnd:
        return await self._routers.get()

    async def desk(self) -> DeskEnd:
        return await self._desks.get()


class DeskLinks:
    """Links as the supervisor hands them to the desk: to controllers, and from routers."""

    def __init__(self) -> None:
        self._controllers: asyncio.Queue[PacketLink] = asyncio.Queue()
        self._events: asyncio.Queue[PacketLink] = asyncio.Queue()

    def take(self, name: str, sock: socket.socket) -> None:
        (self._controllers if name == "controller" else self._events).put_nowait(PacketLink(sock, name))

    async def controller(self) -> PacketLink:
        return await self._controllers.get()

    async def events(self) -> PacketLink:
        return await self._events.get()
