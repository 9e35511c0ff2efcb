"""A real supervisor with children that do nothing, and the certainty that none of them outlives its test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sipctl.engine.generation import Generations
from sipctl.routing.snapshot import Listen, RoutingState
from sipctl.routing.table import encode_table
from sipctl.supervisor.state_dir import Process, StateDir
from tests.support.plans import a_state, a_table, a_topology, the_numbers

PATIENCE_S = 20.0


def eventually(check: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline_s = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < deadline_s, f"in vain: {what}"
        time.sleep(0.01)


@dataclass
class House:
    """One STATE, the supervisors that ran on it, and a peer that talks to its routers."""

    state: Path
    address: tuple[str, int]
    supervisors: list[subprocess.Popen[bytes]] = field(default_factory=list)
    seen: set[Process] = field(default_factory=set)
    environment: dict[str, str] = field(default_factory=dict)

    def seed(self, seq: int = 1) -> RoutingState:
        """Write a generation, as a controller would have."""
        listen = Listen("inside", "udp", *self.address, *self.address)
        topology = replace(a_topology(), listens=(listen, replace(listen, name="stream", transport="tcp")))
        state = a_state(a_table(topology), seq=seq)
        Generations(self.state / "snapshots").write(state, encode_table(topology, the_numbers(topology)))
        return state

    def start(self, *, wait: bool = True) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "tests.supervisor.fake_app", "supervisor", "--state", str(self.state)]
        environment = {**os.environ, **self.environment}
        supervisor = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        self.supervisors.append(supervisor)
        if wait:
            eventually(lambda: self.run_file("ready").exists() and self.pid("supervisor") == supervisor.pid, "ready")
            eventually(lambda: self.is_ready("spare"), "a warm spare")
        self.look()
        return supervisor

    def run_file(self, name: str) -> Path:
        return self.state / "run" / name

    def look(self) -> dict[str, Process]:
        found = StateDir(self.state).processes()
        self.seen |= set(found.values())
        return found

    def pid(self, name: str) -> int | None:
        process = self.look().get(name)
        return process.pid if process is not None else None

    def is_ready(self, name: str) -> bool:
        return self.pid(name) is not None and bool(json.loads(self.run_file(f"{name}.json").read_text())["ready"])

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        pid = self.pid(name)
        assert pid is not None, f"no {name} runs"
        os.kill(pid, number)
        if name == "supervisor" and number == signal.SIGKILL:
            self.supervisors[-1].wait()
        return pid

    def ask(self, said: bytes = b"hello", patience_s: float = PATIENCE_S) -> tuple[int, int, int, int]:
        """Who answers: pid, slot, seq of its snapshot, count. Asks again every 50 ms, as SIP would."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((self.address[0], 0))
            peer.settimeout(0.05)
            deadline_s = time.monotonic() + patience_s
            while True:
                assert time.monotonic() < deadline_s, "nobody answers"
                peer.sendto(said, self.address)
                with contextlib.suppress(TimeoutError):
                    pid, slot, seq, count = map(int, peer.recv(100).split())
                    return pid, slot, seq, count

    def log(self) -> str:
        return (self.state / "log" / "supervisor.log").read_text(encoding="utf-8")

    def end(self) -> None:
        """Whatever a test did or failed to do: no process of this STATE stays."""
        for _ in range(2):  # a supervisor may have started one meanwhile
            self.look()
            for supervisor in self.supervisors:
                supervisor.kill()
                supervisor.communicate()
            for process in self.seen:
                if process.is_alive:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: not any(process.is_alive for process in self.seen), "everybody is gone")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    state = tmp_path / "state"
    (state / "run").mkdir(parents=True)
    host = f"127.{10 + os.getpid() % 40}.{os.getpid() // 40 % 250}.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    house = House(state, (host, port))
    try:
        yield house
    finally:
        house.end()


def read_ready(house: House) -> dict[str, object]:
    ready: dict[str, object] = json.loads(house.run_file("ready").read_text(encoding="utf-8"))
    return ready
