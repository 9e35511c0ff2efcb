"""The embedded store: what the controller must remember, behind `control.ports.Store`.

Revisions, decisions, the operators' wishes, the ids of entities, the signing keys and the fencing term; beside them the desk's
tokens and operations. Texts of a plan are kept once per content, compressed: a revision that changes one file of a thousand
costs one file. Ids and revision numbers are never given twice: what contradicts that is refused, whoever asks.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from sipctl.control.ports import DecisionRecord, Revision, Wishes
from sipctl.errors import StoreError
from sipctl.store.database import Database, translated
from sipctl.store.operations import OperationTable
from sipctl.store.tokens import TokenTable

MAX_DECISIONS: Final = 100_000  # the oldest go first
MAX_KEYS: Final = 256  # key ids are one octet

_NOTHING: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({})
_SAVE_WISHES: Final = (
    "INSERT INTO document (name, body) VALUES ('wishes', ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body"
)
_REVISION_COLUMNS: Final = "number, at_unix_s, author, reason, commit_id, base, live_at_unix_s, content, rollback_to, facts"


class SqliteStore:
    """One open store. Every method blocks until the disk has it, and raises StoreError when it has not."""

    def __init__(self, path: Path, *, max_pages: int | None = None, read_only: bool = False) -> None:
        self.database = Database(path, max_pages=max_pages, read_only=read_only)
        self.tokens = TokenTable(self.database)
        self.operations = OperationTable(self.database)

    def close(self) -> None:
        self.database.close()

    # -- wishes and the fence ----------------------------------------------------------------------------------------------

    def load_wishes(self) -> Wishes:
        """The wishes saved last, or none. What stands in them as `Any` comes back as plain dicts, lists and scalars."""
        rows = self.database.rows("reading wishes", "SELECT body FROM document WHERE name = 'wishes'")
        with translated("reading wishes"):
            return msgspec.msgpack.decode(rows[0][0], type=Wishes) if rows else Wishes()

    def save_wishes(self, wishes: Wishes) -> None:
        with self.database.transaction("saving wishes") as connection:
            connection.execute(_SAVE_WISHES, (msgspec.msgpack.encode(wishes),))

    def take_term(self, at_least: int) -> int:
        """A term above both ``at_least`` and every term taken before; taken, it is never given again (CALLS 4.6)."""
        with self.database.transaction("taking a term") as connection:
            row = connection.execute("SELECT term FROM fence WHERE one = 1").fetchone()
            term = max(row[0] if row else 0, at_least) + 1
            connection.execute(
                "INSERT INTO fence (one, term) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET term = excluded.term", (term,)
            )
        return int(term)

    # -- decisions ---------------------------------------------------------------------------------------------------------

    def append_decision(self, record: DecisionRecord) -> None:
        with self.database.transaction("recording a decision") as connection:
            cursor = connection.execute(
                "INSERT INTO decision (group_name, epoch, term, at_unix_s, body) VALUES (?, ?, ?, ?, ?)",
                (record.group, record.epoch, record.term, record.at_unix_s, msgspec.msgpack.encode(record)),
            )
            connection.execute("DELETE FROM decision WHERE n <= ?", ((cursor.lastrowid or 0) - MAX_DECISIONS,))

    def decisions(self, group: str | None, limit: int) -> list[DecisionRecord]:
        """The latest decisions of one group, or of all, newest first."""
        where = "" if group is None else "WHERE group_name = ?"
        values: tuple[object, ...] = (limit,) if group is None else (group, limit)
        rows = self.database.rows("reading decisions", f"SELECT body FROM decision {where} ORDER BY n DESC LIMIT ?", values)
        with translated("reading decisions"):
            return [msgspec.msgpack.decode(row[0], type=DecisionRecord) for row in rows]

    # -- revisions ---------------------------------------------------------------------------------------------------------

    def add_revision(self, revision: Revision) -> None:
        """Keep a revision whole.

        Raises: StoreError if its number is not above every number given before, or it cannot be written.
        """
        packed = {path: _pack(text) for path, text in revision.files.items()}  # before the lock: it may take a second
        with self.database.transaction(f"saving revision {revision.number}") as connection:
            newest = connection.execute("SELECT coalesce(max(number), 0) FROM revision").fetchone()[0]
            if revision.number <= newest:
                raise StoreError(f"revision {revision.number} is not above {newest}", hint="revision numbers are given once")
            connection.execute(
                f"INSERT INTO revision ({_REVISION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (revision.number, revision.at_unix_s, revision.author, revision.reason, revision.commit, revision.base,
                 revision.live_at_unix_s, revision.content, revision.rollback_to, _facts(revision)),
            )  # fmt: skip
            connection.executemany("INSERT OR IGNORE INTO blob (hash, body) VALUES (?, ?)", packed.values())
            connection.executemany(
                "INSERT INTO revision_file (number, path, hash) VALUES (?, ?, ?)",
                [(revision.number, path, key) for path, (key, _) in packed.items()],
            )

    def end_canary(self, number: int, text: str, fell: bool) -> None:
        """Say why a revision's canary ended without its becoming live; of one that is not there nothing is said."""
        with self.database.transaction(f"ending the canary of revision {number}") as connection:
            rows = connection.execute(f"SELECT {_REVISION_COLUMNS} FROM revision WHERE number = ?", (number,)).fetchall()
            for row in rows:
                ended = msgspec.structs.replace(_revision(row, {}), ended=text, fell=fell)
                connection.execute("UPDATE revision SET facts = ? WHERE number = ?", (_facts(ended), number))

    def revision(self, number: int) -> Revision | None:
        """One revision with all its files."""
        what = "reading a revision"
        rows = self.database.rows(what, f"SELECT {_REVISION_COLUMNS} FROM revision WHERE number = ?", (number,))
        if not rows:
            return None
        files = self.database.rows(
            what, "SELECT path, body FROM revision_file JOIN blob USING (hash) WHERE number = ? ORDER BY path", (number,)
        )
        return _revision(rows[0], {path: _unpack(body) for path, body in files})

    def revisions(self, limit: int) -> list[Revision]:
        """The latest revisions, newest first, **without** their files (a plan may have 64 MiB of them)."""
        rows = self.database.rows(
            "listing revisions", f"SELECT {_REVISION_COLUMNS} FROM revision ORDER BY number DESC LIMIT ?", (limit,)
        )
        return [_revision(row, {}) for row in rows]

    def live_revision(self) -> Revision | None:
        """The revision made live last, with its files; None before the first."""
        number = self.live_number()
        return None if number is None else self.revision(number)

    def live_number(self) -> int | None:
        rows = self.database.rows("reading the live revision", "SELECT number FROM live ORDER BY n DESC LIMIT 1")
        return rows[0][0] if rows else None

    def set_live(
        self, number: int, at_unix_s: float, wishes: Wishes | None = None, renamed: Mapping[str, Mapping[str, str]] = _NOTHING
    ) -> None:
        """Say that a revision carries the calls from now on, and in the same breath what its start must know.

        Args:
            renamed: kind → new name → old name, of entities that go on under another name with the id they had.
        """
        with self.database.transaction(f"making revision {number} live") as connection:
            known = connection.execute("UPDATE revision SET live_at_unix_s = ? WHERE number = ?", (at_unix_s, number)).rowcount
            if not known:
                raise StoreError(f"there is no revision {number}", hint="sipctl revisions")
            connection.execute("INSERT INTO live (number, at_unix_s) VALUES (?, ?)", (number, at_unix_s))
            for kind, names in renamed.items():
                rows = [(new, kind, old) for new, old in names.items()]
                connection.executemany("UPDATE entity SET name = ? WHERE kind = ? AND name = ?", rows)
            if wishes is not None:
                connection.execute(_SAVE_WISHES, (msgspec.msgpack.encode(wishes),))

    # -- ids and keys ------------------------------------------------------------------------------------------------------

    def ids(self) -> dict[str, dict[str, int]]:
        """kind → name → id, of everything that ever had one."""
        found: dict[str, dict[str, int]] = {}
        for kind, name, number in self.database.rows("reading ids", "SELECT kind, name, id FROM entity ORDER BY kind, id"):
            found.setdefault(kind, {})[name] = number
        return found

    def save_ids(self, ids: Mapping[str, Mapping[str, int]]) -> None:
        """Add new ids. Names that are missing keep theirs: ids outlive the plan that named them.

        Raises: StoreError if a name would change its id, or an id its name.
        """
        with self.database.transaction("saving ids") as connection:
            for kind, names in ids.items():
                known = dict(connection.execute("SELECT name, id FROM entity WHERE kind = ?", (kind,)).fetchall())
                for name, number in names.items():
                    if known.get(name, number) != number:
                        raise StoreError(f"{kind} {name} has id {known[name]}, not {number}", hint="ids are never reused")
                connection.executemany(
                    "INSERT INTO entity (kind, name, id) VALUES (?, ?, ?)",
                    [(kind, name, number) for name, number in names.items() if name not in known],
                )

    def keys(self) -> list[tuple[int, bytes, float]]:
        """(id, secret, made at) of the signing keys, oldest first."""
        rows = self.database.rows("reading keys", "SELECT id, secret, at_unix_s FROM signing_key ORDER BY at_unix_s, id")
        return [(row[0], row[1], row[2]) for row in rows]

    def save_key(self, key_id: int, secret: bytes, at_unix_s: float) -> None:
        """Keep a key; an id that comes round again replaces the key it named long ago."""
        assert 0 <= key_id < MAX_KEYS
        with self.database.transaction("saving a key") as connection:
            connection.execute(
                "INSERT INTO signing_key (id, secret, at_unix_s) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, at_unix_s = excluded.at_unix_s",
                (key_id, secret, at_unix_s),
            )


