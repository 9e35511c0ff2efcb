"""`sipctl overlay` and `sipctl switch`: what they print, what they ask for, how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sipctl.control.ports import Answer, DecisionRecord
from sipctl.engine.generation import Generations
from sipctl.routing.snapshot import RoutingState
from tests.api.support import ThreadedDesk
from tests.api.test_overlays import OFF, ON
from tests.cli.support import Shell


@pytest.fixture
def ready(desk: ThreadedDesk) -> ThreadedDesk:
    desk.show(overlays={"emergency": ON, "evening": OFF}, switches={"fraud": {**ON, "until": None, "until_unix_s": None}})
    return desk


def test_a_list_shows_what_is_on_first_and_until_when(ready: ThreadedDesk, shell: Shell) -> None:
    lines = shell("overlay", "ls").out.splitlines()
    assert lines[1].split() == ["OVERLAY", "STATE", "UNTIL", "BY", "NUMBERS", "CALLS", "WHAT", "REASON"]
    assert lines[2].split()[:6] == ["emergency", "on", "2099-01-01", "00:00:00Z", "ops-1", "202"]
    assert lines[3].split()[:3] == ["evening", "off", "-"] and "to pair:ann, dialling ann-1" in lines[3]
    assert "switched off" in shell("switch", "ls").out
    assert shell("overlay", "ls", "-o", "json").json == {"emergency": ON, "evening": OFF}


def test_status_shows_those_that_are_on_and_no_others(ready: ThreadedDesk, shell: Shell) -> None:
    out = shell("status").out
    assert "emergency" in out and "fraud" in out and "evening" not in out
    ready.show(overlays={"emergency": OFF}, switches={})
    assert "overlays" not in shell("status").out


@pytest.mark.parametrize(
    ("arguments", "op", "args"),
    [
        (["overlay", "on", "evening"], "overlay-on", {"overlay": "evening", "until": None}),
        (["overlay", "on", "evening", "--until", "2099-01-01T01:00:00+01:00"], "overlay-on",
         {"overlay": "evening", "until": 4_070_908_800.0}),
        (["overlay", "off", "emergency"], "overlay-off", {"overlay": "emergency"}),
        (["switch", "on", "fraud", "--until", "2099-01-01T00:00:00Z"], "switch-on",
         {"switch": "fraud", "until": 4_070_908_800.0}),
        (["switch", "off", "fraud"], "switch-off", {"switch": "fraud"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_each_write_asks_for_what_it_says(
    ready: ThreadedDesk, shell: Shell, arguments: list[str], op: str, args: dict[str, object]
) -> None:
    ended = shell(*arguments, "--reason", "CHG7")
    assert ended.code == 0, ended.err
    (command,) = ready.controller.commands
    assert (command.op, dict(command.args), command.reason) == (op, args, "CHG7")
    assert ended.out == f"operation {command.id}\n{op} is done\n"


def test_until_a_clock_time_is_the_next_one_and_a_span_counts_from_now(
    ready: ThreadedDesk, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = datetime.fromtimestamp(ready.desk.now_s, UTC)
    monkeypatch.setattr("sipctl.cli.until.utc_now", lambda: before)
    assert shell("overlay", "on", "evening", "--until", "90m", "--reason", "x").code == 0
    assert shell("overlay", "on", "evening", "--until", "06:00", "--reason", "x").code == 0
    span, clock = (datetime.fromtimestamp(command.args["until"], UTC) for command in ready.controller.commands)
    assert span - before == timedelta(minutes=90)
    assert timedelta(0) < clock - before <= timedelta(hours=24)
    assert (clock.astimezone().hour, clock.astimezone().minute) == (6, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["overlay", "on", "evening"], ["overlay", "on", "evening", "--until", "tomorrow", "--reason", "x"],
        ["switch", "on", "fraud", "--until", "2099-01-01T00:00:00", "--reason", "x"], ["overlay", "on", "fraud", "--reason", "x"],
        ["overlay", "toggle", "evening", "--reason", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_exit_2_and_reaches_nobody(ready: ThreadedDesk, shell: Shell, arguments: list[str]) -> None:
    assert shell(*arguments).code == 2
    assert ready.controller.commands == []


def test_a_collision_is_exit_3_with_its_rule_and_can_be_forced(ready: ThreadedDesk, shell: Shell) -> None:
    ready.controller.script = lambda command: [
        Answer(command.id, "done", "on")
        if "overlay-collides" in command.force
        else Answer(command.id, "refused", "overlays collide", "overlay-collides", "sipctl overlay off emergency")
    ]
    ended = shell("overlay", "on", "evening", "--reason", "x")
    assert ended.code == 3 and "(rule overlay-collides)" in ended.err and "hint: sipctl overlay off emergency" in ended.err
    assert shell("overlay", "on", "evening", "--reason", "x", "--force", "overlay-collides").code == 0


def test_a_dry_run_prints_entry_points_numbers_and_calls(ready: ThreadedDesk, shell: Shell) -> None:
    body = {"overlay": "evening", "entry_points": ["acme-sales", "acme-support"], "numbers": 202, "calls": 15, "dry_run": True}
    ready.controller.script = lambda command: [Answer(command.id, "done", "would do: it is on", body=body)]
    ended = shell("overlay", "on", "evening", "--reason", "x", "--dry-run")
    assert ready.controller.commands[0].dry_run
    assert ended.out.splitlines()[1:] == [
        "would do: it is on", "  overlay: evening", "  entry points: acme-sales, acme-support", "  numbers: 202", "  calls: 15",
    ]  # fmt: skip


def test_history_says_who_and_why(ready: ThreadedDesk, shell: Shell) -> None:
    text = "overlay emergency is on until it is switched off: ops-1: CHG7"
    ready.desk.store.append_decision(
        DecisionRecord("overlay emergency", 0, 4, 1_790_000_000.0, "operator", text, {}, {}, {}, "ops-1", "overlay")
    )
    out = shell("overlay", "history", "emergency").out
    assert "2026-09-21 14:13:20Z" in out and text in out
    assert "overlay emergency" in shell("history").out
    assert shell("overlay", "history", "evening").out == "overlay evening: none\n"


def test_without_any_controller_the_disk_tells_what_is_on(shell: Shell, state: Path) -> None:
    held = RoutingState(4, 97, 812, "ab" * 16, overlays=(("emergency", 4_070_908_800.0),), switches=(("fraud", 0.0),))
    (state / "run").mkdir()
    Generations(state / "snapshots").write(held, b"table")
    out = shell("status", "--local").out
    assert "emergency" in out and "2099-01-01 00:00:00Z" in out and "fraud" in out and "switched off" in out
    body = shell("status", "--local", "-o", "json").json["snapshot"]
    assert (body["overlays"], body["switches"]) == (
        {"emergency": {"until_unix_s": 4_070_908_800.0}}, {"fraud": {"until_unix_s": None}},
    )  # fmt: skip
