"""Typed headers, read on demand from the octets of one value.

A router forwards most headers unread; what it must understand it reads here, once, when it needs it.  Every function takes
the unfolded value of one header field (without its name), returns an immutable value, and raises SipSyntaxError and nothing
else, whatever the octets; the offset counts from the start of that value.  Functions named in the plural read comma lists.
Source: RFC 3261 §20 and §25.1, and the RFC named at each function.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from sipctl.errors import SipSyntaxError
from sipctl.sip.grammar import (
    QUOTED,
    TOKEN,
    WS,
    Params,
    check_host,
    find_param,
    find_single_param,
    parse_number,
    parse_params,
    quote,
    split_list,
    token_re,
    unquote,
)
from sipctl.sip.uri import MAX_PORT, Uri, parse_uri

MAX_CSEQ: Final = 2**31 - 1  # RFC 3261 §8.1.1.5
MAX_HOPS: Final = 255  # §20.22
MAX_DELTA_S: Final = 2**32 - 1  # §20.19
MAX_CONTENT_LENGTH: Final = 2**31 - 1  # what can be written; what is accepted is framing's to say
MAX_CAUSE: Final = 999
MAGIC_COOKIE: Final = b"z9hG4bK"  # §8.1.1.7

_via_re: Final = re.compile(
    WS + rb"[Ss][Ii][Pp]" + WS + b"/" + WS + rb"2\.0" + WS + b"/" + WS + b"(" + TOKEN + b")[ \t]+"
    rb"([A-Za-z0-9_][A-Za-z0-9_.\-]*|\[[0-9A-Fa-f:.]{2,45}\])(?:" + WS + b":" + WS + rb"([0-9]+))?" + WS
)
_received_re: Final = re.compile(rb"[0-9A-Fa-f:.]+")
_quoted_name_re: Final = re.compile(WS + b"(" + QUOTED + b")" + WS + b"<")
_bare_name_re: Final = re.compile(rb'([^"<>,;@:\x00-\x08\x0a-\x1f\x7f]*)<')  # wider than tokens: names are sent in UTF-8
_bare_uri_re: Final = re.compile(WS + rb"([^ \t<>\",;?]+)" + WS)
_cseq_re: Final = re.compile(WS + rb"([0-9]+)[ \t]+(" + TOKEN + b")" + WS)
_delta_re: Final = re.compile(WS + rb"([0-9]+)" + WS)
_comment_piece_re: Final = re.compile(rb"[^()\\\x00-\x08\x0a-\x1f\x7f]+|\\[\x00-\x09\x0b\x0c\x0e-\x7f]|[()]")
_priority_re: Final = re.compile(rb"([A-Za-z0-9\-!%*_+`'~]+)\.([A-Za-z0-9\-!%*_+`'~]+)")  # RFC 4412 §3.1, no dot in either
_date_re: Final = re.compile(
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


class NameAddr(NamedTuple):
    """An address with its display name and the header's parameters: From, To, Contact, Route, P-Asserted-Identity."""

    display: bytes  # without quotes and quoted pairs; empty if there is none
    uri: Uri
    params: Params  # of the header, not of the URI

    def __bytes__(self) -> bytes:
        name = quote(self.display) + b" " if self.display else b""
        tail = [b";" + key if value is None else b";" + key + b"=" + value for key, value in self.params]
        return name + b"<" + bytes(self.uri) + b">" + b"".join(tail)

    def param(self, name: bytes) -> bytes | None:
        """Look up a header parameter: its value, b"" for a bare flag, None if absent; ``name`` in lower case."""
        return find_param(self.params, name)

    @property
    def tag(self) -> bytes | None:
        """The tag of a From or To; None if it has none."""
        return find_param(self.params, b"tag")


class Via(NamedTuple):
    """One hop: who sent the message and where it wants the response."""

    transport: bytes  # upper case
    host: bytes  # IPv6 with its brackets
    port: int | None
    branch: bytes | None  # None: a peer of RFC 2543, matched by the whole request (§17.2.3)
    received: bytes | None  # without brackets
    rport: int | Literal[b""] | None  # b"": asked for, not filled in yet, RFC 3581
    params: Params
    raw: bytes  # as written

    @property
    def has_cookie(self) -> bool:
        """True if the branch identifies the transaction: cookie and at least one character more, §8.1.1.7."""
        branch = self.branch
        return branch is not None and len(branch) > len(MAGIC_COOKIE) and branch[:7].lower() == b"z9hg4bk"


class CSeq(NamedTuple):
    """Number and method of a request, copied into its responses."""

    number: int  # 0..MAX_CSEQ
    method: bytes  # methods are case-sensitive


class RetryAfter(NamedTuple):
    """How long a peer asks to be left alone."""

    delay_s: int
    duration_s: int | None  # how long it will be there afterwards
    comment: bytes


