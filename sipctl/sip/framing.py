"""Cut messages out of a stream (TCP, later TLS), without reading or writing it.

On a stream only Content-Length says where a message ends, so a peer that makes two elements read it differently puts a
second message into the first one's body.  Hence this is the strictest reader we have, and it is stricter than the parser
behind it: line ends are CRLF, every header line has a token for its name, Content-Length stands there as digits and is the
same wherever it stands.  Anything else ends the stream, since after a doubt every later octet is in doubt too.

Invariant: the messages given out, and the point of failure, depend on the octets alone and not on how they were cut into
segments.

The driver feeds what it read, then takes ``next`` until None.  ``started`` is true while octets of an unfinished message
wait: when it stays true for HEAD_DEADLINE_S without a message coming out, the driver closes (a slow sender holds a
connection, T10).  A keep-alive is answered with CRLF (RFC 5626 §4.4.1).
Source: RFC 3261 §18.3, §7.5.
"""

import re
from enum import Enum
from typing import Final, Literal, NoReturn

from sipctl.errors import SipSyntaxError
from sipctl.sip.grammar import TOKEN
from sipctl.sip.headers import parse_content_length

MAX_HEAD_BYTES: Final = 16384
MAX_BODY_BYTES: Final = 65535
MAX_MESSAGE_BYTES: Final = MAX_HEAD_BYTES + MAX_BODY_BYTES
MAX_HEAD_LINES: Final = 256
HEAD_DEADLINE_S: Final = 5.0  # from the first octet of a message to its last

_END: Final = b"\r\n\r\n"
_VALUE: Final = rb"[^\r\n\0]*(?:\r\n[ \t][^\r\n\0]*)*"  # folded lines included
_lines_re: Final = re.compile(b"(?:" + TOKEN + rb"[ \t]*:" + _VALUE + rb"\r\n)*")
_length_re: Final = re.compile(rb"\r\n(?:Content-Length|l)[ \t]*:(" + _VALUE + b")", re.IGNORECASE)
_start_line_re: Final = re.compile(
    rb"(?:SIP/[0-9.]+ [^\r\n\0]*|" + TOKEN + rb" [^\r\n\0]* SIP/[0-9.]+)\r\n(?![ \t])", re.IGNORECASE
)


class Keepalive(Enum):
    """A lone double CRLF between messages."""

    KEEPALIVE = "keepalive"


KEEPALIVE: Final = Keepalive.KEEPALIVE


class FramingError(SipSyntaxError):
    """The stream cannot be trusted any more: answer ``status`` if ``head`` is enough for that, then close.

    ``head`` holds the start line and headers as far as they came, for the response; no body.
    """

    code = "sip.framing"

    def __init__(self, detail: str, *, head: bytes, offset: int = 0, status: int = 400) -> None:
        super().__init__(detail, offset=offset, status=status)
        self.head = head


class StreamFramer:
    """One connection's octets in, whole messages out.

    It holds at most MAX_MESSAGE_BYTES and what one ``feed`` brought, if ``next`` is called until None after each feed.
    After a FramingError it takes in nothing and gives out nothing more.
    """

    __slots__ = ("_buffer", "_failed", "_line_end_seen", "_searched", "_whole")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # octets in which no end of a head is
        self._whole = 0  # length of the message at the start of the buffer, 0 until its head is complete
        self._line_end_seen = False  # an odd number of CRLF stood since the last message or keep-alive
        self._failed = False

    @property
    def started(self) -> bool:
        """True while an unfinished message waits for its rest."""
        return bool(self._buffer)

    @property
    def has_failed(self) -> bool:
        """True after a FramingError: the connection is to be closed."""
        return self._failed

    def feed(self, data: bytes) -> None:
        """Take what was read from the stream."""
        if not self._failed:
            self._buffer += data

    def next(self) -> bytes | Literal[Keepalive.KEEPALIVE] | None:
        """Give the next whole message, KEEPALIVE, or None if more octets are needed.

        Raises: FramingError, once, when what follows is no message: 513 or 413 where it is too long, else 400.
        Cost: 10 µs with 14 header lines.
        """
        if not self._whole:
            if self._skip_line_ends():
                return KEEPALIVE
            if not self._read_head():
                return None
        if len(self._buffer) < self._whole:
            return None
        message = bytes(self._buffer[: self._whole])
        del self._buffer[: self._whole]
        self._searched = self._whole = 0
        return message

    def _skip_line_ends(self) -> bool:
        """Drop CRLFs between messages; True at the second of two, which is a keep-alive."""
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
            self._line_end_seen = not self._line_end_seen
            if not self._line_end_seen:
                return True
        return False

    def _read_head(self) -> bool:
        """Look for the end of the head and learn the length of the message; True once it is known."""
        buffer = self._buffer
        if not buffer or (len(buffer) == 1 and buffer[0] == 0x0D):  # a CR may be half a keep-alive
            return False
        end = buffer.find(_END, max(self._searched - 3, 0), MAX_HEAD_BYTES)
        if end < 0:
            self._searched = len(buffer)
            if self._searched >= MAX_HEAD_BYTES:
                self._fail(f"head longer than {MAX_HEAD_BYTES} octets", MAX_HEAD_BYTES, MAX_HEAD_BYTES, 513)
            return False
        self._line_end_seen = False
        head_size = end + len(_END)
        self._whole = head_size + self._read_length(bytes(buffer[: end + 2]), head_size)
        return True

    def _read_length(self, head: bytes, head_size: int) -> int:
        start = _start_line_re.match(head)
        if start is None:
            self._fail("not a start line of SIP", 0, head_size)
        lines = _lines_re.match(head, start.end())
        if lines is None or lines.end() < len(head):
            at = start.end() if lines is None else lines.end()
            self._fail("header line without a name, or with a control character", at, head_size)
        if head.count(b"\r\n") > MAX_HEAD_LINES + 1:
            self._fail(f"more than {MAX_HEAD_LINES} header lines", head_size, head_size, 513)
        length: int | None = None
        for field in _length_re.finditer(head, start.end() - 2):
            found = self._content_length(field[1].replace(b"\r\n", b"  "), field.start(), head_size)
            if length is not None and length != found:
                self._fail("two Content-Lengths that differ", field.start(), head_size)
            length = found
        if length is None:
            self._fail("Content-Length is missing", head_size, head_size)
        return length

    def _content_length(self, value: bytes, at: int, head_size: int) -> int:
        try:
            length = parse_content_length(value)
        except SipSyntaxError as error:
            self._fail(error.detail, at, head_size)
        if length > MAX_BODY_BYTES:
            self._fail(f"body longer than {MAX_BODY_BYTES} octets", at, head_size, 413)
        return length

    def _fail(self, detail: str, offset: int, head_size: int, status: int = 400) -> NoReturn:
        head = bytes(self._buffer[:head_size])
        self._failed = True
        self._buffer.clear()
        self._whole = 0
        raise FramingError(detail, head=head, offset=offset, status=status)
