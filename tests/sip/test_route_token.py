import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.sip.route_token import MAC_CHARS, MAX_ID, MAX_SLOT, MAX_START_S, MAX_TOKEN_CHARS, Key, KeyRing, Token

CALL_ID = b"a84b4c76e66710@pc33.carrier.example"
CALLER = b"1928301774"
CALLEE = b"a6c85cf"
LETTERS = st.text("abcdefghijklmnop", min_size=62, max_size=62).map(str.encode)
IDS = st.integers(min_value=0, max_value=MAX_ID)


def a_key(key_id: int) -> Key:
    return Key(key_id, bytes([key_id]) * 32)


RING = KeyRing((a_key(7),), 7)
TOKEN = RING.sign(11, 22, 33, 1_700_000_000, 3, CALL_ID, CALLER)


def test_a_token_is_at_most_64_characters_that_nothing_escapes() -> None:
    assert re.fullmatch(rb"[a-z2-7]+", TOKEN)
    assert len(TOKEN) <= MAX_TOKEN_CHARS


def test_a_token_verifies_from_either_side_and_says_which() -> None:
    expected = Token(11, 22, 33, 1_700_000_000, 3, True)
    assert RING.verify(TOKEN, CALL_ID, CALLER, CALLEE) == expected
    assert RING.verify(TOKEN, CALL_ID, CALLEE, CALLER) == expected._replace(from_caller=False)


def test_a_caller_without_a_tag_has_a_token_too() -> None:
    token = RING.sign(1, 2, 3, 4, 5, CALL_ID, b"")
    assert RING.verify(token, CALL_ID, b"", CALLEE) == Token(1, 2, 3, 4, 5, True)
    assert RING.verify(token, CALL_ID, CALLEE, b"") == Token(1, 2, 3, 4, 5, False)


@pytest.mark.parametrize(
    ("call_id", "from_tag", "to_tag"),
    [
        (b"another@pc33.carrier.example", CALLER, CALLEE),
        (CALL_ID, b"", b""),
        (CALL_ID, b"x", CALLEE),
        (CALL_ID + CALLER[:1], CALLER[1:], CALLEE),  # the same octets in a row, cut elsewhere
        (CALL_ID[:-1], CALL_ID[-1:] + CALLER, CALLEE),
    ],
)
def test_a_token_is_worth_nothing_in_another_dialog(call_id: bytes, from_tag: bytes, to_tag: bytes) -> None:
    assert RING.verify(TOKEN, call_id, from_tag, to_tag) is None


def test_no_flipped_bit_of_a_token_is_accepted() -> None:
    for position in range(len(TOKEN)):
        for bit in range(8):
            forged = bytearray(TOKEN)
            forged[position] ^= 1 << bit
            assert RING.verify(bytes(forged), CALL_ID, CALLER, CALLEE) is None


def test_no_other_letter_at_any_place_of_a_token_is_accepted() -> None:
    for position in range(len(TOKEN)):
        for letter in set(range(256)) - {TOKEN[position]}:
            forged = TOKEN[:position] + bytes([letter]) + TOKEN[position + 1 :]
            assert RING.verify(forged, CALL_ID, CALLER, CALLEE) is None


@given(IDS, IDS, IDS, st.integers(0, MAX_START_S), st.integers(0, MAX_SLOT), st.binary(max_size=80), st.binary(max_size=40))
def test_every_field_survives_the_round_trip(
    trunk: int, tenant: int, sbc: int, start_s: int, slot: int, call_id: bytes, tag: bytes
) -> None:
    token = RING.sign(trunk, tenant, sbc, start_s, slot, call_id, tag)
    assert RING.verify(token, call_id, tag, tag + b"x") == Token(trunk, tenant, sbc, start_s, slot, True)


@given(st.binary(max_size=80) | st.binary(min_size=62, max_size=62) | LETTERS)
def test_any_octets_are_answered_with_none_never_with_an_exception(token: bytes) -> None:
    assert RING.verify(token, CALL_ID, CALLER, CALLEE) is None


def test_a_new_key_verifies_before_it_signs_and_an_old_one_after() -> None:
    prepared = RING.with_key(a_key(8))
    switched = prepared.signing_with(8)
    fresh = switched.sign(1, 2, 3, 4, 5, CALL_ID, CALLER)
    assert prepared.sign(11, 22, 33, 1_700_000_000, 3, CALL_ID, CALLER) == TOKEN, "the old key goes on signing"
    assert prepared.verify(fresh, CALL_ID, CALLER, CALLEE), "a router one step behind reads what one ahead signs"
    assert RING.verify(fresh, CALL_ID, CALLER, CALLEE) is None
    assert switched.verify(TOKEN, CALL_ID, CALLER, CALLEE)
    assert switched.without(7).verify(TOKEN, CALL_ID, CALLER, CALLEE) is None
    assert switched.without(7).verify(fresh, CALL_ID, CALLER, CALLEE)


def test_a_ring_refuses_steps_that_would_break_the_rotation() -> None:
    with pytest.raises(ValueError, match="share an id"):
        RING.with_key(Key(7, b"x" * 32))
    with pytest.raises(ValueError, match="not in the ring"):
        RING.signing_with(8)
    with pytest.raises(ValueError, match="not in the ring"):
        RING.without(7)
    with pytest.raises(ValueError, match="not in the ring"):
        RING.without(9)
    with pytest.raises(ValueError, match="32"):
        Key(1, b"short")
    with pytest.raises(ValueError, match="255"):
        Key(256, b"x" * 32)


def test_an_id_that_does_not_fit_is_a_bug_not_a_wrong_token() -> None:
    with pytest.raises(AssertionError):
        RING.sign(MAX_ID + 1, 0, 0, 0, 0, CALL_ID, CALLER)
    with pytest.raises(AssertionError):
        RING.sign(0, 0, 0, 0, MAX_SLOT + 1, CALL_ID, CALLER)


def test_the_mac_for_branches_is_24_letters_and_can_be_checked_with_an_older_key() -> None:
    data = b"198.51.100.7:5060|z9hG4bK776asdhds"
    mac = RING.mac(data)
    assert re.fullmatch(rb"[a-p]{%d}" % MAC_CHARS, mac)
    switched = RING.with_key(a_key(8)).signing_with(8)
    assert switched.mac(data) != mac
    assert switched.mac_with(7, data) == mac
    assert switched.mac_with(9, data) is None
    assert RING.mac(data + b"x") != mac


def test_a_ring_of_the_same_keys_reads_what_another_signed_and_its_secrets_stay_out_of_repr() -> None:
    ring = RING.with_key(a_key(8))
    arrived = KeyRing(tuple(msgspec.msgpack.decode(msgspec.msgpack.encode(ring.keys), type=tuple[Key, ...])), ring.signing_id)
    assert arrived.verify(TOKEN, CALL_ID, CALLER, CALLEE) == Token(11, 22, 33, 1_700_000_000, 3, True)
    assert "secret" not in repr(ring)
    assert repr(a_key(8).secret) not in repr(ring)
