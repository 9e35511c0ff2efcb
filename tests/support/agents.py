"""Starts pjsua2 agents (each a child process: DESIGN, libraries) and says what they heard."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Child, Processes, wait_until
from tests.support.tones import read_samples, seconds_of, write_tone

ROOT = Path(__file__).parent.parent.parent
START_S = 15.0


@dataclass(slots=True)
class MediaAgent:
    """One agent: the tone it plays, the file it records."""

    child: Child
    tone_hz: int
    recorded: Path

    def story(self) -> list[dict[str, object]]:
        lines = self.child.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def has_said(self, what: str) -> bool:
        return any(line["is"] == what for line in self.story())

    def finish(self, timeout_s: float) -> None:
        """Wait for the end of its call; AssertionError with its log unless the call was answered and ended by a BYE."""
        code = self.child.wait(timeout_s)
        assert code == 0, f"{self.child.name} exit {code}\n{self.child.tail()}"

    def heard_s(self, tone_hz: int) -> float:
        return seconds_of(read_samples(self.recorded), tone_hz)


def start_agent(group: Processes, name: str, host: str, tone_hz: int, *, talk_s: float, call: str | None = None) -> MediaAgent:
    """An agent at `host`, ready when this returns; with `call` it has begun to place that call."""
    played, recorded = group.work / f"{name}-plays.wav", group.work / f"{name}-heard.wav"
    write_tone(played, tone_hz, 1.0)  # played in a loop
    argv = [sys.executable, "-m", "tests.support.pjsua_agent", "--host", host, "--play", str(played), "--record", str(recorded),
            "--talk-s", str(talk_s), *(["--call", call] if call else [])]  # fmt: skip
    agent = MediaAgent(group.start(name, argv, cwd=ROOT), tone_hz, recorded)
    wait_until(lambda: agent.has_said("ready") or not agent.child.is_running, START_S, f"{name} is ready")
    assert agent.child.is_running, f"{name} did not start: {agent.child.tail()}"
    return agent
