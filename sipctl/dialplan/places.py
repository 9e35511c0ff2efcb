"""Places a call may be sent to instead of its group, as the topology holds them.

An SBC pair that takes calls for itself, and an exit, become tenants of their own (`pair:NAME`, `exit:NAME`): whatever holds for
calls to a tenant (tokens, records, counts, limits, admin states) then holds for them without another rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sipctl.dialplan.load import Draft
from sipctl.model.numbers import strip_separators
from sipctl.model.treatments import EVERYWHERE, OverlayModel, SwitchModel, ToModel, TreatmentModel
from sipctl.routing.snapshot import Destination, Overlay, Switch

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class StandIn:
    """A tenant that stands for a pair or an exit."""

    name: str
    kind: str  # pair | exit
    pair: str
    max_calls: int | None


class Places:
    """Names to indexes, for everything a call may be sent to.

    Args:
        tenants: how many tenants the plan itself has; stand-ins come after them.
    """

    __slots__ = ("_entry_points", "_tenants", "stand_ins")

    def __init__(self, draft: Draft, tenants: int) -> None:
        self._entry_points = {name: index for index, name in enumerate(draft.entry_points)}
        exits = [StandIn(f"exit:{name}", "exit", model.sbc_pair, model.max_calls) for name, model in draft.exits.items()]
        pairs = dict.fromkeys(to.sbc_pair for _, to in sent_to(draft) if to.sbc_pair is not None)
        self.stand_ins = (*exits, *(StandIn(f"pair:{name}", "pair", name, None) for name in pairs))
        self._tenants = {one.name: tenants + index for index, one in enumerate(self.stand_ins)}

    def exit(self, name: str) -> int:
        """The tenant that stands for an exit."""
        return self._tenants[f"exit:{name}"]

    def destination(self, to: ToModel) -> Destination:
        """Where `to` leads."""
        if to.entry_point is not None:
            return Destination(entry_point=self._entry_points[to.entry_point], called=to.called)
        if to.sbc_pair is not None:
            return Destination(tenant=self._tenants[f"pair:{to.sbc_pair}"], called=to.called)
        assert to.number is not None and to.exit is not None
        return Destination(tenant=self.exit(to.exit), called=strip_separators(to.number))

    def treatment(self, model: TreatmentModel) -> Destination:
        """Where a treatment leads, or how it refuses."""
        return Destination(refuse=model.refusal) if model.to is None else self.destination(model.to)

    def overlay(self, name: str, model: OverlayModel) -> Overlay:
        """An overlay with indexes for names."""
        named = {entry: self.treatment(treatment) for entry, treatment in model.entry_points.items()}
        everywhere = named.pop(EVERYWHERE, None)
        return Overlay(name, tuple((self._entry_points[entry], to) for entry, to in named.items()), everywhere)

    def switch(
        self,
        name: str,
        model: SwitchModel,
        groups: Mapping[str, int],
        trunks: Mapping[str, int],
        tenants: Mapping[str, int],
    ) -> Switch:
        """A kill switch with indexes for names."""
        match = model.match
        return Switch(
            name,
            self.treatment(model),
            _indexes(match.entry_point, self._entry_points),
            _indexes(match.group, groups),
            _indexes(match.trunk, trunks),
            _indexes(match.tenant, tenants),
        )


def _indexes(names: tuple[str, ...] | None, index: Mapping[str, int]) -> tuple[int, ...] | None:
    return None if names is None else tuple(index[name] for name in names)


def sent_to(draft: Draft) -> Iterator[tuple[Keys, ToModel]]:
    """(path of keys, place) of everything in a plan that sends calls elsewhere, in its order."""
    for name, entry in draft.entry_points.items():
        if entry.closed is not None and entry.closed.to is not None:
            yield ("entry_points", name, "closed", "to"), entry.closed.to
        for at, to in enumerate(entry.overflow):
            yield ("entry_points", name, "overflow", at), to
        if entry.unusable is not None and entry.unusable.to is not None:
            yield ("entry_points", name, "unusable", "to"), entry.unusable.to
    for name, overlay in draft.overlays.items():
        for place, treatment in overlay.entry_points.items():
            if treatment.to is not None:
                yield ("overlays", name, "entry_points", place, "to"), treatment.to
    for name, switch in draft.switches.items():
        if switch.to is not None:
            yield ("switches", name, "to"), switch.to
