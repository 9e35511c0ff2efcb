"""One router's judgement of its SBCs, in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.health.cell import CELL_BYTES
from sipctl.health.judge import EJECTION_S, Judge
from sipctl.model.outcomes import CallOutcome, outcome_of_status
from sipctl.routing.snapshot import Operating, Probe, ProbeSpec

UNKNOWN, IN, OUT = int(Operating.UNKNOWN), int(Operating.IN_SERVICE), int(Operating.OUT_OF_SERVICE)
STEP_S = 0.01


class Bench:
    """A judge, its SBCs' behaviour (None: silence, else a status) and a clock."""

    def __init__(self, count: int = 1, probe: Probe | None = Probe(), seed: int = 1) -> None:  # noqa: B008 - frozen
        self.specs = [ProbeSpec(i, f"sbc-{i}", probe, "10.0.0.1", 5060 + i) for i in range(1, count + 1)]
        self.replies: dict[int, int | None] = {spec.sbc_id: 200 for spec in self.specs}
        self.retry_after_s: float | None = None
        self.judge = Judge(seed)
        self.now_s = 1000.0
        self.sent: list[tuple[float, int]] = []
        self.judge.swap(self.specs, self.now_s)

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.turn()
            self.now_s += STEP_S

    def turn(self) -> None:
        for sbc_id in self.judge.due(self.now_s):
            self.judge.sent(sbc_id, self.now_s)
            self.sent.append((self.now_s, sbc_id))
            status = self.replies[sbc_id]
            if status is not None:
                self.judge.on_reply(sbc_id, status, self.retry_after_s, self.now_s)

    def until(self, operating: int, limit_s: float = 60.0, sbc_id: int = 1) -> float:
        began_s = self.now_s
        while self.judge.operating(sbc_id) != operating:
            assert self.now_s - began_s < limit_s, f"not {operating} after {limit_s} s: {self.judge.reason(sbc_id)}"
            self.turn()
            self.now_s += STEP_S
        return self.now_s - began_s

    def call(self, outcome: CallOutcome, caller: int = 1, sent_s: float | None = None) -> None:
        self.judge.on_call(1, outcome, caller, self.now_s, sent_s)


def test_first_probe_leaves_at_once_and_its_result_decides() -> None:
    bench = Bench(count=2)
    bench.replies[2] = 500
    assert bench.judge.operating(1) == UNKNOWN
    bench.turn()
    assert [sbc_id for _, sbc_id in bench.sent] == [1, 2]
    assert (bench.judge.operating(1), bench.judge.operating(2)) == (IN, OUT)
    assert [(c.sbc_id, c.operating) for c in bench.judge.changes()] == [(1, IN), (2, OUT)]
    assert bench.judge.changes() == []
    assert bench.judge.reason(2) == "OPTIONS failed once, last reply 500"


@pytest.mark.parametrize("seed", range(20))
def test_a_silent_sbc_is_down_within_seven_seconds_at_the_default_probe(seed: int) -> None:
    bench = Bench(seed=seed)
    bench.run(10.0 + seed * 0.13)
    bench.replies[1] = None
    took_s = bench.until(OUT)
    assert 3.0 <= took_s <= 7.0
    assert bench.judge.reason(1) == "no reply to OPTIONS, 3 times in a row"


def test_two_lost_probes_are_forgiven_and_the_return_takes_five_replies() -> None:
    bench = Bench()
    bench.run(5.0)
    bench.replies[1] = None
    bench.run(3.0)
    bench.replies[1] = 200
    bench.run(10.0)
    assert bench.judge.operating(1) == IN
    bench.replies[1] = None
    bench.until(OUT)
    bench.replies[1] = 200
    before = len(bench.sent)
    bench.until(IN)
    assert len(bench.sent) - before == 5


def test_min_up_must_have_passed_before_a_return_counts() -> None:
    bench = Bench(probe=Probe(min_up_s=20.0))
    bench.replies[1] = None
    bench.until(OUT)
    bench.replies[1] = 200
    assert 20.0 <= bench.until(IN) <= 24.0


