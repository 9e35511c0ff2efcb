"""One SIP message as the bytes it came in, indexed just enough to route it.

Theory. A proxy that forwards a message changes four or five of its lines; everything else must leave as it came, the body
always (RFC 3261 §16.6, §7.3). So a message is kept as its lines, split once at CRLF, and an index that says where the lines
stand that routing reads. The index looks a header name up as spelt first (`Via`), and only on a miss strips and lowers it (`VIA
:`, `v`): that is the whole difference between the light and the lenient way, and both give the same answer.

What is refused here is what smuggles: bare CR, bare LF or NUL in the head, a line without a colon, two differing or malformed
Content-Length, single-valued headers given twice, a start line with the wrong number of spaces. Folded lines (§7.3.1) stay one
entry of `lines` with the fold in it, so they leave as they came; reading a value unfolds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sipctl.errors import SipSyntaxError
from sipctl.sip import native
from sipctl.sip.grammar import quoted_re

VIA: Final = 1
FROM: Final = 2
TO: Final = 3
CALL_ID: Final = 4
CSEQ: Final = 5
MAX_FORWARDS: Final = 6
ROUTE: Final = 7
RECORD_ROUTE: Final = 8
CONTACT: Final = 9
CONTENT_LENGTH: Final = 10
REASON: Final = 11
RETRY_AFTER: Final = 12
PROXY_REQUIRE: Final = 13
SESSION_EXPIRES: Final = 14
ASSERTED: Final = 15  # P-Asserted-Identity
PREFERRED: Final = 16  # P-Preferred-Identity
DIVERSION: Final = 17
HISTORY_INFO: Final = 18
CALLED_PARTY: Final = 19  # P-Called-Party-ID
PRIVACY: Final = 20
RESOURCE_PRIORITY: Final = 21
REMOTE_PARTY: Final = 22  # Remote-Party-ID
OTHER: Final = 0

_SPELLINGS: Final = {
    VIA: b"Via", FROM: b"From", TO: b"To", CALL_ID: b"Call-ID", CSEQ: b"CSeq", MAX_FORWARDS: b"Max-Forwards", ROUTE: b"Route",
    RECORD_ROUTE: b"Record-Route", CONTACT: b"Contact", CONTENT_LENGTH: b"Content-Length", REASON: b"Reason",
    RETRY_AFTER: b"Retry-After", PROXY_REQUIRE: b"Proxy-Require", SESSION_EXPIRES: b"Session-Expires",
    ASSERTED: b"P-Asserted-Identity", PREFERRED: b"P-Preferred-Identity", DIVERSION: b"Diversion",
    HISTORY_INFO: b"History-Info", CALLED_PARTY: b"P-Called-Party-ID", PRIVACY: b"Privacy",
    RESOURCE_PRIORITY: b"Resource-Priority", REMOTE_PARTY: b"Remote-Party-ID",
}
_COMPACT: Final = {b"v": VIA, b"f": FROM, b"t": TO, b"i": CALL_ID, b"m": CONTACT, b"l": CONTENT_LENGTH, b"x": SESSION_EXPIRES}
# Frequent headers that routing never reads: known by spelling so that they cost one lookup and no lower().
_PASSED_OVER: Final = (
    b"Allow", b"Supported", b"User-Agent", b"Server", b"Content-Type", b"Accept", b"Subject", b"Date", b"Require", b"Min-SE",
    b"Expires", b"Content-Disposition", b"Allow-Events", b"P-Charging-Vector", b"Session-ID", b"Identity", b"Timestamp",
    b"Organization", b"P-Early-Media",
)
_EXACT: Final = {name: code for code, name in _SPELLINGS.items()} | _COMPACT | dict.fromkeys(_PASSED_OVER, OTHER)
_LOWER: Final = {name.lower(): code for code, name in _SPELLINGS.items()} | _COMPACT
_SINGLE: Final = frozenset((FROM, TO, CALL_ID, CSEQ, MAX_FORWARDS))
_SCANNER: Final = native.Scanner(_EXACT, _LOWER, tuple(_SINGLE), CONTENT_LENGTH)
_MANDATORY: Final = (VIA, FROM, TO, CALL_ID, CSEQ)
NAME_OF: Final = {code: name.decode() for code, name in _SPELLINGS.items()}

# Octets, as numbers: `10 in data` is one memchr, `b"\n" in data` tries a number first and fails with an exception inside.
NUL: Final = 0
LF: Final = 10
CR: Final = 13
SPACE: Final = 32
QUOTE: Final = 34
COMMA: Final = 44
_FOLDS: Final = (b" ", b"\t")
_USUAL_VIA: Final = b"Via: SIP/2.0/"

MAX_HEAD_BYTES: Final = 16384
MAX_LINES: Final = 256
_TOKEN_OCTETS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
_TOKEN: Final = frozenset(_TOKEN_OCTETS)


class Message:
    """One request or response, as received; nobody changes it after `parse`.

    `lines` holds the header lines without the start line; `at` maps a header code to the index of its first line.
    """

    __slots__ = ("at", "body", "data", "lines", "method", "repeated", "start", "status", "uri")

    data: bytes
    start: bytes
    lines: list[bytes]
    at: dict[int, int]
    repeated: int  # bit 1 << code is set when more than one line has that header
    body: bytes
    method: bytes  # of a request; of a response, empty
    uri: bytes
    status: int  # 0 for a request

    def value(self, code: int) -> bytes:
        """Value of the header's first line, unfolded and stripped; b"" when absent."""
        index = self.at.get(code)
        return b"" if index is None else value_of(self.lines[index])

    def values(self, code: int) -> list[bytes]:
        """Values of every line of that header, in order, unfolded; comma lists are not split."""
        if code not in self.at:
            return []
        if not self.repeated & 1 << code:
            return [value_of(self.lines[self.at[code]])]
        return [value_of(line) for line in self.lines[self.at[code] :] if code_of(line) == code]

    def named(self, name: bytes) -> list[bytes]:
        """Values of every line with that header name (any case), for headers without a code."""
        wanted = name.lower()
        return [value_of(line) for line in self.lines if line[: line.find(b":")].rstrip(b" \t").lower() == wanted]

    def cseq(self) -> tuple[int, bytes]:
        """CSeq number and method.

        Raises: SipSyntaxError (400) unless it is `1*DIGIT LWS Method` with a number below 2^31 (RFC 3261 §8.1.1.5).
        """
        line = self.lines[self.at[CSEQ]]
        if line.startswith(b"CSeq: "):
            number, _, method = line[6:].partition(b" ")
            if number.isdigit() and len(number) < 10 and method.isalpha():
                return int(number), method
        parts = self.value(CSEQ).split()
        if len(parts) != 2 or not parts[0].isdigit() or len(parts[0]) > 10 or int(parts[0]) >= 1 << 31:
            raise SipSyntaxError("CSeq is not a number below 2^31 and a method", offset=self.offset_of(CSEQ))
        return int(parts[0]), parts[1]

    def from_tag(self) -> bytes:
        return tag_of(self.lines[self.at[FROM]])

    def to_tag(self) -> bytes:
        return tag_of(self.lines[self.at[TO]])

    def offset_of(self, code: int) -> int:
        """Octets from the start of the message to that header's first line; 0 when absent."""
        index = self.at.get(code)
        if index is None:
            return 0
        return len(self.start) + 2 + sum(len(line) + 2 for line in self.lines[:index])


