"""Worlds with several routers on one machine; `make sim KIND=routers SEED=n` repeats one."""

from __future__ import annotations

import pytest

from tests.sim.many import run_many_routers

CHUNKS, PER_CHUNK = 4, 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_seed_breaks_an_invariant_with_several_routers(chunk: int) -> None:
    outcomes = [run_many_routers(seed) for seed in range(chunk * PER_CHUNK, (chunk + 1) * PER_CHUNK)]
    assert sum(outcome.answered for outcome in outcomes) > PER_CHUNK, "most worlds see calls answered"
    assert sum(outcome.deaths for outcome in outcomes) > PER_CHUNK, "and routers die"
    assert sum(outcome.handed for outcome in outcomes) > 10 * PER_CHUNK, "much is read by another router than its owner"


def test_two_runs_of_one_seed_are_the_same_to_the_byte() -> None:
    assert run_many_routers(7) == run_many_routers(7)
