"""One router's judgement of every SBC, from its own probes and from live calls (CALLS part 3).

Who sees what: the call core asks `due` whom to send OPTIONS to and tells everything that comes back; the judge answers with an
operating state per SBC, and `changes` tells what is new. It does no I/O, draws no random numbers and never waits; an OPTIONS that
got no reply in time is found overdue by `due`.

Two integers per SBC: `level`, that of the probes, and `run`, that of the calls. Either may take an SBC down. Invariants:
- the first result of an unknown SBC decides;
- probes alone never take down an SBC that answered an INVITE which left after the first lost probe;
- what calls took down stays down until its ejection is over or calls pass again; OPTIONS alone does not bring it back before;
- busy (503 with Retry-After) is alive; a timeout that fell into a gap of our own loop is void.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sipctl.health import hysteresis
from sipctl.health.cell import Cell, Why
from sipctl.health.live_calls import FAILURES, TIMEOUTS, Callers
from sipctl.health.replies import SHIPPED, ReplyTable, Verdict
from sipctl.health.timing import wait_s
from sipctl.model.outcomes import CallOutcome
from sipctl.routing.snapshot import Operating, ProbeSpec

GAP_S: Final = 0.25  # a longer gap of our own loop voids what timed out in it
EJECTION_S: Final = 30.0
EJECTION_MAX_S: Final = 300.0
EJECTION_MEMORY_S: Final = 3600.0  # in service for so long: the next ejection is a first one again
CALLS_TO_RETURN: Final = 3  # passed calls that end an ejection early
MIN_RETRY_AFTER_S: Final = 1.0
MAX_RETRY_AFTER_S: Final = 60.0
MAX_DUE: Final = 256  # OPTIONS handed out by one `due`; the rest follows at once

_UNKNOWN: Final = int(Operating.UNKNOWN)
_IN: Final = int(Operating.IN_SERVICE)
_OUT: Final = int(Operating.OUT_OF_SERVICE)
_FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Change:
    """One SBC changed its operating state, or asked for rest."""

    sbc_id: int
    operating: int
    reason: str
    at_s: float
    resting_until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the controller is told of one SBC; fields named as in `control.ports.SbcObservation`."""

    operating: int
    reason: str
    since_s: float
    resting_s: float
    missed_probes: int
    last_missed_s: float | None
    last_heard_s: float | None
    last_sent_s: float | None
    probe_rtt_ms: float | None


