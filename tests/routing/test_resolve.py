"""Where calls go: numbers, sides, limits and the reasons given (CALLS 1.4–1.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, Route, normalise, resolve
from sipctl.routing.select import arrange
from sipctl.routing.snapshot import Admin, Decision, EntryPoint, EntryPointId, Tenant, TenantId, Topology, Trunk, TrunkId
from tests.support.plans import a_live, a_snapshot, a_topology, the_numbers

SALES = "+4930901820"


def go(snapshot: RoutingSnapshot, called: str = SALES, live: Live | None = None, trunk: int = 0, **more: Any) -> Route | NoRoute:
    share_key = more.pop("share_key", b"+4917012345")
    return resolve(snapshot, live or a_live(snapshot), trunk, called, None, share_key, more.pop("now_s", 0.0), **more)


def routed(snapshot: RoutingSnapshot, called: str = SALES, live: Live | None = None, **more: Any) -> Route:
    route = go(snapshot, called, live, **more)
    assert isinstance(route, Route), route
    return route


def refused(snapshot: RoutingSnapshot, called: str = SALES, live: Live | None = None, **more: Any) -> NoRoute:
    answer = go(snapshot, called, live, **more)
    assert isinstance(answer, NoRoute), answer.why()
    return answer


def tried(snapshot: RoutingSnapshot, route: Route, live: Live | None = None, now_s: float = 0.0) -> list[str]:
    return [snapshot.sbcs[target.sbc].name for target, _ in arrange(route, live or a_live(snapshot), now_s).targets]


def with_trunk(**changes: Any) -> Topology:
    topology = a_topology()
    return a_topology(trunks=(replace(topology.trunks[0], **changes), *topology.trunks[1:]))


def with_entry(**changes: Any) -> Topology:
    topology = a_topology()
    return a_topology(entry_points=(replace(topology.entry_points[0], **changes), *topology.entry_points[1:]))


# -- which number --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("called", "entry_point"),
    [
        ("+4930901820", 0),
        ("+493090182100", 0),
        ("+493090182199", 0),
        ("+4930901900", 1),
    ],
)
def test_number_in_the_plan_finds_its_entry_point(called: str, entry_point: int) -> None:
    assert routed(a_snapshot(), called).entry_point == entry_point


@pytest.mark.parametrize(
    "called", ["+493090182099", "+493090182200", "+49309018210", "+4930901821000", "+4930901821", "+1", "+" + "9" * 15]
)
def test_number_beside_a_block_or_of_another_length_is_unknown(called: str) -> None:
    answer = refused(a_snapshot(), called)
    assert (answer.status, answer.cause) == (404, 1)


def test_private_number_is_found_only_through_its_own_trunk() -> None:
    snapshot = a_snapshot()
    assert routed(snapshot, "5501", trunk=1).entry_point == 1
    assert refused(snapshot, "5501", trunk=0).status == 404
    assert refused(snapshot, "05501", trunk=1).status == 404  # leading zeros count


def test_private_word_is_found_as_written() -> None:
    topology = a_topology()
    snapshot = a_snapshot(topology, the_numbers(topology, private={"carrier-two": {"sales*1": "acme-sales"}}))
    assert routed(snapshot, "sales*1", trunk=1).called == ("sales*1", "sales*1")
    assert refused(snapshot, "Sales*1", trunk=1).status == 404


def test_trunk_outside_the_allow_list_hears_404_and_the_reason_names_it() -> None:
    topology = with_entry(trunks=(1,))
    answer = refused(a_snapshot(topology))
    assert answer.status == 404
    assert "carrier-one may not call" in answer.reason


@pytest.mark.parametrize(("called", "status"), [("+4930", 484), ("+493090182", 484), ("+49309018210", 484), ("+4931", 404)])
def test_overlap_trunk_hears_484_for_a_proper_prefix_only(called: str, status: int) -> None:
    assert refused(a_snapshot(with_trunk(overlap=True)), called).status == status


def test_without_overlap_a_prefix_is_unknown() -> None:
    assert refused(a_snapshot(), "+4930").status == 404


# -- how it was written --------------------------------------------------------------------------------------------------------


def a_trunk(called_format: str, **more: Any) -> Trunk:
    return Trunk(id=TrunkId(1), name="t", site=0, listens=(0,), sources=(), called_format=called_format, **more)


@pytest.mark.parametrize(
    ("called_format", "more", "digits", "context", "called"),
    [
        ("e164", {}, "+4930901820", None, "+4930901820"),
        ("e164", {}, "+49 (30) 9018-20", None, "+4930901820"),
        ("e164", {}, "30901820", "+49", "+4930901820"),
        ("e164-no-plus", {}, "4930901820", None, "+4930901820"),
        ("e164-no-plus", {}, "+4930901820", None, "+4930901820"),
        ("national", {"country_code": "49", "national_prefix": "0"}, "030901820", None, "+4930901820"),
        ("national", {"country_code": "49", "national_prefix": "0"}, "30901820", None, "+4930901820"),
        ("national", {"country_code": "39"}, "0612345678", None, "+390612345678"),
        ("national", {"country_code": "1", "national_prefix": "1"}, "12125550123", None, "+12125550123"),
        ("national", {"country_code": "49"}, "+3120555", None, "+3120555"),
        ("exact", {}, "00 12", None, "00 12"),
        ("exact", {}, "+49", None, "+49"),
        ("e164", {}, "+123456789012345", None, "+123456789012345"),
    ],
)
def test_called_format_makes_one_number(
    called_format: str, more: dict[str, Any], digits: str, context: str | None, called: str
) -> None:
    assert normalise(a_trunk(called_format, **more), digits, context) == called


@pytest.mark.parametrize(
    ("called_format", "digits"),
    [
        ("e164", "4930901820"),
        ("e164", ""),
        ("e164", "+"),
        ("e164", "+49x30"),
        ("e164", "+1234567890123456"),
        ("e164", "+٤٩"),
        ("e164", "++49"),
        ("e164-no-plus", "sales"),
        ("national", ""),
        ("exact", ""),
        ("exact", "x" * 65),
    ],
)
def test_form_a_trunk_must_not_send_is_never_guessed(called_format: str, digits: str) -> None:
    answer = normalise(a_trunk(called_format), digits, None)
    assert isinstance(answer, NoRoute)
    assert answer.status == 404


# -- what is dialled there -----------------------------------------------------------------------------------------------------


def test_called_at_copies_the_last_digits_and_keeps_the_rest() -> None:
    topology = a_topology()
    at = {"acme-sales": {"primary": "+4930901820", "bcp": "+312055501XX"}}
    snapshot = a_snapshot(topology, the_numbers(topology, called_at=at))
    assert routed(snapshot, "+493090182107").called == ("+4930901820", "+31205550107")


def test_called_at_without_plus_is_dialled_private_with_its_leading_zeros() -> None:
    topology = a_topology()
    snapshot = a_snapshot(topology, the_numbers(topology, called_at={"acme-sales": {"bcp": "00XX"}}))
    assert routed(snapshot, "+493090182107").called == ("+493090182107", "0007")


# -- which side ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "side", "sbcs"), [(0, 0, ["fra-a", "fra-b", "ams-a", "ams-b"]), (100, 1, ["ams-a", "ams-b"])]
)
def test_decision_chooses_the_tenant_and_crossing_follows_policy(percent: int, side: int, sbcs: list[str]) -> None:
    snapshot = a_snapshot(decisions={"acme": Decision(bcp_percent=percent)})
    route = routed(snapshot)
    assert route.side == side
    assert tried(snapshot, route) == sbcs


def test_growing_share_only_adds_callers() -> None:
    callers = [b"+4917%07d" % n for n in range(2000)]
    before: set[bytes] = set()
    for share in (0, 10, 50, 90, 100):
        snapshot = a_snapshot(decisions={"acme": Decision(bcp_percent=100 - share)})
        live = a_live(snapshot)
        now = {caller for caller in callers if routed(snapshot, live=live, share_key=caller).side == 0}
        assert before <= now
        assert abs(len(now) - 20 * share) < 100
        before = now


@pytest.mark.parametrize(
    ("policy", "decision", "crosses"),
    [
        ("never", Decision(), False),
        ("to-bcp", Decision(), True),
        ("both", Decision(), True),
        ("to-bcp", Decision(bcp_percent=100), False),
        ("both", Decision(bcp_percent=100), True),
        ("both", Decision(pinned=True), False),
        ("both", Decision(bcp_percent=100, left="primary"), False),
        ("both", Decision(left="bcp"), False),
        ("both", Decision(bcp_percent=100, left="bcp"), True),
    ],
)
def test_crossing_obeys_policy_pins_and_what_an_operator_left(policy: str, decision: Decision, crosses: bool) -> None:
    topology = a_topology()
    topology = replace(topology, groups=(replace(topology.groups[0], advance_across=policy),))
    assert bool(routed(a_snapshot(topology, decisions={"acme": decision})).crossing) is crosses


@pytest.mark.parametrize("admin", [Admin.DRAINING, Admin.DISABLED])
def test_call_never_crosses_to_a_tenant_that_takes_none(admin: Admin) -> None:
    assert routed(a_snapshot(tenant_admin={"acme-bcp": admin})).crossing == ()


def test_nothing_allowed_is_480_with_cause_41() -> None:
    snapshot = a_snapshot(tenant_admin={"acme-prod": Admin.DISABLED, "acme-bcp": Admin.DRAINING})
    answer = refused(snapshot)
    assert (answer.status, answer.cause) == (480, 41)


def test_disabled_primary_still_crosses_where_policy_allows() -> None:
    snapshot = a_snapshot(tenant_admin={"acme-prod": Admin.DISABLED})
    assert tried(snapshot, routed(snapshot)) == ["ams-a", "ams-b"]


# -- limits --------------------------------------------------------------------------------------------------------------------


def test_full_entry_point_answers_its_over_limit() -> None:
    snapshot = a_snapshot(with_entry(max_calls=2, over_limit=(480, 20)))
    live = a_live(snapshot)
    live.entry_calls[0] = 1
    routed(snapshot, live=live)
    live.entry_calls[0] = 2
    answer = refused(snapshot, live=live)
    assert (answer.status, answer.cause, answer.limit, answer.entry_point) == (480, 20, "entry-point", 0)


def test_full_tenant_answers_486_and_a_full_other_tenant_is_not_crossed_to() -> None:
    topology = a_topology()
    tenants = tuple(replace(tenant, max_calls=5) for tenant in topology.tenants)
    snapshot = a_snapshot(replace(topology, tenants=tenants))
    live = a_live(snapshot)
    live.tenant_calls[1] = 5
    route = routed(snapshot, live=live)
    assert route.crossing == ()
    assert tried(snapshot, route, live) == ["fra-a", "fra-b"]
    live.tenant_calls[0] = 5
    answer = refused(snapshot, live=live)
    assert (answer.status, answer.cause, answer.limit) == (486, 17, "tenant")


def test_full_trunk_hears_503() -> None:
    snapshot = a_snapshot(with_trunk(max_calls=1))
    live = a_live(snapshot)
    live.trunk_calls[0] = 1
    answer = refused(snapshot, live=live)
    assert (answer.status, answer.limit) == (503, "trunk-max-calls")


def test_max_cps_lets_so_many_in_each_second() -> None:
    snapshot = a_snapshot(with_trunk(max_cps=10))
    live = a_live(snapshot)
    admitted = []
    for step in range(400):
        now_s = 100.0 + step / 100
        if isinstance(go(snapshot, live=live, now_s=now_s), Route):
            live.note_new_call(0, now_s)
            admitted.append(now_s)
    assert 36 <= len(admitted) <= 44
    for start in (101.0, 102.0, 102.5):
        assert sum(start <= at < start + 1 for at in admitted) <= 12
    assert isinstance(go(snapshot, live=live, now_s=200.0), Route)


@pytest.mark.parametrize("admin", [Admin.DRAINING, Admin.DISABLED])
def test_trunk_out_of_use_hears_503(admin: Admin) -> None:
    answer = refused(a_snapshot(trunk_admin={"carrier-one": admin}))
    assert (answer.status, answer.limit) == (503, "trunk-admin")


def test_priority_passes_limits_and_drain_but_nothing_disabled() -> None:
    topology = with_trunk(max_calls=0, max_cps=0)
    snapshot = a_snapshot(topology, tenant_admin={"acme-prod": Admin.DRAINING}, trunk_admin={"carrier-one": Admin.DRAINING})
    assert tried(snapshot, routed(snapshot, priority=True))[0] == "fra-a"
    snapshot = a_snapshot(topology, trunk_admin={"carrier-one": Admin.DISABLED})
    assert refused(snapshot, priority=True).limit == "trunk-admin"


# -- what it says and what it keeps --------------------------------------------------------------------------------------------


def test_reason_is_one_sentence_with_number_rule_group_tenant_and_sbcs() -> None:
    snapshot = a_snapshot(decisions={"acme": Decision(bcp_percent=100, reason="primary out of service")})
    assert routed(snapshot, "+493090182101").why() == (
        "+493090182101 is acme-sales (range +493090182100..+493090182199); group acme sends it to its bcp tenant acme-bcp "
        "(primary out of service); SBCs ams-a, ams-b"
    )


def test_new_measured_state_reaches_the_next_call_and_no_earlier() -> None:
    snapshot = a_snapshot()
    live = a_live(snapshot)
    assert tried(snapshot, routed(snapshot, live=live), live)[0] == "fra-a"
    live.operating[snapshot.sbc_index["fra-a"]] = 2
    live.version += 1
    assert tried(snapshot, routed(snapshot, live=live), live) == ["fra-b", "ams-a", "ams-b"]


def test_candidate_cache_is_bounded_and_counts_its_resets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipctl.routing.groups.MAX_CACHED_CHOICES", 1)
    snapshot = a_snapshot()
    live = a_live(snapshot)
    for trunk, called in ((0, SALES), (1, "5501"), (0, SALES)):
        routed(snapshot, called, live, trunk=trunk)
    assert len(live.choices) == 1
    assert live.cache_resets == 2


def test_counts_and_states_follow_an_entity_by_id_into_the_next_snapshot() -> None:
    topology = a_topology()
    snapshot = a_snapshot()
    live = a_live(snapshot, out=["ams-a"])
    live.sbc_calls[1], live.tenant_calls[0], live.entry_calls[1], live.trunk_calls[1] = 3, 4, 5, 6
    live.set_suspect(1, True)
    turned = replace(
        topology,
        entry_points=(*topology.entry_points[::-1], EntryPoint(id=EntryPointId(9), name="new", group=0)),
        tenants=(*topology.tenants, Tenant(id=TenantId(9), name="new", reached_by=())),
    )
    after = Live.for_snapshot(a_snapshot(turned), live)
    assert (after.sbc_calls, after.operating) == (live.sbc_calls, live.operating)
    assert after.entry_calls == [5, 0, 0]
    assert after.tenant_calls == [4, 0, 0]
    assert after.trunk_calls == [0, 6]
    assert after.flagged == 1
