"""Every wish of an operator and what became of it: who, what, why, when; kept so that an operation id can be asked for later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sipctl.store.database import Database, translated

MAX_OPERATIONS: Final = 50_000  # the oldest go first


class Operation(msgspec.Struct, frozen=True):
    id: str
    op: str  # one of the controller's operations, or the desk's own: token-create, token-revoke
    args: Mapping[str, Any]
    actor: str
    reason: str
    at_unix_s: float
    status: str  # "running" | "accepted" | "done" | "refused" | "conflict" | "invalid" | "failed" | "lost"
    text: str = ""
    code: str = ""
    hint: str = ""
    body: Mapping[str, Any] = {}
    dry_run: bool = False
    force: tuple[str, ...] = ()
    ended_at_unix_s: float | None = None

    @property
    def is_over(self) -> bool:
        return self.ended_at_unix_s is not None


class OperationTable:
    """The operations of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, operation: Operation) -> None:
        with self._database.transaction(f"saving operation {operation.id}") as connection:
            connection.execute(
                "INSERT INTO operation (id, at_unix_s, body) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (operation.id, operation.at_unix_s, msgspec.msgpack.encode(operation)),
            )
            connection.execute(
                "DELETE FROM operation WHERE id IN (SELECT id FROM operation ORDER BY at_unix_s DESC, id LIMIT -1 OFFSET ?)",
                (MAX_OPERATIONS,),
            )

    def get(self, identifier: str) -> Operation | None:
        rows = self._database.rows("reading an operation", "SELECT body FROM operation WHERE id = ?", (identifier,))
        with translated("reading an operation"):
            return msgspec.msgpack.decode(rows[0][0], type=Operation) if rows else None

    def latest(self, limit: int) -> list[Operation]:
        rows = self._database.rows("reading operations", "SELECT body FROM operation ORDER BY at_unix_s DESC LIMIT ?", (limit,))
        with translated("reading operations"):
            return [msgspec.msgpack.decode(row[0], type=Operation) for row in rows]
