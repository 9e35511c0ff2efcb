"""`make accept`: the seconds and ratios of the acceptance list, on real sockets.

    python -m tests.accept.run [--only NAME[,NAME…]] [--list] [--work DIR]

Exit 0: every item held. 1: a miss, or an item that could not be judged by its own fault. 3: no miss, but an item was inconclusive
because the machine's own loop stood still for more than 500 ms while it ran. Each item starts its own processes and ends them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.accept import applying, checking, damage, figures, health, hostile, kills, renewal, routers, silence
from tests.accept.gaps import INCONCLUSIVE_S, gap_watch
from tests.accept.lab import Lab, MissError, a_lab

ITEMS: tuple[Callable[[Lab], list[str]], ...] = (
    silence.deaf_sbcs_calls_end_by_the_callers_bye,
    silence.deaf_sbcs_calls_end_by_the_callees_bye,
    silence.stopped_sbcs_hear_nothing_of_us_in_their_calls,
    kills.router_killed_ten_times_over_udp,
    kills.router_killed_over_tcp,
    kills.controller_desk_and_supervisor_killed,
    renewal.every_process_is_replaced_under_load,
    routers.each_of_four_routers_is_killed_in_turn,
    routers.each_of_four_routers_is_stopped_in_turn,
    routers.a_limit_holds_over_four_routers,
    routers.cpu_per_call_over_four_routers,
    health.one_sbc_of_a_pair_dies,
    health.an_sbc_that_only_refuses_keeps_its_dialogs,
    health.options_fine_invites_answered_500,
    health.options_fine_invites_unanswered,
    health.retry_after_is_a_rest_and_no_failover,
    hostile.a_stranger_gets_no_packet,
    hostile.a_hostile_trunk_and_sbc_reach_nobody_and_end_nothing,
    damage.a_damaged_snapshot_keeps_no_node_from_starting,
    damage.a_message_that_raises_costs_that_message_only,
    figures.an_edit_removes_an_sbc_and_a_trunk_with_calls_up,
    checking.check_of_a_million_numbers,
    checking.bombs_are_refused_at_once,
    applying.a_million_numbers_become_live_while_calls_flow,
    figures.cpu_per_call_beside_kamailio,
    figures.post_dial_delay_beside_kamailio,
    figures.resolve_at_a_million_numbers,
    figures.decision_to_first_call_at_a_million_numbers,
)
HELD, MISSED, INCONCLUSIVE, BROKEN = "held", "MISSED", "inconclusive", "BROKEN"


def judge(item: Callable[[Lab], list[str]], work: Path, largest_gap_s: Callable[[], float]) -> tuple[str, list[str]]:
    """Run one item; its verdict and what to print."""
    try:
        with a_lab(work) as lab:
            lines, verdict = item(lab), HELD
    except MissError as miss:
        lines, verdict = [str(miss)], MISSED
    except (AssertionError, OSError, ValueError, KeyError, ExceptionGroup):
        # A count that was not reached is a miss too: SIPp's sentence is in the text.
        lines, verdict = traceback.format_exc().rstrip().splitlines()[-25:], MISSED
    if largest_gap_s() > INCONCLUSIVE_S and verdict != HELD:
        verdict = INCONCLUSIVE
    return verdict, [*lines, f"own loop gap of this machine: {largest_gap_s() * 1000:.0f} ms"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names, or parts of names, separated by commas")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--work", type=Path, default=None, help="keep logs here")
    args = parser.parse_args(argv)
    wanted = [part for part in args.only.split(",") if part]
    chosen = [item for item in ITEMS if not wanted or any(part in item.__name__ for part in wanted)]
    if args.list:
        print("\n".join(item.__name__ for item in chosen))
        return 0
    if not chosen:
        print(f"no item is called so: {args.only} (--list shows them)", file=sys.stderr)
        return 2
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="sipctl-accept-") as scratch, gap_watch() as gap:
        for item in chosen:
            gap.value = 0.0
            began_s = time.monotonic()
            verdict, lines = judge(item, (args.work or Path(scratch)) / item.__name__, lambda: gap.value)
            print(f"{verdict:12} {item.__name__}  ({time.monotonic() - began_s:.0f} s)", flush=True)
            print("".join(f"             {line}\n" for line in lines), end="", flush=True)
            verdicts.append(verdict)
    missed, unclear = verdicts.count(MISSED), verdicts.count(INCONCLUSIVE)
    print(f"{verdicts.count(HELD)} held, {missed} missed, {unclear} inconclusive")
    return 1 if missed else 3 if unclear else 0


if __name__ == "__main__":
    sys.exit(main())
