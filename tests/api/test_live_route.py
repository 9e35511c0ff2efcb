"""`GET /v1/route`: the live table, asked with the states the controller saw last."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from sipctl.control.ports import View
from sipctl.routing.snapshot import Decision, RoutingState
from tests.api.support import RunningDesk, a_status, a_view
from tests.support.plans import a_state, a_table

SBC = a_status()["sbcs"]["fra-a"]


def live_view(path: Path, *, out: tuple[str, ...] = (), **state: Any) -> View:
    """What the controller would send while this table is live."""
    table = a_table()
    path.write_bytes(table.image)
    routing: RoutingState = a_state(table, **state)
    sbcs = {
        name: {**SBC, "operating": "out-of-service" if name in out else "in-service"}
        for name in ("fra-a", "fra-b", "ams-a", "ams-b")
    }
    view = a_view(sbcs=sbcs)
    return msgspec.structs.replace(view, state=routing, table_path=str(path))


@pytest.fixture
async def session(desk: RunningDesk) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {desk.secret()}"}
    async with aiohttp.ClientSession(f"http://{desk.address}", headers=headers) as client:
        yield client


async def ask(session: aiohttp.ClientSession, query: str, expected: int = 200) -> dict[str, Any]:
    from yarl import URL

    async with session.get(URL(f"/v1/route?{query}", encoded=True)) as response:
        assert response.status == expected, await response.text()
        body: dict[str, Any] = await response.json(content_type=None)
        return body


@pytest.mark.parametrize("number", ["%2B4930901820", "+4930901820", "%204930901820", "%2B49+30+901820", "%2B49%2030%2F90-18-20"])
async def test_a_plus_arrives_whether_escaped_or_not(
    desk: RunningDesk, session: aiohttp.ClientSession, tmp_path: Path, number: str
) -> None:
    desk.controller.say(live_view(tmp_path / "table"))
    await desk.settled()
    body = await ask(session, f"number={number}&trunk=carrier-one")
    assert (body["called"], body["entry_point"], body["tenant"], body["side"]) == (
        "+4930901820",
        "acme-sales",
        "acme-prod",
        "primary",
    )
    assert body["asked"] == f"live revision {body['revision']}, states now"
    assert [target["sbc"] for target in body["targets"]][:2] == ["fra-a", "fra-b"]
    assert body["refused"] is None and body["reason"]


async def test_states_and_decisions_of_the_moment_count(
    desk: RunningDesk, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    desk.controller.say(live_view(tmp_path / "table", out=("fra-a",)))
    await desk.settled()
    assert (await ask(session, "number=%2B4930901820&trunk=carrier-one"))["targets"][0]["sbc"] == "fra-b"
    moved = {"acme": Decision(bcp_percent=100, epoch=8, reason="ops-1: CHG1")}
    desk.controller.say(live_view(tmp_path / "table", decisions=moved, seq=99))
    await desk.settled()
    body = await ask(session, "number=%2B4930901820&trunk=carrier-one")
    assert (body["tenant"], body["seq"]) == ("acme-bcp", 99) and "ops-1: CHG1" in body["reason"]


async def test_an_unknown_number_is_an_answer_an_unknown_trunk_a_problem(
    desk: RunningDesk, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    desk.controller.say(live_view(tmp_path / "table"))
    await desk.settled()
    body = await ask(session, "number=%2B4930999999&trunk=carrier-one")
    assert (body["refused"], body["targets"]) == (404, [])
    assert (await ask(session, "number=%2B4930901820&trunk=carrier-nine", 404))["code"] == "unknown-name"
    problem = await ask(session, "number=%2B4930901820", 400)
    assert "carrier-one" in problem["hint"]


async def test_a_table_that_cannot_be_read_is_a_problem_not_a_crash(
    desk: RunningDesk, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    view = live_view(tmp_path / "table")
    (tmp_path / "table").write_bytes(b"damaged")
    desk.controller.say(view)
    await desk.settled()
    assert (await ask(session, "number=%2B4930901820&trunk=carrier-one", 503))["code"] == "failed"
    desk.controller.say(live_view(tmp_path / "table"))
    await desk.settled()
    assert (await ask(session, "number=%2B4930901820&trunk=carrier-one"))["entry_point"] == "acme-sales"


async def test_the_whole_decision_comes_as_a_tree_with_the_counts_of_the_moment(
    desk: RunningDesk, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    view = live_view(tmp_path / "table", out=("fra-a",))
    detail = {**view.detail, "entry_points": {"acme-sales": {"calls": 3}}}
    trunks = {"carrier-one": {"calls": 12, "cps": 3, "admin": "enabled"}}
    desk.controller.say(msgspec.structs.replace(view, detail=detail, status={**view.status, "trunks": trunks}))
    await desk.settled()
    body = await ask(session, "number=%2B4930901820&trunk=carrier-one")
    steps = {step["step"]: step for step in body["tree"]["steps"]}
    assert list(steps) == ["number", "rules", "group", "limits", "sbcs", "advance", "invite", "answer"]
    assert steps["answer"]["text"] == body["reason"]
    assert [step["facts"]["count"] for step in steps["limits"]["steps"]] == [12, 3, 3, 12]
    assert body["given"] == {"sbcs": {"fra-a": "out-of-service"}, "groups": {"acme": "normal"}}


async def test_a_question_may_be_asked_of_another_time(desk: RunningDesk, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    desk.controller.say(live_view(tmp_path / "table"))
    await desk.settled()
    asked = "number=%2B4930901820&trunk=carrier-one&at="
    for at in ("2026-12-24T10:00:00%2B01:00", "2026-12-24T10:00:00+01:00", "2026-12-24%2009:00:00Z"):
        assert (await ask(session, asked + at))["asked"].endswith(", states now, at 2026-12-24T09:00:00Z")
    for at in ("2026-12-24T10:00:00", "soon", "0001-01-01T00:00:00Z"):
        assert (await ask(session, asked + at, 400))["code"] == "bad-request"
