"""What several routers of one machine see of an SBC: one of them judges, each has calls there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from sipctl.control.ports import SbcObservation
from sipctl.control.world import RouterSeen


def with_calls_of_all(judged: Mapping[str, SbcObservation], routers: Iterable[RouterSeen]) -> dict[str, SbcObservation]:
    """The judging router's view, with the calls of all of them."""
    views = [router.observe.sbcs for router in routers if router.observe is not None]
    return {
        name: msgspec.structs.replace(seen, calls=sum(view[name].calls for view in views if name in view))
        for name, seen in judged.items()
    }
