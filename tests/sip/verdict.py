"""What sipctl makes of one message, and what RFC 4475 says should be made of it: one judgement for our messages and the RFC's.

``judge`` reads what a proxy looks at and nothing else: start line, Request-URI, Via, From, To, CSeq, Max-Forwards, Route,
Record-Route, Contact, Content-Length, Proxy-Require.  ``SECTIONS`` holds the verdict of each section of RFC 4475, and
``DEVIATIONS`` where ours differs on purpose, with the reason.
"""

from typing import Final, NamedTuple

from sipctl.errors import SipSyntaxError
from sipctl.sip.headers import parse_contacts, parse_from_to, parse_max_forwards, parse_option_tags, parse_routes, parse_vias
from sipctl.sip.message import CONTACT, FROM, MAX_FORWARDS, PROXY_REQUIRE, RECORD_ROUTE, ROUTE, TO, VIA, Message, parse
from sipctl.sip.uri import SipUri, TelUri, parse_uri

MAX_DEVIATIONS: Final = 3


class Verdict(NamedTuple):
    """What happens to a message."""

    accept: bool  # it is a SIP message to us
    status: int | None  # what it is answered at once; None: it goes on, or, if it is a refused response, it is dropped
    reason: str


class Expected(NamedTuple):
    """What a section of RFC 4475 asks for: its title, whether the message is read, and the answers it allows."""

    title: str
    accept: bool
    statuses: tuple[int | None, ...]

    def allows(self, verdict: Verdict) -> bool:
        return verdict.accept is self.accept and verdict.status in self.statuses


def judge(data: bytes) -> Verdict:
    """Say what sipctl does with one datagram from a source it knows."""
    try:
        message = parse(data)
        _look(message)
    except SipSyntaxError as error:
        is_response = data.lstrip(b"\r\n").startswith(b"SIP/")
        return Verdict(False, None if is_response else error.status, error.detail)
    if message.status:
        return Verdict(True, None, "response goes to its transaction, if it has one")
    if not isinstance(parse_uri(message.uri), SipUri | TelUri):
        return Verdict(True, 416, "Request-URI of a scheme we do not route")
    if MAX_FORWARDS in message.at and parse_max_forwards(message.value(MAX_FORWARDS)) == 0:
        return Verdict(True, 483, "no hop is left")
    if any(parse_option_tags(value) for value in message.values(PROXY_REQUIRE)):
        return Verdict(True, 420, "Proxy-Require names what we do not know")
    return Verdict(True, None, "request goes on")


def _look(message: Message) -> None:
    for value in message.values(VIA):
        parse_vias(value)
    for code in (FROM, TO):
        parse_from_to(message.value(code))
    for value in message.values(PROXY_REQUIRE):
        parse_option_tags(value)
    for code in (ROUTE, RECORD_ROUTE):
        parse_routes(message.values(code))
    for value in message.values(CONTACT):
        parse_contacts(value)
    if MAX_FORWARDS in message.at:
        parse_max_forwards(message.value(MAX_FORWARDS))
    _, method = message.cseq()
    if message.status:
        return
    uri = parse_uri(message.uri)
    if isinstance(uri, SipUri) and uri.headers:
        raise SipSyntaxError("headers are not allowed in a Request-URI", offset=len(message.method) + 1)
    if method != message.method:
        raise SipSyntaxError("CSeq names another method than the request line", offset=0)


