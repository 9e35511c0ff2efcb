"""Acceptance: an edit under live calls, and the figures beside Kamailio and at a million numbers."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable

from bench import cpu_per_call, decision_to_first_call, post_dial_delay
from bench.beside import KAMAILIO, SIPCTL
from bench.post_dial_delay import percentile
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.plan_tests import Given, settled
from sipctl.routing.resolve import Route, resolve
from sipctl.routing.table import load_table
from tests.accept.lab import A, B, Lab, must
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE, with_million_numbers
from tests.support.sipp import start_carrier, start_sbc

HELD = 200
CPU_RATIO = 1.5
ADDED_DELAY_MS = 5.0
DECISION_MS = 50.0
MILLION = 1_000_000
RESOLVE_US = 10.0
BATCHES, BATCH = 5, 20_000


def an_edit_removes_an_sbc_and_a_trunk_with_calls_up(lab: Lab) -> list[str]:
    net, group = lab.net, lab.group
    leaving = start_sbc(group, net[A])
    start_sbc(group, net[B])
    plan = lab.plan()
    plan.sbcs["trunks"]["carrier"]["sources"] = [f"{net[CARRIER]}/32"]
    plan.sbcs["trunks"]["other"] = {"site": "frankfurt", "listen": "outside", "sources": [f"{net[OTHER_CARRIER]}/32"]}
    product = lab.start(plan, A, B)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=12_000)
    product.wait_calls(HELD)
    edited = plan.copy()
    del edited.sbcs["trunks"]["carrier"]
    del edited.sbcs["sbc_pairs"]["fra"]["sbcs"]["fra-a"]
    product.apply(edited, "carrier and fra-a leave")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=20, rate=10).succeed(20, 20)
    held.succeed(HELD, 40)
    leaving.wait_received("BYE", HELD)
    product.wait_calls(0)
    return [f"{HELD} calls of a removed trunk at a removed SBC ended by their own BYE"]


def cpu_per_call_beside_kamailio(lab: Lab) -> list[str]:
    medians = cpu_per_call.measure(300, 8, 3)
    assert medians is not None, "no clean round: the machine is too busy for this rate"
    ours, theirs = medians
    must(ours <= CPU_RATIO * theirs, f"ratio {ours / theirs:.2f}: {ours:.0f} us CPU per call, Kamailio {theirs:.0f}")
    return [f"ratio {ours / theirs:.2f} ({ours:.0f} / {theirs:.0f} us CPU per call)"]


def post_dial_delay_beside_kamailio(lab: Lab) -> list[str]:
    times = post_dial_delay.measure(500, 8, 2)
    assert all(times.values()), "no clean round: the machine is too busy for this rate"
    ours, theirs = percentile(times[SIPCTL], 99), percentile(times[KAMAILIO], 99)
    must(ours <= theirs + ADDED_DELAY_MS, f"p99 {ours:.1f} ms, Kamailio {theirs:.1f} ms")
    return [f"p99 {ours:.1f} ms, Kamailio {theirs:.1f} ms, at 500 calls a second"]


def resolve_at_a_million_numbers(lab: Lab) -> list[str]:
    """CPU time of one `resolve`, best of five batches of scattered numbers."""
    files = {path: text.encode() for path, text in with_million_numbers(lab.plan(), MILLION).files().items()}
    compiled = compile_plan(files, {}, revision=1)
    must(bool(compiled.image), f"the plan does not compile: {compiled.findings[:3]}")
    snapshot, live = settled(load_table(compiled.image), Given())
    wanted = [f"+4940{10_000_000 + step * 7}" for step in random.Random(2).sample(range(MILLION), BATCH)]
    gc.freeze()
    gc.disable()
    try:

        def one(number: str) -> object:
            return resolve(snapshot, live, 0, number, None, b"+4917012345", 0.0)

        best_us = min(_batch_us(one, wanted) for _ in range(BATCHES))
    finally:
        gc.enable()
    must(best_us <= RESOLVE_US, f"resolve takes {best_us:.1f} us, at most {RESOLVE_US:.0f} us allowed")
    return [f"{best_us:.1f} us CPU with {compiled.numbers:,} rows"]


def _batch_us(resolve_one: Callable[[str], object], wanted: list[str]) -> float:
    started_s = time.process_time()
    for number in wanted:
        assert isinstance(resolve_one(number), Route)
    return (time.process_time() - started_s) / len(wanted) * 1e6


def decision_to_first_call_at_a_million_numbers(lab: Lab) -> list[str]:
    times = decision_to_first_call.measure(50, MILLION)
    p95 = percentile(times, 95)
    must(p95 <= DECISION_MS, f"p95 of 50 is {p95:.1f} ms, at most {DECISION_MS:.0f} ms allowed")
    return [f"p50 {percentile(times, 50):.1f} ms, p95 {p95:.1f} ms of 50 moves"]
