"""Findings for other programs: the shape of SARIF 2.1.0, and GitHub's workflow commands, whatever a plan's text holds."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sipctl.dialplan.lint.formats import caret_width, github, sarif
from sipctl.dialplan.report import CODES
from sipctl.errors import Finding

FINDING = Finding(
    "dialplans/plan.yaml", 4, 10, "plan.unknown-name", "error", "no tenant is called bcpp", "did you mean bcp?", "    bcp: bcpp"
)
WHOLE_FILE = Finding("sbc_configs/a b.yaml", 0, 0, "file.ignored", "warning", "nothing reads it")
NOWHERE = Finding("", 0, 0, "plan.more-findings", "warning", "3 more")


def assert_sarif(log: dict[str, Any]) -> None:
    """What SARIF 2.1.0 requires of the parts we write, by section of the standard."""
    assert set(log) == {"$schema", "version", "runs"} and log["version"] == "2.1.0"  # 3.13
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    assert set(run) <= {"tool", "results", "invocations", "columnKind"}  # 3.14
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    assert all(isinstance(one["executionSuccessful"], bool) for one in run["invocations"])  # 3.20
    driver = run["tool"]["driver"]  # 3.19
    assert driver["name"] and driver["version"]
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:  # 3.49
        assert set(rule) <= {"id", "shortDescription", "help", "defaultConfiguration"}
        assert rule["shortDescription"]["text"] and rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    for result in run["results"]:  # 3.27
        assert set(result) <= {"ruleId", "ruleIndex", "level", "message", "locations"}
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert isinstance(result["message"]["text"], str)
        for location in result.get("locations", []):  # 3.28, 3.29
            physical = location["physicalLocation"]
            assert set(physical) <= {"artifactLocation", "region"}
            assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", physical["artifactLocation"]["uri"])  # RFC 3986
            region = physical.get("region")  # 3.30: lines and columns count from 1, the end lies behind the start
            if region is not None:
                assert region["startLine"] >= 1
                if "startColumn" in region:
                    assert 1 <= region["startColumn"] < region["endColumn"]


def test_sarif_has_its_shape_and_says_where() -> None:
    log = sarif([FINDING, WHOLE_FILE, NOWHERE, FINDING], "0.1.0", "plans/")
    assert_sarif(json.loads(json.dumps(log)))
    first, second, third, _ = log["runs"][0]["results"]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "plans/dialplans/plan.yaml"},
        "region": {"startLine": 4, "startColumn": 10, "endColumn": 14, "snippet": {"text": "    bcp: bcpp"}},
    }
    assert first["message"]["text"] == "no tenant is called bcpp (did you mean bcp?)"
    assert second["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "plans/sbc_configs/a%20b.yaml"}}}]
    assert "locations" not in third
    assert [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]] == [
        "file.ignored", "plan.more-findings", "plan.unknown-name",
    ]  # fmt: skip


def test_plan_without_findings_is_a_log_without_results() -> None:
    log = sarif([], "0.1.0")
    assert_sarif(log)
    assert log["runs"][0]["results"] == []


def test_github_command_names_file_line_and_columns() -> None:
    assert github([FINDING, WHOLE_FILE, NOWHERE]) == [
        "::error title=plan.unknown-name,file=dialplans/plan.yaml,line=4,col=10,endColumn=13::"
        "no tenant is called bcpp%0Ahint: did you mean bcp?",
        "::warning title=file.ignored,file=sbc_configs/a b.yaml::nothing reads it",
        "::warning title=plan.more-findings::3 more",
    ]


TEXTS = st.text(max_size=30)
FINDINGS = st.builds(
    Finding,
    path=st.sampled_from(["", "dialplans/ü,:%\n.yaml", "sbc_configs/a.yaml"]),
    line=st.integers(0, 9),
    column=st.integers(0, 40),
    code=st.sampled_from(sorted(CODES)),
    severity=st.sampled_from(["error", "warning"]),
    message=TEXTS,
    hint=TEXTS,
    excerpt=TEXTS,
)


@given(st.lists(FINDINGS, max_size=4))
@settings(max_examples=100, deadline=None)
def test_whatever_a_plan_says_both_formats_hold(findings: list[Finding]) -> None:
    assert_sarif(json.loads(json.dumps(sarif(findings, "0.1.0"))))
    for finding, command in zip(findings, github(findings), strict=True):
        assert "\n" not in command and "\r" not in command
        parts = re.fullmatch(r"::(error|warning) ([^:]*)::(.*)", command, re.DOTALL)
        assert parts is not None
        properties = dict(pair.split("=", 1) for pair in parts[2].split(","))
        assert properties["title"] == finding.code
        assert set(properties) <= {"title", "file", "line", "col", "endColumn"}


def _object(required: str, **properties: object) -> dict[str, object]:
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


_TEXT = {"type": "string"}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
_FROM_1 = {"type": "integer", "minimum": 1}
_MESSAGE = _object("text", text=_TEXT)
# What the OASIS schema of SARIF 2.1.0 demands of the objects we write: nothing it does not know, required keys, least values
SARIF_RULES = _object(
    "version runs",
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"enum": ["2.1.0"]},
    runs={
        "type": "array",
        "items": _object(
            "tool",
            tool=_object(
                "driver",
                driver=_object(
                    "name", name=_TEXT, version=_TEXT,
                    rules={
                        "type": "array", "uniqueItems": True,
                        "items": _object("id", id=_TEXT, shortDescription=_MESSAGE, help=_MESSAGE,
                                         defaultConfiguration=_object("", level=_LEVEL)),
                    },
                ),
            ),
            columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            invocations={"type": "array", "items": _object("executionSuccessful", executionSuccessful={"type": "boolean"})},
            results={
                "type": "array",
                "items": _object(
                    "message", ruleId=_TEXT, ruleIndex={"type": "integer", "minimum": -1}, level=_LEVEL, message=_MESSAGE,
                    locations={
                        "type": "array",
                        "items": _object("", physicalLocation=_object(
                            "artifactLocation",
                            artifactLocation=_object("uri", uri={"type": "string", "pattern": r"^[^\s:#?]+$"}),
                            region=_object(
                                "startLine", startLine=_FROM_1, startColumn=_FROM_1, endColumn=_FROM_1, snippet=_MESSAGE
                            ),
                        )),
                    },
                ),
            },
        ),
    },
)  # fmt: skip


@given(st.lists(FINDINGS, max_size=5))
@settings(max_examples=100, deadline=None)
def test_every_log_keeps_the_rules_of_the_sarif_schema(findings: list[Finding]) -> None:
    log = json.loads(json.dumps(sarif(findings, "0.1", "plans/")))
    Draft202012Validator(SARIF_RULES).validate(log)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        for location in result.get("locations", ()):
            region = location["physicalLocation"].get("region", {})
            assert region.get("endColumn", 1 << 30) > region.get("startColumn", 0)


@pytest.mark.parametrize(("rest", "width"), [("bcpp, x", 4), ("'a b' c", 5), ('"open', 5), ("", 1), ("x" * 100, 60), (": y", 1)])
def test_caret_marks_the_word_or_the_quoted_text(rest: str, width: int) -> None:
    assert caret_width(rest) == width
