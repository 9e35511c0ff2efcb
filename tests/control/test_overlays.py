"""Overlays and kill switches through the whole control half: on, off, until, together, through restarts and new plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sipctl.control.overlay_changes import wishes_lost
from sipctl.control.overlay_scope import collision, find
from sipctl.control.ports import Notice
from sipctl.control.status import status
from sipctl.control.world import Persist, Record, Say, Tell
from sipctl.routing.snapshot import Destination, Overlay, Reach, SbcPair, Switch, Tenant, TenantId, Topology
from tests.control.scene import UNIX_S, Scene
from tests.support.plans import a_sbc, a_topology

ANNOUNCEMENT = Destination(tenant=2, called="ann-1")
SORRY = Destination(refuse=(480, 41))
OVERLAYS = (
    Overlay("emergency", (), ANNOUNCEMENT),
    Overlay("evening", ((0, Destination(entry_point=1)),)),
    Overlay("fire", ((1, ANNOUNCEMENT),)),
)
SWITCHES = (
    Switch("fraud", Destination(refuse=(503, 21)), trunks=(1,)),
    Switch("sales-off", SORRY, entry_points=(0,)),
    Switch("acme-away", ANNOUNCEMENT, groups=(0,)),
    Switch("bcp-off", SORRY, tenants=(1,)),
)


def a_plan(revision: int = 1, overlays: tuple[Overlay, ...] = OVERLAYS, switches: tuple[Switch, ...] = SWITCHES) -> Topology:
    """The small plan with a pair that plays announcements, three overlays and four kill switches."""
    small = a_topology()
    return a_topology(
        revision=revision, overlays=overlays, switches=switches,
        sbcs=(*small.sbcs, a_sbc(6, "ann-a", "10.6.1.11", 2)),
        pairs=(*small.pairs, SbcPair(id=3, name="ann", site=0, sbcs=(4,))),
        tenants=(*small.tenants, Tenant(TenantId(3), "pair:ann", (Reach(2),), kind="pair")),
    )  # fmt: skip


def a_scene(**changes: Any) -> Scene:
    return Scene(a_plan(**changes))


def shown(scene: Scene, kind: str, name: str) -> Any:
    return status(scene.world, scene.now_s)[kind][name]


def unix_s(scene: Scene) -> float:
    return UNIX_S + scene.now_s


def test_an_overlay_goes_on_is_published_first_told_and_then_written() -> None:
    scene = a_scene()
    before = len(scene.effects)
    answer = scene.order("overlay-on", overlay="emergency", reason="CHG7 fire alarm")
    assert (answer.status, answer.text) == ("done", "overlay emergency is on until it is switched off")
    effects = scene.effects[before:]
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Tell) < kinds.index(Say) < kinds.index(Record) < kinds.index(Persist)
    assert scene.published[-1].overlays == (("emergency", 0.0),)
    assert next(effect for effect in effects if isinstance(effect, Persist)).wishes.overlays["emergency"]["actor"] == "ops-1"
    record = scene.records[-1].record
    assert (record.kind, record.group, record.rule, record.actor) == ("overlay", "overlay emergency", "operator", "ops-1")
    assert (record.before, record.inputs) == ({}, {"reason": "CHG7 fire alarm"}) and record.after["reason"] == "CHG7 fire alarm"
    (notice,) = (one for one in scene.notices if one.kind == "overlay")
    assert notice.text == "overlay emergency is on until it is switched off: ops-1: CHG7 fire alarm" == record.sentence
    assert dict(notice.fields) | {"name": "emergency", "state": "on", "actor": "ops-1"} == dict(notice.fields)


def test_the_status_says_what_is_ready_and_what_is_on_and_it_is_an_alarm() -> None:
    scene = a_scene()
    off = shown(scene, "overlays", "emergency")
    assert (off["state"], off["by"], off["entry_points"], off["numbers"]) == ("off", None, 2, 202)
    assert off["what"] == "to pair:ann, dialling ann-1"
    assert shown(scene, "switches", "fraud")["what"] == "refused with 503, cause 21"
    until = unix_s(scene) + 3600
    scene.order("overlay-on", overlay="emergency", until=until, reason="CHG7")
    scene.calls = {"acme-sales": 12, "acme-support": 3}
    scene.run(1.0)
    on = shown(scene, "overlays", "emergency")
    assert (on["state"], on["by"], on["reason"], on["until_unix_s"], on["calls"]) == ("on", "ops-1", "CHG7", until, 15)
    assert "overlay emergency is on until 20" in scene.world.alarms["overlay-on:emergency"].text
    assert scene.order("overlay-off", overlay="emergency").status == "done"
    assert "overlay-on:emergency" not in scene.alarms and shown(scene, "overlays", "emergency")["state"] == "off"
    assert scene.published[-1].overlays == ()


@pytest.mark.parametrize(("kind", "name"), [("overlay", "evening"), ("switch", "fraud")])
def test_what_is_on_until_a_time_goes_off_by_itself_and_says_so(kind: str, name: str) -> None:
    scene = a_scene()
    section = f"{kind}s" if kind == "overlay" else "switches"
    until = unix_s(scene) + 30.0
    args: dict[str, Any] = {kind: name, "until": until}
    assert scene.order(f"{kind}-on", **args).status == "done"
    assert getattr(scene.published[-1], section) == ((name, until),), "the end travels with the publication"
    scene.run(29.5)
    assert shown(scene, section, name)["state"] == "on"
    scene.run(1.0)
    assert shown(scene, section, name)["state"] == "off" and getattr(scene.published[-1], section) == ()
    record = scene.records[-1].record
    assert (record.rule, record.actor, record.after) == ("until", "sipctl", {})
    assert record.sentence == f"{kind} {name} is off: its time is over"
    assert f"{kind}-on:{name}" not in scene.alarms


def test_another_end_can_be_given_and_the_same_again_changes_nothing() -> None:
    scene = a_scene()
    until = unix_s(scene) + 60
    scene.order("switch-on", switch="fraud")
    assert scene.order("switch-on", switch="fraud", until=until).status == "done"
    assert "stays on until" in scene.records[-1].record.sentence
    records, seq = len(scene.records), scene.world.seq
    answer = scene.order("switch-on", switch="fraud", until=until)
    assert answer.status == "done" and answer.text.startswith("switch fraud is on already until")
    assert (len(scene.records), scene.world.seq) == (records, seq)
    assert scene.order("overlay-off", overlay="fire").text == "overlay fire is off already"
    assert (len(scene.records), scene.world.seq) == (records, seq)


@pytest.mark.parametrize("lost_writes", [False, True])
def test_what_was_acknowledged_survives_the_controllers_death_written_or_not(lost_writes: bool) -> None:
    scene = a_scene()
    until = unix_s(scene) + 30.0
    assert scene.order("overlay-on", overlay="emergency", until=until, reason="CHG7").status == "done"
    assert scene.order("switch-on", switch="fraud").status == "done"
    scene.restart(lost_writes=lost_writes)
    held = scene.published[-1]
    assert (held.overlays, held.switches) == ((("emergency", until),), (("fraud", 0.0),))
    known = shown(scene, "overlays", "emergency")
    assert (known["by"], known["reason"]) == (("an operator", "") if lost_writes else ("ops-1", "CHG7"))
    scene.run(31.0)
    held = scene.published[-1]
    assert (held.overlays, held.switches) == ((), (("fraud", 0.0),))


def test_what_ended_while_no_controller_lived_is_off_before_the_next_one_speaks() -> None:
    scene = a_scene()
    scene.order("overlay-on", overlay="emergency", until=unix_s(scene) + 5.0)
    scene.now_s += 60.0
    before = len(scene.published)
    scene.restart()
    assert all(state.overlays == () for state in scene.published[before:])
    assert scene.records[-1].record.rule == "until"


def test_wishes_of_a_time_before_overlays_are_read() -> None:
    scene = a_scene()
    persisted = [effect.wishes for effect in scene.effects if isinstance(effect, Persist)][-1]
    assert (persisted.overlays, persisted.switches) == ({}, {})
    scene.restart(wishes=persisted)
    assert scene.published[-1].overlays == ()


@pytest.mark.parametrize("until_unix_s", [253_402_343_999.0, 1e300])
def test_a_state_with_an_end_that_no_calendar_knows_is_gone_on_with(until_unix_s: float) -> None:
    scene = a_scene()
    scene.order("overlay-on", overlay="emergency")
    scene.world = replace(
        scene.world, overlays={"emergency": replace(scene.world.overlays["emergency"], until_unix_s=until_unix_s)}
    )
    scene.run(2.0)
    assert scene.order("switch-on", switch="fraud").status == "done"
    scene.restart()
    scene.run(2.0)
    assert shown(scene, "overlays", "emergency")["until"] == "9999-12-31T23:59:59.000Z"
    assert "until 9999-12-31T23:59:59Z" in scene.world.alarms["overlay-on:emergency"].text
    assert scene.order("overlay-off", overlay="emergency").status == "done"


# -- together --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "collide"),
    [
        ("emergency", "evening", True), ("emergency", "fire", False), ("evening", "fire", False),
        ("fraud", "sales-off", False), ("fraud", "acme-away", True), ("sales-off", "acme-away", True),
        ("bcp-off", "acme-away", True), ("sales-off", "bcp-off", False),
    ],
)  # fmt: skip
def test_two_collide_if_one_call_would_be_told_two_things(one: str, two: str, collide: bool) -> None:
    topology = a_plan()
    ready = {**find(topology, "overlay"), **find(topology, "switch")}
    assert bool(collision(topology, ready[one], ready[two])) is collide is bool(collision(topology, ready[two], ready[one]))


def test_two_that_send_calls_to_the_same_entry_point_collide_since_each_acts_once() -> None:
    evening, everywhere = OVERLAYS[1], Overlay("everywhere", OVERLAYS[1].entry_points, ANNOUNCEMENT)
    assert collision(a_plan(), evening, everywhere) != ""
    assert collision(a_plan(), OVERLAYS[2], Overlay("alike", OVERLAYS[2].entry_points)) == "", "announcements are the end of it"


def test_switches_that_no_call_can_meet_both_do_not_collide() -> None:
    here = Switch("here", ANNOUNCEMENT, entry_points=(0,), trunks=(0,))
    topology = a_plan(switches=(here, replace(here, name="there", to=SORRY, trunks=(1,)), replace(here, name="all", to=SORRY)))
    ready = find(topology, "switch")
    assert collision(topology, ready["here"], ready["there"]) == ""
    assert collision(topology, ready["here"], ready["all"]) == (
        "switches here and all can meet in one call, such as to acme-sales, and only one can count"
    )


def test_an_overlay_that_collides_with_one_that_is_on_is_refused_by_name() -> None:
    scene = a_scene()
    scene.order("overlay-on", overlay="evening")
    answer = scene.order("overlay-on", overlay="emergency")
    assert (answer.status, answer.code, answer.hint) == ("refused", "overlay-collides", "sipctl overlay off evening")
    assert "both say where calls to acme-sales go" in answer.text
    assert scene.published[-1].overlays == (("evening", 0.0),)
    assert scene.order("overlay-on", overlay="fire").status == "done"
    scene.order("overlay-off", overlay="evening")
    assert scene.order("overlay-on", overlay="emergency").status == "done"
    scene.order("switch-on", switch="acme-away")
    assert scene.order("switch-on", switch="fraud").code == "switch-collides"
    assert scene.order("switch-on", switch="fraud", force=("switch-collides",)).status == "done"


def test_calls_are_not_sent_where_nobody_takes_them_unless_forced() -> None:
    scene = a_scene()
    scene.silent.add("ann-a")
    scene.run(10.0)
    assert scene.order("overlay-on", overlay="emergency").code == "target-out-of-service"
    assert scene.order("overlay-on", overlay="evening").status == "done"
    assert scene.order("switch-on", switch="acme-away", force=("target-out-of-service",)).status == "done"
    scene.silent.clear()
    scene.run(20.0)
    assert scene.order("tenant-admin", tenant="pair:ann", state="draining").status == "going"
    assert scene.order("overlay-on", overlay="fire").code == "target-not-enabled"


def test_a_dry_run_says_what_it_would_touch_and_touches_nothing() -> None:
    scene = a_scene()
    scene.calls = {"acme-sales": 12, "acme-support": 3}
    scene.run(1.0)
    seq, records = scene.world.seq, len(scene.records)
    answer = scene.order("overlay-on", overlay="evening", dry_run=True)
    assert answer.text == "would do: overlay evening is on until it is switched off"
    assert answer.body == {
        "overlay": "evening", "entry_points": ["acme-sales"], "numbers": 101, "of_numbers": 50, "calls": 12, "of_calls": 80,
        "cps_about": 0.0, "dry_run": True,
    }  # fmt: skip
    trunk = scene.order("switch-on", switch="fraud", dry_run=True)
    assert trunk.body["entry_points"] == ["acme-sales", "acme-support"] and trunk.body["calls"] == 0, "none of that trunk is up"
    assert (scene.world.seq, len(scene.records), scene.world.overlays) == (seq, records, {})


@pytest.mark.parametrize(
    ("op", "args", "code"),
    [
        ("overlay-on", {"overlay": "emergenci"}, "unknown-overlay"), ("overlay-on", {}, "missing-argument"),
        ("overlay-on", {"overlay": "fire", "until": 1.0}, "bad-time"),
        ("overlay-on", {"overlay": "fire", "until": True}, "bad-time"),
        ("overlay-on", {"overlay": "fire", "until": "2099-01-01T00:00:00"}, "bad-time"),
        ("overlay-on", {"overlay": "fire", "until": float("inf")}, "bad-time"),
        ("overlay-on", {"overlay": "fire", "until": "9999-12-31T23:59:59-12:00"}, "bad-time"),
        ("switch-on", {"switch": "fraud", "until": UNIX_S + 11 * 366 * 86_400}, "bad-time"),
        ("switch-off", {"switch": "emergency"}, "unknown-switch"),
        ("switch-on", {"switch": "fraud", "until": "soon"}, "bad-time"),
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_invalid_and_says_why(op: str, args: dict[str, Any], code: str) -> None:
    answer = a_scene().order(op, **args)
    assert (answer.status, answer.code) == ("invalid", code)


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    assert a_scene().order("overlay-on", overlay="emergenci").hint == "did you mean emergency?"


# -- plans come and go -----------------------------------------------------------------------------------------------------------


def test_a_plan_that_loses_what_is_on_may_not_take_the_place_of_one_that_has_it() -> None:
    scene = a_scene()
    old, without = a_plan(), a_plan(2, overlays=OVERLAYS[1:], switches=SWITCHES[1:])
    assert wishes_lost(old, without, scene.world) is None, "nothing is on"
    scene.order("overlay-on", overlay="emergency")
    lost = wishes_lost(old, without, scene.world)
    assert lost is not None and (lost.status, lost.code) == ("refused", "active-overlay")
    assert lost.text == "overlay emergency is on, and the plan has none of that name"
    assert lost.hint == "sipctl overlay off emergency, or keep it in the plan"
    assert wishes_lost(old, without, scene.world, ("active-overlay",)) is None
    scene.order("switch-on", switch="fraud")
    lost = wishes_lost(old, without, scene.world, ("active-overlay",))
    assert lost is not None and lost.code == "active-switch"
    assert wishes_lost(old, a_plan(2), scene.world) is None


def test_a_plan_under_which_two_that_are_on_would_collide_is_refused() -> None:
    scene = a_scene()
    scene.order("overlay-on", overlay="emergency")
    scene.order("overlay-on", overlay="fire")
    changed = a_plan(2, overlays=(*OVERLAYS[:2], Overlay("fire", ((1, SORRY),))))
    lost = wishes_lost(a_plan(), changed, scene.world)
    assert lost is not None and lost.code == "overlay-collides" and "acme-support" in lost.text
    assert wishes_lost(a_plan(), changed, scene.world, ("overlay-collides",)) is None


def test_what_is_on_outlives_new_plans_and_is_an_alarm_while_the_plan_lacks_it() -> None:
    scene = a_scene()
    scene.order("overlay-on", overlay="emergency", reason="CHG7")
    scene.live(a_plan(2))
    assert scene.published[-1].overlays == (("emergency", 0.0),)
    scene.live(a_plan(3, overlays=()))
    assert "but revision 3 has none of that name" in scene.world.alarms["overlay-on:emergency"].text
    assert shown(scene, "overlays", "emergency")["what"] == "nothing: the live plan has none of that name"
    scene.live(a_plan(4))
    assert "revision" not in scene.world.alarms["overlay-on:emergency"].text
    scene.live(a_plan(5, overlays=()))
    assert scene.order("overlay-off", overlay="emergency").status == "done"
    assert "emergency" not in status(scene.world, scene.now_s)["overlays"]


def test_a_new_plan_writes_the_wishes_as_they_are_when_it_is_live() -> None:
    """An apply wrote those of the moment it began; an overlay switched on meanwhile must not be lost with the next death."""
    scene = a_scene()
    scene.order("overlay-on", overlay="emergency")
    before = len(scene.effects)
    scene.live(a_plan(2))
    (wishes,) = (effect.wishes for effect in scene.effects[before:] if isinstance(effect, Persist))
    assert set(wishes.overlays) == {"emergency"}


def test_every_change_is_one_line_of_the_story() -> None:
    scene = a_scene()
    scene.order("overlay-on", overlay="evening", until=unix_s(scene) + 2.0)
    scene.order("switch-on", switch="fraud")
    scene.run(3.0)
    scene.order("switch-off", switch="fraud")
    told: list[Notice] = [notice for notice in scene.notices if notice.kind in ("overlay", "switch")]
    assert [(one.kind, one.fields["name"], one.fields["state"]) for one in told] == [
        ("overlay", "evening", "on"), ("switch", "fraud", "on"), ("overlay", "evening", "off"), ("switch", "fraud", "off"),
    ]  # fmt: skip
