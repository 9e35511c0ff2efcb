"""What is judged about a call at one entry point, told step by step: kill switch → overlay → schedule → group → limit → unusable.

Each judgement is asked here as `judged.follow` asks it, with the same helpers; what became of the call is the answer's, and the
property tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from sipctl.routing.answers import BY_OVERLAY, BY_SWITCH, NoRoute, Retarget
from sipctl.routing.groups import (
    SHARE_STEPS,
    drawn_side,
    is_full,
    over_trunk_limit,
    place_choice,
    place_of,
    split_group,
)
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.judged import Call, choice_at, follow
from sipctl.routing.live import Live
from sipctl.routing.schedules import is_open, local_s, next_change
from sipctl.routing.snapshot import Admin, Destination, Switch, Zone
from sipctl.routing.steps import FACT, PASSED, REFUSED, SKIPPED, TAKEN, Step, step

MAX_TOLD: Final = 20  # kill switches or overlays of one plan, each with why not; further ones are counted
SIDES: Final = ("primary", "bcp")
_SHARE_PERCENT: Final = SHARE_STEPS // 100
_ENDS: Final = (TAKEN, REFUSED)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call whose number was found; `call.done` says how far its story has come."""

    snapshot: RoutingSnapshot
    live: Live
    call: Call

    def drawn(self, entry_at: int) -> tuple[int, int]:
        """(group, side) that take this caller at an entry point."""
        snapshot, entry = self.snapshot, self.snapshot.entry_points[entry_at]
        group = split_group(int(entry.id), entry.split, self.call.share_key) if entry.split else entry.group
        share = snapshot.decision[group].bcp_percent
        side = 0 if share <= 0 else 1 if share >= 100 else drawn_side(int(snapshot.groups[group].id), share, self.call.share_key)
        return group, side


def entry_steps(asked: Asked, entry_at: int) -> list[Step]:
    """The judgements of one entry point, in order, up to the first one that ends in something else than its group."""
    steps: list[Step] = []
    for judge in (_switches, _overlays, _schedule):
        told = judge(asked, entry_at)
        if told is not None:
            steps.append(told)
            if told.verdict in _ENDS:
                return steps
    group, side = asked.drawn(entry_at)
    steps += [group_step(asked, entry_at, group, side), limits_step(asked, entry_at, group, side)]
    if steps[-1].verdict in _ENDS:
        return steps
    unusable = _unusable(asked, entry_at, group, side)
    return steps if unusable is None else [*steps, unusable]


def acted(asked: Asked, way: Retarget) -> None:
    """Remember what sent the call on: a kill switch and an overlay act once."""
    if way.reason in (BY_SWITCH, BY_OVERLAY):
        asked.call.done += (f"{way.reason} {way.by}",)


def place_text(snapshot: RoutingSnapshot, to: Destination) -> str:
    """Where a call is sent, or how it is refused, for people."""
    if to.refuse is not None:
        return f"refused with {to.refuse[0]} (Q.850 cause {to.refuse[1]})"
    if to.entry_point is not None:
        return f"goes on to entry point {snapshot.entry_points[to.entry_point].name}"
    assert to.tenant is not None
    kind, _, name = snapshot.tenants[to.tenant].name.partition(":")
    what = f"exit {name}" if kind == "exit" else f"SBC pair {name}"
    return f"goes on to {what}, dialling {to.called}" if to.called else f"goes on to {what}"


# -- kill switches and overlays --------------------------------------------------------------------------------------------------


def _switches(asked: Asked, entry_at: int) -> Step | None:
    known, on = asked.snapshot.table.topology.switches, dict(asked.snapshot.state.switches)
    steps: list[Step] = []
    for switch in known:
        if switch.name not in on:
            continue
        why_not = _why_no_switch(asked, entry_at, switch, on[switch.name])
        if why_not is None:
            return _act("switches", f"kill switch {switch.name} is on", switch.name, asked.snapshot, switch.to, steps)
        steps.append(step("switch", SKIPPED, f"kill switch {switch.name} is on, but {why_not}", switch=switch.name))
    return _none("switches", "kill switch", [switch.name for switch in known], len(on), steps)


