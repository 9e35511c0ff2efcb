"""Any bytes as any file of a plan give findings or a plan, never a traceback, and bombs are refused after a few events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.cli import check_command
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.lint.formats import github, sarif
from sipctl.dialplan.report import Report
from sipctl.dialplan.source import FREE_VALUES, MAX_VALUES, read_yaml
from tests.cli.support import invoke
from tests.dialplan.support import CSV, EDGE, PLAN, plan

ROWS = "dialplans/tests.csv"
FILES = plan(
    ("tests:\n", "number_files: [{file: numbers.csv}]\ntests_file: [tests.csv]\ntests:\n"),
    files={CSV: "number,entry_point\n+4940100,sales\n", ROWS: "name,call,trunk,tenant\nsales,+4940100,one,prod\n"},
)
MIB = 1 << 20
AFTER = ("test.failed", "test.needs-at")  # found when the image is there already
ENOUGH_EVENTS = 100  # to refuse a bomb of any size

TEN_LEVELS = b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 11))
CORPUS = {
    "nothing": b"",
    "a byte order mark alone": b"\xef\xbb\xbf",
    "a zero byte": b"a: \x00",
    "zero bytes": b"\x00" * 64,
    "UTF-16": "a: b\n".encode("utf-16"),
    "half a character": b"a: \xe2\x82",
    "a surrogate": b"a: \xed\xa0\x80",
    "an escaped surrogate": b'a: "\\ud800"',
    "an escape that is none": b'"\\q": 1',
    "line ends of another age": "a: b\x85c: d\u2028e: f\r".encode(),
    "a version of the future": b"%YAML 9.9\n---\na: b\n",
    "a call to the shell": b"!!python/object/apply:os.system [id]",
    "an alias of nothing": b"a: *nobody",
    "a list that holds itself": b"a: &a [*a]",
    "a merge key": b"x: {<<: {a: b}}",
    "an empty key": b"? \n: b",
    "a key that is a list": b"? [a]\n: b",
    "nulls": b"~: ~\nnull: null\n",
    "a section of every kind": b"trunks: 5\nlisten: [a]\nsites: x\ntests: {}\nentry_points: ''\n",
    "a bracket too many": b"a: b]\n",
    "a quote that never ends": b"a: 'b\n" * 99,
    "a tab": b"\ta: b",
    "one long line": b"a: " + b"x" * MIB,
    "one long key": b"x" * MIB + b": b",
    "digits of another script": "number,entry_point\n+٤٩٣٠,sales\n".encode(),
    "a cell without end": b'number,entry_point\n"' + b"x" * 200_000 + b",sales\n",
    "a header alone": b"number,entry_point",
    "a header of commas": b"number,entry_point" + b"," * MIB,
    "a row of commas": b"number,entry_point\n" + b"," * MIB,
    "a row on half a million lines": b"number,entry_point\n" + b'"\n",' * (MIB // 4),
    "zero bytes in a number": b"number,entry_point\n+49401\x000,sales\n\x00,\x00\n",
    "comments alone": b"#\n" * (MIB // 2),
    "spaces alone": b" " * MIB,
    "line ends alone": b"\n" * MIB,
    "carriage returns alone": b"number,entry_point\r+4940100,sales\r",
    "a number of 5,000 digits": b"number,entry_point\n+" + b"4" * 5_000 + b",sales\n" + b"4" * 5_000 + b",sales\n",
    "allowances of everything": b"a: b # sipctl: allow a.b -- c\n" * 50 + b"# sipctl: allow\n# sipctl:\n",
}
BOMBS = {
    "square brackets": b"a: " + b"[" * MIB,
    "braces": b"{a: " * (MIB // 4),
    "dashes": b"- " * (MIB // 2),
    "question marks": b"? " * (MIB // 2),
    "lists in maps": b"a:\n" + b"".join(b" " * depth + b"- a:\n" for depth in range(1, 1400)),
    "aliases of ten levels": b"a: " + b"[" * 14 + b"]" * 14 + b"\n" + TEN_LEVELS,
}


SHALLOW = {
    "empty lists": b"a: [" + b"[]," * (MIB // 3) + b"]",
    "letters": b"a: [" + b"b," * (MIB // 2) + b"]",
    "maps in a map": b"{" + b"".join(b"k%d: {b: 1}," % at for at in range(MIB // 16)) + b"}",
    "lists five deep": b"a: [" + b"[[[[[]]]]]," * (MIB // 11) + b"]",
    "items of nothing": b"-\n" * (MIB // 2),
    "one key for ever": b"a: 1\n" * (MIB // 5),
    "tags": b"- !x y\n" * (MIB // 7),
    "anchors": b"".join(b"- &a%d x\n" % at for at in range(MIB // 12)),
    "documents": b"---\n" * (MIB // 4),
}
ENOUGH_SHALLOW_EVENTS = 2 * FREE_VALUES + 100  # an empty list is a value and two events


def survives(path: str, data: bytes) -> None:
    result = compile_plan({**FILES, path: data}, {}, revision=1)
    errors = [finding for finding in result.findings if finding.severity == "error" and finding.code not in AFTER]
    assert bool(result.image) == (not errors)
    assert all(finding.message for finding in result.findings)
    assert json.dumps(sarif(result.findings, "0")) and len(github(result.findings)) == len(result.findings)


@pytest.mark.parametrize("path", [EDGE, PLAN, CSV, ROWS])
@pytest.mark.parametrize("name", CORPUS)
def test_no_file_of_the_corpus_is_too_much(path: str, name: str) -> None:
    survives(path, CORPUS[name])


@given(path=st.sampled_from([EDGE, PLAN, CSV, ROWS]), data=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_findings_or_a_plan(path: str, data: bytes) -> None:
    survives(path, data)


@given(
    path=st.sampled_from(sorted(FILES)),
    place=st.floats(0, 1),
    cut=st.integers(0, 30),
    data=st.binary(max_size=20) | st.text(max_size=20).map(lambda text: text.encode(errors="replace")),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_anywhere_in_a_sound_file_give_findings_or_a_plan(path: str, place: float, cut: int, data: bytes) -> None:
    at = int(place * len(FILES[path]))
    survives(path, FILES[path][:at] + data + FILES[path][at + cut :])


def refusal(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], int]:
    """What is found in a bomb beside a sound plan, and how many events of it were read."""
    read = 0
    parse = yaml.parse

    def counted(*arguments: Any, **named: Any) -> Iterator[Any]:
        nonlocal read
        for event in parse(*arguments, **named):
            read += 1
            yield event

    monkeypatch.setattr("sipctl.dialplan.source.yaml.parse", counted)
    result = compile_plan({**plan(), "sbc_configs/bomb.yaml": bomb}, {}, revision=1)
    assert not result.image
    sound = sum(1 for path in (EDGE, PLAN) for _ in parse(plan()[path].decode(), Loader=yaml.CBaseLoader))
    return {finding.code for finding in result.findings if finding.path == "sbc_configs/bomb.yaml"}, read - sound


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_after_a_few_events_and_expands_to_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, events = refusal(BOMBS[name], monkeypatch)
    assert codes & {"yaml.too-deep", "yaml.anchor", "yaml.syntax"}
    assert events <= (300 if "aliases" in name else ENOUGH_EVENTS)


@pytest.mark.parametrize("name", SHALLOW)
def test_a_mib_of_next_to_nothing_is_refused_after_some_thousand_events(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, events = refusal(SHALLOW[name], monkeypatch)
    assert codes & {"yaml.too-many", "yaml.duplicate-key", "yaml.tag", "yaml.anchor", "yaml.documents"}
    assert events <= ENOUGH_SHALLOW_EVENTS


def test_values_as_long_as_those_of_plans_are_read_up_to_the_limit() -> None:
    line = b'- "+4930901820"\n'
    report = Report({})
    read = read_yaml(PLAN, b"a:\n" + line * (MAX_VALUES - 3), report)
    assert read is not None and not report.findings()
    assert read_yaml(PLAN, b"a:\n" + line * (MAX_VALUES - 2), report) is None
    assert [finding.code for finding in report.findings()] == ["yaml.too-many"]


def test_a_terse_plan_of_many_entry_points_is_no_bomb() -> None:
    report = Report({})
    entries = b"".join(b"  e%d: {group: g}\n" % number for number in range(20_000))
    assert read_yaml(PLAN, b"entry_points:\n" + entries, report) is not None
    assert not report.findings()


@pytest.mark.parametrize("name", ["a header of commas", "a row of commas", "a row on half a million lines"])
def test_a_row_without_an_end_is_not_gathered(name: str) -> None:
    for path, column in ((CSV, b"number"), (ROWS, b"call")):
        result = compile_plan({**FILES, path: CORPUS[name].replace(b"number", column)}, {}, revision=1)
        assert [finding.code for finding in result.findings if finding.path == path] == ["csv.syntax"]


def test_alias_bomb_of_ten_levels_is_as_many_values_as_are_written() -> None:
    result = compile_plan({**plan(), "sbc_configs/bomb.yaml": TEN_LEVELS}, {}, revision=1)
    anchors = [finding for finding in result.findings if finding.code == "yaml.anchor"]
    assert len(anchors) == 111  # 11 anchors, 100 aliases: each told once, none followed


def test_check_on_the_command_line_ends_with_1_whatever_the_bytes(tmp_path: Path) -> None:
    for path, data in {**FILES, EDGE: bytes(range(256)), CSV: b"\xff" * 99, "dialplans/more.yaml": b"[" * 999}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    for output in ("text", "json", "sarif", "github"):
        code, text = invoke(check_command, "check", str(tmp_path), "-o", output)
        assert code == 1
        assert "Traceback" not in text
