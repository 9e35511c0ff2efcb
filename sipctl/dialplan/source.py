"""YAML as text with places: what a plan's files say, before anyone asks what they mean.

Read with libyaml's event stream, so that every scalar stays text (`+49…` keeps its plus, `12:30` its colon, `NO` its letters),
every value knows its place, and what would make a plan hard to read or dangerous to load is refused: duplicate keys, anchors,
aliases, tags, several documents, too much depth or size, more values than so many bytes can mean anything by. All such problems
of a file are found in one reading, up to a syntax error or to where there are too many of a kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from sipctl.dialplan.report import Mark, Report

MAX_YAML_BYTES: Final = 16 << 20  # of one file
MAX_FILES_BYTES: Final = 256 << 20  # of all files
MAX_DEPTH: Final = 16
MAX_VALUES: Final = 100_000  # of one file; numbers by the million belong into CSV
FREE_VALUES: Final = 5_000  # so many may be as short as they like
LEAST_VALUE_BYTES: Final = 4  # characters a value takes on average beyond that; terse plans take 7, and bombs of `[],` three
MAX_KEY_CHARS: Final = 256

EDGE_FOLDER: Final = "sbc_configs/"
PLAN_FOLDER: Final = "dialplans/"
_LISTS: Final = frozenset({"tests", "number_files", "tests_file"})  # sections that append
_DEFAULTED: Final = {
    EDGE_FOLDER: ("listen", "sites", "trunks", "sbc_pairs", "tenants"),
    PLAN_FOLDER: ("continuity_groups", "entry_points", "schedules", "exits"),
}


@dataclass(slots=True)
class Scalar:
    """One value, as written."""

    mark: Mark
    text: str
    quoted: bool = False


@dataclass(slots=True)
class Items:
    """A list."""

    mark: Mark
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Fields:
    """A map; `keys` holds the place of each key."""

    mark: Mark
    fields: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)


Node = Scalar | Items | Fields


def read_folder(folder: str, files: Mapping[str, bytes], report: Report) -> Fields:
    """One document made of all YAML files of a folder, sections merged, `defaults` filled in.

    Args:
        folder: EDGE_FOLDER or PLAN_FOLDER; files: path → bytes, paths relative to DIR with "/".
    """
    merged = Fields(Mark(folder.rstrip("/")))
    for path in sorted(files):
        if path.startswith(folder) and is_plan_file(path, folder):
            document = read_yaml(path, files[path], report)
            if isinstance(document, Fields):
                _merge(merged, document, report)
            elif document is not None:
                report.add("yaml.not-a-map", document.mark, "a plan file is a map of sections", "start with e.g. `trunks:`")
    _fill_defaults(merged, folder, report)
    return merged


def is_plan_file(path: str, folder: str) -> bool:
    """Whether a path is a YAML file of that folder: sbc_configs is flat, dialplans has subfolders, hidden ones are skipped."""
    parts = path.removeprefix(folder).split("/")
    if any(part.startswith(".") for part in parts) or (folder == EDGE_FOLDER and len(parts) > 1):
        return False
    return parts[-1].endswith((".yaml", ".yml"))


def read_yaml(path: str, data: bytes, report: Report) -> Node | None:
    """The one document of a file; None if it is empty or does not read."""
    if len(data) > MAX_YAML_BYTES:
        report.add("file.too-large", Mark(path), f"the file has {len(data):,} bytes, the most is {MAX_YAML_BYTES:,}")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        report.add("file.not-utf8", Mark(path, line, column), "this byte is not UTF-8", "save the file as UTF-8")
        return None
    reader = _Reader(path, report)
    try:
        return reader.read(yaml.parse(text, Loader=yaml.CBaseLoader))
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(path, place.line + 1, place.column + 1) if place else Mark(path)
        report.add("yaml.syntax", mark, error.problem or error.context or "the file is not YAML", _syntax_hint(text, mark))
    except yaml.YAMLError as error:
        report.add("yaml.syntax", Mark(path), " ".join(str(error).split()))
    except _GivesUpError:
        pass
    return None


def plain(node: Node) -> Any:
    """The node as text, lists and dicts."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, value in node.fields.items()}


