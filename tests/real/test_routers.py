"""Four routers on one machine, one SIPp on each side: calls are spread, and each router in turn may die."""

from __future__ import annotations

import os
import signal

from tests.real.test_calls import the_sbcs
from tests.support.configs import CARRIER, NUMBER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import a_running_product
from tests.support.sipp import start_carrier
from tests.support.tcp_carrier import Fate, TcpCarrier

A, B = PRIMARY_SBCS
ROUTERS = 4
CALLS = 400
OVER_TCP = 60


def test_four_routers_share_the_calls_and_none_is_lost_when_each_dies_in_turn(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = a_running_product(group, a_plan(net), routers=ROUTERS)
    product.wait_operating("fra-a", "in-service")
    assert [router["name"] for router in product.status()["routers"]] == ["r1", "r2", "r3", "r4"]
    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=CALLS, rate=40, hold_ms=500)
    for slot in range(ROUTERS):
        carrier.wait_for_calls(10, 10)
        name = f"router-{slot}"
        if slot % 2:
            frozen = product.pid(name)
            assert frozen is not None
            os.kill(frozen, signal.SIGSTOP)
            product.wait_for_new(name, frozen)
        else:
            product.wait_for_new(name, product.kill(name))
        wait_until(lambda: product.get("/readyz").status == 200, 15, "all four are there again")
    carrier.succeed(CALLS, 60)
    product.wait_calls(0)


def test_calls_over_one_connection_are_served_by_all_routers_and_outlive_the_one_that_has_it(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = a_running_product(group, a_plan(net, tcp=True), routers=ROUTERS)
    product.wait_operating("fra-a", "in-service")
    carrier = TcpCarrier(net[CARRIER], net[OUTSIDE], NUMBER)
    carrier.open()
    try:
        for _ in range(OVER_TCP):
            carrier.place()
            carrier.turn(0.02)
        wait_until(lambda: _all_are(carrier, Fate.UP), 10, "all calls are up")
        wait_until(lambda: all(router["calls"] for router in product.status()["routers"]), 5, "each router has some of them")
        for slot in range(ROUTERS):  # the one that accepted the connection among them
            name = f"router-{slot}"
            product.wait_for_new(name, product.kill(name))
            carrier.turn(0.5)
        for call in carrier.calls.values():
            carrier.hang_up(call)
        wait_until(lambda: _all_are(carrier, Fate.ENDED), 20, "all calls ended by their BYE")
        assert carrier.reconnects >= 1, "its connection died with its router"
    finally:
        carrier.close()
    product.wait_calls(0, 40)


def _all_are(carrier: TcpCarrier, fate: Fate) -> bool:
    carrier.turn(0.1)
    return carrier.count(fate) == OVER_TCP
