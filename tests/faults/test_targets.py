"""F14 to F24: SBCs and tenants that fall silent, refuse, are slow or flap, and an uplink of our own that is down; simulated."""

from __future__ import annotations

from functools import partial

import pytest

from sipctl.routing.snapshot import Operating
from sipctl.testing.sbc import SILENT, Behaviour, refuse
from tests.faults.test_processes import BRIEF, PRIMARY, a_controlled_world, share, silence, steady_calls
from tests.sim.hours import EAGER, flapping_primary, what_is_wrong
from tests.sim.scenario import a_world, assert_well, behave, invites_at, operating
from tests.support.world import World
from tests.support.world_plan import FRA_A, GROUP, Plan

ALL = ("fra-a", "fra-b", "ams-a", "ams-b")


def test_f14_one_silent_sbc_of_a_pair_costs_a_call_a_second_at_most_and_is_down_within_seven() -> None:
    world = a_world()
    silence(world, "fra-a")
    began_s = world.now_s
    notes = steady_calls(world, 20.0, 0.2)
    world.run_until(lambda: operating(world, "fra-a") == Operating.OUT_OF_SERVICE, at_most_s=7.0)
    world.run(8.0 - (world.now_s - began_s))
    tried = invites_at(world, "fra-a")
    world.run(30.0)
    assert invites_at(world, "fra-a") == tried, "no call is sent to it any more"
    for note in notes:
        assert_well(world, note, "fra-b")
        assert note.answered_s is not None and note.answered_s - note.started_s <= 0.6 + 1.2
    world.finish()


def test_f15_a_closed_port_costs_a_call_no_time() -> None:
    world = a_world()
    world.closed.add(FRA_A)
    notes = steady_calls(world, 5.0, 0.5)
    world.run(15.0)
    for note in notes:
        assert_well(world, note, "fra-b")
        assert note.answered_s is not None and note.answered_s - note.started_s <= 0.6 + 0.1
    world.finish()


def test_f16_503_with_retry_after_is_a_rest_of_one_sbc_and_reaches_no_caller() -> None:
    world, control = a_controlled_world()
    behave(world, fra_a=refuse(503, retry_after_s=30))
    notes = steady_calls(world, 25.0, 0.5)
    world.run(35.0)
    assert world.sbcs["fra-a"].invites == 1, "it was left alone"
    for note in notes:
        assert_well(world, note, "fra-b")
    assert control.moves == []
    world.finish()


def test_f17_a_slow_sbc_is_left_after_a_second_and_its_late_ringing_is_nobodys() -> None:
    world = a_world(Plan(probe=None))
    behave(world, fra_a=Behaviour(trying_s=3.0, ring_s=3.1, final_s=3.6), fra_b=Behaviour(ring_s=0.1, final_s=6.0))
    note = world.call(script=BRIEF)
    world.run(60.0)
    assert_well(world, note, "fra-b")
    assert world.sbcs["fra-a"].ledger.calls[note.call_id].cancelled_s is not None, "its first leg was cancelled"
    assert note.provisionals.count(180) == 1, "one phone rings for the caller"
    world.finish()


def test_f17_its_late_answer_may_win_and_every_other_leg_is_gone() -> None:
    world = a_world(Plan(probe=None))
    late = Behaviour(trying_s=3.0, ring_s=None, final_s=3.0, answers_despite_cancel=True)
    behave(world, fra_a=late, fra_b=Behaviour(ring_s=0.1, final_s=6.0))
    note = world.call(script=BRIEF)
    world.run(90.0)
    assert_well(world, note)
    assert sum(len(sbc.legs_up) for sbc in world.sbcs.values()) == 0
    world.finish()


@pytest.mark.parametrize("behaviour", [SILENT, refuse(500), refuse(503)])
def test_f18_an_sbc_that_answers_options_and_no_calls_is_down_within_five_failures_and_moves_no_group(
    behaviour: Behaviour,
) -> None:
    world, control = a_controlled_world()
    behave(world, fra_a=behaviour)
    notes = steady_calls(world, 20.0, 0.1)
    world.run_until(lambda: operating(world, "fra-a") == Operating.OUT_OF_SERVICE, at_most_s=10.0)
    world.run(30.0)
    for note in notes:
        assert_well(world, note, "fra-b")
    assert control.moves == []
    world.finish()


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 420, 483, 501])
def test_f19_who_refuses_options_is_alive(status: int) -> None:
    world, control = a_controlled_world()
    for sbc in world.sbcs.values():
        sbc.options_status = status
    notes = steady_calls(world, 20.0, 2.0)
    world.run(40.0)
    assert {operating(world, name) for name in ALL} == {Operating.IN_SERVICE}
    assert control.moves == []
    for note in notes:
        assert_well(world, note, "fra-a")
    world.finish()


@pytest.mark.parametrize("status", [500, 502])
def test_f19_who_fails_options_is_not_and_our_own_time_out_never_counts_as_an_answer(status: int) -> None:
    world = a_world()
    world.sbcs["fra-a"].options_status = status
    silence(world, "fra-b")
    world.run(9.0)
    assert operating(world, "fra-a") == operating(world, "fra-b") == Operating.OUT_OF_SERVICE
    world.finish()


