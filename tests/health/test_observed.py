"""Windows over live calls: the same as counting the events themselves, however they come, and within their bounds."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.health.observed import (
    MAX_BUCKETS_PER_SUBJECT,
    MAX_CODES,
    OTHER_CODE,
    PDD_BINS,
    SILENCE,
    EndedBy,
    Observed,
    Result,
    Window,
    added,
    bin_of,
    edge_s,
    result_of_status,
    without,
)

BUCKET_S = {"1m": (10.0, 6), "5m": (30.0, 10), "1h": (300.0, 12)}

EVENTS = st.lists(
    st.tuples(
        st.floats(0.0, 400.0),  # seconds since the event before
        st.sampled_from(list(Result)),
        st.sampled_from([SILENCE, 200, 404, 486, 500, 503]),
        st.one_of(st.none(), st.floats(0.001, 60.0)),
        st.one_of(st.none(), st.sampled_from(list(EndedBy))),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(events=EVENTS, wait_s=st.floats(0.0, 4000.0), start_s=st.floats(0.0, 1e6))
def test_a_window_is_what_counting_its_events_gives(
    events: list[tuple[float, Result, int, float | None, EndedBy | None]], wait_s: float, start_s: float
) -> None:
    observed = Observed()
    now_s = start_s
    told = []
    for after_s, result, code, pdd_s, early in events:
        now_s += after_s
        told.append((now_s, result, code, pdd_s, early))
        observed.add("sbc", "fra-a", result, code, now_s)
        if pdd_s is not None:
            observed.add_pdd("sbc", "fra-a", pdd_s, now_s)
        if early is not None:
            observed.add_early("sbc", "fra-a", early, now_s)
    now_s += wait_s
    for window, (width_s, count) in zip(observed.windows("sbc", "fra-a", now_s), BUCKET_S.values(), strict=True):
        inside = [one for one in told if one[0] // width_s > now_s // width_s - count]
        assert window.results == tuple(sum(one[1] is result for one in inside) for result in Result)
        assert dict(window.codes) == Counter(one[2] for one in inside if one[1] is not Result.ANSWERED)
        assert window.early == tuple(sum(one[4] is by for one in inside) for by in EndedBy)
        expected = Counter(bin_of(one[3]) for one in inside if one[3] is not None)
        assert window.pdd == (tuple(expected[at] for at in range(PDD_BINS)) if expected else ())
    assert observed.buckets() <= MAX_BUCKETS_PER_SUBJECT


@given(seed=st.integers(0, 10_000), count=st.integers(1, 400))
def test_a_share_of_the_delays_is_told_as_near_as_a_bin(seed: int, count: int) -> None:
    draw = Random(seed)
    observed = Observed()
    delays = sorted(draw.lognormvariate(0.0, 1.0) for _ in range(count))
    for delay_s in delays:
        observed.add_pdd("trunk", "carrier-one", delay_s, 0.0)
    window = observed.windows("trunk", "carrier-one", 0.0)[0]
    for share in (0.5, 0.95):
        at = bin_of(delays[max(0, -int(-share * count // 1) - 1)])
        told = window.pdd_s(share)
        assert told is not None and (0.0 if at == 0 else edge_s(at - 1)) <= told <= edge_s(at) + 1e-9


def test_every_delay_falls_into_the_bin_whose_edges_hold_it() -> None:
    for at in range(PDD_BINS - 1):
        assert bin_of(edge_s(at)) == at
        assert bin_of(edge_s(at) * 1.001) == at + 1
    assert bin_of(0.0) == 0 and bin_of(1e9) == PDD_BINS - 1


@pytest.mark.parametrize(
    ("status", "retry_after", "result"),
    [
        (200, False, Result.ANSWERED), (486, False, Result.EFFECTIVE), (600, False, Result.EFFECTIVE),
        (480, False, Result.EFFECTIVE), (487, False, Result.EFFECTIVE), (603, False, Result.EFFECTIVE),
        (404, False, Result.REJECTED), (488, False, Result.REJECTED), (302, False, Result.REJECTED),
        (408, False, Result.FAILED), (500, False, Result.FAILED), (503, False, Result.FAILED), (SILENCE, False, Result.FAILED),
        (503, True, Result.BUSY), (500, True, Result.FAILED),
    ],
)  # fmt: skip
def test_busy_is_not_dead_and_no_answer_is_effective(status: int, retry_after: bool, result: Result) -> None:
    assert result_of_status(status, has_retry_after=retry_after) is result


def test_ratios_leave_out_busy_sbcs_and_what_we_turned_away_ourselves() -> None:
    window = Window((6, 2, 1, 1, 40, 50))
    assert (window.attempts, window.calls) == (10, 100)
    assert window.asr == pytest.approx(0.6) and window.ner == pytest.approx(0.8)
    assert Window().asr is Window().ner is Window().pdd_s(0.5) is None, "no samples, no ratio"


def test_what_was_before_is_the_hour_without_the_last_minutes() -> None:
    observed = Observed()
    for second in range(0, 3000, 3):
        observed.add(
            "sbc", "fra-a", Result.ANSWERED if second < 2700 else Result.FAILED, 200 if second < 2700 else 503, float(second)
        )
    five, hour = observed.windows("sbc", "fra-a", 2999.0)[1:]
    before = without(hour, five)
    assert (five.answered, five.failed, before.answered, before.failed) == (0, 100, 900, 0)
    assert before.codes == ()
    assert added([before, five]) == Window(hour.results, hour.early, hour.codes, tuple([0] * PDD_BINS))


def test_subjects_are_bounded_and_the_one_unheard_of_for_longest_goes() -> None:
    observed = Observed({**dict.fromkeys(("sbc", "first", "pair", "tenant", "trunk"), 8), "entry_point": 3})
    for at, name in enumerate(["a", "b", "c", "a", "d"]):
        observed.add("entry_point", name, Result.ANSWERED, 200, float(at))
    assert observed.names("entry_point") == ("c", "a", "d") and observed.evicted == 1
    observed.add("sbc", "fra-a", Result.ANSWERED, 200, 0.0)
    assert observed.names("sbc") == ("fra-a",), "kinds don't crowd each other out"


def test_codes_are_bounded_whatever_is_answered() -> None:
    observed = Observed()
    for code in range(400, 700):
        observed.add("sbc", "fra-a", Result.REJECTED, code, 5.0)
    window = observed.windows("sbc", "fra-a", 5.0)[0]
    assert len(window.codes) <= MAX_CODES + 1 and dict(window.codes)[OTHER_CODE] == 300 - MAX_CODES
    assert observed.windows("sbc", "fra-a", 9_000.0)[2] == Window(), "all of it leaves again"


def test_a_silent_subject_is_forgotten_after_its_hour() -> None:
    observed = Observed()
    observed.add("entry_point", "acme-sales", Result.ANSWERED, 200, 0.0)
    observed.forget_silent(3_000.0)
    assert observed.names("entry_point") == ("acme-sales",)
    observed.forget_silent(4_000.0)
    assert observed.names("entry_point") == () and observed.buckets() == 0


def test_many_entry_points_with_calls_all_the_time_stay_within_their_buckets() -> None:
    observed = Observed()
    for second in range(0, 3600, 600):
        for number in range(500):
            observed.add("entry_point", f"e{number}", Result.ANSWERED, 200, float(second))
    assert observed.buckets() <= 500 * MAX_BUCKETS_PER_SUBJECT


def test_time_that_goes_back_counts_as_now() -> None:
    observed = Observed()
    observed.add("sbc", "fra-a", Result.ANSWERED, 200, 1000.0)
    observed.add("sbc", "fra-a", Result.ANSWERED, 200, 400.0)
    assert observed.windows("sbc", "fra-a", 1000.0)[0].answered == 2
