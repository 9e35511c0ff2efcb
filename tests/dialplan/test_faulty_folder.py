"""Every plan in tests/plans/faulty gives exactly the findings it announces, at the lines it announces, and nothing else.

A `.plan` file holds the files that differ from the sound plan of tests/dialplan/support.py, each after a line `=== PATH`. In them
the comment `# ! CODE …` says what is expected in its line; for CSV, which has no comments, the head says `# ! PATH:LINE CODE`.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.lint.explanations import EXPLANATIONS
from sipctl.dialplan.report import CODES
from tests.dialplan.support import Finding, expected, found, plan

ROOT = Path(__file__).parent.parent.parent
FAULTY = sorted((ROOT / "tests" / "plans" / "faulty").glob("*.plan"))
TODAY = date(2026, 11, 22)
BY_EXAMPLE_ONLY = {  # too large, not text, or about the whole folder: tests/dialplan/test_explanations.py proves them
    "file.not-utf8", "file.too-large", "listen.none", "plan.empty", "plan.ids", "plan.more-findings", "plan.too-many-findings",
    "schedule.horizon", "yaml.too-many",
}  # fmt: skip


def read(path: Path) -> tuple[dict[str, bytes], list[Finding]]:
    """The whole plan, and what it announces."""
    head, *parts = re.split(r"^=== (\S+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    files = plan(files=dict(zip(parts[::2], parts[1::2], strict=True)))
    told = [(place, code, int(line)) for place, line, code in re.findall(r"^# ! (\S+):(\d+) (\S+)$", head, re.MULTILINE)]
    return files, sorted(expected(files) + told)


@pytest.mark.parametrize("path", FAULTY, ids=lambda path: path.stem)
def test_faulty_plan_gives_exactly_what_it_announces(path: Path) -> None:
    files, announced = read(path)
    result = compile_plan(files, {}, revision=1, today=TODAY)
    assert found(result) == announced
    assert announced
    errors = {code for _, code, _ in announced if CODES[code][0] == "error"}
    assert result.is_applicable == (not errors)


def test_there_are_forty_of_them_and_one_for_every_code() -> None:
    assert len(FAULTY) >= 40
    proved = {code for path in FAULTY for _, code, _ in read(path)[1]}
    assert set(CODES) - proved - BY_EXAMPLE_ONLY == set()
    assert set(EXPLANATIONS) >= BY_EXAMPLE_ONLY


def test_the_example_plan_gives_none() -> None:
    folders = (ROOT / "sbc_configs", ROOT / "dialplans")
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}
    assert compile_plan(files, {}, revision=1, today=TODAY).findings == ()
