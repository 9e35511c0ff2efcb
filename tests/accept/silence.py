"""Acceptance: a primary that falls silent with 200 calls up, in part and wholly."""

from __future__ import annotations

import time

from tests.accept.lab import BCP_A, BCP_B, A, B, Lab, SetUp, arrivals, call_ids, largest, must, set_ups, sleep_until
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE
from tests.support.processes import SIP_PORT, kernel_drops
from tests.support.product import Product
from tests.support.sipp import ENDED_BY_CALLEE, ENDED_BY_CALLER, Sipp, start_carrier, start_deaf_later_sbc, start_sbc

HELD = 200
NEW_RATE = 10
SILENT_FOR_S = 20
BEFORE_SUSPECT_S, AFTER_SUSPECT_S, TRIAL_S = 2.2, 0.2, 0.5
MARKED_DOWN_S = 7.0


def deaf_sbcs_calls_end_by_the_callers_bye(lab: Lab) -> list[str]:
    return _deaf(lab, ENDED_BY_CALLER)


def deaf_sbcs_calls_end_by_the_callees_bye(lab: Lab) -> list[str]:
    return _deaf(lab, ENDED_BY_CALLEE)


def _deaf(lab: Lab, ended_by: str) -> list[str]:
    """(a) Deaf to OPTIONS and new INVITEs only."""
    silent_from_s = int(time.time()) + 15
    hold_ms = (15 + SILENT_FOR_S) * 1000
    for host in (A, B):
        start_deaf_later_sbc(lab.group, lab.net[host], silent_from_s, ended_by=ended_by, hold_ms=hold_ms)
    bcp = [start_sbc(lab.group, lab.net[host], short_messages=True) for host in (BCP_A, BCP_B)]
    product = lab.start(lab.plan(), A, B, BCP_A, BCP_B)
    scenario = "carrier_call" if ended_by == ENDED_BY_CALLER else "carrier_hangup_by_callee"
    held = start_carrier(lab.group, lab.net[CARRIER], lab.net[OUTSIDE], NUMBER, scenario, calls=HELD, rate=100, hold_ms=hold_ms)
    product.wait_calls(HELD)
    figures = _new_calls_while_silent(lab, product, silent_from_s, bcp)
    held.succeed(HELD, 60)
    product.wait_calls(0, 20)
    return [f"{HELD} calls ended by the {ended_by}'s BYE", *figures]


def stopped_sbcs_hear_nothing_of_us_in_their_calls(lab: Lab) -> list[str]:
    """(b) Wholly stopped: nothing is sent towards any call by us."""
    silent_from_s = int(time.time()) + 15
    hold_ms = (15 + SILENT_FOR_S) * 1000
    stopped = [start_sbc(lab.group, lab.net[host], short_messages=True) for host in (A, B)]
    bcp = [start_sbc(lab.group, lab.net[host], short_messages=True) for host in (BCP_A, BCP_B)]
    product = lab.start(lab.plan(), A, B, BCP_A, BCP_B)
    held = start_carrier(
        lab.group, lab.net[CARRIER], lab.net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=hold_ms, short_messages=True
    )
    product.wait_calls(HELD)
    sleep_until(silent_from_s)
    for sbc in stopped:
        sbc.child.fall_silent()
    silent_from = time.time()
    figures = _new_calls_while_silent(lab, product, silent_from, bcp)
    dropped = sum(kernel_drops(sbc.host, SIP_PORT) for sbc in stopped)
    for sbc in stopped:
        sbc.child.wake()
    held.succeed(HELD, 60)
    up = call_ids(held)
    byes = {(message.call_id, message.cseq) for message in held.messages() if not message.received and message.is_request("BYE")}
    strays = [
        message
        for sbc in stopped
        for message in sbc.messages()
        if message.received and message.at_unix_s > silent_from and message.call_id in up
        and not (message.is_request("BYE") and (message.call_id, message.cseq) in byes)
    ]  # fmt: skip
    strays += [
        message
        for message in held.messages()
        if message.received and message.at_unix_s > silent_from
        and not (message.start_line.startswith("SIP/2.0 ") and (message.call_id, message.cseq) in byes)
    ]  # fmt: skip
    must(not strays, f"{len(strays)} messages were sent into calls that were up, the first: {strays[:1]}")
    return [f"0 messages of ours in {HELD} calls ({dropped} datagrams beyond the stopped sockets' buffers)", *figures]


def _new_calls_while_silent(lab: Lab, product: Product, silent_from_s: float, bcp: list[Sipp]) -> list[str]:
    """Place new calls from the instant of silence on; judge their delays and the time to detect."""
    sleep_until(silent_from_s)
    count = NEW_RATE * SILENT_FOR_S
    new = start_carrier(
        lab.group, lab.net[OTHER_CARRIER], lab.net[OUTSIDE], NUMBER, calls=count, rate=NEW_RATE, hold_ms=200, short_messages=True
    )
    down_s = {}
    for name in ("fra-a", "fra-b"):
        product.wait_operating(name, "out-of-service", 15)
        down_s[name] = time.time() - silent_from_s
    new.succeed(count, SILENT_FOR_S + 20)
    must(largest(list(down_s.values())) <= MARKED_DOWN_S, f"marked down after {down_s} s, at most {MARKED_DOWN_S} s allowed")
    calls = set_ups(new)
    at_bcp = {message.call_id for sbc in bcp for message in arrivals(sbc)}
    elsewhere = [call.call_id for call in calls if call.call_id not in at_bcp]
    must(not elsewhere, f"{len(elsewhere)} new calls were answered, but not by BCP, the first: {elsewhere[:1]}")
    first_at_bcp_s = min(message.at_unix_s for sbc in bcp for message in arrivals(sbc))
    before, after = judge_delays(calls, first_at_bcp_s)
    return [
        f"all {count} new calls answered, by BCP",
        f"set-up delay at most {before:.2f} s before both SBCs were suspect, {after:.2f} s after",
        f"marked down after {', '.join(f'{name} {seconds:.1f} s' for name, seconds in down_s.items())}",
    ]


def judge_delays(calls: list[SetUp], both_suspect_unix_s: float) -> tuple[float, float]:
    """Largest delays before both SBCs were suspect and, trials apart, after: a trial waits 500 ms, one a second and SBC."""
    before = [call.delay_s for call in calls if call.placed_unix_s <= both_suspect_unix_s]
    after = [call for call in calls if call.placed_unix_s > both_suspect_unix_s]
    must(largest(before) <= BEFORE_SUSPECT_S, f"a call waited {largest(before):.2f} s while the SBCs were not yet suspect")
    slow = [call for call in after if call.delay_s > AFTER_SUSPECT_S]
    must(
        largest([call.delay_s for call in slow]) <= TRIAL_S + AFTER_SUSPECT_S,
        f"a call waited {largest([call.delay_s for call in slow]):.2f} s though both SBCs were suspect",
    )
    per_second: dict[int, int] = {}
    for call in slow:
        per_second[int(call.placed_unix_s)] = per_second.get(int(call.placed_unix_s), 0) + 1
    must(largest(list(per_second.values())) <= 3, f"more trials than one a second and SBC: {per_second}")
    return largest(before), largest([call.delay_s for call in after if call.delay_s <= AFTER_SUSPECT_S])
