"""From an operator's failover to the first call at the other tenant:  python -m bench.decision_to_first_call [--numbers 1000000]

The clock starts when the wish is sent to the API and stops when the first INVITE arrives at the other tenant's SBC, so the figure
holds the desk, the decision, its publication, the router taking it, and up to one call interval. Fifty times, to and fro.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.post_dial_delay import percentile
from bench.tiny_ua import Lab
from tests.support.configs import BCP_SBCS, CARRIER, NUMBER, OUTSIDE, PRIMARY_SBCS, a_plan, with_million_numbers
from tests.support.processes import a_net, processes
from tests.support.product import Product, a_product

INTERVAL_S = 0.004  # a call every 4 ms
SETTLED = 25  # calls in a row at the same tenant before the next wish
STEP_S = 10.0
READY_S = 120.0
BUDGET_MS = 50.0


def one_move(lab: Lab, product: Product, to: str) -> float:
    """Milliseconds from sending the wish to the first INVITE at `to`."""
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            product.failover("acme", to, "benchmark")
        except (AssertionError, OSError) as error:
            failed.append(error)

    before = len(lab.arrivals)
    asking = threading.Thread(target=ask)
    start_s = time.monotonic()
    asking.start()
    lab.run_until(lambda: any(name == to for name, _ in lab.arrivals[before:]), STEP_S)
    arrived = [at_s for name, at_s in lab.arrivals[before:] if name == to]
    lab.run_until(lambda: not asking.is_alive() and settled_at(lab, to), STEP_S)
    asking.join(STEP_S)
    if failed:
        raise failed[0]
    assert arrived, f"no call arrived at {to}"
    return (arrived[0] - start_s) * 1000


def settled_at(lab: Lab, name: str) -> bool:
    return len(lab.arrivals) >= SETTLED and all(where == name for where, _ in lab.arrivals[-SETTLED:])


def measure(moves: int, numbers: int) -> list[float]:
    """Milliseconds of each move."""
    net = a_net()
    plan = a_plan(net)
    for pair in plan.sbcs["sbc_pairs"].values():
        first = next(iter(pair["sbcs"]))
        pair["sbcs"] = {first: pair["sbcs"][first]}
    plan = with_million_numbers(plan, numbers)
    sbcs = {"primary": net[PRIMARY_SBCS[0]], "bcp": net[BCP_SBCS[0]]}
    lab = Lab(net[CARRIER], net[OUTSIDE], NUMBER, sbcs, INTERVAL_S)
    with tempfile.TemporaryDirectory(prefix="sipctl-bench-") as folder, processes(Path(folder)) as group:
        lab.open()
        try:
            product = a_product(group, plan)
            product.run(wait=False)
            booting = threading.Thread(target=product.wait_ready, args=(READY_S,))
            booting.start()
            lab.run_until(lambda: not booting.is_alive(), READY_S)  # probes are answered from the start
            assert lab.run_until(lambda: settled_at(lab, "primary"), STEP_S), "no calls arrive at the primary"
            return [one_move(lab, product, ("bcp", "primary")[step % 2]) for step in range(moves)]
        finally:
            lab.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=50)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    args = parser.parse_args()
    times = measure(args.moves, args.numbers)
    row = "  ".join(f"p{percent} {percentile(times, percent):.1f} ms" for percent in (50, 95, 100))
    print(f"{len(times)} moves with {args.numbers} numbers: {row}   (budget: p95 at most {BUDGET_MS:.0f} ms)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
