"""Hundreds of worlds, each a function of its seed; `make sim SEED=n` repeats one, `make sim SEEDS=n` runs that many."""

from __future__ import annotations

import pytest

from tests.sim.seeds import MAX_EVENTS, run_seed

CHUNKS, PER_CHUNK = 15, 20


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_seed_breaks_an_invariant(chunk: int) -> None:
    outcomes = [run_seed(seed) for seed in range(chunk * PER_CHUNK, (chunk + 1) * PER_CHUNK)]
    assert sum(outcome.answered for outcome in outcomes) > PER_CHUNK, "most worlds see calls answered"
    assert sum(outcome.deaths for outcome in outcomes) > 0, "and routers die"
    assert sum(outcome.publications for outcome in outcomes) > 0, "the real controller is followed"
    assert sum(outcome.legs for outcome in outcomes) > 0, "second legs come and go in time"
    assert max(outcome.events for outcome in outcomes) <= MAX_EVENTS


@pytest.mark.parametrize("seed", [3, 4, 17])
def test_two_runs_of_one_seed_are_the_same_to_the_byte(seed: int) -> None:
    assert run_seed(seed) == run_seed(seed)


def test_two_seeds_differ() -> None:
    assert run_seed(1).digest != run_seed(2).digest
