"""`diff_plans` at one million numbers over 2,000 entry points: prints figures, asserts nothing.

    python -m bench.bench_diff [--numbers 1000000]

The edits: some rows of the CSV moved, removed and added in its middle; one entry point's limit; one SBC's address, which a call
to any number may meet; every number with a BCP number of its own. CPU time after both tables are loaded, tables compiled first.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable, Mapping

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.diff import diff_plans, sentences
from sipctl.routing.table import Table, load_table

ENTRY_POINTS = 2_000
GROUPS = 50
SHOWN = 3
EDGE = """
listen: {outside: {bind: "udp:127.0.1.1:5060"}}
trunks: {carrier: {sources: [127.0.2.1]}}
sbc_pairs:
  fra: {sbcs: {fra-a: {uri: "sip:127.0.3.1"}, fra-b: {uri: "sip:127.0.3.2", priority: 2}}}
  ams: {sbcs: {ams-a: {uri: "sip:127.0.4.1"}, ams-b: {uri: "sip:127.0.4.2", priority: 2}}}
tenants: {prod: {reached_by: fra}, bcp: {reached_by: ams}}
"""


def plan(lines: list[str], edge: str = EDGE, limited: str = "") -> Table:
    """The table of a plan with these CSV rows."""
    groups = "\n".join(f"  g{at}: {{primary: prod, bcp: bcp, failover: automatic}}" for at in range(GROUPS))
    entries = "\n".join(
        f"  e{at}: {{group: g{at % GROUPS}{', max_calls: 100' if limited == f'e{at}' else ''}}}" for at in range(ENTRY_POINTS)
    )
    text = f"continuity_groups:\n{groups}\nentry_points:\n{entries}\nnumber_files: [{{file: all.csv}}]\n"
    csv = ("number,entry_point,called_at.bcp\n" + "".join(lines)).encode()
    files: Mapping[str, bytes] = {
        "sbc_configs/a.yaml": edge.encode(), "dialplans/a.yaml": text.encode(), "dialplans/all.csv": csv,
    }  # fmt: skip
    compiled = compile_plan(files, {}, revision=1, tests=False)
    if not compiled.image:
        raise SystemExit("\n".join(str(finding) for finding in compiled.findings[:10]))
    return load_table(compiled.image)


def rows(count: int, own: bool) -> list[str]:
    """CSV lines of so many scattered numbers."""
    places = random.Random(1).sample(range(10**9, 2 * 10**9), count)
    return [f"+49{place},e{at % ENTRY_POINTS},{f'+31{place}' if own else ''}\n" for at, place in enumerate(places)]


def edited(lines: list[str]) -> list[str]:
    """A few rows moved, removed and added in the middle, so that all rows behind them stand elsewhere."""
    middle = len(lines) // 2
    moved = [line.replace(f",e{at},", f",e{at + 1},") for at, line in enumerate(lines[:1000])]
    added = [f"+492{at:08},e7,\n" for at in range(100)]
    return [*moved, *lines[1000:middle], *added, *lines[middle + 50 :]]


def measure(name: str, old: Table, new: Table) -> None:
    """Compare two tables and print how long it took and what was found."""
    started = time.process_time()
    found = diff_plans(old, new)
    told = sentences(found)
    took_s = time.process_time() - started
    print(f"{name:34} {took_s:5.2f} s CPU, {found.numbers:,} numbers in {len(found.changes):,} changes")
    for line in told[:SHOWN]:
        print(f"    {line[:160]}")


def main() -> None:
    """Measure all edits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    count = parser.parse_args().numbers
    lines = rows(count, own=False)
    base = plan(lines)
    others: dict[str, Callable[[], Table]] = {
        "nothing": lambda: base,
        "1,150 rows moved, gone, added": lambda: plan(edited(lines)),
        "one entry point's limit": lambda: plan(lines, limited="e7"),
        "one SBC's address, in every call": lambda: plan(lines, edge=EDGE.replace("127.0.3.2", "127.0.3.9")),
        "a BCP number for each": lambda: plan(rows(count, own=True)),
    }
    for name, make in others.items():
        measure(name, base, make())
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB, compiling included")


if __name__ == "__main__":
    main()
