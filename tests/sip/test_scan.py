"""What `_scan.c` answers, the Python beside it answers alike; what it leaves, it leaves whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sipctl
from sipctl.call import wire
from sipctl.errors import SipSyntaxError
from sipctl.sip import message as reader
from sipctl.sip.message import Message
from tests.support.compiled import compiled

scan = compiled("sipctl.sip._scan")
scanner = scan.Scanner(reader._EXACT, reader._LOWER, tuple(reader._SINGLE), reader.CONTENT_LENGTH)
FIELDS = ("start", "method", "uri", "status", "lines", "at", "repeated", "body")

INVITE = (
    b"INVITE sip:+4930901820@203.0.113.9 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-1-0\r\n"
    b'From: "A, B" <sip:+4930123456@198.51.100.1:5060>;tag=1\r\n'
    b"To: <sip:+4930901820@203.0.113.9:5060>\r\n"
    b"Call-ID: 1@198.51.100.1\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Contact: <sip:sipp@198.51.100.1:5060>\r\n"
    b"Max-Forwards: 70\r\n"
    b"Supported: timer\r\n"
    b"X-Own: 1\r\n"
    b"Content-Length: 5\r\n"
    b"\r\n"
    b"v=0\r\n"
)
ANSWER = (
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKra, SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-1-0;rport=5060\r\n"
    b"Record-Route: <sip:a@203.0.113.9;lr>\r\n"
    b"Record-Route: <sip:b@203.0.113.9;lr>\r\n"
    b"f: <sip:+4930123456@198.51.100.1:5060>;tag=1\r\n"
    b"TO : <sip:+4930901820@203.0.113.9:5060>;tag=2;x=y\r\n"
    b"Call-ID: 1@198.51.100.1\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Content-Length:   5\r\n"
    b"\r\n"
    b"v=0\r\n"
)
USUAL = (INVITE, ANSWER, INVITE.replace(b"INVITE", b"BYE"), ANSWER.replace(b"f: ", b"From: ").replace(b"TO :", b"To:"))
PIECES = (
    b"", b"\r\n", b"\r", b"\n", b" ", b"\t", b",", b";", b'"', b"\0", b":", b"\xff", b"0", b"\r\n\r\n", b"\r\n ", b"Via: x\r\n",
    b"v:", b"To: x\r\n", b"Content-Length: 5\r\n", b"content-length : 5\r\n", b"l: 4\r\n", b"X" * 40 + b": 1\r\n", b"SIP/2.0 ",
)  # fmt: skip
edits_of = st.lists(st.tuples(st.integers(0, 620), st.integers(0, 3), st.sampled_from(PIECES)), max_size=3)
LINES = (
    b"Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-1-0", b"Via: SIP/2.0/TCP 198.51.100.1;branch=z9hG4bKx;rport",
    b"Via: SIP/2.0/UDP 198.51.100.2:5060;branch=z9hG4bK-1-0;rport", b"Via: SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1",
)  # fmt: skip
PARTIES = (
    b"To: <sip:a@b>", b"To: <sip:a@b>;tag=x", b"f: <sip:a@b>;tag=x;y", b'To: "<x>" <sip:a@b>;tag=1', b"To: sip:a@b;tag=2",
    b'To: <sip:a@b>;x=">;tag=n"', b"To: <sip:a@b> ;tag=x",
)  # fmt: skip


def damaged(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    return data


def agrees(data: bytes) -> bool:
    """Whether the scanner indexed it; then the reader in Python must find the very same."""
    found = scanner.head(data)
    if found is None:
        return False
    message = reader._index(data)
    assert found == tuple(getattr(message, name) for name in FIELDS)
    return True


@pytest.mark.parametrize("data", USUAL)
def test_messages_as_stacks_write_them_are_indexed_in_one_go(data: bytes) -> None:
    assert agrees(data)


@given(st.sampled_from(USUAL), edits_of)
@example(INVITE, [(0, 0, b"\r\n")])
@example(INVITE, [(600, 0, b"12345")])
@settings(max_examples=1000)
def test_a_damaged_message_is_indexed_alike_or_left(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    agrees(damaged(data, edits))


@given(st.sampled_from(USUAL), st.integers(0, 700))
def test_a_message_cut_anywhere_is_indexed_alike_or_left(data: bytes, stop: int) -> None:
    agrees(data[:stop])
    light = scan.light_response(data[:stop])
    assert light is None or light == reader._light_response(data[:stop])


def test_every_limit_of_the_scanner_leaves_the_message() -> None:
    assert agrees(INVITE.replace(b"X-Own", b"X" * 32)) and agrees(INVITE.replace(b"X-Own", b"X" * 33))
    lines = INVITE.count(b"\r\n") - 3  # without the start line, the empty line and the body's
    assert agrees(INVITE.replace(b"X-Own: 1\r\n", b"X-Own: 1\r\n" * (1 + reader.MAX_LINES - lines)))
    assert not agrees(INVITE.replace(b"X-Own: 1\r\n", b"X-Own: 1\r\n" * (2 + reader.MAX_LINES - lines)))
    head = INVITE.index(b"\r\n\r\n")
    assert agrees(INVITE.replace(b"X-Own: 1", b"X-Own: " + b"1" * (reader.MAX_HEAD_BYTES - head + 1)))
    assert not agrees(INVITE.replace(b"X-Own: 1", b"X-Own: " + b"1" * (reader.MAX_HEAD_BYTES - head + 2)))


def test_limits_are_the_readers_own() -> None:
    source = Path(sipctl.__file__).parent.joinpath("sip/_scan.c").read_text()
    defined = dict(re.findall(r"^#define (MAX_HEAD_BYTES|MAX_LINES) (\d+)", source, re.MULTILINE))
    assert defined == {"MAX_HEAD_BYTES": str(reader.MAX_HEAD_BYTES), "MAX_LINES": str(reader.MAX_LINES)}


@given(st.sampled_from(USUAL), edits_of)
@example(USUAL[3], [])
@settings(max_examples=1000)
def test_the_light_pass_over_a_response_agrees(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    found = scan.light_response(damaged(data, edits))
    assert found is None or found == reader._light_response(damaged(data, edits))


def test_the_light_pass_takes_what_python_takes() -> None:
    assert scan.light_response(USUAL[3]) == reader._light_response(USUAL[3]) is not None


def a_request(line: bytes) -> Message:
    message = Message()
    message.method, message.lines, message.at, message.uri, message.start = b"BYE", [line], {reader.VIA: 0}, b"", b""
    return message


@given(st.sampled_from(LINES), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 3), st.sampled_from(PIECES)), max_size=2))
@example(LINES[0], [])
@example(LINES[1], [])
@settings(max_examples=1000)
def test_the_top_via_is_read_alike_or_left(line: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    line = damaged(line, edits)
    found = scan.usual_via(line, "198.51.100.1", 5062)
    if found is None:
        assert edits or line not in LINES[:2], "these are usual"
        return
    try:
        up = wire._read_any_via(a_request(line), line, "198.51.100.1", 5062)
    except SipSyntaxError as error:
        raise AssertionError(f"{line!r} is refused in Python: {error}") from error
    assert found == (up.key, up.line, up.port)


@given(st.sampled_from(PARTIES), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.sampled_from(PIECES)), max_size=2))
@example(PARTIES[1], [])
@settings(max_examples=1000)
def test_a_tag_is_read_alike_or_left(line: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    found = scan.usual_tag(damaged(line, edits))
    assert found is None or found == reader._tag_of(damaged(line, edits))


def test_usual_tags_are_read() -> None:
    assert [scan.usual_tag(line) for line in PARTIES] == [b"", b"x", b"x", b"1", None, None, None]


@pytest.mark.parametrize("wrong", ["text", None, 3, bytearray(b"x")])
def test_anything_but_bytes_is_a_type_error(wrong: object) -> None:
    for call in (scanner.head, scan.light_response, scan.usual_tag, lambda x: scan.usual_via(x, "h", 1)):
        with pytest.raises(TypeError):
            call(wrong)
    wrongs: tuple[object, ...] = ({b"x" * 33: 1}, {b"": 1}, {b"x": 32}, {b"x": -1}, {b"%d" % i: 1 for i in range(121)}, [])
    for names in wrongs:
        with pytest.raises((ValueError, TypeError)):
            scan.Scanner(names, {}, (), 1)
    with pytest.raises(ValueError):
        scan.Scanner({}, {}, (32,), 1)
