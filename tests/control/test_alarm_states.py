"""Alarms: told once, acknowledged by somebody, over a restart too; one that flaps stands and is counted."""

from dataclasses import replace

import pytest

from sipctl.control.alarm_states import (
    CARRIED_ACK_S,
    FLAP_QUIET_S,
    FLAP_RAISES,
    FLAP_WINDOW_S,
    MAX_REMEMBERED,
    Told,
    acknowledged,
    read,
    severity_of,
    shown,
    turned,
    written,
)
from sipctl.control.overlays import rfc3339
from sipctl.control.state import wishes_of, world_of
from sipctl.control.world import World
from tests.control.scene import UNIX_S, Scene

SICK = {"sbc-lost:fra-a": "SBC fra-a is out of service"}


class Alarms:
    """A World of which only the alarms are looked at, in virtual time."""

    def __init__(self) -> None:
        self.world = World(term=1)
        self.now_s = 100.0
        self.told: list[Told] = []

    def turn(self, due: dict[str, str], after_s: float = 1.0) -> list[str]:
        self.now_s += after_s
        self.world, told = turned(self.world, due, self.now_s, UNIX_S + self.now_s)
        self.told += told
        return [f"{one.kind} {one.alarm.id}" for one in told]

    def restart(self) -> None:
        self.world = replace(World(term=2), acks=read(written(self.world.acks)))
        self.now_s += 3.0

    def ack(self, name: str = "sbc-lost:fra-a") -> None:
        self.world = acknowledged(self.world, name, "ops-1", "vendor called", UNIX_S + self.now_s)


def test_an_alarm_is_told_when_it_is_raised_and_when_it_is_over_and_not_in_between() -> None:
    alarms = Alarms()
    assert alarms.turn({}) == []
    assert alarms.turn(SICK) == ["alarm sbc-lost:fra-a"]
    before = alarms.world
    assert alarms.turn(SICK) == [] and alarms.world is before, "nothing changed, nothing is made anew"
    assert alarms.turn({"sbc-lost:fra-a": "still out"}) == [] and alarms.world.alarms["sbc-lost:fra-a"].text == "still out"
    assert alarms.turn({}) == ["alarm-cleared sbc-lost:fra-a"]
    assert alarms.told[-1].text == "over: still out" and dict(alarms.world.alarms) == {}


def test_an_acknowledgement_says_who_and_why_and_ends_with_its_alarm() -> None:
    alarms = Alarms()
    alarms.turn(SICK)
    alarms.ack()
    body = shown(alarms.world.alarms["sbc-lost:fra-a"], rfc3339)
    assert (body["state"], body["acked_by"], body["acked_reason"]) == ("acknowledged", "ops-1", "vendor called")
    assert body["severity"] == "warning" and body["acked_at"].endswith("Z")
    alarms.turn({})
    assert dict(alarms.world.acks) == {}
    alarms.turn(SICK)
    again = shown(alarms.world.alarms["sbc-lost:fra-a"], rfc3339)
    assert (again["state"], again["acked_by"], again["raises"]) == ("raised", None, 2)


def test_an_acknowledgement_outlives_the_controller_with_the_instant_its_alarm_began() -> None:
    alarms = Alarms()
    alarms.turn(SICK)
    since = alarms.world.alarms["sbc-lost:fra-a"].since_unix_s
    alarms.ack()
    alarms.restart()
    assert alarms.turn({}) == [] and alarms.turn({}, 60.0) == [], "a controller that begins does not know all at once"
    assert alarms.turn(SICK) == ["alarm sbc-lost:fra-a"]
    alarm = alarms.world.alarms["sbc-lost:fra-a"]
    assert (alarm.acked_by, alarm.acked_reason, alarm.since_unix_s) == ("ops-1", "vendor called", since)
    alarms.turn({})
    assert dict(alarms.world.acks) == {}


