"""Requests within a dialog: they follow their dialog and nothing else (CALLS 1.9–1.11).

Theory. What a router must know of a dialog travels in it: our Record-Route holds a token that only we can make and that is worth
something only with its own Call-ID and caller's tag. A valid token, from an address of its trunk or tenant, says who the two parties
are; the next hop comes from the Route set and the remote target, but only if it is one of theirs, else the address the token names.
Without a valid token the call's record decides; without that nothing is relayed anywhere. No state of health, plan or operator
has a say here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sipctl.call import wire
from sipctl.call.admit import max_forwards
from sipctl.call.forward import GONE_S
from sipctl.call.relay import Attempt, Errand, InDialog, Relay
from sipctl.errors import SipSyntaxError
from sipctl.routing.snapshot import Operating
from sipctl.sip import transactions as t
from sipctl.sip.grammar import split_list
from sipctl.sip.message import CALL_ID, CONTACT, CSEQ, MAX_FORWARDS, ROUTE, VIA, Message, code_of, parse
from sipctl.sip.timers import TIMER_C_S, TIMER_F_S

if TYPE_CHECKING:
    from sipctl.call.core import Core

SIBLING_AFTER_S: Final = 1.0  # a silent SBC whose pair shares dialogs is left for its sibling after so long
NAME_WAIT_S: Final = 2.0  # how long a request waits for the address of a name (CALLS 1.9)
MAX_WAITING: Final = 256  # requests that wait for names
MAX_HOPS_CACHED: Final = 65_536
UNREACHABLE_MISSES: Final = 3
_KEEPS_CALL: Final = frozenset((401, 407))  # a BYE answered so was not the end yet


class Hop(NamedTuple):
    """Where a request goes next."""

    socket: int
    host: str
    port: int


class Parties(NamedTuple):
    """The two ends of a dialog, by numeric id, and which of them sent this request."""

    trunk_id: int
    tenant_id: int
    sbc_id: int
    from_caller: bool
    record: int  # index of the answered record, -1 without


class Dialogs:
    """Policy of in-dialog requests."""

    __slots__ = ("_allowed", "_core", "_hops", "_waiting")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._allowed: dict[tuple[bool, int, str], bool] = {}
        self._hops: dict[tuple[object, ...], Hop | None] = {}
        self._waiting: list[tuple[float, str, Message, wire.Upstream, int]] = []

    def on_swap(self) -> None:
        """Another snapshot: addresses may have changed hands."""
        self._allowed.clear()
        self._hops.clear()

    # -- a request with a To tag -----------------------------------------------------------------------------------------------

    def request(self, message: Message, up: wire.Upstream, socket: int, *, waited: bool = False) -> None:
        """Relay one in-dialog request, ACK included, or answer it."""
        core = self._core
        routes = self._routes(message)
        parties, own = self._parties(message, routes)
        side_id = 0 if parties is None else parties.trunk_id if parties.from_caller else parties.tenant_id
        if parties is None or not self.allows(parties.from_caller, side_id, up.host):
            core.count("in_dialog_unknown")
            self._answer(message, up, socket, 481)
            return
        hops = max_forwards(message)
        if hops <= 0:
            self._answer(message, up, socket, 483)
            return
        uri, left = message.uri, routes[own:]
        if own == 0 and b"@" in uri and self._is_own_token(uri, message):  # a strict router before us, RFC 3261 §16.4
            if left:
                uri = _bare(left.pop())
        target = left[0] if left else uri
        if left and b";lr" not in left[0].lower():  # a strict router behind us, §16.6 step 6
            left = [*left[1:], b"<" + uri + b">"]
            uri = _bare(target)
        hop = self._next_hop(parties, target, routes[own - 1] if own else b"", socket)
        if isinstance(hop, str):
            if not waited and len(self._waiting) < MAX_WAITING:
                self._waiting.append((core.now_s + NAME_WAIT_S, hop, message, up, socket))
                core.note(("name", hop))
                core.count("waited_for_names")
                return
            hop = self._symmetric(parties, socket)
        if hop is None:
            core.count("in_dialog_no_way")
            self._answer(message, up, socket, 480)
            return
        rest = _rest(message, up, left, hops - 1)
        if message.method == b"ACK":
            self._send_ack(message, up, hop, uri, rest)
        else:
            self._relay(message, up, socket, hop, uri, rest, parties)

    def _send_ack(self, message: Message, up: wire.Upstream, hop: Hop, uri: bytes, rest: bytes) -> None:
        """The ACK of a 2xx has no answer, so it needs no state: the same ACK leaves as the same ACK."""
        core = self._core
        branch = core.branch(up.key, b"ACK", _hop_key(hop), (up.host, up.port))
        via = core.via_start[hop.socket] + branch
        core.send(hop.socket, b"ACK " + uri + b" SIP/2.0\r\n" + via + b"\r\n" + rest, (hop.host, hop.port))

    def _relay(
        self, message: Message, up: wire.Upstream, socket: int, hop: Hop, uri: bytes, rest: bytes, parties: Parties
    ) -> None:
        core = self._core
        method = message.method
        invite = method == b"INVITE"
        key = up.key if invite else method + b" " + up.key
        relay = InDialog(key, method, socket, (up.host, up.port))
        relay.via = up.line
        relay.rest = rest
        relay.call, relay.from_caller, relay.sbc_id = parties.record, parties.from_caller, parties.sbc_id
        sibling = None if not parties.from_caller else self._sibling(parties, hop)
        if sibling is not None and self._is_unreachable(parties.sbc_id):
            hop, sibling = Hop(*sibling), (hop.socket, hop.host, hop.port)
        relay.sibling = sibling
        if invite or sibling is not None:
            relay.message = message
        if invite:
            core.invites[key] = relay
            relay.to_tag = message.to_tag()
        else:
            core.others[key] = relay
        self._launch(relay, hop, uri, message.uri)
        if invite and relay.state == t.IS_PROCEEDING:
            core.forwarder.respond(relay, 100, wire.reply(message, relay.via, 100))
        core.forwarder.rearm(relay)

    def _launch(self, relay: InDialog, hop: Hop, uri: bytes, _: bytes) -> None:
        core = self._core
        branch = core.branch(relay.key, relay.method, _hop_key(hop), relay.address)
        attempt = Attempt(branch, hop.socket, (hop.host, hop.port), None)
        attempt.uri = uri
        attempt.via = core.via_start[hop.socket] + branch
        data = b"".join((relay.method, b" ", uri, b" SIP/2.0\r\n", attempt.via, b"\r\n", relay.rest))
        wait_s = SIBLING_AFTER_S if relay.sibling is not None else TIMER_F_S
        core.forwarder.launch(relay, attempt, data, core.now_s + wait_s)

    # -- what comes back -------------------------------------------------------------------------------------------------------

    def on_provisional(self, relay: Relay, attempt: Attempt, status: int, data: bytes) -> None:
        core = self._core
        if relay.invite:
            attempt.deadline_s = core.now_s + TIMER_C_S
        else:
            attempt.deadline_s = attempt.started_s + TIMER_F_S
        if status != 100:
            core.forwarder.respond(relay, status, data)
        core.forwarder.rearm(relay)

    def on_answer(self, relay: Relay, attempt: Attempt, status: int, raw: bytes, data: bytes) -> None:
        core = self._core
        if isinstance(relay, Errand):
            return
        assert isinstance(relay, InDialog)
        if not relay.invite and relay.state >= t.NS_COMPLETED:
            return  # the sibling, or the SBC itself, was quicker
        if relay.invite and relay.state in (t.IS_COMPLETED, t.IS_CONFIRMED):
            return
        repeated = relay.invite and relay.state == t.IS_ACCEPTED
        core.forwarder.respond(relay, status, data)
        if not repeated:
            if relay.method == b"BYE":
                self._end(relay)
            elif relay.call >= 0 and relay.method in (b"INVITE", b"UPDATE"):
                core.ledger.refresh(relay.call, parse(raw))
            self._finished(relay, attempt)
        core.forwarder.rearm(relay)

    def on_refusal(self, relay: Relay, attempt: Attempt, message: Message, data: bytes) -> None:
        core = self._core
        if isinstance(relay, Errand):
            return
        assert isinstance(relay, InDialog)
        if relay.state >= (t.IS_COMPLETED if relay.invite else t.NS_COMPLETED):
            return
        core.forwarder.respond(relay, message.status, data)
        if message.status in (481, 408) or (relay.method == b"BYE" and message.status not in _KEEPS_CALL):
            self._end(relay)
        self._finished(relay, attempt)
        core.forwarder.rearm(relay)

    def on_silence(self, relay: Relay, attempt: Attempt) -> None:
        """Nothing came: the sibling, if the pair shares dialogs; else the transaction has timed out."""
        core = self._core
        if isinstance(relay, InDialog) and relay.sibling is not None:
            hop = Hop(*relay.sibling)
            relay.sibling = None
            core.count("in_dialog_to_sibling")
            core.forwarder.abandon(relay, attempt)
            self._launch(relay, hop, attempt.uri, b"")
            return
        self._timed_out(relay, attempt)

    def on_stalled(self, relay: Relay, attempt: Attempt) -> None:
        core = self._core
        if relay.invite and attempt.state == t.IC_PROCEEDING:
            core.forwarder.cancel(relay, attempt)
        self._timed_out(relay, attempt)

    def on_unreachable(self, relay: Relay, attempt: Attempt) -> None:
        if attempt.state == t.IC_CALLING:
            if isinstance(relay, InDialog) and relay.sibling is not None:
                self.on_silence(relay, attempt)
            elif self._core.is_stream(attempt.socket):
                self._timed_out(relay, attempt)
            self._core.forwarder.rearm(relay)

    def on_ended(self, relay: Relay) -> None:
        """Nothing of it is kept anywhere else."""

    def note(self, relay: Relay, attempt: Attempt) -> None:
        """In-dialog requests leave no record: their sender repeats them."""

    def on_cancel(self, relay: InDialog) -> None:
        """CANCEL of a re-INVITE."""
        for attempt in relay.attempts:
            self._core.forwarder.cancel(relay, attempt)
        self._core.forwarder.rearm(relay)

    def _timed_out(self, relay: Relay, attempt: Attempt) -> None:
        """No final response. An INVITE's sender hears 408; others hear nothing, their own timer F has run out too (RFC 4320)."""
        core = self._core
        if attempt.state < t.IC_COMPLETED:
            core.forwarder.abandon(relay, attempt)
        if relay.invite and relay.state == t.IS_PROCEEDING and relay.message is not None:
            data = wire.reply(relay.message, relay.via, 408, to_tag=relay.to_tag, extra=(wire.reason_line(102),))
            core.forwarder.respond(relay, 408, data)
        elif not relay.invite and relay.state < t.NS_COMPLETED:
            relay.state = t.NS_COMPLETED
            relay.server_due_s = core.now_s + GONE_S
        if isinstance(relay, InDialog) and relay.method == b"BYE":
            self._end(relay)

    def _finished(self, relay: InDialog, attempt: Attempt) -> None:
        """A final response went back: give up the other attempt, and let go of what is not needed any more."""
        for other in relay.attempts:
            if other is not attempt and other.state < t.IC_COMPLETED:
                self._core.forwarder.cancel(relay, other)
                self._core.forwarder.abandon(relay, other)
        if len(relay.attempts) == 1 and attempt.status < 300:
            relay.message = None
            relay.rest = b""

    def _end(self, relay: InDialog) -> None:
        if relay.call >= 0:
            by = "caller" if relay.from_caller else "callee"
            self._core.ledger.end(relay.call, by if relay.method == b"BYE" else "unknown")
            relay.call = -1

    # -- names -----------------------------------------------------------------------------------------------------------------

    @property
    def next_due_s(self) -> float | None:
        return min((waiting[0] for waiting in self._waiting), default=None)

    def resume(self) -> None:
        """Go on with requests whose name has an address by now, or whose wait is over (then symmetric)."""
        if not self._waiting:
            return
        core = self._core
        snapshot = core.snapshot
        known = {} if snapshot is None else snapshot.state.names
        ready = [entry for entry in self._waiting if entry[0] <= core.now_s or entry[1] in known]
        if ready:
            self._waiting = [entry for entry in self._waiting if entry not in ready]
            for _, _, message, up, socket in ready:
                self.request(message, up, socket, waited=True)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    # -- whose dialog is it? ---------------------------------------------------------------------------------------------------

    def allows(self, trunk: bool, number: int, host: str) -> bool:
        """Whether an address belongs to that trunk (or tenant), numeric id, retired ones included."""
        known = self._allowed.get((trunk, number, host))
        if known is None:
            snapshot = self._core.snapshot
            assert snapshot is not None
            known = snapshot.trunk_allows(number, host) if trunk else snapshot.tenant_allows(number, host)
            if len(self._allowed) >= MAX_HOPS_CACHED:
                self._allowed.clear()
            self._allowed[trunk, number, host] = known
        return known

    def _routes(self, message: Message) -> list[bytes]:
        """Every Route value, in order.

        Raises: SipSyntaxError for a list that cannot be cut.
        """
        if ROUTE not in message.at:
            return []
        routes: list[bytes] = []
        for value in message.values(ROUTE):
            routes += split_list(value)
        return routes

    def _parties(self, message: Message, routes: list[bytes]) -> tuple[Parties | None, int]:
        """Who talks, and how many Route values at the top are ours."""
        core = self._core
        call_id, from_tag, to_tag = message.value(CALL_ID), message.from_tag(), message.to_tag()
        token_text = _token_in(routes[0]) if routes else _token_in(message.uri)
        token = core.ring.verify(token_text, call_id, from_tag, to_tag) if token_text else None
        found = core.ledger.find(call_id, from_tag, to_tag)
        record = -1 if found is None else found[0]
        own = 0
        while own < len(routes) and own < 2 and (core.is_own(routes[own]) or (token is not None and _token_in(routes[own]) == token_text)):
            own += 1
        if token is not None:
            return Parties(token.trunk_id, token.tenant_id, token.sbc_id, token.from_caller, record), own
        if found is None:
            return None, own
        kept = core.records.answered(record)
        if kept is None:
            return None, own
        return Parties(kept.trunk_id, kept.tenant_id, kept.sbc_id, found[1], record), own

    def has_token(self, message: Message) -> bool:
        """Whether a request brings a valid token of ours back, as Route or (strict routing) as Request-URI."""
        try:
            routes = self._routes(message)
        except SipSyntaxError:
            return False
        return any(self._is_own_token(value, message) for value in (*routes[:2], message.uri))

    def _is_own_token(self, uri: bytes, message: Message) -> bool:
        text = _token_in(uri)
        return bool(text) and self._core.ring.verify(text, message.value(CALL_ID), message.from_tag(), message.to_tag()) is not None

    # -- where does it go? -----------------------------------------------------------------------------------------------------

    def _next_hop(self, parties: Parties, target: bytes, own_route: bytes, socket: int) -> Hop | str | None:
        """The hop for that target URI; a name that must be resolved first; None if there is no way."""
        place = _place_of(target)
        key = (parties[:4], place, own_route[own_route.find(b"@") :], socket if socket < len(self._core.sockets) else -1)
        hop = self._hops.get(key)
        if hop is not None:
            return hop
        found = self._find_hop(parties, place, own_route, socket)
        if isinstance(found, Hop):
            if len(self._hops) >= MAX_HOPS_CACHED:
                self._hops.clear()
            if place is not None and parties.from_caller:
                self._hops[key] = found
        return found

    def _find_hop(self, parties: Parties, place: tuple[str, int, str] | None, own_route: bytes, socket: int) -> Hop | str | None:
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        sbc = snapshot.sbc_by_id.get(parties.sbc_id)
        if place is None or (sbc is not None and snapshot.pairs[snapshot.sbcs[sbc].pair].symmetric):
            return self._symmetric(parties, socket)
        host, port, transport = place
        side_id = parties.tenant_id if parties.from_caller else parties.trunk_id
        hosts: tuple[str, ...] = (host,)
        if not _is_address(host):
            hosts = snapshot.state.names.get(host.lower(), ())
            if not hosts:
                return host.lower()
        for candidate in hosts:
            if self.allows(not parties.from_caller, side_id, candidate):
                via = self._socket_towards(parties, candidate, transport, own_route, socket)
                if via is not None:
                    return Hop(via, candidate, port)
        core.count("in_dialog_target_not_ours")
        return self._symmetric(parties, socket)

    def _symmetric(self, parties: Parties, socket: int) -> Hop | None:
        """The address the token names: the SBC's, or where the caller's side was heard."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        if parties.from_caller:
            return self._sbc_hop(parties.sbc_id, parties.tenant_id)
        record = core.records.answered(parties.record) if parties.record >= 0 else None
        if record is not None:
            return Hop(record.socket, record.host, record.port)
        kept = snapshot.retired_by.get(("trunk", parties.trunk_id))
        if kept is not None and kept.host:
            via = core.socket_named(kept.listen)
            return None if via is None else Hop(via, kept.host, kept.port)
        trunk = snapshot.trunk_by_id.get(parties.trunk_id)
        if trunk is None:
            return None
        sources = snapshot.trunks[trunk].sources
        host, _, bits = sources[0].partition("/") if len(sources) == 1 else ("", "", "")
        if not host or bits not in ("", "32", "128"):
            return None
        listens = snapshot.trunks[trunk].listens
        via = core.socket_of_listen[listens[0]] if listens else core.listen_socket(socket)
        return None if via < 0 else Hop(via, host, 5060)

    def _sbc_hop(self, sbc_id: int, tenant_id: int) -> Hop | None:
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        index = snapshot.sbc_by_id.get(sbc_id)
        if index is None:
            kept = snapshot.retired_by.get(("sbc", sbc_id))
            if kept is None or not kept.host:
                return None
            via = core.socket_named(kept.listen)
            return None if via is None else Hop(via, kept.host, kept.port)
        sbc = snapshot.sbcs[index]
        tenant = snapshot.tenant_by_id.get(tenant_id)
        port = sbc.port
        if tenant is not None:
            for reach in snapshot.tenants[tenant].reached_by:
                if index in snapshot.pairs[reach.pair].sbcs and reach.port:
                    port = reach.port
                    break
        via = core.socket_of_listen[sbc.listen]
        return Hop(via, sbc.host, port) if via >= 0 and sbc.host else None

    def _sibling(self, parties: Parties, hop: Hop) -> tuple[int, str, int] | None:
        """The other SBC of a pair that shares dialogs, if this request goes to one of them."""
        snapshot = self._core.snapshot
        assert snapshot is not None
        index = snapshot.sbc_by_id.get(parties.sbc_id)
        if index is None:
            return None
        pair = snapshot.pairs[snapshot.sbcs[index].pair]
        if not pair.shared_dialogs:
            return None
        for other in pair.sbcs:
            if other != index and snapshot.sbcs[other].host != hop.host:
                return self._sbc_hop(int(snapshot.sbcs[other].id), parties.tenant_id)
        return None

    def _is_unreachable(self, sbc_id: int) -> bool:
        """Silent to everything, not merely refusing calls (CALLS 1.9)."""
        judge = self._core.judge
        if judge.operating(sbc_id) != Operating.OUT_OF_SERVICE:
            return False
        return judge.observation(sbc_id, self._core.now_s).missed_probes >= UNREACHABLE_MISSES

    def _socket_towards(self, parties: Parties, host: str, transport: str, own_route: bytes, socket: int) -> int | None:
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        preferred = [core.own_socket(own_route)] if own_route else []
        if parties.from_caller:
            index = snapshot.sbc_by_id.get(parties.sbc_id)
            if index is not None:
                preferred.insert(0, core.socket_of_listen[snapshot.sbcs[index].listen])
        else:
            record = core.records.answered(parties.record) if parties.record >= 0 else None
            if record is not None:
                preferred.append(record.socket)
        preferred.append(core.listen_socket(socket))
        return core.socket_for(transport, host, preferred)

    # -- Route of an INVITE outside a dialog -----------------------------------------------------------------------------------

    def foreign_route(self, message: Message) -> bool:
        """Whether a new INVITE carries a Route that is not ours (CALLS 1.9: 403)."""
        try:
            return any(not self._core.is_own(route) for route in self._routes(message))
        except SipSyntaxError:
            return True

    def own_route_lines(self, message: Message) -> list[int]:
        return [index for index, line in enumerate(message.lines) if code_of(line) == ROUTE]

    # -- answers and errands of our own ----------------------------------------------------------------------------------------

    def _answer(self, message: Message, up: wire.Upstream, socket: int, status: int) -> None:
        core = self._core
        if message.method == b"ACK":
            core.count("acks_dropped")
            return
        extra = (wire.reason_line(wire.CAUSES[status]),)
        core.send(socket, wire.reply(message, up.line, status, to_tag=core.own_tag(up.key), extra=extra), (up.host, up.port))

    def end_leg(self, invite: Message, attempt: Attempt, response: Message) -> None:
        """ACK and, once, BYE a leg that answered after its caller had heard a refusal."""
        core = self._core
        own = wire.address_text(core.sockets[attempt.socket]).partition(b";")[0]
        routes = wire.route_set(response, own)
        uri = attempt.uri
        if CONTACT in response.at:
            uri = _bare(split_list(response.value(CONTACT))[0])
        number = int(invite.value(CSEQ).split()[0])
        branch = core.branch(attempt.branch, b"ACK", b"late", attempt.address)
        via = wire.via_line(core.sockets[attempt.socket], branch)
        core.send(attempt.socket, wire.dialog_request(b"ACK", uri, via, routes, invite, response, number), attempt.address)
        branch = core.branch(attempt.branch, b"BYE", b"late", attempt.address)
        if branch in core.branches:
            return
        key = b"BYE late " + attempt.branch
        if key in core.others:
            return
        errand = Errand(key, b"BYE", attempt.socket, attempt.address)
        errand.state = t.NS_ENDED
        core.others[key] = errand
        bye = Attempt(branch, attempt.socket, attempt.address, None)
        bye.uri, bye.via = uri, wire.via_line(core.sockets[attempt.socket], branch)
        data = wire.dialog_request(b"BYE", uri, bye.via, routes, invite, response, number + 1, wire.reason_line(31))
        core.forwarder.launch(errand, bye, data, core.now_s + TIMER_F_S)
        core.forwarder.rearm(errand)


def _token_in(value: bytes) -> bytes:
    """The userinfo of a URI, if it is as long as a token."""
    start = value.find(b"sip:")
    end = value.find(b"@", start)
    return value[start + 4 : end] if start >= 0 and end - start - 4 == 62 else b""


def _bare(value: bytes) -> bytes:
    """The URI in a name-addr."""
    start = value.find(b"<")
    return value[start + 1 : value.find(b">", start)] if start >= 0 else value.partition(b";")[0].strip()


def _place_of(target: bytes) -> tuple[str, int, str] | None:
    """Host, port and transport of a sip: URI (bare or in angle brackets); None if it is none."""
    uri = target[target.find(b"<") + 1 : target.find(b">")] if b"<" in target else target
    if uri[:4].lower() != b"sip:":
        return None
    rest = uri[4:].partition(b"?")[0]
    rest = rest[rest.rfind(b"@") + 1 :]
    where, _, params = rest.partition(b";")
    host, colon, port = where.rpartition(b":")
    if not colon or where.endswith(b"]"):
        host, port = where, b"5060"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        return None
    transport = "tcp" if b"transport=tcp" in params.lower() else "udp"
    return host.decode("latin-1").strip("[]"), int(port), transport


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _hop_key(hop: Hop) -> bytes:
    return b"%b:%d" % (hop.host.encode(), hop.port)


def _rest(message: Message, up: wire.Upstream, routes: list[bytes], hops: int) -> bytes:
    """The request from its sender's Via on: our Route gone, one hop less, the rest as it came."""
    at = message.at
    lines = message.lines.copy()
    lines[at[VIA]] = up.line
    if MAX_FORWARDS in at:
        lines[at[MAX_FORWARDS]] = b"Max-Forwards: %d" % hops
    if ROUTE in at:
        first = at[ROUTE]
        if message.repeated & 1 << ROUTE:
            lines = lines[: first + 1] + [line for line in lines[first + 1 :] if code_of(line) != ROUTE]
        lines[first : first + 1] = [b"Route: " + b", ".join(routes)] if routes else []
    if MAX_FORWARDS not in at:
        lines.append(b"Max-Forwards: %d" % hops)
    return b"\r\n".join(lines) + b"\r\n\r\n" + message.body


