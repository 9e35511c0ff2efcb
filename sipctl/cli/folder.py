"""The two folders of a plan as texts, ready to be sent; and the revision they are an edit of.

Which one that is, the folder remembers in DIR/.sipctl/applied.json, by where it was applied to: two people who edit two copies
of revision 7 cannot both make theirs live, the second one is told of the first.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from sipctl.cli.client import EXIT_USAGE, stop
from sipctl.supervisor.plan_folder import FolderError, read_folder


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


def plan_files(folder: Path) -> dict[str, bytes]:
    """Every file of both folders by its path, whatever its bytes; ends the command with 2 if there is no plan."""
    try:
        return read_folder(folder)
    except FolderError as error:
        stop(EXIT_USAGE, str(error), error.hint)


def known_base(folder: Path, state: Path) -> int | None:
    """The revision that was applied from this folder last, to the sipctl that is meant now; None if it was none."""
    number = _applied(folder).get(_where(state))
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def remember_base(folder: Path, state: Path, number: int) -> None:
    """From now on the folder is an edit of that revision; a folder that cannot be written to has to be told with --base."""
    path = folder / ".sipctl" / "applied.json"
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps({**_applied(folder), _where(state): number}) + "\n", encoding="utf-8")
        temporary.rename(path)


def _applied(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / ".sipctl" / "applied.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _where(state: Path) -> str:
    """What tells one sipctl from another: revision 7 of the lab is not revision 7 of the exchange."""
    return os.environ.get("SIPCTL_API", "").strip() or str(state.resolve())
