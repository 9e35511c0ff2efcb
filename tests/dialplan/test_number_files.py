"""CSV inventories: delimiters, spreadsheets' ways, and every faulty row at its line."""

from __future__ import annotations

import pytest

from sipctl.dialplan.compile import Compiled, compile_plan
from sipctl.dialplan.plan_tests import Given, settled
from sipctl.routing.resolve import NoRoute, Route, resolve
from sipctl.routing.table import load_table
from tests.dialplan.support import CSV, plan

PLAIN = "number_files: [{file: numbers.csv}]\ntests:\n"
NAMED = "number_files:\n  - {file: numbers.csv, columns: {number: DID, entry_point: Dept, called_at.bcp: BCP DNIS}}\ntests:\n"


def read(data: str | bytes, section: str = PLAIN) -> Compiled:
    files = plan(("tests:\n", section))
    return compile_plan({**files, CSV: data.encode() if isinstance(data, str) else data}, {}, revision=1)


def goes(result: Compiled, number: str, trunk: int = 0) -> tuple[str, str, str] | int:
    """(entry point, dialled at the primary, dialled at the BCP tenant), or the status."""
    assert result.image, result.findings
    snapshot, live = settled(load_table(result.image), Given())
    answer = resolve(snapshot, live, trunk, number, None, b"x", 0.0)
    if isinstance(answer, NoRoute):
        return answer.status
    assert isinstance(answer, Route)
    return (snapshot.entry_points[answer.entry_point].name, *answer.called)


def findings(result: Compiled) -> list[tuple[str, int]]:
    return [(finding.code, finding.line) for finding in result.findings]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_every_delimiter_newline_and_bom_reads_alike(delimiter: str, newline: str, bom: bytes) -> None:
    rows = [("DID", "Remark", "Dept", "BCP DNIS"), ("+4940100", "a", "sales", ""), ("+4940101", '"b;,\t"', "sales", "+3120555")]
    data = bom + newline.join(delimiter.join(row) for row in rows).encode()
    result = read(data, NAMED)
    assert findings(result) == []
    assert goes(result, "+4940100") == ("sales", "+4940100", "+4940100")
    assert goes(result, "+4940101") == ("sales", "+4940101", "+3120555")
    assert goes(result, "+4940102") == 404


def test_range_private_number_and_pattern_in_a_cell() -> None:
    data = "number,entry_point,called_at.bcp\n+4940200..+4940299,sales,+31205XX\n7700,support,8800\n+49403XX,support,\n"
    result = read(data)
    assert findings(result) == []
    assert goes(result, "+4940217") == ("sales", "+4940217", "+3120517")
    assert goes(result, "7700", trunk=1) == ("support", "7700", "8800")
    assert goes(result, "+4940399") == ("support", "+4940399", "+4940399")


def test_spaces_and_hyphens_are_removed_with_one_note() -> None:
    result = read("number,entry_point\n+49 40-100,sales\n +4940101 ,sales\n+4940102, sales\n")
    assert findings(result) == [("number.separators", 2)]
    assert "2 rows" in result.findings[0].message
    for number in ("+4940100", "+4940101", "+4940102"):
        assert goes(result, number) == ("sales", number, number)


def test_rows_without_entry_point_and_blank_rows_are_left_out() -> None:
    result = read("number,entry_point\n+4940100,\n\n,\n+4940101,sales\n+4940102,\n")
    assert findings(result) == [("csv.no-entry-point", 2)]
    assert "2 rows" in result.findings[0].message
    assert goes(result, "+4940101") == ("sales", "+4940101", "+4940101")


def test_empty_cells_beyond_the_header_do_not_matter() -> None:
    assert findings(read("number,entry_point\n+4940100,sales,,\n")) == []


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("4.96922E+12,sales", "csv.spreadsheet"),
        ('"4,96922E+12",sales', "csv.spreadsheet"),
        ("4,96922E+12,sales", "csv.spreadsheet"),
        ("+4940100,nobody", "plan.unknown-name"),
        ("+4940100,sales,extra", "csv.columns"),
        ("+4940100", "csv.columns"),
        (",sales", "number.bad"),
        ("+49x40,sales", "number.bad"),
        ("+0490100,sales", "number.bad"),
        ("+1234567890123456,sales", "number.bad"),
        ("4940100,sales", "entry.private"),
        ("+4930901820,support", "number.duplicate"),
        ("+4940200..+4940100,sales", "number.bad"),
        ('+4940100,"sales', "csv.syntax"),
        ("+٤٩٣٠,sales", "number.bad"),
    ],
)
def test_faulty_row_is_found_at_its_line(row: str, code: str) -> None:
    result = read(f"number,entry_point\n+4941000,sales\n{row}\n")
    assert findings(result) == [(code, 3)]
    assert not result.image


