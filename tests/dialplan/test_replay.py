"""Replay routes recorded calls as routers would: the same code, the same limits, calls at once counted from start to end."""

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.plan_tests import Given, settled
from sipctl.dialplan.replay import DEAD, REFUSED, ROUTED, STRANGER, Outcome, Replayer
from sipctl.dialplan.replay_report import CHANGES, SAME, Comparison, Logged, change
from sipctl.dialplan.replay_rows import BadRecordError, CsvRows, InputError, Row, read_columns, read_instant, read_line
from sipctl.dialplan.replay_scenes import read_scene, read_scenes, unknown_names
from sipctl.routing.resolve import NoRoute, resolve
from sipctl.routing.select import arrange
from sipctl.routing.table import Table, load_table
from tests.dialplan.support import plan

T = 1_790_000_000.0
SALES, SUPPORT, NOBODY = "+4930901820", "+4930901900", "+4930999"


def table(*swaps: tuple[str, str]) -> Table:
    compiled = compile_plan(plan(*swaps), {}, revision=1, tests=False)
    assert compiled.image, compiled.findings
    return load_table(compiled.image)


def call(after_s: float, number: str = SALES, hold_s: float = 60.0, trunk: str = "one", calling: str = "+491701") -> Row:
    return (T + after_s, trunk, number, calling, f"id-{after_s}", hold_s, "", None)


def outcomes(replayer: Replayer, rows: Sequence[Row]) -> list[Outcome]:
    codes = replayer.judge(rows)
    return [replayer.outcomes[code] for code in codes]


def kinds(replayer: Replayer, rows: Sequence[Row]) -> list[str]:
    return [outcome.kind for outcome in outcomes(replayer, rows)]


def test_a_call_goes_where_its_number_says() -> None:
    (found,) = outcomes(Replayer(table()), [call(0)])
    assert found == Outcome(ROUTED, "sales", "acme", "primary", "prod", "fra", "fra-a")


def test_unknown_numbers_and_unknown_trunks_are_told_apart() -> None:
    replayer = Replayer(table())
    assert outcomes(replayer, [call(0, NOBODY), call(1, trunk="gone")]) == [Outcome(REFUSED, status=404), Outcome(STRANGER)]


def test_a_limit_refuses_while_so_many_calls_are_up_and_not_longer() -> None:
    limited = table(("  sales:\n    group: acme\n", "  sales:\n    group: acme\n    max_calls: 2\n"))
    rows = [call(0, hold_s=10), call(1, hold_s=10), call(2), call(10.0, hold_s=1), call(10.5), call(11)]
    found = outcomes(Replayer(limited), rows)
    assert [outcome.kind for outcome in found] == [ROUTED, ROUTED, REFUSED, ROUTED, REFUSED, ROUTED]
    assert found[2] == Outcome(REFUSED, "sales", status=486, limit="entry-point")


def test_a_refused_call_takes_no_place() -> None:
    limited = table(("    sources: [198.51.100.0/28]\n", "    sources: [198.51.100.0/28]\n    max_calls: 1\n"))
    assert kinds(Replayer(limited), [call(0, hold_s=5), call(1, hold_s=100), call(6, hold_s=1)]) == [ROUTED, REFUSED, ROUTED]


def test_new_calls_a_second_of_a_trunk_are_counted() -> None:
    limited = table(("    sources: [198.51.100.0/28]\n", "    sources: [198.51.100.0/28]\n    max_cps: 2\n"))
    found = outcomes(Replayer(limited), [call(0), call(0.1), call(0.2), call(5)])
    assert [outcome.limit for outcome in found] == ["", "", "trunk-max-cps", ""]


def test_a_full_sbc_leaves_calls_to_its_sibling() -> None:
    limited = table(('fra-a: {uri: "sip:10.4.1.11:5060"}', 'fra-a: {uri: "sip:10.4.1.11:5060", max_calls: 1}'))
    found = outcomes(Replayer(limited), [call(0, hold_s=10), call(1), call(11)])
    assert [outcome.sbc for outcome in found] == ["fra-a", "fra-b", "fra-a"]


