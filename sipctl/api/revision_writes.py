"""Writes of the plan itself: `apply` and `rollback`, each one command to the controller, which compiles and judges."""

from __future__ import annotations

from aiohttp import web

from sipctl.api import bodies
from sipctl.api.problems import Problem
from sipctl.api.writes import send


async def apply(request: web.Request) -> web.StreamResponse:
    """A new revision: compiled, tested, kept, then live; or refused with every finding, and nothing changes."""
    body = await bodies.read_body(request, bodies.Apply, bodies.MAX_PLAN_BYTES)
    args = {"base": body.base, "files": body.files, "commit": body.commit, "despite": body.despite, "again": body.again}
    return await send(request, "apply", args, body)


async def rollback(request: web.Request) -> web.StreamResponse:
    """The content of an older revision as a new one."""
    body = await bodies.read_body(request, bodies.Rollback)
    number = request.match_info["number"]
    if not number.isascii() or not number.isdigit() or len(number) > 12:
        raise Problem(400, "bad-request", "a revision is named by its number")
    args = {"revision": int(number), "base": body.base, "commit": body.commit, "again": body.again}
    return await send(request, "rollback", args, body)
