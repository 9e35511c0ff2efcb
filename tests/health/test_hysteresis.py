"""Rise and fall in one integer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.health import hysteresis


@pytest.mark.parametrize(
    ("results", "up"),
    [
        ("P", True), ("F", False), ("PFF", True), ("PFFF", False), ("PFFPFF", True), ("FPPPP", False), ("FPPPPP", True),
        ("FPPPPFPPPP", False), ("PFFPFFF", False),
    ],
)
def test_runs_of_three_failures_and_five_passes_flip_and_shorter_ones_do_not(results: str, up: bool) -> None:
    level = hysteresis.UNKNOWN
    for result in results:
        level = (hysteresis.after_pass if result == "P" else hysteresis.after_failure)(level, 5, 3)
    assert hysteresis.is_up(level, 5) is up


@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.booleans(), min_size=1, max_size=60))
def test_the_integer_equals_a_count_of_results_in_a_row(rise: int, fall: int, results: list[bool]) -> None:
    level, up, run = hysteresis.UNKNOWN, results[0], 0
    for index, passed in enumerate(results):
        level = (hysteresis.after_pass if passed else hysteresis.after_failure)(level, rise, fall)
        if index:
            run = 0 if passed == up else run + 1
            if run == (fall if up else rise):
                up, run = passed, 0
        assert 0 <= level <= hysteresis.top(rise, fall)
        assert hysteresis.is_up(level, rise) is up
        assert hysteresis.is_settled(level, rise, fall) is (run == 0)
