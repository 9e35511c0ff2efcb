"""Calls through the real `sipctl run`, judged by SIPp: who was called, what each side heard, how the call ended."""

import pytest

from tests.support.configs import BCP_SBCS, CARRIER, INSIDE, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, STRANGER, Plan, a_plan
from tests.support.kamailio import start_proxy
from tests.support.mute import Mute
from tests.support.processes import SIP_PORT, Net, Processes, wait_until
from tests.support.product import Product, a_running_product
from tests.support.sipp import Sipp, start_carrier, start_refusing_sbc, start_sbc

A, B = PRIMARY_SBCS
SBC_NAMES = {PRIMARY_SBCS[0]: "fra-a", PRIMARY_SBCS[1]: "fra-b", BCP_SBCS[0]: "ams-a", BCP_SBCS[1]: "ams-b"}


def the_sbcs(group: Processes, net: Net, *hosts: int) -> dict[int, Sipp]:
    return {host: start_sbc(group, net[host]) for host in hosts}


def running_with(group: Processes, plan: Plan, *in_service: int) -> Product:
    """sipctl up, and these SBCs judged in service."""
    product = a_running_product(group, plan)
    for host in in_service:
        product.wait_operating(SBC_NAMES[host], "in-service")
    return product


def without_probes(plan: Plan, *pairs: str) -> Plan:
    for pair in pairs:
        plan.sbcs["sbc_pairs"][pair]["probe"] = "off"
    return plan


def test_one_call_reaches_the_first_sbc_and_ends_by_the_callers_bye(net: Net, group: Processes) -> None:
    sbcs = the_sbcs(group, net, *PRIMARY_SBCS, *BCP_SBCS)
    product = running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, hold_ms=1500)
    product.wait_calls(1)
    carrier.succeed(1, 15)
    sbcs[A].wait_received("BYE", 1)
    product.wait_calls(0)
    assert [sbcs[host].received("INVITE") for host in (*PRIMARY_SBCS, *BCP_SBCS)] == [1, 0, 0, 0]


def test_calls_end_by_the_callees_bye(net: Net, group: Processes) -> None:
    start_sbc(group, net[A], "sbc_answer_and_hang_up", hold_ms=200)
    product = running_with(group, a_plan(net), A)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, "carrier_hangup_by_callee", calls=5).succeed(5, 15)
    product.wait_calls(0)


def test_busy_is_the_callers_answer(net: Net, group: Processes) -> None:
    start_refusing_sbc(group, net[A], 486, "Busy Here")
    others = the_sbcs(group, net, B, *BCP_SBCS)
    running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, "carrier_refused", calls=3, fill={"STATUS": "486"}).succeed(3, 15)
    assert [sbc.received("INVITE") for sbc in others.values()] == [0, 0, 0]


def test_a_silent_sbc_is_followed_by_the_other_of_its_pair(net: Net, group: Processes) -> None:
    sbcs = the_sbcs(group, net, *PRIMARY_SBCS, *BCP_SBCS)
    running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    sbcs[A].child.fall_silent()
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 20)
    sbcs[B].wait_received("INVITE", 3)
    assert [sbcs[host].received("INVITE") for host in BCP_SBCS] == [0, 0]


def test_calls_reach_bcp_while_both_sbcs_of_the_primary_are_silent(net: Net, group: Processes) -> None:
    sbcs = the_sbcs(group, net, *PRIMARY_SBCS, *BCP_SBCS)
    product = running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    for host in PRIMARY_SBCS:
        sbcs[host].child.fall_silent()
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 20)
    sbcs[BCP_SBCS[0]].wait_received("INVITE", 3)
    assert product.wait_group("acme", "on-bcp")["active"] == "bcp"
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=3).succeed(3, 15)
    sbcs[BCP_SBCS[0]].wait_received("INVITE", 6)


def test_a_closed_port_is_passed_over_at_once(net: Net, group: Processes) -> None:
    the_sbcs(group, net, B)
    plan = without_probes(a_plan(net), "fra", "ams")
    plan.sbcs["sbc_pairs"]["fra"]["no_reply"] = "20s"  # so that waiting for silence could not pass
    a_running_product(group, plan)
    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, response_times=True)
    carrier.succeed(1, 15)
    assert carrier.response_times_ms()[0] < 10_000


def test_503_with_retry_after_rests_the_sbc_and_moves_no_group(net: Net, group: Processes) -> None:
    start_refusing_sbc(group, net[A], 503, "Service Unavailable", ["Retry-After: 30"])
    others = the_sbcs(group, net, B, *BCP_SBCS)
    product = running_with(group, a_plan(net), *PRIMARY_SBCS, *BCP_SBCS)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=5).succeed(5, 15)
    others[B].wait_received("INVITE", 5)
    wait_until(lambda: product.status()["sbcs"]["fra-a"]["resting_s"] > 0, 0.5, "the rest is seen")
    status = product.status()
    assert status["sbcs"]["fra-a"]["operating"] == "in-service"
    assert status["groups"]["acme"]["state"] == "normal"


