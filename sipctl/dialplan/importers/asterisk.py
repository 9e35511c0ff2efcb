"""Asterisk `extensions.conf`: the numbers of each context; what an extension does is the plan's groups' business.

`exten => 4930901820,1,…` is a number, `exten => _4930901X.,1,…` a pattern: X 0-9, Z 1-9, N 2-9, [1-5] as with us; `.` is one or
more further characters (ours: zero or more, so `X.`), `!` zero or more. The context is the entry point.

Source: Asterisk documentation, "Pattern Matching" and "Contexts, Extensions, and Priorities".
"""

from __future__ import annotations

import re
from typing import Final

from sipctl.dialplan.importers.gathered import Gathered

_SECTION: Final = re.compile(r"\[([^\]]+)\]\s*(\(.*\))?\s*$")
_SETTING: Final = re.compile(r"(exten|same|include|switch|ignorepat|eswitch|lswitch)\s*=>?\s*(.*)$", re.IGNORECASE)
_NO_NUMBERS: Final = frozenset({"general", "globals"})
_SPECIAL: Final = frozenset({"s", "i", "t", "h", "o", "a", "e", "fax", "failed", "T"})
_APPLICATION: Final = re.compile(r"[A-Za-z]+")


def read(text: str, into: Gathered) -> None:
    """Take every number of every context."""
    context = ""
    seen: set[tuple[str, str]] = set()
    special: dict[str, list[int]] = {}
    applications: dict[str, int] = {}
    in_comment = False
    for line, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        in_comment, written = _bare(raw, in_comment)
        section = _SECTION.match(written)
        if section is not None:
            context = section[1].strip()
            if section[2] and "!" in section[2]:
                into.note(line, f"[{context}] is a template; its numbers are taken like any other's")
            continue
        if written.startswith("#"):
            into.skip(line, f"{written.split()[0]} is not followed: {written}", "import that file as well")
            continue
        setting = _SETTING.match(written)
        if not written or context in _NO_NUMBERS:
            continue
        if setting is None:
            into.skip(line, f"not understood: {written}")
        elif setting[1].lower() == "exten":
            _extension(setting[2], context, line, into, seen, special, applications)
        elif setting[1].lower() != "same":
            hint = f"import [{setting[2].strip()}] too; its numbers become an entry point of their own"
            into.skip(line, f"[{context}] {setting[1]} => {setting[2].strip()} is not carried over", hint)
    for name, lines in special.items():
        into.skip(lines[0], f"the extension {name} is no number ({len(lines)} times)")
    if applications:
        told = ", ".join(f"{name} {count}" for name, count in sorted(applications.items(), key=lambda item: -item[1])[:10])
        into.note(0, f"what extensions do is not imported ({told})", "the group of the entry point says where calls go")


def _bare(raw: str, in_comment: bool) -> tuple[bool, str]:
    """The line without comments, `;…` and `;-- … --;`."""
    if in_comment:
        before, end, rest = raw.partition("--;")
        if not end:
            return True, ""
        raw = rest
    before, begin, rest = raw.partition(";--")
    if begin:
        return "--;" not in rest, before.strip()
    cut = re.split(r"(?<!\\);", raw, maxsplit=1)[0]
    return False, cut.strip()


def _extension(
    written: str, context: str, line: int, into: Gathered, seen: set[tuple[str, str]], special: dict[str, list[int]],
    applications: dict[str, int],
) -> None:  # fmt: skip
    number, _, rest = written.partition(",")
    number = number.strip()
    priority, _, does = rest.partition(",")
    if (context, number) in seen:
        return  # a further step of the same extension
    if priority.strip().split("(")[0] == "hint":
        into.skip(line, f"{number}: a hint is no number")
        return
    seen.add((context, number))
    if number in _SPECIAL or (number.isalpha() and not number.startswith("_")):
        special.setdefault(number, []).append(line)
        return
    if "${" in number or "$[" in number:
        into.skip(line, f"{number} holds a variable", "write the number out")
        return
    number, slash, caller = number.partition("/")
    if slash:
        into.skip(line, f"{number}/{caller} depends on the caller", "entry points are chosen by the called number alone")
        return
    pattern = translate(number)
    if pattern is None:
        into.skip(line, f"{number} cannot be said as a number, range or pattern")
        return
    if into.add(pattern, context or "default", line):
        application = _APPLICATION.match(does.strip())
        name = application[0] if application else "nothing"
        applications[name] = applications.get(name, 0) + 1


def translate(number: str) -> str | None:
    """An extension as our plans write it; None if they cannot."""
    if not number.startswith("_"):
        return number if re.fullmatch(r"\+?[0-9]+", number) else None
    pattern = number[1:].replace("-", "") if "[" not in number else _without_hyphens(number[1:])
    body, end = pattern, ""
    if pattern.endswith("."):
        body, end = pattern[:-1], "X."
    elif pattern.endswith("!"):
        body, end = pattern[:-1], "."
    body = body.translate(str.maketrans("xzn", "XZN"))
    if not re.fullmatch(r"\+?(?:[0-9XZN]|\[[0-9-]+\])*", body) or not body:
        return None
    return body + end


def _without_hyphens(pattern: str) -> str:
    """Hyphens outside sets are for the eye only."""
    return "".join(part if part.startswith("[") else part.replace("-", "") for part in re.split(r"(\[[^\]]*\])", pattern))
