"""Tables on terminals of every width: nothing is cut, and a narrow one gets its sentences on lines of their own."""

from __future__ import annotations

import re
import sys

import pytest

from sipctl.cli.output import print_table

COLUMNS = ("GROUP", "STATE", "ACTIVE", "BCP", "MARKS", "EPOCH", "REASON")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
LOST = "acme-prod is out of service: no reply to OPTIONS, 3 times in a row"
ROWS = [
    (
        "acme",
        "on-bcp",
        "bcp",
        "100 %",
        "held at bcp by ops-1",
        7,
        "acme-prod is out of service: no reply to OPTIONS, 3 times in a row",
    ),
    ("beta", "normal", "primary", "0 %", "", 1, ""),
]


def printed(capsys: pytest.CaptureFixture[str], width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands on a terminal of that width."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    print_table("groups", COLUMNS, ROWS)
    return [ESCAPE.sub("", line).rstrip() for line in capsys.readouterr().out.splitlines()]


def test_at_80_columns_a_row_is_one_line_and_its_sentence_stands_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed(capsys, 80, monkeypatch) == [
        "groups",
        "GROUP  STATE   ACTIVE   BCP    MARKS                 EPOCH",
        "    REASON",
        "acme   on-bcp  bcp      100 %  held at bcp by ops-1  7",
        f"    {LOST}",
        "beta   normal  primary  0 %    -                     1",
    ]


def test_a_sentence_that_is_longer_than_the_terminal_goes_on_indented(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(capsys, 62, monkeypatch)
    assert lines[4:6] == ["    acme-prod is out of service: no reply to OPTIONS, 3 times", "    in a row"]
    assert all(len(line) <= 62 for line in lines)


def test_where_it_fits_it_is_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(capsys, 140, monkeypatch)
    assert len(lines) == 4 and lines[2].endswith("3 times in a row")


@pytest.mark.parametrize("width", [20, 40])
def test_even_on_a_tiny_terminal_nothing_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    told = "".join("".join(printed(capsys, width, monkeypatch)).split())
    assert "…" not in told and "acme" in told


def test_a_pipe_gets_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("groups", COLUMNS, ROWS)
    assert len(capsys.readouterr().out.splitlines()) == 4
