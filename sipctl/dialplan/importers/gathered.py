"""What an importer gathers: numbers with their entry points, SBC pairs, and a note for everything that could not be taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sipctl.model.numbers import NumberError, read_number, strip_separators

MAX_NOTES: Final = 1_000  # kept; further ones are counted
MAX_NUMBERS: Final = 5_000_000
DEFAULT_NAME: Final = "imported"
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Note:
    """One thing the person who imports should know."""

    line: int  # from 1; 0: the file as a whole
    severity: str  # "left-out": this is not in the plan | "note": it is, with a difference
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """One number, range or pattern."""

    expression: str
    entry_point: str
    line: int
    primary: str = ""  # what to dial at the primary tenant, "" for the number itself
    bcp: str = ""


@dataclass(frozen=True, slots=True)
class Sbc:
    """One address of a pair."""

    uri: str
    priority: int
    weight: int
    line: int


@dataclass(frozen=True, slots=True)
class NumberForm:
    """How the source writes numbers."""

    add: str = ""  # put in front of what has no +: "+" or "+49"
    strip: str = ""  # removed before, e.g. "0"

    def plus(self, text: str) -> str:
        """The expression with its +."""
        if text.startswith("+"):
            return text
        if self.strip and text.startswith(self.strip):
            text = text[len(self.strip) :]
        return self.add + text if self.add else text


@dataclass(slots=True)
class Gathered:
    """All of one file."""

    kind: str
    form: NumberForm
    entry_point: str = ""  # where every number goes, whatever the source says
    numbers: dict[str, Number] = field(default_factory=dict)  # by expression
    groups: dict[str, str] = field(default_factory=dict)  # entry point → pair that is its primary tenant
    pairs: dict[str, list[Sbc]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    left_out: int = 0
    notes_untold: int = 0

    def note(self, line: int, text: str, hint: str = "", *, left_out: bool = False) -> None:
        """Say something about a line."""
        self.left_out += left_out
        if len(self.notes) < MAX_NOTES:
            self.notes.append(Note(line, "left-out" if left_out else "note", text, hint))
        else:
            self.notes_untold += 1

    def skip(self, line: int, text: str, hint: str = "") -> None:
        """Say what is not taken."""
        self.note(line, text, hint, left_out=True)

    def add(self, text: str, entry_point: str, line: int, *, primary: str = "", bcp: str = "") -> bool:
        """Take one number, range or pattern, as our plans write it; a note says why not."""
        expression = self.form.plus(strip_separators(text.strip()))
        if not expression.startswith("+"):
            self.skip(line, f"{text} has no +, so it is no E.164 number", "--add + or --add +COUNTRY says what stands in front")
            return False
        try:
            expression = read_number(expression).text
        except NumberError as error:
            self.skip(line, str(error), error.hint)
            return False
        number = Number(expression, name_of(self.entry_point or entry_point), line, primary, bcp)
        known = self.numbers.get(expression)
        if known is not None:
            same = (known.entry_point, known.primary, known.bcp) == (number.entry_point, primary, bcp)
            where = "" if same else f", there for {known.entry_point}, here for {number.entry_point}"
            self.skip(line, f"{expression} stands in line {known.line} already{where}", "" if same else "keep one of them")
            return False
        if len(self.numbers) >= MAX_NUMBERS:
            self.skip(line, f"more than {MAX_NUMBERS:,} numbers")
            return False
        self.numbers[expression] = number
        return True

    def entry_points(self) -> Mapping[str, int]:
        """Names with how many expressions each has, in the order they came."""
        found: dict[str, int] = {}
        for number in self.numbers.values():
            found[number.entry_point] = found.get(number.entry_point, 0) + 1
        return found


def name_of(text: str) -> str:
    """Any text as a name a plan allows."""
    return _NO_NAME.sub("-", text.strip()).strip("-._")[:63] or DEFAULT_NAME
