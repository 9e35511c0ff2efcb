"""The order of SBCs: sites, strategies, measured and wished states, rests and suspicion (CALLS 1.5)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, Route, resolve
from sipctl.routing.select import arrange
from sipctl.routing.snapshot import Admin, Decision, Reach, Site
from tests.support.plans import a_live, a_sbc, a_snapshot, a_topology


def attempts(snapshot: RoutingSnapshot, live: Live, share_key: bytes = b"x", now_s: float = 0.0, **more: Any) -> list[str]:
    """Names of the SBCs tried, a trial marked with "?"."""
    route = resolve(snapshot, live, more.pop("trunk", 0), more.pop("called", "+4930901820"), None, share_key, now_s, **more)
    assert isinstance(route, Route), route
    return [snapshot.sbcs[target.sbc].name + "?" * trial for target, trial in arrange(route, live, now_s).targets]


def both_pairs(order: tuple[int, int] = (0, 1)) -> RoutingSnapshot:
    """The primary reached by both pairs."""
    topology = a_topology()
    tenants = (replace(topology.tenants[0], reached_by=(Reach(order[0]), Reach(order[1]))), topology.tenants[1])
    return a_snapshot(replace(topology, tenants=tenants, groups=(replace(topology.groups[0], advance_across="never"),)))


def test_own_site_comes_first_whatever_the_list_says() -> None:
    snapshot = both_pairs((1, 0))
    assert attempts(snapshot, a_live(snapshot)) == ["fra-a", "fra-b", "ams-a", "ams-b"]
    assert attempts(snapshot, a_live(snapshot), trunk=1, called="5501") == ["ams-a", "ams-b", "fra-a", "fra-b"]


def test_fallback_sites_come_before_other_sites() -> None:
    topology = a_topology(sites=(Site("a", (2,)), Site("b"), Site("c")))
    pairs = (replace(topology.pairs[0], site=1), replace(topology.pairs[1], site=2))
    tenants = (replace(topology.tenants[0], reached_by=(Reach(0), Reach(1))), topology.tenants[1])
    snapshot = a_snapshot(replace(topology, pairs=pairs, tenants=tenants))
    route = resolve(snapshot, a_live(snapshot), 0, "+4930901820", None, b"x", 0.0)
    assert isinstance(route, Route)
    assert [snapshot.sbcs[target.sbc].name for target in route.targets] == ["ams-a", "ams-b", "fra-a", "fra-b"]


def test_unknown_comes_after_in_service_and_out_of_service_is_not_tried() -> None:
    snapshot = both_pairs()
    assert attempts(snapshot, a_live(snapshot, unknown=["fra-a"], out=["ams-a"])) == ["fra-b", "ams-b", "fra-a"]


def test_out_of_service_sbcs_are_tried_when_nothing_else_is_left() -> None:
    snapshot = a_snapshot()
    everything = [sbc.name for sbc in snapshot.sbcs]
    live = a_live(snapshot, out=everything)
    assert attempts(snapshot, live) == ["fra-a", "fra-b", "ams-a", "ams-b"]
    live.set_suspect(0, True)
    assert attempts(snapshot, live)[0] == "fra-a?"


def test_dead_primary_crosses_at_once() -> None:
    snapshot = a_snapshot()
    assert attempts(snapshot, a_live(snapshot, out=["fra-a", "fra-b"])) == ["ams-a", "ams-b"]


def test_draining_and_disabled_sbcs_take_no_new_call() -> None:
    snapshot = a_snapshot(sbc_admin={"fra-a": Admin.DRAINING, "fra-b": Admin.DISABLED})
    assert attempts(snapshot, a_live(snapshot)) == ["ams-a", "ams-b"]
    assert attempts(snapshot, a_live(snapshot), priority=True) == ["fra-a", "ams-a", "ams-b"]


def test_draining_sbc_is_not_tried_even_when_all_others_are_out_of_service() -> None:
    snapshot = a_snapshot(sbc_admin={"fra-a": Admin.DRAINING})
    assert "fra-a" not in attempts(snapshot, a_live(snapshot, out=["fra-b", "ams-a", "ams-b"]))


def test_at_most_two_of_the_chosen_tenant_before_crossing_and_four_in_all() -> None:
    topology = a_topology()
    sbcs = tuple(a_sbc(10 + n, f"s{n}", f"10.4.1.{n}", n // 5, priority=n) for n in range(10))
    pairs = (replace(topology.pairs[0], sbcs=(0, 1, 2, 3, 4)), replace(topology.pairs[1], sbcs=(5, 6, 7, 8, 9)))
    snapshot = a_snapshot(replace(topology, sbcs=sbcs, pairs=pairs))
    live = a_live(snapshot)
    assert attempts(snapshot, live) == ["s0", "s1", "s5", "s6"]
    assert attempts(snapshot, a_live(snapshot, out=["s5", "s6", "s7", "s8", "s9"])) == ["s0", "s1", "s2", "s3"]
    live.set_suspect(9, True)  # the slow path says the same
    assert attempts(snapshot, live) == ["s0", "s1", "s5", "s6"]
    pinned = a_snapshot(replace(topology, sbcs=sbcs, pairs=pairs), decisions={"acme": Decision(pinned=True)})
    assert attempts(pinned, a_live(pinned)) == ["s0", "s1", "s2", "s3"]


def test_resting_sbc_comes_after_everything_else_and_returns_when_its_rest_is_over() -> None:
    snapshot = a_snapshot()
    live = a_live(snapshot)
    live.rest(0, 10.0)
    assert attempts(snapshot, live, now_s=9.9) == ["fra-b", "ams-a", "ams-b", "fra-a"]
    assert attempts(snapshot, live, now_s=10.0)[0] == "fra-a"
    live.reflag(10.0)
    assert live.flagged == 0


def test_full_sbc_comes_last() -> None:
    topology = a_topology()
    snapshot = a_snapshot(replace(topology, sbcs=(replace(topology.sbcs[0], max_calls=2), *topology.sbcs[1:])))
    live = a_live(snapshot)
    assert attempts(snapshot, live)[0] == "fra-a"
    live.sbc_calls[0] = 2
    assert attempts(snapshot, live) == ["fra-b", "ams-a", "ams-b", "fra-a"]


def test_suspect_sbc_is_skipped_but_for_one_trial_a_second() -> None:
    snapshot = a_snapshot()
    live = a_live(snapshot)
    live.set_suspect(0, True)
    live.trial_due_s[0] = 5.0
    assert attempts(snapshot, live, now_s=4.9) == ["fra-b", "ams-a", "ams-b"]
    assert attempts(snapshot, live, now_s=5.0) == ["fra-a?", "fra-b", "ams-a", "ams-b"]


def test_one_call_makes_one_trial() -> None:
    snapshot = a_snapshot()
    live = a_live(snapshot)
    live.set_suspect(0, True)
    live.set_suspect(1, True)
    assert attempts(snapshot, live) == ["fra-a?", "ams-a", "ams-b"]
    live.trial_due_s[0] = 1.0
    assert attempts(snapshot, live) == ["fra-b?", "ams-a", "ams-b"]


def test_suspects_are_tried_when_nothing_else_remains() -> None:
    snapshot = a_snapshot(decisions={"acme": Decision(pinned=True)})
    live = a_live(snapshot)
    for sbc in (0, 1):
        live.set_suspect(sbc, True)
        live.trial_due_s[sbc] = 9.0
    assert attempts(snapshot, live) == ["fra-a", "fra-b"]
    live.rest(1, 9.0)
    assert attempts(snapshot, live) == ["fra-b"]  # the resting one remains, so the suspect is skipped


def shared_pair(*weights: int) -> RoutingSnapshot:
    topology = a_topology()
    sbcs = tuple(a_sbc(10 + n, f"s{n}", f"10.4.1.{n}", priority=1, weight=weight) for n, weight in enumerate(weights))
    pairs = (
        replace(topology.pairs[0], sbcs=tuple(range(len(weights))), strategy="load-share"),
        replace(topology.pairs[1], sbcs=()),
    )
    return a_snapshot(replace(topology, sbcs=sbcs, pairs=pairs))


def test_load_share_follows_the_weights() -> None:
    snapshot = shared_pair(60, 30, 10)
    live = a_live(snapshot)
    first = Counter(attempts(snapshot, live, b"%d" % n)[0] for n in range(4000))
    assert abs(first["s0"] - 2400) < 150
    assert abs(first["s1"] - 1200) < 150
    assert abs(first["s2"] - 400) < 150


def test_load_share_gives_one_caller_one_order_and_weight_zero_rarely_the_first_place() -> None:
    snapshot = shared_pair(0, 99)
    live = a_live(snapshot)
    assert all(attempts(snapshot, live, b"same") == attempts(snapshot, live, b"same") for _ in range(5))
    first = Counter(attempts(snapshot, live, b"%d" % n)[0] for n in range(2000))
    assert 0 < first["s0"] < 60


def test_load_share_keeps_priorities_apart() -> None:
    topology = a_topology()
    sbcs = tuple(a_sbc(10 + n, f"s{n}", f"10.4.1.{n}", priority=1 + n // 2) for n in range(4))
    pairs = (replace(topology.pairs[0], sbcs=(0, 1, 2, 3), strategy="load-share"), replace(topology.pairs[1], sbcs=()))
    snapshot = a_snapshot(replace(topology, sbcs=sbcs, pairs=pairs))
    live = a_live(snapshot)
    orders = {tuple(attempts(snapshot, live, b"%d" % n)) for n in range(200)}
    assert {frozenset(order[:2]) for order in orders} == {frozenset({"s0", "s1"})}
    assert len(orders) == 4


def test_reach_tells_tenants_behind_one_pair_apart() -> None:
    topology = a_topology()
    reach = Reach(0, port=5071, host="acme.example", tgrp="acme", trunk_context="example.net", called_prefix="9")
    snapshot = a_snapshot(replace(topology, tenants=(topology.tenants[0], replace(topology.tenants[1], reached_by=(reach,)))))
    plain, marked = snapshot.targets[0][0][0][0], snapshot.targets[1][1][0][0]
    assert (plain.port, plain.uri_host, plain.uri_params, plain.called_prefix) == (5060, b"10.4.1.11", b"", "")
    assert (marked.port, marked.uri_host) == (5071, b"acme.example:5071")
    assert (marked.uri_params, marked.called_prefix) == (b";tgrp=acme;trunk-context=example.net", "9")
    assert plain.key != marked.key
    assert len(plain.key) == 8


def test_sbc_without_an_address_yet_is_no_target() -> None:
    topology = a_topology()
    nameless = tuple(replace(sbc, host="") for sbc in topology.sbcs)
    snapshot = a_snapshot(replace(topology, sbcs=nameless))
    assert isinstance(resolve(snapshot, a_live(snapshot), 0, "+4930901820", None, b"x", 0.0), NoRoute)
