"""The keys of a plan's YAML put in the order of the models, as text: a key's lines move with the comment lines above it.

A block map is a row of blocks, one for each key: the comment lines above it, its own line, and its value's. Ordering permutes the
blocks of a map and leaves the number of lines as it is, so the places of everything outside stay true while the insides move. A
comment further in than the next key speaks of what stands above it and stays there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import yaml

from sipctl.dialplan.source import EDGE_FOLDER, PLAN_FOLDER
from sipctl.model.base import Plain
from sipctl.model.edge import EdgeDocument
from sipctl.model.plan import PlanDocument

_BEFORE: Final = {EDGE_FOLDER: "trunks", PLAN_FOLDER: ""}  # `defaults` stands before that section; "": first of all


class Shape:
    """What a place of the plan holds: keys of a model, names that lead to one, or a list."""

    __slots__ = ("item", "model", "named")

    def __init__(self, model: type[Plain] | None = None, named: Shape | None = None, item: Shape | None = None) -> None:
        self.model = model
        self.named = named
        self.item = item

    def below(self, key: str) -> Shape:
        """The shape under a key."""
        if self.named is not None:
            return self.named
        if self.model is None:
            return _NOTHING
        for name, info in self.model.model_fields.items():
            if (info.alias or name) == key:
                return _shape_of(info.annotation)
        return _NOTHING

    def rank(self, key: str) -> int:
        """Where a key belongs among its neighbours; names and unknown keys keep their order behind the known ones."""
        if self.model is None:
            return 0
        known = [info.alias or name for name, info in self.model.model_fields.items()]
        for folder, document in DOCUMENTS.items():
            if document is self.model:
                place = known.index(_BEFORE[folder]) if _BEFORE[folder] in known else 0
                known.insert(place, "defaults")
        return known.index(key) if key in known else len(known)


_NOTHING: Final = Shape()
DOCUMENTS: Final[dict[str, type[Plain]]] = {EDGE_FOLDER: EdgeDocument, PLAN_FOLDER: PlanDocument}


def _shape_of(annotation: Any) -> Shape:
    """Of dict[Name, Model], tuple[Model, ...], Model | None, however annotated."""
    if isinstance(annotation, type) and issubclass(annotation, Plain):
        return Shape(model=annotation)
    origin = getattr(annotation, "__origin__", None)
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    if origin is dict:
        return Shape(named=_shape_of(arguments[1]))
    if origin is tuple:
        inner = _shape_of(arguments[0])
        return Shape(model=inner.model, item=inner)  # one may stand for a list of one
    for part in arguments:
        found = _shape_of(part)
        if found is not _NOTHING:
            return found
    return _NOTHING


# -- keys in order, as text ------------------------------------------------------------------------------------------------------


def in_order(text: str, folder: str) -> str:
    """The text with the keys of block maps in the order of their models, each with the comment lines above it."""
    root = yaml.compose(text, Loader=yaml.CSafeLoader) if text.strip() else None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return text
    lines = text.split("\n")
    _order(root, Shape(model=DOCUMENTS[folder]), lines, top=True)
    return "\n".join(lines)


def _order(node: Any, shape: Shape, lines: list[str], top: bool = False) -> None:
    """Order one node and all below it; every node keeps its range of lines, so marks stay true while their insides move."""
    if node.flow_style:
        return
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if isinstance(item, yaml.CollectionNode):
                _order(item, shape.item or shape, lines)
        return
    for key, value in node.value:
        if isinstance(value, yaml.CollectionNode):
            _order(value, shape.below(key.value), lines)
    _order_map(node, shape, lines, top)


def _order_map(node: Any, shape: Shape, lines: list[str], top: bool) -> None:
    keys = [key for key, _ in node.value]
    ranks = [shape.rank(key.value) for key in keys]
    if (ranks == sorted(ranks) and not top) or not _stands_alone(keys, lines):
        return
    starts = [key.start_mark.line for key in keys]
    ends = [_last_line(value) for _, value in node.value]
    begins = [starts[0]]
    for at in range(1, len(keys)):
        begin = ends[at - 1] + 1
        while begin < starts[at] and _belongs_above(lines[begin], keys[at].start_mark.column):
            begin += 1
        begins.append(begin)
    if top:
        begins[0] = _below_header(lines, starts[0])
    elif starts[0] and lines[starts[0] - 1].lstrip().startswith("#") and not has_dash(lines[starts[0]]):
        begins[0] = _comment_begin(lines, starts[0], keys[0].start_mark.column)
    stop = ends[-1] + 1
    blocks = [lines[begin:end] for begin, end in zip(begins, [*begins[1:], stop], strict=True)]
    moved = [blocks[at] for at in sorted(range(len(keys)), key=ranks.__getitem__)]
    if has_dash(lines[starts[0]]):
        if moved[0][0].lstrip().startswith("#") or not moved[0][0].strip():
            return  # a dash cannot stand in front of a comment
        dash = lines[starts[0]][: keys[0].start_mark.column]
        blocks[0][0] = " " * len(dash) + blocks[0][0][len(dash) :]
        moved[0][0] = dash + moved[0][0][len(dash) :]
    lines[begins[0] : stop] = _apart(moved) if top else _joined(moved)


def _apart(blocks: Sequence[list[str]]) -> list[str]:
    """Sections behind each other with one blank line between; done last, since lines come and go."""
    return "\n\n".join("\n".join(block).strip("\n") for block in blocks).split("\n")


def _joined(blocks: Sequence[list[str]]) -> list[str]:
    """Blocks behind each other; blank lines in front of what is first now go behind, so that the number of lines stays."""
    first = list(blocks[0])
    blank = 0
    while first and not first[0].strip():
        first.pop(0)
        blank += 1
    joined = [*first, *([""] * blank)]
    for block in blocks[1:]:
        joined += block
    return joined


def _stands_alone(keys: Sequence[Any], lines: Sequence[str]) -> bool:
    """Whether each key begins its line (but for the dash of a list), in one column."""
    if len({key.start_mark.column for key in keys}) > 1:
        return False
    for at, key in enumerate(keys):
        before = lines[key.start_mark.line][: key.start_mark.column]
        if before.strip() not in ("", "-") or (at and before.strip()):
            return False
    return True


def has_dash(line: str) -> bool:
    return line.lstrip().startswith("- ")


def _belongs_above(line: str, column: int) -> bool:
    """A comment further in than the next key still speaks of what stands above it."""
    return line.lstrip().startswith("#") and len(line) - len(line.lstrip()) > column


def _below_header(lines: Sequence[str], start: int) -> int:
    """Where the first section's own comment begins: below the last blank line above it; what is further up heads the file."""
    begin = start
    while begin and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    return start if begin == 0 else begin


def _comment_begin(lines: Sequence[str], start: int, column: int) -> int:
    begin = start
    while begin and lines[begin - 1].startswith(" " * column + "#"):
        begin -= 1
    return begin


def _last_line(node: Any) -> int:
    """The last line with something of a node in it."""
    if isinstance(node, yaml.ScalarNode):
        if node.style in ("|", ">"):
            return int(node.end_mark.line) - (1 if node.end_mark.column == 0 else 0)
        return int(node.end_mark.line)
    if node.flow_style or not node.value:
        return int(node.end_mark.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)
