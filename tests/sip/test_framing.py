from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.sip.framing import KEEPALIVE, MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_HEAD_LINES, FramingError, Keepalive, StreamFramer

INNER = b"BYE sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP evil\r\nContent-Length: 0\r\n\r\n"
Item = bytes | Keepalive | tuple[int, bytes]


def a_message(body: bytes = b"", *, length: bytes | None = None, extra: bytes = b"", name: bytes = b"Content-Length") -> bytes:
    value = b"%d" % len(body) if length is None else length
    head = b"INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
    return head + extra + name + b": " + value + b"\r\n\r\n" + body


def without_length(body: bytes = b"", extra: bytes = b"") -> bytes:
    return b"INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n" + extra + b"\r\n" + body


def read(*segments: bytes) -> list[Item]:
    """Everything a stream gives, its failure last as (status, head)."""
    framer = StreamFramer()
    items: list[Item] = []
    for segment in segments:
        framer.feed(segment)
        try:
            while (item := framer.next()) is not None:
                items.append(item)
        except FramingError as error:
            items.append((error.status, error.head))
    return items


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def test_messages_come_out_whole_one_after_the_other() -> None:
    first, second = a_message(b"v=0\r\n"), a_message()
    assert read(first + second) == [first, second]


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length  ", b"CONTENT-LENGTH\t", b"l", b"L "])
def test_content_length_is_found_in_every_spelling_and_folded(name: bytes) -> None:
    for length in (b"5", b"0005", b"  5 ", b"\r\n 5", b"5\r\n\t"):
        message = a_message(b"v=0\r\n", name=name, length=length)
        assert read(message + a_message()) == [message, a_message()]


def test_a_body_may_hold_whole_messages_and_line_ends() -> None:
    message = a_message(b"\r\n\r\n" + INNER)
    assert read(message) == [message]


def test_a_response_is_framed_as_a_request_is() -> None:
    response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h\r\nl: 0\r\n\r\n"
    assert read(response) == [response]


def test_line_ends_between_messages_are_skipped_and_every_second_one_is_a_keepalive() -> None:
    message = a_message()
    assert read(b"\r\n" + message) == [message]
    assert read(b"\r\n\r\n" + message) == [KEEPALIVE, message]
    assert read(b"\r\n\r\n\r\n" + message + b"\r\n" + message) == [KEEPALIVE, message, message]
    assert read(b"\r\n", b"\r\n\r\n", b"\r", b"\n") == [KEEPALIVE, KEEPALIVE]


def test_started_is_true_only_while_a_message_is_unfinished() -> None:
    framer = StreamFramer()
    assert not framer.started
    framer.feed(b"\r\n")
    assert framer.next() is None
    assert not framer.started, "half a keep-alive is no message"
    message = a_message(b"body")
    framer.feed(message[:30])
    assert framer.next() is None
    assert framer.started
    framer.feed(message[30:-1])
    assert framer.next() is None
    assert framer.started
    framer.feed(message[-1:])
    assert framer.next() == message
    assert not framer.started


