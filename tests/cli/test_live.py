"""Commands against a desk on a real port: what they print, what they ask for, how they end."""

from pathlib import Path

import pytest

from sipctl.control.ports import Answer, DecisionRecord, Revision
from tests.api.support import ThreadedDesk, a_status
from tests.cli.support import Shell

BCP = {
    **a_status()["groups"]["acme"],
    "state": "on-bcp",
    "active": "bcp",
    "bcp_percent": 100,
    "held": {"to": "bcp", "by": "ops-1"},
    "reason": "ops-1: CHG1",
}
ALARM = {"id": "cdr-disk", "since": "2026-11-22T03:47:37Z", "text": "call records are not written: No space left"}


# -- reads -----------------------------------------------------------------------------------------------------------------


def test_status_of_a_well_system_is_exit_0(desk: ThreadedDesk, shell: Shell) -> None:
    ended = shell("status")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("revision 812   automation on   routers 1   calls 12   data 0.")
    for word in ("acme", "normal", "fra-a", "in-service", "carrier-one", "acme-prod", "r1", "alarms: none", "strangers: 1"):
        assert word in ended.out


def test_status_in_json_is_the_apis_body(desk: ThreadedDesk, shell: Shell) -> None:
    body = shell("status", "-o", "json").json
    assert body.pop("audit")["records"] >= 0
    assert {**body, "age_s": 0.0} == {**a_status(), "controller": {"reachable": True, "text": ""}}


def test_a_group_that_is_not_normal_or_an_alarm_is_exit_1(desk: ThreadedDesk, shell: Shell) -> None:
    desk.show(groups={"acme": BCP})
    ended = shell("status")
    assert ended.code == 1 and "held at bcp by ops-1" in ended.out and "ops-1: CHG1" in ended.out
    desk.show(alarms=[ALARM])
    ended = shell("status")
    assert ended.code == 1 and "No space left" in ended.out


def test_status_says_that_the_folder_differs_and_that_the_controller_is_gone(desk: ThreadedDesk, shell: Shell) -> None:
    desk.show(folder_differs=True)
    assert "folder differs from live revision 812: sipctl diff" in shell("status").out
    desk.controller.link.close()
    ended = shell("status")
    assert (ended.code, "controller not reachable" in ended.err) == (0, True)


def test_no_escape_sequence_from_outside_reaches_the_terminal(desk: ThreadedDesk, shell: Shell) -> None:
    desk.show(groups={"acme": {**BCP, "reason": "\x1b[2Jgone\r\nfake line"}})
    ended = shell("status")
    assert "\x1b" not in ended.out and "\\x1b[2Jgone\\r\\nfake line" in ended.out


def test_alarms_and_strangers(desk: ThreadedDesk, shell: Shell) -> None:
    assert (shell("alarms").code, shell("alarms").out) == (0, "alarms: none\n")
    desk.show(alarms=[ALARM])
    ended = shell("alarms")
    assert ended.code == 1 and "cdr-disk" in ended.out
    assert shell("alarms", "-o", "json").json == {"alarms": [ALARM]}
    assert shell("alarms", "ack", "cdr-disk").code == 0
    assert (desk.controller.commands[-1].op, dict(desk.controller.commands[-1].args)) == ("alarm-ack", {"id": "cdr-disk"})
    lines = shell("strangers").out.splitlines()
    assert "203.0.113.78" in lines[2] and "203.0.113.77" in lines[3]


def test_history_shows_when_what_why_and_who(desk: ThreadedDesk, shell: Shell) -> None:
    store = desk.desk.store
    store.append_decision(
        DecisionRecord("acme", 7, 4, 1_790_000_000.0, "operator", "acme goes to BCP", {}, {}, {}, actor="ops-1")
    )
    store.append_decision(DecisionRecord("bank", 1, 4, 1_790_000_001.0, "primary-lost", "bank goes to BCP", {}, {}, {}))
    ended = shell("history")
    assert ended.code == 0
    assert [line.split()[2] for line in ended.out.splitlines()[2:]] == ["bank", "acme"]
    assert "2026-09-21 14:13:20Z" in ended.out and "ops-1" in ended.out
    assert "bank" not in shell("history", "acme").out
    ended = shell("history", "acmi")
    assert ended.code == 2 and "did you mean acme?" in ended.err


