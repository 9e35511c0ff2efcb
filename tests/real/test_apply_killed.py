"""`kill -9` of the controller at every step of an apply, on the real product: old or new, never a mix, and the next one works."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sipctl.control.plans import STEPS
from sipctl.engine.generation import Generations
from sipctl.routing.table import load_table
from tests.support.configs import CARRIER, NUMBER, OUTSIDE, PRIMARY_SBCS, Plan, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier, start_sbc

FIRST_LIVE = "apply-live-written"  # from this step on a successor carries the new plan


def plan_number(net: Net, number: int) -> Plan:
    """One plan a revision: the entry point's second number says which."""
    plan = a_plan(net, numbers=(NUMBER, f"+49309018{number:04d}"))
    plan.dialplan["entry_points"]["acme-sales"]["labels"] = {"plan": str(number)}
    return plan


def in_store(product: Product) -> tuple[int, dict[str, str], list[int]]:
    """(live revision, its files as the API gives them, revisions that were ever live)."""
    with sqlite3.connect(f"file:{product.state / 'sipctl.db'}?mode=ro", uri=True) as store:
        lived = [row[0] for row in store.execute("SELECT number FROM live ORDER BY n")]
    return lived[-1], product.get(f"/v1/revisions/{lived[-1]}").body["files"], lived


def is_on_disk(product: Product, revision: int) -> bool:
    """Whether the newest generation is that revision's; each must be whole, its table that of its state."""
    found, faults = Generations(product.state / "snapshots").found()
    assert not faults
    for generation in found:
        table = load_table(generation.table.read_bytes())
        assert (table.hash, table.topology.revision) == (generation.state.table, generation.state.revision)
    return found[0].state.revision == revision


def routed(product: Product, number: int) -> bool:
    """Whether the running system has that plan's own number, and the revision it is asked of."""
    reply = product.get(f"/v1/route?number=%2B49309018{number:04d}&trunk=carrier")
    assert reply.status == 200, reply
    return bool(reply.body["entry_point"])


def carries(product: Product, revision: int, above_term: int) -> bool:
    """Whether a new controller is there and the router follows it, with this revision."""
    try:
        status: dict[str, Any] = product.status()
    except (OSError, AssertionError):
        return False  # no view yet
    routers = [(one["revision"], one["term"] > above_term) for one in status["routers"]]
    return status["revision"] == revision and routers == [(revision, True)]


@pytest.mark.timeout(240)
def test_a_controller_killed_at_each_step_of_apply_leaves_old_or_new_while_calls_go_on(net: Net, group: Processes) -> None:
    start_sbc(group, net[PRIMARY_SBCS[0]])
    env = {"SIPCTL_FAILPOINTS": ",".join(f"die-{step}" for step in STEPS)}
    product = a_running_product(group, plan_number(net, 1), env)
    product.wait_operating("fra-a", "in-service")
    carrier = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=400, rate=20, hold_ms=200)
    live = plan_at = 1
    for at, step in enumerate(STEPS):
        wanted = at + 2
        files = plan_number(net, wanted).files()
        dead, term = product.pid("controller"), product.status()["routers"][0]["term"]
        assert dead is not None
        reply = product.post("/v1/revisions", {"base": live, "reason": f"dies at {step}", "files": files}, timeout_s=30)
        assert reply.status in (200, 202, 503), reply
        wait_until(partial(died_at, product.state, step), 20, f"it died at {step}")
        product.wait_for_new("controller", dead, 20)
        is_new = at >= STEPS.index(FIRST_LIVE)
        stored, kept, lived = in_store(product)
        if is_new:
            assert stored > live and kept == files, f"{step}: the new plan is live, whole"
            live, plan_at = stored, wanted
        else:
            assert stored == live and kept == plan_number(net, plan_at).files(), f"{step}: the old plan is live, whole"
        what = f"the router carries revision {live} after a death at {step}"
        wait_until(partial(carries, product, live, term), 20, what)
        wait_until(partial(is_on_disk, product, live), 10, f"revision {live} is on disk")
        assert routed(product, plan_at) and not routed(product, wanted if not is_new else wanted - 1)
        assert lived == sorted(set(lived)), "no revision is live twice"
    reply = product.apply(plan_number(net, 99), "nothing is left to die at")
    assert reply.body["status"] == "done" and routed(product, 99)
    carrier.succeed(400, 60)


def died_at(state: Path, step: str) -> bool:
    return (state / "run" / f"died-{step}").exists()
