"""`sipctl import`: a preview first, files only when asked, and only those that make a sound plan."""

from pathlib import Path

import pytest

from tests.cli.support import Shell, write_plan


@pytest.fixture
def dids(tmp_path: Path) -> Path:
    path = tmp_path / "dids.csv"
    path.write_text("DID,Department\n+4940100,cards\n+4940101,loans\nhello,loans\n")
    return path


COLUMNS = ("--columns", "number=DID,entry_point=Department")


def test_a_preview_writes_nothing_and_tells_what_is_left_out(shell: Shell, dids: Path, tmp_path: Path) -> None:
    ended = shell("import", "csv", str(dids), "--out", str(tmp_path / "new"), *COLUMNS)
    assert ended.code == 1
    assert "2 numbers, ranges and patterns in 2 entry points" in ended.out
    assert f"{dids}:4: left-out: hello has no +" in ended.out and "nothing is written yet" in ended.out
    assert not (tmp_path / "new").exists()


def test_what_is_written_into_a_fresh_folder_checks(shell: Shell, dids: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    assert shell("import", "csv", str(dids), "--out", str(out), "--write", *COLUMNS).code == 1
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "dialplans/imported-csv.yaml", "dialplans/numbers/imported-csv.csv", "sbc_configs/imported-csv.yaml",
    ]  # fmt: skip
    assert shell("check", str(out)).code == 0
    assert shell("fmt", str(out), "--check").code in (0, 1)
    found = shell("route", "+4940101", "--config", str(out), "-o", "json").json
    assert found["entry_point"] == "loans"


def test_numbers_join_a_plan_that_is_there(shell: Shell, dids: Path, tmp_path: Path) -> None:
    out = write_plan(tmp_path / "plan")
    options = ("--out", str(out), "--group", "acme", "--write", *COLUMNS)
    assert shell("import", "csv", str(dids), *options).code == 1
    assert not (out / "sbc_configs/imported-csv.yaml").exists()
    assert shell("check", str(out)).code == 0


def test_what_would_break_the_plan_is_not_written(shell: Shell, dids: Path, tmp_path: Path) -> None:
    out = write_plan(tmp_path / "plan")
    ended = shell("import", "csv", str(dids), "--out", str(out), "--group", "acmee", "--write", *COLUMNS)
    assert ended.code == 2 and "nothing is written" in ended.err and "acmee" in ended.out
    assert not (out / "dialplans/imported-csv.yaml").exists()


def test_json_holds_files_notes_and_findings(shell: Shell, dids: Path, tmp_path: Path) -> None:
    body = shell("import", "csv", str(dids), "--out", str(tmp_path / "new"), "-o", "json", *COLUMNS).json
    assert body["entry_points"] == {"cards": 1, "loans": 1} and body["left_out"] == 1
    assert body["files"]["dialplans/numbers/imported-csv.csv"] == "number,entry_point\n+4940100,cards\n+4940101,loans\n"
    assert [note["line"] for note in body["notes"]] == [4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("csv", "nowhere.csv"), "cannot be read"),
        (("csv", "@", "--columns", "number=Phone"), "there is no column 'Phone'"),
        (("csv", "@", "--columns", "numbr=DID"), "is not NAME=COLUMN"),
        (("cisco", "@", "--columns", "number=DID"), "--columns is for CSV"),
        (("csv", "@", "--add", "49"), "does not begin with +"),
    ],
)
def test_what_cannot_be_asked_ends_with_2(
    shell: Shell, dids: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    words = [str(dids) if word == "@" else word for word in arguments]
    ended = shell("import", *words, "--out", str(tmp_path / "new"))
    assert ended.code == 2 and said in ended.err
