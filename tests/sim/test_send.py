"""INVITEs that leave changed, in worlds where routers die: one branch is one message, whoever sends it."""

from __future__ import annotations

from collections import defaultdict

import pytest

from sipctl.testing.sbc import SILENT
from sipctl.testing.wire import read
from tests.sim.scenario import SHORT, TALK, a_world, assert_well, behave, listen_at
from tests.support.network import Weather
from tests.support.router_host import Doom
from tests.support.world import World
from tests.support.world_plan import AMS_A, AMS_B, FRA_A, FRA_B, Plan

SENDS = Plan(probe=None, sends=True)


def messages_by_branch(sent: list[bytes]) -> dict[str, set[bytes]]:
    """Every different INVITE that left under each branch."""
    found: dict[str, set[bytes]] = defaultdict(set)
    for data in sent:
        if data.startswith(b"INVITE") and b";tag=" not in data.partition(b"\r\nTo:")[2].partition(b"\r\n")[0]:
            found[read(data).branch].add(data)
    return found


def a_listening_world(seed: int = 0, weather: Weather | None = None) -> tuple[World, list[bytes]]:
    world = a_world(SENDS, seed=seed, weather=weather, settle_s=0.5)
    return world, listen_at(world, FRA_A, FRA_B, AMS_A, AMS_B)


def assert_same_bytes(sent: list[bytes], attempts: int) -> None:
    found = messages_by_branch(sent)
    assert len(found) == attempts
    assert {len(messages) for messages in found.values()} == {1}


@pytest.mark.parametrize("outputs", range(8))
def test_a_router_that_dies_between_any_two_messages_sends_each_attempt_as_before(outputs: int) -> None:
    world, sent = a_listening_world()
    behave(world, fra_a=SILENT)
    note = world.call(script=TALK)
    world.doom(Doom(outputs=outputs))
    world.run(25.0)
    assert world.router.deaths == 1
    assert_well(world, note, "fra-b")
    assert_same_bytes(sent, 2)
    world.finish()


@pytest.mark.interpreted
@pytest.mark.parametrize("first", range(0, 90, 15))
def test_a_router_that_dies_at_any_line_sends_each_attempt_as_before(first: int) -> None:
    for lines in range(first * 10, first * 10 + 150, 13):
        world, sent = a_listening_world()
        note = world.call(script=SHORT)
        world.doom(Doom(lines=lines, down_s=0.05))
        world.run(12.0)
        assert world.router.deaths == 1
        assert_well(world, note)
        assert_same_bytes(sent, 1)
        world.finish()


@pytest.mark.parametrize("after_ms", [0, 10, 300, 990, 1010, 1490, 1700])
def test_a_search_over_both_tenants_goes_on_after_a_death_with_the_same_bytes(after_ms: int) -> None:
    world, sent = a_listening_world()
    behave(world, fra_a=SILENT, fra_b=SILENT)
    note = world.call(script=SHORT)
    world.run(after_ms / 1000)
    world.kill(0.3)
    world.run(12.0)
    assert_well(world, note, "ams-a")
    assert_same_bytes(sent, 3)
    crossed = next(data for data in sent if b"X-Tenant: acme-bcp\r\n" in data)
    history = [line for line in crossed.split(b"\r\n") if line.startswith(b"History-Info")]
    assert history == [
        b"History-Info: <sip:+4930901820@203.0.113.9:5060>;index=1",
        b"History-Info: <sip:+31205550120@10.5.1.11;cause=302>;index=1.1;mp=1",
    ]
    assert all(b"X-Entry-Point" in data for data in sent if data.startswith(b"INVITE") and b"X-Tenant" not in data)
    world.finish()


@pytest.mark.parametrize("seed", range(6))
def test_lost_and_doubled_messages_change_no_bytes(seed: int) -> None:
    world, sent = a_listening_world(seed, Weather(loss=0.15, duplicate=0.1))
    notes = [world.call(script=SHORT) for _ in range(8)]
    world.run(40.0)
    assert all(note.answered_s is not None for note in notes)
    assert {len(messages) for messages in messages_by_branch(sent).values()} == {1}
    world.finish()
