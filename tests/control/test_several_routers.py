"""What the controller makes of several routers of one machine."""

from __future__ import annotations

from sipctl.control.ports import Observe, SbcObservation
from sipctl.control.vantage import with_calls_of_all
from sipctl.control.world import RouterSeen


def a_router(slot: int, calls: int, operating: int) -> RouterSeen:
    sbcs = {"fra-a": SbcObservation(operating, "answers OPTIONS", 1.0, calls=calls)}
    return RouterSeen(f"r{slot + 1}", slot, observe=Observe("", 1.0, sbcs, {}, {}, {}, calls, 0.0, 0))


def test_an_sbc_is_judged_by_one_router_and_its_calls_are_those_of_all() -> None:
    routers = [a_router(0, 3, 1), a_router(1, 4, 0), RouterSeen("r3", 2)]
    assert routers[0].observe is not None
    seen = with_calls_of_all(routers[0].observe.sbcs, routers)
    assert (seen["fra-a"].operating, seen["fra-a"].calls) == (1, 7)
