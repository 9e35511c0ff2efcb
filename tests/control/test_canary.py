"""A canary through the whole controller: begun, grown, promoted, aborted, gone back by itself, and every death on the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sipctl.control.canary_state import Counts
from sipctl.control.plan_canary import unfit
from sipctl.control.plan_history import content_of
from sipctl.control.ports import Answer, CanaryObservation, Observe, Revision, View, Wishes
from sipctl.routing.snapshot import RoutingState
from sipctl.store.sqlite import SqliteStore
from tests.control.world import FakeDesk, FakeRouter, MemoryStore, Office, the_topology, until

GOOD, ONE, TWO = {"plan": "good"}, {"plan": "one trunk"}, {"plan": "two"}
WELL: Counts = (60, 0, 0, 0)
BAD: Counts = (30, 0, 30, 0)
OTHERS: Counts = (900, 20, 5, 10)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    place = Office(tmp_path)
    yield place
    if place.task is not None and not place.task.done():
        await place.stop()


async def begun(desk: FakeDesk, files: dict[str, str] = ONE, **args: Any) -> Answer:
    answer = await desk.order("apply", **{"files": files, "canary": 50, "canary_for_s": None, **args})
    assert answer.status == "done", answer
    return answer


def observed(router: FakeRouter, canary: Counts, others: Counts = OTHERS, revision: int = 2) -> None:
    """The router tells how set-ups of both sides ended."""
    seen = CanaryObservation(revision, canary, others)
    router.say(Observe("r1", 1.0, {}, {}, {}, {}, 0, 0.0, 0, canary=seen))


def state_of(office: Office) -> RoutingState:
    assert office.router.held is not None
    return office.router.held


def canary_of(desk: FakeDesk) -> dict[str, Any] | None:
    views = [frame for frame in desk.frames if isinstance(frame, View)]
    found = views[-1].status["canary"] if views else None
    return None if found is None else dict(found)


def alarms(desk: FakeDesk) -> dict[str, str]:
    views = [frame for frame in desk.frames if isinstance(frame, View)]
    return {alarm["id"]: alarm["text"] for alarm in views[-1].status["alarms"]} if views else {}


def kept(office: Office, number: int) -> Revision:
    revision = office.store.revision(number)
    assert revision is not None
    return revision


# -- begun ---------------------------------------------------------------------------------------------------------------------


async def test_a_canary_is_published_beside_the_live_revision_and_kept_on_disk_with_both_tables(office: Office) -> None:
    desk = await office.start()
    answer = await begun(desk, canary_for_s=600.0)
    assert answer.text == "revision 2 takes 5% of the callers" and answer.body["canary"] == 2
    state = state_of(office)
    assert state.canary is not None
    assert (state.revision, state.canary.revision, state.canary.permille) == (1, 2, 50)
    assert state.canary.table in office.router.tables
    assert office.store.live == 1 and kept(office, 2).canary == 50 and kept(office, 2).live_at_unix_s is None
    await until(lambda: any(one.canary is not None for one, _ in office.generations))
    await until(lambda: (canary_of(desk) or {}).get("judged", "").startswith("too few calls to judge"))
    shown = canary_of(desk)
    assert shown is not None and (shown["revision"], shown["share"], shown["by"]) == (2, "5%", "ops-1")


async def test_one_edit_after_the_other_while_a_canary_runs(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    for args in ({"files": TWO}, {"files": TWO, "canary": 10}, {"files": ONE}):
        answer = await desk.order("apply", **args)
        assert (answer.status, answer.code) == ("refused", "canary-running"), answer
        assert "sipctl canary promote, or abort" in answer.hint
    assert office.store.live == 1 and [one.number for one in office.store.kept] == [1, 2]


async def test_a_dry_run_says_who_would_have_it_first_and_changes_nothing(office: Office) -> None:
    desk = await office.start()
    shown = await desk.order("apply", files=ONE, canary=50, dry_run=True)
    assert shown.text == "would make revision 2 take 5% of the callers" and shown.body["diff"] == ["1 numbers move"]
    assert state_of(office).canary is None and len(office.store.kept) == 1
    await begun(desk)
    assert office.compiler.asked == [1, 2], "what was shown is what is done"


@pytest.mark.parametrize(
    "args",
    [
        {"canary": 0}, {"canary": 1000}, {"canary": "5%"}, {"canary": True}, {"canary": 50, "canary_for_s": 0},
        {"canary": 50, "canary_for_s": 8 * 86400}, {"canary": 50, "canary_for_s": "10m"}, {"canary_for_s": 60},
    ],
)  # fmt: skip
async def test_a_share_of_nobody_or_of_everybody_is_no_canary(office: Office, args: dict[str, Any]) -> None:
    desk = await office.start()
    answer = await desk.order("apply", files=ONE, **args)
    assert (answer.status, answer.code) == ("invalid", "bad-argument"), answer


async def test_a_rollback_has_no_canary(office: Office) -> None:
    desk = await office.start()
    await desk.order("apply", files=ONE)
    assert (await desk.order("rollback", revision=1, canary=50)).code == "bad-argument"


def test_a_plan_that_routers_cannot_carry_beside_the_live_one_is_no_canary() -> None:
    live = the_topology(1, "good")
    assert unfit(live, the_topology(2, "one trunk"), ()) is None
    no = unfit(live, live, ("listen inside is new",))
    assert no is not None and no.code == "canary-needs-restart" and "listen inside is new" in no.text
    from dataclasses import replace

    asks = replace(live, sbcs=(replace(live.sbcs[0], host="", uri_host="sbc.example.net"), *live.sbcs[1:]))
    no = unfit(live, asks, ())
    assert no is not None and no.code == "canary-asks-dns" and live.sbcs[0].name in no.text
    group = live.groups[0]
    turned = replace(live, groups=(replace(group, primary=group.bcp, bcp=group.primary), *live.groups[1:]))
    no = unfit(live, turned, ())
    assert no is not None and no.code == "canary-exchanges-tenants"


# -- judged --------------------------------------------------------------------------------------------------------------------


async def test_a_canary_that_loses_calls_goes_back_by_itself_with_an_alarm_a_record_and_its_content_refused(
    office: Office,
) -> None:
    desk = await office.start()
    await begun(desk)
    observed(office.router, BAD)
    await until(lambda: state_of(office).canary is None)
    await until(lambda: kept(office, 2).fell)
    said = "the canary of revision 2 goes back by itself: of 60 calls of the canary 50.0% reached somebody, of 925 others 99.5%"
    assert kept(office, 2).ended.startswith(said)
    await until(lambda: any(one.kind == "canary" for one in office.store.records))
    record = next(one for one in office.store.records if one.kind == "canary")
    assert (record.group, record.rule, record.inputs["canary"]) == ("canary 2", "fell", list(BAD))
    await until(lambda: "canary-fell:2" in alarms(desk))
    assert alarms(desk)["canary-fell:2"].startswith(said)
    assert any(notice.text.startswith(said) for notice in desk.notices)
    assert office.store.live == 1 and state_of(office).revision == 1
    answer = await desk.order("apply", files=ONE)
    assert (answer.status, answer.code) == ("refused", "rolled-back") and "goes back by itself" in answer.text
    assert (await desk.order("apply", files=ONE, again=True)).status == "done"
    await until(lambda: "canary-fell:2" not in alarms(desk))


async def test_the_alarm_of_a_fall_and_the_refusal_outlive_the_controller(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    observed(office.router, BAD)
    await until(lambda: kept(office, 2).fell and not office.store.wishes.canary.get("wish"))
    await office.die()
    desk = await office.start(FakeRouter(office.router.held))
    await until(lambda: "canary-fell:2" in alarms(desk))
    assert (await desk.order("apply", files=ONE, canary=50)).code == "rolled-back"


async def test_few_calls_send_nothing_back_however_bad_they_are(office: Office) -> None:
    desk = await office.start()
    await begun(desk, canary_for_s=1.0)
    observed(office.router, (0, 0, 49, 0))
    await until(lambda: (canary_of(desk) or {}).get("calls", {}).get("failed") == 49)
    for _ in range(3):
        office.router.say(Observe("r1", 1.0, {}, {}, {}, {}, 0, 0.0, 0))
    assert state_of(office).canary is not None
    observed(office.router, (0, 0, 50, 0))
    await until(lambda: state_of(office).canary is None)


async def test_a_canary_that_is_judged_well_is_promoted_when_its_time_is_over(office: Office) -> None:
    desk = await office.start()
    await begun(desk, canary_for_s=1.0)
    observed(office.router, WELL)
    await until(lambda: state_of(office).revision == 2)
    assert state_of(office).canary is None and office.store.live == 2 and kept(office, 2).live_at_unix_s is not None
    assert office.router.with_table == 2, "its table was there already"
    await until(lambda: canary_of(desk) is None and desk.view.status["revision"] == 2)
    assert any("the canary of revision 2 is promoted: of 60 calls" in notice.text for notice in desk.notices)
    await until(lambda: [one.rule for one in office.store.records if one.kind == "canary"] == ["promoted"])
    assert not kept(office, 2).ended and not alarms(desk)
    assert (await desk.order("apply", files=TWO)).body["revision"] == 3


async def test_without_enough_calls_it_is_not_promoted_by_itself_but_an_operator_may(office: Office) -> None:
    desk = await office.start()
    await begun(desk, canary_for_s=1.0)
    observed(office.router, (20, 0, 0, 0))
    await until(lambda: (canary_of(desk) or {}).get("judged", "").startswith("too few calls to judge: 20 of the canary"))
    assert state_of(office).revision == 1
    answer = await desk.order("canary-promote")
    assert (answer.status, answer.text, answer.body["revision"]) == ("done", "revision 2 is live", 2)
    assert office.store.live == 2 and state_of(office).revision == 2


async def test_one_that_is_held_waits_for_an_operator_and_says_so(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    observed(office.router, WELL)
    await until(lambda: (canary_of(desk) or {}).get("next") == "ready: sipctl canary promote")
    assert state_of(office).revision == 1
    assert (await desk.order("canary-promote", dry_run=True)).text == "would make revision 2 live"
    assert (await desk.order("canary-promote")).status == "done"


async def test_a_promotion_that_a_rule_forbids_is_an_alarm_and_the_canary_stays(office: Office) -> None:
    desk = await office.start()
    await begun(desk, {"plan": "other group"}, canary_for_s=1.0)
    await desk.order("failover", group="acme", to="bcp")
    observed(office.router, WELL)
    await until(lambda: "canary-stuck" in alarms(desk))
    assert "acme" in alarms(desk)["canary-stuck"] and state_of(office).canary is not None
    assert (await desk.order("canary-promote")).code == "group-not-normal"
    assert (await desk.order("canary-abort")).status == "done"
    await until(lambda: "canary-stuck" not in alarms(desk))


async def test_a_renamed_group_has_its_place_under_its_new_name_for_the_canarys_callers(office: Office) -> None:
    desk = await office.start()
    await desk.order("failover", group="acme", to="bcp")
    await begun(desk, {"plan": "renamed group"})
    canary = state_of(office).canary
    assert canary is not None and canary.decisions["bank"].bcp_percent == 100
    assert (await desk.order("canary-promote")).status == "done"
    assert state_of(office).decisions["bank"].bcp_percent == 100 and office.store.given["group"] == {"bank": 1}


# -- operators -----------------------------------------------------------------------------------------------------------------


async def test_a_share_grows_and_never_shrinks(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    with_table = office.router.with_table
    assert (await desk.order("canary-grow", permille=250)).text == "revision 2 takes 25% of the callers"
    canary = state_of(office).canary
    assert canary is not None and canary.permille == 250 and office.router.with_table == with_table
    assert (await desk.order("canary-grow", permille=100)).code == "share-shrinks"
    for bad in (0, 1000, "25%", None):
        assert (await desk.order("canary-grow", permille=bad)).code == "bad-argument"
    assert (await desk.order("canary-grow", permille=300, reason=" ")).code == "reason-required"
    assert (await desk.order("canary-grow", permille=300, dry_run=True)).text.startswith("would do: revision 2 takes 30%")
    assert state_of(office).canary == canary


async def test_an_aborted_canary_leaves_its_content_free_to_be_tried_again(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    answer = await desk.order("canary-abort", reason="wrong week")
    assert answer.status == "done" and "aborted by ops-1: wrong week" in answer.text
    assert state_of(office).canary is None and not alarms(desk)
    await until(lambda: bool(kept(office, 2).ended))
    assert not kept(office, 2).fell
    assert (await begun(desk)).body["revision"] == 3
    assert (await desk.order("canary-abort")).status == "done"
    answer = await desk.order("apply", files=ONE, base=3)
    assert answer.status == "done", "the folder was applied as a canary last: that is still the base"


@pytest.mark.parametrize("op", ["canary-grow", "canary-promote", "canary-abort"])
async def test_without_a_canary_there_is_nothing_to_grow_promote_or_abort(office: Office, op: str) -> None:
    desk = await office.start()
    answer = await desk.order(op, permille=100)
    assert (answer.status, answer.code) == ("refused", "no-canary") and "apply --canary" in answer.hint


async def test_a_rollback_ends_the_canary_also_one_to_what_is_live(office: Office) -> None:
    desk = await office.start()
    await desk.order("apply", files=TWO)
    await begun(desk)
    answer = await desk.order("rollback", revision=1, reason="night")
    assert answer.body["revision"] == 4 and state_of(office).canary is None and state_of(office).revision == 4
    await until(lambda: "ops-1 made revision 4 live" in kept(office, 3).ended)
    await begun(desk, again=True)
    answer = await desk.order("rollback", revision=4, reason="back")
    assert answer.status == "done" and "aborted by ops-1: back" in answer.text
    assert state_of(office).canary is None and office.store.live == 4


async def test_a_save_of_a_watched_folder_waits_for_the_canarys_end(office: Office) -> None:
    office.saved = asyncio.Queue()
    desk = await office.start()
    await begun(desk)
    await office.save(TWO)
    await until(lambda: any(name.startswith("watch:") for name in alarms(desk)))
    assert office.store.live == 1 and state_of(office).canary is not None
    await desk.order("canary-abort")
    await office.save(TWO)
    await until(lambda: office.store.live == 3)
    await until(lambda: not any(name.startswith("watch:") for name in alarms(desk)))


class SlowStore(MemoryStore):
    """A store whose word that a revision is live waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begins, self.goes_on = threading.Event(), threading.Event()

    def set_live(
        self, number: int, at_unix_s: float, wishes: Wishes | None = None, renamed: Mapping[str, Mapping[str, str]] = {}
    ) -> None:
        if number > 1:
            self.begins.set()
            assert self.goes_on.wait(20.0)
        super().set_live(number, at_unix_s, wishes, renamed)


