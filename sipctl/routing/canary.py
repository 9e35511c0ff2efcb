"""Two revisions at a time: which callers a canary takes, and what a router's state means under its plan.

A caller's place in a canary is a hash of who calls, salted by the revision: it stays the same for as long as the canary runs, a
growing share only adds callers to those it had, and the next canary begins with others. Who calls is read from the message
alone, so that no edit of a plan (of a trunk's trust, say) moves a caller from one side to the other.

Entities keep their numeric ids in both plans, so tokens, records, counts and limits are one for both. One thing must not be
shared: an SBC that the two plans reach at different addresses is two boxes, each with its own health. In the canary's plan it
stands under an id of its own, for as long as the canary runs and its calls are up (`sbc_ids`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from sipctl.routing.snapshot import Canary, RoutingState, SbcId, Topology
from sipctl.routing.table import Table

PERMILLE: Final = 1000


def canary_takes(revision: int, permille: int, share_key: bytes) -> bool:
    """Whether a canary of that share takes a caller.

    Args:
        share_key: the calling number, or the Call-ID of an anonymous call (CALLS 1.5).
    Cost: 1 µs.
    """
    place = int.from_bytes(blake2b(b"canary:%d:%b" % (revision, share_key), digest_size=8).digest(), "big") % PERMILLE
    return place < permille


def canary_state(state: RoutingState, canary: Canary) -> RoutingState:
    """The same state, for the canary's table."""
    return replace(
        state, revision=canary.revision, table=canary.table, canary=None, decisions={**state.decisions, **canary.decisions}
    )


def with_ids(table: Table, sbc_ids: Mapping[str, int]) -> Table:
    """The table with other ids for some of its SBCs; its numbers and its hash are the same."""
    if not sbc_ids:
        return table
    return Table(with_sbc_ids(table.topology, sbc_ids), table.numbers, table.hash, table.image)


def with_sbc_ids(topology: Topology, sbc_ids: Mapping[str, int]) -> Topology:
    """The topology with other ids for some of its SBCs."""
    sbcs = tuple(replace(sbc, id=SbcId(sbc_ids.get(sbc.name, sbc.id))) for sbc in topology.sbcs)
    return replace(topology, sbcs=sbcs)


def moved_sbcs(live: Topology, other: Topology) -> dict[str, str]:
    """SBCs of the other plan that it reaches otherwise than the live plan does: name → where, for an id of its own."""
    before = {sbc.name: _place(live, at) for at, sbc in enumerate(live.sbcs)}
    after = {sbc.name: _place(other, at) for at, sbc in enumerate(other.sbcs)}
    return {name: place for name, place in after.items() if before.get(name, place) != place}


def _place(topology: Topology, at: int) -> str:
    sbc = topology.sbcs[at]
    return f"{sbc.host or sbc.uri_host}:{sbc.port};{sbc.transport};{topology.listens[sbc.listen].name}"
