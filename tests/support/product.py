"""The real `sipctl run` as a test sees it: started from a folder, spoken to over its API, killed role by role by pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.configs import Plan
from tests.support.processes import Child, Processes, is_alive, wait_until

READY_S = 30.0
COMMAND = Path(sys.executable).parent / "sipctl"
ROLES = ("supervisor", "router-0", "spare", "controller", "desk")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the API."""

    status: int
    body: Any


@dataclass(slots=True)
class Product:
    """One STATE and whatever runs on it."""

    group: Processes
    config: Path
    state: Path
    env: Mapping[str, str]
    child: Child | None = None
    seen_pids: set[int] = field(default_factory=set)
    routers: int = 1

    # -- running it ------------------------------------------------------------------------------------------------------------

    def run(self, *, wait: bool = True) -> None:
        """`sipctl run` on this STATE: the first time, or again after a death."""
        argv = [str(COMMAND), "run", "--config", str(self.config), "--state", str(self.state), "--api", "127.0.0.1:0"]
        argv += ["--routers", str(self.routers)] if self.routers > 1 else []
        if self.child is not None:
            (self.state / "run" / "api").unlink(missing_ok=True)
        self.child = self.group.start("sipctl", argv, env={**os.environ, **self.env})
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        def ready() -> bool:
            assert self.child is None or self.child.is_running, f"sipctl ended: {self.child and self.child.tail()}"
            try:
                return self.get("/readyz").status == 200
            except OSError:
                return False

        wait_until(ready, timeout_s, "sipctl is ready", 0.05)
        self.remember_pids()

    def stop(self) -> None:
        """End it in order; whatever is left of any role by force."""
        self.remember_pids()
        if self.child is not None and self.child.is_running:
            self.child.end()
        for pid in self.seen_pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in self.seen_pids), 5, "every process of sipctl is gone")

    # -- its processes ---------------------------------------------------------------------------------------------------------

    def pid(self, role: str) -> int | None:
        """The pid that STATE/run names for a role, if that process lives."""
        try:
            pid = int(json.loads((self.state / "run" / f"{role}.json").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return None
        return pid if is_alive(pid) else None

    def remember_pids(self) -> None:
        roles = (*ROLES, *(f"router-{slot}" for slot in range(1, self.routers)))
        self.seen_pids |= {pid for role in roles if (pid := self.pid(role)) is not None}

    def kill(self, role: str) -> int:
        """`kill -9` by pid; the pid that died."""
        self.remember_pids()
        pid = self.pid(role)
        assert pid is not None, f"no {role} runs"
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 2, f"{role} is dead", 0.001)
        return pid

    def wait_for_new(self, role: str, old_pid: int, timeout_s: float = 10) -> None:
        wait_until(lambda: self.pid(role) not in (None, old_pid), timeout_s, f"a new {role}")
        self.remember_pids()

    # -- its API ---------------------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout_s: float = 10) -> Reply:
        """One HTTP request with the admin token. Raises: OSError when nobody answers."""
        try:
            address = (self.state / "run" / "api").read_text().strip()
            token = (self.state / "admin.token").read_text().strip()
        except FileNotFoundError as error:
            raise ConnectionError(str(error)) from error
        request = urllib.request.Request(
            f"http://{address}{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return Reply(answer.status, _decoded(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, _decoded(error.read()))

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def post(self, path: str, body: Mapping[str, Any], timeout_s: float = 60) -> Reply:
        return self.request("POST", path, body, timeout_s)

    def status(self) -> dict[str, Any]:
        reply = self.get("/v1/status")
        assert reply.status == 200, reply
        assert isinstance(reply.body, dict)
        return reply.body

    def operating(self, sbc: str) -> str:
        return str(self.status()["sbcs"][sbc]["operating"])

    def wait_operating(self, sbc: str, state: str, timeout_s: float = 15) -> float:
        """Wait until an SBC is judged so; the monotonic instant it was seen."""
        wait_until(lambda: self.operating(sbc) == state, timeout_s, f"{sbc} {state}", 0.02)
        return time.monotonic()

    def calls(self) -> int:
        return int(self.status()["calls"]["active"])

    def wait_calls(self, count: int, timeout_s: float = 10) -> None:
        wait_until(lambda: self.calls() == count, timeout_s, f"{count} calls counted", 0.05)

    def wait_group(self, group: str, state: str, timeout_s: float = 20) -> dict[str, Any]:
        wait_until(lambda: self.status()["groups"][group]["state"] == state, timeout_s, f"group {group} {state}", 0.05)
        return dict(self.status()["groups"][group])

    def apply(self, plan: Plan, reason: str) -> Reply:
        """Make an edited plan live; returns once every router has it."""
        body = {"base": self.status()["revision"], "reason": reason, "files": plan.files()}
        reply = self.post("/v1/revisions", body)
        assert reply.status < 300, reply
        return self.finished(reply)

    def failover(self, group: str, to: str, reason: str = "test") -> Reply:
        reply = self.post(f"/v1/groups/{group}/failover", {"to": to, "reason": reason})
        assert reply.status < 300, reply
        return self.finished(reply)

    def finished(self, reply: Reply) -> Reply:
        """Wait until an operation is over, if the answer was only 'accepted'."""
        operation = reply.body.get("id") or reply.body.get("operation") if isinstance(reply.body, dict) else None
        if reply.status != 202 or operation is None:
            return reply
        path = f"/v1/operations/{urllib.parse.quote(str(operation))}"
        wait_until(lambda: self.get(path).body.get("status") not in ("accepted", "running"), 30, f"operation {operation} is over")
        return self.get(path)


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def a_product(group: Processes, plan: Plan, env: Mapping[str, str] | None = None) -> Product:
    """Everything ready for `run()`; the test's end stops it."""
    config = plan.write(group.work / "plan")
    product = Product(group, config, group.work / "state", dict(env or {}))
    group.at_end(product.stop)
    return product


def a_running_product(group: Processes, plan: Plan, env: Mapping[str, str] | None = None, *, routers: int = 1) -> Product:
    product = a_product(group, plan, env)
    product.routers = routers
    product.run()
    return product
