"""The plans a replay is about: a folder, a revision by number, the live one, or a file that holds a revision or a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sipctl.cli.client import EXIT_USAGE, Client, stop
from sipctl.cli.folder import plan_files
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.report import did_you_mean
from sipctl.errors import PlanError
from sipctl.routing.table import MAGIC, Table, load_table

LIVE: Final = "live"
LOGGED: Final = "logged"
MAX_FILE_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A plan before it is compiled."""

    label: str  # "live revision 812", "folder ."
    files: Mapping[str, bytes]
    image: bytes = b""  # instead of files

    def table(self) -> Table:
        """Compile or load it.

        Raises: PlanError with every finding; SnapshotError for a damaged image.
        """
        if self.image:
            return load_table(self.image)
        compiled = compile_plan(self.files, {}, revision=0, tests=False)
        if not compiled.image:
            raise PlanError(compiled.findings)
        return load_table(compiled.image)


def read_source(text: str, state: Path) -> Source:
    """What `--old` and `--new` name; ends the command with 2 if there is no such plan."""
    if text == LIVE or text.isdigit():
        return _revision(text, state)
    path = Path(text)
    if path.is_dir():
        return Source(f"folder {text}", plan_files(path))
    if not path.is_file():
        hint = did_you_mean(text, (LIVE, LOGGED)) or "live, logged, a revision's number, a folder, or a file with a revision"
        stop(EXIT_USAGE, f"there is no plan {text}", hint)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            stop(EXIT_USAGE, f"{text} is larger than {MAX_FILE_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        stop(EXIT_USAGE, f"{text} cannot be read: {error.strerror}")
    if data.startswith(MAGIC):
        return Source(f"table {text}", {}, data)
    return Source(f"revision in {text}", _files_in(text, data))


def _revision(text: str, state: Path) -> Source:
    client = Client.find(state)
    number: object = text
    if text == LIVE:
        number = client.get("/v1/revisions", {"limit": 1}).get("live")
        if number is None:
            stop(EXIT_USAGE, "no revision is live", "name two plans: --old DIR --new DIR")
    files: Mapping[str, str] = client.get(f"/v1/revisions/{number}")["files"]
    label = f"live revision {number}" if text == LIVE else f"revision {number}"
    return Source(label, {path: body.encode("utf-8", "surrogateescape") for path, body in files.items()})


def _files_in(name: str, data: bytes) -> dict[str, bytes]:
    """The files of a revision as `GET /v1/revisions/N` gives it."""
    try:
        files = json.loads(data)["files"]
        return {str(path): body.encode("utf-8", "surrogateescape") for path, body in files.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        stop(EXIT_USAGE, f"{name} is neither a revision nor a table", "GET /v1/revisions/N gives a revision")
