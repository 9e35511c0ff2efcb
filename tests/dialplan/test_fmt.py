"""Canonical YAML: one layout, the same comments, the same scalars, the same table; or nothing at all."""

from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.fmt import FormatError, format_text
from tests.dialplan.support import EDGE, PLAN, SOUND, plan

UNTIDY = """\
# heads the file

# about entry points
entry_points:
    # the sales line
    sales:
        numbers: [ '+4930901820', +4930901821, 0123 ]   # three
        # its group
        group: acme
        # after sales
    support:
        labels: {at: 12:30}
        group: acme



tests:
- expect: {tenant: prod, entry_point: sales}
  name: one
  call: +4930901820
continuity_groups:   # why
    acme: {bcp: bcp, primary: prod, failover: automatic}
# the end
"""
TIDY = """\
# heads the file

continuity_groups:   # why
  acme: {primary: prod, bcp: bcp, failover: automatic}

# about entry points
entry_points:
  # the sales line
  sales:
    # its group
    group: acme
    numbers: ["+4930901820", "+4930901821", "0123"]     # three
    # after sales
  support:
    group: acme
    labels: {at: "12:30"}

tests:
  - name: one
    call: "+4930901820"
    expect: {entry_point: sales, tenant: prod}
# the end
"""


def formatted(text: str, path: str = PLAN) -> str:
    return format_text(path, text.encode())


def test_layout_key_order_and_quotes_become_canonical_and_comments_stay_with_their_keys() -> None:
    assert formatted(UNTIDY) == TIDY


def test_what_is_canonical_stays_as_it_is() -> None:
    assert formatted(TIDY) == TIDY


@pytest.mark.parametrize("text", ["+4930901820", "0123", "12:30", "2026-12-24", "1_000", "0x1F", "NO", "1e5", "~", "null", "-1"])
def test_a_scalar_keeps_its_text(text: str) -> None:
    after = formatted(f"entry_points:\n  a:\n    labels: {{x: {text}}}\n")
    assert yaml.load(after, Loader=yaml.BaseLoader)["entry_points"]["a"]["labels"]["x"] == text


@pytest.mark.parametrize("text", ["+4930901820", "0123", "12:30", "2026-12-24"])
def test_what_another_reader_would_not_take_for_text_is_quoted(text: str) -> None:
    after = formatted(f"entry_points:\n  a:\n    labels: {{x: {text}}}\n")
    assert yaml.safe_load(after)["entry_points"]["a"]["labels"]["x"] == text


def test_names_keep_the_order_they_were_written_in() -> None:
    after = formatted("entry_points:\n  zebra: {group: a}\n  ape: {group: a}\n")
    assert after.index("zebra") < after.index("ape")


def test_defaults_stand_before_the_sections_they_fill() -> None:
    trunks, listen = "trunks:\n  one: {sources: [192.0.2.1]}\n", "listen: {a: {bind: udp:127.0.0.1:5060}}\n"
    text = trunks + "defaults:   # shared\n  trunks: {max_calls: 5}\n" + listen
    after = formatted(text, EDGE)
    assert after.index("listen:") < after.index("defaults:   # shared") < after.index("trunks:\n  one")


def test_keys_of_a_list_item_are_ordered_around_its_dash() -> None:
    after = formatted('tests:\n  - trunk: one   # by which\n    name: x\n    call: "+49"\n    expect: {refused: "404"}\n')
    assert after.startswith('tests:\n  - name: x\n    call: "+49"\n    trunk: one')
    assert "# by which" in after


def test_windows_line_ends_and_a_byte_order_mark_go() -> None:
    assert format_text(PLAN, b"\xef\xbb\xbfentry_points:\r\n  a: {group: x}   # why\r\n") == (
        "entry_points:\n  a: {group: x}   # why\n"
    )


@pytest.mark.parametrize(
    "text", ["a: [1", "a: 1\na: 2\n", "a: &x 1\n", "a: !!int 1\n", "entry_points:\n  a:\n", "---\na: b\n---\nc: d\n", "\tx: y\n"]
)
def test_what_is_no_sound_yaml_of_a_plan_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(FormatError):
        formatted(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(FormatError):
        format_text(PLAN, b"a: \xff\n")


# -- properties ------------------------------------------------------------------------------------------------------------------

_COMMENT = st.sampled_from(["", "   # why", " # \"quoted\" 'x'", "  # + 0 : - {"])
_OWN = st.sampled_from(["", "# of its own\n", "\n", "\n# far\n\n# near\n"])
_NUMBER = st.from_regex(r"\A\+4930[0-9]{3,6}\Z")
_QUOTE = st.sampled_from(['"', "'", ""])


@st.composite
def entry_points(draw: st.DrawFn) -> str:
    """An entry_points section in some layout: keys in any order, comments anywhere, any quotes and indents."""
    step = " " * draw(st.integers(1, 4))
    text = draw(_OWN) + "entry_points:" + draw(_COMMENT) + "\n"
    numbers = draw(st.lists(_NUMBER, min_size=2, max_size=6, unique=True))
    for at in range(draw(st.integers(1, 3))):
        own = [number for place, number in enumerate(numbers) if place % 3 == at]
        quote = draw(_QUOTE)
        parts = ["group: acme", "numbers: [" + ", ".join(f"{quote}{number}{quote}" for number in own) + "]"]
        parts += draw(st.lists(st.sampled_from(["max_calls: 5", "labels: {dept: '007'}", "trunks: [one]"]), unique=True))
        parts = draw(st.permutations(parts))
        text += _indented(draw(_OWN), step) + f"{step}ep-{at}:{draw(_COMMENT)}\n"
        for part in parts:
            text += _indented(draw(_OWN), step * 2) + f"{step * 2}{part}{draw(_COMMENT)}\n"
    return text


def _indented(text: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


@settings(max_examples=120, deadline=None)
@given(section=entry_points(), tail=_OWN, order=st.booleans())
def test_formatting_is_idempotent_and_changes_neither_meaning_nor_comments(section: str, tail: str, order: bool) -> None:
    groups = "continuity_groups:\n  acme: {primary: prod, bcp: bcp, failover: automatic}\n"
    text = (groups + section if order else section + groups) + tail
    after = formatted(text)
    assert formatted(after) == after
    assert sorted(text.count(mark) for mark in "#") == sorted(after.count(mark) for mark in "#")
    before_files, after_files = files_with(text), files_with(after)
    old, new = (compile_plan(files, {}, revision=1, tests=False) for files in (before_files, after_files))
    assert old.image and old.image == new.image


def files_with(text: str) -> Mapping[str, bytes]:
    return {EDGE: SOUND[EDGE].encode(), PLAN: text.encode()}


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-#{}[],\"'\n  &*!|>+0", max_size=60))
def test_any_text_is_formatted_to_something_that_stays_or_refused(text: str) -> None:
    try:
        after = formatted(text)
    except FormatError:
        return
    assert formatted(after) == after
    assert yaml.load(after, Loader=yaml.BaseLoader) == yaml.load(text, Loader=yaml.BaseLoader)


@pytest.mark.parametrize("path", [EDGE, PLAN])
def test_the_sound_plan_means_the_same_when_formatted(path: str) -> None:
    files = plan()
    after = {**files, path: format_text(path, files[path]).encode()}
    assert compile_plan(files, {}, revision=1).image == compile_plan(after, {}, revision=1).image
