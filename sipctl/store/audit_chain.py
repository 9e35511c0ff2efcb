"""The audit chain: what one record looks like on disk, and whether a row of them is whole.

A record is one line of JSON, `{"hash":"…",…,"n":17,…,"prev":"…"}`. `hash` is the SHA-256 of all other bytes of the line (the
opening brace and what follows the hash), `prev` the hash of the record before, `n` counts from 1 without a gap. So every byte of
every record is covered, and a record that is changed, removed, added or moved breaks the chain at its place. What a chain alone
cannot show is that its end was cut off, or that all of it was written anew by somebody who may write the files: for that, heads
(number and hash) are told elsewhere now and then, and compared as **anchors**.

A write that a crash cut short leaves bytes that are no record. They stay where they are; the next record (kind `torn`) holds
their length and SHA-256, so they cannot be changed afterwards either. Day files are read in the order of their names and are one
chain: the first record of a file holds the hash of the last one before.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

GENESIS: Final = "0" * 64  # `prev` of record 1
MAX_RECORD_BYTES: Final = 256 << 10
MAX_DAMAGE_BYTES: Final = 4 * MAX_RECORD_BYTES  # of one place that is no record; more is a damaged file, whatever follows
TORN: Final = "torn"  # kind of the record that tells of a write cut short
_OPENING: Final = b'{"hash":"'
_AFTER_HASH: Final = b'",'
_HASH_ENDS: Final = len(_OPENING) + 64
_MASKED: Final = b'{"masked":'
_LARGE_FIELDS: Final = ("effect", "args", "inputs", "before", "after", "text", "reason", "force", "groups", "op")
_MAX_DEPTH: Final = 12
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read; of a masked one (from an export) only the links are known to be right."""

    number: int
    hash: str
    prev: str
    body: Mapping[str, Any]
    is_masked: bool = False

    @property
    def kind(self) -> str:
        return str(self.body.get("kind", ""))


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a chain is not whole."""

    file: str
    line: int  # from 1; 0: the file as a whole
    record: int | None  # the number that stands there, or should
    why: str
    is_torn_end: bool = False  # only the very end is incomplete, as a crash leaves it

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: record {self.record if self.record is not None else '?'}: {self.why}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk along a chain found."""

    records: int
    first: int  # number of the first record; 0: there is none
    last: int
    head: str  # hash of the last one
    torn: int  # writes cut short that were recognised and recorded
    missing: int  # entries that gap records say were never written
    masked: int  # records whose contents could not be checked
    anchors: int  # heads told elsewhere that agree
    broken: Break | None = None


# -- one record ----------------------------------------------------------------------------------------------------------------


