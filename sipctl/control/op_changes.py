"""Commands about operations themselves: abort, approve, reject, and breaking the glass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from sipctl.control import following
from sipctl.control.approvals import MAX_PROPOSALS, Glass, Need, Proposal, may_approve, proposal_id, stale_base
from sipctl.control.case import Case, Change, No, Stopped
from sipctl.control.following import DRAIN, RAMP, SPREAD
from sipctl.control.ports import Command
from sipctl.control.world import Pending, World
from sipctl.failover.memory import BCP, Memory, Order
from sipctl.routing.snapshot import Admin

_WORDS: Final[Mapping[Admin, str]] = {Admin.ENABLED: "enabled", Admin.DRAINING: "draining", Admin.DISABLED: "disabled"}

Check = Callable[[Case], Change | No]


# -- aborting ----------------------------------------------------------------------------------------------------------------


def abort(case: Case) -> Change:
    """End an operation that goes on, and take back of it what can be."""
    name = case.text("id")
    found = next((one for one in case.world.pending if one.id == name), None)
    if found is None:
        raise Stopped(No("refused", "operation-over", f"there is no operation {name} that goes on", "sipctl op ls"))
    follow = found.follow
    if follow is None:
        text = f"{name}: {found.text}: that is published already and stays; only its waiting ends"
        return Change(text, ended=((name, "aborted", text),), status="done", body={"undone": [], "stays": [found.text]})
    match follow.kind:
        case following.DRAIN:
            return _abort_drain(case, found, follow)
        case following.RAMP:
            return _abort_ramp(case, found, follow)
    assert follow.kind == SPREAD, follow.kind
    moved = [group for group, told in follow.results.items() if not told.startswith("refused")]
    left = [due.group for due in follow.queue]
    text = f"{name} is aborted: {len(left)} groups are not moved; {len(moved)} were and stay"
    return Change(text, ended=((name, "aborted", text),), status="done", body={"undone": left, "stays": moved})


def _abort_drain(case: Case, found: Pending, follow: following.Follow) -> Change:
    """Its admin state is what it was before; but what somebody else has set since is his, and stays."""
    before, now = Admin(follow.before), following.admin_of(case.world, follow)
    told = "this node" if follow.what == "node" else follow.name
    if later := _later_drain(case, found, follow):
        text = f"{told} is {_WORDS[now]} by {later.actor} since ({later.id}); to abort {found.id} would take that back as well"
        raise Stopped(No("refused", "superseded", text, f"sipctl op abort {later.id} first, or set the state you want"))
    moved = list(found.body.get("groups") or ())
    stays = [f"{group} stays where it was moved to, and is held there" for group in moved]
    if follow.after is not None and now is not Admin(follow.after):
        kept = f"{told} is {_WORDS[now]}, as it was set since, and stays so"
        text = f"{found.id} is aborted: {kept}" + "".join(f"; {one}" for one in stays[:3])
        return Change(text, ended=((found.id, "aborted", text),), status="done", body={"undone": [], "stays": [kept, *stays]})
    text = f"{found.id} is aborted: {told} is {_WORDS[before]} again; calls that ended do not come back"
    text += "".join(f"; {one}" for one in stays[:3])
    body = {"undone": [f"{told} is {_WORDS[before]}"], "stays": stays}
    ended = ((found.id, "aborted", text),)
    match follow.what:
        case "sbc":
            return Change(text, sbc_admin={follow.name: before}, body=body, ended=ended)
        case "tenant":
            return Change(text, tenant_admin={follow.name: before}, body=body, ended=ended)
    return Change(text, node_admin=before, body=body, ended=ended)


def _later_drain(case: Case, found: Pending, follow: following.Follow) -> Pending | None:
    """The last operation after this one that drains or disables the same thing, if it goes on and that still stands."""
    pending = case.world.pending
    for one in reversed(pending[pending.index(found) + 1 :]):
        also = one.follow
        if also is not None and (also.kind, also.what, also.name) == (DRAIN, follow.what, follow.name):
            stands = also.after is None or following.admin_of(case.world, follow) is Admin(also.after)
            return one if stands else None
    return None


def _abort_ramp(case: Case, found: Pending, follow: following.Follow) -> Change:
    """Back to where the ramp began: its groups' new calls go to BCP, and are held there."""
    groups = [case.group(name) for name in following.ramping(case.world, follow)]
    for group in groups:
        case.check_target(group, BCP)
    orders = tuple((group.name, case.order("failover", BCP)) for group in groups)
    back = ", ".join(group.name for group in groups) or "none"
    text = f"{found.id} is aborted: new calls of {back} go to bcp again and stay there until failback; calls at primary stay up"
    body = {**case.blast(groups), "undone": [group.name for group in groups], "stays": ["calls that went to primary meanwhile"]}
    return Change(text, orders, body=body, touches=tuple(group.name for group in groups), ended=((found.id, "aborted", text),))


# -- second persons ------------------------------------------------------------------------------------------------------------


def proposed(case: Case, change: Change, need: Need, base: Mapping[str, str]) -> Change | No:
    """A change that needs a second person, put down instead of done."""
    world, command = case.world, case.command
    assert world.plan is not None
    if len(world.proposals) >= MAX_PROPOSALS:
        return No("refused", "too-many-proposals", f"{MAX_PROPOSALS} proposals wait already", "sipctl op ls; sipctl op reject ID")
    proposal = Proposal(
        id=proposal_id(command.id), op=command.op, args=command.args, force=command.force, actor=command.actor, role=command.role,
        token_at_unix_s=command.token_at_unix_s, made_by=command.made_by, reason=command.reason.strip(), at_unix_s=case.unix_s,
        until_unix_s=case.unix_s + world.plan.topology.approval.within_s, text=change.text, why=need.why, by=need.by, base=base,
        body=change.body,
    )  # fmt: skip
    text = f"proposal {proposal.id}: needs approval by another token ({' or '.join(need.by)}): {need.why}"
    return Change(
        text, proposals={proposal.id: proposal}, status="proposed",
        body={**change.body, "proposal": proposal.id, "would": change.text, "until_unix_s": proposal.until_unix_s},
    )  # fmt: skip


