"""`run --watch`: sound edits of the folder become revisions by themselves, everything else is one alarm and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.control.world import FakeDesk, Office, until

GOOD, ONE, TWO, BAD = {"plan": "good"}, {"plan": "one trunk"}, {"plan": "two"}, {"plan": "bad"}


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    place = Office(tmp_path)
    place.saved = asyncio.Queue()
    yield place
    if place.task is not None and not place.task.done():
        await place.stop()


def watch_alarms(desk: FakeDesk) -> list[str]:
    """Texts of the alarms that were ever raised about the folder."""
    return [one.text for one in desk.notices if one.kind == "alarm" and str(one.fields["id"]).startswith("watch:")]


def standing(desk: FakeDesk) -> list[str]:
    return [alarm["text"] for alarm in desk.view.status["alarms"] if alarm["id"].startswith("watch:")]


async def test_a_sound_edit_becomes_a_revision_of_its_own(office: Office) -> None:
    await office.start()
    await office.save(ONE)
    await until(lambda: office.store.live == 2)
    kept = office.store.revision(2)
    assert kept is not None and (kept.author, kept.reason, dict(kept.files)) == ("watch", "the folder changed", ONE)
    await office.save(TWO)
    await until(lambda: office.store.live == 3)
    await until(lambda: office.router.published[-1].revision == 3)


async def test_a_broken_edit_is_never_applied_and_is_one_alarm_until_it_is_mended(office: Office) -> None:
    desk = await office.start()
    await office.save(BAD)
    await until(lambda: len(watch_alarms(desk)) == 1)
    assert watch_alarms(desk) == ["the edit of the folder is not applied: 1 error in the plan: plan:1:1: plan.bad: bad"]
    await office.save(BAD)
    await office.save({"plan": "bad", "another": "x"})
    await until(lambda: len(watch_alarms(desk)) == 2)
    assert office.store.live == 1 and office.compiler.asked == [1, 2, 2], "the same edit is judged once"
    await office.save(ONE)
    await until(lambda: office.store.live == 2)
    await until(lambda: standing(desk) == [])


async def test_going_back_to_what_is_live_mends_it_too(office: Office) -> None:
    desk = await office.start()
    await office.save(BAD)
    await until(lambda: bool(standing_now(desk)))
    await office.save(GOOD)
    await until(lambda: standing(desk) == [])
    assert len(office.store.kept) == 1


def standing_now(desk: FakeDesk) -> list[str]:
    return standing(desk) if any(not hasattr(frame, "kind") and hasattr(frame, "status") for frame in desk.frames) else []


async def test_a_plan_that_somebody_applied_from_elsewhere_is_not_overwritten_by_a_save(office: Office) -> None:
    desk = await office.start()
    await desk.order("apply", files=ONE, base=1)
    await office.save(TWO)
    await until(lambda: len(watch_alarms(desk)) == 1)
    assert "the folder differs from live revision 2, which was not made from it" in watch_alarms(desk)[-1]
    assert office.store.live == 2
    await until(lambda: len(standing(desk)) == 1)
    await desk.order("apply", files=TWO, base=2)
    await until(lambda: standing(desk) == [])
    await office.save(GOOD)
    await until(lambda: office.store.live == 4)


async def test_what_was_rolled_back_does_not_come_back_by_a_save(office: Office) -> None:
    desk = await office.start()
    await office.save(ONE)
    await until(lambda: office.store.live == 2)
    await desk.order("rollback", revision=1)
    await office.save(GOOD)
    await office.save(ONE)
    await until(lambda: len(watch_alarms(desk)) == 1)
    assert "(rule rolled-back)" in watch_alarms(desk)[0] and office.store.live == 3


async def test_a_folder_that_cannot_be_read_is_an_alarm_and_changes_nothing(office: Office) -> None:
    desk = await office.start()
    await office.save(None)
    await until(lambda: len(watch_alarms(desk)) == 1)
    assert "cannot be read" in watch_alarms(desk)[0]
    await office.save(ONE)
    await until(lambda: office.store.live == 2)


async def test_a_folder_that_differs_at_the_start_waits_for_somebody(office: Office) -> None:
    await office.start()
    await office.stop()
    office.folder = TWO
    desk = await office.start()
    await until(lambda: len(watch_alarms(desk)) == 1)
    assert office.store.live == 1


async def test_without_the_wish_no_edit_is_applied(office: Office) -> None:
    office.saved = None
    desk = await office.start()
    office.folder = ONE
    await desk.order("pin", group="acme", to="primary")
    assert office.store.live == 1
