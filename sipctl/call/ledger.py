"""Counts, answered calls and the story told to the desk: what outlives a set-up (CALLS 1.6, 1.11).

A call is counted from the moment it is routed: by its set-up, then by its answered record. Counts therefore are those records,
and after a crash they are counted again from them. An answered call leaves by its BYE, by a 481 or 408, when its session or its
age is over; so the counts never leak for ever.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from sipctl.call.events import Answered, Attempt, Ended, Facts
from sipctl.call.records import LEAVES_CALLEE, LEAVES_CALLER
from sipctl.call.relay import Attempt as ClientAttempt
from sipctl.call.relay import SetUp
from sipctl.call.verdicts import CALL_ANSWERED, verdict_of
from sipctl.errors import SipSyntaxError
from sipctl.routing.counts import ENTRY, SBC, TENANT, TRUNK, Counts, counts_of
from sipctl.sip.headers import parse_session_expires
from sipctl.sip.message import SESSION_EXPIRES, Message, parse, usual_to_tag
from sipctl.sip.timers import T1_S

if TYPE_CHECKING:
    from sipctl.call.core import Core
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.live import Live

Names = tuple[dict[tuple[int, int], tuple[str, str]], dict[tuple[int, int], tuple[str, str, str]]]

_MAY_EXPIRE: Final = re.compile(rb"\r\n(?:Session-Expires|x)[ \t]*:", re.IGNORECASE)
SWEEP_EVERY_S: Final = 2.0
SESSION_GRACE_S: Final = 64 * T1_S  # after Session-Expires has passed without a refresh
INHERITED_S: Final = 64 * T1_S  # an SBC repeats a refusal so long
MAX_NAMES_CACHED: Final = 16_384  # pairs of trunk and entry point
BYE_GRACE_S: Final = 64 * T1_S  # after a BYE whose answer was not seen
_CANCELLED: Final = 2  # status of an attempt's event that was cancelled before it had a final one (call/events.py)


class Ledger:
    """Owns the answered records and the live counts."""

    __slots__ = ("_core", "_due_s", "_inherited", "_inherited_until_s", "_next_sweep_s", "_places", "_targets", "by_cdr", "calls")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.calls: dict[bytes, int] = {}  # key of Call-ID and both tags → index of the answered record
        self.by_cdr: dict[bytes, int] = {}  # cdr id → the same index
        self._inherited: frozenset[bytes] = frozenset()  # cdr ids of calls a dead router saw answered; dropped 64·T1 later
        self._inherited_until_s = 0.0
        self._due_s: dict[int, float] = {}  # index → instant at which it ends by itself
        self._next_sweep_s = 0.0
        self._places: dict[tuple[int, int], tuple[str, str]] = {}  # names by ids, as the snapshot has them
        self._targets: dict[tuple[int, int], tuple[str, str, str]] = {}

    # -- counts ----------------------------------------------------------------------------------------------------------------

    def count_in(self, relay: SetUp) -> None:
        relay.counted = True
        self._add(relay.trunk_id, relay.entry_id, relay.tenant_id, 1)

    def count_out(self, relay: SetUp) -> None:
        if relay.counted:
            relay.counted = False
            self._add(relay.trunk_id, relay.entry_id, relay.tenant_id, -1)

    def move(self, relay: SetUp, tenant_id: int) -> None:
        """The call crossed to another tenant while it was set up."""
        if relay.counted:
            self.count_out(relay)
            relay.tenant_id = tenant_id
            self.count_in(relay)
        relay.tenant_id = tenant_id

    def enter_sbc(self, attempt: ClientAttempt) -> None:
        self._add_sbc(attempt.sbc_id, 1)

    def leave_sbc(self, attempt: ClientAttempt) -> None:
        """Its attempt is over; called once, when the attempt's event is told."""
        self._add_sbc(attempt.sbc_id, -1)

    def recount(self, setups: list[SetUp]) -> None:
        """Count everything again from the records: after adoption, and when a snapshot brings an entity back."""
        self._places.clear()
        self._targets.clear()
        canary = self._core.canary
        lives = (self._core.live,) if canary is None else (self._core.live, canary.live)
        for live in lives:
            live.shared = None  # what others read stands until all is counted
            for counts in (live.sbc_calls, live.tenant_calls, live.trunk_calls, live.entry_calls):
                counts[:] = [0] * len(counts)
        for index in self.calls.values():
            record = self._core.records.answered(index)
            if record is not None:
                self._add(record.trunk_id, record.entry_id, record.tenant_id, 1)
                self._add_sbc(record.sbc_id, 1)
        for relay in setups:
            if relay.counted:
                self._add(relay.trunk_id, relay.entry_id, relay.tenant_id, 1)
            for attempt in relay.attempts:
                if not attempt.told:
                    self._add_sbc(attempt.sbc_id, 1)
        if self._core.shared is not None:
            self._publish(self._core.shared, lives)

    def _publish(self, shared: Counts, lives: tuple[Live, ...]) -> None:
        """Tell the other routers of this machine, by the plan of today."""
        core, canary = self._core, self._core.canary
        assert core.snapshot is not None
        counts = counts_of(core.snapshot, core.live)
        if canary is not None:
            counts.update(counts_of(canary.snapshot, canary.live))
        if shared.publish(counts):
            core.alarm("limits-not-shared", "too many limits: some of them hold for each router alone")
        for live in lives:
            live.shared = shared

    def _add(self, trunk_id: int, entry_id: int, tenant_id: int, step: int) -> None:
        snapshot, live = self._core.snapshot, self._core.live
        if snapshot is None:
            return
        index = snapshot.trunk_by_id.get(trunk_id)
        shared = live.shared
        if index is not None:
            live.trunk_calls[index] += step
            if shared is not None:
                shared.note(TRUNK, trunk_id, live.trunk_calls[index])
        index = snapshot.entry_point_by_id.get(entry_id)
        if index is not None:
            live.entry_calls[index] += step
            if shared is not None:
                shared.note(ENTRY, entry_id, live.entry_calls[index])
        index = snapshot.tenant_by_id.get(tenant_id)
        if index is not None:
            live.tenant_calls[index] += step
            if shared is not None:
                shared.note(TENANT, tenant_id, live.tenant_calls[index])
        if self._core.canary is not None:
            self._core.canary.add(trunk_id, entry_id, tenant_id, step)

    def _add_sbc(self, sbc_id: int, step: int) -> None:
        snapshot = self._core.snapshot
        index = None if snapshot is None else snapshot.sbc_by_id.get(sbc_id)
        if index is not None:
            live = self._core.live
            live.sbc_calls[index] += step
            if live.shared is not None:
                live.shared.note(SBC, sbc_id, live.sbc_calls[index])
        if self._core.canary is not None:
            self._core.canary.add_sbc(sbc_id, step)

    def exchange_names(self, names: Names) -> Names:
        """Go by the names of the other revision. Returns: those so far."""
        before = (self._places, self._targets)
        self._places, self._targets = names
        return before

    # -- answered calls --------------------------------------------------------------------------------------------------------

    def answer(self, relay: SetUp, attempt: ClientAttempt, raw: bytes) -> None:
        """The first 2xx of a call went upstream: from now on the small record is the call."""
        core = self._core
        now_s = core.now_s
        unix_s = now_s + core.unix_minus_mono_s
        to_tag = usual_to_tag(raw)
        if to_tag and not _MAY_EXPIRE.search(raw):
            expires_s = 0.0
        else:
            try:
                message = parse(raw)
                to_tag, expires_s = message.to_tag(), self._session_end(message)
            except SipSyntaxError:  # passed on as it came; its caller will say what it thinks of it
                expires_s = 0.0
        key = call_key(relay.call_id, relay.from_tag, to_tag)
        index = core.records.open_answered(
            relay.trunk_id, attempt.sbc_id, attempt.tenant_id, relay.entry_id, unix_s, now_s, expires_s, key, relay.cdr_id,
            core.listen_socket(relay.socket), relay.address[0], relay.address[1],
        )  # fmt: skip
        if index < 0 or key in self.calls:
            if index >= 0:
                core.records.close_answered(index)
            core.count("calls_without_record")
            core.alarm("call-records-full", "answered-call records are full: such calls are neither counted nor adopted")
            self.count_out(relay)
            self._add_sbc(attempt.sbc_id, -1)
        else:
            self._keep(index, key, relay.cdr_id, now_s, expires_s)
            relay.counted = False  # the record counts from now on
        core.count("answered")
        if core.canary is not None:
            core.canary.ended(relay, CALL_ANSWERED)
        core.note(("event", Answered(relay.cdr_id.hex(), unix_s, self._facts(relay, attempt))))

    def adopt(self) -> None:
        """Take over the answered records a dead router left."""
        core = self._core
        for record in core.records.all_answered():
            age_s = core.now_s + core.unix_minus_mono_s - record.start_unix_s
            self._keep(record.slot, record.key, record.cdr_id, core.now_s - age_s, record.expires_s)
            if record.leaving:
                self._due_s[record.slot] = min(self._due_s[record.slot], record.seen_s + BYE_GRACE_S)
        self._inherited = frozenset(self.by_cdr)
        self._inherited_until_s = core.now_s + INHERITED_S

    def was_answered(self, cdr_id: bytes) -> bool:
        """Whether a call is up, or was when a dead router left it."""
        return cdr_id in self.by_cdr or cdr_id in self._inherited

    def find(self, call_id: bytes, from_tag: bytes, to_tag: bytes) -> tuple[int, bool] | None:
        """The record of a dialog, and whether the sender of this request is the caller's side."""
        index = self.calls.get(call_key(call_id, from_tag, to_tag))
        if index is not None:
            return index, True
        index = self.calls.get(call_key(call_id, to_tag, from_tag))
        return None if index is None else (index, False)

    def refresh(self, index: int, message: Message) -> None:
        """A 2xx to a re-INVITE or UPDATE: the session goes on (RFC 4028)."""
        expires_s = self._session_end(message)
        self._core.records.touch_answered(index, self._core.now_s, expires_s)
        self._due_s[index] = self._end_by_itself(index, expires_s)

    def leaving(self, index: int, from_caller: bool) -> None:
        """A BYE is passed on: should its answer never be seen here, a successor ends the call 64·T1 later (CALLS 1.11)."""
        self._core.records.mark_leaving(index, self._core.now_s, LEAVES_CALLER if from_caller else LEAVES_CALLEE)

    def staying(self, index: int) -> None:
        """That BYE was refused for want of credentials: the call goes on."""
        record = self._core.records.answered(index)
        if record is not None:
            self._core.records.mark_leaving(index, self._core.now_s, 0)
            self._due_s[index] = self._end_by_itself(index, record.expires_s)

    def end(self, index: int, released_by: str, cause: int = 16) -> None:
        """A call is over."""
        core = self._core
        record = core.records.answered(index)
        if record is None or self._due_s.pop(index, None) is None:
            return
        self.calls.pop(record.key, None)
        self.by_cdr.pop(record.cdr_id, None)
        core.records.close_answered(index)
        self._add(record.trunk_id, record.entry_id, record.tenant_id, -1)
        self._add_sbc(record.sbc_id, -1)
        core.count("ended_" + released_by)
        unix_s = core.now_s + core.unix_minus_mono_s
        core.note(("event", Ended(record.cdr_id.hex(), unix_s, 200, "", cause, released_by, True)))

    def sweep(self) -> None:
        """End what has outlived its session or its age; every SWEEP_EVERY_S."""
        now_s = self._core.now_s
        if now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + SWEEP_EVERY_S
        if self._inherited and self._inherited_until_s <= now_s:
            self._inherited = frozenset()
        for index in [index for index, due_s in self._due_s.items() if due_s <= now_s]:
            record = self._core.records.answered(index)
            if record is not None and record.leaving:
                self.end(index, "caller" if record.leaving == LEAVES_CALLER else "callee")
                continue
            expired = record is not None and 0 < record.expires_s <= now_s
            self.end(index, "expired" if expired else "unknown", 102)

    @property
    def next_sweep_s(self) -> float | None:
        return self._next_sweep_s if self._due_s else None

    def _keep(self, index: int, key: bytes, cdr_id: bytes, start_s: float, expires_s: float) -> None:
        self.calls[key] = index
        self.by_cdr[cdr_id] = index
        self._due_s[index] = min(start_s + self._max_age_s(), expires_s + SESSION_GRACE_S if expires_s else float("inf"))

    def _end_by_itself(self, index: int, expires_s: float) -> float:
        record = self._core.records.answered(index)
        core = self._core
        start_s = core.now_s if record is None else record.start_unix_s - core.unix_minus_mono_s
        return min(start_s + self._max_age_s(), expires_s + SESSION_GRACE_S if expires_s else float("inf"))

    def _max_age_s(self) -> float:
        snapshot = self._core.snapshot
        return 43200.0 if snapshot is None else snapshot.max_call_age_s

    def _session_end(self, message: Message) -> float:
        if SESSION_EXPIRES not in message.at:
            return 0.0
        try:
            return self._core.now_s + parse_session_expires(message.value(SESSION_EXPIRES)).interval_s
        except SipSyntaxError:
            return 0.0

    # -- the story -------------------------------------------------------------------------------------------------------------

    def attempted(self, relay: SetUp, attempt: ClientAttempt, number: int, outcome: str, retry_after_s: float) -> None:
        core = self._core
        tenant, pair, sbc = self._names(attempt)
        role = _role(tenant, attempt)
        core.note((
            "event",
            Attempt(
                relay.cdr_id.hex(), number, tenant, role, pair, sbc, attempt.started_unix_s, core.now_s + core.unix_minus_mono_s,
                attempt.status or (_CANCELLED if outcome == "cancelled" else 0), outcome, retry_after_s,
                relay.revision != 0,
            ),
        ))  # fmt: skip

    def refused(self, relay: SetUp, status: int, by: str, cause: int, reason: str) -> None:
        core = self._core
        core.count(f"refused_{status}")
        if core.canary is not None:
            core.canary.ended(relay, verdict_of(status, cause, by if relay.attempts else "sipctl"))
        facts = self._facts(relay, relay.attempts[-1] if relay.attempts else None)
        unix_s = core.now_s + core.unix_minus_mono_s
        core.note(("event", Ended(relay.cdr_id.hex(), unix_s, status, reason, cause, by, False, facts)))

    def _facts(self, relay: SetUp, attempt: ClientAttempt | None) -> Facts:
        core = self._core
        snapshot = core.snapshot
        asked, route = relay.asked, relay.route
        tenant, pair, sbc = ("", "", "") if attempt is None else self._names(attempt)
        trunk, entry, group = self._where(relay)
        role = "" if attempt is None else _role(tenant, attempt)
        return Facts(
            relay.call_id.decode("utf-8", "replace"), relay.start_unix_s,
            trunk, asked.dialled, "" if route is None else route.called_number, asked.caller,
            asked.pai, entry, group,
            tenant, role, pair, sbc, len(relay.attempts), "" if route is None else route.rule, _decided(snapshot, relay),
            0 if snapshot is None else snapshot.revision, relay.ring_unix_s,
        )  # fmt: skip

    def _where(self, relay: SetUp) -> tuple[str, str, str]:
        """Names of a call's trunk, entry point and group, as the snapshot of now has them."""
        found = self._places.get((relay.trunk_id, relay.entry_id))
        if found is None:
            snapshot = self._core.snapshot
            found = _name(snapshot, "trunk", relay.trunk_id), _name(snapshot, "entry", relay.entry_id)
            if len(self._places) >= MAX_NAMES_CACHED:
                self._places.clear()
            self._places[relay.trunk_id, relay.entry_id] = found
        return found[0], found[1], _group(self._core.snapshot, relay)

    def _names(self, attempt: ClientAttempt) -> tuple[str, str, str]:
        """Names of an attempt's tenant, pair and SBC, as the snapshot of now has them."""
        found = self._targets.get((attempt.tenant_id, attempt.sbc_id))
        if found is None:
            found = self._targets[attempt.tenant_id, attempt.sbc_id] = self._look_up(attempt)
        return found

    def _look_up(self, attempt: ClientAttempt) -> tuple[str, str, str]:
        snapshot = self._core.snapshot
        if snapshot is None:
            return "", "", ""
        tenant = snapshot.tenant_by_id.get(attempt.tenant_id)
        sbc = snapshot.sbc_by_id.get(attempt.sbc_id)
        pair = "" if sbc is None else snapshot.pairs[snapshot.sbcs[sbc].pair].name
        return (
            "" if tenant is None else snapshot.tenants[tenant].name,
            pair,
            f"#{attempt.sbc_id}" if sbc is None else snapshot.sbcs[sbc].name,
        )


