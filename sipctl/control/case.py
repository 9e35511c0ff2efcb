"""One command with what it is checked against: reading its arguments, refusing by a named rule, measuring what it touches."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, Final

from sipctl.control.approvals import Glass, Proposal, glass_of
from sipctl.control.following import Follow
from sipctl.control.overlays import On
from sipctl.control.ports import Command
from sipctl.control.safety import RULES, calls_at, how_to_force, may_force, mixed, stale, too_small
from sipctl.control.world import World
from sipctl.failover.memory import PRIMARY, Memory, Order
from sipctl.routing.snapshot import Admin, Group, Operating, Topology

TIME_HINT: Final = "such as 2026-05-01T18:00:00+02:00"
MAX_AHEAD_S: Final = 10 * 366 * 86_400.0  # of an end that is given: ten years
MAX_TEXT: Final = 500  # characters of an argument or a reason
ADMIN_WORDS: Final = {"enabled": Admin.ENABLED, "draining": Admin.DRAINING, "disabled": Admin.DISABLED}


@dataclass(frozen=True, slots=True)
class No:
    """A command that is not carried out."""

    status: str  # "invalid" | "refused" | "conflict"
    code: str  # a stable slug; the rule, if refused
    text: str
    hint: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


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
    touches: tuple[str, ...] = ()  # groups whose calls it sends elsewhere, or whose way it narrows
    follow: Follow | None = None  # what the operation waits for once every router has it
    proposals: Mapping[str, Proposal | None] = field(default_factory=dict)  # None: gone
    glass: Glass | None = None  # broken now
    seal: bool = False  # the glass is whole again
    ended: tuple[tuple[str, str, str], ...] = ()  # operations that end by it: (id, status, text)
    status: str = ""  # of an answer that waits for no router: "proposed" or "done"; "": once all have it
    actor: str = ""  # in whose name, if it is more than the command's
    reason: str = ""


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
    now_s: float | None = None  # monotonic
    approved_by: str = ""  # a second person
    overruled: list[str] = field(default_factory=list)  # rules that would have refused it; this check's alone

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
        if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and not isfinite(value)):
            raise Stopped(No("invalid", "bad-time", "until is a time", TIME_HINT))
        if value > self.unix_s + MAX_AHEAD_S:
            raise Stopped(No("invalid", "bad-time", "until lies more than ten years ahead", TIME_HINT))
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
        """Stop here unless the operator names this rule to be overridden, and may."""
        assert rule in RULES, rule
        named = rule in self.command.force
        if named and may_force(rule, self.command.role, glass=self.has_glass):
            self.overruled.append(rule)
            return
        force = how_to_force(rule, self.command.role, named=named)
        raise Stopped(No("refused", rule, text, hint if hint and not named else force))

    def group(self, name: str) -> Group:
        self.known("group", name, (group.name for group in self.topology.groups))
        return next(group for group in self.topology.groups if group.name == name)

    def memory(self, group: Group) -> Memory:
        return self.world.groups.get(group.name, Memory())

    def tenant_of(self, group: Group, side: str) -> str:
        return self.topology.tenants[group.primary if side == PRIMARY else group.bcp].name

    def order(self, kind: str, to: str = PRIMARY, *, now: bool = False) -> Order:
        actor = f"{self.command.actor}, approved by {self.approved_by}" if self.approved_by else self.command.actor
        return Order(kind, actor, self.command.reason.strip(), to, now)

    @property
    def has_glass(self) -> bool:
        """Does this command come through broken glass?"""
        return self.command.break_glass or glass_of(self.world.glass, self.command.actor, self.unix_s)

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
        entries = [entry.name for entry in self.topology.entry_points if chosen & set(entry.groups)]
        numbers = self.world.plan.numbers if self.world.plan is not None else {}
        return {
            "groups": names,
            "entry_points": entries,
            "numbers": sum(numbers.get(name, 0) for name in entries),
            "calls": calls_at(self.world, entries),
        }


def not_pinned(case: Case, group: Group) -> None:
    """Refuse to move a pinned group."""
    pinned = case.memory(group).pinned
    if pinned is not None:
        case.refuse("pinned", f"{group.name} is pinned to {pinned}", f"sipctl unpin {group.name}")


def check_sight(case: Case) -> None:
    """Refuse to send calls elsewhere by what is not known any more, or to routers that would not all follow."""
    if old := stale(case.world, case.now_s):
        case.refuse("stale-view", old)
    if torn := mixed(case.world):
        case.refuse("mixed-routers", torn)


def check_room(case: Case, moves: Collection[tuple[Group, str]]) -> None:
    """Refuse to move groups to tenants that do not take their calls as well."""
    if small := too_small(case.world, case.topology, moves):
        case.refuse("target-too-small", small)


def names_of(groups: tuple[Group, ...]) -> str:
    return ", ".join(group.name for group in groups) if len(groups) <= 3 else f"{len(groups)} groups"
