"""`sipctl schema`: what is checked in is what the code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipctl.cli import schema_command
from sipctl.dialplan.schema import finding_codes, plan_keys, schemas
from sipctl.model.edge import EdgeDocument
from tests.cli.support import invoke

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> tuple[int, str]:
    return invoke(schema_command, *arguments)


@pytest.mark.parametrize("folder", ["sbc_configs", "dialplans"])
def test_schema_that_is_checked_in_is_current(folder: str) -> None:
    stored = json.loads((ROOT / "sipctl" / "schemas" / f"{folder}.schema.json").read_text())
    assert stored == schemas()[folder]
    code, text = run("schema", folder)
    assert code == 0
    assert json.loads(text) == stored


def test_documents_made_from_the_code_are_current() -> None:
    assert (ROOT / "docs" / "plan-keys.md").read_text() == plan_keys() == run("schema", "--markdown")[1]
    assert (ROOT / "docs" / "findings.md").read_text() == finding_codes() == run("schema", "--findings")[1]


def test_every_key_has_a_type_and_a_meaning() -> None:
    rows = [line.split(" | ") for line in plan_keys().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert all(len(row) == 7 and row[1].strip() and row[6].strip(" |") for row in rows)


def test_unknown_schema_ends_with_2() -> None:
    assert run("schema", "dialplan")[0] == 2


def test_schema_refers_to_every_model_it_defines() -> None:
    schema = EdgeDocument.model_json_schema()
    text = json.dumps(schema)
    assert all(f"#/$defs/{name}" in text for name in schema["$defs"])
