"""A successor takes over: set-up records become relays again, answered records become calls again (CALLS 1.8).

What comes back is driven by the same code as before the crash: an attempt that waited for a reply is sent again under its own
branch, so its target sees a retransmission; an abandoned or cancelled one goes on being swallowed and cancelled; a final
response that was sent is repeated until its ACK. Deadlines are instants on the host's clock, so time that passed meanwhile
counts, but nobody is given up for silence while nobody listened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipctl.call import wire
from sipctl.call.admit import Asked, Refusal, read_asked
from sipctl.call.forward import GONE_S
from sipctl.call.records import AttemptRecord, KeptEdit, Setup
from sipctl.call.relay import (
    ABANDONED,
    ANSWERED,
    CANCEL_SENT,
    CANCELLED,
    FINAL_SENT,
    NEVER,
    PROVISIONAL,
    Attempt,
    SetUp,
)  # fmt: skip
from sipctl.errors import SipSyntaxError
from sipctl.routing.select import Target
from sipctl.sip import transactions as t
from sipctl.sip.message import CALL_ID, parse
from sipctl.sip.timers import T1_S

if TYPE_CHECKING:
    from sipctl.call.core import Core
    from sipctl.routing.join import RoutingSnapshot

ADOPTED_NO_REPLY_S = 1.0  # a target asked again is given this long, whatever had passed before


def adopt(core: Core) -> None:
    """Rebuild everything the memory holds, and send what is due."""
    snapshot = core.snapshot
    assert snapshot is not None
    targets = _targets_by_key(snapshot)
    canarys = {} if core.canary is None else _targets_by_key(core.canary.snapshot)
    core.ledger.adopt()
    adopted: list[tuple[SetUp, KeptEdit | None]] = []
    for setup in tuple(core.records.setups()):
        relay = _rebuild_whosever(core, snapshot, setup, targets, canarys)
        if relay is None:
            core.records.close_setup(setup.slot)
            core.count("setups_not_adopted")
        else:
            adopted.append((relay, setup.edit))
    core.ledger.recount([relay for relay, _ in adopted])
    for relay, edit in adopted:
        if core.canary is not None and core.canary.owns(relay):
            core.canary.enter_adopted()
            try:
                _go_on(core, relay, edit)
            finally:
                core.canary.leave_adopted()
        else:
            _go_on(core, relay, edit)
    core.counters["adopted_setups"] = len(adopted)
    core.counters["adopted_calls"] = len(core.ledger.calls)


def _rebuild_whosever(
    core: Core, snapshot: RoutingSnapshot, setup: Setup, targets: dict[bytes, Target], canarys: dict[bytes, Target]
) -> SetUp | None:  # fmt: skip
    """Rebuild a set-up in the revision that carried it, by that one's targets."""
    canary = core.canary
    if canary is not None:
        try:
            is_canarys = canary.had(setup, parse(setup.base.invite))
        except SipSyntaxError:
            return None
        if is_canarys:
            canary.enter_adopted()
            try:
                relay = _rebuild(core, canary.in_force(), setup, canarys)
            finally:
                canary.leave_adopted()
            if relay is not None:
                relay.revision = canary.revision
            return relay
    return _rebuild(core, snapshot, setup, targets)


def _rebuild(core: Core, snapshot: RoutingSnapshot, setup: Setup, targets: dict[bytes, Target]) -> SetUp | None:
    base, server = setup.base, setup.server
    try:
        message = parse(base.invite)
        up = wire.read_upstream(message, base.host, base.port)
    except SipSyntaxError:
        return None
    trunk = snapshot.trunk_by_id.get(base.trunk_id)
    asked: Asked | Refusal = Asked("", None, "", message.value(CALL_ID), "", b"", b"", False)
    if trunk is not None:
        read = read_asked(message, snapshot.trunks[trunk])
        asked = asked if isinstance(read, Refusal) else read
    if isinstance(asked, Refusal):
        return None
    relay = SetUp(up.key, base.socket, (base.host, base.port), asked)
    relay.message = message
    relay.call_id, relay.from_tag = message.value(CALL_ID), message.from_tag()
    relay.via = up.line
    relay.to_tag = core.own_tag(up.key)
    relay.cdr_id, relay.record = base.cdr_id, setup.slot
    relay.trunk_id, relay.entry_id, relay.tenant_id = base.trunk_id, base.entry_id, base.tenant_id
    relay.start_s, relay.start_unix_s = base.start_s, base.start_unix_s
    if trunk is not None:
        relay.rest = core.setups.rest_of(message, up.line, trunk)
    if server is not None:
        relay.flags, relay.status, relay.ring_unix_s = server.flags, server.status, server.ring_unix_s
        relay.state = server.state
        if server.state != t.IS_PROCEEDING:
            relay.server_due_s = server.due_s
    if base.cdr_id in core.ledger.by_cdr:  # answered, but killed before the set-up record said so
        relay.flags |= ANSWERED
        if relay.state == t.IS_PROCEEDING:
            relay.state, relay.server_due_s = t.IS_ACCEPTED, core.now_s + GONE_S
    if relay.flags & FINAL_SENT and server is not None:
        status = server.status or 487
        relay.last = server.final or wire.reply(message, up.line, status, to_tag=relay.to_tag, extra=(wire.reason_line(41),))
    relay.searching = not relay.flags & (CANCELLED | FINAL_SENT | ANSWERED)
    relay.counted = not relay.flags & (FINAL_SENT | ANSWERED)
    relay.attempts = [_attempt(core, record, targets) for record in setup.attempts]
    if relay.flags & ANSWERED:
        _mark_answered(core, relay)
    core.invites[relay.key] = relay
    for attempt in relay.attempts:
        if attempt.state != t.IC_ENDED:
            core.branches[attempt.branch] = relay
            if core.is_stream(attempt.socket):
                core.enter_stream(relay, attempt)
    return relay


