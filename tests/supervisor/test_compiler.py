"""The compiler as the child process it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipctl.errors import EngineError
from sipctl.routing.table import load_table
from sipctl.supervisor import compiler as module
from sipctl.supervisor.compiler import Compiler
from sipctl.supervisor.plan_folder import FolderError, read_folder
from tests.support.configs import a_plan
from tests.support.processes import Net


def the_files(tmp_path: Path) -> dict[str, str]:
    root = a_plan(Net("127.9.9")).write(tmp_path / "plan")
    return {path: data.decode() for path, data in read_folder(root).items()}


async def test_a_plan_becomes_an_image_named_by_its_hash_and_ids_to_keep(tmp_path: Path) -> None:
    compiler = Compiler(tmp_path / "tmp", "")
    files = the_files(tmp_path)
    result = await compiler(files, 7, {})
    assert result.ok, result.findings
    table = load_table(Path(result.image_path).read_bytes())
    assert Path(result.image_path).name == f"{table.hash}.table"
    assert table.topology.revision == 7
    again = await compiler(files, 7, result.ids)
    assert again.image_path == result.image_path
    assert again.ids == result.ids


async def test_a_plan_with_errors_is_a_result_that_tells_all_of_them(tmp_path: Path) -> None:
    files = {**the_files(tmp_path), "dialplans/wrong.yaml": "colour: red\nshape: round\n"}
    result = await Compiler(tmp_path / "tmp", "")(files, 1, {})
    assert not result.ok
    assert {finding["line"] for finding in result.findings if finding["path"] == "dialplans/wrong.yaml"} == {1, 2}
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_plan_is_compared_with_the_live_one(tmp_path: Path) -> None:
    compiler = Compiler(tmp_path / "tmp", "")
    plan = a_plan(Net("127.9.9"))
    live = await compiler(plan.files(), 1, {})
    plan.dialplan["entry_points"]["acme-claims"] = {"group": "acme", "numbers": ["+49309018210..+49309018299"]}
    plan.sbcs["listen"]["third"] = {"bind": "udp:127.9.9.3:5060"}
    edited = await compiler(plan.files(), 2, live.ids, (), live.image_path)
    assert any("90 numbers" in line and "acme-claims" in line for line in edited.diff), edited.diff
    assert [line for line in edited.restart if "third" in line] and set(edited.restart) <= set(edited.diff)
    same = await compiler(plan.files(), 2, edited.ids, (), edited.image_path)
    assert (same.diff, same.restart) == ((), ())


async def test_a_live_table_that_cannot_be_read_stops_no_apply(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"x" * 100)
    for name in ("damaged", "gone"):
        result = await Compiler(tmp_path / "tmp", "")(the_files(tmp_path), 2, {}, (), str(tmp_path / name))
        assert result.ok and "cannot be told" in result.diff[0]


async def test_a_compiler_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    compiler = Compiler(tmp_path / "tmp", "", program=("-c", "raise SystemExit('no more memory')"))
    with pytest.raises(EngineError, match="no more memory"):
        await compiler({}, 1, {})


async def test_a_compiler_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPILE_TIMEOUT_S", 0.2)
    compiler = Compiler(tmp_path / "tmp", "", program=("-c", "import time; time.sleep(60)"))
    with pytest.raises(EngineError, match="not done"):
        await compiler({}, 1, {})


def test_a_folder_is_read_whole_but_for_hidden_files(tmp_path: Path) -> None:
    wanted = ["dialplans/a.yaml", "dialplans/deep/numbers.csv", "sbc_configs/b.yml"]
    for name in (*wanted, "dialplans/.hidden", "dialplans/.git/x", "other/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert sorted(read_folder(tmp_path)) == wanted


def test_a_folder_that_is_no_plan_says_so(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="holds neither"):
        read_folder(tmp_path)
