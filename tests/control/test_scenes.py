"""Failures, returns, orders and restarts through the whole control half, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sipctl.control.ports import Hello, Nack, TrunkObservation
from sipctl.control.reconcile import reconcile
from sipctl.control.status import detail, status
from sipctl.control.world import Faults, Heard, KeepGeneration, Persist, Record, Say, Tell, Tick, World
from sipctl.routing.snapshot import Admin, Decision, RoutingState, Topology
from tests.control.scene import UNIX_S, Scene, a_wide_topology
from tests.support.plans import a_topology


@pytest.mark.parametrize("seed", range(8))
def test_a_single_group_with_one_pair_and_one_bcp_address_fails_over(seed: int) -> None:
    topology = a_topology()
    topology = replace(topology, sbcs=topology.sbcs[:3], pairs=(topology.pairs[0], replace(topology.pairs[1], sbcs=(2,))))
    scene = Scene(topology, seed)
    scene.kill("acme-prod")
    scene.run(13.0)
    assert scene.place() == ("on-bcp", 100) and scene.told() == 100
    assert "tenant-lost:acme-prod" in scene.alarms


def test_the_sentence_of_a_decision_is_the_same_everywhere() -> None:
    scene = Scene()
    scene.kill("acme-prod")
    scene.run(13.0)
    sentence = scene.world.groups["acme"].reason
    assert scene.records[-1].record.sentence == sentence
    assert scene.published[-1].decisions["acme"].reason == sentence
    assert status(scene.world, scene.now_s)["groups"]["acme"]["reason"] == sentence
    assert any(notice.text == f"acme: {sentence}" for notice in scene.notices)


@pytest.mark.parametrize("seed", range(6))
def test_of_ten_tenants_on_ten_sites_six_fail_with_bcps_among_them_and_the_moves_are_frozen(seed: int) -> None:
    tenants = [(f"p{i}", 2 * i) for i in range(5)] + [(f"b{i}", 2 * i + 1) for i in range(5)]
    scene = Scene(a_wide_topology(tenants, [(f"p{i}", f"b{i}") for i in range(5)]), seed)
    scene.kill("p0", "p1", "p2", "b0", "b1", "b2")
    scene.run(14.0)
    for name in ("g0", "g1", "g2"):
        assert scene.place(name) == ("hold-off", 0)
        assert scene.world.groups[name].frozen is not None
        assert f"frozen:{name}" in scene.alarms
    assert scene.place("g3") == scene.place("g4") == ("normal", 0)
    scene.run(70.0)
    assert not any(name.startswith("frozen:") for name in scene.alarms), "a freeze lasts 60 s at most"
    assert scene.order("failover", group="g0", to="bcp", force=("target-out-of-service",)).status == "done"


@pytest.mark.parametrize("seed", range(6))
def test_all_primaries_of_one_site_fail_and_their_bcps_answer_and_every_group_moves(seed: int) -> None:
    tenants = [(f"p{i}", 0) for i in range(6)] + [(f"b{i}", 1 + i % 2) for i in range(6)]
    scene = Scene(a_wide_topology(tenants, [(f"p{i}", f"b{i}") for i in range(6)]), seed)
    scene.kill(*(f"p{i}" for i in range(6)))
    scene.run(15.0)
    assert {scene.place(f"g{i}") for i in range(6)} == {("on-bcp", 100)}


def test_a_majority_that_fails_moves_to_targets_that_answered_every_probe() -> None:
    tenants = [(f"p{i}", i) for i in range(4)] + [("b", 4)]
    scene = Scene(a_wide_topology(tenants, [(f"p{i}", "b") for i in range(4)]))
    scene.kill("p0", "p1", "p2", "p3")
    scene.run(15.0)
    assert {scene.place(f"g{i}") for i in range(4)} == {("on-bcp", 100)}


def test_when_nothing_at_all_is_heard_no_group_moves_until_the_ears_are_back() -> None:
    scene = Scene()
    scene.alive_but_gone = True
    scene.run(20.0)
    assert scene.place()[1] == 0
    scene.alive_but_gone = False
    scene.run(20.0)
    assert scene.place() == ("normal", 0)


def test_primary_returns_and_an_automatic_group_goes_back_by_hold_down_and_ramp() -> None:
    scene = Scene(failback="automatic", hold_down_s=20.0, ramp_step_s=5.0)
    scene.kill("acme-prod")
    scene.run(13.0)
    scene.heal("acme-prod")
    scene.run(5.0)
    assert scene.place()[0] == "hold-down"
    scene.run(40.0)
    assert scene.place() == ("normal", 0)
    shares = [state.decisions["acme"].bcp_percent for state in scene.published]
    assert [b for a, b in pairwise(shares) if a != b] == [100, 90, 50, 0]


def test_primary_returns_and_a_manual_group_stays_until_failback() -> None:
    scene = Scene()
    scene.kill("acme-prod")
    scene.run(13.0)
    scene.heal("acme-prod")
    scene.run(30.0)
    assert scene.place() == ("on-bcp", 100) and scene.alarms == set()
    assert scene.order("failback", group="acme").status == "going"
    assert scene.place() == ("ramp", 90)


def test_a_manual_group_raises_an_alarm_and_stays() -> None:
    scene = Scene(failover="manual")
    scene.kill("acme-prod")
    scene.run(30.0)
    assert scene.place() == ("normal", 0)
    assert "only an operator moves this group" in scene.world.alarms["not-moved:acme"].text


def test_a_flapping_primary_latches_its_group() -> None:
    scene = Scene(failback="automatic", hold_down_s=2.0, ramp=(100,), hold_off_s=1.0)
    for _ in range(4):
        scene.kill("acme-prod")
        scene.run(9.0)
        scene.heal("acme-prod")
        scene.run(12.0)
    assert scene.world.groups["acme"].latched and "latched:acme" in scene.alarms
    assert scene.place() == ("on-bcp", 100)
    assert scene.order("unlatch", group="acme").status == "done"
    scene.run(30.0)
    assert scene.place() == ("normal", 0) and "latched:acme" not in scene.alarms


def test_both_dead_keeps_the_table_and_says_so() -> None:
    scene = Scene()
    scene.kill("acme-prod", "acme-bcp")
    scene.run(30.0)
    assert scene.place()[1] == 0 and "both-lost:acme" in scene.alarms
    assert len(scene.published[-1].decisions) == 1


def test_one_sbc_of_a_pair_lost_moves_no_group() -> None:
    scene = Scene()
    scene.silent.add("fra-a")
    scene.run(30.0)
    assert scene.place() == ("normal", 0) and scene.alarms == {"sbc-lost:fra-a"}


def test_an_operators_failover_is_told_at_once_recorded_after_and_holds() -> None:
    scene = Scene(failback="automatic", hold_down_s=5.0)
    before = len(scene.effects)
    answer = scene.order("failover", group="acme", to="bcp")
    assert answer.status == "done" and answer.body["numbers"] == 202
    kinds = [type(effect) for effect in scene.effects[before:]]
    assert kinds.index(Tell) < kinds.index(Record) < kinds.index(Persist)
    scene.run(60.0)
    assert scene.place() == ("on-bcp", 100)
    assert scene.published[-1].decisions["acme"].left == "primary"


def test_a_pin_and_a_pause_stop_automation_and_say_so() -> None:
    scene = Scene()
    assert scene.order("pin", group="acme", to="primary").status == "done"
    scene.kill("acme-prod")
    scene.run(20.0)
    assert scene.place() == ("normal", 0) and "pinned to primary" in scene.world.alarms["not-moved:acme"].text
    assert scene.order("failover", group="acme", to="bcp").code == "pinned"
    scene.order("unpin", group="acme")
    scene.order("automation", state="pause")
    scene.run(20.0)
    assert scene.place() == ("normal", 0) and "automation-paused" in scene.alarms
    scene.order("automation", state="resume")
    scene.run(6.0)
    assert scene.place() == ("on-bcp", 100)


def test_a_failed_write_is_an_alarm_and_no_stop() -> None:
    scene = Scene()
    scene.put(Faults("write", {"wishes": "the store does not write wishes: disk full; it is tried again"}))
    assert "write:wishes" in scene.alarms
    assert scene.order("failover", group="acme", to="bcp").status == "done"
    assert scene.told() == 100
    scene.put(Faults("write", {}))
    assert "write:wishes" not in scene.alarms


def test_a_controller_that_begins_does_not_complain_of_routers_that_come_within_a_moment() -> None:
    world = World(term=1)
    said = []
    for now_s in (1000.0, 1001.0, 1002.9):
        world, effects = reconcile(world, Tick(), now_s, UNIX_S + now_s)
        said += [effect for effect in effects if isinstance(effect, Say)]
    assert not world.alarms and not said
    late, _ = reconcile(world, Tick(), 1003.0, UNIX_S + 1003.0)
    assert set(late.alarms) == {"no-router"}
    world, _ = reconcile(world, Heard(1, Hello("r1", 0, 4711, None)), 1002.95, UNIX_S + 1002.95)
    world, _ = reconcile(world, Tick(), 1010.0, UNIX_S + 1010.0)
    assert "no-router" not in world.alarms


def test_without_a_router_an_operation_waits_and_is_done_when_one_has_it() -> None:
    scene = Scene()
    scene.router_dies()
    assert "no-router" in scene.alarms
    answer = scene.order("failover", group="acme", to="bcp")
    assert (answer.status, answer.final) == ("accepted", False)
    scene.has_router = True
    scene.put(Heard(1, Hello("r1", 0, 4712, None)))
    assert scene.answers[-1].id == answer.id and scene.answers[-1].status == "done"
    assert "no-router" not in scene.alarms


def test_a_router_that_refuses_is_an_alarm_until_it_takes_the_next() -> None:
    scene = Scene()
    scene.acks = False
    scene.order("failover", group="acme", to="bcp")
    state = scene.published[-1]
    scene.put(Heard(1, Nack("r1", state.term, state.seq, "unknown table")))
    assert "unknown table" in scene.world.alarms["router-refused:r1"].text
    scene.acks = True
    scene.run(4.0)
    assert "router-refused:r1" not in scene.alarms
    assert scene.answers[-1].status == "done"


def test_what_a_router_raises_is_an_alarm_in_its_name_until_it_is_over() -> None:
    scene = Scene()
    scene.router_alarms = (("call-records-full", "answered-call records are full"),)
    scene.run(1.0)
    assert scene.world.alarms["call-records-full:r1"].text == "router r1: answered-call records are full"
    scene.router_alarms = ()
    scene.run(1.0)
    assert scene.alarms == set()
    assert [notice.kind for notice in scene.notices[-2:]] == ["alarm", "alarm-cleared"]


def test_the_whole_state_is_sent_again_every_few_seconds_under_the_same_seq() -> None:
    scene = Scene()
    before = len(scene.published)
    scene.run(10.0)
    again = scene.published[before:]
    assert 3 <= len(again) <= 4 and all(state == again[0] for state in again)


def test_a_generation_is_kept_once_every_router_carries_it() -> None:
    scene = Scene()
    scene.acks = False
    scene.effects.clear()
    scene.order("failover", group="acme", to="bcp")
    assert not [effect for effect in scene.effects if isinstance(effect, KeepGeneration)]
    scene.acks = True
    scene.run(4.0)
    kept = [effect.state for effect in scene.effects if isinstance(effect, KeepGeneration)]
    assert kept == [scene.published[-1]]


# -- restarts ------------------------------------------------------------------------------------------------------------------


def test_terms_grow_over_controller_deaths_and_decisions_stay() -> None:
    scene = Scene()
    scene.order("failover", group="acme", to="bcp")
    terms = [scene.world.term]
    for _ in range(5):
        scene.restart()
        terms.append(scene.world.term)
        scene.run(2.0)
        assert scene.place() == ("on-bcp", 100) and scene.world.groups["acme"].held == "bcp"
    assert terms == sorted(set(terms))


def test_what_was_published_but_not_written_is_adopted_from_the_router() -> None:
    scene = Scene()
    scene.order("failover", group="acme", to="bcp")
    scene.order("sbc-admin", sbc="fra-a", state="draining")
    scene.restart(lost_writes=True)
    assert scene.place() == ("on-bcp", 100)
    assert scene.world.groups["acme"].held == "bcp"
    assert scene.world.sbc_admin == {"fra-a": Admin.DRAINING}
    assert scene.told() == 100


def test_a_pin_survives_a_lost_store_too() -> None:
    scene = Scene()
    scene.order("pin", group="acme", to="bcp")
    scene.restart(lost_writes=True)
    assert scene.world.groups["acme"].pinned == "bcp" and scene.place() == ("on-bcp", 100)


def test_a_router_that_holds_a_higher_term_makes_the_controller_go_above_it() -> None:
    scene = Scene()
    held = scene.published[-1]
    other = replace(held, term=40, seq=7)
    scene.published.append(other)
    scene.put(Heard(2, Hello("r1", 0, 4712, other)))
    assert scene.world.term == 41 and scene.saved_terms == [41]
    assert (scene.published[-1].term, scene.published[-1].seq) == (41, 1)


def test_an_older_state_in_a_router_changes_nothing() -> None:
    scene = Scene()
    term = scene.world.term
    scene.put(Heard(2, Hello("r1", 0, 4712, RoutingState(0, 5, 1, "x", {"acme": Decision(100)}))))
    assert scene.world.term == term and scene.place() == ("normal", 0)


# -- plans ---------------------------------------------------------------------------------------------------------------------


def without_first_sbc(topology: Topology) -> Topology:
    sbcs = tuple(replace(sbc, pair=sbc.pair) for sbc in topology.sbcs[1:])
    pairs = (replace(topology.pairs[0], sbcs=(0,), sources=()), replace(topology.pairs[1], sbcs=(1, 2)))
    return replace(topology, revision=2, sbcs=sbcs, pairs=pairs, trunks=topology.trunks[:1])


def test_an_sbc_and_a_trunk_that_leave_the_plan_are_retired_for_max_call_age() -> None:
    scene = Scene()
    scene.live(without_first_sbc(scene.topology))
    retired = {(one.kind, one.name): one for one in scene.published[-1].retired}
    assert retired[("trunk", "carrier-two")].networks == ("192.0.2.0/28",)
    sbc = retired[("sbc", "fra-a")]
    assert (sbc.host, sbc.port, sbc.tenants, sbc.listen) == ("10.4.1.11", 5060, (1,), "inside")
    assert "10.4.1.11/32" in sbc.networks
    assert sbc.until_unix_s == UNIX_S + scene.now_s + 43200.0
    scene.now_s += 43201.0
    scene.run(1.0)
    assert scene.published[-1].retired == ()


def test_what_comes_back_is_retired_no_longer() -> None:
    scene = Scene()
    whole = scene.topology
    scene.live(without_first_sbc(whole))
    scene.live(replace(whole, revision=3))
    assert [one for one in scene.published[-1].retired if one.name in ("fra-a", "carrier-two")] == []


def test_a_plan_that_exchanges_the_tenants_leaves_calls_where_they_are() -> None:
    scene = Scene()
    scene.order("failover", group="acme", to="bcp")
    group = replace(scene.topology.groups[0], primary=1, bcp=0)
    scene.live(replace(scene.topology, revision=2, groups=(group,)))
    assert scene.place() == ("normal", 0)
    assert scene.world.groups["acme"].held == "primary"


def test_wishes_survive_an_apply() -> None:
    scene = Scene()
    scene.order("sbc-admin", sbc="fra-a", state="disabled")
    scene.order("pin", group="acme", to="bcp")
    scene.live(replace(scene.topology, revision=2))
    assert scene.published[-1].sbc_admin == {"fra-a": Admin.DISABLED}
    assert scene.published[-1].decisions["acme"].pinned and scene.told() == 100


# -- commands ------------------------------------------------------------------------------------------------------------------


def test_draining_the_last_usable_sbc_is_refused_unless_its_group_moves_first() -> None:
    scene = Scene()
    assert scene.order("sbc-admin", sbc="fra-a", state="draining").status == "going"
    answer = scene.order("sbc-admin", sbc="fra-b", state="draining")
    assert (answer.status, answer.code) == ("refused", "last-usable-sbc")
    assert scene.order("sbc-admin", sbc="fra-b", state="draining", move=True).status == "going"
    assert scene.place() == ("on-bcp", 100) and scene.world.groups["acme"].held == "bcp"
    assert scene.world.sbc_admin == {"fra-a": Admin.DRAINING, "fra-b": Admin.DRAINING}
    scene.run(30.0)
    assert scene.place() == ("on-bcp", 100)


def test_a_silent_sibling_counts_as_not_usable() -> None:
    scene = Scene()
    scene.silent.add("fra-b")
    scene.run(8.0)
    assert scene.order("sbc-admin", sbc="fra-a", state="disabled").code == "last-usable-sbc"
    assert scene.order("sbc-admin", sbc="fra-a", state="disabled", force=("last-usable-sbc",)).status != "refused"


def test_draining_alone_moves_no_group() -> None:
    scene = Scene()
    scene.order("sbc-admin", sbc="fra-a", state="draining")
    scene.order("sbc-admin", sbc="fra-b", state="draining", force=("last-usable-sbc",))
    scene.run(30.0)
    assert scene.place() == ("normal", 0)


def test_an_active_tenant_is_drained_only_with_move_and_only_to_an_enabled_tenant() -> None:
    scene = Scene()
    assert scene.order("tenant-admin", tenant="acme-bcp", state="draining").status == "going"
    answer = scene.order("tenant-admin", tenant="acme-prod", state="draining", move=True)
    assert (answer.status, answer.code) == ("refused", "target-not-enabled")
    scene.order("tenant-admin", tenant="acme-bcp", state="enabled")
    assert scene.order("tenant-admin", tenant="acme-prod", state="draining").code == "active-tenant"
    assert scene.order("tenant-admin", tenant="acme-prod", state="draining", move=True).status == "going"
    assert scene.place() == ("on-bcp", 100)


def test_moving_to_a_dead_tenant_is_refused_and_can_be_forced() -> None:
    scene = Scene()
    scene.kill("acme-bcp")
    scene.run(8.0)
    answer = scene.order("failover", group="acme", to="bcp")
    assert (answer.status, answer.code) == ("refused", "target-out-of-service") and "--force" in answer.hint
    assert scene.order("failover", group="acme", to="bcp", force=("target-out-of-service",)).status == "done"
    assert scene.told() == 100


def test_a_dry_run_says_what_it_would_touch_and_touches_nothing() -> None:
    scene = Scene()
    scene.calls = {"acme-sales": 12, "acme-support": 3}
    scene.run(1.0)
    seq = scene.world.seq
    answer = scene.order("failover", all=True, to="bcp", dry_run=True)
    assert answer.status == "done" and answer.body == {
        "groups": ["acme"], "entry_points": ["acme-sales", "acme-support"], "numbers": 202, "of_numbers": 100, "calls": 15,
        "of_calls": 100, "cps_about": 0.0, "dry_run": True,
    }  # fmt: skip
    assert scene.place() == ("normal", 0) and scene.world.seq == seq


def test_several_groups_are_moved_by_a_glob_or_none_is() -> None:
    tenants = [("eu-1", 0), ("eu-2", 0), ("us-1", 1), ("b", 2)]
    scene = Scene(a_wide_topology(tenants, [("eu-1", "b"), ("eu-2", "b"), ("us-1", "b")]))
    assert scene.order("failover", tenant="eu-*", to="bcp").body["groups"] == ["g0", "g1"]
    assert [scene.place(f"g{i}")[1] for i in range(3)] == [100, 100, 0]
    scene.order("pin", group="g2", to="primary")
    assert scene.order("failback", groups=["g0", "g2"], now=True).code == "pinned"
    assert [scene.place(f"g{i}")[1] for i in range(3)] == [100, 100, 0]


@pytest.mark.parametrize(
    ("op", "args", "code"),
    [
        ("fly", {}, "unknown-command"),
        ("failover", {"group": "acmee", "to": "bcp"}, "unknown-group"),
        ("failover", {"group": "acme", "to": "moon"}, "bad-argument"),
        ("failover", {"group": "acme"}, "missing-argument"),
        ("failover", {"to": "bcp"}, "missing-argument"),
        ("failover", {"groups": "acme", "to": "bcp"}, "bad-argument"),
        ("failover", {"tenant": "zz*", "to": "bcp"}, "unknown-tenant"),
        ("failback", {"group": "acme", "now": "yes"}, "bad-argument"),
        ("pin", {"group": 7, "to": "bcp"}, "missing-argument"),
        ("sbc-admin", {"sbc": "fra-c", "state": "draining"}, "unknown-sbc"),
        ("sbc-admin", {"sbc": "fra-a", "state": "gone"}, "bad-argument"),
        ("trunk-admin", {"trunk": "x", "state": "enabled"}, "unknown-trunk"),
        ("trunk-allow", {"trunk": "carrier-one", "cidr": "nonsense", "until": 4e9}, "bad-network"),
        ("trunk-allow", {"trunk": "carrier-one", "cidr": "198.18.0.0/24"}, "missing-argument"),
        ("trunk-allow", {"trunk": "carrier-one", "cidr": "198.18.0.0/24", "until": 5.0}, "bad-time"),
        ("trunk-allow", {"trunk": "carrier-one", "cidr": "198.18.0.0/24", "until": "2030-01-01T00:00:00"}, "bad-time"),
        ("trunk-allow", {"trunk": "carrier-one", "cidr": "198.18.0.0/24", "until": float("nan")}, "bad-time"),
        ("trunk-allow", {"trunk": "carrier-one", "cidr": "198.18.0.0/24", "until": "9999-12-31T23:59:59-12:00"}, "bad-time"),
        ("trunk-allow", {"trunk": "carrier-one", "cidr": "198.18.0.0/24", "until": 10**400}, "bad-time"),
        ("node-admin", {"state": "disabled"}, "bad-argument"),
        ("automation", {"state": "off"}, "bad-argument"),
        ("alarm-ack", {"id": "nothing"}, "unknown-alarm"),
    ],
)
def test_a_badly_formed_command_is_answered_with_a_stable_code(op: str, args: dict[str, Any], code: str) -> None:
    scene = Scene()
    seq = scene.world.seq
    answer = scene.order(op, **args)
    assert (answer.status, answer.code) == ("invalid", code), answer
    assert scene.world.seq == seq


def test_a_change_needs_a_reason() -> None:
    assert Scene(start=False).order("failover", group="acme", to="bcp", reason=" ").code == "reason-required"


def test_unknown_names_come_with_a_guess() -> None:
    assert Scene(start=False).order("sbc-admin", sbc="fra-aa", state="draining").hint == "did you mean fra-a?"


def test_an_extra_source_is_allowed_until_its_time_and_then_retired() -> None:
    scene = Scene()
    until = "2027-01-15T08:20:00+00:00"
    assert scene.order("trunk-allow", trunk="carrier-one", cidr="198.18.0.7/24", until=until).status == "done"
    assert scene.published[-1].extra_sources == (("carrier-one", "198.18.0.0/24", 1_800_001_200.0),)
    scene.now_s = 1201.0
    scene.run(1.0)
    assert list(scene.published[-1].extra_sources) == []
    assert [(one.kind, one.name, one.networks) for one in scene.published[-1].retired] == [
        ("trunk", "carrier-one", ("198.18.0.0/24",))
    ]


@pytest.mark.parametrize("until_unix_s", [253_402_343_999.0, 1e300, float("inf"), float("nan"), -1e300])
def test_a_state_with_an_end_that_no_calendar_knows_is_read_and_shown(until_unix_s: float) -> None:
    scene = Scene(start=False)
    scene.world = replace(scene.world, extra_sources=(("carrier-one", "198.18.0.0/24", until_unix_s),))
    (shown,) = detail(scene.world, scene.now_s)["extra_sources"]
    assert shown["until"] == ("9999-12-31T23:59:59.000Z" if until_unix_s > UNIX_S else "1970-01-01T00:00:00.000Z")


def test_the_last_enabled_trunk_is_not_disabled_by_accident() -> None:
    scene = Scene()
    assert scene.order("trunk-admin", trunk="carrier-one", state="disabled").status == "done"
    assert scene.order("trunk-admin", trunk="carrier-two", state="draining").code == "last-trunk"
    assert scene.published[-1].trunk_admin == {"carrier-one": Admin.DISABLED}


def test_a_node_drains_and_returns() -> None:
    scene = Scene()
    scene.order("node-admin", state="draining")
    assert scene.published[-1].node_admin == Admin(1) and "node-draining" in scene.alarms
    scene.order("node-admin", state="enabled")
    assert scene.published[-1].node_admin == Admin(0) and scene.alarms == set()


def test_an_acknowledged_alarm_stays_until_its_cause_is_gone() -> None:
    scene = Scene()
    scene.silent.add("fra-a")
    scene.run(8.0)
    assert scene.order("alarm-ack", id="sbc-lost:fra-a", reason="").status == "done"
    scene.run(1.0)
    assert scene.world.alarms["sbc-lost:fra-a"].acked_by == "ops-1"
    scene.silent.clear()
    scene.run(8.0)
    assert scene.alarms == set()


# -- what readers see ----------------------------------------------------------------------------------------------------------


def test_the_status_body_has_the_shape_of_the_contract() -> None:
    scene = Scene()
    scene.order("failover", group="acme", to="bcp")
    body = status(scene.world, scene.now_s)
    assert set(body) >= {
        "revision", "folder_differs", "age_s", "automation", "routers", "groups", "sbcs", "trunks", "tenants", "calls", "alarms",
        "strangers",
    }
    group = body["groups"]["acme"]
    assert (group["state"], group["active"], group["bcp_percent"]) == ("on-bcp", "bcp", 100)
    assert group["held"] == {"to": "bcp", "by": "ops-1"} and group["pinned"] is group["latched"] is group["frozen"] is None
    assert body["routers"] == [
        {"name": "r1", "slot": 0, "pid": 4711, "revision": 1, "term": 1, "seq": scene.world.seq, "calls": 0}
    ]
    assert body["sbcs"]["fra-a"]["operating"] == "in-service" and body["sbcs"]["fra-a"]["admin"] == "enabled"
    assert body["trunks"]["carrier-one"] == {"calls": 0, "cps": 0, "last_invite": None, "admin": "enabled", "observed": None}
    assert body["tenants"]["acme-prod"]["sbcs"] == ["fra-a", "fra-b"]
    assert 0.0 <= body["age_s"] <= 0.6
    assert detail(scene.world, scene.now_s)["entry_points"]["acme-sales"]["numbers"] == 101


def test_the_status_of_a_controller_without_a_plan_is_whole_too() -> None:
    from sipctl.control.world import World

    body = status(World(term=1), 5.0)
    assert body["revision"] is None and body["groups"] == {} and body["age_s"] is None


def test_trunk_figures_are_sums_over_the_routers() -> None:
    scene = Scene()
    observe = scene.observation()
    two = {"carrier-one": TrunkObservation(3, 2, UNIX_S)}
    scene.put(Heard(2, Hello("r2", 1, 4712, scene.published[-1])))
    scene.put(Heard(2, type(observe)("r2", scene.now_s, {}, two, {}, {}, 3, 0.0, 0)))
    trunk = status(scene.world, scene.now_s)["trunks"]["carrier-one"]
    assert trunk["calls"] == 3 and trunk["cps"] == 2 and trunk["last_invite"].startswith("2027-01-15T")
