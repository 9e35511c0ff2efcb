"""Canonical YAML: the same plan, laid out the one way, with every comment where it belongs.

What changes is layout alone: keys in the order of the models, two spaces of indentation, one blank line between sections, double
quotes, quotes around what other readers of YAML would not take for text (+49…, leading zeros, 12:30). Names keep the order they
were written in, lists theirs, comments their text.

Two steps. Keys are put in order **as text**: a key's lines, and the comment lines above it, move together, so a comment never
changes its owner (a round trip through objects would hang it on the line before). Then ruamel.yaml reads and writes the whole,
with every scalar as text. Whatever comes out is proved before it is given out: the same tree, the same comments, and a second
pass that changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode as RoundTripScalar
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, ScalarString, SingleQuotedScalarString

from sipctl.dialplan.fmt_order import DOCUMENTS, Shape, has_dash, in_order
from sipctl.dialplan.report import Report
from sipctl.dialplan.source import EDGE_FOLDER, PLAN_FOLDER, Fields, Items, Node, Scalar, is_plan_file, read_yaml
from sipctl.errors import SipctlError

MAX_PASSES: Final = 4  # until a pass changes nothing
LINE_WIDTH: Final = 1 << 20  # no line is ever folded
# Plain scalars that some readers of YAML take for a number, a date or a time, and then write otherwise.
_LOSES: Final = re.compile(r"[+-]\.?\d.*|0[0-9xob_].*|\d+(?:_\d+)+|\d+:\d\d(?::\d\d)*(?:\.\d*)?|\d{4}-\d\d?-\d\d?(?:[Tt ].*)?")


class FormatError(SipctlError):
    """A file that cannot be formatted without changing it."""

    code = "fmt.refused"
    exit_code = 2


class _Text(VersionedResolver):
    """Every scalar is text, as in `source`."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is RoundTripScalar:
            return self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)


def is_formatted(path: str) -> bool:
    """Whether `fmt` looks at a file of a plan at all: its YAML."""
    return any(path.startswith(folder) and is_plan_file(path, folder) for folder in (EDGE_FOLDER, PLAN_FOLDER))


def format_text(path: str, data: bytes) -> str:
    """One file of a plan in canonical form.

    Args:
        path: relative to DIR, which says what the keys mean.
    Raises: FormatError for what does not read as a plan's YAML, or would not stay the same plan; nothing is guessed.
    """
    before = _read(path, data)
    text = data.decode("utf-8-sig").replace("\r\n", "\n")
    if before is None:
        return text
    folder = EDGE_FOLDER if path.startswith(EDGE_FOLDER) else PLAN_FOLDER
    wanted = sorted(_comments(text))
    for _ in range(MAX_PASSES):
        try:
            formatted = _one_pass(text, folder)
        except YAMLError as error:  # this reader is stricter here and there
            why = " ".join(str(error).split())
            raise FormatError(f"{path}: it stays as it is: {why}") from error
        after = _read(path, formatted.encode())
        if not _same(before, after):
            raise FormatError(f"{path}: formatting would change what it says; it stays as it is")
        if sorted(_comments(formatted)) != wanted:
            raise FormatError(f"{path}: formatting would lose a comment; it stays as it is", hint="move it to a line of its own")
        if formatted == text:
            return formatted
        text = formatted
    raise FormatError(f"{path}: it does not settle; it stays as it is")


def _read(path: str, data: bytes) -> Node | None:
    report = Report({path: data})
    node = read_yaml(path, data, report)
    if report.has_errors:
        first = next(finding for finding in report.findings() if finding.severity == "error")
        raise FormatError(f"{path}:{first.line}:{first.column}: {first.message}", hint="sipctl check")
    if node is not None and _has_empty(node):
        raise FormatError(f"{path}: a key or an item has no value", hint="sipctl check")
    return node


def _has_empty(node: Node) -> bool:
    if isinstance(node, Scalar):
        return not node.text
    values = node.items if isinstance(node, Items) else node.fields.values()
    return any(_has_empty(value) for value in values)


def _same(one: Node | None, other: Node | None) -> bool:
    """The same tree of texts; keys of a map may stand in another order."""
    if isinstance(one, Scalar) and isinstance(other, Scalar):
        return one.text == other.text
    if isinstance(one, Items) and isinstance(other, Items):
        return len(one.items) == len(other.items) and all(map(_same, one.items, other.items))
    if isinstance(one, Fields) and isinstance(other, Fields):
        return one.fields.keys() == other.fields.keys() and all(_same(one.fields[key], other.fields[key]) for key in one.fields)
    return one is None and other is None


