"""Tables a router holds: taken in steps between calls, or at once; descriptors never leak."""

from __future__ import annotations

import os
from array import array

import pytest

from sipctl.engine.embedded.tables import MAX_TABLES, Tables
from sipctl.engine.embedded.wire import sealed_memfd
from sipctl.errors import SnapshotError
from sipctl.routing.numbers import Numbers
from sipctl.routing.table import STEP_BYTES, STEP_NUMBERS, Table, encode_table, load_steps
from tests.support.plans import a_table

MANY = 60_000


def an_image(rows: int = 0) -> bytes:
    """A plan's image, with so many numbers more behind its own."""
    table = a_table()
    numbers = table.numbers
    first = array("Q", numbers.first)
    last = array("Q", numbers.last)
    row = array("I", numbers.row)
    for at in range(rows):
        first.append(first[-1] + 2)
        last.append(first[-1])
        row.append(row[at % len(numbers.row)])
    more = Numbers(
        first, last, row, numbers.entry_point, numbers.rule, numbers.primary_base, numbers.bcp_base, numbers.copied,
        numbers.rules, numbers.scopes, numbers.words, numbers.scope_of_trunk,
    )  # fmt: skip
    return encode_table(table.topology, more)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_large_table_is_checked_in_many_steps_and_small_ones() -> None:
    image = an_image(MANY)
    steps = list(load_steps(image))
    assert len(steps) >= len(image) // STEP_BYTES + MANY // STEP_NUMBERS


def test_a_table_taken_in_steps_is_the_table_taken_at_once() -> None:
    image = an_image(MANY)
    tables, others = Tables(), Tables()
    steps = tables.taking(sealed_memfd("table", image))
    with pytest.raises(StopIteration) as done:
        while True:
            next(steps)
            assert tables.table(others.take(sealed_memfd("table", image)).hash) is None, "not before it was checked whole"
    table = done.value.value
    assert isinstance(table, Table)
    assert tables.table(table.hash) is table
    assert table.numbers.lookup(0, "+4930901820") == others.take(sealed_memfd("table", image)).numbers.lookup(0, "+4930901820")


def test_what_is_given_up_or_damaged_leaves_no_descriptor_open() -> None:
    tables = Tables()
    image = an_image(MANY)
    before = open_descriptors()
    steps = tables.taking(sealed_memfd("table", image))
    next(steps)
    steps.close()
    assert open_descriptors() == before
    with pytest.raises(SnapshotError, match="damaged"):
        tables.take(sealed_memfd("table", image[:-1] + b"\xff"))
    with pytest.raises(SnapshotError, match="empty"):
        tables.take(sealed_memfd("table", b""))
    assert open_descriptors() == before


def test_only_the_last_few_tables_are_held() -> None:
    tables = Tables()
    held = [tables.take(sealed_memfd("table", an_image(rows))) for rows in range(MAX_TABLES + 2)]
    assert [tables.table(table.hash) is not None for table in held] == [False, False] + [True] * MAX_TABLES