class Reason(NamedTuple):
    """Why a request or response was sent, RFC 3326."""

    protocol: bytes  # as written: SIP, Q.850
    cause: int | None
    text: bytes
    params: Params


class SessionExpires(NamedTuple):
    """How long a session lasts without refresh, RFC 4028."""

    interval_s: int
    refresher: bytes | None  # b"uac", b"uas" or None


class ResourcePriority(NamedTuple):
    """One namespace and the priority in it, RFC 4412; lower case."""

    namespace: bytes
    priority: bytes


def parse_via(value: bytes) -> Via:
    """Read one Via element. Cost: 6 µs. Source: RFC 3261 §20.42, RFC 3581."""
    found = _via_re.match(value)
    if found is None:
        raise SipSyntaxError("Via needs SIP/2.0/transport and a host", offset=0)
    transport, host, digits = found.groups()
    check_host(host, found.start(2))
    port = None if digits is None else parse_number(digits, "port", at=found.start(3), most=MAX_PORT)
    params = parse_params(value, found.end())
    branch: bytes | None = None
    received: bytes | None = None
    rport: int | Literal[b""] | None = None
    for name, text in params:
        key = name.lower()
        if key == b"branch":
            if branch is not None:
                raise SipSyntaxError("branch given twice", offset=found.end())
            branch = text or b""
        elif key == b"rport":
            rport = parse_number(text, "rport", at=found.end(), most=MAX_PORT) if text else b""
        elif key == b"received":
            received = (text or b"").removeprefix(b"[").removesuffix(b"]")
            if not _received_re.fullmatch(received):
                raise SipSyntaxError("received is not an address", offset=found.end())
    return Via(transport.upper(), host, port, branch or None, received, rport, params, value.strip(b" \t"))


def parse_vias(value: bytes) -> tuple[Via, ...]:
    """Read all elements of one Via header field, at least one."""
    return tuple([parse_via(element) for element in _some(split_list(value))])


def parse_name_addr(value: bytes, *, bare: bool = True) -> NameAddr:
    """Read ``"name" <uri>;params`` or, where ``bare`` allows it, ``uri;params``.

    Without brackets a semicolon begins a parameter of the header, and ``?`` and ``,`` are refused (RFC 3261 §20.10).

    Cost: 12 µs with a quoted name, a sip: URI and a tag.
    """
    found = _quoted_name_re.match(value) or _bare_name_re.match(value)
    if found is None:
        plain = _bare_uri_re.match(value) if bare else None
        if plain is None:
            raise SipSyntaxError("expected an address in angle brackets", offset=0)
        return NameAddr(b"", _uri_at(plain[1], plain.start(1)), parse_params(value, plain.end()))
    start = found.end()
    end = value.find(b">", start)
    if end < 0:
        raise SipSyntaxError("angle bracket is not closed", offset=start - 1)
    display = unquote(found[1].strip(b" \t"))
    return NameAddr(display, _uri_at(value[start:end], start), parse_params(value, end + 1))


def parse_from_to(value: bytes) -> NameAddr:
    """Read a From or To. Raises: SipSyntaxError also for two tags, since elements would tell different dialogs."""
    address = parse_name_addr(value)
    find_single_param(address.params, b"tag")
    return address


def parse_contacts(value: bytes) -> tuple[NameAddr, ...] | Literal[b"*"]:
    """Read a Contact header field: addresses, or b"*"."""
    if value.strip(b" \t") == b"*":
        return b"*"
    return tuple([parse_name_addr(element) for element in _some(split_list(value))])


def parse_routes(values: Iterable[bytes]) -> tuple[NameAddr, ...]:
    """Read a Route or Record-Route set, in order, from all its header fields: brackets are required, §20.34."""
    return tuple([parse_name_addr(element, bare=False) for value in values for element in _some(split_list(value))])


def parse_identities(value: bytes) -> tuple[NameAddr, ...]:
    """Read P-Asserted-Identity or P-Preferred-Identity. Source: RFC 3325 §9.1."""
    return tuple([parse_name_addr(element) for element in _some(split_list(value))])


def parse_cseq(value: bytes) -> CSeq:
    """Read a CSeq: number below 2**31, then the method. Source: RFC 3261 §20.16."""
    found = _cseq_re.fullmatch(value)
    if found is None:
        raise SipSyntaxError("CSeq needs a number and a method", offset=0)
    return CSeq(parse_number(found[1], "CSeq", at=found.start(1), most=MAX_CSEQ), found[2])


def parse_max_forwards(value: bytes) -> int:
    """Read how many hops are left, 0..255."""
    return parse_number(value.strip(b" \t"), "Max-Forwards", most=MAX_HOPS)


def parse_content_length(value: bytes) -> int:
    """Read the length of the body: digits and nothing else, so that no two elements see different messages."""
    return parse_number(value.strip(b" \t"), "Content-Length", most=MAX_CONTENT_LENGTH)


