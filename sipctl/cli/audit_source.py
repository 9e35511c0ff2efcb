"""Where the commands of the audit get their records: from the API, or from STATE/audit itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sipctl.cli.client import Client
from sipctl.store.audit_query import MAX_ROWS, Query, exported, select, shown
from sipctl.telemetry.mask_record import masked_record


class Source(Protocol):
    """Records of one audit."""

    def newest(self, query: Query, limit: int, *, is_full: bool) -> list[dict[str, Any]]:
        """The records that are wanted, newest first."""

    def page(self, query: Query, limit: int, *, is_full: bool) -> list[tuple[int, bytes]]:
        """The numbers and lines of records that are wanted, oldest first."""


@dataclass(frozen=True, slots=True)
class Here:
    """STATE/audit, whether sipctl runs or not."""

    folder: Path

    def newest(self, query: Query, limit: int, *, is_full: bool) -> list[dict[str, Any]]:
        return [shown(record, None if is_full else masked_record) for record, _ in select(self.folder, query, limit)]

    def page(self, query: Query, limit: int, *, is_full: bool) -> list[tuple[int, bytes]]:
        found = select(self.folder, query, limit, oldest_first=True)
        return [(record.number, exported(record, line, None if is_full else masked_record)) for record, line in found]


@dataclass(frozen=True, slots=True)
class There:
    """An API."""

    client: Client

    def newest(self, query: Query, limit: int, *, is_full: bool) -> list[dict[str, Any]]:
        found = self.client.get("/v1/audit", {**_asked(query), "limit": limit, "full": int(is_full)})
        return list(found["records"])

    def page(self, query: Query, limit: int, *, is_full: bool) -> list[tuple[int, bytes]]:
        found = self.client.get("/v1/audit", {**_asked(query), "limit": limit, "full": int(is_full), "lines": 1})
        return [(int(number), str(line).encode("ascii")) for number, line in found["lines"]]


def every(source: Source, query: Query, *, is_full: bool) -> Iterator[bytes]:
    """The lines of all records that are wanted, oldest first.

    Bounds of time alone are turned into a row without gaps: processes that write at once may write a moment out of order.
    """
    last: int | None = None
    if query == Query(since_unix_s=query.since_unix_s, until_unix_s=query.until_unix_s):
        first = source.page(replace(query, until_unix_s=None), 1, is_full=False)
        newest = source.newest(replace(query, since_unix_s=None), 1, is_full=False)
        if not first or not newest:
            return
        query, last = Query(after=first[0][0] - 1), int(newest[0]["n"])
    while True:
        page = source.page(query, MAX_ROWS, is_full=is_full)
        for number, line in page:
            if last is not None and number > last:
                return
            yield line
        if len(page) < MAX_ROWS:
            return
        query = replace(query, after=page[-1][0])


def _asked(query: Query) -> dict[str, Any]:
    return {
        "n": query.number, "after": query.after, "group": query.group, "actor": query.actor, "op": query.op,
        "since": _rfc3339(query.since_unix_s), "until": _rfc3339(query.until_unix_s),
    }  # fmt: skip


def _rfc3339(unix_s: float | None) -> str | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC).isoformat()
