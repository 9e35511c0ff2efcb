"""The supervisor and its children as real processes: who dies, who takes over, and that the socket answers throughout."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from sipctl.engine.embedded import wire
from sipctl.supervisor.children import spawn
from sipctl.supervisor.state_dir import Process, StateDir
from tests.supervisor.conftest import House, eventually, read_ready


def test_boot_carries_calls_says_so_and_ends_in_order(house: House) -> None:
    house.seed(seq=7)
    supervisor = house.start()
    assert house.ask()[1:3] == (0, 7)
    eventually(lambda: set(house.look()) == {"supervisor", "router-0", "spare", "controller", "desk"}, "one of each, by name")
    assert read_ready(house)["revision"] == 1
    everybody = set(house.look().values())
    supervisor.send_signal(signal.SIGTERM)
    output, errors = supervisor.communicate(timeout=20)
    assert supervisor.returncode == 0
    assert output.decode().count("\n") == 1, "one line, when it is ready"
    assert "revision 1" in output.decode()
    assert errors == b""
    assert not any(process.is_alive for process in everybody)
    assert list((house.state / "run").iterdir()) == []


def test_kill_of_the_router_makes_the_spare_answer_with_the_same_memory(house: House) -> None:
    house.seed()
    house.start()
    for _ in range(3):
        _, _, _, before = house.ask()
        spare = house.pid("spare")
        house.kill("router-0")
        killed_s = time.monotonic()
        pid, slot, _, count = house.ask()
        assert (pid, slot) == (spare, 0)
        assert count > before, "the slot's memory went on"
        assert time.monotonic() - killed_s < 2.0
        eventually(lambda spare=spare: house.pid("spare") not in (None, spare), "a new spare")  # type: ignore[misc]
        eventually(lambda: house.is_ready("spare"), "it is warm")


def test_datagrams_sent_while_no_router_lives_are_answered_by_the_successor(house: House) -> None:
    house.seed()
    house.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((house.address[0], 0))
        peer.settimeout(10)
        old = house.kill("router-0")
        for _ in range(20):
            peer.sendto(b"hello", house.address)
        answers = [int(peer.recv(100).split()[0]) for _ in range(20)]
    assert len(answers) == 20
    assert old not in answers[1:]


def test_stopped_router_is_killed_and_replaced_never_revived(house: House) -> None:
    house.seed()
    house.start()
    old = house.kill("router-0", signal.SIGSTOP)
    assert house.ask()[0] != old
    eventually(lambda: not os.path.exists(f"/proc/{old}"), "the stopped one is gone")
    assert "stopped, and no heartbeat" in house.log()


def test_a_message_that_raises_costs_nothing_but_itself(house: House) -> None:
    house.seed()
    house.start()
    pid = house.ask()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for _ in range(5):
            peer.sendto(b"raise", house.address)
    assert house.ask()[0] == pid


def test_controller_and_desk_come_back_by_themselves_and_the_router_does_not_notice(house: House) -> None:
    house.seed()
    house.start()
    router = house.ask()[0]
    for role in ("controller", "desk"):
        old = house.kill(role)
        eventually(lambda role=role, old=old: house.pid(role) not in (None, old), f"a new {role}")  # type: ignore[misc]
    assert house.ask()[0] == router


def test_killed_supervisor_leaves_everybody_working_and_the_next_one_takes_over(house: House) -> None:
    house.seed(seq=5)
    house.start()
    router, _, _, before = house.ask()
    names = ("router-0", "spare", "controller", "desk")
    old = {name: house.pid(name) for name in names}
    house.kill("supervisor")
    assert house.ask()[0] == router
    assert {name: house.pid(name) for name in names} == old
    house.start()
    pid, _, seq, count = house.ask()
    assert (pid, seq) == (router, 5)
    assert count > before
    for role in ("controller", "desk"):  # the dead supervisor's word that all was ready still stands: wait for deeds
        eventually(lambda role=role: house.pid(role) not in (None, old[role]), f"a new {role}")  # type: ignore[misc]
    assert (house.pid("router-0"), house.pid("spare")) == (old["router-0"], old["spare"])
    house.kill("router-0")
    pid, _, _, count_after = house.ask()
    assert pid == old["spare"], "the supervisor that took over replaces routers as the first one did"
    assert count_after > count


def test_router_and_supervisor_killed_together_lose_neither_socket_nor_memory(house: House) -> None:
    house.seed()
    house.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((house.address[0], 0))
        peer.settimeout(20)
        _, _, _, before = house.ask()
        house.kill("supervisor")
        house.kill("router-0")
        peer.sendto(b"hello", house.address)
        house.start()
        count = int(peer.recv(100).split()[3])
    assert count > before


def test_a_desk_that_cannot_start_ends_no_router_that_was_taken_over(house: House) -> None:
    house.seed()
    house.start()
    pid = house.ask()[0]
    house.kill("supervisor")
    house.kill("desk")
    house.environment["SIPCTL_FAKE_DYING"] = "desk"
    supervisor = house.start(wait=False)
    eventually(lambda: "desk does not start" in house.log(), "it is said")
    assert house.ask()[0] == pid
    assert supervisor.poll() is None


def test_calls_are_carried_from_what_is_on_disk_by_whatever_starts(house: House) -> None:
    house.seed(seq=7)
    house.environment["SIPCTL_FAKE_DYING"] = "desk"
    supervisor = house.start(wait=False)
    assert house.ask()[1:3] == (0, 7)
    eventually(lambda: "desk does not start" in house.log(), "it is said")
    assert house.ask()[1:3] == (0, 7)
    assert supervisor.poll() is None


def test_a_run_file_that_cannot_be_written_stands_as_it_was_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateDir(tmp_path)
    state.prepare()
    assert state.note_process("router-0", os.getpid())

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        assert not state.note_process("router-0", 1)
    assert state.process("router-0") == Process.now(os.getpid())
    assert [path.name for path in state.run.iterdir() if path.suffix == ".tmp"] == []


def test_stopped_router_of_a_dead_supervisor_is_replaced_by_the_spare(house: House) -> None:
    house.seed()
    house.start()
    _, _, _, before = house.ask()
    old = house.kill("router-0", signal.SIGSTOP)
    house.kill("supervisor")
    house.start()
    pid, _, _, count = house.ask()
    assert pid != old
    assert count > before
    assert not os.path.exists(f"/proc/{old}") or house.pid("router-0") != old


@pytest.mark.parametrize("role", ["router", "controller"])
def test_a_child_whose_supervisor_died_before_it_was_noted_ends_by_itself(house: House, role: str) -> None:
    state = StateDir(house.state)
    state.prepare()
    child = spawn(state, ("-m", "tests.supervisor.fake_app"), role, (), 0.0, takeover="test.sock")
    try:
        eventually(lambda: any(isinstance(frame, wire.Booted) for frame, _ in child.frames()), "it has started")
        assert child.sock is not None
        child.sock.close()
        eventually(lambda: Process.now(child.pid) is None, "it ends")
    finally:
        child.kill()
        child.reap()


def test_second_run_on_one_state_is_refused_by_name(house: House) -> None:
    house.seed()
    first = house.start()
    second = house.start(wait=False)
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 2
    assert str(first.pid) in errors.decode()
    assert "already runs" in errors.decode()
    assert house.ask()[0] == house.pid("router-0")


def test_corrupted_newest_generation_leaves_the_older_one_in_use(house: House) -> None:
    house.seed(seq=1)
    house.seed(seq=2)
    path = house.state / "snapshots" / "1" / "state"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    house.start()
    assert house.ask()[2] == 1


def test_corrupted_newest_table_leaves_the_older_one_in_use(house: House) -> None:
    house.seed(seq=1)
    house.seed(seq=2)
    (path,) = (house.state / "snapshots" / "1").glob("*.table")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    house.start()
    assert house.ask()[2] == 1


def test_a_snapshot_that_kills_routers_at_boot_is_left_for_the_older_one(house: House) -> None:
    house.seed(seq=1)
    house.seed(seq=2)
    house.environment["SIPCTL_FAILPOINTS"] = "die-booting-newest"
    house.start()
    assert house.ask()[2] == 1
    assert "goes back to the older snapshot" in house.log()


def test_socket_that_is_taken_ends_the_run_with_its_name(house: House) -> None:
    house.seed()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(house.address)
        supervisor = house.start(wait=False)
        _, errors = supervisor.communicate(timeout=20)
    assert supervisor.returncode == 2
    assert "listen inside" in errors.decode()
    assert str(house.address[1]) in errors.decode()
