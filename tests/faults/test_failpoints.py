"""F3, F4, F5 on the real product: processes that die at a named step, with calls of real parties up."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipctl.supervisor.failpoints import DECISION
from tests.real.conftest import group, net
from tests.real.test_calls import the_sbcs
from tests.support.configs import BCP_SBCS, CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier

__all__ = ["group", "net"]  # the fixtures

A, B = PRIMARY_SBCS


@pytest.mark.timeout(120)
def test_f03_a_router_that_dies_over_a_200_and_its_successor_over_an_ack_lose_no_call(
    net: Net, group: Processes, tmp_path: Path
) -> None:
    the_sbcs(group, net, A)
    steps = ("sending-invite", "relaying-200", "sending-ack")
    env = {"SIPCTL_FAILPOINTS": ",".join(f"die-{step}" for step in steps), "SIPCTL_FAILPOINT_MARKS": str(tmp_path)}
    product = a_running_product(group, a_plan(net), env)
    product.wait_operating("fra-a", "in-service")
    calls = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=60, rate=10, hold_ms=1000)
    for step in steps:
        wait_until(lambda step=step: (tmp_path / f"died-{step}").exists(), 20, f"a router died at {step}")  # type: ignore[misc]
    calls.succeed(60, 60)
    product.wait_calls(0)


def follows(product: Product, above_term: int) -> bool:
    """Whether a later controller is there, and the router goes by what it says."""
    reply = product.get("/v1/status")
    return reply.status == 200 and any(one["term"] > above_term for one in reply.body["routers"])


@pytest.mark.timeout(240)
def test_f05_a_controller_that_dies_around_its_decision_leaves_one_decision_and_no_lost_call(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A, *BCP_SBCS[:1])
    env = {"SIPCTL_FAILPOINTS": ",".join(f"die-{step}" for step in DECISION)}
    product = a_running_product(group, a_plan(net), env)
    product.wait_operating("fra-a", "in-service")
    product.wait_operating("ams-a", "in-service")
    calls = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=200, rate=10, hold_ms=300)
    for step in DECISION:  # one after the other: each order that changes something dies at the first step where nobody died yet
        status = product.status()
        term, was = status["routers"][0]["term"], status["groups"]["acme"]["active"]
        to = "primary" if was == "bcp" else "bcp"
        product.post("/v1/groups/acme/failover", {"to": to, "reason": f"dies at {step}"}, timeout_s=20)
        wait_until(lambda step=step: (product.state / "run" / f"died-{step}").exists(), 20, f"it died at {step}")  # type: ignore[misc]
        wait_until(lambda term=term: follows(product, term), 20, "the router follows the next one")  # type: ignore[misc]
        stays = was if step == "decision-made" else to
        assert product.status()["groups"]["acme"]["active"] == stays, f"{step}: what was told is gone by, and nothing else"
    assert product.failover("acme", "bcp", "nothing is left to die at").body["status"] == "done"
    calls.succeed(200, 60)
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
