"""A decision's steps as a tree of lines: folded along its branches on a terminal, one line a step in a pipe.

The words tell everything; marks and branches only help the eye, and become plain ASCII where the terminal knows no others.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sipctl.cli.output import console
from sipctl.telemetry.mask import spell_out

MIN_WIDTH: Final = 40  # a narrower terminal folds for itself
MIN_TEXT: Final = 20  # what is left for words, however deep the branch


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What branches and verdicts look like."""

    middle: str
    last: str
    bar: str
    blank: str
    marks: Mapping[str, str]  # by verdict


LINES: Final = Glyphs("├─ ", "└─ ", "│  ", "   ", {"taken": "✓ ", "passed": "✓ ", "skipped": "– ", "refused": "✗ ", "fact": ""})
ASCII: Final = Glyphs("|- ", "`- ", "|  ", "   ", {"taken": "+ ", "passed": "+ ", "skipped": "- ", "refused": "x ", "fact": ""})
LABELS: Final[Mapping[str, str]] = {
    "sbcs": "SBCs",
    "invite": "INVITE",
    "sent-on": "sent on",
}  # top steps are labelled by their kind


def tree_lines(tree: Mapping[str, Any], width: int | None, glyphs: Glyphs = LINES) -> list[str]:
    """The lines of a tree as `Step.body` gives it.

    Args:
        width: columns to fold at; None: one line a step, however long.
    """
    lines = _folded("", "", spell_out(str(tree["text"])), width)
    steps: Sequence[Mapping[str, Any]] = tree.get("steps") or ()
    for at, step in enumerate(steps):
        kind = str(step["step"])
        lines += _branch(step, "", at == len(steps) - 1, f"{LABELS.get(kind, kind)}: ", width, glyphs)
    return lines


def _branch(step: Mapping[str, Any], stem: str, is_last: bool, label: str, width: int | None, glyphs: Glyphs) -> Iterator[str]:
    steps: Sequence[Mapping[str, Any]] = step.get("steps") or ()
    mark = glyphs.marks.get(str(step["verdict"]), "")
    below = stem + (glyphs.blank if is_last else glyphs.bar)
    first = stem + (glyphs.last if is_last else glyphs.middle) + mark
    rest = below + (glyphs.bar if steps else "") + " " * len(mark)
    yield from _folded(first, rest, label + spell_out(str(step["text"])), width)
    for at, one in enumerate(steps):
        yield from _branch(one, below, at == len(steps) - 1, "", width, glyphs)


def _folded(first: str, rest: str, text: str, width: int | None) -> list[str]:
    """A text behind its branch; a word longer than the line is cut where the line ends."""
    if width is None or len(first) + len(text) <= width:
        return [first + text]
    room = max(MIN_TEXT, width - max(len(first), len(rest)))
    pieces = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [first + pieces[0], *(rest + piece for piece in pieces[1:])]


def shown_width() -> int | None:
    """How wide stdout is; None for a pipe or file, whose lines are for grep."""
    return max(console().width, MIN_WIDTH) if sys.stdout.isatty() else None


def shown_glyphs() -> Glyphs:
    """Lines and ticks where stdout can write them."""
    try:
        "├✓".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return LINES
