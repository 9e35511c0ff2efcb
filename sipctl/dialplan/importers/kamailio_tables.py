"""Rows of Kamailio's tables in the forms people dump them: SQL INSERTs, dbtext, CSV or TSV with a header, mysql's boxes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TABLES: Final = {
    "mtree": ("tprefix", "tvalue"),
    "dialplan": ("match_op", "match_exp"),
    "dispatcher": ("setid", "destination"),
}
# Columns of an INSERT that names none, in the order of the schema.
_SCHEMA: Final = {
    "mtree": ("id", "tprefix", "tvalue"),
    "dialplan": ("id", "dpid", "pr", "match_op", "match_exp", "match_len", "subst_exp", "repl_exp", "attrs"),
    "dispatcher": ("id", "setid", "destination", "flags", "priority", "attrs", "description"),
}
_INSERT: Final = re.compile(
    r"INSERT\s+(?:IGNORE\s+)?INTO\s+[`\"]?(?:\w+[`\"]?\.[`\"]?)?(\w+)[`\"]?\s*(?:\(([^)]*)\))?\s*VALUES\s*", re.IGNORECASE
)
_DBTEXT: Final = re.compile(r"(\w+)\((?:int|string|str|double|float|blob|datetime|null|auto|,)+\)", re.IGNORECASE)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its table, its cells by column, its line."""

    table: str
    cells: dict[str, str]
    line: int


def rows(text: str) -> Iterator[TableRow | tuple[int, str]]:
    """Every row of a table we know; (line, why) for what is no such row."""
    if _INSERT.search(text):
        yield from _sql(text)
        return
    lines = text.removeprefix("\ufeff").splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith(("#", "+--"))), "")
    names = [match[1].lower() for match in _DBTEXT.finditer(first)]
    if names and first.count("(") == len(names):
        yield from _dbtext(lines, names)
    elif _table_of(_cells(first, _delimiter(first))) is not None:
        yield from _separated(lines, _delimiter(first))
    else:
        yield from _dispatcher_list(lines)


def _table_of(columns: list[str]) -> str | None:
    names = {column.lower() for column in columns}
    return next((table for table, needed in TABLES.items() if names.issuperset(needed)), None)


# -- SQL -------------------------------------------------------------------------------------------------------------------------


def _sql(text: str) -> Iterator[TableRow | tuple[int, str]]:
    for insert in _INSERT.finditer(text):
        table = insert[1].lower()
        line = text.count("\n", 0, insert.start()) + 1
        if table not in TABLES:
            yield line, f"table {table} is not imported"
            continue
        named = [name.strip(' `"\n\t').lower() for name in insert[2].split(",")] if insert[2] else list(_SCHEMA[table])
        for values, begin in _tuples(text, insert.end()):
            at = line + text.count("\n", insert.start(), begin)
            if len(values) > len(named) or not set(TABLES[table]) <= set(named[: len(values)]):
                yield at, f"a row of {table} has {len(values)} values for {len(named)} columns"
            else:
                yield TableRow(table, dict(zip(named, values, strict=False)), at)


def _tuples(text: str, at: int) -> Iterator[tuple[list[str], int]]:
    """(values, place) of each `(…)` up to the `;`."""
    while at < len(text):
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text) or text[at] != "(":
            return
        begin = at
        values, at = _tuple(text, at + 1)
        yield values, begin


def _tuple(text: str, at: int) -> tuple[list[str], int]:
    values: list[str] = []
    value: list[str] = []
    quote, was_quoted = "", False
    while at < len(text):
        char = text[at]
        at += 1
        if quote:
            if char == "\\" and at < len(text):
                value.append(_ESCAPES.get(text[at], text[at]))
                at += 1
            elif char == quote and text[at : at + 1] == quote:
                value.append(quote)
                at += 1
            elif char == quote:
                quote = ""
            else:
                value.append(char)
        elif char in "'\"":
            quote, was_quoted = char, True
        elif char in ",)":
            word = "".join(value)
            values.append(word if was_quoted else "" if word.strip().upper() == "NULL" else word.strip())
            value, was_quoted = [], False
            if char == ")":
                return values, at
        elif not was_quoted:
            value.append(char)
    return values, at


# -- lines -----------------------------------------------------------------------------------------------------------------------


def _dbtext(lines: list[str], names: list[str]) -> Iterator[TableRow | tuple[int, str]]:
    table = _table_of(names)
    is_header = True
    for line, written in enumerate(lines, 1):
        if not written.strip() or written.startswith("#"):
            continue
        if is_header:
            is_header = False
            if table is None:
                yield line, f"a table with columns {', '.join(names)} is not imported"
                return
            continue
        cells = [_unescaped(cell) for cell in re.split(r"(?<!\\):", written)]
        assert table is not None
        yield _row(table, names, cells, line)


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), cell)


def _separated(lines: list[str], delimiter: str) -> Iterator[TableRow | tuple[int, str]]:
    names: list[str] = []
    table = ""
    for line, written in enumerate(lines, 1):
        if not written.strip() or written.startswith(("#", "+--")):
            continue
        cells = _cells(written, delimiter)
        if not names:
            names = [cell.lower() for cell in cells]
            table = _table_of(names) or ""
            continue
        yield _row(table, names, cells, line)


def _row(table: str, names: list[str], cells: list[str], line: int) -> TableRow | tuple[int, str]:
    if len(cells) < len(names):
        return line, f"the row has {len(cells)} cells for {len(names)} columns"
    return TableRow(table, {name: "" if cell == "NULL" else cell for name, cell in zip(names, cells, strict=False)}, line)


def _delimiter(line: str) -> str:
    return max(("|", "\t", ";", ","), key=line.count)


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == "|":
        return [cell.strip() for cell in line.strip().strip("|").split("|")]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _dispatcher_list(lines: list[str]) -> Iterator[TableRow | tuple[int, str]]:
    """`setid destination flags priority attrs`, separated by spaces, comments from # on."""
    for line, raw in enumerate(lines, 1):
        written = raw.split("#", 1)[0].split()
        if not written:
            continue
        if len(written) < 2 or not written[0].lstrip("-").isdigit():
            yield line, f"not understood: {raw.strip()}"
            continue
        padded = [*written, "", "", ""]
        cells = dict(zip(("setid", "destination", "flags", "priority", "attrs"), padded, strict=False))
        yield TableRow("dispatcher", cells, line)
