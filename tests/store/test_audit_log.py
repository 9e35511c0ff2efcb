"""The audit on disk: whole after a crash at any byte, by several processes at once, on a full disk."""

import fcntl
import os
import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sipctl.control.audit import AuditEntry
from sipctl.errors import StoreError
from sipctl.store.audit_chain import MAX_RECORD_BYTES
from sipctl.store.audit_log import AuditLog, Head, day_files
from sipctl.store.audit_writer import AuditWriter

NOON_S = 1_795_348_800.0  # 2026-11-22 12:00 UTC
DAY_S = 86_400.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def an_entry(text: str) -> AuditEntry:
    return AuditEntry("operation", "failover", "ops-1", text, NOON_S, reason="CHG0042", groups=("acme",))


def written(folder: Path, *texts: str, at_s: float = NOON_S) -> Head:
    return AuditLog(folder).append([{"kind": "operation", "text": text} for text in texts], at_s)


@contextmanager
def a_disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes in this process: a write stops there, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_of_several_days_and_openings_are_one_chain(folder: Path) -> None:
    log = AuditLog(folder)
    assert log.head() == Head() and log.verify().broken is None
    written(folder, "one", "two")
    written(folder, "three", at_s=NOON_S + DAY_S)
    written(folder, "four", at_s=NOON_S)  # the clock went back: days never do
    head = written(folder, "five", at_s=NOON_S + 2 * DAY_S)
    assert [path.name for path in day_files(folder)] == ["2026-11-22.jsonl", "2026-11-23.jsonl", "2026-11-24.jsonl"]
    verdict = log.verify(anchors=[(head.number, head.hash)])
    assert (verdict.broken, verdict.records, verdict.head, verdict.anchors) == (None, 5, head.hash, 1)
    assert log.head() == head
    assert [record.body["text"] for record in log.records()] == ["five", "four", "three", "two", "one"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in day_files(folder))


def test_a_day_file_that_is_gone_is_found(folder: Path) -> None:
    for day in range(3):
        written(folder, f"day {day}", at_s=NOON_S + day * DAY_S)
    day_files(folder)[1].unlink()
    broken = AuditLog(folder).verify().broken
    assert broken is not None and "record 2 is missing" in broken.why and broken.file == "2026-11-24.jsonl"


@pytest.mark.parametrize("days_on", [0, 1])
def test_after_a_crash_at_any_byte_of_a_write_the_chain_goes_on_and_says_so(folder: Path, days_on: int) -> None:
    written(folder, "one")
    path = day_files(folder)[0]
    first = path.read_bytes()
    written(folder, "two")
    whole = path.read_bytes()
    for size in range(len(first), len(whole) + 1):
        for left in day_files(folder):
            left.unlink()
        path.write_bytes(whole[:size])
        torn = whole[len(first) : size]
        is_complete = size >= len(whole) - 1
        ended = AuditLog(folder).verify().broken
        assert (ended is None) == (is_complete or not torn)
        head = written(folder, "three", at_s=NOON_S + days_on * DAY_S)
        verdict = AuditLog(folder).verify()
        assert verdict.broken is None, (size, verdict)
        assert verdict.torn == (0 if is_complete or not torn else 1)
        assert head.number == 2 + (1 if torn else 0)
        assert is_complete or torn in path.read_bytes(), "never silently cut"


def test_a_crash_while_a_torn_end_was_being_recorded_is_recorded_too(folder: Path) -> None:
    written(folder, "one")
    path = day_files(folder)[0]
    first = path.read_bytes()
    path.write_bytes(first + b'{"hash":"12')
    written(folder, "two")
    whole = path.read_bytes()
    for size in range(len(first) + 12, len(whole), 7):
        path.write_bytes(whole[:size])
        written(folder, "again")
        assert AuditLog(folder).verify().broken is None, size


def test_a_file_of_junk_alone_is_kept_and_told(folder: Path) -> None:
    written(folder, "one")
    (folder / "2026-11-23.jsonl").write_bytes(b"\x00" * 4096)
    written(folder, "two", at_s=NOON_S + DAY_S)
    verdict = AuditLog(folder).verify()
    assert (verdict.broken, verdict.torn, verdict.last) == (None, 1, 3)


def test_a_disk_that_is_full_leaves_nothing_half_written(folder: Path) -> None:
    written(folder, "one")
    size = day_files(folder)[0].stat().st_size
    log = AuditLog(folder)
    for room in (0, 1, 100):
        with a_disk_of(size + room), pytest.raises(StoreError, match="writing the audit"):
            log.append([{"kind": "operation", "text": "x" * 500}], NOON_S)
        assert day_files(folder)[0].stat().st_size == size
    assert log.append([{"kind": "operation", "text": "two"}], NOON_S).number == 2
    assert log.verify().broken is None


