"""One call, one slot: whichever of its messages is read by whichever router."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipctl.call.owner import MAX_ROUTERS, own_call_id, owner_of, owner_of_call

SLOTS = st.integers(1, MAX_ROUTERS)
WAYS = ["Call-ID: ", "Call-ID:", "Call-ID :", "call-id:\t", "i: ", "I:", "CALL-ID  :  ", "i:\r\n ", "Call-ID: \r\n  "]
WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~()<>:\"/[]?{}", min_size=1, max_size=60)


def a_request(method: str, call_id: str, branch: str, *, to_tag: str = "", header: str = "Call-ID: ", body: str = "") -> bytes:
    tag = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} sip:+49301234@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch={branch}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@198.51.100.1>;tag=f\r\nTo: <sip:b@192.0.2.1>{tag}\r\n{header}{call_id}\r\nCSeq: 1 {method}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def a_response(call_id: str, branch: str, header: str = "Call-ID: ") -> bytes:
    return (
        f"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\n"
        f"From: <sip:a@198.51.100.1>;tag=f\r\nTo: <sip:b@192.0.2.1>;tag=t\r\n{header}{call_id}\r\nCSeq: 1 INVITE\r\n\r\n"
    ).encode()


@given(WORDS, WORDS, WORDS, SLOTS, st.integers(0, MAX_ROUTERS - 1), st.integers(0, MAX_ROUTERS - 1))
def test_every_message_of_a_call_has_one_owner_whoever_reads_it(
    call_id: str, branch: str, other: str, slots: int, reader: int, second: int
) -> None:
    invite = a_request("INVITE", call_id, branch)
    owner = owner_of(invite, slots, reader)
    assert 0 <= owner < slots
    for message in (
        invite,
        a_request("CANCEL", call_id, branch),
        a_request("ACK", call_id, branch, to_tag="t"),
        a_request("ACK", call_id, other, to_tag="t"),
        a_request("BYE", call_id, other, to_tag="f"),
        a_request("INVITE", call_id, other, to_tag="t"),
        a_response(call_id, other),
    ):
        assert owner_of(message, slots, second) == owner


@given(
    WORDS, SLOTS, st.sampled_from(["Call-ID: ", "Call-ID:", "Call-ID :", "call-id:\t", "i: ", "I:", "CALL-ID  :  ", "i:\r\n "])
)
def test_however_the_call_id_is_written_the_owner_is_the_same(call_id: str, slots: int, header: str) -> None:
    assert owner_of(a_request("BYE", call_id, "z9hG4bKb", header=header), slots, 0) == owner_of_call(call_id.encode(), slots)
    assert owner_of(a_response(call_id, "z9hG4bKb", header=header), slots, 0) == owner_of_call(call_id.encode(), slots)


def test_a_call_id_in_a_body_owns_nothing() -> None:
    body = "SIP/2.0 200 OK\r\nCall-ID: elsewhere@b\r\n\r\n"
    notify = a_request("NOTIFY", "here@a", "z9hG4bKn", header="i: ", body=body)
    assert owner_of(notify, 16, 0) == owner_of_call(b"here@a", 16) != owner_of_call(b"elsewhere@b", 16)


@given(st.binary(max_size=400), SLOTS, st.integers(0, 15))
def test_whatever_arrives_has_an_owner(data: bytes, slots: int, reader: int) -> None:
    assert 0 <= owner_of(data, slots, reader % slots) < slots


def test_what_names_no_call_stays_with_its_reader() -> None:
    assert [owner_of(b"rubbish", 4, reader) for reader in range(4)] == [0, 1, 2, 3]


@given(st.binary(min_size=1, max_size=20).map(bytes.hex), SLOTS)
def test_a_call_id_of_our_own_is_owned_by_its_maker(mark: str, slots: int) -> None:
    for slot in range(slots):
        call_id = own_call_id(mark.encode(), b"192.0.2.1", slots, slot)
        assert mark.encode() in call_id
        assert owner_of_call(call_id, slots) == slot


def test_call_ids_that_count_up_are_spread_evenly() -> None:
    for slots in (2, 3, 4, 8):
        shares = [0] * slots
        for number in range(4000):
            shares[owner_of_call(b"%d-4711@198.51.100.1" % number, slots)] += 1
        assert max(shares) <= 1.2 * 4000 / slots
        assert min(shares) >= 0.8 * 4000 / slots
