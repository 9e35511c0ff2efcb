"""STATE as the supervisor sees it: one owner at a time, and who runs.

    STATE/lock             flock of the running supervisor; not inherited, so it falls with it and not with its children
    STATE/run/NAME.json    pid and start time of supervisor, router-0, spare, controller, desk
    STATE/run/*.sock       where a router or spare answers the next supervisor
    STATE/run/ready        written once every slot carries calls; holds API address, sockets and revision
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sipctl.errors import EngineError

_FOLDERS = ("run", "snapshots", "tmp", "cdr", "log")


class OccupiedError(EngineError):
    """Another supervisor runs on this STATE."""

    code = "state.occupied"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Process:
    """A process as a run file names it: the start time tells it from a later one with the same pid."""

    pid: int
    started: int  # clock ticks since boot, field 22 of /proc/PID/stat

    @classmethod
    def now(cls, pid: int) -> Process | None:
        """The process that has this pid now, or None; a zombie is none."""
        fields = process_fields(pid)
        return cls(pid, int(fields[19])) if fields is not None and fields[0] != "Z" else None

    @property
    def is_alive(self) -> bool:
        return Process.now(self.pid) == self


def process_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on; None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


class StateDir:
    """The folder that holds everything sipctl remembers."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.run = self.root / "run"
        self.snapshots = self.root / "snapshots"
        self.log = self.root / "log"
        self._lock = -1

    def prepare(self) -> None:
        """Make the folders, for our user alone.

        Raises: EngineError if STATE cannot be written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in _FOLDERS:
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            hint = "give --state a folder you may write"
            raise EngineError(f"{self.root} cannot be used: {error.strerror}", hint=hint) from error

    def lock(self) -> None:
        """Become the one supervisor of this STATE.

        Raises: OccupiedError, naming the other one.
        """
        self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = -1
            other = self.process("supervisor")
            who = f"process {other.pid}" if other is not None else "another process"
            hint = "stop it first, or give this one its own --state"
            raise OccupiedError(f"sipctl already runs on {self.root}: {who}", hint=hint) from error

    def keep_lock(self, fd: int) -> None:
        """Go on with the lock that the image before us held.

        Raises: OccupiedError if it is not that lock after all.
        """
        self._lock = fd
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OccupiedError(f"the lock of {self.root} was not handed over: {error.strerror}") from error

    @property
    def lock_fd(self) -> int:
        return self._lock

    def append_to_log(self, name: str) -> BinaryIO:
        """A file of STATE/log at its end; ours alone, like all of STATE: an exception's text may hold whole numbers.

        Raises: OSError.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.fdopen(os.open(self.log / name, flags, 0o600), "ab")

    def unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- run files -------------------------------------------------------------------------------------------------------------

    def note_process(self, name: str, pid: int, *, is_ready: bool = True) -> bool:
        """Name a process; `ready` tells whether it does its work yet, a spare's being to wait.

        Returns: whether it stands there now; False on a full disk, which must stop nothing: say it again later.
        """
        process = Process.now(pid)
        if process is None:
            return True
        return self.write(f"{name}.json", json.dumps({"pid": process.pid, "start": process.started, "ready": is_ready}))

    def process(self, name: str) -> Process | None:
        """The process a run file names, if it is alive."""
        try:
            noted = json.loads((self.run / f"{name}.json").read_text(encoding="utf-8"))
            process = Process(int(noted["pid"]), int(noted["start"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return process if process.is_alive else None

    def processes(self) -> dict[str, Process]:
        """Every living process that has a run file, by name."""
        found = {path.stem: self.process(path.stem) for path in sorted(self.run.glob("*.json"))}
        return {name: process for name, process in found.items() if process is not None}

    def write(self, name: str, text: str) -> bool:
        """Replace a run file at once, so that nobody reads half of it; False if it cannot be written, and stands as it was."""
        path = self.run / name
        temporary = path.with_name(f".{name}.tmp")
        try:
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.chmod(0o600)
            temporary.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return False
        return True

    def read(self, name: str) -> str:
        """What a run file says, or nothing."""
        try:
            return (self.run / name).read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self.run / name).unlink()

    def clear_run(self) -> None:
        for path in self.run.iterdir():
            self.remove(path.name)
