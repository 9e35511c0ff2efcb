"""What a live router did with calls and what replay says of the same calls, from the records it left: one and the same."""

import json
import os
import subprocess
import time
from typing import Any

from tests.real.test_calls import running_with, the_sbcs
from tests.support.configs import BCP_SBCS, CARRIER, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, Plan, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import COMMAND, Product
from tests.support.sipp import start_carrier

LIMITED, SPLIT, NOBODY = "+4930901821", "+4930901822", "+4930999"


def a_plan_with_every_draw(net: Net) -> Plan:
    """A limit, a group split by caller, and a BCP pair whose SBCs share load by weight."""
    plan = a_plan(net)
    plan.sbcs["sbc_pairs"]["ams"]["strategy"] = "load-share"
    for sbc in plan.sbcs["sbc_pairs"]["ams"]["sbcs"].values():
        sbc["priority"] = 1
    plan.dialplan["continuity_groups"]["beta"] = {"primary": "acme-bcp", "bcp": "acme-prod", "failover": "manual"}
    plan.dialplan["entry_points"] |= {
        "limited": {"group": "acme", "numbers": [LIMITED], "max_calls": 2},
        "split": {"split": {"acme": "50%", "beta": "50%"}, "numbers": [SPLIT]},
    }
    return plan


def replayed(product: Product, new: str, *options: str) -> tuple[int, dict[str, Any]]:
    argv = [str(COMMAND), "replay", "--state", str(product.state), "--old", "logged", "--new", new, "-o", "json"]
    done = subprocess.run([*argv, *options], capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def call_lines(product: Product) -> int:
    files = (product.state / "cdr").glob("????-??-??.jsonl")
    return sum(json.loads(line)["type"] == "call" for path in files for line in path.read_text().splitlines())


def test_every_replayed_decision_is_what_the_router_logged(net: Net, group: Processes) -> None:
    the_sbcs(group, net, *PRIMARY_SBCS, *BCP_SBCS)
    product = running_with(group, a_plan_with_every_draw(net), *PRIMARY_SBCS, *BCP_SBCS)
    carrier, other, target = net[CARRIER], net[OTHER_CARRIER], net[OUTSIDE]
    plain = start_carrier(group, carrier, target, NUMBER, calls=8, rate=40)
    start_carrier(group, other, target, SPLIT, calls=16, rate=40).succeed(16, 10)
    plain.succeed(8, 10)
    up = start_carrier(group, carrier, target, LIMITED, calls=2, rate=40, hold_ms=2500)
    product.wait_calls(2)
    start_carrier(group, other, target, LIMITED, "carrier_refused", calls=3, rate=40, fill={"STATUS": "486"}).succeed(3, 10)
    start_carrier(group, other, target, NOBODY, "carrier_refused", calls=3, rate=40, fill={"STATUS": "404"}).succeed(3, 10)
    up.succeed(2, 10)
    product.failover("acme", "bcp")
    moved_at_s = time.time()
    start_carrier(group, carrier, target, NUMBER, calls=12, rate=40).succeed(12, 10)
    wait_until(lambda: call_lines(product) == 44, 10, "44 calls in the records")

    code, found = replayed(product, str(product.config), "--given", f"acme=on-bcp@{moved_at_s}..")
    assert (code, found["changes"], found["unreadable"]) == (0, {"same": 44}, 0), found["differences"]
    assert found["totals"]["new"] == {
        "routed": 38, "refused": 6, "dead": 0, "stranger": 0, "by_status": {"404": 3, "486": 3}, "by_limit": {"entry-point": 3},
    }  # fmt: skip
    used = {peak["name"]: peak["new"]["calls"] for peak in found["peaks"] if peak["kind"] == "sbc"}
    assert used.keys() == {"fra-a", "ams-a", "ams-b"}, "both tenants and both SBCs that share load were drawn"

    code, found = replayed(product, "live")
    assert (code, found["changes"]) == (1, {"same": 32, "other tenant": 12}), "without the scenario the group stays where it was"
