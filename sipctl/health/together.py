"""One judgement for all routers of a machine: the lowest live one probes and judges, the others follow it (CALLS 3.1, 3.4).

Who sees what. Every router has a `Together` around its own `Judge`. The leader's judge works as it does alone, and what it comes
to know of an SBC stands in its section of the board. A follower sends no OPTIONS; it takes over the leader's cells whenever they
change, so its calls are routed by them, and it is ready to lead. What a follower's calls show is evidence that travels to the
leader (`take_evidence`, `heed_evidence`): so the integer of live calls counts those of all routers together, at most one step per
window, and two callers are two wherever they were served.

Failures travel at once. Of calls that pass only the latest of each SBC matters, and one of another caller beside it: they travel
every PASSES_EVERY_S, so that a busy follower does not pay for each.

Invariant: a section of the board is believed only if it was signed no earlier than what was believed before. So a slot whose
router died and came back is not believed until it has taken over what its stand-in knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from sipctl.health.judge import GAP_S, Change, Judge, Measured
from sipctl.health.live_calls import FAILURES, TIMEOUTS
from sipctl.model.outcomes import CallOutcome
from sipctl.routing.board import Board, Section
from sipctl.routing.snapshot import ProbeSpec

PASSES_EVERY_S: Final = 0.05
MAX_EVIDENCE: Final = 2000  # entries that wait to travel; beyond it the oldest stay, since a run begins with them

_ENTRY: Final = Struct("<IBIdd")  # SBC, outcome, caller, when, when its INVITE left
_OUTCOMES: Final = tuple(CallOutcome)
_NUMBER_OF: Final = {outcome: number for number, outcome in enumerate(_OUTCOMES)}

Evidence = tuple[int, CallOutcome, int, float, float]


class Together:
    """The judge of one of several routers (`call.judging.Judge`); see the module's docstring."""

    __slots__ = (
        "_board", "_changes", "_gap_end_s", "_is_signed", "_judge", "_passed", "_passed_too", "_passes_due_s",
        "_sbcs", "_seen", "_seen_s", "_taken", "_waiting", "_written", "evidence_dropped", "leads",
    )  # fmt: skip

    def __init__(self, judge: Judge, board: Board) -> None:
        self._judge = judge
        self._board = board
        self.leads = False
        self.evidence_dropped = 0  # beyond MAX_EVIDENCE, or heard by one who does not lead
        self._sbcs: tuple[int, ...] = ()
        self._changes: list[Change] = []  # that a follower learned, and the core has not taken yet
        self._taken: dict[int, bytes] = {}  # what a follower learned of each SBC last
        self._seen = (-1, -1)  # slot and signature of what was taken over last
        self._seen_s = 0.0
        self._written: dict[int, bytes] = {}  # what stands in the own section
        self._is_signed = True
        self._waiting: list[Evidence] = []
        self._passed: dict[int, Evidence] = {}
        self._passed_too: dict[int, Evidence] = {}
        self._passes_due_s = 0.0
        self._gap_end_s = float("-inf")

    # -- who leads -------------------------------------------------------------------------------------------------------------

    @property
    def leader(self) -> int:
        """The slot that judged when this router last looked; -1 before."""
        return self._board.slot if self.leads else self._seen[0]

    def attend(self, now_s: float) -> None:
        """Look at the board: lead if nobody lower lives, else learn what the leader knows. Every few milliseconds.

        A router leads before it says that it lives, so that nobody believes the section of its predecessor.
        """
        board = self._board
        leader = board.leader(now_s)
        if leader < 0 or leader >= board.slot:
            newest = board.newest_health()  # of one that stood in for this one while it stood still
            if not self.leads or (newest is not None and newest.health_at_s > board.mine.health_at_s):
                self._take_the_lead(now_s)
            elif not self._is_signed:
                self._sign(now_s)
            return
        self.leads = False
        section = board.sections[leader]
        seen = (leader, section.health_seq)
        if seen != self._seen and section.health_at_s >= self._seen_s:
            self._seen, self._seen_s = seen, section.health_at_s
            self._learn(section, now_s)

    def _take_the_lead(self, now_s: float) -> None:
        newest = self._board.newest_health()
        if newest is not None:
            self._learn(newest, now_s)
        self.leads = True
        self._written.clear()
        self._taken.clear()
        for sbc_id in self._sbcs:
            self._judge.probe_now(sbc_id, now_s)
            self._write(sbc_id, self._judge.pack(sbc_id))
        for entry in self._take_all():  # was to be told to the one who is dead
            self._judge.on_call(*entry)
        self._sign(now_s)

    def _learn(self, section: Section, now_s: float) -> None:
        judge = self._judge
        known = frozenset(self._sbcs)
        for sbc_id, data in section.read_health():
            if sbc_id not in known or data == self._taken.get(sbc_id):
                continue
            self._taken[sbc_id] = data
            before = judge.operating(sbc_id), judge.resting_until_s(sbc_id)
            if judge.restore(sbc_id, data, now_s):
                after = judge.operating(sbc_id), judge.resting_until_s(sbc_id)
                if after != before:
                    self._changes.append(Change(sbc_id, after[0], judge.reason(sbc_id), now_s, after[1]))
        judge.changes()  # of what was restored as it was

    def _write(self, sbc_id: int, data: bytes) -> None:
        if data and self._written.get(sbc_id) != data and self._board.mine.write_health(sbc_id, data):
            self._written[sbc_id] = data
            self._is_signed = False

    def _sign(self, now_s: float) -> None:
        self._board.mine.sign_health(now_s)
        self._is_signed = True
        self._seen = (self._board.slot, self._board.mine.health_seq)
        self._seen_s = now_s

    # -- what the call path asks and tells (`call.judging.Judge`) ----------------------------------------------------------------

    @property
    def next_due_s(self) -> float | None:
        if self._changes:
            return 0.0
        return self._judge.next_due_s if self.leads else None

    def swap(self, sbcs: Sequence[ProbeSpec], now_s: float) -> None:
        self._judge.swap(sbcs, now_s)
        self._sbcs = tuple(spec.sbc_id for spec in sbcs)
        self._seen = (-1, -1)
        self._taken.clear()
        newest = self._board.newest_health()
        if newest is not None and not self.leads:
            self._learn(newest, now_s)

    def due(self, now_s: float) -> list[int]:
        return self._judge.due(now_s) if self.leads else []

    def sent(self, sbc_id: int, now_s: float) -> None:
        self._judge.sent(sbc_id, now_s)

    def on_reply(self, sbc_id: int, status: int, retry_after_s: float | None, now_s: float) -> None:
        if self.leads:
            self._judge.on_reply(sbc_id, status, retry_after_s, now_s)

    def on_transport_error(self, sbc_id: int, now_s: float) -> None:
        if self.leads:
            self._judge.on_transport_error(sbc_id, now_s)

    def on_local_error(self, sbc_id: int, now_s: float) -> None:
        self._judge.on_local_error(sbc_id, now_s)

    def on_call(self, sbc_id: int, outcome: CallOutcome, caller: int, now_s: float, sent_s: float | None = None) -> None:
        if self.leads:
            self._judge.on_call(sbc_id, outcome, caller, now_s, sent_s)
            return
        if outcome is CallOutcome.NEUTRAL or (outcome in TIMEOUTS and now_s - self._gap_end_s < GAP_S):
            return
        entry = (sbc_id, outcome, caller & 0xFFFFFFFF, now_s, now_s if sent_s is None else sent_s)
        if outcome in FAILURES:
            if len(self._waiting) < MAX_EVIDENCE:
                self._waiting.append(entry)
            else:
                self.evidence_dropped += 1
            return
        before = self._passed.get(sbc_id)
        if before is not None and before[2] != entry[2]:
            self._passed_too[sbc_id] = before
        self._passed[sbc_id] = entry

    def on_gap(self, gap_s: float, now_s: float) -> None:
        if gap_s > GAP_S:
            self._gap_end_s = now_s
        self._judge.on_gap(gap_s, now_s)

    def on_heard(self, sbc_id: int, now_s: float) -> None:
        self._judge.on_heard(sbc_id, now_s)

    def operating(self, sbc_id: int) -> int:
        return self._judge.operating(sbc_id)

    def changes(self) -> list[Change]:
        """What is new; a leader's followers hear it with this."""
        told = self._changes + list(self._judge.changes())
        self._changes = []
        if self.leads and told:
            for change in told:
                self._write(change.sbc_id, self._judge.pack(change.sbc_id))
            # Evidence may be older than what was signed last, and an older signature is believed by nobody.
            self._sign(max(told[-1].at_s, self._board.mine.health_at_s))
        return told

    def pack(self, sbc_id: int) -> bytes:
        """What the slot's memory keeps, from time to time; a leader's followers hear it too, with the next `attend`."""
        data = self._judge.pack(sbc_id)
        if self.leads:
            self._write(sbc_id, data)
        return data

    def restore(self, sbc_id: int, data: bytes, now_s: float) -> bool:
        """Go on from what the slot's predecessor kept, unless the board knows better."""
        return self._board.newest_health() is None and self._judge.restore(sbc_id, data, now_s)

    def observation(self, sbc_id: int, now_s: float) -> Measured:
        return self._judge.observation(sbc_id, now_s)

    def probe_now(self, sbc_id: int, now_s: float) -> None:
        if self.leads:
            self._judge.probe_now(sbc_id, now_s)

    # -- evidence --------------------------------------------------------------------------------------------------------------

    def take_evidence(self, now_s: float) -> bytes:
        """What the leader must hear now of this router's calls; b"" for nothing, and in the leader itself."""
        if not self._waiting and (not self._passed or now_s < self._passes_due_s):
            return b""
        self._passes_due_s = now_s + PASSES_EVERY_S
        return b"".join(
            _ENTRY.pack(sbc_id, _NUMBER_OF[outcome], caller, at_s, sent_s)
            for sbc_id, outcome, caller, at_s, sent_s in self._take_all()
        )

    def _take_all(self) -> list[Evidence]:
        entries = [*self._passed_too.values(), *self._passed.values(), *self._waiting]
        self._passed_too.clear()
        self._passed.clear()
        self._waiting.clear()
        return entries

    def heed_evidence(self, data: bytes) -> None:
        """What a follower's calls showed."""
        for sbc_id, number, caller, at_s, sent_s in _ENTRY.iter_unpack(data[: len(data) - len(data) % _ENTRY.size]):
            if self.leads and number < len(_OUTCOMES):
                self._judge.on_call(sbc_id, _OUTCOMES[number], caller, at_s, sent_s)
            else:
                self.evidence_dropped += 1
