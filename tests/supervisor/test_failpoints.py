"""Dying on purpose: once, at the named step, and not before it is armed."""

import os
import signal
from pathlib import Path

import pytest

from sipctl.supervisor.failpoints import failpoints


def ends_at(state: Path, steps: list[str]) -> int:
    """The signal that ended a child which took these steps; 0 if it came through."""
    child = os.fork()
    if child == 0:
        reached = failpoints(state, "begun")
        for step in steps:
            reached(step)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def test_a_process_dies_once_at_a_named_step_after_it_is_armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("SIPCTL_FAILPOINTS", "die-written,header,die-told")
    assert ends_at(tmp_path, ["written", "told"]) == 0, "nothing has begun"
    assert ends_at(tmp_path, ["begun", "read", "written", "told"]) == signal.SIGKILL
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["died-written"]
    assert ends_at(tmp_path, ["begun", "read", "written", "told"]) == signal.SIGKILL
    assert ends_at(tmp_path, ["begun", "read", "written", "told"]) == 0


def test_nobody_dies_who_is_not_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIPCTL_FAILPOINTS", "header")
    assert ends_at(tmp_path, ["begun", "header", "written"]) == 0
    monkeypatch.delenv("SIPCTL_FAILPOINTS")
    assert ends_at(tmp_path, ["begun", "written"]) == 0