def locate(node: Node, keys: tuple[str | int, ...], at_key: bool = False) -> Mark:
    """The place of what a path of keys leads to, or of the last step on the way that exists.

    Args:
        at_key: the place of the key rather than of its value.
    """
    mark = node.mark
    for step, key in enumerate(keys):
        if isinstance(node, Fields) and key in node.fields:
            name = str(key)
            last = step == len(keys) - 1
            mark = node.keys[name] if at_key and last else node.fields[name].mark
            before, node = node, node.fields[name]
            if not last and isinstance(node, Fields) and not _leads_on(node, keys[step + 1]):
                return before.keys[name]
        elif isinstance(node, Items) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
            mark = node.mark
        else:
            break
    return mark


def _leads_on(node: Fields, key: str | int) -> bool:
    return key in node.fields


class _GivesUpError(Exception):
    """A limit was passed; the finding stands already."""


class _Reader:
    """Builds nodes from events with a stack of its own: depth is a limit here, not a crash."""

    __slots__ = ("_path", "_report", "_values")

    def __init__(self, path: str, report: Report) -> None:
        self._path = path
        self._report = report
        self._values = 0

    def read(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        stack: list[Items | Fields] = []
        names: list[Scalar | None] = []  # the key waiting for its value, for each map on the stack
        documents = 0
        for event in events:
            start = event.start_mark
            mark = Mark(self._path, start.line + 1, start.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._report.add("yaml.documents", mark, "a second document begins here", "make it a file of its own")
                    raise _GivesUpError
            elif isinstance(event, yaml.CollectionEndEvent):
                stack.pop()
                names.pop()
            elif isinstance(event, yaml.NodeEvent):
                self._count(mark, start.index)
                node = self._node(event, mark, len(stack))
                if not stack:
                    root = root or node
                else:
                    self._place(stack[-1], names, node)
                if isinstance(event, yaml.CollectionStartEvent):
                    assert isinstance(node, Items | Fields)
                    stack.append(node)
                    names.append(None)
        return None if isinstance(root, Scalar) and not root.text and not root.quoted else root

    def _count(self, mark: Mark, characters: int) -> None:
        """One value more, so many characters into the file: refused here, before millions of them cost seconds."""
        self._values += 1
        if self._values > MAX_VALUES:
            self._report.add("yaml.too-many", mark, f"more than {MAX_VALUES:,} values", "put numbers into a CSV file")
            raise _GivesUpError
        if self._values > FREE_VALUES and characters < self._values * LEAST_VALUE_BYTES:
            message = f"{self._values:,} values in {characters:,} characters: next to nothing but brackets, commas and line ends"
            self._report.add("yaml.too-many", mark, message, "put numbers into a CSV file")
            raise _GivesUpError

    def _fault(self, code: str, mark: Mark, message: str, hint: str) -> None:
        """A finding after which reading goes on, until there are so many of its kind that the file is no plan."""
        self._report.add(code, mark, message, hint)
        if self._report.is_full(code):
            raise _GivesUpError

    def _node(self, event: Any, mark: Mark, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            self._fault("yaml.anchor", mark, f"alias *{event.anchor}", "write it out, or use `defaults`")
            return Scalar(mark, f"*{event.anchor}", quoted=True)
        if event.anchor is not None:
            self._fault("yaml.anchor", mark, f"anchor &{event.anchor}", "write it out, or use `defaults`")
        if event.tag is not None:
            self._fault("yaml.tag", mark, f"tag {event.tag}", "leave it out: every value is text")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(mark, event.value, quoted=event.style is not None)
        if depth >= MAX_DEPTH:
            self._report.add("yaml.too-deep", mark, f"nested deeper than {MAX_DEPTH} levels")
            raise _GivesUpError
        return Items(mark) if isinstance(event, yaml.SequenceStartEvent) else Fields(mark)

    def _place(self, parent: Items | Fields, names: list[Scalar | None], node: Node) -> None:
        if isinstance(parent, Items):
            parent.items.append(node)
            return
        name = names[-1]
        if name is None:
            if not isinstance(node, Scalar):
                self._report.add("yaml.syntax", node.mark, "a key must be text, not a list or a map")
                raise _GivesUpError
            names[-1] = node
            return
        names[-1] = None
        key = name.text[:MAX_KEY_CHARS]
        if key in parent.fields:
            first = parent.keys[key]
            self._fault("yaml.duplicate-key", name.mark, f"{key} stands here twice, first in line {first.line}", "keep one")
        else:
            parent.keys[key] = name.mark
            parent.fields[key] = node


def _syntax_hint(text: str, mark: Mark) -> str:
    lines = text.splitlines()
    line = lines[mark.line - 1] if 0 < mark.line <= len(lines) else ""
    return "indent with spaces, never with tabs" if "\t" in line else "look at the quotes, brackets and indentation here"


# -- several files, one document -------------------------------------------------------------------------------------------------


def _merge(merged: Fields, document: Fields, report: Report) -> None:
    for name, section in document.fields.items():
        key = document.keys[name]
        have = merged.fields.get(name)
        if have is None:
            merged.keys[name] = key
            if name in _LISTS and isinstance(section, Items):
                merged.fields[name] = Items(section.mark, list(section.items))
            elif isinstance(section, Fields):
                merged.fields[name] = Fields(section.mark, dict(section.fields), dict(section.keys))
            else:
                merged.fields[name] = section
        elif name == "defaults":
            first = merged.keys[name]
            message = f"defaults stand here and in {first.path}:{first.line}"
            report.add("plan.defined-twice", key, message, "once for each folder")
        elif isinstance(have, Items) and isinstance(section, Items):
            have.items.extend(section.items)
        elif isinstance(have, Fields) and isinstance(section, Fields):
            _merge_section(name, have, section, report)
        else:
            report.add("yaml.not-a-map", section.mark, f"{name} is of another kind in {have.mark.path}:{have.mark.line}")


def _merge_section(section_name: str, have: Fields, section: Fields, report: Report) -> None:
    for name, value in section.fields.items():
        if name in have.fields:
            first = have.keys[name]
            message = f"{name} in {section_name} is defined here and in {first.path}:{first.line}"
            report.add("plan.defined-twice", section.keys[name], message, "rename or remove one")
        else:
            have.fields[name] = value
            have.keys[name] = section.keys[name]


def _fill_defaults(merged: Fields, folder: str, report: Report) -> None:
    """What `defaults` says of a section fills what each of its entries leaves out: maps merge, lists replace."""
    key = merged.keys.pop("defaults", None)
    defaults = merged.fields.pop("defaults", None)
    if defaults is None or key is None:
        return
    if not isinstance(defaults, Fields):
        report.add("yaml.not-a-map", defaults.mark, "defaults is a map of sections", "e.g. defaults: {sbc_pairs: {no_reply: 2s}}")
        return
    for name, filling in defaults.fields.items():
        if name not in _DEFAULTED[folder]:
            hint = "sections with defaults: " + ", ".join(_DEFAULTED[folder])
            report.add("plan.unknown-key", defaults.keys[name], f"defaults know no section {name}", hint)
        elif not isinstance(filling, Fields):
            report.add("yaml.not-a-map", filling.mark, f"defaults for {name} are a map of keys")
        else:
            section = merged.fields.get(name)
            for entry in section.fields.values() if isinstance(section, Fields) else ():
                if isinstance(entry, Fields):
                    _fill(entry, filling)
                elif isinstance(entry, Scalar) and not entry.text and not entry.quoted:
                    pass  # an empty value is a finding of its own


def _fill(entry: Fields, filling: Fields) -> None:
    for name, value in filling.fields.items():
        have = entry.fields.get(name)
        if have is None:
            entry.fields[name] = value
            entry.keys[name] = filling.keys[name]
        elif isinstance(have, Fields) and isinstance(value, Fields):
            merged = Fields(have.mark, dict(have.fields), dict(have.keys))
            _fill(merged, value)
            entry.fields[name] = merged
