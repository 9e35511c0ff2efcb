"""The table image and the snapshot joined from it: whole or refused; and who an address is (CALLS 1.1, 1.9)."""

from __future__ import annotations

import mmap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.errors import SnapshotError
from sipctl.routing.join import Party, RoutingSnapshot
from sipctl.routing.numbers import NOT_FOUND, dialled_at, digits_of, key_of
from sipctl.routing.snapshot import (
    Group,
    GroupId,
    Listen,
    Match,
    Reach,
    ResolvedSbc,
    Retired,
    SbcId,
    Tenant,
    TenantId,
    Topology,
    TrunkId,
)
from sipctl.routing.table import encode_table, load_table
from tests.support.plans import a_live, a_snapshot, a_state, a_table, a_topology, the_numbers


def an_image() -> bytes:
    topology = a_topology()
    return encode_table(topology, the_numbers(topology))


# -- the image -----------------------------------------------------------------------------------------------------------------


def test_image_comes_back_whole_and_the_same_plan_gives_the_same_bytes() -> None:
    topology = a_topology()
    table = load_table(an_image())
    assert table.topology == topology
    assert an_image() == an_image()
    assert len(table.hash) == 64
    assert encode_table(table.topology, table.numbers) == an_image()


def test_image_works_where_it_lies_in_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(an_image())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        table = load_table(memoryview(mapped))
        assert table.numbers.lookup(0, "+4930901820")[0] != NOT_FOUND
        for column in (table.numbers.first, table.numbers.last, table.numbers.row):
            assert isinstance(column, memoryview)
            column.release()
        numbers = table.numbers
        for column in (numbers.entry_point, numbers.rule, numbers.primary_base, numbers.bcp_base, numbers.copied):
            assert isinstance(column, memoryview)
            column.release()
        table.image.release()


def test_image_with_any_byte_flipped_is_refused() -> None:
    image = an_image()
    for at in range(len(image)):
        damaged = bytearray(image)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(SnapshotError):
            load_table(bytes(damaged))


