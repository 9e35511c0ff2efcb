"""The state a test or a question assumes: settled, all waits over.

A group with automatic failover whose primary is out of service has moved, an SBC named is what it is said to be, all else is
in service. An SRV pair, whose SBCs only DNS knows, is stood for by one SBC named PAIR/srv.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.snapshot import Admin, Decision, Operating, ResolvedSbc, RoutingState, SbcId, Topology
from sipctl.routing.table import Table

STAND_IN_ID: Final = (1 << 24) - 1  # of SBCs that stand for an SRV answer, downwards
_MEASURED: Final = {
    "in-service": Operating.IN_SERVICE,
    "out-of-service": Operating.OUT_OF_SERVICE,
    "unknown": Operating.UNKNOWN,
}
_WISHED: Final = {"draining": Admin.DRAINING, "disabled": Admin.DISABLED}


@dataclass(frozen=True, slots=True)
class Given:
    """States that differ from in service, by name."""

    tenants: Mapping[str, str] = field(default_factory=dict)
    sbcs: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()  # that are on
    switches: tuple[str, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)  # calls up, by entry point, tenant (exit:NAME too) or trunk


def settled(table: Table, given: Given) -> tuple[RoutingSnapshot, Live]:
    """A snapshot and live lists in the state assumed, all waits over."""
    topology = table.topology
    state = RoutingState(
        term=1,
        seq=1,
        revision=topology.revision,
        table=table.hash,
        sbc_admin={name: _WISHED[state] for name, state in given.sbcs.items() if state in _WISHED},
        tenant_admin={name: _WISHED[state] for name, state in given.tenants.items() if state in _WISHED},
        resolved=_stand_ins(topology),
        overlays=tuple((name, 0.0) for name in given.overlays),
        switches=tuple((name, 0.0) for name in given.switches),
    )
    snapshot = RoutingSnapshot.build(table, state)
    operating = _operating(snapshot, given)
    decisions = _decisions(snapshot, operating, given)
    if decisions:
        snapshot = RoutingSnapshot.build(table, replace(state, seq=2, decisions=decisions))
    live = Live.for_snapshot(snapshot)
    live.operating = operating
    live.version += 1
    if given.calls:
        _count(snapshot, live, given.calls)
    return snapshot, live


def _count(snapshot: RoutingSnapshot, live: Live, calls: Mapping[str, int]) -> None:
    """Calls up, wherever a name stands."""
    for names, counts in (
        ([entry.name for entry in snapshot.entry_points], live.entry_calls),
        ([tenant.name for tenant in snapshot.tenants], live.tenant_calls),
        ([trunk.name for trunk in snapshot.trunks], live.trunk_calls),
    ):
        for index, name in enumerate(names):
            counts[index] = calls.get(name, counts[index])


def _stand_ins(topology: Topology) -> dict[str, tuple[ResolvedSbc, ...]]:
    """Addresses for what only DNS knows: documentation addresses, never sent to."""
    found: dict[str, tuple[ResolvedSbc, ...]] = {}
    count = 0
    for pair in topology.pairs:
        if pair.srv:
            transport = pair.srv.rpartition("=")[2]
            fit = [index for index in pair.listens if topology.listens[index].transport == transport]
            host = _documentation_address(count, ":" in topology.listens[fit[0]].host)
            found[pair.name] = (ResolvedSbc(SbcId(STAND_IN_ID - count), f"{pair.name}/srv", host, 5060, transport, 1, 1),)
            count += 1
        for index in pair.sbcs:
            sbc = topology.sbcs[index]
            if not sbc.host:
                host = _documentation_address(count, ":" in topology.listens[sbc.listen].host)
                found[sbc.name] = (ResolvedSbc(sbc.id, sbc.name, host, sbc.port, sbc.transport, sbc.priority, sbc.weight),)
                count += 1
    return found


def _documentation_address(count: int, is_v6: bool) -> str:
    return f"2001:db8::{count + 1:x}" if is_v6 else f"198.18.{count // 250 % 250}.{count % 250 + 1}"


def _operating(snapshot: RoutingSnapshot, given: Given) -> list[int]:
    """Measured states: a tenant out of service takes down the SBCs that serve no other tenant."""
    operating = [int(_MEASURED.get(given.sbcs.get(sbc.name, ""), Operating.IN_SERVICE)) for sbc in snapshot.sbcs]
    down = {index for index, tenant in enumerate(snapshot.tenants) if given.tenants.get(tenant.name) == "out-of-service"}
    for index, tenants in enumerate(snapshot.tenants_of_sbc):
        if tenants and set(tenants) <= down:
            operating[index] = int(Operating.OUT_OF_SERVICE)
    return operating


def _decisions(snapshot: RoutingSnapshot, operating: list[int], given: Given) -> dict[str, Decision]:
    """Where each group's calls go once everything has settled."""

    def is_out(tenant: int) -> bool:
        if given.tenants.get(snapshot.tenants[tenant].name) == "out-of-service":
            return True
        sbcs = [index for index, tenants in enumerate(snapshot.tenants_of_sbc) if tenant in tenants]
        return all(operating[index] == Operating.OUT_OF_SERVICE for index in sbcs)

    decisions: dict[str, Decision] = {}
    for group in snapshot.groups:
        said = given.groups.get(group.name)
        if said is not None:
            if said == "on-bcp":
                decisions[group.name] = Decision(bcp_percent=100, reason="given on BCP")
        elif group.failover == "automatic" and is_out(group.primary) and not is_out(group.bcp):
            decisions[group.name] = Decision(bcp_percent=100, reason="primary out of service")
    return decisions
