"""`sipctl replay` from files to findings: two processes, records in any order, and what it says when something is wrong."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.cli.replay_input import Sorter, read_sorted
from sipctl.dialplan.replay_rows import Row
from tests.cli.support import Shell, write_plan

T_MS = 1_790_000_000_000
SALES = "+4930901820"
MOVED = (
    ('numbers: ["+4930901820", "+4930901821XX"]', 'numbers: ["+4930901821XX"]'),
    ('numbers: ["+4930901900", "5501"]', 'numbers: ["+4930901900", "+4930901820", "5501"]'),
    ("    expect: {entry_point: sales, tenant: prod}", "    expect: {entry_point: support, tenant: prod}"),
)


def line(at_s: float, number: str = SALES, trunk: str = "one", **more: Any) -> str:
    start_ms = T_MS + round(at_s * 1000)
    return json.dumps(
        {
            "type": "call", "call": f"{start_ms:x}", "call_id": f"{start_ms}@carrier", "trunk": trunk, "entry_point": "sales",
            "group": "acme", "dialled": number, "called": number, "calling": "+491701", "tenant": "prod", "role": "primary",
            "pair": "fra", "sbc": "fra-a", "start_epoch_ms": start_ms, "end": "2026-09-21T14:30:00.000Z", "sip_code": 200, **more,
        },
        separators=(",", ":"),
    )  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> Mapping[str, str]:
    """Two plans and a file of records in which sales was called ten times, not in order, and one line is damaged."""
    write_plan(tmp_path / "old")
    write_plan(tmp_path / "new", *MOVED)
    records = tmp_path / "2026-09-21.jsonl"
    lines = [line(at) for at in (5, 3, 9, 1, 0, 2, 4, 8, 7, 6)]
    lines.insert(3, '{"type":"attempt","call":"1"}')
    lines.insert(4, '{"type":"call",damaged')
    records.write_text("\n".join(lines) + "\n")
    return {"old": str(tmp_path / "old"), "new": str(tmp_path / "new"), "records": str(records)}


def test_what_moves_is_said_with_an_example(shell: Shell, folders: Mapping[str, str]) -> None:
    ended = shell("replay", folders["records"], "--old", folders["old"], "--new", folders["new"])
    assert ended.code == 1
    assert "10 calls change (100.00 %): 10 other entry point" in ended.out
    assert "sales → prod by fra-a (fra)" in ended.out and "support → prod by fra-a (fra)" in ended.out
    assert "1 records left out" in ended.out and "2026-09-21.jsonl:5: no call record" in ended.out


def test_json_says_all_of_it(shell: Shell, folders: Mapping[str, str]) -> None:
    body = shell("replay", folders["records"], "--old", folders["old"], "--new", folders["new"], "-o", "json").json
    assert (body["calls"], body["unreadable"], body["changes"]) == (10, 1, {"other entry point": 10})
    assert body["first"] == "2026-09-21T14:13:20Z" and body["last"] == "2026-09-21T14:13:29Z"
    assert body["entry_points"]["support"]["gained"] == 10
    trunk = next(peak for peak in body["peaks"] if peak["kind"] == "trunk")
    assert trunk["new"]["calls_at_once"] == 10 and trunk["new"]["calls_per_second"] == 1


def test_the_same_plan_changes_nothing_and_ends_with_0(shell: Shell, folders: Mapping[str, str]) -> None:
    ended = shell("replay", folders["records"], "--old", folders["old"], "--new", folders["old"])
    assert (ended.code, "nothing changes for any caller" in ended.out) == (0, True)


def test_a_scenario_for_the_new_plan_alone_says_what_a_failure_would_do(shell: Shell, folders: Mapping[str, str]) -> None:
    options = ("--old", folders["old"], "--new", folders["old"], "-o", "json")
    given_ = ("--given", "prod=out-of-service@2026-09-21T14:13:25..", "--only-new")
    body = shell("replay", folders["records"], *options, *given_).json
    assert body["changes"] == {"same": 5, "other tenant": 5}


def test_the_records_themselves_may_be_the_old_side(shell: Shell, folders: Mapping[str, str]) -> None:
    body = shell("replay", folders["records"], "--old", "logged", "--new", folders["new"], "-o", "json").json
    assert body["changes"] == {"other entry point": 10}


def test_csv_and_compressed_records_are_read(shell: Shell, folders: Mapping[str, str], tmp_path: Path) -> None:
    export = tmp_path / "export.csv.gz"
    export.write_bytes(gzip.compress(b"Begin;DNIS\n2026-09-21 16:13:20;+49 30 901820\nsoon;+4930901820\n"))
    options = ("--columns", "start=Begin,called=DNIS", "--trunk", "one", "--zone", "Europe/Berlin", "-o", "json")
    body = shell("replay", str(export), "--old", folders["old"], "--new", folders["new"], *options).json
    assert (body["calls"], body["unreadable"], body["first"]) == (1, 1, "2026-09-21T14:13:20Z")
    assert body["unreadable_first"] == [f"{export}:3: 'soon' is no instant such as 2026-11-23T06:00:00Z"]


def test_calls_may_be_replayed_at_another_time(shell: Shell, folders: Mapping[str, str]) -> None:
    body = shell(
        "replay", folders["records"], "--old", folders["old"], "--new", folders["old"], "--shift", "1d", "-o", "json"
    ).json
    assert body["first"] == "2026-09-22T14:13:20Z"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--new", "nowhere"], "there is no plan nowhere"),
        (["--new", "logged"], "what was logged can only be the old side"),
        (["--given", "prodd=out-of-service"], "no SBC, tenant, group, overlay or switch is called prodd"),
        (["--given", "prod=sleepy"], "prod cannot be sleepy"),
        (["--given", "prod"], "NAME=STATE is expected"),
        (["--zone", "Mars/Olympus"], "there is no time zone"),
        (["--shift", "soon"], "is no duration"),
    ],
)
def test_what_cannot_be_asked_ends_with_2_and_says_why(
    shell: Shell, folders: Mapping[str, str], arguments: list[str], said: str
) -> None:
    ended = shell("replay", folders["records"], "--old", folders["old"], "--new", folders["old"], *arguments)
    assert ended.code == 2 and said in ended.err


def test_a_plan_with_errors_ends_with_2_and_its_findings(shell: Shell, folders: Mapping[str, str], tmp_path: Path) -> None:
    write_plan(tmp_path / "bad", ("    bcp: bcp\n", "    bcp: bcpp\n"))
    ended = shell("replay", folders["records"], "--old", folders["old"], "--new", str(tmp_path / "bad"))
    assert ended.code == 2 and "no tenant is called bcpp" in ended.out and "has errors" in ended.err


def test_no_records_at_all_end_with_2(shell: Shell, folders: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("{}\n")
    ended = shell("replay", str(tmp_path / "none.jsonl"), "--old", folders["old"], "--new", folders["old"])
    assert ended.code == 2 and "there is no call in these records" in ended.err
    ended = shell("replay", "--old", folders["old"], "--new", folders["old"])
    assert ended.code == 2 and "there are no call records" in ended.err


@settings(max_examples=25, deadline=None)
@given(starts=st.lists(st.integers(0, 1000), max_size=40), run=st.integers(1, 7), most=st.integers(2, 4))
def test_rows_come_sorted_and_whole_whatever_the_runs(
    tmp_path_factory: pytest.TempPathFactory, starts: list[int], run: int, most: int
) -> None:
    sorter = Sorter(tmp_path_factory.mktemp("sorted"), run, most)
    rows: list[Row] = [(float(start), "t", str(at), "", "", 0.0, "", None) for at, start in enumerate(starts)]
    for at in range(0, len(rows), 3):
        sorter.extend(rows[at : at + 3])
    chains = sorter.finish()
    assert len(chains) <= most
    read = [row for chunk in read_sorted(chains) for row in chunk]
    assert [row[0] for row in read] == sorted(row[0] for row in rows)
    assert sorted(read) == sorted(rows)
