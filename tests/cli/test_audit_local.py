"""Orders given on the node are in the audit, refused ones too, and an emergency waits for no disk."""

import fcntl
from pathlib import Path

import pytest

from sipctl.cli.audit_local import record_local
from sipctl.store.audit_log import AuditLog
from sipctl.supervisor.local_wire import End, Give

GIVE = Give("failover", "bcp", "fire in the server room", group="acme", force=("no-view",))


def test_an_order_on_the_node_is_recorded_with_who_why_and_what_became_of_it(tmp_path: Path) -> None:
    record_local(
        tmp_path, GIVE, End("done", "acme: new calls go to bcp and stay there until failback", body={"groups": ["acme"]})
    )
    record_local(tmp_path, GIVE, End("refused", "the target is out of service", "target-out-of-service"))
    refused, done = (record.body for record in AuditLog(tmp_path / "audit").records())
    assert (done["kind"], done["op"], done["outcome"], done["groups"]) == ("local", "local-failover", "done", ["acme"])
    assert done["actor"].startswith("local:") and done["reason"] == "fire in the server room"
    assert (refused["outcome"], refused["rule"], refused["force"]) == ("refused", "target-out-of-service", ["no-view"])
    assert AuditLog(tmp_path / "audit").verify().broken is None


def test_an_audit_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    AuditLog(tmp_path / "audit").append([{"kind": "operation"}], 5.0)
    monkeypatch.setattr("sipctl.store.audit_log.LOCK_WAIT_S", 0.0)
    with (tmp_path / "audit" / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        record_local(tmp_path, GIVE, End("done", "done"))
    assert "this is not in the audit" in capsys.readouterr().err
