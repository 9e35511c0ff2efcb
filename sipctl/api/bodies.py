"""What writes take: bodies as types, read from JSON and nothing else.

Everything is checked before it is believed: size before reading, Content-Type, duplicate keys, unknown fields, types, and CR, LF
or NUL in any string, which would otherwise find their way into a log line or a header (reference/threats T5).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

import msgspec
from aiohttp import web

from sipctl.api.problems import Problem

MAX_BODY_BYTES: Final = 1 << 20
MAX_PLAN_BYTES: Final = 64 << 20
MAX_PLAN_FILES: Final = 20_000
MAX_STRING_CHARACTERS: Final = 2_000  # of any string but a plan's file
MAX_QUERY_CHARACTERS: Final = 4_000
FIRST_YEAR: Final = 1970  # of an instant in a query
LAST_YEAR: Final = 2999
PLAN_FOLDERS: Final = ("dialplans/", "sbc_configs/")
WIDEST_PREFIX: Final[Mapping[int, int]] = MappingProxyType({4: 8, 6: 16})  # of a network that a trunk may call from for a time
BODY_TIMEOUT_S: Final = 60.0
_THREAD_ABOVE_BYTES: Final = 256 << 10  # a larger body is decoded off the loop

Body = TypeVar("Body", bound=msgspec.Struct)


class Write(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every write carries."""

    reason: str = ""
    dry_run: bool = False
    force: list[str] = []
    break_glass: bool = False  # approvals do not stop it, nor rules it names; who may and for how long is the plan's


class Failover(Write, kw_only=True):
    to: Literal["bcp", "primary"]


class FailoverMany(Write, kw_only=True):
    to: Literal["bcp", "primary"]
    tenant: str | None = None  # shell pattern over tenant names
    all: bool = False
    partial: bool = False  # groups that are refused stay, the others move
    spread_s: float = 0.0  # one after the other, over so many seconds


class FailbackMany(Write, kw_only=True):
    tenant: str | None = None
    all: bool = False
    now: bool = False
    partial: bool = False
    spread_s: float = 0.0


class Failback(Write, kw_only=True):
    now: bool = False


class Pin(Write, kw_only=True):
    to: Literal["bcp", "primary"]


class Admin(Write, kw_only=True):
    state: Literal["enabled", "draining", "disabled"]
    move: bool = False


class Automation(Write, kw_only=True):
    state: Literal["pause", "resume"]


class BreakGlass(Write, kw_only=True):
    state: Literal["on", "off"]


class Allow(Write, kw_only=True):
    cidr: str
    until: str  # RFC 3339


class SwitchOn(Write, kw_only=True):
    """An overlay or a kill switch, on."""

    until: str | None = None  # RFC 3339; without it until it is switched off


class Apply(Write, kw_only=True):
    files: dict[str, str]
    base: int | None = None
    commit: str | None = None
    despite: list[str] = []
    again: bool = False  # although this content was rolled back
    canary: str | None = None  # "5%": this share of the callers first
    canary_for_s: float | None = None  # then it is promoted, if it was judged well; None: ten minutes
    canary_hold: bool = False  # it is not promoted by itself


class CanaryGrow(Write, kw_only=True):
    share: str  # "25%"


class Rollback(Write, kw_only=True):
    base: int | None = None
    commit: str | None = None
    again: bool = False


class NewToken(Write, kw_only=True):
    name: str
    role: Literal["viewer", "editor", "operator", "admin"]


