"""From what routers tell of each call to observations of SBCs, pairs, tenants, entry points and trunks: the desk's half.

The routers' events come in the order in which each router made them: the attempts, then the answer or the end. An attempt is
counted when it is told, but for a 5xx, which waits for the next event of its call: only the end knows its Q.850 cause, and a 5xx
about the number or the user is no failure. A call is counted when its answer or its end is told; its post-dial delay with it.

Nothing here waits, and nothing waits for it: what does not fit is forgotten and counted. A desk that stood still for more than
GAP_S counts nothing for SETTLE_S afterwards: what it finds in its sockets then is old, and would look like now.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from sipctl.call.events import Answered, Attempt, CallEvent, Ended, Facts
from sipctl.control.ports import CallReport
from sipctl.health.observed import EARLY_S, LIMITS, SILENCE, TRANSPORT_ERROR, EndedBy, Observed, Result, Window, result_of_status
from sipctl.model.outcomes import BUSINESS_CAUSES

REPORT_S: Final = 2.0
REPORTED: Final = ("sbc", "first", "pair", "tenant", "trunk")
MAX_OPEN_CALLS: Final = 32_768  # in set-up, or answered within the last EARLY_S
SETUP_MAX_S: Final = 300.0  # a call of which nothing more was told for so long is forgotten
FORGET_EVERY_S: Final = 300.0
GAP_S: Final = 3.0
SETTLE_S: Final = 2.0
_CANCELLED: Final = 2  # status of an attempt that was cancelled (call/events.py)
_RANG_LONG: Final = 408  # what sipctl answers when a phone rang until timer C: no answer, so effective
_ENDERS: Final = {"caller": EndedBy.CALLER, "callee": EndedBy.CALLEE}


class _Open:
    """One call that is being set up, or was answered just now."""

    __slots__ = ("answered_unix_s", "facts", "first_s", "last", "waiting")

    def __init__(self, first_s: float) -> None:
        self.first_s = first_s
        self.answered_unix_s = 0.0
        self.facts: Facts | None = None
        self.last: Attempt | None = None
        self.waiting: Attempt | None = None  # a 5xx whose cause is not known yet


class CallObserver:
    """Feeds an `Observed` with events; one per desk, used by its loop alone."""

    def __init__(self, now_s: float, observed: Observed | None = None, max_open: int = MAX_OPEN_CALLS) -> None:
        self.observed = observed or Observed()
        self.since_s = now_s
        self.late = 0  # events not counted, since they were old
        self.evicted = 0  # calls forgotten because the table was full
        self.entry_calls: dict[str, list[int]] = {}  # entry point → calls by Result since this desk began
        self._max_open = max_open
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._settling: deque[tuple[float, str]] = deque()  # answered calls, by the instant their end is no early drop any more
        self._ticked_s = now_s
        self._deaf_until_s = now_s
        self._forget_s = now_s + FORGET_EVERY_S

    def __len__(self) -> int:
        return len(self._open)

    def take(self, event: CallEvent, now_s: float) -> None:
        """One event of a router."""
        self._notice_gap(now_s)
        if now_s < self._deaf_until_s:
            self.late += 1
            self._open.pop(event.call, None)
            return
        if isinstance(event, Attempt):
            self._attempted(event, now_s)
        elif isinstance(event, Answered):
            self._answered(event, now_s)
        else:
            self._ended(event, now_s)

    def tick(self, now_s: float) -> None:
        """Time has passed; call it every second or two. Forgets what has waited too long."""
        self._notice_gap(now_s)
        while self._settling and self._settling[0][0] <= now_s:
            self._open.pop(self._settling.popleft()[1], None)
        while self._open:
            call, known = next(iter(self._open.items()))
            if now_s - known.first_s <= SETUP_MAX_S:
                break
            self._settle(known, None, now_s)
            del self._open[call]
        if now_s >= self._forget_s:
            self._forget_s = now_s + FORGET_EVERY_S
            self.observed.forget_silent(now_s)

    def report(self, now_s: float) -> CallReport:
        """What the controller is told."""
        windows = {
            kind: {name: self.observed.windows(kind, name, now_s) for name in self.observed.names(kind)} for kind in REPORTED
        }
        return CallReport(now_s, self.since_s, windows, self.late)

    def windows(self, kind: str, now_s: float) -> dict[str, tuple[Window, ...]]:
        """All subjects of a kind, for those who read."""
        return {name: self.observed.windows(kind, name, now_s) for name in self.observed.names(kind)}

    # -- one event -------------------------------------------------------------------------------------------------------------

    def _notice_gap(self, now_s: float) -> None:
        if now_s - self._ticked_s > GAP_S:
            self.since_s = now_s
            self._deaf_until_s = now_s + SETTLE_S
        self._ticked_s = max(self._ticked_s, now_s)

    def _attempted(self, event: Attempt, now_s: float) -> None:
        known = self._known(event.call, now_s)
        self._settle(known, None, now_s)
        known.last = event
        if event.outcome == "lost":
            return
        if event.status == _CANCELLED or event.outcome == "cancelled":
            self._count(event, Result.EFFECTIVE, 487, now_s)
            return
        if event.outcome == "answered":
            self._count(event, Result.ANSWERED, 200, now_s)
            return
        code = event.status if event.status >= 200 else TRANSPORT_ERROR if event.outcome == "transport-error" else SILENCE
        result = result_of_status(code, has_retry_after=event.retry_after_s > 0)
        if result is Result.FAILED and code >= 500:
            known.waiting = event
        else:
            self._count(event, result, code, now_s)

    def _settle(self, known: _Open, end: Ended | None, now_s: float) -> None:
        """A 5xx that waited: about the number if the call ended with it and a cause that says so, else a failure."""
        waiting = known.waiting
        if waiting is None:
            return
        known.waiting = None
        business = end is not None and end.status == waiting.status and end.q850_cause in BUSINESS_CAUSES
        self._count(waiting, Result.EFFECTIVE if business else Result.FAILED, waiting.status, now_s)

    def _count(self, attempt: Attempt, result: Result, code: int, now_s: float) -> None:
        for kind, name in _places(attempt):
            self.observed.add(kind, name, result, code, now_s)

    def _answered(self, event: Answered, now_s: float) -> None:
        known = self._known(event.call, now_s)
        known.facts = event.facts
        known.answered_unix_s = event.at_unix_s
        self._settling.append((now_s + EARLY_S, event.call))
        self._count_call(event.facts, Result.ANSWERED, 200, now_s)
        self._count_delay(known, event.facts, event.facts.ring_unix_s or event.at_unix_s, now_s)

    def _ended(self, event: Ended, now_s: float) -> None:
        known = self._open.pop(event.call, None)
        if known is None:
            known = _Open(now_s)
        self._settle(known, event, now_s)
        if event.answered:
            if known.facts is not None and event.at_unix_s - known.answered_unix_s <= EARLY_S:
                self._count_early(known, known.facts, _ENDERS.get(event.released_by, EndedBy.OTHERS), now_s)
            return
        facts = event.facts
        if facts is None:
            return
        self._count_call(facts, _result_of_call(event, facts), event.status or SILENCE, now_s)
        if facts.ring_unix_s:
            self._count_delay(known, facts, facts.ring_unix_s, now_s)

    # -- counting a call -------------------------------------------------------------------------------------------------------

    def _count_call(self, facts: Facts, result: Result, code: int, now_s: float) -> None:
        for kind, name in _subjects(facts):
            self.observed.add(kind, name, result, code, now_s)
        counts = self.entry_calls.get(facts.entry_point)
        if counts is None and facts.entry_point and len(self.entry_calls) < LIMITS["entry_point"]:
            counts = self.entry_calls[facts.entry_point] = [0] * len(Result)
        if counts is not None:
            counts[result] += 1

    def _count_delay(self, known: _Open, facts: Facts, rang_unix_s: float, now_s: float) -> None:
        """Of the call from its INVITE on; of its SBC from that SBC's INVITE on."""
        for kind, name in _subjects(facts):
            self.observed.add_pdd(kind, name, max(0.0, rang_unix_s - facts.start_unix_s), now_s)
        last = known.last
        if last is not None and last.sbc == facts.sbc:
            for kind, name in _places(last):
                self.observed.add_pdd(kind, name, max(0.0, rang_unix_s - last.started_unix_s), now_s)

    def _count_early(self, known: _Open, facts: Facts, by: EndedBy, now_s: float) -> None:
        places = _places(known.last) if known.last is not None and known.last.sbc == facts.sbc else ()
        for kind, name in (*_subjects(facts), *places):
            self.observed.add_early(kind, name, by, now_s)

    def _known(self, call: str, now_s: float) -> _Open:
        known = self._open.get(call)
        if known is None:
            if len(self._open) >= self._max_open:
                _, oldest = self._open.popitem(last=False)
                self._settle(oldest, None, now_s)
                self.evicted += 1
            known = self._open[call] = _Open(now_s)
        return known


def _places(attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """Where an attempt counts; a canary's nowhere: it shows the edit, not the SBC that the live plan has by that name."""
    if not attempt.sbc or attempt.canary:
        return ()
    places = (("sbc", attempt.sbc), ("pair", attempt.pair))
    return (*places, ("first", attempt.sbc)) if attempt.number == 1 else places


def _subjects(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Where a call counts; a part of it that is not known does not."""
    named = (("tenant", facts.tenant), ("entry_point", facts.entry_point), ("trunk", facts.trunk))
    return tuple((kind, name) for kind, name in named if name)


def _result_of_call(event: Ended, facts: Facts) -> Result:
    """How a call that was not answered ended, as its caller heard it."""
    if event.released_by in ("cancelled", "caller"):
        return Result.EFFECTIVE
    if not facts.attempts:
        return Result.TURNED_AWAY
    if event.status == _RANG_LONG and facts.ring_unix_s and event.released_by == "sipctl":
        return Result.EFFECTIVE
    if event.released_by == "sipctl":
        return Result.FAILED
    if event.status >= 500 and event.q850_cause in BUSINESS_CAUSES:
        return Result.EFFECTIVE
    return result_of_status(event.status)
