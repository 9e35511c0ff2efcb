"""Which SBCs a call tries, and in which order (CALLS 1.5).

Three steps, each as rare as it can be. Once per snapshot: a **Target** for every way to every tenant. Once per change of a
measured state: **Candidates** of a tenant seen from a site, and the **Choice** of a group's side, with what may be crossed to.
Once per call: nothing (the arranged attempts are part of the Choice), or the weighted draw of a load-share pair, or a look at
the few SBCs that rest, are full or suspect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from sipctl.routing.rewrite import Leaving, leaving_of
from sipctl.routing.snapshot import Admin, Group, Listen, Operating, Reach, Sbc, SbcPair, SendRules, Side, Tenant

if TYPE_CHECKING:
    from sipctl.routing.answers import Route
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.live import Live

MAX_ATTEMPTS: Final = 4
MAX_BEFORE_CROSSING: Final = 2  # attempts on the chosen tenant while the other one may be tried too
TRIAL_NO_REPLY_S: Final = 0.5  # how long a trial of a suspect SBC waits
DEFAULT_PORT: Final = 5060

_MEASURED: Final = (int(Operating.IN_SERVICE), int(Operating.UNKNOWN), int(Operating.OUT_OF_SERVICE))


@dataclass(frozen=True, slots=True)
class Target:
    """One way to one tenant through one SBC; made once per snapshot and shared by all calls."""

    sbc: int  # indexes into the snapshot
    tenant: int
    side: int  # Side
    listen: int
    host: str  # where to send: a literal address
    port: int
    transport: str
    uri_host: bytes  # host[:port] of the Request-URI
    uri_params: bytes  # after the number, before the "@": b";tgrp=…;trunk-context=…" (RFC 4904), or b""
    called_prefix: str  # in front of the called number
    no_reply_s: float
    no_progress_s: float
    advance_on: frozenset[int]
    advance_on_no_reply: bool
    advance_on_no_progress: bool
    shared_dialogs: bool
    symmetric: bool
    max_calls: int | None
    key: bytes  # 8 bytes: stable id of SBC and reach, for branches
    send: SendRules | None = None  # how the INVITE leaves, as the plan writes it
    leaving: Leaving | None = None  # the same, compiled; None: as it came, but for the Request-URI


@dataclass(frozen=True, slots=True)
class Candidates:
    """A tenant's SBCs in order: in service, then unknown, then (from `usable` on) out of service."""

    targets: tuple[Target, ...] = ()
    usable: int = 0
    shared: tuple[tuple[int, int], ...] = ()  # spans [start, end) of targets that share load by weight


