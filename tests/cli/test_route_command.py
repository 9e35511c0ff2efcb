"""`sipctl route` of a folder, as people and programs see it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sipctl.cli import check_command, route_command
from tests.cli.support import invoke
from tests.cli.support import write_plan as write


def run(*arguments: str) -> tuple[int, str]:
    return invoke(route_command, *arguments)


def ask(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, text = run("route", *arguments, "--config", str(folder), "-o", "json")
    return code, json.loads(text)


def test_route_says_what_was_asked_first_and_where_the_call_goes(tmp_path: Path) -> None:
    code, text = run("route", "+49 30 901820", "--trunk", "one", "--config", str(write(tmp_path)))
    assert code == 0
    lines = text.splitlines()
    assert lines[0] == f"folder {tmp_path}, every SBC assumed in service"
    assert "+4930901820 is sales (exact number)" in text
    assert re.findall(r"\d\. (\S+) of", text) == ["fra-a", "fra-b", "ams-a", "ams-b"]
    assert "answer: +4930901820 is sales" in lines[-1]


def test_route_assumes_what_is_given(tmp_path: Path) -> None:
    code, body = ask(
        write(tmp_path), "+4930901820", "--trunk", "one", "--given", "prod=out-of-service", "--given", "ams-a=unknown"
    )
    assert code == 0
    assert (body["tenant"], body["side"]) == ("bcp", "bcp")
    assert [target["sbc"] for target in body["targets"]] == ["ams-b", "ams-a"]
    assert body["asked"].endswith("every SBC assumed in service but prod=out-of-service, ams-a=unknown")


def test_refused_call_ends_with_1_and_its_status(tmp_path: Path) -> None:
    code, body = ask(write(tmp_path), "+4999", "--trunk", "one")
    assert code == 1
    assert (body["refused"], body["q850_cause"], body["targets"]) == (404, 1, [])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--trunk", "two"],
        ["--trunk", "one", "--given", "nobody=out-of-service"],
        ["--trunk", "one", "--given", "fra-a=dead"],
        ["--trunk", "one", "--at", "2026-12-24T20:00"],
        ["--trunk", "one", "--at", "tomorrow"],
        ["--trunk", "one", "--at", "0001-01-01 00:00 Europe/Berlin"],
    ],
)
def test_question_that_cannot_be_asked_ends_with_2(tmp_path: Path, arguments: list[str]) -> None:
    assert run("route", "+4930901820", "--config", str(write(tmp_path)), *arguments)[0] == 2


def test_faulty_folder_is_told_with_its_findings(tmp_path: Path) -> None:
    code, text = run(
        "route", "+4930901820", "--trunk", "one", "--config", str(write(tmp_path, ("    bcp: bcp\n", "    bcp: bcpp\n")))
    )
    assert code == 2
    assert "plan.unknown-name" in text


# -- time, overlays, switches, counts --------------------------------------------------------------------------------------------

TREATED = (
    "tests:\n",
    """schedules:
  hours: {zone: Europe/Berlin, open: ["Mon-Fri 08:00-18:00"]}
exits:
  pstn: {sbc_pair: out, allow: ["+49."], max_calls: 5}
overlays:
  storm: {entry_points: {support: {to: {number: "+4969555000", exit: pstn}}}}
switches:
  stop: {match: {trunk: one}, refuse: 503, cause: 34}
tests:
""",
)
HOURS = (
    '    numbers: ["+4930901820", "+4930901821XX"]\n',
    """    numbers: ["+4930901820", "+4930901821XX"]
    schedule: hours
    closed: {to: {entry_point: support}}
    max_calls: 3
