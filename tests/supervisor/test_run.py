"""`sipctl run` as a whole, from a folder to calls carried: what it starts with, what it says, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipctl.app import start
from sipctl.engine.generation import Generations
from sipctl.errors import EngineError
from tests.supervisor.conftest import eventually
from tests.support.configs import a_plan
from tests.support.processes import a_net


def said(state: Path) -> str:
    return (state / "start.log").read_text(encoding="utf-8")


def test_an_empty_state_is_seeded_once_and_later_starts_go_by_the_live_revision(tmp_path: Path) -> None:
    plan, state = a_plan(a_net()), tmp_path / "state"
    folder = plan.write(tmp_path / "plan")
    with start(folder, state) as running:
        assert running.ready["revision"] == 1
        assert f"API http://{running.api}" in said(state)
        assert "folder differs" not in said(state)
        eventually(lambda: bool(Generations(state / "snapshots").found()[0]), "a generation on disk")
    assert running.process.returncode == 0
    (folder / "dialplans" / "lab.yaml").write_text("nonsense: [", encoding="utf-8")
    with start(folder, state) as running:
        assert running.ready["revision"] == 1
        eventually(lambda: "folder differs from live revision 1: sipctl diff" in said(state), "it says so")
    assert list((state / "run").iterdir()) == []


def test_a_plan_with_errors_is_refused_with_all_of_them(tmp_path: Path) -> None:
    folder = a_plan(a_net()).write(tmp_path / "plan")
    (folder / "dialplans" / "wrong.yaml").write_text("colour: red\nshape: round\n", encoding="utf-8")
    with pytest.raises(EngineError) as refused:
        start(folder, tmp_path / "state")
    assert "dialplans/wrong.yaml:1:1" in refused.value.detail
    assert "dialplans/wrong.yaml:2:1" in refused.value.detail
    assert list((tmp_path / "state" / "run").iterdir()) == []


def test_a_folder_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="neither sbc_configs/ nor dialplans/"):
        start(tmp_path, tmp_path / "state")
