"""How modelled parties read and write SIP, apart from `sipctl.sip` on purpose: a fault of ours is not shared by its judge.

Only what the parties need: whole messages, every header, lists split into one entry each. Reading is strict, since whoever sent
the message is under test.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

Address = tuple[str, int]
Output = list[tuple[bytes, Address]]

COMPACT: Final = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type",
    "s": "subject", "k": "supported", "e": "content-encoding", "o": "event", "u": "allow-events", "x": "session-expires",
    "r": "refer-to", "b": "referred-by",
}  # fmt: skip
LISTS: Final = frozenset({"via", "route", "record-route", "contact"})
ONCE: Final = ("from", "to", "call-id", "cseq", "content-length", "max-forwards")
MAGIC_COOKIE: Final = "z9hG4bK"  # RFC 3261 §8.1.1.7
SEAL_HEADER: Final = "X-Seal"  # proves that an end of the call, not something between, made an in-dialog request


class WireError(ValueError):
    """What was received is not a SIP message that a strict reader accepts."""


class Message:
    """One SIP message, read whole; header names in lower case, compact forms expanded, list headers one entry per value."""

    __slots__ = ("body", "headers", "method", "reason", "start", "status", "uri")

    def __init__(self, start: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.start = start
        self.headers = headers
        self.body = body
        self.status = 0  # of a response
        self.reason = ""
        self.uri = ""  # of a request
        if start.startswith("SIP/2.0 "):
            self.method = ""
            code, _, self.reason = start[8:].partition(" ")
            if not (len(code) == 3 and code.isdigit() and 100 <= int(code) <= 699):
                raise WireError(f"status {code!r}")
            self.status = int(code)
        else:
            parts = start.split(" ")
            if len(parts) != 3 or parts[2] != "SIP/2.0":
                raise WireError(f"start line {start!r}")
            self.method, self.uri = parts[0], parts[1]

    def every(self, name: str) -> list[str]:
        """All values of a header, given in lower case."""
        return [value for key, value in self.headers if key == name]

    def first(self, name: str) -> str:
        """The first value of a header, or ''."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def call_id(self) -> str:
        return self.first("call-id")

    @property
    def cseq(self) -> int:
        return int(self.first("cseq").split()[0])

    @property
    def cseq_method(self) -> str:
        return self.first("cseq").split()[1]

    @property
    def from_tag(self) -> str:
        return parameter(self.first("from"), "tag")

    @property
    def to_tag(self) -> str:
        return parameter(self.first("to"), "tag")

    @property
    def branch(self) -> str:
        return parameter(self.first("via"), "branch")

    @property
    def sent_by(self) -> str:
        return self.first("via").split(";")[0].split()[-1].lower()

    @property
    def user(self) -> str:
        """User part of the Request-URI."""
        rest = self.uri.partition(":")[2]
        return rest.partition("@")[0] if "@" in rest else ""

    @property
    def what(self) -> str:
        """The message in two words, for traces and findings."""
        return f"{self.method}" if self.method else f"{self.status}/{self.cseq_method}"


def read(data: bytes) -> Message:
    """Read one whole message.

    Raises: WireError for anything a strict reader refuses: no blank line, a header without colon, a folded line, a doubled or
        missing mandatory header, a Content-Length that differs from the body.
    """
    head, gap, body = data.partition(b"\r\n\r\n")
    if not gap:
        raise WireError("no blank line after the headers")
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name[0] in " \t":
            raise WireError(f"header line {line!r}")
        key = name.strip().lower()
        key = COMPACT.get(key, key)
        headers += [(key, part) for part in split_list(value)] if key in LISTS else [(key, value.strip())]
    message = Message(lines[0], headers, body)
    _check(message)
    return message


def _check(message: Message) -> None:
    for name in ONCE:
        count = len(message.every(name))
        if count > 1 or (count == 0 and name in ONCE[:4]):
            raise WireError(f"{count} headers {name}")
    if not message.every("via"):
        raise WireError("no Via")
    if message.method and not message.every("max-forwards"):
        raise WireError("no Max-Forwards")
    cseq = message.first("cseq").split()
    if len(cseq) != 2 or not cseq[0].isdigit():
        raise WireError(f"CSeq {message.first('cseq')!r}")
    if message.method and cseq[1] != message.method:
        raise WireError(f"CSeq says {cseq[1]}, the start line {message.method}")
    length = message.first("content-length")
    if length and (not length.isdigit() or int(length) != len(message.body)):
        raise WireError(f"Content-Length {length}, body {len(message.body)}")
    if not message.branch.startswith(MAGIC_COOKIE):
        raise WireError(f"branch {message.branch!r}")


def compose(start: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
    """Write one message; Content-Length is added."""
    lines = [start, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def split_list(value: str) -> list[str]:
    """Split at commas that stand neither in quotes nor in angle brackets."""
    if "," not in value:
        return [value.strip()] if value.strip() else []
    parts: list[str] = []
    start, quoted, depth, escaped = 0, False, 0, False
    for index, char in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char in "<>":
            depth += 1 if char == "<" else -1
        elif char == "," and depth == 0:
            parts.append(value[start:index].strip())
            start = index + 1
    parts.append(value[start:].strip())
    return [part for part in parts if part]


def parameter(value: str, name: str) -> str:
    """A header parameter's value, '' if absent; those inside the URI of a name-addr do not count."""
    tail = value.rpartition(">")[2] if ">" in value else value.partition(";")[1] + value.partition(";")[2]
    for part in tail.split(";"):
        key, _, found = part.strip().partition("=")
        if key.lower() == name:
            return found
    return ""


def uri_of(value: str) -> str:
    """The URI inside a name-addr or addr-spec."""
    if "<" in value:
        return value.partition("<")[2].partition(">")[0]
    return value.partition(";")[0].strip()


def address_of(uri: str) -> Address:
    """Host and port of a sip URI whose host is a literal address."""
    rest = uri.partition(":")[2]
    rest = rest.rpartition("@")[2] if "@" in rest else rest
    hostport = rest.partition(";")[0].partition("?")[0]
    if hostport.startswith("["):
        host, _, port = hostport[1:].partition("]")
        return host, int(port[1:]) if port else 5060
    host, _, port = hostport.partition(":")
    return host, int(port) if port else 5060


def host_port(address: Address) -> str:
    """An address as it stands in a URI or Via."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def an_sdp(session: str, address: Address) -> bytes:
    """A small session description whose last line is the checksum of the rest, so that the other end can tell if it changed."""
    family = "IP6" if ":" in address[0] else "IP4"
    text = (
        f"v=0\r\no=- {zlib.crc32(session.encode())} 1 IN {family} {address[0]}\r\ns=-\r\nc=IN {family} {address[0]}\r\n"
        "t=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    ).encode()
    return text + b"a=x-check:%08x\r\n" % zlib.crc32(text)


def is_intact(body: bytes) -> bool:
    """If a body made by `an_sdp` arrived as it left; bodies made by others count as intact."""
    text, mark, check = body.partition(b"a=x-check:")
    return not mark or check == b"%08x\r\n" % zlib.crc32(text)


def seal(method: str, call_id: str, cseq: int, from_tag: str) -> str:
    """The value of X-Seal for one in-dialog request."""
    return f"{zlib.crc32(f'{method} {call_id} {cseq} {from_tag}'.encode()):08x}"
