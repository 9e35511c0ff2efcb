"""The traps of RFC 4475, one message of ours per section, and what the odd but valid ones must be read as."""

import pytest

from sipctl.sip.framing import FramingError, StreamFramer
from sipctl.sip.headers import parse_contacts, parse_cseq, parse_from_to, parse_max_forwards, parse_vias
from sipctl.sip.message import CALL_ID, CONTACT, CSEQ, FROM, MAX_FORWARDS, TO, VIA, join, parse
from sipctl.sip.uri import SipUri, parse_number_user, parse_uri
from tests.sip.rfc4475 import sections
from tests.sip.torture.beyond import BEYOND
from tests.sip.torture.invalid import INVALID, a_request
from tests.sip.torture.valid import LONG_TAG, VALID
from tests.sip.verdict import DEVIATIONS, MAX_DEVIATIONS, SECTIONS, expected_of_us, judge

OURS = VALID | INVALID | BEYOND


def test_there_is_one_message_for_each_of_the_49_sections() -> None:
    assert OURS.keys() == SECTIONS.keys() == sections().keys()
    assert len(OURS) == 49


@pytest.mark.parametrize("section", OURS)
def test_verdict_of_each_section(section: str) -> None:
    verdict = judge(OURS[section])
    assert expected_of_us(section).allows(verdict), f"{section} {SECTIONS[section].title}: {verdict}"


def test_every_deviation_is_a_real_one_has_its_reason_and_there_are_few() -> None:
    assert len(DEVIATIONS) <= MAX_DEVIATIONS
    for section, (_, reason) in DEVIATIONS.items():
        assert not SECTIONS[section].allows(judge(OURS[section])), "else it is no deviation"
        assert len(reason.split()) > 10


REFUSED_FOR = {
    "3.1.1.2": "NUL", "3.1.2.1": "empty element", "3.1.2.2": "body is shorter", "3.1.2.3": "Content-Length", "3.1.2.4": "CSeq",
    "3.1.2.5": "CSeq", "3.1.2.6": "angle brackets", "3.1.2.7": "scheme", "3.1.2.8": "start line", "3.1.2.9": "start line",
    "3.1.2.10": "start line", "3.1.2.11": "headers are not allowed", "3.1.2.13": "expected ;name", "3.1.2.14": "scheme",
    "3.1.2.15": "scheme", "3.1.2.16": "version", "3.1.2.17": "another method", "3.1.2.18": "another method",
    "3.1.2.19": "status code", "3.3.1": "missing", "3.3.8": "stands twice", "3.3.9": "differ",
}  # fmt: skip


def test_each_refusal_is_for_the_trap_and_not_for_something_beside_it() -> None:
    refused = {section: verdict for section in OURS if not (verdict := judge(OURS[section])).accept}
    assert refused.keys() == REFUSED_FOR.keys()
    for section, verdict in refused.items():
        assert REFUSED_FOR[section] in verdict.reason, section
    assert judge(a_request()) == (True, None, "request goes on"), "the request that the invalid ones are made from is good"
    assert judge(a_request(method="OPTIONS", body=b"")).accept


@pytest.mark.parametrize("section", VALID | BEYOND)
def test_what_is_read_leaves_octet_for_octet_as_it_came(section: str) -> None:
    data = OURS[section]
    if judge(data).accept:
        message = parse(data)
        assert data.startswith(join(message.start, message.lines, message.body))


@pytest.mark.parametrize("section", OURS)
def test_a_stream_reads_the_same_message_or_closes(section: str) -> None:
    framer = StreamFramer()
    framer.feed(OURS[section])
    try:
        framed = framer.next()
    except FramingError:
        assert section in {"3.1.1.2", "3.1.2.3", "3.1.2.9", "3.1.2.10", "3.3.9", "3.4.1"}
        return
    if section == "3.1.2.2":
        assert framed is None
        return
    assert isinstance(framed, bytes)
    assert OURS[section].startswith(framed)
    assert judge(framed) == judge(OURS[section])


