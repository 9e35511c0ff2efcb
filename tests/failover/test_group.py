"""One group through losses, returns, orders and doubts, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.failover.group import settle
from sipctl.failover.guards import LATCH_WINDOW_S
from sipctl.failover.machine import State
from sipctl.failover.memory import BCP, IN, OUT, PRIMARY, Inputs, Memory, Order, Policy, Step, decision_of, resumed
from sipctl.failover.records import read_memory, replay, written_inputs, written_memory

AUTOMATIC = Policy("acme-prod", "acme-bcp", failback="automatic")
UNIX_S = 1_800_000_000.0


class Bench:
    """One group, both tenants' states, and a clock of one-second steps."""

    def __init__(self, policy: Policy = AUTOMATIC) -> None:
        self.policy = policy
        self.memory = Memory()
        self.primary = self.bcp = IN
        self.now_s = 100.0
        self.extra: dict[str, Any] = {}
        self.steps: list[tuple[Memory, Inputs, Step]] = []

    def inputs(self, order: Order | None = None) -> Inputs:
        return Inputs(self.policy, self.primary, self.bcp, self.now_s, UNIX_S + self.now_s, order=order, **self.extra)

    def evaluate(self, order: Order | None = None) -> None:
        self.memory, steps = settle(self.memory, self.inputs(order))
        self.steps.extend(steps)

    def run(self, seconds: float, step_s: float = 1.0) -> None:
        for _ in range(round(seconds / step_s)):
            self.evaluate()
            self.now_s += step_s
        self.evaluate()

    def order(self, kind: str, to: str = PRIMARY, *, now: bool = False) -> None:
        self.evaluate(Order(kind, "ops-1", "a reason", to, now))

    @property
    def place(self) -> tuple[str, int]:
        return self.memory.state, self.memory.bcp_percent

    @property
    def rules(self) -> list[str]:
        return [step.rule for _, _, step in self.steps]


def test_primary_lost_waits_hold_off_then_goes_to_bcp_with_a_sentence() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(4.0)
    assert bench.place == ("hold-off", 0)
    bench.run(1.0)
    assert bench.place == ("on-bcp", 100)
    assert bench.memory.reason == (
        "acme-prod has been out of service for 5 s, acme-bcp is in-service: new calls go to acme-bcp"
    )
    assert bench.rules == ["hold-off", "failover"]


def test_a_short_loss_moves_nothing() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(4.0)
    bench.primary = IN
    bench.run(10.0)
    assert bench.place == ("normal", 0)
    assert bench.rules == ["hold-off", "hold-off-ended"]


def test_without_hold_off_the_group_moves_in_the_same_evaluation() -> None:
    bench = Bench(replace(AUTOMATIC, hold_off_s=0.0))
    bench.primary = OUT
    bench.evaluate()
    assert bench.place == ("on-bcp", 100)


def test_automatic_failback_waits_hold_down_and_ramps() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(10.0)
    bench.primary = IN
    bench.run(299.0)
    assert bench.place == ("hold-down", 100)
    shares: list[int] = []
    for _ in range(300):
        bench.run(1.0)
        if not shares or shares[-1] != bench.memory.bcp_percent:
            shares.append(bench.memory.bcp_percent)
    assert shares == [90, 50, 0]
    assert bench.place == ("normal", 0)
    assert bench.rules == ["hold-off", "failover", "hold-down", "failback", "ramp-step", "ramp-done"]


def test_with_manual_failback_it_stays_until_the_operator_says_so_and_then_ramps_at_once() -> None:
    bench = Bench(replace(AUTOMATIC, failback="manual"))
    bench.primary = OUT
    bench.run(10.0)
    bench.primary = IN
    bench.run(5000.0, step_s=10.0)
    assert bench.place == ("on-bcp", 100)
    bench.order("failback")
    assert bench.place == ("ramp", 90)
    bench.run(300.0)
    assert bench.place == ("normal", 0)


def test_failback_now_takes_no_ramp() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(10.0)
    bench.primary = IN
    bench.order("failback", now=True)
    assert bench.place == ("normal", 0)


@pytest.mark.parametrize(("elapsed_s", "state"), [(100.0, "hold-down"), (310.0, "ramp")])
def test_primary_lost_again_on_the_way_back_is_on_bcp_at_once(elapsed_s: float, state: str) -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(10.0)
    bench.primary = IN
    bench.run(elapsed_s)
    assert bench.memory.state == state
    bench.primary = OUT
    bench.evaluate()
    assert bench.place == ("on-bcp", 100)


