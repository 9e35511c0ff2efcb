"""The audit chain: whatever one line of it suffers is found, and said where and why."""

import hashlib
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipctl.store.audit_chain import (
    GENESIS,
    MAX_RECORD_BYTES,
    Record,
    Verdict,
    masked_line,
    opened,
    opened_export,
    seal,
    torn_facts,
    verify,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def a_chain(count: int, first: int = 1, prev: str = GENESIS) -> list[bytes]:
    lines = []
    for number in range(first, first + count):
        line, prev = seal({"kind": "operation", "text": f"the {number}th", "actor": "ops-1"}, number, prev)
        lines.append(line)
    return lines


def judged(lines: Sequence[bytes], *, is_export: bool = False, anchors: Sequence[tuple[int, str]] = ()) -> Verdict:
    return verify([("2026-11-22.jsonl", lines)], is_export=is_export, anchors=anchors)


def hash_of(line: bytes) -> str:
    return str(json.loads(line)["hash"])


def why(lines: Sequence[bytes]) -> str:
    broken = judged(lines).broken
    assert broken is not None
    return str(broken)


@given(body=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_whatever_a_record_holds_it_is_one_line_that_opens_again(body: dict[str, object]) -> None:
    line, digest = seal(body, 7, GENESIS)
    assert line.count(b"\n") == 1 and line.isascii()
    record = opened(line[:-1])
    assert isinstance(record, Record)
    assert (record.number, record.hash, record.prev) == (7, digest, GENESIS)
    assert set(record.body) == {*(key for key in body if key != "hash"), "n", "prev"}


def test_a_whole_chain_over_several_day_files_is_told_with_its_head() -> None:
    lines = a_chain(6)
    verdict = verify([("a", lines[:2]), ("b", []), ("c", lines[2:])])
    assert verdict.broken is None
    assert (verdict.records, verdict.first, verdict.last, verdict.head) == (6, 1, 6, hash_of(lines[-1]))
    assert verify(()).broken is None


@given(data=st.data())
def test_any_changed_byte_is_found_at_its_place(data: st.DataObject) -> None:
    lines = a_chain(5)
    at = data.draw(st.integers(0, 4))
    where = data.draw(st.integers(0, len(lines[at]) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != lines[at][where]))
    changed = bytearray(b"".join(lines))
    changed[sum(map(len, lines[:at])) + where] = octet
    broken = judged(bytes(changed).splitlines(keepends=True)).broken
    assert broken is not None and broken.record is not None
    assert at + 1 <= broken.record <= at + 2


@given(data=st.data())
def test_any_line_that_is_removed_repeated_moved_or_added_is_found(data: st.DataObject) -> None:
    lines = a_chain(6)
    one, two = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 5))
    removed = [line for at, line in enumerate(lines) if at != one]  # the last one apart: see the anchors
    repeated = [*lines[: two + 1], lines[two], *lines[two + 1 :]]
    swapped = list(lines)
    swapped[one], swapped[one + 1] = swapped[one + 1], swapped[one]
    foreign = seal({"kind": "operation"}, two + 2, hash_of(lines[two]))[0]
    added = [*lines[: two + 1], foreign, *lines[two + 1 :]]
    for broken in (removed, repeated, swapped, *([added] if two < 5 else [])):
        assert judged(broken).broken is not None
    assert judged(lines).broken is None


@given(junk=st.binary(max_size=40), at=st.integers(0, 4))
def test_junk_between_records_is_found(junk: bytes, at: int) -> None:
    lines = a_chain(5)
    assert judged((b"".join(lines[:at]) + junk + b"\n" + b"".join(lines[at:])).splitlines(keepends=True)).broken is not None


def test_each_kind_of_damage_has_its_words() -> None:
    lines = a_chain(4)
    changed = lines[1].replace(b"2th", b"9th")
    assert "2026-11-22.jsonl:2: record 2: its bytes do not give its hash" in why([lines[0], changed, *lines[2:]])
    assert "2026-11-22.jsonl:2: record 4: records 2 to 3 are missing before it" in why([lines[0], lines[3]])
    assert "record 2: record 3 should stand here" in why([*lines[:2], lines[1], *lines[2:]])
    assert "record 1 is missing before it" in why(lines[1:])


