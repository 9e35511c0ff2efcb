"""From a dialled number to the SBCs to try: the one place where a call is routed, for every engine, `sipctl route` and replay.

Pure: a snapshot, what is live at this instant, and the call's own facts go in; a Route or a NoRoute comes out. The ramp's share
and the weights of a load-share pair are drawn from the call's own key, so the same caller gets the same answer, and a growing
share only adds callers to those it already had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipctl.routing.answers import CAUSE_INVALID_FORMAT, CAUSE_TEMPORARY_FAILURE, CAUSE_UNALLOCATED, NoRoute, Retarget, Route
from sipctl.routing.groups import SHARE_STEPS, choice_of, drawn_side, is_full, over_limit, place_of, without_crossing
from sipctl.routing.judged import Call, WallTimeNeededError, follow
from sipctl.routing.live import Live
from sipctl.routing.numbers import (
    MAX_E164_DIGITS,
    MAX_WORD_CHARS,
    NOT_FOUND,
    dialled_at,
    is_digits,
)
from sipctl.routing.select import weigh
from sipctl.routing.snapshot import Admin, Trunk

if TYPE_CHECKING:
    from sipctl.routing.join import RoutingSnapshot

__all__ = [
    "CAUSE_INVALID_FORMAT", "CAUSE_TEMPORARY_FAILURE", "CAUSE_UNALLOCATED", "SHARE_STEPS", "NoRoute", "Retarget", "Route",
    "WallTimeNeededError", "drawn_side", "normalise", "place_of", "resolve",
]  # fmt: skip

_SEPARATORS: Final = str.maketrans("", "", " -.()/")


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
    unix_s: float | None = None,
) -> Route | NoRoute:
    """Choose where one call goes: pure, so `sipctl route`, replay and every engine agree.

    Args:
        trunk: index of the trunk it came by.
        called_raw, phone_context: see `normalise`.
        share_key: what a ramp's share and a load-share pair's weights are drawn from: the caller's number, or the Call-ID.
        priority: carries a namespace its trunk is trusted for: passes limits and drain (CALLS 1.6).
        unix_s: wall time, for opening hours and for overlays and kill switches that end by themselves; None where none is asked.
    Returns: Route with the SBCs to try, in order (never empty), and the sentence that explains them; or NoRoute with the SIP
        status to send: 404 unknown number, 484 incomplete, an entry point's `over_limit`, 503 a trunk's limit, 480 nothing
        allowed, or what a kill switch, an overlay, closed hours or `unusable` say.
    Raises: WallTimeNeededError if the answer depends on the time and `unix_s` is None.
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
    if snapshot.judged[entry_at] is not None:
        call = Call(trunk, called, key, found, share_key, now_s, priority, unix_s)
        return follow(snapshot, live, call, entry_at)
    entry = snapshot.entry_points[entry_at]
    group_at = entry.group
    group = snapshot.groups[group_at]
    share = snapshot.decision[group_at].bcp_percent
    side = 0 if share <= 0 else 1 if share >= 100 else drawn_side(int(group.id), share, share_key)
    choice = choice_of(snapshot, live, group_at, side, sender.site, priority)
    if not priority:
        refused = over_limit(snapshot, live, trunk, entry_at, group.bcp if side else group.primary, now_s)
        if refused is not None:
            return refused
        if choice.crossing.targets and is_full(snapshot, live, group.primary if side else group.bcp):
            choice = without_crossing(choice)
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
