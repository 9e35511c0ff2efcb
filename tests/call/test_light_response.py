"""The light pass over responses finds what the whole reader finds, or leaves the response to it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sipctl.call.core import _branch_of, _without_top_via
from sipctl.errors import SipSyntaxError
from sipctl.sip.message import light_response, parse

VIA = b"SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bKraaaaaabcdefgh"
BELOW = b"SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-1-0;received=198.51.100.1;rport=5060"
HEAD = (
    b'From: "A, B" <sip:+49301234567@198.51.100.1>;tag=1', b"To: <sip:+4930901820@203.0.113.9>;tag=b", b"Call-ID: 1@c",
    b"CSeq: 1 INVITE", b"Contact: <sip:10.4.1.11>", b"Content-Type: application/sdp",
)  # fmt: skip


def a_response(vias: bytes, body: bytes = b"v=0\r\n", length: bytes = b"5", lines: tuple[bytes, ...] = HEAD) -> bytes:
    return b"\r\n".join((b"SIP/2.0 200 OK", vias, *lines, b"Content-Length: " + length)) + b"\r\n\r\n" + body


USUAL = (
    a_response(b"Via: " + VIA + b"\r\nVia: " + BELOW),
    a_response(b"Via: " + VIA + b", " + BELOW),
    a_response(b"Via: " + VIA + b"," + BELOW, length=b"    5"),
    a_response(b"Via: " + VIA + b";rport\r\nVia: " + BELOW, b"", b"0"),
)

PIECES = (b"", b"\r\n", b"\r", b"\n", b" ", b",", b";", b'"', b"\0", b"Via: ", b"\r\n ", b"CSeq: 2 BYE\r\n", b"0")

LEFT_TO_THE_RECEIVER = ("missing", "stands twice", "without a name", "that differ")  # of lines nothing is read from here


def same(data: bytes) -> bool:
    """Whether the light pass took it; then it must read as the whole reader reads it."""
    light = light_response(data) if data.startswith(b"SIP/2.0 ") else None
    if light is None:
        return False
    status, branch, method, start, stop = light
    try:
        message = parse(data)
    except SipSyntaxError as error:
        assert any(word in str(error) for word in LEFT_TO_THE_RECEIVER), error
        return True
    assert (status, branch, method) == (message.status, _branch_of(message), message.cseq()[1])
    whole = _without_top_via(message)
    spliced = data[:start] + data[stop:]
    assert spliced.replace(b"Via: ", b"Via:") == whole.replace(b"Via: ", b"Via:")
    return True


@pytest.mark.parametrize("data", USUAL)
def test_what_stacks_usually_write_is_taken(data: bytes) -> None:
    assert same(data)


@pytest.mark.parametrize(
    "data",
    [
        a_response(b"Via: " + VIA + b"\r\n ;rport\r\nVia: " + BELOW),  # folded
        a_response(b"v: " + VIA + b"\r\nVia: " + BELOW),
        a_response(b'Via: SIP/2.0/UDP h;x=",";branch=z9hG4bKr\r\nVia: ' + BELOW),
        USUAL[0].replace(b"1 INVITE", b"1 INVI\r\n TE"),
        USUAL[0].replace(b"Length: 5", b"Length: 5\r\n 0\r\nX: 1"),
        USUAL[0].replace(b"OK", b"O\rK"),
        USUAL[0].replace(b"OK", b"O\nK"),
        USUAL[0].replace(b"OK", b"O\0K"),
        a_response(b"Via: " + VIA, length=b"6"),
        a_response(b"Via: " + VIA, length=b"4"),
        a_response(b"Via: " + VIA, lines=HEAD[:3]),
        b"SIP/2.0 700 OK" + USUAL[0][14:],
        b"SIP/2.0 20x OK" + USUAL[0][14:],
        b"SIP/2.0 200\r\n\r\n",
        b"SIP/2.0 200 OK",
        b"",
    ],
)
def test_what_is_written_in_an_uncommon_way_is_left_to_the_whole_reader(data: bytes) -> None:
    assert light_response(data) is None


@given(
    st.sampled_from(USUAL),
    st.lists(
        st.tuples(
            st.integers(0, 500), st.integers(0, 3),
            st.sampled_from(PIECES),
        ),
        max_size=3,
    ),
)  # fmt: skip
@example(USUAL[1], [(0, 0, b"")])
def test_a_damaged_response_is_never_read_differently(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    same(data)
