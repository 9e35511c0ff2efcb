"""The plan of the simulated world: two carriers, two tenants at two sites with an SBC pair each, and edits of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.numbers import EXACT_TEXT, Numbers, key_of
from sipctl.routing.snapshot import (
    Decision,
    Destination,
    EntryPoint,
    EntryPointId,
    Group,
    GroupId,
    Listen,
    Overlay,
    Probe,
    Reach,
    Retired,
    RoutingState,
    Sbc,
    SbcId,
    SbcPair,
    SendRules,
    SigningKey,
    Site,
    Switch,
    Tenant,
    TenantId,
    Topology,
    Trunk,
    TrunkId,
)
from sipctl.routing.table import Table, encode_table, load_table
from sipctl.testing.wire import Address
from tests.support import wide_plan as wide

OUTSIDE: Final[Address] = ("203.0.113.9", 5060)
INSIDE: Final[Address] = ("10.1.0.5", 5060)
CARRIER_ONE: Final[Address] = ("198.51.100.1", 5060)
CARRIER_TWO: Final[Address] = ("198.51.100.33", 5060)
STRANGER: Final[Address] = ("192.0.2.66", 5060)
FRA_A: Final[Address] = ("10.4.1.11", 5060)
FRA_B: Final[Address] = ("10.4.1.12", 5060)
AMS_A: Final[Address] = ("10.5.1.11", 5060)
AMS_B: Final[Address] = ("10.5.1.12", 5060)
SBC_ADDRESS: Final = {"fra-a": FRA_A, "fra-b": FRA_B, "ams-a": AMS_A, "ams-b": AMS_B}
ANN_ADDRESS: Final[dict[str, Address]] = {"ann-a": ("10.6.1.11", 5060), "ann-b": ("10.6.1.12", 5060)}  # plays announcements
ANN: Final = "pair:ann"  # its stand-in among the tenants
SECOND_PORT: Final = 5070  # tenants of the second group stand behind the same pairs, at this port
SALES: Final = "+4930901820"
SALES_AT_BCP: Final = "+31205550120"
SERVICE: Final = "+4930901830"  # only carrier-one may call it, 3 calls at most
SECOND: Final = "+4930901840"  # of the group "beta": two more tenants behind the same pairs, told apart by port
REVERSED: Final = "+4930901850"  # of the group "gamma": acme's tenants, the other way round
GROUP: Final = "acme"
PROBE: Final = Probe()
KEYS: Final = (SigningKey(1, bytes(range(32))), SigningKey(2, bytes(range(32, 64))))
TRUNKS: Final = ((11, "carrier-one", "198.51.100.0", 28), (12, "carrier-two", "198.51.100.32", 28))
PAIRS: Final = ("fra", "ams")
SENDS: Final = {
    "fra": SendRules(
        set_headers=(("X-Entry-Point", "{entry_point} {called} {calling} {sbc}"),), diversion="dialled", uui="strip"
    ),
    "ams": SendRules(set_headers=(("X-Tenant", "{tenant}"),), diversion="history-info", identity="strip"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What scenarios vary; `without` names SBCs and trunks an edit removed."""

    revision: int = 1
    shared_dialogs: bool = False
    symmetric: bool = False
    advance_across: str = "to-bcp"
    tcp_trunks: bool = False  # the carriers come over TCP
    tcp_sbcs: bool = False  # the BCP tenant's SBCs are spoken to over TCP
    v6_trunks: bool = False  # the carriers' side speaks IPv6
    v6_sbcs: bool = False  # the SBCs' side speaks IPv6
    more_groups: bool = False  # three groups over four tenants, two of them behind one pair by port
    probe: Probe | None = PROBE
    no_progress_s: float = 6.0
    exhausted: int = 503
    strategy: str = "active-standby"
    sbc_max_calls: int | None = None
    trunk_max_calls: int | None = None
    tenant_max_calls: int | None = None
    max_call_age_s: float = 43200.0
    without: frozenset[str] = frozenset()
    contacts: str = "address"  # what SBCs write there: or a name that is "known", is "asked" for, or stays "unknown"
    hold_off_s: float = 5.0
    failback: str = "manual"
    hold_down_s: float = 300.0
    ramp: tuple[int, ...] = (10, 50, 100)
    ramp_step_s: float = 120.0
    wide: int = 0  # that many groups in place of the usual ones, each tenant with a pair of its own (wide_plan)
    wide_shares_sites: bool = False  # all primaries at one site and all BCPs at another; else each tenant at its own
    ready: bool = False  # overlays and kill switches are kept ready, and a pair that plays announcements
    sends: bool = False  # INVITEs leave in another form, with headers of ours and without some of the caller's


# -- where everybody stands ----------------------------------------------------------------------------------------------------


def outside_of(plan: Plan, address: Address) -> Address:
    """An address on the carriers' side in the family that side speaks."""
    return (_v6(address[0]), address[1]) if plan.v6_trunks else address


def inside_of(plan: Plan, address: Address) -> Address:
    """An address on the SBCs' side in the family that side speaks."""
    return (_v6(address[0]), address[1]) if plan.v6_sbcs else address


