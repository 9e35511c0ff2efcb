"""Tenants as measured, and failure domains."""

from __future__ import annotations

import pytest

from sipctl.failover.tenants import domains, edge, tenant_operating
from sipctl.routing.snapshot import (
    Admin,
    Operating,
    Reach,
    ResolvedSbc,
    Sbc,
    SbcId,
    SbcPair,
    Site,
    Tenant,
    TenantId,
    Topology,
)

IN, OUT, UNKNOWN = int(Operating.IN_SERVICE), int(Operating.OUT_OF_SERVICE), int(Operating.UNKNOWN)


@pytest.mark.parametrize(
    ("states", "admin", "expected"),
    [
        ({"a": IN, "b": OUT}, {}, Operating.IN_SERVICE),
        ({"a": OUT, "b": OUT}, {}, Operating.OUT_OF_SERVICE),
        ({"a": OUT}, {}, Operating.UNKNOWN),
        ({"a": OUT, "b": UNKNOWN}, {}, Operating.UNKNOWN),
        ({"a": IN, "b": OUT}, {"a": Admin.DISABLED}, Operating.OUT_OF_SERVICE),
        ({"a": IN, "b": OUT}, {"a": Admin.DRAINING, "b": Admin.DRAINING}, Operating.IN_SERVICE),
    ],
)
def test_a_tenant_is_what_its_enabled_sbcs_are(states: dict[str, int], admin: dict[str, Admin], expected: Operating) -> None:
    assert tenant_operating(("a", "b"), states, admin) is expected


def test_a_tenant_without_any_known_sbc_is_unknown() -> None:
    assert tenant_operating((), {}, {}) is Operating.UNKNOWN


def a_topology() -> Topology:
    sbcs = tuple(Sbc(SbcId(i + 1), f"s{i}", i // 2, 0, f"10.0.0.{i}", 5060, "udp", f"10.0.0.{i}") for i in range(6))
    pairs = (
        SbcPair(1, "p0", 0, (0, 1)), SbcPair(2, "p1", 1, (2, 3)), SbcPair(3, "p2", 0, (4, 5)),
        SbcPair(4, "srv", 1, (), srv="sip:x"),
    )
    tenants = (
        Tenant(TenantId(1), "t0", (Reach(0), Reach(1))), Tenant(TenantId(2), "t1", (Reach(2),)),
        Tenant(TenantId(3), "t2", (Reach(2, port=5071), Reach(3))),
    )
    return Topology(1, "n", (Site("a"), Site("b")), (), (), sbcs, pairs, tenants, (), ())


def test_domains_are_tenant_by_site_and_tenants_that_share_a_box_are_one() -> None:
    resolved = {"srv": (ResolvedSbc(SbcId(9), "srv/10.1.1.1:5060", "10.1.1.1", 5060, "udp", 1, 1),)}
    found = domains(edge(a_topology(), resolved))
    assert found == (("s0", "s1"), ("s2", "s3"), ("s4", "s5"), ("srv/10.1.1.1:5060",))


def test_an_edge_lists_each_sbc_of_a_tenant_once_and_in_order() -> None:
    joined = edge(a_topology(), {})
    assert joined.sbcs_of_tenant == (("s0", "s1", "s2", "s3"), ("s4", "s5"), ("s4", "s5"))
    assert joined.tenants_of_sbc["s4"] == (1, 2)