def test_lists_of_entities_and_revisions(desk: ThreadedDesk, shell: Shell) -> None:
    assert "fra-b" in shell("sbc", "ls").out
    assert shell("trunk", "ls", "-o", "json").json == a_status()["trunks"]
    assert "acme-bcp" in shell("tenant", "ls").out
    desk.desk.store.add_revision(Revision(812, 5.0, "ops-1", "CHG1", "3f9c1e2", None, {}))
    desk.desk.store.set_live(812, 6.0)
    line = shell("revisions").out.splitlines()[2]
    assert line.startswith("*") and "812" in line and "3f9c1e2" in line


# -- writes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "op", "args"),
    [
        (["failover", "acme", "--to", "bcp"], "failover", {"groups": ["acme"], "to": "bcp"}),
        (["failover", "--tenant", "acme-*", "--to", "bcp"], "failover", {"tenant": "acme-*", "to": "bcp"}),
        (["failover", "--all", "--to", "primary"], "failover", {"all": True, "to": "primary"}),
        (["failback", "acme", "--now"], "failback", {"group": "acme", "now": True}),
        (["pin", "acme", "--to", "bcp"], "pin", {"group": "acme", "to": "bcp"}),
        (["unpin", "acme"], "unpin", {"group": "acme"}),
        (["unlatch", "acme"], "unlatch", {"group": "acme"}),
        (["automation", "pause"], "automation", {"state": "pause"}),
        (["automation", "resume"], "automation", {"state": "resume"}),
        (["sbc", "drain", "fra-a", "--move"], "sbc-admin", {"sbc": "fra-a", "state": "draining", "move": True}),
        (["sbc", "enable", "fra-a"], "sbc-admin", {"sbc": "fra-a", "state": "enabled", "move": False}),
        (["sbc", "probe", "fra-a"], "sbc-probe", {"sbc": "fra-a"}),
        (["trunk", "disable", "carrier-one"], "trunk-admin", {"trunk": "carrier-one", "state": "disabled"}),
        (["trunk", "allow", "carrier-one", "192.0.2.0/28", "--until", "2099-01-01T00:00:00Z"], "trunk-allow",
         {"trunk": "carrier-one", "cidr": "192.0.2.0/28", "until": 4_070_908_800.0}),
        (["tenant", "drain", "acme-prod"], "tenant-admin", {"tenant": "acme-prod", "state": "draining", "move": False}),
        (["node", "drain"], "node-admin", {"state": "draining"}),
        (["node", "enable"], "node-admin", {"state": "enabled"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_each_write_asks_for_what_it_says_and_prints_its_operation(
    desk: ThreadedDesk, shell: Shell, arguments: list[str], op: str, args: dict[str, object]
) -> None:
    ended = shell(*arguments, "--reason", "CHG0042 tenant patch")
    assert ended.code == 0, ended.err
    (command,) = desk.controller.commands
    assert (command.op, dict(command.args), command.reason, command.actor) == (op, args, "CHG0042 tenant patch", "admin")
    assert ended.out == f"operation {command.id}\n{op} is done\n"


def test_a_write_without_a_reason_is_a_usage_error(desk: ThreadedDesk, shell: Shell) -> None:
    for arguments in (["failover", "acme", "--to", "bcp"], ["sbc", "drain", "fra-a"], ["node", "drain"], ["apply", "."]):
        ended = shell(*arguments)
        assert (ended.code, "--reason" in ended.err) == (2, True), arguments
    assert shell("failover", "acme", "--to", "bcp", "--reason", " ").code == 2
    assert desk.controller.commands == []


@pytest.mark.parametrize("which", [[], ["acme", "--all"], ["--all", "--tenant", "x"]])
def test_failover_wants_exactly_one_way_to_say_which(desk: ThreadedDesk, shell: Shell, which: list[str]) -> None:
    assert shell("failover", *which, "--to", "bcp", "--reason", "x").code == 2
    assert desk.controller.commands == []


def test_a_dry_run_prints_the_blast_radius(desk: ThreadedDesk, shell: Shell) -> None:
    body = {
        "groups": ["acme"], "numbers": 41_230, "calls": 812, "findings": [], "removed": {"trunks": [], "sbcs": ["fra-b"]},
        "dry_run": True,
    }  # fmt: skip
    desk.controller.script = lambda command: [Answer(command.id, "done", "acme: new calls go to bcp", body=body)]
    ended = shell("failover", "acme", "--to", "bcp", "--reason", "x", "--dry-run")
    assert desk.controller.commands[0].dry_run
    assert ended.out.splitlines()[0].endswith("(dry run: nothing changes)")
    assert ended.out.splitlines()[1:] == [
        "acme: new calls go to bcp", "  groups: acme", "  numbers: 41230", "  calls: 812", "  removed sbcs: fra-b",
    ]  # fmt: skip


def test_a_safety_rule_is_exit_3_named_and_can_be_forced(desk: ThreadedDesk, shell: Shell) -> None:
    desk.controller.script = lambda command: [
        Answer(command.id, "done", "drained")
        if "last-usable-sbc" in command.force
        else Answer(command.id, "refused", "fra-a is the last usable SBC of acme-prod", "last-usable-sbc", "--move")
    ]
    ended = shell("sbc", "drain", "fra-a", "--reason", "x")
    assert ended.code == 3
    assert "last usable SBC of acme-prod (rule last-usable-sbc)" in ended.err and "hint: --move" in ended.err
    assert ended.out == f"operation {desk.controller.commands[0].id}\n"
    assert shell("sbc", "drain", "fra-a", "--reason", "x", "--force", "last-usable-sbc").code == 0


def test_an_operation_that_takes_too_long_is_exit_4_and_goes_on(desk: ThreadedDesk, shell: Shell) -> None:
    desk.controller.script = lambda command: [Answer(command.id, "accepted", "1 of 2 routers have it", final=False)]
    ended = shell("failover", "acme", "--to", "bcp", "--reason", "x", "--timeout", "0")
    assert ended.code == 4
    assert "1 of 2 routers have it; the operation goes on" in ended.err and desk.controller.commands[0].id in ended.err


def test_a_write_waits_until_every_router_has_it(desk: ThreadedDesk, shell: Shell) -> None:
    desk.controller.script = lambda command: [
        Answer(command.id, "accepted", "routers take it over", final=False), Answer(command.id, "done", "every router has it"),
    ]  # fmt: skip
    ended = shell("failover", "acme", "--to", "bcp", "--reason", "x")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "every router has it")


@pytest.mark.parametrize(("status", "code"), [("conflict", 3), ("invalid", 2), ("failed", 1)])
def test_how_an_operation_ends_is_the_exit_code(desk: ThreadedDesk, shell: Shell, status: str, code: int) -> None:
    desk.controller.script = lambda command: [Answer(command.id, status, "because", "some-code")]
    assert shell("unpin", "acme", "--reason", "x").code == code


def test_apply_sends_the_folder_and_prints_every_finding(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    for name, text in {"dialplans/a.yaml": "x: 1\n", "dialplans/numbers/n.csv": "n\n", "sbc_configs/s.yml": "y: ü\n",
                       "dialplans/.hidden.yaml": "no", "README.md": "no"}.items():  # fmt: skip
        (tmp_path / "plan" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plan" / name).write_text(text, "utf-8")
    arguments = ["apply", str(tmp_path / "plan"), "--base", "812", "--commit", "3f9", "--despite", "tests", "--reason", "CHG1"]
    assert shell(*arguments).code == 0
    assert dict(desk.controller.commands[0].args) == {
        "files": {"dialplans/a.yaml": "x: 1\n", "dialplans/numbers/n.csv": "n\n", "sbc_configs/s.yml": "y: ü\n"},
        "base": 812, "commit": "3f9", "despite": ["tests"], "again": False,
    }  # fmt: skip
    finding = {"path": "dialplans/a.yaml", "line": 1, "column": 1, "code": "key.unknown", "severity": "error",
               "message": "x is no section", "hint": "entry_points?"}  # fmt: skip
    desk.controller.script = lambda command: [
        Answer(command.id, "invalid", "the plan has 1 error", "plan.invalid", body={"findings": [finding]})
    ]
    ended = shell(*arguments)
    assert ended.code == 2 and "the plan has 1 error" in ended.err
    where = f"{tmp_path}/plan/dialplans/a.yaml:1:1"
    assert f"{where}: error key.unknown: x is no section\n  = hint: entry_points?" in ended.out


def test_apply_of_no_plan_or_of_no_text_reaches_nobody(desk: ThreadedDesk, shell: Shell, tmp_path: Path) -> None:
    assert shell("apply", str(tmp_path / "nothing"), "--reason", "x").code == 2
    (tmp_path / "dialplans").mkdir()
    (tmp_path / "dialplans" / "a.csv").write_bytes(b"caf\xe9\n")
    ended = shell("apply", str(tmp_path), "--reason", "x")
    assert ended.code == 2 and "dialplans/a.csv is not UTF-8 at byte 3" in ended.err
    assert desk.controller.commands == []


def test_a_token_is_printed_once_and_works(
    desk: ThreadedDesk, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shell("token", "create", "ops-1", "--role", "viewer", "--reason", "new colleague")
    assert made.code == 0 and made.out.startswith("sipctl-")
    assert made.out.strip() not in shell("token", "ls").out and "ops-1" in shell("token", "ls").out
    (tmp_path / "mine").write_text(made.out)
    monkeypatch.setenv("SIPCTL_TOKEN_FILE", str(tmp_path / "mine"))
    assert shell("status").code == 0
    ended = shell("failover", "acme", "--to", "bcp", "--reason", "x")
    assert ended.code == 2 and "ops-1 is viewer; this needs operator" in ended.err
    monkeypatch.delenv("SIPCTL_TOKEN_FILE")
    assert shell("token", "revoke", "ops-1", "--reason", "left").code == 0
    assert shell("token", "revoke", "ops-1", "--reason", "left").code == 2
    assert shell("token", "revoke", "admin", "--reason", "x").code == 3
    monkeypatch.setenv("SIPCTL_TOKEN_FILE", str(tmp_path / "mine"))
    assert shell("status").code == 2


# -- where and who ---------------------------------------------------------------------------------------------------------


def test_sipctl_api_names_another_place(desk: ThreadedDesk, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIPCTL_API", f"http://{desk.desk.address}")
    assert shell("status").code == 0
    monkeypatch.setenv("SIPCTL_API", "ftp://nowhere")
    assert shell("status").code == 2
    monkeypatch.setenv("SIPCTL_API", "127.0.0.1:1")
    ended = shell("status")
    assert ended.code == 5 and "sipctl status --local" in ended.err


def test_a_controller_that_is_gone_is_exit_5_for_writes(desk: ThreadedDesk, shell: Shell) -> None:
    desk.controller.link.close()
    desk.run(desk.desk.settled())
    assert shell("unpin", "acme", "--reason", "x").code == 5


def test_nothing_runs_is_exit_5_and_no_token_is_exit_2(shell: Shell, state: Path) -> None:
    ended = shell("status")
    assert ended.code == 5 and "no sipctl has run on" in ended.err
    (state / "run").mkdir()
    (state / "run" / "api").write_text("127.0.0.1:1\n")
    ended = shell("status")
    assert ended.code == 2 and "no token" in ended.err
    (state / "admin.token").write_text("sipctl-x\n")
    assert shell("status").code == 5
