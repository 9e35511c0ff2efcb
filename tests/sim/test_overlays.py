"""Overlays and kill switches in worlds with the real controller and the real routers, where seconds and deaths are exact."""

from __future__ import annotations

import pytest

from tests.sim.scenario import LONG, SHORT, TALK, assert_well, invites_at
from tests.support.router_host import UNIX_MINUS_MONO_S
from tests.support.world import World
from tests.support.world_control import Control
from tests.support.world_plan import GROUP, SERVICE, Plan

READY = Plan(ready=True)
TAKEN = ("accepted", "done")


def a_world(plan: Plan = READY, seed: int = 0) -> tuple[World, Control]:
    world = World(seed, plan, controlled=True)
    world.run(4.0)
    assert world.control is not None
    return world, world.control


def unix_s(world: World) -> float:
    return world.now_s + UNIX_MINUS_MONO_S


def on_at_router(world: World) -> set[str]:
    """What the router was told is on, whether over or not."""
    assert world.router.snapshot is not None
    state = world.router.snapshot.state
    return {name for name, _ in (*state.overlays, *state.switches)}


def test_calls_that_begin_go_to_the_announcement_and_calls_that_are_up_stay_where_they_are() -> None:
    world, _ = a_world()
    up = world.call(script=LONG)
    world.run(2.0)
    assert world.order("overlay-on", overlay="emergency") in TAKEN
    world.run(0.1)
    called = [world.call(script=SHORT), world.call(SERVICE, script=SHORT)]
    world.run(6.0)
    for note in called:
        assert_well(world, note, "ann-a")
    assert world.order("overlay-off", overlay="emergency") in TAKEN
    world.run(0.1)
    back = world.call(script=SHORT)
    world.run(60.0)
    assert_well(world, back, "fra-a")
    assert_well(world, up, "fra-a")
    world.finish()


def test_a_kill_switch_refuses_new_calls_with_its_code_and_leaves_those_that_are_up() -> None:
    world, _ = a_world()
    up = world.call(script=TALK)
    world.run(2.0)
    assert world.order("switch-on", switch="sales-off") in TAKEN
    world.run(0.1)
    before = invites_at(world, "fra-a")
    stopped, other = world.call(script=SHORT), world.call(SERVICE, script=SHORT)
    world.run(8.0)
    assert stopped.final == 480 and invites_at(world, "fra-a") == before + 1
    assert_well(world, other, "fra-a")
    assert_well(world, up, "fra-a")
    world.finish()


@pytest.mark.parametrize("down_s", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.01, 1.0])
def test_what_was_switched_on_holds_through_the_death_of_its_controller(after_s: float, down_s: float) -> None:
    """Also of one that died between telling the router and writing it down: the router knows (CALLS 4.6)."""
    world, control = a_world()
    until = unix_s(world) + 30.0
    assert world.order("overlay-on", overlay="emergency", until=until) in TAKEN
    assert world.order("switch-on", switch="sales-off") in TAKEN
    world.run(after_s)
    control.die(down_s)
    world.run(down_s + 2.0)
    assert on_at_router(world) == {"emergency", "sales-off"}
    assert control.knows is not None and control.knows.overlays["emergency"].until_unix_s == until
    assert world.order("switch-off", switch="sales-off") in TAKEN
    world.run(0.1)
    note = world.call(script=SHORT)
    world.run(6.0)
    assert_well(world, note, "ann-a")
    world.run(until - unix_s(world) + 0.2)
    assert on_at_router(world) == set(), "the new controller ends it"
    world.finish()


def test_it_ends_at_its_instant_while_a_controller_lives() -> None:
    world, _ = a_world()
    until = unix_s(world) + 10.0
    world.order("overlay-on", overlay="emergency", until=until)
    world.run(9.99)
    last = world.call(script=SHORT)
    world.run(0.02)
    first = world.call(script=SHORT)
    world.run(6.0)
    assert_well(world, last, "ann-a")
    assert_well(world, first, "fra-a")
    world.finish()


def test_routers_end_it_themselves_at_its_instant_while_no_controller_lives() -> None:
    world, control = a_world()
    until = unix_s(world) + 10.0
    world.order("overlay-on", overlay="emergency", until=until)
    world.run(1.0)
    control.die(60.0)
    world.run(8.99)
    last = world.call(script=SHORT)
    world.run(0.02)
    first = world.call(script=SHORT)
    world.run(6.0)
    assert on_at_router(world) == {"emergency"}, "nobody told the router that it is over"
    assert_well(world, last, "ann-a")
    assert_well(world, first, "fra-a")
    world.run(60.0)
    assert on_at_router(world) == set() and control.knows is not None and control.knows.overlays == {}
    world.finish()


def test_a_router_that_dies_is_followed_by_one_that_knows_what_is_on() -> None:
    world, control = a_world()
    assert world.order("overlay-on", overlay="emergency") in TAKEN
    world.run(0.0005)
    world.kill(0.08)  # the publication was on its way
    world.run(2.0)
    assert on_at_router(world) == {"emergency"} and control.is_followed
    world.kill(0.08)
    control.die(0.08)
    world.run(3.0)
    note = world.call(script=SHORT)
    world.run(6.0)
    assert_well(world, note, "ann-a")
    world.finish()


def test_an_apply_a_failover_and_an_overlay_do_not_get_in_each_others_way() -> None:
    world, control = a_world()
    assert world.order("overlay-on", overlay="emergency") in TAKEN
    assert world.order("failover", group=GROUP, to="bcp") in TAKEN
    assert world.edit(no_progress_s=2.0)
    world.run(1.0)
    control.die(0.3)
    world.run(3.0)
    assert on_at_router(world) == {"emergency"}
    announced = world.call(script=SHORT)
    world.run(6.0)
    assert_well(world, announced, "ann-a")
    assert world.order("overlay-off", overlay="emergency") in TAKEN
    world.run(0.1)
    moved = world.call(script=SHORT)
    world.run(6.0)
    assert_well(world, moved, "ams-a")
    world.finish()
