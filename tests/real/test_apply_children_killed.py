"""`kill -9` of the compiler child and of the desk in the midst of an apply: old or new, and the next one works."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.real.test_apply_killed import in_store, is_on_disk, plan_number, routed
from tests.support.configs import PRIMARY_SBCS
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import Product, Reply, a_running_product
from tests.support.sipp import start_sbc


def compiler_of(controller: int) -> int | None:
    """The compiler child a controller has now."""
    for task in Path(f"/proc/{controller}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                if b"compiler" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


def posted(product: Product, number: int, net: Net, live: int) -> tuple[threading.Thread, list[Reply]]:
    """An apply under way, and where its answer will be."""
    replies: list[Reply] = []

    def post() -> None:
        with contextlib.suppress(OSError):  # its desk may die
            body = {"base": live, "reason": "dies", "files": plan_number(net, number).files()}
            replies.append(product.post("/v1/revisions", body, timeout_s=60))

    thread = threading.Thread(target=post)
    thread.start()
    return thread, replies


@pytest.mark.timeout(180)
def test_a_compiler_or_a_desk_killed_in_an_apply_leaves_old_or_new_and_the_next_one_works(net: Net, group: Processes) -> None:
    start_sbc(group, net[PRIMARY_SBCS[0]])
    product = a_running_product(group, plan_number(net, 1))
    product.wait_operating("fra-a", "in-service")
    controller = product.pid("controller")
    assert controller is not None

    thread, replies = posted(product, 2, net, 1)
    wait_until(lambda: compiler_of(controller) is not None, 20, "the compiler is at work", 0.002)
    compiler = compiler_of(controller)
    assert compiler is not None
    os.kill(compiler, signal.SIGKILL)
    thread.join(60)
    assert replies and replies[0].status >= 400, "the apply was refused"
    stored, kept, _ = in_store(product)
    assert (stored, kept) == (1, plan_number(net, 1).files()) and routed(product, 1) and not routed(product, 2)
    assert product.pid("controller") == controller, "the controller outlives its compiler"

    desk = product.pid("desk")
    assert desk is not None
    thread, replies = posted(product, 3, net, 1)
    wait_until(lambda: compiler_of(controller) is not None, 20, "the compiler is at work", 0.002)
    os.kill(desk, signal.SIGKILL)
    thread.join(60)
    product.wait_for_new("desk", desk, 20)
    wait_until(lambda: compiler_of(controller) is None, 30, "the compiler is done")
    product.wait_ready()
    live, kept, _ = in_store(product)
    number = 3 if live > 1 else 1
    wait_until(lambda: in_store(product)[0] == live and routed(product, number), 20, "routers carry what the store says")
    assert kept == plan_number(net, number).files() and not routed(product, 4 - number)

    reply = product.apply(plan_number(net, 4), "nobody dies")
    assert reply.body["status"] == "done" and routed(product, 4)
    wait_until(partial(is_on_disk, product, in_store(product)[0]), 10, "it is on disk")
