"""Replay: calls that were, through a plan that may be, call by call, by the very `resolve` that routers use.

Counts of calls at once stand in a `Live` as in a router: a call that is let in takes its places (trunk, entry point, tenant, SBC)
at its start and gives them back at its end. So limits refuse here what they would refuse there, SBCs that are full come last, and
an SBC's share is drawn from the same caller. What replay cannot know it assumes: the first SBC tried answers, a call lasts as
long as it lasted then, and a call that was refused then lasts no time.

Invariant: rows come in order of their start; the places taken are those of calls that began and have not ended.
Memory: what calls at once need, whatever the number of rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from sipctl.dialplan.plan_tests import settled
from sipctl.dialplan.replay_rows import Row
from sipctl.dialplan.replay_scenes import FOR_EVER, Scene, given_at
from sipctl.routing.live import Live
from sipctl.routing.resolve import CAUSE_INVALID_FORMAT, NoRoute, Route, resolve
from sipctl.routing.select import Target, arrange
from sipctl.routing.snapshot import Operating, Topology
from sipctl.routing.table import Table

MAX_CALLS_AT_ONCE: Final = 2_000_000  # beyond it the call that would end next gives its places back early
ROUTED: Final = "routed"
REFUSED: Final = "refused"
DEAD: Final = "dead"  # routed, but every SBC it may try is out of service
STRANGER: Final = "stranger"  # the plan has no such trunk: its calls are dropped unanswered

_SIDES: Final = ("primary", "bcp")
_OUT: Final = int(Operating.OUT_OF_SERVICE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a call; few different ones, each with a number."""

    kind: str  # ROUTED | REFUSED | DEAD | STRANGER
    entry_point: str = ""
    group: str = ""
    role: str = ""  # "primary" | "bcp"
    tenant: str = ""
    pair: str = ""
    sbc: str = ""
    status: int = 0
    limit: str = ""  # which limit refused it, as NoRoute names it
    step: str = ""  # which judgement refused it: switch, overlay, closed, …

    def place(self) -> tuple[str, ...]:
        """What makes two outcomes the same for the caller."""
        if self.kind == STRANGER:
            return (STRANGER,)
        status = str(self.status) if self.kind == REFUSED else ""
        return (self.kind, self.entry_point, self.tenant, self.pair, self.sbc, status)


_STRANGER: Final = Outcome(STRANGER)


class Meter:
    """Calls of one SBC, tenant, trunk or entry point: at once, and new ones within a calendar second."""

    __slots__ = ("calls", "cps", "cps_at_s", "in_second", "kind", "limit", "name", "peak", "peak_at_s", "second")

    def __init__(self, kind: str, name: str, limit: int | None) -> None:
        self.kind = kind
        self.name = name
        self.limit = limit  # max_calls, None: none
        self.calls = 0  # let in, all in all; counted at the end
        self.peak = 0
        self.peak_at_s = 0.0
        self.second = -1
        self.in_second = 0
        self.cps = 0
        self.cps_at_s = 0


class _Way:
    """One outcome of routed calls and the places a call of it takes."""

    __slots__ = ("calls", "code", "entry", "meters", "number", "places", "sbc", "tenant", "trunk")

    def __init__(self, number: int, code: int, trunk: int, entry: int, target: Target, meters: tuple[Meter, ...]) -> None:
        self.number = number  # among the ways of its replayer
        self.code = code
        self.trunk = trunk
        self.entry = entry
        self.tenant = target.tenant
        self.sbc = target.sbc
        self.meters = meters  # of trunk, entry point, tenant, SBC
        self.calls = 0
        self.places: tuple[tuple[list[int], int, Meter], ...] = ()  # (counts, index, meter) of each

    def bind(self, live: Live) -> None:
        """Its places are those of this Live from now on."""
        counts = (live.trunk_calls, live.entry_calls, live.tenant_calls, live.sbc_calls)
        self.places = tuple(zip(counts, (self.trunk, self.entry, self.tenant, self.sbc), self.meters, strict=True))