def test_intervals_are_jittered_by_a_fifth_and_fast_while_in_doubt() -> None:
    bench = Bench()
    bench.run(120.0)
    gaps = [b - a for (a, _), (b, _) in zip(bench.sent, bench.sent[1:], strict=False)]
    assert all(1.6 - STEP_S <= gap <= 2.4 + 2 * STEP_S for gap in gaps)
    assert max(gaps) - min(gaps) > 0.4
    bench.replies[1] = 500
    before = len(bench.sent)
    bench.until(OUT)
    fast = [b - a for (a, _), (b, _) in zip(bench.sent[before:], bench.sent[before + 1 :], strict=False)]
    assert fast and all(0.4 - STEP_S <= gap <= 0.6 + 2 * STEP_S for gap in fast)


def test_two_judges_of_one_seed_probe_at_the_same_instants_and_of_another_do_not() -> None:
    benches = [Bench(seed=7), Bench(seed=7), Bench(seed=8)]
    for bench in benches:
        bench.run(30.0)
    assert benches[0].sent == benches[1].sent != benches[2].sent


def test_busy_is_not_dead() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.judge.changes()
    bench.replies[1], bench.retry_after_s = 503, 300.0
    bench.run(20.0)
    assert bench.judge.operating(1) == IN
    change = bench.judge.changes()[-1]
    assert change.operating == IN and change.resting_until_s is not None and change.resting_until_s > bench.now_s + 50
    assert 50.0 < bench.judge.observation(1, bench.now_s).resting_s <= 60.0


def test_503_without_retry_after_takes_it_down() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.replies[1] = 503
    assert bench.until(OUT) < 7.0


def test_a_transport_error_counts_without_waiting_for_the_timeout() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.replies[1] = None
    began_s = bench.now_s
    while bench.judge.operating(1) == IN and bench.now_s < began_s + 10:
        bench.turn()
        bench.judge.on_transport_error(1, bench.now_s)
        bench.now_s += STEP_S
    assert bench.now_s - began_s < 4.0
    assert bench.judge.reason(1).endswith("last with a transport error")


def test_probes_alone_never_take_down_an_sbc_that_answers_calls() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.replies[1] = None
    for _ in range(120):
        bench.run(1.0)
        bench.call(CallOutcome.ANSWERED)
    assert bench.judge.operating(1) == IN
    assert "answers calls" in bench.judge.reason(1)
    assert bench.judge.observation(1, bench.now_s).missed_probes > 50


def test_an_answer_to_an_invite_that_left_before_the_first_lost_probe_does_not_spare_it() -> None:
    bench = Bench()
    bench.run(3.0)
    left_s = bench.now_s
    bench.replies[1] = None
    bench.run(2.9)
    bench.call(CallOutcome.ANSWERED, sent_s=left_s)
    assert bench.until(OUT) < 7.0


def test_a_timeout_that_fell_into_a_gap_is_void_and_asked_again_at_once() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.replies[1] = None
    bench.now_s = bench.judge.next_due_s or 0.0
    bench.turn()
    for _ in range(10):
        bench.now_s += 1.2
        bench.judge.on_gap(1.2, bench.now_s)
        bench.turn()
    assert bench.judge.operating(1) == IN
    assert bench.judge.observation(1, bench.now_s).missed_probes == 0
    assert len([1 for at_s, _ in bench.sent if at_s > 1003.0]) == 11
    bench.until(OUT)


def test_a_gap_of_250_ms_voids_nothing() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.replies[1] = None
    bench.now_s = bench.judge.next_due_s or 0.0
    bench.turn()
    bench.now_s += 1.2
    bench.judge.on_gap(0.25, bench.now_s)
    bench.turn()
    assert bench.judge.observation(1, bench.now_s).missed_probes == 1


@pytest.mark.parametrize("outcome", [CallOutcome.FAILED, CallOutcome.NO_REPLY, CallOutcome.TRANSPORT_ERROR])
def test_options_fine_and_invites_failing_is_down_after_five_failures(outcome: CallOutcome) -> None:
    bench = Bench()
    bench.run(3.0)
    for number in range(5):
        assert bench.judge.operating(1) == IN
        bench.call(outcome, caller=number)
        bench.run(1.0 if number < 4 else 0.0)
    assert bench.judge.operating(1) == OUT


