"""Call records: joined from a router's events, on whichever desk they arrive."""

import json
from pathlib import Path

import msgspec
import pytest

from sipctl.call.events import Answered, Attempt, CallEvent, Ended, Facts, LogLine
from sipctl.telemetry.cdr import ATTEMPT_WAIT_S, OPEN_MAX_AGE_S, CallJoiner, split_packet
from sipctl.telemetry.cdr_files import EXPIRE_EVERY_S, CdrWriter

START_S = 1_790_000_000.0  # 2026-09-21T14:13:20Z


def facts(call: str = "aa", *, role: str = "primary", ring: float = START_S + 1) -> Facts:
    return Facts(
        call_id=f"{call}@carrier", start_unix_s=START_S, trunk="carrier-one", dialled="+4930901820", called="+4930901820",
        calling="+491701234567", pai="", entry_point="acme-sales", group="acme", tenant=f"acme-{role}", role=role, pair="fra",
        sbc="fra-a", attempts=1, rule="exact", reason="acme is normal", revision=812, ring_unix_s=ring,
    )  # fmt: skip


def attempt(call: str = "aa", number: int = 1, *, role: str = "primary", status: int = 200) -> Attempt:
    outcome = "answered" if status == 200 else "no-reply"
    return Attempt(call, number, f"acme-{role}", role, "fra", "fra-a", START_S, START_S + 0.5 * number, status, outcome)


def ended(call: str = "aa", *, answered: bool = True, known: Facts | None = None, at: float = START_S + 63) -> Ended:
    return Ended(call, at, 200 if answered else 486, "OK" if answered else "Busy Here", 16 if answered else 17,
                 "caller" if answered else "refused", answered, known)  # fmt: skip


def lines_of(joiner: CallJoiner, *events: CallEvent) -> list[dict[str, object]]:
    return [line for event in events for line in joiner.feed(event, START_S)]


def test_an_answered_call_gives_an_attempt_line_and_a_call_line() -> None:
    joiner = CallJoiner("fra-1")
    first, second = lines_of(joiner, attempt(), Answered("aa", START_S + 3, facts()), ended())
    assert first == {
        "type": "attempt", "call": "aa", "node": "fra-1", "attempt_no": 1, "call_id": "aa@carrier", "trunk": "carrier-one",
        "entry_point": "acme-sales", "group": "acme", "dialled": "+4930901820", "called": "+4930901820",
        "calling": "+491701234567", "pai": "", "tenant": "acme-primary", "role": "primary", "pair": "fra", "sbc": "fra-a",
        "start": "2026-09-21T14:13:20.000Z", "start_epoch_ms": 1_790_000_000_000, "end": "2026-09-21T14:13:20.500Z",
        "duration_ms": 500, "sip_code": 200, "outcome": "answered", "retry_after_s": None,
    }  # fmt: skip
    assert second == {
        "type": "call", "call": "aa", "node": "fra-1", "call_id": "aa@carrier", "trunk": "carrier-one",
        "entry_point": "acme-sales", "group": "acme", "dialled": "+4930901820", "called": "+4930901820",
        "calling": "+491701234567", "pai": "", "tenant": "acme-primary", "role": "primary", "pair": "fra", "sbc": "fra-a",
        "attempts": 1, "rule": "exact", "reason": "acme is normal", "revision": 812, "failover": False,
        "start": "2026-09-21T14:13:20.000Z", "start_epoch_ms": 1_790_000_000_000, "ring": "2026-09-21T14:13:21.000Z",
        "answer": "2026-09-21T14:13:23.000Z", "pdd_ms": 1000, "ring_ms": 2000, "duration_ms": 60_000,
        "end": "2026-09-21T14:14:23.000Z", "answered": True, "sip_code": 200, "sip_reason": "OK", "q850_cause": 16,
        "released_by": "caller",
    }  # fmt: skip
    assert len(joiner) == 0