def _comments(text: str) -> list[str]:
    """Every comment, from its # on."""
    return [comment for comment, _ in _found(text)]


def _found(text: str) -> list[tuple[str, int]]:
    """(comment, its line if it has one of its own, else -1), in order: what lies between tokens and is no space."""
    found: list[tuple[str, int]] = []
    end = line = 0
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        if token.start_mark.index > end:
            found += _in_gap(text[end : token.start_mark.index], line, end == 0)
        if token.end_mark.index > end:
            end, line = token.end_mark.index, token.end_mark.line
    return found + _in_gap(text[end:], line, end == 0)


def _in_gap(gap: str, line: int, at_begin: bool) -> list[tuple[str, int]]:
    found = []
    for at, part in enumerate(gap.split("\n")):
        mark = part.find("#")
        if mark >= 0:
            found.append((part[mark:].rstrip(), line + at if at or at_begin else -1))
    return found


def _one_pass(text: str, folder: str) -> str:
    ordered = in_order(text, folder)
    round_trip = _round_trip()
    document = round_trip.load(ordered)
    _settle(document, Shape(model=DOCUMENTS[folder]))
    sink = StringIO()
    round_trip.dump(document, sink)
    return _tidy(_in_line(ordered, sink.getvalue()))


def _in_line(before: str, after: str) -> str:
    """Comments on lines of their own moved to the column of what they speak of: the round trip leaves them where they stood.

    That is the next line, or, for one that stood further in than the next line, what is above it.
    """
    old_lines, lines = before.split("\n"), after.split("\n")
    old = [line for _, line in _found(before) if line >= 0]
    new = [line for _, line in _found(after) if line >= 0]
    if len(old) != len(new):
        return after
    taken, old_taken = set(new), set(old)
    for was, now in zip(old, new, strict=True):
        following = _beside(old_lines, old_taken, was, 1)
        speaks_up = following is None or _column(old_lines[was]) > _column(old_lines[following])
        neighbour = _beside(lines, taken, now, -1 if speaks_up else 1)
        if speaks_up and following is None and not _column(old_lines[was]):
            neighbour = None
        column = 0 if neighbour is None else _column(lines[neighbour]) + (2 if speaks_up and has_dash(lines[neighbour]) else 0)
        lines[now] = " " * column + lines[now].lstrip()
    return "\n".join(lines)


def _beside(lines: Sequence[str], comments: set[int], at: int, step: int) -> int | None:
    """The nearest line up or down that is neither blank nor a comment."""
    at += step
    while 0 <= at < len(lines):
        if at not in comments and lines[at].strip():
            return at
        at += step
    return None


def _column(line: str) -> int:
    return len(line) - len(line.lstrip())


def _round_trip() -> YAML:
    made = YAML(typ="rt")
    made.Resolver = _Text
    made.preserve_quotes = True
    made.width = LINE_WIDTH
    made.allow_unicode = True
    made.indent(mapping=2, sequence=4, offset=2)
    return made


def _tidy(text: str) -> str:
    """No space at the end of a line and no two blank lines, unless a block scalar may hold them."""
    if re.search(r"[|>][+-]?\d?[+-]?[ \t]*(?:#.*)?$", text, re.MULTILINE):
        return text.rstrip("\n") + "\n"
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


# -- flow maps and quotes --------------------------------------------------------------------------------------------------------


def _settle(node: Any, shape: Shape) -> None:
    """Order flow maps without comments, and settle the quotes of every scalar."""
    if isinstance(node, CommentedMap):
        for key in list(node):
            node[key] = _quoted(node[key])
            _settle(node[key], shape.below(str(key)))
        if node.fa.flow_style() and not node.ca.items:
            for key in sorted(node, key=lambda key: shape.rank(str(key))):
                node.move_to_end(key)
    elif isinstance(node, CommentedSeq):
        for at, item in enumerate(node):
            node[at] = _quoted(item)
            _settle(node[at], shape.item or shape)


def _quoted(value: Any) -> Any:
    if isinstance(value, SingleQuotedScalarString):
        return value if '"' in value or "\\" in value else DoubleQuotedScalarString(value)
    if isinstance(value, str) and not isinstance(value, ScalarString) and _LOSES.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value
