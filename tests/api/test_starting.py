"""A controller that begins answers, and takes nothing yet: whoever asked is told to ask again, not that something is broken."""

from __future__ import annotations

import aiohttp

from sipctl.api.problems import CODES, RETRY_AFTER_S
from sipctl.control.ports import Answer
from tests.api.support import RunningDesk


async def test_a_write_to_a_controller_that_begins_is_503_with_when_to_ask_again(
    desk: RunningDesk, admin: aiohttp.ClientSession
) -> None:
    starting = ("failed", "the controller is starting", "starting", "try again in a moment")
    desk.controller.script = lambda command: [Answer(command.id, *starting)]
    for path in ("/v1/groups/acme/failover", "/v1/canary/abort"):
        asked = {"reason": "x", **({"to": "bcp"} if "failover" in path else {})}
        async with admin.post(path, json=asked) as response:
            body = await response.json(content_type=None)
            assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert (body["code"], body["detail"], body["hint"]) == ("starting", "the controller is starting", "try again in a moment")
        assert body["operation"] == desk.controller.commands[-1].id


async def test_what_was_tried_and_failed_is_500_and_says_nothing_of_when(desk: RunningDesk, admin: aiohttp.ClientSession) -> None:
    desk.controller.script = lambda command: [Answer(command.id, "failed", "the disk is full", "store")]
    async with admin.post("/v1/groups/acme/failover", json={"to": "bcp", "reason": "x"}) as response:
        assert response.status == 500 and "Retry-After" not in response.headers


def test_every_code_that_says_when_to_ask_again_is_one() -> None:
    assert set(RETRY_AFTER_S) <= set(CODES)
