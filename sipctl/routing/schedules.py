"""Opening hours at call time: what a wall clock in the schedule's zone shows, from tables alone.

The clock decides, so both changes of summer time follow by themselves: hours a spring night skips are never shown and so never
open; hours an autumn night shows twice are open twice. A day is closed as a whole, midnight to midnight by that clock; so a
window that runs past midnight ends there if the next day is closed.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from sipctl.routing.snapshot import Schedule, Zone

DAY_S: Final = 86_400
DAY_MIN: Final = 1_440
WEEK_MIN: Final = 7 * DAY_MIN
MAX_LOOK_AHEAD_DAYS: Final = 400  # further away, the next change is nobody's concern

_THURSDAY: Final = 3  # 1 January 1970, counted from Monday


def local_s(zone: Zone, unix_s: float) -> int:
    """What the zone's clocks show, as seconds since 1970-01-01 00:00 by that clock."""
    second = int(unix_s // 1)
    return second + zone.offset_s[bisect_right(zone.at, second)]


def is_open(schedule: Schedule, zone: Zone, unix_s: float) -> bool:
    """Whether calls are taken at an instant. Cost: 1 µs."""
    day, second = divmod(local_s(zone, unix_s), DAY_S)
    return _shows_open(schedule, day, second // 60)


def _shows_open(schedule: Schedule, day: int, minute: int) -> bool:
    closed = schedule.closed
    at = bisect_right(closed, day) - 1
    if at >= 0 and closed[at] == day:
        return False
    minute += (day + _THURSDAY) % 7 * DAY_MIN
    at = bisect_right(schedule.open, (minute, WEEK_MIN + 1)) - 1
    return at >= 0 and minute < schedule.open[at][1]


def next_change(schedule: Schedule, zone: Zone, unix_s: float) -> int | None:
    """When it opens or closes next, as unix seconds; None if not within MAX_LOOK_AHEAD_DAYS."""
    now = is_open(schedule, zone, unix_s)
    first = local_s(zone, unix_s) // DAY_S
    edges = sorted({minute for span in schedule.open for minute in span})
    before = _candidates(zone, edges, first - 1)
    for day in range(first, first + MAX_LOOK_AHEAD_DAYS):
        here = _candidates(zone, edges, day)  # with the day before: where a clock goes back over midnight, their order is mixed
        for instant in sorted(before | here):
            if instant > unix_s and is_open(schedule, zone, instant) != now:
                return instant
        before = here
    return None


def _candidates(zone: Zone, edges: list[int], day: int) -> set[int]:
    """Every instant of a day at which a schedule may open or close: its windows' edges, midnight, a change of the clocks."""
    monday = (day + _THURSDAY) % 7 * DAY_MIN
    minutes = {0, *(edge - monday for edge in edges if 0 <= edge - monday <= DAY_MIN)}
    start = day * DAY_S
    found = {instant for minute in minutes for instant in _instants(zone, start + minute * 60)}
    return found | {at for at in zone.at if start <= local_s(zone, at) < start + DAY_S}


def _instants(zone: Zone, shown_s: int) -> set[int]:
    """Every instant at which the zone's clocks show this: one, two in an autumn night, none in a spring night."""
    near = range(max(0, bisect_right(zone.at, shown_s) - 1), min(len(zone.offset_s), bisect_right(zone.at, shown_s) + 2))
    return {shown_s - zone.offset_s[at] for at in near if local_s(zone, shown_s - zone.offset_s[at]) == shown_s}
