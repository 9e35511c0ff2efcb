"""`sipctl alerts`: the file is read as the desk reads it; webhooks and their troubles are told."""

from pathlib import Path

from tests.api.support import ThreadedDesk
from tests.cli.support import Shell

SOUND = """webhooks:
  oncall: {url: "https://hooks.example.net/x", secret_env: SIPCTL_ONCALL, events: [alarm, plan]}
targets: {hosts: hooks.example.net}
"""


def test_the_file_is_checked_without_anybody_running(shell: Shell, state: Path) -> None:
    assert shell("alerts", "check").code == 2
    (state / "alerts.yaml").write_text(SOUND)
    ended = shell("alerts", "check")
    assert ended.code == 0 and "oncall: hooks.example.net:443, told of alarm, plan" in ended.out
    (state / "alerts.yaml").write_text(SOUND.replace("events", "event"))
    ended = shell("alerts", "check")
    assert ended.code == 1 and "alerts.yaml:2:75: error alerts.invalid: no such key here: event" in ended.out
    assert "did you mean events" in ended.out


def test_webhooks_are_listed_and_a_test_that_does_not_arrive_is_exit_1(shell: Shell, state: Path, desk: ThreadedDesk) -> None:
    ended = shell("alerts", "ls")
    assert ended.code == 0 and ended.out == "webhooks: none\n"
    assert shell("alerts", "test", "oncall").code == 2
    (state / "alerts.yaml").write_text(SOUND)
    while "oncall" not in (ended := shell("alerts", "ls")).out:
        assert ended.code == 0
    assert "hooks.example.net:443" in ended.out
    assert shell("alerts", "test", "oncall", "--dry-run").out == "would send a test to webhook oncall\n"
    assert shell("alerts", "ls", "-o", "json").json["webhooks"][0]["name"] == "oncall"


def test_alarms_show_their_severity_who_looks_after_them_and_that_they_flap(shell: Shell, desk: ThreadedDesk) -> None:
    alarm = {"id": "sbc-lost:fra-a", "since": "2026-11-22T10:00:00Z", "text": "SBC fra-a is out", "severity": "warning"}
    taken = {**alarm, "acked_by": "ops-1", "acked_reason": "vendor called", "state": "flapping", "raises": 7}
    desk.show(alarms=[taken])
    ended = shell("alarms")
    assert ended.code == 1
    for words in ("warning", "ops-1: vendor called", "SBC fra-a is out (flaps: raised 7 times)"):
        assert words in ended.out
