from collections.abc import Callable
from datetime import UTC, datetime
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.errors import SipSyntaxError
from sipctl.sip import grammar, headers
from sipctl.sip.headers import Reason, RetryAfter, SessionExpires
from sipctl.sip.uri import OtherUri, SipUri, TelUri

Parser = Callable[[bytes], object]
PARSERS: dict[str, Parser] = {
    "via": headers.parse_via, "vias": headers.parse_vias, "name_addr": headers.parse_name_addr,
    "from_to": headers.parse_from_to, "contacts": headers.parse_contacts, "identities": headers.parse_identities,
    "routes": lambda value: headers.parse_routes([value]), "cseq": headers.parse_cseq,
    "max_forwards": headers.parse_max_forwards, "content_length": headers.parse_content_length,
    "content_lengths": lambda value: headers.parse_content_lengths([value, b"0"]),
    "retry_after": headers.parse_retry_after, "reasons": headers.parse_reasons,
    "session_expires": headers.parse_session_expires, "priorities": headers.parse_resource_priorities,
    "option_tags": headers.parse_option_tags, "date": headers.parse_date, "split_list": grammar.split_list,
    "params": lambda value: grammar.parse_params(value, 0),
}  # fmt: skip
FRAGMENTS = [
    b'"', b"\\", b"<", b">", b",", b";", b"=", b":", b"@", b"?", b"*", b"(", b")", b"/", b".", b" ", b"\t", b"[", b"]", b"%",
    b"\0", b"\r\n", b"\xff", b"sip:a@b", b"SIP/2.0/UDP h", b"tag", b"branch", b"1", b"-1", b"4294967296", b"Q.850", b"INVITE",
]  # fmt: skip


def refused(parser: Parser, value: bytes) -> SipSyntaxError:
    with pytest.raises(SipSyntaxError) as caught:
        parser(value)
    return caught.value


@pytest.mark.parametrize("name", PARSERS)
@given(value=st.binary(max_size=60) | st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))
def test_any_octets_are_a_value_or_a_syntax_error_with_its_place(name: str, value: bytes) -> None:
    try:
        PARSERS[name](value)
    except SipSyntaxError as error:
        assert error.status == 400
        assert 0 <= error.offset <= len(value)


# ── Via ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_via_says_transport_sent_by_branch_and_where_it_came_from() -> None:
    via = headers.parse_via(b"SIP/2.0/udp 198.51.100.7:5062;branch=z9hG4bK77;received=203.0.113.1;rport=6000;x")
    assert (via.transport, via.host, via.port, via.branch) == (b"UDP", b"198.51.100.7", 5062, b"z9hG4bK77")
    assert (via.received, via.rport) == (b"203.0.113.1", 6000)
    assert via.has_cookie
    assert via.raw == b"SIP/2.0/udp 198.51.100.7:5062;branch=z9hG4bK77;received=203.0.113.1;rport=6000;x"


def test_rport_is_absent_or_asked_for_or_filled_in() -> None:
    assert headers.parse_via(b"SIP/2.0/UDP h").rport is None
    assert headers.parse_via(b"SIP/2.0/UDP h;rport").rport == b""
    assert headers.parse_via(b"SIP/2.0/UDP h;RPort=9").rport == 9


def test_spaces_may_stand_around_every_separator_of_a_via() -> None:
    value = b"SIP  / 2.0  / TCP     a.example : 5070  ;\tbranch  =  z9hG4bK1 , SIP/2.0/UDP [::1];received=[::2]"
    first, second = headers.parse_vias(value)
    assert (first.transport, first.host, first.port, first.branch) == (b"TCP", b"a.example", 5070, b"z9hG4bK1")
    assert (second.host, second.received, second.branch) == (b"[::1]", b"::2", None)


@pytest.mark.parametrize("branch", [b";branch=z9hG4bK", b";branch=z9hG4b", b";branch=abc", b""])
def test_a_branch_without_cookie_or_with_nothing_behind_it_identifies_no_transaction(branch: bytes) -> None:
    assert not headers.parse_via(b"SIP/2.0/UDP h" + branch).has_cookie


