"""Opening hours: what a wall clock shows, over both changes of summer time, over holidays, and where there is no summer time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sipctl.dialplan.calendars import HOLIDAYS_UNTIL, compile_schedule, overlapping, unix_s_of, zone_table
from sipctl.dialplan.compile import compile_plan
from sipctl.model.times import Instant, InstantText
from sipctl.model.treatments import ScheduleModel
from sipctl.routing.schedules import is_open, next_change
from sipctl.routing.snapshot import Schedule, Zone
from tests.dialplan.support import plan
from tests.routing.reference import is_open as shows_open

_INSTANT: TypeAdapter[InstantText] = TypeAdapter(Instant)


def hours(zone: str, *windows: str, **more: Any) -> tuple[Schedule, Zone]:
    model = ScheduleModel.model_validate({"zone": zone, "open": list(windows), **more})
    return compile_schedule("s", model, 0), zone_table(zone)


def at(text: str) -> float:
    """Unix seconds of an instant written with its zone."""
    unix_s = unix_s_of(_INSTANT.validate_python(text), "")
    assert unix_s is not None
    return unix_s


def opens(kept: tuple[Schedule, Zone], text: str) -> bool:
    return is_open(*kept, at(text))


BERLIN = ("Europe/Berlin", "Mon-Fri 08:00-18:00")


@pytest.mark.parametrize(
    ("when", "is_taken"),
    [
        ("2026-11-18 07:59:59 Europe/Berlin", False),
        ("2026-11-18 08:00 Europe/Berlin", True),
        ("2026-11-18 17:59:59 Europe/Berlin", True),
        ("2026-11-18 18:00 Europe/Berlin", False),
        ("2026-11-21 12:00 Europe/Berlin", False),  # a Saturday
        ("2026-03-27T07:00Z", True),  # 08:00 in winter time
        ("2026-03-27T06:59Z", False),
        ("2026-03-30T06:00Z", True),  # 08:00 in summer time, the Monday after
        ("2026-03-30T05:59Z", False),
        ("2026-10-23T06:00Z", True),
        ("2026-10-26T06:00Z", False),  # 07:00 again
        ("2026-10-26T07:00Z", True),
    ],
)
def test_hours_follow_the_wall_clock_through_summer_and_winter(when: str, is_taken: bool) -> None:
    assert opens(hours(*BERLIN), when) is is_taken


def test_hours_a_spring_night_skips_are_never_open() -> None:
    kept = hours("Europe/Berlin", "Sun 02:15-02:45")
    start = int(at("2026-03-29 00:00 Europe/Berlin"))
    assert not any(is_open(*kept, second) for second in range(start, start + 23 * 3600, 60))


def test_hours_an_autumn_night_shows_twice_are_open_twice() -> None:
    kept = hours("Europe/Berlin", "Sun 02:15-02:45")
    start = int(at("2026-10-25 00:00 Europe/Berlin"))
    assert sum(is_open(*kept, second) for second in range(start, start + 25 * 3600, 60)) == 60


def test_hours_that_span_the_change_last_an_hour_less_or_more() -> None:
    kept = hours("Europe/Berlin", "Sun 00:00-24:00")
    for day, long in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-01", 24)):
        start = int(at(f"{day} 00:00 Europe/Berlin"))
        assert sum(is_open(*kept, second) for second in range(start - 3600, start + 27 * 3600, 60)) == long * 60


def test_a_zone_without_summer_time_has_the_same_hours_all_year() -> None:
    kept = hours("Asia/Kolkata", "Mon-Fri 09:00-17:00")
    assert kept[1].at == ()
    for day in ("2026-01-14", "2026-03-30", "2026-07-15", "2026-10-26"):
        assert not opens(kept, f"{day}T03:29Z")
        assert opens(kept, f"{day}T03:30Z")
        assert opens(kept, f"{day}T11:29Z")
        assert not opens(kept, f"{day}T11:30Z")


def test_a_window_past_midnight_ends_where_a_closed_day_begins() -> None:
    kept = hours("Europe/Berlin", "Fri,Sun 22:00-06:00", closed=["2026-11-21"])
    assert opens(kept, "2026-11-20 23:59:59 Europe/Berlin")
    assert not opens(kept, "2026-11-21 00:00 Europe/Berlin")
    assert opens(kept, "2026-11-23 05:59 Europe/Berlin")  # Sunday's goes on on Monday
    assert opens(kept, "2026-11-28 05:59 Europe/Berlin")


def test_public_holidays_and_days_named_are_closed() -> None:
    kept = hours(*BERLIN, holidays=["DE-BE"], closed=["2026-12-24", "2026-12-28..2026-12-30"])
    assert not opens(kept, "2026-12-25 12:00 Europe/Berlin")  # Christmas Day, a Friday
    assert not opens(kept, "2027-03-08 12:00 Europe/Berlin")  # a holiday in Berlin
    assert opens(hours(*BERLIN, holidays="DE"), "2027-03-08 12:00 Europe/Berlin")  # and nowhere else in Germany
    assert not opens(kept, "2026-12-24 12:00 Europe/Berlin")
    assert not opens(kept, "2026-12-29 12:00 Europe/Berlin")
    assert opens(kept, "2026-12-31 12:00 Europe/Berlin")
    assert kept[0].holidays_until == HOLIDAYS_UNTIL


def test_a_day_is_closed_by_the_clock_of_its_zone() -> None:
    kept = hours("Pacific/Auckland", "Mon-Sun 00:00-24:00", closed=["2026-06-10"])
    assert opens(kept, "2026-06-09T11:59Z")
    assert not opens(kept, "2026-06-09T12:00Z")
    assert not opens(kept, "2026-06-10T11:59Z")
    assert opens(kept, "2026-06-10T12:00Z")


ZONES = {name: zone_table(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")}


@settings(max_examples=300, deadline=None)
@given(
    zone=st.sampled_from(sorted(ZONES)),
    windows=st.lists(
        st.builds(
            "{} {}".format,
            st.sampled_from(["Mon-Fri", "Sat,Sun", "Sun", "Fri-Mon"]),
            st.sampled_from(["00:00-24:00", "01:15-02:45", "08:00-18:00", "22:00-06:00"]),
        ),
        min_size=1,
        max_size=3,
    ),
    closed=st.lists(st.dates(date(2026, 3, 20), date(2026, 4, 10)).map(date.isoformat), max_size=3),
    unix_s=st.one_of(
        st.integers(int(datetime(2016, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2099, 1, 1, tzinfo=UTC).timestamp())),
        st.integers(int(datetime(2026, 3, 27, tzinfo=UTC).timestamp()), int(datetime(2026, 4, 6, tzinfo=UTC).timestamp())),
    ),
)
def test_any_hours_at_any_instant_are_what_a_clock_shows(zone: str, windows: list[str], closed: list[str], unix_s: int) -> None:
    written = {"zone": zone, "open": windows, "closed": closed}
    schedule = compile_schedule("s", ScheduleModel.model_validate(written), 0)
    assert is_open(schedule, ZONES[zone], unix_s) == shows_open(written, unix_s)


@pytest.mark.parametrize("zone", sorted(ZONES))
def test_the_table_of_a_zone_says_what_the_zone_says(zone: str) -> None:
    table, real = ZONES[zone], ZoneInfo(zone)
    for change, offset_s in zip(table.at, table.offset_s[1:], strict=True):
        assert datetime.fromtimestamp(change, real).utcoffset() == timedelta(seconds=offset_s)
        assert datetime.fromtimestamp(change - 1, real).utcoffset() != timedelta(seconds=offset_s)


@pytest.mark.parametrize(
    ("windows", "day"),
    [(["Mon-Fri 08:00-18:00"], "2026-11-18"), (["Sun 01:15-02:45"], "2026-10-24"), (["Sun 01:15-03:45"], "2026-03-28")],
)
def test_the_next_change_is_the_first_minute_that_differs(windows: list[str], day: str) -> None:
    kept = hours("Europe/Berlin", *windows, closed=["2026-11-20"])
    for hour in range(0, 24, 5):
        now = at(f"{day} {hour:02}:00 Europe/Berlin")
        state = is_open(*kept, now)
        change = next_change(*kept, now)
        assert change is not None
        brute = next(second for second in range(int(now), int(now) + 9 * 86400, 60) if is_open(*kept, second) != state)
        assert change == brute


def test_hours_that_never_change_have_no_next_change() -> None:
    assert next_change(*hours("UTC", "Mon-Sun 00:00-24:00"), at("2026-11-18T00:00Z")) is None


def test_windows_that_share_hours_are_told_also_across_the_week_end() -> None:
    def shared(*windows: str) -> list[int]:
        return overlapping(ScheduleModel.model_validate({"zone": "UTC", "open": list(windows)}))

    assert shared("Mon-Fri 08:00-18:00", "Sat 08:00-12:00") == []
    assert shared("Mon-Fri 08:00-12:00", "Mon-Fri 12:00-18:00") == []
    assert shared("Mon-Fri 08:00-18:00", "Wed 17:59-19:00") == [1]
    assert shared("Mon 00:00-06:00", "Sun 22:00-02:00") == [1]


@pytest.mark.parametrize("text", ["2026-03-29 02:30 Europe/Berlin", "2026-11-18 10:00", "2026-11-18 10:00 Europe/Berlim"])
def test_a_time_nobody_can_tell_is_none(text: str) -> None:
    assert unix_s_of(_INSTANT.validate_python(text), "") is None


def test_of_two_hours_in_an_autumn_night_the_first_is_meant() -> None:
    assert at("2026-10-25 02:30 Europe/Berlin") == at("2026-10-25T00:30Z")
    assert at("2026-11-18T10:00+01:00") == at("2026-11-18 09:00:00 UTC")


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30 10:00Z", "2026-11-18 24:00Z", "2026-11-18"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        _INSTANT.validate_python(text)


def test_the_end_of_the_holidays_known_is_told_two_years_ahead() -> None:
    schedule = 'schedules:\n  shop: {zone: Europe/Berlin, open: "Mon-Fri 08:00-18:00", holidays: DE}\n'
    sales = ("  sales:\n    group: acme\n", "  sales:\n    group: acme\n    schedule: shop\n    closed: {refuse: 480}\n")
    files = plan(("tests:\n", schedule + "tests:\n"), sales, ("    trunk: one\n", '    trunk: one\n    at: "2026-11-18 12:00"\n'))
    for year, told in ((2026, False), (HOLIDAYS_UNTIL - 1, True)):
        compiled = compile_plan(files, {}, revision=1, today=date(year, 6, 1))
        assert ("schedule.horizon" in {finding.code for finding in compiled.findings}) is told
        assert compiled.is_applicable
