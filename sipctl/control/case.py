"""One command with what it is checked against: reading its arguments, refusing by a named rule, measuring what it touches."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, Final

from sipctl.control.overlays import On
from sipctl.control.ports import Command
from sipctl.control.world import World
from sipctl.failover.memory import PRIMARY, Memory, Order
from sipctl.routing.snapshot import Admin, Group, Operating, Topology

RULES: Final = {
    "target-out-of-service": "the tenant moved to is out of service",
    "target-not-enabled": "the tenant moved to is drained or disabled",
    "pinned": "the group is pinned",
    "last-usable-sbc": "a tenant that takes calls would be left without a usable SBC",
    "active-tenant": "the tenant takes new calls of a group",
    "last-trunk": "no trunk would be left that may send calls",
    "group-not-normal": "a group that is held, pinned, latched or on its way would leave the plan",
    "overlay-collides": "two overlays that are on would say different things of one entry point",
    "switch-collides": "two kill switches that are on would say different things of one call",
    "active-overlay": "the plan would lose an overlay that is on",
    "active-switch": "the plan would lose a kill switch that is on",
}
TIME_HINT: Final = "such as 2026-05-01T18:00:00+02:00"
MAX_TEXT: Final = 500  # characters of an argument or a reason
ADMIN_WORDS: Final = {"enabled": Admin.ENABLED, "draining": Admin.DRAINING, "disabled": Admin.DISABLED}


@dataclass(frozen=True, slots=True)
class No:
    """A command that is not carried out."""

    status: str  # "invalid" | "refused"
    code: str  # a stable slug; the rule, if refused
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What a command does, once it is admitted."""

    text: str
    orders: tuple[tuple[str, Order], ...] = ()  # (group, order)
    sbc_admin: Mapping[str, Admin] = field(default_factory=dict)
    tenant_admin: Mapping[str, Admin] = field(default_factory=dict)
    trunk_admin: Mapping[str, Admin] = field(default_factory=dict)
    node_admin: Admin | None = None
    automation: bool | None = None
    extra_sources: tuple[tuple[str, str, float], ...] | None = None
    overlays: Mapping[str, On | None] = field(default_factory=dict)  # None: off
    switches: Mapping[str, On | None] = field(default_factory=dict)
    probe: str | None = None
    acked: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)  # blast radius: groups, numbers, calls


class Stopped(Exception):  # noqa: N818 - carries a No out of a check
    def __init__(self, no: No) -> None:
        super().__init__(no.text)
        self.no = no


@dataclass(frozen=True, slots=True)
class Case:
    """One command with what it is checked against."""

    world: World
    topology: Topology
    command: Command
    unix_s: float

    def text(self, name: str) -> str:
        value = self.command.args.get(name)
        if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
            raise Stopped(No("invalid", "missing-argument", f"{self.command.op} needs {name}"))
        return value

    def flag(self, name: str) -> bool:
        value = self.command.args.get(name, False)
        if not isinstance(value, bool):
            raise Stopped(No("invalid", "bad-argument", f"{name} is true or false"))
        return value

    def choice(self, name: str, allowed: Iterable[str]) -> str:
        value = self.text(name)
        if value not in allowed:
            raise Stopped(No("invalid", "bad-argument", f"{name} is one of {', '.join(allowed)}, not {value!r}"))
        return value

    def until(self) -> float | None:
        """The instant a change ends at, as unix seconds; None if none is given."""
        value = self.command.args.get("until")
        if value is None:
            return None
        if isinstance(value, str):
            try:
                at = datetime.fromisoformat(value)
            except ValueError as error:
                raise Stopped(No("invalid", "bad-time", f"until: {error}", TIME_HINT)) from error
            if at.tzinfo is None:
                raise Stopped(No("invalid", "bad-time", "until needs a time zone", TIME_HINT))
            value = at.timestamp()
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise Stopped(No("invalid", "bad-time", "until is a time", TIME_HINT))
        if not value > self.unix_s:
            raise Stopped(No("invalid", "bad-time", "until lies in the past"))
        return float(value)

    def known(self, kind: str, name: str, names: Iterable[str]) -> str:
        listed = list(names)
        if name in listed:
            return name
        close = difflib.get_close_matches(name, listed, 1)
        where = f"sipctl {kind} ls" if kind in ("sbc", "trunk", "tenant", "overlay", "switch") else "sipctl status"
        hint = f"did you mean {close[0]}?" if close else where
        raise Stopped(No("invalid", f"unknown-{kind}", f"there is no {kind} {name!r}", hint))

    def refuse(self, rule: str, text: str, hint: str = "") -> None:
        """Stop here unless the operator overrides this rule."""
        assert rule in RULES, rule
        if rule not in self.command.force:
            raise Stopped(No("refused", rule, text, hint or f"--force {rule} overrides it"))

    def group(self, name: str) -> Group:
        self.known("group", name, (group.name for group in self.topology.groups))
        return next(group for group in self.topology.groups if group.name == name)

    def memory(self, group: Group) -> Memory:
        return self.world.groups.get(group.name, Memory())

    def tenant_of(self, group: Group, side: str) -> str:
        return self.topology.tenants[group.primary if side == PRIMARY else group.bcp].name

    def order(self, kind: str, to: str = PRIMARY, *, now: bool = False) -> Order:
        return Order(kind, self.command.actor, self.command.reason.strip(), to, now)

    def check_target(self, group: Group, side: str, disabled: str = "") -> None:
        """May new calls of a group be sent to this side?"""
        tenant = self.tenant_of(group, side)
        if self.world.tenants.get(tenant) is Operating.OUT_OF_SERVICE:
            self.refuse("target-out-of-service", f"{tenant}, the {side} tenant of {group.name}, is out of service")
        if tenant == disabled or self.world.tenant_admin.get(tenant, Admin.ENABLED) is not Admin.ENABLED:
            self.refuse("target-not-enabled", f"{tenant}, the {side} tenant of {group.name}, is not enabled")

    def blast(self, groups: Iterable[Group]) -> dict[str, Any]:
        """How much a move of these groups touches."""
        names = [group.name for group in groups]
        chosen = {index for index, group in enumerate(self.topology.groups) if group.name in names}
        entries = [entry.name for entry in self.topology.entry_points if entry.group in chosen]
        numbers = self.world.plan.numbers if self.world.plan is not None else {}
        calls = sum(
            router.observe.entry_points.get(name, 0)
            for router in self.world.routers.values() if router.observe is not None for name in entries
        )
        return {"groups": names, "numbers": sum(numbers.get(name, 0) for name in entries), "calls": calls}


def not_pinned(case: Case, group: Group) -> None:
    """Refuse to move a pinned group."""
    pinned = case.memory(group).pinned
    if pinned is not None:
        case.refuse("pinned", f"{group.name} is pinned to {pinned}", f"sipctl unpin {group.name}")


def names_of(groups: tuple[Group, ...]) -> str:
    return ", ".join(group.name for group in groups) if len(groups) <= 3 else f"{len(groups)} groups"
