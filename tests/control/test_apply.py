"""`apply` and `rollback` through the whole controller: what is refused, what is kept, and every step a death may fall on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sipctl.control.plan_history import content_of
from sipctl.control.plan_requests import CANARY_OPS
from sipctl.control.plan_requests import OPS as PLAN_OPS
from sipctl.control.plans import STEPS
from sipctl.control.ports import Answer, View
from tests.control.world import FakeDesk, FakeRouter, Office, until

GOOD, ONE, TWO = {"plan": "good"}, {"plan": "one trunk"}, {"plan": "two"}


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    place = Office(tmp_path)
    yield place
    if place.task is not None and not place.task.done():
        await place.stop()


async def applied(desk: FakeDesk, files: dict[str, str], **args: object) -> Answer:
    answer = await desk.order("apply", files=files, **args)
    assert answer.status == "done", answer
    return answer


def live_texts(office: Office) -> dict[str, str]:
    revision = office.store.live_revision()
    assert revision is not None
    return dict(revision.files)


@pytest.mark.parametrize("role", ["viewer", "", "nobody"])
async def test_commands_of_plans_ask_for_the_role_here_too_not_only_at_the_api(office: Office, role: str) -> None:
    desk = await office.start()
    await applied(desk, ONE, role="editor")
    await applied(desk, TWO, canary=50, canary_for_s=None, role="editor")
    for op in (*PLAN_OPS, *CANARY_OPS):
        answer = await desk.order(op, files=GOOD, to=1, permille=500, role=role)
        assert (answer.status, answer.code) == ("refused", "role") and f"{op} needs editor" in answer.text
    await until(lambda: (desk.view.status["canary"] or {}).get("permille") == 50)
    assert (await desk.order("canary-grow", permille=100, role="editor")).status == "done"


# -- rollback ------------------------------------------------------------------------------------------------------------------


async def test_a_rollback_is_a_new_revision_with_the_old_content(office: Office) -> None:
    desk = await office.start()
    await applied(desk, ONE)
    answer = await desk.order("rollback", revision=1, reason="CHG8 went wrong")
    assert (answer.status, answer.body["revision"], answer.text) == ("done", 3, "revision 3 is live")
    assert [(one.number, one.rollback_to) for one in office.store.kept] == [(1, None), (2, None), (3, 1)]
    kept = office.store.revision(3)
    assert kept is not None and (dict(kept.files), kept.author, kept.reason, kept.base) == (GOOD, "ops-1", "CHG8 went wrong", 2)
    assert kept.content == content_of(GOOD)
    assert office.router.published[-1].revision == 3


async def test_what_was_rolled_back_is_refused_until_somebody_says_again(office: Office) -> None:
    desk = await office.start()
    await applied(desk, ONE)
    await desk.order("rollback", revision=1, reason="calls failed")
    answer = await desk.order("apply", files=ONE)
    assert (answer.status, answer.code) == ("refused", "rolled-back")
    assert "revision 2, which ops-1 rolled back with revision 3: calls failed" in answer.text
    assert (await desk.order("rollback", revision=2)).code == "rolled-back"
    assert office.store.live == 3 and office.compiler.asked == [1, 2, 3], "it was not even compiled"
    assert (await applied(desk, ONE, again=True)).body["revision"] == 4
    kept = office.store.revision(4)
    assert kept is not None and kept.again
    await applied(desk, TWO)
    await applied(desk, ONE)


async def test_a_rollback_is_not_stopped_by_tests_that_fail(office: Office) -> None:
    desk = await office.start()
    await applied(desk, {"plan": "failing test"}, despite="tests")
    await applied(desk, GOOD)
    answer = await desk.order("rollback", revision=2)
    assert (answer.status, answer.text) == ("done", "revision 4 is live although 1 of its own tests fail")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"revision": 99}, "unknown-revision"),
        ({}, "bad-argument"),
        ({"revision": "1"}, "bad-argument"),
        ({"revision": True}, "bad-argument"),
        ({"revision": 1, "files": GOOD}, "bad-argument"),
        ({"revision": 1, "again": "yes"}, "bad-argument"),
        ({"revision": 1, "reason": " "}, "reason-required"),
        ({"revision": 1, "reason": "x" * 501}, "reason-too-long"),
    ],
)
async def test_a_rollback_to_nothing_is_invalid(office: Office, args: dict[str, object], code: str) -> None:
    desk = await office.start()
    await applied(desk, ONE)
    answer = await desk.order("rollback", **args)
    assert (answer.status, answer.code) == ("invalid", code)
    assert office.store.live == 2


async def test_a_rollback_to_what_is_live_changes_nothing(office: Office) -> None:
    desk = await office.start()
    assert (await desk.order("rollback", revision=1)).text == "revision 1 is live and the same"
    assert len(office.store.kept) == 1


# -- two editors, dry runs, tests overruled ------------------------------------------------------------------------------------


async def test_the_second_editor_gets_a_conflict_with_what_the_first_changed(office: Office) -> None:
    desk = await office.start()
    await applied(desk, ONE, base=1)
    answer = await desk.order("apply", files=TWO, base=1)
    assert (answer.status, answer.code) == ("conflict", "stale-base")
    assert "revision 2 is live, not 1: ops-1 (revision 2: a test) applied in between" in answer.text
    assert [(one["revision"], one["diff"]) for one in answer.body["since"]] == [(2, ["1 numbers move"])]
    assert live_texts(office) == ONE


async def test_a_dry_run_is_compiled_once_and_applied_as_it_was_shown(office: Office) -> None:
    desk = await office.start()
    shown = await desk.order("apply", files=ONE, dry_run=True)
    assert shown.text == "would make revision 2 live" and shown.body["diff"] == ["1 numbers move"]
    assert (await applied(desk, ONE)).body["diff"] == ["1 numbers move"]
    assert office.compiler.asked == [1, 2]
    assert office.compiler.compared[1].endswith("1.table"), "against the live plan"
    kept = office.store.revision(2)
    assert kept is not None and kept.diff == ("1 numbers move",)


async def test_another_plan_than_the_one_shown_is_compiled_anew(office: Office) -> None:
    desk = await office.start()
    await desk.order("apply", files=ONE, dry_run=True)
    await applied(desk, TWO)
    assert office.compiler.asked == [1, 2, 2]
    await desk.order("apply", files={"plan": "failing test"}, dry_run=True, despite="tests")
    assert (await desk.order("apply", files={"plan": "failing test"})).status == "invalid"


async def test_a_plan_that_is_live_against_its_own_tests_is_an_alarm_for_as_long_as_it_is(office: Office) -> None:
    desk = await office.start()
    answer = await desk.order("apply", files={"plan": "failing test"})
    assert answer.status == "invalid" and "--despite tests" in answer.hint
    answer = await applied(desk, {"plan": "failing test"}, despite="tests")
    assert answer.text == "revision 2 is live although 1 of its own tests fail"
    kept = office.store.revision(2)
    assert kept is not None and kept.despite == ("tests",)
    await until(lambda: "plan:tests-overruled" in alarms(desk))
    await office.stop()
    desk = await office.start(FakeRouter(office.router.held))
    await until(lambda: bool(views(desk)) and "plan:tests-overruled" in alarms(desk))
    await applied(desk, ONE)
    await until(lambda: "plan:tests-overruled" not in alarms(desk))


async def test_overruling_tests_that_pass_is_nothing_to_shout_about(office: Office) -> None:
    desk = await office.start()
    await applied(desk, ONE, despite="tests")
    kept = office.store.revision(2)
    assert kept is not None and kept.despite == ()


def views(desk: FakeDesk) -> list[View]:
    return [frame for frame in desk.frames if isinstance(frame, View)]


def alarms(desk: FakeDesk) -> set[str]:
    return {alarm["id"] for alarm in desk.view.status["alarms"]}


# -- groups --------------------------------------------------------------------------------------------------------------------


async def test_a_group_that_is_held_may_not_leave_unless_its_state_is_carried_over_or_it_is_forced(office: Office) -> None:
    desk = await office.start()
    await desk.order("failover", group="acme", to="bcp")
    answer = await desk.order("apply", files={"plan": "other group"})
    assert (answer.status, answer.code) == ("refused", "group-not-normal")
    assert "acme is held at bcp by ops-1" in answer.text and "renamed_from: acme" in answer.hint
    assert (await desk.order("apply", files={"plan": "other group"}, dry_run=True)).code == "group-not-normal"
    answer = await applied(desk, {"plan": "renamed group"})
    assert answer.body["renamed"] == ["acme is now bank"]
    state = office.router.published[-1]
    assert state.decisions["bank"].bcp_percent == 100
    assert office.store.given["group"] == {"bank": 1}, "callers on a ramp stay on their side"
    assert "acme" not in state.decisions


async def test_a_hold_that_came_while_the_plan_compiled_counts(office: Office) -> None:
    desk = await office.start()
    go = office.compiler.wait()
    desk.begin("apply", files={"plan": "other group"})
    await until(lambda: office.compiler.asked == [1, 2])
    await desk.order("failover", group="acme", to="bcp")
    go.set()
    await until(lambda: bool(desk.finals("apply")))
    assert desk.finals("apply")[-1].code == "group-not-normal"
    assert office.store.live == 1


async def test_wishes_of_the_moment_are_written_with_a_plan_and_not_those_it_began_with(office: Office) -> None:
    desk = await office.start()
    go = office.compiler.wait()
    desk.begin("apply", files=ONE)
    await until(lambda: office.compiler.asked == [1, 2])
    await desk.order("pin", group="acme", to="bcp")
    office.watch = {"apply-live-written"}
    go.set()
    await until(lambda: bool(office.died_at))
    await office.die()
    assert office.store.wishes.groups["acme"]["pinned"] == "bcp"


# -- every step ----------------------------------------------------------------------------------------------------------------


async def test_an_apply_takes_every_step_in_order(office: Office) -> None:
    desk = await office.start()
    await until(lambda: "apply-generation-written" in office.reached)
    assert office.reached == ["apply-published", "apply-generation-written"], "a start publishes too"
    office.reached.clear()
    await applied(desk, ONE)
    await until(lambda: office.reached[-1:] == ["apply-generation-written"])
    assert tuple(office.reached) == STEPS


@pytest.mark.parametrize("step", STEPS)
async def test_a_controller_that_dies_at_any_step_leaves_old_or_new_and_the_next_apply_works(office: Office, step: str) -> None:
    desk = await office.start()
    await until(lambda: "apply-generation-written" in office.reached)
    office.watch = {step}
    desk.begin("apply", files=ONE)
    await until(lambda: step in office.died_at)
    await office.die()
    is_new = STEPS.index(step) >= STEPS.index("apply-live-written")
    assert live_texts(office) == (ONE if is_new else GOOD)
    held = office.router.held
    assert held is not None
    desk = await office.start(FakeRouter(held))
    router = office.router
    await until(lambda: bool(router.published))
    state = router.published[-1]
    assert state.revision == (2 if is_new else 1) == office.store.live
    assert len(router.tables[state.table].topology.trunks) == (1 if is_new else 2), "its table is that revision's"
    assert [one.name for one in state.retired] == (["carrier-two"] if is_new else [])
    assert state.term > held.term
    await applied(desk, TWO)
    assert live_texts(office) == TWO
    lived = [one.number for one in office.store.kept if one.live_at_unix_s is not None]
    assert lived == [1, *([2] if is_new else []), office.store.live], "a revision that was kept and never live says so"