@pytest.mark.parametrize("failback", ["manual", "automatic"])
def test_bcp_lost_while_the_primary_is_usable_goes_back_after_hold_off_whatever_failback_says(failback: str) -> None:
    bench = Bench(replace(AUTOMATIC, failback=failback))
    bench.order("failover", BCP)
    bench.bcp = OUT
    bench.run(4.0)
    assert bench.place == ("on-bcp", 100)
    bench.run(1.0)
    assert bench.place == ("normal", 0)
    assert bench.memory.held is None and bench.memory.reason.endswith("the hold by ops-1 ends")


def test_bcp_back_within_hold_off_stays() -> None:
    bench = Bench(replace(AUTOMATIC, failback="manual"))
    bench.order("failover", BCP)
    bench.bcp = OUT
    bench.run(4.0)
    bench.bcp = IN
    bench.run(20.0)
    assert bench.place == ("on-bcp", 100) and bench.memory.held == BCP


def test_bcp_lost_in_the_ramp_cuts_it_short() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(10.0)
    bench.primary = IN
    bench.run(310.0)
    bench.bcp = OUT
    bench.evaluate()
    assert bench.place == ("normal", 0)


def test_both_dead_moves_nothing_and_the_first_to_return_is_taken() -> None:
    bench = Bench()
    bench.primary = bench.bcp = OUT
    bench.run(60.0)
    assert bench.place == ("hold-off", 0)
    assert bench.rules == ["both-lost"]
    bench.bcp = IN
    bench.run(4.0)
    assert bench.place == ("hold-off", 0)
    bench.run(1.0)
    assert bench.place == ("on-bcp", 100)
    bench.bcp = OUT
    bench.run(60.0)
    assert bench.place == ("on-bcp", 100)
    bench.primary = IN
    bench.run(5.0)
    assert bench.place == ("normal", 0)


def test_a_target_that_was_lost_meanwhile_must_be_usable_for_a_whole_hold_off() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(3.0)
    bench.bcp = OUT
    bench.run(1.0)
    bench.bcp = IN
    bench.run(4.0)
    assert bench.place == ("hold-off", 0)
    bench.run(1.0)
    assert bench.place == ("on-bcp", 100)


def test_manual_failover_leaves_every_move_to_the_operator() -> None:
    bench = Bench(replace(AUTOMATIC, failover="manual"))
    bench.primary = OUT
    bench.run(100.0)
    assert bench.place == ("normal", 0) and bench.steps == []
    bench.order("failover", BCP)
    bench.primary, bench.bcp = IN, OUT
    bench.run(1000.0)
    assert bench.place == ("on-bcp", 100)
    bench.bcp = IN
    bench.order("failback")
    bench.run(300.0)
    assert bench.place == ("normal", 0)


def test_an_operators_failover_holds_until_failback() -> None:
    bench = Bench()
    bench.order("failover", BCP)
    assert decision_of(bench.memory).left == "primary"
    bench.run(5000.0, step_s=10.0)
    assert bench.place == ("on-bcp", 100) and bench.memory.held == BCP
    bench.order("failback")
    assert bench.place == ("ramp", 90) and decision_of(bench.memory).left is None


def test_a_hold_on_the_primary_yields_only_when_it_is_out_and_bcp_is_not() -> None:
    bench = Bench()
    bench.order("failover", PRIMARY)
    assert decision_of(bench.memory).left == "bcp"
    bench.primary = bench.bcp = OUT
    bench.run(30.0)
    assert bench.memory.bcp_percent == 0 and bench.memory.held == PRIMARY
    bench.bcp = IN
    bench.run(5.0)
    assert bench.place == ("on-bcp", 100) and bench.memory.held is None


def test_nothing_automatic_moves_a_pinned_group() -> None:
    bench = Bench()
    bench.order("pin", BCP)
    bench.bcp = OUT
    bench.run(5000.0, step_s=10.0)
    assert bench.place == ("on-bcp", 100) and decision_of(bench.memory).pinned
    bench.order("unpin")
    bench.run(10.0)
    assert bench.place == ("normal", 0)