def test_a_scenario_holds_from_its_begin_to_its_end_and_counts_go_on_across_it() -> None:
    limited = table(("    trunks: [one, pbx]\n", "    trunks: [one, pbx]\n    max_calls: 1\n"))
    scenes = read_scenes([f"prod=out-of-service@{T + 10}..{T + 20}"], UTC)
    rows = [call(0), call(5, SUPPORT, 30), call(10), call(15, SUPPORT), call(19.9), call(20)]
    found = outcomes(Replayer(limited, scenes), rows)
    assert [outcome.tenant for outcome in found] == ["prod", "prod", "bcp", "", "bcp", "prod"]
    assert found[3].limit == "entry-point", "the call of before still holds its place"


def test_with_every_sbc_out_of_service_a_call_is_routed_to_the_dead() -> None:
    scenes = read_scenes(["prod=out-of-service", "bcp=out-of-service"], UTC)
    assert kinds(Replayer(table(), scenes), [call(0)]) == [DEAD]


def test_peaks_say_calls_at_once_and_calls_a_second_with_their_instants() -> None:
    replayer = Replayer(table())
    replayer.judge([call(0.0, hold_s=10), call(0.5, hold_s=10), call(3, hold_s=10), call(30, hold_s=1)])
    meters = {(meter.kind, meter.name): meter for meter in replayer.meters()}
    for key in (("sbc", "fra-a"), ("tenant", "prod"), ("trunk", "one"), ("entry_point", "sales")):
        meter = meters[key]
        assert (meter.calls, meter.peak, meter.peak_at_s, meter.cps, meter.cps_at_s) == (4, 3, T + 3, 2, int(T))


def test_a_row_out_of_order_is_counted_and_judged_at_the_instant_reached() -> None:
    replayer = Replayer(table())
    replayer.judge([call(10), call(5)])
    assert replayer.out_of_order == 1


def test_chunks_make_no_difference() -> None:
    limited = table(("  sales:\n    group: acme\n", "  sales:\n    group: acme\n    max_calls: 2\n"))
    rows = [call(at * 3.0, hold_s=10) for at in range(30)]
    whole, pieces = Replayer(limited), Replayer(limited)
    one = outcomes(whole, rows)
    assert [outcome for at in range(0, 30, 7) for outcome in outcomes(pieces, rows[at : at + 7])] == one


