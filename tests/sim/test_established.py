"""Calls that are up are not touched, and SBCs are judged: rest, suspicion, health."""

from __future__ import annotations

import pytest

from sipctl.routing.snapshot import Operating
from sipctl.testing.caller import Script
from sipctl.testing.ledger import TIMED_OUT
from sipctl.testing.sbc import ANSWER, SILENT, Behaviour, refuse
from tests.sim.scenario import LONG, SHORT, STAY, a_world, assert_well, behave, invites_at, listen_at, operating
from tests.support.world_plan import FRA_A, FRA_B, Plan

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
    sent = listen_at(world, FRA_A, FRA_B)
    new = [world.call(script=SHORT) for _ in range(10)]
    world.run(30.0)
    assert not [data for data in sent if any(note.call_id.encode() in data for note in up)]
    for note in new:
        assert_well(world, note, "ams-a")
    for note in up:
        assert note.is_up
        world.hang_up(note)
    world.finish()


def test_an_in_dialog_request_reaches_the_sibling_of_a_dead_sbc_that_shares_dialogs() -> None:
    world = a_world(Plan(shared_dialogs=True))
    note = world.call(script=Script(then=((10.0, "BYE"),)))
    world.run(5.0)
    world.sbcs["fra-a"].mute = True
    world.run(60.0)
    assert_well(world, note, "fra-a")
    assert note.in_dialog == [("BYE", 200)]
    world.finish()


@pytest.mark.parametrize("behaviour", [refuse(500), refuse(503), refuse(503, retry_after_s=60), refuse(404), SILENT])
def test_an_sbc_that_only_refuses_invites_keeps_its_in_dialog_requests(behaviour: Behaviour) -> None:
    world = a_world(Plan(shared_dialogs=True))
    asked = ("INFO", "INVITE", "UPDATE", "OPTIONS", "INVITE", "BYE")
    note = world.call(script=Script(then=tuple((20.0 + 2.0 * at, method) for at, method in enumerate(asked))))
    world.run(3.0)
    behave(world, fra_a=behaviour)
    for _ in range(10):
        world.call(script=SHORT)
        world.run(1.0)
    to_sibling = listen_at(world, FRA_B)
    world.run(40.0)
    assert_well(world, note, "fra-a")
    assert note.in_dialog == [(method, 200) for method in asked]
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
    heard = listen_at(world, FRA_A)
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
