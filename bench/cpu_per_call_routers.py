"""CPU time per call over all routers of a machine beside that of one router:  python -m bench.cpu_per_call_routers [--routers 4]

Two sipctl run at once, one with one router and one with several, each with a SIPp carrier before it and a SIPp SBC behind: one
peer on each side, so nothing spreads the calls but the routers themselves. Rounds alternate; quoted is the ratio of the medians
of the routers' CPU time (user and system), and how the calls were spread. To be run on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.configs import BENCH_NUMBER, CARRIER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes, a_net, cpu_s, processes
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier, start_sbc

HOLD_MS = 100
PAUSE_S = 1.0
MAX_RETRANSMITTED = 0.01
MAX_RATIO = 1.3


@dataclass(slots=True)
class Side:
    """One sipctl with its peers."""

    group: Processes
    net: Net
    product: Product
    pids: list[int]


@contextlib.contextmanager
def up(routers: int) -> Iterator[Side]:
    net = a_net()
    with tempfile.TemporaryDirectory(prefix="sipctl-bench-") as folder, processes(Path(folder)) as group:
        start_sbc(group, net[PRIMARY_SBCS[0]])
        product = a_running_product(group, a_plan(net), routers=routers)
        product.wait_operating("fra-a", "in-service")
        pids = [product.pid(f"router-{slot}") for slot in range(routers)]
        yield Side(group, net, product, [pid for pid in pids if pid is not None])


def place(side: Side, rate: int, seconds: int) -> tuple[float, list[float], bool]:
    """Microseconds of CPU per call over all routers, each router's share of it, and whether every call was clean."""
    before = [cpu_s([pid]) for pid in side.pids]
    carrier = start_carrier(
        side.group, side.net[CARRIER], side.net[OUTSIDE], BENCH_NUMBER, calls=rate * seconds, rate=rate, hold_ms=HOLD_MS
    )
    counts = carrier.finish(seconds * 6 + 60)
    used = [cpu_s([pid]) - was for pid, was in zip(side.pids, before, strict=True)]
    clean = not counts.failed and counts.retransmissions <= counts.successful * MAX_RETRANSMITTED
    return sum(used) / max(counts.successful, 1) * 1e6, [one / max(sum(used), 1e-9) for one in used], clean


def measure(routers: int, rate: int, seconds: int, rounds: int) -> float | None:
    """The ratio of the medians; None without a clean round on both sides."""
    found: dict[int, list[float]] = {1: [], routers: []}
    with up(1) as one, up(routers) as several:
        sides = {1: one, routers: several}
        for side in sides.values():
            place(side, rate, 2)
        for _ in range(rounds):
            for count, side in sides.items():
                per_call, shares, clean = place(side, rate, seconds)
                note = "" if clean else "   NOT CLEAN"
                spread = " ".join(f"{share:.0%}" for share in shares)
                print(f"{count} routers at {rate}/s  {per_call:7.1f} us CPU per call   shares of it {spread}{note}", flush=True)
                if clean:
                    found[count].append(per_call)
                time.sleep(PAUSE_S)
    if not all(found.values()):
        return None
    return statistics.median(found[routers]) / statistics.median(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", type=int, default=4)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ratio = measure(args.routers, args.rate, args.seconds, args.rounds)
    if ratio is None:
        print("no clean round on one side: lower --rate")
        return 1
    print(f"ratio of {args.routers} routers to one: {ratio:.2f}   (at most {MAX_RATIO})")
    return 0 if ratio <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
