"""Rise and fall in one integer: how many results in a row it takes to change our mind.

A level runs 0 .. rise+fall-1 and means *up* from `rise` on. From the far end of the up side `fall` failures in a row lead down,
from 0 `rise` passes in a row lead up; one result that agrees with the side we are on jumps back to its far end, so only an
unbroken run flips. UNKNOWN (-1) stands outside: its first result decides.
"""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = -1


def top(rise: int, fall: int) -> int:
    """The level that is farthest from going down."""
    return rise + fall - 1


def is_up(level: int, rise: int) -> bool:
    return level >= rise


def is_settled(level: int, rise: int, fall: int) -> bool:
    """Is the last result one that agrees with the side we are on (no run the other way has begun)?"""
    return level in (0, rise + fall - 1)


def after_pass(level: int, rise: int, fall: int) -> int:
    """The level after one more pass.

    Args:
        rise, fall: both at least 1.
    """
    assert rise >= 1 and fall >= 1
    if level == UNKNOWN or level + 1 >= rise:
        return rise + fall - 1
    return level + 1


def after_failure(level: int, rise: int, fall: int) -> int:
    """The level after one more failure."""
    assert rise >= 1 and fall >= 1
    if level == UNKNOWN or level <= rise:
        return 0
    return level - 1