def test_paused_automation_moves_nothing_and_resumes_where_it_stands() -> None:
    bench = Bench()
    bench.extra = {"automation": False}
    bench.primary = OUT
    bench.run(60.0)
    assert bench.place == ("normal", 0)
    bench.order("failover", BCP)
    assert bench.place == ("on-bcp", 100)
    bench.order("failback", now=True)
    bench.extra = {}
    bench.run(6.0)
    assert bench.place == ("on-bcp", 100)


def test_pausing_during_hold_off_ends_the_wait() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(3.0)
    bench.extra = {"automation": False}
    bench.run(60.0)
    assert bench.place == ("normal", 0)


def test_the_third_automatic_move_of_an_hour_latches_failbacks_but_no_failover() -> None:
    bench = Bench(replace(AUTOMATIC, hold_down_s=10.0, ramp=(100,)))
    for _ in range(2):
        bench.primary = OUT
        bench.run(10.0)
        bench.primary = IN
        bench.run(30.0)
    assert bench.rules.count("failover") == 2 and bench.rules.count("failback") == 1
    assert bench.memory.latched and "no failback until unlatch" in bench.memory.reason
    bench.run(20_000.0, step_s=10.0)
    assert bench.place == ("on-bcp", 100)
    bench.bcp = OUT
    bench.run(6.0)
    assert bench.place == ("normal", 0)
    bench.bcp, bench.primary = IN, OUT
    bench.run(6.0)
    assert bench.place == ("on-bcp", 100)
    bench.primary = IN
    bench.order("unlatch")
    bench.run(30.0)
    assert bench.place == ("normal", 0)


def test_a_primary_that_flaps_for_half_an_hour_moves_the_group_three_times_at_most() -> None:
    bench = Bench()
    for index in range(200):
        bench.primary = OUT if index % 2 else IN
        bench.run(3.0 + index % 17)
    moves = [rule for rule in bench.rules if rule in ("failover", "failback", "primary-lost-again", "bcp-lost")]
    assert len(moves) <= 3


def test_hold_down_doubles_with_each_flap_up_to_an_hour() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(6.0)
    waits = []
    for _ in range(6):
        bench.primary = IN
        bench.evaluate()
        assert bench.memory.deadline_s is not None
        waits.append(bench.memory.deadline_s - bench.now_s)
        bench.primary = OUT
        bench.run(1.0)
    assert waits == [300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0]


def test_doubt_holds_a_move_for_sixty_seconds_at_most() -> None:
    bench = Bench()
    bench.extra = {"doubt_bcp": "nothing at all has been heard for 2 s though we sent"}
    bench.primary = OUT
    bench.run(64.0)
    assert bench.place == ("hold-off", 0) and bench.memory.frozen == bench.extra["doubt_bcp"]
    bench.run(1.0)
    assert bench.place == ("on-bcp", 100) and bench.memory.frozen is None


def test_doubt_never_stops_an_operator() -> None:
    bench = Bench()
    bench.extra = {"doubt_bcp": "x", "doubt_primary": "x"}
    bench.order("failover", BCP)
    assert bench.place == ("on-bcp", 100)
    bench.order("failover", PRIMARY)
    assert bench.place == ("normal", 0)


def test_automation_never_moves_to_a_tenant_that_an_operator_drains() -> None:
    bench = Bench()
    bench.extra = {"bcp_open": False}
    bench.primary = OUT
    bench.run(60.0)
    assert bench.place == ("hold-off", 0)
    bench.extra = {}
    bench.evaluate()
    assert bench.place == ("on-bcp", 100)
    bench.extra = {"primary_open": False}
    bench.primary = IN
    bench.run(1000.0)
    assert bench.place == ("on-bcp", 100)


def test_an_unmeasured_primary_is_not_well_enough_to_return_to() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(6.0)
    bench.primary = "unknown"
    bench.run(1000.0)
    assert bench.place == ("on-bcp", 100)


def test_a_restart_keeps_place_hold_pin_and_latch_and_begins_waits_anew() -> None:
    bench = Bench()
    bench.primary = OUT
    bench.run(6.0)
    bench.primary = IN
    bench.run(200.0)
    assert bench.memory.state == "hold-down"
    bench.memory = resumed(read_memory(written_memory(bench.memory)), bench.inputs())
    bench.run(299.0)
    assert bench.memory.state == "hold-down"
    bench.run(2.0)
    assert bench.memory.state == "ramp"
    bench.run(100.0)
    bench.memory = resumed(bench.memory, bench.inputs())
    bench.run(119.0)
    assert bench.place == ("ramp", 90)
    bench.run(2.0)
    assert bench.place == ("ramp", 50)
    held = replace(bench.memory, held=BCP, pinned=BCP, latched=True, moves=(1.0,))
    again = resumed(read_memory(written_memory(held)), bench.inputs())
    assert (again.held, again.pinned, again.latched, again.moves) == (BCP, BCP, True, (1.0,))


