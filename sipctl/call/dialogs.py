"""Requests within a dialog: they follow their dialog and nothing else (CALLS 1.9–1.11).

Theory. What a router must know of a dialog travels in it: our Record-Route holds a token that only we can make and that is
worth something only with its own Call-ID and caller's tag. A valid token, from an address of its trunk or tenant, says who the
two parties are; the next hop comes from the Route set and the remote target, but only if it is one of theirs, else the address
the token names. Without a valid token the call's record decides; without that nothing is relayed anywhere. No state of health,
plan or operator has a say here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipctl.call import wire
from sipctl.call.admit import max_forwards
from sipctl.call.forward import FLOW_BASE, GONE_S
from sipctl.call.hops import Hop, Hops, Parties
from sipctl.call.relay import Attempt, Errand, InDialog, Relay
from sipctl.sip import transactions as t
from sipctl.sip.grammar import split_list
from sipctl.sip.message import CONTACT, CSEQ, MAX_FORWARDS, ROUTE, VIA, Message, code_of, parse
from sipctl.sip.timers import TIMER_C_S, TIMER_F_S

if TYPE_CHECKING:
    from sipctl.call.core import Core

SIBLING_AFTER_S: Final = 1.0  # a silent SBC whose pair shares dialogs is left for its sibling after so long
NAME_WAIT_S: Final = 2.0  # how long a request waits for the address of a name (CALLS 1.9)
MAX_WAITING: Final = 256  # requests that wait for names
_LATE: Final = b"00000000"  # stands for the target in branches of the ACK and BYE that end a late leg
_KEEPS_CALL: Final = frozenset((401, 407))  # a BYE answered so was not the end yet


class Dialogs:
    """Policy of in-dialog requests."""

    __slots__ = ("_core", "_waiting", "hops")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.hops = Hops(core)
        self._waiting: list[tuple[float, str, Message, wire.Upstream, int]] = []

    # -- a request with a To tag -----------------------------------------------------------------------------------------------

    def request(self, message: Message, up: wire.Upstream, socket: int, *, waited: bool = False) -> None:
        """Relay one in-dialog request, ACK included, or answer it."""
        core = self._core
        known = self.hops.recall(message, up.host, socket)
        if known is not None:
            parties, hop = known
            hops = max_forwards(message)
            if hops <= 0:
                self._answer(message, up, socket, 483)
            else:
                self._pass_on(message, up, socket, hop, message.uri, _rest(message, up, [], hops - 1), parties)
            return
        routes = self.hops.routes(message)
        found, own = self.hops.parties(message, routes, up.host)
        if found is None:
            core.count("in_dialog_unknown")
            self._answer(message, up, socket, 481)
            return
        parties = found
        hops = max_forwards(message)
        if hops <= 0:
            self._answer(message, up, socket, 483)
            return
        uri, left = message.uri, routes[own:]
        if own == 0 and left and self.hops.has_own_token(uri, message):  # a strict router before us, RFC 3261 §16.4
            uri = _bare(left.pop())
        target = left[0] if left else uri
        if left and b";lr" not in left[0].lower():  # a strict router behind us, §16.6 step 6
            left = [*left[1:], b"<" + uri + b">"]
            uri = _bare(target)
        way = self.hops.next_hop(parties, target, routes[own - 1] if own else b"", socket)
        if isinstance(way, str):
            if not waited and any(one[2].method == message.method and one[3].key == up.key for one in self._waiting):
                core.count("repeated_while_waiting")
                return
            if not waited and len(self._waiting) < MAX_WAITING:
                self._waiting.append((core.now_s + NAME_WAIT_S, way, message, up, socket))
                core.note(("name", way))
                core.count("waited_for_names")
                return
            way = self.hops.symmetric(parties, socket)
        if way is None:
            core.count("in_dialog_no_way")
            self._answer(message, up, socket, 481)
            return
        if own and not left and not waited:
            self.hops.remember(message, up.host, socket, parties, way)
        self._pass_on(message, up, socket, way, uri, _rest(message, up, left, hops - 1), parties)

    def _pass_on(
        self, message: Message, up: wire.Upstream, socket: int, hop: Hop, uri: bytes, rest: bytes, parties: Parties
    ) -> None:
        if message.method == b"ACK":
            self._send_ack(up, socket, hop, uri, rest)
        else:
            self._relay(message, up, socket, hop, uri, rest, parties)

    def _send_ack(self, up: wire.Upstream, socket: int, hop: Hop, uri: bytes, rest: bytes) -> None:
        """An ACK has no answer, so it needs no state: the same ACK leaves as the same ACK.

        The branch is an INVITE's (CALLS 1.8): the ACK of a re-INVITE that a dead router saw refused then finds that transaction.
        """
        core = self._core
        branch = core.branch(up.key, b"INVITE", hop.code, (up.host, up.port), socket)
        data = b"".join((b"ACK ", uri, b" SIP/2.0\r\n", core.via_start[hop.socket], branch, b"\r\n", rest))
        core.out.append((hop.socket, data, (hop.host, hop.port)))

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
        if relay.call >= 0 and method == b"BYE":
            core.ledger.leaving(relay.call, relay.from_caller)
        sibling = self.hops.sibling(parties, hop) if parties.from_caller else None
        if sibling is not None:
            relay.sibling_host = sibling.host
            if self.hops.is_unreachable(parties.sbc_id):
                hop, sibling = sibling, hop
        relay.sibling = sibling
        if invite or sibling is not None:
            relay.message = message
        if invite:
            core.invites[key] = relay
            relay.to_tag = message.to_tag()
        else:
            core.others[key] = relay
        if socket >= FLOW_BASE:
            core.enter_flow(relay)
        self._launch(relay, hop, uri)
        if invite and relay.state == t.IS_PROCEEDING:
            core.forwarder.respond(relay, 100, wire.reply(message, relay.via, 100))
        core.forwarder.rearm(relay)

    def _launch(self, relay: InDialog, hop: Hop, uri: bytes) -> None:
        core = self._core
        branch = core.branch(relay.key, relay.method, hop.code, relay.address, relay.socket)
        if hop.host == relay.sibling_host:
            branch = wire.SIBLING + branch[len(wire.SIBLING) :]
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
            self._acknowledge_ended(relay, attempt)
            return
        assert isinstance(relay, InDialog)
        if not relay.invite and relay.state >= t.NS_COMPLETED:
            return  # the sibling, or the SBC itself, was quicker
        if relay.invite and relay.state not in (t.IS_PROCEEDING, t.IS_ACCEPTED):
            self._acknowledge_late(relay, attempt, parse(raw))
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
            self._acknowledge_ended(relay, attempt)
            return
        assert isinstance(relay, InDialog)
        if relay.state >= (t.IS_COMPLETED if relay.invite else t.NS_COMPLETED):
            return
        if wire.is_doubtful(message.status) and self._hold_back(relay, message.status, data):
            core.forwarder.rearm(relay)
            return
        core.forwarder.respond(relay, message.status, data)
        if message.status in (481, 408) or (relay.method == b"BYE" and message.status not in _KEEPS_CALL):
            self._end(relay)
        elif relay.method == b"BYE" and relay.call >= 0:
            core.ledger.staying(relay.call)
        self._finished(relay, attempt)
        core.forwarder.rearm(relay)

    def on_silence(self, relay: Relay, attempt: Attempt) -> None:
        """Nothing came: the sibling, if the pair shares dialogs; else the transaction has timed out."""
        core = self._core
        if isinstance(relay, InDialog) and relay.sibling is not None:
            hop, relay.sibling = relay.sibling, None
            core.count("in_dialog_to_sibling")
            core.forwarder.abandon(relay, attempt)
            self._launch(relay, hop, attempt.uri)
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

    def on_acknowledged(self, relay: Relay) -> None:
        """Nothing is kept that says otherwise."""

    def on_gone(self, relay: Relay, attempt: Attempt) -> None:
        """Nothing more can come of an attempt that was given up; if it was the last, its sender hears what there is to say."""
        is_open = relay.state < (t.IS_COMPLETED if relay.invite else t.NS_COMPLETED)
        if is_open and all(other.state == t.IC_ENDED for other in relay.attempts):
            self._timed_out(relay, attempt)

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
        """No final response. An INVITE's sender hears 408; others hear nothing: their own timer F has run out (RFC 4320)."""
        core = self._core
        if attempt.state < t.IC_COMPLETED:
            core.forwarder.abandon(relay, attempt)
        held_back = relay.held_back if isinstance(relay, InDialog) else None
        if held_back is not None and relay.invite:
            core.forwarder.respond(relay, *held_back)
        elif relay.invite and relay.state == t.IS_PROCEEDING and relay.message is not None:
            data = wire.reply(relay.message, relay.via, 408, to_tag=relay.to_tag, extra=(wire.reason_line(102),))
            core.forwarder.respond(relay, 408, data)
        elif not relay.invite and relay.state < t.NS_COMPLETED:
            relay.state = t.NS_COMPLETED
            relay.server_due_s = core.now_s + GONE_S
        if isinstance(relay, InDialog) and (relay.method == b"BYE" or held_back is not None):
            self._end(relay)

    def _hold_back(self, relay: InDialog, status: int, data: bytes) -> bool:
        """One of two siblings answered that it knows nothing of the dialog: wait for the other, which may."""
        waiting = any(other.state < t.IC_COMPLETED for other in relay.attempts)
        if waiting:
            relay.held_back = (status, data)
            return True
        return False

    def _acknowledge_late(self, relay: InDialog, attempt: Attempt, response: Message) -> None:
        """The SBC accepted a re-INVITE after its sibling refused it: without an ACK it would end the call (RFC 3261 §14.2)."""
        if relay.message is not None:
            self._core.count("late_reinvites_acknowledged")
            self.end_leg(relay.message, attempt, response, bye=False)

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
        return min(waiting[0] for waiting in self._waiting) if self._waiting else None

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

    # -- answers and errands of our own ----------------------------------------------------------------------------------------

    def _answer(self, message: Message, up: wire.Upstream, socket: int, status: int) -> None:
        core = self._core
        if message.method == b"ACK":
            core.count("acks_dropped")
            return
        extra = (wire.reason_line(wire.CAUSES[status]),)
        core.send(socket, wire.reply(message, up.line, status, to_tag=core.own_tag(up.key), extra=extra), (up.host, up.port))

    def end_leg(self, invite: Message, attempt: Attempt, response: Message, *, bye: bool = True) -> None:
        """BYE and ACK a leg that answered after its caller had heard a refusal.

        The ACK leaves only once the BYE was answered: until then the SBC repeats its 2xx, so that a successor of ours, which
        knows nothing of the errand, ends the leg all the same.
        """
        core = self._core
        own = wire.address_text(core.sockets[attempt.socket]).partition(b";")[0]
        routes = wire.route_set(response, own)
        uri = attempt.uri
        if CONTACT in response.at:
            uri = _bare(split_list(response.value(CONTACT))[0])
        number = int(invite.value(CSEQ).split()[0])
        leg = attempt.branch + b"|" + response.to_tag()  # a fork behind the SBC may answer more than once
        via = core.via_start[attempt.socket] + core.branch(leg, b"ACK", _LATE, attempt.address, attempt.socket)
        ack = wire.dialog_request(b"ACK", uri, via, routes, invite, response, number)
        key = b"BYE late " + leg
        under_way = core.others.get(key)
        if not bye or (under_way is not None and under_way.attempts[0].status):
            core.send(attempt.socket, ack, attempt.address)
            return
        if under_way is not None:
            return
        branch = core.branch(leg, b"BYE", _LATE, attempt.address, attempt.socket)
        errand = Errand(key, b"BYE", attempt.socket, attempt.address)
        errand.state = t.NS_ENDED
        errand.last = ack
        core.others[key] = errand
        last = Attempt(branch, attempt.socket, attempt.address, None)
        last.uri, last.via = uri, core.via_start[attempt.socket] + branch
        data = wire.dialog_request(b"BYE", uri, last.via, routes, invite, response, number + 1, wire.reason_line(31))
        core.forwarder.launch(errand, last, data, core.now_s + TIMER_F_S)
        core.forwarder.rearm(errand)


    def _acknowledge_ended(self, errand: Errand, attempt: Attempt) -> None:
        """The BYE of a late leg was answered: its 2xx need not be repeated any more."""
        self._core.send(errand.socket, errand.last, errand.address)
        self._core.forwarder.rearm(errand)


def _bare(value: bytes) -> bytes:
    """The URI in a name-addr."""
    start = value.find(b"<")
    return value[start + 1 : value.find(b">", start)] if start >= 0 else value.partition(b";")[0].strip()


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
