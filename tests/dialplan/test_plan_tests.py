"""Tests in the plan: what they may assume and expect, in YAML and in CSV, and how fast they are."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sipctl.dialplan.compile import Compiled, compile_plan
from tests.dialplan.support import plan

RULES = """\
schedules: {shop: {zone: Europe/Berlin, open: "Mon-Fri 08:00-18:00"}}
exits: {pstn: {sbc_pair: out, allow: ["+44."], max_calls: 2}}
overlays: {night: {entry_points: {"*": {refuse: {code: 603, cause: 21}}}}}
switches: {stop: {match: {trunk: one}, refuse: 503}}
"""
OUT = """\
  out:
    sbcs: {out-a: {uri: "sip:10.6.0.1:5060"}, out-b: {uri: "sip:10.6.0.2:5060"}}
"""
SALES = "  sales:\n    group: acme\n"
KEYS = """\
    max_calls: 5
    schedule: shop
    closed: {to: {entry_point: support}}
    overflow: [{number: "+4420", exit: pstn}]
"""
OPEN = 'at: "2026-11-18 12:00"'  # in the one zone of all schedules
FIRST = """\
  - name: sales goes to the primary
    call: "+4930901820"
    trunk: one
    expect: {entry_point: sales, tenant: prod}
"""


def ran(*tests: str, files: Mapping[str, str] | None = None, more: str = "") -> Compiled:
    """A plan with all kinds of rules and these tests, each the inside of a map."""
    listed = "".join(f'  - {{name: t{at}, trunk: one, call: "+4930901820", {test}}}\n' for at, test in enumerate(tests))
    swaps = (
        ("tests:\n" + FIRST, RULES + more + ("tests:\n" + listed if tests else "")),
        (SALES, SALES + KEYS),
        ("tenants:\n  prod", OUT + "tenants:\n  prod"),
    )
    return compile_plan(plan(*swaps, files=files), {}, revision=1)


def told(compiled: Compiled) -> list[tuple[str, int, str]]:
    return [(one.code, one.line, one.message) for one in compiled.findings if one.severity == "error"]


@pytest.mark.parametrize(
    "test",
    [
        f"{OPEN}, expect: {{entry_point: sales, group: acme, tenant: prod, sbcs: [fra-a, fra-b, ams-a, ams-b], refused: false}}",
        'at: "2026-11-18 20:00", expect: {entry_point: support}',
        'at: "2026-11-18T20:00+01:00", expect: {entry_point: support}',
        'at: "2026-11-18 20:00 America/New_York", expect: {entry_point: support}',
        f"{OPEN}, given: {{calls: {{sales: 5}}}}, expect: {{exit: pstn, sbc_pair: out, called: '+4420'}}",
        f"{OPEN}, given: {{calls: {{sales: 5, 'exit:pstn': 2}}}}, expect: {{refused: {{code: 486}}, entry_point: sales}}",
        f"{OPEN}, given: {{overlays: night}}, expect: {{refused: {{code: 603, cause: 21}}}}",
        f"{OPEN}, given: {{overlays: [night], switches: [stop]}}, expect: {{refused: 503}}",
        "given: {overlays: [night]}, expect: {refused: true}",  # the hours are never asked
        f"{OPEN}, given: {{groups: {{acme: on-bcp}}}}, expect: {{tenant: bcp}}",
        f"{OPEN}, given: {{sbcs: {{fra-a: out-of-service}}}}, expect: {{sbcs: [fra-b, ams-a, ams-b]}}",
    ],
)
def test_a_test_that_holds_says_nothing(test: str) -> None:
    assert told(ran(test)) == []


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (f"{OPEN}, expect: {{entry_point: support}}", "t0: entry_point is sales, not support"),
        (f"{OPEN}, expect: {{refused: true}}", "t0: the call is not refused"),
        (f"{OPEN}, expect: {{exit: pstn}}", "t0: exit is prod, not pstn"),
        (f"{OPEN}, given: {{switches: [stop]}}, expect: {{tenant: prod}}", "t0: the call is refused with 503"),
        (f"{OPEN}, given: {{switches: [stop]}}, expect: {{refused: false}}", "t0: the call is refused with 503"),
        (
            f"{OPEN}, given: {{switches: stop}}, expect: {{refused: {{cause: 17}}}}",
            "t0: the call is refused with cause 41, not 17",
        ),
    ],
)
def test_a_test_that_fails_says_what_is_and_what_was_meant(test: str, message: str) -> None:
    found = told(ran(test))
    assert [(code, text) for code, _, text in found] == [("test.failed", message)]


SEND = """\
    send:
      called: e164-no-plus
      identity: strip
      diversion: dialled
      headers: {set: {X-Entry-Point: "{entry_point}", X-Who: "{calling}"}}
