"""The state a call was asked in, said as a plan's test says it: what differs from in service, and only where this call may go.

A test knows settled states. What passes with the moment (a rest, a suspicion, a ramp half way) has no word there; whoever saves a
test runs it once before it is kept, and is told.
"""

from __future__ import annotations

from typing import Any, Final

from sipctl.routing.answers import NoRoute, Route
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.snapshot import Admin, Operating

_WISHES: Final = {int(Admin.DRAINING): "draining", int(Admin.DISABLED): "disabled"}
_MEASURED: Final = {int(Operating.OUT_OF_SERVICE): "out-of-service", int(Operating.UNKNOWN): "unknown"}


def given_now(snapshot: RoutingSnapshot, live: Live, answer: Route | NoRoute, unix_s: float | None) -> dict[str, Any]:
    """`given` of a test: tenants, SBCs, groups and calls by name, overlays and switches as lists; what says nothing is left out.

    Args:
        unix_s: wall time; overlays and switches that have ended by then are off.
    """
    entries = {way.entry_point for way in answer.retargets}
    if answer.entry_point is not None:
        entries.add(answer.entry_point)
    groups = sorted({group for entry in entries for group in snapshot.entry_points[entry].groups})
    tenants = [side for group in groups for side in (snapshot.groups[group].primary, snapshot.groups[group].bcp)]
    if isinstance(answer, Route) and answer.stand_in >= 0:
        tenants.append(answer.stand_in)
    sbcs = _sbcs(snapshot, live, tenants)
    found: dict[str, Any] = {
        "tenants": _tenants(snapshot, tenants),
        "sbcs": sbcs,
        "groups": _groups(snapshot, groups, bool(sbcs)),
        "overlays": _on(snapshot.state.overlays, [one.name for one in snapshot.table.topology.overlays], unix_s),
        "switches": _on(snapshot.state.switches, [one.name for one in snapshot.table.topology.switches], unix_s),
        "calls": _full(snapshot, live),
    }
    return {section: states for section, states in found.items() if states}


def _tenants(snapshot: RoutingSnapshot, tenants: list[int]) -> dict[str, str]:
    return {
        snapshot.tenants[at].name: _WISHES[snapshot.tenant_admin[at]]
        for at in tenants
        if snapshot.tenant_admin[at] in _WISHES and snapshot.tenants[at].kind == "tenant"
    }


def _sbcs(snapshot: RoutingSnapshot, live: Live, tenants: list[int]) -> dict[str, str]:
    found = {}
    for tenant in tenants:
        for reach in snapshot.tenants[tenant].reached_by:
            for sbc in snapshot.pairs[reach.pair].sbcs:
                said = _WISHES.get(snapshot.sbc_admin[sbc]) or _MEASURED.get(live.operating[sbc])
                if said is not None:
                    found[snapshot.sbcs[sbc].name] = said
    return found


def _groups(snapshot: RoutingSnapshot, groups: list[int], some_are_out: bool) -> dict[str, str]:
    """A test moves a group by itself once its primary is out; what is live may not have come so far, so it is said."""
    on_bcp = {group: snapshot.decision[group].bcp_percent >= 100 for group in groups}
    return {
        snapshot.groups[group].name: "on-bcp" if on_bcp[group] else "normal" for group in groups if on_bcp[group] or some_are_out
    }


def _on(state: tuple[tuple[str, float], ...], known: list[str], unix_s: float | None) -> list[str]:
    return [name for name, until in state if name in known and not (until and unix_s is not None and until <= unix_s)]


def _full(snapshot: RoutingSnapshot, live: Live) -> dict[str, int]:
    """Counts that have reached a limit; others decide nothing."""
    counted: list[tuple[str, int | None, int]] = [
        *((one.name, one.max_calls, live.entry_calls[at]) for at, one in enumerate(snapshot.entry_points)),
        *((one.name, one.max_calls, live.tenant_calls[at]) for at, one in enumerate(snapshot.tenants)),
        *((one.name, one.max_calls, live.trunk_calls[at]) for at, one in enumerate(snapshot.trunks)),
    ]
    return {name: count for name, most, count in counted if most is not None and count >= most}