@pytest.mark.parametrize(
    "value",
    [
        b"", b"SIP/2.0/UDP", b"SIP/2.0/UDP ;branch=x", b"SIP/7.0/UDP h", b"SIP/2.0 h", b"HTTP/1.1/TCP h", b"SIP/2.0/UDP h:",
        b"SIP/2.0/UDP h:70000", b"SIP/2.0/UDP h:-1", b"SIP/2.0/UDP 192.0.2.15;;,;,,", b"SIP/2.0/UDP h;branch=a;branch=b",
        b"SIP/2.0/UDP h;rport=x", b"SIP/2.0/UDP h;rport=70000", b"SIP/2.0/UDP h;received=evil.example", b"SIP/2.0/UDP 1.2.3",
        b"SIP/2.0/UDP h;received", b"SIP/2.0/UDP h h", b"SIP/2.0/UDP h;branch=a\r\nX: y", b'SIP/2.0/UDP h;x="', b"SIP/2.0/U P h",
    ],
)  # fmt: skip
def test_what_is_no_via_is_refused(value: bytes) -> None:
    refused(headers.parse_vias, value)


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "display", "host", "tag"),
    [
        (b"<sip:a@h.example>", b"", b"h.example", None),
        (b"sip:a@h.example;tag=1", b"", b"h.example", b"1"),
        (b"sip:a@h.example ; TAG = 1 ", b"", b"h.example", b"1"),
        (b'"A, B; <x@y> \\"q\\" \\\\" <sip:a@h.example;lr>;tag=2;x="a;b"', b'A, B; <x@y> "q" \\', b"h.example", b"2"),
        (b"A. N. Other <sip:a@h.example>;tag=3", b"A. N. Other", b"h.example", b"3"),
        (b"caller<sip:a@h.example>;tag=4", b"caller", b"h.example", b"4"),
        (b"J\xc3\xbcrgen M\xc3\xbcller <sip:a@h.example>;tag=5", b"J\xc3\xbcrgen M\xc3\xbcller", b"h.example", b"5"),
        (b'""<sip:a@h.example>', b"", b"h.example", None),
        (b'"bell \\\x07" <sip:a@h.example>', b"bell \x07", b"h.example", None),
        (b"<sip:a@[2001:db8::9]:5060>;tag=6", b"", b"[2001:db8::9]", b"6"),
    ],
)
def test_an_address_is_read_with_and_without_name_and_brackets(
    value: bytes, display: bytes, host: bytes, tag: bytes | None
) -> None:
    address = headers.parse_from_to(value)
    assert isinstance(address.uri, SipUri)
    assert (address.display, address.uri.host, address.tag) == (display, host, tag)
    assert headers.parse_from_to(bytes(address)) == address


def test_without_brackets_a_semicolon_begins_a_parameter_of_the_header() -> None:
    bare = headers.parse_name_addr(b"sip:+49@g.example;user=phone")
    bracketed = headers.parse_name_addr(b"<sip:+49@g.example;user=phone>")
    assert bare.param(b"user") == b"phone"
    assert isinstance(bare.uri, SipUri)
    assert bare.uri.params == ()
    assert bracketed.params == ()


