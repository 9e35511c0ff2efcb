"""`sipctl check`, `route` of a folder and `schema`, as people and programs see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sipctl.cli import plan_commands
from sipctl.dialplan.schema import finding_codes, plan_keys, schemas
from sipctl.model.edge import EdgeDocument
from tests.dialplan.support import plan

ROOT = Path(__file__).parent.parent.parent
RUNNER = CliRunner()


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    plan_commands.register(app)
    result = RUNNER.invoke(app, list(arguments))
    return result.exit_code, result.output


def write(folder: Path, *swaps: tuple[str, str]) -> Path:
    for path, data in plan(*swaps).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


# -- check -----------------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "-o", "sarif"], [".", "-o", "xml"], [".", "--fail-on", "note"]])
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    assert run("check", *arguments)[0] == 2


def test_orders_for_the_terminal_in_a_plan_are_spelled_out(tmp_path: Path) -> None:
    folder = write(tmp_path, ("    bcp: bcp\n", '    bcp: "\\x1b[2Jx"\n'))
    assert "\x1b" not in run("check", str(folder))[1]


# -- route -----------------------------------------------------------------------------------------------------------------------


def ask(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, text = run("route", *arguments, "--config", str(folder), "-o", "json")
    return code, json.loads(text)


def test_route_says_what_was_asked_first_and_where_the_call_goes(tmp_path: Path) -> None:
    code, text = run("route", "+49 30 901820", "--trunk", "one", "--config", str(write(tmp_path)))
    assert code == 0
    lines = text.splitlines()
    assert lines[0] == f"folder {tmp_path}, every SBC assumed in service"
    assert "+4930901820 is sales (exact number)" in text
    assert [line.split()[1] for line in lines if line[:1].isdigit()] == ["fra-a", "fra-b", "ams-a", "ams-b"]


def test_route_assumes_what_is_given(tmp_path: Path) -> None:
    code, body = ask(
        write(tmp_path), "+4930901820", "--trunk", "one", "--given", "prod=out-of-service", "--given", "ams-a=unknown"
    )
    assert code == 0
    assert (body["tenant"], body["side"]) == ("bcp", "bcp")
    assert [target["sbc"] for target in body["targets"]] == ["ams-b", "ams-a"]
    assert body["asked"].endswith("every SBC assumed in service but prod=out-of-service, ams-a=unknown")


def test_refused_call_ends_with_1_and_its_status(tmp_path: Path) -> None:
    code, body = ask(write(tmp_path), "+4999", "--trunk", "one")
    assert code == 1
    assert (body["refused"], body["q850_cause"], body["targets"]) == (404, 1, [])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--trunk", "two"],
        ["--trunk", "one", "--given", "nobody=out-of-service"],
        ["--trunk", "one", "--given", "fra-a=dead"],
        ["--trunk", "one", "--at", "2026-12-24T20:00"],
    ],
)
def test_question_that_cannot_be_asked_ends_with_2(tmp_path: Path, arguments: list[str]) -> None:
    assert run("route", "+4930901820", "--config", str(write(tmp_path)), *arguments)[0] == 2


def test_faulty_folder_is_told_with_its_findings(tmp_path: Path) -> None:
    code, text = run(
        "route", "+4930901820", "--trunk", "one", "--config", str(write(tmp_path, ("    bcp: bcp\n", "    bcp: bcpp\n")))
    )
    assert code == 2
    assert "plan.unknown-name" in text


def test_given_without_a_folder_ends_with_2() -> None:
    assert run("route", "+4930901820", "--given", "prod=out-of-service")[0] == 2


# -- schema ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["sbc_configs", "dialplans"])
def test_schema_that_is_checked_in_is_current(folder: str) -> None:
    stored = json.loads((ROOT / "sipctl" / "schemas" / f"{folder}.schema.json").read_text())
    assert stored == schemas()[folder]
    code, text = run("schema", folder)
    assert code == 0
    assert json.loads(text) == stored


def test_documents_made_from_the_code_are_current() -> None:
    assert (ROOT / "docs" / "plan-keys.md").read_text() == plan_keys() == run("schema", "--markdown")[1]
    assert (ROOT / "docs" / "findings.md").read_text() == finding_codes() == run("schema", "--findings")[1]


def test_every_key_has_a_type_and_a_meaning() -> None:
    rows = [line.split(" | ") for line in plan_keys().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert all(len(row) == 7 and row[1].strip() and row[6].strip(" |") for row in rows)


def test_unknown_schema_ends_with_2() -> None:
    assert run("schema", "dialplan")[0] == 2


def test_schema_refers_to_every_model_it_defines() -> None:
    schema = EdgeDocument.model_json_schema()
    text = json.dumps(schema)
    assert all(f"#/$defs/{name}" in text for name in schema["$defs"])
