"""Joins what routers tell of calls into call records (FORMATS §4): pure, one object, fed with events and a clock reading.

A router says `Attempt` for each target tried, `Answered` once with all it knows of the call, `Ended` at the end; never-answered
calls bring what is known with `Ended`. The router that says `Ended` need not be the one that said `Answered`: calls outlive
routers. So the desk keeps the facts of every open call, in a table with a bound and in a journal that a new desk reads.

Invariant: every event of a call leads to at most one `call` line and one line per `Attempt`; an end whose facts are lost still
gives a line, with what is known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from sipctl.call.events import Answered, Attempt, CallEvent, Ended, Facts, LogLine, RouterEvent

MAX_OPEN_CALLS: Final = 131_072  # twice what one slot can hold answered
MAX_ATTEMPTS_HELD: Final = 8  # per call, until its facts are known; a call has at most 4
ATTEMPT_WAIT_S: Final = 300.0  # then an attempt is written without the facts of its call
OPEN_MAX_AGE_S: Final = 7 * 86_400.0  # an answered call whose end never came (dropped event) is closed as unknown

_PACKET: Final = msgspec.msgpack.Decoder(list[RouterEvent])

Line = dict[str, Any]


def split_packet(data: bytes) -> tuple[list[CallEvent], list[LogLine]]:
    """One packet of a router's event link: what belongs into call records, and what into the log.

    Raises: msgspec.DecodeError for anything else; the caller counts it.
    """
    calls: list[CallEvent] = []
    lines: list[LogLine] = []
    for event in _PACKET.decode(data):
        if isinstance(event, LogLine):
            lines.append(event)
        else:
            calls.append(event)
    return calls, lines


class OpenCall(msgspec.Struct):
    """What is known of a call that has not ended."""

    first_unix_s: float
    facts: Facts | None = None
    answered_unix_s: float = 0.0
    attempts: list[Attempt] = []  # waiting for facts
    tried: int = 0
    crossed: bool = False  # an attempt went to the BCP tenant after one to the primary, or the reverse
    roles: str = ""


class CallJoiner:
    """The table of open calls. `feed` returns the lines that became complete."""

    def __init__(self, node: str = "", max_open: int = MAX_OPEN_CALLS) -> None:
        self.node = node  # as the lines name it
        self._max_open = max_open
        self._open: OrderedDict[str, OpenCall] = OrderedDict()  # oldest first
        self.evicted = 0  # calls forgotten because the table was full
        self.ends_without_facts = 0

    def __len__(self) -> int:
        return len(self._open)

    def open_calls(self) -> Iterable[tuple[str, OpenCall]]:
        return self._open.items()

    def restore(self, call: str, known: OpenCall) -> None:
        """Put back what an earlier desk knew."""
        self._open[call] = known

    def forget(self, call: str) -> None:
        """The end of this call was written before (found when an earlier desk's journal was read)."""
        self._open.pop(call, None)

    def feed(self, event: CallEvent, now_unix_s: float) -> list[Line]:
        if isinstance(event, Attempt):
            return self._attempt(event, now_unix_s)
        if isinstance(event, Answered):
            known = self._known(event.call, now_unix_s)
            known.facts = event.facts
            known.answered_unix_s = event.at_unix_s
            return self._release(event.call, known)
        return self._ended(event)

    def expire(self, now_unix_s: float) -> list[Line]:
        """Lines for what has waited too long; call it every few seconds. Cost: the expired ones only."""
        lines: list[Line] = []
        early = now_unix_s - ATTEMPT_WAIT_S
        for call in [call for call, known in self._open.items() if known.attempts and known.first_unix_s < early]:
            known = self._open[call]
            lines += self._release(call, known)
            if known.facts is None:
                del self._open[call]
        while self._open:
            call, known = next(iter(self._open.items()))
            if now_unix_s - known.first_unix_s <= OPEN_MAX_AGE_S:
                break
            answered = bool(known.answered_unix_s)
            lines += self._ended(Ended(call, now_unix_s, 200 if answered else 0, "", 0, "unknown", answered))
        return lines

    def _attempt(self, event: Attempt, now_unix_s: float) -> list[Line]:
        known = self._known(event.call, now_unix_s)
        known.tried = max(known.tried, event.number)
        known.crossed = known.crossed or bool(known.roles and event.role != known.roles)
        known.roles = event.role
        if known.facts is not None or len(known.attempts) >= MAX_ATTEMPTS_HELD:
            return [self._attempt_line(event, known.facts)]
        known.attempts.append(event)
        return []

    def _ended(self, event: Ended) -> list[Line]:
        known = self._open.pop(event.call, None) or OpenCall(event.at_unix_s)
        known.facts = known.facts or event.facts
        if known.facts is None:
            self.ends_without_facts += 1
        lines = self._release(event.call, known)
        lines.append(self._call_line(event, known))
        return lines

    def _release(self, call: str, known: OpenCall) -> list[Line]:
        lines = [self._attempt_line(attempt, known.facts) for attempt in known.attempts]
        known.attempts = []
        return lines

    def _known(self, call: str, now_unix_s: float) -> OpenCall:
        known = self._open.get(call)
        if known is None:
            if len(self._open) >= self._max_open:
                self._open.popitem(last=False)
                self.evicted += 1
            known = self._open[call] = OpenCall(now_unix_s)
        return known

    def _attempt_line(self, event: Attempt, facts: Facts | None) -> Line:
        line: Line = {"type": "attempt", "call": event.call, "node": self.node, "attempt_no": event.number}
        if facts is not None:
            line |= _who(facts)
        return line | {
            "tenant": event.tenant, "role": event.role, "pair": event.pair, "sbc": event.sbc,
            "start": _rfc3339(event.started_unix_s), "start_epoch_ms": _ms(event.started_unix_s),
            "end": _rfc3339(event.ended_unix_s), "duration_ms": _span_ms(event.started_unix_s, event.ended_unix_s),
            "sip_code": event.status if event.status >= 100 else None, "outcome": event.outcome,
            "retry_after_s": event.retry_after_s or None,
        }  # fmt: skip

    def _call_line(self, event: Ended, known: OpenCall) -> Line:
        line: Line = {"type": "call", "call": event.call, "node": self.node}
        facts = known.facts
        if facts is not None:
            answered_s = known.answered_unix_s
            line |= _who(facts)
            line |= {
                "tenant": facts.tenant, "role": facts.role, "pair": facts.pair, "sbc": facts.sbc,
                "attempts": max(facts.attempts, known.tried), "rule": facts.rule, "reason": facts.reason,
                "revision": facts.revision, "failover": known.crossed or facts.role == "bcp",
                "start": _rfc3339(facts.start_unix_s), "start_epoch_ms": _ms(facts.start_unix_s),
                "ring": _rfc3339(facts.ring_unix_s), "answer": _rfc3339(answered_s),
                "pdd_ms": _span_ms(facts.start_unix_s, facts.ring_unix_s or answered_s),
                "ring_ms": _span_ms(facts.ring_unix_s, answered_s or event.at_unix_s),
                "duration_ms": _span_ms(answered_s, event.at_unix_s) if event.answered else 0,
            }  # fmt: skip
        return line | {
            "end": _rfc3339(event.at_unix_s), "answered": event.answered, "sip_code": event.status or None,
            "sip_reason": event.sip_reason, "q850_cause": event.q850_cause or None, "released_by": event.released_by,
        }  # fmt: skip


def _who(facts: Facts) -> Line:
    return {
        "call_id": facts.call_id, "trunk": facts.trunk, "entry_point": facts.entry_point, "group": facts.group,
        "dialled": facts.dialled, "called": facts.called, "calling": facts.calling, "pai": facts.pai,
    }  # fmt: skip


def _rfc3339(unix_s: float) -> str | None:
    """UTC with milliseconds; None for 0, which means it did not happen."""
    if unix_s <= 0:
        return None
    second, ms = divmod(round(unix_s * 1000), 1000)
    return f"{_second(second)}.{ms:03d}Z"


@lru_cache(maxsize=256)  # a call's instants fall into few seconds; spelling one costs 5 µs, six of them a third of a record
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ms(unix_s: float) -> int:
    return round(unix_s * 1000)


def _span_ms(start_s: float, end_s: float) -> int | None:
    return round(max(0.0, end_s - start_s) * 1000) if start_s > 0 and end_s > 0 else None
