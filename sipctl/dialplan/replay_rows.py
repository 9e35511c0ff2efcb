"""Call records as replay reads them: one tuple for a call, from a line of ours or from a row of somebody's CSV.

A row is a plain tuple, not an object: a million of them go through sorting and two plans.

    (start_s, trunk, dialled, calling, call_id, hold_s, called, logged)

`start_s` is unix time; `hold_s` is how long the call held its places, set-up included; `called` is the number as it was looked up
then, "" if unknown; `logged` is what the record says became of it (None for CSV): entry point, group, role, tenant, pair, sbc,
status, revision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

import msgspec

from sipctl.dialplan.report import did_you_mean
from sipctl.errors import SipctlError
from sipctl.model.numbers import strip_separators

Logged = tuple[str, str, str, str, str, str, int, int]
Row = tuple[float, str, str, str, str, float, str, Logged | None]

COLUMNS: Final = ("start", "called", "calling", "trunk", "duration", "call_id")
NEEDED: Final = ("start", "called")
MAX_HOLD_S: Final = 7 * 86_400.0  # no call is counted longer
_MS_FROM: Final = 1e11  # a start above this is milliseconds: seconds reach it in the year 5138
_CLOCK: Final = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{2})(?:[.,]\d+)?")
_EXPONENT: Final = re.compile(r"\+?\d+(?:[.,]\d+)?[Ee]\+?\d+")
_CALL_LINE: Final = b'{"type":"call"'
_ATTEMPT_LINE: Final = b'{"type":"attempt"'


class InputError(SipctlError):
    """Call records that do not read at all."""

    code = "replay.input"
    exit_code = 2


class BadRecordError(ValueError):
    """One record that cannot be replayed; the text says why."""


class _CallLine(msgspec.Struct, gc=False):
    """What replay needs of a `call` line (FORMATS §4); everything else is skipped by the decoder."""

    type: str = ""
    start_epoch_ms: int | None = None
    end: str | None = None
    call: str | None = ""
    call_id: str | None = ""
    trunk: str | None = ""
    dialled: str | None = ""
    called: str | None = ""
    calling: str | None = ""


class _LoggedLine(_CallLine, gc=False):
    """And what became of the call."""

    entry_point: str | None = ""
    group: str | None = ""
    role: str | None = ""
    tenant: str | None = ""
    pair: str | None = ""
    sbc: str | None = ""
    sip_code: int | None = None
    revision: int | None = None


_LINE: Final = msgspec.json.Decoder(_CallLine)
_WHOLE_LINE: Final = msgspec.json.Decoder(_LoggedLine)


def read_line(line: bytes, shift_s: float = 0.0, keep_logged: bool = False) -> Row | None:
    """A line of our call records; None for one that is no call (an attempt, a blank line).

    Args:
        shift_s: added to its start; keep_logged: keep what became of it.
    Raises: BadRecordError for what is no record, or one without its facts.
    Cost: 3 µs.
    """
    if not line.startswith(_CALL_LINE) and (line.startswith(_ATTEMPT_LINE) or not line.strip()):
        return None
    try:
        read = _WHOLE_LINE.decode(line) if keep_logged else _LINE.decode(line)
        if read.type != "call":
            if read.type == "attempt":
                return None
            raise BadRecordError(f"a record of type {read.type or 'nothing'}")
        if read.start_epoch_ms is None or not read.trunk or not read.dialled:
            raise BadRecordError("the facts of this call were lost: no start, trunk or number")
        start_s = read.start_epoch_ms / 1000
        hold_s = datetime.fromisoformat(read.end).timestamp() - start_s if read.end else 0.0
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise BadRecordError(f"no call record: {error}" if not isinstance(error, BadRecordError) else str(error)) from error
    hold_s = min(max(hold_s, 0.0), MAX_HOLD_S)
    key = read.call_id or read.call or ""
    logged = _logged(read) if isinstance(read, _LoggedLine) else None
    return (start_s + shift_s, read.trunk, read.dialled, read.calling or "", key, hold_s, read.called or "", logged)


def _logged(read: _LoggedLine) -> Logged:
    return (
        read.entry_point or "", read.group or "", read.role or "", read.tenant or "", read.pair or "", read.sbc or "",
        read.sip_code or 0, read.revision or 0,
    )  # fmt: skip


def read_columns(text: str) -> dict[str, str]:
    """`start=Begin,called=DNIS,…` as {our name: their name}.

    Raises: InputError naming every column that is not ours.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, theirs = part.strip().partition("=")
        if name not in COLUMNS or not equals or not theirs.strip():
            hint = did_you_mean(name, COLUMNS) or "columns: " + ", ".join(COLUMNS)
            raise InputError(f"--columns: {part.strip()!r} is not NAME=COLUMN", hint=hint)
        found[name] = theirs.strip()
    return found


