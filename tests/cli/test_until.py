"""`--until` as operators write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sipctl.cli.until import FORMS, instant
from tests.cli.support import Shell

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # 13:00 in Berlin


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("06:00", "2026-11-23T05:00:00+00:00"),
        ("13:01", "2026-11-22T12:01:00+00:00"),
        ("13:00", "2026-11-23T12:00:00+00:00"),
        ("9:05", "2026-11-23T08:05:00+00:00"),
        ("90m", "2026-11-22T13:30:00+00:00"),
        ("45s", "2026-11-22T12:00:45+00:00"),
        ("2h", "2026-11-22T14:00:00+00:00"),
        ("3d", "2026-11-25T12:00:00+00:00"),
        ("2026-11-23T06:00:00+01:00", "2026-11-23T05:00:00+00:00"),
        ("2026-11-23T06:00Z", "2026-11-23T06:00:00+00:00"),
    ],
)
def test_a_clock_time_a_span_and_an_instant_are_understood(text: str, utc: str) -> None:
    assert instant(text, NOON, BERLIN).isoformat() == utc


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tomorrow", "Invalid isoformat"), ("25:00", "Invalid isoformat"), ("2026-11-23T06:00:00", "no time zone"),
        ("2026-11-22T11:59:59Z", "has passed"), ("0s", "has passed"), ("400d", "more than 366 days"), ("", "Invalid isoformat"),
    ],
)  # fmt: skip
def test_what_is_no_instant_to_come_is_refused_and_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        instant(text, NOON, BERLIN)


def test_a_clock_that_shows_a_time_twice_means_the_next_of_the_two() -> None:
    before = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)  # 01:00 of the day Berlin leaves summer time
    first = instant("02:30", before, BERLIN)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert instant("02:30", first, BERLIN) - first == timedelta(hours=1)


def test_a_clock_that_skips_a_time_means_the_instant_it_would_have_been() -> None:
    before = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)  # 00:00 of the day Berlin enters summer time
    assert instant("02:30", before, BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_wrong_time_ends_the_command_before_anybody_is_asked(shell: Shell) -> None:
    ended = shell("trunk", "allow", "carrier-one", "192.0.2.0/28", "--until", "2020-01-01T00:00:00", "--reason", "x")
    assert ended.code == 2 and "no time zone" in ended.err and FORMS in ended.err
