"""Several routers on one machine: all are filled, each answers for its own calls, and whoever dies is followed in its slot."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest

from sipctl.call.owner import owner_of
from tests.supervisor.conftest import PATIENCE_S, House, eventually

SLOTS = 3
pytestmark = pytest.mark.serial


def a_message(slot: int) -> bytes:
    """Something that belongs to that slot."""
    number = 0
    while True:
        data = b"ASK sip:a SIP/2.0\r\nCall-ID: %d\r\n\r\n" % number
        if owner_of(data, SLOTS, -1) == slot:
            return data
        number += 1


@pytest.fixture
def routers(house: House) -> Iterator[House]:
    house.environment["FAKE_ROUTERS"] = str(SLOTS)
    house.seed()
    house.start()
    yield house


def names() -> list[str]:
    return [f"router-{slot}" for slot in range(SLOTS)]


def test_each_slot_answers_for_its_own_and_every_successor_goes_on_with_its_memory(routers: House) -> None:
    counts = dict.fromkeys(range(SLOTS), 0)
    for _ in range(2):
        for slot in range(SLOTS):
            pid, answered_by, _, counts[slot] = routers.ask(a_message(slot))
            assert (answered_by, pid) == (slot, routers.pid(f"router-{slot}"))
    for name in names():  # one after the other, the prober among them
        dead = routers.kill(name)
        slot = int(name[-1])
        pid, answered_by, _, count = routers.ask(a_message(slot))
        assert answered_by == slot
        assert pid != dead
        assert count > counts[slot], "its slot's memory went on"
        eventually(lambda: routers.is_ready("spare"), "a spare behind it")


def test_two_die_at_once_and_both_slots_are_taken(routers: House) -> None:
    dead = {routers.kill("router-0"), routers.kill("router-2")}
    for slot in range(SLOTS):
        pid, answered_by, _, _ = routers.ask(a_message(slot))
        assert answered_by == slot
        assert pid not in dead


def test_what_is_handed_to_a_dead_slot_waits_for_its_successor(routers: House) -> None:
    """Asked once, never again: the answer comes from the successor."""
    routers.kill("spare")
    routers.kill("router-1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((routers.address[0], 0))
        peer.settimeout(PATIENCE_S)
        for _ in range(20):
            peer.sendto(a_message(1), routers.address)
        answers = [peer.recv(100).split() for _ in range(20)]
    assert {int(answer[1]) for answer in answers} == {1}
    assert [int(answer[3]) for answer in answers] == list(range(int(answers[0][3]), int(answers[0][3]) + 20))


def test_a_router_that_stands_still_is_killed_and_followed(routers: House) -> None:
    frozen = routers.kill("router-0", signal.SIGSTOP)
    began_s = time.monotonic()
    eventually(lambda: routers.pid("router-0") not in (None, frozen), "a successor of the one that stood still")
    assert time.monotonic() - began_s < 5.0
    assert routers.ask(a_message(0))[1] == 0
    assert f"process {frozen}, is killed: stopped" in routers.log()


def test_the_next_supervisor_takes_all_of_them_over(routers: House) -> None:
    before = {name: routers.pid(name) for name in (*names(), "spare")}
    counts = [routers.ask(a_message(slot))[3] for slot in range(SLOTS)]
    routers.kill("supervisor")
    routers.environment["FAKE_ROUTERS"] = "1"  # takes effect with a fresh start only
    routers.start()
    assert {name: routers.pid(name) for name in (*names(), "spare")} == before
    assert "another number, 1, takes effect once sipctl was stopped" in routers.log()
    assert [routers.ask(a_message(slot))[3] > counts[slot] for slot in range(SLOTS)] == [True] * SLOTS
    dead = routers.kill("router-2")
    pid, answered_by, _, count = routers.ask(a_message(2))
    assert (answered_by, pid != dead, count > counts[2]) == (2, True, True), "doors and memory were taken over too"


def test_a_router_and_the_supervisor_die_together_and_the_slot_is_found_again(routers: House) -> None:
    count = routers.ask(a_message(1))[3]
    routers.kill("supervisor")
    dead = routers.kill("router-1")
    routers.start()
    pid, answered_by, _, after = routers.ask(a_message(1))
    assert (answered_by, pid != dead, after > count) == (1, True, True)
