"""Overlays and kill switches that are on: who switched them on, why, since when, until when.

The plan says what each of them does (`Topology.overlays`, `Topology.switches`); that one is on is an operator's wish, which
survives restarts, `apply` and `rollback`. The time it ends at travels with every publication, so that routers end it also while
no controller lives; a controller that lives ends it itself, writes that down and tells the story.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

FIELDS: Final[Mapping[str, str]] = {"overlay": "overlays", "switch": "switches"}  # kind → field of World, section of the status
NEVER_UNIX_S: Final = 0.0  # published for one that stays until somebody switches it off
LAST_UNIX_S: Final = 253_402_300_799.0  # 9999-12-31T23:59:59Z: the calendar knows no later instant


@dataclass(frozen=True, slots=True)
class On:
    """One that is on."""

    since_unix_s: float
    actor: str
    reason: str
    until_unix_s: float | None = None  # None: until somebody switches it off


_NOBODYS: Final = On(0.0, "an operator", "")
Switched = Mapping[str, On]  # those that are on, by name


def unexpired(active: Switched, unix_s: float) -> Switched:
    """Those whose time is not over; the very same mapping if that is all of them."""
    kept = {name: on for name, on in active.items() if on.until_unix_s is None or on.until_unix_s > unix_s}
    return active if len(kept) == len(active) else kept


def switched(active: Switched, changes: Mapping[str, On | None]) -> Switched:
    """After some went on (or got another end) and some, None, went off."""
    if all(active.get(name) == on for name, on in changes.items()):
        return active
    return {name: on for name, on in {**active, **changes}.items() if on is not None}


def published(active: Switched) -> tuple[tuple[str, float], ...]:
    """As routers are told: (name, until as unix seconds or NEVER_UNIX_S), by name."""
    return tuple((name, active[name].until_unix_s or NEVER_UNIX_S) for name in sorted(active))


def adopted_from(told: Iterable[tuple[str, float]], known: Switched) -> Switched:
    """What routers were told last, with what is still known of each: who and why are lost if it was never written down."""
    return {
        name: replace(known.get(name, _NOBODYS), until_unix_s=None if until == NEVER_UNIX_S else until) for name, until in told
    }


def written(on: On | None) -> dict[str, Any]:
    """As plain data, for the store and for records; empty if it is off."""
    return {} if on is None else dict(msgspec.to_builtins(on))


def read(plain: Mapping[str, Any]) -> dict[str, On]:
    """What `written` made of each.

    Raises: msgspec.ValidationError if it is not ours.
    """
    return {name: msgspec.convert(one, On) for name, one in plain.items()}


def sentence(kind: str, name: str, before: On | None, after: On | None, why: str) -> str:
    """What happened to one of them."""
    if after is None:
        return f"{kind} {name} is off: {why}"
    again = "stays" if before is not None else "is"
    return f"{kind} {name} {again} on {until_words(after)}: {why}"


class Ends(Protocol):
    """What is on for a time."""

    @property
    def until_unix_s(self) -> float | None: ...


def until_words(on: Ends) -> str:
    """Until when, for people."""
    if on.until_unix_s is None:
        return "until it is switched off"
    return f"until {rfc3339(on.until_unix_s, 'seconds')}"


def rfc3339(unix_s: float, precision: str = "milliseconds") -> str:
    """Any number of seconds as an instant, UTC; one outside of 1970 to 9999 as the nearest within: a STATE may hold anything."""
    at = datetime.fromtimestamp(min(LAST_UNIX_S, max(0.0, unix_s)), UTC)
    return at.isoformat(timespec=precision).replace("+00:00", "Z")
