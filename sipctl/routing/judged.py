"""Calls that something is judged about before their group is asked: kill switch → overlay → schedule → limit → group.

Each judgement may refuse the call or send it elsewhere: to an SBC pair or exit, where only limits are left to judge; or
to another entry point, where all of it begins again as if that had been called. Three rules keep this finite and predictable:

- A kill switch and an overlay act once on a call. So `"*": {to: {entry_point: night}}` may well include night.
- The ways closed, overflow and unusable form no circle; the compiler refuses such a plan.
- At most MAX_JUDGED entry points are judged for one call, whatever the plan says.

A trunk's limits hold wherever its call goes, so they are looked at when a place is found. A call overflows on the limit of an
entry point or a tenant, and goes to the first place of the list that takes it; if none does, it hears the first refusal.

What nothing is judged about never comes here: `resolve` asks RoutingSnapshot.judged once, and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from sipctl.routing.answers import (
    BY_OVERLAY,
    BY_SWITCH,
    CAUSE_TEMPORARY_FAILURE,
    CLOSED,
    OVERFLOW,
    UNUSABLE,
    NoRoute,
    Retarget,
    Route,
    told,
)
from sipctl.routing.groups import (
    choice_of,
    drawn_side,
    is_full,
    over_limit,
    over_trunk_limit,
    place_choice,
    split_group,
    without_crossing,
)
from sipctl.routing.live import Live
from sipctl.routing.numbers import PRIVATE_BIT, dialled_at
from sipctl.routing.schedules import is_open
from sipctl.routing.select import Choice, weigh
from sipctl.routing.snapshot import Admin, Destination, Overlay, RoutingState, Schedule, Switch, Topology, Zone

if TYPE_CHECKING:
    from sipctl.routing.join import RoutingSnapshot

Kept = TypeVar("Kept", Overlay, Switch)

MAX_JUDGED: Final = 32  # entry points judged for one call
CAUSE_ROUTING_ERROR: Final = 25  # Q.850 exchange routing error
_OVERFLOWS_ON: Final = ("entry-point", "tenant", "exit")


class WallTimeNeededError(AssertionError):
    """The answer depends on the time, and whoever asked did not give it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is judged about the calls of one entry point; made once per snapshot."""

    switches: tuple[tuple[Switch, float], ...] = ()  # those that are on and may concern it, until (0: no end)
    overlays: tuple[tuple[str, Destination, float], ...] = ()
    schedule: Schedule | None = None
    zone: Zone | None = None


class Call:
    """The facts of one call, and how far it has come."""

    __slots__ = ("called", "done", "found", "judged", "key", "now_s", "priority", "share_key", "trunk", "unix_s")

    def __init__(
        self,
        trunk: int,
        called: str,
        key: int,
        found: int,
        share_key: bytes,
        now_s: float,
        priority: bool,
        unix_s: float | None,
    ) -> None:
        self.trunk = trunk
        self.called = called
        self.key = key  # of `called`; 0 for a private word
        self.found = found  # its treatment
        self.share_key = share_key
        self.now_s = now_s
        self.priority = priority
        self.unix_s = unix_s
        self.done: tuple[str, ...] = ()  # kill switches and overlays that acted on it
        self.judged = 0  # entry points judged

    def is_past(self, until_unix_s: float) -> bool:
        """Whether something that is on has ended by itself."""
        if not until_unix_s:
            return False
        if self.unix_s is None:
            raise WallTimeNeededError("an overlay or kill switch ends by itself")
        return until_unix_s <= self.unix_s


# -- once per snapshot -----------------------------------------------------------------------------------------------------------


def judged_entries(topology: Topology, state: RoutingState) -> tuple[Judged | None, ...]:
    """By entry point: what is judged about its calls before its group is asked; None: nothing."""
    switches = _that_are_on(topology.switches, state.switches)
    overlays = _that_are_on(topology.overlays, state.overlays)
    plain = not switches and not overlays
    return tuple(
        None
        if plain and entry.schedule is None and not entry.overflow and entry.unusable is None and not entry.split
        else _judged(topology, index, switches, overlays)
        for index, entry in enumerate(topology.entry_points)
    )


def _that_are_on(known: tuple[Kept, ...], on: tuple[tuple[str, float], ...]) -> tuple[tuple[Kept, float], ...]:
    until = dict(on)
    return tuple((one, until[one.name]) for one in known if one.name in until)


def _judged(
    topology: Topology, index: int, switches: tuple[tuple[Switch, float], ...], overlays: tuple[tuple[Overlay, float], ...]
) -> Judged | None:
    entry = topology.entry_points[index]
    tenants = {side for group in entry.groups for side in (topology.groups[group].primary, topology.groups[group].bcp)}
    ours = tuple(
        (switch, until)
        for switch, until in switches
        if (switch.entry_points is None or index in switch.entry_points)
        and (switch.groups is None or not set(entry.groups).isdisjoint(switch.groups))
        and (switch.tenants is None or not tenants.isdisjoint(switch.tenants))
    )
    named = [(one.name, to, until) for one, until in overlays for at, to in one.entry_points if at == index]
    others = [
        (one.name, one.everywhere, until)
        for one, until in overlays
        if one.everywhere is not None and all(at != index for at, _ in one.entry_points)
    ]
    schedule = None if entry.schedule is None else topology.schedules[entry.schedule]
    judged = Judged(ours, (*named, *others), schedule, None if schedule is None else topology.zones[schedule.zone])
    if judged == Judged() and not entry.overflow and entry.unusable is None and not entry.split:
        return None
    return judged


# -- once per call ---------------------------------------------------------------------------------------------------------------


def follow(
    snapshot: RoutingSnapshot,
    live: Live,
    call: Call,
    entry_at: int,
    retargets: tuple[Retarget, ...] = (),
    dial: str | None = None,
) -> Route | NoRoute:
    """Judge a call at an entry point, and wherever it is sent from there.

    Args:
        entry_at: where it is now; retargets: how it came there.
        dial: what it is to be dialled as here, if whoever sent it on said so.
    """
    call.judged += 1
    if call.judged > MAX_JUDGED:
        reason = f"{call.called} was judged at {MAX_JUDGED} entry points without an end"
        return NoRoute(480, CAUSE_ROUTING_ERROR, reason, None, entry_at, None, retargets)
    entry = snapshot.entry_points[entry_at]
    group_at = split_group(int(entry.id), entry.split, call.share_key) if entry.split else entry.group
    group = snapshot.groups[group_at]
    share = snapshot.decision[group_at].bcp_percent
    side = 0 if share <= 0 else 1 if share >= 100 else drawn_side(int(group.id), share, call.share_key)
    tenants = (group.primary, group.bcp)
    judged = snapshot.judged[entry_at]
    if judged is not None:
        for switch, until in judged.switches:
            if (
                "switch " + switch.name not in call.done
                and _concerns(switch, call, group_at, tenants[side])
                and not call.is_past(until)
            ):
                call.done += ("switch " + switch.name,)
                return _sent(
                    snapshot, live, call, entry_at, switch.to, Retarget(entry_at, BY_SWITCH, switch.name, call.called), retargets
                )
        for name, to, until in judged.overlays:
            if "overlay " + name not in call.done and not call.is_past(until):
                call.done += ("overlay " + name,)
                return _sent(snapshot, live, call, entry_at, to, Retarget(entry_at, BY_OVERLAY, name, call.called), retargets)
        if judged.schedule is not None and judged.zone is not None:
            if call.unix_s is None:
                raise WallTimeNeededError(f"{entry.name} keeps the hours of {judged.schedule.name}")
            if not is_open(judged.schedule, judged.zone, call.unix_s):
                assert entry.closed is not None, "the compiler asks for it"
                step = Retarget(entry_at, CLOSED, judged.schedule.name, call.called)
                return _sent(snapshot, live, call, entry_at, entry.closed, step, retargets)
    refused = _limits(snapshot, live, call, entry_at, tenants[side])
    if refused is not None:
        if refused.limit in _OVERFLOWS_ON and entry.overflow:
            return _overflow(snapshot, live, call, entry_at, refused, retargets)
        return replace(refused, retargets=retargets)
    choice = choice_at(snapshot, live, call, entry_at, group_at, side)
    if entry.unusable is not None and not choice.chosen.usable and not choice.crossing.usable:
        return _sent(snapshot, live, call, entry_at, entry.unusable, Retarget(entry_at, UNUSABLE, "", call.called), retargets)
    if not choice.arranged.targets:
        reason = f"no SBC of group {group.name} may take this call: all are draining, disabled or unresolved"
        return NoRoute(480, CAUSE_TEMPORARY_FAILURE, reason, None, entry_at, None, retargets)
    targets, crossing = choice.chosen.targets, choice.crossing.targets
    if choice.weighted:
        targets, crossing = weigh(snapshot, choice.chosen, call.share_key), weigh(snapshot, choice.crossing, call.share_key)
    dialled = (dial, dial) if dial is not None else _dialled(snapshot, call, entry_at, bool(retargets))
    rule = _rule(snapshot, call)
    return Route(snapshot, call.trunk, entry_at, group_at, side, call.called, dialled, choice, targets, crossing, rule, retargets)


def choice_at(snapshot: RoutingSnapshot, live: Live, call: Call, entry_at: int, group_at: int, side: int) -> Choice:
    """The SBCs of a group's side for one call; without those of the other side if that is full, or stopped by a kill switch."""
    choice = choice_of(snapshot, live, group_at, side, snapshot.trunks[call.trunk].site, call.priority)
    if not choice.crossing.targets:
        return choice
    group, judged = snapshot.groups[group_at], snapshot.judged[entry_at]
    other = group.primary if side else group.bcp
    if (not call.priority and is_full(snapshot, live, other)) or (
        judged is not None and is_stopped(judged, call, group_at, other)
    ):
        return without_crossing(choice)
    return choice


