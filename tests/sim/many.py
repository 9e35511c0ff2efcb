"""The worlds of `seeds` with several routers on the machine: the same misfortunes and invariants, any of them dies at any line.

Beside what always holds: limits hold over all routers together, and at the end exactly one of them, the lowest, probes.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from tests.sim.seeds import MAX_EVENTS, Fate
from tests.support.router_farm import RouterFarm
from tests.support.world_plan import Plan

MAX_ROUTERS: Final = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed did."""

    digest: str
    events: int
    routers: int
    calls: int
    answered: int
    deaths: int
    messages: int
    handed: int
    limited: int  # most calls of a trunk at once, where it had a limit


class ManyFate(Fate):
    """A fate with as many routers as its seed says, over UDP, without a controller."""

    controlled_share = 0.0

    def __init__(self, seed: int) -> None:
        self.routers = Random(f"slots {seed}").randrange(2, MAX_ROUTERS + 1)
        super().__init__(seed)
        farm = self.world.router
        assert isinstance(farm, RouterFarm)
        self.farm: RouterFarm = farm

    def _a_plan(self) -> Plan:
        plan = super()._a_plan()
        return Plan(**{**{name: getattr(plan, name) for name in plan.__slots__}, "tcp_trunks": False, "tcp_sbcs": False})


def run_many_routers(seed: int) -> Outcome:
    """Run one world with several routers to its end.

    Raises: AssertionError with the seed and the tail of the story, the moment an invariant is broken.
    """
    fate = ManyFate(seed)
    outcome = fate.run()
    farm, limit = fate.farm, fate.world.plan.trunk_max_calls
    assert limit is None or farm.most_calls <= limit, f"seed {seed}: {farm.most_calls} calls of a trunk that may have {limit}"
    assert farm.leaders == [0], f"seed {seed}: routers {farm.leaders} lead"
    assert outcome.events <= MAX_EVENTS
    return Outcome(
        outcome.digest, outcome.events, fate.routers, outcome.calls, outcome.answered, outcome.deaths, outcome.messages,
        farm.handed, farm.most_calls if limit is not None else 0,
    )  # fmt: skip