LIES = [
    b"4294967328", b"4294967296", b"2147483648", b"9223372036854775808", b"18446744073709551616", b"-1", b"+10", b"1e3", b"0x0",
    b"", b"0, 0", b"0 0", b"0;x", b"\xd9\xa0", b"0\x0b", b"\x0c0", b"1" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_content_length_that_is_not_plain_digits_ends_the_stream(lie: bytes) -> None:
    items = read(a_message(INNER, length=lie) + a_message())
    assert len(items) == 1
    assert items[0] == (400, a_message(length=lie)), "the head comes back for the 400, and nothing more"


@pytest.mark.parametrize(
    "stream",
    [
        without_length(INNER),
        a_message(INNER, length=b"0", extra=b"Content-Length: %d\r\n" % len(INNER)),
        a_message(INNER, length=b"0", extra=b"l: %d\r\n" % len(INNER)),
        a_message(INNER, length=b"0", extra=b"content-LENGTH :\r\n %d\r\n" % len(INNER)),
        a_message(INNER, extra=b"Content-Length\x0b: 0\r\n"),
        a_message(INNER, extra=b"Content-Length\0: 0\r\n"),
        a_message(INNER, extra=b"X: y\nContent-Length: 0\r\n"),
        a_message(INNER, extra=b"X: y\rContent-Length: 0\r\n"),
        a_message(INNER, extra=b"X: y\0\r\n"),
        a_message(INNER, extra=b"Content Length: 0\r\n"),
        a_message(INNER, extra=b": 0\r\n"),
        a_message(INNER, extra=b"Content-Length 0\r\n"),
        a_message(INNER, length=b"0\r\nContent-Length: %d" % len(INNER)),
        b"INVITE sip:a@h SIP/2.0\r\n Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
        b"INVITE sip:a@h SIP/2.0\r\nContent-Length: 5\n\r\n\r\n" + INNER,
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" + INNER,
        b"\n" + a_message(),
        b" \r\n" + a_message(),
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
)  # fmt: skip
def test_nothing_is_smuggled_past_a_head_that_two_readers_would_read_differently(stream: bytes) -> None:
    items = read(stream)
    assert len(items) == 1
    assert isinstance(items[0], tuple)
    assert items[0][0] == 400


def test_octets_beyond_content_length_are_not_a_message_unless_they_are_one() -> None:
    short = a_message(b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\n\r\n", length=b"3")
    items = read(short + a_message())
    assert items[0] == short[: short.index(b"\r\n\r\n") + 4 + 3]
    assert len(items) == 2
    assert isinstance(items[1], tuple)


def test_a_content_length_beyond_the_body_waits_and_never_gives_a_cut_message() -> None:
    framer = StreamFramer()
    framer.feed(a_message(b"v=0\r\n", length=b"6"))
    assert framer.next() is None
    assert framer.started, "so that the driver's deadline closes it"


def test_equal_content_lengths_are_one() -> None:
    message = a_message(b"v=0\r\n", extra=b"l: 05\r\n")
    assert read(message) == [message]


def test_each_limit_holds_to_the_octet() -> None:
    pad = MAX_HEAD_BYTES - len(a_message(extra=b"X: \r\n"))
    longest = a_message(extra=b"X: " + b"x" * pad + b"\r\n")
    assert len(longest) == MAX_HEAD_BYTES
    assert read(longest) == [longest]
    too_long = a_message(extra=b"X: x" + b"x" * pad + b"\r\n")
    assert read(too_long) == [(513, too_long[:MAX_HEAD_BYTES])]
    assert read(b"x" * MAX_HEAD_BYTES) == [(513, b"x" * MAX_HEAD_BYTES)]

    biggest = a_message(b"b" * MAX_BODY_BYTES)
    assert read(biggest) == [biggest]
    assert read(a_message(b"b" * (MAX_BODY_BYTES + 1)))[0] == (413, a_message(length=b"%d" % (MAX_BODY_BYTES + 1)))

    lines = a_message(extra=b"X: y\r\n" * (MAX_HEAD_LINES - 2))
    assert read(lines) == [lines]
    assert read(a_message(extra=b"X: y\r\n" * (MAX_HEAD_LINES - 1)))[0][0] == 513  # type: ignore[index]


def test_a_failed_stream_takes_in_nothing_and_gives_nothing_more() -> None:
    framer = StreamFramer()
    framer.feed(without_length())
    with pytest.raises(FramingError):
        framer.next()
    assert framer.has_failed
    framer.feed(a_message())
    assert framer.next() is None
    assert not framer.started


STREAMS = [
    b"\r\n\r\n" + a_message(b"v=0\r\n") + b"\r\n" + a_message() + b"\r\n\r\n\r\n" + a_message(INNER, name=b"l") + b"\r\n\r\n",
    a_message(b"\r\n\r\n\r\n") + a_message(length=b"+0") + a_message(),
    a_message() + without_length() + a_message(),
    a_message() + b"\r\r\n" + a_message(),
    a_message() + b"garbage\r\n\r\n" + a_message(),
    a_message(b"x" * 9, length=b"4") + a_message(),
]


@pytest.mark.parametrize("stream", STREAMS)
def test_cut_at_any_one_place_or_at_every_place_a_stream_gives_the_same(stream: bytes) -> None:
    whole = read(stream)
    assert read(*[bytes([octet]) for octet in stream]) == whole
    for place in range(len(stream)):
        assert read(stream[:place], stream[place:]) == whole


PIECES = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"INVITE sip:a@h SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"Content-Length: 4\r\n",
     b"l:0\r\n", b"l: 9999999999\r\n", b"X: y\r\n", b" folded\r\n", b"body", a_message(), a_message(b"abcd"), b"\0", b":", b"x"]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=4), max_size=12).map(b"".join), st.lists(st.integers(0, 1000), max_size=6))
def test_however_a_stream_is_cut_it_gives_the_same_messages_and_the_same_failure(stream: bytes, places: list[int]) -> None:
    whole = read(stream)
    assert read(*cut(stream, places)) == whole
    given_out = b"".join(item for item in whole if isinstance(item, bytes))
    assert len(given_out) <= len(stream)
    for item in whole[:-1]:
        assert not isinstance(item, tuple), "nothing comes after a failure"
