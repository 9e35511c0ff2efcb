"""Judgements over live calls: found within stated samples, never by chance, never on few samples, never for being busy."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.health.observed import EndedBy, Observed, Result, Window, result_of_status
from sipctl.health.outliers import ALPHA, Finding, Seen, chance, judge_alone, judge_pair
from sipctl.routing.snapshot import ObserveRules

RULES = ObserveRules()
NOTHING = (Window(), Window(), Window())


def window(answered: int, failed: int = 0, code: int = 503, **more: object) -> Window:
    codes = ((code, failed),) if failed else ()
    return replace(Window((answered, 0, 0, failed, 0, 0), (0, 0, 0), codes), **more)  # type: ignore[arg-type]


def seen(name: str, now: Window, before: Window = Window(), *, judged: bool = True, probes_fine: bool = False) -> Seen:  # noqa: B008
    """One SBC whose last minute, last five minutes and last hour are `now`, with `before` in the hour as well."""
    hour = replace(now, results=tuple(a + b for a, b in zip(now.results, before.results, strict=True)))
    return Seen(name, (now, now, hour), (now, now, hour), probes_fine, judged)


def one(found: tuple[Finding, ...]) -> Finding:
    assert len(found) == 1, found
    return found[0]


# -- the test of chance --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(data=st.data(), size=st.integers(1, 60), other=st.integers(1, 60))
def test_chance_is_fishers_exact_test(data: st.DataObject, size: int, other: int) -> None:
    hits, other_hits = data.draw(st.integers(0, size)), data.draw(st.integers(0, other))
    every, total = hits + other_hits, size + other
    exact = sum(comb(every, k) * comb(total - every, size - k) for k in range(hits, min(every, size) + 1)) / comb(total, size)
    assert chance(hits, size, other_hits, other) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_chance_of_a_hundred_thousand_calls_is_told_too() -> None:
    assert chance(50_000, 100_000, 50_000, 100_000) == pytest.approx(0.5, abs=0.01)
    assert chance(60_000, 100_000, 40_000, 100_000) < ALPHA


# -- found -----------------------------------------------------------------------------------------------------------------------


def test_an_sbc_that_answers_options_and_fails_half_its_calls_is_found_within_160() -> None:
    """The stand-by's calls are those the first one failed."""
    for seed in range(60):
        draw = Random(seed)
        failed = 0
        for calls in range(1, 161):
            failed += draw.random() < 0.5
            now, rest = window(calls - failed, failed), window(failed)
            found = judge_pair((seen("fra-a", now, probes_fine=True), seen("fra-b", rest)), RULES)
            if found:
                break
        assert one(found).name == "fra-a", f"seed {seed}"
        assert one(found).sentence.endswith("it answers OPTIONS all the same")


def test_a_dead_sbc_is_found_with_the_first_calls_that_may_be_judged() -> None:
    finding = one(judge_pair((seen("fra-a", window(0, 20, code=0)), seen("fra-b", window(20))), RULES))
    assert finding == Finding(
        "fra-a", "fails", "NER 0 % of 20 calls within 1m (20 × silence), 100 % of 20 of fra-b", 20, "siblings"
    )


def test_an_sbc_whose_sibling_has_no_calls_is_judged_by_its_own_last_hour() -> None:
    finding = one(judge_pair((seen("fra-a", window(30, 30), window(500, 2)), seen("fra-b", Window())), RULES))
    assert (finding.against, finding.samples) == ("hour", 60)
    assert "100 % of 502 in its own hour before" in finding.sentence


def test_a_slow_sbc_is_found_by_the_95th_percentile_of_its_post_dial_delay() -> None:
    observed, draw = Observed(), Random(7)
    for _ in range(120):
        for name, mean_s in (("fra-a", 6.0), ("fra-b", 1.0)):
            observed.add("first", name, Result.ANSWERED, 200, 0.0)
            observed.add_pdd("first", name, draw.uniform(0.5, 1.5) * mean_s, 0.0)
    views = {name: observed.windows("first", name, 0.0) for name in ("fra-a", "fra-b")}
    finding = one(judge_pair(tuple(Seen(name, view, view) for name, view in views.items()), RULES))
    assert (finding.name, finding.kind) == ("fra-a", "slow")
    assert "p95 of 120 calls" in finding.sentence and "120 of fra-b" in finding.sentence


def test_calls_that_end_within_seconds_are_found_and_who_ends_them() -> None:
    dropping = window(60, early=(2, 38, 0))
    finding = one(judge_pair((seen("fra-a", dropping), seen("fra-b", window(80, early=(1, 2, 0)))), RULES))
    assert (finding.name, finding.kind) == ("fra-a", "drops")
    assert "67 % of 60 calls answered within 1m ended within 10 s (38 by the callee, 2 by the caller), 4 % of 80 of fra-b" in (
        finding.sentence
    )


def test_an_answer_that_only_one_sbc_gives_is_found() -> None:
    odd = Window((260, 0, 60, 0, 0, 0), codes=((488, 60),))
    finding = one(judge_pair((seen("fra-a", odd), seen("fra-b", window(320))), RULES))
    assert (finding.name, finding.kind) == ("fra-a", "code")
    assert finding.sentence == "488 met 60 of 320 calls within 1m, none of 320 of fra-b"


def test_of_many_siblings_the_one_far_below_their_mean_is_found() -> None:
    well = tuple(seen(f"s{at}", window(95 + at % 3, 5)) for at in range(6))
    finding = one(judge_pair((*well, seen("s6", window(40, 60))), RULES))
    assert finding.name == "s6" and "of its 6 siblings" in finding.sentence


