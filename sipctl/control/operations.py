"""Operations that are under way: who has taken them, how far they are, what ends them, and what of them is told.

An operation is *accepted* until every router carries its state, then it is *done*; or, if it waits for more (following.py), it
is *going* until that has come. All of it is judged from the World alone, at every turn, so a controller that begins goes on with
what its predecessor left. Pure: answers come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sipctl.control.approvals import Glass, Proposal
from sipctl.control.case import No
from sipctl.control.changes import check_again
from sipctl.control.following import SETTLED_S, SPREAD, after_due, due, progress
from sipctl.control.ports import Answer, Command
from sipctl.control.world import Pending, World
from sipctl.failover.memory import Order

PARTIAL_S: Final = 1.0  # a router that has not taken an operation for so long is named in its answer


def carried(world: World, term: int, seq: int) -> bool:
    """Does every router carry this state, or a later one?"""
    routers = world.routers.values()
    return bool(routers) and all((router.term, router.seq) >= (term, seq) for router in routers)


def judged(world: World, now_s: float) -> tuple[tuple[Pending, ...], tuple[Answer, ...]]:
    """What is pending after this turn, and what is told of it."""
    kept: list[Pending] = []
    told: list[Answer] = []
    for one in world.pending:
        after, answer = _judged(world, one, now_s)
        if after is not None:
            kept.append(after)
        if answer is not None:
            told.append(answer)
    pending = tuple(kept)
    return (world.pending if pending == world.pending else pending), tuple(told)


def _judged(world: World, one: Pending, now_s: float) -> tuple[Pending | None, Answer | None]:
    begins = one.everywhere_s is None
    if begins and not carried(world, one.term, one.seq):
        return _missed(world, one, now_s)
    if one.follow is None:
        return None, Answer(one.id, "done", one.text, body=one.body)
    if begins:
        follow = replace(one.follow, routers=len(world.routers))
        one = replace(one, everywhere_s=now_s, missing=None, follow=follow)
    assert one.everywhere_s is not None and one.follow is not None
    far = progress(world, one.follow, one.everywhere_s + SETTLED_S)
    results = {"results": dict(one.follow.results)} if one.follow.kind == SPREAD else {}
    if far.end:
        return None, Answer(one.id, far.end, f"{one.text}; {far.text}", body={**one.body, **results})
    if begins:
        return one, Answer(one.id, "going", f"{one.text}; {far.text}", body={**one.body, **results}, final=False)
    return one, None


def _missed(world: World, one: Pending, now_s: float) -> tuple[Pending, Answer | None]:
    """Who has not taken it for a while, whenever that changes: what is done in part is shown as done in part."""
    missing = tuple(
        f"{router.name} (refused: {router.refused})" if router.refused else router.name
        for router in world.routers.values() if (router.term, router.seq) < (one.term, one.seq)
    )  # fmt: skip
    if missing == one.missing or now_s - one.since_s < PARTIAL_S:
        return one, None
    text = f"{one.text}; not everywhere yet: " + (", ".join(missing) or "no router is connected")
    answer = Answer(one.id, "accepted", text, body={**one.body, "missing": list(missing)}, final=False)
    return replace(one, missing=missing), answer


def moved_on(
    world: World, unix_s: float, now_s: float
) -> tuple[tuple[Pending, ...], tuple[tuple[str, Order], ...], tuple[tuple[Command, str], ...]]:
    """Moves that are spread over time: what is due now.

    Each group is checked anew when its turn comes: the world may have changed since the command was given.
    Returns: what is pending then, the orders, and (command, sentence) of each for the story.
    """
    if not any(one.follow is not None and one.follow.kind == SPREAD and due(one.follow, unix_s) for one in world.pending):
        return world.pending, (), ()
    pending: list[Pending] = []
    orders: list[tuple[str, Order]] = []
    story: list[tuple[Command, str]] = []
    for one in world.pending:
        follow = one.follow
        for wanted in due(follow, unix_s) if follow is not None and follow.kind == SPREAD else ():
            assert follow is not None
            args = {"group": wanted.group, "to": wanted.to, "now": wanted.now}
            command = Command(one.id, wanted.kind, args, follow.actor, follow.reason, force=follow.force, role=follow.role)
            change = check_again(world, command, unix_s, now_s)
            if isinstance(change, No):
                told = f"refused ({change.code}): {change.text}"
            else:
                orders.extend(change.orders)
                told = "moved"
            story.append((command, f"{wanted.group} of {one.id}: {told}"))
            follow = after_due(follow, told, unix_s)
        pending.append(one if follow is one.follow else replace(one, follow=follow))
    return tuple(pending), tuple(orders), tuple(story)


def shown(world: World, now_s: float) -> list[dict[str, Any]]:
    """What is under way, for the view: how far each is, also between two answers."""
    found = []
    for one in world.pending:
        row: dict[str, Any] = {
            "id": one.id, "op": one.op, "actor": one.actor, "text": one.text, "term": one.term, "seq": one.seq,
            "since_unix_s": one.at_unix_s, "missing": list(one.missing or ()),
        }  # fmt: skip
        if one.follow is not None and one.everywhere_s is not None:
            far = progress(world, one.follow, one.everywhere_s + SETTLED_S)
            row |= {"going": one.follow.kind, "progress": far.text, "left": far.left, "first": one.follow.first}
            row |= {"what": one.follow.what, "name": one.follow.name}
        found.append(row)
    return found


def shown_proposals(proposals: Mapping[str, Proposal]) -> list[dict[str, Any]]:
    """What waits for a second person, for people; oldest first."""
    return [
        {
            "id": one.id, "op": one.op, "text": one.text, "why": one.why, "by": list(one.by), "actor": one.actor,
            "reason": one.reason, "force": list(one.force), "at_unix_s": one.at_unix_s, "until_unix_s": one.until_unix_s,
            "body": dict(one.body),
        }
        for one in sorted(proposals.values(), key=lambda one: (one.at_unix_s, one.id))
    ]  # fmt: skip


def shown_glass(glass: Glass | None) -> dict[str, Any] | None:
    """The broken glass, for the banner; None while it is whole."""
    if glass is None:
        return None
    return {"by": glass.actor, "reason": glass.reason, "since_unix_s": glass.since_unix_s, "until_unix_s": glass.until_unix_s}
