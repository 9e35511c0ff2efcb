"""Marks that decide how a test is run.

Tests that start real processes must not share two cores with others: they are marked `serial` by the folder they are in and run
alone, one after another, in the second half of `make test`.
"""

from pathlib import Path

import pytest

SERIAL_FOLDERS = ("real", "supervisor")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in SERIAL_FOLDERS:
            item.add_marker(pytest.mark.serial)
