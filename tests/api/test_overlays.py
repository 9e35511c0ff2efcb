"""Overlays and kill switches over HTTP: what is read, what becomes of a write, and what Prometheus sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from sipctl.control.ports import Answer, DecisionRecord, Notice
from sipctl.routing.snapshot import Destination, Overlay
from tests.api.support import RunningDesk, a_view
from tests.api.test_api import get, post
from tests.support.plans import a_state, a_table, a_topology

Session = aiohttp.ClientSession
OFF: dict[str, Any] = {
    "state": "off", "until": None, "until_unix_s": None, "since": None, "by": None, "reason": None,
    "what": "to pair:ann, dialling ann-1", "entry_points": 2, "numbers": 202, "calls": 0,
}  # fmt: skip
ON: dict[str, Any] = {
    **OFF, "state": "on", "until": "2099-01-01T00:00:00.000Z", "until_unix_s": 4_070_908_800.0, "by": "ops-1", "reason": "CHG7",
    "since": "2026-09-21T14:13:20.000Z", "calls": 15,
}  # fmt: skip


@pytest.fixture
async def ready(desk: RunningDesk) -> RunningDesk:
    """A desk whose controller knows an overlay that is on and one that is off, and a kill switch."""
    desk.controller.say(a_view(overlays={"emergency": ON, "evening": OFF}, switches={"fraud": OFF}))
    await desk.settled()
    return desk


async def test_they_are_listed_apart_and_in_the_status(ready: RunningDesk, admin: Session) -> None:
    assert await get(admin, "/v1/overlays") == {"overlays": {"emergency": ON, "evening": OFF}}
    assert await get(admin, "/v1/switches") == {"switches": {"fraud": OFF}}
    assert (await get(admin, "/v1/status"))["overlays"]["emergency"]["by"] == "ops-1"


async def test_what_ends_while_no_controller_lives_is_shown_as_off(ready: RunningDesk, admin: Session) -> None:
    ready.controller.link.close()
    await ready.settled()
    assert (await get(admin, "/v1/overlays"))["overlays"]["emergency"]["state"] == "on"
    ready.now_s = ON["until_unix_s"]
    assert (await get(admin, "/v1/overlays"))["overlays"]["emergency"]["state"] == "off"


async def test_its_gauge_falls_at_that_instant_too(ready: RunningDesk, admin: Session) -> None:
    ready.controller.link.close()
    await ready.settled()
    for now_s, value, ends in ((ON["until_unix_s"] - 1, "1.0", True), (ON["until_unix_s"], "0.0", False)):
        ready.now_s = now_s
        async with admin.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
        assert f'sipctl_overlay_on{{overlay="emergency"}} {value}' in lines
        assert any(line.startswith("sipctl_overlay_until_timestamp_seconds{") for line in lines) is ends


@pytest.mark.parametrize(
    ("path", "body", "op", "args"),
    [
        ("/v1/overlays/evening/on", {}, "overlay-on", {"overlay": "evening", "until": None}),
        ("/v1/overlays/evening/on", {"until": "2099-01-01T01:00:00+01:00"}, "overlay-on",
         {"overlay": "evening", "until": 4_070_908_800.0}),
        ("/v1/overlays/emergency/off", {}, "overlay-off", {"overlay": "emergency"}),
        ("/v1/switches/fraud/on", {"until": "2099-01-01T00:00:00Z"}, "switch-on", {"switch": "fraud", "until": 4_070_908_800.0}),
        ("/v1/switches/fraud/off", {}, "switch-off", {"switch": "fraud"}),
    ],
)  # fmt: skip
async def test_each_write_becomes_its_command(
    ready: RunningDesk, admin: Session, path: str, body: dict[str, Any], op: str, args: dict[str, Any]
) -> None:
    await post(admin, path, {**body, "reason": "CHG7", "dry_run": True, "force": ["overlay-collides"]})
    (command,) = ready.controller.commands
    assert (command.op, dict(command.args), command.actor, command.reason) == (op, args, "admin", "CHG7")
    assert (command.dry_run, command.force) == (True, ("overlay-collides",))


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/overlays/evening/on", {}, 400, "reason-required"),
        ("/v1/overlays/evening/on", {"reason": "x", "until": "06:00"}, 400, "bad-request"),
        ("/v1/overlays/evening/on", {"reason": "x", "until": "2099-01-01T00:00:00"}, 400, "bad-request"),
        ("/v1/overlays/evening/on", {"reason": "x", "until": "2001-01-01T00:00:00Z"}, 400, "bad-request"),
        ("/v1/overlays/evening/on", {"reason": "x", "until": 5}, 400, "bad-json"),
        ("/v1/overlays/evening/off", {"reason": "x", "until": "2099-01-01T00:00:00Z"}, 400, "bad-json"),
        ("/v1/overlays/fraud/on", {"reason": "x"}, 404, "unknown-name"),
        ("/v1/switches/frau/on", {"reason": "x"}, 404, "unknown-name"),
        ("/v1/overlays/evening/maybe", {"reason": "x"}, 404, "not-found"),
    ],
)  # fmt: skip
async def test_a_wrong_write_reaches_nobody(
    ready: RunningDesk, admin: Session, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    assert (await post(admin, path, body, status))["code"] == code
    assert ready.controller.commands == []


async def test_a_rule_that_forbids_it_is_named(ready: RunningDesk, admin: Session) -> None:
    ready.controller.script = lambda command: [
        Answer(command.id, "refused", "both say where calls to acme-sales go", "overlay-collides", "sipctl overlay off emergency")
    ]
    problem = await post(admin, "/v1/overlays/evening/on", {"reason": "x"}, 409)
    assert (problem["code"], problem["rule"], problem["hint"]) == (
        "refused", "overlay-collides", "sipctl overlay off emergency",
    )  # fmt: skip


async def test_when_it_went_on_and_off_is_told_also_of_one_that_no_plan_has(ready: RunningDesk, admin: Session) -> None:
    for at, text in enumerate(("overlay gone is on until it is switched off: ops-1: CHG7", "overlay gone is off: ops-1: CHG8")):
        ready.store.append_decision(
            DecisionRecord("overlay gone", 0, 4, float(at), "operator", text, {}, {}, {}, "ops-1", "overlay")
        )
    found = (await get(admin, "/v1/overlays/gone/decisions?limit=1"))["decisions"]
    assert [(one["kind"], one["sentence"]) for one in found] == [("overlay", "overlay gone is off: ops-1: CHG8")]
    assert len((await get(admin, "/v1/decisions"))["decisions"]) == 2
    assert (await get(admin, "/v1/switches/gone/decisions"))["decisions"] == []


async def test_a_change_is_an_event_and_a_metric(ready: RunningDesk, admin: Session) -> None:
    async with admin.get("/v1/events") as stream:
        ready.controller.say(Notice("overlay", "overlay evening is on", 5.0, {"name": "evening", "state": "on"}))
        lines: list[bytes] = []
        while not any(line.startswith(b"data:") for line in lines):
            lines.append(await stream.content.readline())
    assert b"event: overlay\n" in lines and b'"name":"evening"' in lines[-1]
    async with admin.get("/metrics") as response:
        text = (await response.text()).splitlines()
    for line in (
        'sipctl_overlay_on{overlay="emergency"} 1.0', 'sipctl_overlay_on{overlay="evening"} 0.0',
        'sipctl_switch_on{switch="fraud"} 0.0', 'sipctl_overlay_until_timestamp_seconds{overlay="emergency"} 4.0709088e+09',
        'sipctl_notices_total{kind="overlay"} 1.0',
    ):  # fmt: skip
        assert line in text, line


async def test_where_a_number_goes_now_follows_what_is_on_and_until_when(
    desk: RunningDesk, admin: Session, tmp_path: Path
) -> None:
    topology = a_topology(overlays=(Overlay("evening", ((0, Destination(refuse=(480, 41))),)),))
    table = a_table(topology)
    (tmp_path / "table").write_bytes(table.image)
    state = a_state(table, overlays=(("evening", desk.now_s + 60.0),))
    desk.controller.say(msgspec.structs.replace(a_view(), state=state, table_path=str(tmp_path / "table")))
    await desk.settled()
    question = "/v1/route?number=%2B4930901820&trunk=carrier-one"
    assert (await get(admin, question))["refused"] == 480
    desk.now_s += 61.0
    assert (await get(admin, question))["refused"] is None


async def test_openapi_describes_them(admin: Session) -> None:
    document = await get(admin, "/v1/openapi.json")
    for section in ("overlays", "switches"):
        on = document["paths"][f"/v1/{section}/{{name}}/on"]["post"]
        assert on["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/SwitchOn"}
        assert on["description"] == "Role: operator." and "get" in document["paths"][f"/v1/{section}"]
