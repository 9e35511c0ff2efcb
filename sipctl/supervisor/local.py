"""What STATE tells by itself, with nobody's help: processes that live, snapshots on disk. For `status --local` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sipctl.engine.generation import Generations
from sipctl.routing.snapshot import RoutingState
from sipctl.supervisor.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class LocalPicture:
    """STATE as found; nothing is made, locked or changed."""

    processes: dict[str, int]  # living ones: name → pid
    generations: tuple[RoutingState, ...]  # whole ones, newest first
    faults: tuple[str, ...]  # a sentence for each generation that cannot be used
    api: str | None  # where the desk bound its API last


def look(root: Path) -> LocalPicture:
    """Read a STATE; an empty or missing one gives an empty picture."""
    state = StateDir(root)
    found, faults = Generations(state.snapshots).found()
    try:
        api: str | None = (state.run / "api").read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        api = None
    return LocalPicture(
        {name: process.pid for name, process in state.processes().items()},
        tuple(generation.state for generation in found),
        tuple(faults),
        api,
    )
