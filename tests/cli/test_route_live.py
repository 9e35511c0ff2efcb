"""`sipctl route` of a running system: the desk's tree, printed, and what is so now saved as a test of the folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sipctl.cli import check_command
from sipctl.control.ports import Revision, View
from sipctl.dialplan.compile import compile_plan
from sipctl.routing.snapshot import Admin, Decision
from sipctl.routing.table import load_table
from tests.api.support import ThreadedDesk, a_status, a_view
from tests.cli.support import Shell, invoke
from tests.cli.support import write_plan as write
from tests.dialplan.support import PLAN, plan
from tests.support.plans import a_state

ASKED = ("route", "+4930901820", "--trunk", "one")


def show(desk: ThreadedDesk, path: Path, out: tuple[str, ...] = (), resting: tuple[str, ...] = (), **state: object) -> None:
    """Let the sound plan be live, in a state."""
    table = load_table(compile_plan(plan(), {}, revision=812).image)
    path.write_bytes(table.image)
    usual = a_status()["sbcs"]["fra-a"]
    sbcs = {
        sbc.name: {
            **usual,
            "operating": "out-of-service" if sbc.name in out else "in-service",
            "resting_s": 30 * (sbc.name in resting),
        }
        for sbc in table.topology.sbcs
    }
    view = a_view(sbcs=sbcs, tenants={}, trunks={}, revision=812)
    view = msgspec.structs.replace(view, state=a_state(table, **state), table_path=str(path))

    async def say(view: View = view) -> None:
        desk.controller.say(view)
        await desk.desk.settled()

    desk.run(say())


def test_live_answer_is_told_as_a_tree_of_the_states_now(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    show(desk, tmp_path / "table", out=("fra-a",), decisions={"acme": Decision(bcp_percent=100, epoch=3, reason="ops-1: CHG1")})
    ended = shell(*ASKED)
    lines = ended.out.splitlines()
    assert (ended.code, lines[0]) == (0, "live revision 812, states now")
    assert "│  └─ ops-1: CHG1 (epoch 3)" in lines and lines[-1].startswith("└─ ✓ answer: +4930901820 is sales")
    assert shell(*ASKED, "--at", "2026-12-24T10:00Z").out.splitlines()[0].endswith(", at 2026-12-24T10:00:00Z")
    assert shell(*ASKED, "-o", "json").json["tree"]["steps"][0]["step"] == "number"


@pytest.mark.parametrize(
    ("so_now", "given"),
    [
        ({}, "name: "),
        ({"out": ("fra-a", "fra-b")}, "given: {sbcs: {fra-a: out-of-service, fra-b: out-of-service}, groups: {acme: normal}}"),
        ({"out": ("fra-a",), "decisions": {"acme": Decision(bcp_percent=100)}}, "groups: {acme: on-bcp}}"),
        ({"sbc_admin": {"fra-a": Admin.DRAINING}, "tenant_admin": {"bcp": Admin.DISABLED}}, "given: {tenants: {bcp: disabled}"),
    ],
)
def test_what_is_so_now_becomes_a_test_that_passes(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path, so_now: dict[str, object], given: str
) -> None:
    folder = write(tmp_path / "plan")
    show(desk, tmp_path / "table", **so_now)  # type: ignore[arg-type]
    ended = shell(*ASKED, "--save-as-test", str(folder / PLAN))
    assert ended.code == 0 and ended.out.splitlines()[-1].startswith("saved in "), ended.err
    assert given in (folder / PLAN).read_text()
    assert invoke(check_command, "check", str(folder))[0] == 0


def test_what_passes_with_the_moment_is_not_saved(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    folder = write(tmp_path / "plan")
    show(desk, tmp_path / "table", resting=("fra-a",))
    ended = shell(*ASKED, "--save-as-test", str(folder / PLAN))
    assert ended.code == 1 and "nothing was saved: in this folder the test fails: " in ended.err
    assert (folder / PLAN).read_bytes() == plan()[PLAN]


def test_a_state_may_be_assumed_of_the_live_plan_whatever_is_measured_now(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path
) -> None:
    show(desk, tmp_path / "table", out=("fra-b",))
    files = {path: data.decode() for path, data in plan().items()}
    store = desk.desk.store
    store.add_revision(Revision(812, 1.0, "ops-1", "CHG7", None, None, files))
    store.set_live(812, 2.0)
    ended = shell(*ASKED, "--given", "fra-a=out-of-service", "-o", "json")
    assert ended.code == 0 and ended.json["asked"].startswith("live revision 812, every SBC assumed in service but fra-a=out-of")
    assert [target["sbc"] for target in ended.json["targets"]][:1] == ["fra-b"]
    assert shell(*ASKED, "--given", "nobody=on").code == 2
