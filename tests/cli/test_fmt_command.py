"""`sipctl fmt` on folders: whole files or none, and never another plan."""

from pathlib import Path

import pytest

from sipctl.cli import files, fmt_command
from tests.cli.support import Shell, write_plan


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    return write_plan(tmp_path, ("    primary: prod\n    bcp: bcp\n", "    bcp: bcp\n    primary:   prod   # first\n"))


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob("*.yaml")}


def test_check_writes_nothing_and_ends_with_1(shell: Shell, untidy: Path) -> None:
    before = texts(untidy)
    ended = shell("fmt", str(untidy), "--check", "--diff")
    assert ended.code == 1 and "-    primary:   prod   # first" in ended.out
    assert texts(untidy) == before


def test_a_plan_is_rewritten_once_and_then_stays(shell: Shell, untidy: Path) -> None:
    mode = (untidy / "dialplans/plan.yaml").stat().st_mode
    assert shell("fmt", str(untidy)).code == 0
    assert "    primary: prod     # first\n    bcp: bcp\n" in texts(untidy)["plan.yaml"]
    assert (untidy / "dialplans/plan.yaml").stat().st_mode == mode
    ended = shell("fmt", str(untidy), "--check")
    assert (ended.code, ended.out) == (0, "2 files: nothing to change\n")
    assert shell("check", str(untidy)).code == 0


def test_a_file_that_does_not_read_stays_and_is_named(shell: Shell, untidy: Path) -> None:
    (untidy / "dialplans/bad.yaml").write_text("a: [1\n")
    ended = shell("fmt", str(untidy))
    assert ended.code == 2 and "dialplans/bad.yaml:2:1" in ended.err
    assert texts(untidy)["bad.yaml"] == "a: [1\n"


def test_nothing_is_written_if_the_meaning_would_change(shell: Shell, untidy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = texts(untidy)

    def wrong(path: str, data: bytes) -> str:
        return data.decode().replace("+4930901900", "+4930901901")

    monkeypatch.setattr(fmt_command, "format_text", wrong)
    ended = shell("fmt", str(untidy))
    assert ended.code == 2 and "nothing is written" in ended.err
    assert texts(untidy) == before


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.replace_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_repositorys_own_folders_are_formatted(shell: Shell) -> None:
    ended = shell("fmt", "--check", str(Path(__file__).parents[2]))
    assert ended.code == 0 and "nothing to change" in ended.out
