"""A test as text, put into a plan file without touching a letter of what stands there.

The file is never written anew from what was read: its events say where its list of tests ends, and the new one is put there, in
the indentation of its neighbours. Comments, quotes and line ends stay. What cannot be extended so is refused, and every result
is read again: it must mean the old file and one test more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

SECTION: Final = "tests"
INDENT: Final = 2  # of a list that is made new

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


class CannotInsertError(ValueError):
    """The file holds its tests in a way that cannot be extended in place."""


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a file's list of tests is: offsets in its text."""

    is_flow: bool
    column: int  # of its dashes
    opened: int  # behind its "["
    last_end: int  # of its last item
    is_empty: bool


def with_test(text: str, test: Mapping[str, Any]) -> str:
    """The file's text with one more test at the end of its list; a list is begun if it has none.

    Args:
        test: name, call, trunk, from, at, given, expect as FORMATS §1 has them; scalars are text, maps and lists nest.
    Raises: CannotInsertError if the file is no YAML map, or does not take the test as it stands.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    home = _home(text)
    if home is None:
        start = text if not text or text.endswith("\n") else text + newline
        gap = newline if start.strip() else ""
        made = f"{start}{gap}{SECTION}:{newline}" + _block(test, INDENT, newline) + newline
    elif home.is_flow and home.is_empty:
        made = text[: home.opened] + _flow(test) + text[home.opened :]
    elif home.is_flow:
        made = f"{text[: home.last_end]}, {_flow(test)}{text[home.last_end :]}"
    else:
        end = text.find("\n", home.last_end)
        line_end = len(text) if end < 0 else end + 1
        if text[: home.last_end].endswith("\n"):  # a block scalar, which ends where the next line begins
            line_end = home.last_end
        before = text[:line_end] if text[:line_end].endswith("\n") else text[:line_end] + newline
        made = before + _block(test, home.column, newline) + newline + text[line_end:]
    _prove(text, made, test)
    return made


def as_lines(test: Mapping[str, Any]) -> str:
    """The test alone, as it would stand in a list."""
    return f"{SECTION}:\n" + _block(test, INDENT, "\n")


def _block(test: Mapping[str, Any], column: int, newline: str) -> str:
    lines = [f"{key}: {_flow(value)}" for key, value in test.items() if value not in (None, {}, [])]
    stem = " " * column
    return stem + "- " + f"{newline}{stem}  ".join(lines)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(one)}" for key, one in value.items() if one not in (None, {}, [])) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    text = str(value)
    if isinstance(value, int) or (_PLAIN.fullmatch(text) and text.lower() not in _WORDS):
        return text
    return '"' + "".join(_quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _home(text: str) -> _Home | None:
    """The list of tests of the file's one document; None if it has none."""
    try:
        return _find_home(yaml.parse(text, Loader=yaml.CBaseLoader))
    except yaml.YAMLError as error:
        raise CannotInsertError("the file is not YAML: run sipctl check") from error


def _find_home(events: Iterator[Any]) -> _Home | None:
    depth = 0
    key = ""
    is_key = True
    for event in events:
        if isinstance(event, yaml.SequenceStartEvent) and depth == 1 and key == SECTION:
            return _list_home(event, events)
        if isinstance(event, yaml.ScalarEvent) and depth == 1:
            if not is_key and key == SECTION:
                raise CannotInsertError(f"{SECTION} has no list: give it one, or remove the key")
            key, is_key = (event.value, False) if is_key else ("", True)
        elif isinstance(event, yaml.CollectionStartEvent):
            if depth == 0 and (event.flow_style or not isinstance(event, yaml.MappingStartEvent)):
                raise CannotInsertError("the file is no map of sections, each on lines of its own")
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            is_key = is_key or depth == 1
        elif isinstance(event, yaml.DocumentEndEvent) and event.explicit:
            raise CannotInsertError("the file ends its document with ...: remove that line")
    return None


def _list_home(start: Any, events: Iterator[Any]) -> _Home:
    opened = start.end_mark.index
    depth, last_end, is_empty = 1, opened, True
    for event in events:
        begins, ends = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            if not depth:
                break
            is_leaf = ends > begins  # a closing bracket; a block ends without a sign
        else:
            is_leaf = isinstance(event, yaml.ScalarEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
        is_empty = False
        if is_leaf:
            last_end = ends
    return _Home(bool(start.flow_style), start.start_mark.column, opened, last_end, is_empty)


def _prove(before: str, after: str, test: Mapping[str, Any]) -> None:
    """The new text means what the old one meant, and one test more; anything else is refused."""
    try:
        old, new = yaml.load(before, Loader=yaml.CBaseLoader) or {}, yaml.load(after, Loader=yaml.CBaseLoader)
    except yaml.YAMLError as error:
        raise CannotInsertError("this file cannot take a test as it stands") from error
    wanted = {**old, SECTION: [*(old.get(SECTION) or []), _texts(test)]} if isinstance(old, dict) else None
    if new != wanted:
        raise CannotInsertError("this file cannot take a test as it stands")


def _texts(value: Any) -> Any:
    """A value as text, lists and dicts, empty parts left out, as YAML gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _texts(one) for key, one in value.items() if one not in (None, {}, [])}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_texts(one) for one in value]
    return str(value)
