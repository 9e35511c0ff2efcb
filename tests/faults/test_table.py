"""The page of faults names every fault it owes, and tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
OWED: Final = frozenset({*range(1, 9), *range(11, 26), 27, 28, 30, 31, 32, 34, 36})
REFERENCE: Final = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`")


def rows() -> dict[int, list[tuple[str, str]]]:
    """Number of each fault of the table → the tests that hold it."""
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\| F\d+ ", line)]
    return {int(line.split()[1][1:]): REFERENCE.findall(line) for line in lines}


def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_fault_that_is_owed_has_a_row_with_tests_that_exist() -> None:
    found = rows()
    assert set(found) == OWED
    for number, tests in found.items():
        assert tests, f"F{number} is held by nothing"
        for path, name in tests:
            assert name in names_in(path), f"F{number}: {path} has no {name}"


def test_every_test_that_is_named_by_a_fault_stands_in_its_row() -> None:
    found = rows()
    for path in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        for name in names_in(str(path.relative_to(ROOT))):
            if match := re.match(r"test_f(\d\d)_", name):
                place = (str(path.relative_to(ROOT)), name)
                assert place in found[int(match[1])], f"{name} is missing from docs/faults.md"
