"""Operations at the command line: followed, aborted, approved; and what a terminal is asked first."""

from __future__ import annotations

from typing import Any

import pytest

from sipctl.control.ports import Answer, View
from tests.api.support import ThreadedDesk, a_status, a_view
from tests.cli.support import Shell

PROPOSAL = {
    "id": "P-1", "op": "failover", "text": "acme: new calls go to bcp and stay there until failback",
    "why": "acme asks for two-person moves", "by": ["operator", "admin"], "actor": "ops-1", "reason": "CHG0042", "force": [],
    "at_unix_s": 1_790_000_000.0, "until_unix_s": 1_790_001_800.0, "body": {"groups": ["acme"], "numbers": 41_230, "calls": 812},
}  # fmt: skip


def show(desk: ThreadedDesk, **detail: Any) -> None:
    async def say() -> None:
        desk.controller.say(View(a_status(), {**a_view().detail, **detail}))
        await desk.desk.settled()

    desk.run(say())


def going(desk: ThreadedDesk, shell: Shell) -> str:
    """A drain that goes on; its id."""
    desk.controller.script = lambda command: [
        Answer(command.id, "going", "fra-a is draining; fra-a takes no new calls; 3 are up", body={"sbc": "fra-a"}, final=False)
    ]
    ended = shell("sbc", "drain", "fra-a", "--reason", "x")
    identifier = desk.controller.commands[-1].id
    assert (ended.code, ended.out.splitlines()[-1]) == (0, f"it goes on: sipctl op watch {identifier}")
    row = {
        "id": identifier,
        "going": "drain",
        "what": "sbc",
        "name": "fra-a",
        "left": 3,
        "progress": "fra-a takes no new calls; 3 are up",
    }
    show(desk, operations=[row])
    return identifier


def test_a_drain_that_goes_on_is_exit_0_and_is_listed_with_how_far_it_is(desk: ThreadedDesk, shell: Shell) -> None:
    identifier = going(desk, shell)
    listed = shell("op", "ls")
    (line,) = [line for line in listed.out.splitlines() if identifier in line]
    assert "going" in line and "3 are up" in line
    shown = shell("op", "show", identifier)
    assert "progress: fra-a takes no new calls; 3 are up" in shown.out and "reason: x" in shown.out
    assert shell("op", "show", identifier, "-o", "json").json["progress"]["left"] == 3


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("aborted", 0), ("failed", 1), ("lost", 1)])
def test_watch_follows_to_the_end_and_ends_as_it_ends(desk: ThreadedDesk, shell: Shell, status: str, code: int) -> None:
    identifier = going(desk, shell)

    async def end() -> None:
        desk.controller.say(Answer(identifier, status, "fra-a is drained: no call is up"))
        await desk.desk.settled()

    desk.run(end())
    ended = shell("op", "watch", identifier)
    assert (ended.code, ended.out) == (code, f"{status}: fra-a is drained: no call is up\n")


