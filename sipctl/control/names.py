"""Names the plan and the calls need, kept resolved: answers live by their TTL, the last good one for as long as DNS is down.

Who sees what: the controller says which names are wanted; whenever the answers differ from before it is told all of them, whole.
A bad answer of one name harms no other. An address is refused if it is our own, if it is loopback while we do not listen on
loopback, or if no listen of the pair speaks its transport and family: a router would have to refuse the whole snapshot for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from sipctl.control.dns import DnsError, Located, Place, Resolver, locate, srv_target
from sipctl.errors import StoreError
from sipctl.routing.snapshot import Listen, ResolvedSbc, SbcId, SbcPair, Topology

MIN_TTL_S: Final = 5.0
MAX_TTL_S: Final = 300.0
RETRY_S: Final = 10.0
MAX_NAMES: Final = 1024  # of remote targets; the plan's own names have no limit but the plan's
UNWANTED_S: Final = 3600.0
PARALLEL: Final = 16

Answers = Mapping[str, tuple[ResolvedSbc, ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One name of the plan: of a pair's `srv`, or of an SBC whose uri holds a name."""

    key: str  # pair or SBC name
    pair: str
    host: str
    port: int | None
    transport: str | None
    listens: tuple[Listen, ...]
    is_srv: bool
    priority: int = 1
    weight: int = 100


@dataclass(slots=True)
class _Entry:
    """What is known of one name."""

    places: tuple[Place, ...] = ()
    next_s: float = 0.0
    fault: str = ""
    wanted_s: float = 0.0


@dataclass(slots=True)
class Names:
    """The keeper of names.

    Args:
        allocate: gives each new SBC name its numeric id, stored for ever before it is used.
        changed: told (resolved, names) when they differ from before.
        failed: told the faults, name → sentence, when they differ from before.
    """

    resolver: Resolver
    mono_s: Callable[[], float]
    allocate: Callable[[Iterable[str]], Awaitable[Mapping[str, int]]]
    changed: Callable[[Answers, Mapping[str, tuple[str, ...]]], None]
    failed: Callable[[Mapping[str, str]], None]
    resolved: Answers = field(default_factory=dict)  # last good answers of the time before a restart
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: int = 0  # addresses that were not taken
    _topology: Topology | None = None
    _plan: dict[str, _Entry] = field(default_factory=dict)
    _free: dict[str, _Entry] = field(default_factory=dict)
    _faults: Mapping[str, str] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def want_plan(self, topology: Topology) -> None:
        if topology is not self._topology:
            self._topology = topology
            self._wake.set()

    def want(self, names: Iterable[str]) -> None:
        """FQDNs of remote targets that routers saw; kept for an hour after the last time."""
        now_s = self.mono_s()
        for name in names:
            known = self._free.get(name)
            if known is not None:
                known.wanted_s = now_s
            elif len(self._free) < MAX_NAMES:
                self._free[name] = _Entry(wanted_s=now_s)
                self._wake.set()

    async def run(self) -> None:
        """Keep all names resolved, for ever."""
        while True:
            self._wake.clear()
            await self.refresh()
            wait_s = max(0.2, self._next_s() - self.mono_s())
            try:
                await asyncio.wait_for(self._wake.wait(), wait_s)
            except TimeoutError:
                continue

    async def refresh(self) -> None:
        """Look up what is due, and tell what is new."""
        if self._topology is None:
            return
        now_s = self.mono_s()
        wanted = wanted_of(self._topology)
        self._plan = {key: self._plan.get(key, _Entry()) for key in wanted}
        self._free = {name: entry for name, entry in self._free.items() if now_s - entry.wanted_s < UNWANTED_S}
        gate = asyncio.Semaphore(PARALLEL)
        due = [self._look_up(gate, entry, wanted[key]) for key, entry in self._plan.items() if entry.next_s <= now_s]
        due += [self._look_up(gate, entry, name) for name, entry in self._free.items() if entry.next_s <= now_s]
        if not due:
            return
        await asyncio.gather(*due)
        await self._tell(wanted)

    def _next_s(self) -> float:
        entries = (*self._plan.values(), *self._free.values())
        return min((entry.next_s for entry in entries), default=self.mono_s() + MAX_TTL_S)

    async def _look_up(self, gate: asyncio.Semaphore, entry: _Entry, what: Wanted | str) -> None:
        async with gate:
            try:
                if isinstance(what, str):
                    found = await locate(self.resolver, what, 5060, None)
                else:
                    found = self._usable(what, await locate(self.resolver, what.host, what.port, what.transport))
            except DnsError as failure:
                entry.next_s = self.mono_s() + RETRY_S
                entry.fault = f"{failure.detail}; " + ("the last good answer is used" if entry.places else "there is no address")
                return
            entry.places, entry.fault = found.places, ""
            entry.next_s = self.mono_s() + min(max(found.ttl_s, MIN_TTL_S), MAX_TTL_S)

    def _usable(self, wanted: Wanted, found: Located) -> Located:
        assert self._topology is not None
        listens = self._topology.listens
        good = tuple(place for place in found.places if _is_usable(place, wanted, listens))
        self.refused += len(found.places) - len(good)
        if not good:
            raise DnsError(f"{wanted.host} leads to no address we can use: {', '.join(one.host for one in found.places)}")
        return Located(good, found.ttl_s)

    async def _tell(self, wanted: Mapping[str, Wanted]) -> None:
        resolved: dict[str, tuple[ResolvedSbc, ...]] = {}
        for key, entry in self._plan.items():
            try:
                if entry.places:
                    resolved[key] = await self._named(wanted[key], entry.places)
                    continue
            except StoreError as error:
                entry.fault = f"a new SBC's id could not be written: {error.detail}"
                entry.next_s = self.mono_s() + RETRY_S
            if key in self.resolved:
                resolved[key] = self.resolved[key]  # good before the restart or the failure
        names = {name: tuple(place.host for place in entry.places) for name, entry in self._free.items() if entry.places}
        if resolved != self.resolved or names != self.names:
            self.resolved, self.names = resolved, names
            self.changed(resolved, names)
        faults = {key: f"DNS: {entry.fault}" for key, entry in self._plan.items() if entry.fault}
        if faults != self._faults:
            self._faults = faults
            self.failed(faults)

    async def _named(self, wanted: Wanted, places: tuple[Place, ...]) -> tuple[ResolvedSbc, ...]:
        """Each address as an SBC: of an SRV named by pair and address; the first of an SBC's own name keeps that name."""
        kept = {(one.host, one.port): one.name for one in self.resolved.get(wanted.key, ())}
        names: list[str] = []
        ordered = sorted(places, key=lambda place: kept.get((place.host, place.port)) != wanted.key)
        for index, place in enumerate(ordered):
            host = f"[{place.host}]" if ":" in place.host else place.host
            over = "" if place.transport == "udp" else f";{place.transport}"
            own_name = not wanted.is_srv and index == 0
            names.append(wanted.key if own_name else f"{wanted.pair}/{host}:{place.port}{over}")
        ids = await self.allocate(names)
        return tuple(
            ResolvedSbc(
                SbcId(ids[name]), name, place.host, place.port, place.transport,
                place.priority if wanted.is_srv else wanted.priority, place.weight if wanted.is_srv else wanted.weight,
            )
            for name, place in zip(names, ordered, strict=True)
        )


