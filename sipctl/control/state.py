"""Between a World and what is published, written, and read again after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from sipctl.control import alarm_states, approvals, canary_state
from sipctl.control.canary_turn import canary_of
from sipctl.control.overlays import adopted_from, published, read, written
from sipctl.control.ports import Wishes
from sipctl.control.world import Pending, World
from sipctl.failover.machine import State
from sipctl.failover.memory import BCP, PRIMARY, Memory, decision_of, other
from sipctl.failover.records import read_memory, written_memory
from sipctl.routing.snapshot import Admin, Decision, ResolvedSbc, Retired, RoutingState

# Fields of a World that the published state is made of, and those the wishes are made of: unchanged objects, unchanged result.
PUBLISHED_FROM: Final = (
    "term", "plan", "groups", "sbc_admin", "tenant_admin", "trunk_admin", "node_admin", "extra_sources", "overlays",
    "switches", "retired", "resolved", "names", "keys", "signing_key", "orders_taken", "doubtful",
    "canary",
)
WRITTEN_FROM: Final = (  # the plan among them, since an apply writes the wishes of the moment it began
    "term", "seq", "plan", "groups", "sbc_admin", "tenant_admin", "trunk_admin", "node_admin", "automation", "extra_sources",
    "overlays", "switches", "retired", "resolved", "orders_taken", "proposals", "glass", "pending", "acks",
    "canary", "canary_fell",
)
MEASURED_FROM: Final = ("plan", "edge", "sbcs", "sbc_admin")  # what tenants' states are made of


def unchanged(before: World, after: World, fields: tuple[str, ...]) -> bool:
    return all(getattr(before, name) is getattr(after, name) for name in fields)


def routing_state(world: World, seq: int) -> RoutingState:
    """What the routers are told, under this seq."""
    plan = world.plan
    assert plan is not None
    decisions = {group.name: decision_of(world.groups.get(group.name, Memory())) for group in plan.topology.groups}
    return RoutingState(
        term=world.term, seq=seq, revision=plan.revision, table=plan.table, decisions=decisions, sbc_admin=world.sbc_admin,
        tenant_admin=world.tenant_admin, trunk_admin=world.trunk_admin, node_admin=world.node_admin, resolved=world.resolved,
        extra_sources=world.extra_sources, retired=world.retired, keys=world.keys, signing_key=world.signing_key,
        names=world.names, overlays=published(world.overlays), switches=published(world.switches),
        orders_taken=world.orders_taken, doubtful=world.doubtful, canary=canary_of(world, plan),
    )


def same_content(one: RoutingState, two: RoutingState) -> bool:
    """Equal but for their seq?"""
    return replace(one, seq=0) == replace(two, seq=0)


def wishes_of(world: World) -> Wishes:
    """What must survive a restart."""
    return Wishes(
        groups={name: written_memory(memory) for name, memory in world.groups.items()},
        sbc_admin={name: int(state) for name, state in world.sbc_admin.items()},
        tenant_admin={name: int(state) for name, state in world.tenant_admin.items()},
        trunk_admin={name: int(state) for name, state in world.trunk_admin.items()},
        node_admin=int(world.node_admin),
        automation=world.automation,
        extra_sources=world.extra_sources,
        overlays={name: written(on) for name, on in world.overlays.items()},
        switches={name: written(on) for name, on in world.switches.items()},
        proposals=approvals.written(world.proposals),
        glass=approvals.written_glass(world.glass),
        acks=alarm_states.written(world.acks),
        pending=tuple(msgspec.to_builtins(one) for one in world.pending),
        canary=canary_state.written(None if world.canary is None else world.canary.wish, world.canary_fell),
        retired=tuple(msgspec.to_builtins(one) for one in world.retired),
        resolved={name: [msgspec.to_builtins(one) for one in answers] for name, answers in world.resolved.items()},
        orders_taken=world.orders_taken,
        term=world.term,
        seq=world.seq,
    )


def world_of(wishes: Wishes) -> World:
    """The world a restart begins with, before its routers and its plan are known.

    Raises: msgspec.ValidationError if the wishes are not ours.
    """
    return World(
        term=wishes.term,
        seq=wishes.seq,
        groups={name: read_memory(plain) for name, plain in wishes.groups.items()},
        sbc_admin=_admin(wishes.sbc_admin),
        tenant_admin=_admin(wishes.tenant_admin),
        trunk_admin=_admin(wishes.trunk_admin),
        node_admin=Admin(wishes.node_admin),
        automation=wishes.automation,
        extra_sources=wishes.extra_sources,
        overlays=read(wishes.overlays),
        switches=read(wishes.switches),
        proposals=approvals.read(wishes.proposals),
        glass=approvals.read_glass(wishes.glass),
        acks=alarm_states.read(wishes.acks),
        pending=tuple(resumed_pending(msgspec.convert(plain, Pending)) for plain in wishes.pending),
        orders_taken=wishes.orders_taken,
        canary_fell=canary_state.read_fell(wishes.canary),
        retired=tuple(msgspec.convert(plain, Retired) for plain in wishes.retired),
        resolved={name: _answers(plain) for name, plain in wishes.resolved.items()},
    )


def adopted(world: World, held: RoutingState) -> World:
    """Take over what a router holds if it is newer than what was written: it was published, so calls already follow it."""
    if (held.term, held.seq) <= (world.term, world.seq):
        return world
    groups = dict(world.groups)
    for name, decision in held.decisions.items():
        known = groups.get(name, Memory())
        if decision.epoch > known.epoch:
            groups[name] = memory_of(decision, known)
    return replace(
        world, term=held.term, seq=held.seq, groups=groups, sbc_admin=dict(held.sbc_admin), tenant_admin=dict(held.tenant_admin),
        trunk_admin=dict(held.trunk_admin), node_admin=held.node_admin, extra_sources=held.extra_sources, retired=held.retired,
        resolved=dict(held.resolved), names=dict(held.names), overlays=adopted_from(held.overlays, world.overlays),
        switches=adopted_from(held.switches, world.switches), orders_taken=max(world.orders_taken, held.orders_taken),
    )


def memory_of(decision: Decision, known: Memory) -> Memory:
    """The memory that stands for a decision of which only the publication is left."""
    percent = decision.bcp_percent
    state = State.NORMAL if percent == 0 else State.ON_BCP if percent == 100 else State.RAMP
    return replace(
        known, state=state.value, bcp_percent=percent, step=0, deadline_s=None,
        held=None if decision.left is None else other(decision.left),
        held_by="" if decision.left is None else known.held_by or "an operator",
        pinned=_side(percent, known.pinned or PRIMARY) if decision.pinned else None,
        frozen=None, frozen_s=None, epoch=decision.epoch, rule="adopted", reason=decision.reason,
    )


def _side(percent: int, else_: str) -> str:
    """The side that takes all new calls: what was told says it, not what was written of an older pin."""
    return BCP if percent == 100 else PRIMARY if percent == 0 else else_


def swapped(memory: Memory) -> Memory:
    """The memory of a group whose two tenants changed places in the plan: calls stay where they are."""
    place = {0: (State.ON_BCP, 100), 100: (State.NORMAL, 0)}.get(memory.bcp_percent)
    if place is None:
        return memory
    state, percent = place
    return replace(
        memory, state=state.value, bcp_percent=percent, deadline_s=None, epoch=memory.epoch + 1, rule="plan",
        held=None if memory.held is None else other(memory.held),
        pinned=None if memory.pinned is None else other(memory.pinned),
        reason="the plan exchanged the group's tenants; new calls stay where they were",
    )


def resumed_pending(one: Pending) -> Pending:
    """An operation that goes on under another controller: whether every router has it is found out anew."""
    return replace(one, since_s=0.0, missing=None, everywhere_s=None)


def _admin(plain: Mapping[str, int]) -> dict[str, Admin]:
    return {name: Admin(value) for name, value in plain.items()}


def _answers(plain: Any) -> tuple[ResolvedSbc, ...]:
    return tuple(msgspec.convert(one, ResolvedSbc) for one in plain)
