"""A small valid plan in memory, every part of it overridable: what tests start from when YAML is not the point.

sites      frankfurt (falls back to amsterdam), amsterdam
listens    outside udp 203.0.113.9:5060, inside udp 10.1.0.5:5060
trunks     carrier-one (198.51.100.0/28, e164), carrier-two (192.0.2.0/28, exact)
pairs      fra: fra-a 10.4.1.11, fra-b 10.4.1.12 · ams: ams-a 10.5.1.11, ams-b 10.5.1.12 (port 5060)
tenants    acme-prod behind fra, acme-bcp behind ams
group      acme, automatic, to-bcp
entry      acme-sales: +4930901820, +493090182100..+493090182199; acme-support: +4930901900; private 5501 on carrier-two
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.numbers import EXACT_TEXT, PRIVATE_BIT, Numbers, key_of
from sipctl.routing.snapshot import (
    EntryPoint,
    EntryPointId,
    Group,
    GroupId,
    Listen,
    Operating,
    Reach,
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

NUMBERS: Mapping[str, str] = {
    "+4930901820": "acme-sales",
    "+493090182100..+493090182199": "acme-sales",
    "+4930901900": "acme-support",
}
PRIVATE: Mapping[str, Mapping[str, str]] = {"carrier-two": {"5501": "acme-support"}}


def a_sbc(number: int, name: str, host: str, pair: int = 0, **changes: Any) -> Sbc:
    """An SBC over UDP at port 5060, sent to from listen 1."""
    sbc = Sbc(
        id=SbcId(number),
        name=name,
        pair=pair,
        listen=1,
        host=host,
        port=5060,
        transport="udp",
        uri_host=host,
        priority=number % 2 + 1,
    )
    return replace(sbc, **changes)


def a_topology(**changes: Any) -> Topology:
    """The small plan without its numbers; keywords replace whole fields of Topology."""
    topology = Topology(
        revision=1,
        node="local",
        sites=(Site("frankfurt", (1,)), Site("amsterdam")),
        listens=(
            Listen("outside", "udp", "203.0.113.9", 5060, "203.0.113.9", 5060),
            Listen("inside", "udp", "10.1.0.5", 5060, "10.1.0.5", 5060),
        ),
        trunks=(
            Trunk(id=TrunkId(1), name="carrier-one", site=0, listens=(0, 1), sources=("198.51.100.0/28",)),
            Trunk(id=TrunkId(2), name="carrier-two", site=1, listens=(0, 1), sources=("192.0.2.0/28",), called_format="exact"),
        ),
        sbcs=(
            a_sbc(2, "fra-a", "10.4.1.11", 0),
            a_sbc(3, "fra-b", "10.4.1.12", 0),
            a_sbc(4, "ams-a", "10.5.1.11", 1),
            a_sbc(5, "ams-b", "10.5.1.12", 1),
        ),
        pairs=(
            SbcPair(id=1, name="fra", site=0, sbcs=(0, 1), sources=("10.4.1.0/28",)),
            SbcPair(id=2, name="ams", site=1, sbcs=(2, 3), sources=("10.5.1.0/28",)),
        ),
        tenants=(
            Tenant(id=TenantId(1), name="acme-prod", reached_by=(Reach(0),)),
            Tenant(id=TenantId(2), name="acme-bcp", reached_by=(Reach(1),)),
        ),
        groups=(Group(id=GroupId(1), name="acme", primary=0, bcp=1, failover="automatic", advance_across="to-bcp"),),
        entry_points=(
            EntryPoint(id=EntryPointId(1), name="acme-sales", group=0),
            EntryPoint(id=EntryPointId(2), name="acme-support", group=0),
        ),
    )
    return replace(topology, **changes)


def the_numbers(
    topology: Topology,
    numbers: Mapping[str, str] = NUMBERS,
    private: Mapping[str, Mapping[str, str]] = PRIVATE,
    called_at: Mapping[str, Mapping[str, str]] | None = None,
) -> Numbers:
    """A number table from disjoint exact numbers and A..B ranges.

    Args:
        numbers: "+…" or "+…..+…" → entry point name; private: trunk → the same without "+", or words.
        called_at: entry point → {"primary": …, "bcp": …}, trailing Xs copy the last digits.
    """
    entries = {entry.name: index for index, entry in enumerate(topology.entry_points)}
    rules = [EXACT_TEXT]
    treatments: list[tuple[int, int, int, int, int]] = []  # entry point, rule, primary base, BCP base, copied
    scopes: list[tuple[int, int]] = []
    rows: list[tuple[int, int, int]] = []
    words: list[dict[str, int]] = []

    def treatment(entry: str, rule: str) -> int:
        if rule not in rules:
            rules.append(rule)
        at = (called_at or {}).get(entry, {})
        primary, copied_primary = _base(at.get("primary", ""))
        bcp, copied_bcp = _base(at.get("bcp", ""))
        made = (entries[entry], rules.index(rule), primary, bcp, copied_primary << 8 | copied_bcp)
        if made not in treatments:
            treatments.append(made)
        return treatments.index(made)

    def add_scope(texts: Mapping[str, str]) -> None:
        start = len(rows)
        here: list[tuple[int, int, int]] = []
        words.append({})
        for text, entry in texts.items():
            first, _, last = text.partition("..")
            if first.lstrip("+").isdigit():
                rule = f"range {text}" if last else EXACT_TEXT
                here.append((key_of(first.lstrip("+")), key_of((last or first).lstrip("+")), treatment(entry, rule)))
            else:
                words[-1][text] = treatment(entry, EXACT_TEXT)
        rows.extend(sorted(here))
        scopes.append((start, len(rows)))

    add_scope(numbers)
    scope_of_trunk = []
    for trunk in topology.trunks:
        if trunk.name in private and trunk.called_format == "exact":
            scope_of_trunk.append(len(scopes))
            add_scope(private[trunk.name])
        else:
            scope_of_trunk.append(-1)
    return Numbers(
        first=[row[0] for row in rows],
        last=[row[1] for row in rows],
        row=[row[2] for row in rows],
        entry_point=[made[0] for made in treatments],
        rule=[made[1] for made in treatments],
        primary_base=[made[2] for made in treatments],
        bcp_base=[made[3] for made in treatments],
        copied=[made[4] for made in treatments],
        rules=tuple(rules),
        scopes=tuple(scopes),
        words=tuple(words),
        scope_of_trunk=tuple(scope_of_trunk),
    )


def _base(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    digits = text.removeprefix("+")
    copied = len(digits) - len(digits.rstrip("X"))
    return key_of(digits.replace("X", "0")), copied | (0 if text.startswith("+") else PRIVATE_BIT)


def a_table(topology: Topology | None = None, numbers: Numbers | None = None) -> Table:
    """An image made and loaded again, as a router would."""
    topology = topology or a_topology()
    return load_table(encode_table(topology, numbers or the_numbers(topology)))


def a_state(table: Table, **changes: Any) -> RoutingState:
    """A state that fits a table; keywords replace fields of RoutingState."""
    state = RoutingState(
        term=1, seq=1, revision=table.topology.revision, table=table.hash, keys=(SigningKey(1, bytes(range(32))),), signing_key=1
    )
    return replace(state, **changes)


def a_snapshot(topology: Topology | None = None, numbers: Numbers | None = None, **state: Any) -> RoutingSnapshot:
    """The small plan, joined; keywords replace fields of its state."""
    table = a_table(topology, numbers)
    return RoutingSnapshot.build(table, a_state(table, **state))


def a_live(snapshot: RoutingSnapshot, out: Sequence[str] = (), unknown: Sequence[str] = ()) -> Live:
    """Live lists with every SBC in service but those named."""
    live = Live.for_snapshot(snapshot)
    for index, sbc in enumerate(snapshot.sbcs):
        measured = Operating.IN_SERVICE
        if sbc.name in out:
            measured = Operating.OUT_OF_SERVICE
        elif sbc.name in unknown:
            measured = Operating.UNKNOWN
        live.operating[index] = int(measured)
    live.version += 1
    return live
