"""From a dialled number to the SBCs to try: the one place where a call is routed, for every engine, `sipctl route` and replay.

Pure: a snapshot, what is live at this instant, and the call's own facts go in; a Route or a NoRoute comes out. The ramp's share
and the weights of a load-share pair are drawn from the call's own key, so the same caller gets the same answer, and a growing
share only adds callers to those it already had.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from sipctl.routing.live import MAX_CACHED_CHOICES, Live
from sipctl.routing.numbers import (
    MAX_E164_DIGITS,
    MAX_WORD_CHARS,
    NOT_FOUND,
    dialled_at,
    is_digits,
)
from sipctl.routing.select import MAX_ATTEMPTS, Arranged, Candidates, Choice, Target, choose, weigh
from sipctl.routing.snapshot import Admin, Side, Trunk

if TYPE_CHECKING:
    from sipctl.routing.join import RoutingSnapshot

# Q.850 causes of our own answers
CAUSE_UNALLOCATED: Final = 1
CAUSE_INVALID_FORMAT: Final = 28
CAUSE_NO_CIRCUIT: Final = 34
CAUSE_TEMPORARY_FAILURE: Final = 41
CAUSE_CONGESTION: Final = 42

SHARE_STEPS: Final = 10_000  # a ramp's share is judged in hundredths of a percent
_SEPARATORS: Final = str.maketrans("", "", " -.()/")
_SIDE_NAMES: Final = ("primary", "bcp")


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why a call goes nowhere, and what its sender hears."""

    status: int
    cause: int  # Q.850
    reason: str  # one sentence
    limit: str | None = None  # which limit: "trunk-max-calls", "trunk-max-cps", "trunk-admin", "entry-point", "tenant"
    entry_point: int | None = None


class Route:
    """Where one call goes."""

    __slots__ = (
        "_snapshot",
        "_treatment",
        "arranged",
        "called",
        "called_number",
        "chosen",
        "crossing",
        "crossing_candidates",
        "entry_point",
        "group",
        "rule",
        "side",
        "targets",
        "trunk",
    )

    def __init__(
        self,
        snapshot: RoutingSnapshot,
        trunk: int,
        entry_point: int,
        group: int,
        side: int,
        called_number: str,
        called: tuple[str, str],
        choice: Choice,
        targets: tuple[Target, ...],
        crossing: tuple[Target, ...],
        rule: str,
    ) -> None:
        self._snapshot = snapshot
        self.trunk = trunk
        self.entry_point = entry_point
        self.group = group
        self.side = side
        self.called_number = called_number  # as found: "+…" or the private string
        self.called = called  # what to dial at the primary, at the BCP tenant
        self.targets = targets  # the chosen tenant's, in order; out-of-service ones last
        self.crossing = crossing  # the other tenant's, () if this call may not cross
        self.chosen = choice.chosen
        self.crossing_candidates = choice.crossing
        self.arranged = None if choice.weighted else choice.arranged
        self.rule = rule  # "exact number", "range …", "pattern …"

    @property
    def tenant(self) -> int:
        """Index of the chosen tenant."""
        group = self._snapshot.groups[self.group]
        return group.primary if self.side == Side.PRIMARY else group.bcp

    def why(self) -> str:
        """The sentence that explains this route, the same in log, API, UI and test."""
        snapshot = self._snapshot
        group = snapshot.groups[self.group]
        decision = snapshot.decision[self.group]
        share = decision.bcp_percent
        split = f", {100 - share} % to the primary" if 0 < share < 100 else ""
        return (
            f"{self.called_number} is {snapshot.entry_points[self.entry_point].name} ({self.rule}); group {group.name} sends it "
            f"to its {_SIDE_NAMES[self.side]} tenant {snapshot.tenants[self.tenant].name} ({decision.reason}{split}); "
            + self._ways()
        )

    def _ways(self) -> str:
        sbcs = self._snapshot.sbcs
        usable = [sbcs[target.sbc].name for target in self.targets[: self.chosen.usable]]
        other = [sbcs[target.sbc].name for target in self.crossing[: self.crossing_candidates.usable]]
        if not usable and not other:
            everything = [sbcs[target.sbc].name for target in (*self.targets, *self.crossing)]
            return f"every SBC is out of service, tried nevertheless: {', '.join(everything)}"
        ways = f"SBCs {', '.join(usable)}" if usable else "none of its SBCs is usable"
        if not other:
            return ways
        return f"{ways}, then {', '.join(other)} of the {_SIDE_NAMES[1 - self.side]} tenant"