def test_a_call_that_crossed_says_failover_and_shows_each_target() -> None:
    joiner = CallJoiner()
    lines = lines_of(
        joiner,
        attempt(number=1, status=0),
        attempt(number=2, role="bcp"),
        Answered("aa", START_S + 3, facts(role="bcp")),
        ended(),
    )
    assert [(line["type"], line.get("attempt_no"), line["role"]) for line in lines] == [
        ("attempt", 1, "primary"), ("attempt", 2, "bcp"), ("call", None, "bcp"),
    ]  # fmt: skip
    assert lines[0]["sip_code"] is None and lines[0]["outcome"] == "no-reply"
    assert lines[2]["failover"] is True and lines[2]["attempts"] == 2


def test_a_refused_call_brings_its_facts_with_its_end() -> None:
    lines = lines_of(CallJoiner(), attempt(status=486), ended(answered=False, known=facts()))
    assert [line["type"] for line in lines] == ["attempt", "call"]
    assert lines[0]["called"] == "+4930901820"
    assert (lines[1]["answer"], lines[1]["duration_ms"], lines[1]["released_by"]) == (None, 0, "refused")


def test_an_attempt_that_ends_after_the_answer_is_written_at_once() -> None:
    joiner = CallJoiner()
    lines_of(joiner, Answered("aa", START_S, facts()))
    (line,) = lines_of(joiner, attempt(number=2))
    assert line["call_id"] == "aa@carrier"


def test_an_end_whose_facts_were_lost_still_gives_a_line() -> None:
    joiner = CallJoiner()
    (line,) = lines_of(joiner, ended())
    assert (line["type"], line["released_by"], "called" in line) == ("call", "caller", False)
    assert joiner.ends_without_facts == 1


def test_attempts_of_a_call_that_is_never_heard_of_again_are_written_bare() -> None:
    joiner = CallJoiner()
    lines_of(joiner, attempt())
    assert joiner.expire(START_S + ATTEMPT_WAIT_S - 1) == []
    (line,) = joiner.expire(START_S + ATTEMPT_WAIT_S + 1)
    assert line["sbc"] == "fra-a" and "called" not in line
    assert len(joiner) == 0


def test_an_answered_call_whose_end_was_dropped_is_closed_as_unknown_after_days() -> None:
    joiner = CallJoiner()
    lines_of(joiner, Answered("aa", START_S, facts()))
    assert joiner.expire(START_S + OPEN_MAX_AGE_S - 1) == []
    (line,) = joiner.expire(START_S + OPEN_MAX_AGE_S + 1)
    assert (line["released_by"], line["called"]) == ("unknown", "+4930901820")


def test_the_table_of_open_calls_has_a_bound() -> None:
    joiner = CallJoiner(max_open=3)
    for call in "abcde":
        lines_of(joiner, Answered(call, START_S, facts(call)))
    assert ([call for call, _ in joiner.open_calls()], joiner.evicted) == (["c", "d", "e"], 2)


def test_a_packet_holds_call_events_and_log_lines() -> None:
    packet = msgspec.msgpack.encode([attempt(), LogLine("loop-gap", START_S, "r1", {"gap_s": 0.3}), ended()])
    calls, lines = split_packet(packet)
    assert calls == [attempt(), ended()]
    assert [line.slug for line in lines] == ["loop-gap"]
    with pytest.raises(msgspec.DecodeError):
        split_packet(b"\x91\xa1x")


def read(folder: Path, day: str = "2026-09-21") -> list[dict[str, object]]:
    path = folder / f"{day}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_new_desk_joins_the_end_of_a_call_the_old_one_saw_answered(tmp_path: Path) -> None:
    old = CdrWriter(tmp_path, lambda: START_S)
    old.put(attempt())
    old.put(Answered("aa", START_S + 3, facts()))
    old.put(attempt("bb", status=0))
    old.close()
    new = CdrWriter(tmp_path, lambda: START_S + 60)
    new.put(ended())
    new.put(ended("bb", answered=False, known=facts("bb")))
    new.close()
    assert [(line["type"], line["call"]) for line in read(tmp_path)] == [
        ("attempt", "aa"), ("call", "aa"), ("attempt", "bb"), ("call", "bb"),
    ]  # fmt: skip
    third = CdrWriter(tmp_path, lambda: START_S + 61)
    third.close()
    assert third.open_calls == 0