def parse(data: bytes) -> Message:
    """Index one whole message (a datagram, or what framing cut out of a stream).

    Returns: a Message whose Via, From, To, Call-ID and CSeq are present and whose body is as long as Content-Length says.
    Raises: SipSyntaxError with the status to answer (400, 505, 513) for what cannot be forwarded safely; nothing else.
    Cost: about 0.25 µs a header line.
    Source: RFC 3261 §7, §18.3, §25.1.
    """
    message = index(data)
    at = message.at
    for code in _MANDATORY:
        if code not in at:
            raise SipSyntaxError(f"{NAME_OF[code]} is missing", offset=0)
    return message


def index(data: bytes) -> Message:
    """Index as `parse` does, without asking for the mandatory headers: enough to answer a message that lacks one."""
    head = _SCANNER.head(data)
    if head is None:
        return _index(data)
    message = Message()
    message.data = data
    message.start, message.method, message.uri, message.status, message.lines, message.at, message.repeated, message.body = head
    return message


def _index(data: bytes) -> Message:
    """Any message, whatever is unusual about it."""
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise SipSyntaxError("no empty line ends the header", offset=len(data))
    if end > MAX_HEAD_BYTES:
        raise SipSyntaxError(f"header longer than {MAX_HEAD_BYTES} bytes", offset=MAX_HEAD_BYTES, status=513)
    head = data[:end]
    bare = head.replace(b"\r\n", b"")
    if CR in bare or LF in bare or NUL in bare:
        raise SipSyntaxError("bare CR, bare LF or NUL in the header", offset=_first_control(head))
    lines = head.split(b"\r\n")
    if len(lines) - 1 > MAX_LINES:
        raise SipSyntaxError(f"more than {MAX_LINES} header lines", offset=end, status=513)
    message = Message()
    message.data = data
    message.body = data[end + 4 :]
    start = message.start = lines[0]
    del lines[0]
    message.lines = lines
    _read_start_line(message, start)
    message.at = at = {}
    repeated = 0
    for i, line in enumerate(lines):
        colon = line.find(b":")
        code = _EXACT.get(line[:colon]) if colon > 0 else None
        if code is None:
            if line[:1] in _FOLDS:  # folded: join and begin again
                _join_folds(lines)
                return _reindex(message)
            code = code_of(line)
            if code < 0:
                raise SipSyntaxError("header line without a name", offset=data.find(line))
        if code:
            if code not in at:
                at[code] = i
            elif code in _SINGLE:
                raise SipSyntaxError(f"{NAME_OF[code]} stands twice", offset=data.find(line))
            else:
                repeated |= 1 << code
    message.repeated = repeated
    if CONTENT_LENGTH in at:
        _cut_body(message)
    return message