WORDS = ["primary-out", "primary-in", "bcp-out", "bcp-in", "unknown", "wait", "long", "to-bcp", "to-primary", "failback", "now",
         "pin-bcp", "pin-primary", "unpin", "unlatch", "pause", "resume", "doubt", "sure", "drain", "open", "restart"]


def perform(bench: Bench, word: str) -> None:
    match word:
        case "primary-out":
            bench.primary = OUT
        case "primary-in":
            bench.primary = IN
        case "bcp-out":
            bench.bcp = OUT
        case "bcp-in":
            bench.bcp = IN
        case "unknown":
            bench.primary = "unknown"
        case "wait":
            bench.run(7.0)
        case "long":
            bench.run(400.0, step_s=20.0)
        case "to-bcp" | "to-primary":
            bench.order("failover", BCP if word == "to-bcp" else PRIMARY)
        case "failback" | "now":
            bench.order("failback", now=word == "now")
        case "pin-bcp" | "pin-primary":
            bench.order("pin", BCP if word == "pin-bcp" else PRIMARY)
        case "unpin" | "unlatch":
            bench.order(word)
        case "pause" | "resume":
            bench.extra["automation"] = word == "resume"
        case "doubt" | "sure":
            bench.extra["doubt_bcp"] = bench.extra["doubt_primary"] = "a doubt" if word == "doubt" else ""
        case "drain" | "open":
            bench.extra["bcp_open"] = word == "open"
        case "restart":
            bench.memory = resumed(read_memory(written_memory(bench.memory)), bench.inputs())
    bench.evaluate()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.booleans(), st.booleans())
def test_whatever_happens_the_invariants_of_a_group_hold(script: list[str], manual: bool, stays: bool) -> None:
    bench = Bench(replace(AUTOMATIC, failover="manual" if manual else "automatic", failback="manual" if stays else "automatic"))
    for word in script:
        perform(bench, word)
    epoch = 0
    for before, inputs, step in bench.steps:
        after, automatic = step.memory, inputs.order is None
        assert after.epoch > epoch, "epochs grow"
        epoch = after.epoch
        assert 0 <= after.bcp_percent <= 100
        assert after.state in {state.value for state in State}
        assert (after.state in ("normal", "hold-off")) == (after.bcp_percent == 0)
        assert (after.state in ("on-bcp", "hold-down")) == (after.bcp_percent == 100)
        assert step.sentence and after.reason == step.sentence and after.rule == step.rule
        if automatic and after.bcp_percent != before.bcp_percent:
            assert inputs.automation, "paused automation moves nothing"
            assert before.pinned is None, "nothing automatic moves a pinned group"
            if manual:
                assert before.state == "ramp", "manual: only an operator's own ramp goes on"
            if before.held is not None and before.state != "ramp":
                held_out = inputs.primary == OUT if before.held == PRIMARY else inputs.bcp == OUT
                other_out = inputs.bcp == OUT if before.held == PRIMARY else inputs.primary == OUT
                assert held_out and not other_out, "a hold yields only to a dead tenant with a live other"
        if step.rule == "failback" and automatic:
            assert not before.latched, "latched: no failback"
            assert before.held is None and not stays
        again = replay(written_memory(before), written_inputs(inputs))
        assert (again.rule, again.sentence, again.memory) == (step.rule, step.sentence, after), "a record replays"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 400)), max_size=60))
def test_automatic_returns_to_a_live_bcp_never_exceed_two_in_an_hour(weather: list[tuple[bool, bool, int]]) -> None:
    bench = Bench(replace(AUTOMATIC, hold_down_s=20.0, ramp=(100,)))
    for primary, bcp, seconds in weather:
        bench.primary, bench.bcp = IN if primary else OUT, IN if bcp else OUT
        bench.run(seconds, step_s=5.0)
    failbacks = [inputs.unix_s for _, inputs, step in bench.steps if step.rule == "failback"]
    for at_s in failbacks:
        assert sum(1 for other_s in failbacks if 0 <= other_s - at_s < LATCH_WINDOW_S) <= 2