class Replayer:
    """One plan, fed with rows in order of their start.

    Args:
        scenes: what is assumed to be out of service, and when.
    """

    __slots__ = (
        "_clock_s",
        "_codes",
        "_ends",
        "_live",
        "_meters",
        "_scenes",
        "_snapshot",
        "_table",
        "_trunks",
        "_until_s",
        "_ways",
        "_ways_in_order",
        "early_ends",
        "out_of_order",
        "outcomes",
    )

    def __init__(self, table: Table, scenes: Sequence[Scene] = ()) -> None:
        self._table = table
        self._scenes = tuple(scenes)
        self._clock_s = -FOR_EVER
        self._codes: dict[Outcome, int] = {}
        self._ends: list[tuple[float, int]] = []  # heap of (end, index into _ways_in_order)
        self._ways: dict[tuple[int, int, bool, bytes], _Way] = {}
        self._ways_in_order: list[_Way] = []
        self._meters: dict[tuple[str, int], Meter] = {}
        self.outcomes: list[Outcome] = []  # by code; grows as new ones are met
        self.early_ends = 0  # MAX_CALLS_AT_ONCE was reached
        self.out_of_order = 0  # rows that began before the one in front of them; judged at its instant
        given, self._until_s = given_at(table.topology, self._scenes, self._clock_s)
        self._snapshot, self._live = settled(table, given)
        self._trunks = self._snapshot.trunk_index

    def judge(self, rows: Iterable[Row]) -> array[int]:
        """The code of each row's outcome (see `outcomes`), in order.

        Cost: 12 to 20 µs a row.
        """
        codes: array[int] = array("I")
        ends, ways, trunks = self._ends, self._ways_in_order, self._trunks
        snapshot, live = self._snapshot, self._live
        clock_s = self._clock_s
        for start_s, trunk_name, dialled, calling, call_id, hold_s, called, _ in rows:
            if start_s > clock_s:
                clock_s = start_s
            elif start_s < clock_s:
                self.out_of_order += 1
            while ends and ends[0][0] <= clock_s:
                self._leave(ways[heappop(ends)[1]])
            if clock_s >= self._until_s:
                self._turn(clock_s)
                snapshot, live = self._snapshot, self._live
            trunk = trunks.get(trunk_name)
            if trunk is None:
                codes.append(self._code(_STRANGER))
                continue
            found = resolve(snapshot, live, trunk, dialled, None, (calling or call_id).encode(), clock_s, False, clock_s)
            if isinstance(found, NoRoute) and found.cause == CAUSE_INVALID_FORMAT:
                found = self._ask_again(found, trunk, dialled, calling or call_id, called, clock_s)
            if isinstance(found, NoRoute):
                codes.append(self._refused(found))
                continue
            way = self._way(trunk, found, arrange(found, live, clock_s).targets[0][0])
            codes.append(way.code)
            self._enter(way, clock_s)
            heappush(ends, (clock_s + hold_s, way.number))
            if len(ends) > MAX_CALLS_AT_ONCE:
                self.early_ends += 1
                self._leave(ways[heappop(ends)[1]])
        self._clock_s = clock_s
        return codes

    @property
    def topology(self) -> Topology:
        """Of its plan."""
        return self._table.topology

    def meters(self) -> list[Meter]:
        """Peaks of everything that had a call, SBCs first."""
        order = ("sbc", "tenant", "trunk", "entry_point")
        for meter in self._meters.values():
            meter.calls = 0
        for way in self._ways_in_order:
            for meter in way.meters:
                meter.calls += way.calls
        return sorted(self._meters.values(), key=lambda meter: (order.index(meter.kind), meter.name))

    # -- one call --------------------------------------------------------------------------------------------------------------

    def _ask_again(self, refused: NoRoute, trunk: int, dialled: str, share_key: str, called: str, at_s: float) -> Route | NoRoute:
        """A local number without +: what completed it was a phone-context, of which the record keeps only the result."""
        if dialled[:1] == "+" or called[:1] != "+" or not called.endswith(dialled):
            return refused
        context = called[: len(called) - len(dialled)]
        return resolve(self._snapshot, self._live, trunk, dialled, context, share_key.encode(), at_s, False, at_s)

    def _way(self, trunk: int, route: Route, first: Target) -> _Way:
        is_dead = self._live.operating[first.sbc] == _OUT
        key = (trunk, route.entry_point, is_dead, first.key)
        known = self._ways.get(key)
        if known is not None:
            return known
        snapshot = self._snapshot
        outcome = Outcome(
            DEAD if is_dead else ROUTED,
            snapshot.entry_points[route.entry_point].name,
            snapshot.groups[route.group].name if route.stand_in < 0 else "",
            _SIDES[first.side] if route.stand_in < 0 else "",
            snapshot.tenants[first.tenant].name,
            snapshot.pairs[snapshot.sbcs[first.sbc].pair].name,
            snapshot.sbcs[first.sbc].name,
        )
        meters = self._meters_of(trunk, route.entry_point, first)
        made = _Way(len(self._ways_in_order), self._code(outcome), trunk, route.entry_point, first, meters)
        made.bind(self._live)
        self._ways_in_order.append(made)
        self._ways[key] = made
        return made

    def _refused(self, found: NoRoute) -> int:
        entry_point = "" if found.entry_point is None else self._snapshot.entry_points[found.entry_point].name
        outcome = Outcome(REFUSED, entry_point, status=found.status, limit=found.limit or "", step=found.step or "")
        return self._code(outcome)

    def _code(self, outcome: Outcome) -> int:
        code = self._codes.get(outcome)
        if code is None:
            code = self._codes[outcome] = len(self.outcomes)
            self.outcomes.append(outcome)
        return code

    # -- places ----------------------------------------------------------------------------------------------------------------

    def _enter(self, way: _Way, at_s: float) -> None:
        self._live.note_new_call(way.trunk, at_s)
        way.calls += 1
        second = int(at_s)
        for counts, index, meter in way.places:
            at_once = counts[index] = counts[index] + 1
            if at_once > meter.peak:
                meter.peak = at_once
                meter.peak_at_s = at_s
            if second == meter.second:
                new = meter.in_second = meter.in_second + 1
            else:
                meter.second = second
                new = meter.in_second = 1
            if new > meter.cps:
                meter.cps = new
                meter.cps_at_s = second

    def _leave(self, way: _Way) -> None:
        for counts, index, _ in way.places:
            counts[index] -= 1

    def _meters_of(self, trunk: int, entry: int, target: Target) -> tuple[Meter, ...]:
        snapshot = self._snapshot
        tenant, sbc = snapshot.tenants[target.tenant], snapshot.sbcs[target.sbc]
        return (
            self._meter("trunk", trunk, snapshot.trunks[trunk].name, snapshot.trunks[trunk].max_calls),
            self._meter("entry_point", entry, snapshot.entry_points[entry].name, snapshot.entry_points[entry].max_calls),
            self._meter("tenant", target.tenant, tenant.name, tenant.max_calls),
            self._meter("sbc", target.sbc, sbc.name, sbc.max_calls),
        )

    def _meter(self, kind: str, index: int, name: str, limit: int | None) -> Meter:
        return self._meters.setdefault((kind, index), Meter(kind, name, limit))

    # -- time ------------------------------------------------------------------------------------------------------------------

    def _turn(self, now_s: float) -> None:
        """A scenario begins or ends: another snapshot, with the counts of before. Indexes stay, since the table does."""
        given, self._until_s = given_at(self._table.topology, self._scenes, now_s)
        snapshot, fresh = settled(self._table, given)
        live = Live.for_snapshot(snapshot, self._live)
        live.operating = fresh.operating
        live.version += 1
        self._snapshot, self._live = snapshot, live
        for way in self._ways_in_order:
            way.bind(live)
