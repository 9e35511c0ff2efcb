"""Overlays through the whole controller, with its store, its links and its deaths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sipctl.control.ports import View
from sipctl.routing.snapshot import Topology
from tests.control.test_overlays import a_plan
from tests.control.world import FakeRouter, Office, until
from tests.support.plans import a_topology


def a_topology_for(revision: int, text: str) -> Topology:
    return a_plan(revision) if text.startswith("overlays") else a_topology(revision=revision)


@pytest.fixture
async def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setattr("tests.control.world.the_topology", a_topology_for)
    place = Office(tmp_path, {"plan": "overlays"})
    yield place
    if place.task is not None and not place.task.done():
        await place.stop()


async def test_an_overlay_is_told_answered_and_written(office: Office) -> None:
    desk = await office.start()
    answer = await desk.order("overlay-on", overlay="emergency")
    assert (answer.status, answer.body["numbers"]) == ("done", 102)
    assert office.router.held is not None and office.router.held.overlays == (("emergency", 0.0),)
    await until(lambda: "emergency" in office.store.wishes.overlays)
    await until(lambda: bool(office.store.records))
    assert [(one.kind, one.group, one.actor) for one in office.store.records] == [("overlay", "overlay emergency", "ops-1")]
    await until(lambda: any(isinstance(frame, View) for frame in desk.frames))
    await until(lambda: desk.view.status["overlays"]["emergency"]["state"] == "on")
    assert any(notice.kind == "overlay" and notice.fields["actor"] == "ops-1" for notice in desk.notices)


@pytest.mark.parametrize("writes", [True, False])
async def test_what_was_answered_outlives_a_controller_that_died_before_or_after_writing(office: Office, writes: bool) -> None:
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    office.store.fails = not writes
    assert (await desk.order("overlay-on", overlay="emergency", reason="CHG7")).status == "done"
    if writes:
        await until(lambda: "emergency" in office.store.wishes.overlays)
    await office.die()
    office.store.fails = False
    held = office.router.held
    assert held is not None
    again = await office.start(FakeRouter(held))
    await until(lambda: bool(office.router.published))
    state = office.router.published[-1]
    assert state.term > held.term and state.overlays == (("emergency", 0.0),)
    await until(lambda: "emergency" in office.store.wishes.overlays)
    await until(lambda: any(isinstance(frame, View) for frame in again.frames))
    assert again.view.status["overlays"]["emergency"]["reason"] == ("CHG7" if writes else "")


async def test_an_apply_that_would_lose_what_is_on_is_refused_and_changes_nothing(office: Office) -> None:
    desk = await office.start()
    await desk.order("overlay-on", overlay="emergency")
    answer = await desk.order("apply", files={"plan": "good"})
    assert (answer.status, answer.code) == ("refused", "active-overlay")
    assert "overlay emergency is on" in answer.text and office.store.live == 1
    answer = await desk.order("apply", files={"plan": "overlays, and more"})
    assert answer.status == "done", answer
    assert office.router.held is not None and office.router.held.overlays == (("emergency", 0.0),)
    await desk.order("overlay-off", overlay="emergency")
    assert (await desk.order("apply", files={"plan": "good"})).status == "done"


async def test_an_overlay_that_goes_on_while_a_plan_is_compiled_counts(office: Office) -> None:
    """The rules are asked again before the write that makes the plan live."""
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    command = desk.begin("apply", files={"plan": "good"})
    on = desk.begin("overlay-on", overlay="emergency")
    await until(lambda: bool(desk.finals("apply") and desk.finals("overlay-on")))
    applied, switched = desk.answers(command.id)[-1], desk.answers(on.id)[-1]
    assert (switched.status, applied.status, applied.code) == ("done", "refused", "active-overlay"), (applied, switched)
    assert office.store.live == 1
