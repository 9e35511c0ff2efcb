"""The plan of the simulated world: two carriers, two tenants at two sites with an SBC pair each, and edits of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.numbers import EXACT_TEXT, Numbers, key_of
from sipctl.routing.snapshot import (
    Decision,
    EntryPoint,
    EntryPointId,
    Group,
    GroupId,
    Listen,
    Probe,
    Reach,
    Retired,
    RoutingState,
    Sbc,
    SbcId,
    SbcPair,
    SigningKey,
    Site,
    Tenant,
    TenantId,
    Topology,
    Trunk,
    TrunkId,
)
from sipctl.routing.table import Table, encode_table, load_table
from sipctl.testing.wire import Address

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
SALES: Final = "+4930901820"
SALES_AT_BCP: Final = "+31205550120"
SERVICE: Final = "+4930901830"  # only carrier-one may call it, 3 calls at most
GROUP: Final = "acme"
PROBE: Final = Probe()
KEYS: Final = (SigningKey(1, bytes(range(32))), SigningKey(2, bytes(range(32, 64))))


@dataclass(frozen=True, slots=True)
class Plan:
    """What scenarios vary; `without` names SBCs and trunks an edit removed."""

    revision: int = 1
    shared_dialogs: bool = False
    symmetric: bool = False
    advance_across: str = "to-bcp"
    tcp_trunks: bool = False  # the carriers come over TCP
    tcp_sbcs: bool = False  # the BCP tenant's SBCs are spoken to over TCP
    probe: Probe | None = PROBE
    no_progress_s: float = 6.0
    exhausted: int = 503
    strategy: str = "active-standby"
    sbc_max_calls: int | None = None
    trunk_max_calls: int | None = None
    tenant_max_calls: int | None = None
    max_call_age_s: float = 43200.0
    without: frozenset[str] = frozenset()


def a_table(plan: Plan) -> Table:
    """Compile by hand: the world needs no files."""
    listens = (
        Listen("outside", "udp", *OUTSIDE, *OUTSIDE),
        Listen("inside", "udp", *INSIDE, *INSIDE),
        Listen("outside-tcp", "tcp", *OUTSIDE, *OUTSIDE),
        Listen("inside-tcp", "tcp", *INSIDE, *INSIDE),
    )
    trunks = tuple(
        Trunk(TrunkId(number), name, 0, (0, 2), (network,), exhausted=plan.exhausted, max_calls=plan.trunk_max_calls)
        for number, name, network in ((11, "carrier-one", "198.51.100.0/28"), (12, "carrier-two", "198.51.100.32/28"))
        if name not in plan.without
    )
    sbcs: list[Sbc] = []
    pairs: list[SbcPair] = []
    for index, (pair, transport) in enumerate((("fra", "udp"), ("ams", "tcp" if plan.tcp_sbcs else "udp"))):
        members = []
        for priority, letter in enumerate("ab", 1):
            name = f"{pair}-{letter}"
            if name not in plan.without:
                host, port = SBC_ADDRESS[name]
                members.append(len(sbcs))
                ident = SbcId(21 + 10 * index + priority)
                listen = 1 if transport == "udp" else 3
                sbcs.append(Sbc(ident, name, index, listen, host, port, transport, host, priority, max_calls=plan.sbc_max_calls))
        pairs.append(
            SbcPair(
                index + 1, pair, index, tuple(members), plan.strategy, shared_dialogs=plan.shared_dialogs,
                symmetric=plan.symmetric, probe=plan.probe, no_progress_s=plan.no_progress_s,
            )
        )  # fmt: skip
    tenants = (
        Tenant(TenantId(41), "acme-prod", (Reach(0),), max_calls=plan.tenant_max_calls),
        Tenant(TenantId(42), "acme-bcp", (Reach(1),)),
    )
    groups = (Group(GroupId(51), GROUP, 0, 1, "automatic", plan.advance_across),)
    entries = (
        EntryPoint(EntryPointId(61), "acme-sales", 0),
        EntryPoint(EntryPointId(62), "acme-service", 0, trunks=(0,), max_calls=3),
    )
    sites = (Site("frankfurt", (1,)), Site("amsterdam"))
    topology = Topology(
        plan.revision, "node-1", sites, listens, trunks, tuple(sbcs), tuple(pairs), tenants, groups, entries, plan.max_call_age_s
    )
    keys = (key_of(SALES[1:]), key_of(SERVICE[1:]))
    numbers = Numbers(
        first=keys, last=keys, row=(0, 1), entry_point=(0, 1), rule=(0, 0), primary_base=(0, 0),
        bcp_base=(key_of(SALES_AT_BCP[1:]), 0), copied=(0, 0), rules=(EXACT_TEXT,), scopes=((0, 2),), words=({},),
        scope_of_trunk=tuple(-1 for _ in trunks),
    )  # fmt: skip
    return load_table(encode_table(topology, numbers))


def retired_by(plan: Plan, until_unix_s: float) -> tuple[Retired, ...]:
    """What an edit leaves behind for the calls that are up."""
    kept = []
    for number, name, network in ((11, "carrier-one", "198.51.100.0/28"), (12, "carrier-two", "198.51.100.32/28")):
        if name in plan.without:
            kept.append(Retired("trunk", number, name, (), (network,), "", 0, "udp", "outside", until_unix_s))
    for index, pair in enumerate(("fra", "ams")):
        for priority, letter in enumerate("ab", 1):
            name = f"{pair}-{letter}"
            if name in plan.without:
                host, port = SBC_ADDRESS[name]
                transport = "tcp" if plan.tcp_sbcs and index else "udp"
                listen = "inside-tcp" if transport == "tcp" else "inside"
                ident = 21 + 10 * index + priority
                kept.append(Retired("sbc", ident, name, (41 + index,), (), host, port, transport, listen, until_unix_s))
    return tuple(kept)


def a_snapshot(plan: Plan, state: RoutingState) -> RoutingSnapshot:
    """The plan and a state joined; the state's table, revision and retired entries are set to fit."""
    table = a_table(plan)
    return RoutingSnapshot.build(table, replace(state, table=table.hash, revision=plan.revision))


def a_state(*, term: int = 1, seq: int = 1, bcp_percent: int = 0) -> RoutingState:
    """The first state of a world."""
    decisions = {GROUP: Decision(bcp_percent=bcp_percent)}
    return RoutingState(term=term, seq=seq, revision=0, table="", decisions=decisions, keys=KEYS, signing_key=1)
