"""Commands that move groups, hold them, and let them go: one group, a tenant's, or all.

Several groups in one command are all moved or none, and the answer tells what each of them says; with `partial` those move that
may, with `spread_s` one after the other.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sipctl.control import following, op_changes
from sipctl.control.case import Case, Change, No, Stopped, check_room, check_sight, names_of, not_pinned
from sipctl.failover.memory import BCP, PRIMARY, Order, other
from sipctl.routing.snapshot import Group

MAX_GROUPS: Final = 10_000  # of one command
MAX_SPREAD_S: Final = 86_400.0  # over which the groups of one command are moved


def failover(case: Case) -> Change:
    to = case.choice("to", (BCP, PRIMARY))
    return _moved(
        case, _chosen_groups(case, leaving=other(to)), "failover", to, f"new calls go to {to} and stay there until failback"
    )


def failback(case: Case) -> Change:
    now = case.flag("now")
    groups = _chosen_groups(case)
    if not case.command.args.keys() & {"group", "groups"}:  # of all of them, those that have anywhere to go back from
        groups = tuple(group for group in groups if case.memory(group).bcp_percent or case.memory(group).held) or groups
    return _moved(case, groups, "failback", PRIMARY, f"back to primary {'at once' if now else 'by its ramp'}", now=now)


def _moved(case: Case, groups: tuple[Group, ...], kind: str, to: str, what: str, *, now: bool = False) -> Change:
    """A move of one group or many: all or none, each one's say in the answer; with `partial` those that may; or spread."""
    check_sight(case)
    over_s, moving, results = _spread_s(case), [], {}
    first: No | None = None
    for group in groups:
        try:
            not_pinned(case, group)
            if kind == "failover" or case.memory(group).bcp_percent:
                case.check_target(group, to)
        except Stopped as stop:
            results[group.name] = f"refused ({stop.no.code}): {stop.no.text}"
            first = first or stop.no
        else:
            moving.append(group)
            results[group.name] = "moves" if _goes(case, group, to) else "is there already"
    if first is not None and (not case.flag("partial") or not moving):
        rest = f"; {len(results)} groups were asked, none is moved" if len(results) > 1 else ""
        more = "--partial moves those that may; " if moving else ""
        raise Stopped(replace(first, text=first.text + rest, hint=more + first.hint, body={"results": results}))
    check_room(case, [(group, to) for group in moving])
    orders = tuple((group.name, case.order(kind, to, now=now)) for group in moving)
    body = {**case.blast(moving), **({"results": results} if len(groups) > 1 else {})}
    text = f"{names_of(tuple(moving))}: {what}"
    if first is not None:
        text += f"; {len(groups) - len(moving)} of {len(groups)} groups are refused and stay"
    touches = tuple(group.name for group in moving)
    if over_s and len(moving) > 1:
        return _spread(case, orders, over_s, text, body, touches)
    return Change(
        text, orders, body=body, touches=touches, follow=op_changes.ramped(case, orders) if kind == "failback" else None
    )


def _goes(case: Case, group: Group, to: str) -> bool:
    percent = case.memory(group).bcp_percent
    return percent != (100 if to == BCP else 0)


def _spread_s(case: Case) -> float:
    """Over how many seconds the groups are to be moved, one after the other; 0: all at once."""
    value = case.command.args.get("spread_s", 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SPREAD_S:
        raise Stopped(No("invalid", "bad-argument", f"spread_s is a number of 0..{MAX_SPREAD_S:g} seconds"))
    return float(value)


def _spread(
    case: Case,
    orders: tuple[tuple[str, Order], ...],
    over_s: float,
    text: str,
    body: Mapping[str, object],
    touches: tuple[str, ...],
) -> Change:
    dues = [following.Due(name, order.kind, order.to, order.now) for name, order in orders]
    _, follow = following.spread(dues, over_s, case.unix_s)
    actor = orders[0][1].actor
    follow = replace(follow, force=case.command.force, role=case.command.role, actor=actor, reason=case.command.reason.strip())
    return Change(f"{text}, one every {follow.every_s:.3g} s", orders[:1], body=body, touches=touches, follow=follow)


def pin(case: Case) -> Change:
    group, to = case.group(case.text("group")), case.choice("to", (BCP, PRIMARY))
    check_sight(case)
    case.check_target(group, to)
    check_room(case, [(group, to)])
    orders = ((group.name, case.order("pin", to)),)
    return Change(f"{group.name} is pinned to {to}", orders, body=case.blast((group,)), touches=(group.name,))


def unpin(case: Case) -> Change:
    group = case.group(case.text("group"))
    return Change(f"{group.name} is no longer pinned", ((group.name, case.order("unpin")),), body=case.blast((group,)))


def unlatch(case: Case) -> Change:
    group = case.group(case.text("group"))
    return Change(f"{group.name} may fail back again", ((group.name, case.order("unlatch")),), body=case.blast((group,)))


def _chosen_groups(case: Case, leaving: str = PRIMARY) -> tuple[Group, ...]:
    """The groups a command names: `group`, `groups`, `tenant` (a glob over the tenants to be left), or `all`."""
    args = case.command.args
    if args.get("all") is True:
        groups = case.topology.groups
    elif "tenant" in args:
        pattern = case.text("tenant")
        groups = tuple(group for group in case.topology.groups if fnmatch.fnmatchcase(case.tenant_of(group, leaving), pattern))
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