def test_many_failures_at_once_are_one_step_and_take_it_down_within_1300_ms() -> None:
    bench = Bench()
    bench.run(3.0)
    began_s = bench.now_s
    number = 0
    while bench.judge.operating(1) == IN:
        bench.call(CallOutcome.FAILED, caller=number)
        number += 1
        bench.run(STEP_S)
    assert 1.0 - STEP_S <= bench.now_s - began_s <= 1.3


def test_a_success_in_the_window_cancels_its_failures() -> None:
    bench = Bench()
    bench.run(3.0)
    for number in range(400):
        bench.call(CallOutcome.FAILED, caller=number)
        bench.run(0.05)
        bench.call(CallOutcome.ANSWERED if number % 2 else CallOutcome.PASSED, caller=number + 1)
        bench.run(0.05)
    assert bench.judge.operating(1) == IN


def test_answers_to_old_ringing_calls_do_not_hide_that_new_ones_fail() -> None:
    bench = Bench()
    bench.run(3.0)
    deaf_s = bench.now_s
    bench.run(1.0)
    began_s = bench.now_s
    number = 0
    while bench.judge.operating(1) == IN:
        bench.call(CallOutcome.NO_REPLY, caller=number, sent_s=bench.now_s - 1.0)
        bench.call(CallOutcome.ANSWERED, caller=number + 1000, sent_s=deaf_s - 5.0)
        number += 1
        bench.run(0.05)
        assert bench.now_s - began_s < 1.4


def test_one_caller_alone_takes_nothing_down_where_there_are_several() -> None:
    bench = Bench(count=2)
    bench.run(3.0)
    for _ in range(20):
        bench.judge.on_call(2, CallOutcome.ANSWERED, 42, bench.now_s)
        bench.call(CallOutcome.FAILED, caller=7)
        bench.run(0.5)
    assert bench.judge.operating(1) == IN
    bench.call(CallOutcome.FAILED, caller=8)
    assert bench.judge.operating(1) == OUT


def test_a_single_caller_is_enough_where_there_is_only_one() -> None:
    bench = Bench()
    bench.run(3.0)
    for _ in range(5):
        bench.call(CallOutcome.FAILED, caller=7)
        bench.run(0.5)
    assert bench.judge.operating(1) == OUT


def take_down_by_calls(bench: Bench) -> None:
    for number in range(5):
        bench.call(CallOutcome.FAILED, caller=number)
        bench.run(0.3)
    assert bench.judge.operating(1) == OUT


def test_options_alone_does_not_bring_back_what_calls_took_down_before_its_ejection_is_over() -> None:
    bench = Bench()
    bench.run(3.0)
    take_down_by_calls(bench)
    assert "30 s" in bench.judge.reason(1)
    took_s = bench.until(IN, limit_s=40.0)
    assert EJECTION_S - 0.5 <= took_s <= EJECTION_S


def test_each_ejection_is_30_s_longer_and_never_longer_than_five_minutes() -> None:
    bench = Bench()
    bench.run(3.0)
    lengths = []
    for _ in range(12):
        take_down_by_calls(bench)
        lengths.append(round(bench.until(IN, limit_s=400.0)))
    assert lengths == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]


def test_three_answered_calls_end_an_ejection_early() -> None:
    bench = Bench()
    bench.run(3.0)
    take_down_by_calls(bench)
    for _ in range(3):
        assert bench.judge.operating(1) == OUT
        bench.run(1.0)
        bench.call(CallOutcome.ANSWERED)
    assert bench.judge.operating(1) == IN


def test_an_sbc_that_is_silent_to_both_stays_down_after_its_ejection() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.replies[1] = None
    take_down_by_calls(bench)
    bench.run(60.0)
    assert bench.judge.operating(1) == OUT
    assert "no reply to OPTIONS" in bench.judge.reason(1)


def test_rests_and_refusals_of_calls_take_nothing_down() -> None:
    bench = Bench()
    bench.run(3.0)
    for number in range(50):
        bench.call(outcome_of_status(503, has_retry_after=True), caller=number)
        bench.call(outcome_of_status(486), caller=number)
        bench.call(outcome_of_status(500, q850=17), caller=number)
        bench.call(CallOutcome.NEUTRAL, caller=number)
        bench.run(0.3)
    assert bench.judge.operating(1) == IN


