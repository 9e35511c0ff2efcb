"""Plans with everything in them that may send a call elsewhere, compiled from their text; and every state in which to ask them.

Three entry points, two groups, announcement pairs and an exit, one SBC each: so small that a sample of their states shows what
calls may meet. A state says which SBCs are dead or draining, what is full, what the groups decided, which overlay is on,
what the clock shows, and who calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

from sipctl.dialplan.compile import compile_plan
from sipctl.routing.answers import BY_OVERLAY, NoRoute, Retarget, Route
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import resolve
from sipctl.routing.snapshot import Admin, Decision, Operating, RoutingState, SigningKey
from sipctl.routing.table import Table, load_table

TRUNKS = ("one", "two")
ENTRIES = ("e0", "e1", "e2")
TENANTS = ("t0", "t1", "t2", "t3")
GROUPS = {"g0": ("t0", "t1"), "g1": ("t2", "t3")}
PAIRS = ("p0", "p1", "p2", "p3", "ann", "ann2", "out")
NUMBERS = {f"+49100{at}": name for at, name in enumerate(ENTRIES)} | {"+491009": None}
OVERLAYS = ("o0", "o1")

MONDAY_S = 1_767_571_200  # 2026-01-05 00:00 UTC
INSTANTS_S = tuple(  # three hours of four days, early and late in each
    MONDAY_S + 86_400 * day + 3_600 * hour + 60 * minute for day in (0, 2, 5, 6) for hour in (3, 10, 19) for minute in (0, 45)
)
CALLERS = tuple(f"+4917{number:03}".encode() for number in range(16))
STATES_OF_ONE_SNAPSHOT = 12
SAMPLE = 300  # states tried of every pair of plans
LONG_SAMPLE = 20_000  # tried only where the diff tells what the sample does not show

Document = dict[str, Any]
Call = tuple[str, str]  # trunk, number


@dataclass(frozen=True)
class Written:
    """A plan as it is written: both folders in one document each."""

    edge: Document
    plan: Document

    def table(self) -> Table:
        files = {"sbc_configs/a.yaml": json.dumps(self.edge).encode(), "dialplans/a.yaml": json.dumps(self.plan).encode()}
        compiled = compile_plan(files, {}, revision=1)
        assert compiled.image, [str(finding) for finding in compiled.findings if finding.severity == "error"]
        return load_table(compiled.image)


@dataclass(frozen=True)
class State:
    """What is not in the plan when a call arrives."""

    groups: tuple[str, ...]  # of each group's tenants: "" | primary | bcp | both | draining
    draining: tuple[str, ...]  # SBCs of the places that are no tenants
    full: frozenset[str]  # entry points, tenants and exits that have all their calls
    bcp_percent: tuple[int, ...]  # by group
    overlay: str | None
    unix_s: int
    caller: bytes


def states(random: Random, tables: tuple[Table, Table]) -> Iterator[State]:
    """A sample without end; what is dear to set up stays for some states."""
    groups, draining, full, bcp_percent, overlays, instants, callers = _choices(tables)
    pick = random.choice
    while True:
        kept = pick(groups), pick(draining), pick(bcp_percent), pick(overlays)
        for _ in range(STATES_OF_ONE_SNAPSHOT):
            yield State(kept[0], kept[1], pick(full), kept[2], kept[3], pick(instants), pick(callers))


def _choices(tables: tuple[Table, Table]) -> tuple[tuple[Any, ...], ...]:
    """Every value of every field that may matter to either of two plans."""
    limited = sorted({name for table in tables for name in _limited(table)})
    timed = any(table.topology.schedules for table in tables)
    split = any(entry.split for table in tables for entry in table.topology.entry_points)
    return (
        tuple(product(("", "", "primary", "bcp", "both", "draining"), repeat=len(GROUPS))),
        ((), ("ann",), ("out",), ("ann", "ann2", "out")),
        tuple(
            frozenset(name for name, is_full in zip(limited, chosen, strict=True) if is_full)
            for chosen in product((False, True), repeat=len(limited))
        ),
        tuple(product((0, 100), repeat=len(GROUPS))),
        (None, None, *OVERLAYS),
        INSTANTS_S if timed else INSTANTS_S[:1],
        CALLERS if split else CALLERS[:1],
    )


def _limited(table: Table) -> Iterator[str]:
    yield from (entry.name for entry in table.topology.entry_points if entry.max_calls is not None)
    yield from (tenant.name for tenant in table.topology.tenants if tenant.max_calls is not None)


class Asked:
    """One plan, ready to be asked what calls meet in a state."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._snapshots: dict[tuple[Any, ...], RoutingSnapshot] = {}

    def met(self, state: State, calls: Iterable[Call]) -> dict[Call, Any]:
        """What each of some calls meets."""
        snapshot = self._snapshot(state)
        live = Live.for_snapshot(snapshot)
        dead = _named(state, {"primary": 0, "bcp": 1}, "both")
        for at, sbc in enumerate(snapshot.sbcs):
            live.operating[at] = int(Operating.OUT_OF_SERVICE if sbc.name in dead else Operating.IN_SERVICE)
        for at, entry in enumerate(snapshot.entry_points):
            live.entry_calls[at] = entry.max_calls or 0 if entry.name in state.full else 0
        for at, tenant in enumerate(snapshot.tenants):
            live.tenant_calls[at] = tenant.max_calls or 0 if tenant.name in state.full else 0
        found = {}
        for trunk, number in calls:
            at = snapshot.trunk_index[trunk]
            route = resolve(snapshot, live, at, number, None, state.caller, 0.0, unix_s=float(state.unix_s))
            found[trunk, number] = _told(snapshot, route)
        return found

    def _snapshot(self, state: State) -> RoutingSnapshot:
        key = (state.groups, state.draining, state.bcp_percent, state.overlay)
        found = self._snapshots.get(key)
        if found is None:
            draining = {*(f"{pair}a" for pair in state.draining), *_named(state, {}, "draining")}
            made = RoutingState(
                1, 1, 1, self.table.hash,
                decisions={name: Decision(percent) for name, percent in zip(GROUPS, state.bcp_percent, strict=True)},
                sbc_admin=dict.fromkeys(draining, Admin.DRAINING),
                overlays=() if state.overlay is None else ((state.overlay, 0.0),),
                keys=(SigningKey(0, bytes(32)),),
            )  # fmt: skip
            found = self._snapshots[key] = RoutingSnapshot.build(self.table, made)
        return found


