"""`make sim`: one seed again, or many; prints the seed and the tail of its story when an invariant breaks, and exits 1.

    python -m tests.sim.run --seed 4711
    python -m tests.sim.run --seeds 2000 [--first 0]
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count

from tests.sim.seeds import Outcome, run_seed

MAX_SHOWN = 5
COUNTED = ("calls", "answered", "deaths", "events", "messages", "legs", "publications", "decisions", "switched", "places")


def try_seed(seed: int) -> tuple[int, Outcome | None, str]:
    """Run one seed: (seed, outcome, "") or (seed, None, what broke)."""
    try:
        return seed, run_seed(seed), ""
    except AssertionError as broken:
        return seed, None, str(broken)


def run_many(first: int, count: int) -> int:
    """Run `count` seeds on all processors; returns how many broke something."""
    began_s = time.monotonic()
    broken: list[tuple[int, str]] = []
    done: list[Outcome] = []
    with ProcessPoolExecutor(max_workers=cpu_count()) as pool:
        for seed, outcome, text in pool.map(try_seed, range(first, first + count), chunksize=4):
            if outcome is None:
                broken.append((seed, text))
                continue
            done.append(outcome)
    for seed, text in broken[:MAX_SHOWN]:
        print(f"seed {seed} broke an invariant: {text}\n  again: make sim SEED={seed}\n")
    if len(broken) > MAX_SHOWN:
        print("also broken:", " ".join(str(seed) for seed, _ in broken[MAX_SHOWN:]))
    total = {name: sum(getattr(outcome, name) for outcome in done) for name in COUNTED}
    most = max((outcome.events for outcome in done), default=0)
    print(
        f"{count} seeds, {len(broken)} broken, {time.monotonic() - began_s:.0f} s; {total['calls']} calls, "
        f"{total['answered']} answered; "
        f"{total['deaths']} router deaths; {total['events']} events, at most {most} in one; {total['messages']} messages judged"
    )
    print(
        f"{total['legs']} second legs gone in time; {total['publications']} publications of the real controller in order, "
        f"{total['decisions']} decisions that replay; {total['switched']} overlays and switches on or off, "
        f"{total['places']} calls judged by them"
    )
    return len(broken)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim", description="Simulated worlds.")
    parser.add_argument("--seed", type=int, help="run this one and say what it did")
    parser.add_argument("--seeds", type=int, default=2000, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one")
    options = parser.parse_args()
    if options.seed is None:
        return 1 if run_many(options.first, options.seeds) else 0
    seed, outcome, text = try_seed(options.seed)
    print(f"seed {seed}: {outcome}" if outcome is not None else f"seed {seed} broke an invariant: {text}")
    return 0 if outcome is not None else 1


if __name__ == "__main__":
    sys.exit(main())
