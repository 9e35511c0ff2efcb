"""The kinds of values a plan is written with: each read from text, never guessed, with what `docs/` and the schema say of it.

Every kind is an `Annotated` type: a reader from text that raises `PydanticCustomError` with a finding's code, a `Kind` for the
tables in docs/, and a JSON Schema for editors (which see YAML's own numbers and booleans, so those are accepted there as well).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

MAX_COUNT: Final = 1_000_000_000
NAME_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}"
HOST_PATTERN: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}))*\.?"

_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DSCP: Final = {
    "ef": 46,
    "be": 0,
    **{f"cs{n}": 8 * n for n in range(8)},
    **{f"af{x}{y}": 8 * x + 2 * y for x in range(1, 5) for y in range(1, 4)},
}
_TRANSPORTS: Final = ("udp", "tcp")


@dataclass(frozen=True, slots=True)
class Kind:
    """What the tables in docs/ say of a kind of value."""

    name: str
    unit: str = ""
    range: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """transport:host:port, as a bind is written; host without brackets."""

    transport: str
    host: str
    port: int

    @property
    def is_wildcard(self) -> bool:
        return self.host in ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class HostPort:
    """An advertised address; port None: that of the bind."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class SbcUri:
    """sip:host[:port][;transport=udp|tcp] of an SBC; host without brackets."""

    host: str
    port: int | None
    transport: str
    is_literal: bool  # an address, not a name


class Also:
    """For the schema alone: another form a value may be written in, besides what it is read into."""

    __slots__ = ("_form",)

    def __init__(self, form: dict[str, Any] | None = None) -> None:
        self._form = form  # None: one item where a list may stand

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler(core)
        return {"anyOf": [self._form if self._form is not None else whole["items"], whole]}


def fault(code: str, message: str, hint: str = "") -> PydanticCustomError:
    """A finding in the making: its code, its sentence, its hint."""
    return PydanticCustomError("plan", "{message}", {"code": code, "message": message, "hint": hint})


def text_of(value: Any, expected: str) -> str:
    """The value if it is text."""
    if not isinstance(value, str):
        raise fault("plan.bad-value", f"{expected} is expected here, not a {'list' if isinstance(value, list) else 'map'}")
    return value


def one_or_many(value: Any) -> Any:
    """A string or a map where a list may stand means a list of one."""
    return [value] if isinstance(value, str | dict) else value


# -- readers -------------------------------------------------------------------------------------------------------------------