def light_response(data: bytes) -> tuple[int, bytes, bytes, int, int] | None:
    """The light pass over a response, which begins with `SIP/2.0 `, whose top Via and CSeq are written the usual way (CALLS 1.2).

    Returns: status, branch of the top Via, method of the CSeq, and the octets [start, end) that hold the top Via alone, so
        that the response goes on without them; or None for anything unusual, which `parse` then judges. What this accepts,
        `parse` reads the same way; only a response that lacks From, To or Call-ID, has one twice, has two Content-Length that
        differ or a line without a name is left to its receiver.
    Cost: 3 µs, a quarter of `parse`.
    """
    found = native.light_response(data)
    return _light_response(data) if found is None else found


def _light_response(data: bytes) -> tuple[int, bytes, bytes, int, int] | None:
    via_at = data.find(b"\r\n") + 2
    status = data[8:11]
    if data[11:12] != b" " or not status.isdigit() or not 100 <= int(status) <= 699 or not data.startswith(_USUAL_VIA, via_at):
        return None
    via_end = data.find(b"\r\n", via_at)
    top, comma, _ = data[via_at:via_end].partition(b",")
    _, found, params = top.partition(b";branch=")
    branch = params.partition(b";")[0]
    end = data.find(b"\r\n\r\n", via_end)
    if not found or QUOTE in top or SPACE in branch or data[via_end + 2 : via_end + 3] in _FOLDS or not 0 < end <= MAX_HEAD_BYTES:
        return None
    bare = data[:end].replace(b"\r\n", b"")
    if CR in bare or LF in bare or NUL in bare:
        return None
    at = data.find(b"\r\nCSeq: ", via_end, end) + 8
    stop = data.find(b"\r\n", at)
    number, _, method = data[at:stop].partition(b" ") if at >= 8 else (b"", b"", b"")
    if not number.isdigit() or len(number) > 9 or not method.isalpha() or not method.isupper():
        return None
    if data[stop + 2 : stop + 3] in _FOLDS:
        return None
    at = data.find(b"\r\nContent-Length: ", via_end, end + 2) + 18
    stop = data.find(b"\r\n", at)
    size = data[at:stop].lstrip(b" ") if at >= 18 else b""
    if not size.isdigit() or len(size) > 5 or int(size) != len(data) - end - 4:
        return None
    if stop < end and data[stop + 2 : stop + 3] in _FOLDS:
        return None
    if not comma:
        return int(status), branch, method, via_at, via_end + 2
    stop = via_at + len(top) + 1
    return int(status), branch, method, via_at + 5, stop + 1 if data[stop : stop + 1] == b" " else stop


def usual_to_tag(data: bytes) -> bytes:
    """The To tag of a message whose To is spelt `To: `; b"" if it is not, or has none: then `parse` knows."""
    start = data.find(b"\r\nTo: ")
    return tag_of(data[start + 2 : data.find(b"\r\n", start + 2)]) if start >= 0 else b""


def code_of(line: bytes) -> int:
    """Header code of a line by its name in any spelling; OTHER if routing never reads it, -1 if its name is no token."""
    colon = line.find(b":")
    name = line[:colon].rstrip(b" \t") if colon > 0 else b""
    if not name or name.translate(None, _TOKEN_OCTETS):
        return -1
    return _LOWER.get(name.lower(), OTHER)


def value_of(line: bytes) -> bytes:
    """What stands after the colon, unfolded (RFC 3261 §7.3.1) and stripped."""
    value = line.partition(b":")[2].strip(b" \t")
    if LF in value:
        value = b" ".join(part.strip(b" \t") for part in value.split(b"\r\n")).strip(b" ")
    return value


def tag_of(line: bytes) -> bytes:
    """The tag parameter of a From or To line; b"" when it has none (RFC 3261 §19.3)."""
    tag = native.usual_tag(line)
    return _tag_of(line) if tag is None else tag


