"""What a plan's tests do not reach, as lines for people: `sipctl check --coverage`."""

from __future__ import annotations

from typing import Final

from sipctl.dialplan.coverage import Coverage

MAX_LISTED: Final = 50  # pieces shown; -o json has the rest


def coverage_lines(coverage: Coverage) -> list[str]:
    """The percentage, then what no test reaches, entry points no test calls as one line each."""
    missing = list(coverage.missing())
    tests = "1 test reaches" if coverage.tests == 1 else f"{coverage.tests:,} tests reach"
    of = f"{coverage.reached:,} of {len(coverage.pieces):,} entry points, rules and branches"
    lines = [f"coverage {coverage.percent:.1f} %: {tests} {of}"]
    lines += [f"  not reached: {piece.sentence()}" for piece in missing[:MAX_LISTED]]
    if len(missing) > MAX_LISTED:
        lines.append(f"  and {len(missing) - MAX_LISTED:,} more: -o json")
    return lines
