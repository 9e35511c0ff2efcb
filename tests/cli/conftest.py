"""A shell without anybody's settings, and a desk on a free port for those who need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.support import ThreadedDesk
from tests.cli.support import Shell


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty STATE that the commands find by SIPCTL_STATE."""
    folder = tmp_path / "state"
    folder.mkdir()
    for name in ("SIPCTL_API", "SIPCTL_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SIPCTL_STATE", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


@pytest.fixture
def shell(state: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def desk(state: Path) -> Iterator[ThreadedDesk]:
    with ThreadedDesk(state) as running:
        yield running
