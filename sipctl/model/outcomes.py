"""How one attempt at an SBC went, as far as it tells of the SBC: the word the call path and health share (CALLS 3.3, 3.4)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

BUSINESS_CAUSES: Final = frozenset({1, 17, 18, 19, 21, 22, 28})  # Q.850: about the number or the user, not about the box


class CallOutcome(IntEnum):
    """How one attempt at an SBC went, as far as it tells of the SBC."""

    ANSWERED = 0  # 2xx
    PASSED = 1  # 101-199, or a final response that is the caller's or the callee's affair
    FAILED = 2  # 408 or 5xx
    NO_REPLY = 3
    NO_PROGRESS = 4  # 100 and then nothing: a local 408
    TRANSPORT_ERROR = 5
    BUSY = 6  # 503 with Retry-After: it rests, it does not fail
    NEUTRAL = 7  # cancelled before anything came; says nothing


def outcome_of_status(status: int, *, has_retry_after: bool = False, q850: int | None = None) -> CallOutcome:
    """The outcome a response stands for; 100 alone is NEUTRAL.

    Args:
        status: 100..699, as received from the SBC.
        q850: cause of its Reason header, if it has one: a 5xx about the number or the user is no failure of the box.
    """
    if status == 100:
        return CallOutcome.NEUTRAL
    if 200 <= status <= 299:
        return CallOutcome.ANSWERED
    if status == 503 and has_retry_after:
        return CallOutcome.BUSY
    if status == 408 or 500 <= status <= 599:
        return CallOutcome.PASSED if q850 in BUSINESS_CAUSES else CallOutcome.FAILED
    return CallOutcome.PASSED
