"""Orders given on a node while no controller served: the one that returns makes them its own, and reverts none of them."""

from __future__ import annotations

from dataclasses import replace

from sipctl.control.ports import Hello, Observe
from sipctl.control.state import adopted, wishes_of, world_of
from sipctl.control.world import Heard, Keys, PlanLive, Say, World
from sipctl.routing.local_orders import LocalOrder, with_orders
from sipctl.routing.snapshot import RoutingState, SigningKey
from tests.control.scene import UNIX_S, Scene, the_plan
from tests.support.plans import a_topology

KEYS = Keys((SigningKey(1, bytes(32)),), 1)


def an_order(number: int = 1, kind: str = "failover", to: str = "bcp", group: str = "acme") -> LocalOrder:
    return LocalOrder(number, group, kind, to, "local:root", "CHG7", UNIX_S)


def a_view(orders: tuple[LocalOrder, ...]) -> Observe:
    return Observe("r1", 1000.0, {}, {}, {}, {}, 0, 0.0, 0, orders=orders)


def followed(state: RoutingState, *orders: LocalOrder) -> tuple[int, str | None]:
    """Where a router that holds these orders sends new calls of the group."""
    decision = with_orders(state, orders).decisions["acme"]
    return decision.bcp_percent, decision.left


def returning(world: World, *frames: Hello | Observe) -> tuple[World, list[RoutingState], list[str]]:
    """A controller that starts on what was written, hears these frames first, and then gets its plan."""
    plan, table = the_plan(a_topology())
    scene = Scene(start=False)
    scene.tables[table.hash] = table
    scene.published.clear()
    scene.notices.clear()
    scene.world = replace(world, term=world.term + 1, seq=0)
    for frame in frames:
        scene.put(Heard(9, frame))
    scene.put(KEYS)
    scene.put(PlanLive(plan))
    return scene.world, scene.published, [notice.text for notice in scene.notices]


def test_a_returning_controller_adopts_an_order_before_it_publishes_anything_else() -> None:
    order = an_order()
    world, published, story = returning(World(term=4), Hello("r1", 0, 4711, None, orders=(order,)))
    memory = world.groups["acme"]
    assert (memory.bcp_percent, memory.held, memory.held_by) == (100, "bcp", "local:root")
    assert all(followed(state, order) == (100, "primary") for state in published), "no publication reverts it"
    assert published[-1].orders_taken == 1 and followed(published[-1]) == (100, "primary"), "decision and number leave together"
    assert any("local:root" in text and "is taken over" in text for text in story)


def test_the_adoption_is_a_decision_like_any_other_with_who_and_why() -> None:
    scene = Scene()
    scene.put(Heard(1, a_view((an_order(),))))
    record = scene.records[-1].record
    assert (record.rule, record.actor, record.kind) == ("failover", "local:root", "group")
    assert "CHG7" in record.sentence and "ordered on the node at" in record.sentence
    assert scene.world.orders_taken == 1


def test_an_order_is_taken_once_however_often_it_is_told() -> None:
    scene = Scene()
    for _ in range(3):
        scene.put(Heard(1, a_view((an_order(),))))
    assert len([one for one in scene.records if one.record.actor == "local:root"]) == 1
    scene.order("failback", group="acme", now=True)
    scene.put(Heard(1, a_view((an_order(),))))
    assert scene.world.groups["acme"].held is None, "an order of before is no order against the failback"


def test_automation_leaves_an_adopted_order_alone() -> None:
    scene = Scene(failback="automatic", hold_down_s=1.0, ramp=(100,))
    scene.put(Heard(1, a_view((an_order(),))))
    scene.run(60.0)
    assert scene.world.groups["acme"].bcp_percent == 100


def test_of_several_orders_about_a_group_the_last_counts_and_all_are_told() -> None:
    scene = Scene()
    scene.order("failover", group="acme", to="bcp")
    scene.put(Heard(1, a_view((an_order(2, "failback", "primary"), an_order(1)))))
    memory = scene.world.groups["acme"]
    assert (memory.bcp_percent, memory.held, scene.world.orders_taken) == (0, None, 2)
    told = [
        notice.fields["op"] for notice in scene.notices if notice.fields.get("actor") == "local:root" and notice.fields.get("op")
    ]
    assert told == ["failover", "failback"]


def test_an_order_about_a_group_that_left_the_plan_is_dropped_aloud() -> None:
    scene = Scene()
    effects = scene.put(Heard(1, a_view((an_order(group="gone"),))))
    assert scene.world.orders_taken == 1
    assert any(isinstance(one, Say) and "no such group" in one.notice.text for one in effects)


def test_what_was_taken_survives_the_controller_in_the_store_and_in_the_routers() -> None:
    scene = Scene()
    scene.put(Heard(1, a_view((an_order(5),))))
    again = world_of(wishes_of(scene.world))
    assert again.orders_taken == 5 and again.groups["acme"].held == "bcp"
    lost = adopted(World(term=0), scene.published[-1])  # the store knew nothing of it
    assert lost.orders_taken == 5 and lost.groups["acme"].held == "bcp"


def test_term_and_seq_never_fall_by_an_order() -> None:
    scene = Scene()
    before = scene.published[-1]
    scene.put(Heard(1, a_view((an_order(),))))
    after = scene.published[-1]
    assert (after.term, after.seq) == (before.term, before.seq + 1)
