"""`resolve` and compile at one million numbers: prints figures, asserts nothing.

    python -m bench.bench_resolve [--numbers 1000000]

Three plans of so many numbers from a CSV file: all exact and scattered; with a BCP number of their own for each; and mixed with
ranges and patterns. CPU time; resolve is the best of five batches of 20,000 scattered numbers.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import time
from collections.abc import Iterator

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.plan_tests import Given, settled
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import Route, resolve
from sipctl.routing.select import arrange
from sipctl.routing.table import load_table

EDGE = b"""
listen: {outside: {bind: "udp:127.0.1.1:5060"}}
trunks: {carrier: {sources: [127.0.2.1]}}
sbc_pairs:
  fra: {sbcs: {fra-a: {uri: "sip:127.0.3.1"}, fra-b: {uri: "sip:127.0.3.2", priority: 2}}}
  ams: {sbcs: {ams-a: {uri: "sip:127.0.4.1"}, ams-b: {uri: "sip:127.0.4.2", priority: 2}}}
tenants: {prod: {reached_by: fra}, bcp: {reached_by: ams}}
"""
PLAN = """
continuity_groups: {acme: {primary: prod, bcp: bcp, failover: automatic}}
entry_points:
  sales: {group: acme%s}
  support: {group: acme}
number_files: [{file: all.csv}]
"""
BLOCKS = ', numbers: ["+4910XXXXXXXX", "+4911[1-5]NZXXXXX", "+49120000000..+49129999999", "+492."]'
BATCHES, BATCH = 5, 20_000


def rows(count: int, kind: str) -> Iterator[tuple[str, str]]:
    """(number, line) of so many scattered numbers."""
    chance = random.Random(1)
    for at, place in enumerate(chance.sample(range(10**9, 2 * 10**9), count)):
        number = f"+49{place}"
        own = f"+31{place}" if kind == "own" else ""
        yield number, f"{number},{'sales' if at % 3 else 'support'},{own}\n"


def measure(count: int, kind: str) -> None:
    """Compile, load and resolve one plan."""
    numbers, lines = zip(*rows(count, kind), strict=True)
    csv = ("number,entry_point,called_at.bcp\n" + "".join(lines)).encode()
    blocks = BLOCKS if kind == "blocks" else ""
    files = {"sbc_configs/a.yaml": EDGE, "dialplans/a.yaml": (PLAN % blocks).encode(), "dialplans/all.csv": csv}
    del lines
    started = time.process_time()
    compiled = compile_plan(files, {}, revision=1)
    took_s = time.process_time() - started
    if not compiled.image:
        raise SystemExit("\n".join(str(finding) for finding in compiled.findings[:10]))
    started = time.process_time()
    table = load_table(compiled.image)
    load_s = time.process_time() - started
    size_mb = len(compiled.image) / 1e6
    print(f"{kind:7} compile {took_s:5.1f} s, load {load_s * 1000:4.0f} ms, {size_mb:5.1f} MB, {compiled.numbers:,} rows")
    snapshot, live = settled(table, Given())
    wanted = random.Random(2).sample(numbers, min(BATCH, count))
    gc.freeze()
    gc.disable()
    best_us = min(_batch(snapshot, live, wanted) for _ in range(BATCHES))
    gc.enable()
    print(f"        resolve and arrange {best_us:4.1f} µs CPU, best of {BATCHES} batches of {len(wanted):,}")


def _batch(snapshot: RoutingSnapshot, live: Live, wanted: list[str]) -> float:
    started = time.process_time()
    for number in wanted:
        route = resolve(snapshot, live, 0, number, None, b"+4917012345", 0.0)
        assert isinstance(route, Route)
        arrange(route, live, 0.0)
    return (time.process_time() - started) / len(wanted) * 1e6


def main() -> None:
    """All three plans."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    count = parser.parse_args().numbers
    for kind in ("exact", "own", "blocks"):
        measure(count, kind)
    print(f"        peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
