"""RoutingSnapshot: a table and a state joined, checked once, and read by every call until the next one replaces it.

Whoever holds a snapshot holds all of it: nothing in it changes, and nothing in it points outside. The state speaks of entities
by name, because it outlives tables: a wish about an SBC that this plan does not know is kept by the controller and ignored here.
What must fit, must fit exactly: the table's hash and revision, references by index, ids used once, the signing key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sipctl.errors import SnapshotError
from sipctl.routing.addresses import Networks, address_of, plain_host
from sipctl.routing.canary import canary_state, with_ids
from sipctl.routing.integrity import dangling, misfits
from sipctl.routing.judged import Judged, judged_entries
from sipctl.routing.select import Target, make_targets
from sipctl.routing.snapshot import (
    Admin,
    Decision,
    EntryPoint,
    Group,
    Listen,
    ResolvedSbc,
    Retired,
    RoutingState,
    Sbc,
    SbcPair,
    Site,
    Tenant,
    Topology,
    Trunk,
)
from sipctl.routing.table import Table

_HINT: Final = "the older snapshot is used"


@dataclass(frozen=True, slots=True)
class Party:
    """Who a source address is (CALLS 1.1); it may be several at once."""

    trunks: tuple[int, ...] = ()  # candidates for `match`, most conditions first
    sbc: int | None = None
    pair: int | None = None  # of `sbc`, or known by the pair's `sources` alone
    retired: tuple[Retired, ...] = ()  # in-dialog requests and responses only


class RoutingSnapshot:
    """Everything a call needs to know; made by `build`, never changed."""

    __slots__ = (
        "_pair_networks",
        "_retired_networks",
        "_sbc_by_address",
        "_sbc_by_host",
        "_tenant_hosts",
        "_trunk_networks",
        "canary",
        "decision",
        "doubtful",
        "entry_point_by_id",
        "entry_points",
        "group_by_id",
        "groups",
        "judged",
        "listens",
        "max_call_age_s",
        "node",
        "node_admin",
        "pairs",
        "retired_by",
        "revision",
        "sbc_admin",
        "sbc_by_id",
        "sbc_index",
        "sbcs",
        "seq",
        "sites",
        "state",
        "table",
        "targets",
        "tenant_admin",
        "tenant_by_id",
        "tenants",
        "tenants_of_sbc",
        "term",
        "trunk_admin",
        "trunk_by_id",
        "trunk_index",
        "trunks",
    )

    term: int
    seq: int
    revision: int
    node: str
    state: RoutingState
    table: Table
    canary: RoutingSnapshot | None  # the revision that takes a share of the callers; state.canary has the share
    sites: tuple[Site, ...]
    listens: tuple[Listen, ...]
    trunks: tuple[Trunk, ...]
    sbcs: tuple[Sbc, ...]  # the plan's, then those DNS gave
    pairs: tuple[SbcPair, ...]
    tenants: tuple[Tenant, ...]
    groups: tuple[Group, ...]
    entry_points: tuple[EntryPoint, ...]
    max_call_age_s: float
    trunk_by_id: dict[int, int]  # numeric id → index
    sbc_by_id: dict[int, int]
    tenant_by_id: dict[int, int]
    group_by_id: dict[int, int]
    entry_point_by_id: dict[int, int]
    trunk_index: dict[str, int]  # name → index
    sbc_index: dict[str, int]
    retired_by: dict[tuple[str, int], Retired]  # ("trunk" | "sbc", id)
    tenants_of_sbc: tuple[tuple[int, ...], ...]  # tenant indexes, by SBC index
    decision: tuple[Decision, ...]  # by group index
    judged: tuple[Judged | None, ...]  # by entry point index; None: its calls go to its group at once
    sbc_admin: tuple[int, ...]  # Admin, by index
    doubtful: frozenset[int]  # indexes of SBCs that come last within their pair
    tenant_admin: tuple[int, ...]
    trunk_admin: tuple[int, ...]
    node_admin: int
    targets: tuple[tuple[tuple[tuple[Target, ...], ...], ...], ...]  # [tenant][side][reach]: SBCs in order of priority

    @classmethod
    def build(cls, table: Table, state: RoutingState, canary_table: Table | None = None) -> RoutingSnapshot:
        """Join and check.

        Args:
            canary_table: the table of `state.canary`; None: no canary is on, or its table is not there, and nobody is its caller.
        Raises: SnapshotError naming everything that does not fit, not only the first.
        Cost: some 10 µs for each SBC and source; the numbers are not touched.
        """
        wrong = misfits(table, state)
        topology = table.topology
        sbcs, pairs, more = _join_resolved(topology, state)
        wrong += more
        wrong += dangling(topology, pairs, sbcs)
        if wrong:
            raise SnapshotError("the snapshot does not fit together: " + "; ".join(wrong), hint=_HINT)
        self = cls.__new__(cls)
        self.term, self.seq, self.revision, self.node = state.term, state.seq, topology.revision, topology.node
        self.state, self.table = state, table
        self.sites, self.listens, self.trunks = topology.sites, topology.listens, topology.trunks
        self.sbcs, self.pairs, self.tenants = sbcs, pairs, topology.tenants
        self.groups, self.entry_points = topology.groups, topology.entry_points
        self.max_call_age_s = topology.max_call_age_s
        self._index()
        self._apply_state()
        self.judged = judged_entries(topology, state)
        self.targets = make_targets(sbcs, pairs, topology.tenants, topology.listens)
        self._address_book()
        self.canary = None
        if state.canary is not None and canary_table is not None:
            self.canary = cls.build(with_ids(canary_table, state.canary.sbc_ids), canary_state(state, state.canary))
        return self

    # -- who is it? ------------------------------------------------------------------------------------------------------------

    def identify(self, host: str, port: int, listen: int | None, stream: bool) -> Party | None:
        """Who sends from this address, before anything is parsed (CALLS 1.1); None: a stranger.

        Args:
            host: as the socket gives it; IPv4-mapped addresses are unmapped, zones ignored.
            listen: index of the Listen it came in on; None: any.
            stream: over a connection, so the port says nothing.
        Cost: about 10 µs; the core remembers the answer.
        """
        address = address_of(host)
        if address is None:
            return None
        name = str(address)
        sbc = self._sbc_by_host.get(name) if stream else self._sbc_by_address.get((name, port))
        if sbc is not None:
            pair: int | None = self.sbcs[sbc].pair
        else:
            found = self._pair_networks.longest(address)
            pair = found[0] if found else None
        trunks = self._trunks_at(address, listen)
        retired = tuple(kept for kept, networks in self._retired_networks if kept.host == name or networks.longest(address))
        if sbc is None and pair is None and not trunks and not retired:
            return None
        return Party(trunks, sbc, pair, retired)

    def trunk_allows(self, trunk_id: int, host: str) -> bool:
        """Whether an address belongs to a trunk, numeric id, retired ones included; ports never matter."""
        address = address_of(host)
        if address is None:
            return False
        index = self.trunk_by_id.get(trunk_id)
        if index is not None and any(index in holders for holders in self._trunk_networks.all(address)):
            return True
        return self._retired_allows("trunk", address, trunk_id)

    def tenant_allows(self, tenant_id: int, host: str) -> bool:
        """Whether an address belongs to an SBC of a tenant or to the `sources` of its pairs, retired ones included."""
        address = address_of(host)
        if address is None:
            return False
        index = self.tenant_by_id.get(tenant_id)
        if index is not None:
            if str(address) in self._tenant_hosts[index]:
                return True
            pairs = {reach.pair for reach in self.tenants[index].reached_by}
            if any(pair in pairs for holders in self._pair_networks.all(address) for pair in holders):
                return True
        return self._retired_allows("sbc", address, tenant_id)

    def _retired_allows(self, kind: str, address: IPv4Address | IPv6Address, wanted: int) -> bool:
        for kept, networks in self._retired_networks:
            theirs = (kept.id,) if kind == "trunk" else kept.tenants
            if kept.kind == kind and wanted in theirs and (kept.host == str(address) or networks.longest(address)):
                return True
        return False

    def _trunks_at(self, address: IPv4Address | IPv6Address, listen: int | None) -> tuple[int, ...]:
        for holders in self._trunk_networks.all(address):
            here = [index for index in holders if listen is None or listen in self.trunks[index].listens]
            if here:
                return tuple(sorted(here, key=lambda index: (-self.trunks[index].match.conditions, index)))
        return ()

    # -- built once ------------------------------------------------------------------------------------------------------------

    def _index(self) -> None:
        self.trunk_by_id = {int(trunk.id): index for index, trunk in enumerate(self.trunks)}
        self.sbc_by_id = {int(sbc.id): index for index, sbc in enumerate(self.sbcs)}
        self.tenant_by_id = {int(tenant.id): index for index, tenant in enumerate(self.tenants)}
        self.group_by_id = {int(group.id): index for index, group in enumerate(self.groups)}
        self.entry_point_by_id = {int(entry.id): index for index, entry in enumerate(self.entry_points)}
        self.trunk_index = {trunk.name: index for index, trunk in enumerate(self.trunks)}
        self.sbc_index = {sbc.name: index for index, sbc in enumerate(self.sbcs)}
        serving: list[list[int]] = [[] for _ in self.sbcs]
        for index, tenant in enumerate(self.tenants):
            for reach in tenant.reached_by:
                for sbc in self.pairs[reach.pair].sbcs:
                    if index not in serving[sbc]:
                        serving[sbc].append(index)
        self.tenants_of_sbc = tuple(tuple(tenants) for tenants in serving)

    def _apply_state(self) -> None:
        state = self.state
        self.decision = tuple(state.decisions.get(group.name, Decision()) for group in self.groups)
        self.sbc_admin = tuple(int(state.sbc_admin.get(sbc.name, Admin.ENABLED)) for sbc in self.sbcs)
        self.doubtful = frozenset(index for index, sbc in enumerate(self.sbcs) if sbc.name in state.doubtful)
        self.tenant_admin = tuple(int(state.tenant_admin.get(tenant.name, Admin.ENABLED)) for tenant in self.tenants)
        self.trunk_admin = tuple(int(state.trunk_admin.get(trunk.name, Admin.ENABLED)) for trunk in self.trunks)
        self.node_admin = int(state.node_admin)
        self.retired_by = {(kept.kind, kept.id): kept for kept in state.retired}

    def _address_book(self) -> None:
        ports: list[set[int]] = [{sbc.port} for sbc in self.sbcs]
        self._tenant_hosts = tuple(set[str]() for _ in self.tenants)
        for index, tenant in enumerate(self.tenants):
            for reach in tenant.reached_by:
                for sbc in self.pairs[reach.pair].sbcs:
                    ports[sbc].add(reach.port or self.sbcs[sbc].port)
                    self._tenant_hosts[index].add(plain_host(self.sbcs[sbc].host))
        self._sbc_by_address: dict[tuple[str, int], int] = {}
        self._sbc_by_host: dict[str, int] = {}
        streams_first = sorted(range(len(self.sbcs)), key=lambda index: self.sbcs[index].transport == "udp")
        for index in streams_first:
            self._sbc_by_host.setdefault(plain_host(self.sbcs[index].host), index)
        for index, sbc_ in enumerate(self.sbcs):
            for port in sorted(ports[index]):
                self._sbc_by_address.setdefault((plain_host(sbc_.host), port), index)
        self._trunk_networks = Networks()
        for index, trunk in enumerate(self.trunks):
            self._trunk_networks.add_all(trunk.sources, index)
        for name, network, _ in self.state.extra_sources:
            if name in self.trunk_index:
                self._trunk_networks.add_all((network,), self.trunk_index[name])
        self._pair_networks = Networks()
        for index, pair in enumerate(self.pairs):
            self._pair_networks.add_all(pair.sources, index)
        kept_networks = []
        for kept in self.state.retired:
            networks = Networks()
            networks.add_all(kept.networks, 0)
            kept_networks.append((replace(kept, host=plain_host(kept.host)), networks))
        self._retired_networks = tuple(kept_networks)


def _join_resolved(topology: Topology, state: RoutingState) -> tuple[tuple[Sbc, ...], tuple[SbcPair, ...], list[str]]:
    """SBCs and pairs with what DNS gave: an address for a named SBC, further SBCs for further addresses and for `srv`."""
    wrong: list[str] = []
    sbcs = list(topology.sbcs)
    pairs = list(topology.pairs)
    for index, pair in enumerate(pairs):
        members = list(pair.sbcs)
        gone = [member for member in members if not 0 <= member < len(topology.sbcs)]
        if gone:
            wrong.append(f"pair {pair.name} names no SBC: {gone}")
            continue
        sources = [state.resolved.get(pair.name, ())] if pair.srv else []
        sources += [state.resolved.get(sbcs[member].name, ()) for member in pair.sbcs if not sbcs[member].host]
        names = {sbcs[member].name: member for member in pair.sbcs}
        for answer in (answer for answers in sources for answer in answers):
            listen = _listen_for(topology, pair, answer)
            if listen is None:
                wrong.append(f"SBC {answer.name} of pair {pair.name}: no listen speaks {answer.transport} to {answer.host}")
            elif answer.name in names:
                at = names[answer.name]
                sbcs[at] = replace(sbcs[at], host=answer.host, port=answer.port, transport=answer.transport, listen=listen)
            else:
                members.append(len(sbcs))
                sbcs.append(_resolved_sbc(answer, index, listen))
        order = sorted(members, key=lambda member: sbcs[member].priority)
        pairs[index] = replace(pair, sbcs=tuple(order))
    return tuple(sbcs), tuple(pairs), wrong


def _resolved_sbc(answer: ResolvedSbc, pair: int, listen: int) -> Sbc:
    uri_host = f"[{answer.host}]" if ":" in answer.host else answer.host
    return Sbc(
        id=answer.id,
        name=answer.name,
        pair=pair,
        listen=listen,
        host=answer.host,
        port=answer.port,
        transport=answer.transport,
        uri_host=uri_host,
        priority=answer.priority,
        weight=answer.weight,
    )


def _listen_for(topology: Topology, pair: SbcPair, answer: ResolvedSbc) -> int | None:
    for index in pair.listens or range(len(topology.listens)):
        listen = topology.listens[index]
        if listen.transport == answer.transport and (":" in listen.host) == (":" in answer.host):
            return index
    return None
