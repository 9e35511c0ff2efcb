"""Calls through the real core in the simulated world, one rule each; every step is judged by the invariants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipctl.routing.snapshot import Admin, Operating
from sipctl.testing.caller import Script
from sipctl.testing.ledger import TIMED_OUT, CallNote
from sipctl.testing.sbc import ANSWER, RING_FOR_EVER, SILENT, TRYING_ONLY, Behaviour, refuse
from tests.support.network import Weather
from tests.support.router_host import Doom
from tests.support.world import World
from tests.support.world_plan import FRA_A, FRA_B, SALES, SALES_AT_BCP, SERVICE, Plan

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


# -- a call --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [Plan(), Plan(tcp_trunks=True), Plan(tcp_sbcs=True), Plan(tcp_trunks=True, tcp_sbcs=True)])
@pytest.mark.parametrize("bcp_percent", [0, 100])
def test_a_call_goes_to_the_decided_tenant_and_every_request_in_it_arrives(plan: Plan, bcp_percent: int) -> None:
    world = a_world(plan)
    world.decide(bcp_percent)
    note = world.call(script=TALK)
    world.run(20.0)
    name = "ams-a" if bcp_percent else "fra-a"
    assert_well(world, note, name)
    assert note.in_dialog == [("INFO", 200), ("INVITE", 200), ("OPTIONS", 200), ("UPDATE", 200), ("BYE", 200)]
    assert world.sbcs[name].ledger.calls[note.call_id].called == (SALES_AT_BCP if bcp_percent else SALES)
    assert note.provisionals[0] == 100 and 180 in note.provisionals
    world.finish()


def test_the_sbc_may_refresh_and_end_a_call_too() -> None:
    world = a_world()
    behave(world, fra_a=Behaviour(then=((1.0, "INVITE"), (2.0, "INFO"), (3.0, "BYE"))))
    note = world.call(script=STAY)
    world.run(20.0)
    assert note.ended_by == "peer"
    assert world.sbcs["fra-a"].ledger.calls[note.call_id].in_dialog == [("INVITE", 200), ("INFO", 200), ("BYE", 200)]
    world.finish()


def test_a_number_nobody_has_is_answered_404_with_a_cause() -> None:
    world = a_world()
    note = world.call("+49000", SHORT)
    world.run(1.0)
    assert note.final == 404 and "Q.850" in note.headers["reason"]
    assert sum(sbc.invites for sbc in world.sbcs.values()) == 0
    world.finish()


def test_an_entry_point_takes_calls_of_its_own_trunks_alone() -> None:
    world = a_world()
    ours, theirs = world.call(SERVICE, SHORT), world.call(SERVICE, SHORT, caller="carrier-two")
    world.run(10.0)
    assert_well(world, ours)
    assert theirs.final == 404 or theirs.final == 403
    world.finish()


# -- the search goes on --------------------------------------------------------------------------------------------------------


def test_silence_moves_the_search_on_after_one_second_and_then_after_500_ms() -> None:
    world = a_world(QUIET)
    world.sbcs["fra-a"].mute = world.sbcs["fra-b"].mute = True
    note = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, note, "ams-a")
    taken_s = world.sbcs["ams-a"].ledger.calls[note.call_id].started_s - note.started_s
    assert taken_s == pytest.approx(1.5, abs=0.05)
    world.finish()


def test_the_other_sbc_of_the_pair_comes_before_the_other_tenant() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=SILENT)
    note = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, note, "fra-b")
    assert world.sbcs["fra-b"].ledger.calls[note.call_id].started_s - note.started_s == pytest.approx(1.0, abs=0.05)
    world.finish()


def test_an_sbc_that_only_says_100_is_left_after_no_progress() -> None:
    world = a_world(Plan(probe=None, no_progress_s=4.0))
    behave(world, fra_a=TRYING_ONLY)
    note = world.call(script=SHORT)
    world.run(15.0)
    assert_well(world, note, "fra-b")
    assert world.sbcs["fra-b"].ledger.calls[note.call_id].started_s - note.started_s == pytest.approx(4.0, abs=0.05)
    world.finish()


def test_nothing_moves_a_call_that_rings() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=RING_FOR_EVER)
    note = world.call(script=Script(cancel_after_s=60.0))
    world.run(59.0)
    assert not note.is_over and invites_at(world, "fra-b") == 0
    world.run(3.0)
    assert (note.final, note.ended_by) == (487, "cancelled")
    world.finish()


def test_a_failure_after_ringing_is_the_callers_answer() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(final_s=2.0, status=500))
    note = world.call(script=SHORT)
    world.run(5.0)
    assert note.final is not None and note.final >= 500 and invites_at(world, "fra-b") == 0
    world.finish()


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_listed_failure_moves_the_search_on_at_once(status: int) -> None:
    world = a_world(QUIET)
    behave(world, fra_a=refuse(status))
    note = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, note, "fra-b")
    assert world.sbcs["fra-b"].ledger.calls[note.call_id].started_s - note.started_s < 0.2
    world.finish()


@pytest.mark.parametrize("status", [400, 403, 404, 480, 486, 488, 600, 603])
def test_busy_and_other_answers_of_the_called_side_pass(status: int) -> None:
    world = a_world(QUIET)
    behave(world, fra_a=refuse(status))
    note = world.call(script=SHORT)
    world.run(10.0)
    assert note.final == status and invites_at(world, "fra-b") == invites_at(world, "ams-a") == 0
    world.finish()


@pytest.mark.parametrize("cause", [1, 17, 18, 19, 21, 22, 28])
def test_a_failure_with_a_cause_of_the_called_side_passes(cause: int) -> None:
    world = a_world(QUIET)
    behave(world, fra_a=refuse(500, cause=cause))
    note = world.call(script=SHORT)
    world.run(10.0)
    assert note.final == 500 and invites_at(world, "fra-b") == 0
    world.finish()


def test_a_redirection_to_somewhere_else_is_not_followed() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(ring_s=None, final_s=0.1, status=302, contact="sip:+49@192.0.2.99:5060"))
    note = world.call(script=SHORT)
    world.run(10.0)
    assert note.final == 480
    world.finish()


@pytest.mark.parametrize("exhausted", [480, 503])
@pytest.mark.parametrize("behaviour", [SILENT, refuse(500), TRYING_ONLY])
def test_when_all_fail_the_trunk_hears_its_exhausted_code(exhausted: int, behaviour: Behaviour) -> None:
    world = a_world(Plan(probe=None, exhausted=exhausted, no_progress_s=2.0))
    behave(world, fra_a=behaviour, fra_b=behaviour, ams_a=behaviour, ams_b=behaviour)
    note = world.call(script=SHORT)
    world.run(30.0)
    assert note.final == exhausted and "Q.850" in note.headers["reason"]
    assert [invites_at(world, name) for name in world.sbcs] == [1, 1, 1, 1], "two of each tenant, four in all"
    world.finish()


def test_a_call_never_crosses_under_a_pin_nor_back_to_a_tenant_an_operator_left() -> None:
    alone = Plan(probe=None, advance_across="never")
    for plan, pinned, left in ((QUIET, True, None), (QUIET, False, "bcp"), (alone, False, None)):
        world = a_world(plan)
        world.decide(0, pinned=pinned, left=left)
        behave(world, fra_a=refuse(500), fra_b=refuse(500))
        note = world.call(script=SHORT)
        world.run(20.0)
        assert note.final == 503 and invites_at(world, "ams-a") == invites_at(world, "ams-b") == 0
        world.finish()


def test_a_closed_port_is_noticed_at_once() -> None:
    world = a_world(QUIET)
    world.closed.add(FRA_A)
    note = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, note, "fra-b")
    assert world.sbcs["fra-b"].ledger.calls[note.call_id].started_s - note.started_s < 0.2
    world.finish()


def test_a_refused_connection_is_noticed_at_once() -> None:
    world = a_world(Plan(probe=None, tcp_sbcs=True))
    world.decide(100)
    world.closed.add(world.sbcs["ams-a"].address)
    note = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, note, "ams-b")
    world.finish()


# -- attempts that were given up -----------------------------------------------------------------------------------------------


def test_a_late_answer_of_an_abandoned_attempt_is_passed_and_the_others_are_cancelled() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(trying_s=None, ring_s=None, final_s=1.3), fra_b=RING_FOR_EVER)
    note = world.call(script=SHORT)
    world.run(20.0)
    assert_well(world, note, "fra-a")
    assert world.sbcs["fra-b"].ledger.calls[note.call_id].cancelled_s is not None
    world.finish()


def test_a_second_answer_is_passed_too_and_ended_by_the_caller() -> None:
    world = a_world(QUIET)
    late = Behaviour(trying_s=None, ring_s=None, final_s=1.30)
    behave(world, fra_a=late, fra_b=Behaviour(ring_s=None, final_s=0.299, answers_despite_cancel=True))
    note = world.call(script=SHORT)
    world.run(2.5)
    assert note.extra_legs == 1 and len(note.tags) == 2
    world.run(80.0)
    assert_well(world, note)
    world.finish()


def test_late_ringing_of_an_abandoned_attempt_is_swallowed_and_cancelled() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(trying_s=None, ring_s=1.2, final_s=None), fra_b=Behaviour(ring_s=None, final_s=3.0))
    note = world.call(script=SHORT)
    world.run(20.0)
    assert_well(world, note, "fra-b")
    assert 180 not in note.provisionals
    assert world.sbcs["fra-a"].ledger.calls[note.call_id].replies == [487]
    world.finish()


def test_a_leg_answered_after_the_caller_was_refused_is_ended() -> None:
    world = a_world(QUIET)
    behave(
        world, fra_a=Behaviour(trying_s=None, ring_s=None, final_s=8.0), fra_b=refuse(500), ams_a=refuse(500), ams_b=refuse(500)
    )  # fmt: skip
    note = world.call(script=SHORT)
    world.run(5.0)
    assert note.final == 503
    world.run(70.0)
    assert not world.sbcs["fra-a"].legs_up
    world.finish()


# -- CANCEL --------------------------------------------------------------------------------------------------------------------


def test_cancel_of_a_ringing_call_reaches_the_sbc_and_ends_in_487() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=RING_FOR_EVER)
    note = world.call(script=Script(cancel_after_s=2.0))
    world.run(4.0)
    assert (note.final, note.ended_by) == (487, "cancelled")
    assert world.sbcs["fra-a"].ledger.calls[note.call_id].replies == [487]
    world.finish()


def test_cancel_ends_in_487_at_once_if_nothing_had_a_provisional() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=SILENT)
    note = world.call(script=Script(cancel_after_s=0.3))
    world.run(0.4)
    final = note.final
    assert final == 487
    world.run(5.0)
    assert invites_at(world, "fra-b") == 0, "the search stopped"
    world.finish()


def test_an_answer_that_crosses_cancel_reaches_the_caller_who_ends_it() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(final_s=2.0, answers_despite_cancel=True))
    note = world.call(script=Script(cancel_after_s=1.995))
    world.run(5.0)
    assert (note.final, note.ended_by, note.in_dialog) == (200, "cancelled", [("BYE", 200)])
    world.finish()


def test_a_late_answer_after_cancel_without_provisional_is_ended() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(trying_s=None, ring_s=None, final_s=0.8))
    note = world.call(script=Script(cancel_after_s=0.3))
    world.run(80.0)
    assert note.final == 487 and not world.sbcs["fra-a"].legs_up
    world.finish()


@pytest.mark.parametrize("cancel_ms", range(0, 1000, 50))
def test_cancel_at_any_moment_of_a_set_up_ends_in_one_clean_way(cancel_ms: int) -> None:
    world = a_world(QUIET)
    behave(world, fra_a=Behaviour(trying_s=None, ring_s=0.3, final_s=0.6), fra_b=Behaviour(ring_s=0.2, final_s=0.4))
    note = world.call(script=Script(cancel_after_s=cancel_ms / 1000, then=((2.0, "BYE"),)))
    world.run(10.0)
    assert note.final in (200, 487) and note.ended_by in ("cancelled", "me")
    world.finish()


def test_a_call_that_rings_for_ever_is_ended_by_timer_c() -> None:
    world = a_world(QUIET)
    behave(world, fra_a=RING_FOR_EVER)
    note = world.call(script=Script(patience_s=1000.0))
    world.run(184.0)
    assert note.final is None
    world.run(36.0)
    assert note.final is not None and note.final >= 400
    assert note.final_s - note.started_s == pytest.approx(185.1, abs=1.0)
    assert world.sbcs["fra-a"].ledger.calls[note.call_id].cancelled_s is not None
    world.finish()


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


# -- calls that are up are not touched -----------------------------------------------------------------------------------------


def test_calls_through_an_sbc_and_a_trunk_that_left_the_plan_end_by_their_own_bye() -> None:
    world = a_world()
    behave(world, fra_a=refuse(500), fra_b=Behaviour(then=((40.0, "BYE"),)))
    ours = [world.call(script=LONG, caller="carrier-two") for _ in range(3)]
    world.run(5.0)
    behave(world, fra_b=ANSWER)
    theirs = [world.call(script=Script(then=((20.0, "INFO"), (30.0, "BYE"))), caller="carrier-two") for _ in range(3)]
    world.run(5.0)
    world.edit(without=frozenset({"fra-b", "carrier-two"}))
    refused = world.call(script=SHORT, caller="carrier-two")
    world.run(5.0)
    world.kill()
    world.run(80.0)
    assert refused.final == TIMED_OUT or refused.final == 403
    for note in (*ours, *theirs):
        assert_well(world, note, "fra-b")
    assert {note.ended_by for note in ours} == {"peer"} and {note.ended_by for note in theirs} == {"me"}
    world.finish()


def test_a_failover_moves_new_calls_and_touches_no_other() -> None:
    world = a_world()
    before = [world.call(script=LONG) for _ in range(5)]
    world.run(5.0)
    world.decide(100)
    after = [world.call(script=LONG) for _ in range(5)]
    world.run(80.0)
    assert {world.sbc_of(note) for note in before} == {"fra-a"} and {world.sbc_of(note) for note in after} == {"ams-a"}
    for note in (*before, *after):
        assert_well(world, note)
        assert note.in_dialog == [("BYE", 200)]
    world.finish()


def test_a_deaf_primary_keeps_its_calls_and_new_ones_are_answered_by_bcp_in_time() -> None:
    world = a_world()
    behave(world, fra_a=lambda invite: Behaviour(then=((20.0, "BYE"),)) if invite.call_id.startswith("c1") else ANSWER)
    up = [world.call(script=Script(then=((25.0, "INVITE"), (30.0, "BYE")))) for _ in range(30)]
    world.run(5.0)
    for name in ("fra-a", "fra-b"):
        world.sbcs[name].deaf_to_options = world.sbcs[name].deaf_to_invites = True
    began_s, down_s, new = world.now_s, 0.0, []
    for _ in range(60):
        new.append(world.call(script=SHORT))
        world.run(0.2)
        if not down_s and operating(world, "fra-a") == operating(world, "fra-b") == Operating.OUT_OF_SERVICE:
            down_s = world.now_s - began_s
    world.run(60.0)
    assert 0 < down_s <= 7.0
    assert {note.ended_by for note in up} == {"me", "peer"}
    for note in up:
        assert_well(world, note, "fra-a")
    delays = []
    for note in new:
        assert_well(world, note, "ams-a")
        assert note.answered_s is not None
        delays.append(note.answered_s - note.started_s - 0.5)
    assert max(delays) <= 2.2
    late = sorted(delays[12:])
    assert late[int(len(late) * 0.8)] <= 0.2, "only trials still wait"
    world.finish()


def test_nothing_is_sent_to_a_primary_that_stopped_about_its_calls() -> None:
    world = a_world()
    up = [world.call(script=STAY) for _ in range(10)]
    world.run(5.0)
    world.sbcs["fra-a"].mute = world.sbcs["fra-b"].mute = True
    sent = _listen_at(world, FRA_A, FRA_B)
    new = [world.call(script=SHORT) for _ in range(10)]
    world.run(30.0)
    assert not [data for data in sent if any(note.call_id.encode() in data for note in up)]
    for note in new:
        assert_well(world, note, "ams-a")
    for note in up:
        assert note.is_up
        world.hang_up(note)
    world.finish()


def _listen_at(world: World, *addresses: tuple[str, int]) -> list[bytes]:
    """Everything sent to these addresses from now on."""
    sent: list[bytes] = []

    def note(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bool:
        if to in addresses:
            sent.append(data)
        return False

    world.network.drop = note
    return sent


def test_an_in_dialog_request_reaches_the_sibling_of_a_dead_sbc_that_shares_dialogs() -> None:
    world = a_world(Plan(shared_dialogs=True))
    note = world.call(script=Script(then=((10.0, "BYE"),)))
    world.run(5.0)
    world.sbcs["fra-a"].mute = True
    world.run(60.0)
    assert_well(world, note, "fra-a")
    assert note.in_dialog == [("BYE", 200)]
    world.finish()


def test_an_sbc_that_only_refuses_invites_keeps_its_in_dialog_requests() -> None:
    world = a_world(Plan(shared_dialogs=True))
    note = world.call(script=Script(then=((20.0, "INFO"), (30.0, "BYE"))))
    world.run(3.0)
    behave(world, fra_a=refuse(500))
    for _ in range(10):
        world.call(script=SHORT)
        world.run(1.0)
    to_sibling = _listen_at(world, FRA_B)
    world.run(40.0)
    assert_well(world, note, "fra-a")
    assert note.in_dialog == [("INFO", 200), ("BYE", 200)]
    assert not [data for data in to_sibling if note.call_id.encode() in data]
    world.finish()


# -- rest, suspicion, health ---------------------------------------------------------------------------------------------------


def test_503_with_retry_after_rests_the_sbc_and_moves_no_group() -> None:
    world = a_world()
    behave(world, fra_a=refuse(503, retry_after_s=10))
    first = world.call(script=SHORT)
    world.run(1.0)
    behave(world, fra_a=ANSWER)
    resting = [world.call(script=SHORT) for _ in range(5)]
    world.run(8.0)
    assert invites_at(world, "fra-a") == 1
    assert operating(world, "fra-a") == Operating.IN_SERVICE
    world.run(3.0)
    rested = world.call(script=SHORT)
    world.run(10.0)
    for note in (first, *resting):
        assert_well(world, note, "fra-b")
    assert_well(world, rested, "fra-a")
    world.finish()


def test_a_suspect_sbc_gets_one_trial_a_second_until_a_trial_is_answered() -> None:
    world = a_world()
    world.sbcs["fra-a"].deaf_to_invites = True
    heard = _listen_at(world, FRA_A)
    first = world.call(script=SHORT)
    world.run(2.0)
    heard.clear()
    notes = []
    for _ in range(25):
        notes.append(world.call(script=SHORT))
        world.run(0.1)
    assert sum(data.startswith(b"INVITE") for data in heard) == 3, "a trial a second, each for half a second"
    world.sbcs["fra-a"].deaf_to_invites = False
    world.run(1.0)
    cured = [world.call(script=SHORT) for _ in range(3)]
    world.run(2.0)
    after = world.call(script=SHORT)
    world.run(10.0)
    for note in (first, *notes):
        assert_well(world, note, "fra-b")
    for note in (*cured, after):
        assert_well(world, note)
    assert world.sbc_of(after) == "fra-a"
    world.finish()


@pytest.mark.parametrize("behaviour", [SILENT, refuse(500)])
def test_an_sbc_that_answers_options_and_no_calls_is_taken_down_and_stays_down_for_its_ejection(behaviour: Behaviour) -> None:
    world = a_world()
    behave(world, fra_a=behaviour)
    began_s, down_s = world.now_s, None
    for number in range(200):
        world.call(script=Script(then=((1.0, "BYE"),), calling=f"+4915100000{number % 7}"))
        world.run(0.1)
        if operating(world, "fra-a") == Operating.OUT_OF_SERVICE:
            down_s = world.now_s
            break
    assert down_s is not None
    assert world.sbcs["fra-a"].invites <= 6 or down_s - began_s <= 10.0
    behave(world, fra_a=ANSWER)
    world.run(28.0)
    assert operating(world, "fra-a") == Operating.OUT_OF_SERVICE, "OPTIONS alone do not bring it back"
    world.run(30.0)
    assert operating(world, "fra-a") == Operating.IN_SERVICE
    world.finish()


def test_busy_probes_rest_an_sbc_and_do_not_take_it_down() -> None:
    world = a_world()
    world.sbcs["fra-a"].options_status, world.sbcs["fra-a"].options_retry_after_s = 503, 5
    world.run(20.0)
    assert operating(world, "fra-a") == Operating.IN_SERVICE
    note = world.call(script=SHORT)
    world.run(10.0)
    assert_well(world, note, "fra-b")
    world.finish()


def test_a_loop_that_stood_still_blames_nobody() -> None:
    world = a_world()
    for _ in range(5):
        world.stand_still(4.0)
        world.run(4.1)
    assert {operating(world, name) for name in world.sbcs} == {Operating.IN_SERVICE}
    world.finish()


def test_health_outlives_the_router() -> None:
    world = a_world()
    world.sbcs["fra-a"].mute = True
    world.run(8.0)
    assert operating(world, "fra-a") == Operating.OUT_OF_SERVICE
    world.kill()
    world.run(0.2)
    assert operating(world, "fra-a") == Operating.OUT_OF_SERVICE and operating(world, "fra-b") == Operating.IN_SERVICE
    note = world.call(script=SHORT)
    world.run(5.0)
    assert_well(world, note, "fra-b")
    assert world.sbcs["fra-b"].ledger.calls[note.call_id].started_s - note.started_s < 0.1
    world.finish()


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
