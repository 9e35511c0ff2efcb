"""How the processes of one host speak: packets with descriptors over SOCK_SEQPACKET, and what supervisor and children say.

One packet is one msgpack frame. A frame too long for a packet travels as a sealed memfd: the packet is the single byte 0xc1
(never used by msgpack), the last descriptor holds the frame. So a frame may be as long as MAX_FRAME_BYTES and still arrives whole
or not at all, and a sender never waits: a full socket raises BlockingIOError, and the caller drops, counts or queues.

The supervisor and each child share one socketpair, the *wire*. It carries heartbeats, the hand-out of links (a socketpair each,
by SCM_RIGHTS) and, for routers, their assignment: a slot with its memory, sockets and snapshots.
"""

from __future__ import annotations

import fcntl
import os
import socket
from array import array
from collections.abc import Mapping, Sequence

import msgspec

from sipctl.control.ports import MAX_FRAME_BYTES, Observe
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import Decision, Listen

MAX_PACKET_BYTES = 96 << 10  # of one packet; longer frames go as a memfd
MAX_FDS = 200  # descriptors in one packet; the kernel allows 253
LINK_BUFFER_BYTES = 1 << 20  # asked for on each link, so that a burst of events finds room
HEARTBEAT_S = 0.25

_BIG = b"\xc1"
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_FDS * 4)
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


# -- child → supervisor --------------------------------------------------------------------------------------------------------


class Beat(msgspec.Struct, tag="beat", frozen=True):
    """I am alive: every HEARTBEAT_S, from the loop that does the work."""

    gap_s: float = 0.0  # longest gap of that loop since the last beat


class Booted(msgspec.Struct, tag="booted", frozen=True):
    """Everything is imported; a router is a spare now and waits for its assignment."""

    role: str
    pid: int
    build: str = ""  # version of its code; "" of one that did not tell yet
    layout: str = ""  # how a router lays out its slot's memory; it takes no slot that was laid out otherwise


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """A router reads its sockets. `generation` says which snapshot it booted with: held, newest, older or none."""

    slot: int
    generation: str
    revision: int
    calls: int = 0


class Holding(msgspec.Struct, tag="holding", frozen=True):
    """A router took a snapshot. Descriptors: a sealed memfd of the encoded RoutingState, the table's, the canary's if any."""

    slot: int
    term: int
    seq: int
    revision: int


class Generation(msgspec.Struct, tag="generation", frozen=True):
    """The controller wrote a generation to disk: open the descriptors anew."""

    term: int
    seq: int
    revision: int


class Planned(msgspec.Struct, tag="planned", frozen=True):
    """The controller has a live revision and its table: which sockets this node needs."""

    revision: int
    listens: tuple[Listen, ...]


class Bound(msgspec.Struct, tag="bound", frozen=True):
    """The desk serves its API."""

    api: str  # host:port


class Remark(msgspec.Struct, tag="remark", frozen=True):
    """A sentence for who started us."""

    text: str


class Fatal(msgspec.Struct, tag="fatal", frozen=True):
    """A child cannot start for a reason that only an operator can remove."""

    text: str
    exit_code: int = 2


class Report(msgspec.Struct, tag="report", frozen=True):
    """Answer to a supervisor that takes over. Descriptors: sockets, what is shared (`shared.py`), then state and table if
    `holding`.

    A spare that was not given anything to keep reports no listens and no descriptors.
    """

    pid: int
    slot: int | None  # None: a spare
    listens: tuple[Listen, ...] = ()
    holding: Holding | None = None
    slots: int = 1
    build: str = ""
    layout: str = ""


class SeenGroup(msgspec.Struct, frozen=True):
    """One group as a router carries its calls now; operating and admin states by side: primary, BCP."""

    tenants: tuple[str, str]
    operating: tuple[int, int]  # snapshot.Operating, as this router measured
    admin: tuple[int, int]  # snapshot.Admin
    decision: Decision  # with the local orders that stand


class Seen(msgspec.Struct, tag="seen", frozen=True):
    """Answer to `Look`: what a router goes by and what it measured."""

    name: str
    slot: int
    pid: int
    term: int
    seq: int
    revision: int
    orders_taken: int
    orders: tuple[LocalOrder, ...]  # that it follows and no controller has taken
    groups: Mapping[str, SeenGroup]
    observe: Observe
    build: str = ""


class Obeyed(msgspec.Struct, tag="obeyed", frozen=True):
    """A router follows the local orders up to this number."""

    slot: int
    number: int


FromChild = Beat | Booted | Ready | Holding | Generation | Planned | Bound | Remark | Fatal | Report | Seen | Obeyed


# -- supervisor → child --------------------------------------------------------------------------------------------------------


class Source(msgspec.Struct, frozen=True):
    """One snapshot a router may boot with; its descriptors (state, then tables) stand from `at` on in the packet."""

    name: str  # "held" | "newest" | "older"
    at: int
    tables: int = 1  # 2: the second is the canary's


