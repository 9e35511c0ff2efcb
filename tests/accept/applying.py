"""Acceptance: a million numbers over two thousand entry points become live while calls flow."""

from __future__ import annotations

import time

from bench.post_dial_delay import percentile
from tests.accept.lab import BCP_A, A, Lab, SetUp, must, set_ups
from tests.support.configs import CARRIER, NUMBER, OUTSIDE, Plan
from tests.support.processes import wait_until
from tests.support.product import a_product
from tests.support.sipp import start_carrier, start_sbc

MILLION = 1_000_000
ENTRY_POINTS = 2_000
APPLY_S = 20.0
ADDED_DELAY_MS = 20.0
RATE = 100
BEFORE_S = 12.0
LASTS_S = 60
READY_S = 120.0
MOVED = 412  # numbers the edit gives to another entry point


def with_many_entry_points(plan: Plan, moved: int = 0) -> Plan:
    """The plan with a million numbers from CSV over two thousand entry points; the first `moved` of them belong elsewhere."""
    big = plan.copy()
    for at in range(ENTRY_POINTS):
        big.dialplan["entry_points"][f"desk-{at:04d}"] = {"group": "acme"}
    each = MILLION // ENTRY_POINTS
    lines = ["DID,Department"]
    lines += [
        f"+4940{10_000_000 + step * 7},desk-{(ENTRY_POINTS - 1 if step < moved else step // each):04d}" for step in range(MILLION)
    ]
    big.csv["numbers.csv"] = "\n".join(lines) + "\n"
    big.dialplan["number_files"] = [{"file": "numbers.csv", "columns": {"number": "DID", "entry_point": "Department"}}]
    return big


def a_million_numbers_become_live_while_calls_flow(lab: Lab) -> list[str]:
    """Edited, applied and carried by every router in 20 s; no call fails, and set-up is as quick as before."""
    net, group = lab.net, lab.group
    for host in (A, BCP_A):
        start_sbc(group, net[host])
    plan = with_many_entry_points(lab.plan())
    product = a_product(group, plan)
    product.run(wait=False)
    product.wait_ready(READY_S)
    product.wait_operating("fra-a", "in-service")
    edited = {"base": 1, "reason": "acceptance", "files": with_many_entry_points(lab.plan(), MOVED).files()}
    carrier = start_carrier(
        group, net[CARRIER], net[OUTSIDE], NUMBER, calls=RATE * LASTS_S, rate=RATE, short_messages=True
    )  # fmt: skip
    time.sleep(BEFORE_S)
    began_unix_s, began_s = time.time(), time.monotonic()
    operation = product.post("/v1/revisions", edited).body
    while operation.get("ended_at_unix_s") is None and time.monotonic() - began_s < READY_S:
        operation = product.get(f"/v1/operations/{operation['id']}?wait=5").body
    must(operation.get("status") == "done", f"it was not applied: {operation}")
    wait_until(lambda: [one["revision"] for one in product.status()["routers"]] == [2], 5, "the router carries revision 2", 0.02)
    took_s, ended_unix_s = time.monotonic() - began_s, time.time()
    carrier.succeed(RATE * LASTS_S, LASTS_S + 60)
    told = list(operation["body"]["diff"])
    must(any(f"{MOVED} numbers" in line for line in told), f"the difference is not told: {told[:3]}")
    calls = set_ups(carrier)
    before = [call for call in calls if call.placed_unix_s < began_unix_s]
    meanwhile = [call for call in calls if began_unix_s <= call.placed_unix_s < ended_unix_s]
    must(len(before) >= RATE * BEFORE_S * 0.8 and len(meanwhile) >= RATE * took_s * 0.8, "too few calls to judge by")
    was_ms, is_ms = p99_ms(before), p99_ms(meanwhile)
    figures = f"apply took {took_s:.1f} s, set-up delay p99 {was_ms:.1f} ms before and {is_ms:.1f} ms meanwhile, 0 calls failed"
    must(took_s <= APPLY_S, f"{figures}: at most {APPLY_S:.0f} s allowed")
    must(is_ms <= was_ms + ADDED_DELAY_MS, f"{figures}: at most {ADDED_DELAY_MS:.0f} ms more allowed")
    return [
        f"{MILLION:,} numbers over {ENTRY_POINTS:,} entry points live after {took_s:.1f} s; 0 of {RATE * LASTS_S} calls failed",
        f"set-up delay p99 {was_ms:.1f} ms before, {is_ms:.1f} ms meanwhile ({len(meanwhile)} calls)",
    ]


def p99_ms(calls: list[SetUp]) -> float:
    return percentile([call.delay_s * 1000 for call in calls], 99)
