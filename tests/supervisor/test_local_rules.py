"""Which orders may be given on a node without a controller, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from sipctl.control.ports import Observe
from sipctl.engine.embedded.wire import Seen, SeenGroup
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import Admin, Decision, Operating
from sipctl.supervisor.local_rules import Scope, orders_of, scope_of, sentence
from sipctl.supervisor.local_wire import End, Give
from sipctl.supervisor.order_book import OrderBook

OUT, IN = int(Operating.OUT_OF_SERVICE), int(Operating.IN_SERVICE)
FAILOVER = Give("failover", "bcp", "CHG7", group="acme")


def a_group(*, bcp: int = IN, admin: int = int(Admin.ENABLED), pinned: bool = False, tenant: str = "acme") -> SeenGroup:
    names = (f"{tenant}-prod", f"{tenant}-bcp")
    return SeenGroup(names, (OUT, bcp), (int(Admin.ENABLED), admin), Decision(pinned=pinned))


def a_router(slot: int = 0, calls: int = 4, **groups: SeenGroup) -> Seen:
    observed = Observe("r1", 0.0, {}, {}, {}, {"acme-prod": calls}, calls, 0.0, 0)
    found: Mapping[str, SeenGroup] = groups or {"acme": a_group()}
    return Seen(f"r{slot + 1}", slot, 1, 4, 9, 12, 0, (), found, observed)


def judged(give: Give, *routers: Seen, serves: bool = False) -> Scope | End:
    return scope_of(give, routers, ("acme",), serves=serves)


def test_an_order_names_its_groups_its_tenant_and_the_calls_it_leaves_alone() -> None:
    scope = judged(FAILOVER, a_router(), a_router(1, calls=3))
    assert scope == Scope(("acme",), 7, {"acme": "acme-bcp"})
    assert sentence(FAILOVER, scope) == "acme: new calls go to bcp and stay there until failback"


@pytest.mark.parametrize(
    ("rule", "router"),
    [
        ("target-out-of-service", a_router(acme=a_group(bcp=OUT))),
        ("target-not-enabled", a_router(acme=a_group(admin=int(Admin.DRAINING)))),
        ("pinned", a_router(acme=a_group(pinned=True))),
    ],
)
def test_a_rule_refuses_by_name_and_yields_to_its_name(rule: str, router: Seen) -> None:
    refused = judged(FAILOVER, router)
    assert isinstance(refused, End) and (refused.status, refused.rule) == ("refused", rule)
    assert refused.hint == f"--force {rule} overrides it"
    assert isinstance(judged(replace(FAILOVER, force=(rule,)), router), Scope)
    other = "pinned" if rule != "pinned" else "no-view"
    assert isinstance(judged(replace(FAILOVER, force=(other,)), router), End), "another rule's name is no key"


def test_while_the_api_answers_orders_go_there() -> None:
    refused = judged(FAILOVER, a_router(), serves=True)
    assert isinstance(refused, End) and refused.rule == "controller-lives" and "without --local" in refused.hint
    assert isinstance(judged(replace(FAILOVER, force=("controller-lives",)), a_router(), serves=True), Scope)


def test_without_any_router_the_groups_on_disk_count_and_nobody_knows_what_the_tenants_are_worth() -> None:
    refused = judged(FAILOVER)
    assert isinstance(refused, End) and refused.rule == "no-view"
    assert judged(replace(FAILOVER, force=("no-view",))) == Scope(("acme",), 0, {})


def test_several_groups_are_all_moved_or_none() -> None:
    router = a_router(acme=a_group(), beta=a_group(bcp=OUT, tenant="beta"))
    every = Give("failover", "bcp", "CHG7", every=True)
    refused = judged(every, router)
    assert isinstance(refused, End) and "beta-bcp" in refused.text
    chosen = judged(replace(every, every=False, tenant="acme-*"), router)
    assert isinstance(chosen, Scope) and chosen.groups == ("acme",)
    nobody = judged(replace(every, every=False, tenant="zeta-*"), router)
    assert isinstance(nobody, End) and nobody.status == "invalid"


def an_order(number: int, group: str = "acme") -> LocalOrder:
    return LocalOrder(number, group, "failover", "bcp", "local:root", "CHG7", 1_800_000_000.0)


def test_orders_are_numbered_on_and_of_each_group_the_last_is_kept(tmp_path: Path) -> None:
    book = OrderBook(tmp_path)
    assert (book.load(), book.orders, book.last) == ("", (), 0)
    assert book.add(orders_of(FAILOVER, Scope(("acme", "beta"), 0, {}), "local:root", 6, 1.0)) == ""
    assert [(order.number, order.group) for order in book.orders] == [(7, "acme"), (8, "beta")]
    book.add([an_order(9)])
    again = OrderBook(tmp_path)
    again.load()
    assert (again.orders, again.last) == (book.orders, 9)
    assert sorted(order.number for order in again.orders) == [8, 9]


def test_a_rule_that_was_forced_stands_in_the_order() -> None:
    (order,) = orders_of(replace(FAILOVER, force=("pinned",)), Scope(("acme",), 0, {}), "local:root", 0, 1.0)
    assert order.reason == "CHG7 (forced: pinned)"


def test_what_a_snapshot_holds_leaves_the_book_and_its_number_stays(tmp_path: Path) -> None:
    book = OrderBook(tmp_path)
    book.add([an_order(3), an_order(4, "beta")])
    book.settle(3)
    assert [order.number for order in book.orders] == [4]
    book.settle(4)
    again = OrderBook(tmp_path)
    again.load()
    assert (again.orders, again.last) == ((), 4)


def test_a_disk_that_refuses_is_told_and_the_order_stands_all_the_same(tmp_path: Path) -> None:
    book = OrderBook(tmp_path / "gone")
    assert "cannot be written" in book.add([an_order(1)])
    assert [order.number for order in book.orders] == [1]
