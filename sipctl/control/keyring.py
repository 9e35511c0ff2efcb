"""The ring of signing keys: a new key verifies everywhere before it signs, and verifies for `max_call_age` after (CALLS 1.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sipctl.routing.snapshot import SigningKey

MAX_KEY_AGE_S: Final = 7 * 86400.0
SIGNS_AFTER_S: Final = 60.0  # published for so long before it signs
KEY_IDS: Final = 256
SECRET_BYTES: Final = 32

Stored = tuple[int, bytes, float]  # id, secret, made at (unix seconds)


def ring(stored: Sequence[Stored], max_call_age_s: float, unix_s: float) -> tuple[tuple[SigningKey, ...], int]:
    """The keys that verify now, and the id of the one that signs.

    Args:
        stored: every key kept, at least one; in any order.
    """
    keys = sorted(stored, key=lambda key: key[2])
    signing = max((index for index, key in enumerate(keys) if unix_s - key[2] >= SIGNS_AFTER_S), default=0)
    kept = [
        key for index, key in enumerate(keys)
        if index >= signing or unix_s - (keys[index + 1][2] + SIGNS_AFTER_S) <= max_call_age_s
    ]
    latest = {key[0]: SigningKey(key[0], key[1]) for key in kept}
    return tuple(latest.values()), keys[signing][0]


def next_key_id(stored: Sequence[Stored], unix_s: float) -> int | None:
    """The id to make a new key under, if one is due."""
    if not stored:
        return 0
    number, _, made_unix_s = max(stored, key=lambda key: key[2])
    return (number + 1) % KEY_IDS if unix_s - made_unix_s >= MAX_KEY_AGE_S else None
