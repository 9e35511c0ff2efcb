"""`apply`: two people who edit the same revision, a folder that remembers, a plan that changed meanwhile."""

from pathlib import Path

import pytest

from sipctl.control.ports import Answer, Command, Revision
from tests.api.support import ThreadedDesk
from tests.cli.support import Shell

SALES = "entry_points: {}\n"


def a_folder(root: Path, text: str = SALES) -> Path:
    (root / "dialplans").mkdir(parents=True)
    (root / "dialplans" / "acme.yaml").write_text(text, "utf-8")
    return root


def live(desk: ThreadedDesk, number: int, base: int | None, text: str = SALES) -> None:
    desk.desk.store.add_revision(Revision(number, 5.0, "mary", "CHG7", None, base, {"dialplans/acme.yaml": text}))
    desk.desk.store.set_live(number, 6.0)


def taken(desk: ThreadedDesk, number: int, diff: tuple[str, ...] = ("412 numbers move from a to b",)) -> None:
    """The controller takes what comes as that revision: shown first, then done."""

    def script(command: Command) -> list[Answer]:
        body = {"revision": number, "base": number - 1, "diff": list(diff), "restart": [], "numbers": 412}
        if command.dry_run:
            return [Answer(command.id, "done", f"would make revision {number} live", body={**body, "dry_run": True})]
        return [Answer(command.id, "done", f"revision {number} is live", body=body)]

    desk.controller.script = script


def bases(desk: ThreadedDesk) -> list[int]:
    """Of each apply, dry runs told apart by a minus."""
    return [command.args["base"] * (-1 if command.dry_run else 1) for command in desk.controller.commands]


def test_the_first_apply_builds_on_the_seed_and_each_further_one_on_the_last(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path
) -> None:
    folder = a_folder(tmp_path / "mine", "entry_points: {a: {}}\n")
    live(desk, 1, None)
    taken(desk, 2)
    assert shell("apply", str(folder), "--reason", "x").code == 0
    live(desk, 2, 1)
    live(desk, 3, 2)  # somebody else
    assert shell("apply", str(folder), "--reason", "x", "--dry-run").code == 0
    assert shell("apply", str(folder), "--reason", "x", "--base", "3").code == 0
    assert bases(desk) == [-1, 1, -2, -3, 3], "what was applied from the folder last, not what happens to be live"


