"""What live calls say about an SBC: their own integer beside that of the probes (CALLS 3.4).

A failure moves the integer one step, at most one step per WINDOW_S however many calls fail in it; a call that passes cancels
the failures of its window and ends the run. So a dead SBC is down after FALL failures or FALL - 1 windows, whichever is later,
and one that fails one call in two never is. Both are judged by the instant their INVITE *left*: an answer to an INVITE that rang
long before the first failing one left says nothing about now.

One caller whose every call fails tells of that caller as much as of the SBC: where there are several, two must have failed.
"""

from __future__ import annotations

from typing import Final

from sipctl.model.outcomes import CallOutcome

FALL: Final = 5
WINDOW_S: Final = 0.25
SEVERAL_WITHIN_S: Final = 60.0

_NEVER: Final = float("-inf")


FAILURES: Final = frozenset({CallOutcome.FAILED, CallOutcome.NO_REPLY, CallOutcome.NO_PROGRESS, CallOutcome.TRANSPORT_ERROR})
TIMEOUTS: Final = frozenset({CallOutcome.NO_REPLY, CallOutcome.NO_PROGRESS})


class Callers:
    """The two callers heard of last, to know whether there are several."""

    __slots__ = ("_latest", "_latest_s", "_other_s")

    def __init__(self) -> None:
        self._latest: int | None = None
        self._latest_s = _NEVER
        self._other_s = _NEVER  # when somebody else than the latest was heard of

    def heard(self, caller: int, now_s: float) -> None:
        if caller != self._latest:
            self._other_s = self._latest_s
            self._latest = caller
        self._latest_s = now_s

    def several(self, now_s: float) -> bool:
        return now_s - self._other_s <= SEVERAL_WITHIN_S


class CallRun:
    """The run of failed calls at one SBC."""

    __slots__ = ("_began_s", "_first_caller", "_pass_at_s", "_pass_sent_s", "_stepped_s", "_two_callers", "failures")

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures  # 0..FALL
        self._stepped_s = _NEVER
        self._began_s = _NEVER  # when the first failing INVITE of the run left
        self._pass_at_s = _NEVER
        self._pass_sent_s = _NEVER
        self._first_caller: int | None = None
        self._two_callers = False

    def passed(self, now_s: float, sent_s: float) -> bool:
        """Note a call that passed; True if it ended a run or there was none (False: it is older than the run)."""
        self._pass_at_s = now_s
        self._pass_sent_s = max(self._pass_sent_s, sent_s)
        if self.failures and sent_s < self._began_s:
            return False
        self.clear()
        return True

    def failed(self, caller: int, now_s: float, sent_s: float, *, several: bool) -> bool:
        """Note a call that failed; True if the SBC must be taken down."""
        if now_s - self._pass_at_s < WINDOW_S and self._pass_sent_s >= sent_s:
            return False  # cancelled by a success of the same window
        if self._first_caller is None:
            self._first_caller = caller
        elif caller != self._first_caller:
            self._two_callers = True
        if now_s - self._stepped_s >= WINDOW_S:
            self._stepped_s = now_s
            if not self.failures:
                self._began_s = sent_s
            self.failures = min(self.failures + 1, FALL)
        return self.failures >= FALL and (self._two_callers or not several)

    def clear(self) -> None:
        self.failures = 0
        self._began_s = self._stepped_s = _NEVER
        self._first_caller = None
        self._two_callers = False