def _concerns(switch: Switch, call: Call, group: int, tenant: int) -> bool:
    """Whether a kill switch of this entry point fits this call."""
    return (
        (switch.trunks is None or call.trunk in switch.trunks)
        and (switch.groups is None or group in switch.groups)
        and (switch.tenants is None or tenant in switch.tenants)
    )


def is_stopped(judged: Judged, call: Call, group: int, tenant: int) -> bool:
    """Whether a kill switch on tenants stands against crossing to one."""
    return any(
        switch.tenants is not None and _concerns(switch, call, group, tenant) and not call.is_past(until)
        for switch, until in judged.switches
    )


def _limits(snapshot: RoutingSnapshot, live: Live, call: Call, entry_at: int, tenant: int) -> NoRoute | None:
    if not call.priority:
        return over_limit(snapshot, live, call.trunk, entry_at, tenant, call.now_s)
    if snapshot.trunk_admin[call.trunk] == Admin.DISABLED:
        reason = f"trunk {snapshot.trunks[call.trunk].name} is disabled"
        return NoRoute(503, CAUSE_TEMPORARY_FAILURE, reason, "trunk-admin", entry_at)
    return None


def _overflow(
    snapshot: RoutingSnapshot, live: Live, call: Call, entry_at: int, refused: NoRoute, retargets: tuple[Retarget, ...]
) -> Route | NoRoute:
    """The first place of the list that takes the call; if none does, what it would have heard without the list."""
    assert refused.limit is not None
    step = Retarget(entry_at, OVERFLOW, refused.limit, call.called)
    done = call.done
    for to in snapshot.entry_points[entry_at].overflow:
        call.done = done
        answer = _sent(snapshot, live, call, entry_at, to, step, retargets)
        if isinstance(answer, Route):
            return answer
    return replace(refused, retargets=retargets)


