"""The aiohttp application: the table of routes behind two gates, one turning failures into problems, one asking who it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from sipctl.api import plans
from sipctl.api.alerts import ALERTS, Alerts
from sipctl.api.audit import AUDIT, DeskAudit
from sipctl.api.bodies import check_string
from sipctl.api.context import LIVE_ROUTES, METRICS, PRINCIPAL, STATE
from sipctl.api.live_route import LiveRoutes
from sipctl.api.problems import Problem, answer
from sipctl.api.routes import PUBLIC, ROUTES, Route, allows
from sipctl.api.state import DeskState
from sipctl.telemetry.metrics import Metrics

MAX_TOKEN_CHARACTERS: Final = 200
MAX_HEADER_BYTES: Final = 8_190
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Log = structlog.typing.FilteringBoundLogger

LOG: Final = web.AppKey("log", object)
RULES: Final = web.AppKey("rules", dict)


def build_app(state: DeskState, metrics: Metrics, log: Log, audit: DeskAudit, alerts: Alerts) -> web.Application:
    """The application; it owns nothing that must be closed."""
    app = web.Application(middlewares=[_problems, _gate], client_max_size=1)  # bodies are read by bodies.read_body alone
    app[STATE] = state
    app[METRICS] = metrics
    app[LIVE_ROUTES] = LiveRoutes()
    app[LOG] = log
    plans.prepare(app)
    app[AUDIT] = audit
    app[ALERTS] = alerts
    app[RULES] = {(route.method, route.path): route for route in ROUTES}
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler)
    return app


def rule_of(request: web.Request) -> Route | None:
    """The line of the table that this request falls under."""
    resource = request.match_info.route.resource
    if resource is None:
        return None
    found = request.app[RULES].get((request.method, resource.canonical))
    assert found is None or isinstance(found, Route)
    return found


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: whatever happens inside leaves as an answer with a stable code, counted by its route."""
    try:
        response = await handler(request)
    except Problem as problem:
        headers = {"WWW-Authenticate": 'Bearer realm="sipctl"'} if problem.status == 401 else None
        if PRINCIPAL in request and request.method != "GET" and "operation" not in problem.more:  # else the controller records it
            request.app[AUDIT].denied(request[PRINCIPAL].name, request.method, request.path, problem)
        response = answer(problem, headers)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        response = answer(Problem(405, "method-not-allowed", f"{request.path} takes {allowed}"), {"Allow": allowed})
    except web.HTTPNotFound:
        response = answer(
            Problem(404, "not-found", "there is nothing at this path", hint="GET /v1/openapi.json lists every path")
        )
    except web.HTTPException as error:
        response = answer(Problem(error.status, "bad-request", error.reason))
    except ConnectionError:
        raise
    except Exception:
        log = request.app[LOG]
        log.exception("a request failed", method=request.method, path=request.path)  # type: ignore[attr-defined]
        response = answer(Problem(500, "internal", "something in sipctl is wrong; the log has more"))
    rule = rule_of(request)
    request.app[METRICS].count_request(rule.path if rule else "none", response.status)
    return response


@web.middleware
async def _gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who is it, and may they? Without a rule nobody may."""
    if request.match_info.http_exception is not None:
        return await handler(request)
    for value in request.match_info.values():
        check_string(value)
    rule = rule_of(request)
    if rule is None:
        raise Problem(403, "forbidden", "this route has no rule")
    if rule.role != PUBLIC:
        token = request.app[STATE].principal(_secret(request))
        if token is None:
            raise Problem(401, "unauthorized", "this token is not known", hint="sipctl token ls, or STATE/admin.token")
        request[PRINCIPAL] = token
        if not allows(token.role, rule.role):
            raise Problem(
                403, "forbidden", f"{token.name} is {token.role}; this needs {rule.role}", hint="ask an admin for a token"
            )
    return await handler(request)


def _secret(request: web.Request) -> str:
    values = request.headers.getall("Authorization", [])
    if len(values) != 1:
        raise Problem(401, "unauthorized", "no token was given", hint="Authorization: Bearer TOKEN")
    scheme, _, secret = values[0].partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or len(secret) > MAX_TOKEN_CHARACTERS:
        raise Problem(401, "unauthorized", "that is no bearer token", hint="Authorization: Bearer TOKEN")
    return secret