async def test_nothing_ends_a_canary_while_its_revision_is_being_written_as_the_live_one(office: Office) -> None:
    store = office.store = SlowStore()
    desk = await office.start()
    await begun(desk)
    promotion = asyncio.ensure_future(desk.order("canary-promote"))
    await until(store.begins.is_set)
    observed(office.router, BAD)
    for op in ("canary-abort", "canary-grow"):
        answer = await desk.order(op, permille=500)
        assert (answer.status, answer.code) == ("conflict", "canary-promoting"), answer
    store.goes_on.set()
    assert (await promotion).text == "revision 2 is live"
    assert state_of(office).revision == 2 and office.store.live == 2 and not kept(office, 2).ended
    await until(lambda: [one.rule for one in office.store.records if one.kind == "canary"] == ["promoted"])
    assert (await desk.order("canary-abort")).code == "no-canary"


async def test_a_canary_whose_promotion_failed_is_judged_and_takes_orders_as_before(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    office.store.fails = True
    assert (await desk.order("canary-promote")).status == "failed"
    office.store.fails = False
    assert (await desk.order("canary-grow", permille=100)).status == "done"
    observed(office.router, BAD)
    await until(lambda: state_of(office).canary is None)


async def test_a_watched_folder_that_is_the_canarys_does_not_go_live_by_the_canarys_abort(office: Office) -> None:
    office.saved = asyncio.Queue()
    desk = await office.start()
    await begun(desk)
    await office.save(ONE)
    await until(lambda: any(name.startswith("watch:") for name in alarms(desk)))
    await desk.order("canary-abort", reason="wrong week")
    for _ in range(3):
        await office.save(ONE)
    await desk.order("pin", group="acme", to="primary")
    assert office.store.live == 1 and [one.number for one in office.store.kept] == [1, 2]
    await office.save(TWO)
    await until(lambda: office.store.live == 3)


# -- deaths --------------------------------------------------------------------------------------------------------------------


async def test_a_new_controller_goes_on_with_the_canary_without_a_publication_that_lacks_it(office: Office) -> None:
    desk = await office.start()
    await begun(desk, canary_for_s=600.0)
    await desk.order("canary-grow", permille=200)
    await office.die()
    desk = await office.start(FakeRouter(office.router.held))
    await until(lambda: len(office.router.published) > 0)
    assert all(state.canary is not None and state.canary.permille == 200 for state in office.router.published)
    await until(lambda: canary_of(desk) is not None)
    shown = canary_of(desk)
    assert shown is not None and shown["until"] is not None and shown["share"] == "20%"
    observed(office.router, BAD)
    await until(lambda: state_of(office).canary is None)


async def test_a_router_that_comes_without_the_canarys_table_is_given_both(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    fresh = FakeRouter()
    office.links.connect(fresh)
    await until(lambda: fresh.held is not None and fresh.held.canary is not None)
    assert fresh.with_table == 2
    assert desk.view is not None


@pytest.mark.parametrize("step", ["apply-ids-written", "apply-stored", "apply-live-written"])
async def test_a_death_while_a_canary_begins_leaves_it_on_or_off_and_never_live(office: Office, step: str) -> None:
    desk = await office.start()
    office.watch = {step}
    desk.begin("apply", files=ONE, canary=50)
    await until(lambda: step in office.died_at)
    await office.die()
    desk = await office.start(FakeRouter(office.router.held))
    await until(lambda: len(office.router.published) > 0)
    assert (state_of(office).canary is not None) == (step == "apply-live-written")
    assert office.store.live == 1 and state_of(office).revision == 1
    if step == "apply-live-written":
        assert (await desk.order("canary-abort")).status == "done"
    assert (await desk.order("apply", files=TWO)).status == "done"


async def test_a_death_while_it_is_promoted_leaves_the_canary_or_the_live_revision(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    office.watch = {"apply-live-written"}
    desk.begin("canary-promote")
    await until(lambda: "apply-live-written" in office.died_at)
    await office.die()
    await office.start(FakeRouter(office.router.held))
    await until(lambda: state_of(office).revision == 2)
    assert state_of(office).canary is None and office.store.live == 2


async def test_a_canary_that_was_off_before_its_controller_could_write_it_stays_off_and_counts_as_fallen(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    office.store.fails = True
    observed(office.router, BAD)
    await until(lambda: state_of(office).canary is None)
    office.store.fails = False
    before = office.store.copied()
    await office.die()
    office.store = before
    assert office.store.wishes.canary["wish"] and not kept(office, 2).fell, "nothing of it was written"
    desk = await office.start(FakeRouter(office.router.held))
    await until(lambda: kept(office, 2).fell)
    assert state_of(office).canary is None
    assert (await desk.order("apply", files=ONE)).code == "rolled-back"


async def test_one_whose_plan_cannot_be_made_again_is_lost_and_said_to_be(office: Office) -> None:
    desk = await office.start()
    await begun(desk)
    await office.die()
    office.store.kept = [one for one in office.store.kept if one.number != 2]
    desk = await office.start(FakeRouter(office.router.held))
    await until(lambda: "canary-fell:2" in alarms(desk))
    assert state_of(office).canary is None and "could not be made again" in alarms(desk)["canary-fell:2"]


# -- the store -----------------------------------------------------------------------------------------------------------------


def test_the_store_keeps_how_a_canary_began_and_why_it_ended(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sipctl.db")
    store.add_revision(Revision(1, 1e9, "ops-1", "first", None, None, GOOD, content=content_of(GOOD)))
    store.add_revision(Revision(2, 1e9, "ops-1", "edit", None, 1, ONE, content=content_of(ONE), diff=("x",), canary=50))
    store.end_canary(2, "it went back", True)
    store.end_canary(99, "nobody", True)
    store.close()
    store = SqliteStore(tmp_path / "sipctl.db")
    found = store.revision(2)
    assert found is not None and (found.canary, found.ended, found.fell, found.diff) == (50, "it went back", True, ("x",))
    assert found.files == ONE and found.live_at_unix_s is None
    first = store.revision(1)
    assert first is not None and (first.canary, first.ended, first.fell) == (0, "", False)
    store.close()
