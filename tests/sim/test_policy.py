"""Shares, admin states, limits, drain, and those who may not call."""

from __future__ import annotations

from sipctl.routing.snapshot import Admin, Operating
from sipctl.testing.caller import Script
from sipctl.testing.ledger import TIMED_OUT
from tests.sim.scenario import LONG, QUIET, SHORT, a_world, assert_well, operating
from tests.support.world_plan import SERVICE, Plan

# -- shares, admin states, limits, drain ---------------------------------------------------------------------------------------


def test_a_ramps_share_is_a_function_of_the_caller_and_only_grows() -> None:
    world = a_world(QUIET)
    callers = [f"+49151{number:07d}" for number in range(40)]
    before: set[str] = set()
    for bcp_percent in (90, 50, 0):
        world.decide(bcp_percent)
        at_primary: set[str] = set()
        for _ in range(2):
            notes = [(caller, world.call(script=Script(then=((1.0, "BYE"),), calling=caller))) for caller in callers]
            world.run(5.0)
            now = {caller for caller, note in notes if world.sbc_of(note).startswith("fra")}
            assert not at_primary or now == at_primary, "the same caller goes the same way"
            at_primary = now
        assert before <= at_primary, "a growing share only adds callers"
        assert abs(len(at_primary) - 40 * (100 - bcp_percent) / 100) <= 12
        before = at_primary
    world.finish()


def test_a_draining_sbc_takes_no_new_call_and_keeps_the_old() -> None:
    world = a_world()
    old = world.call(script=LONG)
    world.run(3.0)
    world.sbc_admin("fra-a", Admin.DRAINING)
    new = [world.call(script=SHORT) for _ in range(4)]
    world.run(80.0)
    assert_well(world, old, "fra-a")
    for note in new:
        assert_well(world, note, "fra-b")
    world.finish()


def test_a_draining_node_refuses_new_calls_and_options_and_keeps_the_old() -> None:
    world = a_world()
    old = world.call(script=Script(then=((10.0, "INVITE"), (20.0, "BYE"))))
    world.run(3.0)
    assert world.ask_options().startswith(b"SIP/2.0 200")
    world.node_admin(Admin.DRAINING)
    assert world.ask_options().startswith(b"SIP/2.0 503")
    new = world.call(script=SHORT)
    world.run(1.0)
    assert new.final == 503 and 1 <= int(new.headers["retry-after"]) <= 10
    world.run(40.0)
    assert_well(world, old, "fra-a")
    world.node_admin(Admin.ENABLED)
    again = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, again)
    world.finish()


def test_limits_refuse_with_their_codes_and_take_calls_again_afterwards() -> None:
    world = a_world(Plan(probe=None, trunk_max_calls=5))
    service = [world.call(SERVICE, SHORT) for _ in range(4)]
    sales = [world.call(script=SHORT) for _ in range(3)]
    world.run(2.0)
    assert service[3].final == 486 and "cause=17" in service[3].headers["reason"]
    assert sales[2].final == 503 and "retry-after" not in sales[2].headers
    world.run(10.0)
    later = world.call(SERVICE, SHORT)
    world.run(10.0)
    assert_well(world, later)
    world.finish()


def test_a_full_sbc_comes_last() -> None:
    world = a_world(Plan(probe=None, sbc_max_calls=2))
    notes = [world.call(script=LONG) for _ in range(6)]
    world.run(80.0)
    places = [world.sbc_of(note) for note in notes]
    assert places[:4] == ["fra-a", "fra-a", "fra-b", "fra-b"] and all(places)
    world.finish()


def test_an_out_of_service_tenant_is_still_tried_when_nothing_else_is_left() -> None:
    world = a_world(Plan(advance_across="never"))
    world.sbcs["fra-a"].deaf_to_options = world.sbcs["fra-b"].deaf_to_options = True
    world.run(15.0)
    assert operating(world, "fra-a") == Operating.OUT_OF_SERVICE
    note = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, note, "fra-a")
    world.finish()


# -- those who may not ---------------------------------------------------------------------------------------------------------


def test_a_stranger_hears_nothing() -> None:
    world = a_world()
    known = world.call(script=LONG)
    world.run(3.0)
    note = world.call(script=SHORT, caller="stranger")
    world.run(40.0)
    assert note.final == TIMED_OUT and note.provisionals == []
    assert known.is_up
    world.run(40.0)
    assert_well(world, known)
    world.finish()