class CsvRows:
    """Reads the rows of one CSV file whose header is known.

    Args:
        header: its first row; columns: {our name: theirs}, {} to take columns that are called as ours are.
        trunk: for rows without a trunk column; zone: of instants without one.
    Raises: InputError if a column is not there.
    """

    __slots__ = ("_at", "_shift_s", "_trunk", "_zone")

    def __init__(self, header: Sequence[str], columns: Mapping[str, str], trunk: str, zone: tzinfo, shift_s: float = 0.0) -> None:
        names = [name.strip().removeprefix("\ufeff") for name in header]
        wanted = columns or {name: name for name in COLUMNS if name in names}
        missing = [theirs for theirs in wanted.values() if theirs not in names]
        if missing:
            raise InputError(f"there is no column {missing[0]!r}", hint=did_you_mean(missing[0], names))
        lacking = [name for name in NEEDED if name not in wanted]
        if lacking:
            raise InputError(f"which column is {lacking[0]}?", hint=f"--columns {lacking[0]}=…; there are: {', '.join(names)}")
        if "trunk" not in wanted and not trunk:
            raise InputError("by which trunk did the calls come?", hint="--columns trunk=…, or --trunk NAME for all of them")
        self._at = {name: names.index(theirs) for name, theirs in wanted.items()}
        self._trunk = trunk
        self._zone = zone
        self._shift_s = shift_s

    def read(self, cells: Sequence[str]) -> Row | None:
        """One row; None for an empty one.

        Raises: BadRecordError.
        """
        if not cells or not any(cells):
            return None
        at = self._at
        if len(cells) <= max(at.values()):
            raise BadRecordError(f"the row has {len(cells)} cells only")
        values = {name: cells[place].strip() for name, place in at.items()}
        dialled = strip_separators(values["called"])
        if _EXPONENT.fullmatch(dialled):
            raise BadRecordError(f"{dialled} was damaged by a spreadsheet")
        trunk = values.get("trunk", "") or self._trunk
        if not dialled or not trunk:
            raise BadRecordError("no called number" if not dialled else "no trunk")
        start_s = read_instant(values["start"], self._zone)
        hold_s = min(_read_seconds(values.get("duration", "")), MAX_HOLD_S)
        calling = strip_separators(values.get("calling", ""))
        key = values.get("call_id", "") or f"{values['start']} {dialled}"
        return (start_s + self._shift_s, trunk, dialled, calling, key, hold_s, "", None)


def read_instant(text: str, zone: tzinfo) -> float:
    """Unix seconds of an instant: unix seconds or milliseconds, or ISO 8601 with or without a zone.

    Raises: BadRecordError.
    """
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not 0 < number < _MS_FROM * 1000:
            raise BadRecordError(f"{text} is no instant")
        return number / 1000 if number >= _MS_FROM else number
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRecordError(f"{text!r} is no instant such as 2026-11-23T06:00:00Z") from error
    return (read if read.tzinfo is not None else read.replace(tzinfo=zone)).timestamp()


def _read_seconds(text: str) -> float:
    if not text:
        return 0.0
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600.0 + int(minutes) * 60.0 + int(seconds)
    try:
        seconds_ = float(text.removesuffix("ms").removesuffix("s"))
    except ValueError as error:
        raise BadRecordError(f"{text!r} is no duration in seconds") from error
    if not 0 <= seconds_ < float("inf"):
        raise BadRecordError(f"{text!r} is no duration in seconds")
    return seconds_ / 1000 if text.endswith("ms") else seconds_
