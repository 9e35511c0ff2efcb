"""Reading the two folders of a plan from disk; what the texts mean is `dialplan`'s business."""

from __future__ import annotations

import os
from pathlib import Path

from sipctl.errors import EngineError

FOLDERS = ("sbc_configs", "dialplans")
MAX_FILES = 10_000
MAX_TOTAL_BYTES = 256 << 20


class FolderError(EngineError):
    """The folder is no plan, or cannot be read."""

    code = "plan.folder"
    exit_code = 2


def read_folder(root: Path) -> dict[str, bytes]:
    """Every file of `sbc_configs/` and `dialplans/` but hidden ones, by path relative to `root` with forward slashes.

    Raises: FolderError if there is neither folder, something cannot be read, or it is beyond the limits.
    """
    files: dict[str, bytes] = {}
    total = 0
    folders = [root / name for name in FOLDERS if (root / name).is_dir()]
    if not folders:
        hint = "name the folder that holds both; `sipctl demo` shows a plan at work"
        raise FolderError(f"{root} holds neither sbc_configs/ nor dialplans/", hint=hint)
    for folder in folders:
        for path in _visible_files(folder):
            try:
                data = path.read_bytes()
            except OSError as error:
                raise FolderError(f"{path} cannot be read: {error.strerror}") from error
            total += len(data)
            if len(files) >= MAX_FILES or total > MAX_TOTAL_BYTES:
                raise FolderError(f"{root} holds more than {MAX_FILES} files or {MAX_TOTAL_BYTES >> 20} MiB")
            files[path.relative_to(root).as_posix()] = data
    return files


def read_texts(root: Path) -> dict[str, str]:
    """The same as texts, as revisions keep them; a UTF-8 byte order mark stays where it is.

    Raises: FolderError, also naming every file that is not UTF-8.
    """
    texts: dict[str, str] = {}
    wrong = []
    for path, data in read_folder(root).items():
        try:
            texts[path] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            wrong.append(f"{path}:{line}: not UTF-8")
    if wrong:
        raise FolderError("\n".join(wrong), hint="save these files as UTF-8")
    return texts


def _visible_files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if path.is_file()]