_ROWS = st.lists(
    st.tuples(
        st.floats(0, 100), st.sampled_from([SALES, SUPPORT, NOBODY, "+493090182107", "5501"]), st.floats(0, 50),
        st.sampled_from(["one", "pbx", "gone"]), st.sampled_from(["", "+491701", "+491702", "+491703"]),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(_ROWS)
def test_replay_answers_as_resolve_does_with_the_calls_that_are_up(drawn: list[tuple[float, str, float, str, str]]) -> None:
    """Against a slow, obvious replay: every count is made anew from all calls let in before."""
    limited = table(
        ("  sales:\n    group: acme\n", "  sales:\n    group: acme\n    max_calls: 3\n"),
        ('fra-a: {uri: "sip:10.4.1.11:5060"}', 'fra-a: {uri: "sip:10.4.1.11:5060", max_calls: 2}'),
        ("  prod: {reached_by: [fra]}", "  prod: {reached_by: [fra], max_calls: 4}"),
    )
    rows = sorted((call(at, number, hold, trunk, calling) for at, number, hold, trunk, calling in drawn), key=lambda row: row[0])
    found = outcomes(Replayer(limited), rows)
    snapshot, live = settled(limited, Given())
    let_in: list[tuple[float, int, int, int, int]] = []
    for row, outcome in zip(rows, found, strict=True):
        start_s, trunk_name, number, calling, call_id, hold_s, _, _ = row
        trunk = snapshot.trunk_index.get(trunk_name)
        if trunk is None:
            assert outcome.kind == STRANGER
            continue
        up = [entry for entry in let_in if entry[0] > start_s]
        for place, counts in enumerate((live.trunk_calls, live.entry_calls, live.tenant_calls, live.sbc_calls), 1):
            counts[:] = [sum(entry[place] == index for entry in up) for index in range(len(counts))]
        answer = resolve(snapshot, live, trunk, number, None, (calling or call_id).encode(), start_s, False, start_s)
        if isinstance(answer, NoRoute):
            assert (outcome.kind, outcome.status, outcome.limit) == (REFUSED, answer.status, answer.limit or "")
            continue
        first = arrange(answer, live, start_s).targets[0][0]
        assert (outcome.kind, outcome.sbc) == (ROUTED, snapshot.sbcs[first.sbc].name)
        live.note_new_call(trunk, start_s)
        let_in.append((start_s + hold_s, trunk, answer.entry_point, first.tenant, first.sbc))


# -- what changes ----------------------------------------------------------------------------------------------------------------


def compared(old: Table, new: Table, rows: Sequence[Row]) -> dict[str, Any]:
    one, two, comparison = Replayer(old), Replayer(new), Comparison()
    comparison.add(one.judge(rows), two.judge(rows), rows, (one.outcomes, two.outcomes))
    differences, untold = comparison.differences(one.outcomes, two.outcomes)
    assert untold == 0
    return {
        "changes": dict(comparison.changes(one.outcomes, two.outcomes)), "differences": differences,
        "entry_points": comparison.entry_points(one.outcomes, two.outcomes), "new": comparison.totals(1, two.outcomes),
    }  # fmt: skip


def test_a_number_that_moves_is_counted_at_both_entry_points_with_examples() -> None:
    new = table(('numbers: ["+4930901820", "+4930901821XX"]', 'numbers: ["+4930901821XX"]'),
                ('numbers: ["+4930901900", "5501"]', 'numbers: ["+4930901900", "+4930901820", "5501"]'))  # fmt: skip
    found = compared(table(), new, [call(at) for at in range(5)] + [call(9, SUPPORT)])
    assert found["changes"] == {"other entry point": 5, SAME: 1}
    assert found["entry_points"]["sales"]["changes"] == {"other entry point": 5}
    assert found["entry_points"]["support"]["gained"] == 5
    (difference,) = found["differences"]
    assert (difference["calls"], len(difference["examples"]), difference["examples"][0]["dialled"]) == (5, 3, SALES)


def test_what_exceeds_a_limit_is_told_apart_from_what_is_refused() -> None:
    new = table(("    sources: [198.51.100.0/28]\n", "    sources: [198.51.100.0/28]\n    max_calls: 1\n"),
                ('numbers: ["+4930901900", "5501"]', 'numbers: ["5501"]'))  # fmt: skip
    found = compared(table(), new, [call(0), call(1), call(2, SUPPORT)])
    assert found["changes"] == {SAME: 1, "exceeds a limit": 1, "now refused": 1}
    assert found["new"]["by_limit"] == {"trunk-max-calls": 1}
    assert found["new"]["by_status"] == {"404": 1, "503": 1}


FRA = Outcome(ROUTED, "a", "g", "primary", "t", "p", "s")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (FRA, Outcome(ROUTED, "a", "h", "bcp", "t", "p", "s"), SAME),
        (FRA, Outcome(ROUTED, "a", "g", "bcp", "u", "q", "r"), "other tenant"),
        (FRA, Outcome(ROUTED, "a", "g", "primary", "t", "q", "r"), "other SBC pair"),
        (FRA, Outcome(ROUTED, "a", "g", "primary", "t", "p", "r"), "other SBC"),
        (FRA, Outcome(STRANGER), "no such trunk"),
        (Outcome(REFUSED, status=404), FRA, "no longer refused"),
        (Outcome(REFUSED, status=404), Outcome(REFUSED, status=480), "refused otherwise"),
        (FRA, Outcome(DEAD, "a", "g", "primary", "t", "p", "s"), "no SBC in service"),
    ],
)  # fmt: skip
def test_each_change_has_its_word(old: Outcome, new: Outcome, word: str) -> None:
    assert change(old, new) == word
    assert word == SAME or word in CHANGES


# -- records ---------------------------------------------------------------------------------------------------------------------

