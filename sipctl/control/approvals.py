"""The two-person rule: which changes wait for somebody else, who that may be, and what breaks the glass.

A change that needs a second person becomes a proposal: exactly what was asked, the world it was asked in (`base`), and until
when it stands. Another token approves it, and it is done as it was proposed; if the world it was checked against has changed, it
is not done but proposed anew, so that nobody approves what he has not seen. Proposals are wishes: they survive restarts.

Two names are two persons only if neither was made by the other a moment ago: see `may_approve`. Automatic moves are never asked.
Pure. Instants are unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sipctl.control.ports import Command

MAX_PROPOSALS: Final = 100  # open at once
TWO_PERSON: Final = "two-person"


@dataclass(frozen=True, slots=True)
class Need:
    """Why a change needs a second person, and whose it may be."""

    why: str
    by: tuple[str, ...]  # roles


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that waits for a second person."""

    id: str  # "P-…"
    op: str
    args: Mapping[str, Any]
    force: tuple[str, ...]
    actor: str
    role: str
    token_at_unix_s: float  # when the proposer's token was made, and by whom, and by whom that one …
    made_by: tuple[str, ...]
    reason: str
    at_unix_s: float
    until_unix_s: float
    text: str  # what it does, in a sentence
    why: str  # it needs a second person
    by: tuple[str, ...]  # roles of which the approver's token must be one
    base: Mapping[str, str]  # what of the world it builds on
    body: Mapping[str, Any] = field(default_factory=dict)  # its blast radius, when it was proposed


@dataclass(frozen=True, slots=True)
class Glass:
    """Somebody broke the glass: approvals and the safety rules he names do not stop him until it ends."""

    actor: str
    reason: str
    since_unix_s: float
    until_unix_s: float


def proposal_id(operation: str) -> str:
    """The proposal that an operation became: "op-7Q2…" → "P-7Q2…"."""
    return f"P-{operation.removeprefix('op-')}"


def may_approve(proposal: Proposal, command: Command, token_age_s: float) -> str:
    """Why this token is no second person for this proposal; "" if it is one.

    One person with two tokens is what this must not mistake for two. So the name must differ; the token must be older than the
    proposal, whoever made it; and where one of the two tokens was made by the other (or by one that it made, and so on), the one
    that was made must be `token_age_s` old when the proposal is made: a second token made for the purpose is no second person.
    """
    if command.actor == proposal.actor:
        return f"{proposal.actor} proposed it: somebody else must approve it"
    if command.role not in proposal.by:
        return f"{command.actor} is {command.role or 'of no role'}; it takes {' or '.join(proposal.by)}"
    if command.token_at_unix_s >= proposal.at_unix_s:
        return f"the token {command.actor} was made after the proposal"
    for made, made_by, made_at, maker in (
        (command.actor, command.made_by, command.token_at_unix_s, proposal.actor),
        (proposal.actor, proposal.made_by, proposal.token_at_unix_s, command.actor),
    ):
        if maker in made_by and proposal.at_unix_s - made_at < token_age_s:
            return f"the token {made} was made by {maker} less than {_words(token_age_s)} before the proposal"
    return ""


def stale_base(proposal: Proposal, base: Mapping[str, str]) -> str:
    """What changed since a proposal was made, of all that it builds on; "" if nothing did."""
    changed = [
        f"{name} was {proposal.base.get(name, 'unknown')}, is {base.get(name, 'gone')}"
        for name in sorted({*proposal.base, *base})
        if proposal.base.get(name) != base.get(name)
    ]
    return "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")


def glass_of(glass: Glass | None, actor: str, unix_s: float) -> bool:
    """Has this operator broken the glass, and is it still open?"""
    return glass is not None and glass.actor == actor and glass.until_unix_s > unix_s


def unexpired(proposals: Mapping[str, Proposal], unix_s: float) -> Mapping[str, Proposal]:
    """Those that still stand; the very same mapping if that is all of them."""
    kept = {name: one for name, one in proposals.items() if one.until_unix_s > unix_s}
    return proposals if len(kept) == len(proposals) else kept


def written(proposals: Mapping[str, Proposal]) -> dict[str, Any]:
    """As plain data, for the store."""
    return {name: dict(msgspec.to_builtins(one)) for name, one in proposals.items()}


def read(plain: Mapping[str, Any]) -> dict[str, Proposal]:
    """What `written` made.

    Raises: msgspec.ValidationError if it is not ours.
    """
    return {name: msgspec.convert(one, Proposal) for name, one in plain.items()}


def written_glass(glass: Glass | None) -> dict[str, Any]:
    return {} if glass is None else dict(msgspec.to_builtins(glass))


def read_glass(plain: Mapping[str, Any]) -> Glass | None:
    """Raises: msgspec.ValidationError if it is not ours."""
    return msgspec.convert(plain, Glass) if plain else None


def _words(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
