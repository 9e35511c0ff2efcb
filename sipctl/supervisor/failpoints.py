"""Dying on purpose, for tests: `kill -9` at a named step, to see what the successor finds.

SIPCTL_FAILPOINTS holds names separated by commas; `die-STEP` ends the process at that step. It does so once for a STATE, so that
the successor, which has the same environment, gets past it: STATE/run/died-STEP tells that it happened.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

PREFIX = "die-"


def failpoints(state: Path, armed_by: str) -> Callable[[str], None]:
    """What a process calls at each of its steps.

    Args:
        armed_by: the step from which on it may die; before, such as while it starts, the same steps are passed unharmed.
    """
    wanted = frozenset(filter(None, os.environ.get("SIPCTL_FAILPOINTS", "").split(",")))
    if not any(name.startswith(PREFIX) for name in wanted):
        return _go_on
    armed: list[str] = []

    def reached(step: str) -> None:
        if step == armed_by:
            armed.append(step)
        if armed and f"{PREFIX}{step}" in wanted:
            try:
                os.close(os.open(state / "run" / f"died-{step}", os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def _go_on(step: str) -> None:
    """Nobody wants us to die."""
