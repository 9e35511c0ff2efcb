"""Writes of the plan itself: `apply`, `rollback`, of a canary; each one command to the controller, which compiles and judges."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sipctl.api import bodies
from sipctl.api.context import STATE
from sipctl.api.problems import Problem, json_answer
from sipctl.api.writes import send
from sipctl.control.canary_state import SHARE_HINT, permille_of


async def apply(request: web.Request) -> web.StreamResponse:
    """A new revision: compiled, tested, kept, then live; or refused with every finding, and nothing changes."""
    body = await bodies.read_body(request, bodies.Apply, bodies.MAX_PLAN_BYTES)
    args = {"base": body.base, "files": body.files, "commit": body.commit, "despite": body.despite, "again": body.again}
    return await send(request, "apply", {**args, **_canary_args(body)}, body)


async def canary(request: web.Request) -> web.StreamResponse:
    """The canary that runs: its share, what was seen of both sides, the judgement; null while none runs."""
    return json_answer({"canary": request.app[STATE].status().get("canary")})


async def canary_grow(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.CanaryGrow)
    return await send(request, "canary-grow", {"permille": _permille(body.share)}, body)


async def canary_promote(request: web.Request) -> web.StreamResponse:
    return await send(request, "canary-promote", {}, await bodies.read_body(request, bodies.Write))


async def canary_abort(request: web.Request) -> web.StreamResponse:
    return await send(request, "canary-abort", {}, await bodies.read_body(request, bodies.Write))


async def rollback(request: web.Request) -> web.StreamResponse:
    """The content of an older revision as a new one."""
    body = await bodies.read_body(request, bodies.Rollback)
    number = request.match_info["number"]
    if not number.isascii() or not number.isdigit() or len(number) > 12:
        raise Problem(400, "bad-request", "a revision is named by its number")
    args = {"revision": int(number), "base": body.base, "commit": body.commit, "again": body.again}
    return await send(request, "rollback", args, body)


def _canary_args(body: bodies.Apply) -> dict[str, Any]:
    """How a plan goes to a share of the callers first. Raises: Problem 400."""
    if body.canary is None:
        if body.canary_for_s is not None or body.canary_hold:
            raise Problem(400, "bad-request", "canary_for_s and canary_hold go with canary", hint='"canary": "5%"')
        return {}
    if body.canary_hold and body.canary_for_s is not None:
        raise Problem(400, "bad-request", "a canary runs for a time, or until an operator promotes it: not both")
    timed = {} if body.canary_for_s is None else {"canary_for_s": body.canary_for_s}
    return {"canary": _permille(body.canary), **({"canary_for_s": None} if body.canary_hold else timed)}


def _permille(share: str) -> int:
    permille = permille_of(share)
    if permille is None:
        raise Problem(400, "bad-request", f"{share} is no share of the callers", hint=SHARE_HINT)
    return permille
