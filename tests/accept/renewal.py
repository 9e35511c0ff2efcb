"""Acceptance: every process of sipctl replaced by a new one with calls up and calls coming."""

from __future__ import annotations

import os
import subprocess
import time
from itertools import pairwise

from tests.accept.lab import A, Lab, arrivals, largest, must
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE
from tests.support.product import COMMAND, Product, a_running_product
from tests.support.sipp import start_carrier, start_sbc

ROUTERS, TIMES = 2, 2
HELD, RATE, COMING_S = 400, 100, 90
HELD_MS = 150_000
GAP_S = 0.5  # between two new calls at the SBC: one router hands over while the other goes on
SURE_S = 170.0


def every_process_is_replaced_under_load(lab: Lab) -> list[str]:
    """0 calls lost, established or in set-up, while all processes are replaced twice; new calls never wait long."""
    net, group = lab.net, lab.group
    sbc = start_sbc(group, net[A], short_messages=True)
    product = a_running_product(group, lab.plan(), routers=ROUTERS)
    product.wait_operating("fra-a", "in-service")
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=HELD_MS)
    product.wait_calls(HELD, 20)
    count = RATE * COMING_S
    coming = start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=count, rate=RATE, hold_ms=500)
    coming.wait_for_calls(RATE // 5, 20)
    began_unix_s, began_s = time.time(), time.monotonic()
    for _ in range(TIMES):
        _renew(product)
    ended_unix_s, took_s = time.time(), time.monotonic() - began_s
    coming.succeed(count, SURE_S)
    held.succeed(HELD, SURE_S)
    arrived = [message.at_unix_s for message in arrivals(sbc) if began_unix_s <= message.at_unix_s <= ended_unix_s]
    gap_s = largest([later - earlier for earlier, later in pairwise(arrived)])
    must(gap_s <= GAP_S, f"no new call came through for {gap_s:.3f} s, at most {GAP_S} s allowed")
    product.wait_calls(0, 40)
    return [
        f"{ROUTERS} routers and all other processes replaced {TIMES} times in {took_s:.0f} s: 0 failed of {HELD} established, "
        f"{count} coming",
        f"largest gap between new calls meanwhile {gap_s * 1000:.0f} ms",
    ]


def _renew(product: Product) -> None:
    argv = [str(COMMAND), "node", "restart", "--all", "--reason", "acceptance", "--state", str(product.state)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=SURE_S, env=dict(os.environ), check=False)
    product.remember_pids()
    must(ended.returncode == 0, f"node restart ended with {ended.returncode}: {ended.stderr.strip()}")