def test_call_timeouts_that_fell_into_a_gap_are_void() -> None:
    bench = Bench()
    bench.run(3.0)
    for number in range(10):
        bench.now_s += 2.0
        bench.judge.on_gap(2.0, bench.now_s)
        bench.call(CallOutcome.NO_REPLY, caller=number)
    assert bench.judge.operating(1) == IN


def test_without_probes_calls_alone_decide() -> None:
    bench = Bench(probe=None)
    bench.run(5.0)
    assert bench.sent == [] and bench.judge.operating(1) == UNKNOWN
    bench.call(CallOutcome.PASSED)
    assert bench.judge.operating(1) == IN
    bench.run(0.3)
    take_down_by_calls(bench)
    bench.until(UNKNOWN, limit_s=40.0)


def test_an_sbc_without_address_is_not_probed_until_it_has_one() -> None:
    bench = Bench()
    bench.judge.swap([replace(bench.specs[0], host="")], bench.now_s)
    bench.run(5.0)
    assert bench.sent == []
    bench.judge.swap(bench.specs, bench.now_s)
    bench.turn()
    assert len(bench.sent) == 1


def test_another_address_is_another_box_and_the_same_one_keeps_its_state() -> None:
    bench = Bench()
    bench.run(3.0)
    bench.judge.swap(bench.specs, bench.now_s)
    assert bench.judge.operating(1) == IN
    bench.judge.swap([replace(bench.specs[0], probe=Probe(fall=1, rise=2))], bench.now_s)
    assert bench.judge.operating(1) == IN
    bench.judge.swap([replace(bench.specs[0], host="10.0.0.9")], bench.now_s)
    assert bench.judge.operating(1) == UNKNOWN
    bench.judge.swap([], bench.now_s)
    assert bench.judge.operating(1) == UNKNOWN and bench.judge.next_due_s is not None
    bench.turn()
    assert bench.judge.next_due_s is None


def test_a_successor_goes_on_from_the_packed_state() -> None:
    bench = Bench()
    bench.run(3.0)
    take_down_by_calls(bench)
    packed = bench.judge.pack(1)
    assert 0 < len(packed) <= CELL_BYTES
    ejected_s = bench.now_s
    bench.judge = Judge(99)
    bench.judge.swap(bench.specs, bench.now_s)
    assert bench.judge.restore(1, packed.ljust(CELL_BYTES, b"\0"), bench.now_s)
    assert [c.operating for c in bench.judge.changes()] == [OUT]
    bench.until(IN, limit_s=40.0)
    assert bench.now_s - ejected_s <= EJECTION_S


@pytest.mark.parametrize("data", [b"", bytes(CELL_BYTES), b"\xff" * CELL_BYTES, b"\x01\x00"])
def test_an_empty_or_foreign_cell_is_not_taken(data: bytes) -> None:
    bench = Bench()
    assert bench.judge.restore(1, data, bench.now_s) is False
    assert bench.judge.operating(1) == UNKNOWN


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ok", "silence", "500", "call", "fail", "gap", "pack", "late"]), max_size=80), st.integers(0, 9))
def test_whatever_happens_the_judge_is_whole_and_its_packed_form_restores_the_same_state(script: list[str], seed: int) -> None:
    bench = Bench(seed=seed)
    for number, word in enumerate(script):
        match word:
            case "ok":
                bench.replies[1] = 200
            case "silence":
                bench.replies[1] = None
            case "500":
                bench.replies[1] = 500
            case "call":
                bench.call(CallOutcome.ANSWERED, caller=number)
            case "fail":
                bench.call(CallOutcome.FAILED, caller=number)
            case "gap":
                bench.now_s += 0.7
                bench.judge.on_gap(0.7, bench.now_s)
            case "late":
                bench.judge.on_reply(1, 200, None, bench.now_s)
            case "pack":
                data, before = bench.judge.pack(1), bench.judge.operating(1)
                bench.judge = Judge(seed)
                bench.judge.swap(bench.specs, bench.now_s)
                assert bench.judge.restore(1, data, bench.now_s)
                assert bench.judge.operating(1) == before
        bench.run(0.4)
        assert bench.judge.operating(1) in (UNKNOWN, IN, OUT)
        assert bench.judge.reason(1)
        assert bench.judge.next_due_s is not None
        assert bench.judge.next_due_s <= bench.now_s + 300.0
