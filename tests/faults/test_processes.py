"""F1 to F8, F11, F12: processes that die, stand still or hear nothing, in the simulated world; docs/faults.md has the table."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from sipctl.control.world import Record
from sipctl.routing.snapshot import Operating, Probe
from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from sipctl.testing.sbc import RING_FOR_EVER, Behaviour
from tests.sim.scenario import QUIET, SHORT, a_world, assert_well, behave, operating
from tests.support.router_host import Doom
from tests.support.world import World
from tests.support.world_control import Control
from tests.support.world_plan import GROUP, Plan

BRIEF = Script(then=((2.0, "BYE"),))
PRIMARY = ("fra-a", "fra-b")
HOLD_OFF_1_S = Plan(hold_off_s=1.0)
SELDOM = Plan(probe=Probe(interval_s=10.0))


def a_controlled_world(plan: Plan | None = None, seed: int = 0, settle_s: float = 4.0) -> tuple[World, Control]:
    world = World(seed, plan, controlled=True)
    world.run(settle_s)
    assert world.control is not None
    return world, world.control


def silence(world: World, *names: str, mute: bool = True) -> None:
    for name in names:
        world.sbcs[name].mute = mute


def steady_calls(world: World, seconds: float, every_s: float, script: Script = BRIEF) -> list[CallNote]:
    """Calls at a steady pace from now on, as they will have been placed."""
    placed: list[CallNote] = []

    def place(number: int) -> None:
        placed.append(world.call(script=Script(then=script.then, calling=f"+49151{number % 89:08}")))

    for number in range(int(seconds / every_s)):
        world.at(number * every_s, partial(place, number))
    return placed


def share(world: World) -> int:
    assert world.router.snapshot is not None
    return world.router.snapshot.decision[0].bcp_percent


# -- F1, F2: routers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_f01_twenty_deaths_of_the_router_at_any_instant_lose_no_call(seed: int) -> None:
    world, dice = a_world(QUIET, seed=seed), Random(f"f1 {seed}")
    held = [world.call(script=Script(then=((90.0, "BYE"),))) for _ in range(100)]
    world.run(2.0)
    new = steady_calls(world, 40.0, 0.25)
    for _ in range(20):
        world.at(dice.uniform(0.5, 40.0), partial(world.kill, 0.08))
    world.run(130.0)
    assert world.router.deaths >= 15, "of twenty, a few may meet one that is dead already"
    for note in (*held, *new):
        assert_well(world, note, "fra-a")
    assert len(new) == 160
    world.finish()


@pytest.mark.parametrize("frozen_s", [0.9, 5.0])
def test_f02_a_frozen_router_is_replaced_and_its_successor_takes_what_waited(frozen_s: float) -> None:
    """Killed after 1 s in process state T, or after 5 s without a heartbeat; never revived (CALLS, DESIGN 4.5)."""
    world = a_world(QUIET)
    held = [world.call(script=Script(then=((60.0, "BYE"),))) for _ in range(100)]
    world.run(2.0)
    new = steady_calls(world, 10.0, 0.25)
    world.run(1.0)
    world.router.pause()
    world.run(frozen_s)
    world.kill(0.05)
    world.run(90.0)
    for note in (*held, *new):
        assert_well(world, note)
    world.finish()


def test_f02_a_controller_that_stood_still_goes_on_without_going_back() -> None:
    world, control = a_controlled_world(HOLD_OFF_1_S)
    control.stand_still(4.5)
    silence(world, *PRIMARY)
    notes = steady_calls(world, 12.0, 0.5)
    world.run(4.0)
    assert share(world) == 0, "nobody decides"
    world.run(16.0)
    assert share(world) == 100
    for note in notes:
        assert_well(world, note, "ams-a")
    world.finish()


def test_f01_a_successor_probes_by_transactions_of_its_own() -> None:
    """An SBC takes what repeats a branch for a packet of before, and answers nothing any more."""
    world = a_world()
    marks: list[bytes] = []

    def tap(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bool:
        if data.startswith(b"OPTIONS "):
            marks.append(data.partition(b"branch=")[2].partition(b"\r\n")[0].partition(b";")[0])
        return False

    world.network.drop = tap
    for _ in range(3):
        world.run(60.0)
        world.kill(0.08)
    world.run(60.0)
    assert len(marks) > 300 and len(set(marks)) == len(marks)
    assert operating(world, "fra-a") == Operating.IN_SERVICE
    world.finish()


# -- F3, F4: between two messages of one call ----------------------------------------------------------------------------------


@pytest.mark.parametrize("down_s", [0.08, 1.0, 5.0])
def test_f03_a_router_that_dies_with_a_200_received_and_not_relayed_leaves_the_call_up(down_s: float) -> None:
    world = a_world(QUIET)
    note = world.call(script=SHORT)
    world.doom(Doom(outputs=0, only=lambda data: data.startswith(b"SIP/2.0 200") and b" INVITE\r\n" in data, down_s=down_s))
    world.run(30.0)
    assert world.router.deaths == 1, "it died over the 200"
    assert_well(world, note, "fra-a")
    assert note.answered_s is not None and note.answered_s - note.started_s <= 0.5 + down_s + 4.1, "by the repeated 200"
    world.finish()


@pytest.mark.parametrize("what", [b"SIP/2.0 200", b"CANCEL ", b"SIP/2.0 487", b"ACK "])
@pytest.mark.parametrize("down_s", [0.08, 2.0])
def test_f04_a_router_that_dies_between_cancel_and_487_leaves_nothing_ringing(what: bytes, down_s: float) -> None:
    world = a_world(QUIET)
    behave(world, fra_a=RING_FOR_EVER)
    note = world.call(script=Script(cancel_after_s=1.0))
    world.run(0.9)
    world.doom(Doom(outputs=0, only=lambda data: data.startswith(what), down_s=down_s))
    world.run(1.0 + down_s + 5.0)
    assert world.router.deaths == 1
    assert (note.final, note.ended_by) == (487, "cancelled")
    leg = world.sbcs["fra-a"].ledger.calls[note.call_id]
    assert leg.replies == [487] and leg.cancelled_s is not None, "no ghost rings on"
    assert leg.cancelled_s - note.started_s <= 1.0 + down_s + 5.0
    world.finish()


# -- F5, F7, F8: controllers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effects", range(5))
def test_f05_a_controller_that_dies_amid_the_effects_of_its_decision_leaves_one_decision(effects: int) -> None:
    """Before it told the router, or after that and before it wrote; the next one decides the same, or finds it decided."""
    world, control = a_controlled_world(HOLD_OFF_1_S)
    died: list[int] = []

    def doomed(made: tuple[object, ...]) -> int | None:
        moved = any(isinstance(one, Record) and one.record.rule == "failover" for one in made)
        if moved and not died:
            died.append(len(made))
            return effects
        return None

    control.dies_after = doomed
    silence(world, *PRIMARY)
    notes = steady_calls(world, 20.0, 0.5)
    world.run(40.0)
    assert died and control.deaths == 1, "it died over the move"
    assert share(world) == 100 and control.is_followed
    assert control.held is not None and control.held.term == 2
    decision = control.held.decisions[GROUP]
    assert decision.bcp_percent == 100 and "out of service" in decision.reason, "one decision wins, with its reason"
    assert [rule for _, _, rule in control.moves] in ([], ["failover"]), "and nobody moved the group a second time"
    for note in notes:
        assert_well(world, note, "ams-a")
    world.finish()


@pytest.mark.parametrize("seed", range(3))
def test_f07_a_dead_controller_has_a_successor_in_time_and_nothing_flaps(seed: int) -> None:
    world, control = a_controlled_world(seed=seed)
    notes = steady_calls(world, 60.0, 0.5)
    for number in range(8):
        world.at(2.0 + 7.0 * number, partial(control.die, 0.5))
    world.run(70.0)
    assert control.deaths == 8 and control.is_followed
    assert control.moves == [] and share(world) == 0
    for note in notes:
        assert_well(world, note, "fra-a")
    world.finish()


def test_f08_an_hour_without_any_controller_changes_nothing_for_calls() -> None:
    """The router restarts twice and the primary is away for five minutes meanwhile: calls cross one by one."""
    world, control = a_controlled_world(SELDOM, settle_s=25.0)
    assert control.held is not None
    before = control.held
    notes = steady_calls(world, 3600.0, 15.0)
    control.die(3650.0)
    for after_s in (900.0, 2400.0):
        world.at(after_s, partial(world.kill, 0.08))
    world.at(1200.0, partial(silence, world, *PRIMARY))
    world.at(1500.0, partial(silence, world, *PRIMARY, mute=False))
    world.run(3620.0)
    assert control.held == before, "what was told last is what is gone by"
    assert len(notes) == 240
    for note in notes:
        assert_well(world, note)
    places = [world.sbc_of(note)[:3] for note in notes]
    assert 18 <= places.count("ams") <= 23, "those of the five minutes, and no others"
    world.run(60.0)
    assert control.held.term == before.term + 1 and control.is_followed, "the next one goes on"
    world.finish()


# -- F11, F12: links -----------------------------------------------------------------------------------------------------------


def test_f11_a_router_cut_from_its_controller_searches_and_judges_by_itself() -> None:
    world, control = a_controlled_world(HOLD_OFF_1_S)
    control.cut()
    world.run(1.0)
    assert control.knows is not None and "no-router" in control.knows.alarms, "decisions that reach nobody are an alarm"
    silence(world, *PRIMARY)
    notes = steady_calls(world, 30.0, 0.5)
    world.run(12.0)
    assert operating(world, "fra-a") == Operating.OUT_OF_SERVICE and share(world) == 0
    world.run(25.0)
    for note in notes:
        assert_well(world, note, "ams-a")
    control.mend()
    world.run(10.0)
    assert share(world) == 100 and control.is_followed
    assert "no-router" not in control.knows.alarms
    world.finish()


@pytest.mark.parametrize("late_s", [0.5, 30.0])
def test_f12_an_old_plan_that_comes_after_a_newer_one_is_refused(late_s: float) -> None:
    world, control = a_controlled_world()
    old = control.sent[-1]
    assert world.order("failover", group=GROUP, to="bcp") in ("accepted", "done")
    world.run(late_s)
    control.die(0.2)
    world.run(3.0)
    held = control.held
    control.comes_late(old)
    world.run(1.0)
    assert control.refused == 1 and control.held == held and share(world) == 100
    note = world.call(script=BRIEF)
    world.run(5.0)
    assert_well(world, note, "ams-a")
    world.finish()


def test_f03_the_answer_may_come_at_any_moment_around_the_death() -> None:
    for final_ms in range(20, 620, 60):
        world = a_world(QUIET)
        behave(world, fra_a=Behaviour(ring_s=0.01, final_s=final_ms / 1000))
        note = world.call(script=SHORT)
        world.run(0.3)
        world.kill(0.3)
        world.run(20.0)
        assert_well(world, note, "fra-a")
        world.finish()
