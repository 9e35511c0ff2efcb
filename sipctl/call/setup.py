"""Calls that begin: the INVITE that is routed, its search over targets, and what its caller hears (CALLS 1.3–1.8).

Theory. One `SetUp` per INVITE transaction. It searches through `arranged` targets one at a time; only silence, a failed send, a
listed status or a lack of progress moves it on, and only while nothing but 100 has come back. What it leaves behind are
abandoned attempts, which live on for 64·T1. The caller hears exactly one non-2xx final response, or one 2xx or more.

A leg that answers after its caller has heard a final refusal cannot be handed to anybody: RFC 3261 §16.7 would pass the 2xx on,
which a caller in Completed drops. We acknowledge it and end it (docs/decisions/0012).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final
from zlib import crc32

from sipctl.call import wire
from sipctl.call.admit import (
    Asked,
    LoopGuard,
    Refusal,
    check_request,
    choose_trunk,
    lines_of,
    max_forwards,
    read_asked,
    request_uri,
    untrusted_codes,
)  # fmt: skip
from sipctl.call.forward import FLOW_BASE
from sipctl.call.hops import route_lines
from sipctl.call.judging import FLAG_TRIAL
from sipctl.call.records import SETUPS, Base, KeptEdit
from sipctl.call.relay import (
    ABANDONED,
    ANSWERED,
    CANCEL_SENT,
    CANCELLED,
    FINAL_SENT,
    NEVER,
    OF_CANARY,
    PROGRESSED,
    SETTLED,
    TRIAL,
    Attempt,
    Relay,
    SetUp,
)  # fmt: skip
from sipctl.call.rewrite import Forged, edit_for, forged_of
from sipctl.call.verdicts import CALL_FAILED
from sipctl.errors import SipSyntaxError
from sipctl.model.outcomes import BUSINESS_CAUSES, CallOutcome, outcome_of_status
from sipctl.routing.counts import is_over
from sipctl.routing.groups import over_limit
from sipctl.routing.resolve import NoRoute, Route, resolve
from sipctl.routing.rewrite import Edit, called_form, edited
from sipctl.routing.select import MAX_ATTEMPTS, TRIAL_NO_REPLY_S, Target, arrange
from sipctl.routing.snapshot import Admin, Operating
from sipctl.sip import transactions as t
from sipctl.sip.headers import parse_contacts, parse_reasons, parse_retry_after
from sipctl.sip.message import CALL_ID, CONTACT, MAX_FORWARDS, REASON, RETRY_AFTER, ROUTE, VIA, Message, parse
from sipctl.sip.timers import TIMER_C_S
from sipctl.sip.uri import SipUri

if TYPE_CHECKING:
    from sipctl.call.core import Core
    from sipctl.routing.join import Party, RoutingSnapshot

NEXT_NO_REPLY_S: Final = 0.5  # every target after the first waits so long
LAST_NO_REPLY_S: Final = 2.0  # the last one, after which there is nobody to turn to, waits for a third transmission
TRIAL_EVERY_S: Final = 1.0
MIN_REST_S: Final = 1.0
MAX_REST_S: Final = 60.0
MAX_SETUPS: Final = 20_000  # INVITE transactions open at once; beyond it new calls are shed (own overload)
MAX_SETTLED_RECORDS: Final = SETUPS // 2  # in use, beyond which an answered call gives its set-up record back at once
_TRANSPORT_ERROR: Final = 1  # Attempt.status where no SIP status was heard (call/events.py)


class SetUps:
    """Policy of calls that begin."""

    __slots__ = ("_core", "_forged", "_loops", "_sole", "_untrusted")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._loops = LoopGuard()
        self._untrusted: dict[int, tuple[int, ...]] = {}  # by trunk index of the snapshot
        self._forged: Forged | None = None  # headers of the plan's own that callers may not send; None: it has none
        self._sole: dict[tuple[int, ...], int] = {}  # trunks of a source → the trunk, where nothing in a message decides it

    def on_swap(self) -> None:
        """Another snapshot: trunks may be trusted otherwise."""
        self._untrusted.clear()
        self._sole.clear()
        assert self._core.snapshot is not None
        self._forged = forged_of(self._core.snapshot)

    # -- an INVITE outside a dialog --------------------------------------------------------------------------------------------

    def begin(self, message: Message, up: wire.Upstream, party: Party, socket: int, address: tuple[str, int]) -> None:
        """Route a new call, or refuse it."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        call_id, from_tag = message.value(CALL_ID), message.from_tag()
        cdr_id = cdr_id_of(call_id, from_tag, up.key)
        if cdr_id in core.ledger.by_cdr:
            core.count("invites_of_answered_calls")  # its 2xx is on its way again from the SBC; nothing to do for us
            return
        refusal = self._admit(message, party)
        if refusal is not None:
            self._refuse(message, up, socket, address, refusal, by_plan=not party.trunks)
            return
        trunk = self._sole.get(party.trunks, -1)
        if trunk < 0:
            trunk = self._choose_trunk(party, snapshot, socket, message)
        if trunk < 0:
            self._refuse(message, up, socket, address, Refusal(403, 21, "no trunk of this source matches"), by_plan=True)
            return
        sender = snapshot.trunks[trunk]
        asked = read_asked(message, sender)
        if isinstance(asked, Refusal):
            self._refuse(message, up, socket, address, asked, by_plan=True)
            return
        core.note_invite(sender.id)
        if party.sbc is not None and self._loops.is_loop(party.sbc, asked.caller, asked.dialled, core.now_s):
            core.count("loops")
            self._refuse(message, up, socket, address, Refusal(482, 25, "the same call came again and again"), by_plan=True)
            return
        if not asked.priority and (core.is_shedding or len(core.invites) >= MAX_SETUPS):
            self._shed(message, up, socket, address)
            return
        if not asked.priority and snapshot.node_admin != Admin.ENABLED:
            retry = b"Retry-After: %d" % _spread(up.key)
            self._refuse(message, up, socket, address, Refusal(503, 42, "this node takes no new calls", retry))
            return
        unix_s = core.now_s + core.unix_minus_mono_s
        route = resolve(
            snapshot, core.live, trunk, asked.dialled, asked.phone_context, asked.share_key, core.now_s, asked.priority, unix_s
        )
        relay = SetUp(up.key, socket, (up.host, up.port), asked)
        self._prepare(relay, message, up, cdr_id, call_id, from_tag)
        relay.trunk_id = int(sender.id)
        if isinstance(route, NoRoute):
            if route.entry_point is not None:
                relay.entry_id = int(snapshot.entry_points[route.entry_point].id)
            if route.limit is not None:
                core.count("limit_" + route.limit)
            self._end_unrouted(relay, route.status, route.cause, route.reason)
            return
        self._start(relay, route, message, trunk)

    def _admit(self, message: Message, party: Party) -> Refusal | None:
        if not party.trunks:
            return Refusal(403, 21, "this source is no trunk")
        refusal = check_request(message, max_forwards(message))
        if refusal is None and ROUTE in message.at and self._core.dialogs.hops.has_foreign_route(message):
            refusal = Refusal(403, 21, "a Route that is not ours")
        return refusal

    def _choose_trunk(self, party: Party, snapshot: RoutingSnapshot, socket: int, message: Message) -> int:
        """Index of the trunk this INVITE came by, -1 if none matches; remembered where nothing in a message decides it."""
        if len(party.trunks) == 1 and not snapshot.trunks[party.trunks[0]].match.conditions:
            self._sole[party.trunks] = party.trunks[0]
        trunk = choose_trunk(party.trunks, snapshot.trunks, self._core.listen_of(socket), message)
        return -1 if trunk is None else trunk

    def _prepare(self, relay: SetUp, message: Message, up: wire.Upstream, cdr_id: bytes, call_id: bytes, from_tag: bytes) -> None:
        core = self._core
        relay.message = message
        relay.call_id, relay.from_tag = call_id, from_tag
        relay.via = up.line
        relay.cdr_id = cdr_id
        relay.start_s = core.now_s
        relay.start_unix_s = core.now_s + core.unix_minus_mono_s
        core.invites[up.key] = relay
        if core.canary is not None:
            core.canary.claim(relay)
        if relay.socket >= FLOW_BASE:
            core.enter_flow(relay)

    def _start(self, relay: SetUp, route: Route, message: Message, trunk: int) -> None:
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        relay.route, relay.routed_in = route, snapshot
        relay.arranged = arrange(route, core.live, core.now_s).targets
        relay.entry_id = int(snapshot.entry_points[route.entry_point].id)
        relay.tenant_id = int(snapshot.tenants[relay.arranged[0][0].tenant].id)
        relay.rest = self.rest_of(message, relay.via, trunk)
        core.live.note_new_call(trunk, core.now_s)
        if core.canary is not None:
            core.canary.note_new_call(relay.trunk_id, core.now_s)
        core.ledger.count_in(relay)
        if core.shared is not None and not relay.asked.priority and is_over(
            snapshot, core.live, trunk, route.entry_point, relay.arranged[0][0].tenant
        ):  # fmt: skip
            self._outrun(relay, route, trunk)
            return
        relay.record = core.records.open_setup(Base(
            message.data, core.listen_socket(relay.socket), relay.address[0], relay.address[1], relay.trunk_id, relay.entry_id,
            relay.tenant_id, relay.start_s, relay.start_unix_s, relay.cdr_id,
        ))  # fmt: skip
        if relay.record < 0:
            core.count("setups_without_record")
            core.alarm(
                "setup-records-full", "set-up records are full or an INVITE was too long: such calls do not survive a crash"
            )
        self.search_on(relay)
        if relay.state == t.IS_PROCEEDING and not relay.status:
            core.forwarder.respond(relay, 100, wire.reply(message, relay.via, 100))
        core.forwarder.rearm(relay)

    def _outrun(self, relay: SetUp, route: Route, trunk: int) -> None:
        """Another router let a call in at the same instant: this one is too many."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        tenant = relay.arranged[0][0].tenant
        full = over_limit(snapshot, core.live, trunk, route.entry_point, tenant, core.now_s)
        assert full is not None
        core.count(f"limit_{full.limit}")
        self._end_unrouted(relay, full.status, full.cause, full.reason)

    def rest_of(self, message: Message, via: bytes, trunk: int) -> bytes:
        """The INVITE from its sender's Via on, as every attempt carries it."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        lines = message.lines.copy()
        at = message.at
        upstream = at[VIA]
        lines[upstream] = via
        hops = max_forwards(message) - 1
        if MAX_FORWARDS in at:
            lines[at[MAX_FORWARDS]] = b"Max-Forwards: %d" % hops
        codes = self._untrusted.get(trunk)
        if codes is None:
            codes = self._untrusted[trunk] = untrusted_codes(snapshot.trunks[trunk])
        drop = lines_of(message, codes)
        if ROUTE in at:
            drop += route_lines(message)
        if self._forged is not None:
            drop += self._forged.lines(message)
        if drop:
            for index in sorted(drop, reverse=True):
                del lines[index]
        if MAX_FORWARDS not in at:
            lines.append(b"Max-Forwards: %d" % hops)
        return b"\r\n".join(lines) + b"\r\n\r\n" + message.body

    # -- refusing --------------------------------------------------------------------------------------------------------------

    def _refuse(
        self, message: Message, up: wire.Upstream, socket: int, address: tuple[str, int], refusal: Refusal, by_plan: bool = False
    ) -> None:  # fmt: skip
        """Answer an INVITE that was not looked up: it leaves no call record.

        Args:
            by_plan: another plan might have taken it, so a canary is compared by it too.
        """
        core = self._core
        relay = SetUp(up.key, socket, (up.host, up.port), _NOBODY)
        self._prepare(relay, message, up, b"", message.value(CALL_ID), message.from_tag())
        relay.searching = False
        if by_plan and core.canary is not None:
            core.canary.ended(relay, CALL_FAILED)
        extra = [wire.reason_line(refusal.cause, text=refusal.text.encode())]
        if refusal.extra:
            extra.append(refusal.extra)
        core.count(f"refused_{refusal.status}")
        core.forwarder.respond(
            relay, refusal.status, wire.reply(message, relay.via, refusal.status, to_tag=core.tag_for(relay), extra=extra)
        )
        relay.flags |= FINAL_SENT
        core.forwarder.rearm(relay)

    def _shed(self, message: Message, up: wire.Upstream, socket: int, address: tuple[str, int]) -> None:
        """Stateless 503 with a Retry-After that spreads the comers-back over 1–10 s (CALLS 1.6)."""
        core = self._core
        core.count("shed")
        extra = [b"Retry-After: %d" % _spread(up.key), wire.reason_line(42)]
        core.send(socket, wire.reply(message, up.line, 503, to_tag=core.own_tag(up.key), extra=extra), (up.host, up.port))

    def _end_unrouted(self, relay: SetUp, status: int, cause: int, reason: str) -> None:
        core = self._core
        relay.searching = False
        assert relay.message is not None
        extra = (wire.reason_line(cause, text=reason.encode("ascii", "replace").replace(b'"', b"'")),)
        self._final(
            relay,
            status,
            wire.reply(relay.message, relay.via, status, to_tag=core.tag_for(relay), extra=extra),
            "refused",
            cause,
            reason,
        )
        core.forwarder.rearm(relay)

    # -- searching -------------------------------------------------------------------------------------------------------------

    def search_on(self, relay: SetUp) -> None:
        """Launch the next attempt, or tell the caller that there is none."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        if relay.route is None or relay.routed_in is not snapshot:
            self._route_again(relay)
        chosen = self._next_target(relay)
        if chosen is None:
            self._exhausted(relay)
            return
        target, trial = chosen
        self._launch(relay, target, trial)

    def _next_target(self, relay: SetUp) -> tuple[Target, bool] | None:
        """The next in order; after the first, one whose state has become bad since only if nothing better is left."""
        left = relay.arranged
        if not left or len(relay.attempts) >= MAX_ATTEMPTS:
            return None
        pick = 0
        if relay.attempts:
            pick = next((number for number, (target, trial) in enumerate(left) if trial or not self._is_bad(target)), 0)
        relay.arranged = left[:pick] + left[pick + 1 :]
        return left[pick]

    def _is_bad(self, target: Target) -> bool:
        live, sbc = self._core.live, target.sbc
        resting = live.resting_until_s[sbc] > self._core.now_s
        return resting or live.suspect[sbc] or live.operating[sbc] == Operating.OUT_OF_SERVICE

    def _route_again(self, relay: SetUp) -> None:
        """The snapshot has changed since this call was routed, or a dead router routed it: search on in the plan of today."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        relay.arranged = ()
        trunk = snapshot.trunk_by_id.get(relay.trunk_id)
        if trunk is None:
            relay.route = None
            return
        asked = relay.asked
        core.ledger.count_out(relay)  # it must not stand in its own way
        began = relay.start_unix_s  # hours are judged once: by when it came
        route = resolve(
            snapshot, core.live, trunk, asked.dialled, asked.phone_context, asked.share_key, core.now_s, asked.priority, began
        )
        core.ledger.count_in(relay)
        if isinstance(route, NoRoute):
            relay.route = None
            return
        relay.route, relay.routed_in = route, snapshot
        tried = {attempt.sbc_id for attempt in relay.attempts}
        arranged = arrange(route, core.live, core.now_s).targets
        relay.arranged = tuple((target, trial) for target, trial in arranged if int(snapshot.sbcs[target.sbc].id) not in tried)

    def _launch(self, relay: SetUp, target: Target, trial: bool) -> None:
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None and relay.route is not None
        live, now_s = core.live, core.now_s
        sbc = snapshot.sbcs[target.sbc]
        tenant_id = int(snapshot.tenants[target.tenant].id)
        called = relay.route.called[target.side]
        if target.leaving is not None:
            called = called_form(target.leaving, called)
        socket = core.socket_of_listen[target.listen]
        branch = core.branch(relay.key, b"INVITE", target_code(target), relay.address, relay.socket)
        attempt = Attempt(branch, socket, (target.host, target.port), target)
        attempt.sbc_id, attempt.tenant_id = int(sbc.id), tenant_id
        attempt.uri = request_uri(relay.asked, called, target.uri_host, target.uri_params, target.called_prefix, target.transport)
        attempt.via = core.via_start[socket] + branch
        if relay.revision:
            attempt.flags |= OF_CANARY
        edit = None if target.leaving is None else edit_for(snapshot, relay, relay.route, target, attempt.uri)
        data = self._invite_for(relay, attempt, edit)
        wait_s = min(target.no_reply_s, NEXT_NO_REPLY_S) if relay.attempts else target.no_reply_s
        if trial:
            attempt.flags |= TRIAL
            live.trial_due_s[target.sbc] = now_s + TRIAL_EVERY_S
            core.flag(FLAG_TRIAL, attempt.sbc_id, now_s + TRIAL_EVERY_S)
            wait_s = TRIAL_NO_REPLY_S
        elif not relay.arranged or len(relay.attempts) + 1 >= MAX_ATTEMPTS:
            wait_s = max(wait_s, LAST_NO_REPLY_S)
        if relay.tenant_id != tenant_id:
            core.ledger.move(relay, tenant_id)
        core.ledger.enter_sbc(attempt)
        number = len(relay.attempts)
        if edit is not None and relay.record >= 0 and not core.records.write_edit(relay.record, number, relay.rest, edit):
            core.count("edits_without_record")
        self.write_attempt(relay, attempt, number, now_s + wait_s)
        core.forwarder.launch(relay, attempt, data, now_s + wait_s)
        core.count("attempts")

    def _invite_for(self, relay: SetUp, attempt: Attempt, edit: Edit | None) -> bytes:
        """The INVITE of one attempt: our Via, our Record-Route with its token, and the rest as it came but for an edit."""
        core = self._core
        token = core.ring.sign(
            relay.trunk_id, attempt.tenant_id, attempt.sbc_id, int(relay.start_unix_s), core.slot, relay.call_id, relay.from_tag
        )  # fmt: skip
        record_route = core.record_route(token, core.listen_socket(relay.socket), attempt.socket)
        rest = relay.rest if edit is None else edited(relay.rest, edit)
        return b"".join((b"INVITE ", attempt.uri, b" SIP/2.0\r\n", attempt.via, b"\r\n", record_route, b"\r\n", rest))

    def restore_lines(self, relay: SetUp, attempt: Attempt, kept: KeptEdit | None) -> None:
        """After adoption: what the attempt's requests are made of, as the dead router had made them.

        An INVITE whose edit is not in the record is not made anew: the target would see another one under the same branch.
        """
        attempt.via = wire.via_line(self._core.sockets[attempt.socket], attempt.branch)
        if not attempt.uri or not relay.rest or attempt.state != t.IC_CALLING:
            return
        if kept is not None and kept.number == relay.attempts.index(attempt):
            if kept.rest_crc == crc32(relay.rest):
                attempt.wire = self._invite_for(relay, attempt, kept.edit)
        elif attempt.target is None or attempt.target.leaving is None:
            attempt.wire = self._invite_for(relay, attempt, None)

    def _exhausted(self, relay: SetUp) -> None:
        """No target is left: the best answer heard, or the trunk's `exhausted` code if there were only failures (CALLS 1.7)."""
        relay.searching = False
        if relay.best and not (relay.best_status == 408 or 500 <= relay.best_status < 600):
            self._final(relay, relay.best_status, relay.best, "refused", 0, "")
            return
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None and relay.message is not None
        trunk = snapshot.trunk_by_id.get(relay.trunk_id)
        status = 503 if trunk is None else snapshot.trunks[trunk].exhausted
        reason = "every target failed"
        extra = (wire.reason_line(wire.CAUSES.get(status, 41), text=reason.encode()),)
        data = wire.reply(relay.message, relay.via, status, to_tag=core.tag_for(relay), extra=extra)
        self._final(relay, status, data, "sipctl", 41, reason)

    # -- what targets say ------------------------------------------------------------------------------------------------------

    def on_provisional(self, relay: Relay, attempt: Attempt, status: int, data: bytes) -> None:
        assert isinstance(relay, SetUp)
        core = self._core
        self._heard(attempt)
        if status == 100:
            if not attempt.flags & PROGRESSED:
                target = attempt.target
                attempt.deadline_s = attempt.started_s + (target.no_progress_s if target is not None else 6.0)
                self.note(relay, attempt)
                core.forwarder.rearm(relay)
            return
        first = not attempt.flags & PROGRESSED
        attempt.flags |= PROGRESSED
        attempt.deadline_s = core.now_s + TIMER_C_S
        if first:
            if not relay.ring_unix_s:
                relay.ring_unix_s = core.now_s + core.unix_minus_mono_s
            core.call_judge.on_call(
                attempt.sbc_id, CallOutcome.PASSED, crc32(relay.asked.share_key), core.now_s, attempt.started_s
            )
            self.note(relay, attempt)
        core.forwarder.respond(relay, status, data)
        if relay.armed_s == NEVER:
            core.forwarder.rearm(relay)

    def on_answer(self, relay: Relay, attempt: Attempt, status: int, raw: bytes, data: bytes) -> None:
        assert isinstance(relay, SetUp)
        core = self._core
        if relay.flags & FINAL_SENT:
            self._end_late_leg(relay, attempt, parse(raw))
            self.note(relay, attempt)
            core.forwarder.rearm(relay)
            return
        self._heard(attempt)
        first = not relay.flags & ANSWERED
        core.forwarder.respond(relay, status, data)
        if first:
            relay.flags |= ANSWERED
            relay.searching = False
            core.call_judge.on_call(
                attempt.sbc_id, CallOutcome.ANSWERED, crc32(relay.asked.share_key), core.now_s, attempt.started_s
            )
            if attempt.told:  # given up before, and answered all the same
                core.ledger.enter_sbc(attempt)
            self._tell_attempt(relay, attempt, "answered")
            if relay.tenant_id != attempt.tenant_id:
                core.ledger.move(relay, attempt.tenant_id)
            core.ledger.answer(relay, attempt, raw)
            for other in relay.attempts:
                if other is not attempt and other.state < t.IC_COMPLETED:
                    core.forwarder.cancel(relay, other)
                    if not other.told:
                        self._tell_attempt(relay, other, "cancelled")
                        core.ledger.leave_sbc(other)
                    core.forwarder.abandon(relay, other)
            if len(relay.attempts) == 1:
                relay.message = None
                relay.rest = relay.last = b""
        if first or not attempt.flags & SETTLED:
            attempt.flags |= SETTLED
            self.settle_record(relay)
        core.forwarder.rearm(relay)

    def on_refusal(self, relay: Relay, attempt: Attempt, message: Message, data: bytes) -> None:
        assert isinstance(relay, SetUp)
        core = self._core
        self._heard(attempt)
        status = message.status
        cause = _q850(message)
        rest_s = self._rest_asked(message) if status == 503 else None
        if not relay.flags & CANCELLED or status != 487:
            outcome = outcome_of_status(status, has_retry_after=rest_s is not None, q850=cause)
            core.call_judge.on_call(attempt.sbc_id, outcome, crc32(relay.asked.share_key), core.now_s, attempt.started_s)
        if rest_s is not None:
            core.rest(attempt.sbc_id, core.now_s + rest_s)
        self._tell_attempt(relay, attempt, "cancelled" if relay.flags & CANCELLED else "refused", rest_s or 0.0)
        core.ledger.leave_sbc(attempt)
        self.note(relay, attempt)
        if 300 <= status < 400:
            status, data = self._redirected(relay, message)
            if status == 0:
                core.forwarder.rearm(relay)
                return
        if not relay.flags & (CANCELLED | ANSWERED | FINAL_SENT):
            listed = attempt.target is not None and status in attempt.target.advance_on and cause not in BUSINESS_CAUSES
            if listed and relay.searching and not core.forwarder.has_progressed(relay):
                self._keep_best(relay, status, data)
                self.search_on(relay)
            elif listed and (status == 408 or status >= 500):
                self._keep_best(relay, status, data)
                self._exhausted(relay)
            else:
                relay.searching = False
                self._final(relay, status, data, "refused", cause or 0, "")
        elif relay.flags & CANCELLED and not relay.flags & FINAL_SENT:
            self._final(relay, status, data, "cancelled", cause or 16, "")
        core.forwarder.rearm(relay)

    def on_silence(self, relay: Relay, attempt: Attempt) -> None:
        """Nothing at all came within `no_reply`."""
        assert isinstance(relay, SetUp)
        core = self._core
        core.call_judge.on_call(attempt.sbc_id, CallOutcome.NO_REPLY, crc32(relay.asked.share_key), core.now_s, attempt.started_s)
        core.suspect(attempt.sbc_id)
        self._give_up(relay, attempt, "no-reply", advance=attempt.target is None or attempt.target.advance_on_no_reply)

    def on_stalled(self, relay: Relay, attempt: Attempt) -> None:
        """100 and then nothing within `no_progress`; or timer C; or no final response to our CANCEL."""
        assert isinstance(relay, SetUp)
        core = self._core
        if relay.flags & CANCELLED:
            if not attempt.told:
                self._tell_attempt(relay, attempt, "cancelled")
                core.ledger.leave_sbc(attempt)
                self.note(relay, attempt)
            self.terminate(relay)
            return
        progressed = bool(attempt.flags & PROGRESSED)
        if not progressed:
            core.call_judge.on_call(
                attempt.sbc_id, CallOutcome.NO_PROGRESS, crc32(relay.asked.share_key), core.now_s, attempt.started_s
            )
        core.forwarder.cancel(relay, attempt)
        advance = not progressed and (attempt.target is None or attempt.target.advance_on_no_progress)
        self._give_up(relay, attempt, "no-progress", advance=advance)

    def on_unreachable(self, relay: Relay, attempt: Attempt) -> None:
        """ICMP, a refused or a timed-out connection (CALLS 1.7)."""
        assert isinstance(relay, SetUp)
        core = self._core
        if attempt.state != t.IC_CALLING or attempt.flags & ABANDONED:
            return
        attempt.status = _TRANSPORT_ERROR
        core.call_judge.on_call(
            attempt.sbc_id, CallOutcome.TRANSPORT_ERROR, crc32(relay.asked.share_key), core.now_s, attempt.started_s
        )
        core.suspect(attempt.sbc_id)
        self._give_up(relay, attempt, "transport-error", advance=True)
        core.forwarder.rearm(relay)

    def on_acknowledged(self, relay: Relay) -> None:
        """The caller has heard the refusal: a successor need not repeat it."""
        assert isinstance(relay, SetUp)
        self.write_server(relay)

    def on_gone(self, relay: Relay, attempt: Attempt) -> None:
        """An attempt given up was told and left when it was given up."""

    def on_ended(self, relay: Relay) -> None:
        assert isinstance(relay, SetUp)
        if relay.record >= 0:
            self._core.records.close_setup(relay.record)
            relay.record = -1
        if relay.counted and not relay.flags & ANSWERED:
            self._core.ledger.count_out(relay)
        relay.route = relay.routed_in = None
        relay.arranged = ()

    def _give_up(self, relay: SetUp, attempt: Attempt, outcome: str, *, advance: bool) -> None:
        core = self._core
        self._tell_attempt(relay, attempt, outcome)
        core.ledger.leave_sbc(attempt)
        core.forwarder.abandon(relay, attempt)
        self.note(relay, attempt)
        if relay.flags & (ANSWERED | FINAL_SENT):
            return
        if relay.flags & CANCELLED:
            self.terminate(relay)
        elif advance and relay.searching and not core.forwarder.has_progressed(relay):
            self.search_on(relay)
        elif attempt.flags & PROGRESSED:  # timer C
            relay.searching = False
            assert relay.message is not None
            data = wire.reply(relay.message, relay.via, 408, to_tag=core.tag_for(relay), extra=(wire.reason_line(102),))
            self._final(relay, 408, data, "sipctl", 102, "timer C")
        else:
            self._exhausted(relay)

    # -- the caller gives up ---------------------------------------------------------------------------------------------------

    def on_cancel(self, relay: SetUp) -> None:
        """CANCEL from upstream, already answered 200: stop the search; 487 at once if nothing had a provisional (CALLS 1.7)."""
        core = self._core
        if relay.state != t.IS_PROCEEDING or relay.flags & CANCELLED:
            return
        relay.flags |= CANCELLED
        relay.searching = False
        waiting = False
        for attempt in relay.attempts:
            if attempt.state < t.IC_COMPLETED:
                core.forwarder.cancel(relay, attempt)
                if attempt.flags & CANCEL_SENT and not attempt.flags & ABANDONED:
                    waiting = True
        self.write_server(relay)
        if not waiting:
            self.terminate(relay)
        core.forwarder.rearm(relay)

    def terminate(self, relay: SetUp) -> None:
        """487 to a caller who gave up."""
        if relay.flags & (FINAL_SENT | ANSWERED):
            return
        core = self._core
        for attempt in relay.attempts:
            if attempt.state < t.IC_COMPLETED and not attempt.flags & ABANDONED:
                self._tell_attempt(relay, attempt, "cancelled")
                core.ledger.leave_sbc(attempt)
                core.forwarder.abandon(relay, attempt)
                self.note(relay, attempt)
        assert relay.message is not None
        data = wire.reply(relay.message, relay.via, 487, to_tag=core.tag_for(relay), extra=(wire.reason_line(16),))
        self._final(relay, 487, data, "cancelled", 16, "the caller gave up")

    # -- the end of the search -------------------------------------------------------------------------------------------------

    def _final(self, relay: SetUp, status: int, data: bytes, by: str, cause: int, reason: str) -> None:
        """The one non-2xx final response the caller hears."""
        assert not relay.flags & (FINAL_SENT | ANSWERED)
        core = self._core
        relay.flags |= FINAL_SENT
        relay.searching = False
        core.forwarder.respond(relay, status, data)
        core.ledger.count_out(relay)
        core.ledger.refused(relay, status, by, cause, reason)
        if relay.record >= 0:
            core.records.write_server(
                relay.record, relay.state, relay.flags, status, len(relay.attempts), relay.server_due_s, relay.ring_unix_s, data
            )
        relay.best = b""

    def _keep_best(self, relay: SetUp, status: int, data: bytes) -> None:
        """RFC 3261 §16.7 step 6: a 6xx, else the lowest class."""
        better = not relay.best or (status >= 600) or (relay.best_status < 600 and status // 100 < relay.best_status // 100)
        if better:
            relay.best, relay.best_status = data, status

    def _redirected(self, relay: SetUp, message: Message) -> tuple[int, bytes]:
        """Follow a 3xx to a configured SBC of the same tenant; (0, b"") if followed, else the 480 that stands for it."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None and relay.message is not None
        if relay.searching and not core.forwarder.has_progressed(relay) and relay.route is not None and CONTACT in message.at:
            for host, port in _contacts(message):
                for target in (*relay.route.targets, *relay.route.crossing):
                    sbc_id = int.from_bytes(target.key[:4], "big")
                    if (target.host, target.port) == (host, port) and all(a.sbc_id != sbc_id for a in relay.attempts):
                        relay.arranged = ((target, False), *relay.arranged)
                        self.search_on(relay)
                        return 0, b""
        return 480, wire.reply(relay.message, relay.via, 480, to_tag=core.tag_for(relay), extra=(wire.reason_line(23),))

    def _end_late_leg(self, relay: SetUp, attempt: Attempt, message: Message) -> None:
        """ACK a leg that answered after the caller heard a refusal; BYE it once."""
        core = self._core
        core.count("late_answers_ended")
        if relay.message is not None:
            core.dialogs.end_leg(relay.message, attempt, message)

    def _heard(self, attempt: Attempt) -> None:
        """Any reply to an INVITE shows that its SBC takes them."""
        self._core.trust(attempt.sbc_id)

    def _rest_asked(self, message: Message) -> float | None:
        if RETRY_AFTER not in message.at:
            return None
        try:
            asked_s = parse_retry_after(message.value(RETRY_AFTER)).delay_s
        except SipSyntaxError:
            return None
        return min(max(float(asked_s), MIN_REST_S), MAX_REST_S)

    # -- records and events ----------------------------------------------------------------------------------------------------

    def note(self, relay: Relay, attempt: Attempt) -> None:
        """Note in the record where an attempt stands now."""
        assert isinstance(relay, SetUp)
        if relay.record >= 0:
            number = relay.attempts.index(attempt)
            if number < MAX_ATTEMPTS:
                self._core.records.move_attempt(
                    relay.record, number, attempt.state, attempt.flags, attempt.status, attempt.deadline_s
                )  # fmt: skip

    def write_attempt(self, relay: SetUp, attempt: Attempt, number: int, deadline_s: float) -> None:
        target = attempt.target
        if relay.record < 0 or number >= MAX_ATTEMPTS:
            return
        way = 0 if target is None else int.from_bytes(target.key[4:], "big")
        self._core.records.write_attempt(
            relay.record, number, attempt.state, attempt.flags, attempt.status, way, attempt.sbc_id, attempt.tenant_id,
            attempt.socket, attempt.address[0], attempt.address[1], attempt.started_s or self._core.now_s, deadline_s,
            attempt.branch, attempt.uri,
        )  # fmt: skip

    def write_server(self, relay: SetUp) -> None:
        if relay.record >= 0:
            self._core.records.write_server(
                relay.record, relay.state, relay.flags, relay.status, len(relay.attempts), relay.server_due_s, relay.ring_unix_s
            )

    def settle_record(self, relay: SetUp) -> None:
        """After the answer: the small record stands for the call; the big one only serves attempts that may still speak.

        Also one that was refused may: its SBC repeats the refusal until it hears an ACK, which a successor would have to send.
        That much is kept only while there is room.
        """
        if relay.record < 0:
            return
        over = all(a.state in (t.IC_ACCEPTED, t.IC_ENDED) or a.state == t.IC_COMPLETED for a in relay.attempts)
        if over and (len(relay.attempts) == 1 or self._core.records.setups_in_use > MAX_SETTLED_RECORDS):
            self._core.records.close_setup(relay.record)
            relay.record = -1
        else:
            for attempt in relay.attempts:
                self.note(relay, attempt)
            self.write_server(relay)

    def _tell_attempt(self, relay: SetUp, attempt: Attempt, outcome: str, retry_after_s: float = 0.0) -> None:
        if not attempt.told:
            attempt.told = True
            self._core.ledger.attempted(relay, attempt, relay.attempts.index(attempt) + 1, outcome, retry_after_s)


_NOBODY: Final = Asked("", None, "", b"", "", b"", b"", False)


def cdr_id_of(call_id: bytes, from_tag: bytes, key: bytes) -> bytes:
    """Eight octets for a call, from its INVITE or any response to it and the caller's transaction."""
    return blake2b(call_id + b"\0" + key + from_tag, digest_size=8).digest()


def _spread(key: bytes) -> int:
    """Seconds after which a refused caller may come back: 1 to 10, the same for the same request."""
    return 1 + crc32(key) % 10


def target_code(target: Target) -> bytes:
    """The target's part of our branch."""
    return b"%08x" % crc32(target.key)


def _q850(message: Message) -> int | None:
    if REASON not in message.at:
        return None
    try:
        reasons = [reason for value in message.values(REASON) for reason in parse_reasons(value)]
    except SipSyntaxError:
        return None
    for reason in reasons:
        if reason.protocol.upper() == b"Q.850":
            return reason.cause
    return None


def _contacts(message: Message) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for value in message.values(CONTACT):
        try:
            contacts = parse_contacts(value)
        except SipSyntaxError:
            continue
        if contacts == b"*":
            continue
        for contact in contacts:
            if not isinstance(contact, bytes | int) and isinstance(contact.uri, SipUri):
                found += [(contact.uri.host.decode("latin-1").strip("[]"), contact.uri.port or 5060)]
    return found
