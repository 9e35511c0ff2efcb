"""`make sim`: one seed again, or many; prints the seed and the tail of its story when an invariant breaks, and exits 1.

python -m tests.sim.run --seed 4711 [--kind worlds|troubles|fleets|routers]
python -m tests.sim.run --seeds 2000 [--first 0] [--kind all]
python -m tests.sim.run --kind hours [--seeds 3]
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from os import cpu_count
from typing import Any, Final

from tests.sim.fleet import run_fleet
from tests.sim.hours import HOURS, what_is_wrong
from tests.sim.many import run_many_routers
from tests.sim.seeds import run_seed
from tests.sim.troubles import run_troubled

MAX_SHOWN: Final = 5
KINDS: Final[dict[str, Callable[[int], Any]]] = {
    "worlds": run_seed, "troubles": run_troubled, "fleets": run_fleet, "routers": run_many_routers,
}  # fmt: skip
WORDS: Final = {
    "worlds": "calls, routers that die, networks that lose, plans that change",
    "troubles": "the same with controllers in trouble, and recovery in time",
    "fleets": "three routers, and controllers that do not know of each other",
    "routers": "two to five routers on one machine",
}


def try_seed(job: tuple[str, int]) -> tuple[int, Any, str]:
    """Run one seed: (seed, outcome, "") or (seed, None, what broke)."""
    kind, seed = job
    try:
        return seed, KINDS[kind](seed), ""
    except AssertionError as broken:
        return seed, None, str(broken)
    except Exception as bug:  # noqa: BLE001 - of the product, in the midst of a world: found all the same
        return seed, None, "".join(traceback.format_exception(bug))


def run_many(kind: str, first: int, count: int) -> int:
    """Run `count` seeds of a kind on all processors; returns how many broke something."""
    began_s = time.monotonic()
    broken: list[tuple[int, str]] = []
    done: list[Any] = []
    with ProcessPoolExecutor(max_workers=cpu_count()) as pool:
        for seed, outcome, text in pool.map(try_seed, ((kind, seed) for seed in range(first, first + count)), chunksize=4):
            if outcome is None:
                broken.append((seed, text))
                continue
            done.append(outcome)
    for seed, text in broken[:MAX_SHOWN]:
        print(f"{kind}: seed {seed} broke an invariant: {text}\n  again: make sim KIND={kind} SEED={seed}\n")
    if len(broken) > MAX_SHOWN:
        print("also broken:", " ".join(str(seed) for seed, _ in broken[MAX_SHOWN:]))
    print(f"{kind} ({WORDS[kind]}): {count} seeds, {len(broken)} broken, {time.monotonic() - began_s:.0f} s; {summary(done)}")
    return len(broken)


def summary(done: list[Any]) -> str:
    """Every count of the outcomes summed up, every duration's largest."""
    told = []
    for field in fields(done[0]) if done else ():
        values = [getattr(outcome, field.name) for outcome in done]
        name = field.name.replace("_", " ")
        if isinstance(values[0], int):
            told.append(f"{sum(values)} {name}")
        elif isinstance(values[0], float):
            told.append(f"{name.removesuffix(' s')} at most {max(values):.1f} s")
    return ", ".join(told)


def try_hour(job: tuple[str, int]) -> tuple[str, str, str]:
    """One hour of one scenario: (its name, what became of it, what is wrong)."""
    name, seed = job
    try:
        hour = HOURS[name](seed)
    except AssertionError as broken:
        return name, f"seed {seed}", str(broken)
    told = f"seed {seed}: {hour.answered} of {hour.placed} calls answered; moves: {', '.join(hour.moves) or 'none'}"
    return name, told + ("; latched" if hour.latched else ""), what_is_wrong(name, hour)


def run_hours(seeds: int) -> int:
    """Every hour-long scenario with so many seeds; returns how many failed."""
    failed = 0
    with ProcessPoolExecutor(max_workers=cpu_count()) as pool:
        for name, told, wrong in pool.map(try_hour, ((name, seed) for name in HOURS for seed in range(seeds))):
            print(f"an hour with {name}: {told}" + (f" — WRONG: {wrong}" if wrong else ""))
            failed += bool(wrong)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim", description="Simulated worlds.")
    parser.add_argument("--kind", choices=[*KINDS, "hours", "all"], default="all", help="what kind of worlds")
    parser.add_argument("--seed", type=int, help="run this one and say what it did")
    parser.add_argument("--seeds", type=int, default=2000, help="run so many of each kind")
    parser.add_argument("--hours", type=int, default=1, help="run each hour so many times")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one")
    options = parser.parse_args()
    if options.seed is not None:
        kind = "worlds" if options.kind in ("all", "hours") else options.kind
        seed, outcome, text = try_seed((kind, options.seed))
        print(f"{kind}: seed {seed}: {outcome}" if outcome is not None else f"{kind}: seed {seed} broke an invariant: {text}")
        return 0 if outcome is not None else 1
    failed = 0
    for kind in KINDS:
        if options.kind in (kind, "all"):
            failed += run_many(kind, options.first, options.seeds)
    if options.kind in ("hours", "all"):
        failed += run_hours(options.hours)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