def wanted_of(topology: Topology) -> dict[str, Wanted]:
    """Every name the plan needs, by the key its answers are published under."""
    found: dict[str, Wanted] = {}
    for pair in topology.pairs:
        listens = _listens(topology, pair)
        if pair.srv is not None:
            try:
                host, port, transport = srv_target(pair.srv)
            except DnsError:  # the plan's check names it; here it must harm no other name
                continue
            found[pair.name] = Wanted(pair.name, pair.name, host, port, transport, listens, is_srv=True)
        for index in pair.sbcs:
            sbc = topology.sbcs[index]
            if not sbc.host and sbc.uri_host:
                found[sbc.name] = Wanted(
                    sbc.name, pair.name, sbc.uri_host.strip("[]"), sbc.port, sbc.transport, listens, is_srv=False,
                    priority=sbc.priority, weight=sbc.weight,
                )
    return found


def _listens(topology: Topology, pair: SbcPair) -> tuple[Listen, ...]:
    return tuple(topology.listens[index] for index in pair.listens) or topology.listens


def _is_usable(place: Place, wanted: Wanted, ours: tuple[Listen, ...]) -> bool:
    address = ip_address(place.host)
    if address.is_unspecified or address.is_multicast:
        return False
    if address.is_loopback and not any(_is_loopback(listen.host) for listen in ours):
        return False
    if any(place.port in (listen.port, listen.advertise_port) and place.host in (listen.host, listen.advertise_host)
           for listen in ours):
        return False
    return any(
        listen.transport == place.transport and (":" in listen.host) == (":" in place.host) for listen in wanted.listens
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
