"""Emergency and upgrade with real calls: what is ordered on the node holds, and no call is lost while all processes change."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

from tests.real.test_calls import running_with, the_sbcs
from tests.support.configs import BCP_SBCS, CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import COMMAND, ROLES, Product
from tests.support.sipp import start_carrier

A, B = PRIMARY_SBCS
HELD = 20


def sipctl(product: Product, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """The command line on the node itself."""
    argv = [str(COMMAND), *arguments, "--state", str(product.state)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, "COLUMNS": "200"})
    product.remember_pids()
    return ended


def now(product: Product) -> dict[str, Any]:
    """What `status --local` says."""
    body: dict[str, Any] = json.loads(sipctl(product, "status", "--local", "-o", "json").stdout)
    return body


def test_a_failover_without_any_controller_moves_new_calls_and_is_adopted_when_one_returns(net: Net, group: Processes) -> None:
    sbcs = the_sbcs(group, net, *PRIMARY_SBCS, *BCP_SBCS)
    product = running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=25_000)
    product.wait_calls(HELD)
    refused = sipctl(product, "failover", "acme", "--to", "bcp", "--local", "--reason", "drill")
    assert refused.returncode == 3 and "controller-lives" in refused.stderr, refused
    for role in ("supervisor", "controller", "desk"):
        product.kill(role)
    assert now(product)["now"]["routers"]["r1"]["groups"]["acme"]["bcp_percent"] == 0
    ordered = sipctl(product, "failover", "acme", "--to", "bcp", "--local", "--reason", "CHG7: the controller is gone")
    assert ordered.returncode == 0, ordered
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    sbcs[BCP_SBCS[0]].wait_received("INVITE", 3)
    product.run()
    wait_until(lambda: product.status()["groups"]["acme"]["active"] == "bcp", 10, "the controller that returns goes by it")
    mine = product.status()["groups"]["acme"]
    assert mine["held"] is not None and "CHG7" in mine["reason"], mine
    record = product.get("/v1/groups/acme/decisions").body["decisions"][0]
    assert record["actor"].startswith("local:") and record["rule"] == "failover", record
    book = product.state / "local-orders.json"
    wait_until(lambda: not json.loads(book.read_text())["orders"], 10, "it needs no file any more")
    dead = product.kill("router-0")
    product.wait_for_new("router-0", dead)
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    sbcs[BCP_SBCS[0]].wait_received("INVITE", 6)
    held.succeed(HELD, 40)
    product.wait_calls(0)


def test_all_processes_are_replaced_under_calls_and_none_is_lost(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    before = {role: product.pid(role) for role in ROLES}
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=45_000)
    product.wait_calls(HELD)
    flowing = start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=600, rate=30, hold_ms=300)
    flowing.wait_for_calls(10, 10)
    renewed = sipctl(product, "node", "restart", "--all", "--reason", "CHG8: a new build")
    assert renewed.returncode == 0, renewed
    flowing.succeed(600, 60)
    after = {role: product.pid(role) for role in ROLES}
    assert {role for role in ROLES if after[role] == before[role]} == {"supervisor"}, (before, after)
    wait_until(lambda: product.get("/readyz").status == 200, 10, "the API answers")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    held.succeed(HELD, 60)
    product.wait_calls(0)


def test_an_upgrade_to_a_build_that_does_not_start_changes_nothing(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    before = {role: product.pid(role) for role in ROLES}
    broken = product.state / "broken-python"
    broken.write_text("#!/bin/sh\necho no module named sipctl >&2\nexit 1\n")
    broken.chmod(0o755)
    refused = sipctl(product, "node", "upgrade", "--python", str(broken), "--reason", "CHG9")
    assert refused.returncode == 1 and "no module named sipctl" in refused.stderr, refused
    assert {role: product.pid(role) for role in ROLES} == before
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)


def test_a_router_in_its_sleep_is_replaced_and_its_calls_go_on(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=9_000)
    product.wait_calls(HELD)
    frozen = product.pid("router-0")
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    product.wait_for_new("router-0", frozen)
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    held.succeed(HELD, 30)
    product.wait_calls(0)
