"""What must fit before a snapshot is used: every reference points somewhere, every id and name is used once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sipctl.routing.addresses import is_network
from sipctl.routing.snapshot import Destination, RoutingState, Sbc, SbcPair, Topology
from sipctl.routing.table import Table


class _Named(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...


def misfits(table: Table, state: RoutingState) -> list[str]:
    topology = table.topology
    wrong = []
    if state.table != table.hash:
        wrong.append(f"the state is meant for table {state.table[:12] or '(none)'}, this is {table.hash[:12]}")
    if state.revision != topology.revision:
        wrong.append(f"the state is for revision {state.revision}, the table holds {topology.revision}")
    if state.keys and state.signing_key not in {key.id for key in state.keys}:
        wrong.append(f"signing key {state.signing_key} is not in the key ring")
    for what, networks in (
        *((f"retired {kept.kind} {kept.name}", kept.networks) for kept in state.retired),
        *((f"extra source of {name}", (network,)) for name, network, _ in state.extra_sources),
        *((f"trunk {trunk.name}", trunk.sources) for trunk in topology.trunks),
        *((f"pair {pair.name}", pair.sources) for pair in topology.pairs),
    ):
        wrong += [f"{what}: {network} is no network" for network in networks if not is_network(network)]
    return wrong


def dangling(topology: Topology, pairs: tuple[SbcPair, ...], sbcs: tuple[Sbc, ...]) -> list[str]:
    """Every reference that points nowhere and every id or name used twice."""
    wrong: list[str] = []

    def check(what: str, indexes: Iterable[int], kind: str, count: int) -> None:
        wrong.extend(f"{what} names {kind} {index} of {count}" for index in indexes if not 0 <= index < count)

    sites, listens, tenants = len(topology.sites), len(topology.listens), len(topology.tenants)
    for site in topology.sites:
        check(f"site {site.name}", site.fallback, "site", sites)
    for trunk in topology.trunks:
        check(f"trunk {trunk.name}", (trunk.site,), "site", sites)
        check(f"trunk {trunk.name}", trunk.listens, "listen", listens)
    for pair in pairs:
        check(f"pair {pair.name}", (pair.site,), "site", sites)
        check(f"pair {pair.name}", pair.listens, "listen", listens)
    for sbc in sbcs:
        check(f"SBC {sbc.name}", (sbc.pair,), "pair", len(pairs))
        check(f"SBC {sbc.name}", (sbc.listen,), "listen", listens)
    for tenant in topology.tenants:
        check(f"tenant {tenant.name}", (reach.pair for reach in tenant.reached_by), "pair", len(pairs))
    for group in topology.groups:
        check(f"group {group.name}", (group.primary, group.bcp), "tenant", tenants)
    for entry in topology.entry_points:
        check(f"entry point {entry.name}", (entry.group,), "group", len(topology.groups))
        check(f"entry point {entry.name}", entry.trunks or (), "trunk", len(topology.trunks))
    _check_places(topology, check)
    kinds: tuple[tuple[str, Sequence[_Named]], ...]
    kinds = (
        ("trunk", topology.trunks),
        ("SBC", sbcs),
        ("tenant", topology.tenants),
        ("group", topology.groups),
        ("entry point", topology.entry_points),
    )
    for kind, entities in kinds:
        wrong += [f"two {kind}s have id {number}" for number in _twice(int(entity.id) for entity in entities)]
        wrong += [f"two {kind}s are called {name}" for name in _twice(entity.name for entity in entities)]
    return wrong


def _check_places(topology: Topology, check: Callable[[str, Iterable[int], str, int], None]) -> None:
    """Schedules, splits, exits, overlays, kill switches and all they lead to."""
    groups, entries, tenants = len(topology.groups), len(topology.entry_points), len(topology.tenants)

    def check_place(what: str, place: Destination | None) -> None:
        if place is not None:
            check(what, () if place.entry_point is None else (place.entry_point,), "entry point", entries)
            check(what, () if place.tenant is None else (place.tenant,), "tenant", tenants)

    for schedule in topology.schedules:
        check(f"schedule {schedule.name}", (schedule.zone,), "zone", len(topology.zones))
    for entry in topology.entry_points:
        what = f"entry point {entry.name}"
        check(what, (group for group, _ in entry.split), "group", groups)
        check(what, () if entry.schedule is None else (entry.schedule,), "schedule", len(topology.schedules))
        for place in (entry.closed, *entry.overflow, entry.unusable):
            check_place(what, place)
    for exit_ in topology.exits:
        check(f"exit {exit_.name}", (exit_.tenant,), "tenant", tenants)
    for overlay in topology.overlays:
        check(f"overlay {overlay.name}", (index for index, _ in overlay.entry_points), "entry point", entries)
        for place in (overlay.everywhere, *(place for _, place in overlay.entry_points)):
            check_place(f"overlay {overlay.name}", place)
    for switch in topology.switches:
        what = f"switch {switch.name}"
        check_place(what, switch.to)
        check(what, switch.entry_points or (), "entry point", entries)
        check(what, switch.groups or (), "group", groups)
        check(what, switch.trunks or (), "trunk", len(topology.trunks))
        check(what, switch.tenants or (), "tenant", tenants)


def _twice(values: Iterable[str | int]) -> list[str | int]:
    seen: set[str | int] = set()
    again: list[str | int] = []
    for value in values:
        if value in seen:
            again.append(value)
        seen.add(value)
    return again
