"""`sipctl audit`: against a desk, and against STATE alone."""

import json
from pathlib import Path

import pytest

from sipctl.control.audit import AuditEntry
from sipctl.failover.group import decide
from sipctl.failover.machine import State
from sipctl.failover.memory import Inputs, Memory, Policy
from sipctl.failover.records import written_inputs, written_memory
from sipctl.store.audit_log import AuditLog, day_files
from sipctl.store.audit_writer import body_of
from tests.api.support import ThreadedDesk
from tests.cli.support import Shell

AT_S = 1_790_000_000.0


def a_decision(epoch: int = 1) -> AuditEntry:
    memory = Memory(state=State.HOLD_OFF.value, deadline_s=1005.0, epoch=epoch - 1)
    inputs = Inputs(Policy("acme-prod", "acme-bcp"), "out-of-service", "in-service", 1006.0, AT_S)
    step = decide(memory, inputs)
    assert step.rule == "failover"
    return AuditEntry(
        "decision", step.rule, "sipctl", step.sentence, AT_S + epoch, rule=step.rule, groups=("acme",), epoch=epoch,
        before=written_memory(memory), inputs=written_inputs(inputs), after=written_memory(step.memory),
    )  # fmt: skip


def an_operation(number: int, **more: object) -> AuditEntry:
    fields = {"outcome": "done", "reason": "CHG0042", "groups": ("acme",), **more}
    return AuditEntry("operation", "pin", f"ops-{number % 2}", f"call +49309018{number:04}", AT_S + number, **fields)  # type: ignore[arg-type]


@pytest.fixture
def written(state: Path) -> Path:
    """An audit of eight records: six operations, two decisions."""
    entries = [*(an_operation(number) for number in range(6)), a_decision(7), a_decision(8)]
    AuditLog(state / "audit").append([body_of(entry, {"by": "controller/1", "build": "sipctl 1"}) for entry in entries], AT_S)
    return state


def test_verify_tells_that_all_is_whole_with_the_head_to_note_elsewhere(shell: Shell, written: Path) -> None:
    ended = shell("audit", "verify")
    assert ended.code == 0 and "8 records hold, 1 to 8; 0 heads told elsewhere agree" in ended.out
    head = ended.out.split("head ")[1].strip()
    assert shell("audit", "verify", str(written), "--anchor", head).code == 0
    assert shell("audit", "verify", str(written / "audit"), "-o", "json").json["ok"] is True
    wrong = shell("audit", "verify", "--anchor", f"8:{'0' * 64}")
    assert wrong.code == 1 and "record 8: its hash is not 000000000000…" in wrong.err
    cut = shell("audit", "verify", "--anchor", f"9:{'0' * 64}")
    assert cut.code == 1 and "record 9 was told elsewhere: its end was cut off" in cut.err
    assert shell("audit", "verify", "--anchor", "nonsense").code == 2
    assert shell("audit", "verify", str(written / "nowhere")).code == 2


def test_verify_ends_with_one_at_the_first_record_that_does_not_hold(shell: Shell, written: Path) -> None:
    path = day_files(written / "audit")[0]
    path.write_bytes(path.read_bytes().replace(b"ops-1", b"ops-9", 1))
    ended = shell("audit", "verify")
    assert ended.code == 1 and f"{path.name}:2: record 2: its bytes do not give its hash" in ended.err
    body = shell("audit", "verify", "-o", "json").json
    assert (body["ok"], body["broken"]["line"], body["records"]) == (False, 2, 1)


