"""Several routers of one machine, one judgement: who probes, what the others know, and what happens when the prober dies."""

from __future__ import annotations

from sipctl.health.judge import Judge
from sipctl.health.live_calls import FALL
from sipctl.health.together import MAX_EVIDENCE, Together
from sipctl.model.outcomes import CallOutcome
from sipctl.routing.board import LIVE_S, Board, board_bytes
from sipctl.routing.snapshot import Operating, Probe, ProbeSpec

UNKNOWN, IN, OUT = int(Operating.UNKNOWN), int(Operating.IN_SERVICE), int(Operating.OUT_OF_SERVICE)
STEP_S = 0.01


class Bench:
    """Routers on one board, the SBCs they probe, and a clock."""

    def __init__(self, routers: int = 3, probe: Probe | None = Probe(min_up_s=0.0)) -> None:  # noqa: B008 - frozen
        self.memory = memoryview(bytearray(board_bytes(routers)))
        self.routers = routers
        self.specs = [ProbeSpec(number, f"sbc-{number}", probe, "10.0.0.1", 5060 + number) for number in (1, 2)]
        self.replies: dict[int, int | None] = {1: 200, 2: 200}
        self.now_s = 1000.0
        self.sent: list[tuple[int, int]] = []  # (slot, SBC)
        self.changes: dict[int, list[tuple[int, int]]] = {slot: [] for slot in range(routers)}
        self.judges: dict[int, Together] = {}
        for slot in range(routers):
            self.begin(slot)

    def begin(self, slot: int) -> None:
        board = Board(self.memory, self.routers, slot)
        judge = self.judges[slot] = Together(Judge(slot), board)
        judge.swap(self.specs, self.now_s)
        judge.attend(self.now_s)
        board.beat(self.now_s)

    def die(self, slot: int) -> None:
        del self.judges[slot]
        Board(self.memory, self.routers, -1).mark_dead(slot)

    def run(self, seconds: float, *, frozen: int = -1) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += STEP_S
            for slot, judge in self.judges.items():
                if slot != frozen:
                    self._turn(slot, judge)

    def _turn(self, slot: int, judge: Together) -> None:
        judge.attend(self.now_s)
        Board(self.memory, self.routers, slot).beat(self.now_s)
        for sbc_id in judge.due(self.now_s):
            judge.sent(sbc_id, self.now_s)
            self.sent.append((slot, sbc_id))
            status = self.replies[sbc_id]
            if status is not None:
                judge.on_reply(sbc_id, status, None, self.now_s)
        evidence = judge.take_evidence(self.now_s)
        if evidence and judge.leader in self.judges:
            self.judges[judge.leader].heed_evidence(evidence)
        self.changes[slot] += [(change.sbc_id, change.operating) for change in judge.changes()]
        for spec in self.specs:
            judge.pack(spec.sbc_id)

    def seen(self, sbc_id: int = 1) -> list[int]:
        return [judge.operating(sbc_id) for judge in self.judges.values()]

    def call(self, slot: int, outcome: CallOutcome, caller: int) -> None:
        self.judges[slot].on_call(1, outcome, caller, self.now_s)


def test_the_lowest_probes_for_all_and_all_know_what_it_found() -> None:
    bench = Bench()
    bench.replies[2] = None
    bench.run(8.0)
    assert {slot for slot, _ in bench.sent} == {0}
    assert bench.seen(1) == [IN, IN, IN]
    assert bench.seen(2) == [OUT, OUT, OUT]
    assert all(changes == [(1, IN), (2, OUT)] for changes in bench.changes.values())
    assert bench.judges[2].observation(2, bench.now_s).missed_probes >= 1


def test_when_the_prober_dies_the_next_lowest_probes_at_once_and_knows_what_was_known() -> None:
    bench = Bench()
    bench.replies[2] = None
    bench.run(8.0)
    bench.sent.clear()
    bench.die(0)
    bench.run(STEP_S)
    assert {(1, 1), (1, 2)} <= set(bench.sent)
    assert bench.seen(2) == [OUT, OUT]
    bench.replies[2] = 200
    bench.run(8.0)
    assert bench.seen(2) == [IN, IN]
    bench.begin(0)
    assert bench.judges[0].operating(2) == IN, "not what its slot had known when it died"
    bench.sent.clear()
    bench.run(6.0)
    assert {slot for slot, _ in bench.sent} == {0}
    assert bench.seen(2) == [IN, IN, IN]


def test_a_prober_that_stands_still_is_replaced_after_a_second_and_takes_over_again() -> None:
    bench = Bench()
    bench.run(2.0)
    bench.sent.clear()
    bench.run(LIVE_S + 0.05, frozen=0)
    assert {slot for slot, _ in bench.sent} == {1}
    bench.replies[1] = None
    bench.run(8.0, frozen=0)
    assert bench.judges[1].operating(1) == OUT
    bench.run(STEP_S)
    assert bench.seen(1) == [OUT, OUT, OUT], "its old knowledge is believed by nobody, itself included"


