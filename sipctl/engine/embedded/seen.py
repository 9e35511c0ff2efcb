"""What a router goes by and what it measured, for `status --local` and for the rules of an order given on the node."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sipctl.control.ports import Observe
from sipctl.engine.embedded import wire
from sipctl.failover.tenants import edge, tenant_operating
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import Admin, Decision, RoutingState


def seen(
    assign: wire.Assign,
    build: str,
    snapshot: RoutingSnapshot | None,
    state: RoutingState | None,
    orders: Sequence[LocalOrder],
    observed: Observe,
) -> wire.Seen:
    """One router's whole view; all zeros if it has no snapshot yet. Cost: O(groups + SBCs), asked for by people only."""
    term, seq, revision, taken = (0, 0, 0, 0) if state is None else (state.term, state.seq, state.revision, state.orders_taken)
    return wire.Seen(
        assign.name, assign.slot, os.getpid(), term, seq, revision, taken, tuple(orders), _groups(snapshot, observed), observed,
        build,
    )  # fmt: skip


def _groups(snapshot: RoutingSnapshot | None, observed: Observe) -> dict[str, wire.SeenGroup]:
    if snapshot is None:
        return {}
    state, topology = snapshot.state, snapshot.table.topology  # the state with the orders that stand
    reached = edge(topology, state.resolved).sbcs_of_tenant
    measured = {name: sbc.operating for name, sbc in observed.sbcs.items()}
    groups = {}
    for group in topology.groups:
        sides = (group.primary, group.bcp)
        names = (topology.tenants[sides[0]].name, topology.tenants[sides[1]].name)
        one, two = (int(tenant_operating(reached[side], measured, state.sbc_admin)) for side in sides)
        admin = (int(state.tenant_admin.get(names[0], Admin.ENABLED)), int(state.tenant_admin.get(names[1], Admin.ENABLED)))
        groups[group.name] = wire.SeenGroup(names, (one, two), admin, state.decisions.get(group.name, Decision()))
    return groups
