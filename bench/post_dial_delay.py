"""Post-dial delay beside Kamailio at 500 calls a second:  python -m bench.post_dial_delay [--rate 500] [--seconds 8]

The time from the first INVITE to the 200 of each call, from an SBC that answers at once, by the instants in SIPp's message log;
the same calls straight to that SBC show what SIPp itself takes.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

from bench.beside import DIRECT, KAMAILIO, SIPCTL, both_up, place_calls

PAUSE_S = 1.0


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def measure(rate: int, seconds: int, rounds: int) -> dict[str, list[float]]:
    """Response times in milliseconds of all clean rounds, by side."""
    times: dict[str, list[float]] = {DIRECT: [], SIPCTL: [], KAMAILIO: []}
    with both_up() as beside:
        for side in times:
            place_calls(beside, side, rate, 2)
        for _ in range(rounds):
            for side, found in times.items():
                result = place_calls(beside, side, rate, seconds, response_times=True)
                if result.is_clean:
                    found += result.response_times_ms
                else:
                    print(f"{side:9} NOT CLEAN: {result.failed} failed, {result.retransmitted} retransmitted", flush=True)
                time.sleep(PAUSE_S)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    times = measure(args.rate, args.seconds, args.rounds)
    if not all(times.values()):
        print("no clean round on one side: lower --rate")
        return 1
    for side, found in times.items():
        row = "  ".join(f"p{percent} {percentile(found, percent):6.2f} ms" for percent in (50, 95, 99))
        print(f"{side:9} {len(found):6} calls at {args.rate}/s   {row}")
    added = percentile(times[SIPCTL], 99) - percentile(times[KAMAILIO], 99)
    print(f"p99 of sipctl is Kamailio's {added:+.2f} ms (budget: at most +5 ms)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
