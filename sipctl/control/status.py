"""The whole picture for people: the body of `GET /v1/status` (FORMATS §3) and what else a reader may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sipctl.control import canary_turn, operations
from sipctl.control.alarm_states import shown as shown_alarm
from sipctl.control.groups import OPERATING_WORDS
from sipctl.control.nearby import hint
from sipctl.control.observed import shown_doubt, shown_of
from sipctl.control.overlay_scope import Scope, calls_of, find
from sipctl.control.overlays import FIELDS, rfc3339
from sipctl.control.ports import Observe, SbcObservation
from sipctl.control.safety import calls_of_sbc
from sipctl.control.world import RouterSeen, World
from sipctl.failover.memory import Memory
from sipctl.failover.tenants import Edge
from sipctl.routing.snapshot import Admin, Operating, Topology

_NOTHING: Final = Scope((), 0, "nothing: the live plan has none of that name")
ADMIN_WORDS = {Admin.ENABLED: "enabled", Admin.DRAINING: "draining", Admin.DISABLED: "disabled"}


def status(world: World, now_s: float) -> dict[str, Any]:
    """The status body; sections are empty while there is no plan."""
    topology = world.plan.topology if world.plan is not None else None
    routers = list(world.routers.values())
    observed = [router.observe for router in routers if router.observe is not None]
    heard_s = max((router.heard_s for router in routers if router.observe is not None), default=None)
    return {
        "revision": world.plan.revision if world.plan is not None else None,
        "canary": canary_turn.told(world, rfc3339),
        "folder_differs": world.folder_differs,
        "age_s": None if heard_s is None else round(max(0.0, now_s - heard_s), 1),
        "automation": "on" if world.automation else "paused",
        "break_glass": operations.shown_glass(world.glass),
        "node": {"name": topology.node if topology is not None else None, "admin": ADMIN_WORDS[world.node_admin]},
        "routers": [_router(router) for router in sorted(routers, key=lambda one: one.slot)],
        "slots": max((router.slots for router in routers), default=0),
        "groups": _groups(world, topology) if topology is not None else {},
        "sbcs": _sbcs(world, world.edge) if world.edge is not None else {},
        "trunks": _trunks(world, topology, observed) if topology is not None else {},
        "tenants": _tenants(world, topology, observed) if topology is not None else {},
        **{section: _switched(world, topology, kind) for kind, section in FIELDS.items() if topology is not None},
        "calls": {"active": sum(one.calls for one in observed)},
        "observations": {"judged": not world.watch.blind, "reason": world.watch.blind},
        "alarms": [
            shown_alarm(alarm, rfc3339) for alarm in sorted(world.alarms.values(), key=lambda one: (one.since_unix_s, one.id))
        ],
        "strangers": len({address for one in observed for address, _, _ in one.strangers}),
    }


def detail(world: World, now_s: float) -> dict[str, Any]:
    """Beside the status: numbers by group, probes, strangers, counters, extra and retired sources, DNS."""
    trunks = world.plan.topology.trunks if world.plan is not None else ()
    observed = [router.observe for router in world.routers.values() if router.observe is not None]
    counters: dict[str, int] = {}
    for one in observed:
        for name, count in one.counters.items():
            counters[name] = counters.get(name, 0) + count
    return {
        "cdr_days": world.plan.topology.cdr_days if world.plan is not None else None,
        "numbers": dict(world.plan.numbers) if world.plan is not None else {},
        "entry_points": _entry_points(world, observed),
        "probes": {name: _probe(seen, now_s) for name, seen in world.sbcs.items()},
        "strangers": [
            {"address": address, "packets": packets, "last_seen": rfc3339(last_unix_s), "near": hint(address, trunks)}
            for one in observed
            for address, packets, last_unix_s in one.strangers
        ],
        "counters": counters,
        "routers": [
            {
                **_router(router),
                "refused": router.refused or None,
                "loop_gap_s": router.observe.loop_gap_s if router.observe is not None else None,
            }
            for router in world.routers.values()
        ],
        "operations": operations.shown(world, now_s),
        "proposals": operations.shown_proposals(world.proposals),
        "extra_sources": [
            {"trunk": trunk, "network": network, "until": rfc3339(until_unix_s)}
            for trunk, network, until_unix_s in world.extra_sources
        ],
        "retired": [
            {"kind": one.kind, "name": one.name, "networks": list(one.networks), "until": rfc3339(one.until_unix_s)}
            for one in world.retired
        ],
        "resolved": {
            name: [f"{one.host}:{one.port};transport={one.transport}" for one in answers]
            for name, answers in world.resolved.items()
        },
        "term": world.term,
        "seq": world.seq,
    }


def _router(router: RouterSeen) -> dict[str, Any]:
    return {
        "name": router.name,
        "slot": router.slot,
        "pid": router.pid,
        "revision": router.revision,
        "term": router.term,
        "calls": router.observe.calls if router.observe is not None else 0,
        "seq": router.seq,
    }


def _groups(world: World, topology: Topology) -> dict[str, Any]:
    found = {}
    for group in topology.groups:
        memory = world.groups.get(group.name, Memory())
        found[group.name] = {
            "state": memory.state,
            "active": memory.active,
            "bcp_percent": memory.bcp_percent,
            "epoch": memory.epoch,
            "reason": memory.reason,
            "rule": memory.rule,
            "since": rfc3339(memory.since_unix_s) if memory.since_unix_s else None,
            "held": None if memory.held is None else {"to": memory.held, "by": memory.held_by},
            "pinned": memory.pinned,
            "latched": memory.latched or None,
            "frozen": memory.frozen,
            "primary": topology.tenants[group.primary].name,
            "bcp": topology.tenants[group.bcp].name,
        }
    return found


def _sbcs(world: World, edge: Edge) -> dict[str, Any]:
    found = {}
    for name in edge.tenants_of_sbc:
        seen = world.sbcs.get(name)
        found[name] = {
            "operating": OPERATING_WORDS[Operating(seen.operating)] if seen is not None else "unknown",
            "admin": ADMIN_WORDS[world.sbc_admin.get(name, Admin.ENABLED)],
            "resting_s": round(seen.resting_s, 1) if seen is not None else 0,
            "suspect": seen.suspect if seen is not None else False,
            "doubtful": shown_doubt(world.watch, name),
            "observed": shown_of(world.watch, "sbc", name),
            "calls": calls_of_sbc(world, name) or 0,
            "reason": seen.reason if seen is not None else "not measured yet",
        }
    return found


def _trunks(world: World, topology: Topology, observed: list[Observe]) -> dict[str, Any]:
    found = {}
    for trunk in topology.trunks:
        seen = [one.trunks[trunk.name] for one in observed if trunk.name in one.trunks]
        last = max((one.last_invite_unix_s for one in seen if one.last_invite_unix_s is not None), default=None)
        found[trunk.name] = {
            "calls": sum(one.calls for one in seen),
            "cps": sum(one.cps for one in seen),
            "last_invite": None if last is None else rfc3339(last),
            "observed": shown_of(world.watch, "trunk", trunk.name),
            "admin": ADMIN_WORDS[world.trunk_admin.get(trunk.name, Admin.ENABLED)],
        }
    return found


def _tenants(world: World, topology: Topology, observed: list[Observe]) -> dict[str, Any]:
    return {
        tenant.name: {
            "operating": OPERATING_WORDS[world.tenants.get(tenant.name, Operating.UNKNOWN)],
            "admin": ADMIN_WORDS[world.tenant_admin.get(tenant.name, Admin.ENABLED)],
            "calls": sum(one.tenants.get(tenant.name, 0) for one in observed),
            "observed": shown_of(world.watch, "tenant", tenant.name),
            "sbcs": list(world.edge.sbcs_of_tenant[index]) if world.edge is not None else [],
        }
        for index, tenant in enumerate(topology.tenants)
    }


def _switched(world: World, topology: Topology, kind: str) -> dict[str, Any]:
    """Overlays or kill switches: those of the plan, and any that is on without being in it."""
    ready, scopes, active = find(topology, kind), world.scopes.get(kind, {}), getattr(world, FIELDS[kind])
    observed = [router.observe for router in world.routers.values() if router.observe is not None]
    found: dict[str, Any] = {}
    for name in sorted({*ready, *active}):
        on = active.get(name)
        scope = scopes.get(name, _NOTHING)
        found[name] = {
            "state": "off" if on is None else "on",
            "until": rfc3339(on.until_unix_s) if on is not None and on.until_unix_s is not None else None,
            "until_unix_s": on.until_unix_s if on is not None else None,
            "since": rfc3339(on.since_unix_s) if on is not None and on.since_unix_s else None,
            "by": on.actor if on is not None else None,
            "reason": on.reason if on is not None else None,
            "what": scope.told,
            "entry_points": len(scope.entry_points),
            "numbers": scope.numbers,
            "calls": calls_of(topology, ready[name], scope.entry_points, observed) if on is not None and name in ready else 0,
        }
    return found


def _entry_points(world: World, observed: list[Observe]) -> Mapping[str, Any]:
    if world.plan is None:
        return {}
    topology = world.plan.topology
    return {
        entry.name: {
            "group": topology.groups[entry.group].name,
            "numbers": world.plan.numbers.get(entry.name, 0),
            "calls": sum(one.entry_points.get(entry.name, 0) for one in observed),
        }
        for entry in topology.entry_points
    }


def _probe(seen: SbcObservation, now_s: float) -> dict[str, Any]:
    return {
        "missed": seen.missed_probes,
        "rtt_ms": seen.probe_rtt_ms,
        "last_heard_age_s": None if seen.last_heard_s is None else round(max(0.0, now_s - seen.last_heard_s), 1),
        "since_age_s": round(max(0.0, now_s - seen.since_s), 1),
    }
