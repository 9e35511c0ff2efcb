"""Steps as lines: folded along their branches on a terminal, one line each in a pipe."""

from __future__ import annotations

import io
import sys

import pytest

from sipctl.cli.tree import ASCII, MIN_WIDTH, shown_glyphs, shown_width, tree_lines
from sipctl.routing.explain import route_answer
from sipctl.routing.steps import PASSED, REFUSED, SKIPPED, step
from tests.support.plans import a_live, a_snapshot

TREE = step(
    "call",
    REFUSED,
    "+49 on trunk one",
    step(
        "rules", PASSED, "entry point sales", step("rule", SKIPPED, "a rule with a long reason why it is not the one that counts")
    ),
    step("answer", REFUSED, "refused"),
).body()


def test_pipe_gets_one_line_a_step_however_long() -> None:
    assert tree_lines(TREE, None) == [
        "+49 on trunk one",
        "├─ ✓ rules: entry point sales",
        "│  └─ – a rule with a long reason why it is not the one that counts",
        "└─ ✗ answer: refused",
    ]


def test_terminal_gets_lines_folded_along_their_branches() -> None:
    assert tree_lines(TREE, 40) == [
        "+49 on trunk one",
        "├─ ✓ rules: entry point sales",
        "│  └─ – a rule with a long reason why it",
        "│       is not the one that counts",
        "└─ ✗ answer: refused",
    ]


def test_terminal_that_knows_ascii_only_gets_ascii() -> None:
    lines = tree_lines(TREE, 40, ASCII)
    assert lines[1] == "|- + rules: entry point sales"
    assert all(line.isascii() for line in lines)


def test_orders_for_the_terminal_are_spelled_out() -> None:
    assert "\x1b" not in "\n".join(tree_lines(step("call", PASSED, "\x1b[2J", step("a", PASSED, "\x1b]0;x")).body(), None))


def test_whole_decision_fits_80_columns() -> None:
    snapshot = a_snapshot()
    answer = route_answer(snapshot, a_live(snapshot, out=("fra-a",)), "asked", "+4930901820", 0, "+4922155501")
    lines = tree_lines(answer.tree.body(), 80)
    assert max(map(len, lines)) <= 80
    assert len(lines) > len(tree_lines(answer.tree.body(), None))


@pytest.mark.parametrize(("encoding", "is_ascii"), [("utf-8", False), ("ascii", True), ("latin-1", True), ("no-such", True)])
def test_marks_follow_what_stdout_can_write(monkeypatch: pytest.MonkeyPatch, encoding: str, is_ascii: bool) -> None:
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", type("Out", (), {"encoding": encoding, "isatty": stdout.isatty, "write": stdout.write})())
    assert (shown_glyphs() is ASCII) == is_ascii
    assert shown_width() is None


def test_terminal_narrower_than_any_text_still_gets_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "5")
    assert shown_width() == MIN_WIDTH
