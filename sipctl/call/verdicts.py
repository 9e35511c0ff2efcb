"""How a set-up ended, as far as it tells of the plan that routed it: what a canary is judged by."""

from __future__ import annotations

from typing import Final

from sipctl.model.outcomes import BUSINESS_CAUSES

# How a call that was looked up ended its set-up.
CALL_ANSWERED: Final = 0
CALL_BUSY: Final = 1  # a person's or a number's affair: busy, declined, nobody there
CALL_FAILED: Final = 2
CALL_CANCELLED: Final = 3  # the caller gave up: no verdict
_BUSY: Final = frozenset((480, 486, 600, 603))


def verdict_of(status: int, cause: int, by: str) -> int:
    """What a set-up's end says of the plan that routed it, as the network effectiveness ratio counts (ITU-T E.425).

    Args:
        status: the final response its caller heard; cause: Q.850, 0 if none was told.
        by: who ended it: "cancelled", "sipctl" (also a plan that knows no target for it), or "refused" by an SBC.
    """
    if by == "cancelled" or status == 487:
        return CALL_CANCELLED
    if by == "sipctl":
        return CALL_FAILED
    return CALL_BUSY if status in _BUSY or (status >= 500 and cause in BUSINESS_CAUSES) else CALL_FAILED
