"""What another plan would lose, and what it may not: the state of a group is an operator's or a failure's, never an editor's.

Pure. A group leaves by being removed or by changing its name. In its normal place nobody misses it; on its way, held, pinned or
latched it carries a decision about live calls, which an edit must not drop: `renamed_from` carries it over, else it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sipctl.control.case import No
from sipctl.control.overlay_changes import wishes_lost
from sipctl.control.ports import Command
from sipctl.control.safety import forced, shares
from sipctl.control.world import Plan, World
from sipctl.failover.machine import State
from sipctl.failover.memory import Memory
from sipctl.routing.snapshot import EntryPoint, Topology

GROUP_NOT_NORMAL: Final = "group-not-normal"
APPROVAL_WEAKENED: Final = "approval-weakened"
SHRUNKEN_PLAN: Final = "shrunken-plan"
MIN_JUDGED_NUMBERS: Final = 100  # a live plan of fewer may shrink as it likes
MIN_KEPT: Final = 0.5  # share of the live plan's numbers that a plan keeps without being asked
MAX_NAMED: Final = 5  # groups named in one sentence


def forbidden(world: World, plan: Plan, force: tuple[str, ...]) -> No | None:
    """The first rule that this plan breaks now and that is not forced."""
    before = world.plan
    if before is None:
        return None
    lost = lost_groups(before.topology, plan.topology, world.groups)
    if lost and GROUP_NOT_NORMAL not in force:
        listed = "; ".join(f"{name} {why}" for name, why in list(lost.items())[:MAX_NAMED])
        more = f"; and {len(lost) - MAX_NAMED} more" if len(lost) > MAX_NAMED else ""
        hint = f"`renamed_from: {next(iter(lost))}` in the group that takes its place carries its state over; or fail back first"
        return No("refused", GROUP_NOT_NORMAL, f"the plan removes a group that is not at rest: {listed}{more}", hint)
    weaker = weakened(before.topology, plan.topology)
    if weaker and APPROVAL_WEAKENED not in force:
        hint = f"keep it as it is; or, told to everybody: sipctl break-glass on, then --force {APPROVAL_WEAKENED}"
        return No("refused", APPROVAL_WEAKENED, f"the plan asks for fewer second persons than the live one: {weaker}", hint)
    had, left = sum(before.numbers.values()), sum(plan.numbers.values())
    if had >= MIN_JUDGED_NUMBERS and left < had * MIN_KEPT and SHRUNKEN_PLAN not in force:
        hint = f"an export that was cut short looks like this; if it is meant: --force {SHRUNKEN_PLAN}"
        return No("refused", SHRUNKEN_PLAN, f"the plan keeps {left} numbers of {had}: calls to the others would be refused", hint)
    return wishes_lost(before.topology, plan.topology, world, force)


def may_overrule(world: World, command: Command) -> tuple[str, ...]:
    """Of the rules that an apply names to be forced, those it may force."""
    return forced(command.force, command.role, glass=world.glass is not None and world.glass.actor == command.actor)


def weakened(before: Topology, after: Topology) -> str:
    """How a plan asks for fewer second persons than another; "" if it does not.

    Who may change the plan alone could else take the second person out of it, and then move the group alone.
    """
    staying = {group.name: group for group in after.groups}
    called = {old: new for new, old in renames(before, after).items()}
    for group in before.groups:
        if not group.approved_by:
            continue
        now = staying.get(called.get(group.name, group.name))
        if now is None:
            return f"{group.name} asks for two-person moves and leaves the plan"
        if not now.approved_by:
            return f"{group.name} asks for them no more"
        if more := sorted(set(now.approved_by) - set(group.approved_by)):
            return f"{', '.join(more)} may approve moves of {group.name}"
    if less := _given_away(before, after):
        return less
    old, new = before.approval, after.approval
    if old.above_percent is not None and (new.above_percent is None or new.above_percent > old.above_percent):
        return f"limits.approval_above was {old.above_percent} %"
    if more := sorted(set(new.by) - set(old.by)):
        return f"limits.approval_by: {', '.join(more)} may approve"
    if new.token_age_s < old.token_age_s:
        return "limits.approver_age is shorter"
    if (more := sorted(set(new.glass_by) - set(old.glass_by))) or new.glass_s > old.glass_s:
        return f"limits.break_glass: {', '.join(more)} may break it" if more else "limits.break_glass lasts longer"
    return ""


def _given_away(before: Topology, after: Topology) -> str:
    """An entry point of which a larger share would move with fewer second persons; "" if there is none."""
    staying = {entry.name: entry for entry in after.entry_points}
    for entry in before.entry_points:
        now = staying.get(entry.name)
        for index, _ in shares(entry):
            group = before.groups[index]
            if not group.approved_by:
                continue
            if now is None:
                return f"{entry.name} of {group.name}, which asks for two-person moves, leaves the plan"
            roles = frozenset(group.approved_by)
            if _asking(after, now, roles) < _asking(before, entry, roles):
                return f"{entry.name} leaves {group.name}, which asks for two-person moves"
    return ""


def _asking(topology: Topology, entry: EntryPoint, roles: frozenset[str]) -> int:
    """Percent of an entry point's calls in groups whose moves wait for one of these roles and of no other."""
    asked = ((topology.groups[index].approved_by, percent) for index, percent in shares(entry))
    return sum(percent for by, percent in asked if by and roles.issuperset(by))


