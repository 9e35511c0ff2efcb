"""The call core with what the controller wants to know of it: the whole view of one router, as a frame."""

from __future__ import annotations

from sipctl.call.core import Core
from sipctl.control.ports import CanaryObservation, Observe, SbcObservation, TrunkObservation
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live

MAX_STRANGERS_TOLD = 64
# Told from the first second on, as 0: what begins at 1 has no rate in a monitoring system. (`refused_CODE` begins when it does.)
COUNTED = (
    "acks_dropped", "acks_of_our_answers", "adopted_calls", "adopted_setups", "answered", "attempts", "calls_without_record",
    "cancels_of_others", "cancels_stateless", "cancels_unmatched", "choices_resets", "edits_without_record", "ended_callee",
    "ended_caller", "ended_expired", "ended_unknown", "in_dialog_no_way", "in_dialog_target_not_ours", "in_dialog_to_sibling",
    "in_dialog_unknown", "invites_of_answered_calls", "late_answers_ended", "late_reinvites_acknowledged", "limit_entry-point",
    "limit_exit", "limit_tenant", "limit_trunk-admin", "limit_trunk-max-calls", "limit_trunk-max-cps", "loops", "poison",
    "probe_now_unknown", "probes", "refused_405", "repeated_while_waiting", "requests_malformed", "responses_forged",
    "responses_from_elsewhere", "responses_malformed", "responses_stateless", "responses_too_late", "responses_unmatched",
    "retired_refused", "retransmissions", "send_failed", "setups_not_adopted", "setups_without_record", "shed", "strangers",
    "waited_for_names",
)  # fmt: skip
_ZEROS = dict.fromkeys(COUNTED, 0)


class ObservedCore(Core):
    """A call core that can be asked for an `Observe`, and to probe at once."""

    __slots__ = ()

    def observe(self, now_s: float) -> Observe:
        """The whole view now; the driver fills in what it alone knows (name, gaps, local errors)."""
        snapshot = self.snapshot
        sbcs: dict[str, SbcObservation] = {}
        trunks: dict[str, TrunkObservation] = {}
        entry_points: dict[str, int] = {}
        tenants: dict[str, int] = {}
        counters = {**_ZEROS, **self.counters}
        if snapshot is not None:
            live = self.live
            for at, sbc in enumerate(snapshot.sbcs):
                sbcs[sbc.name] = self._observed_sbc(snapshot, live, at, now_s)
            for at, trunk in enumerate(snapshot.trunks):
                trunks[trunk.name] = TrunkObservation(
                    live.trunk_calls[at], round(live.trunk_cps(at, now_s)), self.invite_times.get(int(trunk.id))
                )
            counted = zip(snapshot.entry_points, live.entry_calls, strict=False)
            entry_points = {entry.name: calls for entry, calls in counted if calls}
            tenants = {tenant.name: live.tenant_calls[at] for at, tenant in enumerate(snapshot.tenants)}
            counters["choices_resets"] = live.cache_resets
        latest = sorted(self.strangers.items(), key=lambda item: -item[1][1])[:MAX_STRANGERS_TOLD]
        return Observe(
            name="", at_s=now_s, sbcs=sbcs, trunks=trunks, entry_points=entry_points, tenants=tenants, calls=self.calls,
            loop_gap_s=0.0, local_errors=0, counters=counters,
            strangers=tuple((host, int(seen[0]), seen[1]) for host, seen in latest),
            heard_s=self.heard_s, sent_s=self.sent_s, alarms=self.standing_alarms(), canary=self._observed_canary(now_s),
        )  # fmt: skip

    def _observed_canary(self, now_s: float) -> CanaryObservation | None:
        canary = self.canary
        if canary is None:
            return None
        sbcs = {canary.snapshot.sbcs[at].name: self._observed_sbc(canary.snapshot, canary.live, at, now_s) for at in canary.own}
        answered, busy, failed, cancelled = canary.counts
        theirs = canary.others
        return CanaryObservation(
            canary.revision, (answered, busy, failed, cancelled), (theirs[0], theirs[1], theirs[2], theirs[3]), sbcs
        )

    def _observed_sbc(self, snapshot: RoutingSnapshot, live: Live, at: int, now_s: float) -> SbcObservation:
        measured = self.judge.observation(int(snapshot.sbcs[at].id), now_s)
        return SbcObservation(
            operating=measured.operating, reason=measured.reason, since_s=measured.since_s,
            resting_s=max(measured.resting_s, live.resting_until_s[at] - now_s, 0.0), suspect=live.suspect[at],
            calls=live.sbc_calls[at], missed_probes=measured.missed_probes, last_missed_s=measured.last_missed_s,
            last_heard_s=measured.last_heard_s, last_sent_s=measured.last_sent_s, probe_rtt_ms=measured.probe_rtt_ms,
        )  # fmt: skip

    def probe_now(self, sbc: str, now_s: float) -> None:
        """Send OPTIONS to that SBC with the next tick; an unknown name is counted."""
        at = None if self.snapshot is None else self.snapshot.sbc_index.get(sbc)
        if self.snapshot is None or at is None:
            self.count("probe_now_unknown")
            return
        self.judge.probe_now(int(self.snapshot.sbcs[at].id), now_s)
