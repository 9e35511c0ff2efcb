"""What two replays of the same calls differ in, counted while they run: constant memory, whatever the number of calls.

Each side names a call's outcome by a small number; a pair of numbers is counted, and the first few calls of each pair that
differs are kept as examples. Everything else is made of these counts at the end.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sipctl.dialplan.replay import DEAD, REFUSED, ROUTED, STRANGER, Meter, Outcome
from sipctl.dialplan.replay_rows import Row

EXAMPLES: Final = 3  # calls told of each difference
MAX_DIFFERENCES: Final = 10_000  # different pairs of outcomes told; further ones are counted

# What may have happened to a call, most telling first.
SAME: Final = "same"
LIMIT: Final = "exceeds a limit"
NOW_REFUSED: Final = "now refused"
NOW_DEAD: Final = "no SBC in service"
NOW_STRANGER: Final = "no such trunk"
NOW_ROUTED: Final = "no longer refused"
OTHER_ENTRY_POINT: Final = "other entry point"
OTHER_TENANT: Final = "other tenant"
OTHER_PAIR: Final = "other SBC pair"
OTHER_SBC: Final = "other SBC"
OTHER_REFUSAL: Final = "refused otherwise"
CHANGES: Final = (
    OTHER_ENTRY_POINT, OTHER_TENANT, OTHER_PAIR, OTHER_SBC, LIMIT, NOW_REFUSED, NOW_DEAD, NOW_STRANGER, NOW_ROUTED,
    OTHER_REFUSAL,
)  # fmt: skip


def change(old: Outcome, new: Outcome) -> str:
    """The word for what lies between two outcomes; SAME if their callers notice nothing."""
    if old.place() == new.place():
        return SAME
    if new.kind == REFUSED:
        if new.limit:
            return LIMIT
        return OTHER_REFUSAL if old.kind == REFUSED else NOW_REFUSED
    if new.kind == STRANGER:
        return NOW_STRANGER
    if new.kind == DEAD:
        return NOW_DEAD
    if old.kind != ROUTED:
        return NOW_ROUTED
    if old.entry_point != new.entry_point:
        return OTHER_ENTRY_POINT
    if old.tenant != new.tenant:
        return OTHER_TENANT
    return OTHER_PAIR if old.pair != new.pair else OTHER_SBC


class Comparison:
    """Counts pairs of outcomes, chunk by chunk."""

    __slots__ = ("_examples", "_pairs", "rows")

    def __init__(self) -> None:
        self._pairs: Counter[tuple[int, int]] = Counter()
        self._examples: dict[tuple[int, int], list[Row]] = {}
        self.rows = 0

    def add(
        self, old: array[int], new: array[int], rows: Sequence[Row], outcomes: tuple[Sequence[Outcome], Sequence[Outcome]]
    ) -> None:
        """One chunk: both sides' codes of the same rows; `outcomes`: what the codes mean."""
        assert len(old) == len(new) == len(rows)
        self.rows += len(rows)
        chunk = Counter(zip(old, new, strict=True))
        self._pairs.update(chunk)
        wanted: dict[tuple[int, int], int] = {}
        for pair in chunk:
            kept = self._examples.get(pair)
            left = EXAMPLES - len(kept or ())
            has_room = kept is not None or len(self._examples) < MAX_DIFFERENCES
            if left > 0 and has_room and change(outcomes[0][pair[0]], outcomes[1][pair[1]]) != SAME:
                wanted[pair] = left
        if not wanted:
            return
        for at, pair in enumerate(zip(old, new, strict=True)):
            if pair not in wanted:
                continue
            left = wanted[pair]
            self._examples.setdefault(pair, []).append(rows[at])
            if left > 1:
                wanted[pair] = left - 1
            else:
                del wanted[pair]
                if not wanted:
                    return

    def changes(self, old: Sequence[Outcome], new: Sequence[Outcome]) -> Counter[str]:
        """How many calls each word of `change` stands for."""
        found: Counter[str] = Counter()
        for (before, after), count in self._pairs.items():
            found[change(old[before], new[after])] += count
        return found

    def differences(self, old: Sequence[Outcome], new: Sequence[Outcome]) -> tuple[list[dict[str, Any]], int]:
        """Each pair of outcomes that differs, most calls first, with examples; and the calls of pairs not told."""
        found: list[dict[str, Any]] = []
        for (before, after), count in self._pairs.most_common():
            word = change(old[before], new[after])
            if word != SAME:
                found.append(
                    {
                        "change": word,
                        "calls": count,
                        "old": outcome_body(old[before]),
                        "new": outcome_body(new[after]),
                        "examples": [example_body(row) for row in self._examples.get((before, after), ())],
                    }
                )
        untold = sum(int(entry["calls"]) for entry in found[MAX_DIFFERENCES:])
        return found[:MAX_DIFFERENCES], untold

    def entry_points(self, old: Sequence[Outcome], new: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
        """By entry point, what becomes of its calls; "" stands for numbers that have none.

        A call counts at the entry point it had, and, if it has another one now, as `gained` there.
        """
        found: dict[str, dict[str, Any]] = {}
        for (before, after), count in self._pairs.items():
            was, is_ = old[before], new[after]
            home = was.entry_point or (is_.entry_point if was.kind == STRANGER else "")
            entry = found.setdefault(home, _empty())
            word = change(was, is_)
            entry["calls"] += count
            if word == SAME:
                entry["same"] += count
            else:
                entry["changes"][word] = entry["changes"].get(word, 0) + count
            if is_.kind == REFUSED:
                name = is_.limit or is_.step or str(is_.status)
                entry["refused"][name] = entry["refused"].get(name, 0) + count
            if is_.entry_point and is_.entry_point != home:
                found.setdefault(is_.entry_point, _empty())["gained"] += count
        return dict(sorted(found.items()))

    def totals(self, side: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """What one side made of all calls: routed, refused by status and limit, dead, stranger."""
        counts: Counter[int] = Counter()
        for pair, count in self._pairs.items():
            counts[pair[side]] += count
        found: dict[str, Any] = {ROUTED: 0, REFUSED: 0, DEAD: 0, STRANGER: 0, "by_status": {}, "by_limit": {}}
        for code, count in counts.items():
            outcome = outcomes[code]
            found[outcome.kind] += count
            if outcome.kind == REFUSED:
                for where, name in (("by_status", str(outcome.status)), ("by_limit", outcome.limit)):
                    if name:
                        found[where][name] = found[where].get(name, 0) + count
        return found


def _empty() -> dict[str, Any]:
    return {"calls": 0, "same": 0, "gained": 0, "changes": {}, "refused": {}}


class Logged:
    """The side that is no plan: what the records say became of each call."""

    __slots__ = ("_codes", "outcomes")

    def __init__(self) -> None:
        self._codes: dict[tuple[Any, ...], int] = {}
        self.outcomes: list[Outcome] = []

    def judge(self, rows: Sequence[Row]) -> array[int]:
        """Codes as `Replayer.judge` gives them; every row must be of our own records."""
        codes: array[int] = array("I")
        for row in rows:
            logged = row[7]
            assert logged is not None
            key = logged[:7] if not logged[5] else logged[:6]
            code = self._codes.get(key)
            if code is None:
                code = self._codes[key] = len(self.outcomes)
                self.outcomes.append(_logged_outcome(logged))
            codes.append(code)
        return codes


def _logged_outcome(logged: tuple[str, str, str, str, str, str, int, int]) -> Outcome:
    entry_point, group, role, tenant, pair, sbc, status, _ = logged
    if sbc:
        return Outcome(ROUTED, entry_point, group, role, tenant, pair, sbc)
    return Outcome(REFUSED, entry_point, group, status=status)


def outcome_body(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON says it; what does not apply is left out."""
    names = ("kind", "entry_point", "group", "role", "tenant", "pair", "sbc", "status", "limit", "step")
    return {name: getattr(outcome, name) for name in names if getattr(outcome, name)}


def outcome_text(outcome: dict[str, Any]) -> str:
    """An outcome's body in one line."""
    kind = outcome["kind"]
    if kind == STRANGER:
        return "dropped: no such trunk"
    if kind == REFUSED:
        where = f" at {outcome['entry_point']}" if outcome.get("entry_point") else ""
        return f"refused {outcome.get('status') or 'without a status'}{where}" + (
            f" ({outcome['limit']})" if outcome.get("limit") else ""
        )
    text = f"{outcome['entry_point']} → {outcome['tenant']} by {outcome['sbc']} ({outcome['pair']})"
    return f"{text}, out of service" if kind == DEAD else text


def example_body(row: Row) -> dict[str, Any]:
    """A call that stands for many."""
    at = datetime.fromtimestamp(row[0], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"start": at, "trunk": row[1], "dialled": row[2], "calling": row[3], "call_id": row[4]}


def meter_bodies(old: Sequence[Meter], new: Sequence[Meter]) -> list[dict[str, Any]]:
    """Peaks of both sides beside each other, by kind and name; the busiest of the new side first within a kind."""
    sides = [{(meter.kind, meter.name): meter for meter in meters} for meters in (old, new)]
    names = dict.fromkeys([*sides[1], *sides[0]])
    order = ("sbc", "tenant", "trunk", "entry_point")
    bodies = []
    for kind, name in names:
        before, after = (side.get((kind, name)) for side in sides)
        bodies.append({"kind": kind, "name": name, "old": _meter_body(before), "new": _meter_body(after)})
    return sorted(bodies, key=_busiest(order))


def _busiest(order: tuple[str, ...]) -> Any:
    def key(body: dict[str, Any]) -> tuple[int, int, str]:
        return order.index(body["kind"]), -(body["new"] or body["old"])["calls_at_once"], body["name"]

    return key


def _meter_body(meter: Meter | None) -> dict[str, Any] | None:
    if meter is None:
        return None
    return {
        "calls": meter.calls, "calls_at_once": meter.peak, "calls_at_once_at": _at(meter.peak_at_s),
        "max_calls": meter.limit, "calls_per_second": meter.cps, "calls_per_second_at": _at(meter.cps_at_s),
    }  # fmt: skip


def _at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
