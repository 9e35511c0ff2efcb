"""A difference in sentences for people, and as a JSON body with every interval for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sipctl.dialplan.diff_facts import NONE
from sipctl.dialplan.diff_model import DIALLED, MOVED, REFUSED, ROUTED, Change, Delta, EntityChange, PlanDiff
from sipctl.routing.numbers import digits_of

MAX_SENTENCES: Final = 60  # lines told; the rest is counted
MAX_NAMES: Final = 3
MAX_TOLD_DELTAS: Final = 4

_HOW: Final[Mapping[str, str]] = {
    "gained": "get a number of their own at the {side} tenant",
    "lost": "lose their own number at the {side} tenant: the called number is dialled there",
    "changed": "are dialled otherwise at the {side} tenant",
}
_SAID_OF_NEW: Final[Mapping[str, tuple[str, ...]]] = {  # what is told of an entity that is new
    "overlay": ("entry_points", "everywhere"), "switch": ("to", "entry_points", "groups", "trunks", "tenants"),
    "exit": ("pair", "allow", "max_calls"), "trunk": ("sources",), "listen": ("host", "port"),
}  # fmt: skip
_ROLE_FIELDS: Final[Mapping[tuple[str, str], str]] = {
    ("group", "name"): "group", ("primary", "tenant"): "primary", ("bcp", "tenant"): "BCP",
    ("primary", "ways"): "ways to the primary", ("bcp", "ways"): "ways to BCP",
}  # fmt: skip


def sentences(diff: PlanDiff, most: int = MAX_SENTENCES) -> list[str]:
    """What differs, one line each: numbers first, most numbers first; then everything else.

    Args:
        most: lines at most; a last line counts what is left out. Nothing is left out of the numbers told.
    Returns: [] if nothing differs.
    """
    lines = [change_sentence(change) for change in diff.changes] + [entity_sentence(entity) for entity in diff.entities]
    if len(lines) <= most:
        return lines
    left = lines[most:]
    numbers = sum(change.numbers.count for change in diff.changes[most:])
    touched = f", {_many(numbers, 'number')} among them" if numbers else ""
    restart = " (some need a restart)" if any(entity.needs_restart for entity in diff.entities) else ""
    return [*lines[:most], f"… and {len(left):,} more changes{touched}{restart}"]


def change_sentence(change: Change) -> str:
    """One change of numbers: how many, what becomes of them, for whose calls, which are the first."""
    count = change.numbers.count
    who = _many(count, "number" if change.numbers.is_e164 else "private number")
    place = _of(change.entry_points)
    verb_s = "s" if count == 1 else ""
    if change.kind == MOVED:
        what = f"{who} move{verb_s} from {change.was} to {change.now}" + _deltas(change.deltas, "; treated alike")
    elif change.kind == ROUTED:
        if change.is_by_trunk:
            what = f"{who} of {change.now} can be called"
        else:
            what = f"{who} {'is' if count == 1 else 'are'} new: routed to {change.now}"
    elif change.kind == REFUSED:
        if change.is_by_trunk:
            what = f"{who} of {change.now or change.was} can no longer be called: refused with 404"
        else:
            what = f"{who} of {change.was} {'is' if count == 1 else 'are'} in no entry point any more: refused with 404"
    elif change.kind == DIALLED:
        side = "BCP" if change.deltas[0].about == "bcp" else "primary"
        what = f"{who}{place} {_singular(_HOW[change.how], count).format(side=side)}"
    else:
        what = f"{who}{place}" + _deltas(change.deltas, "")
    trunks = "" if change.trunks is None else f" (calls by {_names('trunk', change.trunks)})"
    return f"{what}{trunks}: {', '.join(change.examples)}" + (", …" if len(change.numbers) > len(change.examples) else "")


def entity_sentence(entity: EntityChange) -> str:
    """One change outside the calls."""
    name = f"{entity.kind} {entity.name}".strip()
    if entity.what == "changed":
        text = f"{name}: {_told(entity.deltas)}"
    elif entity.what == "renamed":
        rest = _told(entity.deltas[1:])
        text = f"{name} was {entity.deltas[0].was}" + (f": {rest}" if rest else "")
    elif entity.what == "added":
        said = [delta for delta in entity.deltas if delta.field in _SAID_OF_NEW.get(entity.kind, ()) and delta.now != NONE]
        rest = "; ".join(f"{delta.field} {delta.now}" for delta in said)
        text = f"{name} is new" + (f": {rest}" if rest else "")
    else:
        text = f"{name} is gone"
    return text + (" (needs a restart)" if entity.needs_restart else "")


def _told(deltas: Iterable[Delta]) -> str:
    return "; ".join(f"{delta.field} {_value(delta.was)} → {_value(delta.now)}" for delta in deltas)


def body(diff: PlanDiff, most_intervals: int | None = None) -> dict[str, Any]:
    """All of it for programs, with the exact intervals of every change.

    Args:
        most_intervals: of each change; `intervals_left_out` counts those beyond. None: all.
    """
    return {
        "same": diff.is_empty,
        "numbers": diff.numbers,
        "needs_restart": diff.needs_restart,
        "changes": [_change_body(change, most_intervals) for change in diff.changes],
        "other": [
            {
                "kind": entity.kind,
                "name": entity.name,
                "what": entity.what,
                "needs_restart": entity.needs_restart,
                "facts": [_delta_body(delta) for delta in entity.deltas],
                "sentence": entity_sentence(entity),
            }
            for entity in diff.entities
        ],
    }


def _change_body(change: Change, most: int | None) -> dict[str, Any]:
    numbers = change.numbers
    plus = "+" if numbers.is_e164 else ""
    told = []
    for one in numbers.intervals(most):
        interval: dict[str, Any] = {"first": plus + digits_of(one.first), "last": plus + digits_of(one.last), "count": one.count}
        if one.left_out.high >= one.left_out.low:
            places = len(str(one.left_out.modulus)) - 1
            interval["but_not_ending"] = [str(one.left_out.low).zfill(places), str(one.left_out.high).zfill(places)]
        told.append(interval)
    return {
        "kind": change.kind,
        "sentence": change_sentence(change),
        "numbers": numbers.count,
        "private": not numbers.is_e164,
        "trunks": None if change.trunks is None else list(change.trunks),
        "was": change.was,
        "now": change.now,
        "by_allow_list": change.is_by_trunk,
        "called_at": {"tenant": change.deltas[0].about, "how": change.how} if change.kind == DIALLED else None,
        "facts": [] if change.kind == DIALLED else [_delta_body(delta) for delta in change.deltas],
        "entry_points": list(change.entry_points),
        "examples": list(change.examples),
        "intervals": told,
        "intervals_left_out": len(numbers) - len(numbers.words) - len(told),
        "words": list(numbers.words),
    }


def _delta_body(delta: Delta) -> dict[str, Any]:
    return {"about": delta.about, "field": delta.field, "was": delta.was, "now": delta.now}


def _deltas(deltas: Iterable[Delta], otherwise: str) -> str:
    """What else differs, without what follows from another tenant or group by itself."""
    known = list(deltas)
    tenants = {delta.about for delta in known if delta.field == "tenant"}
    by_value = {(delta.about, delta.was, delta.now): delta for delta in reversed(known)}  # an address stands in several fields
    told = [
        f"{_field(delta)} {_value(delta.was)} → {_value(delta.now)}"
        for delta in reversed(by_value.values())
        if not (delta.field == "ways" and delta.about in tenants)
    ]
    if not told:
        return otherwise
    more = f" and {len(told) - MAX_TOLD_DELTAS} more" if len(told) > MAX_TOLD_DELTAS else ""
    return ": " + "; ".join(told[:MAX_TOLD_DELTAS]) + more


def _field(delta: Delta) -> str:
    if delta.about == "entry point":
        return delta.field
    known = _ROLE_FIELDS.get((delta.about, delta.field))
    if known is not None:
        return known
    return f"{'BCP' if delta.about == 'bcp' else delta.about} {delta.field}"


def _value(text: str | None) -> str:
    return NONE if text is None else text


def _of(entry_points: Sequence[str]) -> str:
    if not entry_points:
        return ""
    return f" of {entry_points[0]}" if len(entry_points) == 1 else f" of {_names('entry point', entry_points)}"


def _names(kind: str, names: Sequence[str]) -> str:
    if len(names) <= MAX_NAMES:
        return (f"{kind} " if len(names) == 1 else "") + ", ".join(names)
    return f"{len(names):,} {kind}s ({', '.join(names[:MAX_NAMES])}, …)"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("s" if count != 1 else "")


def _singular(text: str, count: int) -> str:
    if count != 1:
        return text
    verb, _, rest = text.partition(" ")
    rest = rest.replace("their", "its")
    return f"{'is' if verb == 'are' else verb + 's'} {rest}"