def _pack(text: str) -> tuple[bytes, bytes]:
    raw = text.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(raw, digest_size=32).digest(), zlib.compress(raw, 6)


def _unpack(body: bytes) -> str:
    try:
        return zlib.decompress(body).decode("utf-8", "surrogateescape")
    except zlib.error as error:
        raise StoreError(
            f"a file of a revision is damaged: {error}", hint="apply the folder again: it makes a new revision"
        ) from error


def _facts(revision: Revision) -> bytes:
    """What is only ever read together with its revision."""
    names = ("despite", "again", "diff", "canary", "ended", "fell")
    return msgspec.msgpack.encode({name: getattr(revision, name) for name in names})


def _revision(row: tuple[Any, ...], files: Mapping[str, str]) -> Revision:
    number, at_unix_s, author, reason, commit, base, live_at_unix_s, content, rollback_to, facts = row
    with translated(f"reading revision {number}"):
        told = {} if facts is None else msgspec.msgpack.decode(facts)
    return msgspec.convert(
        {
            "number": number, "at_unix_s": at_unix_s, "author": author, "reason": reason, "commit": commit, "base": base,
            "files": files, "live_at_unix_s": live_at_unix_s, "content": content, "rollback_to": rollback_to, **told,
        },
        Revision,
    )  # fmt: skip
