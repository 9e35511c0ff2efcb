"""Acceptance: four routers on one machine, one peer on each side."""

from __future__ import annotations

import os
import signal
import time

from bench.cpu_per_call_routers import MAX_RATIO, measure
from tests.accept.lab import A, Lab, must
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE
from tests.support.processes import wait_until
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier, start_sbc

ROUTERS = 4
HELD, RATE = 400, 100
ROUNDS = 2  # each of them ends so often
SPREAD = 0.2
LIMIT, OFFERED = 50, 400


def each_of_four_routers_is_killed_in_turn(lab: Lab) -> list[str]:
    """0 calls lost, established or in set-up, at `kill -9` of each router in turn; calls are spread within ± 20 %."""
    return _ended_in_turn(lab, signal.SIGKILL)


def each_of_four_routers_is_stopped_in_turn(lab: Lab) -> list[str]:
    """0 calls lost at SIGSTOP of each router in turn: it is found out, killed and followed."""
    return _ended_in_turn(lab, signal.SIGSTOP)


def a_limit_holds_over_four_routers(lab: Lab) -> list[str]:
    """Of calls that come together, exactly as many are up as the entry point may have, whichever routers they came to."""
    net, group = lab.net, lab.group
    start_sbc(group, net[A])
    plan = lab.plan()
    for entry in plan.dialplan["entry_points"].values():
        entry["max_calls"] = LIMIT
    product = a_running_product(group, plan, routers=ROUTERS)
    product.wait_operating("fra-a", "in-service")
    most = 0
    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=OFFERED, rate=200, hold_ms=4000)
    deadline_s = time.monotonic() + 30
    while carrier.child.is_running and time.monotonic() < deadline_s:
        most = max(most, product.calls())
        time.sleep(0.1)
    counts = carrier.finish(30)
    must(most <= LIMIT, f"{most} calls were up at once, {LIMIT} may be")
    must(most == LIMIT, f"only {most} calls were up at once, {LIMIT} may be")
    must(counts.failed > 0, "nobody was refused: too few calls came at once")
    product.wait_calls(0)
    return [f"{OFFERED} calls came at 200/s for {LIMIT} places: never more than {most} up, {counts.failed} refused, 0 left"]


def cpu_per_call_over_four_routers(_lab: Lab) -> list[str]:
    """CPU time per call over four routers beside that of one."""
    ratio = measure(ROUTERS, 300, 8, 3)
    must(ratio is not None, "no round without failed or repeated calls")
    assert ratio is not None
    must(ratio <= MAX_RATIO, f"{ratio:.2f} times that of one router, at most {MAX_RATIO}")
    return [f"{ratio:.2f} times the CPU per call of one router (at most {MAX_RATIO})"]


def _ended_in_turn(lab: Lab, number: signal.Signals) -> list[str]:
    net, group = lab.net, lab.group
    start_sbc(group, net[A], short_messages=True)
    product = a_running_product(group, lab.plan(), routers=ROUTERS)
    product.wait_operating("fra-a", "in-service")
    turn_s = 5.0 if number == signal.SIGSTOP else 2.5
    lasts_s = turn_s * ROUTERS * ROUNDS + 4
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=int(lasts_s + 20) * 1000)
    product.wait_calls(HELD, 20)
    shares = _shares(product)
    count = int(RATE * lasts_s)
    coming = start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=count, rate=RATE, hold_ms=500)
    time.sleep(1)
    slowest_s = 0.0
    for slot in (*range(ROUTERS),) * ROUNDS:
        began_s = time.monotonic()
        name = f"router-{slot}"
        pid = product.pid(name)
        assert pid is not None, f"no {name} runs"
        os.kill(pid, number)
        product.wait_for_new(name, pid)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        wait_until(lambda: product.get("/readyz").status == 200, 15, "all routers are there")
        time.sleep(max(0.0, began_s + turn_s - time.monotonic()))
    coming.succeed(count, lasts_s + 60)
    held.succeed(HELD, 90)
    product.wait_calls(0, 40)
    spread = max(abs(share * ROUTERS / HELD - 1) for share in shares)
    must(spread <= SPREAD, f"{HELD} calls were spread {shares}, more than {SPREAD:.0%} off")
    return [
        f"{ROUTERS * ROUNDS} times {number.name}: 0 failed of {HELD} established and {count} coming; a slot was taken within "
        f"{slowest_s:.2f} s",
        f"{HELD} calls were spread {shares}: at most {spread:.0%} off",
    ]


def _shares(product: Product) -> list[int]:
    """Calls up in each router."""
    wait_until(lambda: sum(_now(product)) == HELD, 10, "all routers have told of their calls")
    return _now(product)


def _now(product: Product) -> list[int]:
    return [int(router["calls"]) for router in product.status()["routers"]]
