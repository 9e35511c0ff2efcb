"""Worlds in which the real controller decides, by what routers measure and by operators' orders; it dies like anybody else."""

from __future__ import annotations

import pytest

from sipctl.routing.snapshot import Admin
from tests.sim.scenario import LONG, SHORT, TALK, assert_well
from tests.support.world import World
from tests.support.world_control import Control
from tests.support.world_plan import GROUP, SECOND, Plan

QUICK = Plan(hold_off_s=1.0, failback="automatic", hold_down_s=4.0, ramp_step_s=2.0)
FRANKFURT = ("fra-a", "fra-b")


def a_world(plan: Plan = QUICK, seed: int = 0) -> tuple[World, Control]:
    """A world whose controller has seen its SBCs answer."""
    world = World(seed, plan, controlled=True)
    world.run(4.0)
    assert world.control is not None
    return world, world.control


def silence(world: World, *names: str, mute: bool = True) -> None:
    for name in names:
        world.sbcs[name].mute = mute


def share_at_bcp(world: World) -> int:
    """What the router was told of the group."""
    assert world.router.snapshot is not None
    return world.router.snapshot.decision[0].bcp_percent


def place(control: Control) -> str:
    assert control.knows is not None
    return control.knows.groups[GROUP].state


def test_a_silent_primary_is_left_and_comes_back_by_hold_down_and_ramp() -> None:
    world, control = a_world()
    silence(world, *FRANKFURT)
    world.run(9.0)
    assert (place(control), share_at_bcp(world)) == ("on-bcp", 100)
    moved = world.call(script=SHORT)
    world.run(5.0)
    assert_well(world, moved, "ams-a")
    silence(world, *FRANKFURT, mute=False)
    world.run(30.0)
    assert (place(control), share_at_bcp(world)) == ("normal", 0)
    back = world.call(script=SHORT)
    world.run(5.0)
    assert_well(world, back, "fra-a")
    assert control.decisions >= 5, "every step of it is a record that replays"
    world.finish()


def test_established_calls_do_not_notice_a_failover_and_a_failback() -> None:
    world, _ = a_world()
    note = world.call(script=LONG)
    world.run(2.0)
    for name in FRANKFURT:
        world.sbcs[name].deaf_to_options = world.sbcs[name].deaf_to_invites = True
    for _ in range(6):
        world.call(script=SHORT)
        world.run(1.0)
    world.run(4.0)
    assert share_at_bcp(world) == 100
    world.run(60.0)
    assert_well(world, note, "fra-a")
    world.finish()


@pytest.mark.parametrize("down_s", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.03, 1.0])
def test_an_operators_failover_holds_through_the_death_of_its_controller(after_s: float, down_s: float) -> None:
    """Also of one that died between telling the router and writing it down: the router knows (CALLS 4.6)."""
    world, control = a_world()
    assert world.order("failover", group=GROUP, to="bcp") in ("accepted", "done")
    world.run(after_s)
    control.die(down_s)
    world.run(0.01)  # what it had sent arrives
    told = share_at_bcp(world)
    assert told == 100
    world.run(down_s + 2.0)
    assert share_at_bcp(world) == told, "what the router held is adopted"
    assert control.held is not None and control.held.term == 2
    note = world.call(script=SHORT)
    world.run(6.0)
    assert_well(world, note, "ams-a")
    world.finish()


def test_every_controller_takes_a_term_above_all_before_it() -> None:
    world, control = a_world()
    terms = []
    for _ in range(4):
        control.die(0.2)
        world.run(1.0)
        assert control.held is not None
        terms.append(control.held.term)
    assert terms == [2, 3, 4, 5]
    world.finish()


def test_a_controller_that_begins_while_its_router_stands_still_is_followed_afterwards() -> None:
    world, control = a_world()
    world.order("pin", group=GROUP, to="bcp")
    world.run(1.0)
    world.stand_still(3.0)
    control.die(0.1)
    world.run(6.0)
    assert share_at_bcp(world) == 100 and control.is_followed
    world.finish()


def test_calls_go_on_without_any_controller_and_cross_by_themselves() -> None:
    world, control = a_world()
    control.die(60.0)
    silence(world, *FRANKFURT)
    notes = []
    for _ in range(20):
        notes.append(world.call(script=SHORT))
        world.run(0.5)
    world.run(10.0)
    for note in notes:
        assert_well(world, note, "ams-a")
    assert share_at_bcp(world) == 0, "nobody decided"
    world.run(60.0)
    assert share_at_bcp(world) == 100, "the next controller does"
    world.finish()


def test_a_router_that_dies_is_told_the_newest_state_and_the_last_word_of_a_dead_controller_counts() -> None:
    world, control = a_world()
    world.order("failover", group=GROUP, to="bcp")
    world.run(0.0005)
    world.kill(0.3)  # the publication was on its way
    world.run(2.0)
    assert share_at_bcp(world) == 100 and control.is_followed
    world.kill(0.08)
    control.die(0.08)
    world.run(3.0)
    assert share_at_bcp(world) == 100 and control.is_followed
    world.finish()


def test_draining_the_last_usable_sbc_is_refused_and_moves_the_group_first_if_asked() -> None:
    world, _ = a_world()
    assert world.order("sbc-admin", sbc="fra-a", state="draining") in ("accepted", "going", "done")
    assert world.order("sbc-admin", sbc="fra-b", state="draining") == "refused"
    assert world.order("sbc-admin", sbc="fra-b", state="draining", move=True) in ("accepted", "going", "done")
    world.run(1.0)
    assert share_at_bcp(world) == 100
    note = world.call(script=SHORT)
    world.run(6.0)
    assert_well(world, note, "ams-a")
    world.finish()


def test_a_drained_node_refuses_new_calls_and_carries_the_old_ones_on() -> None:
    world, _ = a_world()
    up = world.call(script=TALK)
    world.run(1.5)
    assert world.order("node-admin", state=Admin.DRAINING.name.lower()) in ("accepted", "going", "done")
    world.run(0.5)
    refused = world.call(script=SHORT)
    world.run(8.0)
    assert refused.final == 503
    assert_well(world, up, "fra-a")
    world.finish()


def test_an_edit_that_removes_sbcs_and_a_trunk_retires_them_by_the_controllers_own_rules() -> None:
    world, _ = a_world(Plan(more_groups=True, symmetric=True))
    notes = [world.call(SECOND if index % 2 else "+4930901820", LONG, caller=caller)
             for index, caller in enumerate(("carrier-one", "carrier-two", "carrier-two", "carrier-one"))]  # fmt: skip
    world.run(3.0)
    assert world.edit(without=frozenset({"fra-a", "carrier-two"}))
    world.run(70.0)
    assert [world.sbc_of(note) for note in notes] == ["fra-a", "fra-a-second", "fra-a", "fra-a-second"]
    for note in notes:
        assert_well(world, note)
    world.finish()
