"""Acceptance: SBCs that die alone, refuse while their OPTIONS are fine, or ask for a pause."""

from __future__ import annotations

import itertools
import time

from tests.accept.lab import BCP_A, A, B, Lab, arrivals, must, sleep_until
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE
from tests.support.product import Product
from tests.support.sipp import ENDED_BY_CALLER, Sipp, start_carrier, start_deaf_later_sbc, start_refusing_sbc, start_sbc

FALL = 5
JUDGED_S = 1.3
NO_REPLY_S, TRIAL_S = 1.0, 0.5
EJECTED_S = 30.0
SEEN_S = 0.2  # what our own look at the status adds
REST_S = 6


def one_sbc_of_a_pair_dies(lab: Lab) -> list[str]:
    """New calls go to the other; with shared_dialogs an in-dialog request for the dead one reaches the other."""
    net, group = lab.net, lab.group
    dying = start_sbc(group, net[A])
    sibling = start_sbc(group, net[B], "sbc_sibling")
    start_sbc(group, net[BCP_A])
    plan = lab.plan()
    plan.sbcs["sbc_pairs"]["fra"]["shared_dialogs"] = True
    product = lab.start(plan, A, B, BCP_A)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=50, rate=100, hold_ms=10_000)
    product.wait_calls(50)
    dying.child.fall_silent()
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=20, rate=10).succeed(20, 30)
    sibling.wait_received("INVITE", 20)
    held.succeed(50, 60)
    sibling.wait_received("BYE", 70)
    must(product.status()["groups"]["acme"]["state"] == "normal", "the group moved though half of its pair lived")
    product.wait_calls(0, 60)
    return ["20 of 20 new calls and the BYEs of 50 old ones reached the other SBC of the pair"]


def an_sbc_that_only_refuses_keeps_its_dialogs(lab: Lab) -> list[str]:
    """With shared_dialogs, but the SBC is reachable: nothing of its calls moves."""
    net, group = lab.net, lab.group
    refuses_from_s = int(time.time()) + 12
    refusing = start_deaf_later_sbc(group, net[A], refuses_from_s, ended_by=ENDED_BY_CALLER, refuses=True)
    sibling = start_sbc(group, net[B], "sbc_sibling")
    plan = lab.plan()
    plan.sbcs["sbc_pairs"]["fra"]["shared_dialogs"] = True
    product = lab.start(plan, A, B)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=50, rate=100, hold_ms=18_000)
    product.wait_calls(50)
    sleep_until(refuses_from_s + 0.1)
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=30, rate=10).succeed(30, 30)
    product.wait_operating("fra-a", "out-of-service")
    held.succeed(50, 60)
    refusing.wait_received("BYE", 50)
    sibling.wait_received("BYE", 30)
    return ["the BYEs of 50 old calls reached the SBC that refused 30 new ones"]


def options_fine_invites_answered_500(lab: Lab) -> list[str]:
    bad = start_refusing_sbc(lab.group, lab.net[A], 500, "Server Internal Error", short_messages=True)
    return _taken_down_by_calls(lab, bad, silent=False)


def options_fine_invites_unanswered(lab: Lab) -> list[str]:
    bad = start_sbc(lab.group, lab.net[A], "sbc_mute_invite", short_messages=True)
    return _taken_down_by_calls(lab, bad, silent=True)


def _taken_down_by_calls(lab: Lab, bad: Sipp, *, silent: bool) -> list[str]:
    """Down within 5 failures or 1.3 s, whichever is later; not back by OPTIONS before its ejection is over."""
    net, group = lab.net, lab.group
    start_sbc(group, net[B])
    start_sbc(group, net[BCP_A])
    product = lab.start(lab.plan(), A, B, BCP_A)
    calls = 450
    coming = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=calls, rate=10, short_messages=True)
    down_unix_s = _wait_down(product)
    tried = [message.at_unix_s for message in arrivals(bad) if message.at_unix_s <= down_unix_s]
    must(bool(tried), "no call had reached the SBC when it was taken down")
    failures = [at_s for at_s in _failed_at(tried, silent=silent) if at_s <= down_unix_s]
    must(len(failures) >= FALL, f"taken down after {len(failures)} failed calls, {FALL} are the least")
    took_s = down_unix_s - failures[0]
    must(
        down_unix_s <= max(failures[FALL - 1], failures[0] + JUDGED_S) + SEEN_S,
        f"down {took_s:.2f} s after the first of {len(failures)} failed calls, the fifth failed after "
        f"{failures[FALL - 1] - failures[0]:.2f} s",
    )
    back_s: float | None = None
    while time.time() < down_unix_s + EJECTED_S + 15:
        if product.operating("fra-a") != "out-of-service":
            back_s = time.time() - down_unix_s
            break
        time.sleep(0.1)
    must(back_s is None or back_s >= EJECTED_S - SEEN_S, f"back after {back_s} s, its ejection lasts {EJECTED_S} s")
    during = [message for message in arrivals(bad) if down_unix_s + 1 < message.at_unix_s < down_unix_s + EJECTED_S - 1]
    must(not during, f"{len(during)} calls were tried at it during its ejection")
    must(product.status()["groups"]["acme"]["state"] == "normal", "the group moved though half of its pair lived")
    coming.succeed(calls, 60)
    back = "not back within 45 s" if back_s is None else f"back after {back_s:.1f} s"
    return [f"down {took_s:.2f} s after the first failed call, {len(failures)} had failed; {back}; 0 of {calls} calls lost"]


def _failed_at(tried: list[float], *, silent: bool) -> list[float]:
    """When each attempt had failed: at once, or after the silence that a call grants (no_reply, 500 ms for a trial)."""
    if not silent:
        return tried
    first_s = tried[0] + NO_REPLY_S
    return sorted(at_s + (NO_REPLY_S if at_s < first_s else TRIAL_S) for at_s in tried)


def _wait_down(product: Product) -> float:
    product.wait_operating("fra-a", "out-of-service", 30)
    return time.time()


def retry_after_is_a_rest_and_no_failover(lab: Lab) -> list[str]:
    """503 with Retry-After: no call for so long, then calls again; the group stays."""
    net, group = lab.net, lab.group
    busy = start_refusing_sbc(group, net[A], 503, "Service Unavailable", [f"Retry-After: {REST_S}"], short_messages=True)
    start_sbc(group, net[B])
    product = lab.start(lab.plan(), A, B)
    calls = 200
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=calls, rate=10).succeed(calls, 60)
    tried = [message.at_unix_s for message in arrivals(busy)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried) if later - earlier > 0.5]
    must(len(tried) >= 2, "it was not tried again after its rest")
    must(min(pauses) >= REST_S - 0.1, f"tried again after {min(pauses):.1f} s, it had asked for {REST_S} s")
    status = product.status()
    must(status["groups"]["acme"]["state"] == "normal", "the group moved")
    must(status["sbcs"]["fra-a"]["operating"] == "in-service", "busy was taken for dead")
    return [f"tried {len(tried)} times in 20 s, rested {min(pauses):.1f} s each time, 0 of {calls} calls lost"]
