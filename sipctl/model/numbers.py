"""Numbers as a plan writes them: exact, range or pattern, each the intervals of keys it stands for.

`+4930901820` exact · `+4930901830..+4930901899` range · `+4930901821XX` pattern: X 0-9, N 2-9, Z 1-9, [1-5] one of a set, a
trailing `.` zero or more further digits. With `+` it is E.164; without, it is private to the trunks an entry point names
(`called_format: exact`), and may also be a word such as `sales*1`.

A key is the digits after a leading 1 (see routing/numbers.py, which must agree on this).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_E164_DIGITS: Final = 15
MAX_PRIVATE_DIGITS: Final = 18
MAX_PATTERN_INTERVALS: Final = 10_000  # of one pattern, flattened
RANGE_PRECEDENCE: Final = 100  # above any pattern, whose precedence is its fixed digits
PRIVATE_BIT: Final = 0x80

_PATTERN_CHARS: Final = frozenset("0123456789XNZ[]-.")
_WORD: Final = re.compile(r"[A-Za-z0-9*#_~.+-]{1,64}")
_SPREADSHEET: Final = re.compile(r"\+?\d+(?:[.,]\d+)?[Ee]\+?\d+")
_SETS: Final = {"X": "0123456789", "N": "23456789", "Z": "123456789"}


class NumberError(ValueError):
    """Text that is no number; carries the finding's code and hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class NumberText:
    """One expression, read."""

    text: str  # without separators
    kind: str  # "exact" | "range" | "pattern" | "word"
    is_e164: bool
    intervals: tuple[tuple[int, int], ...]  # keys, both ends included, ascending and disjoint; () for a word
    precedence: int  # of ranges and patterns
    fewest_digits: int


@dataclass(frozen=True, slots=True)
class DialledAt:
    """What to dial at a tenant: a base key whose last digits are replaced; `copied` holds PRIVATE_BIT without a plus."""

    base: int
    copied: int


def strip_separators(text: str) -> str:
    """Without the spaces and hyphens people write into numbers; sets such as [1-5] and words keep theirs."""
    if " " not in text and "-" not in text and "\u00a0" not in text:
        return text
    bare = text.replace(" ", "").replace("\u00a0", "")
    if not frozenset(bare) <= _PATTERN_CHARS | {"+"}:
        return text.strip()
    return "".join(part if part.startswith("[") else part.replace("-", "") for part in re.split(r"(\[[^\]]*\])", bare))


def read_number(text: str) -> NumberText:
    """Read one expression, separators already removed.

    Raises: NumberError with code, message and hint.
    """
    if _SPREADSHEET.fullmatch(text):
        raise NumberError(
            "csv.spreadsheet", f"{text} was damaged by a spreadsheet", "format the column as text and export it again"
        )
    if ".." in text:
        return _read_range(text)
    is_e164 = text.startswith("+")
    digits = text[1:] if is_e164 else text
    if digits.isascii() and digits.isdigit():
        _check_digits(text, digits, is_e164)
        key = int("1" + digits)
        return NumberText(text, "exact", is_e164, ((key, key),), 0, len(digits))
    if digits and frozenset(digits) <= _PATTERN_CHARS:
        return _read_pattern(text, digits, is_e164)
    if is_e164:
        hint = "patterns use X N Z in capitals" if frozenset(digits.upper()) <= _PATTERN_CHARS else ""
        raise NumberError("number.bad", f"{text!r} is no E.164 number, range or pattern", hint)
    if _WORD.fullmatch(text):
        return NumberText(text, "word", False, (), 0, 0)
    raise NumberError("number.bad", f"{text!r} is no number, range, pattern or private word")


def read_dialled_at(text: str) -> DialledAt:
    """Read one `called_at`: digits, with a plus or private, and trailing Xs.

    Raises: NumberError.
    """
    stripped = strip_separators(text)
    is_e164 = stripped.startswith("+")
    digits = stripped[1:] if is_e164 else stripped
    fixed = digits.rstrip("X")
    most = MAX_E164_DIGITS if is_e164 else MAX_PRIVATE_DIGITS
    if not digits or not re.fullmatch(r"[0-9]*", fixed) or len(digits) > most or (is_e164 and digits[0] in "0X"):
        hint = f"digits, with a + for E.164, at most {most}; trailing Xs copy the last digits"
        raise NumberError("number.called-at", f"{text!r} is no number to dial", hint)
    copied = len(digits) - len(fixed)
    return DialledAt(int("1" + fixed + "0" * copied), copied | (0 if is_e164 else PRIVATE_BIT))


def _check_digits(text: str, digits: str, is_e164: bool) -> None:
    most = MAX_E164_DIGITS if is_e164 else MAX_PRIVATE_DIGITS
    if len(digits) > most:
        raise NumberError("number.bad", f"{text} has {len(digits)} digits, the most is {most}")
    if is_e164 and (not digits or digits[0] == "0"):
        raise NumberError("number.bad", f"{text} is no E.164 number: no country code begins with 0", "write +COUNTRY NUMBER")


