"""Marks that decide how a test is run.

Tests that start real processes wait more than they work, and must not starve behind those that only work: they are marked
`serial` by the folder they are in and run in the second half of `make test`, a few at a time. Each has addresses of its own.
"""

from pathlib import Path

import pytest

SERIAL_FOLDERS = ("real", "supervisor")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in SERIAL_FOLDERS:
            item.add_marker(pytest.mark.serial)
