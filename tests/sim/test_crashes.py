"""A crash loses nothing: routers that die between any two messages and at any line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from sipctl.testing.sbc import ANSWER, RING_FOR_EVER, SILENT, TRYING_ONLY, Behaviour, refuse
from tests.sim.scenario import LONG, QUIET, SHORT, TALK, a_world, assert_well, behave, listen_at
from tests.support.network import Weather
from tests.support.router_host import Doom
from tests.support.world import World
from tests.support.world_plan import CARRIER_ONE, FRA_A, SERVICE, Plan

# -- a crash loses nothing -----------------------------------------------------------------------------------------------------


def _rehearse(script: Script, prepare: Callable[[World], None], doom: Doom | None, plan: Plan = QUIET) -> tuple[World, CallNote]:
    world = a_world(plan, settle_s=0.5)
    prepare(world)
    note = world.call(script=script)
    if doom is not None:
        world.doom(doom)
    world.run(25.0)
    return world, note


def _nothing(world: World) -> None:
    """Every SBC answers."""


def _first_is_silent(world: World) -> None:
    behave(world, fra_a=SILENT)


def _first_is_about_to_refuse(world: World) -> None:
    behave(world, fra_a=refuse(503, after_s=0.5))


@pytest.mark.parametrize("prepare", [_nothing, _first_is_silent, _first_is_about_to_refuse])
@pytest.mark.parametrize("outputs", range(16))
def test_a_router_that_dies_between_any_two_messages_of_a_call_loses_nothing(
    prepare: Callable[[World], None], outputs: int
) -> None:
    world, note = _rehearse(TALK, prepare, Doom(outputs=outputs, down_s=0.08))
    assert world.router.deaths == 1
    assert_well(world, note, "fra-a" if prepare is _nothing else "fra-b")
    assert [status for _, status in note.in_dialog] == [200] * 5
    world.finish()


@pytest.mark.interpreted
@pytest.mark.parametrize("first", range(0, 60, 6))
def test_a_router_that_dies_at_any_line_of_a_set_up_loses_nothing(first: int) -> None:
    """A death inside the core, with whatever the lines before had written into the call record."""
    for lines in range(first * 10, first * 10 + 60, 12):
        world, note = _rehearse(SHORT, _nothing, Doom(lines=lines, down_s=0.05))
        assert world.router.deaths == 1
        assert_well(world, note)
        world.finish()


@pytest.mark.parametrize("lines", range(600, 3600, 75))
def test_a_router_that_dies_later_in_a_call_at_any_line_loses_nothing(lines: int) -> None:
    world, note = _rehearse(TALK, _first_is_about_to_refuse, Doom(lines=lines, down_s=0.05))
    assert_well(world, note, "fra-b")
    world.finish()


@pytest.mark.parametrize("outputs", range(7))
def test_a_router_that_dies_while_a_call_is_cancelled_ends_it_cleanly(outputs: int) -> None:
    world, note = _rehearse(Script(cancel_after_s=1.0), lambda world: behave(world, fra_a=RING_FOR_EVER), Doom(outputs=outputs))
    assert world.router.deaths == 1
    assert (note.final, note.ended_by) == (487, "cancelled")
    assert world.sbcs["fra-a"].ledger.calls[note.call_id].cancelled_s is not None
    world.finish()


@pytest.mark.parametrize("down_s", [0.02, 0.3, 1.5])
@pytest.mark.parametrize("after_ms", [0, 10, 200, 990, 1010, 1490])
def test_a_router_that_dies_while_sbcs_are_silent_goes_on_searching(after_ms: int, down_s: float) -> None:
    world = a_world(QUIET)
    behave(world, fra_a=SILENT, fra_b=SILENT)
    note = world.call(script=SHORT)
    world.run(after_ms / 1000)
    world.kill(down_s)
    world.run(12.0)
    assert_well(world, note, "ams-a")
    world.finish()


def test_a_successor_that_dies_while_it_adopts_has_a_successor() -> None:
    for lines in (10, 100, 400, 800, 1500):
        world = a_world(QUIET)
        behave(world, fra_a=Behaviour(ring_s=0.2, final_s=3.0))
        notes = [world.call(script=LONG if index % 2 else SHORT) for index in range(6)]
        world.run(1.0)
        world.kill(0.05)
        world.doom(Doom(lines=lines, down_s=0.05))
        world.run(80.0)
        for note in notes:
            assert_well(world, note, "fra-a")
        world.finish()


def test_established_calls_outlive_ten_deaths_and_end_by_their_own_bye() -> None:
    world = a_world()
    behave(world, fra_a=lambda invite: Behaviour(then=((50.0, "BYE"),)) if int(invite.call_id[1:3].strip("c")) % 2 else ANSWER)
    notes = [world.call(script=Script(then=((20.0, "INFO"), (40.0, "INVITE"), (60.0, "BYE")))) for _ in range(20)]
    for _ in range(10):
        world.run(3.0)
        world.kill()
    world.run(60.0)
    for note in notes:
        assert_well(world, note, "fra-a")
    assert world.router.deaths == 10
    world.finish()


def test_calls_of_a_dead_router_still_count_and_count_no_more_when_they_end() -> None:
    world = a_world(QUIET)
    notes = [world.call(SERVICE, LONG) for _ in range(3)]
    world.run(5.0)
    world.kill()
    world.run(1.0)
    over = world.call(SERVICE, SHORT)
    world.run(5.0)
    assert over.final == 486, "three are up, three are allowed"
    world.run(70.0)
    assert all(note.ended_by == "me" for note in notes)
    later = world.call(SERVICE, SHORT)
    world.run(10.0)
    assert_well(world, later)
    world.finish()


@pytest.mark.parametrize("outputs", range(6))
def test_a_call_over_tcp_completes_or_ends_cleanly_when_the_router_dies(outputs: int) -> None:
    world, note = _rehearse(SHORT, _nothing, Doom(outputs=outputs), Plan(probe=None, tcp_trunks=True))
    world.run(300.0)
    assert note.is_over
    world.finish()


def test_established_calls_over_tcp_outlive_the_router() -> None:
    world = a_world(Plan(tcp_trunks=True, tcp_sbcs=True))
    world.decide(100)
    note = world.call(script=Script(then=((5.0, "INFO"), (9.0, "BYE"))))
    world.run(2.0)
    world.kill()
    world.run(20.0)
    assert_well(world, note, "ams-a")
    assert note.in_dialog == [("INFO", 200), ("BYE", 200)]
    world.finish()


# -- what a successor has to guess ---------------------------------------------------------------------------------------------


def _is(method: str, data: bytes, status: int = 0) -> bool:
    """A request of that method, or that final response to one."""
    start = f"SIP/2.0 {status} " if status else f"{method} "
    return data.startswith(start.encode()) and f" {method}\r\n".encode() in data[:1200]


def test_a_call_whose_bye_was_answered_while_no_router_listened_is_over_64_t1_later() -> None:
    """Over TCP the caller does not repeat its BYE, and the answer is lost: nobody will ever say so again."""
    world = a_world(Plan(probe=None, tcp_trunks=True))
    note = world.call(SERVICE, Script(then=((2.0, "BYE"),)))
    world.run(1.0)
    world.network.drop = lambda source, to, data: _is("BYE", data, 200)
    world.run_until(lambda: "BYE" in world.sbcs["fra-a"].ledger.calls[note.call_id].heard)
    world.kill()
    world.run(20.0)
    assert world.census()["answered"] == 1, "it may still be answered"
    world.run(20.0)
    assert (world.census()["answered"], world.census()["counts"]) == (0, 0)
    world.finish()


@pytest.mark.parametrize("outputs", range(4))
def test_a_leg_that_answers_too_late_is_ended_also_by_a_router_that_dies_over_it(outputs: int) -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(trying_s=None, ring_s=None, final_s=3.0), fra_b=refuse(486))
    note = world.call(script=SHORT)
    world.run(2.5)
    assert note.final == 486
    world.doom(Doom(outputs=outputs, only=lambda data: data.startswith((b"ACK ", b"BYE "))))
    world.run(40.0)
    assert world.sbcs["fra-a"].ledger.calls[note.call_id].answered_s is not None
    assert not world.sbcs["fra-a"].legs_up
    world.finish()


def test_the_ack_of_a_refused_re_invite_finds_its_transaction_through_a_successor() -> None:
    world = a_world(QUIET)
    note = world.call(script=Script(then=((1.0, "INVITE"), (1.1, "INFO"), (6.0, "BYE"))))
    world.run(1.2)
    lost: list[bytes] = []

    def drop(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bool:
        if _is("INVITE", data, 500) and to == CARRIER_ONE and world.router.deaths == 0:
            world.at(0.001, world.kill)  # the refusal is on its way, its ACK will find another router
        first = _is("INVITE", data) and b"CSeq: 2 " in data and to == FRA_A and not lost
        lost.extend([data] if first else [])
        return first  # so that INFO overtakes it and it is refused (§12.2.2)

    world.network.drop = drop
    world.run(10.0)
    assert lost and world.router.deaths == 1
    assert ("INVITE", 500) in note.in_dialog
    assert_well(world, note, "fra-a")
    world.finish()


def test_the_repeated_refusal_of_a_cancelled_attempt_does_not_reach_a_caller_who_was_answered() -> None:
    world = a_world(Plan(probe=None, no_progress_s=2.0))
    behave(world, fra_a=TRYING_ONLY)
    world.network.drop = lambda source, to, data: data.startswith(b"ACK ") and to == FRA_A
    note = world.call(script=Script(then=((20.0, "BYE"),)))
    world.run(4.0)
    assert note.is_up
    world.kill()
    world.network.drop = None
    heard = listen_at(world, CARRIER_ONE, FRA_A)
    world.run(10.0)
    assert not [data for data in heard if data.startswith(b"SIP/2.0 487")]
    assert len([data for data in heard if data.startswith(b"ACK ")]) == 1, "one ACK stops it"
    world.run(20.0)
    assert_well(world, note, "fra-b")
    world.finish()


def test_an_attempt_that_answers_after_a_transport_error_is_cancelled_no_more() -> None:
    """The error told of another packet: the INVITE had arrived."""
    world = a_world(QUIET)
    late = Behaviour(trying_s=None, ring_s=1.0, final_s=3.0, answers_despite_cancel=True)
    behave(world, fra_a=late, fra_b=refuse(486))
    world.network.drop = lambda source, to, data: _is("CANCEL", data, 200)
    note = world.call(script=SHORT)
    world.run(0.2)
    world.router.send_failed(1, FRA_A, world.now_s)
    world.run(2.7)
    asked = listen_at(world, FRA_A)
    world.run(30.0)
    assert note.final == 486
    assert not [data for data in asked if data.startswith(b"CANCEL ")]
    world.finish()


# -- bad weather ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_calls_complete_in_bad_weather_with_deaths(seed: int) -> None:
    world = a_world(seed=seed, weather=Weather(delay_s=0.01, jitter_s=0.08, loss=0.1, duplicate=0.1))
    notes = [world.call(script=TALK) for _ in range(5)]
    for _ in range(4):
        world.run(1.3)
        world.kill()
    world.run(60.0)
    for note in notes:
        assert note.final == 200 or note.is_over
    world.finish()
