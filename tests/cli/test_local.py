"""Commands that need nobody: STATE alone, the doctor, what is not built, and the shape of the command line."""

import json
import os
import socket
from pathlib import Path

import pytest

from sipctl.cli.doctor import Found, Surroundings, examine
from sipctl.cli.not_built import INSTEAD
from sipctl.control.ports import Revision
from sipctl.engine.generation import Generations
from sipctl.routing.snapshot import Admin, Decision, RoutingState
from sipctl.store.sqlite import SqliteStore
from sipctl.supervisor.state_dir import StateDir
from tests.cli.support import Shell


def a_generation(state: Path, *, seq: int = 97) -> None:
    decisions = {"acme": Decision(bcp_percent=100, epoch=7, reason="ops-1: CHG1")}
    Generations(state / "snapshots").write(
        RoutingState(term=4, seq=seq, revision=812, table="ab" * 32, decisions=decisions, sbc_admin={"fra-a": Admin.DRAINING}),
        b"table",
    )


def test_status_local_reads_state_without_anybody(shell: Shell, state: Path) -> None:
    directory = StateDir(state)
    directory.prepare()
    directory.note_process("router-0", os.getpid())
    a_generation(state)
    store = SqliteStore(state / "sipctl.db")
    store.add_revision(Revision(812, 5.0, "ops-1", "CHG1", None, None, {}))
    store.set_live(812, 6.0)
    store.close()
    ended = shell("status", "--local")
    assert ended.code == 0, ended.err
    for text in ("router-0", "live revision 812", "term 4, seq 97", "acme", "100 %", "ops-1: CHG1", "draining"):
        assert text in ended.out
    body = shell("status", "--local", "-o", "json").json
    assert body["snapshot"]["groups"]["acme"]["bcp_percent"] == 100
    assert (body["live_revision"], body["processes"]) == (812, {"router-0": os.getpid()})


def test_status_local_of_a_damaged_state_says_so_and_is_exit_1(shell: Shell, state: Path) -> None:
    StateDir(state).prepare()
    a_generation(state, seq=1)
    a_generation(state, seq=2)
    (state / "snapshots" / "1" / "state").write_bytes(b"damaged")
    (state / "sipctl.db").write_bytes(b"no database, no database, no database " * 50)
    ended = shell("status", "--local")
    assert ended.code == 1
    assert "generation 1 is not used" in ended.err and "seq 1" in ended.out and "not a database" in ended.out


def test_status_local_of_an_empty_state_is_exit_1(shell: Shell, state: Path) -> None:
    ended = shell("status", "--local")
    assert ended.code == 1 and "snapshot: none on disk" in ended.out
    assert list(state.iterdir()) == [], "a look must leave nothing behind"


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_what_is_not_built_says_so_whatever_follows(shell: Shell, name: str) -> None:
    ended = shell(name, "ls", "--since", "yesterday")
    assert ended.code == 2 and f"`sipctl {name}` is not built yet" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["failover", "acme", "--to", "both", "--reason", "x"],
        ["status", "-o", "yaml"],
        ["apply", "--base", "x", "--reason", "x"],
    ],
)
def test_a_wrong_command_line_is_exit_2(shell: Shell, arguments: list[str]) -> None:
    assert shell(*arguments).code == 2


def test_every_command_of_the_contract_is_there(shell: Shell) -> None:
    ended = shell("--help")
    for name in (
        "run", "demo", "check", "route", "status", "history", "alarms", "strangers", "failover", "failback", "pin", "unpin",
        "unlatch", "automation", "sbc", "trunk", "tenant", "node", "apply", "revisions", "schema", "doctor", "token",
    ):  # fmt: skip
        assert f" {name} " in ended.out, name
        assert shell(name, "--help").code == 0
    assert shell("--version").out.startswith("sipctl ")


def findings(where: Surroundings) -> dict[str, Found]:
    """The worst word of each check."""
    order = ("unknown", "ok", "warn", "fail")
    worst: dict[str, Found] = {}
    for entry in examine(where):
        if entry.check not in worst or order.index(entry.verdict) > order.index(worst[entry.check].verdict):
            worst[entry.check] = entry
    return worst


def a_place(tmp_path: Path, *, modules: str = "nf_conntrack 1 0 - Live 0x0\n", rmem: int = 8 << 20) -> Surroundings:
    proc = tmp_path / "proc"
    (proc / "sys/net/core").mkdir(parents=True)
    (proc / "modules").write_text(modules)
    (proc / "sys/net/core/rmem_max").write_text(f"{rmem}\n")
    return Surroundings(tmp_path / "state", tmp_path / "plan", proc)


def a_plan(folder: Path, port: int) -> None:
    (folder / "sbc_configs").mkdir(parents=True)
    (folder / "sbc_configs" / "a.yaml").write_text(f'listen:\n  outside: {{bind: "udp:127.0.0.1:{port}"}}\n')


def test_the_doctor_finds_the_kernels_sip_helper(tmp_path: Path) -> None:
    assert findings(a_place(tmp_path))["SIP helper"].verdict == "ok"
    place = a_place(tmp_path / "other", modules="nf_nat_sip 20480 0 - Live 0x0\nnf_conntrack_sip 32768 1 nf_nat_sip, Live 0x0\n")
    helper = findings(place)["SIP helper"]
    assert helper.verdict == "fail" and "rmmod" in helper.hint


def test_the_doctor_sees_whether_the_plans_sockets_are_free(tmp_path: Path, state: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        place = a_place(tmp_path)
        a_plan(place.folder, port)
        found = findings(place)["sockets"]
        assert found.verdict == "fail" and f"udp:127.0.0.1:{port}" in found.text and found.hint
    assert findings(place)["sockets"].verdict == "ok"


def test_the_doctor_finds_secrets_that_others_may_read(tmp_path: Path, state: Path) -> None:
    place = a_place(tmp_path)
    (state / "admin.token").write_text("x")
    (state / "admin.token").chmod(0o644)
    found = findings(place)["secrets"]
    assert found.verdict == "fail" and found.hint.startswith("chmod 600")
    (state / "admin.token").chmod(0o600)
    assert "secrets" not in findings(place)


def test_the_doctor_finds_a_damaged_store_and_a_damaged_snapshot(tmp_path: Path, state: Path) -> None:
    StateDir(state).prepare()
    (state / "sipctl.db").write_bytes(b"no database, no database, no database " * 50)
    (state / "sipctl.db").chmod(0o600)
    a_generation(state)
    (state / "snapshots" / "0" / "state").write_bytes(b"damaged")
    found = findings(a_place(tmp_path))
    assert found["store"].verdict == "fail" and "sipctl.db" in found["store"].hint
    assert found["snapshots"].verdict == "fail"


def test_the_doctor_ends_with_1_when_it_found_something_and_every_finding_has_a_hint(shell: Shell, state: Path) -> None:
    (state / "admin.token").write_text("x")
    (state / "admin.token").chmod(0o644)
    ended = shell("doctor", "-o", "json")
    assert ended.code == 1
    assert all(entry["hint"] for entry in json.loads(ended.out) if entry["verdict"] in ("warn", "fail"))
    assert shell("doctor").code == 1
