"""Signing keys: verify before they sign, and for as long as calls may be up after."""

from __future__ import annotations

from sipctl.control.keyring import MAX_KEY_AGE_S, SIGNS_AFTER_S, next_key_id, ring

AGE_S = 43200.0


def the_ids(stored: list[tuple[int, bytes, float]], unix_s: float) -> tuple[list[int], int]:
    keys, signing = ring(stored, AGE_S, unix_s)
    return [key.id for key in keys], signing


def test_the_only_key_signs_at_once() -> None:
    assert the_ids([(0, b"a", 1000.0)], 1000.0) == ([0], 0)


def test_a_new_key_verifies_a_minute_before_it_signs_and_the_old_one_until_its_calls_are_over() -> None:
    stored = [(0, b"a", 0.0), (1, b"b", 1000.0)]
    assert the_ids(stored, 1000.0) == ([0, 1], 0)
    assert the_ids(stored, 1000.0 + SIGNS_AFTER_S) == ([0, 1], 1)
    assert the_ids(stored, 1000.0 + SIGNS_AFTER_S + AGE_S) == ([0, 1], 1)
    assert the_ids(stored, 1001.0 + SIGNS_AFTER_S + AGE_S) == ([1], 1)


def test_a_key_is_due_after_a_week_and_ids_come_round() -> None:
    assert next_key_id([], 0.0) == 0
    assert next_key_id([(4, b"a", 0.0)], MAX_KEY_AGE_S - 1) is None
    assert next_key_id([(4, b"a", 0.0)], MAX_KEY_AGE_S) == 5
    assert next_key_id([(255, b"a", 0.0)], MAX_KEY_AGE_S) == 0
