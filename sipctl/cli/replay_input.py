"""Call records from files, sorted by their start, with memory that does not grow with their number.

Our own records stand in order of a call's end, exports in any order. So rows are sorted in **runs** of MAX_RUN_ROWS; a run that
begins after a chain's end is put behind it, any other begins a new chain; at MAX_CHAINS all are merged into one. Chains are
files in a temporary folder, which both plans then read merged. Records that are in order already make one chain.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from io import TextIOWrapper
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

import msgspec

from sipctl.dialplan.replay_rows import BadRecordError, CsvRows, InputError, Row, read_line

MAX_RUN_ROWS: Final = 32_768
MAX_CHAINS: Final = 64
FRAME_ROWS: Final = 4_096
MAX_TOLD: Final = 10  # bad records told, all are counted
MAX_LINE_BYTES: Final = 1 << 20
BLOCK_BYTES: Final = 1 << 20
_DELIMITERS: Final = (",", ";", "\t")

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[Row])
_START: Final = itemgetter(0)


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How CSV files are to be read."""

    columns: dict[str, str]
    trunk: str
    zone: tzinfo


@dataclass(slots=True)
class Gathered:
    """What the files held."""

    rows: int = 0
    bad: int = 0
    told: list[str] = field(default_factory=list)  # of the bad ones, the first MAX_TOLD
    first_s: float = 0.0
    last_s: float = 0.0
    chains: tuple[Path, ...] = ()

    def tell(self, place: str, why: object) -> None:
        self.bad += 1
        if len(self.told) < MAX_TOLD:
            self.told.append(f"{place}: {why}")


class _Chain:
    """One sorted file being written."""

    __slots__ = ("last_s", "path", "sink")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sink: BinaryIO = path.open("wb")
        self.last_s = float("-inf")

    def append(self, rows: Sequence[Row]) -> None:
        for at in range(0, len(rows), FRAME_ROWS):
            frame = _ENCODER.encode(rows[at : at + FRAME_ROWS])
            self.sink.write(len(frame).to_bytes(4, "little") + frame)
        self.last_s = rows[-1][0]


class Sorter:
    """Takes rows in any order; `finish` gives the chains."""

    def __init__(self, folder: Path, run_rows: int = MAX_RUN_ROWS, max_chains: int = MAX_CHAINS) -> None:
        assert max_chains >= 2, "the merged chain, and the next one"
        self._folder = folder
        self._run_rows = run_rows
        self._max_chains = max_chains
        self._run: list[Row] = []
        self._chains: list[_Chain] = []
        self._made = 0
        self.first_s = float("inf")
        self.last_s = float("-inf")

    def extend(self, rows: Sequence[Row]) -> None:
        self._run += rows
        if len(self._run) >= self._run_rows:
            self._flush()

    def finish(self) -> tuple[Path, ...]:
        self._flush()
        for chain in self._chains:
            chain.sink.close()
        return tuple(chain.path for chain in self._chains)

    def _flush(self) -> None:
        run, self._run = self._run, []
        if not run:
            return
        run.sort(key=_START)
        self.first_s, self.last_s = min(self.first_s, run[0][0]), max(self.last_s, run[-1][0])
        fitting = [chain for chain in self._chains if chain.last_s <= run[0][0]]
        if not fitting and len(self._chains) >= self._max_chains:
            self._merge()
        chain = max(fitting, key=lambda chain: chain.last_s) if fitting else self._new_chain()
        chain.append(run)

    def _merge(self) -> None:
        old = self._chains
        for chain in old:
            chain.sink.close()
        self._chains = []
        whole = self._new_chain()
        for rows in read_sorted([chain.path for chain in old]):
            whole.append(rows)
        for chain in old:
            chain.path.unlink()

    def _new_chain(self) -> _Chain:
        chain = _Chain(self._folder / f"chain-{self._made}")
        self._made += 1
        self._chains.append(chain)
        return chain


def read_sorted(chains: Sequence[Path]) -> Iterator[list[Row]]:
    """All rows in order of their start, in lists of at most FRAME_ROWS; the same lists however often it is read."""
    if len(chains) == 1:
        yield from _frames(chains[0])
        return
    rows = heapq.merge(*(_rows(path) for path in chains), key=_START)
    while chunk := list(islice(rows, FRAME_ROWS)):
        yield chunk


