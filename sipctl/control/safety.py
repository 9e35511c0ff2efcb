"""Safety rules: what an operator's change must never do by accident, each a named row of one table.

A refusal names its rule. `--force RULE` overrides it for the roles its row names; a rule that no role may force yields only to
break-glass, and also then only when it is named. The rules are the same for one group and for all of them, for what is asked now
and for what was proposed before. Pure; `Case.refuse` (case.py) is the only way a rule speaks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sipctl.failover.memory import BCP, PRIMARY, Memory
from sipctl.routing.snapshot import Admin, EntryPoint, Group, Operating, Topology

if TYPE_CHECKING:
    from sipctl.control.world import World

ROLES: Final = ("viewer", "editor", "operator", "admin")  # each may do what those before it may
STALE_S: Final = 10.0  # routers tell what they see twice a second: measured states older than this are no ground to move calls on


@dataclass(frozen=True, slots=True)
class Rule:
    """One safety rule."""

    sentence: str  # what it keeps from happening
    forced_by: str = "operator"  # the least role that may force it; "": none
    glass: bool = True  # yields to break-glass, if it is forced by name


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "both-tenants-off": Rule("neither tenant of a group would take calls", forced_by=""),
        "target-out-of-service": Rule("the tenant moved to is out of service"),
        "target-not-enabled": Rule("the tenant moved to is drained or disabled"),
        "target-too-small": Rule("the tenant moved to does not take so many calls"),
        "stale-view": Rule("what is known of the SBCs is old: no router has told anything for a while"),
        "mixed-routers": Rule("a router does not take what is published: the change would be done in part"),
        "pinned": Rule("the group is pinned"),
        "last-usable-sbc": Rule("a tenant that takes calls would be left without a usable SBC"),
        "active-tenant": Rule("the tenant takes new calls of a group"),
        "last-trunk": Rule("no trunk would be left that may send calls"),
        "group-not-normal": Rule("a group that is held, pinned, latched or on its way would leave the plan", "editor"),
        "shrunken-plan": Rule("fewer than half of the live plan's numbers would be left", "editor"),
        "overlay-collides": Rule("two overlays that are on would say different things of one entry point", "editor"),
        "switch-collides": Rule("two kill switches that are on would say different things of one call", "editor"),
        "active-overlay": Rule("the plan would lose an overlay that is on", "editor"),
        "active-switch": Rule("the plan would lose a kill switch that is on", "editor"),
        "approval-weakened": Rule("the plan would ask for fewer second persons than the live one", forced_by=""),
    }
)


def at_least(role: str, needed: str) -> bool:
    """May this role do what needs that one? An unknown role may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def may_force(rule: str, role: str, *, glass: bool) -> bool:
    """May a role override this rule, its name given?"""
    known = RULES[rule]
    return (bool(known.forced_by) and at_least(role, known.forced_by)) or (glass and known.glass)


def how_to_force(rule: str, role: str, *, named: bool) -> str:
    """What somebody of this role can do about a refusal, in a sentence."""
    known = RULES[rule]
    if known.forced_by and at_least(role, known.forced_by):
        return f"--force {rule} overrides it"
    who = f"only {known.forced_by} may force it" if known.forced_by else "no role may force it"
    if not known.glass:
        return who
    return f"{who}; in an emergency: --break-glass{'' if named else f' --force {rule}'}"


def forced(force: Iterable[str], role: str, *, glass: bool) -> tuple[str, ...]:
    """Of the rules that were named, those that this role may override now."""
    return tuple(rule for rule in force if rule in RULES and may_force(rule, role, glass=glass))


# -- what the rules ask of the world -----------------------------------------------------------------------------------------


def stale(world: World, now_s: float | None) -> str:
    """Why what was measured is no ground to move on; "" while it is fresh, or while no router is there to be reached."""
    if now_s is None or not world.sbcs:
        return ""
    told_s = [router.heard_s for router in world.routers.values() if router.observe is not None]
    if not told_s or now_s - max(told_s) <= STALE_S:
        return ""
    return f"no router has told anything for {now_s - max(told_s):.0f} s"


def mixed(world: World) -> str:
    """Why a change would be done in part; "" if every router takes what is published."""
    refusing = sorted(router.name for router in world.routers.values() if router.refused)
    return f"{', '.join(refusing)} did not take the last publication" if refusing else ""


def room(world: World, topology: Topology, tenant: int) -> int | None:
    """How many calls a tenant takes at once, by its own limit and by those of its SBCs that are usable now; None: no limit."""
    known = topology.tenants[tenant]
    limits = {sbc.name: sbc.max_calls for sbc in topology.sbcs}
    most = known.max_calls
    if world.edge is None:
        return most
    usable = [name for name in world.edge.sbcs_of_tenant[tenant] if is_usable(world, name, world.sbc_admin)]
    each = [limits.get(name) for name in usable]
    if usable and all(limit is not None for limit in each):
        together = sum(limit for limit in each if limit is not None)
        most = together if most is None else min(most, together)
    return most