class Assign(msgspec.Struct, tag="assign", frozen=True):
    """Take this slot. Descriptors: each slot's socket per listen, what is shared (`shared.py`), then those of `sources`."""

    slot: int
    name: str  # "r1" …
    node: str
    listens: tuple[Listen, ...]
    sources: tuple[Source, ...]
    distrust: tuple[int, int] | None = None  # (term, seq) that killed a router at boot twice: refuse it
    slots: int = 1
    orders: tuple[LocalOrder, ...] = ()  # that stand beside what a controller published


class Keep(msgspec.Struct, tag="keep", frozen=True):
    """To a spare: hold these open, so that they outlive supervisor and router together. Descriptors: sockets, what is shared."""

    listens: tuple[Listen, ...]
    slots: int = 1


class Link(msgspec.Struct, tag="link", frozen=True):
    """A new link, its socket as the only descriptor: to "controller", "desk", "events" (router → desk) or a router's name."""

    to: str


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """End in order: stop reading, flush, say farewell, exit."""

    reason: str


class Orders(msgspec.Struct, tag="orders", frozen=True):
    """To a router: all local orders of this STATE that no controller has taken; they replace those it had."""

    orders: tuple[LocalOrder, ...]


class Look(msgspec.Struct, tag="look", frozen=True):
    """To a router: tell what you go by and what you measured (`Seen`)."""


class Troubles(msgspec.Struct, tag="troubles", frozen=True):
    """To the controller: what is wrong with this node's processes now, whole; those not named are over. Each is an alarm."""

    texts: Mapping[str, str]


class Story(msgspec.Struct, tag="story", frozen=True):
    """To the controller: what an operator did to this node's processes, for the history."""

    text: str
    actor: str
    reason: str


ToChild = Assign | Keep | Link | Stop | Orders | Look | Troubles | Story

_encoder = msgspec.msgpack.Encoder()
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)


def encode(frame: msgspec.Struct) -> bytes:
    return _encoder.encode(frame)


def from_child(data: bytes) -> FromChild:
    """Raises: msgspec.DecodeError for anything a child of this version or its neighbours would not say."""
    return _from_child.decode(data)


def to_child(data: bytes) -> ToChild:
    """Raises: msgspec.DecodeError, as `from_child`."""
    return _to_child.decode(data)


# -- packets -------------------------------------------------------------------------------------------------------------------


class CutError(OSError):
    """A packet did not arrive whole, most often since this process can open no file more; the link itself is whole."""

    def __init__(self, data: bytes) -> None:
        super().__init__("a packet was cut")
        self.data = data  # its frame, without descriptors; b"" if that was cut too


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a new link, non-blocking, not inherited by children unless handed over."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_BUFFER_BYTES)
    return ends


def send_packet(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """Send one frame and descriptors, whole or not at all; never waits.

    Raises: BlockingIOError if the socket is full; OSError (BrokenPipeError, ConnectionResetError) if the peer is gone;
        ValueError beyond MAX_FRAME_BYTES or MAX_FDS.
    """
    if len(data) > MAX_FRAME_BYTES or len(fds) >= MAX_FDS:
        raise ValueError(f"a frame of {len(data)} bytes and {len(fds)} descriptors is beyond the limits")
    if len(data) > MAX_PACKET_BYTES:
        frame = sealed_memfd("frame", data)
        try:
            _sendmsg(sock, _BIG, [*fds, frame])
        finally:
            os.close(frame)
    elif fds:
        _sendmsg(sock, data, list(fds))
    else:
        sock.send(data, socket.MSG_NOSIGNAL)


def receive_packet(sock: socket.socket) -> tuple[bytes, list[int]] | None:
    """One frame and the descriptors that came with it (the caller closes them); None once the peer is gone.

    Raises: BlockingIOError if nothing is there; CutError for a packet that was cut; OSError for a broken link or a frame that
        is too long.
    """
    try:
        data, ancillary, flags, _ = sock.recvmsg(MAX_PACKET_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    fds = array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    held = list(fds)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(held)
        raise CutError(b"" if flags & socket.MSG_TRUNC or data == _BIG else data)
    if not data:
        close_all(held)
        return None
    if data == _BIG and held:
        frame = held.pop()
        try:
            data = read_fd(frame)
        except OSError:
            close_all(held)
            raise
        finally:
            os.close(frame)
    return data, held


def sealed_memfd(name: str, data: bytes | memoryview) -> int:
    """A memory file with these bytes that nobody can change or shrink any more; the caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_fd(fd: int, limit: int = MAX_FRAME_BYTES) -> bytes:
    """All bytes of a file by descriptor, wherever its offset stands.

    Raises: OSError if it is longer than `limit`.
    """
    size = os.fstat(fd).st_size
    if size > limit:
        raise OSError(f"{size} bytes are more than {limit}")
    pieces = []
    at = 0
    while at < size and (piece := os.pread(fd, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _sendmsg(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))], socket.MSG_NOSIGNAL)
