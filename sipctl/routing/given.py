"""The state a call was asked in, said as a plan's test says it: what differs from in service, and only where this call may go.

A test knows settled states. What passes with the moment (a rest, a suspicion, a ramp half way) has no word there; whoever saves a
test runs it once before it is kept, and is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.snapshot import Admin, Operating

_WISHES: Final = {int(Admin.DRAINING): "draining", int(Admin.DISABLED): "disabled"}
_MEASURED: Final = {int(Operating.OUT_OF_SERVICE): "out-of-service", int(Operating.UNKNOWN): "unknown"}


def given_now(snapshot: RoutingSnapshot, live: Live, groups: Iterable[int]) -> dict[str, dict[str, str]]:
    """`given` of a test for calls of these groups: tenants, SBCs and groups by name, sections that say nothing left out.

    Args:
        groups: indexes of the groups the call may be sent by.
    """
    found: dict[str, dict[str, str]] = {"tenants": {}, "sbcs": {}, "groups": {}}
    for group_at in groups:
        group = snapshot.groups[group_at]
        if snapshot.decision[group_at].bcp_percent >= 100:
            found["groups"][group.name] = "on-bcp"
        for tenant in (group.primary, group.bcp):
            wish = _WISHES.get(snapshot.tenant_admin[tenant])
            if wish is not None:
                found["tenants"][snapshot.tenants[tenant].name] = wish
            for reach in snapshot.tenants[tenant].reached_by:
                for sbc in snapshot.pairs[reach.pair].sbcs:
                    said = _WISHES.get(snapshot.sbc_admin[sbc]) or _MEASURED.get(live.operating[sbc])
                    if said is not None:
                        found["sbcs"][snapshot.sbcs[sbc].name] = said
        if found["sbcs"]:
            found["groups"].setdefault(group.name, "normal")
    return {section: states for section, states in found.items() if states}
