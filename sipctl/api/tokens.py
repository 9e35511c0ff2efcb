"""Tokens over the API: made, listed, revoked; the secret is shown once. And the first one of a new STATE."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from sipctl.api import bodies
from sipctl.api.context import STATE, principal
from sipctl.api.problems import Problem, json_answer
from sipctl.api.state import DeskState
from sipctl.errors import StoreError
from sipctl.store.operations import Operation
from sipctl.store.sqlite import SqliteStore
from sipctl.store.tokens import Token, find

ADMIN_FILE: Final = "admin.token"
MAX_SECRET_CHARACTERS: Final = 200


async def create(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    body = await bodies.read_body(request, bodies.NewToken)
    actor = principal(request).name
    if body.dry_run:
        return json_answer({"name": body.name, "role": body.role, "dry_run": True})
    secret = new_secret()
    token = await _stored(state, lambda: state.store.tokens.create(secret, body.name, body.role, actor, state.wall_s()))
    await state.load_tokens()
    _record(state, "token-create", {"name": body.name, "role": body.role}, actor, body.reason, f"token {body.name} was made")
    return json_answer({**_shown(token), "token": secret}, 201)


async def ls(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    found = await state.ask_store(state.store.tokens.every)
    return json_answer({"tokens": [_shown(token) for token in found]})


async def revoke(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    body = await bodies.read_body(request, bodies.Write)
    actor, name = principal(request).name, request.match_info["name"]
    if body.dry_run:
        return json_answer({"name": name, "dry_run": True})
    is_revoked = await _stored(state, lambda: state.store.tokens.revoke(name, state.wall_s()), revokes=name)
    if not is_revoked:
        await state.load_tokens()  # a revocation that was given up may have come to be: no 404 while its token is still let in
        raise Problem(404, "unknown-name", f"there is no active token {name}", hint="sipctl token ls")
    _record(state, "token-revoke", {"name": name}, actor, body.reason, f"token {name} was revoked")
    return json_answer({"name": name, "revoked": True})


def new_secret() -> str:
    return f"sipctl-{secrets.token_urlsafe(32)}"


def first_admin(store: SqliteStore, state_dir: Path, wall_s: float) -> str | None:
    """Make STATE/admin.token and its token on the first start of a STATE; return its name when one was made.

    The file is written first: a desk that dies between the two finds a file whose secret no token has, and adopts it. A file that
    an operator removed is not made again while any admin token is active.
    Raises: StoreError if file or store cannot be written.
    """
    path = state_dir / ADMIN_FILE
    active = store.tokens.active()
    secret = _read_secret(path)
    if secret is not None and find(active, secret) is not None:
        return None
    if secret is None and any(token.role == "admin" for _, token in active):
        return None
    if secret is None:
        secret = new_secret()
        _write_secret(path, secret)
    used = {token.name for token in store.tokens.every()}
    name = next(name for name in ("admin", *(f"admin-{n}" for n in range(2, 10_000))) if name not in used)
    store.tokens.create(secret, name, "admin", "first start", wall_s)
    return name


def _read_secret(path: Path) -> str | None:
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path.name} cannot be read: {error}", hint="it must belong to the user sipctl runs as") from error
    return text if 20 <= len(text) <= MAX_SECRET_CHARACTERS else None


def _write_secret(path: Path, secret: str) -> None:
    draft = path.with_suffix(".tmp")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{secret}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"{path.name} cannot be written: {error}", hint="is STATE writable and not full?") from error


def _shown(token: Token) -> dict[str, Any]:
    return {
        "name": token.name, "role": token.role, "at_unix_s": token.at_unix_s, "author": token.author,
        "revoked_at_unix_s": token.revoked_at_unix_s,
    }  # fmt: skip


async def _stored(state: DeskState, work: Any, revokes: str = "") -> Any:
    """A change whose refusals are the asker's fault (a name taken, the last admin), not the store's."""
    try:
        return await state.change_tokens(work, revokes=revokes)
    except Problem as problem:
        if isinstance(problem.__cause__, StoreError) and problem.__cause__.__cause__ is None:
            raise Problem(409, "conflict", problem.detail, hint=problem.hint) from problem
        raise


def _record(state: DeskState, op: str, args: dict[str, Any], actor: str, reason: str, text: str) -> None:
    now_s = state.wall_s()
    operation = Operation(
        id=f"op-{secrets.token_hex(5)}", op=op, args=args, actor=actor, reason=reason, at_unix_s=now_s, status="done", text=text,
        ended_at_unix_s=now_s,
    )  # fmt: skip
    state.record(msgspec.structs.replace(operation))
