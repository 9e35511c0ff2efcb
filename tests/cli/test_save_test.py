"""`route --save-as-test`: what was asked and answered becomes a test that `check` runs and that passes."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from sipctl.cli import check_command, route_command
from sipctl.cli.save_test import save_test, the_test
from tests.cli.support import invoke
from tests.cli.support import write_plan as write
from tests.dialplan.support import PLAN


def save(folder: Path, *arguments: str, into: str = PLAN) -> tuple[int, str]:
    return invoke(
        route_command, "route", *arguments, "--trunk", "one", "--config", str(folder), "--save-as-test", str(folder / into)
    )


def check(folder: Path) -> tuple[int, str]:
    return invoke(check_command, "check", str(folder))


@pytest.mark.parametrize(
    ("arguments", "code", "lines"),
    [
        (["+4930901820"], 0, ['called: "+4930901820", sbcs: [fra-a, fra-b, ams-a, ams-b]}']),
        (["+4930901820", "--given", "prod=out-of-service"], 0, ["given: {tenants: {prod: out-of-service}}", "while prod is out"]),
        (
            ["+493090182107", "--from", "+49221", "--given", "fra-a=draining"],
            0,
            ['from: "+49221"', "sbcs: [fra-b, ams-a, ams-b]"],
        ),
        (["+4999"], 1, ["+4999 is refused with 404", "refused: {code: 404, cause: 1}"]),
    ],
)
def test_saved_test_stands_in_the_plan_and_passes(tmp_path: Path, arguments: list[str], code: int, lines: list[str]) -> None:
    folder = write(tmp_path)
    before = (folder / PLAN).read_text()
    ended, text = save(folder, *arguments)
    after = (folder / PLAN).read_text()
    assert ended == code and text.splitlines()[-1].startswith(f"saved in {folder.resolve()}/{PLAN}: ")
    assert after.startswith(before) and all(line in after for line in lines)
    assert check(folder)[0] == 0


def test_saved_test_fails_once_the_plan_answers_otherwise(tmp_path: Path) -> None:
    folder = write(tmp_path)
    save(folder, "+4930901820", "--test-name", "sales is sales")
    text = (folder / PLAN).read_text().replace('["+4930901820", "+4930901821XX"]', '["+4930901821XX"]')
    (folder / PLAN).write_text(text)
    code, told = check(folder)
    assert code == 1 and "test.failed: sales is sales" in told


def test_new_file_of_the_plan_may_be_named(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert save(folder, "+4930901820", into="dialplans/more.yaml")[0] == 0
    assert (folder / "dialplans/more.yaml").read_text().startswith("tests:\n  - name: ")
    assert check(folder)[0] == 0


@pytest.mark.parametrize(
    ("into", "why"),
    [
        ("sbc_configs/edge.yaml", "is no YAML file in"),
        ("tests.yaml", "is no YAML file in"),
        ("dialplans/tests.csv", "is no YAML file in"),
        ("dialplans/.hidden.yaml", "is no YAML file in"),
        ("dialplans/none/tests.yaml", "there is no folder"),
    ],
)
def test_file_that_check_would_not_read_is_refused(tmp_path: Path, into: str, why: str) -> None:
    folder = write(tmp_path)
    files = sorted(folder.rglob("*"))
    code, text = save(folder, "+4930901820", into=into)
    assert code == 2 and why in text
    assert sorted(folder.rglob("*")) == files


def test_answer_the_folder_would_not_give_is_not_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    before = (folder / PLAN).read_bytes()
    body = {"number": "+4930901820", "trunk": "one", "from": None, "refused": 486, "q850_cause": 17}
    with pytest.raises(typer.Exit) as ended:
        save_test(folder / PLAN, None, the_test(body, None))
    assert ended.value.exit_code == 1 and "in this folder the test fails: the call is not refused" in capsys.readouterr().err
    assert (folder / PLAN).read_bytes() == before


def test_file_keeps_its_mode_and_its_byte_order_mark(tmp_path: Path) -> None:
    folder = write(tmp_path)
    path = folder / PLAN
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    path.chmod(0o640)
    assert save(folder, "+4930901820")[0] == 0
    assert path.read_bytes().startswith(b"\xef\xbb\xbfcontinuity_groups") and path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in path.parent.iterdir()] == ["plan.yaml"]
