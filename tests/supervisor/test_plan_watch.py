"""The two folders, watched: a burst of saves is one change, hidden files are none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sipctl.supervisor import plan_watch
from sipctl.supervisor.plan_watch import folder_changes


async def test_a_burst_of_saves_is_one_change_and_hidden_files_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_watch, "QUIET_MS", 200)
    for name in ("dialplans", "sbc_configs"):
        (tmp_path / name).mkdir()
    seen = 0
    told = asyncio.Event()

    async def watch() -> None:
        nonlocal seen
        async for _ in folder_changes(tmp_path):
            seen += 1
            told.set()

    watching = asyncio.ensure_future(watch())
    try:
        while not told.is_set():  # the watcher needs a moment to begin
            (tmp_path / "dialplans" / "a.yaml").write_text("x: 1\n")
            await asyncio.wait((asyncio.ensure_future(told.wait()),), timeout=0.3)
        told.clear()
        before = seen
        for number in range(20):
            (tmp_path / "dialplans" / f"{number}.yaml").write_text("x: 1\n")
            (tmp_path / "dialplans" / f".{number}.swp").write_text("x")
        await asyncio.wait_for(told.wait(), 10)
        assert seen == before + 1
        told.clear()
        (tmp_path / "sbc_configs" / ".hidden").write_text("x")
        (tmp_path / "dialplans" / "deep").mkdir()
        (tmp_path / "dialplans" / "deep" / "numbers.csv").write_text("n\n")
        await asyncio.wait_for(told.wait(), 10)
        assert seen == before + 2
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_without_a_folder_there_is_nothing_to_watch(tmp_path: Path) -> None:
    assert [one async for one in folder_changes(tmp_path)] == []
