"""Number files: CSV exports of an inventory, read row by row into flat arrays.

Delimiter , ; or tab, found from the header; BOM and CRLF accepted; spaces and hyphens in numbers removed with a note; `A..B` in a
cell is a range; rows without an entry point are left out with a note. A million rows take a few seconds, so the usual row, an
exact E.164 number, takes a short way; everything else goes through the same reader as the plan's own numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from io import BytesIO, TextIOWrapper
from typing import Any, Final, NamedTuple

from sipctl.dialplan.csv_rows import HINT, MAX_ROW_CHARS, RowLines, RowTooLongError
from sipctl.dialplan.inventory import Inventory, Scope, read_dial, read_text
from sipctl.dialplan.report import Mark, Report, did_you_mean
from sipctl.model.numbers import MAX_E164_DIGITS, PRIVATE_BIT, DialledAt, strip_separators
from sipctl.model.plan import EntryPointModel, NumberFileModel

MAX_ROWS: Final = 5_000_000
_DELIMITERS: Final = (",", ";", "\t")
_EXPONENT: Final = re.compile(r"\d+[Ee]\+?\d+")
_LINE_SHIFT: Final = 12  # see Inventory.origin
_SHOWN_LINES: Final = 5
_SEPARATORS: Final = str.maketrans("", "", " -\u00a0")
MAX_UNKNOWN_NAMES: Final = 1_000  # of one file, kept apart


def read_number_file(
    item: NumberFileModel,
    named_at: Mark,
    files: Mapping[str, bytes],
    entry_points: Mapping[str, int],
    models: Mapping[str, EntryPointModel],
    inventory: Inventory,
    report: Report,
) -> None:
    """Take in all rows of one file.

    Args:
        named_at: where the plan names the file; the path is relative to that file.
        entry_points: index by name; models: those that read (a row may name one that did not).
    """
    path = beside(named_at.path, item.file)
    data = files.get(path)
    inventory.read_files.add(path)
    report.name_file(path, named_at)
    if data is None:
        known = [name for name in files if name.endswith((".csv", ".txt", ".tsv"))]
        report.add("file.missing", named_at, f"there is no file {path}", did_you_mean(path, known))
        return
    first_line = _readable(path, data, report)
    if first_line is not None:
        _Rows(path, data, first_line, item, entry_points, models, inventory, report).read()


class _Lane(NamedTuple):
    """Where plain rows of one entry point go."""

    scope: Scope
    entry_point: int
    treatment: int  # with the entry point's own called_at
    least_digits: int  # its called_at copies so many
    own_primary: int  # key its called_at dials there; 0: the called number; _ODD: it copies digits or is private
    own_bcp: int


class _Columns(NamedTuple):
    """Index of each column; -1: there is none."""

    width: int
    number: int
    entry_point: int
    primary: int
    bcp: int


class _Lines:
    """Lines of one kind: the first few, and how many there are."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.first: list[int] = []
        self.count = 0

    def append(self, line: int) -> None:
        self.count += 1
        if len(self.first) < _SHOWN_LINES:
            self.first.append(line)

    def __str__(self) -> str:
        return ", ".join(map(str, self.first)) + (" …" if self.count > len(self.first) else "")


