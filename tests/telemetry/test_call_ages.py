"""How long a drain takes, from ages and durations."""

from __future__ import annotations

import random

from sipctl.telemetry.call_ages import MIN_ENDED, CallAges, Survival, Up, forecast, words


def test_nothing_is_said_on_few_calls() -> None:
    told = forecast([60.0] * (MIN_ENDED - 1), [5.0, 10.0])
    assert told.half_s is None and told.most_s is None
    assert "too few to say" in told.text and told.ended == MIN_ENDED - 1


def test_no_call_up_is_drained_now() -> None:
    told = forecast([60.0] * 50, [])
    assert (told.up, told.half_s, told.most_s) == (0, 0.0, 0.0)


def test_calls_that_all_last_as_long_end_at_their_age() -> None:
    told = forecast([100.0] * 50, [0.0, 20.0, 40.0, 60.0, 80.0])
    assert told.half_s is not None and abs(told.half_s - 60.0) < 0.01, "three of five are gone when the 40 s old one is"
    assert told.most_s is not None and abs(told.most_s - 100.0) < 0.01


def test_exponential_calls_have_no_age() -> None:
    dice = random.Random(7)
    ended = [dice.expovariate(1 / 180) for _ in range(4000)]
    young, old = ([age_s] * 300 for age_s in (1.0, 200.0))
    for ages in (young, old):
        told = forecast(ended, ages)
        assert told.half_s is not None and told.most_s is not None
        assert 110 < told.half_s < 150, "180 · ln 2 = 125"
        assert 450 < told.most_s < 750, "180 · ln 20 = 539"


def test_calls_up_make_the_forecast_longer_not_shorter() -> None:
    """Half of the calls last an hour, and have not ended yet: durations alone would say a minute."""
    ended = [60.0] * 100
    curve = Survival(ended, [1800.0] * 100)
    assert curve.longer_than(59.9) == 1.0 and curve.longer_than(61.0) == 0.5
    told = forecast(ended, [1800.0] * 100)
    assert told.half_s is None and "cannot be told: longer than the longest call that ended (60 s)" in told.text


def test_a_mixture_tells_half_and_says_that_it_cannot_tell_the_rest() -> None:
    told = forecast([30.0 + index % 10 for index in range(200)], [5.0] * 90 + [4000.0] * 10)
    assert told.half_s is not None and 20 < told.half_s < 36
    assert told.most_s is None and "when 95 % are gone cannot be told" in told.text


def test_shares_fall_and_stay_between_none_and_all() -> None:
    dice = random.Random(11)
    for _ in range(50):
        ended = [dice.choice([dice.uniform(0, 10), float(dice.randrange(10))]) for _ in range(dice.randrange(20, 60))]
        curve = Survival(ended, [dice.uniform(0, 15) for _ in range(dice.randrange(0, 40))])
        shares = [curve.longer_than(at / 4) for at in range(60)]
        assert all(0.0 <= share <= 1.0 for share in shares) and shares == sorted(shares, reverse=True)


def test_a_target_with_few_ended_calls_is_told_by_all_and_says_so() -> None:
    up = [Up("acme-prod", "fra-a", 950.0), Up("acme-prod", "fra-b", 990.0), Up("acme-bcp", "ams-a", 990.0)]
    ages = CallAges(lambda: up, lambda: 1000.0)
    for index in range(30):
        ages.note({"type": "call", "answered": True, "tenant": "acme-bcp", "sbc": "ams-a", "duration_ms": 60_000 + index})
        ages.note({"type": "call", "answered": False, "tenant": "acme-prod", "sbc": "fra-a", "duration_ms": 0})
        ages.note({"type": "attempt", "tenant": "acme-prod", "sbc": "fra-a", "duration_ms": 900})
    told = ages.forecast("sbc", "fra-a")
    assert (told["up"], told["ended"], told["of_all_calls"]) == (1, 30, True)
    assert 9 < told["half_s"] < 11 and told["text"].endswith("by the calls of this whole node")
    assert ages.forecast("tenant", "acme-prod")["up"] == 2
    assert ages.forecast("node", "")["up"] == 3 and not ages.forecast("node", "")["of_all_calls"]
    assert ages.forecast("tenant", "nobody")["text"] == "no call is up"


def test_times_are_told_as_people_say_them() -> None:
    assert [words(at) for at in (4, 89, 240, 5000, 7200)] == ["4 s", "89 s", "4 min", "83 min", "2 h"]
    assert words(8000) == "2 h 13 min"
