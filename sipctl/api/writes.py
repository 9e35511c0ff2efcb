"""Writes: each becomes one command to the controller and one operation to follow.

Nothing is decided here. A body is checked for form and for names the last view knows; rules of safety are the controller's. The
answer is 200 when it is done, 202 with the operation's id while routers still take it over, and a problem when it was refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from sipctl.api import bodies
from sipctl.api.context import STATE, principal
from sipctl.api.problems import Problem, json_answer
from sipctl.api.reads import known, section_of
from sipctl.store.operations import Operation

MAX_FORCED_RULES: Final = 20
MAX_RULE_CHARACTERS: Final = 64
STARTING: Final = "starting"  # the code of what a controller that begins did not do
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Body = TypeVar("Body", bound=bodies.Write)
# What an operation's end means in HTTP: status and problem code.
_PROBLEM_OF: Final[Mapping[str, tuple[int, str]]] = {
    "refused": (409, "refused"),
    "conflict": (409, "conflict"),
    "invalid": (422, "invalid"),
    "failed": (500, "failed"),
    "lost": (503, "lost"),
}


def _on(kind: str, op: str, body_kind: type[Body], args: Callable[[str, Body], Mapping[str, Any]]) -> Handler:
    """The handler of a write on one named thing of the plan: its name from the path, the rest from the body."""

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await bodies.read_body(request, body_kind)
        return await send(request, op, args(_named(request, kind), body), body)

    return handler


failover = _on("group", "failover", bodies.Failover, lambda name, body: {"groups": [name], "to": body.to})
failback = _on("group", "failback", bodies.Failback, lambda name, body: {"group": name, "now": body.now})
pin = _on("group", "pin", bodies.Pin, lambda name, body: {"group": name, "to": body.to})
unpin = _on("group", "unpin", bodies.Write, lambda name, _: {"group": name})
unlatch = _on("group", "unlatch", bodies.Write, lambda name, _: {"group": name})
sbc_admin = _on("sbc", "sbc-admin", bodies.Admin, lambda name, body: {"sbc": name, "state": body.state, "move": body.move})
sbc_probe = _on("sbc", "sbc-probe", bodies.Write, lambda name, _: {"sbc": name})
tenant_admin = _on(
    "tenant", "tenant-admin", bodies.Admin, lambda name, body: {"tenant": name, "state": body.state, "move": body.move}
)


async def failover_many(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.FailoverMany)
    return await send(request, "failover", {**_many(body), "to": body.to}, body)


async def failback_many(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.FailbackMany)
    return await send(request, "failback", {**_many(body), "now": body.now}, body)


def _many(body: bodies.FailoverMany | bodies.FailbackMany) -> dict[str, Any]:
    """Which groups, and how many at a time."""
    if (body.tenant is not None) == body.all:
        raise Problem(400, "bad-request", "say either tenant, a pattern, or all: true")
    args: dict[str, Any] = {"all": True} if body.all else {"tenant": body.tenant}
    if body.partial:
        args["partial"] = True
    if body.spread_s:
        args["spread_s"] = body.spread_s
    return args


async def break_glass(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.BreakGlass)
    return await send(request, "break-glass", {"state": body.state}, body)


def on_id(op: str) -> Handler:
    """A write on an operation or a proposal."""

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await bodies.read_body(request, bodies.Write)
        return await send(request, op, {"id": request.match_info["id"]}, body)

    return handler


async def automation(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.Automation)
    return await send(request, "automation", {"state": body.state}, body)


async def trunk_allow(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.Allow)
    cidr, until_unix_s = bodies.network_of(body.cidr), _future(request, body.until)
    return await send(request, "trunk-allow", {"trunk": _named(request, "trunk"), "cidr": cidr, "until": until_unix_s}, body)


async def trunk_admin(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.Admin)
    if body.move:
        raise Problem(400, "bad-request", "a trunk has nothing to move")
    return await send(request, "trunk-admin", {"trunk": _named(request, "trunk"), "state": body.state}, body)


def switch(kind: str, to: str) -> Handler:
    """An overlay or a kill switch, on or off."""

    async def on(request: web.Request) -> web.StreamResponse:
        body = await bodies.read_body(request, bodies.SwitchOn)
        until_unix_s = None if body.until is None else _future(request, body.until)
        return await send(request, f"{kind}-on", {kind: _named(request, kind), "until": until_unix_s}, body)

    return on if to == "on" else _on(kind, f"{kind}-off", bodies.Write, lambda name, _: {kind: name})


async def node_admin(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.Admin)
    if body.move or body.state == "disabled":
        raise Problem(400, "bad-request", "a node is enabled or draining; it has nothing to move")
    return await send(request, "node-admin", {"state": body.state}, body)


async def alarm_ack(request: web.Request) -> web.StreamResponse:
    body = await bodies.read_body(request, bodies.Write)
    return await send(request, "alarm-ack", {"id": request.match_info["id"]}, body)


async def send(request: web.Request, op: str, args: Mapping[str, Any], body: bodies.Write) -> web.StreamResponse:
    """Hand a wish over and answer with what became of it so far."""
    if len(body.force) > MAX_FORCED_RULES:
        raise Problem(400, "bad-request", f"{len(body.force)} rules to force, {MAX_FORCED_RULES} is the most")
    if (longest := max(map(len, body.force), default=0)) > MAX_RULE_CHARACTERS:
        raise Problem(400, "bad-request", f"no rule to force has {longest} characters, {MAX_RULE_CHARACTERS} is the most")
    operation = await request.app[STATE].command(
        op, args, principal(request), body.reason, dry_run=body.dry_run, force=tuple(body.force), break_glass=body.break_glass
    )
    return operation_answer(operation, await drain_forecast(request, op, args))


async def drain_forecast(request: web.Request, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """How long what is drained by this will take; empty for anything else."""
    what = op.removesuffix("-admin")
    if what not in ("sbc", "tenant", "node") or what == op or args.get("state") == "enabled":
        return {}
    return await request.app[STATE].forecast(what, args.get(what, ""))


def operation_answer(operation: Operation, forecast: Mapping[str, Any] | None = None) -> web.Response:
    """200 done, or proposed; 202 under way; raises the problem it ended with."""
    problem = _PROBLEM_OF.get(operation.status)
    if problem is not None:
        status, code = (503, STARTING) if operation.code == STARTING else problem
        raise Problem(
            status, code, operation.text, hint=operation.hint, rule=operation.code, operation=operation.id, body=operation.body
        )  # fmt: skip
    body = msgspec.to_builtins(operation)
    if forecast:
        body["forecast"] = forecast
    return json_answer(body, 200 if operation.is_over else 202)


def _named(request: web.Request, what: str) -> str:
    """The name in the path, known to the last view; without a view the controller will judge it."""
    name = request.match_info["name"]
    view = request.app[STATE].view
    entities = view.status.get(section_of(what)) if view is not None else None
    return name if entities is None else known(name, entities, what)


def _future(request: web.Request, until: str) -> float:
    """Unix seconds of a time that is still to come. Raises: Problem 400."""
    at_unix_s = bodies.instant_of(until)
    if at_unix_s <= request.app[STATE].wall_s():
        raise Problem(400, "bad-request", f"{until} has passed", hint="say until when it shall hold")
    return at_unix_s
