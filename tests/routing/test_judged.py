"""Calls that something is judged about: kill switch, overlay, schedule, limit, group, and where they are sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.settled import Given, settled
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.judged import MAX_JUDGED
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, Retarget, Route, WallTimeNeededError, resolve
from sipctl.routing.select import arrange
from sipctl.routing.snapshot import Admin, Destination, Operating, RoutingState
from sipctl.routing.table import Table, encode_table, load_table

NOON, NIGHT = 1_795_000_000.0 // 86_400 * 86_400 + 12 * 3600, 1_795_000_000.0 // 86_400 * 86_400 + 23 * 3600  # a Wednesday, UTC
EDGE = """
listen: {all: {bind: "udp:192.0.2.9:5060"}}
trunks: {one: {sources: [198.51.100.1], max_calls: 9}, two: {sources: [198.51.100.2]}}
sbc_pairs:
  fra: {sbcs: {fra-a: {uri: "sip:10.1.0.1"}, fra-b: {uri: "sip:10.1.0.2", priority: 2}}}
  ams: {sbcs: {ams-a: {uri: "sip:10.2.0.1"}, ams-b: {uri: "sip:10.2.0.2", priority: 2}}, send: {identity: strip}}
  ann: {sbcs: {ann-a: {uri: "sip:10.3.0.1"}, ann-b: {uri: "sip:10.3.0.2", priority: 2}}}
  out: {sbcs: {out-a: {uri: "sip:10.4.0.1"}, out-b: {uri: "sip:10.4.0.2", priority: 2}}}
tenants: {prod: {reached_by: fra, max_calls: 50}, bcp: {reached_by: ams}}
"""
PLAN = """
continuity_groups: {acme: {primary: prod, bcp: bcp, failover: automatic}, back: {primary: bcp, bcp: prod, failover: manual}}
schedules: {shop: {zone: UTC, open: "Mon-Fri 08:00-18:00"}}
exits: {pstn: {sbc_pair: out, allow: ["+44."], max_calls: 2}}
entry_points:
  sales:
    group: acme
    numbers: ["+4911", "+4912XX"]
    schedule: shop
    closed: {to: {entry_point: night}}
    max_calls: 5
    overflow: [{entry_point: general}, {number: "+4420", exit: pstn}]
    unusable: {to: {sbc_pair: ann, called: ann-1}}
  night: {group: back, numbers: ["+4921"], called_at: {primary: "+4921XX"}}
  general: {group: acme, numbers: ["+4931"], max_calls: 3}
  pilot: {numbers: ["+4941"], split: {acme: 90%, back: 10%}}
  plain: {group: acme, numbers: ["+4951"]}
overlays:
  emergency: {entry_points: {"*": {to: {sbc_pair: ann, called: ann-2}}, night: {refuse: 480, cause: 41}}}
  evening: {entry_points: {"*": {to: {entry_point: night}}}}
switches:
  stop-sales: {match: {entry_point: sales}, refuse: {code: 603, cause: 21}}
  stop-two: {match: {trunk: two}, to: {entry_point: night}}
  stop-bcp: {match: {tenant: bcp}, refuse: 503}