def test_spaces_folds_and_odd_spellings_change_no_value() -> None:
    message = parse(VALID["3.1.1.1"])
    assert parse_max_forwards(message.value(MAX_FORWARDS)) == 7
    assert parse_cseq(message.value(CSEQ)) == (42, b"INVITE")
    assert message.value(CALL_ID) == b"tortuous-1@carrier.example"
    caller = parse_from_to(message.value(FROM))
    assert (caller.display, caller.tag) == (b'Front "desk" \\', b"f-1")
    assert parse_from_to(message.value(TO)).param(b"x-kind") == b"main"
    vias = [via for value in message.values(VIA) for via in parse_vias(value)]
    assert [(via.transport, via.host, via.port, via.branch) for via in vias] == [
        (b"UDP", b"203.0.113.9", 5070, b"z9hG4bKtop-1"),
        (b"TCP", b"inner-a.carrier.example", None, b"z9hG4bK-a"),
        (b"UDP", b"[2001:db8::a]", None, b"z9hG4bK-b"),
    ]
    contacts = parse_contacts(message.value(CONTACT))
    assert isinstance(contacts, tuple)
    assert [(contact.display, contact.param(b"q")) for contact in contacts] == [(b'Desk, second "floor"', b"0.7")]


def test_all_characters_but_the_null_are_read_as_they_are() -> None:
    message = parse(VALID["3.1.1.2"].replace(b"\0", b"0"))
    assert message.method == b"`Call~it+what*you%will_it's!a.method-"
    assert message.cseq() == (2147483646, message.method)
    uri = parse_uri(message.uri)
    assert isinstance(uri, SipUri)
    assert uri.password == b"p&ss=w+rd$,x!y*z~"
    assert bytes(uri) == message.uri
    assert parse_from_to(message.value(FROM)).tag == b"t!%*_+`'~.-9"
    assert parse_from_to(message.value(TO)).display == b"tab\t bell \x07 null 0 rubout \x7f"
    assert judge(VALID["3.1.1.2"].replace(b"\0", b"0")).accept


def test_escapes_are_resolved_in_the_number_and_nowhere_else() -> None:
    message = parse(VALID["3.1.1.3"])
    uri = parse_uri(message.uri)
    assert isinstance(uri, SipUri)
    assert uri.user == b"tel%3A%2B4969120%40bank.example"
    assert parse_number_user(uri).user == b"tel:+4969120@bank.example"
    assert parse_number_user(uri).digits == b""
    assert parse(VALID["3.1.1.5"]).values(CONTACT) == [b"<sip:one@203.0.113.9>"], "Cont%61ct is another header"


def test_long_values_are_whole_and_every_hop_is_there() -> None:
    message = parse(VALID["3.1.1.7"])
    assert parse_from_to(message.value(FROM)).tag == LONG_TAG.encode()
    vias = [via for value in message.values(VIA) for via in parse_vias(value)]
    assert len(vias) == 33
    assert not vias[0].has_cookie
    assert (vias[-1].received, vias[-1].has_cookie) == (b"203.0.113.77", False)


def test_octets_after_the_message_in_a_datagram_are_no_message() -> None:
    message = parse(VALID["3.1.1.8"])
    assert (message.method, message.body, message.value(CALL_ID)) == (b"OPTIONS", b"", b"outer@carrier.example")


def test_a_cookie_alone_identifies_no_transaction() -> None:
    (via,) = parse_vias(parse(BEYOND["3.2.1"]).value(VIA))
    assert not via.has_cookie, "so the transaction is matched as RFC 2543 did, never by this branch"


def test_the_body_leaves_as_it_came_whatever_is_in_it() -> None:
    body = parse(VALID["3.1.1.11"]).body
    assert bytes(range(256)) in body
    assert body.endswith(b"--cut here--\r\n")


def test_a_message_of_rfc_2543_has_no_tag_and_keeps_its_parameters() -> None:
    message = parse(BEYOND["3.4.1"])
    assert parse_from_to(message.value(FROM)).tag is None
    assert parse_from_to(message.value(TO)).param(b"user") == b"phone"