def doors(plan: Plan) -> dict[str, tuple[Address, str]]:
    """Every signalling address of every SBC by the name of who stands there, and the tenant that is behind it."""
    if plan.wide:
        return wide.wide_doors(plan)
    found: dict[str, tuple[Address, str]] = {}
    for name, address in SBC_ADDRESS.items():
        found[name] = inside_of(plan, address), "acme-prod" if name.startswith("fra") else "acme-bcp"
    if plan.ready:
        found |= {name: (inside_of(plan, address), ANN) for name, address in ANN_ADDRESS.items()}
    if plan.more_groups:
        for name, address in SBC_ADDRESS.items():
            second = (inside_of(plan, address)[0], SECOND_PORT)
            found[f"{name}-second"] = second, "beta-prod" if name.startswith("fra") else "beta-bcp"
    return found


def _v6(host: str) -> str:
    """The IPv6 address that stands for an IPv4 one: the last octet is the last part, so networks keep their shape."""
    a, b, c, d = (int(part) for part in host.split("."))
    return str(IPv6Address(f"2001:db8:{a:x}:{b:x}:{c:x}::{d:x}"))


def _network(plan: Plan, host: str, bits: int) -> str:
    return f"{_v6(host)}/{96 + bits}" if plan.v6_trunks else f"{host}/{bits}"


# -- the table -----------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def a_table(plan: Plan) -> Table:
    """Compile by hand: the world needs no files."""
    outside, inside = outside_of(plan, OUTSIDE), inside_of(plan, INSIDE)
    listens = (
        Listen("outside", "udp", *outside, *outside),
        Listen("inside", "udp", *inside, *inside),
        Listen("outside-tcp", "tcp", *outside, *outside),
        Listen("inside-tcp", "tcp", *inside, *inside),
    )
    trunks = tuple(
        Trunk(
            TrunkId(number), name, 0, (0, 2), (_network(plan, host, bits),), exhausted=plan.exhausted,
            max_calls=plan.trunk_max_calls,
        )
        for number, name, host, bits in TRUNKS if name not in plan.without
    )  # fmt: skip
    sbcs, pairs = _sbcs_and_pairs(plan)
    tenants = _tenants(plan)
    topology = Topology(
        plan.revision, "node-1", _sites(plan), listens, trunks, sbcs, pairs, tenants,
        _groups(plan), _entries(plan), plan.max_call_age_s,
    )  # fmt: skip
    if plan.ready:
        topology = _with_treatments(plan, topology)
    return load_table(encode_table(topology, _numbers(plan, len(trunks))))


def _sites(plan: Plan) -> tuple[Site, ...]:
    return wide.wide_sites(plan) if plan.wide else (Site("frankfurt", (1,)), Site("amsterdam"))


def _sbcs_and_pairs(plan: Plan) -> tuple[tuple[Sbc, ...], tuple[SbcPair, ...]]:
    if plan.wide:
        return wide.wide_sbcs_and_pairs(plan)
    sbcs: list[Sbc] = []
    pairs: list[SbcPair] = []
    for index, (pair, transport) in enumerate(zip(PAIRS, ("udp", "tcp" if plan.tcp_sbcs else "udp"), strict=True)):
        members = []
        for priority, letter in enumerate("ab", 1):
            name = f"{pair}-{letter}"
            if name not in plan.without:
                host, port = inside_of(plan, SBC_ADDRESS[name])
                members.append(len(sbcs))
                ident = SbcId(21 + 10 * index + priority)
                listen = 1 if transport == "udp" else 3
                uri_host = f"[{host}]" if ":" in host else host
                sbcs.append(
                    Sbc(ident, name, index, listen, host, port, transport, uri_host, priority, max_calls=plan.sbc_max_calls)
                )
        pairs.append(
            SbcPair(
                index + 1, pair, index, tuple(members), plan.strategy, shared_dialogs=plan.shared_dialogs,
                symmetric=plan.symmetric, probe=plan.probe, no_progress_s=plan.no_progress_s,
                send=SENDS[pair] if plan.sends else None,
            )
        )  # fmt: skip
    return tuple(sbcs), tuple(pairs)


def _with_treatments(plan: Plan, topology: Topology) -> Topology:
    """A pair that plays announcements, one overlay for all entry points and one for one, and kill switches of every kind."""
    pair, to = len(topology.pairs), Destination(tenant=len(topology.tenants), called="ann-1")
    sbcs = tuple(
        Sbc(SbcId(61 + place), name, pair, 1, *inside_of(plan, address), "udp", _uri_host(plan, address), 1 + place)
        for place, (name, address) in enumerate(ANN_ADDRESS.items())
    )
    members = tuple(len(topology.sbcs) + place for place in range(len(sbcs)))
    refused = Destination(refuse=(480, 41))
    return replace(
        topology,
        sbcs=(*topology.sbcs, *sbcs),
        pairs=(
            *topology.pairs,
            SbcPair(pair + 1, "ann", 0, members, plan.strategy, shared_dialogs=plan.shared_dialogs, symmetric=plan.symmetric,
                    probe=plan.probe, no_progress_s=plan.no_progress_s),
        ),
        tenants=(*topology.tenants, Tenant(TenantId(49), ANN, (Reach(pair),), kind="pair")),
        overlays=(Overlay("emergency", (), to), Overlay("evening", ((0, Destination(entry_point=1)),))),
        switches=(
            Switch("acme-away", to, groups=(0,)), Switch("sales-off", refused, entry_points=(0,)),
            Switch("carrier-off", refused, trunks=(0,)), Switch("bcp-off", refused, tenants=(1,)),
        ),
    )  # fmt: skip


