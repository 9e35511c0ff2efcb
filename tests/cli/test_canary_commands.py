"""`sipctl canary` against a real desk with a scripted controller."""

from __future__ import annotations

import pytest

from sipctl.control.ports import Answer, Command
from tests.api.support import ThreadedDesk
from tests.cli.support import Shell

CANARY = {
    "revision": 813, "share": "5%", "permille": 50, "since": "2026-11-22T10:00:00Z", "until": None, "by": "ops-1",
    "reason": "CHG7", "judged": "too few calls to judge: 12 of the canary, 50 are needed", "is_well": False,
    "next": "it is not promoted by itself: sipctl canary promote", "stuck": None, "sbcs": {"fra-a": "out-of-service"},
    "calls": {"answered": 12, "busy": 1, "failed": 2, "cancelled": 3},
    "others": {"answered": 900, "busy": 20, "failed": 5, "cancelled": 9},
}  # fmt: skip


def test_show_says_that_none_runs(desk: ThreadedDesk, shell: Shell) -> None:
    ended = shell("canary", "show")
    assert (ended.code, ended.out) == (0, "no canary runs\n")


def test_show_and_status_tell_share_figures_and_what_comes_next(desk: ThreadedDesk, shell: Shell) -> None:
    desk.show(canary=CANARY)
    out = shell("canary", "show").out
    assert "revision 813 takes 5% of the callers" in out and "until an operator promotes it" in out
    assert "too few calls to judge" in out and "SBC fra-a of its plan alone: out-of-service" in out and "900" in out
    assert "canary: revision 813 takes 5%" in shell("status").out


@pytest.mark.parametrize(
    ("words", "op", "args"),
    [
        (["grow", "25%"], "canary-grow", {"permille": 250}),
        (["promote"], "canary-promote", {}),
        (["abort"], "canary-abort", {}),
    ],
)
def test_each_wish_is_one_command(desk: ThreadedDesk, shell: Shell, words: list[str], op: str, args: dict[str, object]) -> None:
    ended = shell("canary", *words, "--reason", "CHG7")
    assert ended.code == 0, ended
    command = desk.controller.commands[-1]
    assert (command.op, dict(command.args), command.reason) == (op, args, "CHG7")


def test_a_refusal_is_exit_3_and_names_its_rule(desk: ThreadedDesk, shell: Shell) -> None:
    def refuse(command: Command) -> list[Answer]:
        return [Answer(command.id, "refused", "no canary runs", "no-canary", "sipctl apply --canary 5% begins one")]

    desk.controller.script = refuse
    ended = shell("canary", "promote", "--reason", "x")
    assert ended.code == 3 and "rule no-canary" in ended.err and "apply --canary" in ended.err


@pytest.mark.parametrize("share", ["25", "0%", "100%", "many"])
def test_a_share_that_is_none_is_a_usage_error(desk: ThreadedDesk, shell: Shell, share: str) -> None:
    assert shell("canary", "grow", share, "--reason", "x").code == 2
    assert desk.controller.commands == []
