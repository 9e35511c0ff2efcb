"""Within one group, pair or exit: which side takes a call, which SBCs that means, and whether a limit stands against it."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from sipctl.routing.answers import CAUSE_CONGESTION, CAUSE_NO_CIRCUIT, CAUSE_TEMPORARY_FAILURE, NoRoute
from sipctl.routing.live import MAX_CACHED_CHOICES, Live
from sipctl.routing.select import MAX_ATTEMPTS, Arranged, Candidates, Choice, candidates, choose, in_order
from sipctl.routing.snapshot import Admin, Side

if TYPE_CHECKING:
    from sipctl.routing.join import RoutingSnapshot

SHARE_STEPS: Final = 10_000  # shares are judged in hundredths of a percent


def drawn_side(group_id: int, bcp_percent: int, share_key: bytes) -> int:
    """The primary while the caller's fixed place lies below its share: a growing share keeps everyone it had."""
    place = place_of(group_id, share_key)
    return int(Side.PRIMARY if place < (100 - bcp_percent) * (SHARE_STEPS // 100) else Side.BCP)


def place_of(group_id: int, share_key: bytes) -> int:
    """Where a caller stands in a group's ramp, for ever: 0 … SHARE_STEPS - 1."""
    return int.from_bytes(blake2b(b"%d:%b" % (group_id, share_key), digest_size=8).digest(), "big") % SHARE_STEPS


def split_group(entry_id: int, split: tuple[tuple[int, int], ...], share_key: bytes) -> int:
    """Which group of a split takes a caller, for ever; of two groups, one whose share grows keeps all it had.

    Args:
        split: (group index, percent), 100 together.
    """
    place = int.from_bytes(blake2b(b"split:%d:%b" % (entry_id, share_key), digest_size=8).digest(), "big") % SHARE_STEPS
    bound = 0
    for group, percent in split:
        bound += percent * (SHARE_STEPS // 100)
        if place < bound:
            return group
    return split[-1][0]


def choice_of(snapshot: RoutingSnapshot, live: Live, group: int, side: int, site: int, priority: bool) -> Choice:
    """Candidates of a group's side; kept until the snapshot or a measured state changes."""
    if live.choices_of is not snapshot or live.choices_version != live.version:
        live.choices.clear()
        live.choices_of = snapshot
        live.choices_version = live.version
    key = ((group << 20 | site) << 2) | side << 1 | priority
    choice = live.choices.get(key)
    if choice is None:
        if len(live.choices) >= MAX_CACHED_CHOICES:
            live.choices.clear()
            live.cache_resets += 1
        choice = choose(snapshot, live, snapshot.groups[group], group, side, site, priority)
        live.choices[key] = choice
    return choice


def place_choice(snapshot: RoutingSnapshot, live: Live, tenant: int, site: int, priority: bool) -> Choice:
    """The same for a tenant that stands for an SBC pair or an exit: there is no other side."""
    if live.choices_of is not snapshot or live.choices_version != live.version:
        live.choices.clear()
        live.choices_of = snapshot
        live.choices_version = live.version
    key = -1 - ((tenant << 20 | site) << 1 | priority)  # below 0: groups' keys are not
    choice = live.choices.get(key)
    if choice is None:
        if len(live.choices) >= MAX_CACHED_CHOICES:
            live.choices.clear()
            live.cache_resets += 1
        known = candidates(snapshot, live, tenant, Side.PRIMARY, site, priority)
        arranged = tuple((target, False) for target in in_order(known, known.targets, Candidates(), ()))
        choice = live.choices[key] = Choice(known, Candidates(), Arranged(arranged), bool(known.shared))
    return choice


def without_crossing(choice: Choice) -> Choice:
    """The same choice for a call that may not cross."""
    ours = choice.chosen
    tried = ours.targets[: ours.usable] or ours.targets
    arranged = Arranged(tuple((target, False) for target in tried[:MAX_ATTEMPTS]))
    return Choice(ours, Candidates(), arranged, bool(ours.shared))


def is_full(snapshot: RoutingSnapshot, live: Live, tenant: int) -> bool:
    """Whether a tenant has all the calls it may have."""
    most = snapshot.tenants[tenant].max_calls
    return most is not None and live.tenant_total(tenant) >= most


def over_limit(snapshot: RoutingSnapshot, live: Live, trunk: int, entry_at: int, tenant: int, now_s: float) -> NoRoute | None:
    """What a call hears that a limit stands against: its trunk's (most have none), its entry point's, its tenant's."""
    sender = snapshot.trunks[trunk]
    if snapshot.trunk_admin[trunk] or sender.max_calls is not None or sender.max_cps is not None:
        refused = over_trunk_limit(snapshot, live, trunk, entry_at, now_s)
        if refused is not None:
            return refused
    entry = snapshot.entry_points[entry_at]
    if entry.max_calls is not None and live.entry_total(entry_at) >= entry.max_calls:
        status, cause = entry.over_limit
        return NoRoute(status, cause, f"entry point {entry.name} has its {entry.max_calls} calls", "entry-point", entry_at)
    if is_full(snapshot, live, tenant):
        status, cause = entry.over_limit
        full = snapshot.tenants[tenant]
        reason = f"tenant {full.name} has its {full.max_calls} calls"
        return NoRoute(status, cause, reason, "exit" if full.kind == "exit" else "tenant", entry_at)
    return None


def over_trunk_limit(snapshot: RoutingSnapshot, live: Live, trunk: int, entry_at: int, now_s: float) -> NoRoute | None:
    """What a call hears whose trunk may send no more."""
    sender = snapshot.trunks[trunk]
    if snapshot.trunk_admin[trunk] != Admin.ENABLED:
        wish = Admin(snapshot.trunk_admin[trunk]).name.lower()
        return NoRoute(503, CAUSE_TEMPORARY_FAILURE, f"trunk {sender.name} is {wish}", "trunk-admin", entry_at)
    if sender.max_calls is not None and live.trunk_total(trunk) >= sender.max_calls:
        reason = f"trunk {sender.name} has its {sender.max_calls} calls"
        return NoRoute(503, CAUSE_NO_CIRCUIT, reason, "trunk-max-calls", entry_at)
    if sender.max_cps is not None and live.trunk_cps_total(trunk, now_s) >= sender.max_cps:
        reason = f"trunk {sender.name} had its {sender.max_cps} new calls within a second"
        return NoRoute(503, CAUSE_CONGESTION, reason, "trunk-max-cps", entry_at)
    return None