def call_key(call_id: bytes, caller_tag: bytes, callee_tag: bytes) -> bytes:
    """16 octets for a dialog, whichever side asks."""
    return blake2b(b"%b\0%b\0%b" % (call_id, caller_tag, callee_tag), digest_size=16).digest()


def _name(snapshot: RoutingSnapshot | None, kind: str, number: int) -> str:
    if snapshot is None or not number:
        return ""
    if kind == "trunk":
        index = snapshot.trunk_by_id.get(number)
        return f"#{number}" if index is None else snapshot.trunks[index].name
    index = snapshot.entry_point_by_id.get(number)
    return f"#{number}" if index is None else snapshot.entry_points[index].name


def _role(tenant: str, attempt: ClientAttempt) -> str:
    """Of which side of its group a tenant is; "" for what stands for an SBC pair or an exit (`pair:NAME`), which is of none."""
    return "" if attempt.target is None or ":" in tenant else "bcp" if attempt.target.side else "primary"


def _decided(snapshot: RoutingSnapshot | None, relay: SetUp) -> str:
    """Why the group's calls go where they go; the whole sentence is `Route.why`, built only where somebody reads it."""
    route = relay.route
    if route is None or snapshot is None or relay.routed_in is not snapshot:
        return ""
    return snapshot.decision[route.group].reason


def _group(snapshot: RoutingSnapshot | None, relay: SetUp) -> str:
    if snapshot is None:
        return ""
    if relay.route is not None and relay.routed_in is snapshot:
        if relay.route.stand_in >= 0:
            return ""  # it went to an SBC pair or an exit instead
        return snapshot.groups[relay.route.group].name  # of a split, the one that took this call
    index = snapshot.entry_point_by_id.get(relay.entry_id)
    return "" if index is None else snapshot.groups[snapshot.entry_points[index].group].name