"""


@pytest.fixture(scope="module")
def table() -> Table:
    compiled = compile_plan({"sbc_configs/a.yaml": EDGE.encode(), "dialplans/a.yaml": PLAN.encode()}, {}, revision=1)
    assert compiled.image, compiled.findings
    return load_table(compiled.image)


def go(
    table: Table, called: str = "+4911", unix_s: float | None = NOON, trunk: int = 0, caller: bytes = b"+33", **given: Any
) -> tuple[Route | NoRoute, RoutingSnapshot, Live]:
    snapshot, live = settled(table, Given(**given))
    return resolve(snapshot, live, trunk, called, None, caller, 0.0, False, unix_s), snapshot, live


def routed(table: Table, *args: Any, **more: Any) -> tuple[Route, list[str]]:
    answer, snapshot, live = go(table, *args, **more)
    assert isinstance(answer, Route), answer
    return answer, [snapshot.sbcs[target.sbc].name for target, _ in arrange(answer, live, 0.0).targets]


def refused(table: Table, *args: Any, **more: Any) -> NoRoute:
    answer, _, _ = go(table, *args, **more)
    assert isinstance(answer, NoRoute), answer.why()
    return answer


def ways(route: Route | NoRoute) -> list[tuple[int, str, str]]:
    return [(step.entry_point, step.reason, step.by) for step in route.retargets]


SALES, NIGHT_EP, GENERAL = 0, 1, 2


def test_a_call_nothing_is_judged_about_goes_to_its_group_and_is_not_told_as_sent_on(table: Table) -> None:
    route, sbcs = routed(table, "+4951", None)
    assert (route.retargets, route.stand_in, sbcs) == ((), -1, ["fra-a", "fra-b", "ams-a", "ams-b"])


def test_open_hours_let_a_call_through_and_closed_ones_send_it_on(table: Table) -> None:
    assert routed(table)[1][0] == "fra-a"
    route, sbcs = routed(table, "+4911", NIGHT)
    assert route.retargets == (Retarget(SALES, "closed", "shop", "+4911"),)
    assert (route.entry_point, sbcs) == (NIGHT_EP, ["ams-a", "ams-b"])
    assert "sales is closed (schedule shop)" in route.why()


def test_what_a_sent_call_is_dialled_as_is_said_by_where_it_is_sent(table: Table) -> None:
    assert routed(table, "+491234", NIGHT)[0].called == ("+492134", "+491234")  # its last two digits
    assert routed(table, "+491234", NOON)[0].called == ("+491234", "+491234")


def test_an_answer_that_depends_on_the_time_is_not_given_without_it(table: Table) -> None:
    with pytest.raises(WallTimeNeededError):
        go(table, "+4911", None)
    assert routed(table, "+4931", None)[1]


def test_a_full_entry_point_overflows_to_the_first_place_that_takes_the_call(table: Table) -> None:
    route, _ = routed(table, calls={"sales": 5})
    assert (route.entry_point, ways(route)) == (GENERAL, [(SALES, "overflow", "entry-point")])
    route, sbcs = routed(table, calls={"sales": 5, "general": 3})
    assert (sbcs, route.called[0], ways(route)) == (["out-a", "out-b"], "+4420", [(SALES, "overflow", "entry-point")])
    answer = refused(table, calls={"sales": 5, "general": 3, "exit:pstn": 2})
    assert (answer.status, answer.cause, answer.limit, answer.entry_point) == (486, 17, "entry-point", SALES)


def test_a_full_tenant_overflows_too_and_a_full_trunk_does_not(table: Table) -> None:
    assert ways(routed(table, calls={"prod": 50, "exit:pstn": 0})[0]) == [(SALES, "overflow", "tenant")]
    answer = refused(table, calls={"one": 9, "sales": 5})
    assert (answer.status, answer.limit) == (503, "trunk-max-calls")


def test_a_trunks_limit_holds_wherever_its_call_goes(table: Table) -> None:
    answer = refused(table, "+4951", calls={"one": 9}, overlays=("emergency",))
    assert (answer.status, answer.limit) == (503, "trunk-max-calls")


def test_tenants_that_are_dead_both_send_a_call_where_unusable_says(table: Table) -> None:
    down = {"fra-a": "out-of-service", "fra-b": "out-of-service", "ams-a": "out-of-service", "ams-b": "out-of-service"}
    route, sbcs = routed(table, sbcs=down)
    assert (sbcs, route.called, ways(route)) == (["ann-a", "ann-b"], ("ann-1", "ann-1"), [(SALES, "unusable", "")])
    assert routed(table, "+4931", sbcs=down)[1] == ["fra-a", "fra-b", "ams-a", "ams-b"]  # nothing said: tried nevertheless


def test_a_kill_switch_comes_before_an_overlay_and_an_overlay_before_hours_and_limits(table: Table) -> None:
    on: dict[str, Any] = {"overlays": ("emergency",), "switches": ("stop-sales",), "calls": {"sales": 5}}
    answer = refused(table, "+4911", NIGHT, **on)
    assert (answer.status, answer.cause, answer.step) == (603, 21, "switch")
    on["switches"] = ()
    route, sbcs = routed(table, "+4911", NIGHT, **on)
    assert (sbcs, ways(route)) == (["ann-a", "ann-b"], [(SALES, "overlay", "emergency")])
    on["overlays"] = ()
    assert ways(routed(table, "+4911", NIGHT, **on)[0]) == [(SALES, "closed", "shop")]


def test_an_overlay_says_something_else_for_those_it_names(table: Table) -> None:
    answer = refused(table, "+4921", overlays=("emergency",))
    assert (answer.status, answer.cause, answer.step) == (480, 41, "overlay")


def test_an_overlay_acts_once_so_all_may_be_sent_to_one_that_is_among_them(table: Table) -> None:
    for called in ("+4951", "+4921"):
        route, _ = routed(table, called, overlays=("evening",))
        assert (route.entry_point, len(route.retargets)) == (NIGHT_EP, 1)


def test_a_switch_on_a_trunk_leaves_other_trunks_alone(table: Table) -> None:
    assert routed(table, "+4951", trunk=1, switches=("stop-two",))[0].entry_point == NIGHT_EP
    assert routed(table, "+4951", trunk=0, switches=("stop-two",))[0].retargets == ()


def test_a_switch_on_a_tenant_refuses_its_calls_and_lets_none_cross_to_it(table: Table) -> None:
    assert refused(table, "+4921", switches=("stop-bcp",)).status == 503
    assert routed(table, "+4951", switches=("stop-bcp",))[1] == ["fra-a", "fra-b"]


def test_a_split_is_sticky_and_shares_callers_as_written(table: Table) -> None:
    callers = [b"+4917%05d" % number for number in range(2000)]
    groups = [routed(table, "+4941", caller=caller)[0].group for caller in callers[:400]]
    assert groups == [routed(table, "+4941", caller=caller)[0].group for caller in callers[:400]]
    assert 20 <= sum(groups) <= 65  # 10 % of 400


def state_with(table: Table, **more: Any) -> tuple[RoutingSnapshot, Live]:
    snapshot = RoutingSnapshot.build(table, RoutingState(1, 1, 1, table.hash, **more))
    live = Live.for_snapshot(snapshot)
    live.operating = [int(Operating.IN_SERVICE)] * len(snapshot.sbcs)
    return snapshot, live


def test_what_is_on_ends_by_itself_when_its_time_is_over(table: Table) -> None:
    snapshot, live = state_with(table, overlays=(("emergency", NOON),), switches=(("stop-sales", NOON),))
    before = resolve(snapshot, live, 0, "+4911", None, b"x", 0.0, False, NOON - 1)
    assert isinstance(before, NoRoute) and before.step == "switch"
    after = resolve(snapshot, live, 0, "+4911", None, b"x", 0.0, False, NOON)
    assert isinstance(after, Route) and after.retargets == ()


def test_names_this_plan_does_not_know_are_on_in_vain(table: Table) -> None:
    snapshot, live = state_with(table, overlays=(("gone", 0.0),))
    assert snapshot.judged[4] is None
    assert isinstance(resolve(snapshot, live, 0, "+4951", None, b"x", 0.0), Route)


def test_an_exit_that_is_drained_takes_no_call(table: Table) -> None:
    snapshot, live = state_with(table, tenant_admin={"exit:pstn": Admin.DRAINING})
    live.entry_calls[SALES], live.entry_calls[GENERAL] = 5, 3
    answer = resolve(snapshot, live, 0, "+4911", None, b"x", 0.0, False, NOON)
    assert isinstance(answer, NoRoute) and answer.status == 486


def test_priority_passes_limits_but_not_hours_or_kill_switches(table: Table) -> None:
    snapshot, live = settled(table, Given(calls={"sales": 5, "one": 9}))
    route = resolve(snapshot, live, 0, "+4911", None, b"x", 0.0, True, NOON)
    assert isinstance(route, Route) and route.retargets == ()
    closed = resolve(snapshot, live, 0, "+4911", None, b"x", 0.0, True, NIGHT)
    assert isinstance(closed, Route) and closed.entry_point == NIGHT_EP


def test_targets_carry_how_their_calls_leave(table: Table) -> None:
    route, _ = routed(table, "+4951")
    assert [target.send is not None and target.send.identity == "strip" for target in (*route.targets, *route.crossing)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_call_that_is_sent_on_for_ever_ends_although_no_compiler_made_such_a_plan(table: Table) -> None:
    topology = table.topology
    endless = replace(topology.entry_points[4], schedule=0, closed=Destination(entry_point=4))
    looping = replace(topology, entry_points=(*topology.entry_points[:4], endless))
    broken = load_table(encode_table(looping, table.numbers))
    snapshot, live = state_with(broken)
    answer = resolve(snapshot, live, 0, "+4951", None, b"x", 0.0, False, NIGHT)
    assert isinstance(answer, NoRoute)
    assert (answer.status, answer.cause, len(answer.retargets)) == (480, 25, MAX_JUDGED)
