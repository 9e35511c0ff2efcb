"""Tests in CSV files (`tests_file`): one a row, for regressions by the thousand.

The header names the columns. `call` is required; `name trunk from at given` ask, and `entry_point group tenant sbc_pair exit
called sbcs refused cause` expect. Empty cells say nothing. `sbcs` and `given` are lists with spaces between:
`tenants.acme-prod=out-of-service overlays.emergency=on calls.acme-sales=500`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from sipctl.dialplan.csv_rows import RowLines
from sipctl.dialplan.report import Mark, Report, did_you_mean
from sipctl.model.plan import TestModel

MAX_ROWS: Final = 1_000_000
_DELIMITERS: Final = (",", ";", "\t")
_ASKED: Final = ("name", "call", "trunk", "from", "at")
_EXPECTED: Final = ("entry_point", "group", "tenant", "sbc_pair", "exit", "called")
_COLUMNS: Final = (*_ASKED, "given", *_EXPECTED, "sbcs", "refused", "cause")
_STATES: Final = ("tenants", "sbcs", "groups", "calls")
_ON: Final = ("overlays", "switches")
_ADAPTER: Final[TypeAdapter[TestModel]] = TypeAdapter(TestModel)


@dataclass(frozen=True, slots=True)
class Row:
    """One test of a file."""

    path: str
    line: int
    columns: Mapping[str, int]  # column name → where its cell begins, from 1
    test: TestModel

    def mark(self, key: str = "call") -> Mark:
        """The place of one key of the test."""
        return Mark(self.path, self.line, self.columns.get(key, self.columns.get("call", 1)))


def read_test_file(path: str, data: bytes, report: Report) -> Iterator[Row]:
    """Every row that reads; a finding for each that does not."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.add("file.not-utf8", Mark(path, line), "a byte here is not UTF-8", "save the file as UTF-8")
        return
    head = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=head.count)
    lines = RowLines()
    reader = csv.reader(lines.of(StringIO(text, newline="")), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        lines.taken = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            report.add("csv.syntax", Mark(path, line), f"the row does not read: {error}", "look at the quotes")
            return
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            if not _is_known(path, line, header, report):
                return
        elif len(cells) != len(header):
            message = f"the row has {len(cells)} cells, the header {len(header)}"
            report.add("csv.columns", Mark(path, line), message, "quote cells that hold the delimiter")
        elif line > MAX_ROWS:
            report.add("file.too-large", Mark(path, line), f"more than {MAX_ROWS:,} rows", "split the file")
            return
        else:
            row = _row(path, line, header, [cell.strip() for cell in cells], report)
            if row is not None:
                yield row


def _is_known(path: str, line: int, header: list[str], report: Report) -> bool:
    fine = True
    for at, name in enumerate(header):
        if name not in _COLUMNS:
            report.add("csv.header", Mark(path, line, at + 1), f"no such column: {name}", did_you_mean(name, _COLUMNS))
            fine = False
        elif name in header[:at]:
            report.add("csv.header", Mark(path, line, at + 1), f"{name} stands here twice", "keep one")
            fine = False
    if "call" not in header:
        report.add("csv.header", Mark(path, line), "there is no column call", "it holds the number as the trunk writes it")
        fine = False
    return fine


def _row(path: str, line: int, header: list[str], cells: list[str], report: Report) -> Row | None:
    columns: dict[str, int] = {}
    start = 1
    for name, cell in zip(header, cells, strict=True):
        columns[name] = start
        start += len(cell) + 1
    said = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    written: dict[str, Any] = {name: said[name] for name in _ASKED if name in said}
    written.setdefault("name", f"row {line}")
    expect: dict[str, Any] = {name: said[name] for name in _EXPECTED if name in said}
    if "sbcs" in said:
        expect["sbcs"] = said["sbcs"].split()
    if "refused" in said or "cause" in said:
        plain = said.get("refused", "true")
        expect["refused"] = {"code": plain, "cause": said["cause"]} if "cause" in said and plain != "true" else plain
        if "cause" in said and plain == "true":
            expect["refused"] = {"cause": said["cause"]}
    written["expect"] = expect
    given = _given(said.get("given", ""))
    if isinstance(given, str):
        report.add("test.file", Mark(path, line, columns.get("given", 1)), given, "write e.g. tenants.acme-prod=out-of-service")
        return None
    written["given"] = given
    try:
        return Row(path, line, columns, _ADAPTER.validate_python(written))
    except ValidationError as error:
        for one in error.errors(include_url=False):
            context = one.get("ctx", {})
            key = next((str(step) for step in reversed(one["loc"]) if str(step) in columns), "call")
            message, hint = (
                (context["message"], context["hint"]) if one["type"] == "plan" else (f"{key} is missing", "fill it in")
            )
            report.add("test.file", Mark(path, line, columns[key]), message, hint)
    return None


def _given(text: str) -> dict[str, Any] | str:
    """A cell of states as the model takes them, or what is wrong with it."""
    found: dict[str, Any] = {}
    for item in text.replace(";", " ").split():
        name, equals, state = item.rpartition("=")
        section, dot, name = name.partition(".")
        if not (equals and dot and name and state):
            return f"{item!r} is no SECTION.NAME=STATE"
        if section in _ON:
            if state != "on":
                return f"{item}: an overlay or switch that is given is on"
            found.setdefault(section, []).append(name)
        elif section in _STATES:
            found.setdefault(section, {})[name] = state
        else:
            return f"{section!r} is none of {', '.join((*_STATES, *_ON))}"
    return found
