"""Every route of the API and who may use it, in one table.

A route that is not in the table does not exist; a request whose route has no rule is refused. Roles are ordered: viewer, editor,
operator, admin; each may do what those before it may. `public` needs no token: those routes tell nothing of calls or callers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from sipctl.api import alerts, audit, bodies, events, observations, plans, reads, revision_writes, tokens, writes
from sipctl.api.problems import Problem
from sipctl.store.tokens import ROLES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PUBLIC: Final = "public"


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    role: str  # "public", or the least role
    summary: str
    handler: Handler
    body: type[msgspec.Struct] | None = None
    query: tuple[str, ...] = ()
    op: str = ""  # the controller's command it becomes (control/changes.py OP_ROLES); "": a read, or the desk's own


async def not_built(request: web.Request) -> web.StreamResponse:
    raise Problem(501, "not-built", f"{request.path} is not built yet", hint="CHANGELOG says what is")


async def openapi(request: web.Request) -> web.StreamResponse:
    """The description of this table."""
    from sipctl.api.openapi import document
    from sipctl.api.problems import json_answer

    return json_answer(document(ROUTES))


def allows(role: str, needed: str) -> bool:
    """Whether a token of ``role`` may use a route that needs ``needed``."""
    return needed == PUBLIC or ROLES.index(role) >= ROLES.index(needed)


def _switching(kind: str, section: str, title: str) -> tuple[Route, ...]:
    """What overlays and kill switches have alike."""
    one = f"/v1/{section}/{{name}}"
    return (
        Route("GET", f"/v1/{section}", "viewer", f"{title}: on or off, until when, by whom.", reads.section(kind)),
        Route("GET", f"{one}/decisions", "viewer", "When it went on and off.", reads.history(kind), query=("limit",)),
        Route("POST", f"{one}/on", "operator", "Switch it on.", writes.switch(kind, "on"), bodies.SwitchOn, op=f"{kind}-on"),
        Route("POST", f"{one}/off", "operator", "Switch it off.", writes.switch(kind, "off"), bodies.Write, op=f"{kind}-off"),
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/healthz", PUBLIC, "The desk is alive.", reads.healthz),
    Route("GET", "/readyz", PUBLIC, "Every router holds a snapshot.", reads.readyz),
    Route("GET", "/metrics", PUBLIC, "Metrics as Prometheus text.", reads.metrics),
    Route("GET", "/v1/openapi.json", PUBLIC, "This description.", openapi),
    Route("GET", "/v1/status", "viewer", "The whole picture.", reads.status),
    Route("GET", "/v1/alarms", "viewer", "Alarms that stand.", reads.alarms),
    Route(
        "POST",
        "/v1/alarms/{id}/ack",
        "operator",
        "Somebody looks after this alarm.",
        writes.alarm_ack,
        bodies.Write,
        op="alarm-ack",
    ),
    Route("GET", "/v1/strangers", "viewer", "Sources in no trunk and no pair.", reads.strangers),
    Route(
        "GET",
        "/v1/observations",
        "viewer",
        "What live calls show: ratios with their samples, delays, codes.",
        observations.observations,
        query=("kind", "name", "window"),
    ),
    Route("GET", "/v1/route", "viewer", "Where a call would go, and why.", reads.route, query=("number", "trunk", "from", "at")),
    Route("GET", "/v1/decisions", "viewer", "Decisions of all groups, newest first.", reads.decisions, query=("limit",)),
    Route("GET", "/v1/groups/{name}/decisions", "viewer", "Decisions of a group.", reads.decisions, query=("limit",)),
    Route("GET", "/v1/events", "viewer", "The running story as server-sent events.", events.events),
    Route("POST", "/v1/failover", "operator", "Move many groups.", writes.failover_many, bodies.FailoverMany, op="failover"),
    Route(
        "POST", "/v1/failback", "operator", "Let many groups return.", writes.failback_many, bodies.FailbackMany, op="failback"
    ),
    Route(
        "POST",
        "/v1/groups/{name}/failover",
        "operator",
        "Move a group and hold it.",
        writes.failover,
        bodies.Failover,
        op="failover",
    ),
    Route(
        "POST", "/v1/groups/{name}/failback", "operator", "Let a group return.", writes.failback, bodies.Failback, op="failback"
    ),
    Route("POST", "/v1/groups/{name}/pin", "operator", "Nothing automatic moves the group.", writes.pin, bodies.Pin, op="pin"),
    Route("POST", "/v1/groups/{name}/unpin", "operator", "Automation may move it again.", writes.unpin, bodies.Write, op="unpin"),
    Route(
        "POST", "/v1/groups/{name}/unlatch", "operator", "Failbacks may happen again.", writes.unlatch, bodies.Write, op="unlatch"
    ),
    Route(
        "POST", "/v1/automation", "operator", "Pause or resume automation.", writes.automation, bodies.Automation, op="automation"
    ),
    Route(
        "POST",
        "/v1/sbcs/{name}/admin",
        "operator",
        "Enable, drain or disable an SBC.",
        writes.sbc_admin,
        bodies.Admin,
        op="sbc-admin",
    ),
    Route("POST", "/v1/sbcs/{name}/probe", "operator", "Probe an SBC now.", writes.sbc_probe, bodies.Write, op="sbc-probe"),
    Route(
        "POST",
        "/v1/trunks/{name}/allow",
        "operator",
        "More addresses of a trunk for a time.",
        writes.trunk_allow,
        bodies.Allow,
        op="trunk-allow",
    ),
    Route(
        "POST",
        "/v1/trunks/{name}/admin",
        "operator",
        "Enable, drain or disable a trunk.",
        writes.trunk_admin,
        bodies.Admin,
        op="trunk-admin",
    ),
    Route(
        "POST",
        "/v1/tenants/{name}/admin",
        "operator",
        "Enable, drain or disable a tenant.",
        writes.tenant_admin,
        bodies.Admin,
        op="tenant-admin",
    ),
    Route(
        "POST", "/v1/node/admin", "operator", "Drain this node, or enable it.", writes.node_admin, bodies.Admin, op="node-admin"
    ),
    *_switching("overlay", "overlays", "Overlays"),
    *_switching("switch", "switches", "Kill switches"),
    Route("GET", "/v1/revisions", "viewer", "Revisions, newest first.", reads.revisions, query=("limit",)),
    Route("GET", "/v1/revisions/{number}", "viewer", "One revision with its files.", reads.revision),
    Route("POST", "/v1/revisions", "editor", "Apply a plan.", revision_writes.apply, bodies.Apply, op="apply"),
    Route(
        "POST",
        "/v1/revisions/{number}/rollback",
        "editor",
        "Make the content of an older revision live again.",
        revision_writes.rollback,
        bodies.Rollback,
        op="rollback",
    ),
    Route("GET", "/v1/canary", "viewer", "The revision that a share of the callers has first.", revision_writes.canary),
    Route(
        "POST",
        "/v1/canary/grow",
        "editor",
        "Give a canary a larger share.",
        revision_writes.canary_grow,
        bodies.CanaryGrow,
        op="canary-grow",
    ),
    Route(
        "POST", "/v1/canary/promote", "editor", "Make it live.", revision_writes.canary_promote, bodies.Write, op="canary-promote"
    ),
    Route("POST", "/v1/canary/abort", "editor", "End it.", revision_writes.canary_abort, bodies.Write, op="canary-abort"),
    Route("GET", "/v1/operations", "viewer", "Operations, newest first.", reads.operations, query=("limit",)),
    Route("GET", "/v1/operations/{id}", "viewer", "What became of an operation.", reads.operation, query=("wait",)),
    Route(
        "POST",
        "/v1/operations/{id}/abort",
        "operator",
        "End an operation that goes on, and undo of it what can be.",
        writes.on_id("op-abort"),
        bodies.Write,
        op="op-abort",
    ),
    Route("GET", "/v1/proposals", "viewer", "Changes that wait for a second person.", reads.proposals),
    Route(
        "POST",
        "/v1/proposals/{id}/approve",
        "operator",
        "Agree to what somebody else proposed: it is done.",
        writes.on_id("op-approve"),
        bodies.Write,
        op="op-approve",
    ),
    Route(
        "POST",
        "/v1/proposals/{id}/reject",
        "operator",
        "Nobody shall approve it any more.",
        writes.on_id("op-reject"),
        bodies.Write,
        op="op-reject",
    ),
    Route(
        "POST",
        "/v1/break-glass",
        "operator",
        "Break the glass for a time, or make it whole.",
        writes.break_glass,
        bodies.BreakGlass,
        op="break-glass",
    ),
    Route("GET", "/v1/forecast", "viewer", "How long calls that are up will last.", reads.forecast, query=("sbc", "tenant")),
    Route("GET", "/v1/tokens", "admin", "All tokens, without their secrets.", tokens.ls),
    Route("POST", "/v1/tokens", "admin", "Make a token.", tokens.create, bodies.NewToken),
    Route("POST", "/v1/tokens/{name}/revoke", "admin", "End a token.", tokens.revoke, bodies.Write),
    Route("GET", "/v1/diff", "viewer", "What becomes of calls from one revision to another.", plans.diff, query=("from", "to")),
    Route("GET", "/v1/calls", "viewer", "Not built yet: calls up.", not_built),
    Route("GET", "/v1/cdr", "viewer", "Not built yet: call records.", not_built),
    Route(
        "GET",
        "/v1/numbers",
        "viewer",
        "What numbers there are; or who has one, and by which line.",
        plans.numbers,
        query=("number", "revision", "entry_point", "group", "tenant", "prefix", "limit"),
    ),
    Route(
        "GET",
        "/v1/audit",
        "operator",
        "The audit, newest first; numbers masked unless an admin asks for full=1.",
        audit.read,
        query=("n", "after", "group", "actor", "op", "since", "until", "limit", "lines", "full"),
    ),
    Route("GET", "/v1/audit/verify", "operator", "Is the audit chain whole?", audit.verify),
    Route("GET", "/v1/alerts", "viewer", "Webhooks, and how they do.", alerts.ls),
    Route("POST", "/v1/alerts/{name}/test", "operator", "Send a test to a webhook, now.", alerts.test, bodies.Write),
    Route("POST", "/v1/replay", "viewer", "Call records of this STATE through two plans.", plans.replay, plans.Replay),
    Route("POST", "/v1/drills", "operator", "Not built yet: rehearsed failovers.", not_built),
)