def normalise(trunk: Trunk, digits: str, phone_context: str | None) -> str | NoRoute:
    """The called number as the plan knows it: "+…", or the exact private string; never guessed.

    Args:
        digits: what was dialled, already cut from URI parameters and unescaped; separators are removed here.
        phone_context: RFC 3966 phone-context; a global one ("+49") completes a local number.
    Returns: NoRoute 404 if the trunk's `called_format` does not allow this form.
    """
    called_format = trunk.called_format
    if called_format == "exact":
        if 0 < len(digits) <= MAX_WORD_CHARS:
            return digits
        return NoRoute(404, CAUSE_INVALID_FORMAT, f"trunk {trunk.name} dialled a private number of {len(digits)} characters")
    number = digits[1:] if digits[:1] == "+" else digits
    if number.isdigit() and number.isascii():
        if number is not digits and len(number) <= MAX_E164_DIGITS:
            return digits  # the usual way: "+" and digits
    else:
        digits = digits.translate(_SEPARATORS)
        number = digits[1:] if digits[:1] == "+" else digits
    if digits[:1] != "+":
        if phone_context is not None and phone_context[:1] == "+":
            number = phone_context[1:].translate(_SEPARATORS) + number
        elif called_format == "national":
            prefix = trunk.national_prefix
            if prefix and number.startswith(prefix):
                number = number[len(prefix) :]
            number = (trunk.country_code or "") + number
        elif called_format == "e164":
            reason = f"{digits!r} has no +, which trunk {trunk.name} (called_format: e164) must send"
            return NoRoute(404, CAUSE_INVALID_FORMAT, reason)
    if is_digits(number) and len(number) <= MAX_E164_DIGITS:
        return "+" + number
    return NoRoute(404, CAUSE_INVALID_FORMAT, f"{digits!r} is no {called_format} number (trunk {trunk.name})")


def resolve(
    snapshot: RoutingSnapshot,
    live: Live,
    trunk: int,
    called_raw: str,
    phone_context: str | None,
    share_key: bytes,
    now_s: float,
    priority: bool = False,
) -> Route | NoRoute:
    """Choose where one call goes: pure, so `sipctl route`, replay and every engine agree.

    Args:
        trunk: index of the trunk it came by.
        called_raw, phone_context: see `normalise`.
        share_key: what a ramp's share and a load-share pair's weights are drawn from: the caller's number, or the Call-ID.
        priority: carries a namespace its trunk is trusted for: passes limits and drain (CALLS 1.6).
    Returns: Route with the SBCs to try, in order (never empty), and the sentence that explains them; or NoRoute with the SIP
        status to send: 404 unknown number, 484 incomplete, an entry point's `over_limit`, 503 a trunk's limit, 480 nothing
        allowed.
    Cost: O(length of the number), at most 10 µs with a million numbers.
    Source: number form ITU-T E.164; statuses RFC 3261 §21.4.5, §21.4.22, §21.5.4.
    """
    sender = snapshot.trunks[trunk]
    called = normalise(sender, called_raw, phone_context)
    if isinstance(called, NoRoute):
        return called
    numbers = snapshot.table.numbers
    found, key = numbers.lookup(trunk, called)
    entry_at = numbers.entry_point[found] if found != NOT_FOUND else -1
    if entry_at < 0 or not _may_call(snapshot, entry_at, trunk):
        return _unknown(snapshot, trunk, called, entry_at)
    entry = snapshot.entry_points[entry_at]
    group_at = entry.group
    group = snapshot.groups[group_at]
    share = snapshot.decision[group_at].bcp_percent
    side = 0 if share <= 0 else 1 if share >= 100 else drawn_side(int(group.id), share, share_key)
    choice = _choice(snapshot, live, group_at, side, sender.site, priority)
    if not priority:
        refused = _over_limit(snapshot, live, trunk, entry_at, group.bcp if side else group.primary, now_s)
        if refused is not None:
            return refused
        if choice.crossing.targets and _is_full(snapshot, live, group.primary if side else group.bcp):
            choice = _without_crossing(choice)
    elif snapshot.trunk_admin[trunk] == Admin.DISABLED:
        return NoRoute(503, CAUSE_TEMPORARY_FAILURE, f"trunk {sender.name} is disabled", "trunk-admin", entry_at)
    if not choice.arranged.targets:
        reason = f"no SBC of group {group.name} may take this call: all are draining, disabled or unresolved"
        return NoRoute(480, CAUSE_TEMPORARY_FAILURE, reason, None, entry_at)
    targets, crossing = choice.chosen.targets, choice.crossing.targets
    if choice.weighted:
        targets, crossing = weigh(snapshot, choice.chosen, share_key), weigh(snapshot, choice.crossing, share_key)
    copied = numbers.copied[found]
    dialled = (
        dialled_at(called, key, numbers.primary_base[found], copied >> 8),
        dialled_at(called, key, numbers.bcp_base[found], copied & 0xFF),
    )
    rule = numbers.rules[numbers.rule[found]]
    return Route(snapshot, trunk, entry_at, group_at, side, called, dialled, choice, targets, crossing, rule)