def test_an_acknowledgement_whose_alarm_does_not_come_back_is_forgotten() -> None:
    alarms = Alarms()
    alarms.turn(SICK)
    alarms.ack()
    alarms.restart()
    alarms.turn({})
    alarms.turn({}, CARRIED_ACK_S - 1)
    assert "sbc-lost:fra-a" in alarms.world.acks
    alarms.turn({}, 1.0)
    assert dict(alarms.world.acks) == {}
    alarms.turn(SICK)
    assert alarms.world.alarms["sbc-lost:fra-a"].acked_by == ""


def test_acknowledgements_are_among_the_wishes_that_are_written() -> None:
    scene = Scene()
    name = scene.sbcs_of("acme-prod")[0]
    scene.silent.add(name)
    scene.run(10)
    scene.order("alarm-ack", id=f"sbc-lost:{name}", reason="vendor called")
    assert scene.world.alarms[f"sbc-lost:{name}"].acked_reason == "vendor called"
    scene.restart()
    scene.run(10)
    assert scene.world.alarms[f"sbc-lost:{name}"].acked_by == "ops-1"
    assert world_of(wishes_of(scene.world)).acks[f"sbc-lost:{name}"].carried


@pytest.mark.parametrize("plain", [{"a": 1}, {"a": ["x"]}, {"a": ["x", "y", "z", 1]}])
def test_damaged_acknowledgements_are_said_to_be(plain: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read(plain)


def test_an_alarm_that_flaps_is_told_once_more_then_counted_until_its_cause_stays_away() -> None:
    alarms = Alarms()
    for _ in range(FLAP_RAISES - 1):
        assert alarms.turn(SICK, 10.0) == ["alarm sbc-lost:fra-a"]
        assert alarms.turn({}, 10.0) == ["alarm-cleared sbc-lost:fra-a"]
    assert alarms.turn(SICK, 10.0) == ["alarm sbc-lost:fra-a"]
    assert "raised 4 times within 10 minutes" in alarms.told[-1].text
    alarms.ack()
    count = len(alarms.told)
    for _ in range(50):
        assert alarms.turn({}, 20.0) == [] and alarms.turn(SICK, 20.0) == []
    alarm = alarms.world.alarms["sbc-lost:fra-a"]
    assert (alarm.raises, alarm.acked_by, len(alarms.told)) == (FLAP_RAISES + 50, "ops-1", count)
    assert shown(alarm, rfc3339)["state"] == "flapping"
    assert alarms.turn({}) == [] and alarms.turn({}, FLAP_QUIET_S - 1) == []
    assert alarms.turn({}, 1.0) == ["alarm-cleared sbc-lost:fra-a"]
    assert f"after it was raised {FLAP_RAISES + 50} times" in alarms.told[-1].text


def test_alarms_that_come_seldom_do_not_flap() -> None:
    alarms = Alarms()
    for _ in range(3 * FLAP_RAISES):
        assert alarms.turn(SICK, FLAP_WINDOW_S) == ["alarm sbc-lost:fra-a"]
        assert alarms.turn({}) == ["alarm-cleared sbc-lost:fra-a"]


def test_what_is_remembered_of_past_alarms_is_bounded() -> None:
    alarms = Alarms()
    alarms.turn({f"sbc-lost:{number}": "x" for number in range(MAX_REMEMBERED + 5)})
    assert len(alarms.world.raised_lately) == MAX_REMEMBERED
    alarms.turn({})
    alarms.turn({}, FLAP_WINDOW_S)
    alarms.turn(SICK)
    assert set(alarms.world.raised_lately) == set(SICK)


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("no-router", "critical"), ("both-lost:acme", "critical"), ("write:term", "critical"), ("desk:audit-chain", "critical"),
        ("desk:cdr", "warning"), ("sbc-lost:fra-a", "warning"), ("overlay-on:fire", "info"), ("node-draining", "info"),
        ("something-new:x", "warning"),
    ],
)  # fmt: skip
def test_each_alarm_has_a_severity(name: str, severity: str) -> None:
    assert severity_of(name) == severity
