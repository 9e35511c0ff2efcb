"""Dying on purpose, for tests: `kill -9` at a named step, to see what the successor finds.

SIPCTL_FAILPOINTS holds names separated by commas; `die-STEP` ends the process at that step. It does so once for a STATE, so that
the successor, which has the same environment, gets past it: STATE/run/died-STEP tells that it happened. A controller's steps are
those of an apply (`control/plans.py`) and of a decision (DECISION); a router's are what it is about to send (MOMENTS), and since
routers touch no files of STATE, SIPCTL_FAILPOINT_MARKS names the folder where theirs are marked. Who is not told to die pays
nothing: no router is wrapped, and a controller's step is an empty call.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

PREFIX: Final = "die-"
DECISION: Final = ("decision-made", "decision-published", "decision-recorded")  # told next; told, written next; queued
MOMENTS: Final[Mapping[str, tuple[bytes, bytes]]] = {  # what is about to leave: how it begins, and what it holds
    "relaying-200": (b"SIP/2.0 200", b" INVITE\r\n"),
    "relaying-487": (b"SIP/2.0 487", b" INVITE\r\n"),
    "sending-invite": (b"INVITE ", b""),
    "sending-cancel": (b"CANCEL ", b""),
    "sending-ack": (b"ACK ", b""),
}


def wished() -> frozenset[str]:
    """The steps at which this process is to die."""
    names = os.environ.get("SIPCTL_FAILPOINTS", "").split(",")
    return frozenset(name[len(PREFIX) :] for name in names if name.startswith(PREFIX))


def failpoints(state: Path, armed_by: str) -> Callable[[str], None]:
    """What a process calls at each of its steps.

    Args:
        armed_by: the step from which on it may die; before, such as while it starts, the same steps are passed unharmed.
            Steps of a decision are never part of a start.
    """
    wanted = wished()
    if not wanted:
        return _go_on
    armed: list[str] = []

    def reached(step: str) -> None:
        if step == armed_by:
            armed.append(step)
        if (armed or step in DECISION) and step in wanted:
            _die_once(state / "run" / f"died-{step}")

    return reached


def doomed(core: Any) -> Any:
    """The same call core; one that dies before a wished moment is on the wire, if there is such a wish."""
    moments = {name: MOMENTS[name] for name in wished() if name in MOMENTS}
    marks = os.environ.get("SIPCTL_FAILPOINT_MARKS")
    return _Doomed(core, moments, Path(marks)) if moments and marks else core


class _Doomed:
    """A call core that looks at what is about to be sent."""

    def __init__(self, core: Any, moments: Mapping[str, tuple[bytes, bytes]], marks: Path) -> None:
        self._inner = core
        self._moments = moments
        self._marks = marks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def is_shedding(self) -> bool:
        return bool(self._inner.is_shedding)

    @is_shedding.setter
    def is_shedding(self, value: bool) -> None:
        self._inner.is_shedding = value

    def receive(self, data: bytes, socket: int, address: tuple[str, int], now_s: float, out: Any, notes: Any) -> None:
        self._inner.receive(data, socket, address, now_s, out, notes)
        self._look(out)

    def tick(self, now_s: float, out: Any, notes: Any) -> None:
        self._inner.tick(now_s, out, notes)
        self._look(out)

    def _look(self, out: Any) -> None:
        for _, data, _ in out:
            for name, (begins, holds) in self._moments.items():
                if data.startswith(begins) and holds in data:
                    _die_once(self._marks / f"died-{name}")


def _die_once(mark: Path) -> None:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _go_on(step: str) -> None:
    """Nobody wants us to die."""