class Judge:
    """Judges every SBC of the snapshot; one per router.

    Args:
        seed: spreads the jitter of different routers.
        replies: what a status means; the shipped table unless a test says otherwise.
    """

    __slots__ = ("_callers", "_cells", "_changes", "_gap_end_s", "_next_due_s", "_passes", "_replies", "_seed")

    def __init__(self, seed: int, replies: ReplyTable = SHIPPED) -> None:
        self._seed = seed
        self._replies = replies
        self._cells: dict[int, Cell] = {}
        self._callers = Callers()
        self._passes: dict[int, int] = {}  # passed calls of ejected SBCs, by id
        self._changes: list[Change] = []
        self._gap_end_s = -_FOREVER
        self._next_due_s = _FOREVER

    def swap(self, sbcs: Sequence[ProbeSpec], now_s: float) -> None:
        """Take another set of SBCs; what is known of an id stays, unless its address changed: then it is another box."""
        old = self._cells
        self._cells = {}
        for spec in sbcs:
            cell = old.get(spec.sbc_id)
            if cell is None or _address(cell.spec) != _address(spec):
                cell = Cell(spec, now_s)
            elif cell.spec.probe != spec.probe:
                _take_probe(cell, spec, now_s)
            cell.spec = spec
            self._cells[spec.sbc_id] = cell
        self._passes = {sbc_id: count for sbc_id, count in self._passes.items() if sbc_id in self._cells}
        self._next_due_s = now_s

    @property
    def next_due_s(self) -> float | None:
        return None if self._next_due_s == _FOREVER else self._next_due_s

    def due(self, now_s: float) -> list[int]:
        """Turn overdue probes into failures, end ejections, and name the SBCs whose OPTIONS must leave now.

        The caller tells each one with `sent`; one it could not send is asked for again after the fast interval.
        """
        if now_s < self._next_due_s:
            return []
        leave: list[int] = []
        next_due_s = _FOREVER
        for sbc_id, cell in self._cells.items():
            if cell.ejected_until_s is not None and cell.ejected_until_s <= now_s:
                self._end_ejection(cell, now_s)
            self._judge_calls(cell, now_s)
            probe = cell.spec.probe
            if probe is not None and cell.spec.host:
                if cell.waiting_s is not None and cell.waiting_s + probe.timeout_s <= now_s:
                    self._overdue(cell, now_s)
                if cell.waiting_s is None and cell.next_s <= now_s and len(leave) < MAX_DUE:
                    leave.append(sbc_id)
                    cell.next_s = now_s + probe.fast_interval_s
            next_due_s = min(next_due_s, _due_s(cell), self._calls_due_s(cell, now_s))
        self._next_due_s = next_due_s
        return leave

    def sent(self, sbc_id: int, now_s: float) -> None:
        """An OPTIONS left."""
        cell = self._cells.get(sbc_id)
        if cell is None or cell.spec.probe is None:
            return
        cell.count += 1
        cell.waiting_s = cell.sent_s = now_s
        cell.voided = False
        self._plan_next(cell, now_s)

    def on_reply(self, sbc_id: int, status: int, retry_after_s: float | None, now_s: float) -> None:
        """A final reply to an OPTIONS came; one that comes too late only shows that somebody is there."""
        cell = self._cells.get(sbc_id)
        if cell is None:
            return
        cell.heard_s = now_s
        probe = cell.spec.probe
        if probe is None or cell.waiting_s is None or status < 200:
            return
        cell.rtt_ms = (now_s - cell.waiting_s) * 1000.0
        verdict = self._replies.verdict(status, has_retry_after=retry_after_s is not None, overrides=probe.replies)
        if verdict is Verdict.FAILED:
            cell.status = status
            self._failed(cell, Why.BAD_REPLY, now_s)
            return
        if verdict is Verdict.BUSY:
            cell.resting_until_s = now_s + min(max(retry_after_s or MIN_RETRY_AFTER_S, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)
        self._passed(cell, now_s)
        if verdict is Verdict.BUSY:
            self._tell(cell, now_s)

    def on_transport_error(self, sbc_id: int, now_s: float) -> None:
        """ICMP, a refused or timed-out connection: the OPTIONS we wait for has failed."""
        cell = self._cells.get(sbc_id)
        if cell is not None and cell.waiting_s is not None:
            self._failed(cell, Why.TRANSPORT_ERROR, now_s)

    def on_local_error(self, sbc_id: int, now_s: float) -> None:
        """We could not send for reasons of our own: no result; tried again after the fast interval."""
        cell = self._cells.get(sbc_id)
        if cell is not None and cell.spec.probe is not None:
            cell.waiting_s = None
            cell.next_s = now_s + cell.spec.probe.fast_interval_s
            self._wake(cell.next_s)

    def on_call(self, sbc_id: int, outcome: CallOutcome, caller: int, now_s: float, sent_s: float | None = None) -> None:
        """An attempt at this SBC told something: report a first 101-199, each final response, and each time-out.

        Args:
            caller: a hash of the calling number; distinct callers tell more than one caller often.
            sent_s: when the INVITE left; None: now.
        """
        cell = self._cells.get(sbc_id)
        if cell is None or outcome is CallOutcome.NEUTRAL:
            return
        sent_s = now_s if sent_s is None else sent_s
        if outcome in TIMEOUTS and now_s - self._gap_end_s < GAP_S:
            return
        if outcome not in TIMEOUTS and outcome is not CallOutcome.TRANSPORT_ERROR:
            cell.heard_s = now_s
        self._callers.heard(caller, now_s)
        if outcome is CallOutcome.BUSY:
            return
        if outcome in FAILURES:
            cell.run.failed(caller, now_s, sent_s)
            self._judge_calls(cell, now_s)
            self._wake(self._calls_due_s(cell, now_s))
        elif cell.run.passed(now_s, sent_s):
            cell.invite_ok_s = sent_s if cell.invite_ok_s is None else max(cell.invite_ok_s, sent_s)
            self._call_passed(cell, now_s)

    def on_gap(self, gap_s: float, now_s: float) -> None:
        """Our own loop stood still for `gap_s` until now: what timed out in it is void, and asked again at once."""
        if gap_s <= GAP_S:
            return
        self._gap_end_s = now_s
        for cell in self._cells.values():
            if cell.waiting_s is not None and cell.spec.probe is not None and cell.waiting_s + cell.spec.probe.timeout_s <= now_s:
                cell.voided = True
        self._wake(now_s)

    def on_heard(self, sbc_id: int, now_s: float) -> None:
        """Anything at all came from its address."""
        cell = self._cells.get(sbc_id)
        if cell is not None:
            cell.heard_s = now_s

    def operating(self, sbc_id: int) -> int:
        cell = self._cells.get(sbc_id)
        return _UNKNOWN if cell is None else cell.operating

    def reason(self, sbc_id: int) -> str:
        cell = self._cells.get(sbc_id)
        return "not in the plan" if cell is None else cell.reason()

    def resting_until_s(self, sbc_id: int) -> float | None:
        """Until when a probe's 503 asked for rest; the core keeps what calls asked for."""
        cell = self._cells.get(sbc_id)
        return None if cell is None else cell.resting_until_s

    def changes(self) -> list[Change]:
        """What is new since the last call, oldest first."""
        told, self._changes = self._changes, []
        return told

    def pack(self, sbc_id: int) -> bytes:
        """What must outlive this router, at most 64 bytes; b"" for an SBC that is not ours."""
        cell = self._cells.get(sbc_id)
        return b"" if cell is None else cell.pack()

    def restore(self, sbc_id: int, data: bytes, now_s: float) -> bool:
        """Go on from what a dead router packed; False if there is nothing to go on from. Its first OPTIONS leaves at once."""
        cell = self._cells.get(sbc_id)
        if cell is None or not cell.restore(data, now_s):
            return False
        cell.next_s = now_s
        cell.waiting_s = None
        self._wake(now_s)
        if cell.operating != _UNKNOWN:
            self._tell(cell, now_s)
        return True

    def observation(self, sbc_id: int, now_s: float) -> Measured:
        """The fields of `SbcObservation` that the judge knows.

        Raises: KeyError for an SBC that is not in the snapshot.
        """
        cell = self._cells[sbc_id]
        resting_s = 0.0 if cell.resting_until_s is None else max(0.0, cell.resting_until_s - now_s)
        return Measured(
            operating=cell.operating,
            reason=cell.reason(),
            since_s=cell.since_s,
            resting_s=resting_s,
            missed_probes=cell.missed,
            last_missed_s=cell.missed_s,
            last_heard_s=cell.heard_s,
            last_sent_s=cell.sent_s,
            probe_rtt_ms=cell.rtt_ms,
        )

    def probe_now(self, sbc_id: int, now_s: float) -> None:
        cell = self._cells.get(sbc_id)
        if cell is not None:
            cell.next_s = now_s
            self._wake(now_s)

    # -- one result ------------------------------------------------------------------------------------------------------------

    def _overdue(self, cell: Cell, now_s: float) -> None:
        if cell.voided:
            cell.waiting_s = None
            cell.next_s = now_s
            return
        self._failed(cell, Why.NO_REPLY, now_s)

    def _passed(self, cell: Cell, now_s: float) -> None:
        probe = cell.spec.probe
        assert probe is not None
        cell.missed, cell.first_lost_s = 0, None
        if cell.rising_since_s is None:
            cell.rising_since_s = now_s
        was_up = cell.level == hysteresis.UNKNOWN or hysteresis.is_up(cell.level, probe.rise)
        level = hysteresis.after_pass(cell.level, probe.rise, probe.fall)
        if not was_up and hysteresis.is_up(level, probe.rise) and now_s - cell.rising_since_s < probe.min_up_s:
            level = probe.rise - 1  # well, but not yet for long enough
        cell.level = level
        self._result_done(cell, now_s)
        self._settle(cell, Why.ANSWERS_PROBES, now_s)

    def _failed(self, cell: Cell, why: Why, now_s: float) -> None:
        probe = cell.spec.probe
        assert probe is not None
        cell.missed += 1
        cell.missed_s = now_s
        cell.rising_since_s = None
        if cell.first_lost_s is None:
            cell.first_lost_s = cell.waiting_s
        was_up = hysteresis.is_up(cell.level, probe.rise)
        level = hysteresis.after_failure(cell.level, probe.rise, probe.fall)
        answers_calls = cell.invite_ok_s is not None and cell.first_lost_s is not None and cell.invite_ok_s >= cell.first_lost_s
        if was_up and level == 0 and answers_calls:
            level, why = probe.rise, Why.SPARED
        cell.level = level
        self._result_done(cell, now_s)
        self._settle(cell, why, now_s)

    def _result_done(self, cell: Cell, now_s: float) -> None:
        """Stop waiting and plan the next OPTIONS by what this result has made of our certainty."""
        sent_s, cell.waiting_s, cell.voided = cell.waiting_s, None, False
        self._plan_next(cell, now_s if sent_s is None else sent_s)
        cell.next_s = max(cell.next_s, now_s)
        self._wake(cell.next_s)

    def _plan_next(self, cell: Cell, sent_s: float) -> None:
        probe = cell.spec.probe
        assert probe is not None
        in_doubt = not hysteresis.is_settled(cell.level, probe.rise, probe.fall)
        cell.next_s = sent_s + wait_s(probe, in_doubt=in_doubt, seed=self._seed, key=cell.spec.sbc_id, count=cell.count)
        self._wake(_due_s(cell))

    # -- calls -----------------------------------------------------------------------------------------------------------------

    def _judge_calls(self, cell: Cell, now_s: float) -> None:
        """Take the SBC down if its failed calls have made their last step; not while a gap's backlog may still clear it."""
        if now_s >= self._steps_done_s(cell) and cell.run.is_over(now_s, several=self._callers.several(now_s)):
            self._eject(cell, now_s)

    def _steps_done_s(self, cell: Cell) -> float:
        return max(cell.run.due_s, self._gap_end_s + GAP_S)

    def _calls_due_s(self, cell: Cell, now_s: float) -> float:
        """When failed calls are to be judged without another call; what could be judged before waits for the next one."""
        due_s = self._steps_done_s(cell)
        return due_s if cell.ejected_until_s is None and cell.run.failures and due_s > now_s else _FOREVER

    def _call_passed(self, cell: Cell, now_s: float) -> None:
        if cell.ejected_until_s is not None:
            count = self._passes.get(cell.spec.sbc_id, 0) + 1
            self._passes[cell.spec.sbc_id] = count
            if count >= CALLS_TO_RETURN:
                self._end_ejection(cell, now_s)
        elif cell.operating == _UNKNOWN:
            probe = cell.spec.probe
            if probe is not None:
                cell.level = hysteresis.top(probe.rise, probe.fall)
            self._settle(cell, Why.ANSWERS_CALLS, now_s, by_call=True)

    def _eject(self, cell: Cell, now_s: float) -> None:
        if cell.ejected_until_s is not None:
            return
        if cell.operating == _IN and now_s - cell.since_s >= EJECTION_MEMORY_S:
            cell.ejections = 0
        cell.ejections += 1
        cell.ejected_until_s = now_s + min(EJECTION_S * cell.ejections, EJECTION_MAX_S)
        cell.invite_ok_s = None
        self._passes.pop(cell.spec.sbc_id, None)
        cell.run.clear()
        self._wake(cell.ejected_until_s)
        self._settle(cell, Why.CALLS_FAILED, now_s)

    def _end_ejection(self, cell: Cell, now_s: float) -> None:
        by_call = self._passes.pop(cell.spec.sbc_id, 0) >= CALLS_TO_RETURN
        cell.ejected_until_s = None
        cell.run.clear()
        self._settle(cell, Why.ANSWERS_CALLS if by_call else Why.EJECTION_OVER, now_s, by_call=by_call)

    # -- the verdict -----------------------------------------------------------------------------------------------------------

    def _settle(self, cell: Cell, why: Why, now_s: float, *, by_call: bool = False) -> None:
        """Draw the operating state from both integers, and tell it if it is new."""
        probe = cell.spec.probe
        if cell.ejected_until_s is not None:
            operating, why = _OUT, Why.CALLS_FAILED
        elif probe is None:
            operating = _IN if by_call else _UNKNOWN
        elif cell.level == hysteresis.UNKNOWN:
            operating = _UNKNOWN
        elif hysteresis.is_up(cell.level, probe.rise):
            operating = _IN
            if why is Why.EJECTION_OVER:
                why = Why.ANSWERS_PROBES
        else:
            operating = _OUT
            if why in (Why.ANSWERS_PROBES, Why.ANSWERS_CALLS, Why.EJECTION_OVER):
                why = Why.NO_REPLY if cell.why is Why.CALLS_FAILED else cell.why  # on the way up, still down for the old reason
        if operating != _IN or why not in (Why.NO_REPLY, Why.BAD_REPLY, Why.TRANSPORT_ERROR):
            cell.why = why  # one lost probe does not change why it is in service
        if operating != cell.operating:
            cell.operating = operating
            cell.since_s = now_s
            self._tell(cell, now_s)

    def _tell(self, cell: Cell, now_s: float) -> None:
        self._changes.append(Change(cell.spec.sbc_id, cell.operating, cell.reason(), now_s, cell.resting_until_s))
        self._wake(now_s)  # a call told it: the next tick, which takes changes, must not wait for a probe

    def _wake(self, at_s: float) -> None:
        self._next_due_s = min(self._next_due_s, at_s)


def _address(spec: ProbeSpec) -> tuple[str, int, str]:
    return spec.host, spec.port, spec.transport


def _take_probe(cell: Cell, spec: ProbeSpec, now_s: float) -> None:
    """Go on under other probe settings: the side we are on stays, a run that had begun does not."""
    before, after = cell.spec.probe, spec.probe
    cell.waiting_s, cell.next_s = None, now_s
    if after is None or before is None or cell.level == hysteresis.UNKNOWN:
        cell.level = hysteresis.UNKNOWN
        if after is not None and cell.operating != _UNKNOWN and cell.ejected_until_s is None:
            cell.level = hysteresis.top(after.rise, after.fall) if cell.operating == _IN else 0
        return
    up = hysteresis.is_up(cell.level, before.rise)
    cell.level = hysteresis.top(after.rise, after.fall) if up else 0


def _due_s(cell: Cell) -> float:
    """When this cell wants to be looked at."""
    due_s = _FOREVER if cell.ejected_until_s is None else cell.ejected_until_s
    probe = cell.spec.probe
    if probe is None or not cell.spec.host:
        return due_s
    return min(due_s, cell.next_s if cell.waiting_s is None else cell.waiting_s + probe.timeout_s)
