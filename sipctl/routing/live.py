"""Live: what the call core knows at this instant and a snapshot does not: counts, rests, suspicion, measured states.

One per router, owned by the call core, plain lists by index of one snapshot; the only mutable thing `resolve` reads. Judged
states change rarely: whoever changes `operating` bumps `version`, and the candidate lists kept here are made anew. Counts, rests
and suspicion change with calls and are looked at per call, but only while `flagged` is not 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipctl.routing.counts import ENTRY, SBC, TENANT, TRUNK, Counts
from sipctl.routing.snapshot import Operating

if TYPE_CHECKING:
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.select import Choice

MAX_CACHED_CHOICES: Final = 65_536  # candidate lists kept: (group, side, site, priority); beyond it the cache starts anew
CPS_WINDOW_S: Final = 1.0


class Live:
    """Counts and judged states by index of one snapshot."""

    __slots__ = (
        "_cps_last",
        "_cps_now",
        "_cps_start_s",
        "_entry_ids",
        "_limited",
        "_sbc_ids",
        "_tenant_ids",
        "_trunk_ids",
        "cache_resets",
        "choices",
        "choices_of",
        "choices_version",
        "entry_calls",
        "flagged",
        "operating",
        "resting_until_s",
        "sbc_calls",
        "shared",
        "suspect",
        "tenant_calls",
        "trial_due_s",
        "trunk_calls",
        "version",
    )

    def __init__(self, snapshot: RoutingSnapshot) -> None:
        sbcs, tenants, trunks = len(snapshot.sbcs), len(snapshot.tenants), len(snapshot.trunks)
        self.operating: list[int] = [int(Operating.UNKNOWN)] * sbcs
        self.resting_until_s: list[float] = [0.0] * sbcs
        self.suspect: list[bool] = [False] * sbcs
        self.trial_due_s: list[float] = [0.0] * sbcs
        self.sbc_calls: list[int] = [0] * sbcs
        self.tenant_calls: list[int] = [0] * tenants
        self.trunk_calls: list[int] = [0] * trunks
        self.entry_calls: list[int] = [0] * len(snapshot.entry_points)
        self._cps_start_s: list[float] = [0.0] * trunks
        self._cps_now: list[int] = [0] * trunks
        self._cps_last: list[int] = [0] * trunks
        self.shared: Counts | None = None  # what other routers of this machine count; None: there is one
        self.version = 0  # the owner adds 1 whenever `operating` changes
        self.choices: dict[int, Choice] = {}  # kept by routing/resolve.py for (choices_of, choices_version)
        self.choices_of: object = snapshot
        self.choices_version = 0
        self.cache_resets = 0  # how often MAX_CACHED_CHOICES was reached
        self._limited = sum(sbc.max_calls is not None for sbc in snapshot.sbcs)
        self.flagged = self._limited  # SBCs that rest, are suspect or have max_calls; 0: nothing to look at per call
        self._sbc_ids = tuple(snapshot.sbc_by_id)
        self._tenant_ids = tuple(snapshot.tenant_by_id)
        self._trunk_ids = tuple(snapshot.trunk_by_id)
        self._entry_ids = tuple(snapshot.entry_point_by_id)

    @classmethod
    def for_snapshot(cls, snapshot: RoutingSnapshot, before: Live | None = None) -> Live:
        """Fresh lists for a snapshot, carrying over by numeric id what `before` knew of the entities that stayed."""
        live = cls(snapshot)
        if before is not None:
            live._take_over(snapshot, before)
        return live

    def _take_over(self, snapshot: RoutingSnapshot, before: Live) -> None:
        for old, number in enumerate(before._sbc_ids):
            new = snapshot.sbc_by_id.get(number)
            if new is not None:
                self.operating[new] = before.operating[old]
                self.resting_until_s[new] = before.resting_until_s[old]
                self.suspect[new] = before.suspect[old]
                self.trial_due_s[new] = before.trial_due_s[old]
                self.sbc_calls[new] = before.sbc_calls[old]
        for old, number in enumerate(before._trunk_ids):
            new = snapshot.trunk_by_id.get(number)
            if new is not None:
                self.trunk_calls[new] = before.trunk_calls[old]
                self._cps_start_s[new] = before._cps_start_s[old]
                self._cps_now[new] = before._cps_now[old]
                self._cps_last[new] = before._cps_last[old]
        for ids, by_id, theirs, mine in (
            (before._tenant_ids, snapshot.tenant_by_id, before.tenant_calls, self.tenant_calls),
            (before._entry_ids, snapshot.entry_point_by_id, before.entry_calls, self.entry_calls),
        ):
            for old, number in enumerate(ids):
                new = by_id.get(number)
                if new is not None:
                    mine[new] = theirs[old]
        self.version = before.version + 1
        self.reflag(float("-inf"))

    # -- what calls showed -----------------------------------------------------------------------------------------------------

    def rest(self, sbc: int, until_s: float) -> None:
        """The SBC asked for a pause (503 with Retry-After)."""
        self.resting_until_s[sbc] = until_s
        self.reflag(float("-inf"))

    def set_suspect(self, sbc: int, suspect: bool) -> None:
        """Its last INVITE got no reply, or a trial was answered."""
        if self.suspect[sbc] != suspect:
            self.suspect[sbc] = suspect
            self.reflag(float("-inf"))

    def reflag(self, now_s: float) -> None:
        """Count flagged SBCs anew, forgetting rests that are over; call it now and then, or after writing the lists directly."""
        self.flagged = self._limited
        for index, until_s in enumerate(self.resting_until_s):
            if until_s and until_s <= now_s:
                self.resting_until_s[index] = 0.0
            self.flagged += bool(self.resting_until_s[index]) or self.suspect[index]

    # -- over all routers of this machine: what limits read ---------------------------------------------------------------------

    def entry_total(self, entry: int) -> int:
        shared = self.shared
        return self.entry_calls[entry] + (0 if shared is None else shared.elsewhere(ENTRY, self._entry_ids[entry]))

    def tenant_total(self, tenant: int) -> int:
        shared = self.shared
        return self.tenant_calls[tenant] + (0 if shared is None else shared.elsewhere(TENANT, self._tenant_ids[tenant]))

    def trunk_total(self, trunk: int) -> int:
        shared = self.shared
        return self.trunk_calls[trunk] + (0 if shared is None else shared.elsewhere(TRUNK, self._trunk_ids[trunk]))

    def sbc_total(self, sbc: int) -> int:
        shared = self.shared
        return self.sbc_calls[sbc] + (0 if shared is None else shared.elsewhere(SBC, self._sbc_ids[sbc]))

    def trunk_cps_total(self, trunk: int, now_s: float) -> float:
        shared = self.shared
        own = self.trunk_cps(trunk, now_s)
        return own if shared is None else own + shared.cps_elsewhere(self._trunk_ids[trunk], now_s)

    # -- new calls a second ----------------------------------------------------------------------------------------------------

    def note_new_call(self, trunk: int, now_s: float) -> None:
        """Count one new call that was let in."""
        self._turn(trunk, now_s)
        self._cps_now[trunk] += 1
        if self.shared is not None:
            self.shared.note_window(
                self._trunk_ids[trunk], self._cps_start_s[trunk], self._cps_now[trunk], self._cps_last[trunk]
            )  # fmt: skip

    def trunk_cps(self, trunk: int, now_s: float) -> float:
        """New calls within the last second: a window that slides, the previous second counted by its share still in view."""
        self._turn(trunk, now_s)
        seen = (now_s - self._cps_start_s[trunk]) / CPS_WINDOW_S
        return self._cps_now[trunk] + self._cps_last[trunk] * max(0.0, 1.0 - seen)

    def _turn(self, trunk: int, now_s: float) -> None:
        passed = (now_s - self._cps_start_s[trunk]) / CPS_WINDOW_S
        if passed >= 1.0:
            self._cps_last[trunk] = self._cps_now[trunk] if passed < 2.0 else 0
            self._cps_now[trunk] = 0
            self._cps_start_s[trunk] = now_s if passed >= 2.0 else self._cps_start_s[trunk] + CPS_WINDOW_S