def test_a_record_that_was_written_anew_with_a_right_hash_breaks_the_link_behind_it() -> None:
    lines = a_chain(4)
    forged = seal({"kind": "operation", "text": "nothing happened"}, 2, hash_of(lines[0]))[0]
    assert "record 3: it does not link to record 2 as that stands" in why([lines[0], forged, *lines[2:]])


def test_a_cut_end_and_a_chain_written_anew_are_found_by_heads_told_elsewhere() -> None:
    lines = a_chain(5)
    heads = [(3, hash_of(lines[2])), (5, hash_of(lines[4]))]
    assert judged(lines, anchors=heads).anchors == 2
    assert judged(lines[:4]).broken is None, "the chain alone cannot know"
    cut = judged(lines[:4], anchors=heads).broken
    assert cut is not None and "ends at record 4, but record 5 was told elsewhere" in cut.why
    anew = judged(a_chain(5, prev=GENESIS), anchors=[(3, "f" * 64)]).broken
    assert anew is not None and (anew.record, "written anew" in anew.why) == (3, True)


@pytest.mark.parametrize("cut", [1, 40, 75, 100])
def test_a_write_cut_short_stays_and_is_covered_by_the_record_behind_it(cut: int) -> None:
    lines = a_chain(3)
    torn = lines[2][:cut]
    ended = judged([*lines[:2], torn]).broken
    assert ended is not None and ended.is_torn_end and "cut short" in ended.why
    mending = seal({"kind": "torn", "torn": torn_facts(torn)}, 3, hash_of(lines[1]))[0]
    whole = [*lines[:2], torn + b"\n", mending]
    verdict = judged(whole)
    assert (verdict.broken, verdict.torn) == (None, 1)
    for altered in (
        [*lines[:2], torn[:-1] + b"\n", mending],
        [*lines[:2], torn + b"x\n", mending],
        [*lines[:2], torn + b"\n", b"\n", mending],
        [*lines[:2], mending],
        [*lines[:2], torn + b"\n"],
        [*lines[:2], torn + b"\n", lines[2]],
    ):
        broken = judged(altered).broken
        assert broken is not None and not (broken.is_torn_end and len(altered) > 3)


def test_gaps_that_records_tell_of_are_counted() -> None:
    first, one = seal({"kind": "gap", "missing": 12}, 1, GENESIS)
    assert judged([first, seal({"kind": "gap", "missing": 3}, 2, one)[0]]).missing == 15


def test_a_record_that_is_too_long_keeps_a_digest_of_what_it_leaves_out() -> None:
    files = {"huge": "x" * (2 * MAX_RECORD_BYTES)}
    line, _ = seal({"kind": "operation", "args": files, "text": "small"}, 1, GENESIS)
    assert len(line) < 1000
    record = opened(line[:-1])
    assert isinstance(record, Record)
    raw = json.dumps(files, sort_keys=True, separators=(",", ":")).encode()
    assert record.body["args"] == {"omitted_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


@pytest.mark.parametrize(
    ("name", "value"), [("force", ["\U0001f600" * 2000] * 20), ("groups", ["g" * 300] * 1000), ("op", "x" * 300_000)]
)
def test_whichever_field_of_an_entry_is_too_long_it_is_a_record(name: str, value: object) -> None:
    record = opened(seal({"kind": "operation", name: value, "text": "small"}, 1, GENESIS)[0][:-1])
    assert isinstance(record, Record)
    assert set(record.body[name]) == {"omitted_bytes", "sha256"} and record.body["text"] == "small"


def test_an_export_may_begin_later_and_a_masked_one_keeps_its_links() -> None:
    lines = a_chain(5)
    assert judged(lines[2:], is_export=True).broken is None
    masked = []
    for line in lines[2:]:
        record = opened(line[:-1])
        assert isinstance(record, Record)
        masked.append(masked_line(record, {"text": "***"}))
    verdict = judged(masked, is_export=True)
    assert (verdict.broken, verdict.masked, verdict.first, verdict.last) == (None, 3, 3, 5)
    assert judged([masked[0], masked[2]], is_export=True).broken is not None
    assert judged([*lines[:2], *masked]).broken is not None, "where the audit itself lies nothing is masked"
    assert isinstance(opened_export(masked[0][:-1]), Record)