def _uri_host(plan: Plan, address: Address) -> str:
    host = inside_of(plan, address)[0]
    return f"[{host}]" if ":" in host else host


def _tenants(plan: Plan) -> tuple[Tenant, ...]:
    if plan.wide:
        return wide.wide_tenants(plan)
    tenants = (
        Tenant(TenantId(41), "acme-prod", (Reach(0),), max_calls=plan.tenant_max_calls),
        Tenant(TenantId(42), "acme-bcp", (Reach(1),)),
    )
    if not plan.more_groups:
        return tenants
    return (
        *tenants,
        Tenant(TenantId(43), "beta-prod", (Reach(0, port=SECOND_PORT),)),
        Tenant(TenantId(44), "beta-bcp", (Reach(1, port=SECOND_PORT),)),
    )


def _groups(plan: Plan) -> tuple[Group, ...]:
    if plan.wide:
        return wide.wide_groups(plan)
    places = [(GROUP, 0, 1), ("beta", 2, 3), ("gamma", 1, 0)]
    return tuple(
        Group(
            GroupId(51 + index), name, primary, bcp, "automatic", plan.advance_across, hold_off_s=plan.hold_off_s,
            failback=plan.failback, hold_down_s=plan.hold_down_s, ramp=plan.ramp, ramp_step_s=plan.ramp_step_s,
        )
        for index, (name, primary, bcp) in enumerate(places if plan.more_groups else places[:1])
    )  # fmt: skip


def _entries(plan: Plan) -> tuple[EntryPoint, ...]:
    if plan.wide:
        return wide.wide_entries(plan)
    entries = (
        EntryPoint(EntryPointId(61), "acme-sales", 0),
        EntryPoint(EntryPointId(62), "acme-service", 0, trunks=(0,), max_calls=3),
    )
    if not plan.more_groups:
        return entries
    return (*entries, EntryPoint(EntryPointId(63), "beta-sales", 1), EntryPoint(EntryPointId(64), "gamma-sales", 2))


def _numbers(plan: Plan, trunks: int) -> Numbers:
    if plan.wide:
        return wide.wide_numbers(plan, trunks)
    dialled = (SALES, SERVICE, SECOND, REVERSED) if plan.more_groups else (SALES, SERVICE)
    keys = tuple(key_of(number[1:]) for number in dialled)
    rows = tuple(range(len(keys)))
    none = (0,) * len(keys)
    return Numbers(
        first=keys, last=keys, row=rows, entry_point=rows, rule=none, primary_base=none,
        bcp_base=(key_of(SALES_AT_BCP[1:]), *none[1:]), copied=none, rules=(EXACT_TEXT,), scopes=((0, len(keys)),), words=({},),
        scope_of_trunk=(-1,) * trunks,
    )  # fmt: skip


def retired_by(plan: Plan, until_unix_s: float) -> tuple[Retired, ...]:
    """What an edit leaves behind for the calls that are up."""
    kept = []
    for number, name, host, bits in TRUNKS:
        if name in plan.without:
            network = _network(plan, host, bits)
            kept.append(Retired("trunk", number, name, (), (network,), "", 0, "udp", "outside", until_unix_s))
    for index, pair in enumerate(PAIRS):
        tenants = (41 + index, 43 + index) if plan.more_groups else (41 + index,)
        for priority, letter in enumerate("ab", 1):
            name = f"{pair}-{letter}"
            if name in plan.without:
                host, port = inside_of(plan, SBC_ADDRESS[name])
                transport = "tcp" if plan.tcp_sbcs and index else "udp"
                listen = "inside-tcp" if transport == "tcp" else "inside"
                ident = 21 + 10 * index + priority
                kept.append(Retired("sbc", ident, name, tenants, (), host, port, transport, listen, until_unix_s))
    return tuple(kept)


# -- joined with a state -------------------------------------------------------------------------------------------------------


def a_snapshot(plan: Plan, state: RoutingState) -> RoutingSnapshot:
    """The plan and a state joined; the state's table, revision and retired entries are set to fit."""
    table = a_table(plan)
    return RoutingSnapshot.build(table, replace(state, table=table.hash, revision=plan.revision))


def a_state(
    *, term: int = 1, seq: int = 1, bcp_percent: int = 0, names: Mapping[str, tuple[str, ...]] | None = None
) -> RoutingState:
    """The first state of a world."""
    decisions = {name: Decision(bcp_percent=bcp_percent) for name in (GROUP, "beta", "gamma")}
    return RoutingState(
        term=term, seq=seq, revision=0, table="", decisions=decisions, keys=KEYS, signing_key=1, names=dict(names or {})
    )
