"""A canary in the simulated world: real reconcile, real routers, deaths at any line; nobody's call is lost by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from sipctl.testing.sbc import refuse
from tests.sim.scenario import LONG, SHORT, assert_well, behave
from tests.support.router_host import Doom
from tests.support.world import World
from tests.support.world_control import Control
from tests.support.world_plan import Plan

HALF = 500


def a_world(plan: Plan | None = None, seed: int = 0) -> tuple[World, Control]:
    world = World(seed, plan or Plan(), controlled=True)
    world.run(4.0)
    assert world.control is not None
    return world, world.control


def a_script(number: int) -> Script:
    """A short call of a caller of its own."""
    return replace(SHORT, calling=f"+4915{number:08d}")


def permille_now(world: World) -> int:
    """The share as the router has it; 0 without a canary."""
    core = world.router.core
    assert core is not None
    return 0 if core.canary is None else core.canary.permille


def revision_now(world: World) -> int:
    core = world.router.core
    assert core is not None and core.snapshot is not None
    return core.snapshot.revision


def test_an_edit_that_changes_nothing_is_promoted_and_every_call_is_well() -> None:
    world, control = a_world()
    up = world.call(script=LONG)
    world.run(0.5)
    assert control.begin_canary(replace(control.plan, revision=2), HALF, for_s=60.0)
    calls: list[CallNote] = []
    for _ in range(240):
        calls.append(world.call(script=a_script(len(calls))))
        world.run(0.25)
    world.run(10.0)
    assert (revision_now(world), permille_now(world)) == (2, 0), world.tail()
    for note in (*calls, up):
        assert_well(world, note)
    world.finish()


def test_an_edit_without_the_sbcs_that_answer_goes_back_by_itself_and_the_rest_of_the_callers_never_notice() -> None:
    """Both SBCs that are left refuse every call; the old plan's first ones are well."""
    world, control = a_world(Plan(advance_across="never", failback="manual"))
    behave(world, fra_b=refuse(503))
    bad = replace(control.plan, revision=2, without=frozenset({"fra-a"}))
    assert control.begin_canary(bad, HALF)
    began_s = world.now_s
    calls: list[CallNote] = []
    while permille_now(world) or world.now_s - began_s < 1.0:
        calls.append(world.call(script=a_script(len(calls))))
        world.run(0.2)
        assert world.now_s - began_s < 60.0, f"it did not go back\n{world.tail()}"
    after = [world.call(script=a_script(number)) for number in range(20)]
    world.run(10.0)
    lost = [note for note in calls if note.answered_s is None]
    assert 20 <= len(lost) <= len(calls) * 2 / 3 and revision_now(world) == 1
    for note in (*(one for one in calls if one.answered_s is not None), *after):
        assert_well(world, note, "fra-a")
    assert control.knows is not None and control.knows.canary_fell is not None
    world.finish()


@pytest.mark.parametrize("seed", range(6))
def test_routers_and_controllers_that_die_during_a_canary_lose_no_call_and_no_canary(seed: int) -> None:
    world, control = a_world(seed=seed)
    assert control.begin_canary(replace(control.plan, revision=2), 300)
    world.run(0.1)
    calls: list[CallNote] = []
    for step in range(60):
        if step % 10 == 3:
            world.router.doom = Doom(outputs=1 + (seed * 7 + step) % 9, down_s=0.08)
        if step % 20 == 11:
            control.die(0.3 + seed / 10)
        calls.append(world.call(script=a_script(len(calls))))
        world.run(0.3)
    world.router.doom = None
    world.run(8.0)
    assert permille_now(world) == 300 and revision_now(world) == 1, world.tail()
    for note in calls:
        assert_well(world, note)
    world.finish()
