"""What a plan's tests reach: counted per entry point, rule and branch, never per number."""

from __future__ import annotations

from collections.abc import Sequence

from sipctl.cli.coverage_lines import MAX_LISTED, coverage_lines
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.coverage import MAX_RULES_TOLD, Coverage, coverage_of
from tests.dialplan.support import plan

TREATED = """\
schedules:
  hours: {zone: Europe/Berlin, open: ["Mon-Fri 08:00-18:00"]}
continuity_groups:
  acme: {primary: prod, bcp: bcp, failover: automatic}
  pilot: {primary: bcp, bcp: prod, failover: automatic}
entry_points:
  sales:
    split: {acme: 50%, pilot: 50%}
    numbers: ["+4930901820"]
    trunks: [one]
    schedule: hours
    closed: {to: {entry_point: night}}
    max_calls: 5
    overflow: [{entry_point: night}]
    unusable: {refuse: 480, cause: 41}
  night: {group: acme, numbers: ["+4930901900"], max_calls: 3}
overlays:
  storm: {entry_points: {"*": {to: {entry_point: night}}}}
switches:
  stop: {match: {entry_point: sales}, refuse: 503}
"""
IN_HOURS, AT_NIGHT = '"2026-12-23 10:00 Europe/Berlin"', '"2026-12-23 20:00 Europe/Berlin"'


def coverage(text: str, tests: Sequence[str]) -> Coverage:
    """Of a plan with these tests, each one flow map without a name."""
    rows = "".join(f"  - {{name: t{at}, trunk: one, {test}}}\n" for at, test in enumerate(tests))
    files = plan(files={"dialplans/plan.yaml": text + ("tests:\n" + rows if rows else "")})
    compiled = compile_plan(files, {}, revision=1)
    assert compiled.image, compiled.findings
    return coverage_of(files, compiled.image)


def pieces(found: Coverage, entry_point: str) -> dict[str, int]:
    return {piece.name: piece.tests for piece in found.pieces if piece.entry_point == entry_point}


def test_plan_without_tests_reaches_nothing_and_says_so_once_an_entry_point() -> None:
    found = coverage(TREATED, [])
    assert (found.tests, found.reached, found.percent) == (0, 0, 0.0)
    assert [piece.sentence() for piece in found.missing()] == [
        "sales: no test calls it",
        "night: no test calls it",
        "overlay storm",
        "switch stop",
        "a number nobody has is refused",
    ]


def test_each_way_through_an_entry_point_is_a_piece_of_its_own() -> None:
    assert list(pieces(coverage(TREATED, []), "sales")) == [
        "any call",
        "exact numbers",
        "group acme: primary",
        "group acme: bcp",
        "group pilot: primary",
        "group pilot: bcp",
        "a trunk it does not name is refused",
        "closed",
        "overflow",
        "unusable",
    ]
    assert list(pieces(coverage(TREATED, []), "night")) == ["any call", "exact numbers", "primary", "bcp", "over its limit"]


def test_calls_are_counted_along_their_whole_way() -> None:
    sales = 'call: "+4930901820", '
    dead = "given: {sbcs: {fra-a: out-of-service, fra-b: out-of-service, ams-a: out-of-service, ams-b: out-of-service}}, "
    found = coverage(
        TREATED,
        [
            f"{sales} at: {AT_NIGHT}, expect: {{entry_point: night}}",
            f"{sales} at: {IN_HOURS}, given: {{calls: {{sales: 5}}}}, expect: {{entry_point: night}}",
            f"{sales} at: {IN_HOURS}, {dead} expect: {{refused: 480}}",
            f"{sales} at: {IN_HOURS}, given: {{overlays: [storm]}}, expect: {{entry_point: night}}",
            f"{sales} given: {{switches: [stop]}}, expect: {{refused: 503}}",
            'call: "+4930901900", given: {calls: {night: 3}}, expect: {refused: 486}',
            'call: "+4999", expect: {refused: 404}',
        ],
    )
    sales_met, night_met, plan_met = pieces(found, "sales"), pieces(found, "night"), pieces(found, "")
    assert {name: sales_met[name] for name in ("any call", "exact numbers", "closed", "overflow", "unusable")} == {
        "any call": 5,
        "exact numbers": 5,
        "closed": 1,
        "overflow": 1,
        "unusable": 1,
    }
    assert night_met == {"any call": 4, "exact numbers": 1, "primary": 3, "bcp": 0, "over its limit": 1}
    assert plan_met == {"overlay storm": 1, "switch stop": 1, "a number nobody has is refused": 1}
    assert {piece.name for piece in found.missing() if piece.entry_point == "sales"} == {
        "group acme: primary",
        "group acme: bcp",
        "group pilot: primary",
        "group pilot: bcp",
        "a trunk it does not name is refused",
    }


def test_trunk_outside_the_allow_list_reaches_that_and_no_rule() -> None:
    found = coverage(TREATED.replace("trunks: [one]", "trunks: [pbx]"), ['call: "+4930901820", expect: {refused: 404}'])
    assert pieces(found, "sales") == {**pieces(found, "sales"), "any call": 0, "exact numbers": 0}
    assert pieces(found, "sales")["a trunk it does not name is refused"] == 1


def test_listed_numbers_and_rows_of_files_are_told_apart() -> None:
    text = TREATED.replace("tests:", "") + "number_files: [{file: n.csv}]\n"
    csv = "number,entry_point\n+4930901901,night\n+4930901902,night\n+4930901910..+4930901919,night\n"
    rows = '  - {name: t, trunk: one, call: "+4930901902", expect: {entry_point: night}}\n'
    files = plan(files={"dialplans/plan.yaml": text + "tests:\n" + rows, "dialplans/n.csv": csv})
    compiled = compile_plan(files, {}, revision=1)
    met = pieces(coverage_of(files, compiled.image), "night")
    assert {name: met[name] for name in list(met)[:4]} == {
        "any call": 1,
        "exact numbers": 0,
        "numbers of number files": 1,
        "range +4930901910..+4930901919": 0,
    }


def test_many_ranges_of_one_entry_point_are_bounded_and_the_rest_is_one_piece() -> None:
    count = MAX_RULES_TOLD + 3
    numbers = ", ".join(f'"+49309{at:03}0..+49309{at:03}9"' for at in range(count))
    text = TREATED.replace('["+4930901900"]', f"[{numbers}]")
    calls = [f'call: "+49309{at:03}5", expect: {{entry_point: night}}' for at in range(MAX_RULES_TOLD, count)]
    some, every = coverage(text, calls[:2]), coverage(text, calls)
    name = f"further {count - MAX_RULES_TOLD} ranges and patterns, all of them"
    assert (pieces(some, "night")[name], pieces(every, "night")[name]) == (0, 1)
    assert len(pieces(some, "night")) == MAX_RULES_TOLD + 1 + len(["any call", "primary", "bcp", "over its limit"])


def test_lines_are_bounded_json_has_the_rest() -> None:
    entries = "".join(f'  e{at}: {{group: acme, numbers: ["+4940{at:03}"]}}\n' for at in range(80))
    found = coverage(TREATED.replace("overlays:\n", entries + "overlays:\n"), [])
    lines = coverage_lines(found)
    assert lines[0].startswith("coverage 0.0 %: 0 tests reach 0 of ")
    assert (len(lines), lines[-1]) == (MAX_LISTED + 2, "  and 35 more: -o json")
    assert (len(found.body()["missing"]), found.body()["left_off"]) == (85, 0)
