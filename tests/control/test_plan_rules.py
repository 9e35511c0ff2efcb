"""What a plan may not take away, what it carries on, and what the history says against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipctl.control.plan_history import changes_since, content_of, undone
from sipctl.control.plan_rules import carried, forbidden, lost_groups, renames
from sipctl.control.ports import Revision
from sipctl.control.world import PlanLive, World
from sipctl.failover.memory import Memory
from sipctl.routing.snapshot import Topology
from tests.control.scene import Scene, the_plan
from tests.support.plans import a_topology

HELD = Memory(state="on-bcp", bcp_percent=100, held="bcp", held_by="mary", epoch=4)


def with_group(name: str, renamed_from: str | None = None, revision: int = 2) -> Topology:
    topology = a_topology(revision=revision)
    return replace(topology, groups=(replace(topology.groups[0], name=name, renamed_from=renamed_from),))


# -- groups that leave ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "why"),
    [
        (Memory(), ""),
        (Memory(epoch=9, moves=(1.0,)), ""),
        (HELD, "is held at bcp by mary"),
        (Memory(state="on-bcp", bcp_percent=100), "is on-bcp, 100 % of its new calls at its BCP tenant"),
        (Memory(state="hold-off"), "is hold-off, 0 % of its new calls at its BCP tenant"),
        (Memory(pinned="primary"), "is pinned to primary"),
        (Memory(latched=True), "is latched"),
    ],
)
def test_only_a_group_at_rest_may_leave(memory: Memory, why: str) -> None:
    assert lost_groups(a_topology(), with_group("bank"), {"acme": memory}) == ({"acme": why} if why else {})


def test_a_renamed_group_is_not_lost_and_keeps_its_place_and_its_hold() -> None:
    before, after = a_topology(), with_group("acme-eu", "acme")
    assert lost_groups(before, after, {"acme": HELD}) == {}
    assert renames(before, after) == {"acme-eu": "acme"}
    assert carried({"acme": HELD, "other": Memory()}, before, after) == {"acme-eu": HELD, "other": Memory()}


def test_a_rename_stays_in_the_plan_without_doing_anything_again() -> None:
    plan = with_group("acme-eu", "acme")
    groups = {"acme-eu": HELD}
    assert carried(groups, plan, plan) is groups
    assert carried(groups, None, plan) is groups


def test_the_plan_before_a_renaming_takes_the_state_back() -> None:
    before, after = a_topology(), with_group("acme-eu", "acme")
    assert renames(after, before) == {"acme": "acme-eu"}
    assert lost_groups(after, before, {"acme-eu": HELD}) == {}
    assert carried({"acme-eu": HELD}, after, before) == {"acme": HELD}


def test_a_rename_that_takes_a_living_groups_name_is_none() -> None:
    both = a_topology()
    both = replace(both, groups=(both.groups[0], replace(both.groups[0], name="bank", id=both.groups[0].id + 1)))  # type: ignore[arg-type]
    claims = replace(both, groups=(both.groups[0], replace(both.groups[1], renamed_from="acme")))
    assert renames(both, claims) == {}


def test_a_restart_with_the_renamed_plan_finds_the_state_under_the_old_name() -> None:
    plan = with_group("acme-eu", "acme")
    assert carried({"acme": HELD}, None, plan) == {"acme-eu": HELD}
    newer = replace(HELD, epoch=9)
    both = {"acme": HELD, "acme-eu": newer}
    assert carried(both, None, plan) is both, "what stands under the new name counts"


def test_a_renamed_group_never_goes_back_in_epochs() -> None:
    known = {"acme": HELD, "acme-eu": Memory(epoch=30)}
    assert carried(known, a_topology(), with_group("acme-eu", "acme"))["acme-eu"] == replace(HELD, epoch=30)


def test_a_rename_in_the_live_world_leaves_new_calls_where_they_are() -> None:
    scene = Scene()
    scene.order("failover", group="acme", to="bcp")
    scene.live(with_group("acme-eu", "acme"))
    assert scene.place("acme-eu") == ("on-bcp", 100) and scene.world.groups["acme-eu"].held == "bcp"
    assert scene.told("acme-eu") == 100 and "acme" not in scene.world.groups


def test_a_rename_that_also_exchanges_the_tenants_leaves_calls_where_they_are() -> None:
    scene = Scene()
    scene.order("failover", group="acme", to="bcp")
    topology = with_group("acme-eu", "acme")
    scene.live(replace(topology, groups=(replace(topology.groups[0], primary=1, bcp=0),)))
    assert scene.place("acme-eu") == ("normal", 0) and scene.world.groups["acme-eu"].held == "primary"


# -- partly done ---------------------------------------------------------------------------------------------------------------


def test_a_router_that_does_not_take_a_plan_is_named_in_the_operation() -> None:
    scene = Scene()
    scene.acks = False
    plan, table = the_plan(a_topology(revision=2))
    scene.tables[table.hash] = table
    scene.put(PlanLive(plan, "op-1", {"revision": 2}, "mary"))
    scene.run(0.5)
    assert [answer.text for answer in scene.answers if answer.id == "op-1"] == ["revision 2 is live"]
    scene.run(2.0)
    last = [answer for answer in scene.answers if answer.id == "op-1"][-1]
    assert (last.status, last.final, last.body["missing"]) == ("accepted", False, ["r1"])
    assert last.text == "revision 2 is live; not everywhere yet: r1"
    scene.acks = True
    scene.run(4.0)
    last = [answer for answer in scene.answers if answer.id == "op-1"][-1]
    assert (last.status, last.final, last.text) == ("done", True, "revision 2 is live")


# -- history -------------------------------------------------------------------------------------------------------------------


def lived(number: int, content: str, rollback_to: int | None = None, live: bool = True) -> Revision:
    at_s = float(number) if live else None
    return Revision(number, 0.0, "mary", f"why {number}", None, None, {}, at_s, content, rollback_to, diff=(f"diff {number}",))


def undone_of(*history: Revision) -> dict[str, tuple[int, int]]:
    return {content: (left.number, rollback.number) for content, (left, rollback) in undone(history).items()}


def test_a_rollback_undoes_everything_after_what_it_goes_back_to() -> None:
    history = [lived(1, "a"), lived(2, "b"), lived(3, "c"), lived(4, "a", 1)]
    assert undone_of(*history) == {"b": (2, 4), "c": (3, 4)}
    assert undone_of(*reversed(history)) == {"b": (2, 4), "c": (3, 4)}


def test_what_is_applied_again_is_undone_no_longer() -> None:
    assert undone_of(lived(1, "a"), lived(2, "b"), lived(3, "a", 1), lived(4, "b")) == {}


def test_content_that_came_back_is_not_undone_by_the_rollback_to_it() -> None:
    assert undone_of(lived(1, "a"), lived(2, "b"), lived(3, "a"), lived(4, "c"), lived(5, "a", 1)) == {"b": (2, 5), "c": (4, 5)}


def test_a_revision_that_was_never_live_undoes_nothing_and_is_not_undone() -> None:
    assert undone_of(lived(1, "a"), lived(2, "b", live=False), lived(3, "c"), lived(4, "a", 1, live=False)) == {}


def test_the_digest_is_of_paths_and_texts_and_not_of_their_order_or_their_border() -> None:
    assert content_of({"a": "1", "b": "2"}) == content_of({"b": "2", "a": "1"})
    assert len({content_of(files) for files in ({"a": "1"}, {"a1": ""}, {"": "a1"}, {"a": "1", "b": ""}, {})}) == 5
    assert content_of({"a": b"caf\xe9".decode("utf-8", "surrogateescape")}) != content_of({"a": "café"})


def test_the_second_editor_is_told_each_revision_since_the_base() -> None:
    history = [lived(3, "c"), lived(1, "a"), lived(2, "b", live=False)]
    assert [(one["revision"], one["diff"]) for one in changes_since(history, 1)] == [(3, ["diff 3"])]


def test_an_unknown_base_is_no_surprise() -> None:
    assert changes_since([], 7) == []


def test_a_world_without_a_plan_loses_nothing() -> None:
    assert forbidden(World(term=1), the_plan(a_topology())[0], ()) is None