def test_a_desk_that_died_between_line_and_journal_closes_no_call_twice(tmp_path: Path) -> None:
    old = CdrWriter(tmp_path, lambda: START_S)
    old.put(Answered("aa", START_S + 3, facts()))
    old.close()
    journal = (tmp_path / "open.jsonl").read_bytes()
    second = CdrWriter(tmp_path, lambda: START_S)
    second.put(ended())
    second.close()
    (tmp_path / "open.jsonl").write_bytes(journal + b'{"torn')
    third = CdrWriter(tmp_path, lambda: START_S)
    third.close()
    assert (third.open_calls, third.bad_journal_lines) == (0, 1)
    assert [line["type"] for line in read(tmp_path)] == ["call"]


def test_files_turn_at_midnight_utc_and_are_for_their_owner_only(tmp_path: Path) -> None:
    now = [START_S]
    for at, call in ((START_S, "aa"), (START_S + 86_400, "bb")):
        now[0] = at
        writer = CdrWriter(tmp_path / "cdr", lambda: now[0])
        writer.put(ended(call, known=facts(call)))
        writer.close()
    assert [line["call"] for line in read(tmp_path / "cdr")] == ["aa"]
    assert [line["call"] for line in read(tmp_path / "cdr", "2026-09-22")] == ["bb"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "cdr").iterdir()} == {0o600}


def test_a_disk_that_says_no_drops_lines_counts_them_and_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "2026-09-21.jsonl").symlink_to("/dev/full")
    writer = CdrWriter(tmp_path, lambda: START_S, on_failure=told.append)
    for call in ("aa", "bb", "cc"):
        writer.put(ended(call, known=facts(call)))
    writer.close()
    assert writer.dropped_lines == 3 and writer.written == 0
    assert told and "No space left" in told[0]


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "cdr").write_text("a file where the folder should be")
    told: list[str] = []
    writer = CdrWriter(tmp_path / "cdr", lambda: START_S, on_failure=told.append)
    writer.put(ended(known=facts()))
    writer.close()
    assert writer.dropped_lines == 1 and told


def test_events_beyond_the_queue_are_counted_not_waited_for(tmp_path: Path) -> None:
    writer = CdrWriter(tmp_path, lambda: START_S, max_queued=10)
    for n in range(5_000):
        writer.put(Answered(f"{n:x}", START_S, facts()))
    writer.close()
    assert writer.open_calls + writer.dropped_events == 5_000


def test_days_older_than_the_plan_keeps_are_deleted_whole_and_nothing_else(tmp_path: Path) -> None:
    days = ("2026-09-18", "2026-09-19", "2026-09-20", "2026-09-21")
    for name in (*(f"{day}.jsonl" for day in days), "2026-09-01.jsonl.gz", "notes.jsonl"):
        (tmp_path / name).write_text("{}\n")
    now = [START_S]
    told: list[str] = []
    writer = CdrWriter(tmp_path, lambda: now[0], on_removed=told.append)
    writer.keep_days(2)
    now[0] += EXPIRE_EVERY_S + 1
    writer.put(attempt())
    writer.put(ended())
    writer.close()
    assert told == ["2026-09-18"] and writer.removed_days == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "2026-09-19.jsonl", "2026-09-20.jsonl", "2026-09-21.jsonl", "2026-09-01.jsonl.gz", "notes.jsonl", "open.jsonl",
    }  # fmt: skip


def test_without_that_word_every_day_is_kept(tmp_path: Path) -> None:
    (tmp_path / "2001-01-01.jsonl").write_text("{}\n")
    now = [START_S]
    writer = CdrWriter(tmp_path, lambda: now[0])
    now[0] += EXPIRE_EVERY_S + 1
    writer.put(attempt())
    writer.close()
    assert (tmp_path / "2001-01-01.jsonl").exists() and writer.removed_days == 0
