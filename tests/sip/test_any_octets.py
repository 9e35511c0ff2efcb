"""Whatever arrives: a value or SipSyntaxError, and our readers agree on what it says (S6, T5, T6 of the threats)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.errors import SipSyntaxError
from sipctl.sip.framing import FramingError, StreamFramer
from sipctl.sip.headers import parse_content_lengths, parse_from_to
from sipctl.sip.message import CONTENT_LENGTH, FROM, TO, join, parse
from tests.sip.torture import OFFER
from tests.sip.torture.beyond import BEYOND
from tests.sip.torture.invalid import INVALID, a_request
from tests.sip.torture.valid import VALID
from tests.sip.verdict import judge

CORPUS = [*VALID.values(), *INVALID.values(), *BEYOND.values()]
PIECES = [
    b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b";", b",", b'"', b"\\", b"<", b">", b"@", b"%", b"=", b"\xff", b"\x0b",
    b"l: 5\r\n", b"Content-Length: 99999999999\r\n", b";tag=x", b"SIP/2.0", b"\r\n\r\n",
]  # fmt: skip


def mutated(data: bytes, seed: int) -> bytes:
    """One to four pieces of a message changed: dropped, doubled, replaced, or another put in."""
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice((0, 0, 1, 1, 2, 8, 40)))
        other = dice.choice((b"", dice.choice(PIECES), data[start:end] * 2, bytes([dice.randrange(256)])))
        data = data[:start] + other + data[end:]
    return data


@given(st.binary(max_size=200))
def test_any_octets_are_judged(data: bytes) -> None:
    verdict = judge(data)
    assert verdict.reason


@pytest.mark.parametrize("data", CORPUS, ids=[*VALID, *INVALID, *BEYOND])
def test_every_prefix_of_a_message_is_judged(data: bytes) -> None:
    for end in range(0, len(data), 3):
        assert judge(data[:end]).reason


@pytest.mark.parametrize("block", range(10))
def test_mutated_messages_are_judged_and_what_is_read_leaves_as_it_came(block: int) -> None:
    for seed in range(block * 400, block * 400 + 400):
        data = mutated(CORPUS[seed % len(CORPUS)], seed)
        assert judge(data).reason
        try:
            message = parse(data)
        except SipSyntaxError:
            continue
        assert data.lstrip(b"\r\n").startswith(join(message.start, message.lines, message.body)), seed


@pytest.mark.parametrize("block", range(10))
def test_the_stream_and_the_parser_see_the_same_end_of_every_message(block: int) -> None:
    """What framing cuts out, the parser refuses or reads with exactly that body: no octet of one is another's message."""
    agreed = 0
    for seed in range(block * 400, block * 400 + 400):
        framer = StreamFramer()
        framer.feed(mutated(CORPUS[seed % len(CORPUS)], seed))
        try:
            framed = framer.next()
            if not isinstance(framed, bytes):
                continue
            message = parse(framed)
        except (FramingError, SipSyntaxError):
            continue
        _, _, body = framed.partition(b"\r\n\r\n")
        assert message.body == body, seed
        assert join(message.start, message.lines, message.body) == framed, seed
        assert parse_content_lengths(message.values(CONTENT_LENGTH)) == len(body), seed
        agreed += 1
    assert agreed > 20


TAGGED = [
    "<sip:a@h>;tag=1", "sip:a@h;tag=1", "<sip:a@h> ; TAG = 1 ;x=y", '"n;tag=0" <sip:a;tag=2@h>;tag=1', "<sip:a@h>;x=tag;tag=1",
    '"q\\";tag=0" <sip:a@h>;x;tag=1', "<sip:a@h>;x=y;tag=1", '<sip:a@h>;x=";tag=0";tag=1', '<sip:a@h>;x="<>";tag=1',
    '<sip:a@h>;tag=1;x=">;tag=0"', "n <sip:a;tag=0@h>;tag=1", '<sip:a@h>;x="a;b";tag=1', "<sip:a@h>;tagged=0;tag=1",
    '"x>;tag=0" <sip:a@h>;tag=1', '<sip:a@h>;x="\\">;tag=0";TAG = 1',
]  # fmt: skip


@pytest.mark.parametrize("value", TAGGED)
def test_the_light_and_the_typed_reader_find_the_same_tag(value: str) -> None:
    """Two elements that read different tags would tell different dialogs."""
    message = parse(a_request(replaced="From", by=f"From: {value}", body=OFFER))
    assert parse_from_to(message.value(FROM)).tag == b"1"
    assert message.from_tag() == b"1"
    assert message.to_tag() == b""
    assert parse_from_to(message.value(TO)).tag is None


@pytest.mark.parametrize(
    "line",
    [b"X-Evil\x0b: 1", b"Content-Length\x0b: 0", b"X(y): 1", b"\xc3\xbc: 1", b"a,b: 1", b'"x": 1', b"l: 0\x0b", b"l: \x0c0",
     b"Content-Length: +0", b"Content-Length: 0,0"],
)  # fmt: skip
def test_a_header_that_the_next_element_may_read_as_another_is_refused(line: bytes) -> None:
    data = a_request(method="OPTIONS", body=b"").replace(b"Content-Length: 0", line)
    with pytest.raises(SipSyntaxError):
        parse(data)


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=20))
def test_no_octets_in_a_value_make_a_line_of_their_own(value: bytes) -> None:
    """T5: what is put into a value either is refused or stays in its line."""
    data = a_request(method="OPTIONS", body=b"").replace(b"Max-Forwards: 70", b"Subject: x" + value + b"y\r\nMax-Forwards: 70")
    try:
        message = parse(data)
    except SipSyntaxError:
        return
    if b"\r\n" not in value:
        assert len(message.lines) == len(parse(a_request(method="OPTIONS", body=b"")).lines) + 1
        assert b"Subject: x" + value + b"y" in message.lines
