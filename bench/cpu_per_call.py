"""CPU time per call beside Kamailio doing the same work, in one run:  python -m bench.cpu_per_call [--rate 300] [--seconds 8]

Prints every round and the ratio of the medians. CPU time is the kernel's accounting (user and system) of the processes that carry
the SIP path: sipctl's router, all of Kamailio's processes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from bench.beside import KAMAILIO, SIPCTL, both_up, place_calls
from tests.support.processes import cpu_s, descendants_of

PAUSE_S = 1.0


def measure(rate: int, seconds: int, rounds: int) -> tuple[float, float] | None:
    """Median microseconds per call of sipctl and of Kamailio; None without a clean round on both sides."""
    clean: dict[str, list[float]] = {SIPCTL: [], KAMAILIO: []}
    with both_up() as beside:
        supervisor = beside.product.pid("supervisor")
        everything = [supervisor, *descendants_of(supervisor)] if supervisor else beside.pids[SIPCTL]
        for side in clean:  # caches, branch predictors and Python's inline caches warm on both sides
            place_calls(beside, side, rate, 2)
        for _ in range(rounds):
            for side, found in clean.items():
                before, before_all = cpu_s(beside.pids[side]), cpu_s(everything)
                result = place_calls(beside, side, rate, seconds)
                used, used_all = cpu_s(beside.pids[side]) - before, cpu_s(everything) - before_all
                calls = max(result.successful, 1)
                per_call = used / calls * 1e6
                note = f"   (with controller and desk {used_all / calls * 1e6:.0f})" if side == SIPCTL else ""
                if not result.is_clean:
                    note += f"   NOT CLEAN: {result.failed} failed, {result.retransmitted} retransmitted"
                print(f"{side:9} {calls:6} calls at {rate}/s  {per_call:7.1f} us CPU per call{note}", flush=True)
                if result.is_clean:
                    found.append(per_call)
                time.sleep(PAUSE_S)
    if not all(clean.values()):
        return None
    return statistics.median(clean[SIPCTL]), statistics.median(clean[KAMAILIO])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    medians = measure(args.rate, args.seconds, args.rounds)
    if medians is None:
        print("no clean round on one side: lower --rate")
        return 1
    ours, theirs = medians
    print(f"ratio sipctl / Kamailio: {ours / theirs:.2f}   ({ours:.0f} / {theirs:.0f} us CPU per call)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