def drawn_side(group_id: int, bcp_percent: int, share_key: bytes) -> int:
    """The primary while the caller's fixed place lies below its share: a growing share keeps everyone it had."""
    place = place_of(group_id, share_key)
    return int(Side.PRIMARY if place < (100 - bcp_percent) * (SHARE_STEPS // 100) else Side.BCP)


def place_of(group_id: int, share_key: bytes) -> int:
    """Where a caller stands in a group's ramp, for ever: 0 … SHARE_STEPS - 1."""
    return int.from_bytes(blake2b(b"%d:%b" % (group_id, share_key), digest_size=8).digest(), "big") % SHARE_STEPS


def _choice(snapshot: RoutingSnapshot, live: Live, group: int, side: int, site: int, priority: bool) -> Choice:
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


def _without_crossing(choice: Choice) -> Choice:
    ours = choice.chosen
    tried = ours.targets[: ours.usable] or ours.targets
    arranged = Arranged(tuple((target, False) for target in tried[:MAX_ATTEMPTS]))
    return Choice(ours, Candidates(), arranged, bool(ours.shared))


def _may_call(snapshot: RoutingSnapshot, entry_point: int, trunk: int) -> bool:
    allowed = snapshot.entry_points[entry_point].trunks
    return allowed is None or trunk in allowed


def _unknown(snapshot: RoutingSnapshot, trunk: int, called: str, entry_point: int) -> NoRoute:
    sender = snapshot.trunks[trunk]
    if entry_point >= 0:
        name = snapshot.entry_points[entry_point].name
        return NoRoute(404, CAUSE_UNALLOCATED, f"{called} is {name}, which trunk {sender.name} may not call", None, entry_point)
    if sender.overlap and snapshot.table.numbers.is_proper_prefix(trunk, called):
        return NoRoute(484, CAUSE_INVALID_FORMAT, f"{called} is only the beginning of a number")
    return NoRoute(404, CAUSE_UNALLOCATED, f"{called} is in no entry point")


def _is_full(snapshot: RoutingSnapshot, live: Live, tenant: int) -> bool:
    most = snapshot.tenants[tenant].max_calls
    return most is not None and live.tenant_calls[tenant] >= most


def _over_limit(snapshot: RoutingSnapshot, live: Live, trunk: int, entry_at: int, tenant: int, now_s: float) -> NoRoute | None:
    sender = snapshot.trunks[trunk]
    if snapshot.trunk_admin[trunk] != Admin.ENABLED:
        wish = Admin(snapshot.trunk_admin[trunk]).name.lower()
        return NoRoute(503, CAUSE_TEMPORARY_FAILURE, f"trunk {sender.name} is {wish}", "trunk-admin", entry_at)
    if sender.max_calls is not None and live.trunk_calls[trunk] >= sender.max_calls:
        reason = f"trunk {sender.name} has its {sender.max_calls} calls"
        return NoRoute(503, CAUSE_NO_CIRCUIT, reason, "trunk-max-calls", entry_at)
    if sender.max_cps is not None and live.trunk_cps(trunk, now_s) >= sender.max_cps:
        reason = f"trunk {sender.name} had its {sender.max_cps} new calls within a second"
        return NoRoute(503, CAUSE_CONGESTION, reason, "trunk-max-cps", entry_at)
    entry = snapshot.entry_points[entry_at]
    if entry.max_calls is not None and live.entry_calls[entry_at] >= entry.max_calls:
        status, cause = entry.over_limit
        return NoRoute(status, cause, f"entry point {entry.name} has its {entry.max_calls} calls", "entry-point", entry_at)
    if _is_full(snapshot, live, tenant):
        status, cause = entry.over_limit
        full = snapshot.tenants[tenant]
        return NoRoute(status, cause, f"tenant {full.name} has its {full.max_calls} calls", "tenant", entry_at)
    return None