def too_small(world: World, topology: Topology, moves: Collection[tuple[Group, str]]) -> str:
    """Why the tenants these groups would be moved to do not take their calls as well; "" if they do.

    Args:
        moves: (group, side) for each.
    """
    coming: dict[int, int] = {}
    for group, side in moves:
        share = world.groups.get(group.name, Memory()).bcp_percent
        away = 100 - share if side == BCP else share
        target = group.bcp if side == BCP else group.primary
        hundredths = sum(
            calls_at(world, (entry.name,)) * percent
            for entry in topology.entry_points
            for index, percent in shares(entry)
            if topology.groups[index] is group
        )
        coming[target] = coming.get(target, 0) - (-hundredths * away // 10_000)  # rounded up
    for tenant, calls in coming.items():
        most, name = room(world, topology, tenant), topology.tenants[tenant].name
        has = calls_of_tenant(world, name) or 0
        if most is not None and calls and has + calls > most:
            return f"{name} takes {most} calls at once and has {has}; {calls} are up at what is moved to it"
    return ""


def both_off(world: World, topology: Topology, tenant_admin: Mapping[str, Admin], sbc_admin: Mapping[str, Admin]) -> str:
    """A group of which this change would take the last tenant that can take calls; "" if there is none.

    Args:
        tenant_admin, sbc_admin: the admin states after the change, whole.
    """
    for group in topology.groups:
        sides = (group.primary, group.bcp)
        if any(_is_on(world, topology, side, world.tenant_admin, world.sbc_admin) for side in sides) and not any(
            _is_on(world, topology, side, tenant_admin, sbc_admin) for side in sides
        ):
            names = " and ".join(topology.tenants[side].name for side in sides)
            return f"{names} would both be off: {group.name} would have nowhere to go"
    return ""


def _is_on(
    world: World, topology: Topology, tenant: int, tenant_admin: Mapping[str, Admin], sbc_admin: Mapping[str, Admin]
) -> bool:
    """Would a tenant take calls under these admin states?"""
    if tenant_admin.get(topology.tenants[tenant].name, Admin.ENABLED) is not Admin.ENABLED:
        return False
    sbcs = world.edge.sbcs_of_tenant[tenant] if world.edge is not None else ()
    return not sbcs or any(is_usable(world, name, sbc_admin) for name in sbcs)  # one whose names DNS has yet to give is not off


def is_usable(world: World, sbc: str, admin: Mapping[str, Admin]) -> bool:
    """Is an SBC enabled and not out of service?"""
    seen = world.sbcs.get(sbc)
    return admin.get(sbc, Admin.ENABLED) is Admin.ENABLED and (seen is None or seen.operating != Operating.OUT_OF_SERVICE)


# -- how much it touches -----------------------------------------------------------------------------------------------------


def calls_at(world: World, entry_points: Iterable[str]) -> int:
    """Calls up at these entry points, over all routers."""
    names = tuple(entry_points)
    return sum(
        router.observe.entry_points.get(name, 0)
        for router in world.routers.values()
        if router.observe is not None
        for name in names
    )


def calls_of_tenant(world: World, tenant: str) -> int | None:
    """Calls up at a tenant, over all routers; None if no router has told."""
    seen = [router.observe.tenants.get(tenant, 0) for router in world.routers.values() if router.observe is not None]
    return sum(seen) if seen else None


def calls_of_sbc(world: World, sbc: str) -> int | None:
    """Calls up at an SBC, over all routers; None if no router has told."""
    seen = [router.observe.sbcs for router in world.routers.values() if router.observe is not None]
    return sum(sbcs[sbc].calls for sbcs in seen if sbc in sbcs) if seen else None


def calls_of_node(world: World) -> int | None:
    """All calls up; None if no router has told."""
    seen = [router.observe.calls for router in world.routers.values() if router.observe is not None]
    return sum(seen) if seen else None


def radius(world: World, body: Mapping[str, Any]) -> dict[str, Any]:
    """The blast radius of a change: what its check measured, with its share of everything and about how many new calls a second.

    Args:
        body: what was measured, with `numbers` and `calls` where they are known.
    Returns: the body, and `of_numbers`, `of_calls` (percent, rounded up) and `cps_about` where they can be told.
    """
    found = dict(body)
    numbers, calls = body.get("numbers"), body.get("calls")
    every = sum(world.plan.numbers.values()) if world.plan is not None else 0
    up = calls_of_node(world)
    if isinstance(numbers, int) and every:
        found["of_numbers"] = _percent(numbers, every)
    if isinstance(calls, int) and up:
        found["of_calls"] = _percent(calls, up)
        cps = sum(
            trunk.cps
            for router in world.routers.values()
            if router.observe is not None
            for trunk in router.observe.trunks.values()
        )
        found["cps_about"] = round(cps * min(calls, up) / up, 1)
    return found


def _percent(part: int, whole: int) -> int:
    """Rounded up, so that a little is never nothing; at most 100: what was counted a moment apart may not add up."""
    return min(100, -(-part * 100 // whole))


def shares(entry: EntryPoint) -> tuple[tuple[int, int], ...]:
    """(group index, percent) of each group that an entry point's calls may go to."""
    return entry.split or ((entry.group, 100),)


def groups_of_tenants(topology: Topology, names: Collection[str]) -> tuple[Group, ...]:
    """Groups that have one of these tenants on either side."""
    return tuple(
        group
        for group in topology.groups
        if topology.tenants[group.primary].name in names or topology.tenants[group.bcp].name in names
    )


def sides_of(world: World, group: Group) -> tuple[str, ...]:
    """The sides that take new calls of a group now."""
    percent = world.groups.get(group.name, Memory()).bcp_percent
    return (PRIMARY,) if percent == 0 else (BCP,) if percent == 100 else (PRIMARY, BCP)
