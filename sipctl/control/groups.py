"""What each group is decided from, drawn from the World; the deciding itself is `failover/group.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sipctl.control.state import swapped
from sipctl.control.world import Plan, World
from sipctl.failover.group import settle
from sipctl.failover.memory import BCP, OUT, PRIMARY, Inputs, Memory, Order, Step, policy_of, resumed
from sipctl.failover.tenants import domains
from sipctl.health.self_doubt import WINDOW_S, Seen, doubt, majority, own_fault
from sipctl.routing.snapshot import Admin, Group, Operating

OPERATING_WORDS: Final = {
    Operating.UNKNOWN: "unknown", Operating.IN_SERVICE: "in-service", Operating.OUT_OF_SERVICE: "out-of-service",
}

Decided = tuple[str, Memory, Inputs, Step]  # group, before, from what, after


def decided(
    world: World, orders: Mapping[str, Order], now_s: float, unix_s: float
) -> tuple[Mapping[str, Memory], tuple[Decided, ...]]:
    """Let every group of the plan come to rest.

    Returns: all groups' memories, and each step that was made, in order.
    """
    plan = world.plan
    if plan is None:
        return world.groups, ()
    groups = dict(world.groups)
    made: list[Decided] = []
    crowd = _crowd(world)
    for group in plan.topology.groups:
        memory = groups.get(group.name, Memory())
        inputs = inputs_of(world, plan, group, memory, now_s, unix_s, order=orders.get(group.name), crowd=crowd)
        after, steps = settle(memory, inputs)
        made.extend((group.name, before, given, step) for before, given, step in steps)
        groups[group.name] = after
    return groups, tuple(made)


def inputs_of(
    world: World, plan: Plan, group: Group, memory: Memory, now_s: float, unix_s: float, *, order: Order | None = None,
    crowd: str = "",
) -> Inputs:
    """What one group is decided from now."""
    tenants = plan.topology.tenants
    names = {PRIMARY: tenants[group.primary].name, BCP: tenants[group.bcp].name}
    states = {side: OPERATING_WORDS[world.tenants.get(name, Operating.UNKNOWN)] for side, name in names.items()}
    is_open = {side: world.tenant_admin.get(name, Admin.ENABLED) is Admin.ENABLED for side, name in names.items()}
    doubts = {PRIMARY: "", BCP: ""}
    fault = own_fault(world.ears) if OUT in states.values() else ""
    if world.edge is not None and (fault or crowd):
        began_s = now_s if memory.deadline_s is None else memory.deadline_s - group.hold_off_s
        since_s = min(began_s, now_s - WINDOW_S)
        seen = _seen(world)
        for side, index in ((PRIMARY, group.primary), (BCP, group.bcp)):
            doubts[side] = doubt(world.edge.sbcs_of_tenant[index], seen, since_s, fault=fault, crowd=crowd)
    return Inputs(
        policy_of(group, names[PRIMARY], names[BCP]), states[PRIMARY], states[BCP], now_s, unix_s, world.automation,
        is_open[PRIMARY], is_open[BCP], doubts[PRIMARY], doubts[BCP], order,
    )


def resumed_groups(world: World, plan: Plan, now_s: float, unix_s: float) -> Mapping[str, Memory]:
    """The groups' memories after a restart; those of groups the plan does not hold are kept for a rollback."""
    groups = dict(world.groups)
    for group in plan.topology.groups:
        if group.name in groups:
            memory = groups[group.name]
            groups[group.name] = resumed(memory, inputs_of(world, plan, group, memory, now_s, unix_s))
    return groups


def placed(before: Plan, after: Plan, groups: Mapping[str, Memory]) -> Mapping[str, Memory]:
    """The groups' memories under another plan: calls stay at the tenant they go to, also if the plan exchanged the two."""
    old, new = _sides(before), _sides(after)
    exchanged = [name for name, (primary, bcp) in new.items() if name in groups and old.get(name) == (bcp, primary)]
    return {**groups, **{name: swapped(groups[name]) for name in exchanged}} if exchanged else groups


def _sides(plan: Plan) -> dict[str, tuple[str, str]]:
    tenants = plan.topology.tenants
    return {group.name: (tenants[group.primary].name, tenants[group.bcp].name) for group in plan.topology.groups}


def _crowd(world: World) -> str:
    """Did a majority of failure domains fail together? Asked only while a tenant is out."""
    if world.edge is None or Operating.OUT_OF_SERVICE not in world.tenants.values():
        return ""
    return majority(domains(world.edge), _seen(world))


def _seen(world: World) -> dict[str, Seen]:
    return {
        name: Seen(one.operating, one.since_s, one.missed_probes, one.last_missed_s, one.last_heard_s)
        for name, one in world.sbcs.items()
    }
