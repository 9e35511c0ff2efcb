"""Hundreds of worlds and fleets whose controllers are in trouble; `make sim KIND=troubles SEED=n` (or fleets) repeats one."""

from __future__ import annotations

import pytest

from tests.sim.fleet import ONE_TABLE_S, run_fleet
from tests.sim.troubles import run_troubled

CHUNKS, PER_CHUNK = 10, 12
FLEET_CHUNKS, FLEETS_PER_CHUNK = 6, 25


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_controllers_in_trouble_break_no_invariant_and_everything_is_right_again_in_time(chunk: int) -> None:
    done = [run_troubled(seed) for seed in range(chunk * PER_CHUNK, (chunk + 1) * PER_CHUNK)]
    assert sum(one.answered for one in done) > PER_CHUNK, "most worlds see calls answered"
    assert sum(one.successions for one in done) > PER_CHUNK, "controllers die and have successors"
    assert sum(one.refused for one in done) > 0, "plans come late and are refused"
    assert sum(one.moves for one in done) > 0, "and groups move"


@pytest.mark.parametrize("chunk", range(FLEET_CHUNKS))
def test_routers_that_hear_different_controllers_never_go_back_and_agree_once_faults_have_ended(chunk: int) -> None:
    done = [run_fleet(seed) for seed in range(chunk * FLEETS_PER_CHUNK, (chunk + 1) * FLEETS_PER_CHUNK)]
    assert sum(one.splits for one in done) > 0 and sum(one.refused for one in done) > 0
    assert sum(one.moves for one in done) > 0
    assert max(one.one_table_s for one in done) <= ONE_TABLE_S


def test_two_runs_of_one_troubled_seed_are_the_same_to_the_byte() -> None:
    assert run_troubled(5) == run_troubled(5) and run_fleet(5) == run_fleet(5)