def lost_groups(before: Topology, after: Topology, groups: Mapping[str, Memory]) -> dict[str, str]:
    """Groups that leave the plan with a state nobody carries on: name → why that matters."""
    staying = {group.name for group in after.groups} | set(renames(before, after).values())
    left = {group.name: _standing(groups.get(group.name, Memory())) for group in before.groups if group.name not in staying}
    return {name: why for name, why in left.items() if why}


def renames(before: Topology, after: Topology) -> dict[str, str]:
    """New name → old name of each group that carries on another's state.

    A plan says so by `renamed_from`; a plan from before the renaming says it by what the later one said.
    """
    old = {group.name for group in before.groups}
    new = {group.name for group in after.groups}
    found = {
        group.name: group.renamed_from for group in after.groups
        if group.renamed_from in old and group.renamed_from not in new and group.name not in old
    }  # fmt: skip
    for group in before.groups:
        if group.renamed_from in new and group.renamed_from not in old and group.name not in new:
            found.setdefault(group.renamed_from, group.name)
    return found


def carried(groups: Mapping[str, Memory], before: Topology | None, after: Topology) -> Mapping[str, Memory]:
    """The groups' memories under another plan: a renamed group goes on under its new name.

    Done again it changes nothing more: the old name's memory is gone after the first time. Without a plan before (a restart) what
    the plan says of itself counts, for a name that has no memory yet.
    """
    if before is not None:
        pairs = renames(before, after)
    else:
        names = {group.name for group in after.groups}
        pairs = {group.name: group.renamed_from or "" for group in after.groups if group.renamed_from not in names}
        pairs = {new: old for new, old in pairs.items() if new not in groups}
    moved = {new: groups[old] for new, old in pairs.items() if old in groups}
    if not moved:
        return groups
    kept = {name: memory for name, memory in groups.items() if name not in pairs.values()}
    for name, memory in moved.items():
        known = groups.get(name)
        kept[name] = memory if known is None else replace(memory, epoch=max(memory.epoch, known.epoch))
    return kept


def touched(world: World, plan: Plan) -> dict[str, Any]:
    """What an apply touches: numbers before and after, what leaves the plan, and the calls that are up on it."""
    before = world.plan
    after = plan.topology
    body: dict[str, Any] = {"numbers": sum(plan.numbers.values())}
    if before is None:
        return body
    trunks = {trunk.name for trunk in before.topology.trunks} - {trunk.name for trunk in after.trunks}
    sbcs = {sbc.name for sbc in before.topology.sbcs} - {sbc.name for sbc in after.sbcs}
    entries = {entry.name for entry in before.topology.entry_points} - {entry.name for entry in after.entry_points}
    observed = [router.observe for router in world.routers.values() if router.observe is not None]
    body["numbers_before"] = sum(before.numbers.values())
    body["removed"] = {"trunks": sorted(trunks), "sbcs": sorted(sbcs), "entry_points": sorted(entries)}
    body["renamed"] = [f"{old} is now {new}" for new, old in sorted(renames(before.topology, after).items())]
    body["calls"] = sum(one.trunks[name].calls for one in observed for name in trunks if name in one.trunks) + sum(
        one.sbcs[name].calls for one in observed for name in sbcs if name in one.sbcs
    )
    return body


def _standing(memory: Memory) -> str:
    """What a group that goes away would take with it; "" if nothing."""
    if memory.pinned is not None:
        return f"is pinned to {memory.pinned}"
    if memory.held is not None:
        return f"is held at {memory.held} by {memory.held_by}"
    if memory.state != State.NORMAL.value or memory.bcp_percent:
        return f"is {memory.state}, {memory.bcp_percent} % of its new calls at its BCP tenant"
    return "is latched" if memory.latched else ""
