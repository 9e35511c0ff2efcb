"""The audit and the alerts of the real `sipctl run`: every decision is there, through deaths of all who write it."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sipctl.store.audit_log import AuditLog, day_files
from tests.real.test_calls import running_with, the_sbcs
from tests.real.test_overlays import sipctl
from tests.support.configs import BCP_SBCS, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import Product

A, BCP = PRIMARY_SBCS[0], BCP_SBCS[0]


@contextmanager
def a_receiver() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Somebody on loopback who takes webhooks: (port, what came)."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], came
        finally:
            server.shutdown()
            thread.join()


def bodies(state: Path) -> list[dict[str, Any]]:
    """Every record so far, oldest first."""
    return [dict(record.body) for record in AuditLog(state / "audit").records()][::-1]


def is_told(state: Path, reason: str) -> bool:
    """Whether a move stands there as an operation and as a decision."""
    return {"operation", "decision"} <= {one["kind"] for one in bodies(state) if reason in json.dumps(one)}


def starts(state: Path) -> tuple[int, int]:
    """How often a controller and a desk began."""
    begun = [one["op"] for one in bodies(state) if one["kind"] == "process"]
    return begun.count("controller-start"), begun.count("desk-start")


def verified(product: Product) -> str:
    ended = sipctl(product, "audit", "verify")
    assert ended.returncode == 0, ended
    return ended.stdout


def fail_over(product: Product, to: str, reason: str) -> None:
    """As an operator does who tries again while the controller begins."""
    wish = {"to": to, "reason": reason}
    wait_until(lambda: product.post("/v1/groups/acme/failover", wish).status < 300, 20, "a failover is taken", 0.1)


def reachable(product: Product) -> bool:
    try:
        reply = product.get("/v1/status")
    except OSError:
        return False
    return reply.status == 200 and bool(reply.body["controller"]["reachable"] and reply.body["routers"])


def test_the_audit_holds_every_decision_through_deaths_of_all_who_write_it(net: Net, group: Processes) -> None:
    the_sbcs(group, net, A, BCP)
    product = running_with(group, a_plan(net), A, BCP)
    for count, role in enumerate(("controller", "desk", "controller")):
        fail_over(product, "bcp" if count % 2 == 0 else "primary", f"CHG{count}")
        wait_until(partial(is_told, product.state, f"CHG{count}"), 20, "the move is in the audit", 0.02)
        dead = product.kill(role)
        product.wait_for_new(role, dead)
        wait_until(lambda: reachable(product), 20, "all speak again", 0.05)
    assert sipctl(product, "pin", "nobody", "--to", "bcp", "--reason", "wrong name").returncode == 2
    wait_until(lambda: any(one["kind"] == "denied" for one in bodies(product.state)), 5, "the refusal is recorded", 0.02)
    wait_until(lambda: starts(product.state) == (3, 2), 20, "every start is recorded", 0.02)

    records = bodies(product.state)
    assert "records hold" in verified(product)
    told = {(one["groups"][0], one["epoch"]) for one in records if one["kind"] == "decision"}
    decided = {(one["group"], one["epoch"]) for one in product.get("/v1/decisions?limit=1000").body["decisions"]}
    assert decided and decided <= told, "what the history knows, the audit knows"
    asked = [one for one in records if (one["kind"], one["op"]) == ("asked", "failover")]
    assert {one["reason"] for one in asked} == {"CHG0", "CHG1", "CHG2"} and {one["actor"] for one in asked} == {"admin"}
    assert [f"CHG{count}" for count in range(3) if not is_told(product.state, f"CHG{count}")] == []
    assert starts(product.state) == (3, 2)
    assert all(one["build"].startswith("sipctl ") for one in records if one["kind"] == "process")
    replayed = sipctl(product, "audit", "replay", "--all", "--local")
    assert replayed.returncode == 0 and f"{len(told)} decisions, {len(told)} come out the same" in replayed.stdout

    head = product.status()["audit"]
    product.stop()
    logged = (product.state / "log" / "sipctl.jsonl").read_text()
    assert '"audit head"' in logged and head["records"] > 0
    path = day_files(product.state / "audit")[-1]
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    cut = sipctl(product, "audit", "verify")
    assert cut.returncode == 1 and "its end was cut off" in cut.stderr, "the log was told how far it went"


def test_a_lost_sbc_reaches_the_webhook_and_a_frozen_one_delays_no_decision(net: Net, group: Processes) -> None:
    agent = the_sbcs(group, net, A)[A]
    with a_receiver() as (port, came):
        product = running_with(group, a_plan(net), A)
        secret = product.state / "oncall.secret"
        secret.write_text("correct horse battery staple")
        secret.chmod(0o600)
        (product.state / "alerts.yaml").write_text(
            f"webhooks:\n  oncall: {{url: 'http://127.0.0.1:{port}/', secret_file: {secret}}}\n"
            "targets: {hosts: 127.0.0.1, networks: 127.0.0.1/32}\n"
        )
        wait_until(lambda: len(product.get("/v1/alerts").body["webhooks"]) == 1, 10, "the file is in force", 0.05)
        assert sipctl(product, "alerts", "test", "oncall").returncode == 0
        os.kill(agent.child.pid, signal.SIGKILL)
        wait_until(lambda: any(one["fields"].get("alarm") == "sbc-lost:fra-a" for one in came), 20, "the alert came", 0.05)
        alarms = product.get("/v1/alarms").body["alarms"]
        lost = next(one for one in alarms if one["id"] == "sbc-lost:fra-a")
        acked = sipctl(product, "alarms", "ack", "sbc-lost:fra-a", "--reason", "vendor called")
        assert acked.returncode == 0 and lost["severity"] == "warning", acked
        wait_until(lambda: any(one["type"] == "alarm.acknowledged" for one in came), 10, "who looks after it is told", 0.05)
        dead = product.kill("controller")
        product.wait_for_new("controller", dead)
        wait_until(
            lambda: any(one["id"] == "sbc-lost:fra-a" and one["acked_by"] == "admin" for one in product.status()["alarms"]), 20,
            "the acknowledgement outlives the controller", 0.05,
        )  # fmt: skip
        assert any(one["op"] == "alarm-ack" and one["reason"] == "vendor called" for one in bodies(product.state))
        assert [one["type"] for one in came if one["fields"].get("alarm") == "sbc-lost:fra-a"] == [
            "alarm.raised", "alarm.acknowledged",
        ]  # fmt: skip
        verified(product)