def _why_no_switch(asked: Asked, entry_at: int, switch: Switch, until: float) -> str | None:
    group, side = asked.drawn(entry_at)
    tenants = (asked.snapshot.groups[group].primary, asked.snapshot.groups[group].bcp)
    for what, wanted, is_ in (
        ("this entry point", switch.entry_points, entry_at),
        ("this call's group", switch.groups, group),
        ("this trunk", switch.trunks, asked.call.trunk),
        ("this call's tenant", switch.tenants, tenants[side]),
    ):
        if wanted is not None and is_ not in wanted:
            return f"not for {what}"
    return _why_over(asked, f"{BY_SWITCH} {switch.name}", until)


def _overlays(asked: Asked, entry_at: int) -> Step | None:
    known, on = asked.snapshot.table.topology.overlays, dict(asked.snapshot.state.overlays)
    judged = asked.snapshot.judged[entry_at]
    steps: list[Step] = []
    for name, to, until in judged.overlays if judged is not None else ():
        why_not = _why_over(asked, f"{BY_OVERLAY} {name}", until)
        if why_not is None:
            return _act("overlays", f"overlay {name} is on", name, asked.snapshot, to, steps)
        steps.append(step("overlay", SKIPPED, f"overlay {name} is on, but {why_not}", overlay=name))
    touching = {name for name, _, _ in judged.overlays} if judged is not None else set()
    steps += [
        step("overlay", SKIPPED, f"overlay {overlay.name} is on, but says nothing of this entry point", overlay=overlay.name)
        for overlay in known
        if overlay.name in on and overlay.name not in touching
    ]
    return _none("overlays", "overlay", [overlay.name for overlay in known], len(on), steps)


def _why_over(asked: Asked, slug: str, until: float) -> str | None:
    if slug in asked.call.done:
        return "it acted on this call already"
    return f"ended at {_instant(until)}" if asked.call.is_past(until) else None


def _act(kind: str, text: str, name: str, snapshot: RoutingSnapshot, to: Destination, before: Sequence[Step]) -> Step:
    verdict = TAKEN if to.refuse is None else REFUSED
    return step(kind, verdict, f"{text}: {place_text(snapshot, to)}", *before, by=name)


def _none(kind: str, what: str, names: Sequence[str], on: int, steps: list[Step]) -> Step | None:
    """Nothing of the kind acted; nothing is said where a plan has none of them."""
    if not names:
        return None
    more = len(steps) - MAX_TOLD
    if more > 0:
        steps = [*steps[:MAX_TOLD], step(kind, SKIPPED, f"{more} more are on, none for this call")]
    if not on:
        return step(kind, PASSED, f"no {what} is on ({len(names)} in the plan)")
    return step(kind, PASSED, f"{kind} on: {on}, none for this call", *steps)


# -- schedule --------------------------------------------------------------------------------------------------------------------


def _schedule(asked: Asked, entry_at: int) -> Step | None:
    snapshot, entry = asked.snapshot, asked.snapshot.entry_points[entry_at]
    if entry.schedule is None or asked.call.unix_s is None:
        return None
    topology = snapshot.table.topology
    schedule = topology.schedules[entry.schedule]
    zone = topology.zones[schedule.zone]
    steps = [step("clock", FACT, f"it is {_shown(zone, asked.call.unix_s)} in {zone.name}")]
    change = next_change(schedule, zone, asked.call.unix_s)
    open_now = is_open(schedule, zone, asked.call.unix_s)
    if change is not None:
        steps.append(step("next-change", FACT, f"{'closes' if open_now else 'opens'} {_shown(zone, change)}", unix_s=change))
    if open_now:
        return step("schedule", PASSED, f"open (schedule {schedule.name})", *steps, schedule=schedule.name)
    assert entry.closed is not None, "the compiler asks for it"
    text = f"closed (schedule {schedule.name}): {place_text(snapshot, entry.closed)}"
    return step("schedule", TAKEN if entry.closed.refuse is None else REFUSED, text, *steps, by=schedule.name)


