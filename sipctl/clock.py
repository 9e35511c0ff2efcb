"""The two clocks of a process: one for deadlines, one for people.

Instants that end in `_s` are CLOCK_MONOTONIC, the same clock in every process of a host: call records and observations hold
them across process borders. Wall time is only for records that people read.
"""

from __future__ import annotations

import time

monotonic_s = time.monotonic
unix_s = time.time


def unix_minus_mono_s() -> float:
    """What to add to a monotonic instant to get unix time; read once at start, so that a stepped clock moves no deadline."""
    before = time.monotonic()
    wall = time.time()
    return wall - (before + time.monotonic()) / 2
