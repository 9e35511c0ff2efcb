"""What one router knows of one SBC, and its 64-byte form in shared memory, so that it outlives the router.

All zeros is an empty cell (a fresh memfd). Instants are CLOCK_MONOTONIC of this host, which all its routers share.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from sipctl.health.hysteresis import UNKNOWN
from sipctl.health.live_calls import FALL, CallRun
from sipctl.routing.snapshot import Operating, ProbeSpec

CELL_BYTES: Final = 64
_VERSION: Final = 1
_LAYOUT: Final = struct.Struct("<BBbBBBHHxx6d")
_NONE: Final = -1.0
assert _LAYOUT.size <= CELL_BYTES


class Why(IntEnum):
    """The reason of the operating state; told as a sentence by `Cell.reason`."""

    UNMEASURED = 0
    ANSWERS_PROBES = 1
    ANSWERS_CALLS = 2
    NO_REPLY = 3
    BAD_REPLY = 4
    TRANSPORT_ERROR = 5
    CALLS_FAILED = 6
    SPARED = 7  # probes fail, calls are answered
    EJECTION_OVER = 8


class Cell:
    """The judge's memory of one SBC; owned by one `Judge`."""

    __slots__ = (
        "count", "ejected_until_s", "ejections", "first_lost_s", "heard_s", "invite_ok_s", "level", "missed", "missed_s",
        "next_s", "operating", "resting_until_s", "rising_since_s", "rtt_ms", "run", "sent_s", "since_s", "spec", "status",
        "voided", "waiting_s", "why",
    )

    def __init__(self, spec: ProbeSpec, now_s: float) -> None:
        self.spec = spec
        self.operating = int(Operating.UNKNOWN)
        self.why = Why.UNMEASURED
        self.since_s = now_s
        self.level = UNKNOWN
        self.run = CallRun()
        self.count = 0  # probes sent, for the jitter
        self.next_s = now_s  # when the next OPTIONS leaves
        self.waiting_s: float | None = None  # when the OPTIONS we wait for left
        self.voided = False  # the wait fell into a gap of our own loop
        self.sent_s: float | None = None
        self.heard_s: float | None = None
        self.rtt_ms: float | None = None
        self.missed = 0  # in a row
        self.missed_s: float | None = None
        self.status = 0  # of the last failing reply
        self.first_lost_s: float | None = None  # when the first OPTIONS of the present run of losses left
        self.invite_ok_s: float | None = None  # when the last INVITE left that it answered well
        self.rising_since_s: float | None = None  # first pass of the present way up
        self.ejections = 0
        self.ejected_until_s: float | None = None
        self.resting_until_s: float | None = None

    def reason(self) -> str:
        """One sentence on why it is in this state."""
        runs = "once" if self.missed == 1 else f"{self.missed} times in a row"
        match self.why:
            case Why.ANSWERS_PROBES:
                return "answers OPTIONS"
            case Why.ANSWERS_CALLS:
                return "answers calls"
            case Why.NO_REPLY:
                return f"no reply to OPTIONS, {runs}"
            case Why.BAD_REPLY:
                return f"OPTIONS failed {runs}, last reply {self.status}"
            case Why.TRANSPORT_ERROR:
                return f"OPTIONS failed {runs}, last with a transport error"
            case Why.CALLS_FAILED:
                return f"{FALL} calls in a row failed; left out for {self._ejection_s():.0f} s, whatever OPTIONS says"
            case Why.SPARED:
                return f"no good reply to OPTIONS, {runs}, but it answers calls"
            case Why.EJECTION_OVER:
                return "time out over, not measured since"
        return "not measured yet"

    def _ejection_s(self) -> float:
        return max(0.0, (self.ejected_until_s or self.since_s) - self.since_s)

    def pack(self) -> bytes:
        """The cell in CELL_BYTES bytes at most; never all zeros."""
        return _LAYOUT.pack(
            _VERSION, self.operating, max(UNKNOWN, min(self.level, 127)), self.run.failures | self.run.moments << 4,
            min(self.ejections, 255), self.why,
            min(self.missed, 0xFFFF), self.status,
            self.since_s, _or_none(self.first_lost_s), _or_none(self.invite_ok_s), _or_none(self.ejected_until_s),
            _or_none(self.heard_s), _or_none(self.resting_until_s),
        )

    def restore(self, data: bytes, now_s: float) -> bool:
        """Take over what a dead router knew; False (and unchanged) if `data` is empty or not ours."""
        if len(data) < _LAYOUT.size:
            return False
        version, operating, level, run, ejections, why, missed, status, *instants = _LAYOUT.unpack_from(data)
        known = operating in Operating._value2member_map_ and why in Why._value2member_map_
        failures, moments = run & 15, run >> 4
        known = known and version == _VERSION and moments <= failures <= FALL
        if not known or any(not instant <= now_s + 3600.0 for instant in instants):
            return False
        since_s, first_lost_s, invite_ok_s, ejected_until_s, heard_s, resting_until_s = instants
        probe = self.spec.probe
        self.operating, self.why, self.missed, self.status = operating, Why(why), missed, status
        self.level = UNKNOWN if probe is None else min(level, probe.rise + probe.fall - 1)
        self.run = CallRun(failures, moments, now_s)
        self.ejections = ejections
        self.since_s = min(since_s, now_s)
        self.first_lost_s, self.invite_ok_s = _some(first_lost_s), _some(invite_ok_s)
        self.ejected_until_s, self.heard_s, self.resting_until_s = _some(ejected_until_s), _some(heard_s), _some(resting_until_s)
        return True


def _or_none(instant_s: float | None) -> float:
    return _NONE if instant_s is None else instant_s


def _some(instant_s: float) -> float | None:
    return None if instant_s == _NONE else instant_s
