"""The bytes we put on the wire: Via and response addresses, replies of our own, CANCEL, ACK, BYE and OPTIONS.

Everything here is a function of bytes. What is spliced into a forwarded message is a whole line; nothing received is ever
re-encoded. Values of ours hold no CR, LF or NUL: they are made of tokens, addresses and the fixed phrases below.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sipctl.errors import SipSyntaxError
from sipctl.routing.snapshot import Listen
from sipctl.sip import native
from sipctl.sip.grammar import split_list
from sipctl.sip.headers import parse_via
from sipctl.sip.message import CALL_ID, CSEQ, FROM, RECORD_ROUTE, TO, VIA, Message, tag_of, value_of

COOKIE: Final = b"z9hG4bK"
RELAYED: Final = COOKIE + b"r"  # begins the branches of forwarded requests …
SIBLING: Final = COOKIE + b"s"  # … and of in-dialog requests sent to the sibling of a silent SBC
CRLF: Final = b"\r\n"
END: Final = b"Content-Length: 0\r\n\r\n"
ALLOW: Final = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, SUBSCRIBE, MESSAGE"
USER_AGENT: Final = b"User-Agent: sipctl"

REASONS: Final = {
    100: b"Trying", 200: b"OK", 302: b"Moved Temporarily", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 410: b"Gone", 416: b"Unsupported URI Scheme",
    420: b"Bad Extension", 480: b"Temporarily Unavailable", 481: b"Call/Transaction Does Not Exist", 482: b"Loop Detected",
    483: b"Too Many Hops", 484: b"Address Incomplete", 486: b"Busy Here", 487: b"Request Terminated",
    488: b"Not Acceptable Here",
    500: b"Server Internal Error",
    502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Server Time-out", 505: b"Version Not Supported",
    513: b"Message Too Large", 600: b"Busy Everywhere", 603: b"Decline",
}  # fmt: skip
# The Q.850 cause of answers we make ourselves, where the rule that makes them names none (ITU-T Q.850; RFC 3398 §8).
CAUSES: Final = {
    400: 111, 403: 21, 404: 1, 405: 111, 408: 102, 410: 22, 416: 111, 420: 111, 480: 41, 481: 111, 482: 25, 483: 25, 484: 28,
    486: 17, 487: 31, 500: 41, 502: 38, 503: 42, 504: 102, 505: 111, 513: 111, 600: 17, 603: 21,
}  # fmt: skip


class Upstream:
    """The hop a request came from, as its top Via and its source tell it."""

    __slots__ = ("host", "key", "line", "port")

    def __init__(self, key: bytes, line: bytes, host: str, port: int) -> None:
        self.key = key  # branch and sent-by: with the method, the server transaction (RFC 3261 §17.2.3)
        self.line = line  # the top Via line as it travels on: with received and rport (RFC 3261 §18.2.1, RFC 3581 §4)
        self.host = host  # where responses go
        self.port = port


def read_upstream(message: Message, source_host: str, source_port: int) -> Upstream:
    """Read the top Via of a request that came from that source.

    Returns: the hop. A branch without the magic cookie (RFC 2543) is replaced in the key by what §17.2.3 compares instead.
    Raises: SipSyntaxError when there is no Via to answer to.
    """
    line = message.lines[message.at[VIA]]
    read = native.usual_via(line, source_host, source_port)
    if read is not None:
        return Upstream(read[0], read[1], source_host, read[2])
    return _read_any_via(message, line, source_host, source_port)


def _read_any_via(message: Message, line: bytes, source_host: str, source_port: int) -> Upstream:
    values = split_list(value_of(line))
    if not values:
        raise SipSyntaxError("the top Via is empty", offset=message.offset_of(VIA))
    top = values[0]
    via = parse_via(top)
    host = via.host.decode("latin-1").strip("[]")
    sent_by = via.host if via.port is None else b"%b:%d" % (via.host, via.port)
    added = b""
    raw = top
    if via.rport is not None:
        raw = _without_params(raw, (b"rport", b"received"))
        added = b";received=%b;rport=%d" % (source_host.encode(), source_port)
    elif host.lower() != source_host or via.received is not None:
        raw = _without_params(raw, (b"received",))
        added = b";received=" + source_host.encode()
    port = source_port if via.rport is not None else (via.port or 5060)
    branch = via.branch
    key = branch + b"|" + sent_by if branch is not None and via.has_cookie else _old_key(message, top)
    return Upstream(key, b"Via: " + b", ".join((raw + added, *values[1:])), source_host, port)


def _without_params(via: bytes, names: tuple[bytes, ...]) -> bytes:
    parts = via.split(b";")
    return b";".join(part for part in parts if part.partition(b"=")[0].strip().lower() not in names)


def _old_key(message: Message, top: bytes) -> bytes:
    """What identifies a transaction of RFC 2543: Request-URI, From tag, Call-ID, CSeq number and top Via (§17.2.3)."""
    number = message.value(CSEQ).split(b" ")[0]
    tag = message.from_tag() if FROM in message.at else b""
    return b"2543|" + b"|".join((message.uri, tag, message.value(CALL_ID), number, top))


def next_via(message: Message) -> tuple[bytes, str, int] | None:
    """Of a response, the hop below our Via: (key, host, port) as `Upstream` had them; None if there is none to read."""
    values: list[bytes] = []
    try:
        for line in message.values(VIA):
            values += split_list(line)
            if len(values) > 1:
                break
        if len(values) < 2:
            return None
        via = parse_via(values[1])
    except SipSyntaxError:
        return None
    if via.branch is None:
        return None
    sent_by = via.host if via.port is None else b"%b:%d" % (via.host, via.port)
    host = (via.received or via.host.strip(b"[]")).decode("latin-1")
    port = via.rport if isinstance(via.rport, int) else (via.port or 5060)
    return via.branch + b"|" + sent_by, host, port


def via_line(listen: Listen, branch: bytes) -> bytes:
    """Our own Via."""
    host = listen.advertise_host
    if ":" in host:
        host = f"[{host}]"
    return b"Via: SIP/2.0/%b %b:%d;branch=%b" % (listen.transport.upper().encode(), host.encode(), listen.advertise_port, branch)


def address_text(listen: Listen) -> bytes:
    """host:port of a Listen as URIs carry it, with the transport when it is not UDP."""
    host = listen.advertise_host
    if ":" in host:
        host = f"[{host}]"
    text = b"%b:%d" % (host.encode(), listen.advertise_port)
    return text if listen.transport == "udp" else text + b";transport=" + listen.transport.encode()


def reply(
    message: Message, via: bytes | None, status: int, *, to_tag: bytes = b"", phrase: bytes = b"", extra: Iterable[bytes] = ()
) -> bytes:
    """A response of our own to a request.

    Args:
        via: the top Via line with received and rport, or None to leave it as it came.
        to_tag: put on To if it has none; required but for 100 (RFC 3261 §8.2.6.2).
        extra: whole header lines.
    """
    lines = message.lines
    at = message.at
    parts = [b"SIP/2.0 %d %b" % (status, phrase or REASONS.get(status, b"Error"))]
    if not message.repeated & 1 << VIA and VIA in at:
        parts.append(lines[at[VIA]] if via is None else via)
    else:
        vias = [line for line in lines if _is_via(line)]
        if vias and via is not None:
            vias[0] = via
        parts += vias
    for code in (FROM, TO, CALL_ID, CSEQ):
        if code in at:
            line = lines[at[code]]
            if code == TO and to_tag and not tag_of(line):
                line += b";tag=" + to_tag
            parts.append(line)
    if status >= 180 and status < 300:
        parts += [line for line in lines if line[:13].lower() == b"record-route:"]
    parts += extra
    return CRLF.join(parts) + CRLF + END


def _is_via(line: bytes) -> bool:
    return line.partition(b":")[0].strip().lower() in (b"via", b"v")


def is_doubtful(status: int) -> bool:
    """What an SBC answers that does not know the dialog, or cannot tell now."""
    return status in (408, 481) or status >= 500


def reason_line(cause: int, protocol: bytes = b"Q.850", text: bytes = b"") -> bytes:
    """A Reason header (RFC 3326)."""
    line = b"Reason: %b;cause=%d" % (protocol, cause)
    return line + b';text="' + text + b'"' if text else line


def cancel(uri: bytes, via: bytes, message: Message, reason: bytes = b"") -> bytes:
    """CANCEL of an INVITE we sent: its Request-URI, our Via, From, To, Call-ID and CSeq number (RFC 3261 §9.1)."""
    return _hop_request(b"CANCEL", uri, via, message, message.lines[message.at[TO]], reason)


def ack(uri: bytes, via: bytes, message: Message, to_line: bytes) -> bytes:
    """ACK of a non-2xx final response: hop by hop, same branch, To of the response (RFC 3261 §17.1.1.3)."""
    return _hop_request(b"ACK", uri, via, message, to_line, b"")


def _hop_request(method: bytes, uri: bytes, via: bytes, message: Message, to_line: bytes, reason: bytes) -> bytes:
    lines, at = message.lines, message.at
    number = value_of(lines[at[CSEQ]]).split()[0]
    parts = [
        method + b" " + uri + b" SIP/2.0", via, b"Max-Forwards: 70", lines[at[FROM]], to_line, lines[at[CALL_ID]],
        b"CSeq: " + number + b" " + method,
    ]  # fmt: skip
    if reason:
        parts.append(reason)
    return CRLF.join(parts) + CRLF + END


def route_set(response: Message, own_host: bytes) -> list[bytes]:
    """The Record-Route values a UAC would use after that response, first hop first, without ours and what lies before it."""
    values: list[bytes] = []
    for line in response.values(RECORD_ROUTE):
        values += split_list(line)
    values.reverse()
    ours = [i for i, value in enumerate(values) if b"@" + own_host in value]
    return values[ours[-1] + 1 :] if ours else values


def dialog_request(
    method: bytes, uri: bytes, via: bytes, routes: list[bytes], invite: Message, response: Message, cseq: int, extra: bytes = b""
) -> bytes:
    """ACK or BYE towards a leg that answered after its caller had gone: we are the UAC of that one exchange."""
    lines = invite.lines
    parts = [
        method + b" " + uri + b" SIP/2.0", via, b"Max-Forwards: 70", lines[invite.at[FROM]], response.lines[response.at[TO]],
        lines[invite.at[CALL_ID]], b"CSeq: %d %b" % (cseq, method),
    ]  # fmt: skip
    parts += [b"Route: " + route for route in routes]
    if extra:
        parts.append(extra)
    return CRLF.join(parts) + CRLF + END


def options(uri: bytes, via: bytes, listen: Listen, call_id: bytes, tag: bytes, number: int) -> bytes:
    """A probe (CALLS 3.2)."""
    us = b"<sip:sipctl@" + address_text(listen) + b">"
    return CRLF.join((
        b"OPTIONS " + uri + b" SIP/2.0", via, b"Max-Forwards: 70", b"From: " + us + b";tag=" + tag, b"To: <" + uri + b">",
        b"Call-ID: " + call_id, b"CSeq: %d OPTIONS" % number, b"Contact: " + us, b"Accept: application/sdp", USER_AGENT,
    )) + CRLF + END  # fmt: skip