class _Rows:
    """One reading of one file."""

    __slots__ = (
        "_blank",
        "_data",
        "_entry_points",
        "_first_line",
        "_inventory",
        "_item",
        "_lanes",
        "_models",
        "_own",
        "_path",
        "_report",
        "_separated",
        "_unknown",
    )

    def __init__(
        self,
        path: str,
        data: bytes,
        first_line: str,
        item: NumberFileModel,
        entry_points: Mapping[str, int],
        models: Mapping[str, EntryPointModel],
        inventory: Inventory,
        report: Report,
    ) -> None:
        self._path = path
        self._data = data
        self._first_line = first_line
        self._item = item
        self._entry_points = entry_points
        self._models = models
        self._inventory = inventory
        self._report = report
        self._lanes: dict[str, _Lane | None] = {}
        self._own: dict[str, tuple[DialledAt | None, DialledAt | None]] = {}  # called_at of entry points asked for so far
        self._blank = _Lines()  # without an entry point
        self._separated = _Lines()  # with separators in the number
        self._unknown: dict[str, _Lines] = {}  # entry point nobody defined → its rows

    def read(self) -> None:
        found = _header(self._path, self._first_line, self._item, self._report)
        if found is None:
            return
        delimiter, columns = found
        self._report.name_column(self._path, delimiter, columns.number)
        text = TextIOWrapper(BytesIO(self._data), encoding="utf-8-sig", newline="")
        lines = RowLines()
        reader = csv.reader(lines.of(text), delimiter=delimiter, strict=True)
        try:
            next(reader)
            self._read_rows(reader, lines, columns)
        except RowTooLongError as error:
            self._report.add("csv.syntax", Mark(self._path, reader.line_num + 1, 1), str(error), HINT)
        except csv.Error as error:
            self._report.add("csv.syntax", Mark(self._path, reader.line_num, 1), str(error), "look at the quotes in this row")
        self._note_unknown()
        self._note(
            "csv.no-entry-point", self._blank, "without an entry point: left out", "fill the column if they should be routed"
        )
        self._note("number.separators", self._separated, "with spaces or hyphens in the number: removed", "export plain numbers")

    def _read_rows(self, reader: Any, lines: RowLines, columns: _Columns) -> None:
        width, number_at, entry_at, primary_at, bcp_at = columns
        file = self._inventory.file(self._path)
        counts, lanes, add_own = self._inventory.counts, self._lanes, self._inventory.columns.add_own
        rows = 0
        for row in reader:
            lines.taken = 0
            rows += 1
            if rows > MAX_ROWS:
                self._report.add(
                    "file.too-large", Mark(self._path, reader.line_num, 1), f"the file has more than {MAX_ROWS:,} rows"
                )
                return
            if len(row) != width and not self._fits(row, reader.line_num, width):
                continue
            number, name = row[number_at], row[entry_at]
            is_bare = number.isascii() and " " not in number and "-" not in number
            if not is_bare:
                number = number.translate(_SEPARATORS)
            lane = lanes[name] if name in lanes else self._lane(name)
            digits = number[1:]
            if (
                lane is None
                or number[:1] != "+"
                or not digits.isdigit()
                or not digits.isascii()
                or digits[0] == "0"
                or not lane.least_digits <= len(digits) <= MAX_E164_DIGITS
            ):
                self._read_row(row, reader.line_num, columns)
                continue
            primary = row[primary_at] if primary_at >= 0 else ""
            bcp = row[bcp_at] if bcp_at >= 0 else ""
            treatment = lane.treatment
            if primary or bcp:
                base_primary = _plain_dial(primary) if primary else lane.own_primary
                base_bcp = _plain_dial(bcp) if bcp else lane.own_bcp
                if base_primary == _ODD or base_bcp == _ODD:
                    self._read_row(row, reader.line_num, columns)
                    continue
                treatment = add_own(lane.entry_point, base_primary, base_bcp)
            lane.scope.keys.append(int("1" + digits))
            lane.scope.treatments.append(treatment)
            lane.scope.origins.append(file | reader.line_num << _LINE_SHIFT | 1)
            if not is_bare:
                self._separated.append(reader.line_num)
            counts[lane.entry_point] += 1

    def _lane(self, name: str) -> _Lane | None:
        """The short way of rows of one entry point, if it has one."""
        self._lanes[name] = None
        index, model = self._entry_points.get(name), self._models.get(name)
        scope = self._inventory.exact_scope(index) if index is not None else None
        if index is None or model is None or scope is None:
            return None
        primary, bcp = self._own_called_at(model)
        treatment = self._inventory.exact_treatment(index, primary, bcp)
        copied = max((dialled.copied & ~PRIVATE_BIT for dialled in (primary, bcp) if dialled), default=0)
        lane = _Lane(scope, index, treatment, max(copied, 1), _plain_base(primary), _plain_base(bcp))
        self._lanes[name] = lane
        return lane

    def _own_called_at(self, model: EntryPointModel) -> tuple[DialledAt | None, DialledAt | None]:
        """The entry point's own `called_at`; what is wrong with it is reported where it stands."""
        silent = Report({})
        here = Mark(self._path)
        return read_dial(model.called_at.primary, here, silent), read_dial(model.called_at.bcp, here, silent)

    def _read_row(self, row: list[str], line: int, columns: _Columns) -> None:
        """The long way: a range, a private number, separators, called_at with Xs, or something wrong."""
        text, name = row[columns.number].strip(), row[columns.entry_point].strip()
        if not name:
            if text:
                self._blank.append(line)
            return
        entry_point = self._entry_points.get(name)
        if entry_point is None:
            self._miss(name, line)
            return
        model = self._models.get(name)
        if model is None:
            return  # its own findings stand already
        mark = Mark(self._path, line, 1)
        bare = strip_separators(text)
        number = read_text(bare, mark, self._report) if text else None
        if number is None:
            if not text:
                self._report.add("number.bad", mark, "the row has no number", "fill the cell or remove the row")
            return
        if bare != row[columns.number]:
            self._separated.append(line)
        if name not in self._own:
            self._own[name] = self._own_called_at(model)
        primary, bcp = self._own[name]
        if columns.primary >= 0 and row[columns.primary].strip():
            primary = read_dial(row[columns.primary].strip(), mark, self._report)
        if columns.bcp >= 0 and row[columns.bcp].strip():
            bcp = read_dial(row[columns.bcp].strip(), mark, self._report)
        self._inventory.add(entry_point, number, primary, bcp, lambda: mark)

    def _miss(self, name: str, line: int) -> None:
        """Remember a row of an entry point that is not there."""
        lines = self._unknown.get(name)
        if lines is None and len(self._unknown) >= MAX_UNKNOWN_NAMES:
            self._report.drop("plan.unknown-name")
        else:
            self._unknown.setdefault(name, _Lines()).append(line)

    def _note_unknown(self) -> None:
        """One finding for each entry point that is not there, however many rows name it."""
        for name, lines in self._unknown.items():
            if self._report.is_full("plan.unknown-name"):
                self._report.drop("plan.unknown-name")
                continue
            message = f"no entry point is called {name}" + (f" ({lines.count:,} rows: line {lines})" if lines.count > 1 else "")
            place = Mark(self._path, lines.first[0], 1)
            self._report.add("plan.unknown-name", place, message, did_you_mean(name, self._entry_points))

    def _fits(self, row: list[str], line: int, width: int) -> bool:
        """Whether a row of another width can be read all the same: empty cells beyond the header do not count."""
        if not any(cell.strip() for cell in row):
            return False
        if len(row) > width and not any(cell.strip() for cell in row[width:]):
            return True
        mark = Mark(self._path, line, 1)
        if any(_EXPONENT.fullmatch(cell.strip()) for cell in row):
            hint = "format the column as text and export it again"
            self._report.add("csv.spreadsheet", mark, "a number in this row was damaged by a spreadsheet", hint)
        else:
            self._report.add(
                "csv.columns",
                mark,
                f"this row has {len(row)} cells, the header has {width}",
                "quote cells that hold the delimiter",
            )
        return False

    def _note(self, code: str, lines: _Lines, what: str, hint: str) -> None:
        """One finding for many rows."""
        if lines.count:
            rows = "row" if lines.count == 1 else "rows"
            self._report.add(code, Mark(self._path, lines.first[0], 1), f"{lines.count:,} {rows} {what} (line {lines})", hint)


