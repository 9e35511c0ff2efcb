"""Orders given on a node beside what a controller published: which of them stand, and what calls follow."""

from dataclasses import replace

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.local_orders import LocalOrder, pending, with_orders
from sipctl.routing.snapshot import Decision, RoutingState
from tests.support.plans import a_state, a_table


def an_order(number: int, group: str = "acme", kind: str = "failover", to: str = "bcp") -> LocalOrder:
    return LocalOrder(number, group, kind, to, "local:root", "the controller is gone", 1_800_000_000.0)


def a_published(**changes: object) -> RoutingState:
    state = replace(a_state(a_table()), decisions={"acme": Decision(0, epoch=7)})
    return replace(state, **changes)  # type: ignore[arg-type]


def test_an_order_moves_its_group_and_never_lets_calls_cross_back() -> None:
    decision = with_orders(a_published(), [an_order(1)]).decisions["acme"]
    assert (decision.bcp_percent, decision.left, decision.epoch) == (100, "primary", 7)
    assert "local:root: the controller is gone" in decision.reason


def test_the_last_order_of_a_group_stands_whatever_their_order_of_arrival() -> None:
    given = [an_order(3, kind="failback", to="primary"), an_order(2)]
    decision = with_orders(a_published(), given).decisions["acme"]
    assert (decision.bcp_percent, decision.left) == (0, None)


def test_a_hold_at_the_primary_keeps_calls_from_the_bcp_tenant() -> None:
    state = a_published(decisions={"acme": Decision(100)})
    decision = with_orders(state, [an_order(1, to="primary")]).decisions["acme"]
    assert (decision.bcp_percent, decision.left) == (0, "bcp")


def test_orders_that_a_controller_took_change_nothing_any_more() -> None:
    taken = a_published(orders_taken=2)
    assert with_orders(taken, [an_order(1), an_order(2)]) is taken
    assert [order.number for order in pending(taken, [an_order(3), an_order(2)])] == [3]
    assert with_orders(taken, [an_order(2), an_order(3)]).decisions["acme"].bcp_percent == 100


def test_a_group_the_plan_does_not_know_is_left_alone() -> None:
    state = a_published()
    assert with_orders(state, [an_order(1, group="gone")]) is state


def test_a_pin_stays_a_pin_under_an_order() -> None:
    state = a_published(decisions={"acme": Decision(0, pinned=True)})
    assert with_orders(state, [an_order(1)]).decisions["acme"].pinned


def test_calls_follow_the_order_under_the_same_term_and_seq() -> None:
    table = a_table()
    state = a_state(table)
    group = table.topology.groups[0].name
    state = replace(state, decisions={group: Decision()})
    snapshot = RoutingSnapshot.build(table, with_orders(state, [an_order(1, group=group)]))
    assert (snapshot.term, snapshot.seq) == (state.term, state.seq)
    assert snapshot.decision[0].bcp_percent == 100