def _named(state: State, sides: dict[str, int], all_of_them: str) -> set[str]:
    """SBCs that a state's words about the groups mean."""
    found = set()
    for word, tenants in zip(state.groups, GROUPS.values(), strict=True):
        chosen = tenants if word == all_of_them else (tenants[sides[word]],) if word in sides else ()
        found |= {f"p{TENANTS.index(tenant)}a" for tenant in chosen}
    return found


def _told(snapshot: RoutingSnapshot, route: Route | NoRoute) -> Any:
    """All of an answer that its call meets; of an overlay that takes the call, only where it leads."""
    steps = [(snapshot.entry_points[step.entry_point].name, step.reason, step.called) for step in route.retargets]
    for at, step in enumerate(route.retargets):
        if step.reason == BY_OVERLAY:
            return steps[: at + 1], _overlay_place(snapshot, step)
    if isinstance(route, NoRoute):
        return route.status, route.cause
    entry = snapshot.entry_points[route.entry_point]
    ways = [[_way(snapshot, target.tenant, target.sbc) for target in targets] for targets in (route.targets, route.crossing)]
    if route.stand_in >= 0:
        return steps, snapshot.tenants[route.stand_in].name, snapshot.tenants[route.stand_in].max_calls, route.called, ways
    group = snapshot.groups[route.group]
    limits = (entry.max_calls, *(snapshot.tenants[tenant].max_calls for tenant in (group.primary, group.bcp)))
    return steps, entry.name, group.name, group.advance_across, limits, route.called, ways


def _overlay_place(snapshot: RoutingSnapshot, step: Retarget) -> Any:
    overlay = next(one for one in snapshot.table.topology.overlays if one.name == step.by)
    to = dict(overlay.entry_points).get(step.entry_point, overlay.everywhere)
    assert to is not None
    entry = None if to.entry_point is None else snapshot.entry_points[to.entry_point].name
    return entry, None if to.tenant is None else snapshot.tenants[to.tenant].name, to.called, to.refuse


def _way(snapshot: RoutingSnapshot, tenant: int, sbc: int) -> Any:
    pair = snapshot.pairs[snapshot.sbcs[sbc].pair]
    return snapshot.tenants[tenant].name, snapshot.sbcs[sbc].name, pair.no_reply_s, pair.send


# -- how they are made -----------------------------------------------------------------------------------------------------------

_SEND: tuple[Document | None, ...] = (
    None, {"called": "e164-no-plus"}, {"headers": {"set": {"X-Entry-Point": "{entry_point}"}}}, {"diversion": "dialled"},
)  # fmt: skip
# each entry point has hours of its own, and whether one is open tells nothing of the others: the hour, the day, the minute decide
_HALVES = ("Mon-Sun 03:00-03:30", "Mon-Sun 10:00-10:30", "Mon-Sun 19:00-19:30")
_OPEN: dict[str, tuple[list[str], ...]] = {
    "s0": (["Mon-Sun 08:00-18:00"], ["Mon-Sun 08:00-20:00"], ["Mon-Sun 00:00-24:00"]),
    "s1": (["Mon-Fri 00:00-24:00"], ["Mon-Sat 00:00-24:00"]),
    "s2": (list(_HALVES), list(_HALVES[1:])),
}
_CLOSED: tuple[list[str], ...] = ([], [], ["2026-01-07"], ["2026-01-11"])


