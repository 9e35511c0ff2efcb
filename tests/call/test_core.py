"""The core alone: hostile and odd bytes, limits, memory; the rules of calls are scenes of tests/sim."""

from __future__ import annotations

import gc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipctl.call import setup
from sipctl.call.records import SETUPS
from tests.call.support import CARRIER, INSIDE, SBC, Bench, a_request, a_response, an_invite
from tests.sip.test_torture import OURS

CONTACT = b"Contact: <sip:agent@10.4.1.11:5060>\r\n"


def a_whole_call(bench: Bench, number: int) -> None:
    invite, _ = bench.receive(an_invite(number))
    bench.receive(a_response(invite[1], 180), INSIDE, SBC)
    ((_, answer, _),) = bench.receive(a_response(invite[1], 200, CONTACT), INSIDE, SBC)
    bench.receive(a_request(b"ACK", answer, number, 1, b"a%d" % number))
    ((_, bye, _),) = bench.receive(a_request(b"BYE", answer, number, 2, b"b%d" % number))
    bench.receive(a_response(bye, 200), INSIDE, SBC)


def test_ten_thousand_calls_leave_nothing_behind_and_make_no_reference_cycle() -> None:
    bench = Bench()
    a_whole_call(bench, 0)
    gc.collect()
    gc.disable()
    try:
        for number in range(1, 10_001):
            a_whole_call(bench, number)
            bench.notes.clear()
            if number % 1000 == 0:
                bench.run(100.0)
        assert gc.collect() == 0
    finally:
        gc.enable()
    bench.run(100.0)
    assert {name: count for name, count in bench.core.census().items() if count} == {}
    assert bench.core.counters["answered"] == 10_001


@pytest.mark.parametrize("section", sorted(OURS))
@pytest.mark.parametrize("address", [CARRIER, SBC])
def test_a_torture_message_never_raises_and_reaches_configured_addresses_only(section: str, address: tuple[str, int]) -> None:
    bench = Bench()
    for data in (OURS[section], OURS[section][:-1], OURS[section] + b"\0"):
        for _, _, to in bench.receive(data, INSIDE if address == SBC else 0, address):
            assert to[0].startswith(("198.51.100.", "10.4.1.", "10.5.1.", "192.0.2."))
    for _, _, to in bench.run(70.0):
        assert to[0].startswith(("198.51.100.", "10.4.1.", "10.5.1.", "192.0.2."))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 60))
@example(b",", 80, 49)  # a Via of RFC 2543 that has swallowed From
def test_any_damage_to_an_invite_is_answered_or_dropped(junk: bytes, at: int, cut: int) -> None:
    bench = Bench()
    invite = an_invite(1, body=b"v=0\r\n")
    for sent in bench.receive(invite[:at] + junk + invite[at + cut :]):
        assert sent[2][0].startswith(("198.51.100.", "10.4.1."))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 60))
@example(b",", 80, 49)  # a Via of RFC 2543 that has swallowed From
def test_any_damage_to_a_response_reaches_nobody_but_the_caller(junk: bytes, at: int, cut: int) -> None:
    bench = Bench()
    invite, _ = bench.receive(an_invite(1))
    answer = a_response(invite[1], 200, CONTACT)
    for sent in bench.receive(answer[:at] + junk + answer[at + cut :], INSIDE, SBC):
        assert sent[2] in (CARRIER, SBC)


def test_nothing_is_sent_to_a_stranger_and_it_is_remembered() -> None:
    bench = Bench()
    for _ in range(3):
        assert bench.receive(an_invite(), 0, ("192.0.2.200", 5060)) == []
    assert bench.core.counters["strangers"] == 3
    assert bench.core.strangers["192.0.2.200"][0] == 3.0


def test_what_cannot_be_parsed_is_answered_400_with_the_reason() -> None:
    bench = Bench()
    ((_, data, to),) = bench.receive(an_invite().replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"))
    assert to == CARRIER
    assert data.startswith(b"SIP/2.0 400 ")
    assert b"Reason: Q.850;cause=111" in data
    ((_, data, _),) = bench.receive(an_invite().replace(b"Content-Length: 0", b"Content-Length: +0"))
    assert data.startswith(b"SIP/2.0 400 ")


def test_a_failpoint_raises_inside_the_core_and_the_message_is_forgotten() -> None:
    bench = Bench(failpoints=frozenset({"header"}))
    poison = an_invite(1, headers=b"X-Sipctl-Failpoint: now\r\n")
    with pytest.raises(RuntimeError):
        bench.receive(poison)
    bench.core.forget(poison)
    a_whole_call(bench, 2)
    bench.run(100.0)
    assert not any(bench.core.census().values())


def test_without_a_free_record_a_call_goes_on_counted_and_alarmed() -> None:
    bench = Bench()
    a_whole_call(bench, 1)
    bench.notes.clear()
    bench.core.records._free_setups.clear()
    a_whole_call(bench, 2)
    assert bench.core.counters["setups_without_record"] == 1
    assert any(note[:2] == ("alarm", "setup-records-full") for note in bench.notes)
    assert SETUPS == 4096


@pytest.mark.interpreted
def test_beyond_its_set_ups_the_router_sheds_new_calls_without_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "MAX_SETUPS", 3)
    bench = Bench()
    for number in range(3):
        bench.receive(an_invite(number))
    ((_, data, _),) = bench.receive(an_invite(9))
    assert data.startswith(b"SIP/2.0 503 ")
    assert b"Retry-After: " in data
    assert bench.core.counters["shed"] == 1
    assert len(bench.core.invites) == 3


def test_the_body_and_what_we_do_not_change_leave_octet_for_octet() -> None:
    bench = Bench()
    body = bytes(range(256))
    odd = b"X-Odd :  two  spaces\r\nSubject: caf\xc3\xa9\r\n  folded\r\n"
    invite, _ = bench.receive(an_invite(1, headers=odd, body=body))
    assert invite[1].endswith(b"\r\n\r\n" + body)
    assert odd in invite[1]


def test_a_reply_that_was_judged_by_the_light_pass_reads_the_same_when_parsed() -> None:
    bench, twin = Bench(), Bench()
    for side, spelling in ((bench, b"CSeq: "), (twin, b"CSEQ: ")):
        invite, _ = side.receive(an_invite(1))
        ringing = a_response(invite[1], 180).replace(b"CSeq: ", spelling)
        ((_, data, to),) = side.receive(ringing, INSIDE, SBC)
        assert to == CARRIER
        assert data.replace(spelling, b"CSeq: ").count(b"Via:") == 1