def test_image_cut_anywhere_or_longer_is_refused() -> None:
    image = an_image()
    for size in range(len(image)):
        with pytest.raises(SnapshotError):
            load_table(image[:size])
    with pytest.raises(SnapshotError):
        load_table(image + b"\0")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_other_bytes_are_no_table(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        load_table(data)


def test_table_that_contradicts_itself_is_refused_although_its_hash_is_right() -> None:
    topology = a_topology()
    numbers = the_numbers(topology)
    numbers.row = [99 for _ in numbers.row]
    with pytest.raises(SnapshotError, match="names no treatment"):
        load_table(encode_table(topology, numbers))


# -- keys ----------------------------------------------------------------------------------------------------------------------


@given(st.text("0123456789", min_size=1, max_size=18))
def test_key_keeps_length_and_leading_zeros_and_fits_64_bits(digits: str) -> None:
    assert digits_of(key_of(digits)) == digits
    assert key_of(digits) < 1 << 64


@given(st.text("0123456789", min_size=4, max_size=15), st.text("0123456789", min_size=4, max_size=15), st.integers(0, 4))
def test_dialled_at_replaces_exactly_the_last_digits(called: str, base: str, copied: int) -> None:
    stem = base[: len(base) - copied]
    expected = stem + called[len(called) - copied :]
    assert dialled_at("+" + called, key_of(called), key_of(stem + "0" * copied), copied) == "+" + expected


# -- joining -------------------------------------------------------------------------------------------------------------------


def test_state_for_another_table_or_revision_is_refused_and_both_are_named() -> None:
    table = a_table()
    with pytest.raises(SnapshotError, match="meant for table") as caught:
        RoutingSnapshot.build(table, replace(a_state(table), table="0" * 64, revision=7))
    assert "revision 7" in str(caught.value)


def test_every_dangling_reference_is_named_at_once() -> None:
    topology = a_topology()
    broken = Topology(
        **{
            **{name: getattr(topology, name) for name in topology.__slots__},
            "trunks": tuple(replace(trunk, site=7, listens=(9,)) for trunk in topology.trunks),
            "groups": (replace(topology.groups[0], bcp=5), Group(GroupId(1), "acme", 0, 1, "manual", "never")),
            "tenants": (replace(topology.tenants[0], reached_by=(Reach(4),)), topology.tenants[1]),
        }
    )
    with pytest.raises(SnapshotError) as caught:
        a_snapshot(broken)
    for part in (
        "trunk carrier-one names site 7",
        "trunk carrier-two names listen 9",
        "group acme names tenant 5",
        "tenant acme-prod names pair 4",
        "two groups have id 1",
        "two groups are called acme",
    ):
        assert part in str(caught.value)


def test_wishes_about_entities_this_plan_does_not_know_are_ignored() -> None:
    snapshot = a_snapshot(sbc_admin={"gone": 2}, trunk_admin={"gone": 2}, extra_sources=(("gone", "192.0.2.0/24", 0.0),))
    assert snapshot.sbc_admin == (0, 0, 0, 0)


def test_signing_key_outside_the_ring_and_bad_networks_are_refused() -> None:
    with pytest.raises(SnapshotError, match="signing key 9"):
        a_snapshot(signing_key=9)
    with pytest.raises(SnapshotError, match="no network"):
        a_snapshot(extra_sources=(("carrier-one", "not-a-net", 0.0),))


def test_resolved_addresses_become_sbcs_of_their_pair_in_order_of_priority() -> None:
    topology = a_topology()
    pairs = (replace(topology.pairs[0], srv="sip:edge.example.net", sbcs=()), topology.pairs[1])
    sbcs = tuple(replace(sbc, pair=1) for sbc in topology.sbcs)
    answers = (
        ResolvedSbc(SbcId(100), "fra/10.9.0.2:5060", "10.9.0.2", 5060, "udp", 20, 1),
        ResolvedSbc(SbcId(101), "fra/10.9.0.1:5060", "10.9.0.1", 5060, "udp", 10, 1),
    )
    snapshot = a_snapshot(replace(topology, pairs=pairs, sbcs=sbcs), resolved={"fra": answers})
    assert [snapshot.sbcs[sbc].name for sbc in snapshot.pairs[0].sbcs] == ["fra/10.9.0.1:5060", "fra/10.9.0.2:5060"]
    assert snapshot.sbc_by_id[101] == snapshot.sbc_index["fra/10.9.0.1:5060"]
    assert len(a_live(snapshot).operating) == 6
    party = snapshot.identify("10.9.0.1", 5060, 1, False)
    assert party is not None and party.sbc == 5


def test_named_sbc_takes_the_address_dns_gave() -> None:
    topology = a_topology()
    sbcs = (replace(topology.sbcs[0], host="", uri_host="fra-a.example"), *topology.sbcs[1:])
    answer = ResolvedSbc(SbcId(2), "fra-a", "10.8.0.1", 5060, "udp", 1, 100)
    snapshot = a_snapshot(replace(topology, sbcs=sbcs), resolved={"fra-a": (answer,)})
    target = snapshot.targets[0][0][0][0]
    assert (target.host, target.uri_host) == ("10.8.0.1", b"fra-a.example")


def test_resolved_address_no_listen_can_reach_is_refused() -> None:
    topology = a_topology()
    sbcs = (replace(topology.sbcs[0], host=""), *topology.sbcs[1:])
    answer = ResolvedSbc(SbcId(2), "fra-a", "2001:db8::5", 5060, "udp", 1, 100)
    with pytest.raises(SnapshotError, match="no listen speaks udp"):
        a_snapshot(replace(topology, sbcs=sbcs), resolved={"fra-a": (answer,)})


# -- who is it? ----------------------------------------------------------------------------------------------------------------


def test_sbc_is_known_by_address_and_port_over_udp_and_by_address_on_streams() -> None:
    snapshot = a_snapshot()
    assert snapshot.identify("10.4.1.12", 5060, 1, False) == Party(sbc=1, pair=0)
    assert snapshot.identify("10.4.1.12", 40000, 1, True) == Party(sbc=1, pair=0)
    assert snapshot.identify("10.4.1.12", 40000, 1, False) == Party(sbc=None, pair=0)  # by the pair's sources


def test_port_of_reached_by_is_an_address_of_the_sbc_too() -> None:
    topology = a_topology()
    tenants = (replace(topology.tenants[0], reached_by=(Reach(0, port=5071),)), topology.tenants[1])
    snapshot = a_snapshot(replace(topology, tenants=tenants))
    for port in (5060, 5071):
        party = snapshot.identify("10.4.1.11", port, 1, False)
        assert party is not None and party.sbc == 0


def test_mapped_address_is_unmapped_and_a_stranger_is_none() -> None:
    snapshot = a_snapshot()
    assert snapshot.identify("::ffff:198.51.100.7", 5060, 0, False) == Party(trunks=(0,))
    assert snapshot.identify("198.51.100.16", 5060, 0, False) is None
    assert snapshot.identify("example.net", 5060, 0, False) is None


def test_longest_network_wins_and_conditions_order_trunks_of_one_source() -> None:
    topology = a_topology()
    one, two = topology.trunks
    trunks = (
        replace(one, sources=("198.51.100.0/24",)),
        replace(two, sources=("198.51.100.0/28",)),
        replace(one, id=TrunkId(3), name="three", sources=("198.51.100.0/28",), match=Match(tgrp="a", uri_host="b")),
    )
    snapshot = a_snapshot(replace(topology, trunks=trunks))
    assert snapshot.identify("198.51.100.3", 1, 0, False) == Party(trunks=(2, 1))
    assert snapshot.identify("198.51.100.99", 1, 0, False) == Party(trunks=(0,))


def test_trunk_is_known_only_on_its_own_listens() -> None:
    topology = a_topology()
    trunks = (replace(topology.trunks[0], listens=(0,)), topology.trunks[1])
    snapshot = a_snapshot(replace(topology, trunks=trunks))
    assert snapshot.identify("198.51.100.3", 1, 0, False) is not None
    assert snapshot.identify("198.51.100.3", 1, 1, False) is None


def test_address_may_be_trunk_and_sbc_at_once() -> None:
    topology = a_topology()
    trunks = (replace(topology.trunks[0], sources=("10.4.1.0/24",)), topology.trunks[1])
    assert a_snapshot(replace(topology, trunks=trunks)).identify("10.4.1.11", 5060, 1, False) == Party(trunks=(0,), sbc=0, pair=0)


def test_extra_source_lets_a_trunk_call_from_elsewhere() -> None:
    snapshot = a_snapshot(extra_sources=(("carrier-one", "203.0.113.64/26", 9e9),))
    assert snapshot.identify("203.0.113.65", 5060, 0, False) == Party(trunks=(0,))
    assert snapshot.trunk_allows(1, "203.0.113.65")


RETIRED = (
    Retired("trunk", 9, "old-carrier", (), ("192.0.2.128/28",), "", 0, "udp", "outside", 9e9),
    Retired("sbc", 8, "old-sbc", (1,), ("10.7.0.0/30",), "10.6.0.1", 5060, "udp", "inside", 9e9),
)


def test_retired_sources_stay_known_for_what_is_up() -> None:
    snapshot = a_snapshot(retired=RETIRED)
    party = snapshot.identify("10.6.0.1", 40000, 1, False)
    assert party is not None and party.retired[0].name == "old-sbc" and not party.trunks and party.sbc is None
    assert snapshot.identify("192.0.2.130", 5060, 0, False) == Party(retired=(RETIRED[0],))
    assert snapshot.retired_by["sbc", 8].host == "10.6.0.1"


def test_next_hops_belong_to_a_trunk_or_tenant_by_address_never_by_port() -> None:
    snapshot = a_snapshot(retired=RETIRED)
    assert snapshot.trunk_allows(1, "198.51.100.1") and snapshot.trunk_allows(1, "::ffff:198.51.100.1")
    assert not snapshot.trunk_allows(2, "198.51.100.1") and not snapshot.trunk_allows(1, "edge.example")
    assert snapshot.trunk_allows(9, "192.0.2.129") and not snapshot.trunk_allows(1, "192.0.2.129")
    assert snapshot.tenant_allows(1, "10.4.1.11") and snapshot.tenant_allows(1, "10.4.1.9")  # SBC, and `sources`
    assert not snapshot.tenant_allows(1, "10.5.1.11") and snapshot.tenant_allows(2, "10.5.1.11")
    assert snapshot.tenant_allows(1, "10.6.0.1") and snapshot.tenant_allows(1, "10.7.0.2")
    assert not snapshot.tenant_allows(2, "10.6.0.1") and not snapshot.tenant_allows(77, "10.4.1.11")


def test_tenants_behind_one_pair_are_all_named_for_its_sbcs() -> None:
    topology = a_topology()
    more = Tenant(TenantId(7), "shared", (Reach(0, port=5071),))
    snapshot = a_snapshot(replace(topology, tenants=(*topology.tenants, more)))
    assert snapshot.tenants_of_sbc == ((0, 2), (0, 2), (1,), (1,))


def test_ipv6_addresses_are_compared_as_addresses_not_as_text() -> None:
    topology = a_topology()
    listens = (*topology.listens, Listen("six", "udp", "2001:db8::9", 5060, "2001:db8::9", 5060))
    sbcs = (replace(topology.sbcs[0], host="2001:db8:0:0::1", uri_host="[2001:db8::1]", listen=2), *topology.sbcs[1:])
    snapshot = a_snapshot(replace(topology, listens=listens, sbcs=sbcs))
    party = snapshot.identify("2001:db8::1", 5060, 2, False)
    assert party is not None and party.sbc == 0
    assert snapshot.targets[0][0][0][0].uri_host == b"[2001:db8::1]"
