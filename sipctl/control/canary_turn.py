"""A canary in the World: how it begins, what is published of it, when it falls, is ready, or is over. Pure.

It ends in one of four ways: **fell** (its calls reach fewer people: off with the publication that says so), **aborted** (by an
operator, or by a rollback), **promoted** (its revision is live), **lost** (a controller began and could not make it again).
Whatever it was the only one to have (sources, addresses) retires, since calls may be up there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sipctl.control.canary import judged, marked, seen_more, total, window
from sipctl.control.canary_state import Fell, Running, Seen, Wish, is_share, share_text
from sipctl.control.case import MAX_TEXT, No
from sipctl.control.plan_rules import carried
from sipctl.control.ports import Command, Observe
from sipctl.control.retire import retired_now
from sipctl.control.world import Plan, World
from sipctl.failover.memory import Memory, decision_of
from sipctl.routing.canary import with_sbc_ids
from sipctl.routing.snapshot import Canary, Operating, RoutingState

RETIRE_AGAIN_S: Final = 3600.0  # what only the canary has stays known for `max_call_age` after its end
ASK_AGAIN_S: Final = 30.0  # after a promotion that did not come about
NO_CANARY: Final = "no-canary"


@dataclass(frozen=True, slots=True)
class Ended:
    """A canary is over."""

    revision: int
    text: str  # one sentence, with figures
    fell: bool  # by itself: its content is refused from then on
    rule: str  # "fell" | "aborted" | "lost"
    actor: str = "canary"
    inputs: Mapping[str, Any] | None = None


def canary_of(world: World, plan: Plan) -> Canary | None:
    """What is published of it."""
    running = world.canary
    if running is None:
        return None
    groups = carried(world.groups, plan.topology, running.topology)
    known = {group.name for group in plan.topology.groups}
    decisions = {
        group.name: decision_of(groups.get(group.name, Memory())) for group in running.topology.groups if group.name not in known
    }
    return Canary(running.revision, running.table, running.wish.permille, running.wish.sbc_ids, decisions)


def begun(world: World, running: Running, unix_s: float) -> World:
    """A canary begins, or goes on after a restart."""
    return with_sources_kept(replace(world, canary=running, canary_seen=Seen(), canary_fell=None, canary_promoting=False), unix_s)


def with_sources_kept(world: World, unix_s: float) -> World:
    """Sources and addresses that only the canary has stay known as long as its calls may be up."""
    running, plan = world.canary, world.plan
    if running is None or plan is None:
        return world
    theirs = with_sbc_ids(running.topology, running.wish.sbc_ids)
    retired = retired_now(theirs, world.resolved, plan.topology, world.resolved, world.retired, unix_s)
    return replace(world, retired=retired, canary_retired_unix_s=unix_s)


def without(world: World, ended: Ended, unix_s: float) -> World:
    """It is over; what it had is known for a while yet."""
    world = with_sources_kept(world, unix_s)
    fell = Fell(ended.revision, ended.text, unix_s) if ended.fell else world.canary_fell
    return replace(world, canary=None, canary_seen=Seen(), canary_fell=fell, canary_promoting=False)


def heard(world: World, link: int, observe: Observe) -> World:
    """What one router saw of it."""
    running, router = world.canary, world.routers.get(link)
    if running is None or observe.canary is None:
        return world
    name = f"{observe.name}:{router.pid if router is not None else 0}"
    seen = seen_more(world.canary_seen, name, observe.canary, running.revision)
    return world if seen is world.canary_seen else replace(world, canary_seen=seen)


def ticked(world: World, unix_s: float) -> tuple[World, Ended | None, int | None]:
    """Judge it. Returns: the World; its end, if it falls; the revision that is due to be promoted now."""
    running = world.canary
    if running is None or world.canary_promoting:
        return world, None, None
    if unix_s - world.canary_retired_unix_s >= RETIRE_AGAIN_S:
        world = with_sources_kept(world, unix_s)
    seen = marked(world.canary_seen, unix_s, running.wish.since_unix_s)
    ratio = window(seen, unix_s)
    verdict = judged(ratio)
    if (seen.judged, seen.is_well) != (verdict.text, verdict.well):
        seen = replace(seen, judged=verdict.text, is_well=verdict.well)
    if verdict.fell:
        text = f"the canary of revision {running.revision} goes back by itself: {verdict.text}"
        inputs = {"canary": list(ratio.canary), "others": list(ratio.others), "permille": running.wish.permille}
        return replace(world, canary_seen=seen), Ended(running.revision, text, True, "fell", inputs=inputs), None
    due = None
    until = running.wish.until_unix_s
    is_time = seen.asked_unix_s is None or unix_s - seen.asked_unix_s >= ASK_AGAIN_S
    if until is not None and unix_s >= until and verdict.well and is_time:
        seen, due = replace(seen, asked_unix_s=unix_s), running.revision
    return (world if seen is world.canary_seen else replace(world, canary_seen=seen)), None, due


def ordered(world: World, command: Command) -> No | tuple[World, str, Mapping[str, Any]] | Ended:
    """`canary-grow` and `canary-abort`: what becomes of it, or why not.

    Returns: of a growth the World, the sentence and the operation's body.
    """
    if not command.reason.strip():
        return No("invalid", "reason-required", "a change needs a reason", "--reason TEXT")
    if len(command.reason) > MAX_TEXT:
        return No("invalid", "reason-too-long", f"a reason has at most {MAX_TEXT} characters")
    running = world.canary
    if running is None:
        return No("refused", NO_CANARY, "no canary runs", "sipctl apply --canary 5% begins one")
    if world.canary_promoting:
        text = f"revision {running.revision} is being made live for everybody at this moment"
        return No("conflict", "canary-promoting", text, "sipctl canary show; what is live already, sipctl rollback takes back")
    if command.op == "canary-abort":
        text = f"the canary of revision {running.revision} is aborted by {command.actor}: {command.reason}; {figures(world)}"
        return Ended(running.revision, text, False, "aborted", command.actor)
    permille = command.args.get("permille")
    if not is_share(permille):
        return No("invalid", "bad-argument", "a share is 0.1% to 99.9% of the callers", "all of them: sipctl canary promote")
    if permille < running.wish.permille:
        text = f"the canary has {share_text(running.wish.permille)} of the callers, and a share only grows"
        return No("refused", "share-shrinks", text, "sipctl canary abort ends it")
    wish = replace(running.wish, permille=permille)
    text = f"revision {running.revision} takes {share_text(permille)} of the callers"
    return replace(world, canary=replace(running, wish=wish)), text, {"canary": running.revision, "share": share_text(permille)}


def figures(world: World) -> str:
    """What has been seen of it so far, in half a sentence."""
    return world.canary_seen.judged or "it was not judged yet"


def resumed(wish: Wish | None, held: RoutingState | None) -> tuple[Wish | None, str]:
    """What a new controller goes on with, where a router holds more than the store knows (CALLS 4.6).

    Args:
        held: what routers hold, if it is newer than the store's word.
    Returns: the wish; and if there is none any more, why.
    """
    if wish is None or held is None:
        return wish, ""
    if held.revision == wish.revision:
        return None, ""  # promoted
    if held.canary is None or held.canary.revision != wish.revision:
        return None, f"the canary of revision {wish.revision} ended as its controller died; its figures were not kept"
    return replace(wish, permille=held.canary.permille), ""


def told(world: World, rfc3339: Any) -> dict[str, Any] | None:
    """For the status and `sipctl canary show`; None while none runs."""
    running = world.canary
    if running is None:
        return None
    wish, seen = running.wish, world.canary_seen
    whole = total(seen)
    words = ("answered", "busy", "failed", "cancelled")
    found: dict[str, Any] = {
        "revision": wish.revision,
        "share": share_text(wish.permille),
        "permille": wish.permille,
        "since": rfc3339(wish.since_unix_s),
        "until": None if wish.until_unix_s is None else rfc3339(wish.until_unix_s),
        "by": wish.actor,
        "reason": wish.reason,
        "judged": seen.judged or "not judged yet",
        "is_well": seen.is_well,
        "next": _next(world),
        "calls": dict(zip(words, whole.canary, strict=True)),
        "others": dict(zip(words, whole.others, strict=True)),
        "stuck": seen.stuck or None,
    }
    sbcs = {name: one for told in seen.routers.values() for name, one in told.sbcs.items()}
    found["sbcs"] = {name: Operating(one.operating).name.lower().replace("_", "-") for name, one in sorted(sbcs.items())}
    return found


def _next(world: World) -> str:
    assert world.canary is not None
    wish, seen = world.canary.wish, world.canary_seen
    if wish.until_unix_s is None:
        return "ready: sipctl canary promote" if seen.is_well else "it is not promoted by itself: sipctl canary promote"
    if seen.stuck:
        return f"it could not be promoted: {seen.stuck}; tried again, or sipctl canary abort"
    return "it is promoted when its time is over and enough calls were judged"


def due_alarms(world: World) -> dict[str, str]:
    """Alarms of canaries that stand."""
    due = {}
    if world.canary_fell is not None:
        due[f"canary-fell:{world.canary_fell.revision}"] = world.canary_fell.text
    if world.canary is not None and world.canary_seen.stuck:
        due["canary-stuck"] = f"revision {world.canary.revision} could not be promoted: {world.canary_seen.stuck}"
    return due
