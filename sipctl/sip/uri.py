"""SIP, SIPS and tel URIs: read from octets, written back as octets, and the telephone number in them.

A user part is kept as it was written, escapes and all, because what we do not change must leave unchanged; only
``parse_number_user`` unescapes.  One leniency: ``#`` stands unescaped in the user part, as telephones send it (``*21#``).
Sources: RFC 3261 §19.1 and §25.1, RFC 3966 (tel), RFC 4694 (rn, npdi, cic), RFC 4904 (tgrp, trunk-context).
"""

import re
from typing import Final, NamedTuple

from sipctl.errors import SipSyntaxError
from sipctl.sip.grammar import Params, check_host, find_param, host_re, parse_number, unescape

MAX_URI_BYTES: Final = 2048
MAX_PORT: Final = 65535


def _text(characters: bytes) -> bytes:
    """Expression for any number of those characters and escapes; unrolled, since a choice per octet is slow."""
    return b"[" + characters + b"]*(?:%[0-9A-Fa-f]{2}[" + characters + b"]*)*"


_UNRESERVED: Final = rb"A-Za-z0-9\-_.!~*'()"
_user_re: Final = re.compile(b"(?=.)" + _text(_UNRESERVED + rb"&=+$,;?/#"))
_password_re: Final = re.compile(_text(_UNRESERVED + rb"&=+$,"))
_headers_re: Final = re.compile(b"(?=.)" + _text(_UNRESERVED + rb"\[\]/?:+$&="))
_PARAM: Final = _UNRESERVED + rb"\[\]/:&+$"
_param_re: Final = re.compile(b"((?=[^=])" + _text(_PARAM) + b")(?:=((?=.)" + _text(_PARAM + b"=") + b"))?")  # = as in base64
_scheme_re: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*):")
_opaque_re: Final = re.compile(rb"[!#-;=?-~]+")  # visible ASCII without " < >
_tel_re: Final = re.compile(rb"\+[\-.()]*[0-9][0-9\-.()]*|[\-.()]*[0-9A-Fa-f*#][0-9A-Fa-f*#\-.()]*")
_dialled_re: Final = re.compile(rb"\+?[0-9*#]+")
_dialled_hex_re: Final = re.compile(rb"\+[0-9]+|[0-9A-Fa-f*#]+")
_SEPARATORS: Final = b"()-. "


class SipUri(NamedTuple):
    """``scheme:user;user_params:password@host:port;params?headers``, each part as written; bytes() writes it."""

    scheme: bytes  # b"sip" or b"sips", lower case
    user: bytes | None  # escaped, without its parameters
    user_params: Params  # what stands behind the first ; of the user part
    password: bytes | None
    host: bytes  # IPv6 with its brackets
    port: int | None
    params: Params
    headers: bytes  # behind the ?, empty if there is none

    def __bytes__(self) -> bytes:
        text = self.scheme + b":"
        if self.user is not None:
            text += self.user + _params_text(self.user_params)
            if self.password is not None:
                text += b":" + self.password
            text += b"@"
        text += self.host
        if self.port is not None:
            text += b":%d" % self.port
        text += _params_text(self.params)
        return text + b"?" + self.headers if self.headers else text

    def param(self, name: bytes) -> bytes | None:
        """Look up a URI parameter: its value, b"" for a bare flag, None if absent; ``name`` in lower case."""
        return find_param(self.params, name)

    @property
    def is_loose(self) -> bool:
        """True if this Route entry is a loose router's, RFC 3261 §19.1.1 ``lr``."""
        return find_param(self.params, b"lr") is not None


class TelUri(NamedTuple):
    """``tel:number;params``; the number with the separators it was written with."""

    number: bytes
    params: Params

    def __bytes__(self) -> bytes:
        return b"tel:" + self.number + _params_text(self.params)

    def param(self, name: bytes) -> bytes | None:
        """Look up a parameter: its value, b"" for a bare flag, None if absent; ``name`` in lower case."""
        return find_param(self.params, name)


class OtherUri(NamedTuple):
    """A URI of another scheme: well formed and opaque. As a Request-URI it is answered 416."""

    scheme: bytes  # lower case
    rest: bytes

    def __bytes__(self) -> bytes:
        return self.scheme + b":" + self.rest


Uri = SipUri | TelUri | OtherUri


class NumberParts(NamedTuple):
    """The telephone number in a URI, and what came with it."""

    digits: bytes  # [+]digits, * and #, separators removed; empty if the user part is no number
    user: bytes  # the user part or tel number unescaped, without parameters: names and private DNIS
    phone_context: bytes | None
    rn: bytes | None  # routing number, separators removed
    npdi: bool  # number portability was looked up
    tgrp: bytes | None
    trunk_context: bytes | None
    cic: bytes | None
    isub: bytes | None
    user_phone: bool  # tel:, or sip: with user=phone