def test_a_tenant_whose_calls_fail_is_found_against_its_own_hour() -> None:
    now = window(20, 80)
    hour = replace(now, results=(2_000, 0, 0, 82, 0, 0))
    found = judge_alone("acme-prod", (now, now, hour), RULES)
    assert found is not None and found.name == "acme-prod"


# -- spared --------------------------------------------------------------------------------------------------------------------


def test_nothing_is_judged_on_few_samples() -> None:
    assert judge_pair((seen("fra-a", window(0, 19)), seen("fra-b", window(500))), RULES) == ()
    assert judge_pair((seen("fra-a", window(0, 500)), seen("fra-b", window(19))), RULES) == ()
    assert judge_pair((Seen("fra-a", NOTHING, NOTHING), Seen("fra-b", NOTHING, NOTHING)), RULES) == ()
    assert judge_pair((seen("fra-a", window(0, 500)),), RULES) == (), "alone, and without an hour before"


def test_busy_is_not_dead() -> None:
    for code, retry_after in ((486, False), (600, False), (480, False), (487, False), (503, True)):
        cells = [100, 0, 0, 0, 0, 0]
        cells[result_of_status(code, has_retry_after=retry_after)] += 400
        busy = Window(tuple(cells), codes=((code, 400),) if not retry_after else ())
        assert judge_pair((seen("fra-a", busy), seen("fra-b", window(500))), RULES) == (), f"{code}"


def test_an_answer_of_its_own_that_only_asks_for_rest_is_none() -> None:
    resting = Window((100, 0, 0, 0, 400, 0), codes=((503, 400),))
    found = judge_pair((seen("fra-a", resting), seen("fra-b", window(500))), RULES)
    assert found == () or found[0].kind != "fails"


def test_when_all_siblings_fail_alike_nobody_is_the_outlier() -> None:
    both = tuple(seen(name, window(50, 50), window(900, 9)) for name in ("fra-a", "fra-b"))
    assert judge_pair(both, RULES) == (), "it is the tenant behind them"


def test_among_many_that_all_differ_nobody_is_the_outlier() -> None:
    spread = tuple(seen(f"s{at}", window(1_000 - 150 * at, 150 * at)) for at in range(6))
    assert judge_pair(spread, RULES) == ()


def test_numbers_that_nobody_knows_are_no_boxes_fault() -> None:
    """Against its own hour 404 does not count: siblings without calls could not tell."""
    wrong = Window((40, 0, 60, 0, 0, 0), codes=((404, 60),))
    assert judge_pair((seen("fra-a", wrong, window(900)), seen("fra-b", Window())), RULES) == ()


def test_a_stand_by_is_not_judged_by_the_calls_that_others_failed_before_it() -> None:
    hard = window(0, 60)  # all that reached it had failed elsewhere
    stand_by = Seen("fra-b", NOTHING, (hard, hard, hard))
    assert judge_pair((seen("fra-a", window(940, 60)), stand_by), RULES) == ()


def test_who_is_out_of_service_or_doubtful_already_is_not_judged_again() -> None:
    assert judge_pair((seen("fra-a", window(0, 500), judged=False), seen("fra-b", window(500))), RULES) == ()


def test_far_away_is_not_slow() -> None:
    """One SBC with 300 ms more, always: not worth a doubt."""
    observed, draw = Observed(), Random(3)
    for _ in range(2_000):
        for name, more_s in (("fra-a", 0.3), ("fra-b", 0.0)):
            observed.add_pdd("first", name, draw.lognormvariate(-1.0, 0.5) + more_s, 0.0)
    views = {name: observed.windows("first", name, 0.0) for name in ("fra-a", "fra-b")}
    assert judge_pair(tuple(Seen(name, view, view) for name, view in views.items()), RULES) == ()


@pytest.mark.parametrize("strategy", ["load-share", "active-standby"])
def test_a_day_of_healthy_calls_with_one_percent_loss_raises_no_doubt(strategy: str) -> None:
    """Also with busy numbers, wrong numbers, impatient callers, short calls, and rates that rise and fall with the day."""
    draw = Random(strategy)
    observed = Observed()
    doubts: list[Finding] = []
    now_s = 0.0
    judged_s = 0.0
    while now_s < 86_400.0:
        now_s += draw.expovariate(0.01 + 0.2 * abs(now_s / 43_200.0 - 1.0))
        first, second = ("a", "b") if strategy == "active-standby" or draw.random() < 0.5 else ("b", "a")
        _healthy_call(observed, draw, first, second, now_s)
        if now_s - judged_s >= 10.0:
            judged_s = now_s
            pair = tuple(
                Seen(name, observed.windows("first", name, now_s), observed.windows("sbc", name, now_s), True)
                for name in ("a", "b")
            )
            doubts += judge_pair(pair, RULES)
    assert doubts == []


def _healthy_call(observed: Observed, draw: Random, first: str, second: str, now_s: float) -> None:
    """One call: each attempt is lost with 1 %, then the sibling is tried."""
    kinds = ("sbc", "first")
    for name, kind in ((first, kinds), (second, ("sbc",))):
        if draw.random() < 0.01:
            for each in kind:
                observed.add(each, name, Result.FAILED, 0, now_s)
            continue
        status = draw.choices([200, 486, 480, 487, 404, 603], [70, 10, 8, 8, 3, 1])[0]
        for each in kind:
            observed.add(each, name, result_of_status(status), status, now_s)
            observed.add_pdd(each, name, draw.lognormvariate(0.0, 0.6), now_s)
            if status == 200 and draw.random() < 0.08:
                observed.add_early(each, name, draw.choice(list(EndedBy)), now_s)
        return
