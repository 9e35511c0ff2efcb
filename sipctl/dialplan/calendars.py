"""Opening hours made ready for the call path: zones as tables of changes, public holidays as days, windows as minutes.

A router reads no file and asks no library: what a zone's clocks do up to ZONES_UNTIL and which days are holidays up to
HOLIDAYS_UNTIL stands in the table. Both spans are fixed, not counted from today, so that the same plan gives the same bytes.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import holidays

from sipctl.model.times import WEEK_MIN, InstantText
from sipctl.model.treatments import ScheduleModel
from sipctl.routing.snapshot import Schedule, Zone

ZONES_FROM: Final = 2015  # so that calls of past years can be replayed
ZONES_UNTIL: Final = 2100
HOLIDAYS_FROM: Final = 2015
HOLIDAYS_UNTIL: Final = 2040  # further years are closed only on the days the plan names; laws change anyway
HORIZON_YEARS: Final = 2  # a finding when the last known holidays are nearer than that

_STEP_S: Final = 7 * 86_400  # no zone changes its clocks twice within a week
_EPOCH: Final = date(1970, 1, 1).toordinal()


def known_zone(name: str) -> bool:
    """Whether there is such a time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def zone_names() -> set[str]:
    """All there are, for a hint."""
    return available_timezones()


def zone_table(name: str) -> Zone:
    """Every change of a zone's clocks from ZONES_FROM to ZONES_UNTIL. Cost: some 5 ms."""
    zone = ZoneInfo(name)

    def offset_s(unix_s: int) -> int:
        offset = datetime.fromtimestamp(unix_s, zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    start = int(datetime(ZONES_FROM, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(ZONES_UNTIL, 1, 1, tzinfo=UTC).timestamp())
    at: list[int] = []
    offsets = [offset_s(start)]
    for week in range(start, end, _STEP_S):
        if offset_s(week + _STEP_S) == offsets[-1]:
            continue
        before, after = week, week + _STEP_S
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if offset_s(middle) == offsets[-1] else (before, middle)
        at.append(after)
        offsets.append(offset_s(week + _STEP_S))
    return Zone(name, tuple(at), tuple(offsets))


def known_region(region: str) -> bool:
    """Whether the public holidays of a country, or of a part of one, are known."""
    country, _, part = region.partition("-")
    supported = holidays.list_supported_countries(include_aliases=True)
    return country in supported and (not part or part in supported[country])


def region_names() -> set[str]:
    """All there are, for a hint."""
    supported = holidays.list_supported_countries(include_aliases=False)
    return {name for country, parts in supported.items() for name in (country, *(f"{country}-{part}" for part in parts))}


def compile_schedule(name: str, model: ScheduleModel, zone: int) -> Schedule:
    """Opening hours as the table holds them; its zone and regions are known."""
    days = {day.toordinal() - _EPOCH for span in model.closed for day in span}
    until = 0
    for region in model.holidays:
        country, _, part = region.partition("-")
        found = holidays.country_holidays(country, subdiv=part or None, years=range(HOLIDAYS_FROM, HOLIDAYS_UNTIL + 1))
        days |= {day.toordinal() - _EPOCH for day in found}
        until = min(until or HOLIDAYS_UNTIL, found.end_year)
    return Schedule(name, zone, weekly(model), tuple(sorted(days)), model.holidays, until)


def weekly(model: ScheduleModel) -> tuple[tuple[int, int], ...]:
    """All windows as minutes of one week, laid over each other; what runs past Sunday goes on on Monday."""
    spans: list[tuple[int, int]] = []
    for window in model.open:
        for start, end in window.minutes:
            spans.append((start, min(end, WEEK_MIN)))
            if end > WEEK_MIN:
                spans.append((0, end - WEEK_MIN))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def overlapping(model: ScheduleModel) -> list[int]:
    """Indexes of windows that share minutes with one before them, or with themselves."""
    spans = [
        (minute % WEEK_MIN, (end - start), at)
        for at, window in enumerate(model.open)
        for start, end in window.minutes
        for minute in (start,)
    ]
    spans.sort()
    wrapped = [*spans, *((start + WEEK_MIN, length, at) for start, length, at in spans[:1])]
    return sorted({max(one[2], other[2]) for one, other in pairwise(wrapped) if one[0] + one[1] > other[0]})


def unix_s_of(instant: InstantText, default_zone: str) -> float | None:
    """A date and time as unix seconds; of two in an autumn night the first.

    Returns: None if its zone is unknown or not said, or if no clock there ever showed it.
    """
    name = instant.zone or default_zone
    zone: tzinfo
    if name == "Z":
        zone = UTC
    elif name[:1] in ("+", "-"):
        digits = name[1:].replace(":", "")
        ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        if ahead >= timedelta(days=1):
            return None
        zone = timezone(ahead if name[0] == "+" else -ahead)
    elif name and known_zone(name):
        zone = ZoneInfo(name)
    else:
        return None
    day = instant.day
    shown = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(seconds=instant.second)
    try:
        unix_s = shown.timestamp()
        there = datetime.fromtimestamp(unix_s, zone).replace(tzinfo=None)
    except (OverflowError, ValueError):  # at either end of the calendar
        return None
    return unix_s if there == shown.replace(tzinfo=None) else None
