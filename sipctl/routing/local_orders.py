"""What an operator ordered on a node while no controller served: how routers follow it until a controller took it over.

Theory. A router goes by what its controller published, and by the local orders that stand beside it. They are two registers with
one writer each, so neither ever overwrites the other: publications carry (term, seq) and are the controller's; local orders
carry a number that grows with each order of this STATE and are the supervisor's. A published state says up to which number orders
are in its decisions (`orders_taken`); an order above it overrules the decision of its group, whatever is published meanwhile, so
that a controller that does not know of it yet cannot revert it. Once a controller has made it its own, as an operator's hold, the
next publication carries both the decision and the number, and the order goes out of use in the same instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sipctl.routing.snapshot import Decision, RoutingState

MAX_ORDERS: Final = 20_000  # that no controller has taken yet; groups of one node are at most half as many
KINDS: Final = ("failover", "failback")


@dataclass(frozen=True, slots=True)
class LocalOrder:
    """One wish about one group."""

    number: int  # grows with every order of a STATE, from 1
    group: str
    kind: str  # "failover": hold new calls at `to`; "failback": back to the primary at once, no ramp
    to: str  # "bcp" | "primary"
    actor: str  # "local:USER"
    reason: str
    at_unix_s: float


def pending(state: RoutingState | None, orders: Sequence[LocalOrder]) -> tuple[LocalOrder, ...]:
    """The orders that no controller has taken into this state, by number."""
    taken = state.orders_taken if state is not None else 0
    return tuple(sorted((order for order in orders if order.number > taken), key=lambda order: order.number))


def latest(orders: Sequence[LocalOrder]) -> Mapping[str, LocalOrder]:
    """The order that stands for each group: the one with the highest number."""
    return {order.group: order for order in sorted(orders, key=lambda order: order.number)}


def with_orders(state: RoutingState, orders: Sequence[LocalOrder]) -> RoutingState:
    """The state calls follow: as published, but for the groups that a pending order is about. Unknown groups are left alone."""
    standing = {name: order for name, order in latest(pending(state, orders)).items() if name in state.decisions}
    if not standing:
        return state
    changed = {name: ordered(state.decisions[name], order) for name, order in standing.items()}
    return replace(state, decisions={**state.decisions, **changed})


def ordered(decision: Decision, order: LocalOrder) -> Decision:
    """The decision of a group under an order; its epoch stays, since epochs are the controller's to count."""
    said = f"{order.actor}: {order.reason}"
    if order.kind == "failback":
        return replace(decision, bcp_percent=0, left=None, reason=f"new calls go back to primary at once ({said})")
    left, percent = ("primary", 100) if order.to == "bcp" else ("bcp", 0)
    return replace(decision, bcp_percent=percent, left=left, reason=f"new calls go to {order.to} until failback ({said})")
