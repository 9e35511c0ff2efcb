"""A controller makes its own what was ordered on a node while none served (routing/local_orders.py tells the whole story).

Routers tell the orders they follow with each hello and each observation. What is not taken yet becomes an operator's order to the
group's machine, with the name and the reason of who gave it: so it is in the history, it holds, and nothing reverts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sipctl.control.world import World
from sipctl.failover.memory import Order
from sipctl.routing.local_orders import LocalOrder, latest


@dataclass(frozen=True, slots=True)
class Adoption:
    """What follows from orders that are new to a controller."""

    orders: tuple[tuple[str, Order], ...]  # by group; of several about one group the last
    taken: int  # number of the newest
    story: tuple[tuple[LocalOrder, str], ...]  # every order with its sentence


def adoption(world: World, given: Sequence[LocalOrder]) -> Adoption | None:
    """What to do about the orders a router tells of.

    Returns: None if all of them were taken before, or there is no plan yet to carry them out by: routers follow them meanwhile,
        and tell again.
    """
    fresh = sorted((order for order in given if order.number > world.orders_taken), key=lambda order: order.number)
    if world.plan is None or not fresh:
        return None
    groups = {group.name for group in world.plan.topology.groups}
    standing = latest([order for order in fresh if order.group in groups])
    return Adoption(
        tuple((name, _order(order)) for name, order in standing.items()),
        fresh[-1].number,
        tuple((order, _sentence(order, known=order.group in groups)) for order in fresh),
    )


def _order(order: LocalOrder) -> Order:
    return Order(order.kind, order.actor, f"{order.reason}; ordered on the node at {_clock(order)}", order.to, now=True)


def _sentence(order: LocalOrder, *, known: bool) -> str:
    what = f"failover of {order.group} to {order.to}" if order.kind == "failover" else f"failback of {order.group}"
    then = "is taken over" if known else "is dropped: the live plan has no such group"
    return f"{order.actor}: {what}, ordered on the node at {_clock(order)} ({order.reason}), {then}"


def _clock(order: LocalOrder) -> str:
    return datetime.fromtimestamp(order.at_unix_s, UTC).strftime("%H:%M:%S UTC")
