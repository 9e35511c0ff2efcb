"""Small random plans, and what every call of a small number space meets in them, found by asking `resolve` for each one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from sipctl.dialplan.flatten import Block, flatten, in_order
from sipctl.dialplan.inventory import Columns
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.numbers import PRIVATE_BIT, Numbers, Treatment
from sipctl.routing.resolve import Route, resolve
from sipctl.routing.select import Target
from sipctl.routing.snapshot import (
    Decision,
    Destination,
    EntryPoint,
    EntryPointId,
    Group,
    GroupId,
    Listen,
    Operating,
    Reach,
    RoutingState,
    Sbc,
    SbcId,
    SbcPair,
    Schedule,
    SigningKey,
    Site,
    Tenant,
    TenantId,
    Topology,
    Trunk,
    TrunkId,
    Zone,
)
from sipctl.routing.table import Table, encode_table, load_table

ENTRIES, GROUPS, TENANTS, PAIRS, SITES = 3, 2, 3, 3, 2
TRUNKS = ("one", "two", "pbx")  # pbx writes private numbers
WORDS = ("lobby", "*1")
MOST = {1: 10, 2: 100, 3: 200}  # numbers of each length
DIGITS = [f"{number:0{length}}" for length, most in MOST.items() for number in range(most)]

HOURS = (((0, 10_080),), ((480, 1_080), (1_920, 2_520)), ((480, 1_200),))  # of three schedules
MONDAY_NOON_S, MONDAY_EVENING_S, SUNDAY_S = (4 * 86_400 + 43_200, 4 * 86_400 + 68_400, 3 * 86_400)  # unix

Calls = dict[tuple[str, str], Any]  # (trunk, number) → what its call meets
Dial = tuple[int, int]  # base, copied
To = tuple[str, int, str | None] | None  # ("entry" | "pair" | "refuse", which or status, what to dial)


@dataclass(frozen=True)
class Numbered:
    """One expression: keys, precedence (0: exact), entry point, what is dialled at primary and BCP."""

    first: int
    last: int
    precedence: int
    entry: int
    dials: tuple[Dial, Dial]


@dataclass(frozen=True)
class Plan:
    """A plan small enough to try every number of."""

    public: tuple[Numbered, ...]
    private: tuple[Numbered, ...]
    words: tuple[tuple[str, int], ...]
    entries: tuple[tuple[int, tuple[int, ...] | None, int | None], ...]  # group, allow-list, max_calls
    groups: tuple[tuple[int, int, str], ...]  # primary, bcp, advance_across
    tenants: tuple[tuple[tuple[tuple[int, int | None], ...], int | None], ...]  # (pair, port)…, max_calls
    pairs: tuple[tuple[int, int, float], ...]  # site, how many SBCs, no_reply_s
    homes: tuple[int, int, int]  # site of each trunk
    elsewhere: tuple[tuple[int | None, To, tuple[To, ...], To], ...]  # schedule, closed, overflow, unusable; (): nothing of this
    order: tuple[int, ...]  # in which the entry points stand in the topology: indexes must not matter

    def table(self) -> Table:
        place = {entry: at for at, entry in enumerate(self.order)}
        return load_table(encode_table(self._topology(), self._numbers(place)))

    def _numbers(self, place: dict[int, int]) -> Numbers:
        columns = Columns()
        rows = []
        for numbered in (self.public, self.private):
            exact: dict[int, int] = {}
            blocks = []
            for origin, one in enumerate(numbered):
                treatment = columns.add(Treatment(place[one.entry], 0, *one.dials[0], *one.dials[1]))
                if one.precedence == 0:
                    exact[one.first] = treatment
                else:
                    blocks.append(Block(one.first, one.last, one.precedence, treatment, origin))
            keys = list(exact)
            rows.append(flatten(keys, [exact[key] for key in keys], in_order(keys), blocks))
        words = {word: columns.add(Treatment(place[entry], 0)) for word, entry in self.words}
        split = len(rows[0].first)
        return Numbers(
            first=rows[0].first + rows[1].first,
            last=rows[0].last + rows[1].last,
            row=rows[0].treatment + rows[1].treatment,
            entry_point=columns.entry_point,
            rule=columns.rule,
            primary_base=columns.primary_base,
            bcp_base=columns.bcp_base,
            copied=columns.copied,
            rules=("exact number",),
            scopes=((0, split), (split, split + len(rows[1].first))),
            words=({}, words),
            scope_of_trunk=(-1, -1, 1),
        )

    def _topology(self) -> Topology:
        sbcs: list[Sbc] = []
        pairs = []
        for at, (site, count, no_reply_s) in enumerate(self.pairs):
            start = len(sbcs)
            for member in range(count):
                host = f"10.{at}.0.{member + 1}"
                name = f"pair{at}-{member}"
                sbcs.append(Sbc(SbcId(len(sbcs) + 1), name, at, 0, host, 5060, "udp", host, member + 1))
            pairs.append(SbcPair(at + 1, f"pair{at}", site, tuple(range(start, len(sbcs))), no_reply_s=no_reply_s))
        return Topology(
            revision=1,
            node="local",
            sites=(Site("home", (1,)), Site("away")),
            listens=(Listen("inside", "udp", "10.9.0.1", 5060, "10.9.0.1", 5060),),
            trunks=tuple(
                Trunk(
                    TrunkId(at + 1),
                    name,
                    self.homes[at],
                    (0,),
                    (f"192.0.2.{at}/32",),
                    called_format="exact" if at == 2 else "e164",
                )
                for at, name in enumerate(TRUNKS)
            ),
            sbcs=tuple(sbcs),
            pairs=tuple(pairs),
            tenants=tuple(
                Tenant(TenantId(at + 1), f"tenant{at}", tuple(Reach(pair, port) for pair, port in reaches), most)
                for at, (reaches, most) in enumerate(self.tenants)
            )
            + tuple(Tenant(TenantId(TENANTS + at + 1), f"pair:pair{at}", (Reach(at),), kind="pair") for at in range(PAIRS)),
            groups=tuple(
                Group(GroupId(at + 1), f"group{at}", primary, bcp, "automatic", across)
                for at, (primary, bcp, across) in enumerate(self.groups)
            ),
            entry_points=tuple(self._entry_point(entry) for entry in self.order),
            zones=(Zone("UTC", (), (0,)),),
            schedules=tuple(Schedule(f"hours{at}", 0, windows) for at, windows in enumerate(HOURS)),
        )

    def _entry_point(self, entry: int) -> EntryPoint:
        made = EntryPoint(EntryPointId(entry + 1), f"entry{entry}", *self.entries[entry])
        if not self.elsewhere:
            return made
        schedule, closed, overflow, unusable = self.elsewhere[entry]
        return replace(
            made,
            schedule=schedule,
            closed=self._to(closed or ("refuse", 480, None)),
            overflow=tuple(to for to in map(self._to, overflow) if to is not None),
            unusable=self._to(unusable),
            called_at=((0, 0), (int(f"1{entry}5"), 0)),
        )

    def _to(self, to: To) -> Destination | None:
        if to is None:
            return None
        kind, which, called = to
        if kind == "refuse":
            return Destination(refuse=(which, 41))
        if kind == "entry":
            return Destination(entry_point=self.order.index(which), called=called)
        return Destination(tenant=TENANTS + which, called=called)


def met(
    table: Table, bcp_percent: int = 0, unix_s: float = MONDAY_NOON_S, full: bool = False, dead: bool = False, few: bool = False
) -> Calls:
    """By (trunk, number): what its call meets.

    Args:
        bcp_percent: of all groups; full: every entry point has as many calls as it may; dead: every SBC is out of service.
        few: numbers of one digit only.
    """
    decisions = {group.name: Decision(bcp_percent) for group in table.topology.groups}
    state = RoutingState(1, 1, 1, table.hash, decisions, keys=(SigningKey(0, bytes(32)),))
    snapshot = RoutingSnapshot.build(table, state)
    live = Live.for_snapshot(snapshot)
    if full:
        live.entry_calls[:] = [entry.max_calls or 0 for entry in snapshot.entry_points]
    if dead:
        live.operating[:] = [int(Operating.OUT_OF_SERVICE)] * len(live.operating)
    found = {}
    for at, trunk in enumerate(TRUNKS):
        space = DIGITS[: MOST[1]] if few else DIGITS
        for called in [f"+{digits}" for digits in space] + ([*space, *WORDS] if trunk == "pbx" else []):
            route = resolve(snapshot, live, at, called, None, b"caller", 0.0, unix_s=unix_s)
            found[trunk, called] = _met(snapshot, route) if isinstance(route, Route) else route.status
    return found


def _met(snapshot: RoutingSnapshot, route: Route) -> Any:
    entry, group = snapshot.entry_points[route.entry_point], snapshot.groups[route.group]
    limits = (entry.max_calls, *(snapshot.tenants[tenant].max_calls for tenant in (group.primary, group.bcp)))
    ways = [[_way(snapshot, target) for target in targets] for targets in (route.targets, route.crossing)]
    return entry.name, group.name, group.advance_across, limits, route.called, ways


def _way(snapshot: RoutingSnapshot, target: Target) -> Any:
    sbc = snapshot.sbcs[target.sbc].name
    return snapshot.tenants[target.tenant].name, sbc, target.host, target.port, target.no_reply_s


SCENES: tuple[dict[str, Any], ...] = (
    {}, {"bcp_percent": 100}, {"unix_s": MONDAY_EVENING_S}, {"unix_s": SUNDAY_S}, {"full": True}, {"dead": True},
)  # fmt: skip

# -- how they are made -----------------------------------------------------------------------------------------------------------

_KEYS = st.builds(lambda digits: int("1" + digits), st.sampled_from(DIGITS))
_OF_ONE_LENGTH = st.sampled_from(sorted(MOST)).flatmap(
    lambda length: st.tuples(*[st.integers(10**length, 10**length + MOST[length] - 1)] * 2)
)


@st.composite
def _dials(draw: st.DrawFn) -> Dial:
    """The number itself, one number, or a base whose last digits are copied; near each other, so that they often agree."""
    copied = draw(st.integers(0, 2))
    base = draw(_KEYS) // 10**copied * 10**copied
    kind = draw(st.integers(0, 3))
    return (0, 0) if kind == 0 or base < 10 else (base, copied | (PRIVATE_BIT if kind == 1 else 0))


_ENTRY = st.integers(0, ENTRIES - 1)
_EXACT = st.builds(lambda key, *rest: Numbered(key, key, 0, *rest), _KEYS, _ENTRY, st.tuples(_dials(), _dials()))
_BLOCK = st.builds(
    lambda ends, *rest: Numbered(min(ends), max(ends), *rest),
    _OF_ONE_LENGTH, st.integers(1, 3), _ENTRY, st.tuples(_dials(), _dials()),
)  # fmt: skip
_MOST = st.sampled_from([None, 1, 2])
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "public": st.lists(st.one_of(_EXACT, _BLOCK), max_size=6).map(tuple),
    "private": st.lists(st.one_of(_EXACT, _BLOCK), max_size=3).map(tuple),
    "words": st.dictionaries(st.sampled_from(WORDS), _ENTRY).map(lambda words: tuple(words.items())),
    "entries": st.tuples(
        *[st.tuples(st.integers(0, GROUPS - 1), st.sampled_from([None, (0, 1, 2), (0,), (1, 2)]), _MOST)] * ENTRIES
    ),
    "groups": st.tuples(
        *[
            st.tuples(st.integers(0, TENANTS - 1), st.integers(0, TENANTS - 1), st.sampled_from(["never", "to-bcp", "both"]))
            for _ in range(GROUPS)
        ]
    ),
    "tenants": st.tuples(
        *[
            st.tuples(
                st.lists(
                    st.tuples(st.integers(0, PAIRS - 1), st.sampled_from([None, 5070])), min_size=1, max_size=2, unique=True
                ).map(tuple),
                _MOST,
            )
        ]
        * TENANTS
    ),
    "pairs": st.tuples(*[st.tuples(st.integers(0, SITES - 1), st.integers(1, 2), st.sampled_from([1.0, 2.0]))] * PAIRS),
    "homes": st.tuples(*[st.integers(0, SITES - 1)] * 3),
    "elsewhere": st.just(()),
    "order": st.permutations(range(ENTRIES)).map(tuple),
}
_CALLED = st.sampled_from([None, "+31"])
_TO = st.one_of(
    st.tuples(st.just("entry"), _ENTRY, _CALLED),
    st.tuples(st.just("pair"), st.integers(0, PAIRS - 1), _CALLED),
    st.tuples(st.just("refuse"), st.sampled_from([480, 486]), st.none()),
)
_MAYBE_TO = st.one_of(st.none(), _TO)
_ELSEWHERE = st.tuples(
    *[st.tuples(st.sampled_from([None, 0, 1, 2]), _MAYBE_TO, st.lists(_TO, max_size=2).map(tuple), _MAYBE_TO)] * ENTRIES
)
_EACH = st.just(tuple(Numbered(int(f"1{entry}"), int(f"1{entry}"), 0, entry, ((0, 0), (0, 0))) for entry in range(ENTRIES)))
PLANS = st.builds(Plan, **_FIELDS)


@st.composite
def edits(draw: st.DrawFn, elsewhere: bool = False) -> tuple[Plan, Plan]:
    """A plan, and the same one with some of its parts made anew; number lists keep some of what they held.

    Args:
        elsewhere: each entry point has one number, hours, and places to send calls to; and one part is made anew.
    """
    strategies = {**_FIELDS, "elsewhere": _ELSEWHERE, "public": _EACH} if elsewhere else _FIELDS
    names = ("groups", "tenants", "pairs", "entries", "elsewhere") if elsewhere else tuple(sorted(_FIELDS))
    old = draw(st.builds(Plan, **strategies))
    changed: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=int(elsewhere), max_size=1 if elsewhere else 3, unique=True)):
        made = draw(strategies[name])
        if name in ("public", "private"):
            made = (*[one for one in getattr(old, name) if draw(st.booleans())], *made)
        changed[name] = made
    return old, replace(old, **changed)
