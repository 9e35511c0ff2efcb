"""Times as a plan writes them: zones, windows of the week, dates, instants. What a zone means is known only to the compiler.

A window is days and hours as a wall clock in the schedule's zone shows them: `Mon-Fri 08:00-18:00`, `Sat,Sun 10:00-14:00`,
`Fri 22:00-06:00` (to the next morning), `Mon-Sun 00:00-24:00`. Its minutes count from Monday 00:00.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from sipctl.model.scalars import Kind, fault, one_or_many, text_of

DAY_MIN: Final = 24 * 60
WEEK_MIN: Final = 7 * DAY_MIN
MAX_CLOSED_DAYS: Final = 3_660  # of one range of dates
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY: Final = "(?:" + "|".join(DAYS) + ")"
_WINDOW: Final = re.compile(rf"({_DAY}(?:-{_DAY})?(?:,\s*{_DAY}(?:-{_DAY})?)*)\s+(\d\d):(\d\d)-(\d\d):(\d\d)")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_REGION: Final = re.compile(r"[A-Z]{2,3}(?:-[A-Za-z0-9]{1,6})?")
_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d))?\s*(Z|[+-]\d\d:?\d\d|[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2})?"
)


@dataclass(frozen=True, slots=True)
class WindowText:
    """One window, read."""

    text: str
    minutes: tuple[tuple[int, int], ...]  # [start, end) from Monday 00:00, end may pass WEEK_MIN; one for each day


@dataclass(frozen=True, slots=True)
class InstantText:
    """A date and a time of day, with the zone it was written in."""

    day: date
    second: int  # of the day, 0..86399
    zone: str  # "", "Z", "+01:00" or the name of a zone


def _window(value: Any) -> WindowText:
    text = text_of(value, "a window of the week")
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise fault("schedule.window", f"{text!r} is no window of the week", 'write "Mon-Fri 08:00-18:00"')
    hour, minute, until_hour, until_minute = (int(match[at]) for at in range(2, 6))
    start, end = hour * 60 + minute, until_hour * 60 + until_minute
    if minute > 59 or until_minute > 59 or start >= DAY_MIN or end > DAY_MIN:
        raise fault("schedule.window", f"{text!r}: no clock shows that", "from 00:00 to 24:00")
    if start == end:
        raise fault("schedule.window", f"{text!r} lasts no time", "write 00:00-24:00 for a whole day")
    if end < start:
        end += DAY_MIN
    days = [day for part in match[1].split(",") for day in _days(part.strip())]
    if len(days) != len(set(days)):
        raise fault("schedule.window", f"{text!r} names a day twice", "name each day once")
    return WindowText(text, tuple((day * DAY_MIN + start, day * DAY_MIN + end) for day in sorted(days)))


def _days(part: str) -> list[int]:
    first, dash, last = part.partition("-")
    start, count = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7
    return [(start + step) % 7 for step in range(count + 1)] if dash else [start]


def _dates(value: Any) -> tuple[date, ...]:
    """2026-12-24 → that day; 2026-12-24..2026-12-31 → each of them."""
    text = text_of(value, "a date")
    first, dots, last = text.partition("..")
    start, end = _date(first), _date(last) if dots else _date(first)
    count = (end - start).days + 1
    if count < 1:
        raise fault("schedule.date", f"{text} ends before it begins", f"did you mean {last}..{first}?")
    if count > MAX_CLOSED_DAYS:
        raise fault("schedule.date", f"{text} are {count:,} days, the most is {MAX_CLOSED_DAYS:,}")
    return tuple(start + timedelta(days=step) for step in range(count))


def _date(text: str) -> date:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise fault("schedule.date", f"{text!r} is no date", "write 2026-12-24, or 2026-12-24..2026-12-31")


def _zone(value: Any) -> str:
    text = text_of(value, "a time zone")
    if not _ZONE.fullmatch(text):
        raise fault("schedule.zone", f"{text!r} is no time zone", "write e.g. Europe/Berlin, America/New_York, UTC")
    return text


def _region(value: Any) -> str:
    text = text_of(value, "a country, or a part of one")
    if not _REGION.fullmatch(text):
        raise fault("schedule.holidays", f"{text!r} is no country or part of one", "write e.g. DE, DE-BE, US-CA (ISO 3166)")
    return text


def _instant(value: Any) -> InstantText:
    text = text_of(value, "a date and a time")
    match = _INSTANT.fullmatch(text.strip())
    hour, minute, second = (int(match[at] or 0) for at in (2, 3, 4)) if match else (0, 0, 0)
    if match is None or hour > 23 or minute > 59 or second > 59:
        hint = 'write "2026-12-24 10:00 Europe/Berlin" or "2026-12-24T10:00+01:00"'
        raise fault("test.at", f"{text!r} is no date and time", hint)
    return InstantText(_date(match[1]), (hour * 60 + minute) * 60 + second, match[5] or "")


Window = Annotated[WindowText, PlainValidator(_window), Kind("window of the week"), WithJsonSchema({"type": "string"})]
Windows = Annotated[
    tuple[Window, ...],
    BeforeValidator(one_or_many),
    Kind("window of the week, or a list"),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
Dates = Annotated[
    tuple[Annotated[tuple[date, ...], PlainValidator(_dates)], ...],
    BeforeValidator(one_or_many),
    Kind("date or A..B, or a list"),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Zone = Annotated[str, PlainValidator(_zone), Kind("time zone", range="IANA names"), WithJsonSchema({"type": "string"})]
Regions = Annotated[
    tuple[Annotated[str, PlainValidator(_region)], ...],
    BeforeValidator(one_or_many),
    Kind("ISO 3166 code, or a list"),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Instant = Annotated[
    InstantText,
    PlainValidator(_instant),
    Kind("date and time", range="with +01:00, Z or a zone"),
    WithJsonSchema({"type": "string"}),
]