"""


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("x-entry-point: sales, X-Who: '+49301', P-Asserted-Identity: false, Diversion: false, X-Dept: false", None),
        ("X-Entry-Point: support", "t0: header X-Entry-Point is sales, not support"),
        ("X-Entry-Point: false", "t0: header X-Entry-Point is sales, and must not be there"),
        ("X-Dept: sales", "t0: header X-Dept is not there, not sales"),
    ],
)
def test_a_test_may_say_which_headers_leave(expect: str, message: str | None) -> None:
    test = f"from: '+49301', {OPEN}, expect: {{called: '+4930901820', headers: {{{expect}}}}}"
    swaps = (
        ("tests:\n" + FIRST, RULES + f'tests:\n  - {{name: t0, trunk: one, call: "+4930901820", {test}}}\n'),
        (SALES, SALES + KEYS),
        ("tenants:\n  prod", OUT + "tenants:\n  prod"),
        ("    listen: inside\n", "    listen: inside\n" + SEND),
    )
    found = told(compile_plan(plan(*swaps), {}, revision=1))
    assert [(code, text) for code, _, text in found] == ([("test.failed", message)] if message else [])


def test_a_test_that_depends_on_the_time_without_saying_it_stops_the_plan() -> None:
    compiled = ran("expect: {entry_point: sales}")
    assert [code for code, _, _ in told(compiled)] == ["test.needs-at"]
    assert compiled.image == b""


CSV = """\
name;call;trunk;at;given;entry_point;sbcs;refused;cause
in hours;+49 30 901820;one;2026-11-18 12:00;;sales;fra-a fra-b ams-a ams-b;;
after hours;+4930901820;one;2026-11-18 20:00;;support;;;

full;+4930901820;one;2026-11-18 12:00;calls.sales=5 calls.exit:pstn=2;;;486;17
overlay;+4930901820;one;;overlays.night=on;;;;21
private;5501;pbx;;;support;;;
"""


def test_a_file_of_tests_is_run_row_by_row() -> None:
    assert told(ran(more="tests_file: regression.csv\n", files={"dialplans/regression.csv": CSV})) == []


def test_a_row_that_fails_is_told_at_its_line_and_cell() -> None:
    wrong = CSV.replace(";support;;;\n\n", ";sales;;;\n\n").replace("486;17", "486;18")
    compiled = ran(more="tests_file: [regression.csv]\n", files={"dialplans/regression.csv": wrong})
    assert told(compiled) == [
        ("test.failed", 3, "after hours: entry_point is support, not sales"),
        ("test.failed", 5, "full: the call is refused with cause 17, not 18"),
    ]
    places = [(one.path, one.column) for one in compiled.findings if one.severity == "error"]
    assert places[0] == ("dialplans/regression.csv", wrong.splitlines()[2].index("sales") + 1)


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("name;call", "name;cal", "csv.header", 1),
        ("refused;cause", "refused;refused", "csv.header", 1),
        ("after hours;", "after hours;;", "csv.columns", 3),
        ("2026-11-18 20:00", "18.11.2026", "test.file", 3),
        ("overlays.night=on", "night", "test.file", 6),
        ("overlays.night=on", "overlays.day=on", "plan.unknown-name", 6),
        ("486;17", "maybe;17", "test.file", 5),
        ("private;5501", "private;", "test.file", 7),
        ("in hours", '"in hours', "csv.syntax", 2),
        (";pbx;", ";pby;", "plan.unknown-name", 7),
        (";pbx;", ";;", "test.trunk", 7),
    ],
)
def test_a_row_that_does_not_read_is_told_at_its_line(old: str, new: str, code: str, line: int) -> None:
    compiled = ran(more="tests_file: regression.csv\n", files={"dialplans/regression.csv": CSV.replace(old, new)})
    assert (code, line) in [(found, at) for found, at, _ in told(compiled)]
    assert compiled.image == b""


def test_a_file_of_tests_that_is_no_text_is_a_finding() -> None:
    swaps = (("tests:\n" + FIRST, "tests_file: regression.csv\n"),)
    files = {**plan(*swaps), "dialplans/regression.csv": b"call\n\xff\xfe\n"}
    assert [one.code for one in compile_plan(files, {}, revision=1).findings if one.severity == "error"] == ["file.not-utf8"]


def test_a_file_named_as_tests_is_not_told_as_ignored() -> None:
    compiled = ran(more="tests_file: regression.csv\n", files={"dialplans/regression.csv": CSV})
    assert "file.ignored" not in {one.code for one in compiled.findings}
