"""Compiled tables in sealed memory: what the compiler child wrote becomes something routers can map and nobody can change."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sipctl.control.world import Plan
from sipctl.errors import EngineError, SipctlError
from sipctl.routing.table import Table, load_table

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class Image:
    """A compiled table: its file, and sealed memory that routers map. Who holds it closes or drops it."""

    path: str
    fd: int
    table: str  # content hash

    def close(self) -> None:
        os.close(self.fd)

    def drop(self) -> None:
        """Forget an image that does not become live: its file goes too."""
        os.close(self.fd)
        remove_file(self.path)


def remove_file(path: str) -> None:
    """An image's file that nobody needs; what cannot be removed is swept at the next start."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def load_image(path: str, number: int) -> tuple[Plan, Image]:
    """Check an image and put it into sealed memory. Blocks; run it in a thread.

    Raises: EngineError if it cannot be read, is damaged, or is another revision's.
    """
    try:
        fd = _sealed(path)
    except OSError as error:
        raise EngineError(f"the compiled table cannot be read: {error}") from error
    try:
        table = load_table(memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ)))
    except (SipctlError, OSError, ValueError) as error:
        os.close(fd)
        raise EngineError(f"the compiled table is damaged: {error}") from error
    plan = Plan(table.topology, table.hash, number, _counted(table))
    if plan.topology.revision != number:
        os.close(fd)
        raise EngineError(f"the compiler made revision {plan.topology.revision}, asked was {number}")
    return plan, Image(path, fd, table.hash)


def _sealed(path: str) -> int:
    size = os.stat(path).st_size
    fd = os.memfd_create("table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(path, "rb") as source:
            done = 0
            while done < size:
                done += os.sendfile(fd, source.fileno(), done, size - done) or _short(path)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def _short(path: str) -> int:
    raise OSError(f"{path} became shorter while it was read")


def _counted(table: Table) -> dict[str, int]:
    """How many numbers each entry point has."""
    numbers = table.numbers
    counts = [0] * len(table.topology.entry_points)
    entry_of_row = list(numbers.entry_point)
    for first, last, row in zip(numbers.first, numbers.last, numbers.row, strict=True):
        counts[entry_of_row[row]] += last - first + 1
    for words in numbers.words:
        for row in words.values():
            counts[entry_of_row[row]] += 1
    return {entry.name: counts[index] for index, entry in enumerate(table.topology.entry_points)}