def seal(body: Mapping[str, Any], number: int, prev: str) -> tuple[bytes, str]:
    """One record as its line with the newline, and its hash.

    What makes it longer than MAX_RECORD_BYTES is replaced by its size and SHA-256, largest field first.
    """
    whole = {str(key): _plain(value) for key, value in body.items() if key != "hash"} | {"n": number, "prev": prev}
    data = _written(whole)
    while len(data) > MAX_RECORD_BYTES - _HASH_ENDS - 3:
        name = max((key for key in _LARGE_FIELDS if key in whole), key=lambda key: len(_written(whole[key])))
        raw = _written(whole[name])
        assert len(raw) > 200, "a record whose fields are all small is too long"
        whole[name] = {"omitted_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        data = _written(whole)
    digest = hashlib.sha256(data).hexdigest()
    return _OPENING + digest.encode() + _AFTER_HASH + data[1:] + b"\n", digest


def opened(line: bytes) -> Record | str:
    """The record in a line without its newline; or why it is none, in words that end a sentence."""
    if not line.startswith(_OPENING) or line[_HASH_ENDS : _HASH_ENDS + 2] != _AFTER_HASH:
        return "it is empty" if not line else "it does not begin as a record does"
    told = line[len(_OPENING) : _HASH_ENDS].decode("ascii", "replace")
    data = b"{" + line[_HASH_ENDS + 2 :]
    if hashlib.sha256(data).hexdigest() != told:
        return "its bytes do not give its hash: it was changed or is damaged"
    try:
        body = json.loads(data)
        return Record(_count(body["n"]), told, _hash(body["prev"]), body)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it has no number and no link to the one before"


def opened_export(line: bytes) -> Record | str:
    """The same for a line of an export, where a record may be masked."""
    return _masked(line) if line.startswith(_MASKED) else opened(line)


def masked_line(record: Record, shown: Mapping[str, Any]) -> bytes:
    """A record whose contents are masked, as one line: its links can still be checked."""
    links = {"hash": record.hash, "n": record.number, "prev": record.prev}
    return _MASKED + _written(links) + b"," + _written({"record": shown})[1:] + b"\n"


def _masked(line: bytes) -> Record | str:
    try:
        whole = json.loads(line)
        links, body = whole["masked"], whole["record"]
        return Record(_count(links["n"]), _hash(links["hash"]), _hash(links["prev"]), dict(body), is_masked=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it is no masked record"


def _written(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it without loss of meaning."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if depth >= _MAX_DEPTH:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_plain(item, depth + 1) for item in items]
    return str(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(value)
    return value


def _hash(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= _HEX:
        raise ValueError(value)
    return value


# -- a row of records ----------------------------------------------------------------------------------------------------------


def verify(
    files: Iterable[tuple[str, Iterable[bytes]]], *, anchors: Iterable[tuple[int, str]] = (), is_export: bool = False
) -> Verdict:
    """Walk along a chain to its end, or to the first place where it is broken.

    Args:
        files: (name, lines with their newlines) in order.
        anchors: (number, hash) of heads told elsewhere; each must stand in the chain, unless it lies before its first record.
        is_export: it may begin with a later record than the first, and its records may be masked.
    """
    walk = _Walk(is_export, anchors)
    name = ""
    for name, lines in files:
        walk.begin(name)
        for line in lines:
            if (broken := walk.take(line)) is not None:
                return walk.verdict(broken)
    return walk.verdict(walk.finish(name))


class _Walk:
    """Where a walk along the chain stands."""

    def __init__(self, is_export: bool, anchors: Iterable[tuple[int, str]]) -> None:
        self._is_export = is_export
        self._opened = opened_export if is_export else opened
        self._anchors: dict[int, set[str]] = {}
        for number, told in anchors:
            self._anchors.setdefault(number, set()).add(told)
        self._file = ""
        self._line = 0
        self._damage = bytearray()
        self._damaged: Break | None = None
        self._open_end: Break | None = None  # an end without newline, fine only if nothing follows
        self._records = self._first = self._last = self._torn = self._missing = self._masked = self._agreed = 0
        self._head = GENESIS

    def begin(self, name: str) -> None:
        self._file, self._line = name, 0

    def take(self, line: bytes) -> Break | None:
        """One line; why the chain is broken there, if it is."""
        self._line += 1
        if self._open_end is not None:
            return self._open_end
        is_whole = line.endswith(b"\n")
        found = self._opened(line[:-1] if is_whole else line)
        if isinstance(found, str):
            if self._damaged is None:
                self._damaged = self._break(found, self._last + 1)
            self._damage += line
            return self._damaged if len(self._damage) > MAX_DAMAGE_BYTES else None
        if (broken := self._mended(found) or self._linked(found)) is not None:
            return broken
        if not is_whole:
            self._open_end = self._break("the newline behind it is missing", found.number)
        self._keep(found)
        return self._anchored(found)

    def finish(self, name: str) -> Break | None:
        if (one := self._damaged) is not None:
            why = f"{one.why}; with it the chain ends: a write that was cut short by a crash, or by hand"
            return Break(one.file, one.line, one.record, why, is_torn_end=True)
        beyond = max(self._anchors, default=0)
        if beyond > self._last:
            why = f"the chain ends at record {self._last}, but record {beyond} was told elsewhere: its end was cut off"
            return Break(name, self._line, beyond, why)
        return None

    def verdict(self, broken: Break | None) -> Verdict:
        return Verdict(
            self._records, self._first, self._last, self._head, self._torn, self._missing, self._masked, self._agreed, broken
        )

    def _mended(self, record: Record) -> Break | None:
        """Does this record tell of the damage before it, or is there none?"""
        told = record.body.get(TORN) if record.kind == TORN else None
        if self._damaged is None:
            if told is not None and not record.is_masked:
                return self._break("it tells of a write cut short before it, whose bytes are not there", record.number)
            return None
        region = bytes(self._damage)
        if told not in (torn_facts(region), torn_facts(region[:-1])):
            return self._damaged
        self._damaged = None
        self._damage.clear()
        return None

    def _linked(self, record: Record) -> Break | None:
        expected = self._last + 1
        if not self._records and self._is_export:
            return None
        if record.number > expected:
            gone = f"record {expected} is" if record.number == expected + 1 else f"records {expected} to {record.number - 1} are"
            return self._break(f"{gone} missing before it", record.number)
        if record.number < expected:
            return self._break(f"record {expected} should stand here: this one is repeated, added or moved", record.number)
        if record.prev != self._head:
            return self._break(
                f"it does not link to record {self._last} as that stands: one of the two was changed", record.number
            )
        return None

    def _keep(self, record: Record) -> None:
        if not self._records:
            self._first = record.number
        self._records += 1
        self._last, self._head = record.number, record.hash
        self._masked += record.is_masked
        self._torn += record.kind == TORN
        missing = record.body.get("missing")
        if record.kind == "gap" and isinstance(missing, int):
            self._missing += missing

    def _anchored(self, record: Record) -> Break | None:
        told = self._anchors.get(record.number)
        if told is None:
            return None
        if other := told - {record.hash}:
            why = f"its hash is not {min(other)[:12]}…, which was told elsewhere: the chain was written anew"
            return self._break(why, record.number)
        self._agreed += 1
        return None

    def _break(self, why: str, record: int | None) -> Break:
        return Break(self._file, self._line, record, why)


def torn_facts(region: bytes) -> dict[str, Any]:
    """What a `torn` record says of the bytes before it."""
    return {"bytes": len(region), "sha256": hashlib.sha256(region).hexdigest()}