def approve(
    case: Case, judge: Callable[[World, Command, str], Change | No], base_of: Callable[[Case, Change], Mapping[str, str]]
) -> Change | No:
    """Do what somebody else proposed, exactly, in the world it was proposed for.

    Args:
        judge: checks the proposed command as if it came now, approved by the name given.
        base_of: what of the world a change builds on.
    """
    assert case.world.plan is not None
    proposal = _proposal(case)
    no = may_approve(proposal, case.command, case.world.plan.topology.approval.token_age_s)
    if no:
        return No("refused", "second-person", f"{proposal.id}: {no}", "sipctl op approve, with the token of somebody else")
    inner = Command(
        case.command.id, proposal.op, proposal.args, proposal.actor, proposal.reason, case.command.dry_run, proposal.force,
        proposal.role, proposal.token_at_unix_s, proposal.made_by,
    )  # fmt: skip
    change = judge(case.world, inner, case.command.actor)
    if isinstance(change, No):
        return replace(change, text=f"{proposal.id} cannot be done now: {change.text}")
    base = base_of(case, change)
    differs = stale_base(proposal, base)
    if differs and case.command.dry_run:
        return No("conflict", "proposal-stale", f"the world is not the one {proposal.id} was made for: {differs}")
    if differs:
        fresh = replace(
            proposal, id=proposal_id(case.command.id), at_unix_s=case.unix_s, text=change.text, base=base, body=change.body
        )
        text = f"the world is not the one {proposal.id} was made for: {differs}; it is proposed anew as {fresh.id}, look at that"
        return Change(
            text, proposals={proposal.id: None, fresh.id: fresh}, status="conflict",
            body={**change.body, "proposal": fresh.id, "would": change.text, "until_unix_s": fresh.until_unix_s},
        )  # fmt: skip
    actor = f"{proposal.actor}, approved by {case.command.actor}"
    reason = f"{proposal.reason} (approved: {case.command.reason.strip()})"
    return replace(
        change, proposals={**change.proposals, proposal.id: None}, actor=actor, reason=reason,
        body={**change.body, "proposal": proposal.id, "approved_by": case.command.actor},
    )  # fmt: skip


def reject(case: Case) -> Change:
    """Nobody shall approve this any more; its proposer may take it back this way."""
    proposal = _proposal(case)
    text = f"{proposal.id} is rejected: {proposal.text} (proposed by {proposal.actor}: {proposal.reason})"
    return Change(text, proposals={proposal.id: None}, status="done", body={"proposal": proposal.id})


def _proposal(case: Case) -> Proposal:
    name = case.text("id")
    found = case.world.proposals.get(name)
    if found is None or found.until_unix_s <= case.unix_s:
        raise Stopped(
            No("refused", "no-proposal", f"there is no proposal {name}; it was decided or its time is over", "sipctl op ls")
        )
    return found


# -- breaking the glass --------------------------------------------------------------------------------------------------------


def break_glass(case: Case) -> Change:
    """`break-glass on|off` by itself; `--break-glass` with another command opens it as well."""
    glass = case.world.glass
    if case.choice("state", ("on", "off")) == "off":
        if glass is None:
            return Change("the glass is whole", status="done")
        return Change(f"the glass is whole again; {glass.actor} had broken it: {glass.reason}", seal=True, status="done")
    opened = glass_for(case)
    if isinstance(opened, No):
        raise Stopped(opened)
    return Change(
        f"the glass is broken by {opened.actor}", glass=opened, status="done", body={"until_unix_s": opened.until_unix_s}
    )


def glass_for(case: Case) -> Glass | No:
    """The glass this operator breaks now, or why he may not."""
    assert case.world.plan is not None
    policy, command, held = case.world.plan.topology.approval, case.command, case.world.glass
    if command.role not in policy.glass_by:
        return No(
            "refused", "break-glass-role", f"{command.actor} is {command.role or 'of no role'}: who may break the glass is "
            f"{' or '.join(policy.glass_by)}", "limits.break_glass.by in the plan says who",
        )  # fmt: skip
    if held is not None and held.actor != command.actor and held.until_unix_s > case.unix_s:
        return No("refused", "break-glass-held", f"{held.actor} has broken it already: {held.reason}", "sipctl break-glass off")
    return Glass(command.actor, command.reason.strip(), case.unix_s, case.unix_s + policy.glass_s)


# -- what goes on --------------------------------------------------------------------------------------------------------------


def drained(case: Case, what: str, name: str, before: Admin, after: Admin) -> following.Follow:
    """A drain to be followed until no call is up."""
    follow = following.Follow(DRAIN, what, name, int(before), int(after))
    return replace(follow, first=following.calls_left(case.world, follow))


def ramped(case: Case, orders: tuple[tuple[str, Order], ...]) -> following.Follow | None:
    """A way back by a ramp, to be followed until all calls go to primary; None if there is nothing to wait for."""
    groups = {group.name: group for group in case.topology.groups}
    waits = tuple(
        name for name, order in orders
        if not order.now and case.world.groups.get(name, Memory()).bcp_percent and groups[name].ramp[:1] != (100,)
    )  # fmt: skip
    return following.Follow(RAMP, groups=waits) if waits else None