def _frames(path: Path) -> Iterator[list[Row]]:
    with path.open("rb") as source:
        while head := source.read(4):
            yield _DECODER.decode(source.read(int.from_bytes(head, "little")))


def _rows(path: Path) -> Iterator[Row]:
    for frame in _frames(path):
        yield from frame


def sizes(paths: Sequence[Path]) -> list[int]:
    """How much of each file is read: what it holds now, so that a file that grows meanwhile is the same for all.

    Raises: InputError.
    """
    try:
        return [path.stat().st_size for path in paths]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error


def gather(
    paths: Sequence[Path], folder: Path, form: CsvForm, shift_s: float, on_bytes: Callable[[int], None], keep_logged: bool
) -> Gathered:
    """Read all files into sorted chains in `folder`.

    Args:
        shift_s: added to every start.
        on_bytes: told how many bytes were read since the last time.
        keep_logged: keep what the records say became of each call.
    Raises: InputError for a file that cannot be read or a CSV whose columns are not known.
    """
    found = Gathered()
    sorter = Sorter(folder)
    for path, size in zip(paths, sizes(paths), strict=True):
        told = 0
        try:
            with path.open("rb") as raw:
                source = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
                limit = None if path.suffix == ".gz" else size
                reading = (
                    _csv_rows(path, source, form, shift_s, found)
                    if is_csv(path)
                    else _lines(path, source, limit, shift_s, keep_logged, found)
                )
                for rows in reading:
                    sorter.extend(rows)
                    found.rows += len(rows)
                    at = raw.tell()
                    on_bytes(at - told)
                    told = at
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        on_bytes(max(0, size - told))
    found.chains = sorter.finish()
    found.first_s, found.last_s = sorter.first_s, sorter.last_s
    return found


def is_csv(path: Path) -> bool:
    """Whether a file is read as CSV: by its name."""
    return path.name.removesuffix(".gz").endswith((".csv", ".tsv", ".txt"))


def _lines(
    path: Path, source: IO[bytes], limit: int | None, shift_s: float, keep_logged: bool, found: Gathered
) -> Iterator[list[Row]]:
    """Calls of our own records, block by block.

    Args:
        limit: read so many bytes and what follows not: it was written after we began.
    """
    number = 0
    for lines in _blocks(source, limit):
        rows: list[Row] = []
        for line in lines:
            number += 1
            try:
                row = read_line(line, shift_s, keep_logged)
            except BadRecordError as bad:
                found.tell(f"{path}:{number}", bad)
                continue
            if row is not None:
                rows.append(row)
        yield rows


def _blocks(source: IO[bytes], limit: int | None) -> Iterator[list[bytes]]:
    """Whole lines of a file, some thousand at a time; a line beyond MAX_LINE_BYTES is cut into pieces that do not read."""
    rest = b""
    while block := source.read(BLOCK_BYTES if limit is None else min(BLOCK_BYTES, limit)):
        if limit is not None:
            limit -= len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE_BYTES:
            lines.append(rest)
            rest = b""
        yield lines
    if rest:
        yield [rest]


def _csv_rows(path: Path, source: IO[bytes], form: CsvForm, shift_s: float, found: Gathered) -> Iterator[list[Row]]:
    """Calls of a CSV file, FRAME_ROWS at a time."""
    text = TextIOWrapper(cast(BinaryIO, source), encoding="utf-8-sig", errors="replace", newline="")
    first = text.readline(MAX_LINE_BYTES)
    delimiter = max(_DELIMITERS, key=first.count)
    header = next(csv.reader([first], delimiter=delimiter), [])
    try:
        reads = CsvRows(header, form.columns, form.trunk, form.zone, shift_s)
    except InputError as error:
        raise InputError(f"{path}:1: {error.detail}", hint=error.hint) from error
    reader = csv.reader(text, delimiter=delimiter)
    rows: list[Row] = []
    while True:
        try:
            cells = next(reader, None)
            if cells is None:
                break
            row = reads.read(cells)
        except (BadRecordError, csv.Error) as bad:
            found.tell(f"{path}:{reader.line_num + 1}", bad)
            continue
        if row is not None:
            rows.append(row)
        if len(rows) >= FRAME_ROWS:
            yield rows
            rows = []
    text.detach()
    yield rows