""",
)
AT = ("    expect: {entry_point: sales, tenant: prod}\n", "    at: 2026-12-23 10:00\n    expect: {entry_point: sales}\n")
OUT = ("tenants:\n", '  out: {sbcs: {out-a: {uri: "sip:10.6.1.1"}, out-b: {uri: "sip:10.6.1.2", priority: 2}}}\ntenants:\n')


def treated(folder: Path) -> Path:
    return write(folder, TREATED, HOURS, OUT, AT)


def kinds(body: dict[str, Any]) -> list[str]:
    return [step["step"] for step in body["tree"]["steps"]]


def test_closed_hours_send_the_call_on_and_the_story_says_when_they_end(tmp_path: Path) -> None:
    folder = treated(tmp_path)
    asked = ("+4930901820", "--trunk", "one")
    code, body = ask(folder, *asked, "--at", "2026-12-23 19:00")
    assert (code, body["entry_point"], body["at"]) == (0, "support", "2026-12-23T18:00:00Z")
    assert body["asked"].endswith("in service, at 2026-12-23 19:00")
    hop = next(step for step in body["tree"]["steps"] if step["step"] == "sent-on")
    assert (hop["text"], hop["facts"]["reason"]) == ("sales is closed (schedule hours)", "closed")
    assert [step["text"] for step in hop["steps"][-1]["steps"]] == [
        "it is Wed 2026-12-23 19:00 +0100 in Europe/Berlin",
        "opens Thu 2026-12-24 08:00 +0100",
    ]
    assert ask(folder, *asked, "--at", "2026-12-23 10:00 Europe/Berlin")[1]["entry_point"] == "sales"
    assert re.search(r", at \d{4}-\d\d-\d\dT[0-9:]+Z \(now\)$", ask(folder, *asked)[1]["asked"])


def test_overlay_kill_switch_and_counts_may_be_assumed(tmp_path: Path) -> None:
    folder = treated(tmp_path)
    code, body = ask(folder, "+4930901900", "--trunk", "one", "--given", "storm=on")
    assert (code, body["tenant"], body["called"], body["group"]) == (0, "exit:pstn", "+4969555000", None)
    assert kinds(body) == ["number", "rules", "sent-on", "limits", "sbcs", "advance", "invite", "answer"]
    code, body = ask(folder, "+4930901900", "--trunk", "one", "--given", "storm=on", "--given", "exit:pstn=5")
    assert (code, body["refused"], body["limit"], kinds(body)[-2]) == (1, 486, "exit", "place")
    code, body = ask(folder, "+4930901900", "--trunk", "one", "--given", "stop=on")
    assert (code, body["refused"], body["q850_cause"], kinds(body)[-2]) == (1, 503, 34, "switches")
    code, body = ask(folder, "+4930901820", "--trunk", "one", "--given", "sales=3", "--at", "2026-12-23 10:00")
    assert (code, body["limit"]) == (1, "entry-point")


@pytest.mark.parametrize("given", ["storm=off", "sales=many", "stop=", "nobody=on", "fra-a=on", "=on", "sales"])
def test_state_that_nothing_can_have_ends_with_2(tmp_path: Path, given: str) -> None:
    assert run("route", "+4930901820", "--trunk", "one", "--config", str(treated(tmp_path)), "--given", given)[0] == 2


@pytest.mark.parametrize("arguments", [["storm=on"], ["stop=on"], ["sales=3"], ["prod=out-of-service", "bcp=disabled"]])
def test_question_with_any_state_and_time_becomes_a_test_that_passes(tmp_path: Path, arguments: list[str]) -> None:
    folder = treated(tmp_path)
    states = [part for given in arguments for part in ("--given", given)]
    for number in ("+4930901820", "+4930901900"):
        for at in ("2026-12-23 10:00", "2026-12-23 19:00"):
            asked = ("route", number, "--trunk", "one", "--config", str(folder), "--at", at, *states)
            text = run(*asked, "--save-as-test", str(folder / "dialplans/saved.yaml"))[1]
            assert text.splitlines()[-1].startswith("saved in "), text
    assert invoke(check_command, "check", str(folder))[0] == 0
    assert (folder / "dialplans/saved.yaml").read_text().count("- name:") == 4