_ODD: Final = -1  # a called_at that takes the long way


def _plain_dial(cell: str) -> int:
    """The key of a called_at cell that is one E.164 number; _ODD if it is anything else."""
    digits = cell[1:]
    if cell[0] == "+" and digits.isdigit() and digits.isascii() and digits[0] != "0" and len(digits) <= MAX_E164_DIGITS:
        return int("1" + digits)
    return _ODD


def _plain_base(own: DialledAt | None) -> int:
    if own is None:
        return 0
    return _ODD if own.copied else own.base


def _header(path: str, first: str, item: NumberFileModel, report: Report) -> tuple[str, _Columns] | None:
    """Delimiter and columns, from the first line."""
    wanted = item.columns
    best: tuple[str, list[str]] | None = None
    for delimiter in _DELIMITERS:
        try:
            cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        except csv.Error:
            continue
        if wanted.number in cells and (best is None or len(cells) > len(best[1])):
            best = (delimiter, cells)
    mark = Mark(path, 1, 1)
    if best is None:
        widest = max((first.split(delimiter) for delimiter in _DELIMITERS), key=len)
        hint = did_you_mean(wanted.number, [cell.strip(' "') for cell in widest if cell.strip()])
        report.add("csv.header", mark, f"the header has no column {wanted.number}", hint)
        return None
    delimiter, cells = best
    missing = [wanted.entry_point] if wanted.entry_point not in cells else []
    for name, column in (("called_at_primary", wanted.called_at_primary), ("called_at_bcp", wanted.called_at_bcp)):
        if name in wanted.model_fields_set and column not in cells:
            missing.append(column)
    for column in missing:
        report.add("csv.header", mark, f"the header has no column {column}", did_you_mean(column, cells))
    for column in {wanted.number, wanted.entry_point, wanted.called_at_primary, wanted.called_at_bcp}:
        if cells.count(column) > 1:
            report.add("csv.header", mark, f"the header has the column {column} twice", "rename one")
            return None
    if missing:
        return None

    def at(column: str) -> int:
        return cells.index(column) if column in cells else -1

    columns = (wanted.number, wanted.entry_point, wanted.called_at_primary, wanted.called_at_bcp)
    return delimiter, _Columns(len(cells), *(at(column) for column in columns))


def _readable(path: str, data: bytes, report: Report) -> str | None:
    """The first line, if all of the file is UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        report.add(
            "file.not-utf8", Mark(path, 1, 1), "this is UTF-16, as spreadsheets save 'Unicode text'", "save it as CSV UTF-8"
        )
        return None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.add("file.not-utf8", Mark(path, line, 1), "this line holds a byte that is not UTF-8", "save the file as CSV UTF-8")
        return None
    end = data.find(b"\n")
    first = data[: end if end >= 0 else len(data)].decode("utf-8-sig").partition("\r")[0]
    if len(first) > MAX_ROW_CHARS:
        report.add("csv.syntax", Mark(path, 1, 1), f"the header is longer than {MAX_ROW_CHARS:,} characters", HINT)
        return None
    return first


def beside(yaml_path: str, name: str) -> str:
    """A path relative to the file that names it, without leaving the folder's root."""
    parts = yaml_path.split("/")[:-1]
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
