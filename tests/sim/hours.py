"""Whole hours in which something goes wrong all the time: groups that must move seldom, or not at all, and calls that go on.

Each returns what became of its hour; `make sim` runs them at their full length, the tests with what fits into seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from tests.support.network import Weather
from tests.support.world import World
from tests.support.world_control import Control
from tests.support.world_plan import GROUP, Plan

HOUR_S: Final = 3600.0
SETTLE_S: Final = 6.0
PLACED_EVERY_S: Final = 1.0
CALL: Final = ((1.0, "BYE"),)
PRIMARY: Final = ("fra-a", "fra-b")
EAGER: Final = Plan(failback="automatic", hold_down_s=2.0, ramp=(100,))


@dataclass(frozen=True, slots=True)
class Hour:
    """What became of one hour."""

    placed: int
    answered: int
    moves: tuple[str, ...]  # rules of the decisions that moved new calls, in order
    latched: bool
    state: str
    taken_down: tuple[str, ...]  # SBCs that were ever out of service

    @property
    def answered_share(self) -> float:
        return self.answered / self.placed


def flapping_primary(
    seed: int, *, every_s: float = PLACED_EVERY_S, seconds: float = HOUR_S, flaps_s: float = 1800.0,
    up_s: tuple[float, float] = (3.0, 20.0),
) -> Hour:  # fmt: skip
    """Both SBCs of the primary go and return every 3 to 20 s for half an hour; failback is automatic and eager."""
    world, control, dice = *_a_world(EAGER, seed), Random(f"flaps {seed}")

    def turn(mute: bool) -> None:
        for name in PRIMARY:
            world.sbcs[name].mute = mute
        if world.now_s < end_s:
            world.at(dice.uniform(*up_s), lambda: turn(not mute))
        else:
            for name in PRIMARY:
                world.sbcs[name].mute = False

    end_s = world.now_s + flaps_s
    world.at(1.0, lambda: turn(mute=True))
    return _live(world, control, every_s, seconds)


def options_lost(seed: int, *, every_s: float = PLACED_EVERY_S, seconds: float = HOUR_S) -> Hour:
    """Nobody answers any OPTIONS, and one call a second is fine (F9 of the path of the probes)."""
    world, control = _a_world(EAGER, seed)
    for sbc in world.sbcs.values():
        sbc.deaf_to_options = True
    return _live(world, control, every_s, seconds)


def one_percent_lost(seed: int, *, every_s: float = PLACED_EVERY_S, seconds: float = HOUR_S) -> Hour:
    """Each datagram is lost with a probability of 1 %, each way."""
    world, control = _a_world(EAGER, seed)
    world.network.weather = Weather(loss=0.01)
    return _live(world, control, every_s, seconds)


def own_pauses(seed: int, *, every_s: float = PLACED_EVERY_S, seconds: float = HOUR_S) -> Hour:
    """Our own process stands still, for 5 s as under SIGSTOP, and for tenths of seconds as on a starved processor."""
    world, control, dice = *_a_world(EAGER, seed), Random(f"pauses {seed}")
    end_s = world.now_s + seconds

    def starve() -> None:
        if world.now_s < end_s:
            if not world.router.paused:
                world.stand_still(dice.choice((0.3, 0.5, 0.9, 1.5)))
            world.at(dice.uniform(2.0, 8.0), starve)

    def stop() -> None:
        if world.now_s < end_s:
            if not world.router.paused:
                world.stand_still(5.0)
            world.at(dice.uniform(20.0, 60.0), stop)

    world.at(3.0, starve)
    world.at(10.0, stop)
    return _live(world, control, every_s, seconds)


HOURS: Final[dict[str, Callable[[int], Hour]]] = {
    "a flapping primary": flapping_primary, "OPTIONS lost": options_lost, "1 % of all datagrams lost": one_percent_lost,
    "our own pauses": own_pauses,
}  # fmt: skip


def what_is_wrong(name: str, hour: Hour) -> str:
    """What an hour owes us and did not hold; "" if it held all of it."""
    if hour.answered_share < 0.999:
        return f"{hour.answered} of {hour.placed} calls answered"
    if name == "a flapping primary":
        fine = 2 <= len(hour.moves) <= 4 and hour.latched
        return "" if fine else f"moves {hour.moves}, latched: {hour.latched}"
    return f"moves {hour.moves}, though nothing was wrong with any SBC" if hour.moves else ""


def _a_world(plan: Plan, seed: int) -> tuple[World, Control]:
    world = World(seed, plan, controlled=True)
    world.run(SETTLE_S)
    assert world.control is not None
    return world, world.control


def _live(world: World, control: Control, every_s: float, seconds: float) -> Hour:
    """Calls at a steady pace for so long; then everything heals, every call ends, and the ledger is whole."""
    notes: list[CallNote] = []
    carrier = world.callers["carrier-one"]

    def place(number: int) -> None:
        notes.append(world.call(script=Script(then=CALL, calling=f"+49151{number % 97:08}")))

    count = int(seconds / every_s)
    for number in range(count):
        world.at(number * every_s, partial(place, number))
    world.run(seconds)
    assert control.knows is not None
    memory = control.knows.groups.get(GROUP)
    moves, down = tuple(rule for _, _, rule in control.moves), _taken_down(world)
    world.finish()
    assert len(notes) == count and all(note.is_over for note in notes), "the ledger accounts for every call"
    assert set(carrier.ledger.calls) == {note.call_id for note in notes}
    answered = sum(note.answered_s is not None for note in notes)
    return Hour(count, answered, moves, bool(memory and memory.latched), memory.state if memory else "normal", down)


def _taken_down(world: World) -> tuple[str, ...]:
    found = {
        str(note[2]["sbc"]) for note in world.notes
        if note[:2] == ("log", "sbc-state") and note[2]["operating"] == 2
    }  # fmt: skip
    return tuple(sorted(found))
