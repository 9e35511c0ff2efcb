"""Operations that go on: drains, ramps, moves spread over time; followed, aborted, resumed by the next controller."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from sipctl.control import operations
from sipctl.control.admin_changes import MAX_FOLLOWERS
from sipctl.control.ports import Ack, Answer, Hello, Observe, TrunkObservation, Wishes
from sipctl.control.state import resumed_pending, wishes_of, world_of
from sipctl.control.status import detail
from sipctl.control.world import Gone, Happening, Heard
from sipctl.routing.snapshot import Admin
from tests.control.scene import Scene, a_wide_topology


class Counted(Scene):
    """A scene whose router tells calls of SBCs and tenants."""

    def __init__(self, *given: Any, **more: Any) -> None:
        self.at_sbc: dict[str, int] = {}
        self.at_tenant: dict[str, int] = {}
        super().__init__(*given, **more)

    def observation(self) -> Observe:
        told = super().observation()
        sbcs = {name: msgspec.structs.replace(one, calls=self.at_sbc.get(name, 0)) for name, one in told.sbcs.items()}
        every = sum(self.at_sbc.values())
        trunks = {"carrier-one": TrunkObservation(every, 3)}
        return msgspec.structs.replace(told, sbcs=sbcs, tenants=dict(self.at_tenant), calls=every, trunks=trunks)

    def of(self, answer: Answer) -> list[Answer]:
        """All that was told of an operation, from when every router has it, or a router does not take it."""
        return [one for one in self.answers if one.id == answer.id and (one.status != "accepted" or one.body.get("missing"))]

    def shown(self) -> list[dict[str, Any]]:
        return list(detail(self.world, self.now_s)["operations"])


def wide(count: int = 4, **policy: Any) -> Counted:
    tenants = [(f"p{i}", i % 2) for i in range(count)] + [("b", 2)]
    return Counted(a_wide_topology(tenants, [(f"p{i}", "b") for i in range(count)], **policy))


# -- drains --------------------------------------------------------------------------------------------------------------------


def test_a_drain_goes_on_until_no_call_is_up() -> None:
    scene = Counted()
    scene.at_sbc = {"fra-a": 3, "fra-b": 1}
    scene.run(1.0)
    answer = scene.order("sbc-admin", sbc="fra-a", state="draining")
    assert (answer.status, answer.final) == ("going", False)
    assert answer.body["calls"] == 3 and answer.body["of_calls"] == 75 and answer.body["cps_about"] == 2.2
    for left in (3, 1):
        scene.at_sbc["fra-a"] = left
        scene.run(2.0)
        (row,) = scene.shown()
        assert (row["going"], row["name"], row["left"], row["first"]) == ("drain", "fra-a", left, 3)
        assert f"{left} {'is' if left == 1 else 'are'} up" in row["progress"]
    scene.at_sbc["fra-a"] = 0
    scene.run(1.0)
    assert [one.status for one in scene.of(answer)] == ["going", "done"]
    assert scene.of(answer)[-1].text.endswith("fra-a is drained: no call is up") and scene.shown() == []


def test_a_call_that_began_as_the_drain_did_is_not_overlooked() -> None:
    """What the router told before it took the drain says nothing of calls it let in until then."""
    scene = Counted()
    answer = scene.order("sbc-admin", sbc="fra-a", state="draining")
    assert answer.status == "going", "none was up when it was last told, which may be half a second ago"
    scene.at_sbc["fra-a"] = 1
    scene.run(5.0)
    assert [one.status for one in scene.of(answer)] == ["going"]


def test_calls_of_a_router_that_died_are_waited_for_until_its_successor_tells_them() -> None:
    scene = Counted()
    scene.put(Heard(2, Hello("r2", 1, 4712, scene.published[-1])))
    told = msgspec.structs.replace(scene.observation(), name="r2")
    busy = {**told.sbcs, "fra-a": msgspec.structs.replace(told.sbcs["fra-a"], calls=2)}
    scene.put(Heard(2, msgspec.structs.replace(told, sbcs=busy)))
    answer = scene.order("sbc-admin", sbc="fra-a", state="draining")
    scene.put(Heard(2, Ack("r2", scene.world.term, scene.world.seq, 1)))
    assert scene.shown()[0]["left"] == 2
    scene.put(Gone(2))
    scene.run(5.0)
    assert [one.status for one in scene.of(answer)] == ["going"], "r1 has none; those of r2 are in its memory"
    scene.put(Heard(3, Hello("r2", 1, 4713, scene.published[-1])))
    scene.put(Heard(3, msgspec.structs.replace(told, sbcs=busy, at_s=scene.now_s)))
    scene.run(2.0)
    assert scene.shown()[0]["left"] == 2
    scene.put(Heard(3, msgspec.structs.replace(told, at_s=scene.now_s)))
    assert scene.of(answer)[-1].status == "done"


@pytest.mark.parametrize(
    ("op", "args", "where"),
    [
        ("tenant-admin", {"tenant": "acme-bcp", "state": "draining"}, "at_tenant"),
        ("node-admin", {"state": "draining"}, "at_sbc"),
    ],
)
def test_tenants_and_the_node_are_followed_as_well(op: str, args: dict[str, Any], where: str) -> None:
    scene = Counted()
    getattr(scene, where)["acme-bcp" if where == "at_tenant" else "fra-a"] = 2
    scene.run(1.0)
    answer = scene.order(op, **args)
    scene.run(3.0)
    assert [one.status for one in scene.of(answer)] == ["going"]
    getattr(scene, where).clear()
    scene.run(1.0)
    assert scene.of(answer)[-1].status == "done"


def test_enabling_it_again_ends_the_drain_as_aborted() -> None:
    scene = Counted()
    scene.at_sbc = {"fra-a": 3}
    answer = scene.order("sbc-admin", sbc="fra-a", state="draining")
    scene.order("sbc-admin", sbc="fra-a", state="enabled")
    assert scene.of(answer)[-1].status == "aborted" and "is enabled again" in scene.of(answer)[-1].text


def test_a_drain_said_again_is_waited_for_as_well_but_not_without_end() -> None:
    scene = Counted()
    scene.at_sbc = {"fra-a": 3}
    answers = [scene.order("sbc-admin", sbc="fra-a", state="draining") for _ in range(MAX_FOLLOWERS)]
    assert {answer.status for answer in answers} == {"going"}, "who says it again may be about to cut the power: not done yet"
    again = scene.order("sbc-admin", sbc="fra-a", state="draining")
    assert (again.status, again.code) == ("refused", "followed-already")
    assert "fra-a is draining already, and 8 operations wait" in again.text
    assert scene.order("sbc-admin", sbc="fra-a", state="disabled").status == "going", "a change is never refused for it"
    scene.at_sbc["fra-a"] = 0
    scene.run(3.0)
    assert {scene.of(answer)[-1].status for answer in answers} == {"done"}


def test_aborting_a_drain_gives_back_what_it_can_and_says_what_stays() -> None:
    scene = Counted()
    scene.at_sbc = {"fra-b": 3}
    scene.order("sbc-admin", sbc="fra-a", state="draining")
    answer = scene.order("sbc-admin", sbc="fra-b", state="draining", move=True)
    told = scene.order("op-abort", id=answer.id)
    assert told.status == "done" and told.body["undone"] == ["fra-b is enabled"]
    assert told.body["stays"] == ["acme stays where it was moved to, and is held there"]
    assert "calls that ended do not come back" in told.text
    assert scene.world.sbc_admin == {"fra-a": Admin.DRAINING} and scene.place() == ("on-bcp", 100)
    assert scene.of(answer)[-1].status == "aborted"
    assert scene.order("op-abort", id=answer.id).code == "operation-over"


@pytest.mark.parametrize(
    ("op", "what", "second"),
    [
        ("sbc-admin", {"sbc": "fra-a"}, "disabled"), ("sbc-admin", {"sbc": "fra-a"}, "draining"),
        ("tenant-admin", {"tenant": "acme-bcp"}, "disabled"), ("node-admin", {}, "draining"),
    ],
)  # fmt: skip
def test_a_drain_that_somebody_else_went_on_from_is_not_aborted_under_him(op: str, what: dict[str, Any], second: str) -> None:
    scene = Counted()
    scene.at_sbc, scene.at_tenant = {"fra-a": 3}, {"acme-bcp": 3}
    first = scene.order(op, state="draining", **what)
    later = scene.order(op, state=second, **what)
    before = wishes_of(scene.world)
    told = scene.order("op-abort", id=first.id)
    assert (told.status, told.code) == ("refused", "superseded") and f"by ops-1 since ({later.id})" in told.text
    assert wishes_of(scene.world) == before, "nothing changed"
    assert scene.order("op-abort", id=later.id).status == "done"
    assert scene.order("op-abort", id=first.id).status == "done", "he took his back: hers is the last one again"
    assert not scene.world.sbc_admin and not scene.world.tenant_admin and scene.world.node_admin is Admin.ENABLED


def test_aborting_a_drain_leaves_what_was_set_since_by_an_operation_that_is_over() -> None:
    """A router that died keeps the first waiting; the second began after it and is over."""
    scene = Counted()
    scene.put(Heard(2, Hello("r2", 1, 4712, scene.published[-1])))
    first = scene.order("sbc-admin", sbc="fra-a", state="draining")
    scene.put(Heard(2, Ack("r2", scene.world.term, scene.world.seq, 1)))
    scene.put(Gone(2))
    second = scene.order("sbc-admin", sbc="fra-a", state="disabled")
    scene.run(3.0)
    assert [scene.of(one)[-1].status for one in (first, second)] == ["going", "done"]
    told = scene.order("op-abort", id=first.id)
    assert told.status == "done" and told.body["undone"] == []
    assert told.body["stays"] == ["fra-a is disabled, as it was set since, and stays so"]
    assert scene.world.sbc_admin == {"fra-a": Admin.DISABLED} and not scene.world.pending


# -- ramps ---------------------------------------------------------------------------------------------------------------------


def test_a_way_back_goes_on_until_its_ramp_is_done() -> None:
    scene = Counted(ramp_step_s=5.0)
    scene.order("failover", group="acme", to="bcp")
    answer = scene.order("failback", group="acme")
    assert answer.status == "going" and "acme 10 %" in answer.text
    scene.run(6.0)
    assert "acme 50 %" in scene.shown()[0]["progress"]
    scene.run(6.0)
    assert scene.place() == ("normal", 0) and scene.of(answer)[-1].status == "done"


def test_a_way_back_that_a_loss_ends_is_told_as_failed() -> None:
    scene = Counted(ramp_step_s=60.0)
    scene.order("failover", group="acme", to="bcp")
    answer = scene.order("failback", group="acme")
    scene.kill("acme-prod")
    scene.run(8.0)
    assert scene.place() == ("on-bcp", 100)
    assert scene.of(answer)[-1].status == "failed" and "went out of service on the way back" in scene.of(answer)[-1].text


def test_aborting_a_ramp_goes_back_to_where_it_began() -> None:
    scene = Counted(ramp_step_s=60.0)
    scene.order("failover", group="acme", to="bcp")
    answer = scene.order("failback", group="acme")
    told = scene.order("op-abort", id=answer.id)
    assert told.status == "done" and "go to bcp again" in told.text and "calls at primary stay up" in told.text
    assert scene.place() == ("on-bcp", 100) and scene.world.groups["acme"].held == "bcp"
    assert scene.of(answer)[-1].status == "aborted"


def test_a_failback_that_has_no_way_to_go_is_done_at_once() -> None:
    scene = Counted()
    assert scene.order("failback", group="acme").status == "done"
    scene.order("failover", group="acme", to="bcp")
    assert scene.order("failback", group="acme", now=True).status == "done"


# -- many groups ---------------------------------------------------------------------------------------------------------------


def test_one_command_moves_all_and_tells_each() -> None:
    scene = wide()
    scene.order("failover", group="g2", to="bcp")
    answer = scene.order("failover", all=True, to="bcp")
    assert answer.status == "done"
    assert answer.body["results"] == {"g0": "moves", "g1": "moves", "g2": "is there already", "g3": "moves"}
    assert {scene.place(f"g{i}") for i in range(4)} == {("on-bcp", 100)}
    back = scene.order("failback", tenant="p[01]", now=True)
    assert back.body["results"] == {"g0": "moves", "g1": "moves"}
    assert [scene.place(f"g{i}")[1] for i in range(4)] == [0, 0, 100, 100]
    assert scene.order("failback", all=True, now=True).body["results"] == {"g2": "moves", "g3": "moves"}


def test_all_are_moved_or_none_and_each_says_why_and_partial_moves_those_that_may() -> None:
    scene = wide()
    scene.order("pin", group="g1", to="primary")
    answer = scene.order("failover", all=True, to="bcp")
    assert (answer.status, answer.code) == ("refused", "pinned") and "--partial" in answer.hint
    assert answer.body["results"]["g1"].startswith("refused (pinned)") and answer.body["results"]["g0"] == "moves"
    assert {scene.place(f"g{i}")[1] for i in range(4)} == {0}
    answer = scene.order("failover", all=True, to="bcp", partial=True)
    assert answer.status == "done" and "1 of 4 groups are refused and stay" in answer.text
    assert [scene.place(f"g{i}")[1] for i in range(4)] == [100, 0, 100, 100]
    assert scene.order("failback", group="g1", partial=True).code == "pinned", "none may, so none moves"


def test_a_spread_move_goes_group_by_group_and_each_is_checked_when_its_turn_comes() -> None:
    scene = wide()
    answer = scene.order("failover", all=True, to="bcp", spread_s=30.0)
    assert answer.status == "going" and "one every 10 s" in answer.text
    assert [scene.place(f"g{i}")[1] for i in range(4)] == [100, 0, 0, 0]
    scene.run(11.0)
    assert [scene.place(f"g{i}")[1] for i in range(4)] == [100, 100, 0, 0]
    scene.order("pin", group="g2", to="primary")
    scene.run(20.0)
    assert [scene.place(f"g{i}")[1] for i in range(4)] == [100, 100, 0, 100]
    last = scene.of(answer)[-1]
    assert last.status == "failed" and "3 groups moved, 1 were refused" in last.text
    assert last.body["results"]["g2"].startswith("refused (pinned)") and last.body["results"]["g3"] == "moved"


def test_aborting_a_spread_move_leaves_the_rest_where_they_are() -> None:
    scene = wide()
    answer = scene.order("failover", all=True, to="bcp", spread_s=30.0)
    told = scene.order("op-abort", id=answer.id)
    assert told.body == {"undone": ["g1", "g2", "g3"], "stays": ["g0"]}
    scene.run(40.0)
    assert [scene.place(f"g{i}")[1] for i in range(4)] == [100, 0, 0, 0]


@pytest.mark.parametrize(
    ("group", "room", "code"), [("g1", 75, ""), ("g1", 74, "target-too-small"), ("g0", 26, ""), ("g0", 25, "target-too-small")]
)
def test_an_entry_point_with_shares_counts_for_each_of_its_groups_by_its_share(group: str, room: int, code: str) -> None:
    topology = a_wide_topology([("p0", 0), ("p1", 1), ("b", 2)], [("p0", "b"), ("p1", "b")])
    entry = replace(topology.entry_points[0], split=((0, 25), (1, 75)))
    bcp = replace(topology.tenants[2], max_calls=room)
    topology = replace(topology, entry_points=(entry, topology.entry_points[1]), tenants=(*topology.tenants[:2], bcp))
    scene = Counted(topology)
    scene.calls = {"e0": 100} if group == "g1" else {"e0": 101}
    scene.run(1.0)
    answer = scene.order("failover", group=group, to="bcp", dry_run=True)
    assert answer.code == code
    if not code:
        told = ["e0", "e1"] if group == "g1" else ["e0"]
        assert (answer.body["entry_points"], answer.body["calls"]) == (told, scene.calls["e0"])
        assert answer.body["numbers"] == 101 * len(told)


@pytest.mark.parametrize("spread_s", [-1, 86_401, "soon", True])
def test_a_spread_that_is_no_time_is_refused(spread_s: object) -> None:
    assert wide(2).order("failover", all=True, to="bcp", spread_s=spread_s).code == "bad-argument"


# -- over restarts -------------------------------------------------------------------------------------------------------------


def test_what_goes_on_goes_on_under_the_next_controller() -> None:
    scene = wide()
    scene.at_sbc = {"p0-a": 2}
    drain = scene.order("sbc-admin", sbc="p0-a", state="draining")
    move = scene.order("failover", all=True, to="bcp", spread_s=30.0)
    scene.run(5.0)
    scene.restart()
    assert {one["id"] for one in scene.shown()} == {drain.id, move.id}
    scene.run(40.0)
    assert scene.of(move)[-1].status == "done" and {scene.place(f"g{i}")[1] for i in range(4)} == {100}
    assert scene.of(drain)[-1].status == "going"
    scene.at_sbc.clear()
    scene.run(2.0)
    assert scene.of(drain)[-1].status == "done"


@pytest.mark.parametrize("after_s", [0.0, 4.0, 9.95, 10.05, 25.0])
def test_a_spread_move_resumed_at_any_time_moves_every_group_once(after_s: float) -> None:
    scene = wide()
    answer = scene.order("failover", all=True, to="bcp", spread_s=30.0)
    scene.run(after_s)
    scene.restart()
    scene.run(40.0)
    assert scene.of(answer)[-1].status == "done"
    moves = [one.record.group for one in scene.records if one.record.rule == "failover"]
    assert sorted(moves) == ["g0", "g1", "g2", "g3"]


def test_a_failover_that_waits_for_a_router_is_done_under_the_next_controller() -> None:
    scene = Counted()
    scene.acks = False
    answer = scene.order("failover", group="acme", to="bcp")
    assert answer.status == "accepted"
    scene.acks = True
    scene.restart()
    scene.run(1.0)
    assert scene.of(answer)[-1].status == "done"


def test_a_router_that_refuses_is_named_and_stops_further_moves() -> None:
    from sipctl.control.ports import Nack

    scene = wide(2)
    scene.acks = False
    answer = scene.order("failover", group="g0", to="bcp")
    refusal: Happening = Heard(1, Nack("r1", scene.world.term, scene.world.seq, "no wish to"))
    scene.put(refusal)
    scene.run(2.0)
    assert "not everywhere yet: r1 (refused: no wish to)" in scene.of(answer)[-1].text
    refused = scene.order("failover", group="g1", to="bcp")
    assert (refused.status, refused.code) == ("refused", "mixed-routers")
    assert scene.order("failover", group="g1", to="bcp", force=("mixed-routers",)).status == "accepted"


def test_nothing_pending_is_judged_for_nothing() -> None:
    scene = Counted()
    pending, told = operations.judged(scene.world, scene.now_s)
    assert pending is scene.world.pending and told == ()


def test_what_goes_on_is_the_same_after_it_was_written_and_read() -> None:
    """Through the bytes of the store, as another process reads them."""
    scene = wide()
    scene.at_sbc = {"p0-a": 2}
    scene.order("sbc-admin", sbc="p0-a", state="draining")
    scene.order("failover", all=True, to="bcp", spread_s=30.0)
    scene.order("failback", group="g0")
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(wishes_of(scene.world)), type=Wishes)
    assert world_of(read).pending == tuple(resumed_pending(one) for one in scene.world.pending) and len(read.pending) == 3