def test_the_trunk_hears_its_exhausted_code_when_every_attempt_failed(net: Net, group: Processes) -> None:
    for host in (*PRIMARY_SBCS, *BCP_SBCS):
        start_refusing_sbc(group, net[host], 500, "Server Internal Error")
    plan = a_plan(net)
    plan.sbcs["trunks"]["carrier"]["exhausted"] = 502
    running_with(group, plan, *PRIMARY_SBCS, *BCP_SBCS)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, "carrier_refused", fill={"STATUS": "502"}).succeed(1, 15)


@pytest.mark.parametrize(("number", "status"), [("+4930999", 404), ("4930901820", 404)])
def test_a_number_nobody_owns_is_refused(net: Net, group: Processes, number: str, status: int) -> None:
    running_with(group, a_plan(net))
    start_carrier(group, net[CARRIER], net[OUTSIDE], number, "carrier_refused", fill={"STATUS": str(status)}).succeed(1, 15)


def test_a_ringing_call_is_cancelled(net: Net, group: Processes) -> None:
    sbc = start_sbc(group, net[A], "sbc_ring")
    product = running_with(group, a_plan(net), A)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, "carrier_cancel", calls=3, hold_ms=200).succeed(3, 15)
    sbc.wait_received("CANCEL", 3)
    product.wait_calls(0)


def test_a_call_is_cancelled_at_once_while_its_sbc_is_silent(net: Net, group: Processes) -> None:
    plan = without_probes(a_plan(net), "fra", "ams")
    plan.sbcs["sbc_pairs"]["fra"]["no_reply"] = "20s"
    with Mute(net[A]):
        a_running_product(group, plan)
        carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, "carrier_cancel_in_silence", hold_ms=300)
        carrier.succeed(1, 15)


def test_calls_over_tcp_on_both_legs(net: Net, group: Processes) -> None:
    start_sbc(group, net[A], transport="t1")
    plan = a_plan(net, tcp=True)
    fra = plan.sbcs["sbc_pairs"]["fra"]
    fra["listen"] = "inside-tcp"
    for sbc in fra["sbcs"].values():
        sbc["uri"] = sbc["uri"].replace("transport=udp", "transport=tcp")
    product = running_with(group, plan, A)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=5, transport="t1", hold_ms=500).succeed(5, 15)
    product.wait_calls(0)


def test_a_call_from_tcp_to_udp_ends_by_its_own_bye(net: Net, group: Processes) -> None:
    start_sbc(group, net[A])
    product = running_with(group, a_plan(net, tcp=True), A)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=5, transport="t1").succeed(5, 15)
    product.wait_calls(0)


def test_a_stranger_hears_nothing(net: Net, group: Processes) -> None:
    product = running_with(group, a_plan(net))
    with Mute(net[STRANGER]) as stranger:
        for method in ("OPTIONS", "INVITE", "REGISTER", "BYE"):
            request = (
                f"{method} sip:{NUMBER}@{net[OUTSIDE]} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {net[STRANGER]}:{SIP_PORT};branch=z9hG4bK{method}\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:x@{net[STRANGER]}>;tag=1\r\nTo: <sip:{NUMBER}@{net[OUTSIDE]}>\r\n"
                f"Call-ID: {method}@stranger\r\nCSeq: 1 {method}\r\nContact: <sip:x@{net[STRANGER]}>\r\nContent-Length: 0\r\n\r\n"
            )
            for address in (net[OUTSIDE], net[INSIDE]):
                stranger.send(request.encode(), (address, SIP_PORT))
        stranger.send(b"\x00\xff garbage", (net[OUTSIDE], SIP_PORT))
        wait_until(lambda: product.status()["strangers"] >= 1, 5, "the stranger is counted")
        assert stranger.heard == []


def test_kamailio_calls_us_and_is_called_by_us(net: Net, group: Processes) -> None:
    start_sbc(group, net[51])
    start_proxy(group, net[A], net[51])
    start_proxy(group, net[CARRIER], net[OUTSIDE])
    product = running_with(group, a_plan(net), A)
    start_carrier(group, net[61], net[CARRIER], NUMBER, calls=5, hold_ms=300).succeed(5, 15)
    product.wait_calls(0)


def test_kamailios_tenant_hangs_up(net: Net, group: Processes) -> None:
    start_sbc(group, net[51], "sbc_answer_and_hang_up", hold_ms=300)
    start_proxy(group, net[A], net[51])
    start_proxy(group, net[CARRIER], net[OUTSIDE])
    product = running_with(group, a_plan(net), A)
    start_carrier(group, net[61], net[CARRIER], NUMBER, "carrier_hangup_by_callee", calls=5).succeed(5, 15)
    product.wait_calls(0)
