"""`sipctl numbers` as people call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import Shell, write_plan

ROWS = "number,entry_point,called_at.primary,called_at.bcp"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sound plan, in the folder the shell is in."""
    folder = write_plan(tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


def test_where_names_the_line_and_what_is_next_to_it(shell: Shell, here: Path) -> None:
    ended = shell("numbers", "where", "+49 30 901 821 55")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "+493090182155 in folder ."
    assert lines[1] == "dialplans/plan.yaml:9:30: sales, group acme has it by pattern +4930901821XX"
    assert lines[3] == "    dialled at the primary: +493090182155, as called; at BCP: +493090182155, as called"
    assert lines[4] == "next below: +493090182154 of sales, dialplans/plan.yaml:9:30"
    nobody = shell("numbers", "where", "+4930901850")
    assert nobody.code == 1 and "nobody has it" in nobody.out and "next above: +4930901900 of support" in nobody.out


def test_where_speaks_json(shell: Shell, here: Path) -> None:
    body = shell("numbers", "where", "5501", "-o", "json").json
    (holder,) = body["holders"]
    assert (holder["path"], holder["line"], holder["entry_point"], holder["wins"]) == ("dialplans/plan.yaml", 12, "support", True)
    assert body["near"] == {"below": None, "above": None} and not body["clash"]


def test_where_finds_a_clash_in_a_plan_that_does_not_compile(shell: Shell, tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "clash", ('"5501"]', '"5501", "+4930901820"]'))
    ended = shell("numbers", "where", "+4930901820", "--config", str(folder))
    assert ended.code == 1 and "several have it with the same precedence" in ended.out and "and clashes" in ended.out


def test_list_is_filtered_and_bounded(shell: Shell, here: Path) -> None:
    told = shell("numbers", "list").out
    assert "+493090182100..+493090182199" in told and "5501 (by pbx)" in told and told.endswith("103 numbers\n")
    body = shell("numbers", "list", "--entry-point", "sales", "-n", "1", "-o", "json").json
    assert body["numbers"] == 101 and len(body["rows"]) == 1 and body["rows_left_out"] == 1
    assert shell("numbers", "list", "--prefix", "+1").code == 1
    wrong = shell("numbers", "list", "--tenant", "prd")
    assert wrong.code == 2 and "did you mean prod?" in wrong.err


def test_export_writes_csv_that_is_a_number_file(shell: Shell, here: Path) -> None:
    lines = shell("numbers", "export").out.splitlines()
    assert lines == [ROWS, "+4930901821XX,sales,,", "+4930901820,sales,,", "+4930901900,support,,", "5501,support,,"]
    flat = shell("numbers", "export", "--flat", "--group", "acme").out.splitlines()
    assert "+493090182100..+493090182199,sales,," in flat
    assert shell("numbers", "export", "--entry-point", "support", "--prefix", "+").out.splitlines() == [
        ROWS,
        "+4930901900,support,,",
    ]


@pytest.mark.parametrize("number", ["+49301XX", "", "+0"])
def test_what_is_no_number_ends_with_2(shell: Shell, here: Path, number: str) -> None:
    assert shell("numbers", "where", number).code == 2


def test_a_plan_with_errors_has_no_list(shell: Shell, tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "wrong", ("bcp: bcp\n", "bcp: bpc\n"))
    for command in ("list", "export"):
        ended = shell("numbers", command, "--config", str(folder))
        assert ended.code == 2 and "plan.unknown-name" in ended.err and ended.out == ""