def parse_uri(data: bytes) -> Uri:
    """Read one URI, without brackets or spaces around it.

    Raises: SipSyntaxError, status 414 if it is longer than MAX_URI_BYTES, else 400.
    Cost: 6 µs for a sip: URI with a port and a parameter.
    """
    if len(data) > MAX_URI_BYTES:
        raise SipSyntaxError(f"URI longer than {MAX_URI_BYTES} octets", offset=MAX_URI_BYTES, status=414)
    found = _scheme_re.match(data)
    if found is None:
        raise SipSyntaxError("URI without a scheme", offset=0)
    scheme = found[1].lower()
    if scheme in (b"sip", b"sips"):
        return _parse_sip(data, scheme, found.end())
    if scheme == b"tel":
        return _parse_tel(data, found.end())
    rest = data[found.end() :]
    if not _opaque_re.fullmatch(rest):
        raise SipSyntaxError("URI holds a character it must not, or nothing behind its scheme", offset=found.end())
    return OtherUri(scheme, rest)


def parse_number_user(uri: SipUri | TelUri) -> NumberParts:
    """Split off what is not the number: separators, escapes, parameters of RFC 3966, 4694, 4904.

    In a sip: URI these parameters belong in the user part; some senders put them behind the host, which is read second.
    ``digits`` is a candidate: whether it is E.164 or national is for the trunk's ``called_format`` to say.
    """
    if isinstance(uri, TelUri):
        user, params, is_phone = unescape(uri.number), uri.params, True
    else:
        user, params = unescape(uri.user or b""), uri.user_params + uri.params
        is_phone = (uri.param(b"user") or b"").lower() == b"phone"
    found: dict[bytes, bytes] = {}
    for key, value in params:
        found.setdefault(key.lower(), b"" if value is None else unescape(value))
    get = found.get
    bare = user.translate(None, _SEPARATORS)
    pattern = _dialled_hex_re if is_phone else _dialled_re
    rn = get(b"rn")
    return NumberParts(
        digits=bare if pattern.fullmatch(bare) else b"",
        user=user,
        phone_context=get(b"phone-context"),
        rn=None if rn is None else rn.translate(None, _SEPARATORS),
        npdi=b"npdi" in found,
        tgrp=get(b"tgrp"),
        trunk_context=get(b"trunk-context"),
        cic=get(b"cic"),
        isub=get(b"isub"),
        user_phone=is_phone,
    )


def _parse_sip(data: bytes, scheme: bytes, at: int) -> SipUri:
    user = password = None
    user_params: Params = ()
    end = data.find(b"@", at)
    if end >= 0:
        user, colon, secret = data[at:end].partition(b":")
        if not _user_re.fullmatch(user):
            raise SipSyntaxError("user part is empty or holds a character it must not", offset=at)
        if colon:
            if not _password_re.fullmatch(secret):
                raise SipSyntaxError("password holds a character it must not", offset=at + len(user) + 1)
            password = secret
        if b";" in user:
            user, *pieces = user.split(b";")
            user_params = tuple(_loose_param(piece) for piece in pieces)
        at = end + 1
    found = host_re.match(data, at)
    if found is None:
        raise SipSyntaxError("expected a host", offset=at)
    host = found[0]
    check_host(host, at)
    at = found.end()
    port = None
    if data[at : at + 1] == b":":
        digits = data[at + 1 :].split(b";", 1)[0].split(b"?", 1)[0]
        port = parse_number(digits, "port", at=at + 1, most=MAX_PORT)
        at += 1 + len(digits)
    if at == len(data):
        return SipUri(scheme, user, user_params, password, host, port, (), b"")
    text, question, headers = data[at:].partition(b"?")
    params: Params = ()
    if text:
        if text[0] != 0x3B:
            raise SipSyntaxError("host holds a character it must not", offset=at)
        params = _parse_params(text, at)
    if question and not _headers_re.fullmatch(headers):
        raise SipSyntaxError("headers of the URI are empty or hold a character they must not", offset=at + len(text) + 1)
    return SipUri(scheme, user, user_params, password, host, port, params, headers)


def _parse_tel(data: bytes, at: int) -> TelUri:
    number, semicolon, _ = data[at:].partition(b";")
    if not _tel_re.fullmatch(unescape(number)):  # %2B for + is not the RFC's, but is sent
        raise SipSyntaxError("not a telephone number", offset=at)
    at += len(number)
    return TelUri(number, _parse_params(data[at:], at) if semicolon else ())


def _parse_params(text: bytes, at: int) -> Params:
    params = []
    for piece in text[1:].split(b";"):
        found = _param_re.fullmatch(piece)
        if found is None:
            raise SipSyntaxError("parameter of the URI is empty or holds a character it must not", offset=at + 1)
        params.append((found[1], found[2]))
        at += len(piece) + 1
    return tuple(params)


def _loose_param(piece: bytes) -> tuple[bytes, bytes | None]:
    name, equals, value = piece.partition(b"=")
    return name, value if equals else None


def _params_text(params: Params) -> bytes:
    return b"".join([b";" + name if value is None else b";" + name + b"=" + value for name, value in params])
