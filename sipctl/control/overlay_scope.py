"""What an overlay or a kill switch touches, where it sends calls, and which two of them collide.

Two **overlays** collide if both say what becomes of the calls of one entry point, and not the same. Two **kill switches** collide
if one call can meet both and they are not the same: it would be sent to two places, or refused and sent elsewhere. Two that
refuse never collide: whichever counts, the call is refused. Nor do a kill switch and an overlay: the switch counts. Two that send
calls to the same *entry point* do: there only the one that has not acted on the call yet acts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sipctl.control.overlays import FIELDS
from sipctl.control.ports import Observe
from sipctl.routing.snapshot import Destination, EntryPoint, Overlay, Switch, Topology

MAX_PLACES_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """What one of them touches, as its plan says."""

    entry_points: tuple[str, ...]  # some or all of whose calls it treats
    numbers: int  # of these
    told: str  # what becomes of the calls


def find(topology: Topology, kind: str) -> dict[str, Overlay | Switch]:
    """What the plan keeps ready, by name."""
    every: Iterable[Overlay | Switch] = topology.overlays if kind == "overlay" else topology.switches
    return {one.name: one for one in every}


# -- what one of them touches ----------------------------------------------------------------------------------------------------


def entry_points_of(topology: Topology, what: Overlay | Switch) -> tuple[int, ...]:
    """Indexes of the entry points some of whose calls it treats."""
    if isinstance(what, Overlay):
        if what.everywhere is not None:
            return tuple(range(len(topology.entry_points)))
        return tuple(sorted(index for index, _ in what.entry_points))
    return tuple(index for index, entry in enumerate(topology.entry_points) if _may_stop(topology, what, index, entry))


def _may_stop(topology: Topology, switch: Switch, index: int, entry: EntryPoint) -> bool:
    groups = [topology.groups[group] for group in entry.groups]
    return (
        (switch.entry_points is None or index in switch.entry_points)
        and _meet(switch.groups, entry.groups)
        and _meet(switch.trunks, entry.trunks)
        and _meet(switch.tenants, [side for group in groups for side in (group.primary, group.bcp)])
    )


def _meet(one: Collection[int] | None, two: Collection[int] | None) -> bool:
    """Have they something in common? None is everything."""
    return one is None or two is None or not set(one).isdisjoint(two)


def scopes(topology: Topology, numbers: Mapping[str, int]) -> dict[str, dict[str, Scope]]:
    """The scopes of all overlays and kill switches of a plan, by kind and name; made once per plan.

    Args:
        numbers: how many each entry point has.
    """
    found: dict[str, dict[str, Scope]] = {}
    for kind in FIELDS:
        for what in find(topology, kind).values():
            names = tuple(topology.entry_points[index].name for index in entry_points_of(topology, what))
            scope = Scope(names, sum(numbers.get(name, 0) for name in names), told(topology, what))
            found.setdefault(kind, {})[what.name] = scope
    return found


def calls_of(topology: Topology, what: Overlay | Switch, entry_points: Iterable[str], observed: Iterable[Observe]) -> int:
    """Calls up that would be treated so if they began now, and stay as they are; of a switch on trunks or tenants at most theirs.

    Args:
        entry_points: of its scope.
    """
    observed = tuple(observed)
    counts = [sum(one.entry_points.get(name, 0) for one in observed for name in entry_points)]
    if isinstance(what, Switch) and what.trunks is not None:
        trunks = [topology.trunks[index].name for index in what.trunks]
        counts.append(sum(one.trunks[name].calls for one in observed for name in trunks if name in one.trunks))
    if isinstance(what, Switch) and what.tenants is not None:
        counts.append(sum(one.tenants.get(topology.tenants[index].name, 0) for one in observed for index in what.tenants))
    return min(counts)


def _say_the_same(one: Destination, two: Destination) -> bool:
    """Is it all one which of them counts? At another entry point each may act that has not, so there it is not."""
    return one == two and one.entry_point is None


def places_of(what: Overlay | Switch) -> tuple[Destination, ...]:
    if isinstance(what, Switch):
        return (what.to,)
    every = (*(place for _, place in what.entry_points), what.everywhere)
    return tuple(dict.fromkeys(place for place in every if place is not None))


def told(topology: Topology, what: Overlay | Switch) -> str:
    """What becomes of its calls, for people."""
    words = list(dict.fromkeys(_place_words(topology, place) for place in places_of(what)))
    rest = f" and {len(words) - MAX_PLACES_TOLD} more" if len(words) > MAX_PLACES_TOLD else ""
    return "; ".join(words[:MAX_PLACES_TOLD]) + rest


def _place_words(topology: Topology, place: Destination) -> str:
    if place.refuse is not None:
        return f"refused with {place.refuse[0]}, cause {place.refuse[1]}"
    if place.entry_point is not None:
        return f"to entry point {topology.entry_points[place.entry_point].name}"
    assert place.tenant is not None
    dialling = f", dialling {place.called}" if place.called is not None else ""
    return f"to {topology.tenants[place.tenant].name}{dialling}"


# -- what may not be on together -------------------------------------------------------------------------------------------------


def collision(topology: Topology, one: Overlay | Switch, two: Overlay | Switch) -> str:
    """Why these two may not both be on, as a sentence; "" if they may: then no call's way depends on which counts first."""
    if isinstance(one, Overlay) and isinstance(two, Overlay):
        ours, theirs = dict(one.entry_points), dict(two.entry_points)
        for index, entry in enumerate(topology.entry_points):
            first, second = ours.get(index, one.everywhere), theirs.get(index, two.everywhere)
            if first is not None and second is not None and not _say_the_same(first, second):
                return f"overlays {one.name} and {two.name} both say where calls to {entry.name} go"
        return ""
    if not (isinstance(one, Switch) and isinstance(two, Switch)):
        return ""
    if _say_the_same(one.to, two.to) or (one.to.refuse is not None and two.to.refuse is not None):
        return ""
    shared = set(entry_points_of(topology, one)) & set(entry_points_of(topology, two))
    if not shared or not all(_meet(getattr(one, what), getattr(two, what)) for what in ("trunks", "tenants", "groups")):
        return ""
    example = topology.entry_points[min(shared)].name
    return f"switches {one.name} and {two.name} can meet in one call, such as to {example}, and only one can count"
