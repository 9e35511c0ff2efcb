"""Finding records of the audit, and telling heads from elsewhere: the log sink."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sipctl.errors import StoreError
from sipctl.store.audit_chain import Record, masked_line, opened
from sipctl.store.audit_log import day_files, lines_of, rfc3339

MAX_ROWS: Final = 1000
HEAD_EVENT: Final = "audit head"  # of the log line that tells one

Hide = Callable[[Mapping[str, Any]], dict[str, Any]]  # makes of a record's fields what its reader may see


@dataclass(frozen=True, slots=True)
class Query:
    """Which records are wanted; what is None is not asked for."""

    number: int | None = None
    after: int | None = None  # only later records
    group: str | None = None
    actor: str | None = None
    op: str | None = None  # or a kind
    since_unix_s: float | None = None
    until_unix_s: float | None = None

    def takes(self, record: Record) -> bool:
        body = record.body
        at = str(body.get("at", ""))  # all are written alike, so they sort as text
        return (
            (self.number is None or record.number == self.number)
            and (self.after is None or record.number > self.after)
            and (self.group is None or self.group in (body.get("groups") or ()))
            and (self.actor is None or self.actor == body.get("actor"))
            and (self.op is None or self.op in (body.get("op"), body.get("kind")))
            and (self.since_unix_s is None or at >= rfc3339(self.since_unix_s))
            and (self.until_unix_s is None or at < rfc3339(self.until_unix_s))
        )


def select(folder: Path, query: Query, limit: int, *, oldest_first: bool = False) -> list[tuple[Record, bytes]]:
    """The records that are wanted with their lines, at most `limit`.

    Raises: StoreError if the audit cannot be read.
    """
    found: list[tuple[Record, bytes]] = []
    try:
        for path in _days(folder, query, oldest_first):
            of_day = [one for one in _records(path) if query.takes(one[0])]
            found += of_day if oldest_first else reversed(of_day)
            if len(found) >= limit:
                break
    except OSError as error:
        raise StoreError(f"reading the audit: {error}", hint="STATE/audit belongs to the user sipctl runs as") from error
    return found[:limit]


def told_heads(state_dir: Path) -> list[tuple[int, str]]:
    """Heads of the audit that the log sink of this STATE was told; none if there is no log."""
    found: list[tuple[int, str]] = []
    for name in ("sipctl.jsonl.1", "sipctl.jsonl"):
        with suppress(OSError), (state_dir / "log" / name).open("rb") as file:
            for line in file:
                if HEAD_EVENT.encode() not in line:
                    continue
                with suppress(ValueError, KeyError, TypeError):
                    told = json.loads(line)
                    if told["event"] == HEAD_EVENT and len(told["hash"]) == 64:
                        found.append((int(told["record"]), str(told["hash"])))
    return found


def shown(record: Record, hide: Hide | None) -> dict[str, Any]:
    """A record as a reader may see it; None: whole."""
    body = dict(record.body) if hide is None else hide(record.body)
    return {**body, "n": record.number, "prev": record.prev, "hash": record.hash}


def exported(record: Record, line: bytes, hide: Hide | None) -> bytes:
    """A record's own line; or a masked one."""
    return line if hide is None else masked_line(record, hide(record.body))


def _days(folder: Path, query: Query, oldest_first: bool) -> Iterator[Path]:
    """The files that may hold wanted records, in the order they are to be read."""
    paths = day_files(folder)
    if query.after is not None:
        firsts = [_first_number(path) for path in paths]
        last = max((at for at, first in enumerate(firsts) if first is not None and first <= query.after + 1), default=0)
        paths = paths[last:]
    yield from paths if oldest_first else reversed(paths)


def _first_number(path: Path) -> int | None:
    return next((record.number for record, _ in _records(path)), None)


def _records(path: Path) -> Iterator[tuple[Record, bytes]]:
    for line in lines_of(path):
        record = opened(line.removesuffix(b"\n"))
        if isinstance(record, Record):
            yield record, line if line.endswith(b"\n") else line + b"\n"
