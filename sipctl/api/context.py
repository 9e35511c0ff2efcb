"""What handlers find in the application and in a request."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from sipctl.api.live_route import LiveRoutes
from sipctl.api.state import DeskState
from sipctl.store.tokens import Token
from sipctl.telemetry.metrics import Metrics

STATE: Final = web.AppKey("state", DeskState)
METRICS: Final = web.AppKey("metrics", Metrics)
LIVE_ROUTES: Final = web.AppKey("live_routes", LiveRoutes)
PRINCIPAL: Final = web.RequestKey("principal", Token)  # of a request: who asks


def principal(request: web.Request) -> Token:
    """Who asks; only on routes that are not public."""
    return request[PRINCIPAL]
