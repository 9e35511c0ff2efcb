"""The supervisor's own log: it must not depend on a desk that may be dead, nor on a terminal that may hang."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from sipctl.supervisor.state_dir import StateDir

MAX_LOG_BYTES = 4 << 20
NAME = "supervisor.log"


class Diary:
    """STATE/log/supervisor.log, and the one before it."""

    def __init__(self, state: StateDir) -> None:
        self._state = state

    def note(self, sentence: str) -> None:
        """One line; lost if the disk refuses."""
        path = self._state.log / NAME
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
                path.rename(path.with_suffix(".log.1"))
            with self._state.append_to_log(path.name) as log:
                log.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {sentence}\n".encode())
