"""The checked-in JSON Schemas, as editors use them: on single files, whose scalars have the types YAML 1.2 gives them.

That they are what the models give is held by tests/cli/test_schema_command.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("sbc_configs", "dialplans")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.y*ml"))]


def schema(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "sipctl" / "schemas" / f"{folder}.schema.json").read_text())
    return found


def complaints(folder: str, text: str) -> list[str]:
    document = YAML(typ="safe", pure=True).load(text)
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema(folder)).iter_errors(document)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_schema_is_sound(folder: str) -> None:
    Draft202012Validator.check_schema(schema(folder))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_example_validates_and_names_its_schema(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    text = path.read_text()
    assert complaints(folder, text) == []
    line = text.splitlines()[0]
    assert line.startswith("# yaml-language-server: $schema=")
    named = (path.parent / line.partition("=")[2]).resolve()
    assert named == ROOT / "sipctl" / "schemas" / f"{folder}.schema.json" and named.is_file()


LANGUAGE = """\
schedules:
  branch: {zone: Europe/Berlin, open: ["Mon-Fri 08:00-18:00"], holidays: DE-BE, closed: ["2026-12-24"]}
exits:
  pstn: {sbc_pair: carrier-out, allow: ["+49."], max_calls: 50}
entry_points:
  cards:
    schedule: branch
    numbers: ["+4930901820"]
    closed: {to: {entry_point: night}}
    overflow: [{entry_point: general}, {number: "+4969555000", exit: pstn}]
    unusable: {to: {sbc_pair: announcements, called: ann-1}}
    split: {retail: 90%, pilot: 10%}
overlays:
  emergency: {entry_points: {"*": {to: {sbc_pair: announcements, called: ann-1}}}}
switches:
  stop: {match: {entry_point: cards}, refuse: {code: 480, cause: 41}}
"""
SEND = """\
sbc_pairs:
  bcp:
    sbcs: {bcp-a: {uri: "sip:10.0.0.1"}}
    send: {called: e164, headers: {set: {X-Entry-Point: "{entry_point}"}, remove: [X-Trunk]},
           diversion: dialled, identity: strip, uui: pass}
"""


@pytest.mark.parametrize(("folder", "text"), [("dialplans", LANGUAGE), ("sbc_configs", SEND)])
def test_every_key_of_the_language_is_known(folder: str, text: str) -> None:
    assert complaints(folder, text) == []


@pytest.mark.parametrize(
    ("folder", "text", "where"),
    [
        ("dialplans", "entry_point: {}\n", "$"),
        ("dialplans", "entry_points: {a: {grup: x}}\n", "$.entry_points.a"),
        ("dialplans", "continuity_groups: {a: {primary: x, bcp: y, failover: perhaps}}\n", "$.continuity_groups.a.failover"),
        ("sbc_configs", "trunks: {a: {sources: [192.0.2.1], max_cals: 5}}\n", "$.trunks.a"),
    ],
)
def test_a_slip_is_shown_where_it_stands(folder: str, text: str, where: str) -> None:
    assert where in {complaint.partition(":")[0] for complaint in complaints(folder, text)}
