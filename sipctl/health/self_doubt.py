"""Is it them, or is it us? When a move must wait because our own ears may be the fault (CALLS 4.3).

We suspect ourselves if nothing at all was heard for 2 s though we sent, if local errors or gaps of our own loop explain the
losses, or if of at least four failure domains more than half failed within 5 s. A tenant that answered every probe meanwhile
clears itself: a move to it never waits. A majority of failures holds a move only if its target missed a probe too. How long a
move may wait is the group's affair (`failover/guards.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sipctl.routing.snapshot import Operating

DEAF_S: Final = 2.0
WINDOW_S: Final = 5.0
MIN_DOMAINS: Final = 4
GAP_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """What was measured of one SBC."""

    operating: int
    since_s: float
    missed: int = 0  # probes in a row, now
    missed_s: float | None = None  # the last one lost
    heard_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ears:
    """What is known of our own hearing."""

    at_s: float  # when this was measured
    heard_s: float | None = None
    sent_s: float | None = None
    local_error_s: float | None = None  # the last send that failed for reasons of our own
    gap_s: float | None = None  # when our loop last stood still for more than GAP_S


def own_fault(ears: Ears) -> str:
    """Why our own hearing is in question, whatever the SBCs show; "" if it is not."""
    if ears.sent_s is not None:
        deaf_s = ears.at_s - ears.heard_s if ears.heard_s is not None else float("inf")
        if deaf_s >= DEAF_S and (ears.heard_s is None or ears.sent_s > ears.heard_s):
            return "nothing at all has been heard for 2 s though we sent"
    if ears.local_error_s is not None and ears.at_s - ears.local_error_s <= WINDOW_S:
        return "sends failed for reasons of our own"
    if ears.gap_s is not None and ears.at_s - ears.gap_s <= WINDOW_S:
        return "our own loop stood still"
    return ""


def majority(domains: Sequence[Sequence[str]], seen: Mapping[str, Seen]) -> str:
    """Did more than half of at least four failure domains fail within 5 s? Says how many, or ""."""
    if len(domains) < MIN_DOMAINS:
        return ""
    failed = sorted(at_s for names in domains if (at_s := _failed_s(names, seen)) is not None)
    most = max((sum(1 for other_s in failed if 0.0 <= other_s - at_s <= WINDOW_S) for at_s in failed), default=0)
    return f"{most} of {len(domains)} failure domains failed within 5 s" if 2 * most > len(domains) else ""


def doubt(target: Iterable[str], seen: Mapping[str, Seen], since_s: float, *, fault: str, crowd: str) -> str:
    """Why a move to a tenant must wait; "" if it need not.

    Args:
        target: SBCs of the tenant moved to.
        since_s: when the losses began: it must have answered every probe from then on.
        fault: result of `own_fault`; crowd: result of `majority`.
    """
    if not fault and not crowd:
        return ""
    known = [seen[name] for name in target if name in seen]
    if any(_answered_all(one, since_s) for one in known):
        return ""
    if fault:
        return fault
    missed = any((one.missed_s is not None and one.missed_s >= since_s) or one.missed for one in known)
    return f"{crowd}, and the target missed a probe too" if missed else ""


def _answered_all(one: Seen, since_s: float) -> bool:
    return (
        one.operating == Operating.IN_SERVICE and not one.missed
        and (one.missed_s is None or one.missed_s < since_s)
        and one.heard_s is not None and one.heard_s >= since_s
    )


def _failed_s(names: Sequence[str], seen: Mapping[str, Seen]) -> float | None:
    """When a whole domain went silent: the instant its last SBC missed its first probe or was taken down; None if one stands."""
    instants: list[float] = []
    for name in names:
        one = seen.get(name)
        if one is None:
            return None
        if one.operating == Operating.OUT_OF_SERVICE:
            instants.append(one.since_s)
        elif one.missed and one.missed_s is not None:
            instants.append(one.missed_s)
        else:
            return None
    return max(instants, default=None)
