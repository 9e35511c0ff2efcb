"""`/v1/diff`, `/v1/numbers` and `/v1/replay`: the answers of the commands of that name, from children of the desk."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sipctl.api import plans
from sipctl.api.problems import Problem
from sipctl.control.ports import Revision
from tests.api.support import RunningDesk
from tests.api.test_api import get, post
from tests.dialplan.support import EDGE, PLAN, plan

Session = aiohttp.ClientSession
OLD = {path: data.decode() for path, data in plan().items()}
NEW = {**OLD, PLAN: OLD[PLAN].replace("+4930901900", "+4930901901", 1)}


def keep(desk: RunningDesk, number: int, files: dict[str, str]) -> None:
    desk.store.add_revision(Revision(number, 1.0, "ops-1", "CHG7", None, None, files))


@pytest.fixture
def kept(desk: RunningDesk) -> RunningDesk:
    """A STATE with two revisions that compile, the first one live, and one that does not."""
    keep(desk, 1, OLD)
    keep(desk, 2, NEW)
    keep(desk, 3, {EDGE: "a: [\n", PLAN: "b\n"})
    desk.store.set_live(1, 2.0)
    return desk


async def test_diff_says_what_the_command_says(kept: RunningDesk, admin: Session) -> None:
    body = await get(admin, "/v1/diff?from=1&to=2")
    assert (body["from"], body["to"], body["same"]) == ("revision 1", "revision 2", False)
    assert body["numbers"] == 2 and {change["kind"] for change in body["changes"]} == {"routed", "refused"}
    same = await get(admin, "/v1/diff?to=1")
    assert (same["from"], same["same"], same["numbers"]) == ("live revision 1", True, 0)


async def test_numbers_are_listed_or_looked_up_with_their_lines(kept: RunningDesk, admin: Session) -> None:
    listed = await get(admin, "/v1/numbers?entry_point=support&limit=1")
    assert listed["asked"] == "live revision 1" and len(listed["rows"]) == 1 and listed["rows"][0]["entry_point"] == "support"
    where = await get(admin, "/v1/numbers?number=+4930901901&revision=2")
    (holder,) = where["holders"]
    assert where["asked"] == "revision 2" and holder["path"] == PLAN and holder["entry_point"] == "support"
    nobody = await get(admin, "/v1/numbers?number=%2B4930901901")
    assert nobody["holders"] == []


async def test_replay_reads_the_records_of_this_state(kept: RunningDesk, admin: Session) -> None:
    (kept.state_dir / "cdr").mkdir(exist_ok=True)
    record = {
        "type": "call", "call": "aa", "trunk": "one", "dialled": "+4930901900", "called": "+4930901900",
        "calling": "+491701234567",
        "entry_point": "support", "group": "acme", "tenant": "prod", "role": "primary", "pair": "fra", "sbc": "fra-a",
        "start": "2026-09-21T14:13:20.000Z", "start_epoch_ms": 1_790_000_000_000, "end": "2026-09-21T14:14:23.000Z",
        "duration_ms": 60_000, "answered": True, "sip_code": 200, "call_id": "aa@carrier", "revision": 1,
    }  # fmt: skip
    (kept.state_dir / "cdr" / "2026-09-21.jsonl").write_text(json.dumps(record) + "\n")
    body = await post(admin, "/v1/replay", {"new": "2"}, 200)
    assert (body["old"], body["new"], body["calls"]) == ("live revision 1", "revision 2", 1)
    assert body["totals"]["new"]["refused"] == 1 and body["totals"]["old"]["routed"] == 1
    assert (await post(admin, "/v1/replay", {"new": "2", "given": ["nobody=on"]}, 400))["code"] == "invalid"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/diff?from=9", 404, "there is no revision 9"), ("/v1/diff?from=soon", 400, "soon is no revision"),
        ("/v1/diff?to=/etc/passwd", 400, "is no revision"), ("/v1/diff?from=logged", 400, "logged is no revision"),
        ("/v1/numbers?number=--help", 400, "no number"), ("/v1/numbers?group=nobody", 400, "no group is called nobody"),
        ("/v1/numbers?limit=10001", 400, "from 1 to 10000"), ("/v1/diff?to=3", 400, ""),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_is_a_problem(
    kept: RunningDesk, admin: Session, path: str, status: int, words: str
) -> None:
    problem = await get(admin, path, status)
    assert words in problem["detail"] and "Traceback" not in json.dumps(problem)


async def test_no_more_than_some_are_answered_at_once(kept: RunningDesk, admin: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = asyncio.Event()

    asked_now: list[int] = []

    async def waits(*_: Any) -> dict[str, Any]:
        asked_now.append(1)
        await waiting.wait()
        return {}

    monkeypatch.setattr(plans, "_child", waits)
    asked = [asyncio.ensure_future(get(admin, "/v1/diff?to=2")) for _ in range(plans.MAX_AT_ONCE)]
    while len(asked_now) < plans.MAX_AT_ONCE:
        await asyncio.sleep(0)
    assert (await get(admin, "/v1/diff?to=2", 503))["code"] == "busy"
    assert (await get(admin, "/healthz"))["alive"]
    waiting.set()
    assert await asyncio.gather(*asked) == [{}] * plans.MAX_AT_ONCE


async def test_a_child_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_MAIN", "import time; time.sleep(600)")
    with pytest.raises(Problem, match="not answered within"):
        await plans._child(("diff",), str(tmp_path), 0.2)


async def test_a_child_that_says_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_MAIN", "while True: print('x' * 100_000)")
    monkeypatch.setattr(plans, "MAX_ANSWER_BYTES", 1 << 20)
    with pytest.raises(Problem, match="larger than 1 MiB"):
        await plans._child(("diff",), str(tmp_path), 60.0)
