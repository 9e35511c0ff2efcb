"""Calls through the real core in the simulated world: routing, the search over SBCs, and CANCEL."""

from __future__ import annotations

import pytest

from sipctl.routing.snapshot import Probe
from sipctl.testing.caller import Script
from sipctl.testing.sbc import RING_FOR_EVER, SILENT, TRYING_ONLY, Behaviour, refuse
from tests.sim.scenario import QUIET, SHORT, STAY, TALK, a_world, assert_well, behave, invites_at, listen_at
from tests.support.world_plan import FRA_A, SALES, SALES_AT_BCP, SERVICE, Plan

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


@pytest.mark.parametrize("plan", [Plan(tcp_trunks=True), Plan(tcp_sbcs=True), Plan(tcp_trunks=True, tcp_sbcs=True)])
def test_a_contact_that_names_no_transport_is_reached_by_the_one_its_side_speaks(plan: Plan) -> None:
    world = a_world(plan)
    world.decide(100)
    for party in world.parties.values():
        party.names_transport = False
    behave(world, ams_a=Behaviour(then=((1.5, "INVITE"), (2.5, "INFO"), (7.0, "BYE"))))
    note = world.call(script=Script(then=((1.0, "INFO"), (2.0, "INVITE"), (3.0, "UPDATE"))))
    world.run(20.0)
    assert note.ended_by == "peer"
    assert note.in_dialog == [("INFO", 200), ("INVITE", 200), ("UPDATE", 200)]
    assert world.sbcs["ams-a"].ledger.calls[note.call_id].in_dialog == [("INVITE", 200), ("INFO", 200), ("BYE", 200)]
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


def test_every_trial_at_a_closed_port_is_noticed_at_once() -> None:
    world = a_world(Plan(probe=Probe(interval_s=60.0)))
    world.closed.add(FRA_A)
    asked = listen_at(world, FRA_A)
    for _ in range(4):
        notes = [world.call(script=SHORT) for _ in range(3)]
        world.run(1.1)
        for note in notes:
            assert world.sbcs["fra-b"].ledger.calls[note.call_id].started_s - note.started_s < 0.1
    # three before the first doubt, then a trial a second; the fifth failure takes it down
    assert sum(data.startswith(b"INVITE ") for data in asked) == 3 + 2
    world.run(10.0)
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
