"""A test put into a plan file leaves every letter of it where it was."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sipctl.dialplan.saved_test import CannotInsertError, as_lines, with_test

TEST = {
    "name": "sales goes to prod",
    "call": "+4930901820",
    "trunk": "one",
    "given": {"tenants": {"prod": "out-of-service"}},
    "expect": {"entry_point": "sales", "sbcs": ["ams-a", "ams-b"]},
}
LINES = """\
{0}- name: "sales goes to prod"
{0}  call: "+4930901820"
{0}  trunk: one
{0}  given: {{tenants: {{prod: out-of-service}}}}
{0}  expect: {{entry_point: sales, sbcs: [ams-a, ams-b]}}
"""


def test_file_without_tests_begins_a_list_at_its_end() -> None:
    before = "entry_points: {}  # none yet\n# the end"
    assert with_test(before, TEST) == before + "\n\ntests:\n" + LINES.format("  ")
    assert with_test("", TEST) == "tests:\n" + LINES.format("  ") == as_lines(TEST) + "\n"


@pytest.mark.parametrize("indent", ["", "  ", "      "])
def test_test_joins_the_list_in_its_neighbours_indentation(indent: str) -> None:
    lines = ['- name: "a"   # first', '  call: "+49"', "  expect: {refused: 404}  # really"]
    head = "# why\ntests:  # run by check\n" + "".join(f"{indent}{line}\n" for line in lines)
    tail = "\n# about groups\ncontinuity_groups: {}\n"
    assert with_test(head + tail, TEST) == head + LINES.format(indent) + tail


def test_list_at_the_very_end_without_a_newline_is_ended_first() -> None:
    assert with_test("tests:\n  - {name: a, call: '5'}", TEST) == "tests:\n  - {name: a, call: '5'}\n" + LINES.format("  ")


def test_text_in_a_block_scalar_stays_whole() -> None:
    before = "tests:\n  - name: >-\n      long\n      name\n    call: |-\n      5501\n\nzones: {}\n"
    after = with_test(before, TEST)
    assert after.replace(LINES.format("  "), "") == before


def test_lists_in_brackets_are_extended_within_them() -> None:
    assert with_test("tests: []  # none\n", {"name": "a", "call": "5"}) == 'tests: [{name: a, call: "5"}]  # none\n'
    before = "tests: [\n  {name: a, call: '5'},  # one\n]\n"
    after = with_test(before, {"name": "b", "call": "6"})
    assert after == "tests: [\n  {name: a, call: '5'}, {name: b, call: \"6\"},  # one\n]\n"


def test_line_ends_of_the_file_are_kept() -> None:
    assert with_test("tests:\r\n- {name: a}\r\n", {"name": "b"}) == "tests:\r\n- {name: a}\r\n- name: b\r\n"


def test_values_stay_the_text_they_were() -> None:
    odd = {"name": 'no: "quotes" \u0007 #', "call": "0049", "at": "2026-12-24 10:00 Europe/Berlin", "trunk": "off"}
    assert yaml.load(with_test("", odd), Loader=yaml.CBaseLoader) == {"tests": [odd]}


@pytest.mark.parametrize(
    "text", ["- a\n", "{entry_points: {}}", "tests:\nzones: {}\n", "tests: yes\n", "a: {}\n...\n", "a: [\n", "tests: {a: b}\n"]
)
def test_file_that_cannot_take_a_test_is_refused(text: str) -> None:
    with pytest.raises(CannotInsertError):
        with_test(text, TEST)


@given(
    st.lists(st.fixed_dictionaries({"name": st.text(min_size=1), "call": st.text("0123456789+*# abc", min_size=1)}), max_size=4)
)
def test_any_number_of_tests_of_any_text_reads_back_as_saved(tests: list[dict[str, str]]) -> None:
    text = "# a plan\nentry_points:\n  a: {group: g}\n"
    for test in tests:
        text = with_test(text, test)
    read = yaml.load(text, Loader=yaml.CBaseLoader)
    assert read.get("tests", []) == tests and text.startswith("# a plan\nentry_points:\n  a: {group: g}\n")
