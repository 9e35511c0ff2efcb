"""Orders on a node through controllers that die at any effect, lose what they had not written, and return: never reverted."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from sipctl.control.ports import Command, Hello, Observe, Wishes
from sipctl.control.reconcile import reconcile
from sipctl.control.state import adopted, world_of
from sipctl.control.world import Faults, Happening, Heard, Keys, NodeNews, Ordered, Persist, PlanLive, Say, Tell, Tick, World
from sipctl.routing.fence import Ruling, ruling
from sipctl.routing.local_orders import LocalOrder, pending, with_orders
from sipctl.routing.snapshot import RoutingState, SigningKey
from tests.control.scene import UNIX_S, Scene, the_plan
from tests.support.plans import a_topology

SEEDS = 80
STEPS = 60
GROUP = "acme"


class Node:
    """One router, one store, one controller that may be dead; nothing waits and nothing is lost but by a death."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.plan, _ = the_plan(a_topology())
        self.now_s = 1000.0
        self.store = Wishes()
        self.taken_term = 0
        self.world: World | None = None
        self.held: RoutingState | None = None
        self.orders: tuple[LocalOrder, ...] = ()
        self.wanted: tuple[int, str | None] | None = None  # (percent to BCP, tenant left) as an operator ordered last
        self.number = 0
        self.commands = 0
        self.story: list[str] = []

    def returns(self) -> None:
        """A controller begins, with what the store kept and what the router holds."""
        world = world_of(self.store)
        if self.held is not None:
            world = adopted(world, self.held)
        self.taken_term = max(self.taken_term, world.term) + 1
        self.world = replace(world, term=self.taken_term, seq=0)
        self.story.append(f"a controller returns with term {self.taken_term}")
        self.put(Keys((SigningKey(1, bytes(32)),), 1))
        self.put(Heard(1, Hello("r1", 0, 4711, self.held, "", self.orders)))
        self.put(PlanLive(self.plan))

    def put(self, happening: Happening) -> None:
        """One turn; the controller may die after any of its effects."""
        if self.world is None:
            return
        self.now_s += 0.1
        self.world, effects = reconcile(self.world, happening, self.now_s, UNIX_S + self.now_s)
        for effect in effects:
            if self.random.random() < 0.02:
                self.dies()
                return
            if isinstance(effect, Tell):
                self.hears(effect.state)
            elif isinstance(effect, Persist):
                self.store = effect.wishes

    def dies(self) -> None:
        self.world = None
        self.story.append("the controller dies")

    def hears(self, state: RoutingState) -> None:
        if ruling(self.held, state) is Ruling.OLDER:
            return
        self.held, self.orders = state, pending(state, self.orders)

    def order(self, kind: str, to: str) -> None:
        """Somebody orders on the node."""
        self.number += 1
        given = LocalOrder(self.number, GROUP, kind, to, "local:root", "CHG7", UNIX_S)
        self.orders = pending(self.held, (*self.orders, given))
        self.wanted = (0, None) if kind == "failback" else (100, "primary") if to == "bcp" else (0, "bcp")
        self.story.append(f"order {self.number}: {kind} to {to}")

    def command(self, op: str) -> None:
        """Somebody orders by the API, which is there only while a controller is; a death may take the command with it."""
        if self.world is None or self.orders:
            return
        self.commands += 1
        args = {"group": GROUP, **({"to": "bcp"} if op == "failover" else {"now": True})}
        force = ("target-out-of-service", "stale-view")
        self.put(Ordered(Command(f"op-{self.commands}", op, args, "ops-1", "CHG8", force=force)))
        assert self.held is not None
        decision = self.held.decisions[GROUP]
        self.wanted = (decision.bcp_percent, decision.left)
        self.story.append(f"command {op}: {self.wanted}")

    def observed(self) -> None:
        self.put(Heard(1, Observe("r1", self.now_s, {}, {}, {}, {}, 0, 0.0, 0, orders=self.orders)))

    def step(self) -> None:
        chance = self.random.random()
        if chance < 0.15:
            self.order(*self.random.choice((("failover", "bcp"), ("failover", "primary"), ("failback", "primary"))))
        elif chance < 0.3:
            self.dies()
        elif chance < 0.5:
            if self.world is None:
                self.returns()
        elif chance < 0.6:
            self.command(self.random.choice(("failover", "failback")))
        elif chance < 0.8:
            self.observed()
        else:
            self.put(Tick())
        self.check()

    def check(self) -> None:
        """What calls follow is what was ordered last, whoever lives."""
        if self.held is None or self.wanted is None:
            return
        decision = with_orders(self.held, self.orders).decisions[GROUP]
        followed = (decision.bcp_percent, decision.left)
        assert followed == self.wanted, f"calls follow {followed}, not {self.wanted}:\n" + "\n".join(self.story[-12:])


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_what_was_ordered_last_is_what_calls_follow(first: int) -> None:
    adoptions = 0
    for seed in range(first, first + 20):
        node = Node(seed)
        while node.world is None:
            node.returns()
        for _ in range(STEPS):
            node.step()
        for _ in range(20):  # and once the controller stays, it has taken everything over
            if node.world is None:
                node.returns()
            node.observed()
            node.check()
        assert node.held is not None
        if node.number and node.world is not None:
            assert not node.orders, f"seed {seed}: orders nobody takes over"
            adoptions += node.held.orders_taken
    assert adoptions > 20


def test_what_becomes_of_processes_is_told_and_alarms() -> None:
    scene = Scene()
    effects = scene.put(NodeNews("routers are replaced one by one", "local:root", "CHG8"))
    told = [one.notice for one in effects if isinstance(one, Say)]
    assert [(notice.kind, notice.fields["actor"]) for notice in told] == [("operator", "local:root")]
    scene.put(Faults("process", {"desk": "the desk has ended 3 times"}))
    assert scene.world.alarms["process:desk"].text == "the desk has ended 3 times"
    scene.put(Faults("process", {}))
    assert "process:desk" not in scene.world.alarms
