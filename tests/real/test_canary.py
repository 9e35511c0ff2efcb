"""`apply --canary` on the real product: a bad edit goes back by itself, a good one is promoted, and deaths change nobody's side.

Who is whose caller is known beforehand: SIPp's callers are numbered, and a caller's place is a hash of number and revision.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from functools import partial
from typing import Any

from sipctl.routing.canary import canary_takes
from tests.real.test_calls import running_with, the_sbcs
from tests.support.configs import BENCH_NUMBER, CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, Plan, a_pair, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import COMMAND, Product
from tests.support.sipp import CALLING, start_carrier

A = PRIMARY_SBCS[0]
DEAD, ALSO_DEAD = 61, 62
CANARY = 2  # its revision: the first after the folder's


def half_dead(net: Net) -> Plan:
    """The edit: one of the two numbers goes to a tenant where nobody listens."""
    plan = a_plan(net, numbers=(NUMBER,))
    for name, host in (("late", DEAD), ("later", ALSO_DEAD)):
        plan.sbcs["sbc_pairs"][name] = a_pair(net, name, (host,), "frankfurt", probe="off")
        plan.sbcs["tenants"][name] = {"reached_by": [name]}
    plan.dialplan["continuity_groups"]["moved"] = {"primary": "late", "bcp": "later", "failover": "manual"}
    plan.dialplan["entry_points"]["acme-moved"] = {"group": "moved", "numbers": [BENCH_NUMBER]}
    return plan


def labelled(net: Net, label: str) -> Plan:
    """An edit that changes no call."""
    plan = a_plan(net)
    plan.dialplan["entry_points"]["acme-sales"]["labels"] = {"edit": label}
    return plan


def sipctl(product: Product, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(COMMAND), *arguments, "--state", str(product.state)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)


def apply_first(product: Product, plan: Plan, *options: str) -> None:
    folder = plan.write(product.config)
    ended = sipctl(product, "apply", str(folder), "--reason", "CHG7", *options)
    assert ended.returncode == 0 and f"revision {CANARY} takes" in ended.stdout, ended


def its_callers(permille: int, calls: int) -> set[str]:
    everyone = [CALLING.replace("[call_number]", str(number)) for number in range(1, calls + 1)]
    return {caller for caller in everyone if canary_takes(CANARY, permille, caller.encode())}


def canary(product: Product) -> dict[str, Any] | None:
    found: dict[str, Any] | None = product.status()["canary"]
    return found


def whole_calls(product: Product) -> list[dict[str, Any]]:
    """The call records so far; a line that is being written, or whose writer or first half died with the desk, is left out."""
    found = []
    for path in sorted((product.state / "cdr").glob("????-??-??.jsonl")):
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return [line for line in found if line["type"] == "call" and "revision" in line]


def has_calls(product: Product, count: int) -> bool:
    return len(whole_calls(product)) >= count


def test_an_edit_that_sends_half_its_numbers_to_a_dead_sbc_goes_back_by_itself_and_only_its_callers_noticed(
    net: Net, group: Processes
) -> None:
    calls, permille = 160, 500
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    apply_first(product, half_dead(net), "--canary", "50%")
    carriers = [
        start_carrier(group, net[host], net[OUTSIDE], number, calls=calls, rate=16)
        for host, number in ((CARRIER, NUMBER), (OTHER_CARRIER, BENCH_NUMBER))
    ]
    wait_until(lambda: canary(product) is None, 30, "the canary went back", 0.05)
    found = [carrier.finish(40) for carrier in carriers]
    assert (found[0].successful, found[0].failed) == (calls, 0), "the numbers that were not moved never failed"
    assert 20 <= found[1].failed < calls / 2, "its callers of the moved number, until it went back"

    wait_until(lambda: len(whole_calls(product)) == 2 * calls, 10, "every call has its record")
    ours = its_callers(permille, calls)
    for call in whole_calls(product):
        assert call["revision"] == 1 or call["calling"] in ours, f"{call['calling']} is no caller of the canary's"
        if not call["answered"]:
            assert (call["revision"], call["dialled"]) == (CANARY, BENCH_NUMBER), call
    status = product.status()
    (alarm,) = [alarm for alarm in status["alarms"] if alarm["id"] == f"canary-fell:{CANARY}"]
    assert "goes back by itself: of" in alarm["text"] and status["revision"] == 1
    assert product.operating("fra-a") == "in-service"
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], BENCH_NUMBER, calls=20, rate=20).succeed(20, 20)

    assert "rolled back by canary" in sipctl(product, "revisions").stdout
    assert "goes back by itself" in sipctl(product, "history").stdout
    again = sipctl(product, "apply", str(product.config), "--reason", "once more", "--base", "1")
    assert again.returncode == 3 and "rule rolled-back" in again.stderr, again


def test_a_good_edit_keeps_its_callers_through_every_death_and_a_restart_and_is_promoted(net: Net, group: Processes) -> None:
    calls, permille = 240, 300
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    apply_first(product, labelled(net, "good"), "--canary", "30%", "--canary-hold")
    refused = sipctl(product, "apply", str(product.config), "--reason", "another", "--base", "1")
    assert refused.returncode == 3 and "canary-running" in refused.stderr, refused

    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=calls, rate=15, hold_ms=1500)
    for role in ("router-0", "controller", "desk", "router-0", "supervisor"):
        already = len(whole_calls(product))
        wait_until(partial(has_calls, product, already + 10), 20, f"calls between deaths: {role}")
        dead = product.kill(role)
        if role == "supervisor":
            product.run()
        else:
            product.wait_for_new(role, dead)
    carrier.succeed(calls, 60)
    ours = its_callers(permille, calls)
    wait_until(lambda: bool(product.status()["routers"]) and canary(product) is not None, 15, "the canary runs")
    told = whole_calls(product)
    assert {call["calling"] for call in told if call["revision"] == CANARY} <= ours
    assert {call["calling"] for call in told if call["revision"] == 1}.isdisjoint(ours)
    assert {call["revision"] for call in told} == {1, CANARY} and all(call["answered"] for call in told)

    product.stop()
    product.run()
    wait_until(lambda: canary(product) is not None, 15, "it runs again after a restart of everything")
    product.wait_operating("fra-a", "in-service")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=calls, rate=25).succeed(calls, 60)
    wait_until(lambda: (canary(product) or {}).get("is_well") is True, 10, "it is judged well")
    assert "ready: sipctl canary promote" in sipctl(product, "canary", "show").stdout
    again = whole_calls(product)[len(told) :]
    assert {call["calling"] for call in again if call["revision"] == CANARY} <= ours

    grown = sipctl(product, "canary", "grow", "60%", "--reason", "so far so good")
    assert grown.returncode == 0 and "takes 60% of the callers" in grown.stdout, grown
    promoted = sipctl(product, "canary", "promote", "--reason", "enough")
    assert promoted.returncode == 0 and f"revision {CANARY} is live" in promoted.stdout, promoted
    assert canary(product) is None and product.status()["revision"] == CANARY
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=10).succeed(10, 20)
    assert f"the canary of revision {CANARY} is promoted" in sipctl(product, "history").stdout


def test_a_good_edit_is_promoted_by_itself_when_its_time_is_over(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    apply_first(product, labelled(net, "good"), "--canary", "50%", "--canary-for", "5s")
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=150, rate=40).succeed(150, 30)
    wait_until(lambda: product.status()["revision"] == CANARY, 20, "it is live", 0.1)
    assert canary(product) is None and not [one for one in product.status()["alarms"] if "canary" in one["id"]]
