"""`check --coverage`: what no test of a plan reaches, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

from sipctl.cli import check_command
from tests.cli.support import invoke
from tests.cli.support import write_plan as write


def check(folder: Path, *arguments: str) -> tuple[int, str]:
    return invoke(check_command, "check", str(folder), "--coverage", *arguments)


def test_percentage_and_list_come_after_the_findings(tmp_path: Path) -> None:
    code, text = check(write(tmp_path))
    lines = text.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("coverage "))
    assert code == 0 and "no findings in" in lines[at - 1]
    assert lines[at] == "coverage 30.0 %: 1 test reaches 3 of 10 entry points, rules and branches"
    assert lines[at + 1 :] == [
        "  not reached: sales: pattern +4930901821XX",
        "  not reached: sales: bcp",
        "  not reached: support: no test calls it",
        "  not reached: a number nobody has is refused",
    ]


def test_programs_get_the_same_beside_the_findings(tmp_path: Path) -> None:
    code, text = check(write(tmp_path), "-o", "json")
    body = json.loads(text)
    assert (code, body["errors"], body["coverage"]["percent"], body["coverage"]["tests"]) == (0, 0, 30.0, 1)
    assert {"kind": "rule", "entry_point": "sales", "name": "pattern +4930901821XX"} in body["coverage"]["missing"]


def test_plan_that_does_not_compile_has_findings_and_no_coverage(tmp_path: Path) -> None:
    code, text = check(write(tmp_path, ("    bcp: bcp\n", "    bcp: bcpp\n")))
    assert code == 1 and "coverage" not in text


def test_formats_that_hold_findings_alone_take_no_coverage(tmp_path: Path) -> None:
    assert check(write(tmp_path), "-o", "sarif")[0] == 2
