"""CSV of DIDs: an inventory export with a column of numbers, and perhaps of entry points and numbers at the tenants."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sipctl.dialplan.importers.gathered import DEFAULT_NAME, Gathered
from sipctl.dialplan.report import did_you_mean
from sipctl.errors import SipctlError
from sipctl.model.numbers import strip_separators

COLUMNS: Final = ("number", "entry_point", "called_at.primary", "called_at.bcp")
DELIMITERS: Final = (",", ";", "\t")
_NUMBER_NAMES: Final = ("number", "did", "ddi", "dnis", "phone", "phone_number", "tn", "e164")


class ImportFault(SipctlError):  # noqa: N818 - reads as the sentence it is
    """A file that cannot be imported at all."""

    code = "import.unreadable"
    exit_code = 2


def read_columns(text: str) -> dict[str, str]:
    """`number=DID,entry_point=Department` as {ours: theirs}. Raises: ImportFault."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, theirs = part.strip().partition("=")
        if name not in COLUMNS or not equals or not theirs.strip():
            raise ImportFault(
                f"--columns: {part.strip()!r} is not NAME=COLUMN", hint=did_you_mean(name, COLUMNS) or ", ".join(COLUMNS)
            )
        found[name] = theirs.strip()
    return found


def read(text: str, columns: Mapping[str, str], into: Gathered) -> None:
    """Take every row.

    Raises: ImportFault if the columns are not known.
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    first = lines[0] if lines else ""
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(lines, delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    at = _places(header, columns)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                _row(row, reader.line_num, at, into)
    except csv.Error as error:
        into.skip(reader.line_num, f"the rest of the file does not read: {error}", "look at the quotes in this row")
    if len(header) > len(at):
        unused = [name for place, name in enumerate(header) if place not in at.values()]
        into.note(1, f"columns that are not imported: {', '.join(unused)}")


def _places(header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    missing = [theirs for theirs in columns.values() if theirs not in header]
    if missing:
        raise ImportFault(f"there is no column {missing[0]!r}", hint=did_you_mean(missing[0], header))
    wanted = dict(columns) or {name: name for name in COLUMNS if name in header}
    if "number" not in wanted:
        guess = _first(header, lambda name: name.lower().replace(" ", "_") in _NUMBER_NAMES)
        if guess is None:
            raise ImportFault("which column holds the numbers?", hint=f"--columns number=…; there are: {', '.join(header)}")
        wanted["number"] = guess
    return {name: header.index(theirs) for name, theirs in wanted.items()}


def _first(names: Iterable[str], fits: Callable[[str], bool]) -> str | None:
    return next((name for name in names if fits(name)), None)


def _row(row: Sequence[str], line: int, at: Mapping[str, int], into: Gathered) -> None:
    if len(row) <= max(at.values()):
        into.skip(line, f"the row has {len(row)} cells, too few for its columns")
        return
    cells = {name: row[place].strip() for name, place in at.items()}
    if not cells["number"]:
        into.skip(line, "no number in this row")
        return
    entry_point = cells.get("entry_point", "")
    if not entry_point and "entry_point" in at and not into.entry_point:
        into.skip(line, f"{cells['number']} has no entry point", "fill the column, or --entry-point NAME for all")
        return
    dials = {"primary": cells.get("called_at.primary", ""), "bcp": cells.get("called_at.bcp", "")}
    ready = {side: into.form.plus(strip_separators(text)) if text else "" for side, text in dials.items()}
    into.add(cells["number"], entry_point or DEFAULT_NAME, line, primary=ready["primary"], bcp=ready["bcp"])
