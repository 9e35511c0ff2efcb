"""What live calls say about an SBC: their own integer beside that of the probes (CALLS 3.4).

The integer goes up one step per failed call but never faster than one per WINDOW_S, however many calls fail at once: failures
that come faster wait for their step. So FALL failures take an SBC down SETTLE_S after the first of them or with the last of
them, whichever is later, also where nobody calls at that instant because the failures have made it suspect. A call that passes
cancels the failures of its window and ends the run. Both are judged by the instant their INVITE *left*: an answer to an INVITE
that rang long before the first failing one left says nothing about now.

One bad moment is no dead SBC: failures that fell into less than MOMENTS windows wait for more, whatever their number. One caller
whose every call fails tells of that caller as much as of the SBC: where there are several, two must have failed.
(docs/decisions/0014.)
"""

from __future__ import annotations

from typing import Final

from sipctl.model.outcomes import CallOutcome

FALL: Final = 5
WINDOW_S: Final = 0.25
SETTLE_S: Final = (FALL - 1) * WINDOW_S  # what FALL steps take at least
MOMENTS: Final = 3  # failures this many windows apart: half a second at least
SEVERAL_WITHIN_S: Final = 60.0

_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


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
    """The run of failed calls at one SBC.

    Args:
        failures, moments: of a run that a dead router had begun; its steps count from `now_s` on.
    """

    __slots__ = (
        "_began_s", "_first_caller", "_first_s", "_moment_s", "_pass_at_s", "_pass_sent_s", "_two_callers", "failures", "moments",
    )  # fmt: skip

    def __init__(self, failures: int = 0, moments: int = 0, now_s: float = _NEVER) -> None:
        self.failures = failures  # 0..FALL
        self.moments = moments  # failures at least WINDOW_S apart, 0..FALL
        self._first_s = self._moment_s = now_s
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

    def failed(self, caller: int, now_s: float, sent_s: float) -> None:
        """Note a call that failed, unless a success of the same window cancels it."""
        if now_s - self._pass_at_s < WINDOW_S and self._pass_sent_s >= sent_s:
            return
        if self._first_caller is None:
            self._first_caller = caller
        elif caller != self._first_caller:
            self._two_callers = True
        if not self.failures:
            self._first_s, self._began_s = now_s, sent_s
        self.failures = min(self.failures + 1, FALL)
        if now_s - self._moment_s >= WINDOW_S:
            self._moment_s = now_s
            self.moments = min(self.moments + 1, FALL)

    def is_over(self, now_s: float, *, several: bool) -> bool:
        """Whether the SBC must be taken down now.

        Args:
            several: more than one caller was heard of lately.
        """
        return now_s >= self.due_s and (self._two_callers or not several)

    @property
    def due_s(self) -> float:
        """When the last step is made; for ever away while failures or moments are missing."""
        return self._first_s + SETTLE_S if self.failures >= FALL and self.moments >= MOMENTS else _FOREVER

    def clear(self) -> None:
        self.failures = self.moments = 0
        self._began_s = self._first_s = self._moment_s = _NEVER
        self._first_caller = None
        self._two_callers = False