@pytest.mark.parametrize("seed", range(2))
def test_f20_a_dead_primary_costs_no_call_and_its_group_moves_within_its_hold_off(seed: int) -> None:
    world, _ = a_controlled_world(seed=seed)
    silence(world, *PRIMARY)
    began_s = world.now_s
    notes = steady_calls(world, 30.0, 0.2)
    world.run_until(lambda: share(world) == 100, at_most_s=7.0 + 5.0 + 0.2)
    moved_s = world.now_s - began_s
    world.run(45.0)
    assert moved_s >= 5.0, "not before its hold-off is over"
    for note in notes:
        assert_well(world, note, "ams-a")
        assert note.answered_s is not None and note.answered_s - note.started_s <= 0.6 + 1.6
    late = [note for note in notes if note.started_s - began_s > moved_s + 0.5]
    assert len(late) > 50
    assert max((note.answered_s or 0.0) - note.started_s for note in late) <= 0.7, "no call waits any more"
    world.finish()


def test_f21_both_tenants_dead_refuses_within_five_seconds_keeps_the_table_and_says_so() -> None:
    world, control = a_controlled_world()
    silence(world, *ALL)
    notes = steady_calls(world, 60.0, 1.0)
    world.run(70.0)
    assert len(notes) == 60 and {note.final for note in notes} == {503}
    assert max(note.final_s - note.started_s for note in notes) <= 5.0 + 0.02, "and the way to us and back"
    assert all("Q.850" in note.headers.get("reason", "") for note in notes), "every refusal of our own has its cause"
    assert control.moves == [] and control.knows is not None and f"both-lost:{GROUP}" in control.knows.alarms
    assert world.router.snapshot is not None and all(world.router.snapshot.targets)
    silence(world, *ALL, mute=False)
    world.run(60.0)
    again = steady_calls(world, 5.0, 0.5)
    world.run(15.0)
    for note in again:
        assert_well(world, note, "fra-a")
    assert f"both-lost:{GROUP}" not in control.knows.alarms
    world.finish()


def test_f22_a_primary_that_flaps_every_5_to_15_seconds_moves_the_group_seldom_and_loses_no_call() -> None:
    hour = flapping_primary(7, every_s=5.0, seconds=600.0, flaps_s=450.0, up_s=(5.0, 15.0))
    assert what_is_wrong("a flapping primary", hour) == "", hour


@pytest.mark.parametrize("cut", ["inside", "both"])
@pytest.mark.parametrize("seconds", [20.0, 150.0])
def test_f24_an_uplink_of_our_own_that_is_down_moves_nothing(cut: str, seconds: float) -> None:
    world, control = a_controlled_world(EAGER)
    ours = {world.inside[0]} if cut == "inside" else {world.inside[0], world.outside[0]}

    def drop(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bool:
        return source[0] in ours or to[0] in ours

    world.network.drop = drop
    world.run(seconds)
    world.network.drop = None
    world.run(60.0)
    assert control.moves == [] and share(world) == 0
    assert {operating(world, name) for name in ALL} == {Operating.IN_SERVICE}
    notes = steady_calls(world, 5.0, 0.5)
    world.run(15.0)
    for note in notes:
        assert_well(world, note, "fra-a")
    world.finish()


# -- F30 to F32: load ----------------------------------------------------------------------------------------------------------


def _is_reply(data: bytes) -> bool:
    return data.startswith(b"SIP/2.0 ")


def test_f32_replies_that_are_all_600_ms_late_make_no_second_call_anywhere() -> None:
    world = World(0, Plan(probe=None))
    sbcs = {sbc.address for sbc in world.sbcs.values()}
    world.network.late = lambda source, to, data: 0.6 if _is_reply(data) and source in sbcs else 0.0
    notes = steady_calls(world, 30.0, 0.2)
    world.run(60.0)
    for note in notes:
        assert_well(world, note, "fra-a")
        leg = world.sbcs["fra-a"].ledger.calls[note.call_id]
        assert leg.invites <= 2, "repeated once, before the first reply was back"
    assert world.sbcs["fra-a"].invites == len(notes), "one transaction a call"
    assert invites_at(world, "fra-b") == 0
    world.finish()


def test_f31_calls_that_are_never_acknowledged_are_cleared_and_harm_no_other() -> None:
    """A trunk that takes answers and says nothing more: its SBC gives up after 64·T1, and nothing of ours is left."""
    world = World(0, Plan(probe=None))
    port = world.callers["carrier-two"].address[1]
    silent = ("198.51.100.40", port)  # of carrier-two's network, and nobody there
    world.invariants.configured.add(silent[0])
    world.invariants.judges_parties = False  # the SBCs complain of it: their 200 is never acknowledged
    for number in range(200):
        branch = f"z9hG4bKnever{number}"
        invite = (
            f"INVITE sip:+4930901820@{world.outside[0]} SIP/2.0\r\nVia: SIP/2.0/UDP {silent[0]}:{port};branch={branch}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:+4915{number:08}@{silent[0]}>;tag=n{number}\r\n"
            f"To: <sip:+4930901820@{world.outside[0]}>\r\nCall-ID: never{number}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:{silent[0]}:{port}>\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        world.at(number * 0.02, partial(world.send_raw, silent, world.outside, invite))
    good = steady_calls(world, 20.0, 0.25)
    world.run(100.0)
    for note in good:
        assert_well(world, note)
    world.run(400.0)
    census = world.census()
    assert (census["setups"], census["invites"], census["branches"]) == (0, 0, 0), census
    assert census["calls"] == 0, "the SBCs' own BYEs ended what they had answered"
