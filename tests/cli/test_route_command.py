"""`sipctl route` of a folder, as people and programs see it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sipctl.cli import route_command
from tests.cli.support import invoke
from tests.cli.support import write_plan as write


def run(*arguments: str) -> tuple[int, str]:
    return invoke(route_command, *arguments)


def ask(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, text = run("route", *arguments, "--config", str(folder), "-o", "json")
    return code, json.loads(text)


def test_route_says_what_was_asked_first_and_where_the_call_goes(tmp_path: Path) -> None:
    code, text = run("route", "+49 30 901820", "--trunk", "one", "--config", str(write(tmp_path)))
    assert code == 0
    lines = text.splitlines()
    assert lines[0] == f"folder {tmp_path}, every SBC assumed in service"
    assert "+4930901820 is sales (exact number)" in text
    assert re.findall(r"\d\. (\S+) of", text) == ["fra-a", "fra-b", "ams-a", "ams-b"]
    assert "answer: +4930901820 is sales" in lines[-1]


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
