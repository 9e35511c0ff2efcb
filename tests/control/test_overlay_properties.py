"""Two that do not collide may both be on: whichever the plan names first, no call goes elsewhere for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.control.overlay_scope import collision
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, resolve
from sipctl.routing.snapshot import Decision, Destination, Overlay, Switch, Topology
from tests.control.test_overlays import a_plan
from tests.support.plans import a_state, a_table

NUMBERS = ("+4930901820", "+4930901900")
ENTRIES, TRUNKS, TENANTS = (0, 1), (0,), (0, 1)  # carrier-two writes private numbers only: it adds nothing here
Both = TypeVar("Both", Overlay, Switch)

places = st.sampled_from(
    [Destination(tenant=2, called="ann-1"), Destination(tenant=2), Destination(entry_point=0), Destination(entry_point=1),
     Destination(refuse=(480, 41)), Destination(refuse=(503, 21))]
)  # fmt: skip


def some_of(indexes: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...] | None]:
    return st.none() | st.sets(st.sampled_from(indexes), min_size=1).map(lambda chosen: tuple(sorted(chosen)))


def switches(name: str) -> st.SearchStrategy[Switch]:
    return st.builds(
        Switch, st.just(name), places, some_of(ENTRIES), some_of((0,)), some_of(TRUNKS), some_of(TENANTS)
    )  # fmt: skip


def overlays(name: str) -> st.SearchStrategy[Overlay]:
    named = st.dictionaries(st.sampled_from(ENTRIES), places, max_size=2).map(lambda found: tuple(sorted(found.items())))
    return st.builds(Overlay, st.just(name), named, st.none() | places).filter(lambda one: one.entry_points or one.everywhere)


def fates(topology: Topology, kind: str, bcp_percent: int) -> list[object]:
    """What becomes of one call by each trunk to each number while both are on."""
    table = a_table(topology)
    on = (("one", 0.0), ("two", 0.0))
    state = a_state(table, decisions={"acme": Decision(bcp_percent)})
    state = replace(state, overlays=on) if kind == "overlay" else replace(state, switches=on)
    snapshot = RoutingSnapshot.build(table, state)
    live = Live.for_snapshot(snapshot)
    found: list[object] = []
    for trunk in TRUNKS:
        for number in NUMBERS:
            answer = resolve(snapshot, live, trunk, number, None, b"+491511234567", 0.0)
            if isinstance(answer, NoRoute):
                found.append("refused")
            else:
                found.append((answer.tenant, answer.called, [target.sbc for target in answer.targets]))
    return found


@settings(max_examples=60, deadline=None)
@given(one=switches("one"), two=switches("two"), bcp_percent=st.sampled_from([0, 100]))
def test_switches_that_do_not_collide_say_the_same_in_any_order(one: Switch, two: Switch, bcp_percent: int) -> None:
    here, there = a_plan(switches=(one, two)), a_plan(switches=(two, one))
    if collision(here, one, two) == "":
        assert fates(here, "switch", bcp_percent) == fates(there, "switch", bcp_percent)


@settings(max_examples=60, deadline=None)
@given(one=overlays("one"), two=overlays("two"), bcp_percent=st.sampled_from([0, 100]))
def test_overlays_that_do_not_collide_say_the_same_in_any_order(one: Overlay, two: Overlay, bcp_percent: int) -> None:
    here, there = a_plan(overlays=(one, two)), a_plan(overlays=(two, one))
    if collision(here, one, two) == "":
        assert fates(here, "overlay", bcp_percent) == fates(there, "overlay", bcp_percent)
