"""Reads: answered from the controller's last view or from the store, with or without a controller."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from sipctl.api.bodies import query_instant, query_int, query_number, query_text
from sipctl.api.context import LIVE_ROUTES, METRICS, STATE
from sipctl.api.problems import Problem, json_answer
from sipctl.control.ports import DecisionRecord, Revision

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_WAIT_S = 60
MAX_ROWS = 1_000


async def healthz(request: web.Request) -> web.StreamResponse:
    return json_answer({"alive": True})


async def readyz(request: web.Request) -> web.StreamResponse:
    """200 once every router holds a snapshot; the last view counts, so a dead controller changes nothing."""
    view = request.app[STATE].view
    routers = list(view.status.get("routers") or ()) if view is not None else []
    waiting = [str(router.get("name")) for router in routers if not router.get("revision")]
    if not routers:
        return json_answer({"ready": False, "text": "no router has been heard of yet"}, 503)
    if waiting:
        return json_answer({"ready": False, "text": f"without a snapshot: {', '.join(waiting)}"}, 503)
    missing = int((view.status.get("slots") if view is not None else 0) or 0) - len(routers)
    if missing > 0:
        return json_answer({"ready": False, "text": f"{missing} of {missing + len(routers)} routers have not been heard of"}, 503)
    return json_answer({"ready": True, "routers": len(routers)})


async def metrics(request: web.Request) -> web.StreamResponse:
    text = request.app[METRICS].text()
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def status(request: web.Request) -> web.StreamResponse:
    return json_answer(request.app[STATE].status())


async def alarms(request: web.Request) -> web.StreamResponse:
    return json_answer({"alarms": request.app[STATE].status().get("alarms") or []})


async def strangers(request: web.Request) -> web.StreamResponse:
    """Who sends packets without being in the plan: address, packets, last seen; most packets first."""
    view = request.app[STATE].seen()
    rows = [_stranger(entry) for entry in view.detail.get("strangers") or ()]
    rows.sort(key=lambda row: -row["packets"])
    return json_answer({"strangers": rows})


async def route(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    number = query_number(request, "number")
    if number is None:
        raise Problem(400, "bad-request", "number is missing", hint="/v1/route?number=%2B4930901820&trunk=carrier-one")
    trunk, caller = query_text(request, "trunk"), query_number(request, "from")
    at = query_instant(request, "at")
    when = state.wall_s() if at is None else at
    body = await asyncio.to_thread(request.app[LIVE_ROUTES].answer, state.seen(), number, trunk, caller, when, at is not None)
    return json_answer(body)


def section(kind: str) -> Handler:
    """What the status tells of all overlays, or of all kill switches: on or off, until when, by whom, what it touches."""

    async def read(request: web.Request) -> web.StreamResponse:
        return json_answer({section_of(kind): request.app[STATE].status().get(section_of(kind)) or {}})

    return read


def history(kind: str) -> Handler:
    """When an overlay or a kill switch went on and off, newest first; also of one that is in no plan any more."""

    async def read(request: web.Request) -> web.StreamResponse:
        limit = query_int(request, "limit", 50, 1, MAX_ROWS)
        found = await request.app[STATE].decisions(f"{kind} {request.match_info['name']}", limit)
        return json_answer({"decisions": [decision_body(record) for record in found]})

    return read


async def decisions(request: web.Request) -> web.StreamResponse:
    """A group's decisions, newest first; of all groups without a name."""
    state = request.app[STATE]
    name = request.match_info.get("name")
    if name is not None and state.view is not None:
        known(name, state.view.status.get("groups") or (), "group")
    found = await state.decisions(name, query_int(request, "limit", 50, 1, MAX_ROWS))
    return json_answer({"decisions": [decision_body(record) for record in found]})


async def revisions(request: web.Request) -> web.StreamResponse:
    found, live = await request.app[STATE].revisions(query_int(request, "limit", 50, 1, MAX_ROWS))
    return json_answer({"live": live, "revisions": [revision_body(revision) for revision in found]})


async def revision(request: web.Request) -> web.StreamResponse:
    """One revision with its files: what was applied, byte for byte."""
    state = request.app[STATE]
    number = request.match_info["number"]
    if not number.isascii() or not number.isdigit() or len(number) > 12:
        raise Problem(400, "bad-request", "a revision is named by its number")
    found = await state.ask_store(lambda: state.store.revision(int(number)))
    if found is None:
        raise Problem(404, "not-found", f"there is no revision {number}")
    files = {path: text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for path, text in found.files.items()}
    return json_answer({**revision_body(found), "files": files})


async def operations(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    limit = query_int(request, "limit", 50, 1, MAX_ROWS)
    found = await state.ask_store(lambda: state.store.operations.latest(limit))
    return json_answer({"operations": [msgspec.to_builtins(operation) for operation in found]})


async def operation(request: web.Request) -> web.StreamResponse:
    """What became of an operation; `wait` seconds for it to be over. One that goes on tells how far, and a drain how long."""
    state = request.app[STATE]
    wait_s = query_int(request, "wait", 0, 0, MAX_WAIT_S)
    found = await state.operation(request.match_info["id"], wait_s)
    body = msgspec.to_builtins(found)
    progress = state.progress(found.id) if not found.is_over else {}
    if progress:
        body["progress"] = progress
    if progress.get("going") == "drain":
        body["forecast"] = await state.forecast(str(progress.get("what")), str(progress.get("name")))
    return json_answer(body)


async def proposals(request: web.Request) -> web.StreamResponse:
    """Changes that wait for a second person, oldest first."""
    return json_answer({"proposals": list(request.app[STATE].seen().detail.get("proposals") or ())})


async def forecast(request: web.Request) -> web.StreamResponse:
    """How long the calls that are up at an SBC, a tenant or this node will last, by the calls that ended."""
    state = request.app[STATE]
    asked = {what: query_text(request, what) for what in ("sbc", "tenant")}
    named = {what: name for what, name in asked.items() if name is not None}
    if len(named) > 1:
        raise Problem(400, "bad-request", "say sbc or tenant, or neither for this node")
    what, name = next(iter(named.items()), ("node", ""))
    return json_answer({"what": what, "name": name, **await state.forecast(what, name)})


def section_of(kind: str) -> str:
    """Where things of a kind stand in the status."""
    return f"{kind}es" if kind.endswith("ch") else f"{kind}s"


def known(name: str, names: Iterable[str], what: str) -> str:
    """Raises: Problem 404 with the nearest names if the plan has no such one."""
    every = list(names)
    if name not in every:
        near = difflib.get_close_matches(name, every, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"{section_of(what)}: {', '.join(sorted(every)[:20]) or 'none'}"
        raise Problem(404, "unknown-name", f"there is no {what} {name}", hint=hint)
    return name


def decision_body(record: DecisionRecord) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(record)
    return body


def revision_body(revision: Revision) -> dict[str, Any]:
    return {
        "number": revision.number, "at_unix_s": revision.at_unix_s, "author": revision.author, "reason": revision.reason,
        "commit": revision.commit, "base": revision.base, "live_at_unix_s": revision.live_at_unix_s,
        "content": revision.content, "rollback_to": revision.rollback_to, "despite": list(revision.despite),
        "again": revision.again, "diff": list(revision.diff), "canary": revision.canary, "ended": revision.ended,
        "fell": revision.fell,
    }  # fmt: skip


def _stranger(entry: Any) -> dict[str, Any]:
    told = {"address": entry.get("address"), "packets": int(entry.get("packets") or 0), "last_seen": entry.get("last_seen")}
    return {**told, "near": entry.get("near")}