LINE = {
    "type": "call", "call": "0" * 16, "call_id": "x@y", "trunk": "one", "entry_point": "sales", "group": "acme", "dialled": SALES,
    "called": SALES, "calling": "+491701", "tenant": "prod", "role": "primary", "pair": "fra", "sbc": "fra-a", "revision": 3,
    "start_epoch_ms": 1_790_000_000_500, "end": "2026-09-21T14:13:30.750Z", "sip_code": 200,
}  # fmt: skip


def line(**changes: object) -> bytes:
    return json.dumps({**LINE, **changes}, separators=(",", ":")).encode()


def test_a_call_line_is_read_with_how_long_it_held_its_places() -> None:
    assert read_line(line()) == (T + 0.5, "one", SALES, "+491701", "x@y", 10.25, SALES, None)


def test_what_was_logged_is_kept_where_it_is_asked_for() -> None:
    row = read_line(line(), keep_logged=True)
    assert row is not None
    logged = Logged()
    assert [logged.outcomes[code] for code in logged.judge([row])] == [
        Outcome(ROUTED, "sales", "acme", "primary", "prod", "fra", "fra-a")
    ]


def test_attempt_lines_and_blank_lines_are_no_calls() -> None:
    assert read_line(b'{"type":"attempt","call":"1"}') is None
    assert read_line(b'{"call":"1", "type": "attempt"}') is None
    assert read_line(b"  \n") is None


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"type":"call"}', b'{"type":"other"}', line(start_epoch_ms="x"), line(end="soon")]
)
def test_a_line_that_is_no_record_is_said_to_be_none(text: bytes) -> None:
    with pytest.raises(BadRecordError):
        read_line(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_row_or_no_call_or_a_bad_record(data: bytes) -> None:
    try:
        row = read_line(b'{"type":"call",' + data)
    except BadRecordError:
        return
    assert row is None or row[1]


def test_csv_columns_are_taken_by_name_and_a_duration_by_its_form() -> None:
    rows = CsvRows(["Begin", "DNIS", "Secs", "Via"], read_columns("start=Begin,called=DNIS,duration=Secs,trunk=Via"), "", UTC)
    assert rows.read(["2026-09-21T14:13:20Z", "+49 30 901820", "1:05", "one"]) == (
        T, "one", SALES, "", "2026-09-21T14:13:20Z +4930901820", 65.0, "", None
    )  # fmt: skip
    read = rows.read(["1790000000", SALES, "1500ms", "one"])
    assert read is not None and read[5] == 1.5
    assert rows.read(["", "", "", ""]) is None


@pytest.mark.parametrize(
    "cells", [["soon", SALES, "1", "one"], ["1790000000", "", "1", "one"], ["1790000000", "4,93E+11", "1", "one"],
              ["1790000000", SALES, "-1", "one"], ["1790000000", SALES], ["1790000000", SALES, "1", ""]],
)  # fmt: skip
def test_a_csv_row_that_cannot_be_replayed_says_why(cells: list[str]) -> None:
    rows = CsvRows(["start", "called", "duration", "trunk"], {}, "", UTC)
    with pytest.raises(BadRecordError):
        rows.read(cells)


@pytest.mark.parametrize(
    ("header", "columns", "trunk"),
    [(["a"], "start=b,called=a", "x"), (["start"], "", "x"), (["start", "called"], "", ""), (["a"], "begin=a", "x")],
)
def test_unknown_columns_are_refused_before_any_row(header: list[str], columns: str, trunk: str) -> None:
    with pytest.raises(InputError):
        CsvRows(header, read_columns(columns) if columns else {}, trunk, UTC)


def test_an_instant_without_zone_is_of_the_zone_given() -> None:
    assert read_instant("2026-09-21T16:13:20", ZoneInfo("Europe/Berlin")) == T
    assert read_instant("1790000000000", UTC) == T


@pytest.mark.parametrize("text", ["prod", "=x", "prod=", "prod=out@x", "prod=out@1..x", "prod=out@20..10"])
def test_a_scenario_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_scene(text, UTC)


def test_scenarios_about_nothing_known_or_impossible_states_are_refused() -> None:
    with pytest.raises(InputError):
        unknown_names([table().topology], read_scenes(["prode=out-of-service"], UTC))
    with pytest.raises(InputError):
        Replayer(table(), read_scenes(["acme=draining"], UTC))