def _read_range(text: str) -> NumberText:
    first, _, last = text.partition("..")
    is_e164 = first.startswith("+")
    low, high = first.removeprefix("+"), last.removeprefix("+")
    digits = low.isascii() and low.isdigit() and high.isascii() and high.isdigit()
    if not digits or last.startswith("+") != is_e164:
        raise NumberError("number.bad", f"{text!r} is no range", "write both ends in full: +4930901830..+4930901899")
    _check_digits(first, low, is_e164)
    _check_digits(last, high, is_e164)
    if len(low) != len(high):
        raise NumberError("number.bad", f"the ends of {text} differ in length", "write one range for each length")
    if low > high:
        raise NumberError("number.bad", f"{text} ends before it begins", f"did you mean {last}..{first}?")
    return NumberText(text, "range", is_e164, ((int("1" + low), int("1" + high)),), RANGE_PRECEDENCE, len(low))


def _read_pattern(text: str, digits: str, is_e164: bool) -> NumberText:
    open_ended = digits.endswith(".")
    places = _places(text, digits[:-1] if open_ended else digits)
    most = MAX_E164_DIGITS if is_e164 else MAX_PRIVATE_DIGITS
    if len(places) > most:
        raise NumberError("number.bad", f"{text} has {len(places)} digits, the most is {most}")
    if is_e164 and (not places or places[0] == "0"):
        raise NumberError("number.bad", f"{text} is no E.164 pattern: no country code begins with 0")
    if not places:
        raise NumberError("number.bad", f"{text!r} would match everything", "put digits in front of the .")
    bases = _intervals(text, places)
    intervals: list[tuple[int, int]] = []
    for more in range(most - len(places) + 1 if open_ended else 1):
        scale = 10**more
        intervals += [(low * scale, high * scale + scale - 1) for low, high in bases]
    if len(intervals) > MAX_PATTERN_INTERVALS:
        raise _too_wide(text)
    fixed = sum(len(place) == 1 for place in places)
    return NumberText(text, "pattern", is_e164, tuple(intervals), fixed, len(places))


def _places(text: str, digits: str) -> list[str]:
    """The set of digits each place may hold, ascending."""
    places: list[str] = []
    at = 0
    while at < len(digits):
        char = digits[at]
        if char == "[":
            end = digits.find("]", at)
            inside = digits[at + 1 : end] if end > at else ""
            if not re.fullmatch(r"(?:\d(?:-\d)?)+", inside):
                raise NumberError("number.bad", f"{text!r}: a set is written [1-5] or [135]")
            allowed: set[str] = set()
            for low, high in re.findall(r"(\d)(?:-(\d))?", inside):
                if high and high < low:
                    raise NumberError("number.bad", f"{text!r}: [{low}-{high}] runs backwards")
                allowed.update(str(digit) for digit in range(int(low), int(high or low) + 1))
            places.append("".join(sorted(allowed)))
            at = end + 1
            continue
        if char not in _SETS and not char.isdigit():
            hint = "only at the very end" if char == "." else ""
            raise NumberError("number.bad", f"{text!r}: {char!r} cannot stand here", hint)
        places.append(_SETS.get(char, char))
        at += 1
    return places


def _intervals(text: str, places: list[str]) -> list[tuple[int, int]]:
    """Intervals of keys of one length: whole trailing Xs and the place before them make runs, all in front is enumerated."""
    free = len(places)
    while free and places[free - 1] == _SETS["X"]:
        free -= 1
    scale = 10 ** (len(places) - free)
    prefixes = [1]
    for place in places[: max(free - 1, 0)]:
        prefixes = [prefix * 10 + int(digit) for prefix in prefixes for digit in place]
        if len(prefixes) > MAX_PATTERN_INTERVALS:
            raise _too_wide(text)
    runs = _runs(places[free - 1]) if free else None
    if runs is None:
        return [(scale, 2 * scale - 1)]
    return [((prefix * 10 + low) * scale, (prefix * 10 + high + 1) * scale - 1) for prefix in prefixes for low, high in runs]


def _runs(place: str) -> list[tuple[int, int]]:
    """Runs of neighbouring digits: "1235" → (1, 3), (5, 5)."""
    runs: list[tuple[int, int]] = []
    for digit in map(int, place):
        if runs and runs[-1][1] == digit - 1:
            runs[-1] = (runs[-1][0], digit)
        else:
            runs.append((digit, digit))
    return runs


def _too_wide(text: str) -> NumberError:
    message = f"{text} stands for more than {MAX_PATTERN_INTERVALS:,} blocks of numbers"
    return NumberError("number.too-wide", message, "put fixed digits first and free places last")
