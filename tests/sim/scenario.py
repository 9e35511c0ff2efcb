"""What the scenarios share: worlds that have settled, behaviours by name, and what to ask of a call."""

from __future__ import annotations

from collections.abc import Callable

from sipctl.routing.snapshot import Operating
from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from sipctl.testing.sbc import Behaviour
from tests.support.network import Weather
from tests.support.world import World
from tests.support.world_plan import Plan

SHORT = Script(then=((3.0, "BYE"),))
TALK = Script(then=((1.0, "INFO"), (2.0, "INVITE"), (3.0, "OPTIONS"), (4.0, "UPDATE"), (6.0, "BYE")))
LONG = Script(then=((60.0, "BYE"),))
STAY = Script()
QUIET = Plan(probe=None)


def a_world(plan: Plan | None = None, *, seed: int = 0, weather: Weather | None = None, settle_s: float = 3.0) -> World:
    """A world whose SBCs have been measured."""
    world = World(seed, plan, weather)
    world.run(settle_s)
    return world


def behave(world: World, **behaviours: Behaviour | Callable[..., Behaviour]) -> None:
    for name, behaviour in behaviours.items():
        world.sbcs[name.replace("_", "-")].behave = behaviour


def invites_at(world: World, name: str) -> int:
    return world.sbcs[name].invites


def operating(world: World, name: str) -> Operating:
    core, snapshot = world.router.core, world.router.snapshot
    assert core is not None and snapshot is not None
    return Operating(core.live.operating[snapshot.sbc_index[name]])


def assert_well(world: World, note: CallNote, at: str | None = None) -> None:
    """Answered, and ended by an ordinary BYE."""
    assert note.answered_s is not None, f"{note}\n{world.tail()}"
    assert note.ended_by in ("me", "peer"), f"{note}\n{world.tail()}"
    assert at is None or world.sbc_of(note) == at, f"answered by {world.sbc_of(note)}\n{world.tail()}"


def listen_at(world: World, *addresses: tuple[str, int]) -> list[bytes]:
    """Everything sent to these addresses from now on."""
    sent: list[bytes] = []

    def note(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bool:
        if to in addresses:
            sent.append(data)
        return False

    world.network.drop = note
    return sent