def test_watch_that_has_seen_enough_is_exit_4_and_says_how_to_come_back(
    desk: ThreadedDesk, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipctl.cli.op_commands.WATCH_S", 0)
    identifier = going(desk, shell)
    ended = shell("op", "watch", identifier, "--timeout", "0")
    assert ended.code == 4 and f"sipctl op watch {identifier}" in ended.err
    assert ended.out == "going: fra-a takes no new calls; 3 are up\n"


@pytest.mark.parametrize(
    ("arguments", "op", "args"),
    [
        (["op", "abort", "op-1"], "op-abort", {"id": "op-1"}),
        (["op", "approve", "P-1"], "op-approve", {"id": "P-1"}),
        (["op", "reject", "P-1"], "op-reject", {"id": "P-1"}),
        (["break-glass", "on"], "break-glass", {"state": "on"}),
        (["break-glass", "off"], "break-glass", {"state": "off"}),
        (["failback", "--tenant", "acme-*", "--now"], "failback", {"tenant": "acme-*", "now": True}),
        (["failback", "--all", "--spread", "10m"], "failback", {"all": True, "now": False, "spread_s": 600.0}),
        (["failover", "--all", "--to", "bcp", "--partial"], "failover", {"all": True, "to": "bcp", "partial": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_each_command_asks_for_what_it_says(
    desk: ThreadedDesk, shell: Shell, arguments: list[str], op: str, args: dict[str, object]
) -> None:
    ended = shell(*arguments, "--reason", "CHG0042")
    assert ended.code == 0, ended.err
    (command,) = desk.controller.commands
    assert (command.op, dict(command.args), command.reason) == (op, args, "CHG0042")


def test_break_glass_goes_along_with_any_write_that_a_rule_may_forbid(desk: ThreadedDesk, shell: Shell) -> None:
    shell("failover", "acme", "--to", "bcp", "--reason", "x", "--break-glass", "--force", "target-out-of-service")
    shell("failover", "acme", "--to", "bcp", "--reason", "x")
    assert [(one.break_glass, one.force) for one in desk.controller.commands] == [(True, ("target-out-of-service",)), (False, ())]


def test_what_takes_a_second_person_is_exit_0_and_says_how_it_goes_on(desk: ThreadedDesk, shell: Shell) -> None:
    text = "proposal P-1: needs approval by another token (operator or admin): acme asks for two-person moves"
    desk.controller.script = lambda command: [Answer(command.id, "proposed", text, body={"groups": ["acme"], "proposal": "P-1"})]
    ended = shell("failover", "acme", "--to", "bcp", "--reason", "CHG0042")
    assert ended.code == 0
    assert ended.out.splitlines()[1:] == [
        text, "  groups: acme", "sipctl op approve P-1 --reason …, with the token of somebody else",
    ]  # fmt: skip
    show(desk, proposals=[PROPOSAL])
    listed = shell("op", "ls").out
    assert "P-1" in listed and "CHG0042" in listed and "acme asks for two-person moves" in listed
    shown = shell("op", "show", "P-1").out
    assert "needs: operator or admin, another token, until 2026-09-21 14:43:20Z" in shown and "numbers: 41230" in shown
    assert shell("op", "show", "P-2").code == 2


def test_a_move_of_several_that_is_refused_tells_what_each_of_them_says(desk: ThreadedDesk, shell: Shell) -> None:
    results = {"acme": "refused (pinned): acme is pinned to primary", "bank": "moves"}
    desk.controller.script = lambda command: [
        Answer(command.id, "refused", "acme is pinned", "pinned", body={"results": results})
    ]
    ended = shell("failover", "--all", "--to", "bcp", "--reason", "x")
    assert ended.code == 3
    assert ended.out.splitlines()[1:] == ["  acme: refused (pinned): acme is pinned to primary", "  bank: moves"]


@pytest.mark.parametrize("arguments", [["acme", "--partial"], ["acme", "--spread", "10m"], ["--all", "--spread", "soon"]])
def test_what_is_for_several_groups_is_a_usage_error_for_one(desk: ThreadedDesk, shell: Shell, arguments: list[str]) -> None:
    assert shell("failover", *arguments, "--to", "bcp", "--reason", "x").code == 2
    assert desk.controller.commands == []


class AtTerminal:
    """A stdin that somebody sits at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code", "commands"), [(True, 0, [True, False]), (False, 1, [True])])
def test_a_terminal_is_shown_what_is_touched_and_asked_first(
    desk: ThreadedDesk, shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int, commands: list[bool]
) -> None:
    asked: list[str] = []

    def confirm(text: str) -> bool:
        asked.append(text)
        return answer

    monkeypatch.setattr("sipctl.cli.operate.typer.confirm", confirm)
    monkeypatch.setattr("sipctl.cli.operate.sys.stdin", AtTerminal())
    desk.controller.script = lambda command: [
        Answer(command.id, "done", "acme: new calls go to bcp", body={"numbers": 41_230, "of_calls": 12})
    ]
    ended = shell("failover", "acme", "--to", "bcp", "--reason", "x")
    assert ended.code == code and asked == ["Go ahead?"]
    assert [command.dry_run for command in desk.controller.commands] == commands
    assert ended.out.splitlines()[:3] == ["acme: new calls go to bcp", "  numbers: 41230", "  of all calls up, %: 12"]
    asked.clear()
    assert shell("failover", "acme", "--to", "bcp", "--reason", "x", "--yes").code == 0 and asked == []