@dataclass(frozen=True, slots=True)
class Arranged:
    """The attempts of one call, in order; True: a trial of a suspect SBC, which waits TRIAL_NO_REPLY_S only."""

    targets: tuple[tuple[Target, bool], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Where calls of one side of a group go, until a snapshot or a measured state changes."""

    chosen: Candidates
    crossing: Candidates
    arranged: Arranged  # the attempts, if nothing is shared by weight, rests, is full or suspect
    weighted: bool


# -- once per snapshot ---------------------------------------------------------------------------------------------------------


def make_targets(
    sbcs: Sequence[Sbc], pairs: Sequence[SbcPair], tenants: Sequence[Tenant], listens: Sequence[Listen]
) -> tuple[tuple[tuple[tuple[Target, ...], ...], ...], ...]:
    """Targets by tenant, side and reach, each list in order of the pair's priorities."""
    assert all(0 <= sbc.listen < len(listens) for sbc in sbcs)
    leaving = tuple(leaving_of(pair.send) for pair in pairs)
    return tuple(
        tuple(
            tuple(
                tuple(
                    _target(sbcs[sbc], sbc, pairs[reach.pair], leaving[reach.pair], reach, index, tenant, side)
                    for sbc in pairs[reach.pair].sbcs
                    if sbcs[sbc].host
                )
                for reach in tenant.reached_by
            )
            for side in (Side.PRIMARY, Side.BCP)
        )
        for index, tenant in enumerate(tenants)
    )


def _target(
    sbc: Sbc, at: int, pair: SbcPair, leaving: Leaving | None, reach: Reach, tenant_at: int, tenant: Tenant, side: Side
) -> Target:
    port = reach.port or sbc.port
    host = reach.host or sbc.uri_host
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    params = f";tgrp={reach.tgrp}" if reach.tgrp else ""
    params += f";trunk-context={reach.trunk_context}" if reach.trunk_context else ""
    way = (int(tenant.id), int(side), reach.port, reach.host, reach.tgrp, reach.trunk_context, reach.called_prefix)
    return Target(
        sbc=at,
        tenant=tenant_at,
        side=int(side),
        listen=sbc.listen,
        host=sbc.host,
        port=port,
        transport=sbc.transport,
        uri_host=(host if port == DEFAULT_PORT else f"{host}:{port}").encode(),
        uri_params=params.encode(),
        called_prefix=reach.called_prefix or "",
        no_reply_s=pair.no_reply_s,
        no_progress_s=pair.no_progress_s,
        advance_on=pair.advance_on,
        advance_on_no_reply=pair.advance_on_no_reply,
        advance_on_no_progress=pair.advance_on_no_progress,
        shared_dialogs=pair.shared_dialogs,
        symmetric=pair.symmetric,
        max_calls=sbc.max_calls,
        key=int(sbc.id).to_bytes(4, "big") + blake2b(repr(way).encode(), digest_size=4).digest(),
        send=pair.send,
        leaving=leaving,
    )


# -- once per change of a measured state -----------------------------------------------------------------------------------------


def choose(snapshot: RoutingSnapshot, live: Live, group: Group, decision_at: int, side: int, site: int, priority: bool) -> Choice:
    """Candidates of a group's side as calls from one site see them, and those of the other side if a call may cross."""
    tenants = (group.primary, group.bcp)
    chosen = candidates(snapshot, live, tenants[side], side, site, priority)
    crossing = Candidates()
    if _may_cross(snapshot, group, decision_at, side):
        crossing = candidates(snapshot, live, tenants[1 - side], 1 - side, site, False)
    arranged = tuple((target, False) for target in in_order(chosen, chosen.targets, crossing, crossing.targets))
    return Choice(chosen, crossing, Arranged(arranged), bool(chosen.shared or crossing.shared))


def candidates(snapshot: RoutingSnapshot, live: Live, tenant: int, side: int, site: int, priority: bool) -> Candidates:
    """The SBCs a tenant's admin state and theirs allow: own site's pairs, fallback sites', the rest as listed.

    Args:
        site: the trunk's; priority: draining tenants and SBCs take this call nevertheless (CALLS 1.6).
    """
    refused = Admin.DISABLED if priority else Admin.DRAINING
    if snapshot.tenant_admin[tenant] >= refused:
        return Candidates()
    reaches = snapshot.tenants[tenant].reached_by
    near = (site, *snapshot.sites[site].fallback) if site < len(snapshot.sites) else (site,)
    sites = [snapshot.pairs[reach.pair].site for reach in reaches]
    rank = [near.index(stands) if stands in near else len(near) for stands in sites]
    targets: list[Target] = []
    shared: list[tuple[int, int]] = []
    usable = 0
    for measured in _MEASURED:
        for reach in sorted(range(len(reaches)), key=rank.__getitem__):
            start = len(targets)
            targets += [
                target
                for target in snapshot.targets[tenant][side][reach]
                if live.operating[target.sbc] == measured and snapshot.sbc_admin[target.sbc] < refused
            ]
            if snapshot.doubtful:
                targets[start:] = sorted(targets[start:], key=lambda target: target.sbc in snapshot.doubtful)
            if snapshot.pairs[reaches[reach].pair].strategy == "load-share":
                shared += _spans(snapshot, targets, start)
        if measured != Operating.OUT_OF_SERVICE:
            usable = len(targets)
    return Candidates(tuple(targets), usable, tuple(shared))


def _spans(snapshot: RoutingSnapshot, targets: list[Target], start: int) -> list[tuple[int, int]]:
    """Runs of equal priority, two or more long; doubtful SBCs are a run of their own behind the others."""
    spans = []
    while start < len(targets):
        priority, doubtful = snapshot.sbcs[targets[start].sbc].priority, targets[start].sbc in snapshot.doubtful
        end = start + 1
        while (
            end < len(targets)
            and snapshot.sbcs[targets[end].sbc].priority == priority
            and (targets[end].sbc in snapshot.doubtful) == doubtful
        ):
            end += 1
        if end - start > 1:
            spans.append((start, end))
        start = end
    return spans


def _may_cross(snapshot: RoutingSnapshot, group: Group, decision_at: int, side: int) -> bool:
    decision = snapshot.decision[decision_at]
    policy = group.advance_across
    if decision.pinned or policy == "never" or (policy == "to-bcp" and side != Side.PRIMARY):
        return False
    other = Side(1 - side)
    return decision.left != ("primary" if other == Side.PRIMARY else "bcp")


# -- once per call ---------------------------------------------------------------------------------------------------------------


def weigh(snapshot: RoutingSnapshot, known: Candidates, share_key: bytes) -> tuple[Target, ...]:
    """Candidates with each shared span in an order drawn by weight as RFC 2782 says, from the call's own key: no randomness."""
    if not known.shared:
        return known.targets
    draw = int.from_bytes(blake2b(share_key, digest_size=8, person=b"load-share").digest(), "big")
    targets = list(known.targets)
    for start, end in known.shared:
        left = sorted(targets[start:end], key=lambda target: snapshot.sbcs[target.sbc].weight > 0)
        for at in range(start, end):
            weights = [snapshot.sbcs[target.sbc].weight for target in left]
            wanted = draw % (sum(weights) + 1)
            draw = (draw * 6364136223846793005 + 1442695040888963407) % (1 << 64) ^ (draw >> 33)
            pick = 0
            while weights[pick] < wanted:
                wanted -= weights[pick]
                pick += 1
            targets[at] = left.pop(pick)
    return tuple(targets)


def arrange(route: Route, live: Live, now_s: float) -> Arranged:
    """The attempts of one call, in order: at most 4, at most 2 on the chosen tenant while crossing is possible.

    Resting and full SBCs come after everything else; a suspect one is skipped while anything else remains, but for one trial a
    second (`live.trial_due_s`, which the caller moves on when it makes the trial). Out-of-service SBCs are tried only when
    nothing else is left.
    Cost: 0.1 µs while no SBC is flagged and no load is shared.
    """
    if not live.flagged:
        if route.arranged is not None:
            return route.arranged
        return Arranged(
            tuple((target, False) for target in in_order(route.chosen, route.targets, route.crossing_candidates, route.crossing))
        )
    return Arranged(_arrange_flagged(route, live, now_s))


def in_order(
    chosen: Candidates, targets: tuple[Target, ...], crossing: Candidates, others: tuple[Target, ...]
) -> tuple[Target, ...]:
    """At most 4 targets, at most 2 of the chosen tenant's while there are others; out-of-service ones only if nothing else is."""
    ours, theirs = targets[: chosen.usable], others[: crossing.usable]
    if not ours and not theirs:
        ours, theirs = targets, others
    first = ours[: MAX_BEFORE_CROSSING if theirs else MAX_ATTEMPTS]
    return (first + theirs)[:MAX_ATTEMPTS]


def _arrange_flagged(route: Route, live: Live, now_s: float) -> tuple[tuple[Target, bool], ...]:
    lists = (route.targets[: route.chosen.usable], route.crossing[: route.crossing_candidates.usable])
    if not lists[0] and not lists[1]:
        lists = (route.targets, route.crossing)
    fit: list[tuple[Target, bool]] = []
    last: list[tuple[Target, bool]] = []
    suspects: list[tuple[Target, bool]] = []
    trial_free = True
    for targets in lists:
        for target in targets:
            sbc = target.sbc
            if live.resting_until_s[sbc] > now_s or (target.max_calls is not None and live.sbc_total(sbc) >= target.max_calls):
                last.append((target, False))
            elif not live.suspect[sbc]:
                fit.append((target, False))
            elif trial_free and live.trial_due_s[sbc] <= now_s:
                fit.append((target, True))
                trial_free = False
            else:
                suspects.append((target, False))
    if not any(not trial for _, trial in fit) and not last:
        fit += suspects
    return _limited(fit + last, bool(lists[0]) and bool(lists[1]), route.side)


def _limited(ordered: list[tuple[Target, bool]], may_cross: bool, side: int) -> tuple[tuple[Target, bool], ...]:
    """The first four, without a third one of the chosen tenant while the other tenant's are among them."""
    crosses = may_cross and any(target.side != side for target, _ in ordered)
    attempts: list[tuple[Target, bool]] = []
    own = 0
    for target, trial in ordered:
        if target.side == side:
            own += 1
            if crosses and own > MAX_BEFORE_CROSSING:
                continue
        attempts.append((target, trial))
    return tuple(attempts[:MAX_ATTEMPTS])
