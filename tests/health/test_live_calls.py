"""Failed calls take an SBC down 5 failures or 1.3 s after the first, whichever is later, and one bad moment never does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.health.judge import Judge
from sipctl.health.live_calls import FALL, MOMENTS, SETTLE_S, WINDOW_S
from sipctl.model.outcomes import CallOutcome
from tests.health.test_judge import IN, OUT, STEP_S, Bench

PROMISED_S = 1.3


def well(count: int = 1) -> Bench:
    bench = Bench(count)
    bench.run(3.0)
    return bench


def fail(bench: Bench, *after_s: float, outcome: CallOutcome = CallOutcome.NO_REPLY) -> None:
    """Calls of different callers fail at these instants, counted from now."""
    began_s = bench.now_s
    for number, at_s in enumerate(after_s):
        bench.run(began_s + at_s - bench.now_s)
        bench.now_s = began_s + at_s
        bench.call(outcome, caller=number)


@pytest.mark.parametrize("every_s", [0.005, 0.02, 0.1, 0.15, 0.2, 0.23])
def test_five_failures_within_the_first_second_take_it_down_without_any_later_call(every_s: float) -> None:
    """What an SBC that has become suspect looks like: those that were under way fail, then hardly anybody asks it."""
    bench = well()
    began_s = bench.now_s
    fail(bench, *(number * every_s for number in range(int(0.95 / every_s) + 1)))
    assert bench.judge.operating(1) == IN
    bench.until(OUT)
    assert SETTLE_S - STEP_S <= bench.now_s - began_s <= PROMISED_S


@pytest.mark.parametrize("every_s", [0.26, 0.5, 1.0, 7.0])
def test_five_failures_that_take_longer_take_it_down_with_the_fifth(every_s: float) -> None:
    bench = well()
    fail(bench, *(number * every_s for number in range(4)))
    bench.run(every_s)
    assert bench.judge.operating(1) == IN
    bench.call(CallOutcome.NO_REPLY, caller=4)
    assert bench.judge.operating(1) == OUT


@pytest.mark.parametrize("count", [5, 50, 500])
def test_any_number_of_failures_in_one_moment_is_one_bad_moment(count: int) -> None:
    bench = well()
    fail(bench, *([0.0] * count))
    bench.run(120.0)
    assert bench.judge.operating(1) == IN


def test_two_bad_moments_are_not_enough_and_the_third_is() -> None:
    bench = well()
    fail(bench, *([0.0] * 5), *([0.4] * 5))
    bench.run(20.0)
    assert bench.judge.operating(1) == IN
    bench.call(CallOutcome.FAILED, caller=99)
    assert bench.judge.operating(1) == OUT


def test_a_bad_moment_is_forgotten_with_the_next_call_that_passes() -> None:
    bench = well()
    for _ in range(40):
        fail(bench, *([0.0] * 5), *([0.3] * 5), *([0.6] * 5))
        bench.run(0.2)
        bench.call(CallOutcome.PASSED)
        bench.run(3.0)
        assert bench.judge.operating(1) == IN


def test_one_caller_alone_waits_for_a_second_one_and_does_not_keep_the_loop_busy() -> None:
    bench = well(2)
    for _ in range(10):
        bench.judge.on_call(2, CallOutcome.ANSWERED, 42, bench.now_s)
        bench.call(CallOutcome.FAILED, caller=7)
        bench.run(0.1)
    bench.run(2.0)
    assert bench.judge.operating(1) == IN
    assert bench.judge.next_due_s is not None and bench.judge.next_due_s > bench.now_s - STEP_S
    bench.call(CallOutcome.FAILED, caller=8)
    assert bench.judge.operating(1) == OUT


def test_a_gap_of_our_own_loop_gives_its_backlog_the_time_to_clear_the_run() -> None:
    bench = well()
    fail(bench, 0.0, 0.1, 0.3, 0.6, 0.9)
    bench.now_s += 2.0
    bench.judge.on_gap(2.0, bench.now_s)
    bench.turn()
    assert bench.judge.operating(1) == IN, "an answer may be waiting in the socket"
    bench.call(CallOutcome.ANSWERED)
    bench.run(5.0)
    assert bench.judge.operating(1) == IN
    fail(bench, 0.0, 0.1, 0.3, 0.6, 0.9)
    bench.now_s += 2.0
    bench.judge.on_gap(2.0, bench.now_s)
    bench.until(OUT, limit_s=WINDOW_S + 2 * STEP_S)


def test_a_successor_goes_on_with_the_run_and_counts_its_steps_from_its_own_beginning() -> None:
    bench = well()
    fail(bench, 0.0, 0.1, 0.3, 0.6, 0.9)
    packed = bench.judge.pack(1)
    bench.judge = Judge(9)
    bench.judge.swap(bench.specs, bench.now_s)
    assert bench.judge.restore(1, packed, bench.now_s)
    assert bench.judge.operating(1) == IN
    took_s = bench.until(OUT)
    assert SETTLE_S - STEP_S <= took_s <= PROMISED_S


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 1.5), min_size=1, max_size=12))
def test_it_goes_down_neither_before_its_steps_are_made_nor_later_than_promised(gaps: list[float]) -> None:
    bench = well()
    instants = [bench.now_s]
    for gap in gaps:
        instants.append(instants[-1] + gap)
    down_s = None
    for number, at_s in enumerate(instants):
        while down_s is None and (bench.judge.next_due_s or at_s) < at_s:
            bench.now_s = bench.judge.next_due_s or at_s
            bench.turn()
            down_s = bench.now_s if bench.judge.operating(1) == OUT else None
        bench.now_s = at_s
        if down_s is None:
            bench.call(CallOutcome.FAILED, caller=number)
            down_s = at_s if bench.judge.operating(1) == OUT else None
    last_s, settled_s = instants[-1], instants[0] + SETTLE_S
    while down_s is None and bench.now_s < max(last_s, settled_s) + 1.0:
        bench.now_s = max(bench.now_s, bench.judge.next_due_s or 0.0)
        bench.turn()
        down_s = bench.now_s if bench.judge.operating(1) == OUT else None
    moments: list[float] = []
    for at_s in instants:
        if not moments or at_s - moments[-1] >= WINDOW_S:
            moments.append(at_s)
    if len(instants) < FALL or len(moments) < MOMENTS:
        assert down_s is None
        return
    enough_s = max(instants[FALL - 1], moments[MOMENTS - 1])
    assert down_s is not None and max(enough_s, settled_s) - 1e-6 <= down_s <= max(enough_s, instants[0] + PROMISED_S)
