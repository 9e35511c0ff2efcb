"""Who may use the API: named tokens, of which only the SHA-256 is kept.

A token is 256 random bits, so a plain hash is enough and nothing here needs a slow one. A name is never given twice, not even
after its token was revoked: the history names operators by it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from sipctl.errors import StoreError
from sipctl.store.database import Database

ROLES: Final = ("viewer", "editor", "operator", "admin")  # each may do what those before it may
MAX_TOKENS: Final = 1_000  # active ones
MAX_NAME_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    name: str
    role: str
    at_unix_s: float
    author: str  # name of the token that made it
    revoked_at_unix_s: float | None = None


class TokenTable:
    """The tokens of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, secret: str, name: str, role: str, author: str, at_unix_s: float) -> Token:
        """Remember a token by its hash.

        Raises: StoreError for a name that was ever used, an unknown role, too many tokens, or a failed write.
        """
        if role not in ROLES:
            raise StoreError(f"no role {role!r}", hint=f"roles are {', '.join(ROLES)}")
        if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
            raise StoreError(f"{name!r} is no name for a token", hint=f"1 to {MAX_NAME_CHARACTERS} printable characters")
        with self._database.transaction(f"creating token {name}") as connection:
            if connection.execute("SELECT 1 FROM token WHERE name = ?", (name,)).fetchone():
                raise StoreError(
                    f"the name {name!r} was given before", hint="names are not reused: the history names operators by them"
                )
            active = connection.execute("SELECT count(*) FROM token WHERE revoked_at_unix_s IS NULL").fetchone()[0]
            if active >= MAX_TOKENS:
                raise StoreError(
                    f"{active} tokens are active, {MAX_TOKENS} is the most", hint="revoke what nobody uses: sipctl token ls"
                )
            cursor = connection.execute(
                "INSERT INTO token (name, role, hash, at_unix_s, author) VALUES (?, ?, ?, ?, ?)",
                (name, role, digest(secret), at_unix_s, author),
            )
            number = cursor.lastrowid
        assert number is not None
        return Token(number, name, role, at_unix_s, author)

    def revoke(self, name: str, at_unix_s: float) -> bool:
        """End a token at once; False if there is no active one of that name.

        Raises: StoreError when it is the last active admin: nobody could make another.
        """
        with self._database.transaction(f"revoking token {name}") as connection:
            row = connection.execute("SELECT role FROM token WHERE name = ? AND revoked_at_unix_s IS NULL", (name,)).fetchone()
            if row is None:
                return False
            if row[0] == "admin":
                others = connection.execute(
                    "SELECT count(*) FROM token WHERE role = 'admin' AND revoked_at_unix_s IS NULL AND name != ?", (name,)
                ).fetchone()[0]
                if not others:
                    raise StoreError(f"{name} is the last admin token", hint="create another admin token first")
            connection.execute("UPDATE token SET revoked_at_unix_s = ? WHERE name = ?", (at_unix_s, name))
        return True

    def every(self) -> list[Token]:
        """All tokens, revoked ones too."""
        rows = self._database.rows(
            "listing tokens", "SELECT id, name, role, at_unix_s, author, revoked_at_unix_s FROM token ORDER BY id"
        )
        return [Token(*row) for row in rows]

    def active(self) -> list[tuple[bytes, Token]]:
        """(SHA-256, token) of all that are valid now; the desk keeps them in memory and asks again after each change."""
        rows = self._database.rows(
            "reading tokens",
            "SELECT hash, id, name, role, at_unix_s, author FROM token WHERE revoked_at_unix_s IS NULL ORDER BY id",
        )
        return [(row[0], Token(*row[1:])) for row in rows]


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def find(tokens: list[tuple[bytes, Token]], secret: str) -> Token | None:
    """The token of that secret, compared in time that depends on neither; every entry is looked at."""
    wanted = digest(secret)
    found: Token | None = None
    for known, token in tokens:
        if hmac.compare_digest(known, wanted):
            found = token
    return found
