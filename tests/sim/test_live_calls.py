"""Live calls as judges of an SBC: down within 5 failures or 1.3 s, whichever is later, and never for one bad moment."""

from __future__ import annotations

from functools import partial

import pytest

from sipctl.call.events import Attempt
from sipctl.routing.snapshot import Operating
from sipctl.testing.caller import Script
from sipctl.testing.sbc import SILENT, Behaviour, refuse
from sipctl.testing.wire import Address, read
from tests.sim.scenario import a_world, behave, operating
from tests.support.network import Weather
from tests.support.router_host import UNIX_MINUS_MONO_S
from tests.support.world import World
from tests.support.world_plan import FRA_A, Plan

FALL, PROMISED_S = 5, 1.3
TICK_S = 1e-6
FAILED = ("no-reply", "no-progress", "transport-error", "refused")


def failures_at(world: World, name: str) -> list[float]:
    """When each failed attempt at an SBC was given up or refused."""
    events = (note[1] for note in world.notes if note[0] == "event")
    return [
        event.ended_unix_s - UNIX_MINUS_MONO_S
        for event in events if isinstance(event, Attempt) and event.sbc == name and event.outcome in FAILED
    ]  # fmt: skip


def place(world: World, script: Script) -> None:
    world.call(script=script)


def calls_come(world: World, every_s: float, seconds: float) -> None:
    for number in range(int(seconds / every_s)):
        script = Script(then=((1.0, "BYE"),), calling=f"+4915100000{number % 17}")
        world.at(number * every_s, partial(place, world, script))


def out_of_service(world: World) -> list[str]:
    """Every SBC that was ever taken out of service."""
    return [
        note[2]["sbc"] for note in world.notes
        if note[:2] == ("log", "sbc-state") and note[2]["operating"] == Operating.OUT_OF_SERVICE
    ]  # fmt: skip


@pytest.mark.parametrize("every_s", [0.02, 0.05, 0.1, 0.2, 0.3, 0.7, 2.0])
@pytest.mark.parametrize("behaviour", [SILENT, refuse(500), refuse(408), refuse(500, after_s=0.4)])
def test_an_sbc_whose_calls_fail_is_down_within_five_failures_or_1300_ms(behaviour: Behaviour, every_s: float) -> None:
    world = a_world()
    behave(world, fra_a=behaviour)
    calls_come(world, every_s, max(6.0, 12 * every_s))
    world.run_until(lambda: operating(world, "fra-a") == Operating.OUT_OF_SERVICE, at_most_s=40.0)
    down_s, failures = world.now_s, failures_at(world, "fra-a")
    assert len(failures) >= FALL
    assert down_s <= max(failures[FALL - 1], failures[0] + PROMISED_S) + TICK_S
    world.run(20.0)
    finals = {note.final for note in world.callers["carrier-one"].ledger.calls.values()}
    assert finals == {200}, "each call was answered elsewhere"
    world.finish()


@pytest.mark.parametrize("seed", range(4))
def test_one_lost_packet_in_a_hundred_takes_nothing_down(seed: int) -> None:
    world = a_world(seed=seed, weather=Weather(loss=0.01))
    calls_come(world, 0.1, 60.0)
    world.run(70.0)
    assert out_of_service(world) == []
    assert not world.router.core or world.router.core.counters["answered"] == 600
    world.finish()


@pytest.mark.parametrize("burst", [5, 40])
def test_calls_that_fail_in_one_moment_take_nothing_down_whether_others_follow_or_not(burst: int) -> None:
    world = a_world()
    lost: set[str] = set()

    def drop(source: Address, to: Address, data: bytes) -> bool:
        return to == FRA_A and data.startswith(b"INVITE ") and read(data).call_id in lost

    world.network.drop = drop
    for number in range(burst):
        lost.add(world.call(script=Script(then=((1.0, "BYE"),), calling=f"+49151{number:08}")).call_id)
    world.run(60.0)
    assert len(failures_at(world, "fra-a")) == burst
    assert out_of_service(world) == []
    world.call(script=Script(then=((1.0, "BYE"),)))
    world.run(10.0)
    assert world.sbcs["fra-a"].invites == 1, "the next call is its trial"
    world.finish()


@pytest.mark.parametrize("deaf_s", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("every_s", [0.01, 0.1])
def test_an_sbc_that_hears_nothing_for_less_than_a_second_stays_in_service(every_s: float, deaf_s: float) -> None:
    """A retransmission after 500 ms reaches it, and every call that does ends what had begun."""
    world = a_world(Plan(probe=None))
    calls_come(world, 0.1, 1.0)
    world.run(3.0)
    calls_come(world, every_s, 4.0)
    world.run(1.0)
    world.sbcs["fra-a"].mute = True
    world.run(deaf_s)
    world.sbcs["fra-a"].mute = False
    world.run(30.0)
    assert out_of_service(world) == []
    world.finish()


def test_a_router_that_dies_amidst_the_failures_does_not_spare_the_sbc() -> None:
    world = a_world()
    behave(world, fra_a=SILENT)
    calls_come(world, 0.1, 8.0)
    world.run(1.6)
    assert len(failures_at(world, "fra-a")) >= FALL and out_of_service(world) == []
    world.kill()
    world.run_until(lambda: world.router.core is not None, at_most_s=1.0)
    world.run_until(lambda: operating(world, "fra-a") == Operating.OUT_OF_SERVICE, at_most_s=6.0)
    world.run(20.0)
    world.finish()
