"""Opening hours compared: in which windows of the week, and on which days, calls meet something else than before.

Minutes count from Monday 00:00 as a wall clock in the schedule's zone shows them (routing/snapshot.py: Schedule). Two schedules
of one zone are compared minute by minute of the week, by the boundaries of their windows; of two zones nothing but the whole is
said, for their clocks change on different days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from sipctl.dialplan.diff_model import Delta
from sipctl.model.times import DAY_MIN, DAYS, WEEK_MIN
from sipctl.routing.snapshot import Schedule, Zone

OPEN: Final = "open"
MAX_DAYS: Final = 5  # told of a list of days

_EPOCH: Final = date(1970, 1, 1).toordinal()
_THURSDAY: Final = 3  # 1 January 1970, counted from Monday
_ABOUT: Final = "entry point"

Windows = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Hours:
    """When an entry point's calls go to its group, and what becomes of them outside."""

    windows: Windows  # [start, end) minutes of the week
    zone: str  # its name, "" if it is always open
    clocks: str  # tells one zone's table from another's
    days: tuple[int, ...]  # closed ones, since 1970-01-01
    otherwise: str  # what a call meets outside

    def text(self) -> str:
        """One text for one meaning."""
        if not self.zone:
            return "always open"
        days = f", closed on {len(self.days)} days ({_digest(self.days)})" if self.days else ""
        return f"{windows_text(self.windows)} {self.zone}{days}, else {self.otherwise}"

    def key(self) -> str:
        """The same, with what the zone's clocks do."""
        return f"{self.text()} {self.clocks} {self.days}"


ALWAYS_OPEN: Final = Hours(((0, WEEK_MIN),), "", "", (), "")


def hours_of(schedule: Schedule, zone: Zone, otherwise: str) -> Hours:
    """The hours of an entry point with that schedule, as its calls meet them; a closed day that would not open does not count."""
    days = tuple(day for day in schedule.closed if _opens_on(schedule.open, (day + _THURSDAY) % 7 * DAY_MIN))
    if not days and sum(end - start for start, end in schedule.open) == WEEK_MIN:
        return ALWAYS_OPEN
    return Hours(schedule.open, zone.name, clocks_text(zone), days, otherwise)


def hours_deltas(old: Hours, new: Hours) -> list[Delta]:
    """Every window and day with another outcome: `field` is when, `was` and `now` what a call meets then."""
    if old.key() == new.key():
        return []
    zone = old.zone or new.zone
    if old.zone and new.zone and (old.zone, old.clocks) != (new.zone, new.clocks):
        return [Delta(_ABOUT, "hours", old.text(), new.text())]
    found = [
        Delta(_ABOUT, f"{windows_text(windows)} ({zone})", was, now) for (was, now), windows in _by_outcome(old, new).items()
    ]
    before, after = set(old.days), set(new.days)
    for days, was, now in (
        (after - before, "by the hours", new.otherwise),
        (before - after, old.otherwise, "by the hours"),
        (before & after if old.otherwise != new.otherwise else set(), old.otherwise, new.otherwise),
    ):
        if days:
            found.append(Delta(_ABOUT, f"on {days_text(sorted(days))}", was, now))
    return found or [Delta(_ABOUT, "hours", old.text(), new.text())]


def windows_text(windows: Windows) -> str:
    """Windows of the week as people say them: "Mon-Fri 08:00-18:00; Sat 10:00-14:00", "daily 20:00-08:00"."""
    by_day = [
        tuple(
            (max(start, day) - day, min(end, day + DAY_MIN) - day)
            for start, end in windows
            if start < day + DAY_MIN and end > day
        )
        for day in range(0, WEEK_MIN, DAY_MIN)
    ]
    if all(spans == by_day[0] for spans in by_day):
        if by_day[0] == ((0, DAY_MIN),):
            return "always"
        if len(by_day[0]) > 1 and by_day[0][0][0] == 0 and by_day[0][-1][1] == DAY_MIN:
            night = (by_day[0][-1][0], by_day[0][0][1])
            return f"daily {_spans(((night[0], night[1]), *by_day[0][1:-1]))}"
        return f"daily {_spans(by_day[0])}" if by_day[0] else "never"
    runs: list[tuple[int, int]] = []
    for day, spans in enumerate(by_day):
        if runs and by_day[runs[-1][0]] == spans:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return "; ".join(
        f"{DAYS[first] if first == last else f'{DAYS[first]}-{DAYS[last]}'} {_spans(by_day[first])}"
        for first, last in runs
        if by_day[first]
    )


def days_text(days: list[int], most: int = MAX_DAYS) -> str:
    """Days since 1970-01-01 as dates, the first ones and how many more."""
    told = [date.fromordinal(day + _EPOCH).isoformat() for day in days[:most]]
    return ", ".join(told) + (f" and {len(days) - most:,} more days" if len(days) > most else "")


def clocks_text(zone: Zone) -> str:
    """What a zone's clocks do, so that another table gives another text."""
    return f"{len(zone.at)} changes ({_digest((*zone.at, *zone.offset_s))})"


def _opens_on(windows: Windows, day: int) -> bool:
    return any(start < day + DAY_MIN and end > day for start, end in windows)


def _by_outcome(old: Hours, new: Hours) -> dict[tuple[str, str], Windows]:
    points = sorted({0, WEEK_MIN, *(point for hours in (old, new) for window in hours.windows for point in window)})
    found: dict[tuple[str, str], Windows] = {}
    for start, end in pairwise(points):
        was, now = (OPEN if any(low <= start < high for low, high in hours.windows) else hours.otherwise for hours in (old, new))
        if was == now:
            continue
        known = found.get((was, now), ())
        joins = bool(known) and known[-1][1] == start
        found[was, now] = (*known[:-1], (known[-1][0], end)) if joins else (*known, (start, end))
    return found


def _spans(spans: Windows) -> str:
    return ", ".join(f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}" for start, end in spans)


def _digest(numbers: tuple[int, ...]) -> str:
    return blake2b(repr(numbers).encode(), digest_size=8).hexdigest()