def written_edits(random: Random) -> tuple[Written, Written]:
    """A plan, and the same one with one or two of its parts made anew."""
    parts = {key: _part(random, *key) for key in _KEYS}
    edited = {**parts, **{key: _part(random, *key) for key in random.sample(_KEYS, random.choice((1, 1, 2)))}}
    return _written(parts), _written(edited)


_KEYS = [
    *(("entry_points", name) for name in ENTRIES), *(("entry_points", name) for name in ENTRIES),  # edited twice as often
    *(("schedules", name) for name in _OPEN), *(("overlays", name) for name in OVERLAYS),
    *(("continuity_groups", name) for name in GROUPS), ("exits", "pstn"),
    *(("tenants", name) for name in TENANTS), *(("sbc_pairs", name) for name in PAIRS),
]  # fmt: skip
_EDGE_SECTIONS = ("tenants", "sbc_pairs")


def _part(random: Random, section: str, name: str) -> Document:
    pick = random.choice
    if section == "entry_points":
        return _entry(random, ENTRIES.index(name))
    if section == "schedules":
        return {"zone": "UTC", "open": pick(_OPEN[name]), "closed": pick(_CLOSED) if name == "s1" else []}
    if section == "overlays":
        named = random.sample([*ENTRIES, "*"], pick((1, 2)))
        places = {one: _treatment(random, ENTRIES.index(one) if one != "*" else len(ENTRIES)) for one in named}
        return {"entry_points": places}
    if section == "continuity_groups":
        primary, bcp = GROUPS[name]
        return {"primary": primary, "bcp": bcp, "failover": "automatic", "advance_across": pick(("never", "to-bcp", "both"))}
    if section == "exits":
        return {"sbc_pair": "out", "allow": [pick(("+44.", "+4420"))], "max_calls": pick(("1", "2"))}
    if section == "tenants":
        return _set({"reached_by": [f"p{TENANTS.index(name)}"], "max_calls": pick((None, None, "1", "2"))})
    host = f"10.{PAIRS.index(name)}.0.1"
    return _set({"sbcs": {f"{name}a": {"uri": f"sip:{host}"}}, "send": pick(_SEND), "no_reply": pick((None, "2s"))})


def _entry(random: Random, at: int) -> Document:
    pick = random.choice
    share = pick((25, 75))
    is_split, keeps_hours = pick((False, False, True)), pick((False, True))
    places = _places(at)
    return _set(
        {
            "numbers": [f"+49100{at}"],
            "group": None if is_split else pick(sorted(GROUPS)),
            "split": {"g0": f"{share}%", "g1": f"{100 - share}%"} if is_split else None,
            "trunks": pick((None, None, None, ["one"])),
            "max_calls": pick((None, None, "1", "2")),
            "over_limit": pick((None, None, None, {"code": "503", "cause": "42"})),
            "schedule": f"s{at}" if keeps_hours else None,
            "closed": _treatment(random, at) if keeps_hours else None,
            "overflow": random.sample(places, pick((1, 2))) if pick((False, True)) else None,
            "unusable": _treatment(random, at) if pick((False, True)) else None,
            "called_at": pick((None, None, {"primary": "+3111"}, {"bcp": "+3120XX"})),
        }
    )


def _places(at: int) -> list[Document]:
    """Where calls of an entry point may be sent: only entry points after it, so that nothing goes round."""
    later: list[Document] = [{"entry_point": name} for name in ENTRIES[at + 1 :]]
    later += [{"entry_point": name, "called": "+3177"} for name in ENTRIES[at + 1 :]]
    return [*later, {"sbc_pair": "ann", "called": "ann-1"}, {"sbc_pair": "ann2"}, {"number": "+4420", "exit": "pstn"}]


def _treatment(random: Random, at: int) -> Document:
    if random.random() < 0.3:
        return random.choice(({"refuse": "480"}, {"refuse": "603", "cause": "21"}))
    return {"to": random.choice(_places(at))}


def _set(made: Document) -> Document:
    return {key: value for key, value in made.items() if value is not None}


def _written(parts: dict[tuple[str, str], Document]) -> Written:
    edge: Document = {
        "listen": {"all": {"bind": "udp:192.0.2.9:5060"}},
        "trunks": {name: {"sources": [f"198.51.100.{at}"]} for at, name in enumerate(TRUNKS, 1)},
    }
    plan: Document = {}
    for (section, name), made in parts.items():
        (edge if section in _EDGE_SECTIONS else plan).setdefault(section, {})[name] = made
    return Written(edge, plan)