@pytest.mark.parametrize(
    "value",
    [
        b"", b'"Mr. J. User <sip:j@h>', b"Bell, Alexander <sip:a@h>;tag=43", b"< sip:a@h >", b"<sip:a@h", b"sip:a@h>",
        b"<sip:a@h>>", b"<sip:a@h>x", b"<sip:a@h>;", b"<sip:a@h>;;tag=1", b"<sip:a@h>;tag=", b"<sip:a@h>;tag=1;Tag=2",
        b'"a" "b" <sip:a@h>', b"sip:a@h?Route=%3Csip:x%3E", b"sip:a@h,sip:b@h", b"<>", b"alice", b'"a\0" <sip:a@h>',
        b'"a\r\nX: y" <sip:a@h>', b"<sip:a@h>;x=\xc3\xbc",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(value: bytes) -> None:
    refused(headers.parse_from_to, value)


def test_the_place_of_an_error_in_a_uri_counts_from_the_start_of_the_value() -> None:
    assert refused(headers.parse_name_addr, b'"A" <sip:a@h; lr>').offset == len(b'"A" <sip:a@h;')


def test_a_contact_is_a_star_or_addresses_with_their_parameters() -> None:
    assert headers.parse_contacts(b" * ") == b"*"
    contacts = headers.parse_contacts(b'"a,b" <sip:a,b@h;x=y>;q=0.5, <tel:+49>;expires=3600')
    assert isinstance(contacts, tuple)
    first, second = contacts
    assert (first.display, first.param(b"q"), second.param(b"expires")) == (b"a,b", b"0.5", b"3600")


def test_a_route_set_keeps_its_order_over_several_lines_and_needs_brackets() -> None:
    routes = headers.parse_routes([b"<sip:a;lr>, <sip:b>", b"<sip:c;lr=on>"])
    assert [(route.uri.host, route.uri.is_loose) for route in routes if isinstance(route.uri, SipUri)] == [
        (b"a", True), (b"b", False), (b"c", True),
    ]  # fmt: skip
    refused(PARSERS["routes"], b"sip:a;lr")
    assert headers.parse_routes([]) == ()


def test_identities_may_be_sip_and_tel() -> None:
    first, second = headers.parse_identities(b'"A" <sip:+49@h>, <tel:+49>')
    assert isinstance(first.uri, SipUri)
    assert second.uri == TelUri(b"+49", ())
    assert headers.parse_from_to(b"<http://www.example.com>;tag=1").uri == OtherUri(b"http", b"//www.example.com")


# ── numbers, dates and lists ─────────────────────────────────────────────────────────────────────────────────────────


def test_cseq_is_a_number_below_two_to_the_31_and_a_method() -> None:
    assert headers.parse_cseq(b"0009  INVITE") == (9, b"INVITE")
    assert headers.parse_cseq(b"2147483647 X") == (2**31 - 1, b"X")
    for value in (b"2147483648 INVITE", b"36893488147419103232 REGISTER", b"-1 INVITE", b"1", b"1 IN VITE", b"1 <", b""):
        refused(headers.parse_cseq, value)


def test_max_forwards_is_0_to_255() -> None:
    assert [headers.parse_max_forwards(value) for value in (b"0", b"0068", b" 255 ")] == [0, 68, 255]
    for value in (b"256", b"300", b"-1", b"", b"7 0", b"0x7"):
        refused(headers.parse_max_forwards, value)


@pytest.mark.parametrize(
    "value",
    [b"+10", b"-1", b"1e3", b"10 10", b"10,10", b"0x10", b"", b"4294967296", b"4294967328", b"2147483648", b"9223372036854775808",
     b"18446744073709551616", b"1_0", b"1.0", b"\xd9\xa1", b"5\x0b", b"1" * 5000],
)  # fmt: skip
def test_a_content_length_that_elements_might_read_differently_is_refused(value: bytes) -> None:
    refused(headers.parse_content_length, value)


def test_content_lengths_must_all_say_the_same() -> None:
    assert headers.parse_content_lengths([]) is None
    assert headers.parse_content_lengths([b"5", b" 05 "]) == 5
    with pytest.raises(SipSyntaxError, match="differ"):
        headers.parse_content_lengths([b"13", b"5"])


def test_retry_after_has_seconds_a_comment_and_a_duration() -> None:
    assert headers.parse_retry_after(b"120") == RetryAfter(120, None, b"")
    value = b"120 (in a (long) \\( meeting);duration=3600;x"
    assert headers.parse_retry_after(value) == RetryAfter(120, 3600, b"in a (long) \\( meeting")
    for value in (b"", b"soon", b"-5", b"949302838503028349304023988", b"5 (open", b"5 (a))", b"5;duration=x", b"5 5"):
        refused(headers.parse_retry_after, value)


def test_reasons_are_a_list_of_protocols_with_cause_and_text() -> None:
    q850, sip = headers.parse_reasons(b'Q.850;cause=16;text="ended, normally", SIP;cause=200')
    assert (q850.protocol, q850.cause, q850.text) == (b"Q.850", 16, b"ended, normally")
    assert sip == Reason(b"SIP", 200, b"", ((b"cause", b"200"),))
    assert headers.parse_reasons(b"preemption")[0].cause is None
    for value in (b"", b"Q.850;cause=x", b"Q.850;cause=1000", b";cause=1", b"Q.850,"):
        refused(headers.parse_reasons, value)


def test_session_expires_names_its_refresher_or_none() -> None:
    assert headers.parse_session_expires(b"1800;refresher=UAC") == SessionExpires(1800, b"uac")
    assert headers.parse_session_expires(b"90") == SessionExpires(90, None)
    refused(headers.parse_session_expires, b"90;refresher=proxy")


def test_resource_priorities_are_namespaces_with_a_priority() -> None:
    assert headers.parse_resource_priorities(b"wps.3, DSN.Flash") == ((b"wps", b"3"), (b"dsn", b"flash"))
    refused(headers.parse_resource_priorities, b"wps")
    refused(headers.parse_resource_priorities, b"a.b.c")


def test_option_tags_are_tokens_and_an_empty_header_has_none() -> None:
    assert headers.parse_option_tags(b"100rel, timer") == (b"100rel", b"timer")
    assert headers.parse_option_tags(b" ") == ()
    refused(headers.parse_option_tags, b"100rel;x")


def test_a_date_is_in_gmt_and_exists() -> None:
    assert headers.parse_date(b"Fri, 01 Jan 2010 16:00:00 GMT") == datetime(2010, 1, 1, 16, tzinfo=UTC)
    for wrong in (b"01 Jan 2010 16:00:00 EST", b"31 Feb 2010 16:00:00 GMT", b"01 Jan 2010", b"01 Foo 2010 16:00:00 GMT",
                  b"01 Jan 0000 16:00:00 GMT", b"01 Jan 2010 24:00:00 GMT"):  # fmt: skip
        refused(headers.parse_date, b"Fri, " + wrong)


def test_a_list_is_cut_at_commas_outside_quotes_and_brackets_only() -> None:
    assert grammar.split_list(b'a , "b,\\"c" , <d,e>;x="f,g" , h') == [b"a", b'"b,\\"c"', b'<d,e>;x="f,g"', b"h"]
    assert grammar.split_list(b"") == []
    for value in (b",", b"a,", b",a", b"a,,b", b'a,"b', b"a,<b", b"x," * grammar.MAX_LIST + b"x"):
        refused(grammar.split_list, value)


def test_more_parameters_than_the_limit_are_refused() -> None:
    assert len(grammar.parse_params(b";a" * grammar.MAX_PARAMS, 0)) == grammar.MAX_PARAMS
    refused(PARSERS["params"], b";a" * (grammar.MAX_PARAMS + 1))


@given(st.binary(max_size=30))
def test_quoting_any_text_never_lets_a_line_end_out_and_reads_back(text: bytes) -> None:
    quoted = grammar.quote(text)
    assert not {0, 10, 13} & set(quoted)
    assert grammar.quoted_end(quoted, 0) == len(quoted)
    assert grammar.unquote(quoted) == text.replace(b"\0", b" ").replace(b"\r", b" ").replace(b"\n", b" ")


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("piece", [b" ", b'"', b"(", b"<", b";a", b"a=", b"\\", b",", b";", b"SIP /", b"1", b"%41", b"[:"])
def test_no_repeated_piece_makes_a_parser_slow(name: str, piece: bytes) -> None:
    """64 KiB in proportion take milliseconds; one quadratic expression would take four thousand million steps."""
    value = piece * (65536 // len(piece))
    before_s = process_time()
    for text in (value, b"sip:a@b" + value, b'"' + value + b"\0", b"1 (" + value, b"SIP/2.0/UDP h" + value + b"\0"):
        try:
            PARSERS[name](text)
        except SipSyntaxError as error:
            assert error.offset <= len(text)
    assert process_time() - before_s < 1.0
