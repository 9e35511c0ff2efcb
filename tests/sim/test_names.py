"""SBCs that name themselves in Contact: the real keeper of names and a modelled DNS behind the real controller and core."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from sipctl.control.dns import Answer, DnsError
from sipctl.control.names import Names
from sipctl.control.world import Resolved
from tests.sim.scenario import TALK, assert_well
from tests.support.world import World
from tests.support.world_plan import Plan, a_table

LOOK_S = 0.1  # how often the keeper looks what is due
TTL_S = 5.0
ELSEWHERE = "192.0.2.99"


class Dns:
    """A zone of addresses, or nobody who answers."""

    def __init__(self, zone: Mapping[str, tuple[str, ...]]) -> None:
        self.zone = dict(zone)
        self.is_down = False
        self.asked: list[str] = []

    async def ask(self, name: str, kind: str) -> Answer:
        self.asked.append(name)
        if self.is_down:
            raise DnsError("no name server answers")
        return Answer(self.zone.get(name, ()) if kind == "A" else (), TTL_S)


class Keeper:
    """`control.names.Names` in virtual time: what routers ask for reaches it, what it finds reaches the controller."""

    def __init__(self, world: World, dns: Dns, delay_s: float) -> None:
        self._world = world
        self._delay_s = delay_s
        self._read = 0
        self.names = Names(dns, lambda: world.now_s, self._allocate, self._changed, lambda faults: None)
        self.names.want_plan(a_table(world.plan).topology)
        self._look()

    async def _allocate(self, names: Iterable[str]) -> Mapping[str, int]:
        raise AssertionError("the plan holds no names")

    def _changed(self, resolved: object, names: Mapping[str, tuple[str, ...]]) -> None:
        assert self._world.control is not None
        self._world.control.put(Resolved({}, names))

    def _look(self) -> None:
        world = self._world
        if world.finishing:
            return
        fresh, self._read = world.router.notes[self._read :], len(world.router.notes)
        asked = [str(note[1]) for note in fresh if note[0] == "name"]
        if asked:
            world.at(self._delay_s, lambda: self.names.want(asked))
        asyncio.run(self.names.refresh())
        world.at(LOOK_S, self._look)


def a_world(delay_s: float = 0.2, zone: Mapping[str, tuple[str, ...]] | None = None) -> tuple[World, Dns]:
    world = World(0, Plan(contacts="unknown", probe=None), controlled=True)
    dns = Dns(world.fqdns if zone is None else zone)
    Keeper(world, dns, delay_s)
    world.run(1.0)
    return world, dns


def waited(world: World) -> int:
    assert world.router.core is not None
    return world.router.core.counters.get("waited_for_names", 0)


def talk(world: World) -> None:
    note = world.call(script=TALK)
    world.run(12.0)
    assert_well(world, note, "fra-a")
    assert sorted(note.in_dialog) == sorted((method, 200) for method in ("INFO", "INVITE", "OPTIONS", "UPDATE", "BYE"))


def test_the_first_request_to_a_name_waits_for_dns_and_no_other_does() -> None:
    world, dns = a_world()
    talk(world)
    assert waited(world) == 1 and "fra-a.sbc.example" in dns.asked
    talk(world)
    assert waited(world) == 1
    world.finish()


@pytest.mark.parametrize("delay_s", [1.9, 2.1, 30.0])
def test_a_request_waits_two_seconds_at_most_and_then_goes_to_the_address_we_know(delay_s: float) -> None:
    world, _ = a_world(delay_s)
    note = world.call(script=TALK)
    world.run(40.0)
    assert_well(world, note, "fra-a")
    assert {status for _, status in note.in_dialog} == {200}
    assert waited(world) >= 1
    world.finish()


def test_the_last_good_answer_serves_while_dns_is_down_and_after_the_routers_death() -> None:
    world, dns = a_world()
    talk(world)
    dns.is_down = True
    world.run(10 * TTL_S)
    asked = len(dns.asked)
    assert asked > 5, "it was asked again and again"
    before = waited(world)
    talk(world)
    assert waited(world) == before
    world.kill()
    world.run(1.0)
    talk(world)
    assert waited(world) == 0, "the successor was told all names at its start"
    world.finish()


def test_without_any_answer_calls_end_well_all_the_same() -> None:
    world, dns = a_world()
    dns.is_down = True
    note = world.call(script=TALK)
    world.run(40.0)
    assert_well(world, note, "fra-a")
    world.finish()


def test_a_name_that_leads_away_from_its_tenant_is_not_followed() -> None:
    world, _ = a_world(zone={"fra-a.sbc.example": (ELSEWHERE,)})
    talk(world)
    assert world.router.core is not None
    assert world.router.core.counters["in_dialog_target_not_ours"] >= 1
    world.finish()


def test_of_several_addresses_of_a_name_the_one_of_its_tenant_is_taken() -> None:
    world, dns = a_world()
    talk(world)
    dns.zone["fra-a.sbc.example"] = (ELSEWHERE, world.fqdns["fra-a.sbc.example"][0])
    world.run(2 * TTL_S)
    talk(world)
    assert waited(world) == 1
    world.finish()
