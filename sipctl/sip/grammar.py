"""The pieces all SIP headers are made of: tokens, quoted strings, hosts, numbers, parameters, comma lists.

Values arrive as octets of one header, unfolded, and leave as octets: what we do not change must go out as it came in, so
nothing is decoded, lower-cased or unescaped unless the caller asks.  Everything here raises SipSyntaxError or returns,
whatever the octets; the offset in it counts from the start of the value.  All expressions are linear: no quantifier stands
inside another over the same octets.

We are lenient where real senders deviate and nothing becomes ambiguous: host names may hold ``_``, parameter values may hold
any visible character but the separators.  We are strict where elements might disagree about where something ends: quotes,
angle brackets, empty list elements, control characters.
"""

import re
from ipaddress import IPv6Address
from typing import Final

from sipctl.errors import SipSyntaxError

Param = tuple[bytes, bytes | None]  # name as written; value as written, quotes included, or None for a bare flag
Params = tuple[Param, ...]

MAX_DIGITS: Final = 10  # significant digits of any number in a header: 2**32 - 1 has ten
MAX_LIST: Final = 256  # elements of one comma list
MAX_PARAMS: Final = 64  # parameters of one element

TOKEN: Final = rb"[A-Za-z0-9\-.!%*_+`'~]+"  # RFC 3261 §25.1
QUOTED: Final = rb'"[^"\\\x00-\x08\x0a-\x1f\x7f]*(?:\\[\x00-\x09\x0b\x0c\x0e-\x7f][^"\\\x00-\x08\x0a-\x1f\x7f]*)*"'
WS: Final = rb"[ \t]*"
_VALUE: Final = rb"[!#-+\--:=?-~]+"  # visible ASCII without " , ; < >
_HOST: Final = rb"[A-Za-z0-9_][A-Za-z0-9_.\-]*|\[[0-9A-Fa-f:.]{2,45}\]"

token_re: Final = re.compile(TOKEN)
quoted_re: Final = re.compile(QUOTED)
host_re: Final = re.compile(_HOST)
_param_re: Final = re.compile(
    WS + b";" + WS + b"(" + TOKEN + b")(?:" + WS + b"=" + WS + b"(" + QUOTED + b"|" + _VALUE + b"))?" + WS
)
_delimiter_re: Final = re.compile(rb'[",<]')
_escape_re: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_quoted_pair_re: Final = re.compile(rb"\\(.)", re.DOTALL)
_dotted_re: Final = re.compile(rb"[0-9.]+")
_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
_ipv4_re: Final = re.compile(_OCTET + (rb"\." + _OCTET) * 3)


def parse_number(data: bytes, what: str, *, at: int = 0, most: int, status: int = 400) -> int:
    """Read a decimal number: digits only, no sign, no space, no exponent; leading zeros are allowed, as in the RFC.

    Args:
        what: names it in the error.
        at: offset of ``data`` in the value, for the error.
        most: largest value allowed, at most MAX_DIGITS digits long.
    """
    if not data.isdigit() or len(data.lstrip(b"0")) > MAX_DIGITS or (number := int(data[-MAX_DIGITS:])) > most:
        raise SipSyntaxError(f"{what} is not a number from 0 to {most}", offset=at, status=status)
    return number


def parse_params(data: bytes, at: int) -> Params:
    """Read ``*(SEMI generic-param)`` from ``at`` to the end of the value, in order. Source: RFC 3261 §25.1."""
    params: list[Param] = []
    end = len(data)
    while at < end:
        found = _param_re.match(data, at)
        if found is None:
            raise SipSyntaxError("expected ;name or ;name=value", offset=at)
        params.append((found[1], found[2]))
        at = found.end()
    if len(params) > MAX_PARAMS:
        raise SipSyntaxError(f"more than {MAX_PARAMS} parameters", offset=0)
    return tuple(params)


def find_param(params: Params, name: bytes) -> bytes | None:
    """Look up the value of a parameter: b"" if it is a bare flag, None if it is absent; the first one counts.

    Args:
        name: in lower case; parameters are written in any case.
    """
    for key, value in params:
        if key.lower() == name:
            return b"" if value is None else value
    return None


def find_single_param(params: Params, name: bytes) -> bytes | None:
    """Look up a parameter that decides identity (tag, branch): given twice it is refused, since elements would disagree."""
    found: bytes | None = None
    for key, value in params:
        if key.lower() == name:
            if found is not None:
                raise SipSyntaxError(f"parameter {name.decode()} given twice", offset=0)
            found = b"" if value is None else value
    return found


def split_list(value: bytes) -> list[bytes]:
    """Cut a header value at its commas, those within quotes and angle brackets excepted; spaces around are cut off.

    Returns: the elements; none for an empty value.
    Raises: SipSyntaxError for an open quote or bracket, an empty element, more than MAX_LIST elements.
    """
    if b"," not in value:
        value = value.strip(b" \t")
        return [value] if value else []
    elements: list[bytes] = []
    start = at = 0
    while (found := _delimiter_re.search(value, at)) is not None:
        at = found.start()
        octet = value[at]
        if octet == 0x2C:
            elements.append(_element(value, start, at))
            start = at = at + 1
        elif octet == 0x22:
            at = quoted_end(value, at)
        else:
            closing = value.find(b">", at)
            if closing < 0:
                raise SipSyntaxError("angle bracket is not closed", offset=at)
            at = closing + 1
    elements.append(_element(value, start, len(value)))
    if len(elements) > MAX_LIST:
        raise SipSyntaxError(f"more than {MAX_LIST} elements in a list", offset=0)
    return elements


def quoted_end(value: bytes, at: int) -> int:
    """Find where the quoted string that begins at ``at`` ends: the offset after its closing quote."""
    found = quoted_re.match(value, at)
    if found is None:
        raise SipSyntaxError("quoted string is not closed, or holds a control character", offset=at)
    return found.end()


def unquote(value: bytes) -> bytes:
    """Take the quotes off a quoted string and resolve its quoted pairs; anything else comes back as it is."""
    if len(value) < 2 or value[0] != 0x22 or value[-1] != 0x22:
        return value
    inner = value[1:-1]
    return _quoted_pair_re.sub(rb"\1", inner) if b"\\" in inner else inner


def quote(text: bytes) -> bytes:
    """Make a quoted string of ``text``; line ends and NUL, which no header may hold, become spaces."""
    clean = re.sub(rb"[\x00\r\n]", b" ", text)
    return b'"' + re.sub(rb'(["\\\x01-\x08\x0b\x0c\x0e-\x1f\x7f])', rb"\\\1", clean) + b'"'


def unescape(data: bytes) -> bytes:
    """Resolve %HH escapes of a URI part whose escapes are known to be well formed."""
    if b"%" not in data:
        return data
    return _escape_re.sub(lambda found: bytes((int(found[1], 16),)), data)


def check_host(host: bytes, at: int) -> None:
    """Refuse what looks like an address and is none: 1.2.3, 300.1.1.1, [1::2::3]. The characters were checked before."""
    if host[0] == 0x5B:
        try:
            IPv6Address(host[1:-1].decode("ascii"))
        except ValueError as error:
            raise SipSyntaxError("not an IPv6 reference", offset=at) from error
    elif host[-1] <= 0x39 and not _ipv4_re.fullmatch(host) and _dotted_re.fullmatch(host):  # ends in a digit, or a dot
        raise SipSyntaxError("not an IPv4 address", offset=at)


def _element(value: bytes, start: int, end: int) -> bytes:
    element = value[start:end].strip(b" \t")
    if not element:
        raise SipSyntaxError("empty element in a list", offset=start)
    return element
