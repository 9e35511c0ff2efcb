"""Overlays and kill switches through the real `sipctl run`: where calls go, through deaths and restarts, and when it ends.

Only the order of things is asserted here; when exactly something ends is proved in virtual time (tests/sim, tests/control).
"""

from __future__ import annotations

import subprocess

from tests.real.test_calls import SBC_NAMES, running_with, the_sbcs
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, Plan, a_pair, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import COMMAND, Product
from tests.support.sipp import start_carrier, start_sbc

A = PRIMARY_SBCS[0]
ANNOUNCEMENT = 41
LATER = "2h"


def a_plan_with_announcements(net: Net) -> Plan:
    plan = a_plan(net)
    plan.sbcs["sbc_pairs"]["ann"] = a_pair(net, "ann", (ANNOUNCEMENT,), "frankfurt")
    plan.dialplan["overlays"] = {"emergency": {"entry_points": {"*": {"to": {"sbc_pair": "ann", "called": "ann-1"}}}}}
    plan.dialplan["switches"] = {"sales-off": {"match": {"entry_point": "acme-sales"}, "refuse": {"code": 486, "cause": 17}}}
    return plan


def running(group: Processes, net: Net) -> Product:
    product = running_with(group, a_plan_with_announcements(net), A)
    wait_until(lambda: product.operating("ann-a") == "in-service", 15, "ann-a in service", 0.05)
    return product


def sipctl(product: Product, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command against it, as an operator types it."""
    argv = [str(COMMAND), *arguments, "--state", str(product.state)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def overlay(product: Product) -> dict[str, object]:
    return dict(product.status()["overlays"]["emergency"])


def call(group: Processes, net: Net, calls: int = 1, carrier: int = CARRIER) -> None:
    start_carrier(group, net[carrier], net[OUTSIDE], NUMBER, calls=calls).succeed(calls, 20)


def test_an_overlay_sends_calls_to_the_announcement_through_the_controllers_death_until_its_time_is_over(
    net: Net, group: Processes
) -> None:
    assert SBC_NAMES[A] == "fra-a"
    agent = the_sbcs(group, net, A)[A]
    announcement = start_sbc(group, net[ANNOUNCEMENT], messages=True)
    product = running(group, net)
    call(group, net)
    agent.wait_received("INVITE", 1)

    on = sipctl(product, "overlay", "on", "emergency", "--until", LATER, "--reason", "CHG7 fire alarm")
    assert on.returncode == 0 and "overlay emergency is on until 20" in on.stdout, on
    call(group, net, 3)
    announcement.wait_received("INVITE", 3)

    dead = product.kill("controller")
    call(group, net, 2, OTHER_CARRIER)  # whoever decides is dead; the routers know
    announcement.wait_received("INVITE", 5)
    product.wait_for_new("controller", dead)
    wait_until(
        lambda: product.status()["controller"]["reachable"] and product.status()["routers"], 15, "a controller that speaks"
    )
    found = overlay(product)
    assert (found["state"], found["by"], found["reason"]) == ("on", "admin", "CHG7 fire alarm")
    assert "overlay emergency is on until" in sipctl(product, "status").stdout
    call(group, net)
    announcement.wait_received("INVITE", 6)

    assert sipctl(product, "overlay", "on", "emergency", "--until", "2s", "--reason", "all clear").returncode == 0
    wait_until(lambda: overlay(product)["state"] == "off", 20, "its time is over", 0.1)
    call(group, net)
    agent.wait_received("INVITE", 2)
    announcement.wait_received("INVITE", 6)
    history = sipctl(product, "overlay", "history", "emergency").stdout
    assert [word in history for word in ("fire alarm", "all clear", "its time is over")] == [True] * 3, history
    assert any("sip:ann-1@" in path.read_text(errors="replace") for path in announcement.folder.glob("*_messages.log"))


def test_a_kill_switch_survives_a_restart_and_no_apply_takes_it_away(net: Net, group: Processes) -> None:
    agent = the_sbcs(group, net, A)[A]
    start_sbc(group, net[ANNOUNCEMENT])
    product = running(group, net)
    assert sipctl(product, "switch", "on", "sales-off", "--reason", "CHG8 fraud").returncode == 0
    refused = {"STATUS": "486"}
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, "carrier_refused", calls=3, fill=refused).succeed(3, 20)
    product.stop()
    product.run()
    assert product.status()["switches"]["sales-off"]["reason"] == "CHG8 fraud"
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, "carrier_refused", calls=2, fill=refused).succeed(2, 20)
    agent.wait_received("INVITE", 0)

    without = a_plan_with_announcements(net)
    del without.dialplan["switches"]
    body = {"base": product.status()["revision"], "reason": "tidy up", "files": without.files()}
    reply = product.post("/v1/revisions", body)
    reply = product.finished(reply)
    assert (reply.status, reply.body.get("rule")) == (409, "active-switch"), reply
    assert product.status()["revision"] == 1 and product.status()["switches"]["sales-off"]["state"] == "on"

    assert sipctl(product, "switch", "off", "sales-off", "--reason", "over").returncode == 0
    call(group, net)
    agent.wait_received("INVITE", 1)
    product.apply(without, "tidy up")
    assert "sales-off" not in product.status()["switches"]
