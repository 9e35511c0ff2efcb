"""The last part of a decision told step by step: which SBCs a call would try, in which order, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.select import MAX_ATTEMPTS, MAX_BEFORE_CROSSING, TRIAL_NO_REPLY_S, Target
from sipctl.routing.snapshot import Admin, Operating, Side
from sipctl.routing.steps import FACT, PASSED, REFUSED, SKIPPED, TAKEN, Step, step

STATES: Final = ("unknown", "in-service", "out-of-service")  # in the order of Operating
SIDES: Final = ("primary", "bcp")
LATER_NO_REPLY_S: Final = 0.5  # what every attempt after the first waits at most (CALLS 1.7); the call core says the same
LAST_NO_REPLY_S: Final = 2.0  # what the last one waits at least


@dataclass(frozen=True, slots=True)
class Scene:
    """One call that has come as far as its group's side, and the attempts `arrange` gave it; () if nothing may take it."""

    snapshot: RoutingSnapshot
    live: Live
    trunk: int
    group: int
    side: int
    attempts: tuple[tuple[Target, bool], ...]
    crosses: bool  # the route has targets at the other tenant
    now_s: float
    stand_in: int = -1  # index of the tenant that stands for an SBC pair or exit, if the call goes there
    stopped: bool = False  # a kill switch stands against the other tenant

    def tenant(self, side: int) -> int:
        """Index of the group's tenant of a side, or of the stand-in."""
        if self.stand_in >= 0:
            return self.stand_in
        group = self.snapshot.groups[self.group]
        return group.primary if side == Side.PRIMARY else group.bcp


def sbcs_step(scene: Scene) -> Step:
    """The attempts in order, then every SBC that is left out, each with its state and why."""
    snapshot = scene.snapshot
    steps = [_attempt(scene, place, target, trial) for place, (target, trial) in enumerate(scene.attempts, start=1)]
    for side in (scene.side, 1 - scene.side):
        if side != scene.side and not scene.crosses:
            continue
        tenant = scene.tenant(side)
        steps += [
            _left_out(scene, target)
            for reach in snapshot.targets[tenant][side]
            for target in reach
            if not any(target is one for one, _ in scene.attempts)
        ]
        steps += [
            step("sbc", SKIPPED, f"{snapshot.sbcs[sbc].name}: its name has no address yet", sbc=snapshot.sbcs[sbc].name)
            for reach in snapshot.tenants[tenant].reached_by
            for sbc in snapshot.pairs[reach.pair].sbcs
            if not snapshot.sbcs[sbc].host
        ]
    if scene.stand_in < 0:
        steps.append(_crossing(scene))
    if not scene.attempts:
        return step("sbcs", REFUSED, "no SBC may take this call", *steps)
    names = tuple(snapshot.sbcs[target.sbc].name for target, _ in scene.attempts)
    return step("sbcs", PASSED, f"tries {', then '.join(names)}", *steps, sbcs=names)


def advance_steps(scene: Scene) -> Step:
    """When the next SBC is tried, by pair."""
    if len(scene.attempts) < 2:
        return step("advance", FACT, "there is one attempt: what it answers is what the caller hears")
    steps: list[Step] = []
    told: set[int] = set()
    for target, _ in scene.attempts:
        pair = scene.snapshot.sbcs[target.sbc].pair
        if pair not in told:
            told.add(pair)
            steps.append(_advance(scene.snapshot.pairs[pair].name, target))
    return step("advance", FACT, "goes on to the next SBC while nothing but 100 has come back", *steps)


def _advance(pair: str, target: Target) -> Step:
    when = []
    if target.advance_on_no_reply:
        later_s = min(target.no_reply_s, LATER_NO_REPLY_S)
        last_s = max(later_s, LAST_NO_REPLY_S)
        when.append(f"{target.no_reply_s:g} s of silence (later attempts {later_s:g} s, the last {last_s:g} s)")
    if target.advance_on_no_progress:
        when.append(f"{target.no_progress_s:g} s with 100 alone")
    if target.advance_on:
        when.append(", ".join(map(str, sorted(target.advance_on))))
    text = f"{pair}: on {'; '.join(when)}" if when else f"{pair}: only when it cannot be reached"
    return step("advance", FACT, text, pair=pair, no_reply_s=target.no_reply_s, codes=tuple(sorted(target.advance_on)))


def _crossing(scene: Scene) -> Step:
    """Whether this one call may be tried at the other tenant too."""
    group = scene.snapshot.groups[scene.group]
    other = 1 - scene.side
    tenant = scene.snapshot.tenants[scene.tenant(other)].name
    where = f"the {SIDES[other]} tenant {tenant}"
    facts = {"advance_across": group.advance_across, "tenant": tenant}
    if scene.crosses:
        return step("crossing", PASSED, f"may cross to {where} (advance_across: {group.advance_across})", **facts)
    return step("crossing", SKIPPED, f"does not cross to {where}: {_why_not(scene)}", **facts)


