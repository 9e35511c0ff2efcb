"""The running story, for those who listen: the last notices in a ring, each with an id to resume from.

An id is ``BOOT-N``: N counts from 1 since this desk started, BOOT tells one desk's life from another's. Who comes back with an id
that is still in the ring misses nothing; who comes back too late, or to another desk, is told so first (`reset`) and reads the
status anew. A slow listener loses what falls out of the ring, and is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from sipctl.control.ports import Notice

MAX_KEPT: Final = 2_000
MAX_LISTENERS: Final = 64


@dataclass(frozen=True, slots=True)
class Entry:
    number: int
    notice: Notice


class EventRing:
    """One writer, many listeners; nobody waits for a listener."""

    def __init__(self, boot: str, kept: int = MAX_KEPT) -> None:
        self.boot = boot
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._last = 0
        self._news = asyncio.Event()
        self.listeners = 0

    def add(self, notice: Notice) -> None:
        self._last += 1
        self._entries.append(Entry(self._last, notice))
        self.wake()

    def wake(self) -> None:
        """Let every listener look up: something is new, or who may listen has changed."""
        self._news.set()
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        return self._last

    def id_of(self, number: int) -> str:
        return f"{self.boot}-{number}"

    def position(self, last_event_id: str | None) -> tuple[int, bool]:
        """(number of the last event the listener has, whether it missed some).

        Without an id a listener starts with what comes next.
        """
        if not last_event_id:
            return self._last, False
        boot, _, number = last_event_id.rpartition("-")
        if boot != self.boot or not number.isascii() or not number.isdigit() or int(number[:18]) > self._last:
            return self._first - 1, True
        return max(int(number[:18]), self._first - 1), int(number[:18]) < self._first - 1

    def after(self, number: int) -> tuple[list[Entry], bool]:
        """(what came after that number, whether some of it is gone)."""
        return [entry for entry in self._entries if entry.number > number], number < self._first - 1

    async def wait(self, number: int, timeout_s: float) -> None:
        """Return once something is newer than ``number``, listeners are woken, or after ``timeout_s``."""
        news = self._news
        if self._last > number:
            return
        try:
            await asyncio.wait_for(news.wait(), timeout_s)
        except TimeoutError:
            return

    @property
    def _first(self) -> int:
        """Number of the oldest entry kept; one above the last if there is none."""
        return self._entries[0].number if self._entries else self._last + 1
