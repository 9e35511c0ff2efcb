"""Worlds in which calls speak against an SBC that answers OPTIONS: the real observer, judgement, publication and call path."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from sipctl.routing.snapshot import Operating
from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from sipctl.testing.sbc import ANSWER, Behaviour, refuse
from sipctl.testing.wire import Message
from tests.sim.scenario import assert_well, invites_at, operating
from tests.support.network import Weather
from tests.support.world import World
from tests.support.world_control import Control
from tests.support.world_desk import ModelDesk
from tests.support.world_plan import GROUP, Plan

BRIEF = Script(then=((20.0, "BYE"),))
EVERY_S = 0.25


def a_world(seed: int = 0, *, weather: Weather | None = None) -> tuple[World, Control, ModelDesk]:
    world = World(seed, Plan(), weather, controlled=True)
    world.run(4.0)
    assert world.control is not None
    return world, world.control, ModelDesk(world)


def half_failing() -> Callable[[Message], Behaviour]:
    """Every second INVITE is refused with 503; OPTIONS are answered as ever."""
    turn = count()
    return lambda _: refuse(503) if next(turn) % 2 else ANSWER


def calls(world: World, number: int, every_s: float = EVERY_S, script: Script = BRIEF) -> list[CallNote]:
    notes = []
    for at in range(number):
        caller = Script(then=script.then, calling=f"+49151{at:07d}")
        notes.append(world.call(script=caller))
        world.run(every_s)
    return notes


def doubtful(control: Control) -> tuple[str, ...]:
    assert control.held is not None
    return control.held.doubtful


def bcp_percent(control: Control) -> int:
    assert control.held is not None
    return control.held.decisions[GROUP].bcp_percent


def test_an_sbc_that_answers_options_and_fails_half_its_calls_comes_last_and_no_call_is_lost() -> None:
    world, control, _ = a_world()
    world.sbcs["fra-a"].behave = half_failing()
    notes: list[CallNote] = []
    while not doubtful(control) and len(notes) < 160:
        notes += calls(world, 8)
    assert doubtful(control) == ("fra-a",), f"not found in {len(notes)} calls"
    assert operating(world, "fra-a") is Operating.IN_SERVICE and bcp_percent(control) == 0
    before = invites_at(world, "fra-a")
    spared = calls(world, 40)
    assert invites_at(world, "fra-a") == before, "the others take them"
    world.run(30.0)
    for note in notes + spared:
        assert_well(world, note)
    assert all(world.sbc_of(note) == "fra-b" for note in spared)
    world.finish()


def test_a_doubtful_sbc_still_takes_calls_when_its_siblings_fail_and_no_group_moves_for_the_doubt() -> None:
    world, control, _ = a_world()
    world.sbcs["fra-a"].behave = half_failing()
    calls(world, 160)
    assert doubtful(control) == ("fra-a",)
    world.sbcs["fra-a"].behave = ANSWER
    world.sbcs["fra-b"].deaf_to_options = world.sbcs["fra-b"].deaf_to_invites = True
    world.run(10.0)
    note = world.call(script=BRIEF)
    world.run(30.0)
    assert_well(world, note, "fra-a")
    assert bcp_percent(control) == 0
    world.finish()


def test_a_doubt_ends_and_the_sbc_that_is_well_again_has_its_place() -> None:
    world, control, _ = a_world()
    world.sbcs["fra-a"].behave = half_failing()
    calls(world, 160)
    assert doubtful(control) == ("fra-a",)
    world.sbcs["fra-a"].behave = ANSWER
    world.run(310.0)
    assert doubtful(control) == ()
    for note in calls(world, 20):
        world.run(0.0)
        assert world.sbc_of(note) in ("fra-a", "")
    world.run(30.0)
    world.finish()


@pytest.mark.parametrize("how", ["dead", "hung"])
def test_without_a_desk_nothing_is_judged_and_calls_go_on(how: str) -> None:
    world, control, desk = a_world()
    world.sbcs["fra-a"].behave = half_failing()
    notes = calls(world, 8)
    desk.dies() if how == "dead" else desk.hangs(10_000.0)
    notes += calls(world, 200)
    assert doubtful(control) == () and control.knows is not None
    assert "has told nothing" in control.knows.watch.blind
    world.run(30.0)
    for note in notes:
        assert_well(world, note)
    world.finish()


def test_a_desk_that_stood_still_judges_by_what_comes_after() -> None:
    world, control, desk = a_world()
    world.sbcs["fra-a"].behave = half_failing()
    desk.hangs(35.0)
    calls(world, 130)
    world.sbcs["fra-a"].behave = ANSWER
    calls(world, 60)
    assert desk.observer.late > 0 and doubtful(control) == (), "what waited is old"
    world.run(30.0)
    world.finish()


def test_a_new_controller_learns_the_doubt_from_the_desk() -> None:
    world, control, _ = a_world()
    world.sbcs["fra-a"].behave = half_failing()
    calls(world, 160)
    control.die(0.5)
    calls(world, 30)
    assert doubtful(control) == ("fra-a",)
    world.run(30.0)
    world.finish()


def test_one_percent_of_loss_for_minutes_raises_no_doubt_and_moves_nothing() -> None:
    world, control, desk = a_world(weather=Weather(loss=0.01))
    calls(world, 240, 0.5, Script(then=((3.0, "BYE"),)))
    assert desk.reports > 50 and doubtful(control) == () and bcp_percent(control) == 0
    world.run(40.0)
    world.finish()