def _why_not(scene: Scene) -> str:
    snapshot, other = scene.snapshot, 1 - scene.side
    group, decision, at = snapshot.groups[scene.group], snapshot.decision[scene.group], scene.tenant(other)
    most = snapshot.tenants[at].max_calls
    if decision.pinned:
        return "the group is pinned"
    if group.advance_across == "never":
        return "advance_across: never"
    if group.advance_across == "to-bcp" and scene.side != Side.PRIMARY:
        return "advance_across: to-bcp allows only the other way"
    if decision.left == SIDES[other]:
        return "an operator left it"
    if snapshot.tenant_admin[at] != Admin.ENABLED:
        return f"it is {Admin(snapshot.tenant_admin[at]).name.lower()}"
    if scene.stopped:
        return "a kill switch stops it"
    if most is not None and scene.live.tenant_calls[at] >= most:
        return f"it has its {most} calls"
    return "none of its SBCs may take calls"


def _attempt(scene: Scene, place: int, target: Target, trial: bool) -> Step:
    snapshot, live = scene.snapshot, scene.live
    sbc = snapshot.sbcs[target.sbc]
    state = STATES[live.operating[target.sbc]]
    notes = [state]
    if live.operating[target.sbc] == Operating.OUT_OF_SERVICE:
        notes.append("tried since nothing else is left")
    elif live.operating[target.sbc] == Operating.UNKNOWN:
        notes.append("comes after those in service")
    if trial:
        notes.append(f"a trial: its last INVITE got no reply, so it has {TRIAL_NO_REPLY_S:g} s")
    if target.sbc in snapshot.doubtful:
        notes.append("doubtful by its calls, so last of its pair")
    notes += _load(scene, target)
    pair, tenant = snapshot.pairs[sbc.pair], snapshot.tenants[target.tenant].name
    drawn = ", drawn by weight" if pair.strategy == "load-share" and len(pair.sbcs) > 1 else ""
    whose = f"{SIDES[target.side]} tenant {tenant}" if scene.stand_in < 0 else tenant.replace(":", " ")
    where = f"{whose}{_nearness(scene, pair.site)}{drawn}"
    return step(
        "sbc",
        TAKEN,
        f"{place}. {sbc.name} of {pair.name} ({where}): {', '.join(notes)}",
        attempt=place,
        sbc=sbc.name,
        pair=pair.name,
        tenant=tenant,
        operating=state,
        trial=trial,
        calls=live.sbc_calls[target.sbc],
        max_calls=target.max_calls,
    )


def _left_out(scene: Scene, target: Target) -> Step:
    snapshot = scene.snapshot
    sbc = snapshot.sbcs[target.sbc]
    state = STATES[scene.live.operating[target.sbc]]
    text = f"{sbc.name}: {', '.join([state, *_load(scene, target)])}; not tried: {_why_left_out(scene, target)}"
    tenant = snapshot.tenants[target.tenant].name
    return step("sbc", SKIPPED, text, sbc=sbc.name, pair=snapshot.pairs[sbc.pair].name, tenant=tenant, operating=state)


def _why_left_out(scene: Scene, target: Target) -> str:
    snapshot, operating = scene.snapshot, scene.live.operating
    tenant, wish = snapshot.tenant_admin[target.tenant], snapshot.sbc_admin[target.sbc]
    out = int(Operating.OUT_OF_SERVICE)
    if tenant != Admin.ENABLED:
        return f"its tenant is {Admin(tenant).name.lower()}"
    if wish != Admin.ENABLED:
        return f"it is {Admin(wish).name.lower()}"
    if operating[target.sbc] == out and any(operating[one.sbc] != out for one, _ in scene.attempts):
        return "only when nothing else is left"
    if scene.live.suspect[target.sbc]:
        return "its last INVITE got no reply, and others remain; it has one trial a second"
    if target.side == scene.side and any(one.side != scene.side for one, _ in scene.attempts):
        return f"{MAX_BEFORE_CROSSING} of this tenant are tried before the call crosses"
    return f"{MAX_ATTEMPTS} attempts are the most"


def _load(scene: Scene, target: Target) -> list[str]:
    rest_s = scene.live.resting_until_s[target.sbc] - scene.now_s
    calls = scene.live.sbc_calls[target.sbc]
    notes = [f"rests {rest_s:.0f} s more, so last"] if rest_s > 0 else []
    if target.max_calls is not None:
        full = ", so last" if calls >= target.max_calls else ""
        notes.append(f"{calls} of {target.max_calls} calls{full}")
    elif calls:
        notes.append(f"{calls} calls")
    return notes


def _nearness(scene: Scene, site: int) -> str:
    """Where the pair stands, seen from the trunk; nothing is said while there is one site."""
    sites = scene.snapshot.sites
    if len(sites) < 2:
        return ""
    own = scene.snapshot.trunks[scene.trunk].site
    if site == own:
        return f", own site {sites[site].name}"
    return f", fallback site {sites[site].name}" if site in sites[own].fallback else f", site {sites[site].name}"
