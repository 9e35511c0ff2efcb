"""What a router tells the desk of each call: attempt, answer, end, joined by `call` (FORMATS §4).

The desk joins them into CDR lines. Frames are msgspec Structs with array encoding: a router makes three of them per call and
sends them by a non-blocking socketpair; what does not fit is dropped and counted, never waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Attempt(msgspec.Struct, tag="a", array_like=True, gc=False):
    """One target tried, told when its attempt ends or is given up (or answers)."""

    call: str  # 16 hex digits, the same in attempt, answer and end
    number: int  # 1, 2 …
    tenant: str
    role: str  # "primary" | "bcp" | "": an SBC pair or an exit took it
    pair: str
    sbc: str
    started_unix_s: float
    ended_unix_s: float
    status: int  # SIP status, or 0: silence, 1: transport error, 2: cancelled
    outcome: str  # "answered" | "refused" | "no-reply" | "no-progress" | "transport-error" | "cancelled" | "lost"
    retry_after_s: float = 0.0
    canary: bool = False  # of a call that a canary's revision carries: no evidence against what the live one uses


class Answered(msgspec.Struct, tag="s", array_like=True, gc=False):
    """The call was answered; told once, with all that is known of it, so that an end after a crash finds it."""

    call: str
    at_unix_s: float
    facts: Facts


class Facts(msgspec.Struct, array_like=True, gc=False):
    """What was known of a call when it was routed."""

    call_id: str
    start_unix_s: float
    trunk: str
    dialled: str
    called: str
    calling: str
    pai: str
    entry_point: str
    group: str
    tenant: str
    role: str
    pair: str
    sbc: str
    attempts: int
    rule: str
    reason: str
    revision: int
    ring_unix_s: float = 0.0  # first 180/183, 0: none


class Ended(msgspec.Struct, tag="e", array_like=True, gc=False):
    """The call is over. `facts` is present for calls that were never answered (no Answered came before)."""

    call: str
    at_unix_s: float
    status: int  # final status the caller heard; 200 for answered calls
    sip_reason: str
    q850_cause: int  # 0: none known
    released_by: str  # "caller" | "callee" | "sipctl" | "refused" | "cancelled" | "expired" | "unknown"
    answered: bool
    facts: Facts | None = None


class LogLine(msgspec.Struct, tag="l", array_like=True, gc=False):
    """One line a router wants logged: a stable slug and what belongs to it; the desk writes it."""

    slug: str
    at_unix_s: float
    router: str  # "r1" …
    fields: Mapping[str, Any] = {}


CallEvent = Attempt | Answered | Ended
# One packet on a router's event link is a msgpack array of these, at most MAX_EVENTS_PER_PACKET.
RouterEvent = Attempt | Answered | Ended | LogLine
MAX_EVENTS_PER_PACKET = 64
