"""The desk of a simulated world: what routers tell of calls goes through the real observer to the real controller."""

from __future__ import annotations

from typing import Final

import msgspec

from sipctl.call.events import Answered, Attempt, Ended
from sipctl.control.ports import CallReport
from sipctl.control.world import Reported
from sipctl.telemetry.observing import REPORT_S, CallObserver
from tests.support.world import World

READ_S: Final = 0.5  # events of half a second travel together


class ModelDesk:
    """Reads the router's events and reports; `dies` and `hangs` like the real one: what it had counted is gone, or late."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read = len(world.router.notes)
        self._life = 0
        self._hung_until_s = 0.0
        self.reports = 0
        self.observer = CallObserver(world.now_s)
        self._again(0)
        self._report_again(0)

    def dies(self, down_s: float | None = None) -> None:
        """A successor begins with nothing after `down_s`; None: never."""
        self._life += 1
        life = self._life
        if down_s is not None:
            self._world.at(down_s, lambda: self._begins(life))

    def hangs(self, seconds: float) -> None:
        """It stands still; what routers tell meanwhile waits for it."""
        self._hung_until_s = self._world.now_s + seconds

    def _begins(self, life: int) -> None:
        self._read = len(self._world.router.notes)
        self.observer = CallObserver(self._world.now_s)
        self._again(life)
        self._report_again(life)

    def _again(self, life: int) -> None:
        world = self._world
        if life != self._life or world.finishing:
            return
        if world.now_s >= self._hung_until_s:
            notes = world.router.notes
            fresh, self._read = notes[self._read :], len(notes)
            for note in fresh:
                if note[0] == "event" and isinstance(note[1], Attempt | Answered | Ended):
                    self.observer.take(note[1], world.now_s)
        world.at(READ_S, lambda: self._again(life))

    def _report_again(self, life: int) -> None:
        world = self._world
        if life != self._life or world.finishing:
            return
        if world.now_s >= self._hung_until_s:
            self.observer.tick(world.now_s)
            told = msgspec.msgpack.encode(self.observer.report(world.now_s))
            self.reports += 1
            if world.control is not None:
                world.control.put(Reported(msgspec.msgpack.decode(told, type=CallReport)))
        world.at(REPORT_S, lambda: self._report_again(life))
