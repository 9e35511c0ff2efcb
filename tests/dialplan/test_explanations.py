"""Every finding is explained, and both of its examples are proved: the bad plan gives exactly its code, the good one nothing."""

from __future__ import annotations

from datetime import date

import pytest

from sipctl.dialplan.compile import Compiled, compile_plan
from sipctl.dialplan.lint.example import Example
from sipctl.dialplan.lint.explanations import EXPLANATIONS, explanation_lines
from sipctl.dialplan.report import CODES, is_allowable

TODAY = date(2026, 11, 22)
SUMMARIES = {  # they count what is not listed, so what is listed is there too
    "plan.too-many-findings": "number.bad",
    "plan.more-findings": "trunk.open",
}


def compiled(example: Example) -> Compiled:
    return compile_plan(example.files(), example.ids, revision=1, today=example.today or TODAY)


def test_every_code_is_explained_and_nothing_else() -> None:
    assert set(EXPLANATIONS) == set(CODES)


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_bad_example_gives_exactly_its_code(code: str) -> None:
    result = compiled(EXPLANATIONS[code].bad)
    assert {finding.code for finding in result.findings} == {code} | ({SUMMARIES[code]} if code in SUMMARIES else set())


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_good_example_gives_nothing_and_can_be_applied(code: str) -> None:
    result = compiled(EXPLANATIONS[code].good)
    assert [str(finding) for finding in result.findings] == []
    assert result.is_applicable


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_explanation_says_what_why_how_not_and_how(code: str) -> None:
    lines = explanation_lines(code)
    assert lines[0] == f"{code} ({CODES[code][0]}): {CODES[code][1]}"
    assert lines[2] == EXPLANATIONS[code].why
    assert len(lines[2]) > 40
    assert "Bad:" in lines and "Good:" in lines
    assert (f"# sipctl: allow {code} -- why" in lines[-1]) == is_allowable(code)
