"""`apply`: two people who edit the same revision, a folder that remembers, a plan that changed meanwhile."""

from pathlib import Path

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


def taken(desk: ThreadedDesk, number: int) -> None:
    """The controller takes what comes as that revision."""

    def script(command: Command) -> list[Answer]:
        return [Answer(command.id, "done", f"revision {number} is live", body={"revision": number})]

    desk.controller.script = script


def bases(desk: ThreadedDesk) -> list[object]:
    return [command.args["base"] for command in desk.controller.commands]


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
    assert bases(desk) == [1, 2, 3], "what was applied from the folder last, not what happens to be live"


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
    assert bases(desk) == [2]


def test_a_dry_run_and_a_refusal_are_not_remembered(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "mine", "entry_points: {a: {}}\n")
    live(desk, 1, None)
    taken(desk, 2)
    assert shell("apply", str(folder), "--reason", "x", "--dry-run").code == 0
    desk.controller.script = lambda command: [Answer(command.id, "conflict", "revision 2 is live, not 1", "stale-base")]
    assert shell("apply", str(folder), "--reason", "x").code == 3
    assert not (folder / ".sipctl" / "applied.json").exists()