def parse_content_lengths(values: Iterable[bytes]) -> int | None:
    """Read all Content-Length fields of a message: one length, however often it is written, or None if there is none."""
    lengths = {parse_content_length(value) for value in values}
    if len(lengths) > 1:
        raise SipSyntaxError("two Content-Lengths that differ", offset=0)
    return lengths.pop() if lengths else None


def parse_retry_after(value: bytes) -> RetryAfter:
    """Read ``seconds (comment) ;duration=seconds``. Source: RFC 3261 §20.33."""
    found = _delta_re.match(value)
    if found is None:
        raise SipSyntaxError("Retry-After needs seconds", offset=0)
    delay_s = parse_number(found[1], "Retry-After", at=found.start(1), most=MAX_DELTA_S)
    end = _comment_end(value, found.end())
    comment = value[found.end() : end].strip(b" \t")
    duration = find_param(parse_params(value, end), b"duration")
    duration_s = None if duration is None else parse_number(duration, "duration", at=end, most=MAX_DELTA_S)
    return RetryAfter(delay_s, duration_s, comment[1:-1])


def parse_reasons(value: bytes) -> tuple[Reason, ...]:
    """Read a Reason header field. Source: RFC 3326 §2."""
    return tuple([_parse_reason(element) for element in _some(split_list(value))])


def parse_session_expires(value: bytes) -> SessionExpires:
    """Read ``seconds;refresher=uac|uas``. Source: RFC 4028 §4."""
    found = _delta_re.match(value)
    if found is None:
        raise SipSyntaxError("Session-Expires needs seconds", offset=0)
    interval_s = parse_number(found[1], "Session-Expires", at=found.start(1), most=MAX_DELTA_S)
    refresher = find_param(parse_params(value, found.end()), b"refresher")
    if refresher is not None and refresher.lower() not in (b"uac", b"uas"):
        raise SipSyntaxError("refresher is uac or uas", offset=found.end())
    return SessionExpires(interval_s, None if refresher is None else refresher.lower())


def parse_resource_priorities(value: bytes) -> tuple[ResourcePriority, ...]:
    """Read a Resource-Priority header field. Source: RFC 4412 §3.1."""
    priorities = []
    for element in _some(split_list(value)):
        found = _priority_re.fullmatch(element)
        if found is None:
            raise SipSyntaxError("Resource-Priority needs namespace.priority", offset=0)
        priorities.append(ResourcePriority(found[1].lower(), found[2].lower()))
    return tuple(priorities)


def parse_option_tags(value: bytes) -> tuple[bytes, ...]:
    """Read Require, Proxy-Require or Supported: tokens, as written; none for an empty value (§20.37)."""
    tags = tuple(split_list(value))
    for tag in tags:
        if not token_re.fullmatch(tag):
            raise SipSyntaxError("option tag is not a token", offset=0)
    return tags


def parse_date(value: bytes) -> datetime:
    """Read an RFC 1123 date; SIP knows no zone but GMT. Source: RFC 3261 §20.17."""
    found = _date_re.fullmatch(value.strip(b" \t"))
    if found is None or found[2] not in _MONTHS:
        raise SipSyntaxError("Date is not an RFC 1123 date in GMT", offset=0)
    day, year, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 6))
    try:
        return datetime(year, _MONTHS.index(found[2]) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)  # 60: leap second
    except ValueError as error:
        raise SipSyntaxError("Date names a day or time that does not exist", offset=0) from error


def _some(elements: list[bytes]) -> list[bytes]:
    if not elements:
        raise SipSyntaxError("header is empty", offset=0)
    return elements


def _uri_at(text: bytes, at: int) -> Uri:
    try:
        return parse_uri(text)
    except SipSyntaxError as error:
        raise SipSyntaxError(error.detail, offset=at + error.offset, status=error.status) from error


def _comment_end(value: bytes, at: int) -> int:
    """Find where a comment that may begin at ``at`` ends; comments nest, hence the count instead of an expression."""
    if value[at : at + 1] != b"(":
        return at
    depth = 0
    while (found := _comment_piece_re.match(value, at)) is not None:
        at = found.end()
        depth += {b"(": 1, b")": -1}.get(found[0], 0)
        if depth == 0:
            return at
    raise SipSyntaxError("comment is not closed", offset=at)


def _parse_reason(element: bytes) -> Reason:
    found = token_re.match(element)
    if found is None:
        raise SipSyntaxError("Reason needs a protocol", offset=0)
    params = parse_params(element, found.end())
    cause = find_param(params, b"cause")
    return Reason(
        protocol=found[0],
        cause=None if cause is None else parse_number(cause, "cause", at=found.end(), most=MAX_CAUSE),
        text=unquote(find_param(params, b"text") or b""),
        params=params,
    )
