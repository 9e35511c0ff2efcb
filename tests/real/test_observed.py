"""Over sockets and processes: an SBC that answers OPTIONS and refuses calls comes last; without a desk nothing is judged."""

import os
import subprocess
from typing import Any

from tests.real.test_calls import running_with, the_sbcs
from tests.support.configs import CARRIER, NUMBER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import COMMAND, Product
from tests.support.sipp import start_carrier, start_refusing_sbc

A, B = PRIMARY_SBCS


def told(product: Product, kind: str, name: str) -> dict[str, Any]:
    reply = product.get(f"/v1/observations?kind={kind}&name={name}&window=5m")
    assert reply.status == 200, reply
    windows: dict[str, Any] = reply.body["observations"][0]["windows"]["5m"]
    return windows


def doubts(product: Product) -> list[tuple[str, str]]:
    """What the history tells of doubts: of whom, by which rule."""
    found = product.get("/v1/decisions").body["decisions"]
    return [(one["group"], one["rule"]) for one in found if one["kind"] == "doubt"]


def test_calls_speak_against_an_sbc_that_answers_options_and_it_comes_last(net: Net, group: Processes) -> None:
    plan = a_plan(net)
    fra = plan.sbcs["sbc_pairs"]["fra"]
    fra["strategy"] = "load-share"
    for sbc in fra["sbcs"].values():
        sbc["priority"] = 1
    start_refusing_sbc(group, net[A], 404, "Not Found")
    the_sbcs(group, net, B)
    product = running_with(group, plan, A, B)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=120, rate=60, hold_ms=100).finish(30)
    wait_until(lambda: product.status()["sbcs"]["fra-a"]["doubtful"], 15, "fra-a is doubtful")
    status = product.status()
    fra_a = status["sbcs"]["fra-a"]
    assert fra_a["operating"] == "in-service" and "it answers OPTIONS all the same" in fra_a["doubtful"]["reason"]
    assert any(alarm["id"] == "doubtful:fra-a" for alarm in status["alarms"])
    assert status["groups"]["acme"]["state"] == "normal" and status["sbcs"]["fra-b"]["doubtful"] is None
    wait_until(lambda: doubts(product), 10, "the doubt is in the history")
    assert doubts(product) == [("SBC fra-a", "fails")], "one record, once"
    wait_until(lambda: told(product, "trunk", "carrier")["calls"] == 120, 10, "every call is counted at its trunk")
    assert told(product, "entry-point", "acme-sales")["calls"] == 120
    seen = [told(product, "sbc", name) for name in ("fra-a", "fra-b")]
    assert [one["ner"] for one in seen] == [0.0, 1.0] and sum(one["n"] for one in seen) >= 120

    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=20, rate=60, hold_ms=100).succeed(20, 20)
    wait_until(lambda: told(product, "sbc", "fra-b")["n"] == seen[1]["n"] + 20, 10, "fra-b takes them")
    assert told(product, "sbc", "fra-a")["n"] == seen[0]["n"]

    shell = {**os.environ, "SIPCTL_STATE": str(product.state)}
    table = subprocess.run([COMMAND, "calls", "stats", "--sbc", "fra-a"], env=shell, capture_output=True, text=True, check=True)
    assert "404" in table.stdout and "fra-a is doubtful, so last of its pair: NER 0 %" in table.stdout

    product.kill("desk")
    product.wait_ready()
    wait_until(lambda: product.status()["observations"]["judged"], 15, "the next desk reports")
    assert told(product, "sbc", "fra-b")["n"] == 0, "it begins with nothing"
    assert product.status()["sbcs"]["fra-a"]["doubtful"], "what was judged stands until its time is over"
