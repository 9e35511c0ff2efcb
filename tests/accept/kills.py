"""Acceptance: every process of sipctl killed with calls up and calls coming."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from tests.accept.lab import BCP_A, A, B, Lab, arrivals, largest, must
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE, Plan, a_pair
from tests.support.processes import wait_until
from tests.support.product import Product
from tests.support.sipp import start_carrier, start_refusing_sbc, start_sbc
from tests.support.tcp_carrier import Call, Fate, TcpCarrier

HELD = 600
RATE = 200
KILLS = 10
KILL_EVERY_S = 2.0
OUTAGE_S = 0.3
# Further tenants, each with an SBC that is in the middle of something whenever the router dies.
SILENT_NUMBER, REFUSING_NUMBER, CANCELLED_NUMBER = "+4930901831", "+4930901832", "+4930901833"
SILENT_SBC, REFUSING_SBC, SECOND_SBC, RINGING_SBC = 41, 42, 43, 44
SILENT_CARRIER, REFUSING_CARRIER, CANCELLING_CARRIER = 14, 15, 16
SLOW_MS, REFUSE_AFTER_MS, CANCEL_AFTER_MS = 700, 300, 300
SIDE_RATE = 20
TCP_HELD, TCP_RATE, TCP_KILLS = 100, 50, 3


def _with_busy_tenants(lab: Lab, plan: Plan) -> Plan:
    """Three more groups: an SBC silent for 700 ms, one that answers 503 after 300 ms, one whose calls are cancelled."""
    net = lab.net
    sources: list[str] = plan.sbcs["trunks"]["carrier"]["sources"]
    sources += [f"{net[host]}/32" for host in (SILENT_CARRIER, REFUSING_CARRIER, CANCELLING_CARRIER)]
    pairs: dict[str, Any] = {
        "slow": a_pair(net, "slow", (SILENT_SBC,), "frankfurt"),
        "refusing": a_pair(net, "refusing", (REFUSING_SBC, SECOND_SBC), "frankfurt"),
        "ringing": a_pair(net, "ringing", (RINGING_SBC,), "frankfurt"),
    }
    for (name, pair), number in zip(pairs.items(), (SILENT_NUMBER, REFUSING_NUMBER, CANCELLED_NUMBER), strict=True):
        plan.sbcs["sbc_pairs"][name] = pair
        plan.sbcs["tenants"][f"{name}-prod"] = {"reached_by": [name]}
        plan.dialplan["continuity_groups"][name] = {"primary": f"{name}-prod", "bcp": "acme-bcp", "failover": "automatic"}
        plan.dialplan["entry_points"][name] = {"group": name, "numbers": [number]}
    return plan


def router_killed_ten_times_over_udp(lab: Lab) -> list[str]:
    """0 calls fail, established or in set-up, whatever their SBC was about to do; new calls flow within 0.3 s."""
    net, group = lab.net, lab.group
    main = start_sbc(group, net[A], short_messages=True)
    for host in (B, BCP_A, SECOND_SBC):
        start_sbc(group, net[host])
    start_sbc(group, net[SILENT_SBC], "sbc_slow", hold_ms=SLOW_MS)
    start_refusing_sbc(group, net[REFUSING_SBC], 503, "Service Unavailable", ["Retry-After: 1"], after_ms=REFUSE_AFTER_MS)
    start_sbc(group, net[RINGING_SBC], "sbc_ring")
    product = lab.start(_with_busy_tenants(lab, lab.plan()), A, B, BCP_A)
    for name in ("slow-a", "refusing-a", "refusing-b", "ringing-a"):
        product.wait_operating(name, "in-service")
    lasts_s = KILLS * KILL_EVERY_S + 4
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=200, hold_ms=int(lasts_s + 12) * 1000)
    product.wait_calls(HELD, 15)
    count, side_count = int(RATE * lasts_s), int(SIDE_RATE * lasts_s)
    coming = start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=count, rate=RATE, hold_ms=500)
    sides = [
        start_carrier(group, net[SILENT_CARRIER], net[OUTSIDE], SILENT_NUMBER, calls=side_count, rate=SIDE_RATE),
        start_carrier(group, net[REFUSING_CARRIER], net[OUTSIDE], REFUSING_NUMBER, calls=side_count, rate=SIDE_RATE),
        start_carrier(
            group, net[CANCELLING_CARRIER], net[OUTSIDE], CANCELLED_NUMBER, "carrier_cancel", calls=side_count, rate=SIDE_RATE,
            hold_ms=CANCEL_AFTER_MS,
        ),
    ]  # fmt: skip
    time.sleep(2)
    killed_at = _kill_router(product, KILLS)
    coming.succeed(count, lasts_s + 60)
    for side in sides:
        side.succeed(side_count, 60)
    held.succeed(HELD, 60)
    arrived = [message.at_unix_s for message in arrivals(main)]
    outages = [min(at_s for at_s in arrived if at_s > killed_s) - killed_s for killed_s in killed_at]
    must(largest(outages) <= OUTAGE_S, f"new calls flowed after {largest(outages):.3f} s, at most {OUTAGE_S} s allowed")
    product.wait_calls(0, 40)
    return [
        f"{KILLS} kills: 0 failed of {HELD} established, {count} coming, {3 * side_count} whose SBC was silent, about to refuse, "
        "or being cancelled",
        f"new calls flowed after at most {largest(outages) * 1000:.0f} ms",
    ]


def _kill_router(product: Product, kills: int) -> list[float]:
    """Kill it again and again, each time a living one; the instants."""
    instants = []
    for _ in range(kills):
        began_s = time.monotonic()
        instants.append(time.time())
        dead = product.kill("router-0")
        product.wait_for_new("router-0", dead)
        wait_until(lambda: product.pid("spare") is not None, 5, "a new spare is warm")
        time.sleep(max(0.0, began_s + KILL_EVERY_S - time.monotonic()))
    return instants


def router_killed_over_tcp(lab: Lab) -> list[str]:
    """0 established calls lost; every set-up completes or ends in one clean failure."""
    net, group = lab.net, lab.group
    start_sbc(group, net[A])
    product = lab.start(lab.plan(tcp=True), A)
    carrier = TcpCarrier(net[CARRIER], net[OUTSIDE], NUMBER)
    carrier.open()
    try:
        held = _calls_up(carrier, TCP_HELD)
        for _ in range(TCP_KILLS):
            _place_steadily(carrier, 1.0)
            dead = product.kill("router-0")
            _place_steadily(carrier, 2.0)
            product.wait_for_new("router-0", dead)
        carrier.turn(3.0)
        for call in carrier.calls.values():
            if call.fate is Fate.UP:
                carrier.hang_up(call)
        carrier.turn(3.0)
        lost = [call.number for call in carrier.calls.values() if call.fate in (Fate.LOST, Fate.LEAVING)]
        must(not lost, f"{len(lost)} calls that were up did not end by their BYE, the first: {lost[:5]}")
        must(all(call.fate is Fate.ENDED for call in held), "an established call was lost")
        must(carrier.count(Fate.CALLING) == 0, f"{carrier.count(Fate.CALLING)} set-ups neither completed nor failed")
        twice = [call.number for call in carrier.calls.values() if call.finals > 1]
        must(not twice, f"calls {twice[:5]} failed more than once")
        must(carrier.reconnects >= TCP_KILLS, "the connections did not die with their router")
        failed = carrier.count(Fate.FAILED)
        must(failed <= TCP_KILLS * TCP_RATE, f"{failed} set-ups failed: more than a second's at each kill")
    finally:
        carrier.close()
    product.wait_calls(0, 60)
    return [
        f"{TCP_KILLS} kills: 0 of {TCP_HELD} established calls lost; {carrier.count(Fate.ENDED) - TCP_HELD} set-ups completed, "
        f"{carrier.count(Fate.FAILED)} ended in one clean failure"
    ]


def _calls_up(carrier: TcpCarrier, count: int) -> list[Call]:
    for _ in range(count):
        carrier.place()
        carrier.turn(0.01)
    carrier.turn(1.0)
    must(carrier.count(Fate.UP) == count, f"{carrier.count(Fate.UP)} of {count} calls are up before the first kill")
    return list(carrier.calls.values())


def _place_steadily(carrier: TcpCarrier, seconds: float) -> None:
    for _ in range(int(seconds * TCP_RATE)):
        carrier.place()
        carrier.turn(1 / TCP_RATE)


def controller_desk_and_supervisor_killed(lab: Lab) -> list[str]:
    """Calls notice nothing; each is back, by itself or with the next run; decisions are intact."""
    net, group = lab.net, lab.group
    for host in (A, B, BCP_A):
        start_sbc(group, net[host])
    product = lab.start(lab.plan(), A, B, BCP_A)
    product.failover("acme", "bcp", "acceptance")
    held = start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=100, rate=100, hold_ms=40_000)
    product.wait_calls(100)
    count = 1500
    coming = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=count, rate=50, hold_ms=2000)
    figures = []
    for role in ("controller", "desk"):
        began_s, term = time.monotonic(), product.status()["routers"][0]["term"]
        dead = product.kill(role)
        product.wait_for_new(role, dead)
        product.wait_ready()
        wait_until(lambda: product.get("/v1/status").status == 200, 10, "the API answers")
        if role == "controller":
            wait_until(partial(_follows_newer, product, term), 15, "the router follows the new controller")
        figures.append(f"{role} back after {time.monotonic() - began_s:.1f} s")
        must(product.wait_group("acme", "on-bcp")["active"] == "bcp", f"the failover was forgotten with the {role}")
    router = product.pid("router-0")
    product.kill("supervisor")
    time.sleep(2)
    began_s = time.monotonic()
    product.run()
    figures.append(f"the next run took over after {time.monotonic() - began_s:.1f} s")
    must(product.pid("router-0") == router, "the router was replaced, not taken over")
    must(product.wait_group("acme", "on-bcp")["active"] == "bcp", "the failover was forgotten with the supervisor")
    coming.succeed(count, 60)
    held.succeed(100, 60)
    return [f"0 of {count} calls failed, nor of 100 that were up all the time", *figures]


def _follows_newer(product: Product, term: int) -> bool:
    routers = product.status()["routers"]
    return bool(routers) and routers[0]["term"] > term
