"""What tenants are measured to be, and which of them fail together (CALLS 4.1, 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sipctl.routing.snapshot import Admin, Operating, ResolvedSbc, Topology


@dataclass(frozen=True, slots=True)
class Edge:
    """The SBCs by which tenants are reached, names by name; statics and those DNS gave."""

    sbcs_of_pair: tuple[tuple[str, ...], ...]  # by pair index
    sbcs_of_tenant: tuple[tuple[str, ...], ...]  # by tenant index, in order, each once
    site_of_sbc: Mapping[str, int]
    tenants_of_sbc: Mapping[str, tuple[int, ...]]


def edge(topology: Topology, resolved: Mapping[str, tuple[ResolvedSbc, ...]]) -> Edge:
    """Join the plan's pairs with what DNS gave for their `srv`."""
    by_pair: list[tuple[str, ...]] = []
    sites: dict[str, int] = {}
    for pair in topology.pairs:
        names = [topology.sbcs[index].name for index in pair.sbcs]
        if pair.srv is not None:
            names += [sbc.name for sbc in resolved.get(pair.name, ())]
        by_pair.append(tuple(names))
        for name in names:
            sites[name] = pair.site
    of_tenant: list[tuple[str, ...]] = []
    tenants: dict[str, list[int]] = {}
    for index, tenant in enumerate(topology.tenants):
        names = list(dict.fromkeys(name for reach in tenant.reached_by for name in by_pair[reach.pair]))
        of_tenant.append(tuple(names))
        for name in names:
            tenants.setdefault(name, []).append(index)
    return Edge(tuple(by_pair), tuple(of_tenant), sites, {name: tuple(indexes) for name, indexes in tenants.items()})


def tenant_operating(sbcs: tuple[str, ...], operating: Mapping[str, int], admin: Mapping[str, Admin]) -> Operating:
    """A tenant's measured state.

    An SBC an operator drained or disabled does not keep its tenant in service while others are enabled, but draining alone never
    takes a tenant out: if none is enabled, all count.

    Returns: in service if one SBC is, else unknown if one is (or none is known yet, as before DNS answered), else out of service.
    """
    enabled = [name for name in sbcs if admin.get(name, Admin.ENABLED) is Admin.ENABLED] or list(sbcs)
    states = {operating.get(name, Operating.UNKNOWN) for name in enabled}
    if Operating.IN_SERVICE in states:
        return Operating.IN_SERVICE
    return Operating.UNKNOWN if not states or Operating.UNKNOWN in states else Operating.OUT_OF_SERVICE


def domains(edge_: Edge) -> tuple[tuple[str, ...], ...]:
    """Failure domains: the SBCs of tenant × site, where tenants that share a box are one.

    Returns: the SBC names of each domain, sorted.
    """
    parent = list(range(len(edge_.sbcs_of_tenant)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for indexes in edge_.tenants_of_sbc.values():
        for other in indexes[1:]:
            low, high = sorted((root(indexes[0]), root(other)))
            parent[high] = low
    members: dict[tuple[int, int], set[str]] = {}
    for name, indexes in edge_.tenants_of_sbc.items():
        members.setdefault((root(indexes[0]), edge_.site_of_sbc[name]), set()).add(name)
    return tuple(tuple(sorted(names)) for _, names in sorted(members.items()))