def test_the_second_of_two_editors_is_told_of_the_first(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    theirs = a_folder(tmp_path / "theirs", "entry_points: {b: {}}\n")
    live(desk, 1, None)
    live(desk, 2, 1, "entry_points: {a: {}}\n")
    ended = shell("apply", str(theirs), "--reason", "x")
    assert ended.code == 3 and "mary made revision 2 live: CHG7" in ended.err and "--base 2" in ended.err
    assert desk.controller.commands == []
    assert shell("apply", str(theirs), "--reason", "x", "--base", "2").code == 0


def test_a_fresh_copy_of_the_live_plan_may_be_applied_again(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    live(desk, 1, None)
    live(desk, 2, 1)
    taken(desk, 2)
    assert shell("apply", str(a_folder(tmp_path / "copy")), "--reason", "x").code == 0
    assert bases(desk) == [-2, 2]


def test_a_dry_run_and_a_refusal_are_not_remembered(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "mine", "entry_points: {a: {}}\n")
    live(desk, 1, None)
    taken(desk, 2)
    assert shell("apply", str(folder), "--reason", "x", "--dry-run").code == 0
    desk.controller.script = lambda command: [Answer(command.id, "conflict", "revision 2 is live, not 1", "stale-base")]
    assert shell("apply", str(folder), "--reason", "x").code == 3
    assert not (folder / ".sipctl" / "applied.json").exists()


# -- shown first, then done ----------------------------------------------------------------------------------------------------


def test_what_changes_for_calls_is_shown_before_it_changes(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    live(desk, 1, None)
    taken(desk, 2)
    ended = shell("apply", str(a_folder(tmp_path / "mine", "entry_points: {a: {}}\n")), "--reason", "x")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines.index("  412 numbers move from a to b") < lines.index("revision 2 is live")
    assert [command.dry_run for command in desk.controller.commands] == [True, False]


def test_a_change_that_needs_a_restart_says_so(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    live(desk, 1, None)
    desk.controller.script = lambda command: [
        Answer(
            command.id,
            "done",
            "x",
            body={"dry_run": True, "diff": ["listen outside changed"], "restart": ["listen outside changed"]},
        )
    ]
    ended = shell("apply", str(a_folder(tmp_path / "mine", "entry_points: {a: {}}\n")), "--reason", "x", "--dry-run")
    assert ended.code == 0 and "next start of `sipctl run`" in ended.err


def test_the_second_editor_is_told_what_the_first_changed(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    live(desk, 2, 1)
    since = [{"revision": 2, "author": "mary", "reason": "CHG7", "rollback_to": None, "diff": ["412 numbers move from a to b"]}]
    desk.controller.script = lambda command: [
        Answer(command.id, "conflict", "revision 2 is live, not 1", "stale-base", "then --base 2", {"since": since})
    ]
    ended = shell("apply", str(a_folder(tmp_path / "mine", "x: 1\n")), "--reason", "x", "--base", "1")
    assert ended.code == 3 and "revision 2 is live, not 1" in ended.err and "--base 2" in ended.err
    assert "revision 2 by mary: CHG7\n  412 numbers move from a to b\n" in ended.out
    assert len(desk.controller.commands) == 1, "the rehearsal was refused"


def test_a_refusal_that_took_its_time_has_the_same_exit_code_and_names_its_rule(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path
) -> None:
    live(desk, 1, None)
    desk.controller.script = lambda command: [
        Answer(command.id, "accepted", "compiling", final=False),
        Answer(command.id, "refused", "acme is held at bcp by mary", "group-not-normal", "renamed_from: acme"),
    ]
    ended = shell("apply", str(a_folder(tmp_path / "mine", "x: 1\n")), "--reason", "x")
    assert ended.code == 3 and "acme is held at bcp by mary (rule group-not-normal)" in ended.err and "renamed_from" in ended.err


def test_an_apply_that_only_some_routers_have_ends_with_4_and_says_who_is_missing(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path
) -> None:
    live(desk, 1, None)
    taken(desk, 2)
    shown = desk.controller.script

    def script(command: Command) -> list[Answer]:
        if command.dry_run:
            return shown(command)
        text = "revision 2 is live; not everywhere yet: r2 (refused: unknown table)"
        return [Answer(command.id, "accepted", text, body={"missing": ["r2"]}, final=False)]

    desk.controller.script = script
    folder = a_folder(tmp_path / "mine", "x: 1\n")
    ended = shell("apply", str(folder), "--reason", "x", "--timeout", "0.2")
    assert ended.code == 4 and "not everywhere yet: r2 (refused: unknown table)" in ended.err
    assert desk.controller.commands[-1].id in ended.out + ended.err


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["5%"], {"canary": 50}),
        (["0.5%", "--canary-for", "2h"], {"canary": 5, "canary_for_s": 7200.0}),
        (["25%", "--canary-hold"], {"canary": 250, "canary_for_s": None}),
    ],
)
def test_apply_to_a_share_of_the_callers_first(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path, words: list[str], args: dict[str, object]
) -> None:
    taken(desk, 2)
    ended = shell("apply", str(a_folder(tmp_path / "mine", "x: 1\n")), "--reason", "x", "--canary", *words)
    assert ended.code == 0 and "sipctl canary show tells how it goes" in ended.out, ended
    asked = dict(desk.controller.commands[-1].args)
    assert {name: asked[name] for name in ("canary", "canary_for_s") if name in asked} == args


@pytest.mark.parametrize(
    "words",
    [
        ["--canary", "5"], ["--canary", "0%"], ["--canary", "100%"], ["--canary-for", "10m"], ["--canary-hold"],
        ["--canary", "5%", "--canary-for", "10m", "--canary-hold"], ["--canary", "5%", "--canary-for", "soon"],
    ],
)  # fmt: skip
def test_a_canary_that_makes_no_sense_is_refused_before_anything_is_sent(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path, words: list[str]
) -> None:
    ended = shell("apply", str(a_folder(tmp_path / "mine")), "--reason", "x", *words)
    assert ended.code == 2 and desk.controller.commands == []


# -- rollback and history ------------------------------------------------------------------------------------------------------


def test_a_rollback_is_shown_and_then_done_on_top_of_what_is_live(desk: ThreadedDesk, shell: Shell) -> None:
    live(desk, 1, None)
    live(desk, 2, 1)
    taken(desk, 3)
    ended = shell("rollback", "1", "--reason", "CHG8 went wrong", "--again")
    assert (ended.code, ended.out.splitlines()[-2].split()[:2]) == (0, ["revision", "3"])
    asked = [(one.op, one.args["revision"], one.args["base"], one.args["again"]) for one in desk.controller.commands]
    assert asked == [("rollback", 1, 2, True)] * 2 and [one.dry_run for one in desk.controller.commands] == [True, False]


def test_the_history_tells_who_why_and_what_changed(desk: ThreadedDesk, shell: Shell) -> None:
    live(desk, 1, None)
    kept = Revision(
        2,
        5.0,
        "mary",
        "CHG8",
        "3f9c1e2",
        1,
        {"dialplans/a.yaml": "x: 1\n"},
        None,
        "ab" * 32,
        1,
        ("tests",),
        True,
        ("3 numbers lose their BCP",),
    )
    desk.desk.store.add_revision(kept)
    listed = shell("revisions")
    assert listed.code == 0 and "CHG8 (back to 1; despite tests; never live)" in listed.out
    shown = shell("revisions", "show", "2", "--files")
    for line in (
        "by          mary",
        "back to     1",
        "despite     tests",
        "  3 numbers lose their BCP",
        "--- dialplans/a.yaml",
        "x: 1",
    ):
        assert line in shown.out.splitlines(), shown.out
    assert "never live" in shown.out and "applied all the same" in shown.out
    assert shell("revisions", "show", "2", "-o", "json").json["diff"] == ["3 numbers lose their BCP"]
    assert shell("revisions", "show", "9").code == 2
