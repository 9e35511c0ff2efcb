"""Operators' commands: are they well formed, does a safety rule forbid them, and what would they touch?

`plan_change` only reads: it returns what to do, or why not. A refusal names its rule; `force` with that name overrides it.
Several groups in one command are all moved or none.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from sipctl.control import admin_changes, overlay_changes
from sipctl.control.case import MAX_TEXT, Case, Change, No, Stopped, names_of, not_pinned
from sipctl.control.overlays import switched
from sipctl.control.ports import Command
from sipctl.control.world import World
from sipctl.failover.memory import BCP, PRIMARY, other
from sipctl.routing.snapshot import Admin, Group

OPS: Final = (
    "failover", "failback", "pin", "unpin", "unlatch", "automation", "sbc-admin", "sbc-probe", "trunk-allow", "trunk-admin",
    "tenant-admin", "node-admin", "overlay-on", "overlay-off", "switch-on", "switch-off", "apply", "rollback", "alarm-ack",
)
MAX_GROUPS: Final = 10_000  # of one command


def plan_change(world: World, command: Command, unix_s: float) -> Change | No:
    """Check a command against the world and say what it does."""
    check = _OPS.get(command.op)
    if check is None:
        return No("invalid", "unknown-command", f"there is no command {command.op!r}", f"one of {', '.join(OPS)}")
    if command.op != "alarm-ack" and command.op != "sbc-probe" and not command.reason.strip():
        return No("invalid", "reason-required", "a change needs a reason", "--reason TEXT")
    if len(command.reason) > MAX_TEXT:
        return No("invalid", "reason-too-long", f"a reason has at most {MAX_TEXT} characters")
    if world.plan is None:
        return No("refused", "no-plan", "there is no live plan yet")
    try:
        return check(Case(world, world.plan.topology, command, unix_s))
    except Stopped as stop:
        return stop.no


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
    )


def _merged(before: Mapping[str, Admin], change: Mapping[str, Admin]) -> Mapping[str, Admin]:
    """Enabled is what a name without an entry is."""
    if not change:
        return before
    return {name: state for name, state in {**before, **change}.items() if state is not Admin.ENABLED}


# -- groups --------------------------------------------------------------------------------------------------------------------


def _failover(case: Case) -> Change:
    to = case.choice("to", (BCP, PRIMARY))
    groups = _chosen_groups(case, leaving=other(to))
    for group in groups:
        not_pinned(case, group)
        case.check_target(group, to)
    orders = tuple((group.name, case.order("failover", to)) for group in groups)
    return Change(f"{names_of(groups)}: new calls go to {to} and stay there until failback", orders, body=case.blast(groups))


def _failback(case: Case) -> Change:
    groups, now = _chosen_groups(case), case.flag("now")
    for group in groups:
        not_pinned(case, group)
        if case.memory(group).bcp_percent:
            case.check_target(group, PRIMARY)
    orders = tuple((group.name, case.order("failback", now=now)) for group in groups)
    return Change(f"{names_of(groups)}: back to primary {'at once' if now else 'by its ramp'}", orders, body=case.blast(groups))


def _pin(case: Case) -> Change:
    group, to = case.group(case.text("group")), case.choice("to", (BCP, PRIMARY))
    case.check_target(group, to)
    orders = ((group.name, case.order("pin", to)),)
    return Change(f"{group.name} is pinned to {to}", orders, body=case.blast((group,)))


def _unpin(case: Case) -> Change:
    group = case.group(case.text("group"))
    return Change(f"{group.name} is no longer pinned", ((group.name, case.order("unpin")),), body=case.blast((group,)))


def _unlatch(case: Case) -> Change:
    group = case.group(case.text("group"))
    return Change(f"{group.name} may fail back again", ((group.name, case.order("unlatch")),), body=case.blast((group,)))


def _chosen_groups(case: Case, leaving: str = PRIMARY) -> tuple[Group, ...]:
    """The groups a command names: `group`, `groups`, `tenant` (a glob over the tenants to be left), or `all`."""
    args = case.command.args
    if args.get("all") is True:
        groups = case.topology.groups
    elif "tenant" in args:
        pattern = case.text("tenant")
        groups = tuple(
            group for group in case.topology.groups if fnmatch.fnmatchcase(case.tenant_of(group, leaving), pattern)
        )
        if not groups:
            raise Stopped(No("invalid", "unknown-tenant", f"no group has a {leaving} tenant that matches {pattern!r}"))
    else:
        listed = args.get("groups", [args["group"]] if "group" in args else [])
        if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed) or len(listed) > MAX_GROUPS:
            raise Stopped(No("invalid", "bad-argument", "groups is a list of names"))
        groups = tuple(case.group(name) for name in dict.fromkeys(listed))
    if not groups:
        raise Stopped(No("invalid", "missing-argument", f"{case.command.op} needs a group, a tenant or all"))
    return groups


_OPS: Final[Mapping[str, Callable[[Case], Change]]] = {
    "failover": _failover,
    "failback": _failback,
    "pin": _pin,
    "unpin": _unpin,
    "unlatch": _unlatch,
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
}
