"""Numbers listed, exported and read again, and asked for one by one."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.diff import diff_plans
from sipctl.dialplan.numbers_list import HEADER, UnsafeCellError, Wanted, export, rows, wanted_entry_points
from sipctl.dialplan.numbers_where import where
from sipctl.model.numbers import NumberError
from sipctl.routing.table import Table, load_table
from tests.dialplan.support import CSV, EDGE, PLAN, SOUND, plan

ENTRY_POINTS = ("sales", "support", "night")
FILES = "number_files: [{file: numbers.csv}]\n"


def table(files: Mapping[str, bytes]) -> Table:
    made = compile_plan(files, {}, revision=1, tests=False)
    assert made.image, made.findings
    return load_table(made.image)


def numbered(numbers: Mapping[str, list[str]], called_at: Mapping[str, str], extra: str = "") -> str:
    """A plan whose entry points have these expressions, and what is dialled at BCP."""
    lines = ["continuity_groups:", "  acme: {primary: prod, bcp: bcp, failover: automatic}", "entry_points:"]
    for name in ENTRY_POINTS:
        dial = f', called_at: {{bcp: "{called_at[name]}"}}' if called_at.get(name) else ""
        quoted = ", ".join(f'"{text}"' for text in numbers.get(name, []))
        lines.append(f"  {name}: {{group: acme, trunks: [one, pbx], numbers: [{quoted}]{dial}}}")
    return "\n".join(lines) + "\n" + extra


_DIGITS = st.text("0123456789", min_size=2, max_size=3)
_EXPRESSIONS = st.one_of(
    _DIGITS.map(lambda tail: f"+4930{tail}"),
    _DIGITS.map(lambda tail: f"55{tail}"),
    st.sampled_from(["+49309XX", "+4930[1-5]Z", "+49303.", "+4930200..+4930450", "55NX", "lobby", "*1", "+4930X"]),
)
_DIALS = st.sampled_from(["", "+31205550", "+3120555X", "4711", "900XX"])


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(_EXPRESSIONS, st.sampled_from(ENTRY_POINTS), min_size=1, max_size=12),
    st.dictionaries(st.sampled_from(ENTRY_POINTS), _DIALS),
    st.booleans(),
)
def test_an_export_read_again_gives_the_same_table(owners: dict[str, str], called_at: dict[str, str], flat: bool) -> None:
    numbers: dict[str, list[str]] = {}
    for text, owner in owners.items():
        if text not in ("lobby", "*1") or not called_at.get(owner, "").endswith("X"):  # a word has no digits to copy
            numbers.setdefault(owner, []).append(text)
    made = compile_plan({EDGE: SOUND[EDGE].encode(), PLAN: numbered(numbers, called_at).encode()}, {}, revision=1)
    assume(made.image)  # not two expressions of one precedence, nor a number too short for its called_at
    old = load_table(made.image)
    lines = "\n".join(export(old, Wanted(), flat)) + "\n"
    new = table({EDGE: SOUND[EDGE].encode(), PLAN: numbered({}, {}, FILES).encode(), CSV: lines.encode()})
    assert diff_plans(old, new).is_empty
    if not flat:
        assert sorted(map(repr, rows(old, Wanted()))) == sorted(map(repr, rows(new, Wanted())))
        assert sorted(export(new, Wanted())) == sorted(export(old, Wanted()))


def test_an_export_is_csv_with_the_columns_number_files_expect() -> None:
    lines = list(export(table(plan()), Wanted()))
    assert lines[0] == ",".join(HEADER)
    assert list(csv.reader(StringIO("\n".join(lines[1:])))) == [
        ["+4930901821XX", "sales", "", ""],
        ["+4930901820", "sales", "", ""],
        ["+4930901900", "support", "", ""],
        ["5501", "support", "", ""],
    ]


@pytest.mark.parametrize("name", ["=1+1", '"', "a,b", "@sum", "a|b", "a(b)", "a!b", "a\nb"])
def test_no_cell_that_a_spreadsheet_could_run_is_ever_written(name: str) -> None:
    made = table(plan())
    with pytest.raises(UnsafeCellError):
        export_with(made, name)


def export_with(made: Table, word: str) -> list[str]:
    """The export of a table that holds such a private word."""
    words = ({**made.numbers.words[0]}, *({**held, word: 0} for held in made.numbers.words[1:]))
    made.numbers.words = words
    return list(export(made, Wanted()))


def test_lists_are_filtered_by_entry_point_group_tenant_and_prefix() -> None:
    made = table(plan())
    assert [row.first for row in rows(made, Wanted())] == ["+4930901820", "+4930901900", "+493090182100", "5501"]
    sales = wanted_entry_points(made, "sales", None, None)
    assert {row.entry_point for row in rows(made, Wanted(sales))} == {0}
    assert wanted_entry_points(made, None, "acme", "bcp") == frozenset({0, 1})
    assert wanted_entry_points(made, "sales", None, "nobody") == frozenset()
    assert [row.first for row in rows(made, Wanted(None, "55"))] == ["5501"]
    clipped = list(rows(made, Wanted(None, "+49309018215")))
    assert [(row.first, row.last, row.count) for row in clipped] == [("+493090182150", "+493090182159", 10)]
    assert list(rows(made, Wanted(None, "+1"))) == [] and list(rows(made, Wanted(None, "+x"))) == []


# -- where ---------------------------------------------------------------------------------------------------------------------


def test_a_number_is_found_by_its_line_its_rule_and_what_it_wins_over() -> None:
    files = plan(('numbers: ["+4930901900", "5501"]', 'numbers: ["+4930901900", "5501", "+493090182177"]'))
    found = where(files, "+49 3090 1821-77")
    exact, pattern = found.holders
    assert (exact.entry_point, exact.rule, exact.mark.path, exact.mark.line, exact.wins) == (
        "support",
        "exact number",
        PLAN,
        12,
        True,
    )
    assert (pattern.entry_point, pattern.rule, pattern.wins) == ("sales", "pattern +4930901821XX", False)
    assert pattern.mark.line == 9 and "+4930901821XX" in pattern.excerpt and exact.trunks == ("one", "pbx")
    assert found.below is not None and (found.below.number, found.below.entry_point) == ("+493090182176", "sales")
    assert found.above is not None and (found.above.number, found.above.entry_point) == ("+493090182178", "sales")


def test_a_number_nobody_has_is_told_with_what_lies_next_to_it() -> None:
    found = where(plan(), "+4930901850")
    assert found.holders == () and not found.is_clash
    assert found.below is not None and found.below.number == "+4930901820"
    assert found.above is not None and (found.above.number, found.above.mark.line) == ("+4930901900", 12)


def test_an_except_that_takes_a_number_away_is_named() -> None:
    files = plan(('"+4930901821XX"]', '"+4930901821XX"]\n    except: ["+493090182155"]'))
    found = where(files, "+493090182155")
    assert found.holders == () and [(one.entry_point, one.mark.line) for one in found.exclusions] == [("sales", 10)]
    assert where(files, "+493090182156").exclusions == ()


def test_a_number_two_have_is_told_although_the_plan_does_not_compile() -> None:
    found = where(plan(('"5501"]', '"5501", "+4930901820"]')), "+4930901820")
    assert found.is_clash and {holder.entry_point for holder in found.holders} == {"sales", "support"}


def test_private_numbers_and_words_are_found_once_however_many_trunks_share_them() -> None:
    files = plan(('"5501"]', '"5501", "55XX", lobby]'))
    assert [holder.rule for holder in where(files, "5501").holders] == ["exact number", "pattern 55XX"]
    (word,) = where(files, "lobby").holders
    assert word.entry_point == "support" and word.wins
    assert where(files, "+5501").holders == ()


def test_rows_of_a_number_file_are_found_by_their_line() -> None:
    text = "number,entry_point,called_at.bcp\n+4930555001,sales,\n+4930555002,sales,+31205550102\n"
    files = plan(("tests:\n", FILES + "tests:\n"), files={CSV: text})
    (holder,) = where(files, "+4930555002").holders
    assert (holder.mark.path, holder.mark.line, holder.bcp, holder.primary) == (CSV, 3, "+31205550102", "")
    assert holder.excerpt == "+4930555002,sales,+31205550102"


@pytest.mark.parametrize("text", ["", "+49301XX", "+49301..+49305", "+0", "a b"])
def test_what_is_no_single_number_is_refused(text: str) -> None:
    with pytest.raises(NumberError):
        where(plan(), text)
