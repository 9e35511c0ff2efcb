"""Which of two states a router goes by: publications carry (term, seq), and a router never goes back (CALLS 4.6)."""

from __future__ import annotations

from enum import Enum

from sipctl.routing.snapshot import RoutingState


class Ruling(Enum):
    """What a router does with a state that is offered to it."""

    NEWER = "take it"
    AGAIN = "say that it is held"
    OLDER = "refuse it"


def ruling(held: RoutingState | None, offered: RoutingState) -> Ruling:
    """Judge a publication, however late it comes and whoever sent it.

    Args:
        held: what the router goes by now; None: nothing yet, so anything is newer.
    """
    if held is None:
        return Ruling.NEWER
    order, mine = (offered.term, offered.seq), (held.term, held.seq)
    return Ruling.NEWER if order > mine else Ruling.AGAIN if order == mine else Ruling.OLDER
