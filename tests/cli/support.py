"""Runs one command in this process, as the shell would see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from sipctl.cli.main import main


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