def _shown(zone: Zone, unix_s: float) -> str:
    """What the zone's clocks show, with how far they are ahead of UTC."""
    ahead = timedelta(seconds=local_s(zone, unix_s) - int(unix_s // 1))
    return datetime.fromtimestamp(unix_s, timezone(ahead)).strftime("%a %Y-%m-%d %H:%M %z")


def _instant(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%MZ")


# -- group, limits, unusable -----------------------------------------------------------------------------------------------------


def group_step(asked: Asked, entry_at: int, group_at: int, side: int) -> Step:
    """Where the group's new calls go, and on which side of a split and of a ramp this caller falls."""
    snapshot, entry = asked.snapshot, asked.snapshot.entry_points[entry_at]
    group, decision = snapshot.groups[group_at], snapshot.decision[group_at]
    share = decision.bcp_percent
    tenant = snapshot.tenants[(group.primary, group.bcp)[side]].name
    steps: list[Step] = []
    if entry.split:
        shares = ", ".join(f"{percent} % to {snapshot.groups[at].name}" for at, percent in entry.split)
        steps.append(step("split", PASSED, f"split, {shares}: this caller always falls to {group.name}", group=group.name))
    steps += [
        step("policy", FACT, f"failover {group.failover}, failback {group.failback}, advance_across {group.advance_across}"),
        step("decision", FACT, f"{decision.reason} (epoch {decision.epoch})", epoch=decision.epoch, bcp_percent=share),
    ]
    if decision.pinned:
        steps.append(step("pin", FACT, "pinned: nothing automatic moves it, and no call crosses"))
    if decision.left is not None:
        steps.append(step("left", FACT, f"an operator left the {decision.left} tenant: no call crosses to it"))
    if 0 < share < 100:
        place = place_of(int(group.id), asked.call.share_key)
        bounds = f"the primary takes those below {100 - share}"
        text = f"shared, {100 - share} % to the primary: this caller stands at {place / _SHARE_PERCENT:.2f} of 100, {bounds}"
        steps.append(step("share", PASSED, text, place=place, primary_percent=100 - share, side=SIDES[side]))
    text = f"group {group.name} sends this call to its {SIDES[side]} tenant {tenant}"
    return step("group", PASSED, text, *steps, group=group.name, side=SIDES[side], tenant=tenant)


def limits_step(asked: Asked, entry_at: int, group_at: int, side: int) -> Step:
    """Every limit with its count, in the order of `resolve`; the first one reached ends the call or lets it overflow."""
    snapshot, live = asked.snapshot, asked.live
    entry, group = snapshot.entry_points[entry_at], snapshot.groups[group_at]
    tenant = (group.primary, group.bcp)[side]
    steps = _trunk_limits(asked)
    steps += [
        _limit("entry-point", f"calls of entry point {entry.name}", entry.max_calls, live.entry_calls[entry_at]),
        tenant_limit(asked, tenant),
    ]
    reached = next((one for one in steps if one.verdict == REFUSED), None)
    if reached is None:
        count = sum("most" in one.facts for one in steps)
        return step("limits", PASSED, f"{count} set, none reached" if count else "none is set", *steps)
    slug = str(reached.facts["limit"])
    if not entry.overflow or slug.startswith("trunk"):
        return step("limits", REFUSED, reached.text, *steps, limit=slug)
    places, taken = _overflow(asked, entry_at, slug)
    if taken is None:
        return step("limits", REFUSED, f"{reached.text}, and no place of the overflow takes it", *steps, *places, limit=slug)
    return step("limits", TAKEN, f"{reached.text}: {place_text(snapshot, taken)}", *steps, *places, by=slug)


def place_limits_step(asked: Asked, tenant: int) -> Step:
    """The limits of a call that goes to an SBC pair or an exit: its trunk's and the exit's."""
    steps = [*_trunk_limits(asked), tenant_limit(asked, tenant)]
    reached = next((one for one in steps if one.verdict == REFUSED), None)
    if reached is not None:
        return step("limits", REFUSED, reached.text, *steps, limit=reached.facts["limit"])
    count = sum("most" in one.facts for one in steps)
    return step("limits", PASSED, f"{count} set, none reached" if count else "none is set", *steps)


def tenant_limit(asked: Asked, tenant: int) -> Step:
    """A tenant's limit, or that of an exit."""
    takes = asked.snapshot.tenants[tenant]
    slug = "tenant" if takes.kind == "tenant" else "exit"
    what = f"calls of tenant {takes.name}" if slug == "tenant" else f"calls of {takes.name.replace(':', ' ')}"
    return _limit(slug, what, takes.max_calls, asked.live.tenant_calls[tenant])


def _trunk_limits(asked: Asked) -> list[Step]:
    snapshot, trunk = asked.snapshot, asked.call.trunk
    sender = snapshot.trunks[trunk]
    steps: list[Step] = []
    if snapshot.trunk_admin[trunk] != Admin.ENABLED:
        wish = Admin(snapshot.trunk_admin[trunk]).name.lower()
        steps.append(step("limit", REFUSED, f"trunk {sender.name} is {wish}", limit="trunk-admin"))
    cps = asked.live.trunk_cps(trunk, asked.call.now_s)
    return [
        *steps,
        _limit("trunk-max-calls", f"calls of trunk {sender.name}", sender.max_calls, asked.live.trunk_calls[trunk]),
        _limit("trunk-max-cps", f"new calls a second of trunk {sender.name}", sender.max_cps, cps),
    ]


def _limit(slug: str, what: str, most: int | None, count: float) -> Step:
    shown = f"{count:.0f}"
    if most is None:
        return step("limit", FACT, f"{what}: {shown}, no limit", limit=slug, count=count)
    full = ": reached" if count >= most else ""
    return step("limit", REFUSED if full else PASSED, f"{what}: {shown} of {most}{full}", limit=slug, count=count, most=most)


def _overflow(asked: Asked, entry_at: int, limit: str) -> tuple[list[Step], Destination | None]:
    """Each place of the overflow up to the one that takes the call, and why those before it do not."""
    steps: list[Step] = []
    for to in asked.snapshot.entry_points[entry_at].overflow:
        text = place_text(asked.snapshot, to)
        why_not = _why_not_there(asked, entry_at, to, limit)
        if why_not is None:
            steps.append(step("overflow", TAKEN, text))
            return steps, to
        steps.append(step("overflow", SKIPPED, f"{text}: does not take it, {why_not}"))
    return steps, None


def _why_not_there(asked: Asked, entry_at: int, to: Destination, limit: str) -> str | None:
    snapshot, live = asked.snapshot, asked.live
    if to.entry_point is not None:
        now = asked.call
        call = Call(now.trunk, now.called, now.key, now.found, now.share_key, now.now_s, False, now.unix_s)
        call.done = now.done
        answer = follow(
            snapshot, live, call, to.entry_point, (Retarget(entry_at, "overflow", limit, asked.call.called),), to.called
        )
        return answer.reason if isinstance(answer, NoRoute) else None
    assert to.tenant is not None
    refused = over_trunk_limit(snapshot, live, asked.call.trunk, entry_at, asked.call.now_s)
    if refused is not None:
        return refused.reason
    if is_full(snapshot, live, to.tenant):
        return f"it has its {snapshot.tenants[to.tenant].max_calls} calls"
    choice = place_choice(snapshot, live, to.tenant, snapshot.trunks[asked.call.trunk].site, False)
    return None if choice.arranged.targets else "none of its SBCs may take calls"


def _unusable(asked: Asked, entry_at: int, group: int, side: int) -> Step | None:
    snapshot, entry = asked.snapshot, asked.snapshot.entry_points[entry_at]
    if entry.unusable is None:
        return None
    choice = choice_at(snapshot, asked.live, asked.call, entry_at, group, side)
    if choice.chosen.usable or choice.crossing.usable:
        return None
    text = f"no SBC it may try is usable: {place_text(snapshot, entry.unusable)}"
    return step("unusable", TAKEN if entry.unusable.refuse is None else REFUSED, text)
