"""`/v1/observations`: counted by the desk from what routers tell it, told to the controller as a report."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from sipctl.call.events import Answered
from tests.api.support import MemoryLink, RunningDesk, a_view
from tests.telemetry.test_observing import UNIX_S, an_attempt, some_facts


async def told(desk: RunningDesk, path: str, status: int = 200) -> dict[str, Any]:
    secret = (desk.state_dir / "admin.token").read_text().strip()
    async with ClientSession() as session:
        answer = await session.get(f"http://{desk.address}{path}", headers={"Authorization": f"Bearer {secret}"})
        assert answer.status == status, await answer.text()
        body: dict[str, Any] = await answer.json()
        return body


async def a_call(desk: RunningDesk) -> None:
    router = MemoryLink()
    desk.links.routers.put_nowait(router)
    router.push(msgspec.msgpack.encode([an_attempt(), Answered("aa", UNIX_S + 4, some_facts(ring_s=1.5))]))
    await desk.settled()


async def test_calls_are_told_by_kind_name_and_window(desk: RunningDesk) -> None:
    await a_call(desk)
    body = await told(desk, "/v1/observations?kind=sbc&name=fra-a&window=5m")
    (row,) = body["observations"]
    assert row["windows"].keys() == {"5m"} and row["doubtful"] is None
    assert (row["windows"]["5m"]["n"], row["windows"]["5m"]["ner"]) == (1, 1.0)
    everything = await told(desk, "/v1/observations")
    kinds = [one["kind"] for one in everything["observations"]]
    assert kinds == ["sbc", "pair", "tenant", "trunk"]
    entries = await told(desk, "/v1/observations?kind=entry-point")
    assert [one["name"] for one in entries["observations"]] == ["acme-sales"]


async def test_who_had_no_call_yet_has_empty_windows_and_who_is_not_in_the_plan_is_unknown(desk: RunningDesk) -> None:
    body = await told(desk, "/v1/observations?kind=sbc&name=ams-a")
    (row,) = body["observations"]
    assert row["windows"]["1h"]["n"] == 0 and row["windows"]["1h"]["ner"] is None
    problem = await told(desk, "/v1/observations?kind=sbc&name=ams-z", 404)
    assert "did you mean" in str(problem["hint"])


@pytest.mark.parametrize("query", ["kind=first", "kind=group", "window=2m", "name=fra-a"])
async def test_a_question_that_makes_no_sense_is_refused(desk: RunningDesk, query: str) -> None:
    await told(desk, f"/v1/observations?{query}", 400)


async def test_a_doubt_is_shown_with_its_reason(desk: RunningDesk) -> None:
    sbc = {"operating": "in-service", "admin": "enabled", "doubtful": {"kind": "fails", "reason": "NER 50 %"}}
    desk.controller.say(a_view(sbcs={"fra-a": sbc}))
    await desk.settled()
    await a_call(desk)
    body = await told(desk, "/v1/observations?kind=sbc")
    assert body["observations"][0]["doubtful"]["reason"] == "NER 50 %"


async def test_metrics_tell_ratios_with_their_samples(desk: RunningDesk) -> None:
    await a_call(desk)
    async with ClientSession() as session:
        text = await (await session.get(f"http://{desk.address}/metrics")).text()
    for line in (
        'sipctl_observed_ner_ratio{kind="sbc",name="fra-a"} 1.0',
        'sipctl_observed_attempts{kind="pair",name="fra"} 1.0',
        'sipctl_observed_asr_ratio{kind="tenant",name="acme-prod"} 1.0',
        'sipctl_entry_point_calls_total{entry_point="acme-sales",result="answered"} 1.0',
    ):
        assert line in text.splitlines(), line
