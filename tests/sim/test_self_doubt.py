"""Ten tenants on ten sites, the real controller and the real core: doubt holds decisions, never calls (CALLS 4.3)."""

from __future__ import annotations

from functools import partial

import pytest

from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from tests.sim.scenario import LONG, assert_well
from tests.support.wide_plan import number_of
from tests.support.world import World
from tests.support.world_control import Control
from tests.support.world_plan import Plan

GROUPS = 5
TALK = Script(then=((1.0, "INFO"), (2.0, "BYE")))
SIX = ("p0", "p1", "p2", "b0", "b1", "b2")


def a_wide_world(seed: int = 0, *, shares_sites: bool = False, groups: int = GROUPS) -> tuple[World, Control]:
    """Every tenant measured, one long call up in each group."""
    world = World(seed, Plan(wide=groups, wide_shares_sites=shares_sites), controlled=True)
    world.run(8.0)
    assert world.control is not None
    return world, world.control


def silence(world: World, *tenants: str, mute: bool = True) -> None:
    for tenant in tenants:
        for letter in "ab":
            world.sbcs[f"{tenant}-{letter}"].mute = mute


def calls_come(world: World, seconds: float, every_s: float = 1.0) -> dict[int, list[CallNote]]:
    """Calls for every group in turn from now on, as they will have been placed."""
    placed: dict[int, list[CallNote]] = {group: [] for group in range(GROUPS)}

    def place(group: int) -> None:
        placed[group].append(world.call(number_of(group), TALK))

    for step in range(int(seconds / every_s)):
        for group in range(GROUPS):
            world.at(step * every_s + group * 0.05, partial(place, group))
    return placed


def state_of(control: Control, group: int) -> tuple[str, bool]:
    assert control.knows is not None
    memory = control.knows.groups.get(f"g{group}")  # of a group nothing has happened to there is none
    return ("normal", False) if memory is None else (memory.state, memory.frozen is not None)


def alarms(control: Control) -> set[str]:
    assert control.knows is not None
    return set(control.knows.alarms)


@pytest.mark.parametrize("seed", range(3))
def test_six_of_ten_tenants_fail_with_bcps_among_them_decisions_are_frozen_and_calls_go_on(seed: int) -> None:
    world, control = a_wide_world(seed)
    up = [world.call(number_of(group), LONG) for group in range(GROUPS)]
    world.run(2.0)
    silence(world, *SIX)
    placed = calls_come(world, 30.0)
    world.run(14.0)
    for group in (0, 1, 2):
        assert state_of(control, group) == ("hold-off", True)
        assert f"frozen:g{group}" in alarms(control)
    assert [state_of(control, group) for group in (3, 4)] == [("normal", False)] * 2
    world.run(30.0)
    for group in (3, 4):
        for note in placed[group]:
            assert_well(world, note, f"p{group}-a")
    for group in (0, 1, 2):
        assert len(placed[group]) == 30
        assert {note.final for note in placed[group]} == {503}, "each hears in time that nobody is there"
        assert max(note.final_s - note.started_s for note in placed[group]) < 6.0
    assert all(note.is_up for note in up), "what was up is untouched"
    silence(world, *SIX, mute=False)
    world.run(90.0)
    for group, note in enumerate(up):
        assert_well(world, note, f"p{group}-a")
    world.finish()


@pytest.mark.parametrize("seed", range(3))
def test_calls_cross_to_a_bcp_that_is_back_while_its_group_is_still_frozen(seed: int) -> None:
    world, control = a_wide_world(seed)
    silence(world, *SIX)
    world.run(14.0)
    assert state_of(control, 0) == ("hold-off", True)
    silence(world, "b0", mute=False)
    crossed = [world.call(number_of(0), TALK) for _ in range(3)]
    world.run(0.5)
    assert state_of(control, 0) == ("hold-off", True), "its probes have not yet brought it back"
    world.run(20.0)
    for note in crossed:
        assert_well(world, note)
        assert world.sbc_of(note).startswith("b0-")
    assert state_of(control, 0) == ("on-bcp", False), "it answers every probe now: the move need not wait any more"
    assert state_of(control, 1)[0] == "hold-off"
    world.finish()


def test_an_operator_moves_a_frozen_group_and_a_freeze_ends_by_itself() -> None:
    world, control = a_wide_world()
    silence(world, *SIX)
    world.run(14.0)
    assert world.order("failover", group="g0", to="bcp", force=("target-out-of-service",)) in ("accepted", "done")
    assert state_of(control, 0)[0] == "on-bcp"
    world.run(75.0)
    assert not [name for name in alarms(control) if name.startswith("frozen:")], "60 s at most"
    world.finish()


def test_the_world_is_as_it_was_if_it_comes_back_while_we_doubted_ourselves() -> None:
    world, control = a_wide_world()
    silence(world, *SIX)
    world.run(20.0)
    silence(world, *SIX, mute=False)
    world.run(30.0)
    placed = calls_come(world, 3.0)
    world.run(10.0)
    assert [state_of(control, group) for group in range(GROUPS)] == [("normal", False)] * GROUPS
    for group, notes in placed.items():
        for note in notes:
            assert_well(world, note, f"p{group}-a")
    world.finish()


@pytest.mark.parametrize("seed", range(3))
def test_a_single_group_with_one_pair_and_one_bcp_address_fails_over_and_loses_no_call(seed: int) -> None:
    world = World(seed, Plan(without=frozenset({"ams-b"})), controlled=True)
    world.run(8.0)
    for name in ("fra-a", "fra-b"):
        world.sbcs[name].mute = True
    placed: list[CallNote] = []
    for step in range(40):
        world.at(step * 0.5, lambda: placed.append(world.call(script=TALK)))
    world.run(14.0)
    assert world.control is not None and world.control.knows is not None
    assert world.control.knows.groups["acme"].state == "on-bcp"
    world.run(20.0)
    assert len(placed) == 40
    for note in placed:
        assert_well(world, note, "ams-a")
    world.finish()


def test_all_primaries_of_one_site_fail_and_every_group_moves_while_its_calls_cross() -> None:
    world, control = a_wide_world(shares_sites=True)
    silence(world, *(f"p{group}" for group in range(GROUPS)))
    placed = calls_come(world, 25.0)
    world.run(16.0)
    assert [state_of(control, group) for group in range(GROUPS)] == [("on-bcp", False)] * GROUPS
    world.run(20.0)
    for group, notes in placed.items():
        for note in notes:
            assert_well(world, note, f"b{group}-a")
    world.finish()
