"""May an order be given on this node without a controller, and what does it mean? Pure.

The rules are those of `control/safety.py` as far as routers alone can judge them, and one more: while the API answers, orders
go there, where a name, a role and a second person are asked for.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sipctl.engine.embedded.wire import Seen, SeenGroup
from sipctl.routing.local_orders import KINDS, LocalOrder
from sipctl.routing.snapshot import Admin, Operating
from sipctl.supervisor.local_wire import End, Give

MAX_TEXT = 1000
SIDES = ("primary", "bcp")
RULES = {
    "controller-lives": "the API answers: orders go there",
    "target-out-of-service": "the tenant moved to is out of service",
    "target-not-enabled": "the tenant moved to is drained or disabled",
    "pinned": "the group is pinned",
    "no-view": "no router tells what it measures",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The groups an order is about."""

    groups: tuple[str, ...]
    calls: int  # that are up at their tenants; they stay
    tenants: dict[str, str]  # group → the tenant that takes new calls then; empty if no router tells


def scope_of(give: Give, seen: Sequence[Seen], known: Collection[str], *, serves: bool) -> Scope | End:
    """Judge an order.

    Args:
        seen: what the routers tell, lowest slot first; empty if none runs.
        known: names of groups on disk, for when none does.
        serves: the API answers and a controller decides.
    """
    wrong = _shape(give)
    if wrong is not None:
        return wrong
    if serves and "controller-lives" not in give.force:
        hint = "the same command without --local; if it does not do what it says: --force controller-lives"
        return End("refused", "a controller decides and its API answers: orders go there", "controller-lives", hint)
    groups: Mapping[str, SeenGroup] = seen[0].groups if seen else {}
    chosen = _chosen(give, groups, groups.keys() or known)
    if isinstance(chosen, End):
        return chosen
    if not groups and "no-view" not in give.force:
        return _refused("no-view", "no router runs that could tell what the tenants are worth")
    for name in chosen:
        refused = _target(give, name, groups[name]) if name in groups else None
        if refused is not None:
            return refused
    side = SIDES.index(give.to)
    tenants = {name: groups[name].tenants[side] for name in chosen if name in groups}
    touched = {tenant for name in chosen if name in groups for tenant in groups[name].tenants}
    calls = sum(router.observe.tenants.get(tenant, 0) for router in seen for tenant in touched)
    return Scope(chosen, calls, tenants)


def orders_of(give: Give, scope: Scope, actor: str, last: int, at_unix_s: float) -> tuple[LocalOrder, ...]:
    """The orders to take down, numbered from `last` on."""
    reason = give.reason.strip() + (f" (forced: {', '.join(give.force)})" if give.force else "")
    return tuple(
        LocalOrder(last + place, group, give.kind, give.to, actor, reason, at_unix_s)
        for place, group in enumerate(scope.groups, start=1)
    )


def sentence(give: Give, scope: Scope) -> str:
    """What an order does."""
    who = ", ".join(scope.groups) if len(scope.groups) <= 3 else f"{len(scope.groups)} groups"
    if give.kind == "failback":
        return f"{who}: new calls go back to primary at once"
    return f"{who}: new calls go to {give.to} and stay there until failback"


def _shape(give: Give) -> End | None:
    if give.kind not in KINDS or give.to not in SIDES:
        return End("invalid", f"there is no order {give.kind} to {give.to}")
    if not give.reason.strip():
        return End("invalid", "a change needs a reason", hint="--reason TEXT")
    if len(give.reason) > MAX_TEXT:
        return End("invalid", f"a reason has at most {MAX_TEXT} characters")
    if [bool(give.group), bool(give.tenant), give.every].count(True) != 1:
        return End("invalid", "say which: GROUP, --tenant GLOB, or --all")
    unknown = [rule for rule in give.force if rule not in RULES]
    if unknown:
        return End("invalid", f"there is no rule {unknown[0]!r}", hint=f"one of {', '.join(RULES)}")
    return None


def _chosen(give: Give, groups: Mapping[str, SeenGroup], known: Collection[str]) -> tuple[str, ...] | End:
    if give.every:
        return tuple(sorted(known)) or End("invalid", "the live plan has no group")
    if give.tenant:
        leaving = 1 - SIDES.index(give.to)
        matching = (name for name, group in groups.items() if fnmatch.fnmatchcase(group.tenants[leaving], give.tenant))
        found = tuple(sorted(matching))
        return found or End("invalid", f"no group has a {SIDES[leaving]} tenant that matches {give.tenant!r}")
    if give.group in known:
        return (give.group,)
    close = difflib.get_close_matches(give.group, list(known), 1)
    hint = f"did you mean {close[0]}?" if close else "sipctl status --local"
    return End("invalid", f"there is no group {give.group!r}", hint=hint)


def _target(give: Give, name: str, group: SeenGroup) -> End | None:
    side = SIDES.index(give.to)
    tenant = group.tenants[side]
    if group.decision.pinned and "pinned" not in give.force:
        return _refused("pinned", f"{name} is pinned")
    if group.operating[side] == Operating.OUT_OF_SERVICE and "target-out-of-service" not in give.force:
        return _refused("target-out-of-service", f"{tenant}, the {give.to} tenant of {name}, is out of service")
    if group.admin[side] != Admin.ENABLED and "target-not-enabled" not in give.force:
        return _refused("target-not-enabled", f"{tenant}, the {give.to} tenant of {name}, is not enabled")
    return None


def _refused(rule: str, text: str) -> End:
    return End("refused", text, rule, f"--force {rule} overrides it")
