"""What outlives what: calls outlive every process of sipctl, decisions outlive the processes that made them.

Counts are asserted here; the seconds are proved by `make accept`.
"""

import json

from tests.accept.hostile import a_request
from tests.real.test_calls import running_with, the_sbcs
from tests.support.configs import BCP_SBCS, CARRIER, INSIDE, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.mute import Mute
from tests.support.processes import SIP_PORT, Net, Processes, kernel_drops, wait_until
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier, start_sbc

A, B = PRIMARY_SBCS
HELD = 20


def test_calls_survive_kill_9_of_the_router_and_end_by_their_own_bye(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=5000)
    product.wait_calls(HELD)
    dead = product.kill("router-0")
    product.wait_for_new("router-0", dead)
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    product.wait_calls(HELD)
    held.succeed(HELD, 20)
    product.wait_calls(0)


def test_calls_survive_kill_9_of_the_router_and_end_by_the_callees_bye(net: Net, group: Processes) -> None:
    start_sbc(group, net[A], "sbc_answer_and_hang_up", hold_ms=5000)
    product = running_with(group, a_plan(net), A)
    held = start_carrier(
        group, net[CARRIER], net[OUTSIDE], NUMBER, "carrier_hangup_by_callee", calls=HELD, rate=100
    )
    product.wait_calls(HELD)
    dead = product.kill("router-0")
    product.wait_for_new("router-0", dead)
    held.succeed(HELD, 20)
    product.wait_calls(0)


def test_no_call_in_set_up_fails_when_the_router_is_killed(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=300, rate=100, hold_ms=500)
    for _ in range(2):
        carrier.wait_for_calls(20, 10)
        dead = product.kill("router-0")
        product.wait_for_new("router-0", dead)
    carrier.succeed(300, 45)
    product.wait_calls(0)


def test_a_second_kill_while_the_next_spare_still_warms_up_fails_no_call(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=300, rate=100, hold_ms=500)
    carrier.wait_for_calls(50, 10)
    dead = product.kill("router-0")
    product.wait_for_new("router-0", dead)
    spare = product.state / "run" / "spare.json"
    assert not spare.exists() or not json.loads(spare.read_text())["ready"]
    dead = product.kill("router-0")
    product.wait_for_new("router-0", dead)
    carrier.succeed(300, 45)
    product.wait_calls(0)
    assert kernel_drops(net[OUTSIDE], SIP_PORT) == kernel_drops(net[INSIDE], SIP_PORT) == 0, "all waited in the sockets' buffers"


def test_controller_and_desk_come_back_with_their_decisions(net: Net, group: Processes) -> None:
    sbcs = the_sbcs(group, net, *PRIMARY_SBCS, *BCP_SBCS)
    product = running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=9000)
    product.wait_calls(HELD)
    product.failover("acme", "bcp", "rehearsal")
    for role in ("controller", "desk"):
        dead = product.kill(role)
        product.wait_for_new(role, dead)
        product.wait_ready()
        wait_until(lambda: product.get("/v1/status").status == 200, 10, "the API answers")
        wait_until(lambda: product.status()["groups"]["acme"]["active"] == "bcp", 10, "the failover still holds")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    sbcs[BCP_SBCS[0]].wait_received("INVITE", 3)
    held.succeed(HELD, 30)
    product.wait_calls(0)


def test_calls_notice_nothing_when_the_supervisor_dies_and_the_next_run_takes_over(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=9000)
    product.wait_calls(HELD)
    router = product.pid("router-0")
    product.kill("supervisor")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    product.run()
    assert product.pid("router-0") == router, "the router was taken over, not replaced"
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    held.succeed(HELD, 30)
    product.wait_calls(0)


def test_an_edit_that_removes_an_sbc_and_a_trunk_lets_their_calls_end(net: Net, group: Processes) -> None:
    sbcs = the_sbcs(group, net, *PRIMARY_SBCS)
    plan = a_plan(net)
    plan.sbcs["trunks"]["carrier"]["sources"] = [f"{net[CARRIER]}/32"]
    plan.sbcs["trunks"]["other"] = {"site": "frankfurt", "listen": "outside", "sources": [f"{net[OTHER_CARRIER]}/32"]}
    product = running_with(group, plan, *PRIMARY_SBCS)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=6000)
    product.wait_calls(HELD)
    edited = plan.copy()
    del edited.sbcs["trunks"]["carrier"]
    del edited.sbcs["sbc_pairs"]["fra"]["sbcs"]["fra-a"]
    product.apply(edited, "carrier and fra-a leave")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    sbcs[B].wait_received("INVITE", 3)
    held.succeed(HELD, 20)
    sbcs[A].wait_received("BYE", HELD)
    product.wait_calls(0)


def test_an_operators_failover_moves_new_calls_and_leaves_the_old(net: Net, group: Processes) -> None:
    sbcs = the_sbcs(group, net, *PRIMARY_SBCS, *BCP_SBCS)
    product = running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=4000)
    product.wait_calls(HELD)
    product.failover("acme", "bcp", "maintenance")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    sbcs[BCP_SBCS[0]].wait_received("INVITE", 3)
    held.succeed(HELD, 20)
    sbcs[A].wait_received("BYE", HELD)


def test_every_call_leaves_its_records(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = running_with(group, a_plan(net), A)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=4).succeed(4, 15)

    def lines() -> list[dict[str, object]]:
        files = sorted((product.state / "cdr").glob("????-??-??.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    wait_until(lambda: len(lines()) >= 8, 10, "one attempt and one call line for each of four calls", 0.1)
    assert len(lines()) == 8
    assert {path.stat().st_mode & 0o777 for path in (product.state / "cdr").glob("????-??-??.jsonl")} == {0o600}


def test_a_message_that_raises_inside_the_core_costs_that_message_only(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A)
    product = a_running_product(group, a_plan(net), {"SIPCTL_FAILPOINTS": "header"})
    product.wait_operating("fra-a", "in-service")
    router = product.pid("router-0")
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=100, hold_ms=4000)
    product.wait_calls(HELD)
    with Mute(net[OTHER_CARRIER]) as poisoner:
        for method in ("INVITE", "OPTIONS", "BYE"):
            request = a_request(method, f"sip:{NUMBER}@{net[OUTSIDE]}", net[OTHER_CARRIER])
            poisoned = request.replace(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\nX-Sipctl-Failpoint: now\r\n")
            poisoner.send(poisoned, (net[OUTSIDE], SIP_PORT))
    wait_until(lambda: metric(product, "core_exceptions") >= 3, 10, "the exceptions are counted")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    held.succeed(HELD, 20)
    assert product.pid("router-0") == router


def metric(product: Product, counter: str) -> float:
    """The sum of a counter's samples, whatever its labels."""
    found = 0.0
    for line in str(product.get("/metrics").body).splitlines():
        if not line.startswith("#") and counter in line:
            found += float(line.rsplit(" ", 1)[1])
    return found
