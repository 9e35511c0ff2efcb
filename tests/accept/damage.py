"""Acceptance: a damaged snapshot on disk, and a message that raises inside the core."""

from __future__ import annotations

from pathlib import Path

from sipctl.engine.generation import Generations
from tests.accept.hostile import a_request
from tests.accept.lab import A, Lab, must
from tests.support.configs import CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE
from tests.support.mute import Mute
from tests.support.processes import SIP_PORT, wait_until
from tests.support.sipp import start_carrier, start_sbc

STATE_PLACES = (0, 9, 40, 0.5, -1)  # octets of the file, a share of it, the last one
TABLE_PLACES = (0, 20, 0.5, -1)
POISONED = ("INVITE", "OPTIONS", "BYE")


def a_damaged_snapshot_keeps_no_node_from_starting(lab: Lab) -> list[str]:
    """The newest generation with one octet changed, at its state and at its table: each time the node starts and carries a call.

    Every single offset is tried without processes (tests/engine/test_generation.py); here some are, with all of them.
    """
    net, group = lab.net, lab.group
    start_sbc(group, net[A])
    plan = lab.plan()
    product = lab.start(plan, A)
    plan.dialplan["entry_points"]["acme-sales"]["labels"] = {"plan": "two"}
    must(product.apply(plan, "a second generation").body["status"] == "done", "the second plan is live")
    tried = 0
    for which, places in (("state", STATE_PLACES), ("table", TABLE_PLACES)):
        for place in places:
            product.stop()
            found, faults = Generations(product.state / "snapshots").found()
            must(len(found) == 2 and not faults, f"both generations were whole again before {which} {place}: {faults}")
            newest = found[0]
            _damage(newest.table.parent / "state" if which == "state" else newest.table, place)
            product.run()
            product.wait_operating("fra-a", "in-service")
            start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=1).succeed(1, 15)
            tried += 1
    return [f"{tried} of {tried} starts carried a call"]


def a_message_that_raises_costs_that_message_only(lab: Lab) -> list[str]:
    """A test-only failpoint in the core: the router lives, calls that are up end by their own BYE, the next call is served."""
    net, group = lab.net, lab.group
    start_sbc(group, net[A])
    product = lab.start(lab.plan(), A, env={"SIPCTL_FAILPOINTS": "header"})
    router = product.pid("router-0")
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=50, rate=100, hold_ms=6_000)
    product.wait_calls(50)
    with Mute(net[OTHER_CARRIER]) as poisoner:
        for method in POISONED:
            request = a_request(method, f"sip:{NUMBER}@{net[OUTSIDE]}", net[OTHER_CARRIER])
            poisoned = request.replace(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\nX-Sipctl-Failpoint: now\r\n")
            poisoner.send(poisoned, (net[OUTSIDE], SIP_PORT))
        wait_until(lambda: "core_exceptions" in str(product.get("/metrics").body), 10, "the exceptions are counted")
    start_carrier(group, net[OTHER_CARRIER], net[OUTSIDE], NUMBER, calls=5).succeed(5, 15)
    held.succeed(50, 30)
    must(product.pid("router-0") == router, "the router was replaced")
    return [f"{len(POISONED)} messages raised; 50 of 50 calls up ended by their own BYE, 5 of 5 new ones were served"]


def _damage(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    at = int(len(data) * place) if isinstance(place, float) else int(place)
    data[at] ^= 0x55
    path.write_bytes(data)
