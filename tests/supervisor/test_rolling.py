"""Every process replaced by one of a new build while the socket answers; and builds that do not come up, which replace nothing.

A new build is the same code behind a small program that says so; a broken one fails in one role.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipctl.supervisor.ask_local import ask
from sipctl.supervisor.local_wire import Ask, End, Picture, Renew
from sipctl.supervisor.rolling import PARTS
from tests.supervisor.conftest import House, eventually

PATIENCE_S = 60.0


def a_build(folder: Path, *lines: str) -> str:
    """A program that runs our Python as another build would."""
    path = folder / "new-python"
    text = "\n".join(["#!/bin/sh", "export SIPCTL_FAKE_BUILD='fake 2'", *lines, f'exec {sys.executable} "$@"', ""])
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def begun(house: House) -> House:
    house.environment["SIPCTL_FAKE_PLANNED"] = "1"
    house.seed()
    house.start()
    eventually(lambda: picture(house).serves, "controller and desk work")
    return house


def picture(house: House) -> Picture:
    answer = ask(house.state, Ask())
    assert isinstance(answer, Picture)
    return answer


def builds(house: House) -> dict[str, str]:
    return {worker.name: worker.build for worker in picture(house).workers if worker.name in ("router-0", "spare")}


def renewed(house: House, parts: tuple[str, ...], python: str = "") -> tuple[End, list[str]]:
    said: list[str] = []
    answer = ask(house.state, Renew(parts, "a new build", python), said.append, PATIENCE_S)
    assert isinstance(answer, End)
    house.look()
    return answer, said


@contextmanager
def talk(house: House) -> Iterator[dict[str, int]]:
    """Somebody who says something every 5 ms; every word must be answered in the end."""
    told = {"sent": 0, "answered": 0}
    ended = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((house.address[0], 0))
        peer.settimeout(0.005)

        def keep_talking() -> None:
            while not ended.is_set() or (told["answered"] < told["sent"] and not hopeless.is_set()):
                if not ended.is_set():
                    peer.sendto(b"hello", house.address)
                    told["sent"] += 1
                try:
                    peer.recv(100)
                    told["answered"] += 1
                except TimeoutError:
                    continue

        hopeless = threading.Event()
        talker = threading.Thread(target=keep_talking)
        talker.start()
        try:
            yield told
        finally:
            ended.set()
            talker.join(10)
            hopeless.set()
            talker.join()


def test_every_process_is_replaced_and_no_datagram_goes_unanswered(house: House, tmp_path: Path) -> None:
    begun(house)
    before = {name: process.pid for name, process in house.look().items()}
    with talk(house) as told:
        answer, said = renewed(house, PARTS, a_build(tmp_path))
        assert answer.status == "done", answer
        eventually(lambda: picture(house).serves, "controller and desk work")
    assert told["answered"] == told["sent"] > 20
    after = {name: process.pid for name, process in house.look().items()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] == before[name]} == {"supervisor"}, "in place: the same process, another image"
    assert builds(house) == {"router-0": "fake 2", "spare": "fake 2"}
    assert [line.split()[0] for line in said] == ["router", "spare", "desk", "controller", "the"]
    assert not any(os.path.exists(f"/proc/{pid}") for name, pid in before.items() if name != "supervisor"), "no zombie stays"


def test_after_it_became_another_image_the_supervisor_does_all_it_did(house: House) -> None:
    begun(house)
    _, _, _, count = house.ask()
    kept = {role: house.pid(role) for role in ("router-0", "controller", "desk")}
    assert renewed(house, ("supervisor",))[0].status == "done"
    assert {role: house.pid(role) for role in kept} == kept, "nobody else was touched"
    second = house.start(wait=False)
    assert second.wait(20) == 2, "the lock was never let go"
    dead = house.kill("router-0")
    eventually(lambda: house.pid("router-0") not in (None, dead) and house.is_ready("router-0"), "a successor")
    assert house.ask()[3] > count
    eventually(lambda: not os.path.exists(f"/proc/{dead}"), "who dies is reaped")
    desk = house.kill("desk")
    eventually(lambda: house.pid("desk") not in (None, desk), "a new desk")
    house.supervisors[0].send_signal(signal.SIGTERM)
    assert house.supervisors[0].wait(20) == 0
    assert list((house.state / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("case $3 in check) echo broken >&2; exit 1;; esac", "the new build does not start: broken"),
        ("case $3 in router) exit 1;; esac", "a new router does not start"),
        ("export SIPCTL_FAKE_LAYOUT=fake-2", "keeps its calls as fake-2, the old one as fake-1"),
    ],
)
def test_a_build_that_cannot_go_on_with_the_calls_replaces_nothing(house: House, tmp_path: Path, line: str, words: str) -> None:
    begun(house)
    pid, _, _, count = house.ask()
    answer, _ = renewed(house, PARTS, a_build(tmp_path, line))
    assert answer.status == "failed" and words in answer.text and "nothing was replaced" in answer.text, answer
    assert house.ask()[0] == pid and house.ask()[3] > count
    eventually(lambda: builds(house) == {"router-0": "fake 1", "spare": "fake 1"}, "the old build alone")


def test_a_new_router_that_dies_in_its_slot_leaves_it_to_the_spare_of_the_old_build(house: House, tmp_path: Path) -> None:
    begun(house)
    spare = house.pid("spare")
    _, _, _, count = house.ask()
    answer, _ = renewed(house, PARTS, a_build(tmp_path, "export SIPCTL_FAILPOINTS=die-booting-held,die-booting-newest"))
    assert answer.status == "failed" and "a router of the old build goes on in it" in answer.text, answer
    pid, _, _, after = house.ask()
    assert pid == spare and after > count
    assert builds(house)["router-0"] == "fake 1"


def test_a_new_desk_that_does_not_come_up_is_followed_by_one_of_the_old_build(house: House, tmp_path: Path) -> None:
    begun(house)
    controller = house.pid("controller")
    answer, _ = renewed(house, ("desk", "controller"), a_build(tmp_path, "case $3 in desk) exit 1;; esac"))
    assert answer.status == "failed" and "the new desk does not come up" in answer.text, answer
    eventually(lambda: picture(house).serves, "a desk of the old build")
    assert house.pid("controller") == controller, "what came after was not touched"


@pytest.mark.parametrize(
    ("renew", "status"),
    [
        (Renew(("routers",), " "), "invalid"),
        (Renew((), "x"), "invalid"),
        (Renew(("kernel",), "x"), "invalid"),
        (Renew(("routers",), "x", "/nowhere/python"), "invalid"),
    ],
)
def test_a_replacement_that_makes_no_sense_is_refused_at_once(house: House, renew: Renew, status: str) -> None:
    begun(house)
    answer = ask(house.state, renew)
    assert isinstance(answer, End) and answer.status == status, answer


def test_two_routers_are_replaced_one_after_the_other(house: House, tmp_path: Path) -> None:
    house.environment["FAKE_ROUTERS"] = "2"
    begun(house)
    eventually(lambda: {"router-0", "router-1", "spare"} <= set(house.look()), "both")
    before = {name: process.pid for name, process in house.look().items()}
    with talk(house) as told:
        answer, said = renewed(house, ("routers",), a_build(tmp_path))
        assert answer.status == "done", answer
    assert told["answered"] == told["sent"]
    assert said == ["router r1 replaced", "router r2 replaced", "spare replaced"]
    after = {name: process.pid for name, process in house.look().items()}
    assert all(after[name] != before[name] for name in ("router-0", "router-1", "spare"))
    assert house.pid("desk") == before["desk"]


def test_a_build_that_tells_its_board_too_goes_on_with_the_calls(house: House, tmp_path: Path) -> None:
    house.environment["FAKE_ROUTERS"] = "2"
    house.environment["SIPCTL_FAKE_BOARD"] = "board-1"
    begun(house)
    eventually(lambda: {"router-0", "router-1", "spare"} <= set(house.look()), "both")
    dead = house.kill("router-0")
    eventually(lambda: house.pid("router-0") not in (None, dead) and house.is_ready("router-0"), "a successor")
    assert "forgotten" not in house.log()
    eventually(lambda: house.is_ready("spare"), "a spare")
    answer, _ = renewed(house, ("routers",), a_build(tmp_path, "export SIPCTL_FAKE_BOARD=board-2"))
    assert answer.status == "failed" and "keeps its calls as fake-1 board-2, the old one as fake-1 board-1" in answer.text, answer
    assert house.is_ready("router-0") and house.is_ready("router-1"), "the old ones go on"
