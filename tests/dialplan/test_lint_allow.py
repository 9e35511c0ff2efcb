"""Findings somebody lets stand: where the comment may be, what it must say, and what becomes of it."""

from __future__ import annotations

import pytest

from sipctl.dialplan.compile import Compiled, compile_plan
from sipctl.dialplan.report import CODES, is_allowable
from tests.dialplan.support import CSV, compiled, found, plan

OPEN = ("    sources: [198.51.100.0/28]\n", "    sources: [0.0.0.0/0]\n")


def with_comment(text: str) -> Compiled:
    return compiled((OPEN[0], OPEN[1].replace("\n", f" {text}\n")))


def codes(result: Compiled) -> list[tuple[str, int]]:
    return [(code, line) for _, code, line in found(result)]


def test_comment_behind_a_value_lets_its_finding_stand() -> None:
    assert codes(with_comment("# sipctl: allow trunk.open -- the lab has no fixed addresses")) == []


def test_comment_above_speaks_for_the_next_line_that_is_none() -> None:
    above = "    # sipctl: allow trunk.open -- a lab\n    # and another remark\n" + OPEN[1]
    assert codes(compiled((OPEN[0], above))) == []


def test_comment_above_does_not_speak_for_the_line_after_the_next() -> None:
    above = OPEN[1].replace("    sources", "    # sipctl: allow trunk.open -- a lab\n    max_cps: 5\n    sources")
    assert codes(compiled((OPEN[0], above))) == [("allow.unused", 7), ("trunk.open", 9)]


def test_one_comment_may_name_several_codes() -> None:
    swaps = [('"+4930901900", "5501"]', '"+49 30 901900", "5501"] # sipctl: allow number.separators, number.bad -- as printed')]
    assert codes(compiled(*swaps)) == [("allow.bad", 12)]


@pytest.mark.parametrize(
    "comment",
    [
        "# sipctl: allow trunk.open",
        "# sipctl: allow trunk.open --",
        "# sipctl: allow trunk.open because I say so",
        "# sipctl: allow",
        "# sipctl: ignore trunk.open -- a lab",
        "# sipctl: allow trunk.opn -- a lab",
    ],
)
def test_comment_that_is_no_good_hides_nothing_and_is_told(comment: str) -> None:
    assert codes(with_comment(comment)) == [("allow.bad", 7), ("trunk.open", 7)]


def test_allowance_that_hides_nothing_is_told() -> None:
    result = compiled(("    sources: [198.51.100.0/28]", "    sources: [198.51.100.0/28] # sipctl: allow trunk.open -- a lab"))
    assert codes(result) == [("allow.unused", 7)]
    assert result.is_applicable


def test_what_stops_a_plan_cannot_be_allowed() -> None:
    result = compiled(("    bcp: bcp\n", "    bcp: bcpp # sipctl: allow plan.unknown-name -- later\n"))
    assert codes(result) == [("allow.bad", 4), ("plan.unknown-name", 4)]
    assert not result.image
    stopping = [code for code, (severity, _) in CODES.items() if severity == "error" and code != "test.failed"]
    assert not any(map(is_allowable, stopping))


def test_failing_test_can_be_allowed_and_the_plan_applied() -> None:
    expect = "expect: {entry_point: sales, tenant: prod}"
    result = compiled((expect, expect.replace("prod}", "bcp} # sipctl: allow test.failed -- until the move on 3 May")))
    assert codes(result) == []
    assert result.is_applicable


def test_allowance_of_a_failing_test_is_not_judged_where_tests_are_not_run() -> None:
    expect = "expect: {entry_point: sales, tenant: prod}"
    files = plan((expect, expect + " # sipctl: allow test.failed -- flaky"))
    assert compile_plan(files, {}, revision=1, tests=False).findings == ()
    assert [finding.code for finding in compile_plan(files, {}, revision=1).findings] == ["allow.unused"]


def test_allowances_are_not_called_unused_while_errors_hide_what_they_are_for() -> None:
    swap = ('"+4930901900", "5501"]', '"+4930901900", "5501"] # sipctl: allow except.unused -- for now')
    assert codes(compiled(swap, ("    bcp: bcp\n", "    bcp: bcpp\n"))) == [("plan.unknown-name", 4)]


def test_hash_in_quoted_text_is_no_comment() -> None:
    label = '    labels: {note: "see # sipctl: allow trunk.open -- no"}\n'
    block = "    labels:\n      note: |-\n        see # sipctl: allow trunk.open -- no\n"
    for text in (label, block):
        assert codes(compiled(("    trunks: [one, pbx]\n", "    trunks: [one, pbx]\n" + text))) == []


def test_line_that_names_a_number_file_speaks_for_the_file() -> None:
    section = "number_files:\n  - {file: numbers.csv} # sipctl: allow number.separators -- as the carrier sends it\ntests:\n"
    rows = {CSV: "number,entry_point\n+49 40-100,sales\n"}
    assert found(compiled(("tests:\n", section), files=rows)) == []


def test_warnings_beyond_the_limit_are_told_as_a_warning() -> None:
    pairs = "".join(f"  p{at}: {{sbcs: {{p{at}-a: {{uri: 'sip:10.9.0.{at + 1}'}}}}}}\n" for at in range(230))
    result = compile_plan(plan(files={"sbc_configs/more.yaml": f"sbc_pairs:\n{pairs}"}), {}, revision=1)
    assert result.is_applicable
    told = [finding for finding in result.findings if finding.code == "plan.more-findings"]
    assert [finding.message for finding in told] == [
        "30 more of pair.single are not listed",
        "30 more of pair.unused are not listed",
    ]
    assert len(result.findings) == 402
