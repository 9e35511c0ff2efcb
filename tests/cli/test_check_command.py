"""`sipctl check`, as people and programs see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipctl.cli import check_command
from tests.cli.support import invoke
from tests.cli.support import write_plan as write


def run(*arguments: str) -> tuple[int, str]:
    return invoke(check_command, *arguments)


def test_sound_plan_ends_with_0_and_one_line(tmp_path: Path) -> None:
    code, text = run("check", str(write(tmp_path)))
    assert code == 0
    assert text.startswith("no findings in 2 files (4 numbers, ranges and patterns, ")
    assert text.count("\n") == 1


def test_finding_shows_place_line_caret_and_hint(tmp_path: Path) -> None:
    code, text = run("check", str(write(tmp_path, ("    bcp: bcp\n", "    bcp: bcpp\n"))))
    assert code == 1
    lines = text.splitlines()
    assert lines[:5] == [
        f"{tmp_path}/dialplans/plan.yaml:4:10: error plan.unknown-name: no tenant is called bcpp",
        "  |",
        "4 |     bcp: bcpp",
        "  |          ^^^^",
        "  = hint: did you mean bcp?",
    ]
    assert lines[5].startswith("1 error, 0 warnings in 2 files")


def test_warnings_fail_only_when_asked(tmp_path: Path) -> None:
    folder = str(write(tmp_path, ("    sources: [198.51.100.0/28]", "    sources: [0.0.0.0/0]")))
    assert run("check", folder)[0] == 0
    assert run("check", folder, "--fail-on", "warning")[0] == 1


def test_json_names_every_part_of_a_finding(tmp_path: Path) -> None:
    code, text = run("check", str(write(tmp_path, ("    bcp: bcp\n", "    bcp: bcpp\n"))), "-o", "json")
    body = json.loads(text)
    assert code == 1
    assert (body["errors"], body["warnings"], body["files"]) == (1, 0, 2)
    assert body["findings"] == [
        {
            "path": "dialplans/plan.yaml", "line": 4, "column": 10, "code": "plan.unknown-name", "severity": "error",
            "message": "no tenant is called bcpp", "hint": "did you mean bcp?", "excerpt": "    bcp: bcpp",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "-o", "xml"], [".", "--fail-on", "note"]])
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    assert run("check", *arguments)[0] == 2


def test_orders_for_the_terminal_in_a_plan_are_spelled_out(tmp_path: Path) -> None:
    folder = write(tmp_path, ("    bcp: bcp\n", '    bcp: "\\x1b[2Jx"\n'))
    assert "\x1b" not in run("check", str(folder))[1]


# -- other formats ---------------------------------------------------------------------------------------------------------------


def test_sarif_and_github_tell_the_same_findings_with_the_folder_in_front(tmp_path: Path) -> None:
    folder = write(tmp_path, ("    bcp: bcp\n", "    bcp: bcpp\n"))
    code, text = run("check", str(folder), "-o", "sarif")
    (result,) = json.loads(text)["runs"][0]["results"]
    assert code == 1
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == f"{folder}/dialplans/plan.yaml"
    code, text = run("check", str(folder), "-o", "github")
    assert code == 1
    assert text.startswith(f"::error title=plan.unknown-name,file={folder}/dialplans/plan.yaml,line=4,col=10,endColumn=13::")


def test_plan_without_findings_is_silent_for_github_and_empty_for_sarif(tmp_path: Path) -> None:
    folder = str(write(tmp_path))
    assert run("check", folder, "-o", "github") == (0, "")
    code, text = run("check", folder, "-o", "sarif")
    assert code == 0
    assert json.loads(text)["runs"][0]["results"] == []


# -- explain and allow -----------------------------------------------------------------------------------------------------------


def test_explain_tells_what_why_and_both_examples() -> None:
    code, text = run("check", "--explain", "group.same-tenant")
    assert code == 0
    assert text.startswith("group.same-tenant (error): primary and BCP tenant are the same\n")
    assert "    acme: {primary: prod, bcp: prod" in text
    assert "no comment lets it stand" in text


def test_explain_of_an_unknown_code_names_the_nearest_and_ends_with_2() -> None:
    code, text = run("check", "--explain", "group.same-tennant")
    assert code == 2
    assert "did you mean group.same-tenant?" in text


def test_allowed_findings_are_counted(tmp_path: Path) -> None:
    swap = ("    sources: [198.51.100.0/28]", "    sources: [0.0.0.0/0] # sipctl: allow trunk.open -- a lab")
    folder = str(write(tmp_path, swap))
    code, text = run("check", folder, "--fail-on", "warning")
    assert code == 0
    assert text.startswith("no findings, 1 allowed in 2 files")
    assert json.loads(run("check", folder, "-o", "json")[1])["allowed"] == 1


def test_secret_is_pointed_at_and_never_printed(tmp_path: Path) -> None:
    folder = write(tmp_path, ("    trunks: [one, pbx]\n", "    trunks: [one, pbx]\n    labels: {password: hunter2hunter2}\n"))
    for output in ("text", "json", "sarif", "github"):
        text = run("check", str(folder), "-o", output)[1]
        assert "plan.secret" in text
        assert "hunter2" not in text
