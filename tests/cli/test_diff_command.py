"""`sipctl diff` as people call it: folders, revisions, the live one; what it prints and what it ends with."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipctl.control.ports import Revision
from tests.api.support import ThreadedDesk
from tests.cli.support import Shell, write_plan
from tests.dialplan.support import EDGE, PLAN, plan

FEWER = ('"+4930901821XX"]', '"+49309018219X"]')
MOVED_LISTEN = ("203.0.113.9:5060", "203.0.113.9:5070")
TOLD = "90 numbers of sales are in no entry point any more: refused with 404: +493090182100..+493090182189"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write_plan(tmp_path / "old")


def live(desk: ThreadedDesk, number: int, *swaps: tuple[str, str]) -> None:
    files = {path: data.decode() for path, data in plan(*swaps).items()}
    desk.desk.store.add_revision(Revision(number, 5.0, "mary", "CHG7", None, None, files))
    desk.desk.store.set_live(number, 6.0)


def test_two_folders_are_compared_in_terms_of_calls(shell: Shell, old: Path, tmp_path: Path) -> None:
    new = write_plan(tmp_path / "new", FEWER, MOVED_LISTEN)
    ended = shell("diff", str(old), str(new))
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[0] == f"from folder {old} to folder {new}" and lines[1] == TOLD
    assert lines[2] == "listen outside: port 5060 → 5070; advertise_port 5060 → 5070 (needs a restart)"
    assert lines[3] == "90 numbers in all meet something else; some of it needs a restart of `sipctl run`"
    assert shell("diff", "--from", str(old), "--to", str(new)).out == ended.out


def test_one_folder_is_what_would_come_and_one_revision_is_what_was(
    desk: ThreadedDesk, shell: Shell, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(desk, 7, FEWER)
    live(desk, 8)
    ended = shell("diff", str(old))
    assert (ended.code, ended.out) == (0, f"folder {old} is live revision 8, file by file\n")
    monkeypatch.chdir(old)
    ended = shell("diff", "7")
    assert ended.code == 1 and "from revision 7 to folder ." in ended.out and "90 numbers are new: routed to sales" in ended.out
    assert shell("diff", "7", "live").out.splitlines()[0] == "from revision 7 to live revision 8"
    assert shell("diff").code == 0
    assert shell("diff", "99").code == 2


def test_json_holds_the_exact_intervals(shell: Shell, old: Path, tmp_path: Path) -> None:
    new = write_plan(tmp_path / "new", FEWER)
    ended = shell("diff", str(old), str(new), "-o", "json")
    body = ended.json
    assert ended.code == 1 and body["numbers"] == 90 and body["files"] == [PLAN] and not body["same"]
    (change,) = body["changes"]
    assert (change["kind"], change["was"], change["sentence"]) == ("refused", "sales", TOLD)
    assert change["intervals"] == [{"first": "+493090182100", "last": "+493090182189", "count": 90}]
    same = shell("diff", str(old), str(old), "-o", "json")
    assert same.code == 0 and same.json.keys() == body.keys() and same.json["same"]


def test_comments_and_formatting_are_no_difference(shell: Shell, old: Path, tmp_path: Path) -> None:
    new = write_plan(tmp_path / "new", ("limits: {max_call_age: 12h}", "limits:  # of the node\n  max_call_age: 720m"))
    ended = shell("diff", str(old), str(new))
    assert ended.code == 0 and f"same calls: 1 file differs ({EDGE}), only in comments, formatting or order" in ended.out
    told = shell("diff", str(old), str(new), "--files").out
    assert "-limits: {max_call_age: 12h}" in told and "+limits:  # of the node" in told


def test_tests_of_the_plan_that_changed_are_told(shell: Shell, old: Path, tmp_path: Path) -> None:
    new = write_plan(tmp_path / "new", ("sales goes to the primary", "sales goes where it belongs"))
    ended = shell("diff", str(old), str(new))
    assert ended.code == 0 and "tests of the plan: 1 new or changed, 1 gone or changed" in ended.out


def test_a_plan_that_does_not_compile_ends_with_2_and_its_findings(shell: Shell, old: Path, tmp_path: Path) -> None:
    new = write_plan(tmp_path / "new", ("bcp: bcp\n", "bcp: bpc\n"))
    ended = shell("diff", str(old), str(new))
    assert ended.code == 2 and "plan.unknown-name" in ended.err and "does not compile" in ended.err and ended.out == ""


@pytest.mark.parametrize("arguments", [("a", "b", "--to", "c"), ("a", "--from", "b", "--to", "c"), ("nowhere",), ("a", "b")])
def test_what_is_said_twice_or_is_nowhere_is_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell("diff", *arguments).code == 2


def test_many_changes_are_cut_and_counted_unless_all_are_wanted(shell: Shell, tmp_path: Path) -> None:
    entries = "".join(f'  e{at}:\n    group: acme\n    numbers: ["+49308{at:04}"]\n' for at in range(100))
    new = write_plan(tmp_path / "new", ("entry_points:\n", f"entry_points:\n{entries}"))
    old = write_plan(tmp_path / "old")
    lines = shell("diff", str(old), str(new)).out.splitlines()
    assert len(lines) == 63 and lines[61].startswith("… and 140 more changes, 40 numbers among them")
    assert len(shell("diff", str(old), str(new), "--all").out.splitlines()) == 202