def _duration(least_s: float, most_s: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        text = text_of(value, "a duration")
        match = _DURATION.fullmatch(text)
        if match is None:
            raise fault("plan.bad-duration", f"{text!r} is no duration", "write a number and its unit: 500ms 2s 5m 12h 1d")
        seconds = round(float(match[1]) * _UNIT_S[match[2]], 6)
        if not least_s <= seconds <= most_s:
            raise fault("plan.bad-duration", f"{text} is outside {show_s(least_s)}..{show_s(most_s)}")
        return seconds

    return read


def _count(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        text = text_of(value, "a whole number")
        if not (text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most):
            raise fault("plan.bad-number", f"{text!r} is no whole number of {least}..{most}")
        return int(text)

    return read


def show_s(seconds: float) -> str:
    """A duration as a plan writes it, in the largest unit that is whole."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _UNIT_S[unit] and seconds % _UNIT_S[unit] == 0:
            return f"{int(seconds // _UNIT_S[unit])}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"


def _flag(value: Any) -> bool:
    text = text_of(value, "true or false")
    if text not in ("true", "false"):
        raise fault("plan.bad-flag", f"{text!r} is neither true nor false", "write true or false, in small letters")
    return text == "true"


def _share(value: Any) -> int:
    text = text_of(value, "a share")
    digits = text.removesuffix("%")
    if digits == text or not (digits.isascii() and digits.isdigit() and 1 <= len(digits) <= 3 and 1 <= int(digits) <= 100):
        raise fault("plan.bad-share", f"{text!r} is no share of 1%..100%", "write e.g. 10%")
    return int(digits)


def _choice(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        text = text_of(value, "one of " + ", ".join(choices))
        if text not in choices:
            near = get_close_matches(text, choices, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else ""
            raise fault("plan.bad-choice", f"{text!r} is none of {', '.join(choices)}", hint)
        return text

    return read


def _name(value: Any) -> str:
    text = text_of(value, "a name")
    if not re.fullmatch(NAME_PATTERN, text):
        raise fault("plan.bad-name", f"{text!r} is no name", "letters, digits, . _ - only, 63 at most")
    return text


def _label(value: Any) -> str:
    text = text_of(value, "text")
    if len(text) > 256 or not text.isprintable():
        raise fault(
            "plan.bad-value", "text of at most 256 characters without line breaks or other control characters is expected"
        )
    return text


def _token(value: Any) -> str:
    """Text that will stand in a SIP URI: no delimiters, so nothing can be smuggled."""
    text = text_of(value, "text")
    if not re.fullmatch(r"[A-Za-z0-9.+_~*!%-]{1,64}", text):
        raise fault("plan.bad-value", f"{text!r} may hold letters, digits and . + _ ~ * ! % - only, 64 at most")
    return text


def _host(value: Any) -> str:
    text = text_of(value, "a host")
    if is_address(text.strip("[]")) or re.fullmatch(HOST_PATTERN, text):
        return text.lower()
    raise fault("plan.bad-address", f"{text!r} is neither an address nor a host name")


def _bind(value: Any) -> Endpoint:
    text = text_of(value, "a bind")
    transport, colon, rest = text.partition(":")
    if transport == "tls" and colon:
        raise fault("plan.not-built-yet", "tls binds are not built yet")
    host, port = split_host_port(rest)
    if not colon or transport not in _TRANSPORTS or host is None or not is_address(host):
        raise fault("plan.bad-address", f"{text!r} is no bind", 'write "udp:203.0.113.9:5060" or "tcp:[2001:db8::1]:5060"')
    return Endpoint(transport, str(ip_address(host)), port or 5060)


def _advertise(value: Any) -> HostPort:
    text = text_of(value, "an address")
    host, port = split_host_port(text)
    if host is None or not (is_address(host) or re.fullmatch(HOST_PATTERN, host)):
        raise fault("plan.bad-address", f"{text!r} is no address to advertise", 'write "203.0.113.9:5060" or "sip.example.net"')
    return HostPort(host, port)


def _network(value: Any) -> str:
    text = text_of(value, "a network")
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        wider = ip_network(text, strict=False)
    except ValueError:
        raise fault("plan.bad-address", f"{text!r} is no address or network", "write 198.51.100.7 or 198.51.100.0/28") from None
    raise fault("plan.bad-address", f"{text} has bits set beyond its mask", f"did you mean {wider}, or the one address?")


def _sbc_uri(value: Any) -> SbcUri:
    text = text_of(value, "a SIP URI")
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "sips" or ";transport=tls" in text.lower():
        raise fault("plan.not-built-yet", "TLS towards SBCs is not built yet")
    address, *params = rest.split(";")
    host, port = split_host_port(address)
    transport = "udp"
    wrong = scheme.lower() != "sip" or host is None or not (is_address(host) or re.fullmatch(HOST_PATTERN, host))
    for param in params:
        key, _, setting = param.partition("=")
        wrong = wrong or key.lower() != "transport" or setting.lower() not in _TRANSPORTS
        transport = setting.lower()
    if wrong or host is None:
        raise fault("plan.bad-address", f"{text!r} is no SBC's URI", 'write "sip:10.4.1.11:5060;transport=udp"')
    literal = is_address(host)
    return SbcUri(str(ip_address(host)) if literal else host.lower(), port, transport, literal)


def _dscp(value: Any) -> int:
    text = text_of(value, "a DSCP").lower()
    number = _DSCP.get(text, int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 64)
    if number > 63:
        raise fault("plan.bad-value", f"{text!r} is no DSCP", "write cs3, af31, ef or 0..63")
    return number


def _header_name(value: Any) -> str:
    return header_text(value).lower()


def header_text(value: Any) -> str:
    """A header's name as it is written."""
    text = text_of(value, "a header name")
    if not re.fullmatch(r"[A-Za-z0-9.!%*_+`'~-]{1,64}", text):
        raise fault("plan.bad-value", f"{text!r} is no header name")
    return text


def _called_from(value: Any) -> str:
    text = text_of(value, "where the number stands")
    if text in ("request-uri", "to", "p-called-party-id", "diversion"):
        return text
    kind, colon, name = text.partition(":")
    if kind == "header" and colon:
        return f"header:{_header_name(name)}"
    raise fault("plan.bad-choice", f"{text!r} is none of request-uri, to, p-called-party-id, diversion, header:NAME")


def _advance_on(value: Any) -> frozenset[int | str]:
    """[no-reply, no-progress, 408, 500, 502-504] → {"no-reply", "no-progress", 408, …}."""
    found: set[int | str] = set()
    for item in one_or_many(value):
        text = text_of(item, "a status, a range of statuses, no-reply or no-progress")
        low, dash, high = text.partition("-")
        if text in ("no-reply", "no-progress"):
            found.add(text)
        elif re.fullmatch(r"[3-6]\d\d", low) and (not dash or re.fullmatch(r"[3-6]\d\d", high)) and int(low) <= int(high or low):
            found.update(range(int(low), int(high or low) + 1))
        else:
            raise fault(
                "plan.bad-value", f"{text!r} is no status, range, no-reply or no-progress", "e.g. [no-reply, 408, 502-504]"
            )
    return frozenset(found)


def _country(value: Any) -> str:
    text = text_of(value, "a country")
    if not re.fullmatch(r"[A-Z]{2}", text):
        raise fault("plan.bad-value", f"{text!r} is no country", "two capital letters, e.g. DE")
    return text


def _statuses(value: Any) -> tuple[tuple[int, str], ...]:
    if not isinstance(value, dict):
        raise fault("plan.bad-value", "a map of statuses is expected", "e.g. replies: {404: failed}")
    read, choose = _count(200, 699), _choice(("alive", "failed", "busy"))
    return tuple(sorted((read(status), choose(meaning)) for status, meaning in value.items()))


def _not_built(value: Any) -> None:
    if value in ({}, []):
        return
    raise fault("plan.not-built-yet", "this is planned, but not built yet", "leave it out")


def is_address(text: str) -> bool:
    """Whether text is a literal IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def split_host_port(text: str) -> tuple[str | None, int | None]:
    """host, [v6]:port or host:port; (None, None) if it is neither. Host comes back without brackets."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::(\d{1,5}))?", text)
    if match is None or (match[3] is not None and not 1 <= int(match[3]) <= 65535) or (match[1] and not is_address(match[1])):
        return None, None
    return match[1] or match[2], int(match[3]) if match[3] else None


# -- kinds -----------------------------------------------------------------------------------------------------------------------

_INT_SCHEMA: Final = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\d+$"}]}
_TEXT_SCHEMA: Final = {"type": ["string", "integer", "number"]}
_DURATION_SCHEMA: Final = {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"}


def _many_schema(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _names(value: Any) -> tuple[str, ...]:
    items = one_or_many(value)
    if not isinstance(items, list):
        raise fault("plan.bad-value", "a name or a list of names is expected here")
    return tuple(_name(item) for item in items)


Name = Annotated[str, PlainValidator(_name), Kind("name"), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
Names = Annotated[
    tuple[str, ...], PlainValidator(_names), Kind("name or list of names"), WithJsonSchema(_many_schema({"type": "string"}))
]
Label = Annotated[str, PlainValidator(_label), Kind("text", range="256 characters"), WithJsonSchema(_TEXT_SCHEMA)]
Token = Annotated[str, PlainValidator(_token), Kind("text", range="64 characters"), WithJsonSchema(_TEXT_SCHEMA)]
Host = Annotated[str, PlainValidator(_host), Kind("host"), WithJsonSchema({"type": "string"})]
Flag = Annotated[bool, PlainValidator(_flag), Kind("boolean", range="true, false"), WithJsonSchema({"type": "boolean"})]
Share = Annotated[
    int, PlainValidator(_share), Kind("share", "%", "1%..100%"), WithJsonSchema({"type": "string", "pattern": r"^\d{1,3}%$"})
]
Bind = Annotated[Endpoint, PlainValidator(_bind), Kind("transport:address:port"), WithJsonSchema({"type": "string"})]
Binds = Annotated[tuple[Bind, ...], BeforeValidator(one_or_many), WithJsonSchema(_many_schema({"type": "string"}))]
Advertise = Annotated[HostPort, PlainValidator(_advertise), Kind("host:port"), WithJsonSchema({"type": "string"})]
Advertises = Annotated[tuple[Advertise, ...], BeforeValidator(one_or_many), WithJsonSchema(_many_schema({"type": "string"}))]
Network = Annotated[str, PlainValidator(_network), Kind("address or network"), WithJsonSchema({"type": "string"})]
Networks = Annotated[tuple[Network, ...], BeforeValidator(one_or_many), WithJsonSchema(_many_schema({"type": "string"}))]
Uri = Annotated[SbcUri, PlainValidator(_sbc_uri), Kind("SIP URI"), WithJsonSchema({"type": "string", "pattern": "^sip:"})]
Dscp = Annotated[int, PlainValidator(_dscp), Kind("DSCP", range="cs0..cs7, af11..af43, ef, 0..63"), WithJsonSchema(_TEXT_SCHEMA)]
HeaderName = Annotated[str, PlainValidator(_header_name), Kind("header name"), WithJsonSchema({"type": "string"})]
HeaderNames = Annotated[tuple[HeaderName, ...], BeforeValidator(one_or_many), WithJsonSchema(_many_schema({"type": "string"}))]
CalledFrom = Annotated[
    str,
    PlainValidator(_called_from),
    Kind("choice", range="request-uri, to, p-called-party-id, diversion, header:NAME"),
    WithJsonSchema({"type": "string", "pattern": "^(request-uri|to|p-called-party-id|diversion|header:.+)$"}),
]
AdvanceOn = Annotated[
    frozenset[int | str],
    PlainValidator(_advance_on),
    Kind("list", range="no-reply, no-progress, 300..699, ranges of them"),
    WithJsonSchema({"type": "array", "items": {"type": ["string", "integer"]}}),
]
Country = Annotated[
    str, PlainValidator(_country), Kind("ISO 3166 country"), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"})
]
Replies = Annotated[
    tuple[tuple[int, str], ...],
    PlainValidator(_statuses),
    Kind("map status: alive, failed or busy", range="200..699"),
    WithJsonSchema({"type": "object", "additionalProperties": {"enum": ["alive", "failed", "busy"]}}),
]
NotBuilt = Annotated[None, PlainValidator(_not_built), Kind("○ not built yet"), WithJsonSchema({"description": "not built yet"})]

Priority = Annotated[int, PlainValidator(_count(0, 65535)), Kind("number", range="0..65535"), WithJsonSchema(_INT_SCHEMA)]
Calls = Annotated[
    int, PlainValidator(_count(0, MAX_COUNT)), Kind("number", "calls", f"0..{MAX_COUNT}"), WithJsonSchema(_INT_SCHEMA)
]
Cps = Annotated[int, PlainValidator(_count(1, 100_000)), Kind("number", "calls/s", "1..100000"), WithJsonSchema(_INT_SCHEMA)]
Days = Annotated[int, PlainValidator(_count(1, 36_500)), Kind("number", "days", "1..36500"), WithJsonSchema(_INT_SCHEMA)]
Few = Annotated[int, PlainValidator(_count(1, 100)), Kind("number", range="1..100"), WithJsonSchema(_INT_SCHEMA)]
Port = Annotated[int, PlainValidator(_count(1, 65535)), Kind("port", range="1..65535"), WithJsonSchema(_INT_SCHEMA)]
Failure = Annotated[int, PlainValidator(_count(400, 699)), Kind("SIP status", range="400..699"), WithJsonSchema(_INT_SCHEMA)]
Cause = Annotated[int, PlainValidator(_count(1, 127)), Kind("Q.850 cause", range="1..127"), WithJsonSchema(_INT_SCHEMA)]
Short = Annotated[
    float, PlainValidator(_duration(0.05, 60.0)), Kind("duration", "s", "50ms..1m"), WithJsonSchema(_DURATION_SCHEMA)
]
Period = Annotated[
    float, PlainValidator(_duration(0.1, 3600.0)), Kind("duration", "s", "100ms..1h"), WithJsonSchema(_DURATION_SCHEMA)
]
Wait = Annotated[
    float, PlainValidator(_duration(0.0, 86400.0)), Kind("duration", "s", "0s..1d"), WithJsonSchema(_DURATION_SCHEMA)
]
Hold = Annotated[
    float, PlainValidator(_duration(300.0, 3600.0)), Kind("duration", "s", "5m..1h"), WithJsonSchema(_DURATION_SCHEMA)
]
Minutes = Annotated[
    float, PlainValidator(_duration(60.0, 86400.0)), Kind("duration", "s", "1m..1d"), WithJsonSchema(_DURATION_SCHEMA)
]
Samples = Annotated[int, PlainValidator(_count(10, 100_000)), Kind("number", "calls", "10..100000"), WithJsonSchema(_INT_SCHEMA)]
Age = Annotated[
    float, PlainValidator(_duration(60.0, 30 * 86400.0)), Kind("duration", "s", "1m..30d"), WithJsonSchema(_DURATION_SCHEMA)
]


def offer(*choices: str, also: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """Annotations of a choice; `also`: what YAML makes of one of them in an editor (off: false)."""
    schema = WithJsonSchema({"enum": [*choices, *also]})
    return PlainValidator(_choice(choices)), Kind("choice", range=", ".join(choices)), schema


Format = Annotated[str, *offer("e164", "e164-no-plus", "national", "exact")]
Strategy = Annotated[str, *offer("active-standby", "load-share")]
InDialog = Annotated[str, *offer("remote-target", "symmetric")]
Redundancy = Annotated[str, *offer("pair", "virtual-ip")]
ByHand = Annotated[str, *offer("automatic", "manual")]
Across = Annotated[str, *offer("never", "to-bcp", "both")]


def _mode(value: Any) -> str:
    if value in ("b2bua", "redirect"):
        raise fault("plan.not-built-yet", f"mode {value} is not built yet", "leave it out, or write proxy")
    return _choice(("proxy",))(value)


Mode = Annotated[
    str, PlainValidator(_mode), Kind("choice", range="proxy (b2bua, redirect ○)"), WithJsonSchema({"enum": ["proxy"]})
]
