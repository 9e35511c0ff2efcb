import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.errors import SipSyntaxError
from sipctl.sip.uri import MAX_URI_BYTES, OtherUri, SipUri, TelUri, parse_number_user, parse_uri


def sip(data: bytes) -> SipUri:
    uri = parse_uri(data)
    assert isinstance(uri, SipUri)
    return uri


def number(data: bytes) -> bytes:
    uri = parse_uri(data)
    assert not isinstance(uri, OtherUri)
    return parse_number_user(uri).digits


def test_a_full_sip_uri_comes_apart_and_together_again() -> None:
    text = b"sip:+4930123;isub=12;postd=pp22:secret@[2001:db8::1]:5070;transport=tcp;lr?Subject=x&Priority=urgent"
    uri = sip(text)
    assert uri == SipUri(
        b"sip", b"+4930123", ((b"isub", b"12"), (b"postd", b"pp22")), b"secret", b"[2001:db8::1]", 5070,
        ((b"transport", b"tcp"), (b"lr", None)), b"Subject=x&Priority=urgent",
    )  # fmt: skip
    assert bytes(uri) == text
    assert uri.is_loose
    assert uri.param(b"transport") == b"tcp"
    assert uri.param(b"maddr") is None


@pytest.mark.parametrize(
    "text",
    [
        b"sip:example.com", b"sips:alice@example.com:5061", b"sip:alice:@example.com", b"sip:192.0.2.7;ob", b"sip:[::1]",
        b"sip:user;par=u%40example.net@example.com", b"sip:odd?,/;;*&=+$@example.com", b"sip:*21#@pbx.example",
        b"sip:sips%3Auser%40example.com@example.net", b"sip:null-%00-null@example.com", b"sip:host_7.example",
        b"sip:x@example.com;a=b==;c", b"tel:+49-30-1234;isub=12", b"tel:7042;phone-context=pbx.example", b"tel:*21#",
        b"urn:service:sos", b"soap.beep://192.0.2.103:3002", b"isbn:2983792873",
    ],
)  # fmt: skip
def test_what_is_read_is_written_back_octet_for_octet(text: bytes) -> None:
    assert bytes(parse_uri(text)) == text


def test_the_scheme_may_be_written_in_any_case() -> None:
    assert sip(b"SIP:a@b.example") == sip(b"sip:a@b.example")
    assert parse_uri(b"TEL:+4930") == TelUri(b"+4930", ())


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b"", 0), (b"alice@example.com", 0), (b"sip:", 4), (b"sip:@example.com", 4), (b"sip:a b@example.com", 4),
        (b"sip:a@b@c.example", 7), (b"sip:a@example.com:", 18), (b"sip:a@example.com:65536", 18), (b"sip:a@example.com:+5", 18),
        (b"sip:a@example.com; lr", 18), (b"sip:a@example.com;", 18), (b"sip:a@example.com;;lr", 18), (b"sip:a@b?", 8),
        (b"sip:a@b;lr?x y", 11), (b"sip:a@300.1.1.1", 6), (b"sip:a@1.2.3", 6), (b"sip:a@1.2.3.4.", 6), (b"sip:a@[1::2::3]", 6),
        (b"sip:a@[fe80::1%25eth0]", 6), (b"sip:a@[::1", 6), (b"sip:a@example.com>", 17), (b"sip:a%zz@example.com", 4),
        (b"sip:a%4@example.com", 4), (b"sip:a\r\nX: y@b", 4), (b"sip:a\0@b", 4), (b"sip:a:p:q@b", 6), (b"sip:\xc3\xbc@b", 4),
        (b"tel:", 4), (b"tel:alice", 4), (b"tel:+", 4), (b"tel:-.-", 4), (b"tel:+49;", 8), (b"http:", 5), (b"x:a b", 2),
        (b"<sip:a@b>", 0), (b" sip:a@b", 0), (b"1sip:a", 0),
    ],
)  # fmt: skip
def test_what_is_no_uri_is_refused_with_its_place(text: bytes, offset: int) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        parse_uri(text)
    assert (caught.value.status, caught.value.offset) == (400, offset)


def test_a_uri_longer_than_the_limit_is_answered_414() -> None:
    longest = b"sip:" + b"a" * (MAX_URI_BYTES - 10) + b"@b.cde"
    assert bytes(parse_uri(longest)) == longest[: MAX_URI_BYTES + 10]
    with pytest.raises(SipSyntaxError) as caught:
        parse_uri(longest + b"x")
    assert caught.value.status == 414


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (b"sip:+4930123@h", b"+4930123"), (b"sip:%2B49(30)12-3.4@h", b"+49301234"), (b"sip:030123@h", b"030123"),
        (b"sip:%2b4930123@h;user=phone", b"+4930123"), (b"tel:+49-30-123", b"+4930123"), (b"tel:%2B49-30", b"+4930"),
        (b"sip:*21%23@h", b"*21#"), (b"sip:alice@h", b""), (b"sip:h", b""), (b"sip:4930+1@h", b""), (b"sip:abba@h", b""),
        (b"sip:7abc@h;user=phone", b"7abc"), (b"sip:+@h", b""), (b"sip:%00@h", b""), (b"sip:12%2034@h", b"1234"),
    ],
)  # fmt: skip
def test_the_number_is_taken_out_of_the_user_part(text: bytes, digits: bytes) -> None:
    assert number(text) == digits


def test_what_comes_with_the_number_is_split_off() -> None:
    user = b"030123;phone-context=+49;npdi;rn=+1-555;isub=9;tgrp=tg1;trunk-context=c.example"
    parts = parse_number_user(sip(b"sip:" + user + b"@h;user=phone;cic=+1288"))
    assert parts.digits == b"030123"
    assert parts.user == b"030123"
    assert (parts.phone_context, parts.rn, parts.npdi, parts.isub) == (b"+49", b"+1555", True, b"9")
    assert (parts.tgrp, parts.trunk_context, parts.cic, parts.user_phone) == (b"tg1", b"c.example", b"+1288", True)
    assert parse_number_user(sip(b"sip:5;tgrp=inner@h;tgrp=outer")).tgrp == b"inner", "the user part comes first"
    assert parse_number_user(sip(b"sip:Desk%207@h")).user == b"Desk 7"


@given(st.binary(max_size=60) | st.binary(max_size=40).map(b"sip:".__add__) | st.binary(max_size=40).map(b"tel:+4".__add__))
def test_any_octets_are_a_uri_or_a_syntax_error(data: bytes) -> None:
    try:
        uri = parse_uri(data)
    except SipSyntaxError as error:
        assert 0 <= error.offset <= len(data)
        return
    assert parse_uri(bytes(uri)) == uri
    if not isinstance(uri, OtherUri):
        parse_number_user(uri)


@given(st.text("sip:tel@;?=&%2B.[]a1+-#()*,", max_size=50).map(str.encode))
def test_texts_made_of_what_uris_are_made_of_survive_the_round_trip(text: bytes) -> None:
    try:
        uri = parse_uri(b"sip:" + text)
    except SipSyntaxError:
        return
    assert parse_uri(bytes(uri)) == uri