def test_failed_calls_of_all_routers_are_one_run_and_two_callers_are_two_wherever_they_were_served() -> None:
    bench = Bench()
    bench.run(2.0)
    for number in range(FALL):
        bench.call(number % 3, CallOutcome.FAILED, caller=number)
        bench.run(0.3)
    bench.run(0.5)
    assert bench.seen(1) == [OUT, OUT, OUT]
    assert bench.seen(2) == [IN, IN, IN]


def test_no_more_than_one_step_a_window_from_all_routers_together() -> None:
    bench = Bench()
    bench.run(2.0)
    for slot in (1, 2):
        for caller in range(20):
            bench.call(slot, CallOutcome.NO_REPLY, caller)
    bench.run(2.0)
    assert bench.seen(1) == [IN, IN, IN], "forty failures in one moment are one moment"


def test_calls_that_pass_elsewhere_cancel_failures_and_spare_what_probes_would_take_down() -> None:
    bench = Bench()
    bench.run(2.0)
    for _ in range(2 * FALL):
        bench.call(1, CallOutcome.FAILED, caller=1)
        bench.call(2, CallOutcome.ANSWERED, caller=2)
        bench.run(0.3)
    assert bench.seen(1) == [IN, IN, IN]
    bench.replies[1] = None
    for _ in range(40):
        bench.call(2, CallOutcome.PASSED, caller=3)
        bench.run(0.3)
    assert bench.seen(1) == [IN, IN, IN], "OPTIONS are lost, calls of another router are answered"


def test_only_the_latest_passes_travel_and_failures_at_once() -> None:
    bench = Bench()
    follower = bench.judges[1]
    for caller in range(50):
        follower.on_call(1, CallOutcome.ANSWERED, caller, bench.now_s)
    first = follower.take_evidence(bench.now_s)
    follower.on_call(1, CallOutcome.ANSWERED, 7, bench.now_s)
    assert follower.take_evidence(bench.now_s + 0.01) == b""
    follower.on_call(1, CallOutcome.FAILED, 8, bench.now_s)
    second = follower.take_evidence(bench.now_s + 0.01)
    assert len(first) == len(second), "two of an SBC: the latest, and one of another caller; then a pass and a failure"


def test_evidence_is_bounded_and_what_is_lost_is_counted() -> None:
    bench = Bench(routers=2)
    for caller in range(MAX_EVIDENCE + 5):
        bench.call(1, CallOutcome.FAILED, caller)
    assert bench.judges[1].evidence_dropped == 5
    bench.judges[1].heed_evidence(bench.judges[1].take_evidence(bench.now_s)[:50])
    assert bench.judges[1].evidence_dropped == 7, "one that does not lead hears no evidence"


def test_a_stall_of_a_followers_own_loop_is_no_evidence() -> None:
    bench = Bench(routers=2)
    bench.judges[1].on_gap(1.0, bench.now_s)
    bench.call(1, CallOutcome.NO_REPLY, 1)
    assert bench.judges[1].take_evidence(bench.now_s) == b""


def test_what_calls_took_down_comes_back_unmeasured_for_all() -> None:
    bench = Bench(probe=None)
    bench.run(0.1)
    for number in range(FALL):
        bench.call(number % 3, CallOutcome.FAILED, caller=number)
        bench.run(0.3)
    bench.run(1.0)
    assert bench.seen(1) == [OUT, OUT, OUT]
    bench.run(31.0)
    assert bench.seen(1) == [UNKNOWN, UNKNOWN, UNKNOWN]
    assert all(changes[-1] == (1, UNKNOWN) for changes in bench.changes.values())


def test_a_failure_shown_by_evidence_older_than_the_last_signature_is_believed_at_once() -> None:
    bench = Bench(routers=2, probe=None)
    bench.run(0.1)
    for caller in range(FALL - 1):
        bench.call(1, CallOutcome.FAILED, caller)
        bench.run(0.5)
    leader, follower = bench.judges[0], bench.judges[1]
    follower.on_call(1, CallOutcome.FAILED, FALL, bench.now_s - 0.05)
    leader.on_call(2, CallOutcome.FAILED, 1, bench.now_s)  # what is known of another SBC is told meanwhile
    leader.pack(2)
    leader.attend(bench.now_s)
    follower.attend(bench.now_s)
    assert bench.seen(1) != [OUT, OUT]
    leader.heed_evidence(follower.take_evidence(bench.now_s))
    assert leader.changes()[-1].at_s < bench.now_s
    follower.attend(bench.now_s)
    assert bench.seen(1) == [OUT, OUT]