_READ: Final = (True, (None,))
_BAD: Final = (False, (400,))
_DROPPED: Final = (False, (None,))
_VERDICTS: Final[dict[str, tuple[str, tuple[bool, tuple[int | None, ...]]]]] = {
    "3.1.1.1": ("short tortuous INVITE", _READ),
    "3.1.1.2": ("wide range of valid characters", _READ),
    "3.1.1.3": ("valid use of escapes", _READ),
    "3.1.1.4": ("escaped nulls in URIs", _READ),
    "3.1.1.5": ("% that is no escape", _READ),
    "3.1.1.6": ("no space between name and bracket", _READ),
    "3.1.1.7": ("long values", _READ),
    "3.1.1.8": ("trailing octets in a datagram", _READ),
    "3.1.1.9": ("parameters in the user part", _READ),
    "3.1.1.10": ("varied and unknown transports", _READ),
    "3.1.1.11": ("multipart body", _READ),
    "3.1.1.12": ("unusual reason phrase", _READ),
    "3.1.1.13": ("empty reason phrase", _READ),
    "3.1.2.1": ("extraneous separators", _BAD),
    "3.1.2.2": ("Content-Length larger than the message", _BAD),
    "3.1.2.3": ("negative Content-Length", _BAD),
    "3.1.2.4": ("overlarge numbers in a request", _BAD),
    "3.1.2.5": ("overlarge numbers in a response", _DROPPED),
    "3.1.2.6": ("quoted string that does not end", _BAD),
    "3.1.2.7": ("brackets around the Request-URI", _BAD),
    "3.1.2.8": ("space within the Request-URI", _BAD),
    "3.1.2.9": ("several spaces in the request line", _BAD),
    "3.1.2.10": ("spaces at the end of the request line", _BAD),
    "3.1.2.11": ("headers in the Request-URI", _BAD),
    "3.1.2.12": ("Date that is not GMT", _BAD),
    "3.1.2.13": ("URI with a question mark without brackets", _BAD),
    "3.1.2.14": ("spaces within an addr-spec", _BAD),
    "3.1.2.15": ("characters no token has in a display name", _BAD),
    "3.1.2.16": ("unknown protocol version", (False, (505,))),
    "3.1.2.17": ("CSeq of another method", _BAD),
    "3.1.2.18": ("CSeq of another method, unknown method", (False, (400, 501))),
    "3.1.2.19": ("overlarge status code", _DROPPED),
    "3.2.1": ("branch that is the cookie only", (True, (None, 400))),
    "3.3.1": ("required headers missing", _BAD),
    "3.3.2": ("Request-URI of an unknown scheme", (True, (416,))),
    "3.3.3": ("Request-URI of an atypical scheme", (True, (416,))),
    "3.3.4": ("unknown schemes in headers", _READ),
    "3.3.5": ("Proxy-Require", (True, (420,))),
    "3.3.6": ("unknown Content-Type", _READ),
    "3.3.7": ("unknown authorization scheme", _READ),
    "3.3.8": ("several values of single-valued headers", _BAD),
    "3.3.9": ("several Content-Lengths", _BAD),
    "3.3.10": ("response with a broadcast Via", _READ),
    "3.3.11": ("Max-Forwards zero", (True, (483,))),
    "3.3.12": ("parameter of the Contact header", _READ),
    "3.3.13": ("parameter of the Contact URI", _READ),
    "3.3.14": ("escaped header in the Contact URI", _READ),
    "3.3.15": ("Accept that nobody offers", _READ),
    "3.4.1": ("syntax of RFC 2543", _READ),
}
SECTIONS: Final = {section: Expected(title, *rest) for section, (title, rest) in _VERDICTS.items()}

DEVIATIONS: Final[dict[str, tuple[Expected, str]]] = {
    "3.1.1.2": (
        Expected("a null as quoted pair is refused", *_BAD),
        "a null is within the grammar only as a quoted pair, no caller's name needs it, and what stands behind it is lost on "
        "every element that keeps text as C does: the two would read different headers, so nulls are refused everywhere",
    ),
    "3.1.2.12": (
        Expected("Date is passed on unread", *_READ),
        "a proxy does not use Date, and Identity (RFC 8224) may cover it: it leaves as it came, for the end that uses it",
    ),
}


def expected_of_us(section: str) -> Expected:
    """What sipctl does with messages of that section: the RFC's verdict, or our written deviation from it."""
    deviation = DEVIATIONS.get(section)
    return SECTIONS[section] if deviation is None else deviation[0]