def _sent(
    snapshot: RoutingSnapshot,
    live: Live,
    call: Call,
    entry_at: int,
    to: Destination,
    step: Retarget,
    before: tuple[Retarget, ...],
) -> Route | NoRoute:
    """What becomes of a call that leaves an entry point for somewhere else."""
    if to.refuse is not None:
        status, cause = to.refuse
        return NoRoute(status, cause, told(snapshot, step), None, entry_at, step.reason, before, step.by)
    if to.entry_point is not None:
        return follow(snapshot, live, call, to.entry_point, (*before, step), to.called)
    assert to.tenant is not None
    tenant = to.tenant
    if not call.priority:
        refused = over_trunk_limit(snapshot, live, call.trunk, entry_at, call.now_s)
        if refused is None and is_full(snapshot, live, tenant):
            full = snapshot.tenants[tenant]
            status, cause = snapshot.entry_points[entry_at].over_limit
            reason = f"{full.name} has its {full.max_calls} calls"
            refused = NoRoute(status, cause, reason, "exit", entry_at)
    else:
        refused = _limits(snapshot, live, call, entry_at, tenant)
    if refused is not None:
        return replace(refused, step=step.reason, by=step.by, retargets=before)
    choice = place_choice(snapshot, live, tenant, snapshot.trunks[call.trunk].site, call.priority)
    if not choice.arranged.targets:
        reason = f"no SBC of {snapshot.tenants[tenant].name} may take this call: all are draining, disabled or unresolved"
        return NoRoute(480, CAUSE_TEMPORARY_FAILURE, reason, None, entry_at, step.reason, before, step.by)
    targets = weigh(snapshot, choice.chosen, call.share_key) if choice.weighted else choice.chosen.targets
    dial = call.called if to.called is None else to.called
    group = snapshot.entry_points[entry_at].group
    rule = _rule(snapshot, call)
    dialled = (dial, dial)
    return Route(
        snapshot, call.trunk, entry_at, group, 0, call.called, dialled, choice, targets, (), rule, (*before, step), tenant
    )


def _rule(snapshot: RoutingSnapshot, call: Call) -> str:
    numbers = snapshot.table.numbers
    return numbers.rules[numbers.rule[call.found]]


def _dialled(snapshot: RoutingSnapshot, call: Call, entry_at: int, is_sent: bool) -> tuple[str, str]:
    """What to dial at either tenant: as the number says, or, for a call sent here, as this entry point says."""
    if not is_sent:
        numbers = snapshot.table.numbers
        copied = numbers.copied[call.found]
        return (
            dialled_at(call.called, call.key, numbers.primary_base[call.found], copied >> 8),
            dialled_at(call.called, call.key, numbers.bcp_base[call.found], copied & 0xFF),
        )
    (primary, primary_copied), (bcp, bcp_copied) = snapshot.entry_points[entry_at].called_at
    return _copied(call, primary, primary_copied), _copied(call, bcp, bcp_copied)


def _copied(call: Call, base: int, copied: int) -> str:
    """`dialled_at` for a number that may be too short, or no digits at all: then it stays as it is."""
    if (copied & ~PRIVATE_BIT) >= len(str(call.key)):
        return call.called
    return dialled_at(call.called, call.key, base, copied)