def _tag_of(line: bytes) -> bytes:
    _, bracket, params = line.rpartition(b">")
    if bracket:
        if not params:
            return b""
        if params.startswith(b";tag=") and QUOTE not in params:
            return params[5:].partition(b";")[0].strip(b" \t\r\n")
    after = line.rfind(b">")
    if line.find(b'"', after + 1) >= 0:  # a quoted value behind the address: no tag is in it
        line = quoted_re.sub(b'""', line)
        after = line.rfind(b">")
    start = line.find(b";tag=", after)
    if start < 0:
        return _tag_with_spaces(line, after)
    stop = line.find(b";", start + 5)
    tag = line[start + 5 :] if stop < 0 else line[start + 5 : stop]
    return tag.strip(b" \t\r\n")


def join(start: bytes, lines: Sequence[bytes], body: bytes) -> bytes:
    """The message of those lines, ready for the wire."""
    return start + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


def _read_start_line(message: Message, start: bytes) -> None:
    parts = start.split(b" ")
    if parts[0] == b"SIP/2.0" or start[:4].upper() == b"SIP/":
        if parts[0].upper() != b"SIP/2.0":
            raise SipSyntaxError("unknown SIP version", offset=0, status=505)
        if len(parts) < 2 or len(parts[1]) != 3 or not parts[1].isdigit() or not b"100" <= parts[1] <= b"699":
            raise SipSyntaxError("status code is not 100 to 699", offset=8)
        message.method, message.uri, message.status = b"", b"", int(parts[1])
        return
    if len(parts) != 3 or not parts[1]:
        raise SipSyntaxError("start line is not `Method SP Request-URI SP SIP-Version`", offset=0)
    method, uri, version = parts
    if version != b"SIP/2.0" and version.upper() != b"SIP/2.0":
        status = 505 if version[:4].upper() == b"SIP/" else 400
        raise SipSyntaxError("unknown SIP version", offset=len(method) + len(uri) + 2, status=status)
    if not method.isalpha() and (not method or not _TOKEN.issuperset(method)):
        raise SipSyntaxError("method is not a token", offset=0)
    message.method, message.uri, message.status = method, uri, 0


def _join_folds(lines: list[bytes]) -> None:
    """Glue every continuation line to the one it continues, keeping its bytes."""
    joined: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and joined:
            joined[-1] += b"\r\n" + line
        else:
            joined.append(line)
    lines[:] = joined


def _reindex(message: Message) -> Message:
    """The slow way round, for a message with folded lines."""
    data, lines = message.data, message.lines
    if lines and lines[0][:1] in (b" ", b"\t"):
        raise SipSyntaxError("the start line cannot be folded", offset=len(message.start))
    at: dict[int, int] = {}
    message.repeated = 0
    for i, line in enumerate(lines):
        code = code_of(line)
        if code < 0:
            raise SipSyntaxError("header line without a name", offset=data.find(line))
        if code in at and code in _SINGLE:
            raise SipSyntaxError(f"{NAME_OF[code]} stands twice", offset=data.find(line))
        if code in at:
            message.repeated |= 1 << code
        elif code:
            at[code] = i
    message.at = at
    if CONTENT_LENGTH in at:
        _cut_body(message)
    return message


def _cut_body(message: Message) -> None:
    """Hold the body to Content-Length: shorter is a 400, octets beyond it are dropped (RFC 3261 §18.3)."""
    text = message.lines[message.at[CONTENT_LENGTH]].partition(b":")[2].strip(b" \t\r\n")
    if not text.isdigit() or len(text) > 9:
        raise SipSyntaxError("Content-Length is not a plain number", offset=message.offset_of(CONTENT_LENGTH))
    if message.repeated & 1 << CONTENT_LENGTH and any(other != text for other in message.values(CONTENT_LENGTH)):
        raise SipSyntaxError("two Content-Length that differ", offset=message.offset_of(CONTENT_LENGTH))
    length, have = int(text), len(message.body)
    if length > have:
        raise SipSyntaxError("the body is shorter than Content-Length says", offset=len(message.data))
    if length < have:
        message.body = message.body[:length]


def _tag_with_spaces(line: bytes, after: int) -> bytes:
    """A tag written `; tag = x` or `;TAG=x`: rare, so it is looked for only when the plain form is missing."""
    for part in line[after + 1 :].split(b";")[1:] if after < 0 else line[after:].split(b";")[1:]:
        name, equals, value = part.partition(b"=")
        if equals and name.strip(b" \t\r\n").lower() == b"tag":
            return value.strip(b" \t\r\n")
    return b""


def _first_control(head: bytes) -> int:
    plain = head.replace(b"\r\n", b"  ")
    return min(position for byte in (b"\r", b"\n", b"\0") if (position := plain.find(byte)) >= 0)
