"""What a router may boot with, as descriptors: what its predecessor held, then the two generations on disk."""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sipctl.engine.embedded import wire
from sipctl.engine.embedded.tables import MAX_TABLE_BYTES
from sipctl.engine.generation import Found, Generations
from sipctl.errors import SnapshotError
from sipctl.routing.snapshot import Listen, RoutingState
from sipctl.routing.table import load_table


@dataclass(slots=True)
class Snapshot:
    """State and table by descriptor; owns both."""

    name: str
    order: tuple[int, int]  # (term, seq)
    revision: int
    state_fd: int
    table_fd: int
    canary_fd: int | None = None  # the table of the state's canary

    @property
    def table_fds(self) -> tuple[int, ...]:
        return (self.table_fd,) if self.canary_fd is None else (self.table_fd, self.canary_fd)

    def close(self) -> None:
        wire.close_all((self.state_fd, *self.table_fds))


class Snapshots:
    """All that is known; the supervisor's one place to ask."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._disk: list[Snapshot] = []
        self._held: Snapshot | None = None
        self._newest: RoutingState | None = None  # on disk

    def refresh(self) -> list[str]:
        """Open what lies on disk now; returns a sentence for each generation that cannot be used."""
        found, faults = self._generations.found()
        self._newest = found[0].state if found else None
        fresh = []
        for name, generation in zip(("newest", "older"), found, strict=False):
            try:
                fresh.append(_open(name, generation))
            except OSError as error:
                faults.append(f"generation {generation.number} is not used: its table cannot be read: {error.strerror}")
        for snapshot in self._disk:
            snapshot.close()
        self._disk = fresh
        return faults

    def orders_taken(self) -> int:
        """Number of the newest local order that the newest state on disk holds."""
        return self._newest.orders_taken if self._newest is not None else 0

    def groups(self) -> Collection[str]:
        """Names of the groups in the newest state on disk."""
        return self._newest.decisions.keys() if self._newest is not None else ()

    def hold(self, holding: wire.Holding, state_fd: int, table_fd: int, canary_fd: int | None = None) -> None:
        """A router took a snapshot: whoever follows any of them begins with the newest that one holds."""
        held = Snapshot("held", (holding.term, holding.seq), holding.revision, state_fd, table_fd, canary_fd)
        if self._held is not None and held.order < self._held.order:
            held.close()
            return
        if self._held is not None:
            self._held.close()
        self._held = held

    def best_first(self, *, oldest_only: bool) -> list[Snapshot]:
        """In the order a router tries them; only the oldest there is after two deaths at boot."""
        known = ([self._held] if self._held is not None else []) + self._disk
        return known[-1:] if oldest_only else known

    def listens(self) -> tuple[tuple[Listen, ...] | None, list[str]]:
        """The sockets of the newest whole snapshot, or None; and why newer ones were passed over."""
        faults: list[str] = []
        for snapshot in self.best_first(oldest_only=False):
            try:
                return _listens(snapshot.table_fd), faults
            except (SnapshotError, OSError, ValueError) as error:
                faults.append(f"{snapshot.name}: {error}")
        return None, faults


def _open(name: str, generation: Found) -> Snapshot:
    """Open its state, and copy its tables."""
    table = _sealed(generation.table)
    canary = None if generation.canary is None else _sealed(generation.canary)
    state = os.open(generation.table.parent / "state", os.O_RDONLY | os.O_CLOEXEC)
    return Snapshot(name, generation.order, generation.state.revision, state, table, canary)


def _sealed(path: Path) -> int:
    """A table in sealed memory: a file could be cut under the router that maps it."""
    table = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return wire.sealed_memfd("table", wire.read_fd(table, limit=MAX_TABLE_BYTES))
    finally:
        os.close(table)


def _listens(fd: int) -> tuple[Listen, ...]:
    return load_table(memoryview(mmap.mmap(fd, os.fstat(fd).st_size, access=mmap.ACCESS_READ))).topology.listens
