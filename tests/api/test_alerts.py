"""Alerts from a running desk to real receivers."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sipctl.control.ports import Notice
from tests.api.support import RunningDesk, a_view
from tests.support.webhooks import Receiver, heard, receiving

LOST = {
    "id": "sbc-lost:fra-a", "since": "2026-11-22T10:00:00.000Z", "text": "SBC fra-a is out of service", "severity": "warning",
    "state": "raised", "raises": 1, "acked_by": None, "acked_reason": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of production, shortened."""
    monkeypatch.setattr("sipctl.telemetry.alerts.FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr("sipctl.telemetry.alerts.CLEAR_HOLD_S", 0.0)
    monkeypatch.setattr("sipctl.api.alerts.SAVE_S", 0.02)
    monkeypatch.setattr("sipctl.api.alerts.LOOK_S", 0.02)


def configure(state_dir: Path, **webhooks: str) -> None:
    """STATE/alerts.yaml with webhooks NAME="PORT[, more]" on loopback."""
    secret = state_dir / "oncall.secret"
    secret.write_text("correct horse battery staple")
    secret.chmod(0o600)
    lines = []
    for name, text in webhooks.items():
        port, _, more = text.partition(",")
        lines.append(
            f"  {name}: {{url: 'http://127.0.0.1:{port}/secret-path', secret_file: {secret}{',' if more else ''}{more}}}\n"
        )
    targets = "targets: {hosts: 127.0.0.1, networks: 127.0.0.1/32}\n"
    (state_dir / "alerts.yaml").write_text(f"webhooks:\n{''.join(lines)}{targets}")


def bodies_of(receiver: Receiver) -> list[Mapping[str, Any]]:
    return [json.loads(body) for _, _, body in receiver.requests]


async def shows(desk: RunningDesk, *alarms: Mapping[str, Any]) -> None:
    desk.controller.say(a_view(alarms=list(alarms)))
    await desk.settled()


async def started(state_dir: Path) -> RunningDesk:
    desk = RunningDesk(state_dir)
    await desk.start()
    while desk.address == "":
        await asyncio.sleep(0)
    return desk


def a_client(desk: RunningDesk) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(f"http://{desk.address}", headers={"Authorization": f"Bearer {desk.secret()}"})


async def until_in_force(client: aiohttp.ClientSession, count: int) -> Mapping[str, Any]:
    async with asyncio.timeout(10):
        while True:
            async with client.get("/v1/alerts") as answer:
                body: Mapping[str, Any] = await answer.json()
            if len(body["webhooks"]) == count:
                return body
            await asyncio.sleep(0.01)


async def test_alarms_and_decisions_reach_who_asked_for_them(tmp_path: Path) -> None:
    async with receiving() as oncall, receiving() as lab:
        configure(tmp_path, oncall=f"{oncall.port}", lab=f"{lab.port}, events: [decision]")
        desk = await started(tmp_path)
        async with a_client(desk) as client:
            body = await until_in_force(client, 2)
            assert "secret-path" not in json.dumps(body) and body["webhooks"][0]["host"] == "127.0.0.1"
            await shows(desk, LOST)
            await heard(oncall, 1)
            await shows(desk, {**LOST, "acked_by": "ops-1", "acked_reason": "vendor called"})
            await heard(oncall, 2)
            await shows(desk)
            await shows(desk)
            await heard(oncall, 3)
            desk.controller.say(Notice("decision", "acme: new calls go to acme-bcp", 6.0, {"group": "acme"}))
            await heard(lab, 1)
            async with client.post("/v1/alerts/oncall/test", json={"reason": "a test"}) as answer:
                assert answer.status == 200 and (await answer.json())["text"] == "webhook oncall answered 204"
            async with client.post("/v1/alerts/nobody/test", json={"reason": "a test"}) as answer:
                assert answer.status == 404
        await desk.stop()
        assert [one["type"] for one in bodies_of(oncall)] == ["alarm.raised", "alarm.acknowledged", "alarm.cleared", "test"]
        assert [one["type"] for one in bodies_of(lab)] == ["decision"]
        assert bodies_of(oncall)[0]["source"]["node"] == "fra-1"


async def test_a_dead_webhook_delays_nothing_and_is_an_alarm_that_others_hear_of(tmp_path: Path) -> None:
    async with receiving() as gone:
        dead = gone.port
    async with receiving() as lab:
        configure(tmp_path, oncall=f"{dead}", lab=f"{lab.port}")
        desk = await started(tmp_path)
        async with a_client(desk) as client:
            await until_in_force(client, 2)
            await shows(desk, LOST)
            await heard(lab, 1)
            async with asyncio.timeout(10):
                while not any(one.what == "webhook:oncall" for one in desk.controller.failures):
                    await asyncio.sleep(0.01)
            told = next(one for one in desk.controller.failures if one.what == "webhook:oncall")
            assert "webhook oncall has failed" in told.text and "no connection" in told.text and "secret-path" not in told.text
            await shows(desk, LOST, {**LOST, "id": "desk:webhook:oncall", "text": told.text})
            await heard(lab, 2)
            async with client.get("/v1/alerts") as answer:
                oncall = (await answer.json())["webhooks"][0]
            assert oncall["waiting"] == 1, "of its own failure it is not told"
            async with client.post("/v1/alerts/oncall/test", json={"reason": "a test"}) as answer:
                assert answer.status == 502 and "no connection" in (await answer.json())["detail"]
        await desk.stop()


async def test_what_did_not_arrive_is_delivered_by_the_next_desk_and_nothing_is_told_twice(tmp_path: Path) -> None:
    async with receiving() as first:
        port = first.port
    configure(tmp_path, oncall=f"{port}")
    desk = await started(tmp_path)
    async with a_client(desk) as client:
        await until_in_force(client, 1)
    await shows(desk, LOST)
    await desk.stop()
    async with receiving(port=port) as receiver:
        desk = await started(tmp_path)
        await heard(receiver, 1)
        await shows(desk, LOST)
        await shows(desk, LOST, {**LOST, "id": "no-router", "severity": "critical"})
        await heard(receiver, 2)
        await desk.stop()
        assert [one["fields"]["alarm"] for one in bodies_of(receiver)] == ["sbc-lost:fra-a", "no-router"]
        assert (tmp_path / "alerts" / "kept.json").stat().st_mode & 0o777 == 0o600


async def test_a_file_that_is_broken_leaves_the_one_before_in_force_and_says_so(tmp_path: Path) -> None:
    async with receiving() as receiver:
        configure(tmp_path, oncall=f"{receiver.port}")
        desk = await started(tmp_path)
        async with a_client(desk) as client:
            await until_in_force(client, 1)
            (tmp_path / "alerts.yaml").write_text("webhooks: [\n")
            async with asyncio.timeout(10):
                while not any(one.what == "alerts-file" for one in desk.controller.failures):
                    await asyncio.sleep(0.01)
            async with client.get("/v1/alerts") as answer:
                body = await answer.json()
            assert "is not in force, the one before is" in body["fault"] and len(body["webhooks"]) == 1
            await shows(desk, LOST)
            await heard(receiver, 1)
            (tmp_path / "alerts.yaml").unlink()
            await until_in_force(client, 0)
        await desk.stop()


async def test_who_may_only_look_may_not_send_tests(desk: RunningDesk, admin: aiohttp.ClientSession) -> None:
    async with admin.post("/v1/tokens", json={"name": "wall", "role": "viewer", "reason": "x"}) as answer:
        headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    async with admin.post("/v1/alerts/oncall/test", json={"reason": "x"}, headers=headers) as answer:
        assert answer.status == 403
