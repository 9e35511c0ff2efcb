"""Runs one command in this process, as the shell would see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sipctl.cli.main import main
from tests.dialplan.support import plan


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """`shell("status", "-o", "json")`."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> Ended:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = self._capture.readouterr()
        code = ended.value.code
        assert isinstance(code, int | None)
        return Ended(code or 0, out, err)


def invoke(part: ModuleType, *arguments: str) -> tuple[int, str]:
    """Run a command of one part alone; returns its exit code and what it printed."""
    app = typer.Typer()
    app.callback()(lambda: None)  # else a part of one command would take its name for an argument
    part.register(app)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def write_plan(folder: Path, *swaps: tuple[str, str]) -> Path:
    """The sound plan as files, with fragments replaced."""
    for path, data in plan(*swaps).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder
