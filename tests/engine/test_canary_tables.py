"""Two tables at a time: in a router's hands, on disk, and in the descriptors that one process hands to another."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from sipctl.engine.embedded import wire
from sipctl.engine.embedded.tables import MAX_TABLES, Tables
from sipctl.engine.generation import Generations, decode_state, encode_state
from sipctl.errors import SnapshotError
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import Canary, Decision, RoutingState
from sipctl.routing.table import encode_table, load_table
from sipctl.supervisor.snapshots import Snapshots
from tests.support.plans import a_state, a_topology, the_numbers


def an_image(revision: int) -> bytes:
    topology = a_topology(revision=revision)
    return encode_table(topology, the_numbers(topology))


def both(seq: int = 1) -> RoutingState:
    live, other = load_table(an_image(1)), load_table(an_image(2))
    canary = Canary(2, other.hash, 50, {"fra-a": 1 << 23}, {"bank": Decision(100)})
    return a_state(live, seq=seq, canary=canary)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_generation_keeps_both_tables_while_a_canary_runs_and_one_afterwards(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    state = both()
    number = generations.write(state, an_image(1), an_image(2))
    (found,), faults = generations.found()
    assert not faults and found.state == state and found.canary is not None
    tables = [load_table(path.read_bytes()) for path in (found.table, found.canary)]
    snapshot = RoutingSnapshot.build(tables[0], found.state, tables[1])
    assert snapshot.canary is not None and (snapshot.revision, snapshot.canary.revision) == (1, 2)
    for seq in (2, 3):
        generations.write(replace(state, seq=seq, canary=None), an_image(1))
    assert len(list((tmp_path / str(number)).iterdir())) == 2, "the canary's table left with it"


def test_a_generation_whose_canary_table_is_gone_still_carries_everybody(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    generations.write(both(), an_image(1), an_image(2))
    (found,), _ = generations.found()
    assert found.canary is not None
    found.canary.unlink()
    (found,), faults = generations.found()
    assert found.canary is None and not faults
    assert RoutingSnapshot.build(load_table(found.table.read_bytes()), found.state).canary is None


def test_a_state_of_a_version_without_canaries_is_read_and_one_with_a_canary_reads_there() -> None:
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(both()))
    del plain["canary"]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plain), type=RoutingState) == replace(both(), canary=None)
    assert decode_state(encode_state(both())) == both()

    class Before(msgspec.Struct):
        term: int
        seq: int
        revision: int
        table: str

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(both()), type=Before).revision == 1


def test_several_tables_of_one_publication_are_all_taken_and_no_descriptor_leaks() -> None:
    tables = Tables()
    for _ in tables.taking_all([wire.sealed_memfd("table", an_image(number)) for number in (1, 2)]):
        pass
    assert all(tables.table(load_table(an_image(number)).hash) is not None for number in (1, 2))
    held = open_descriptors()
    steps = tables.taking_all([wire.sealed_memfd("table", an_image(number)) for number in (3, 4)])
    next(steps)
    steps.close()
    broken = [wire.sealed_memfd("table", data) for data in (b"no table", an_image(5))]
    with pytest.raises(SnapshotError):
        for _ in tables.taking_all(broken):
            pass
    gc.collect()
    assert open_descriptors() == held


def test_the_live_table_outlasts_any_number_of_canaries() -> None:
    tables = Tables()
    live = tables.take(wire.sealed_memfd("table", an_image(1))).hash
    for number in range(2, 4 * MAX_TABLES):
        canary = tables.take(wire.sealed_memfd("table", an_image(number))).hash
        assert tables.table(canary) is not None and tables.table(live) is not None
        assert tables.descriptor(live) >= 0


def test_a_supervisor_hands_on_both_tables_of_what_a_router_held_and_of_what_lies_on_disk(tmp_path: Path) -> None:
    before = open_descriptors()
    Generations(tmp_path).write(both(seq=3), an_image(1), an_image(2))
    snapshots = Snapshots(Generations(tmp_path))
    assert snapshots.refresh() == []
    fds = [wire.sealed_memfd("x", data) for data in (encode_state(both(seq=4)), an_image(1), an_image(2))]
    snapshots.hold(wire.Holding(0, 1, 4, 1), *fds)
    held, newest = snapshots.best_first(oldest_only=False)
    for snapshot in (held, newest):
        hashes = [load_table(wire.read_fd(fd)).hash for fd in snapshot.table_fds]
        state = decode_state(wire.read_fd(snapshot.state_fd))
        assert state.canary is not None and hashes == [state.table, state.canary.table]
    snapshots.hold(wire.Holding(0, 1, 5, 1), *[wire.sealed_memfd("x", b"") for _ in range(2)])
    assert len(snapshots.best_first(oldest_only=False)[0].table_fds) == 1
    for snapshot in snapshots.best_first(oldest_only=False):
        snapshot.close()
    assert open_descriptors() == before


def test_frames_of_a_version_that_knows_one_table_are_understood() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode({"name": "held", "at": 3}), type=wire.Source).tables == 1