def _mark_answered(core: Core, relay: SetUp) -> None:
    """The attempt that answered is the one its call's record names; the record counts for all of them."""
    number = core.ledger.by_cdr.get(relay.cdr_id)
    answered = None if number is None else core.records.answered(number)
    for attempt in relay.attempts:
        attempt.told = True
        if answered is not None and attempt.sbc_id == answered.sbc_id and attempt.state < t.IC_COMPLETED:
            attempt.state, attempt.deadline_s = t.IC_ACCEPTED, core.now_s + GONE_S


def _attempt(core: Core, record: AttemptRecord, targets: dict[bytes, Target]) -> Attempt:
    key = record.sbc_id.to_bytes(4, "big") + record.way.to_bytes(4, "big")
    attempt = Attempt(record.branch, record.socket, (record.host, record.port), targets.get(key))
    attempt.sbc_id, attempt.tenant_id = record.sbc_id, record.tenant_id
    attempt.state, attempt.flags, attempt.status, attempt.uri = record.state, record.flags, record.status, record.uri
    attempt.started_s = record.started_s
    attempt.started_unix_s = record.started_s + core.unix_minus_mono_s
    attempt.deadline_s = record.deadline_s
    attempt.told = bool(record.flags & ABANDONED) or record.state >= t.IC_COMPLETED
    return attempt


def _go_on(core: Core, relay: SetUp, edit: KeptEdit | None) -> None:
    """Send what a dead router may or may not have sent, and arm what it had armed."""
    if relay.state == t.IS_COMPLETED:
        core.send(relay.socket, relay.last, relay.address)
        if not core.is_stream(relay.socket):
            relay.interval_s, relay.resend_s = T1_S, core.now_s + T1_S
    for attempt in relay.attempts:
        _resume_attempt(core, relay, attempt, edit)
    live = [a for a in relay.attempts if a.state < t.IC_COMPLETED and not a.flags & ABANDONED]
    if relay.state == t.IS_PROCEEDING and not live:
        if relay.flags & CANCELLED:
            core.setups.terminate(relay)
        else:
            core.setups.search_on(relay)
    if relay.flags & ANSWERED:
        core.setups.settle_record(relay)
    core.forwarder.rearm(relay)


def _resume_attempt(core: Core, relay: SetUp, attempt: Attempt, edit: KeptEdit | None) -> None:
    message = relay.message
    assert message is not None
    core.setups.restore_lines(relay, attempt, edit)
    if attempt.flags & CANCEL_SENT and attempt.state < t.IC_COMPLETED:
        attempt.flags &= ~CANCEL_SENT
        core.forwarder.cancel(relay, attempt)
    elif relay.flags & (CANCELLED | ANSWERED) and attempt.state < t.IC_COMPLETED:
        core.forwarder.cancel(relay, attempt)
    if attempt.flags & ABANDONED or attempt.state >= t.IC_COMPLETED or relay.flags & CANCELLED:
        if attempt.deadline_s == NEVER:
            attempt.deadline_s = core.now_s + GONE_S
        return
    if attempt.state == t.IC_CALLING and not attempt.flags & PROVISIONAL and attempt.wire:
        core.send(attempt.socket, attempt.wire, attempt.address)
        attempt.deadline_s = max(attempt.deadline_s, core.now_s + ADOPTED_NO_REPLY_S)
        if not core.is_stream(attempt.socket):
            attempt.interval_s, attempt.resend_s = T1_S, core.now_s + T1_S
    elif attempt.deadline_s < core.now_s + ADOPTED_NO_REPLY_S:
        attempt.deadline_s = core.now_s + ADOPTED_NO_REPLY_S


def _targets_by_key(snapshot: RoutingSnapshot) -> dict[bytes, Target]:
    return {target.key: target for tenant in snapshot.targets for side in tenant for reach in side for target in reach}
