"""What an hour of steady trouble may move, on a scale of minutes; `make sim KIND=hours` runs the hours themselves."""

from __future__ import annotations

import pytest

from tests.sim.hours import Hour, flapping_primary, one_percent_lost, options_lost, own_pauses, what_is_wrong

MINUTES_10_S = 600.0


def test_a_primary_that_flaps_for_half_an_hour_moves_the_group_four_times_at_most_and_loses_no_call() -> None:
    hour = flapping_primary(1, every_s=5.0)
    assert what_is_wrong("a flapping primary", hour) == "", hour
    assert hour.placed == 720


def test_lost_options_move_nothing_while_one_call_a_second_is_fine() -> None:
    hour = options_lost(1, seconds=MINUTES_10_S)
    assert what_is_wrong("OPTIONS lost", hour) == "", hour
    assert "fra-a" not in hour.taken_down, "the SBC that answers the calls"
    assert set(hour.taken_down) == {"fra-b", "ams-a", "ams-b"}, "those that answer nothing at all"


def test_one_datagram_lost_in_a_hundred_moves_nothing() -> None:
    hour = one_percent_lost(1, seconds=MINUTES_10_S)
    assert what_is_wrong("1 % of all datagrams lost", hour) == "", hour


def test_our_own_pauses_move_nothing_and_take_nothing_down() -> None:
    hour = own_pauses(1, seconds=MINUTES_10_S)
    assert what_is_wrong("our own pauses", hour) == "", hour
    assert hour.taken_down == ()


@pytest.mark.parametrize(
    ("name", "hour", "wrong"),
    [
        ("OPTIONS lost", Hour(1000, 998, (), False, "normal", ()), "998 of 1000 calls answered"),
        ("OPTIONS lost", Hour(1000, 1000, ("failover",), False, "on-bcp", ()), "moves"),
        ("a flapping primary", Hour(1000, 1000, ("failover", "failback") * 3, True, "on-bcp", ()), "moves"),
        ("a flapping primary", Hour(1000, 1000, ("failover", "failback"), False, "normal", ()), "latched: False"),
    ],
)
def test_an_hour_that_went_wrong_is_told(name: str, hour: Hour, wrong: str) -> None:
    assert wrong in what_is_wrong(name, hour)
