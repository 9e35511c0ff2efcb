"""Client and server transactions of relays: sending, retransmitting, cancelling, acknowledging, ending.

The mechanics that set-ups and in-dialog requests share. What to do with a final response, a silence or a failed send is policy
and is asked of `Policy`: set-ups search on, in-dialog requests follow their dialog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sipctl.call import wire
from sipctl.call.relay import (
    ABANDONED,
    CANCEL_DONE,
    CANCEL_SENT,
    NEVER,
    PROGRESSED,
    PROVISIONAL,
    WANTS_CANCEL,
    Attempt,
    Relay,
)  # fmt: skip
from sipctl.sip import transactions as t
from sipctl.sip.message import TO, Message, parse
from sipctl.sip.timers import T1_S, T2_S, T4_S

if TYPE_CHECKING:
    from sipctl.call.core import Core

GONE_S: Final = 64 * T1_S  # an abandoned, answered or refused attempt is remembered so long
FLOW_BASE: Final = 1 << 20  # sockets from here on are connections (streams)


class Policy(Protocol):
    """What set-ups and in-dialog requests decide differently."""

    def on_provisional(self, relay: Relay, attempt: Attempt, status: int, data: bytes) -> None: ...
    def on_answer(self, relay: Relay, attempt: Attempt, status: int, raw: bytes, data: bytes) -> None: ...
    def on_refusal(self, relay: Relay, attempt: Attempt, message: Message, data: bytes) -> None: ...
    def on_silence(self, relay: Relay, attempt: Attempt) -> None: ...
    def on_stalled(self, relay: Relay, attempt: Attempt) -> None: ...
    def on_unreachable(self, relay: Relay, attempt: Attempt) -> None: ...
    def on_acknowledged(self, relay: Relay) -> None: ...
    def on_gone(self, relay: Relay, attempt: Attempt) -> None: ...
    def on_ended(self, relay: Relay) -> None: ...
    def note(self, relay: Relay, attempt: Attempt) -> None: ...


class Forwarder:
    """Drives every relay's transactions; one per core."""

    __slots__ = ("_core",)

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- towards a target ------------------------------------------------------------------------------------------------------

    def launch(self, relay: Relay, attempt: Attempt, data: bytes, deadline_s: float) -> None:
        """Send a request for the first time; `deadline_s` is how long it may stay without any reply."""
        core = self._core
        now_s = core.now_s
        attempt.wire = data
        attempt.started_s = now_s
        attempt.started_unix_s = now_s + core.unix_minus_mono_s
        attempt.deadline_s = deadline_s
        if not core.is_stream(attempt.socket):
            attempt.interval_s = T1_S
            attempt.resend_s = now_s + T1_S
        else:
            core.enter_stream(relay, attempt)
        relay.attempts.append(attempt)
        core.branches[attempt.branch] = relay
        core.send(attempt.socket, data, attempt.address)

    def on_response(self, relay: Relay, attempt: Attempt, status: int, raw: bytes, data: bytes) -> None:
        """A response that matched one of our branches, as received, and `data` as it goes upstream, without our Via.

        Raises: SipSyntaxError for a malformed refusal; nothing has changed then.
        """
        refusal = parse(raw) if status >= 300 else None  # before anything moves: it may be malformed
        kind = t.ON_1XX if status < 200 else t.ON_2XX if status < 300 else t.ON_FINAL
        if relay.invite:
            attempt.state, action = t.INVITE_CLIENT[attempt.state][kind]
        else:
            attempt.state, action = t.NON_INVITE_CLIENT[attempt.state][kind]
        if action == t.NOTHING:
            return
        now_s = self._core.now_s
        policy = self._core.policy_of(relay)
        if action in (t.ACK, t.ACK_AND_PASS):
            if refusal is not None:
                self._acknowledge(relay, attempt, refusal)
            if action == t.ACK:
                return
        if status < 200:
            attempt.flags |= PROVISIONAL
            if relay.invite:
                attempt.resend_s = NEVER
                attempt.wire = b""
            if attempt.flags & (ABANDONED | WANTS_CANCEL):
                self.cancel(relay, attempt)
                return
            policy.on_provisional(relay, attempt, status, data)
            return
        if attempt.status < 200:  # none yet, or a transport error of an attempt that lives all the same
            attempt.status = status
            attempt.wire = b""
            attempt.resend_s = attempt.cancel_resend_s = NEVER
            attempt.flags |= CANCEL_DONE
            at_once = self._core.is_stream(attempt.socket) and (status >= 300 or not relay.invite)
            attempt.deadline_s = now_s if at_once else now_s + (GONE_S if relay.invite else T4_S)
        if refusal is None:
            policy.on_answer(relay, attempt, status, raw, data)
        elif attempt.flags & ABANDONED:
            policy.note(relay, attempt)
        else:
            policy.on_refusal(relay, attempt, refusal, data)

    def abandon(self, relay: Relay, attempt: Attempt) -> None:
        """Give an attempt up: no retransmission any more, and 64·T1 to see what still comes (CALLS 1.7)."""
        if attempt.state >= t.IC_COMPLETED or attempt.flags & ABANDONED:
            return
        attempt.flags |= ABANDONED
        attempt.wire = b""
        attempt.resend_s = NEVER
        attempt.deadline_s = self._core.now_s + GONE_S

    def cancel(self, relay: Relay, attempt: Attempt) -> None:
        """CANCEL an attempt, at once if it has had a provisional, else as soon as one comes (RFC 3261 §9.1)."""
        if not relay.invite or attempt.state >= t.IC_COMPLETED or attempt.flags & CANCEL_SENT:
            return
        if not attempt.flags & PROVISIONAL or relay.message is None:
            attempt.flags |= WANTS_CANCEL
            return
        core = self._core
        attempt.flags |= CANCEL_SENT
        attempt.cancel_wire = wire.cancel(attempt.uri, attempt.via, relay.message)
        if not core.is_stream(attempt.socket):
            attempt.cancel_interval_s = T1_S
            attempt.cancel_resend_s = core.now_s + T1_S
        attempt.deadline_s = core.now_s + GONE_S
        core.send(attempt.socket, attempt.cancel_wire, attempt.address)
        core.policy_of(relay).note(relay, attempt)

    def on_cancel_response(self, attempt: Attempt) -> None:
        """The target answered our CANCEL: stop repeating it."""
        attempt.flags |= CANCEL_DONE
        attempt.cancel_resend_s = NEVER
        attempt.cancel_wire = b""

    def _acknowledge(self, relay: Relay, attempt: Attempt, message: Message) -> None:
        if relay.message is not None:
            data = wire.ack(attempt.uri, attempt.via, relay.message, message.lines[message.at[TO]])
            self._core.send(attempt.socket, data, attempt.address)

    # -- towards the sender ----------------------------------------------------------------------------------------------------

    def respond(self, relay: Relay, status: int, data: bytes) -> None:
        """Send a response upstream and move the server transaction."""
        core = self._core
        core.send(relay.socket, data, relay.address)
        relay.last = data
        relay.status = status
        if status < 200:
            if not relay.invite and relay.state == t.NS_TRYING:
                relay.state = t.NS_PROCEEDING
            return
        stream = core.is_stream(relay.socket)
        now_s = core.now_s
        if not relay.invite:
            relay.state = t.NON_INVITE_SERVER[relay.state][t.ON_SENT_2XX][0]
            relay.server_due_s = now_s if stream else now_s + GONE_S
        elif status < 300:
            relay.state = t.INVITE_SERVER[relay.state][t.ON_SENT_2XX][0]
            relay.server_due_s = now_s + GONE_S
        else:
            relay.state = t.INVITE_SERVER[relay.state][t.ON_SENT_FINAL][0]
            relay.server_due_s = now_s + GONE_S
            if not stream:
                relay.interval_s = T1_S
                relay.resend_s = now_s + T1_S

    def on_retransmission(self, relay: Relay) -> None:
        """The request came again: send again what was sent last."""
        table = t.INVITE_SERVER if relay.invite else t.NON_INVITE_SERVER
        if table[relay.state][t.ON_REQUEST][1] == t.RESEND and relay.last:
            self._core.send(relay.socket, relay.last, relay.address)

    def on_ack(self, relay: Relay) -> None:
        """The ACK of a non-2xx final came."""
        before = relay.state
        relay.state, _ = t.INVITE_SERVER[before][t.ON_ACK]
        if before == t.IS_COMPLETED:
            relay.resend_s = NEVER
            stream = self._core.is_stream(relay.socket)
            relay.server_due_s = self._core.now_s if stream else self._core.now_s + T4_S
            self._core.policy_of(relay).on_acknowledged(relay)
            self.rearm(relay)

    # -- time ------------------------------------------------------------------------------------------------------------------

    def rearm(self, relay: Relay) -> None:
        """Have the wheel call back when the relay's next deadline comes."""
        due_s = relay.next_due_s()
        if due_s < relay.armed_s:
            relay.armed_s = due_s
            self._core.wheel.add(due_s, relay)

    def expire(self, relay: Relay) -> None:
        """Everything of a relay that is due."""
        now_s = self._core.now_s
        if relay.dead or relay.armed_s > now_s:
            return  # an entry that a nearer one replaced
        relay.armed_s = NEVER
        if relay.resend_s <= now_s:
            self._core.send(relay.socket, relay.last, relay.address)
            relay.interval_s = min(2 * relay.interval_s, T2_S)
            relay.resend_s = now_s + relay.interval_s
        if relay.server_due_s <= now_s:
            relay.state = t.IS_ENDED if relay.invite else t.NS_ENDED
            relay.server_due_s = relay.resend_s = NEVER
        for attempt in tuple(relay.attempts):
            if attempt.deadline_s <= now_s:
                self._deadline(relay, attempt)
                continue
            if attempt.cancel_resend_s <= now_s:
                self._resend_cancel(attempt)
            if attempt.resend_s <= now_s:
                self._resend(relay, attempt)
        if not self.bury_if_over(relay):
            self.rearm(relay)

    def bury_if_over(self, relay: Relay) -> bool:
        """Forget a relay of which nothing can come any more."""
        if relay.state != (t.IS_ENDED if relay.invite else t.NS_ENDED):
            return False
        for attempt in relay.attempts:
            if attempt.state != t.IC_ENDED:
                return False
        core = self._core
        relay.dead = True
        table = core.invites if relay.invite else core.others
        if table.get(relay.key) is relay:
            del table[relay.key]
        if relay.socket >= FLOW_BASE:
            core.leave_flow(relay)
        core.policy_of(relay).on_ended(relay)
        relay.attempts = []
        return True

    def _resend(self, relay: Relay, attempt: Attempt) -> None:
        core = self._core
        core.send(attempt.socket, attempt.wire, attempt.address)
        core.count("retransmissions")
        attempt.interval_s *= 2
        if not relay.invite and (attempt.interval_s > T2_S or attempt.state == t.NC_PROCEEDING):
            attempt.interval_s = T2_S
        attempt.resend_s = core.now_s + attempt.interval_s

    def _resend_cancel(self, attempt: Attempt) -> None:
        self._core.send(attempt.socket, attempt.cancel_wire, attempt.address)
        attempt.cancel_interval_s = min(2 * attempt.cancel_interval_s, T2_S)
        attempt.cancel_resend_s = self._core.now_s + attempt.cancel_interval_s

    def _deadline(self, relay: Relay, attempt: Attempt) -> None:
        policy = self._core.policy_of(relay)
        if attempt.flags & ABANDONED or attempt.state >= t.IC_COMPLETED:
            self.end_attempt(attempt)
            policy.on_gone(relay, attempt)
        elif attempt.flags & CANCEL_SENT:
            self.end_attempt(attempt)  # its CANCEL was never followed by a final response
            policy.on_stalled(relay, attempt)
        elif attempt.state == t.IC_CALLING:
            policy.on_silence(relay, attempt)
        else:
            policy.on_stalled(relay, attempt)

    def end_attempt(self, attempt: Attempt) -> None:
        """Forget a branch."""
        attempt.state = t.IC_ENDED
        attempt.wire = attempt.cancel_wire = b""
        attempt.deadline_s = attempt.resend_s = attempt.cancel_resend_s = NEVER
        core = self._core
        core.branches.pop(attempt.branch, None)
        if core.is_stream(attempt.socket):
            core.leave_stream(attempt)

    def has_progressed(self, relay: Relay) -> bool:
        """Whether any attempt has brought more than 100: then the search is over (CALLS 1.7)."""
        return any(attempt.flags & PROGRESSED for attempt in relay.attempts)
