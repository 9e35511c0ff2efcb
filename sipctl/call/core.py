"""The call core of one router: bytes and instants in, bytes and notes out; no socket, no clock (DESIGN §4, CALLS part 1).

Who sees what. The driver hands in every whole message with its source and the instant, and drains `out` and `notes` after each
call. A message's source is judged before it is parsed; then it belongs to exactly one of: a transaction we have (`invites`,
`others`, `branches`), a call that begins (`setup`), a dialog (`dialogs`), a probe (`probes`), or nothing we know (`stateless`).

Invariants. Every relay is in `invites` or `others` under its key until it is buried; every attempt that may still hear
something is in `branches`; the wheel holds an entry for every relay that has a deadline. `forget` restores them after an
exception.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Sequence
from hmac import compare_digest
from typing import Final

from sipctl.call import wire
from sipctl.call.adopt import adopt
from sipctl.call.canary import CanarySide
from sipctl.call.dialogs import Dialogs
from sipctl.call.forward import FLOW_BASE, Forwarder, Policy
from sipctl.call.judging import FLAG_REST, FLAG_SUSPECT, FLAG_TRIAL, FLAG_TRUSTED, Change, Judge, JudgesCalls
from sipctl.call.ledger import Ledger
from sipctl.call.probes import Probes
from sipctl.call.records import CELLS, Records
from sipctl.call.relay import ABANDONED, Attempt, InDialog, Relay, SetUp
from sipctl.call.setup import SetUps
from sipctl.call.stateless import Stateless
from sipctl.errors import SipSyntaxError
from sipctl.routing.board import Board
from sipctl.routing.counts import Counts
from sipctl.routing.join import Party, RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.snapshot import Admin, Listen, Operating, ProbeSpec, Sbc
from sipctl.sip import transactions as t
from sipctl.sip.message import CALL_ID, ROUTE, VIA, Message, index, light_response, parse
from sipctl.sip.route_token import Key, KeyRing
from sipctl.sip.timers import Wheel

MAX_PARTIES_CACHED: Final = 65_536
MAX_STRANGERS: Final = 1024
MAX_SWEPT: Final = 1024  # addresses whose last error is remembered; beyond it all are looked at anew
ALARM_STANDS_S: Final = 60.0  # after it was raised last
MAX_SOCKETS: Final = 676  # two letters in our branch
CELLS_EVERY_S: Final = 0.5  # how often health is copied to shared memory
_LETTERS: Final = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")
FAILPOINT_HEADER: Final = b"X-Sipctl-Failpoint"


class Core:
    """See the module's docstring. All methods take `now_s`: CLOCK_MONOTONIC, seconds."""

    __slots__ = (
        "_alarms",
        "_board",
        "_branch_prefix",
        "_cell_of",
        "_failpoints",
        "_listen_of",
        "_live",
        "_own",
        "_parties",
        "_rr",
        "_strangers",
        "_stream",
        "_stream_attempts",
        "_swept_s",
        "branches",
        "call_judge",
        "canary",
        "counters",
        "dialogs",
        "flows",
        "forwarder",
        "heard_s",
        "invite_times",
        "invites",
        "is_shedding",
        "judge",
        "ledger",
        "next_cells_s",
        "notes",
        "now_s",
        "on_flow",
        "others",
        "out",
        "probes",
        "records",
        "ring",
        "sent_s",
        "setups",
        "shared",
        "slot",
        "slots",
        "snapshot",
        "socket_of_listen",
        "sockets",
        "stateless",
        "strangers",
        "unix_minus_mono_s",
        "via_start",
        "wanted_names",
        "wheel",
    )  # fmt: skip

    def __init__(
        self, *, slot: int, sockets: tuple[Listen, ...], memory: memoryview, entropy: bytes, unix_minus_mono_s: float,
        judge: Judge, failpoints: frozenset[str] = frozenset(), board: Board | None = None,
    ) -> None:  # fmt: skip
        """A core for one slot.

        Args:
            sockets: what the driver's socket numbers 0.. stand for; fixed for the life of the supervisor.
            memory: the slot's memory, SLOT_BYTES long.
            entropy: 32 random bytes; the key ring until a snapshot brings the real one.
            unix_minus_mono_s: wall clock minus monotonic clock, for records.
            judge: health of this router.
            board: what this router tells the others of its machine and hears from them; None: there are none.
            failpoints: tests only: "header" makes a message with X-Sipctl-Failpoint raise inside the core.
        """
        assert 0 <= slot < 16 and len(sockets) <= MAX_SOCKETS
        self.slot = slot
        self.slots = 1 if board is None else len(board.sections)
        self.shared: Counts | None = None  # limits over all routers; from `adopt` on, when this one has counted
        self._board = board
        self.sockets = sockets
        self.unix_minus_mono_s = unix_minus_mono_s
        self.records = Records(memory)
        self.judge = judge
        self.call_judge: JudgesCalls = judge  # the same, unless a canary's call is worked on
        self.canary: CanarySide | None = None
        self.ring = KeyRing((Key(0, entropy[:32]),), 0)
        self.wheel = Wheel()
        self.out: list[tuple[int, bytes, tuple[str, int]]] = []
        self.notes: list[tuple[object, ...]] = []
        self.now_s = 0.0
        self.snapshot: RoutingSnapshot | None = None
        self._live: Live | None = None
        self.invites: dict[bytes, Relay] = {}
        self.others: dict[bytes, Relay] = {}
        self.branches: dict[bytes, Relay] = {}
        self.flows: dict[int, tuple[int, tuple[str, int]]] = {}
        self.on_flow: dict[int, set[Relay]] = {}  # connection → relays whose sender is at its other end
        self._stream_attempts: dict[tuple[str, int], dict[bytes, Relay]] = {}  # address → branches sent there over streams
        self.counters: dict[str, int] = {}
        self.strangers: dict[str, list[float]] = {}  # host → [packets, last seen unix]
        self.invite_times: dict[int, float] = {}  # trunk id → unix instant of its last INVITE
        self.is_shedding = False  # the driver: we fall behind
        self.heard_s: float | None = None
        self.sent_s: float | None = None
        self.next_cells_s = 0.0
        self.forwarder = Forwarder(self)
        self.setups = SetUps(self)
        self.dialogs = Dialogs(self)
        self.stateless = Stateless(self)
        self.probes = Probes(self)
        self.ledger = Ledger(self)
        self.socket_of_listen: tuple[int, ...] = ()
        self.via_start = [wire.via_line(listen, b"") for listen in sockets]
        self._stream = [listen.transport != "udp" for listen in sockets]
        self._own = frozenset(wire.address_text(listen).partition(b";")[0].lower() for listen in sockets)
        self._rr: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._listen_of: dict[int, int] = {}
        self._parties: dict[tuple[int, str, int], Party | None] = {}
        self._strangers: dict[tuple[int, str, int], int] = {}
        self._cell_of: dict[int, int] = {}
        self._alarms: dict[str, tuple[str, float]] = {}  # slug → its text, and until when it stands
        self._swept_s: dict[tuple[str, int], float] = {}  # address nobody answered at → when its attempts were told last
        self._failpoints = failpoints
        self._branch_prefix = b""
        self._set_ring(self.ring)

    @property
    def live(self) -> Live:
        """Counts and judged states by index of the snapshot; there is none before the first snapshot."""
        assert self._live is not None
        return self._live

    # -- life ------------------------------------------------------------------------------------------------------------------

    def swap(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        """Take another snapshot; calls that are up and set-ups go on (CALLS 1.10)."""
        self.now_s = now_s
        first = self.snapshot is None
        before = self.snapshot
        known = self._live
        self.snapshot = snapshot
        self._live = Live.for_snapshot(snapshot, known)
        self.socket_of_listen, self._listen_of = self.places_of(snapshot.listens)
        if -1 in self.socket_of_listen:
            names = [x.name for x, number in zip(snapshot.listens, self.socket_of_listen, strict=True) if number < 0]
            text = f"listen {', '.join(names)} of the plan has no socket yet: it opens with the next restart"
            self.alarm("listen-not-open", text, stands_s=float("inf"))
        else:
            self._alarms.pop("listen-not-open", None)
        self._parties.clear()
        self._strangers.clear()
        self.dialogs.hops.on_swap()
        self.setups.on_swap()
        keys = tuple(Key(key.id, key.secret) for key in snapshot.state.keys)
        if keys and (
            before is None or before.state.keys != snapshot.state.keys or before.state.signing_key != snapshot.state.signing_key
        ):
            self._set_ring(KeyRing(keys, snapshot.state.signing_key))
        self._take_canary(snapshot, known)
        probes = [snapshot.pairs[sbc.pair].probe for sbc in snapshot.sbcs]
        self.judge.swap(
            [
                ProbeSpec(int(sbc.id), sbc.name, probe, sbc.host, sbc.port, sbc.transport)
                for sbc, probe in zip(snapshot.sbcs, probes, strict=True)
            ]
            + ([] if self.canary is None else self.canary.specs()),
            now_s,
        )
        if first:
            self._restore_health()
        self.probes.on_swap()
        self._take_changes()
        for at, sbc in enumerate(snapshot.sbcs):
            self.live.operating[at] = self.judge.operating(int(sbc.id))
        self.live.version += 1
        if self.canary is not None:
            self.canary.take_states()
        self.ledger.recount([relay for relay in self.invites.values() if isinstance(relay, SetUp)])

    def _take_canary(self, snapshot: RoutingSnapshot, known: Live | None) -> None:
        """Have the snapshot's canary beside it, or none any more."""
        before, share = self.canary, snapshot.state.canary
        self.canary = None
        if snapshot.canary is None or share is None:
            return
        if before is not None and before.revision != snapshot.canary.revision:
            before = None
        self.canary = CanarySide(self, snapshot.canary, share.permille, self.live if known is None else known, before)
        self.canary.begin_with()

    def exchange(self, side: CanarySide) -> None:
        """Put the other revision in force; once more: back (call/canary.py)."""
        snapshot, live, setups, call_judge = self.snapshot, self._live, self.setups, self.call_judge
        socket_of_listen, listen_of = self.socket_of_listen, self._listen_of
        assert snapshot is not None and live is not None
        self.snapshot, self._live, self.setups, self.call_judge = side.snapshot, side.live, side.setups, side.call_judge
        self.socket_of_listen, self._listen_of = side.socket_of_listen, side.listen_of
        side.snapshot, side.live, side.setups, side.call_judge = snapshot, live, setups, call_judge
        side.socket_of_listen, side.listen_of = socket_of_listen, listen_of
        side.names = self.ledger.exchange_names(side.names)

    def adopt(self, now_s: float, out: list[tuple[int, bytes, tuple[str, int]]], notes: list[tuple[object, ...]]) -> None:
        """Go on with the calls a dead router left in the slot's memory (CALLS 1.8); once, after the first `swap`."""
        self._enter(now_s, out, notes)
        if self._board is not None:
            self.shared = Counts(self._board)
        adopt(self)

    def receive(
        self, data: bytes, socket: int, address: tuple[str, int], now_s: float, out: list[tuple[int, bytes, tuple[str, int]]],
        notes: list[tuple[object, ...]],
    ) -> None:  # fmt: skip
        """One whole message: a datagram, or what framing cut out of a stream."""
        self.now_s = now_s
        self.out = out
        self.notes = notes
        host = address[0]
        key = (socket, host, address[1])
        party = self._parties.get(key)
        if party is None:
            party = self._identify(key)
            if party is None:
                self._note_stranger(host)
                return
        self.heard_s = now_s
        if data.startswith(b"SIP/2.0 "):
            self._response(data, host, party)
        elif data[:1] in _LINE_ENDS:
            data = data.lstrip(b"\r\n")
            if data:
                self.receive(data, socket, address, now_s, out, notes)
        else:
            self._request(data, socket, host, address[1], party)

    def tick(self, now_s: float, out: list[tuple[int, bytes, tuple[str, int]]], notes: list[tuple[object, ...]]) -> None:
        """Everything that is due."""
        self._enter(now_s, out, notes)
        expire = self.forwarder.expire
        for relay in self.wheel.pop_due(now_s):
            assert isinstance(relay, Relay)
            expire(relay)
        if self.snapshot is None:
            return
        due_s = self.judge.next_due_s
        if due_s is not None and due_s <= now_s:
            self.probes.send_due()
        self._take_changes()
        self.ledger.sweep()
        self.dialogs.resume()
        if now_s >= self.next_cells_s:
            self.next_cells_s = now_s + CELLS_EVERY_S
            self._write_cells()
            self.live.reflag(now_s)
            if self.canary is not None:
                self.canary.live.reflag(now_s)

    @property
    def next_due_s(self) -> float | None:
        """When `tick` has something to do."""
        due_s = self.wheel.next_due_s
        if self.snapshot is None:
            return due_s
        if due_s is None or self.next_cells_s < due_s:
            due_s = self.next_cells_s
        for other_s in (self.judge.next_due_s, self.ledger.next_sweep_s, self.dialogs.next_due_s):
            if other_s is not None and other_s < due_s:
                due_s = other_s
        return due_s

    def flow_opened(self, flow: int, socket: int, address: tuple[str, int]) -> None:
        """A connection is up, in either direction; `socket` is the stream listen it belongs to."""
        assert flow >= FLOW_BASE
        self.flows[flow] = (socket, address)

    def flow_closed(
        self, flow: int, now_s: float, out: list[tuple[int, bytes, tuple[str, int]]], notes: list[tuple[object, ...]]
    ) -> None:
        """A connection is gone. Responses to come for it go to a new one; requests sent over it have failed."""
        self._enter(now_s, out, notes)
        gone = self.flows.pop(flow, None)
        if gone is None:
            return
        self._parties.pop((flow, gone[1][0], gone[1][1]), None)
        for relay in self.on_flow.pop(flow, ()):
            relay.socket = gone[0]
        self._stream_gone(gone[1])

    def send_failed(
        self, socket: int, address: tuple[str, int], now_s: float, out: list[tuple[int, bytes, tuple[str, int]]],
        notes: list[tuple[object, ...]],
    ) -> None:  # fmt: skip
        """ICMP told that nobody is there, or a connection was refused or timed out (CALLS 1.7)."""
        self._enter(now_s, out, notes)
        self.count("send_failed")
        if self.is_stream(socket):
            self._stream_gone(address)
        else:
            self._unreachable(address)
        self.probes.on_unreachable(address)
        self._take_changes()

    def on_gap(self, gap_s: float, now_s: float) -> None:
        """Our own loop stood still so long (CALLS 3.5)."""
        self.now_s = now_s
        self.judge.on_gap(gap_s, now_s)

    def forget(self, data: bytes) -> None:
        """After an exception: drop the transaction that message belonged to, so that it cannot do harm again (DESIGN §3.5)."""
        self.count("poison")
        try:
            message = index(data)
            via = wire.read_upstream(message, "", 0)
        except (SipSyntaxError, KeyError):
            return
        for table, key in ((self.invites, via.key), (self.others, message.method + b" " + via.key)):
            relay = table.pop(key, None)
            if relay is not None:
                relay.dead = True
                self.leave_flow(relay)
                for attempt in relay.attempts:
                    self.branches.pop(attempt.branch, None)
                    self.leave_stream(attempt)
                if isinstance(relay, SetUp):
                    self.setups.on_ended(relay)

    # -- dispatch --------------------------------------------------------------------------------------------------------------

    def _request(self, data: bytes, socket: int, host: str, port: int, party: Party) -> None:
        try:
            message = parse(data)
            up = wire.read_upstream(message, host, port)
            if self._failpoints:
                self._failpoint(message)
            if message.cseq()[1] != message.method:
                raise SipSyntaxError("the CSeq method is not the request's", offset=0)
            self._dispatch(message, up, socket, party)
        except SipSyntaxError as bad:
            self._bad_request(data, socket, host, port, bad)

    def _dispatch(self, message: Message, up: wire.Upstream, socket: int, party: Party) -> None:
        method = message.method
        if method == b"INVITE":
            relay = self.invites.get(up.key)
            if relay is not None:
                self.forwarder.on_retransmission(relay)
            elif message.to_tag():
                self.dialogs.request(message, up, socket)
            elif self.canary is not None:
                self.canary.begin(message, up, party, socket)
            elif party.trunks or party.sbc is not None or party.pair is not None:
                self.setups.begin(message, up, party, socket, (up.host, up.port))
            else:
                self.count("retired_refused")
        elif method == b"ACK":
            self._ack(message, up, socket, party)
        elif method == b"CANCEL":
            self._cancel(message, up, socket, party)
        else:
            relay = self.others.get(method + b" " + up.key)
            if relay is not None:
                self.forwarder.on_retransmission(relay)
            elif message.to_tag():
                self.dialogs.request(message, up, socket)
            else:
                self._outside(message, up, socket)

    def _ack(self, message: Message, up: wire.Upstream, socket: int, party: Party) -> None:
        relay = self.invites.get(up.key)
        if relay is not None and relay.state in (t.IS_COMPLETED, t.IS_CONFIRMED):
            self.forwarder.on_ack(relay)
        elif ROUTE in message.at or self._is_ours(message):
            self.dialogs.request(message, up, socket)
        else:
            self.stateless.cancel_or_ack(message, up, party, socket)

    def _is_ours(self, message: Message) -> bool:
        """Whether an ACK without Route belongs to a dialog of ours."""
        if self.ledger.find(message.value(CALL_ID), message.from_tag(), message.to_tag()) is not None:
            return True
        return self.dialogs.hops.has_own_token(message.uri, message)

    def _cancel(self, message: Message, up: wire.Upstream, socket: int, party: Party) -> None:
        relay = self.invites.get(up.key)
        if relay is None:
            self.stateless.cancel_or_ack(message, up, party, socket)
            return
        if relay.address[0] != up.host:
            self.count("cancels_of_others")
            return
        self.send(socket, wire.reply(message, up.line, 200, to_tag=self.tag_for(relay)), (up.host, up.port))
        if isinstance(relay, SetUp):
            if self.canary is not None and self.canary.owns(relay):
                self.canary.on_cancel(relay)
            else:
                self.setups.on_cancel(relay)
        elif isinstance(relay, InDialog):
            self.dialogs.on_cancel(relay)

    def _outside(self, message: Message, up: wire.Upstream, socket: int) -> None:
        """A request outside a dialog that is no INVITE (CALLS 1.3)."""
        address = (up.host, up.port)
        if message.method == b"OPTIONS" and self._addresses_us(message.uri):
            if self.snapshot is None or self.snapshot.node_admin != Admin.ENABLED:
                extra: tuple[bytes, ...] = (b"Retry-After: 10", wire.reason_line(42))
                self.send(socket, wire.reply(message, up.line, 503, to_tag=self.own_tag(up.key), extra=extra), address)
                return
            extra = (wire.ALLOW, b"Accept: application/sdp", b"Supported: timer, 100rel, path", wire.USER_AGENT)
            self.send(socket, wire.reply(message, up.line, 200, to_tag=self.own_tag(up.key), extra=extra), address)
            return
        self.count("refused_405")
        extra = (wire.ALLOW, wire.reason_line(111))
        self.send(socket, wire.reply(message, up.line, 405, to_tag=self.own_tag(up.key), extra=extra), address)

    def _response(self, data: bytes, host: str, party: Party) -> None:
        light = light_response(data)
        if light is not None:
            status, branch, method, start, stop = light
            relay = self.branches.get(branch)
            if relay is not None:
                try:
                    for attempt in relay.attempts:
                        if attempt.branch == branch:
                            if host != attempt.address[0] and not self._speaks_for(party, attempt):
                                self.count("responses_from_elsewhere")
                            elif method == relay.method:
                                self.forwarder.on_response(relay, attempt, status, data, data[:start] + data[stop:])
                            elif method == b"CANCEL":
                                self.forwarder.on_cancel_response(attempt)
                            break
                except SipSyntaxError:
                    self.count("responses_malformed")
                return
        self._unusual_response(data, host, party)

    def _speaks_for(self, party: Party, attempt: Attempt) -> bool:
        """Whether a source may answer what was sent to another address: of the same pair, or of one trunk."""
        assert self.snapshot is not None
        asked, port = attempt.address
        listen = self._listen_of.get(self.listen_socket(attempt.socket))
        other = self.snapshot.identify(asked, port, listen, self.is_stream(attempt.socket))
        if other is None:
            return False
        return (
            (other.pair is not None and other.pair == party.pair)
            or not set(other.trunks).isdisjoint(party.trunks)
            or any(one in party.retired for one in other.retired)
        )

    def _unusual_response(self, data: bytes, host: str, party: Party) -> None:
        """A response written in an uncommon way, for a probe, or for nothing we know."""
        try:
            message = parse(data)
            branch = _branch_of(message)
            relay = self.branches.get(branch)
            if relay is None:
                if not self.probes.on_response(branch, message):
                    self.stateless.response(branch, message, _without_top_via(message))
                else:
                    self._take_changes()
                return
            method = message.cseq()[1]
            for attempt in relay.attempts:
                if attempt.branch == branch:
                    if host != attempt.address[0] and not self._speaks_for(party, attempt):
                        self.count("responses_from_elsewhere")
                    elif method == relay.method:
                        self.forwarder.on_response(relay, attempt, message.status, data, _without_top_via(message))
                    elif method == b"CANCEL":
                        self.forwarder.on_cancel_response(attempt)
                    return
        except SipSyntaxError:
            self.count("responses_malformed")

    def _bad_request(self, data: bytes, socket: int, host: str, port: int, bad: SipSyntaxError) -> None:
        """Answer what can be answered: a request with a Via that is not an ACK."""
        self.count("requests_malformed")
        try:
            message = index(data)
            if message.status or message.method == b"ACK" or VIA not in message.at:
                return
            up = wire.read_upstream(message, host, port)
        except SipSyntaxError:
            salvaged = _salvage(data)
            if salvaged is None:
                return
            message = salvaged
            up = wire.Upstream(b"", message.lines[message.at[VIA]], host, port)
        phrase = wire.REASONS.get(bad.status, b"Bad Request")
        text = str(bad).encode("ascii", "replace").replace(b'"', b"'")
        extra = (wire.reason_line(wire.CAUSES.get(bad.status, 111), text=text),)
        reply = wire.reply(message, up.line, bad.status, to_tag=self.own_tag(up.key), phrase=phrase, extra=extra)
        self.send(socket, reply, (up.host, up.port))

    # -- who and where ---------------------------------------------------------------------------------------------------------

    def _identify(self, key: tuple[int, str, int]) -> Party | None:
        if self.snapshot is None or key in self._strangers:
            return None
        socket, host, port = key
        listen = self._listen_of.get(self.listen_socket(socket))
        party = self.snapshot.identify(host, port, listen, self.is_stream(socket))
        if party is None:
            if len(self._strangers) >= MAX_STRANGERS:
                self._strangers.clear()
            self._strangers[key] = 1
            return None
        if len(self._parties) >= MAX_PARTIES_CACHED:
            self._parties.clear()
        self._parties[key] = party
        return party

    def knows(self, host: str, port: int, socket: int) -> bool:
        """Whether anything from that source is read at all; the driver asks before it accepts a connection."""
        snapshot = self.snapshot
        return (
            snapshot is not None
            and snapshot.identify(host, port, self._listen_of.get(socket), self.is_stream(socket)) is not None
        )

    def heeds(self, socket: int, address: tuple[str, int]) -> bool:
        """Whether a datagram from there is read at all, or only counted."""
        key = (socket, address[0], address[1])
        return key in self._parties or self._identify(key) is not None

    def _note_stranger(self, host: str) -> None:
        self.count("strangers")
        seen = self.strangers.get(host)
        if seen is None:
            if len(self.strangers) >= MAX_STRANGERS:
                self.strangers.pop(next(iter(self.strangers)))
            seen = self.strangers[host] = [0.0, 0.0]
            self.notes.append(("stranger", host))
        seen[0] += 1
        seen[1] = self.now_s + self.unix_minus_mono_s

    def is_stream(self, socket: int) -> bool:
        return socket >= FLOW_BASE or self._stream[socket]

    def listen_socket(self, socket: int) -> int:
        """The socket a connection was accepted on or opened for; a datagram socket is its own."""
        if socket < FLOW_BASE:
            return socket
        flow = self.flows.get(socket)
        return 0 if flow is None else flow[0]

    def listen_of(self, socket: int) -> int:
        """Index of the snapshot's Listen a message came in on; -1 if the plan no longer has it."""
        return self._listen_of.get(self.listen_socket(socket), -1)

    def socket_named(self, name: str) -> int | None:
        for number, listen in enumerate(self.sockets):
            if listen.name == name:
                return number
        return None

    def places_of(self, listens: Sequence[Listen]) -> tuple[tuple[int, ...], dict[int, int]]:
        """The socket of each listen of a plan (-1: none is open), and the listen of each socket."""
        place = {(listen.transport, listen.host, listen.port): number for number, listen in enumerate(self.sockets)}
        sockets = tuple(place.get((x.transport, x.host, x.port), -1) for x in listens)
        return sockets, {number: at for at, number in enumerate(sockets) if number >= 0}

    def own_socket(self, route: bytes) -> int:
        """The socket a Route value of ours names; -1 if none."""
        for number, listen in enumerate(self.sockets):
            if b"@" + wire.address_text(listen) in route:
                return number
        return -1

    def socket_for(self, transport: str, host: str, preferred: list[int]) -> int | None:
        """A socket of that transport and address family, the preferred ones first."""
        v6 = ":" in host
        candidates: list[int] = [*preferred, *range(len(self.sockets))]
        for number in candidates:
            if 0 <= number < len(self.sockets):
                listen = self.sockets[number]
                if listen.transport == transport and (":" in listen.host) == v6:
                    return number
        return None

    def is_own(self, route: bytes) -> bool:
        """Whether a Route value names one of our sockets."""
        start = route.find(b"<")
        uri = route[start + 1 : route.find(b">", start)] if start >= 0 else route
        where = uri.partition(b":")[2].partition(b"?")[0]
        where = where[where.rfind(b"@") + 1 :].partition(b";")[0].lower()
        return where in self._own or where + b":5060" in self._own

    def _addresses_us(self, uri: bytes) -> bool:
        where = uri.partition(b":")[2].partition(b"?")[0]
        where = where[where.rfind(b"@") + 1 :].partition(b";")[0].lower()
        return where in self._own or where + b":5060" in self._own

    # -- what hangs on connections ---------------------------------------------------------------------------------------------

    def enter_flow(self, relay: Relay) -> None:
        """A relay's sender is at the other end of a connection: should that close, responses need another way."""
        self.on_flow.setdefault(relay.socket, set()).add(relay)

    def leave_flow(self, relay: Relay) -> None:
        """Nothing is to be answered any more."""
        there = self.on_flow.get(relay.socket)
        if there is not None:
            there.discard(relay)
            if not there:
                del self.on_flow[relay.socket]

    def enter_stream(self, relay: Relay, attempt: Attempt) -> None:
        """An attempt leaves by a connection: should that close or be refused, its target is unreachable."""
        self._stream_attempts.setdefault(attempt.address, {})[attempt.branch] = relay

    def leave_stream(self, attempt: Attempt) -> None:
        """Nothing more can come of an attempt."""
        there = self._stream_attempts.get(attempt.address)
        if there is not None:
            there.pop(attempt.branch, None)
            if not there:
                del self._stream_attempts[attempt.address]

    # -- tools of the parts ----------------------------------------------------------------------------------------------------

    def send(self, socket: int, data: bytes, address: tuple[str, int]) -> None:
        self.out.append((socket, data, address))
        self.sent_s = self.now_s

    def note(self, note: tuple[object, ...]) -> None:
        self.notes.append(note)

    def count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1

    def alarm(self, slug: str, text: str, stands_s: float = ALARM_STANDS_S) -> None:
        """Raise an alarm, or say that its cause is still there; by itself it is over after `stands_s`."""
        standing = self._alarms.get(slug)
        self._alarms[slug] = (text, self.now_s + stands_s)
        if standing is None or standing[1] <= self.now_s or standing[0] != text:
            self.notes.append(("alarm", slug, text))
            self.notes.append(("observe",))

    def standing_alarms(self) -> tuple[tuple[str, str], ...]:
        """What stands now: (slug, text), by slug."""
        self._alarms = {slug: one for slug, one in self._alarms.items() if one[1] > self.now_s}
        return tuple((slug, self._alarms[slug][0]) for slug in sorted(self._alarms))

    def policy_of(self, relay: Relay) -> Policy:
        if isinstance(relay, SetUp):
            canary = self.canary
            return self.setups if canary is None or canary.is_in_force or not canary.owns(relay) else canary
        return self.dialogs

    def branch(self, key: bytes, method: bytes, code: bytes, address: tuple[str, int], socket: int) -> bytes:
        """Our Via branch: the same request to the same target always leaves as the same transaction (CALLS 1.8).

        Args:
            key: the upstream transaction's; code: eight octets for the target; address, socket: where its responses go.
        """
        letters = _TWO_LETTERS[socket if socket < FLOW_BASE else self.listen_socket(socket)]
        text = b"%b|%b|%b%b|%b|%d" % (key, method, letters, code, address[0].encode(), address[1])
        return b"%b%b%b%b" % (self._branch_prefix, letters, code, self.ring.mac(text))

    def is_our_branch(self, branch: bytes, key: bytes, method: bytes, address: tuple[str, int]) -> bool:
        """Whether we made that branch for that upstream transaction and response address."""
        key_id = (branch[9] - 97) << 4 | (branch[10] - 97)
        text = b"%b|%b|%b|%b|%d" % (key, method, branch[11:21], address[0].encode(), address[1])
        mac = self.ring.mac_with(key_id, text)
        return mac is not None and compare_digest(mac, branch[21:])

    def own_tag(self, key: bytes) -> bytes:
        """The To tag of answers we make ourselves: the same for the same request, so that we know their ACK."""
        return b"sc" + self.ring.mac(b"tag|" + key)[:14]

    def tag_for(self, relay: Relay) -> bytes:
        """The To tag of our own answers to that request, one and the same for all of them."""
        if not relay.to_tag:
            relay.to_tag = self.own_tag(relay.key)
        return relay.to_tag

    def record_route(self, token: bytes, inbound: int, outbound: int) -> bytes:
        """Our Record-Route: once, or twice when socket, family or transport changes (RFC 5658)."""
        parts = self._rr.get((inbound, outbound))
        if parts is None:
            ends = [
                wire.address_text(self.sockets[number]) + b";lr>"
                for number in ((outbound,) if inbound == outbound else (outbound, inbound))
            ]
            middle = b"@" + ends[0] + (b"\r\nRecord-Route: <sip:" if len(ends) > 1 else b"")
            parts = self._rr[inbound, outbound] = (middle, b"@" + ends[1] if len(ends) > 1 else b"")
        return b"Record-Route: <sip:" + token + parts[0] + (token + parts[1] if parts[1] else b"")

    def note_invite(self, trunk_id: int) -> None:
        self.invite_times[trunk_id] = self.now_s + self.unix_minus_mono_s

    def rest(self, sbc_id: int, until_s: float) -> None:
        """An SBC asked for a pause."""
        at = None if self.snapshot is None else self.snapshot.sbc_by_id.get(sbc_id)
        if at is not None:
            if self.live.resting_until_s[at] <= self.now_s:
                self.notes.append(("observe",))
            self.live.rest(at, until_s)
            self.flag(FLAG_REST, sbc_id, until_s)

    def suspect(self, sbc_id: int) -> None:
        """Its last INVITE got no reply."""
        at = None if self.snapshot is None else self.snapshot.sbc_by_id.get(sbc_id)
        if at is not None and not self.live.suspect[at]:
            self.live.set_suspect(at, True)
            self.notes.append(("observe",))
            self.flag(FLAG_SUSPECT, sbc_id, 0.0)

    def trust(self, sbc_id: int) -> None:
        """It replied to an INVITE."""
        live = self._live
        if live is not None and live.flagged and self.snapshot is not None:
            at = self.snapshot.sbc_by_id.get(sbc_id)
            if at is not None and live.suspect[at]:
                live.set_suspect(at, False)
                self.notes.append(("observe",))
                self.flag(FLAG_TRUSTED, sbc_id, 0.0)

    def flag(self, kind: int, sbc_id: int, until_s: float) -> None:
        """What a call showed of an SBC, for the other routers of this machine; a canary's shows them nothing."""
        if self.slots > 1 and (self.canary is None or not self.canary.is_in_force):
            self.notes.append(("flag", kind, sbc_id, until_s))

    def hear_flag(self, kind: int, sbc_id: int, until_s: float) -> None:
        """What a call of another router of this machine showed of an SBC."""
        at = None if self.snapshot is None else self.snapshot.sbc_by_id.get(sbc_id)
        if at is None:
            return
        if kind == FLAG_REST:
            self.live.rest(at, until_s)
        elif kind == FLAG_TRIAL:
            self.live.trial_due_s[at] = max(self.live.trial_due_s[at], until_s)
        else:
            self.live.set_suspect(at, kind == FLAG_SUSPECT)

    # -- what others want to know ----------------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """Calls now: answered, and in set-up."""
        return len(self.ledger.calls) + sum(isinstance(relay, SetUp) and relay.counted for relay in self.invites.values())

    @property
    def idle(self) -> bool:
        """No open transaction: what a draining node waits for (CALLS 1.12)."""
        return not self.invites and not self.others

    def census(self) -> dict[str, int]:
        """Everything that must return to zero when the world is quiet."""
        live = self._live
        counts = 0 if live is None else sum(map(abs, (*live.sbc_calls, *live.tenant_calls, *live.trunk_calls, *live.entry_calls)))
        return {
            "invites": len(self.invites), "others": len(self.others), "branches": len(self.branches), "timers": len(self.wheel),
            "setups": self.records.setups_in_use, "answered": self.records.answered_in_use, "calls": len(self.ledger.calls),
            "counts": counts, "waiting": self.dialogs.waiting, "streams": len(self.on_flow) + len(self._stream_attempts),
        }  # fmt: skip

    # -- health ----------------------------------------------------------------------------------------------------------------

    def _take_changes(self) -> None:
        changes = self.judge.changes()
        if not changes or self.snapshot is None:
            return
        live = self.live
        for change in changes:
            at = self.snapshot.sbc_by_id.get(change.sbc_id)
            if self.canary is not None and self.canary.on_change(change):
                self._log_change(f"#{change.sbc_id} of the canary", change)
            if at is None:
                continue
            if change.resting_until_s is not None and change.resting_until_s > self.now_s:
                live.rest(at, change.resting_until_s)
            if live.operating[at] != change.operating:
                live.operating[at] = change.operating
                live.version += 1
                if change.operating == Operating.IN_SERVICE:
                    live.set_suspect(at, False)
                self._log_change(self.snapshot.sbcs[at].name, change)
        self.notes.append(("observe",))

    def _log_change(self, name: str, change: Change) -> None:
        self.notes.append(("log", "sbc-state", {"sbc": name, "operating": change.operating, "reason": change.reason}))

    def probed(self, sbc_id: int) -> tuple[Sbc, int] | None:
        """An SBC by its id, of the live plan or of the canary's, and the socket it is reached from (-1: none is open)."""
        snapshot = self.snapshot
        at = None if snapshot is None else snapshot.sbc_by_id.get(sbc_id)
        if snapshot is not None and at is not None:
            return snapshot.sbcs[at], self.socket_of_listen[snapshot.sbcs[at].listen]
        return None if self.canary is None else self.canary.probed(sbc_id)

    def _write_cells(self) -> None:
        """Copy health to shared memory, one cell an SBC; those without a cell are judged anew after a crash."""
        assert self.snapshot is not None
        for sbc in self.snapshot.sbcs:
            number = self._cell_of.setdefault(int(sbc.id), len(self._cell_of))
            if number < CELLS:
                packed = self.judge.pack(int(sbc.id))
                if packed:
                    self.records.write_cell(number, int(sbc.id), packed)

    def _restore_health(self) -> None:
        for number, sbc_id, data in self.records.cells():
            self._cell_of[sbc_id] = number
            self.judge.restore(sbc_id, data, self.now_s)

    # -- inside ----------------------------------------------------------------------------------------------------------------

    def _enter(self, now_s: float, out: list[tuple[int, bytes, tuple[str, int]]], notes: list[tuple[object, ...]]) -> None:
        self.now_s, self.out, self.notes = now_s, out, notes

    def _set_ring(self, ring: KeyRing) -> None:
        self.ring = ring
        key = hexlify(bytes((ring.signing_id,))).translate(_LETTERS)
        self._branch_prefix = wire.RELAYED + bytes((97 + self.slot,)) + key

    def _unreachable(self, address: tuple[str, int]) -> None:
        """Tell every attempt that waits for a reply from that address.

        Those that waited when the address was looked at last were told then, and `branches` is in the order of launching: so only
        what was launched since is looked at, which keeps an error for every INVITE as cheap as the INVITE.
        """
        since_s = self._swept_s.get(address, 0.0)
        if len(self._swept_s) >= MAX_SWEPT:
            self._swept_s.clear()
        self._swept_s[address] = self.now_s
        waiting = []
        for branch, relay in reversed(self.branches.items()):
            attempt = relay.attempts[-1]
            if attempt.branch != branch:
                attempt = next(one for one in relay.attempts if one.branch == branch)
            if attempt.started_s < since_s:
                break
            if attempt.state == t.IC_CALLING and not attempt.status and attempt.address == address:
                waiting.append((relay, attempt))
        for relay, attempt in reversed(waiting):
            self.policy_of(relay).on_unreachable(relay, attempt)

    def _stream_gone(self, address: tuple[str, int]) -> None:
        """A connection to that address closed, was refused or timed out: tell every attempt that waits for a reply over it."""
        waiting = [
            (relay, attempt)
            for branch, relay in self._stream_attempts.get(address, {}).items()
            for attempt in relay.attempts
            if attempt.branch == branch and attempt.state == t.IC_CALLING and not attempt.status and not attempt.flags & ABANDONED
        ]
        for relay, attempt in waiting:
            self.policy_of(relay).on_unreachable(relay, attempt)

    def _failpoint(self, message: Message) -> None:
        if "header" in self._failpoints and message.named(FAILPOINT_HEADER):
            raise RuntimeError("failpoint: header")


_LINE_ENDS: Final = (b"\r", b"\n", b"")
_TWO_LETTERS: Final = tuple(bytes((97 + number // 26, 97 + number % 26)) for number in range(MAX_SOCKETS))


def _branch_of(message: Message) -> bytes:
    """The branch of the top Via; b"" if it has none."""
    line = message.lines[message.at[VIA]]
    start = line.find(b";branch=")
    if start < 0:
        return b""
    branch = line[start + 8 :]
    for stop in (b";", b",", b" "):
        branch = branch.partition(stop)[0]
    return branch


def _without_top_via(message: Message) -> bytes:
    """The response as it goes on: our Via gone, the rest as it came (RFC 3261 §16.7 step 3)."""
    at = message.at[VIA]
    line = message.lines[at]
    lines = message.lines
    _, comma, rest = line.partition(b",")
    lines = [*lines[:at], b"Via:" + rest, *lines[at + 1 :]] if comma else [*lines[:at], *lines[at + 1 :]]
    return b"".join((message.start, b"\r\n", b"\r\n".join(lines), b"\r\n\r\n", message.body))


def _salvage(data: bytes) -> Message | None:
    """What is left of a request whose header cannot be indexed: enough lines to answer it, or None."""
    head = data[: max(data.find(b"\r\n\r\n"), 0)] or data
    wanted = (b"via:", b"v:", b"from:", b"f:", b"to:", b"t:", b"call-id:", b"i:", b"cseq:")
    lines = [line for line in head.split(b"\r\n")[1:] if line[:8].lower().startswith(wanted) and not {0, 10, 13} & set(line)]
    seen: set[bytes] = set()
    kept = []
    for line in lines:
        name = line.partition(b":")[0].lower()
        if name in (b"via", b"v") or name not in seen:
            kept.append(line)
            seen.add(name)
    try:
        message = index(b"BAD sip:bad SIP/2.0\r\n" + b"\r\n".join(kept) + b"\r\n\r\n")
    except SipSyntaxError:
        return None
    return message if VIA in message.at and data[:4] not in (b"ACK ", b"SIP/") else None