async def read_body(request: web.Request, kind: type[Body], limit: int = MAX_BODY_BYTES) -> Body:
    """The request's body as ``kind``.

    Raises: Problem 413 beyond ``limit`` bytes, 415 for anything but JSON, 400 for all that is wrong inside.
    """
    if request.content_type != "application/json":
        raise Problem(415, "not-json", f"the body is {request.content_type}", hint="send Content-Type: application/json")
    try:
        raw = await asyncio.wait_for(_read_bytes(request, limit), BODY_TIMEOUT_S)
    except TimeoutError as error:
        raise Problem(408, "bad-request", f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s") from error
    value = await asyncio.to_thread(_decoded, raw) if len(raw) > _THREAD_ABOVE_BYTES else _decoded(raw)
    texts_of_files = value.get("files") if kind is Apply and isinstance(value, dict) else None
    if isinstance(texts_of_files, dict):
        check_strings({key: item for key, item in value.items() if key != "files"})
        _check_files(texts_of_files)
    else:
        check_strings(value)
    try:
        body = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Problem(400, "bad-json", str(error), hint="GET /v1/openapi.json describes every body") from error
    if isinstance(body, Write) and not body.reason.strip():
        raise Problem(400, "reason-required", "a write needs a reason", hint='add "reason": "why, or a change number"')
    return body


def check_strings(value: Any) -> None:
    """Raises: Problem 400 if any string in a JSON value holds CR, LF or NUL, or is too long."""
    for text in _strings(value):
        check_string(text)


def check_string(text: str) -> str:
    if any(character in text for character in "\r\n\0"):
        raise Problem(400, "control-character", "a value holds CR, LF or NUL", hint="write it on one line")
    if len(text) > MAX_STRING_CHARACTERS:
        raise Problem(400, "bad-json", f"a value has {len(text)} characters, {MAX_STRING_CHARACTERS} is the most")
    return text


def network_of(text: str) -> str:
    """Raises: Problem 400 unless the text is an address or a network in CIDR form."""
    try:
        network = ipaddress.ip_network(text, strict=True)
    except ValueError as error:
        raise Problem(400, "bad-request", f"{text} is no network: {error}", hint="such as 198.51.100.0/28") from error
    if network.prefixlen < WIDEST_PREFIX[network.version]:
        raise Problem(400, "bad-request", f"{text} is half the world", hint=f"at most a /{WIDEST_PREFIX[network.version]}")
    return str(network)


def instant_of(text: str) -> float:
    """Unix seconds of an RFC 3339 time. Raises: Problem 400 for anything else, also a time without its zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Problem(400, "bad-request", f"{text} is no time: {error}", hint="such as 2026-11-22T18:00:00Z") from error
    if at.tzinfo is None:
        raise Problem(400, "bad-request", f"{text} says no time zone", hint="end it with Z or +01:00")
    return at.timestamp()


def query_number(request: web.Request, name: str) -> str | None:
    """A number from the query. A plus that was not escaped arrives as a space, so a space in front is one (FORMATS §3)."""
    text = query_text(request, name)
    return f"+{text.lstrip()}" if text is not None and text.startswith(" ") else text


def query_text(request: web.Request, name: str) -> str | None:
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise Problem(400, "bad-request", f"{name} is given {len(values)} times")
    return check_string(values[0]) if values and values[0] else None


def query_instant(request: web.Request, name: str) -> float | None:
    """A date and time with its offset (RFC 3339), as unix seconds."""
    text = query_text(request, name)
    if text is None:
        return None
    moment: datetime | None = None
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # an unescaped plus arrives as a space
    if moment is None or moment.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        hint = f"{name}=2026-12-24T10:00:00%2B01:00, from {FIRST_YEAR} to {LAST_YEAR}"
        raise Problem(400, "bad-request", f"{name} must be a date and time with its offset from UTC", hint=hint)
    return moment.timestamp()


def query_int(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    text = query_text(request, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not low <= int(text) <= high:
        raise Problem(400, "bad-request", f"{name} must be a whole number from {low} to {high}")
    return int(text)


async def _read_bytes(request: web.Request, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.content.iter_chunked(1 << 16):
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", f"the body is larger than {limit} bytes")


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "bad-json", f"the body is not JSON: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _strings(value: Any) -> Iterable[str]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item


def _check_files(files: dict[str, Any]) -> None:
    if len(files) > MAX_PLAN_FILES:
        raise Problem(413, "too-large", f"{len(files)} files, {MAX_PLAN_FILES} is the most")
    for path, text in files.items():
        check_string(path)
        parts = path.split("/")
        if not path.startswith(PLAN_FOLDERS) or "\\" in path or any(part in ("", ".", "..") for part in parts):
            raise Problem(
                400, "bad-request", f"{path} is no file of a plan", hint=f"paths begin with {' or '.join(PLAN_FOLDERS)}"
            )
        if isinstance(text, str) and "\0" in text:
            raise Problem(400, "control-character", f"{path} holds NUL: it is no text")