def test_heads_that_the_log_was_told_show_that_the_end_was_cut(shell: Shell, written: Path) -> None:
    head = AuditLog(written / "audit").head()
    (written / "log").mkdir()
    line = {"at": "x", "level": "info", "event": "audit head", "record": head.number, "hash": head.hash}
    (written / "log" / "sipctl.jsonl").write_text(f'{{"event":"audit head", torn\n{json.dumps(line)}\n')
    assert "1 heads told elsewhere agree" in shell("audit", "verify").out
    path = day_files(written / "audit")[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    ended = shell("audit", "verify")
    assert ended.code == 1 and "ends at record 7, but record 8 was told elsewhere" in ended.err


def test_show_and_export_work_from_state_alone_with_their_filters(shell: Shell, written: Path, tmp_path: Path) -> None:
    def numbers(*more: str) -> list[int]:
        found = shell("audit", "show", "--local", "-o", "json", *more)
        assert found.code == 0, found.err
        return [one["n"] for one in found.json["records"]]

    assert numbers() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert numbers("-n", "2") == [8, 7]
    assert numbers("--actor", "ops-1") == [6, 4, 2]
    assert numbers("--op", "pin", "--actor", "ops-0") == [5, 3, 1] and numbers("--op", "decision") == [8, 7]
    assert numbers("--group", "bank") == [] and len(numbers("--group", "acme")) == 8
    assert numbers("--since", "2026-09-21T14:13:24+00:00", "--until", "2026-09-21T14:13:26Z") == [6, 5]
    assert numbers("--since", "2026-09-22") == []
    assert shell("audit", "show", "--local", "--since", "yesterday").code == 2
    assert "acme-prod has been out of service" in shell("audit", "show", "--local").out
    one = shell("audit", "show", "8", "--local")
    assert "op: failover" in one.out and "inputs: " in one.out
    assert shell("audit", "show", "99", "--local").code == 2

    whole, later, hidden = tmp_path / "whole.jsonl", tmp_path / "later.jsonl", tmp_path / "masked.jsonl"
    assert shell("audit", "export", "--local", "--unmasked", "--to", str(whole)).out == f"8 records in {whole}\n"
    assert whole.read_bytes() == day_files(written / "audit")[0].read_bytes() and whole.stat().st_mode & 0o777 == 0o600
    assert shell("audit", "export", "--local", "--to", str(whole)).code == 2, "never overwritten"
    assert shell("audit", "export", "--local", "--unmasked", "--since", "2026-09-21T14:13:22Z", "--to", str(later)).code == 0
    assert shell("audit", "verify", str(later)).out.startswith("6 records hold, 3 to 8")
    assert shell("audit", "export", "--local", "--to", str(hidden)).code == 0
    assert b"+493090180001" not in hidden.read_bytes() and b"+********0001" in hidden.read_bytes()
    assert "8 records are masked" in shell("audit", "verify", str(hidden)).out
    whole.write_bytes(whole.read_bytes().replace(b'"op":"pin"', b'"op":"pan"', 1))
    assert shell("audit", "verify", str(whole)).code == 1


def test_decisions_replay_one_by_one_and_all(shell: Shell, written: Path) -> None:
    one = shell("audit", "replay", "7", "--local")
    assert one.code == 0 and one.out.startswith("same: record 7: failover: acme-prod has been out of service")
    assert shell("audit", "replay", "--all", "--local").out == "2 decisions, 2 come out the same\n"
    assert shell("audit", "replay", "1", "--local").code == 2
    assert shell("audit", "replay", "--local").code == 2 and shell("audit", "replay", "99", "--local").code == 2
    other = a_decision(9)
    body = body_of(other, {"build": "sipctl 0.1"})
    AuditLog(written / "audit").append([{**body, "after": {**body["after"], "bcp_percent": 50}}], AT_S)
    ended = shell("audit", "replay", "--all", "--local")
    assert ended.code == 1 and "different: record 9: decided otherwise now (recorded by sipctl 0.1" in ended.out
    assert "bcp_percent was 50, is 100" in ended.out


def test_the_same_over_the_api_where_only_an_admin_sees_whole_numbers(
    shell: Shell, written: Path, desk: ThreadedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shell("audit", "show", "--op", "pin", "-o", "json").json["records"]
    assert [one["n"] for one in found] == [6, 5, 4, 3, 2, 1] and "+********0005" in found[0]["text"]
    assert "+493090180005" in shell("audit", "show", "6", "--unmasked").out
    assert shell("audit", "replay", "--all").out == "2 decisions, 2 come out the same\n"
    out = written / "export.jsonl"
    assert shell("audit", "export", "--unmasked", "--since", "2026-09-21T14:13:24Z", "--to", str(out)).code == 0
    verified = shell("audit", "verify", str(out))
    assert verified.code == 0 and "records hold, 5 to " in verified.out, "without a gap, also where the clocks of writers differ"

    secret = shell("token", "create", "night-shift", "--role", "operator", "--reason", "rota").out.strip()
    (written / "night.token").write_text(secret)
    monkeypatch.setenv("SIPCTL_TOKEN_FILE", str(written / "night.token"))
    assert shell("audit", "show").code == 0
    refused = shell("audit", "show", "--unmasked")
    assert refused.code == 2 and "night-shift is operator; unmasked records need admin" in refused.err
    assert shell("token", "revoke", "admin", "--reason", "mine now").code == 2
    monkeypatch.delenv("SIPCTL_TOKEN_FILE")


def test_the_desk_records_tokens_refusals_and_who_read_all_and_its_chain_holds(
    shell: Shell, state: Path, desk: ThreadedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "view.token").write_text(shell("token", "create", "wallboard", "--role", "viewer", "--reason", "rota").out.strip())
    shell("audit", "show", "--unmasked")
    monkeypatch.setenv("SIPCTL_TOKEN_FILE", str(state / "view.token"))
    for _ in range(3):
        assert shell("pin", "acme", "--to", "bcp", "--reason", "because").code != 0
    monkeypatch.delenv("SIPCTL_TOKEN_FILE")
    assert shell("token", "revoke", "wallboard", "--reason", "gone").code == 0
    desk.run(desk.desk.stop())
    told = list(reversed(list(AuditLog(state / "audit").records())))
    assert [record.body["op"] for record in told] == [
        "desk-start", "token-create", "audit-read-full", "POST /v1/groups/acme/pin", "token-revoke",
    ]  # fmt: skip
    denied = told[3].body
    assert (denied["actor"], denied["outcome"], denied["rule"]) == ("wallboard", "refused", "forbidden")
    assert told[1].body["args"] == {"name": "wallboard", "role": "viewer"} and told[1].body["reason"] == "rota"
    assert shell("audit", "verify").code == 0
    assert all("sipctl-" not in json.dumps(dict(record.body)) for record in told), "no secret of a token"
