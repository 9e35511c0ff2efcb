"""Operations that go on after every router has them: a drain, a ramp on the way back, a move spread over time.

What is followed stands in the World among what is pending, is a wish like any other (it survives the controller), and is judged
anew at every turn from what the World holds. So a controller that begins goes on with it, and nothing hangs on having seen a
change. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sipctl.control.safety import calls_of_node, calls_of_sbc, calls_of_tenant
from sipctl.failover.machine import State
from sipctl.failover.memory import Memory
from sipctl.routing.snapshot import Admin

if TYPE_CHECKING:
    from sipctl.control.world import World

SETTLED_S: Final = 1.0  # a router tells its calls twice a second: what it told this long after it took a drain counts

DRAIN: Final = "drain"
RAMP: Final = "ramp"
SPREAD: Final = "spread"


@dataclass(frozen=True, slots=True)
class Due:
    """One group of a spread move, still to come."""

    group: str
    kind: str  # failover | failback
    to: str
    now: bool


@dataclass(frozen=True, slots=True)
class Follow:
    """What an operation waits for, once every router has it."""

    kind: str  # DRAIN | RAMP | SPREAD
    what: str = ""  # of a drain: "sbc", "tenant" or "node"
    name: str = ""  # of what is drained
    before: int = 0  # its admin state before: what an abort goes back to
    after: int | None = None  # the admin state it was given; None: not kept, by an earlier release
    groups: tuple[str, ...] = ()  # of a ramp
    first: int | None = None  # calls at the beginning
    routers: int = 0  # connected when all had it: a drain is over only when as many say so
    queue: tuple[Due, ...] = ()  # of a spread move
    every_s: float = 0.0
    next_unix_s: float = 0.0
    force: tuple[str, ...] = ()
    role: str = ""
    actor: str = ""  # in whose name the rest of it is done
    reason: str = ""
    results: Mapping[str, str] = field(default_factory=dict)  # group → what became of it


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is."""

    text: str
    left: int | None = None  # calls, or groups; None: not known
    end: str = ""  # how it ended: "done" | "failed" | "aborted"; "": it goes on


def progress(world: World, follow: Follow, heard_after_s: float) -> Progress:
    """Judge one operation now.

    Args:
        heard_after_s: what routers told before this instant (monotonic) is not yet what came of it.
    """
    match follow.kind:
        case "drain":
            return _drain(world, follow, heard_after_s)
        case "ramp":
            return _ramp(world, follow)
    if follow.queue:
        return Progress(f"{len(follow.queue)} groups are still to come", len(follow.queue))
    refused = sum(1 for told in follow.results.values() if told.startswith("refused"))
    moved = len(follow.results) - refused
    if refused:
        return Progress(f"{moved} groups moved, {refused} were refused", 0, "failed")
    return Progress(f"all {moved} groups moved", 0, "done")


def _drain(world: World, follow: Follow, heard_after_s: float) -> Progress:
    if admin_of(world, follow) is Admin.ENABLED:
        return Progress(f"{_named(follow)} is enabled again", None, "aborted")
    left = calls_left(world, follow)
    routers = world.routers.values()
    fresh = all(router.observe is not None and router.heard_s >= heard_after_s for router in routers)
    fresh = fresh and len(routers) >= max(1, follow.routers)  # one that died may hold calls, which its successor takes over
    if left is None or not fresh:
        return Progress(f"{_named(follow)} takes no new calls; how many are up is not told yet", left)
    if left:
        return Progress(f"{_named(follow)} takes no new calls; {left} {'is' if left == 1 else 'are'} up", left)
    return Progress(f"{_named(follow)} is drained: no call is up", 0, "done")


def admin_of(world: World, follow: Follow) -> Admin:
    """The admin state that what is drained has now."""
    match follow.what:
        case "sbc":
            return world.sbc_admin.get(follow.name, Admin.ENABLED)
        case "tenant":
            return world.tenant_admin.get(follow.name, Admin.ENABLED)
    return world.node_admin


def calls_left(world: World, follow: Follow) -> int | None:
    """Calls up at what is drained; None if no router has told."""
    match follow.what:
        case "sbc":
            return calls_of_sbc(world, follow.name)
        case "tenant":
            return calls_of_tenant(world, follow.name)
    return calls_of_node(world)


def _named(follow: Follow) -> str:
    return "this node" if follow.what == "node" else follow.name


def _ramp(world: World, follow: Follow) -> Progress:
    memories = {name: world.groups.get(name, Memory()) for name in follow.groups}
    lost = sorted(
        name
        for name, memory in memories.items()
        if memory.state not in (State.RAMP.value, State.NORMAL.value, State.HOLD_OFF.value) or memory.held or memory.pinned
    )
    ramping = {name: memory.bcp_percent for name, memory in memories.items() if memory.state == State.RAMP.value}
    going = [name for name in ramping if name not in lost]
    if going:
        shares = ", ".join(f"{name} {100 - ramping[name]} %" for name in sorted(going)[:5])
        return Progress(f"on the way back to primary: {shares}", len(going))
    if lost:
        told = ", ".join(f"{name}: {memories[name].reason}" for name in lost[:3])
        return Progress(f"the way back ended early: {told}", 0, "failed")
    return Progress(f"all new calls of {', '.join(sorted(memories)[:5])} go to primary again", 0, "done")


def ramping(world: World, follow: Follow) -> tuple[str, ...]:
    """The groups of a ramp that are still on their way."""
    return tuple(name for name in follow.groups if world.groups.get(name, Memory()).state == State.RAMP.value)


def due(follow: Follow, unix_s: float) -> tuple[Due, ...]:
    """What of a spread move is to be done now: one group each `every_s`, after a pause of ours not all at once."""
    return follow.queue[:1] if follow.kind == SPREAD and follow.queue and follow.next_unix_s <= unix_s else ()


def after_due(follow: Follow, told: str, unix_s: float) -> Follow:
    """A spread move after its next group was moved, or refused."""
    group = follow.queue[0].group
    return replace(follow, queue=follow.queue[1:], next_unix_s=unix_s + follow.every_s, results={**follow.results, group: told})


def spread(dues: Iterable[Due], over_s: float, unix_s: float) -> tuple[Due, Follow]:
    """A move of several groups, evenly over a time: the first now, and the rest to be followed."""
    first, *rest = dues
    every_s = over_s / max(1, len(rest))
    return first, Follow(SPREAD, queue=tuple(rest), every_s=every_s, next_unix_s=unix_s + every_s, results={first.group: "moved"})


def written(follow: Follow | None) -> dict[str, Any]:
    return {} if follow is None else dict(msgspec.to_builtins(follow))
