"""Text that may be shown: phone numbers masked, control characters spelled out.

A log line is read by more people than may know who called whom, and by terminals that obey escape sequences. So every string that
enters a log line passes here: of a run of digits long enough to be a phone number only the last two to four stay, and CR, LF, ESC
and their like come out as `\\n`, `\\x1b`. Call records are the place for whole numbers (FORMATS §4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MIN_DIGITS: Final = 7  # a shorter run without a plus is a port, a count, an id
MIN_DIGITS_AFTER_PLUS: Final = 4
MAX_TEXT_CHARACTERS: Final = 4_096  # of one value; the rest is cut and said to be
MAX_DEPTH: Final = 6

# A plus (also as %2B) and digits, or digits alone that are no part of a word, a dotted address or a decimal. Separators that
# people write inside numbers do not end a run that began with a plus.
_NUMBER: Final = re.compile(
    rf"(?P<plus>\+|%2[Bb])(?P<after>\d(?:[ ./()-]{{0,2}}\d){{{MIN_DIGITS_AFTER_PLUS - 1},}})"
    rf"|(?<![\w.])(?P<bare>\d{{{MIN_DIGITS},}})(?!\w|\.\d)"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SPELLED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}
# Keys whose digits are never a phone number but may look like one.
_OPAQUE_KEYS: Final = frozenset({"at", "operation", "revision", "term", "seq", "pid", "hash", "commit", "build"})
# Keys that hold a number as it was dialled, whatever its length and spelling: private numbers too.
_NUMBER_KEYS: Final = frozenset({"dialled", "called", "calling", "pai", "number", "from", "to_number"})


def mask_number(number: str) -> str:
    """`+4930901820` → `+******1820`: the last four digits of ten or more, three of seven or more, two of four or more."""
    digits = sum(character.isdigit() for character in number)
    keep = 4 if digits >= 10 else 3 if digits >= 7 else 2 if digits >= 4 else 0
    hidden = digits - keep
    shown = []
    for character in number:
        if character.isdigit() and hidden:
            hidden -= 1
            shown.append("*")
        else:
            shown.append(character)
    return "".join(shown)


def mask_text(text: str) -> str:
    """Mask every phone number in a sentence."""
    return _NUMBER.sub(lambda found: (found["plus"] or "") + mask_number(found["after"] or found["bare"]), text)


def spell_out(text: str) -> str:
    """Control characters as visible escapes, so that one value stays on one line and gives no orders to a terminal."""
    cut = text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}… ({len(text)} characters)"
    return _CONTROL.sub(lambda found: _SPELLED.get(found[0]) or f"\\x{ord(found[0]):02x}", cut)


def masked(key: str, value: Any, depth: int = 0) -> Any:
    """A value as it may stand in a log line under that key."""
    if isinstance(value, str):
        if key in _OPAQUE_KEYS:
            return spell_out(value)
        if key in _NUMBER_KEYS:
            return spell_out(mask_number(value))
        return spell_out(mask_text(value))
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return spell_out(mask_text(bytes(value).decode("latin-1")))
    if depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {spell_out(mask_text(str(name))): masked(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(key, item, depth + 1) for item in value]
    return spell_out(mask_text(str(value)))
