"""`--until`: an instant as operators say it, made into one that no zone can bend.

`06:00` is the next time a clock on this machine's wall shows six, `90m` is counted from now, and anything longer is RFC 3339 with
its zone: a date whose zone would have to be guessed is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Final

import typer

from sipctl.cli.client import EXIT_USAGE, stop

MAX_SPAN: Final = timedelta(days=366)  # a longer one is a slip of the pen: who means it writes the date
FORMS: Final = "such as 06:00, 90m, 2h, 3d or 2026-11-23T06:00:00+01:00"
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="06:00 (the next one, here), 90m, 2h, 3d, or RFC 3339; without it: until off."),
]
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_SPAN: Final = re.compile(r"(\d{1,6})(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def until_text(text: str) -> str:
    """An instant in RFC 3339, UTC; ends the command with 2 for what is no instant to come."""
    try:
        at = instant(text, utc_now(), None)
    except ValueError as error:
        stop(EXIT_USAGE, f"--until {text}: {error}", FORMS)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def span_s(text: str) -> float:
    """A span as operators say it, in seconds; ends the command with 2 for what is none."""
    span = _SPAN.fullmatch(text.strip())
    if span is None:
        stop(EXIT_USAGE, f"{text} is no span of time", "such as 90s, 10m or 2h")
    return float(int(span[1]) * _SECONDS[span[2]])


def utc_now() -> datetime:
    return datetime.now(UTC)


def instant(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """What an operator means, in UTC.

    Args:
        now: aware; zone: where the operator's clock hangs, None: the machine's own.
    Raises: ValueError saying what is wrong: no instant, no zone, past, or too long a span.
    """
    clock, span = _CLOCK.fullmatch(text.strip()), _SPAN.fullmatch(text.strip())
    if clock is not None:
        at = _next_clock(int(clock[1]), int(clock[2]), now, zone)
    elif span is not None:
        ahead = timedelta(seconds=int(span[1]) * _SECONDS[span[2]])
        if ahead > MAX_SPAN:
            raise ValueError(f"that is more than {MAX_SPAN.days} days")
        at = now + ahead
    else:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is None:
            raise ValueError("it says no time zone")
    at = at.astimezone(UTC)
    if at <= now:
        raise ValueError("it has passed")
    return at


def _next_clock(hour: int, minute: int, now: datetime, zone: tzinfo | None) -> datetime:
    """The first instant after now at which that clock shows so; one that a change of clocks skips is what it would have been."""
    here = now.astimezone(zone)
    for days in range(3):
        naive = here.replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None) + timedelta(days=days)
        for fold in (0, 1):
            at = _placed(naive.replace(fold=fold), zone)
            if at > now:
                return at
    raise AssertionError("a day has every time of a clock, or the one after it")


def _placed(naive: datetime, zone: tzinfo | None) -> datetime:
    return (naive.astimezone() if zone is None else naive.replace(tzinfo=zone)).astimezone(UTC)
