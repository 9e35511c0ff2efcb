"""Where SBCs stand and what they write into Contact: IPv6, tenants behind one pair by port, names that must be resolved."""

from __future__ import annotations

import pytest

from sipctl.testing.sbc import SILENT, Behaviour
from tests.sim.scenario import LONG, SHORT, TALK, a_world, assert_well, behave
from tests.support.world_plan import REVERSED, SALES, SECOND, Plan


@pytest.mark.parametrize("v6_sbcs", [False, True])
@pytest.mark.parametrize("v6_trunks", [False, True])
def test_a_call_passes_between_families_and_outlives_its_router(v6_trunks: bool, v6_sbcs: bool) -> None:
    world = a_world(Plan(v6_trunks=v6_trunks, v6_sbcs=v6_sbcs))
    behave(world, fra_a=Behaviour(then=((5.0, "INFO"),)))
    note = world.call(script=TALK)
    world.run(2.5)
    world.kill()
    world.run(8.0)
    assert_well(world, note, "fra-a")
    assert [status for _, status in note.in_dialog] == [200] * 5
    world.finish()


def test_an_ipv6_sbc_that_is_silent_is_passed_over() -> None:
    world = a_world(Plan(v6_sbcs=True, probe=None))
    behave(world, fra_a=SILENT)
    note = world.call(script=SHORT)
    world.run(8.0)
    assert_well(world, note, "fra-b")
    world.finish()


@pytest.mark.parametrize(("called", "first", "second"), [
    (SALES, "fra-a", "ams-a"), (SECOND, "fra-a-second", "ams-a-second"), (REVERSED, "ams-a", "fra-a"),
])  # fmt: skip
def test_tenants_behind_one_pair_are_told_apart_by_port(called: str, first: str, second: str) -> None:
    world = a_world(Plan(more_groups=True))
    note = world.call(called, TALK)
    world.run(8.0)
    assert_well(world, note, first)
    behave(world, **{name.replace("-", "_"): SILENT for name in (first, first.replace("-a", "-b", 1))})
    moved = world.call(called, SHORT)
    world.run(8.0)
    assert_well(world, moved, second if called != REVERSED else "fra-a")
    world.finish()


def test_a_call_ends_at_its_tenants_own_port_after_its_sbc_has_left_the_plan() -> None:
    world = a_world(Plan(more_groups=True, symmetric=True, probe=None))
    note = world.call(SECOND, LONG)
    world.run(2.0)
    world.edit(without=frozenset({"fra-a"}))
    world.run(70.0)
    assert_well(world, note, "fra-a-second")
    world.finish()


@pytest.mark.parametrize("contacts", ["known", "asked", "unknown"])
def test_requests_find_an_sbc_that_names_itself_and_each_is_sent_once(contacts: str) -> None:
    world = a_world(Plan(contacts=contacts, probe=None))
    note = world.call(script=TALK)
    world.run(30.0)
    assert_well(world, note, "fra-a")
    assert sorted(note.in_dialog) == sorted((method, 200) for method in ("INFO", "INVITE", "OPTIONS", "UPDATE", "BYE"))
    assert world.router.core is not None
    waited = world.router.core.counters.get("waited_for_names", 0)
    assert waited == 0 if contacts == "known" else waited >= 1
    assert (world.router.core.counters.get("repeated_while_waiting", 0) > 0) == (contacts == "unknown")
    world.finish()
