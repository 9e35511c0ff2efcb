"""What a person should know now: the cause of every alarm follows from the World alone, so it goes by itself."""

from __future__ import annotations

from typing import Final

from sipctl.control import canary_turn, observed
from sipctl.control.overlays import FIELDS, Switched, until_words
from sipctl.control.world import World
from sipctl.failover.memory import Memory
from sipctl.routing.snapshot import Admin, Operating

FIRST_ROUTER_S: Final = 3.0  # a new controller gives its routers so long before it complains of their absence


def due_alarms(world: World, now_s: float) -> dict[str, str]:
    """Every alarm that stands now, id → sentence."""
    due = dict(world.faults)
    if not world.routers and (world.met_router or _waited_for_the_first(world, now_s)):
        due["no-router"] = "no router is connected: what is decided now reaches no call"
    for router in world.routers.values():
        if router.refused:
            due[f"router-refused:{router.name}"] = f"router {router.name} did not take the last publication: {router.refused}"
        for slug, text in router.observe.alarms if router.observe is not None else ():
            due[f"{slug}:{router.name}"] = f"router {router.name}: {text}"
    due |= _groups(world)
    due |= _switched(world)
    due |= _sbcs(world)
    due |= _expected(world)
    due |= observed.alarms(world.watch)
    if world.glass is not None:
        who = f"{world.glass.actor}: {world.glass.reason}"
        due[f"break-glass:{world.glass.actor}"] = f"the glass is broken {until_words(world.glass)} ({who})"
    due |= canary_turn.due_alarms(world)
    if not world.automation:
        due["automation-paused"] = "automation is paused: only operators move groups"
    if world.node_admin is not Admin.ENABLED:
        due["node-draining"] = "this node is draining: it takes no new calls"
    return due


def _waited_for_the_first(world: World, now_s: float) -> bool:
    """A controller that begins is a moment ahead of its routers: that alone is nothing to look after."""
    return world.alone_since_s is not None and now_s - world.alone_since_s >= FIRST_ROUTER_S


def _groups(world: World) -> dict[str, str]:
    due: dict[str, str] = {}
    topology = world.plan.topology if world.plan is not None else None
    for group in topology.groups if topology is not None else ():
        assert topology is not None
        memory = world.groups.get(group.name, Memory())
        primary, bcp = topology.tenants[group.primary].name, topology.tenants[group.bcp].name
        lost = [name for name in (primary, bcp) if world.tenants.get(name) is Operating.OUT_OF_SERVICE]
        if len(lost) == 2:
            due[f"both-lost:{group.name}"] = f"{group.name}: {primary} and {bcp} are both out of service"
        elif lost == [primary] and memory.bcp_percent < 100 and memory.state != "hold-off":
            why = _why_stays(world, group.failover, memory)
            due[f"not-moved:{group.name}"] = f"{group.name}: {primary} is out of service, and {why}"
        elif lost == [bcp] and memory.bcp_percent == 100 and memory.deadline_s is None:
            why = _why_stays(world, group.failover, memory)
            due[f"not-moved:{group.name}"] = f"{group.name}: {bcp} is out of service, and {why}"
        elif lost:
            due[f"tenant-lost:{lost[0]}"] = f"tenant {lost[0]} is out of service"
        if memory.latched:
            due[f"latched:{group.name}"] = f"{group.name}: too many automatic moves within an hour; no failback until unlatch"
        if memory.frozen is not None:
            due[f"frozen:{group.name}"] = f"{group.name}: a due move waits: {memory.frozen}"
    return due


def _switched(world: World) -> dict[str, str]:
    """While one is on, calls don't go where the plan alone would send them; and one that the live plan lacks does nothing."""
    due: dict[str, str] = {}
    for kind, section in FIELDS.items():
        active: Switched = getattr(world, section)
        if not active or world.plan is None:
            continue
        known = {one.name for one in getattr(world.plan.topology, section)}
        for name, on in active.items():
            by = f"{on.actor}: {on.reason}" if on.reason else on.actor
            missing = "" if name in known else f", but revision {world.plan.revision} has none of that name"
            due[f"{kind}-on:{name}"] = f"{kind} {name} is on {until_words(on)}{missing} ({by})"
    return due


def _why_stays(world: World, failover: str, memory: Memory) -> str:
    if memory.pinned is not None:
        return f"the group is pinned to {memory.pinned}"
    if failover == "manual":
        return "only an operator moves this group"
    return "automation is paused" if not world.automation else "the group has not moved"


def _sbcs(world: World) -> dict[str, str]:
    due: dict[str, str] = {}
    for name, seen in world.sbcs.items():
        if world.edge is None or name not in world.edge.tenants_of_sbc:
            continue
        if seen.operating == Operating.OUT_OF_SERVICE and world.sbc_admin.get(name, Admin.ENABLED) is Admin.ENABLED:
            due[f"sbc-lost:{name}"] = f"SBC {name} is out of service: {seen.reason}"
        elif seen.operating == Operating.IN_SERVICE and seen.missed_probes >= 3:
            due[f"sbc-deaf:{name}"] = f"SBC {name}: {seen.reason}"
    return due


def _expected(world: World) -> dict[str, str]:
    due: dict[str, str] = {}
    for pair in world.plan.topology.pairs if world.plan is not None else ():
        if pair.srv is not None and pair.expect is not None:
            found = len(world.resolved.get(pair.name, ()))
            if found < pair.expect:
                due[f"srv-short:{pair.name}"] = f"pair {pair.name}: DNS gives {found} SBCs, {pair.expect} are expected"
    return due
