"""Fixtures of the tests on real sockets: a network of loopback addresses of its own, and processes that end with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Net, Processes, a_net, processes


@pytest.fixture
def net() -> Net:
    return a_net()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Processes]:
    with processes(tmp_path / "run") as started:
        yield started
