"""Doubts about SBCs, signs and quiet trunks: what the controller does with observations, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from sipctl.control.observed import QUIET_EXPECTED, REPORT_FRESH_S
from sipctl.control.ports import CallReport, Observe, TrunkObservation
from sipctl.control.status import detail, status
from sipctl.control.world import Heard, Record, Reported, Tick
from sipctl.health.observed import Window
from sipctl.routing.snapshot import Admin, ObserveRules
from tests.control.scene import UNIX_S, Scene
from tests.support.plans import a_topology

NOTHING = Window()
GOOD, HALF, DEAD = Window((100, 0, 0, 0, 0, 0)), Window((50, 0, 0, 50, 0, 0), codes=((503, 50),)), Window((0, 0, 0, 100, 0, 0))
FRA_A_HALF = {"fra-a": HALF, "fra-b": GOOD}


def report(scene: Scene, sbcs: Mapping[str, Window], **more: Mapping[str, Window]) -> CallReport:
    """What a desk tells that saw this in the last minute, the last five, and the last hour."""
    kinds = {"sbc": sbcs, "first": sbcs, **more}
    windows = {kind: {name: (one, one, one) for name, one in found.items()} for kind, found in kinds.items()}
    return CallReport(scene.now_s, scene.now_s - 3600.0, windows)


def tell(scene: Scene, seconds: float, sbcs: Mapping[str, Window], **more: Mapping[str, Window]) -> None:
    """A desk tells this every two seconds."""
    until_s = scene.now_s + seconds
    while scene.now_s < until_s - 0.01:
        scene.put(Reported(report(scene, sbcs, **more)))
        pass_time(scene, min(2.0, until_s - scene.now_s))


def pass_time(scene: Scene, seconds: float, step_s: float = 2.0) -> None:
    """A step at a time, in which probes are answered as before."""
    until_s = scene.now_s + seconds
    while scene.now_s < until_s - 0.01:
        scene.now_s = round(min(until_s, scene.now_s + step_s), 6)
        if scene.has_router:
            scene.put(Heard(1, scene.observation()))
        scene.put(Tick())


def doubts(scene: Scene) -> tuple[str, ...]:
    """As the router was told."""
    return scene.published[-1].doubtful


def test_a_gray_sbc_comes_last_with_an_alarm_a_reason_a_line_and_a_record_and_no_group_moves() -> None:
    scene = Scene()
    tell(scene, 4.0, FRA_A_HALF)
    assert doubts(scene) == ("fra-a",)
    told = status(scene.world, scene.now_s)["sbcs"]["fra-a"]
    assert told["operating"] == "in-service", "it stays in the table"
    assert told["doubtful"]["reason"] in scene.world.alarms["doubtful:fra-a"].text
    assert "it answers OPTIONS all the same" in told["doubtful"]["reason"]
    assert told["observed"]["ner"] == 0.5 and told["observed"]["n"] == 100
    record = next(one.record for one in scene.effects if isinstance(one, Record) and one.record.kind == "doubt")
    assert record.rule == "fails" and record.inputs["sbcs"]["fra-a"]["1m"]["failed"] == 50 and record.inputs["samples"] == 100
    assert any(notice.text == record.sentence for notice in scene.notices)
    assert scene.place() == ("normal", 0)


def test_a_doubt_ends_after_its_hold_and_the_next_one_lasts_twice_as_long() -> None:
    scene = Scene()
    tell(scene, 2.0, FRA_A_HALF)
    for hold_s in (300.0, 600.0):
        began_s = scene.now_s
        while doubts(scene):
            tell(scene, 2.0, {"fra-a": NOTHING, "fra-b": GOOD})
        assert hold_s - 6.0 <= scene.now_s - began_s <= hold_s + 6.0
        assert "doubtful:fra-a" not in scene.alarms
        assert any("judged anew" in notice.text for notice in scene.notices)
        tell(scene, 2.0, FRA_A_HALF)
        assert doubts(scene) == ("fra-a",)


def test_an_hour_without_a_doubt_and_the_next_one_is_a_first_one() -> None:
    scene = Scene()
    tell(scene, 2.0, FRA_A_HALF)
    tell(scene, 310.0, {})
    scene.now_s += 3700.0
    tell(scene, 2.0, FRA_A_HALF)
    assert scene.world.watch.doubts["fra-a"].times == 1


def test_the_last_usable_sbc_of_a_pair_is_never_doubtful_but_an_alarm() -> None:
    for prepare in ("drained", "dead", "doubtful"):
        scene = Scene()
        if prepare == "drained":
            scene.order("sbc-admin", sbc="fra-b", state="draining")
        elif prepare == "dead":
            scene.silent.add("fra-b")
            scene.run(8.0)
        else:
            tell(scene, 2.0, {"fra-a": GOOD, "fra-b": HALF})
        tell(scene, 4.0, FRA_A_HALF)
        assert "fra-a" not in doubts(scene), prepare
        assert "it keeps its place, since it is the last usable SBC of pair fra" in scene.world.alarms["doubted:fra-a"].text
        tell(scene, 70.0, {"fra-a": GOOD, "fra-b": GOOD})
        assert "doubted:fra-a" not in scene.alarms, "a sign stands a minute"


@pytest.mark.parametrize(("most", "allowed"), [(0.25, 1), (0.5, 2), (1.0, 3)])
def test_no_more_of_a_pair_are_doubtful_than_the_plan_allows_and_one_never_is(most: float, allowed: int) -> None:
    topology = a_topology()
    pair = replace(topology.pairs[0], sbcs=(0, 1, 2, 3), observe=ObserveRules(most=most))
    sbcs = tuple(replace(sbc, pair=0) for sbc in topology.sbcs)
    scene = Scene(replace(topology, sbcs=sbcs, pairs=(pair, replace(topology.pairs[1], observe=None))))
    names = [sbc.name for sbc in sbcs]
    for turn in range(4):
        tell(scene, 4.0, {name: DEAD if at <= turn and name not in doubts(scene) else GOOD for at, name in enumerate(names)})
    of_pair = [name for name in doubts(scene) if name in names]
    assert len(of_pair) == allowed


def test_a_pair_that_is_not_observed_has_no_doubtful_sbcs() -> None:
    topology = a_topology()
    off = replace(topology, pairs=tuple(replace(pair, observe=None) for pair in topology.pairs))
    scene = Scene(off)
    tell(scene, 4.0, FRA_A_HALF)
    assert doubts(scene) == () and not scene.alarms


def test_an_edit_that_stops_observing_ends_the_doubt() -> None:
    scene = Scene()
    tell(scene, 2.0, FRA_A_HALF)
    topology = scene.topology
    scene.live(replace(topology, revision=2, pairs=tuple(replace(pair, observe=None) for pair in topology.pairs)))
    scene.run(2.0)
    assert doubts(scene) == () and "doubtful:fra-a" not in scene.alarms


def test_a_dead_desk_is_no_samples_never_a_judgement() -> None:
    scene = Scene()
    scene.put(Reported(report(scene, {"fra-a": GOOD, "fra-b": GOOD})))
    pass_time(scene, REPORT_FRESH_S + 2.0)
    told = status(scene.world, scene.now_s)
    assert told["observations"]["judged"] is False and "the desk has told nothing" in told["observations"]["reason"]
    assert told["sbcs"]["fra-a"]["observed"] is None, "nobody can tell"
    assert doubts(scene) == ()


def test_a_desk_that_dies_leaves_a_doubt_to_its_time() -> None:
    scene = Scene()
    tell(scene, 2.0, FRA_A_HALF)
    pass_time(scene, 280.0)
    assert doubts(scene) == ("fra-a",)
    pass_time(scene, 20.0)
    assert doubts(scene) == ()


def drops(scene: Scene, count: int) -> None:
    observe: Observe = msgspec.structs.replace(scene.observation(), counters={"events_dropped": count})
    scene.put(Heard(1, observe))


def test_while_routers_drop_events_nothing_is_judged() -> None:
    scene = Scene()
    scene.has_router = False  # its observations are told by hand
    drops(scene, 3)
    scene.run(1.5)
    drops(scene, 900)
    tell(scene, 30.0, FRA_A_HALF)
    assert doubts(scene) == () and "dropped events" in status(scene.world, scene.now_s)["observations"]["reason"]
    tell(scene, 300.0, FRA_A_HALF)
    assert scene.world.doubtful == ("fra-a",), "five minutes later the windows are whole again"


def test_a_new_controller_judges_by_the_next_report() -> None:
    scene = Scene()
    tell(scene, 2.0, FRA_A_HALF)
    scene.order("pin", group="acme", to="primary")
    scene.restart()
    assert doubts(scene) == ()
    tell(scene, 3.0, FRA_A_HALF)
    assert doubts(scene) == ("fra-a",)


def test_a_tenant_whose_calls_fail_is_an_alarm_and_moves_nothing() -> None:
    scene = Scene()
    hour = Window((2_000, 0, 0, 60, 0, 0))
    windows = {"tenant": {"acme-prod": (HALF, HALF, hour)}}
    for _ in range(4):
        scene.put(Reported(CallReport(scene.now_s, 0.0, windows)))
        pass_time(scene, 2.0)
    assert "calls-fail:acme-prod" in scene.alarms and scene.place() == ("normal", 0)


def test_drained_and_dead_sbcs_are_not_judged() -> None:
    scene = Scene()
    scene.order("sbc-admin", sbc="fra-a", state="draining")
    tell(scene, 4.0, FRA_A_HALF)
    assert doubts(scene) == () and scene.world.sbc_admin["fra-a"] is Admin.DRAINING


# -- trunks --------------------------------------------------------------------------------------------------------------------


def a_carrier(scene: Scene, last_invite_s: float) -> None:
    """The router tells when the trunk called last."""
    seen = {scene.topology.trunks[0].name: TrunkObservation(last_invite_unix_s=UNIX_S + last_invite_s)}
    scene.now_s += 1.0
    scene.put(Heard(1, msgspec.structs.replace(scene.observation(), trunks=seen)))


def quiet_scene(quiet_alarm_s: float | None = 300.0) -> tuple[Scene, str]:
    topology = a_topology()
    trunks = (replace(topology.trunks[0], quiet_alarm_s=quiet_alarm_s), *topology.trunks[1:])
    scene = Scene(replace(topology, trunks=trunks))
    return scene, f"quiet:{trunks[0].name}"


def silence(scene: Scene, seconds: float, calls_in_the_hour: int) -> None:
    trunk = scene.topology.trunks[0].name
    hour = Window((calls_in_the_hour, 0, 0, 0, 0, 0))
    until_s = scene.now_s + seconds
    while scene.now_s < until_s:
        scene.put(Reported(CallReport(scene.now_s, scene.now_s - 7_200.0, {"trunk": {trunk: (NOTHING, NOTHING, hour)}})))
        pass_time(scene, 5.0, 5.0)


def test_a_carrier_that_falls_silent_is_an_alarm_until_it_calls_again() -> None:
    scene, alarm = quiet_scene()
    a_carrier(scene, 1.0)
    silence(scene, 290.0, 600)
    assert alarm not in scene.alarms
    silence(scene, 20.0, 600)
    assert "would be usual" in scene.world.alarms[alarm].text
    silence(scene, 4_000.0, 0)
    assert alarm in scene.alarms, "also when the hour before is forgotten"
    a_carrier(scene, 5_000.0)
    silence(scene, 4.0, 1)
    assert alarm not in scene.alarms


def test_a_carrier_that_calls_seldom_is_not_quiet_after_five_minutes() -> None:
    scene, alarm = quiet_scene()
    a_carrier(scene, 1.0)
    silence(scene, 400.0, 20)
    assert alarm not in scene.alarms and QUIET_EXPECTED > 20 / 3200 * 400


@pytest.mark.parametrize("how", ["no key", "drained", "no desk", "never called"])
def test_silence_is_no_alarm_where_nobody_asked_or_nobody_can_tell(how: str) -> None:
    scene, alarm = quiet_scene(None if how == "no key" else 300.0)
    if how != "never called":
        a_carrier(scene, 1.0)
    if how == "drained":
        scene.order("trunk-admin", trunk=scene.topology.trunks[0].name, state="draining")
    if how == "no desk":
        pass_time(scene, 400.0)
    else:
        silence(scene, 400.0, 600)
    assert alarm not in scene.alarms


def test_strangers_beside_a_trunk_are_shown_with_what_to_do() -> None:
    scene = Scene()
    source = scene.topology.trunks[0].sources[0]
    beside = source.rpartition(".")[0] + ".200"
    observe = msgspec.structs.replace(scene.observation(), strangers=((beside, 3, UNIX_S), ("100.64.0.9", 1, UNIX_S)))
    scene.put(Heard(1, observe))
    told = {one["address"]: one["near"] for one in detail(scene.world, scene.now_s)["strangers"]}
    assert f"sipctl trunk allow {scene.topology.trunks[0].name} {beside}/32" in told[beside] and told["100.64.0.9"] is None
