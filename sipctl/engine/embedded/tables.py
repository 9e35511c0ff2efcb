"""Number tables in memory that nobody can change: sealed memfds, kept by content hash, mapped once per router."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Generator

from sipctl.engine.embedded.wire import read_fd, sealed_memfd
from sipctl.errors import SnapshotError
from sipctl.routing.table import Table, load_steps

MAX_TABLES = 4  # the live one, a canary's, the one before, and one being taken
MAX_TABLE_BYTES = 1 << 30

_NEEDED = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK


def sealed(fd: int) -> int:
    """This descriptor if nobody can change or cut what it names any more, else a new one with a sealed copy.

    A mapped file that is cut under its reader kills the reader; so only sealed memory is mapped. Closes `fd` if it copies.

    Raises: SnapshotError if it cannot be read.
    """
    try:
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _NEEDED == _NEEDED:
            return fd
    except OSError:
        pass  # not a memfd
    try:
        return sealed_memfd("table", read_fd(fd, MAX_TABLE_BYTES))
    except OSError as error:
        raise SnapshotError(f"the table cannot be read: {error}") from error
    finally:
        os.close(fd)


class Tables:
    """The tables a router has mapped, oldest first; owns their descriptors."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, Table]] = {}

    def take(self, fd: int) -> Table:
        """Map and check a table; takes the descriptor over, whatever comes of it.

        Raises: SnapshotError for anything but a whole table.
        """
        steps = self.taking(fd)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                table: Table = done.value
                return table

    def taking(self, fd: int) -> Generator[None, None, Table]:
        """As `take`, in steps of a millisecond, for a router that carries calls meanwhile. Closing it lets go of `fd`."""
        fd = sealed(fd)
        try:
            size = os.fstat(fd).st_size
            if not size:
                raise SnapshotError("the table is empty")
            # The view keeps the mapping alive for as long as the table lives.
            table = yield from load_steps(memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_READ)))
        except (OSError, ValueError) as error:
            os.close(fd)
            raise SnapshotError(f"the table cannot be mapped: {error}") from error
        except (SnapshotError, GeneratorExit):
            os.close(fd)
            raise
        known = self._held.pop(table.hash, None)
        if known is not None:
            os.close(fd)
            self._held[table.hash] = known
            return known[1]
        self._held[table.hash] = (fd, table)
        while len(self._held) > MAX_TABLES:
            oldest = next(iter(self._held))
            os.close(self._held.pop(oldest)[0])
        return table

    def taking_all(self, fds: list[int]) -> Generator[None, None, None]:
        """Take several tables, one after the other; from its first step on it owns the descriptors and the list."""
        try:
            while fds:
                yield from self.taking(fds.pop(0))
        finally:
            for fd in fds:
                os.close(fd)

    def table(self, name: str) -> Table | None:
        """A table by its hash; the one asked for last is let go of last."""
        held = self._held.pop(name, None)
        if held is None:
            return None
        self._held[name] = held
        return held[1]

    def descriptor(self, name: str) -> int:
        """The descriptor to hand on; still owned here."""
        return self._held[name][0]