def test_called_at_cells_are_checked() -> None:
    head = "number,entry_point,called_at.primary,called_at.bcp\n"
    assert findings(read(head + "+4940100,sales,,+31XX0\n")) == [("number.called-at", 2)]
    assert findings(read(head + "+4940,sales,,+31XXXXXX\n")) == [("number.called-at", 2)]
    assert findings(read(head + "+4940100,sales,+4950,+3120X\n")) == []


def test_number_twice_in_a_file_names_the_first_line() -> None:
    result = read("number,entry_point\n+4940100,sales\n+4940101,sales\n+4940100,support\n")
    assert findings(result) == [("number.duplicate", 4)]
    assert "dialplans/numbers.csv:2" in result.findings[0].message
    assert result.findings[0].excerpt == "+4940100,support"


def test_range_over_other_files_numbers_keeps_them() -> None:
    result = read("number,entry_point\n+4930901800..+4930901999,support\n")
    assert findings(result) == []
    assert goes(result, "+4930901820") == ("sales", "+4930901820", "+4930901820")
    assert goes(result, "+4930901821") == ("support", "+4930901821", "+4930901821")


@pytest.mark.parametrize(
    ("header", "section", "hint"),
    [
        ("Numer,entry_point", PLAIN, "did you mean Numer?"),
        ("number,entrypoint", PLAIN, "did you mean entrypoint?"),
        ("DID;Dept", NAMED, "there is: DID, Dept"),
        ("number,number,entry_point", PLAIN, "rename one"),
        ("", PLAIN, "none is defined"),
    ],
)
def test_header_without_a_needed_column_says_what_there_is(header: str, section: str, hint: str) -> None:
    result = read(header + "\n+4940100,sales\n", section)
    assert findings(result) == [("csv.header", 1)]
    assert result.findings[0].hint == hint


def test_other_encodings_are_named() -> None:
    assert findings(read("number,entry_point\n+4940100,Zürich\n".encode("latin-1"))) == [("file.not-utf8", 2)]
    assert findings(read("number,entry_point\n".encode("utf-16"))) == [("file.not-utf8", 1)]


def test_row_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipctl.dialplan.number_files.MAX_ROWS", 2)
    result = read("number,entry_point\n+4940100,sales\n+4940101,sales\n+4940102,sales\n")
    assert findings(result) == [("file.too-large", 4)]


def test_except_holds_for_numbers_from_files_too() -> None:
    files = plan(
        ("tests:\n", PLAIN),
        ('"+4930901821XX"]', '"+4930901821XX"]\n    except: ["+4940100"]'),
    )  # fmt: skip
    result = compile_plan({**files, CSV: b"number,entry_point\n+4940100,sales\n+4940101,sales\n"}, {}, revision=1)
    assert findings(result) == []
    assert goes(result, "+4940100") == 404
    assert goes(result, "+4940101") == ("sales", "+4940101", "+4940101")


def test_entry_points_own_called_at_fills_empty_cells() -> None:
    files = plan(("tests:\n", PLAIN), ("    trunks: [one, pbx]\n", '    trunks: [one, pbx]\n    called_at: {bcp: "+3120XX"}\n'))
    data = b"number,entry_point,called_at.bcp\n+4940133,support,\n+4940134,support,+4477\n"
    result = compile_plan({**files, CSV: data}, {}, revision=1)
    assert goes(result, "+4940133") == ("support", "+4940133", "+312033")
    assert goes(result, "+4940134") == ("support", "+4940134", "+4477")


def test_rows_of_an_entry_point_that_is_not_there_are_one_finding() -> None:
    rows = "".join(f"+494010{number},slaes\n" for number in range(100, 120))
    result = read(f"number,entry_point\n{rows}+4940100,nobody\n")
    assert findings(result) == [("plan.unknown-name", 2), ("plan.unknown-name", 22)]
    assert result.findings[0].message == "no entry point is called slaes (20 rows: line 2, 3, 4, 5, 6 …)"
    assert result.findings[0].hint == "did you mean sales?"
    assert result.findings[1].message == "no entry point is called nobody"


def test_finding_about_a_number_points_at_its_cell() -> None:
    result = read("Remark;Dept;DID;BCP DNIS\nold;sales;+49x;\n;sales;+4930901820;\n", NAMED)
    places = [(finding.code, finding.line, finding.column) for finding in result.findings]
    assert places == [("number.bad", 2, 11), ("number.duplicate", 3, 8)]
