"""The two folders of a plan as texts, ready to be sent."""

from __future__ import annotations

from pathlib import Path

from sipctl.cli.client import EXIT_USAGE, stop
from sipctl.supervisor.plan_folder import read_folder


def read_plan(folder: Path) -> dict[str, str]:
    """Every file of `sbc_configs/` and `dialplans/` by its path; ends the command with 2 if one is no text.

    Raises: FolderError if there is no plan, something cannot be read, or it is too much.
    """
    texts: dict[str, str] = {}
    for path, data in read_folder(folder).items():
        try:
            texts[path] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            stop(EXIT_USAGE, f"{path} is not UTF-8 at byte {error.start}", "save it as UTF-8")
    return texts
