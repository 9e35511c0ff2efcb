"""What each group is decided from, drawn from the World; the deciding itself is `failover/group.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sipctl.control.plan_rules import carried, renames
from sipctl.control.state import swapped
from sipctl.control.world import Plan, World
from sipctl.failover.group import settle
from sipctl.failover.machine import State
from sipctl.failover.memory import BCP, OUT, PRIMARY, Inputs, Memory, Order, Step, policy_of, resumed
from sipctl.failover.tenants import domains
from sipctl.health.self_doubt import WINDOW_S, Seen, doubt, majority, own_fault
from sipctl.routing.snapshot import Admin, Group, Operating

OPERATING_WORDS: Final = {
    Operating.UNKNOWN: "unknown", Operating.IN_SERVICE: "in-service", Operating.OUT_OF_SERVICE: "out-of-service",
}

_NEW: Final = Memory()

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
    groups: dict[str, Memory] = {}
    made: list[Decided] = []
    doubts = Doubts(world, now_s)
    tenants = plan.topology.tenants
    for group in plan.topology.groups:
        memory, order = world.groups.get(group.name, _NEW), orders.get(group.name)
        primary = world.tenants.get(tenants[group.primary].name)
        if order is None and _is_at_rest(memory) and primary is not Operating.OUT_OF_SERVICE:
            continue
        after, steps = settle(memory, inputs_of(world, plan, group, memory, now_s, unix_s, order=order, doubts=doubts))
        made.extend((group.name, before, given, step) for before, given, step in steps)
        if after is not memory:
            groups[group.name] = after
    return ({**world.groups, **groups} if groups else world.groups), tuple(made)


def _is_at_rest(memory: Memory) -> bool:
    """Nothing but a lost primary or an order can move this group: most groups, most of the time."""
    return memory.state == State.NORMAL.value and memory.frozen is None


class Doubts:
    """Why moves must wait, for all groups of one evaluation; what is costly is found out when it is first asked for."""

    def __init__(self, world: World, now_s: float) -> None:
        self._world = world
        self._now_s = now_s
        self._seen: dict[str, Seen] | None = None
        self._fault = ""
        self._crowd = ""

    def about(self, tenant: int, since_s: float) -> str:
        """Why a move to this tenant must wait; "" if it need not."""
        edge = self._world.edge
        if edge is None:
            return ""
        if self._seen is None:
            self._seen = _seen(self._world)
            self._fault = own_fault(self._world.ears)
            self._crowd = majority(domains(edge), self._seen)
        return doubt(edge.sbcs_of_tenant[tenant], self._seen, since_s, fault=self._fault, crowd=self._crowd)


def inputs_of(
    world: World, plan: Plan, group: Group, memory: Memory, now_s: float, unix_s: float, *, order: Order | None = None,
    doubts: Doubts | None = None,
) -> Inputs:
    """What one group is decided from now."""
    tenants = plan.topology.tenants
    names = {PRIMARY: tenants[group.primary].name, BCP: tenants[group.bcp].name}
    states = {side: OPERATING_WORDS[world.tenants.get(name, Operating.UNKNOWN)] for side, name in names.items()}
    is_open = {side: world.tenant_admin.get(name, Admin.ENABLED) is Admin.ENABLED for side, name in names.items()}
    about = {PRIMARY: "", BCP: ""}
    if doubts is not None and OUT in states.values():
        began_s = now_s if memory.deadline_s is None else memory.deadline_s - group.hold_off_s
        since_s = min(began_s, now_s - WINDOW_S)
        about = {side: doubts.about(index, since_s) for side, index in ((PRIMARY, group.primary), (BCP, group.bcp))}
    return Inputs(
        policy_of(group, names[PRIMARY], names[BCP]), states[PRIMARY], states[BCP], now_s, unix_s, world.automation,
        is_open[PRIMARY], is_open[BCP], about[PRIMARY], about[BCP], order,
    )


def resumed_groups(world: World, plan: Plan, now_s: float, unix_s: float) -> Mapping[str, Memory]:
    """The groups' memories after a restart; those of groups the plan does not hold are kept for a rollback."""
    groups = dict(carried(world.groups, None, plan.topology))
    for group in plan.topology.groups:
        if group.name in groups:
            memory = groups[group.name]
            groups[group.name] = resumed(memory, inputs_of(world, plan, group, memory, now_s, unix_s))
    return groups


def placed(before: Plan, after: Plan, groups: Mapping[str, Memory]) -> Mapping[str, Memory]:
    """The groups' memories under another plan: calls stay at the tenant they go to, also if the plan exchanged the two.

    A renamed group goes on under its new name.
    """
    was = renames(before.topology, after.topology)
    groups = carried(groups, before.topology, after.topology)
    old, new = _sides(before), _sides(after)
    exchanged = [
        name for name, (primary, bcp) in new.items() if name in groups and old.get(was.get(name, name)) == (bcp, primary)
    ]
    return {**groups, **{name: swapped(groups[name]) for name in exchanged}} if exchanged else groups


def _sides(plan: Plan) -> dict[str, tuple[str, str]]:
    tenants = plan.topology.tenants
    return {group.name: (tenants[group.primary].name, tenants[group.bcp].name) for group in plan.topology.groups}


def _seen(world: World) -> dict[str, Seen]:
    return {
        name: Seen(one.operating, one.since_s, one.missed_probes, one.last_missed_s, one.last_heard_s)
        for name, one in world.sbcs.items()
    }