def test_processes_that_write_at_once_and_are_killed_make_one_whole_chain(folder: Path) -> None:
    children = []
    for name in range(3):
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            log = AuditLog(folder)
            for count in range(100_000):
                log.append([{"kind": "operation", "text": f"{name} {count}"}], NOON_S)
                if count == 3:
                    os.write(told, b"1")
            os._exit(0)
        os.close(told)
        children.append((pid, ready))
    for _, ready in children:
        assert os.read(ready, 1) == b"1"
        os.close(ready)
    for pid, _ in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    written(folder, "after them")
    verdict = AuditLog(folder).verify()
    assert verdict.broken is None and verdict.records >= 13
    texts = {str(record.body.get("text")) for record in AuditLog(folder).records()}
    assert {f"{name} {count}" for name in range(3) for count in range(4)} <= texts


def test_a_holder_of_the_lock_that_hangs_is_an_error_not_a_wait_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, "one")
    monkeypatch.setattr("sipctl.store.audit_log.LOCK_WAIT_S", 0.02)
    with (folder / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another process has held its lock"):
            written(folder, "two")
    assert written(folder, "two").number == 2


def test_a_full_disk_is_told_decisions_wait_in_a_bounded_queue_and_a_gap_says_how_many_are_missing(folder: Path) -> None:
    states: list[str] = []
    heard = threading.Condition()

    def on_state(text: str) -> None:
        with heard:
            states.append(text)
            heard.notify_all()

    written(folder, "before")
    with a_disk_of(day_files(folder)[0].stat().st_size):
        writer = AuditWriter(
            AuditLog(folder),
            lambda: NOON_S,
            role="controller",
            pid=47,
            build="sipctl 9",
            on_state=on_state,
            max_waiting=5,
            retry_s=0.005,
        )
        for count in range(5):
            writer.put(an_entry(f"kept {count}"))
        for count in range(4):
            writer.put(an_entry(f"lost {count}"))
        with heard:
            assert heard.wait_for(lambda: bool(states), 5)
        assert (writer.dropped, writer.waiting) == (4, 5)
    with heard:
        assert heard.wait_for(lambda: states[-1] == "", 5)
    writer.put(an_entry("after"))
    writer.close()
    texts = [record.body for record in reversed(list(AuditLog(folder).records()))]
    assert [body["text"] for body in texts[1:6]] == [f"kept {count}" for count in range(5)]
    assert texts[6]["missing"] == 4 and "4 entries could not be kept" in texts[6]["text"]
    assert texts[7]["text"] == "after" and len(texts) == 8
    verdict = AuditLog(folder).verify()
    assert (verdict.broken, verdict.missing) == (None, 4)
    assert "entries wait, decisions go on" in states[0]
    assert {key: texts[1][key] for key in ("by", "build", "actor", "groups", "at")} == {
        "by": "controller/47", "build": "sipctl 9", "actor": "ops-1", "groups": ["acme"], "at": "2026-11-22T12:00:00.000000Z",
    }  # fmt: skip


def test_an_entry_that_cannot_be_a_record_is_a_gap_and_stops_none_of_the_others(folder: Path) -> None:
    states: list[str] = []
    writer = AuditWriter(AuditLog(folder), lambda: NOON_S, role="desk", pid=48, build="sipctl 9", on_state=states.append)
    huge = AuditEntry("operation", "failover", "ops-1", "huge", NOON_S, id="x" * (2 * MAX_RECORD_BYTES))
    for entry in (an_entry("one"), huge, an_entry("two")):
        writer.put(entry)
    writer.close()
    bodies = [record.body for record in reversed(list(AuditLog(folder).records()))]
    assert [body["kind"] for body in bodies] == ["operation", "gap", "operation"]
    assert [body["text"] for body in bodies][::2] == ["one", "two"]
    assert "an entry (failover) cannot be a record" in bodies[1]["text"] and bodies[1]["args"]["actor"] == "ops-1"
    assert (writer.dropped, writer.written, writer.waiting) == (1, 3, 0)
    verdict = AuditLog(folder).verify()
    assert (verdict.broken, verdict.missing) == (None, 1)
    assert len(states) == 1 and "cannot be a record" in states[0]


class _Ailing(AuditLog):
    """A log whose every write fails as no disk does, until it is well."""

    ails = True

    def append(self, bodies: Sequence[Mapping[str, Any]], unix_s: float) -> Head:
        if self.ails:
            raise ValueError("ails")
        return super().append(bodies, unix_s)


def test_a_failure_that_is_no_disks_loses_nothing_and_is_told(folder: Path) -> None:
    heard, states = threading.Event(), list[str]()
    log = _Ailing(folder)

    def on_state(text: str) -> None:
        states.append(text)
        heard.set()

    writer = AuditWriter(log, lambda: NOON_S, role="desk", pid=48, build="sipctl 9", on_state=on_state, retry_s=0.005)
    writer.put(an_entry("one"))
    assert heard.wait(5) and "ails" in states[0]
    log.ails = False
    writer.put(an_entry("two"))
    writer.close()
    assert [record.body["text"] for record in log.records()] == ["two", "one"]
    assert states[-1] == ""
