"""One SQLite file, opened carefully: whole or refused.

The controller and the desk open the same file, each with its own connection; WAL lets the one read while the other writes.
Every write is one transaction under `synchronous=FULL`: after a crash at any instant the file holds the state before it or the
state after it. What SQLite or the operating system raises is translated to `StoreError` here, once.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from sipctl.errors import StoreError

BUSY_TIMEOUT_MS: Final = 3_000  # how long a write waits for the other process' write

# Each entry is one step, never edited after a release; its version is its place, counted from 1.
MIGRATIONS: Final[tuple[tuple[str, str], ...]] = (
    (
        "first",
        """
        CREATE TABLE document (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE fence (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL);
        CREATE TABLE decision (
            n INTEGER PRIMARY KEY AUTOINCREMENT, group_name TEXT NOT NULL, epoch INTEGER NOT NULL, term INTEGER NOT NULL,
            at_unix_s REAL NOT NULL, body BLOB NOT NULL);
        CREATE INDEX decision_by_group ON decision (group_name, n);
        CREATE TABLE revision (
            number INTEGER PRIMARY KEY, at_unix_s REAL NOT NULL, author TEXT NOT NULL, reason TEXT NOT NULL, commit_id TEXT,
            base INTEGER, live_at_unix_s REAL);
        CREATE TABLE blob (hash BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE revision_file (
            number INTEGER NOT NULL REFERENCES revision (number), path TEXT NOT NULL, hash BLOB NOT NULL REFERENCES blob (hash),
            PRIMARY KEY (number, path)) WITHOUT ROWID;
        CREATE TABLE live (n INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL REFERENCES revision (number),
            at_unix_s REAL NOT NULL);
        CREATE TABLE entity (kind TEXT NOT NULL, name TEXT NOT NULL, id INTEGER NOT NULL,
            PRIMARY KEY (kind, name), UNIQUE (kind, id)) WITHOUT ROWID;
        CREATE TABLE signing_key (id INTEGER PRIMARY KEY, secret BLOB NOT NULL, at_unix_s REAL NOT NULL);
        CREATE TABLE token (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,
            at_unix_s REAL NOT NULL, author TEXT NOT NULL, revoked_at_unix_s REAL);
        CREATE TABLE operation (id TEXT PRIMARY KEY, at_unix_s REAL NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE INDEX operation_by_time ON operation (at_unix_s);
        """,
    ),
    (
        "what a revision is, beside its files",
        """
        ALTER TABLE revision ADD COLUMN content TEXT NOT NULL DEFAULT '';
        ALTER TABLE revision ADD COLUMN rollback_to INTEGER;
        ALTER TABLE revision ADD COLUMN facts BLOB;
        """,
    ),
)
SCHEMA_VERSION: Final = len(MIGRATIONS)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever goes wrong below into a `StoreError` that says what was being done."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise StoreError(f"{what}: {error}", hint="the store refuses to contradict itself; nothing was written") from error
    except sqlite3.Error as error:
        raise StoreError(f"{what}: {error}", hint=_hint(error)) from error
    except OSError as error:
        raise StoreError(f"{what}: {error}", hint="is the state directory there, writable and not full?") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{what}: a stored record is not readable: {error}", hint="was it written by a newer sipctl?") from error


class Database:
    """The open file. Safe to use from several threads: a lock lets one in at a time."""

    def __init__(self, path: Path, *, max_pages: int | None = None, read_only: bool = False) -> None:
        """Open or make the file, check that it is whole, bring its schema up to date.

        Args:
            max_pages: bound on the file's size in pages of 4 KiB; None: the disk's.
            read_only: for `status --local`: nothing is made, migrated or locked.
        Raises: StoreError when the file cannot be opened, is damaged, or was written by a newer sipctl.
        """
        self.path = path
        self._lock = threading.RLock()
        with translated(f"opening {path.name}"):
            if read_only:
                address = f"{path.absolute().as_uri()}?mode=ro"
                self._connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
                self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            with translated(f"opening {path.name}"):
                self._prepare(max_pages, read_only)
        except StoreError:
            self._connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self, what: str) -> Iterator[sqlite3.Connection]:
        """All of what is done inside, or nothing; on disk when it returns."""
        with self._lock, translated(what):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, what: str, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, translated(what):
            return self._connection.execute(sql, values).fetchall()

    def write_all(self, what: str, sql: str, values: Iterable[Sequence[Any]]) -> None:
        with self.transaction(what) as connection:
            connection.executemany(sql, values)

    def watch_statements(self, watcher: Any) -> None:
        """Call ``watcher(sql)`` before each statement; tests end the process there to prove that no crash leaves half a write."""
        self._connection.set_trace_callback(watcher)

    def _prepare(self, max_pages: int | None, read_only: bool) -> None:
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict is None or verdict[0] != "ok":
            raise sqlite3.DatabaseError(f"integrity check: {verdict and verdict[0]}")
        if read_only:
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {int(max_pages)}")
        self._migrate()

    def _migrate(self) -> None:
        with self.transaction("bringing the store's schema up to date") as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
                "at_unix_s REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0))"
            )
            found = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()[0]
            if found > SCHEMA_VERSION:
                raise StoreError(
                    f"the store has schema {found}, this sipctl knows {SCHEMA_VERSION}",
                    hint="it was written by a newer sipctl: run that one, or put back the copy made before the update",
                )
            for version, (name, script) in enumerate(MIGRATIONS[found:], start=found + 1):
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute("INSERT INTO migration (version, name) VALUES (?, ?)", (version, name))


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would end the transaction they are to share."""
    for part in script.split(";"):
        if part.strip():
            yield part


def _hint(error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text:
        return "free space where STATE is; routing goes on, and the write is tried again"
    if "readonly" in text or "unable to open" in text:
        return "STATE must be a directory that the user sipctl runs as may write"
    if "locked" in text:
        return "another process holds the file for long; is a backup tool at work on it?"
    if "malformed" in text or "integrity" in text or "not a database" in text:
        return "move sipctl.db* aside and start again: the routers keep their snapshot, and the folder seeds a new store"
    return "the write is tried again; routing goes on meanwhile"
