"""Two generations on disk: the newest whole one is used, whatever happened to the other."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from sipctl.engine.generation import Generations, decode_state, encode_state, replace_file
from sipctl.errors import SnapshotError, StoreError
from sipctl.routing.snapshot import Admin, Decision, RoutingState

TABLE = "ab" * 32


def a_state(term: int = 1, seq: int = 1, table: str = TABLE) -> RoutingState:
    decisions = {"acme": Decision(bcp_percent=100)}
    return RoutingState(term, seq, revision=3, table=table, decisions=decisions, sbc_admin={"fra-a": Admin.DRAINING})


def test_a_state_survives_its_bytes() -> None:
    assert decode_state(encode_state(a_state())) == a_state()


def test_a_state_with_any_octet_flipped_missing_or_added_is_refused() -> None:
    whole = encode_state(a_state())
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(SnapshotError):
            decode_state(bytes(flipped))
        with pytest.raises(SnapshotError):
            decode_state(whole[:at])
    with pytest.raises(SnapshotError):
        decode_state(whole + b"\0")


def test_the_newest_generation_comes_first_and_the_oldest_is_replaced(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    numbers = [generations.write(a_state(seq=seq), b"table") for seq in (1, 2, 3, 4)]
    assert numbers == [0, 1, 0, 1]
    whole, faults = generations.found()
    assert [found.state.seq for found in whole] == [4, 3]
    assert faults == []


def test_a_higher_term_is_newer_than_any_seq(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    generations.write(a_state(term=1, seq=900), b"table")
    generations.write(a_state(term=2, seq=1), b"table")
    assert [found.state.term for found in generations.found()[0]] == [2, 1]


def test_newest_state_corrupted_at_every_offset_leaves_the_older_one(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    generations.write(a_state(seq=1), b"table")
    number = generations.write(a_state(seq=2), b"table")
    path = tmp_path / str(number) / "state"
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        found, faults = generations.found()
        assert [generation.state.seq for generation in found] == [1]
        assert len(faults) == 1


def test_a_damaged_generation_is_the_one_written_over(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    generations.write(a_state(seq=1), b"table")
    number = generations.write(a_state(seq=2), b"table")
    (tmp_path / str(number) / "state").write_bytes(b"rubbish")
    assert generations.write(a_state(seq=3), b"table") == number
    assert [found.state.seq for found in generations.found()[0]] == [3, 1]


def test_a_generation_keeps_its_own_table_and_no_other(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    generations.write(a_state(seq=1, table="aa" * 32), b"one")
    generations.write(a_state(seq=2, table="bb" * 32), b"two")
    generations.write(a_state(seq=3, table="cc" * 32), b"three")
    for found in generations.found()[0]:
        assert sorted(path.name for path in found.table.parent.iterdir()) == sorted(["state", f"{found.state.table}.table"])
    assert [found.table.read_bytes() for found in generations.found()[0]] == [b"three", b"two"]


def test_a_table_damaged_in_place_is_written_anew(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    for seq in (1, 2):
        generations.write(a_state(seq=seq), b"table")
    older = generations.found()[0][1]
    older.table.write_bytes(b"tabel")
    generations.write(a_state(seq=3), b"table")
    assert generations.found()[0][0].table.read_bytes() == b"table"


@pytest.mark.parametrize("fails_at", range(1, 9))
def test_a_write_that_dies_at_any_step_leaves_two_whole_generations(
    tmp_path: Path, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = Generations(tmp_path)
    generations.write(a_state(seq=1, table="aa" * 32), b"one")
    generations.write(a_state(seq=2, table="bb" * 32), b"two")
    steps = {"left": fails_at}

    def failing(name: str) -> None:
        real = getattr(os, name)

        def step(*args: object, **kwargs: object) -> object:
            steps["left"] -= 1
            if steps["left"] == 0:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, step)

    for name in ("write", "fsync", "rename"):
        failing(name)
    allowed: tuple[int, ...] = (3,)
    try:
        generations.write(a_state(seq=3, table="cc" * 32), b"three")
    except StoreError:
        allowed = (2, 3)
    monkeypatch.undo()
    whole, faults = generations.found()
    assert faults == []
    assert whole[0].state.seq in allowed
    for found in whole:
        expected = {1: b"one", 2: b"two", 3: b"three"}[found.state.seq]
        assert found.table.read_bytes() == expected


def test_a_failed_replacement_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_names_a_path_instead_of_a_table_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "0"
    place.mkdir()
    (place / "state").write_bytes(encode_state(dataclasses.replace(a_state(), table="../../etc/passwd")))
    whole, faults = Generations(tmp_path).found()
    assert whole == []
    assert len(faults) == 1
