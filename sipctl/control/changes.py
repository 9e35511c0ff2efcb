"""Operators' commands: are they well formed, does a safety rule forbid them, must a second person agree, what do they touch?

`plan_change` only reads: it returns what to do, or why not. A refusal names its rule; `force` with that name overrides it for
those who may (safety.py). What needs a second person becomes a proposal (approvals.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from sipctl.control import admin_changes, group_changes, op_changes, overlay_changes
from sipctl.control.approvals import TWO_PERSON, Need, Proposal
from sipctl.control.case import MAX_TEXT, Case, Change, No, Stopped
from sipctl.control.overlays import switched
from sipctl.control.ports import Command
from sipctl.control.safety import RULES, at_least, radius
from sipctl.control.world import World
from sipctl.routing.snapshot import Admin

# Every command and the least role that may give it; the API's routes ask for the same (api/routes.py).
OP_ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "failover": "operator", "failback": "operator", "pin": "operator", "unpin": "operator", "unlatch": "operator",
        "automation": "operator", "sbc-admin": "operator", "sbc-probe": "operator", "trunk-allow": "operator",
        "trunk-admin": "operator", "tenant-admin": "operator", "node-admin": "operator", "overlay-on": "operator",
        "overlay-off": "operator", "switch-on": "operator", "switch-off": "operator", "apply": "editor", "rollback": "editor",
        "canary-grow": "editor", "canary-promote": "editor", "canary-abort": "editor",
        "alarm-ack": "operator", "op-abort": "operator", "op-approve": "operator", "op-reject": "operator",
        "break-glass": "operator",
    }
)  # fmt: skip
OPS: Final = tuple(OP_ROLES)
NO_REASON: Final = frozenset({"alarm-ack", "sbc-probe"})  # they change nothing that calls meet


def plan_change(world: World, command: Command, unix_s: float, now_s: float | None = None) -> Change | No:
    """Check a command against the world and say what it does.

    Args:
        now_s: monotonic; None: how old the view is is not judged.
    """
    wrong = _ill_formed(world, command)
    if wrong is not None:
        return wrong
    assert world.plan is not None
    case = Case(world, world.plan.topology, command, unix_s, now_s)
    glass = op_changes.glass_for(case) if command.break_glass else None
    if isinstance(glass, No):
        return glass
    change = _op_approve(case) if command.op == "op-approve" else _judged(case)
    if isinstance(change, No):
        return change
    need = None if case.has_glass or change.status or command.op == "op-approve" else _need(case, change)
    if need is None:
        return change if glass is None else replace(change, glass=glass)
    if command.dry_run:
        return replace(change, body={**change.body, "approval": need.why, "approval_by": list(need.by)})
    return op_changes.proposed(case, change, need, _base(case, change))


def _ill_formed(world: World, command: Command) -> No | None:
    """What is wrong with a command whatever the world is like, but for its arguments."""
    if command.op not in _OPS and command.op != "op-approve":
        return No("invalid", "unknown-command", f"there is no command {command.op!r}", f"one of {', '.join(OPS)}")
    if command.op not in NO_REASON and not command.reason.strip():
        return No("invalid", "reason-required", "a change needs a reason", "--reason TEXT")
    if len(command.reason) > MAX_TEXT:
        return No("invalid", "reason-too-long", f"a reason has at most {MAX_TEXT} characters")
    no = role_missing(command)
    if no is not None:
        return no
    unknown = sorted(set(command.force) - set(RULES))
    if unknown:
        return No("invalid", "unknown-rule", f"there is no safety rule {', '.join(unknown)}", f"one of {', '.join(RULES)}")
    return No("refused", "no-plan", "there is no live plan yet") if world.plan is None else None


def role_missing(command: Command) -> No | None:
    """Why this role may not give this command (one of OPS); None if it may. The desk asked already; this is the last word."""
    if at_least(command.role, OP_ROLES[command.op]):
        return None
    who = f"{command.actor} is {command.role or 'of no role'}"
    return No("refused", "role", f"{who}; {command.op} needs {OP_ROLES[command.op]}", "ask an admin for a token")


def _judged(case: Case) -> Change | No:
    """What a command does, by its own check; its blast radius weighed, and the rules named that were overruled."""
    try:
        change = _OPS[case.command.op](case)
    except Stopped as stop:
        return stop.no
    body = radius(case.world, change.body)
    if case.overruled:
        body["overruled"] = sorted(set(case.overruled))
    return replace(change, body=body)


def check_again(world: World, command: Command, unix_s: float, now_s: float) -> Change | No:
    """A part of a command that was admitted before, checked by itself now: rules, but no second person any more."""
    assert world.plan is not None
    return _judged(Case(world, world.plan.topology, command, unix_s, now_s))


def _op_approve(case: Case) -> Change | No:
    def judge(world: World, command: Command, approved_by: str) -> Change | No:
        return _judged(Case(world, case.topology, command, case.unix_s, case.now_s, approved_by))

    try:
        return op_changes.approve(case, judge, _base)
    except Stopped as stop:
        return stop.no


def _need(case: Case, change: Change) -> Need | None:
    """Why a change waits for a second person; None if it does not.

    What gives calls back their way (enabling, switching off, unpinning) never waits.
    """
    states = (*change.sbc_admin.values(), *change.tenant_admin.values(), *change.trunk_admin.values(), change.node_admin)
    narrowed = any(state not in (None, Admin.ENABLED) for state in states)
    if not change.touches and not narrowed:
        return None
    asked = [group for group in case.topology.groups if group.name in change.touches and group.approved_by]
    if asked:
        by = [set(group.approved_by) for group in asked]
        roles = tuple(role for role in asked[0].approved_by if all(role in one for one in by)) or ("admin",)
        return Need(f"{', '.join(group.name for group in asked[:5])} asks for {TWO_PERSON} moves", roles)
    policy = case.topology.approval
    share = max(change.body.get("of_numbers", 0), change.body.get("of_calls", 0))
    if policy.above_percent is None or share <= policy.above_percent:
        return None
    what = "numbers" if share == change.body.get("of_numbers") else "calls up"
    return Need(f"it touches {share} % of all {what}, limits.approval_above is {policy.above_percent} %", policy.by)


def _base(case: Case, change: Change) -> Mapping[str, str]:
    """What of the world a change builds on, in words: what must not have changed until a second person agrees."""
    world = case.world
    assert world.plan is not None
    touched = {*change.touches, *(name for name, _ in change.orders)}
    base = {"plan": f"revision {world.plan.revision}"}
    for kind, changed, states in (
        ("trunk", change.trunk_admin, world.trunk_admin), ("SBC", change.sbc_admin, world.sbc_admin),
        ("tenant", change.tenant_admin, world.tenant_admin),
    ):  # fmt: skip
        base |= {f"{kind} {name}": states.get(name, Admin.ENABLED).name.lower() for name in changed}
    if change.node_admin is not None:
        base["node"] = world.node_admin.name.lower()
    for kind, active in (("overlay", world.overlays), ("switch", world.switches)):
        base |= {f"{kind} {name}": "on" for name in active}
    for group in case.topology.groups:
        if group.name not in touched:
            continue
        base[f"group {group.name}"] = f"at decision {case.memory(group).epoch}"
        for side in (group.primary, group.bcp):
            tenant = case.topology.tenants[side].name
            base[f"tenant {tenant}"] = world.tenant_admin.get(tenant, Admin.ENABLED).name.lower()
            for sbc in world.edge.sbcs_of_tenant[side] if world.edge is not None else ():
                base[f"SBC {sbc}"] = world.sbc_admin.get(sbc, Admin.ENABLED).name.lower()
    return base


def with_change(world: World, change: Change) -> World:
    """The world after the admin part of a change; its orders go to the groups (reconcile.py)."""
    return replace(
        world,
        sbc_admin=_merged(world.sbc_admin, change.sbc_admin),
        tenant_admin=_merged(world.tenant_admin, change.tenant_admin),
        trunk_admin=_merged(world.trunk_admin, change.trunk_admin),
        node_admin=world.node_admin if change.node_admin is None else change.node_admin,
        automation=world.automation if change.automation is None else change.automation,
        overlays=switched(world.overlays, change.overlays),
        switches=switched(world.switches, change.switches),
        extra_sources=world.extra_sources if change.extra_sources is None else change.extra_sources,
        proposals=_decided(world.proposals, change.proposals),
        glass=None if change.seal else change.glass or world.glass,
        pending=tuple(one for one in world.pending if one.id not in {name for name, _, _ in change.ended})
        if change.ended
        else world.pending,
    )


def _merged(before: Mapping[str, Admin], change: Mapping[str, Admin]) -> Mapping[str, Admin]:
    """Enabled is what a name without an entry is."""
    if not change:
        return before
    return {name: state for name, state in {**before, **change}.items() if state is not Admin.ENABLED}


def _decided(before: Mapping[str, Proposal], change: Mapping[str, Proposal | None]) -> Mapping[str, Proposal]:
    if not change:
        return before
    return {name: one for name, one in {**before, **change}.items() if one is not None}


_OPS: Final[Mapping[str, Callable[[Case], Change]]] = {
    "failover": group_changes.failover,
    "failback": group_changes.failback,
    "pin": group_changes.pin,
    "unpin": group_changes.unpin,
    "unlatch": group_changes.unlatch,
    "automation": admin_changes.automation,
    "sbc-admin": admin_changes.sbc_admin,
    "sbc-probe": admin_changes.sbc_probe,
    "trunk-allow": admin_changes.trunk_allow,
    "trunk-admin": admin_changes.trunk_admin,
    "tenant-admin": admin_changes.tenant_admin,
    "node-admin": admin_changes.node_admin,
    "overlay-on": overlay_changes.overlay_on,
    "overlay-off": overlay_changes.overlay_off,
    "switch-on": overlay_changes.switch_on,
    "switch-off": overlay_changes.switch_off,
    "alarm-ack": admin_changes.alarm_ack,
    "op-abort": op_changes.abort,
    "op-reject": op_changes.reject,
    "break-glass": op_changes.break_glass,
}
