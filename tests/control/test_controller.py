"""The whole controller between links, store and compiler in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sipctl.control import alarms
from sipctl.control.controller import VIEW_S
from sipctl.control.ports import FromRouter, Notice, Observe, ProbeNow, SbcObservation, View, WriteFailed
from sipctl.errors import EngineError, PlanError
from sipctl.routing.snapshot import Operating
from tests.control.world import FakeDesk, FakeRouter, Office, until


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    place = Office(tmp_path)
    yield place
    if place.task is not None and not place.task.done():
        await place.stop()


async def test_an_empty_state_is_seeded_from_the_folder_and_published_with_its_table(office: Office) -> None:
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    state = office.router.published[-1]
    assert (state.term, state.revision) == (1, 1) and office.ready == [1]
    assert office.store.live == 1 and office.store.given["sbc"] == {"fra-a": 2}
    assert [key.id for key in state.keys] == [0] and office.store.secrets[0][1] == state.keys[0].secret
    await until(lambda: bool(desk.frames) and any(not isinstance(frame, Notice) for frame in desk.frames))
    assert desk.view.status["revision"] == 1 and desk.view.state is not None and Path(desk.view.table_path).exists()


async def test_the_plan_is_written_before_it_is_live_and_live_before_it_is_told(office: Office) -> None:
    await office.start()
    log = office.store.log
    assert log.index("ids") < log.index("revision") < log.index("live") < log.index("term")


async def test_a_first_plan_with_errors_ends_the_start_with_all_findings(tmp_path: Path) -> None:
    office = Office(tmp_path, {"plan": "bad"})
    with pytest.raises(PlanError) as raised:
        await office.start()
    assert [finding.code for finding in raised.value.findings] == ["plan.bad"]
    assert office.store.kept == []


async def test_without_folder_and_revision_it_says_so(tmp_path: Path) -> None:
    office = Office(tmp_path, {})
    with pytest.raises(EngineError, match="no live revision"):
        await office.start()


async def test_a_restart_boots_the_live_revision_whatever_the_folder_holds(office: Office) -> None:
    await office.start()
    await office.stop()
    office.folder = {"plan": "bad"}
    desk = await office.start(FakeRouter(office.router.held))
    await until(lambda: bool(office.router.published) and any(not isinstance(frame, Notice) for frame in desk.frames))
    assert office.router.published[-1].revision == 1 and office.router.published[-1].term == 2
    assert desk.view.status["folder_differs"] is True


async def test_a_failover_is_told_answered_and_written(office: Office) -> None:
    desk = await office.start()
    answer = await desk.order("failover", group="acme", to="bcp")
    assert (answer.status, answer.body["numbers"]) == ("done", 102)
    assert office.router.published[-1].decisions["acme"].bcp_percent == 100
    await until(lambda: bool(office.store.records) and "acme" in office.store.wishes.groups)
    assert office.store.records[-1].actor == "ops-1"
    assert any(notice.kind == "decision" for notice in desk.notices)
    await until(lambda: desk.view.status["groups"]["acme"]["state"] == "on-bcp")


async def test_a_table_travels_once_and_states_alone_after_it(office: Office) -> None:
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    await desk.order("failover", group="acme", to="bcp")
    await desk.order("failback", group="acme", now=True)
    assert office.router.with_table == 1 and len(office.router.published) >= 3


async def test_a_generation_reaches_the_disk_after_every_router_acked(office: Office) -> None:
    desk = await office.start()
    await desk.order("failover", group="acme", to="bcp")
    await until(lambda: bool(office.generations) and office.generations[-1][0].decisions["acme"].bcp_percent == 100)
    assert Path(office.generations[-1][1]).exists()


async def test_a_disk_that_fails_is_an_alarm_until_it_works_again(office: Office) -> None:
    office.disk_fails = True
    desk = await office.start()
    await until(lambda: any(notice.fields.get("id") == "generation:disk" for notice in desk.notices))
    office.disk_fails = False
    await until(lambda: any(notice.kind == "alarm-cleared" and "disk" in notice.text for notice in desk.notices))
    assert office.generations


async def test_decisions_survive_the_death_of_a_controller_that_could_not_write(office: Office) -> None:
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    office.store.fails = True
    assert (await desk.order("failover", group="acme", to="bcp")).status == "done"
    await until(lambda: any(str(notice.fields.get("id", "")).startswith("write:") for notice in desk.notices))
    await office.die()
    office.store.fails = False
    held = office.router.held
    assert held is not None
    again = await office.start(FakeRouter(held))
    await until(lambda: bool(office.router.published))
    state = office.router.published[-1]
    assert state.term > held.term and state.decisions["acme"].bcp_percent == 100
    await until(lambda: any(not isinstance(frame, Notice) for frame in again.frames))
    assert again.view.status["groups"]["acme"]["held"] is not None


async def test_writes_that_failed_are_made_up_and_their_alarm_clears(office: Office) -> None:
    desk = await office.start()
    office.store.fails = True
    await desk.order("failover", group="acme", to="bcp")
    await until(lambda: any(str(notice.fields.get("id", "")).startswith("write:") for notice in desk.notices))
    assert office.store.records == []
    office.store.fails = False
    await until(lambda: bool(office.store.records) and "acme" in office.store.wishes.groups)
    await until(lambda: any(notice.kind == "alarm-cleared" and "store" in notice.text for notice in desk.notices))


async def test_the_term_is_above_the_stores_and_above_every_routers(office: Office) -> None:
    await office.start()
    await until(lambda: bool(office.router.published))
    await office.stop()
    held = office.router.held
    assert held is not None
    await office.start(FakeRouter(replace(held, term=70)))
    await until(lambda: bool(office.router.published))
    assert office.router.published[-1].term == 71 and office.store.term == 71


class WordlessRouter(FakeRouter):
    """It is connected and takes what is sent, but never says a word."""

    def say(self, frame: FromRouter | None) -> None:
        if frame is None:
            super().say(frame)


async def test_a_start_without_routers_waits_only_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "FIRST_ROUTER_S", 0.1)
    office = Office(tmp_path)
    desk = await office.start(WordlessRouter(), hear_s=0.05)
    await until(lambda: any(notice.fields.get("id") == "no-router" for notice in desk.notices))
    await office.stop()


async def test_apply_makes_a_revision_live_and_retires_what_left(office: Office) -> None:
    desk = await office.start()
    answer = await desk.order("apply", base=1, files={"plan": "one trunk"}, commit="abc")
    assert answer.status == "done" and answer.body["revision"] == 2
    assert answer.body["removed"]["trunks"] == ["carrier-two"]
    state = office.router.published[-1]
    assert state.revision == 2 and [one.name for one in state.retired] == ["carrier-two"]
    assert office.router.with_table == 2
    revision = office.store.revision(2)
    assert revision is not None and (revision.author, revision.commit, revision.base) == ("ops-1", "abc", 1)
    assert office.store.live == 2


async def test_a_controller_that_dies_between_writing_and_telling_a_plan_still_retires(office: Office) -> None:
    desk = await office.start()
    await desk.order("apply", files={"plan": "one trunk"})
    log = office.store.log
    assert log[-5:].index("wishes") < log[-5:].index("live") or "wishes" in log[: log.index("live", log.index("live") + 1)]
    held = next(state for state in office.router.published if state.revision == 1)
    await office.die()
    await office.start(FakeRouter(held))
    await until(lambda: bool(office.router.published))
    assert [one.name for one in office.router.published[-1].retired] == ["carrier-two"]


@pytest.mark.parametrize(
    ("args", "status", "code"),
    [
        ({"files": {"plan": "bad"}}, "invalid", "plan.invalid"),
        ({"files": {"plan": "failing test"}}, "invalid", "plan.invalid"),
        ({"files": {"plan": "dies"}}, "failed", "engine.failed"),
        ({"files": {"plan": "x"}, "base": 9}, "conflict", "stale-base"),
        ({"files": {}}, "invalid", "bad-argument"),
        ({"files": {"../plan": "x"}}, "invalid", "bad-argument"),
        ({"files": {"plan": 5}}, "invalid", "bad-argument"),
        ({"files": {"plan": "x"}, "base": "1"}, "invalid", "bad-argument"),
        ({"files": {"plan": "x"}, "despite": "everything"}, "invalid", "bad-argument"),
        ({"files": {"plan": "x"}, "reason": ""}, "invalid", "reason-required"),
    ],
)
async def test_what_cannot_be_applied_leaves_everything_as_it_is(
    office: Office, args: dict[str, object], status: str, code: str
) -> None:
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    answer = await desk.order("apply", **args)
    assert (answer.status, answer.code) == (status, code), answer
    assert office.store.live == 1 and office.router.published[-1].revision == 1


async def test_a_failing_test_of_the_plan_can_be_overruled(office: Office) -> None:
    desk = await office.start()
    assert (await desk.order("apply", files={"plan": "failing test"}, despite="tests")).status == "done"


async def test_a_dry_run_of_apply_changes_nothing(office: Office) -> None:
    desk = await office.start()
    answer = await desk.order("apply", files={"plan": "one trunk"}, dry_run=True)
    assert answer.status == "done" and answer.body["dry_run"] is True
    assert office.store.live == 1 and len(office.store.kept) == 1


async def test_the_same_plan_again_is_no_new_revision(office: Office) -> None:
    desk = await office.start()
    assert (await desk.order("apply", files={"plan": "good"})).body == {"revision": 1}
    assert len(office.store.kept) == 1


async def test_a_plan_that_cannot_be_written_is_not_applied(office: Office) -> None:
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    office.store.fails = True
    answer = await desk.order("apply", files={"plan": "one trunk"})
    assert (answer.status, answer.code) == ("failed", "store.failed")
    office.store.fails = False
    assert office.router.published[-1].revision == 1


async def test_a_router_that_comes_back_is_told_everything_again(office: Office) -> None:
    desk = await office.start()
    await desk.order("failover", group="acme", to="bcp")
    office.router.say(None)
    await until(lambda: office.router.closed)
    successor = FakeRouter(office.router.held)
    office.links.connect(successor)
    await until(lambda: bool(successor.published))
    assert successor.published[-1].decisions["acme"].bcp_percent == 100


async def test_a_refusing_router_is_an_alarm_and_the_operation_goes_on(office: Office) -> None:
    desk = await office.start()
    await until(lambda: bool(office.router.published))
    office.router.refuses = True
    desk.say(WriteFailed("cdr", "disk full"))
    await until(lambda: any(notice.fields.get("id") == "desk:cdr" for notice in desk.notices))
    await until(lambda: "desk:cdr" in {alarm["id"] for alarm in desk.view.status["alarms"]})
    office.router.refuses = False
    assert (await desk.order("failover", group="acme", to="bcp")).status == "done"


async def test_a_probe_is_asked_of_every_router(office: Office) -> None:
    desk = await office.start()
    await desk.order("sbc-probe", sbc="fra-a", reason="")
    assert any(isinstance(frame, ProbeNow) and frame.sbc == "fra-a" for frame in office.router.frames)


async def test_what_is_said_while_no_desk_is_there_waits_for_the_next(office: Office) -> None:
    desk = await office.start()
    desk.say(None)
    await until(lambda: desk.closed)
    office.router.say(None)
    await until(lambda: office.router.closed)
    again = FakeDesk()
    office.links.connect(again)
    await until(lambda: any("is gone" in notice.text for notice in again.notices))
    await until(lambda: any(not isinstance(frame, Notice) for frame in again.frames))


async def test_a_rest_and_a_doubt_are_seen_by_readers_at_once(office: Office) -> None:
    desk = await office.start()
    await until(lambda: any(isinstance(frame, View) for frame in desk.frames))
    for number, (resting_s, suspect) in enumerate([(30.0, False), (30.0, True), (0.0, True), (0.0, False)]):
        seen = SbcObservation(Operating.IN_SERVICE, "answers", 0.0, resting_s, suspect)
        office.router.say(Observe("r1", float(number), {"fra-a": seen}, {}, {}, {}, 0, 0.0, 0))
        wanted = (resting_s, suspect)
        await until(partial(_shows, desk, wanted), VIEW_S / 2)


def _shows(desk: FakeDesk, wanted: tuple[float, bool]) -> bool:
    """Whether the last view says so of fra-a."""
    sbc = desk.view.status["sbcs"]["fra-a"]
    return (sbc["resting_s"], sbc["suspect"]) == wanted
