"""Saves in the two folders of a plan, a burst of them at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, awatch

from sipctl.supervisor.plan_folder import FOLDERS

QUIET_MS = 500  # a burst is over when nothing was saved for so long
BURST_MS = 10_000  # a burst that does not end is looked at so often


async def folder_changes(root: Path) -> AsyncIterator[None]:
    """Once after each burst of changes to what is not hidden; ends at once if there is no folder to watch."""
    folders = [root / name for name in FOLDERS if (root / name).is_dir()]
    if not folders:
        return

    def is_visible(change: Change, path: str) -> bool:
        return not any(part.startswith(".") for part in Path(path).parts[len(root.parts) :])

    async for _ in awatch(*folders, watch_filter=is_visible, debounce=BURST_MS, step=QUIET_MS):
        yield None
