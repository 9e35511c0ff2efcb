"""Names to addresses as RFC 3263 says, and what happens when DNS does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from sipctl.control.dns import Answer, DnsError, Naptr, Place, Srv, locate, srv_target
from sipctl.control.names import Names, wanted_of
from sipctl.control.plans import FIRST_DNS_SBC_ID
from sipctl.dialplan.build import FIRST_DNS_SBC_ID as PLANS_BORDER
from sipctl.errors import StoreError
from sipctl.routing.snapshot import ResolvedSbc, SbcPair, Topology
from tests.support.plans import a_sbc, a_topology


class FakeDns:
    """Answers from a dict of (name, kind) → records; an exception is raised, a missing name has no records."""

    def __init__(self, zone: Mapping[tuple[str, str], object]) -> None:
        self.zone = dict(zone)
        self.asked: list[tuple[str, str]] = []
        self.is_down = False

    async def ask(self, name: str, kind: str) -> Answer:
        self.asked.append((name, kind))
        await asyncio.sleep(0)
        if self.is_down:
            raise DnsError(f"{name} {kind}: timed out")
        found = self.zone.get((name, kind), ())
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, tuple)
        return Answer(found, 60.0)


ZONE: dict[tuple[str, str], object] = {
    ("example.net", "NAPTR"): (
        Naptr(20, 1, "s", "SIP+D2U", "_sip._udp.example.net."), Naptr(10, 1, "s", "SIP+D2T", "_sip._tcp.example.net."),
        Naptr(5, 1, "s", "SIPS+D2T", "_sips._tcp.example.net."),
    ),
    ("_sip._tcp.example.net", "SRV"): (Srv(20, 1, 5062, "b.example.net."), Srv(10, 5, 5061, "a.example.net.")),
    ("_sip._udp.example.net", "SRV"): (Srv(1, 1, 5060, "a.example.net."),),
    ("a.example.net", "A"): ("10.9.0.1",),
    ("b.example.net", "A"): ("10.9.0.3", "10.9.0.2"),
    ("b.example.net", "AAAA"): ("2001:db8::2",),
}


async def test_naptr_chooses_the_transport_and_srv_the_order() -> None:
    found = await locate(FakeDns(ZONE), "example.net", None, None)
    assert found.places == (
        Place("10.9.0.1", 5061, "tcp", 10, 5), Place("10.9.0.2", 5062, "tcp", 20, 1), Place("10.9.0.3", 5062, "tcp", 20, 1),
        Place("2001:db8::2", 5062, "tcp", 20, 1),
    )


async def test_a_given_transport_skips_naptr() -> None:
    dns = FakeDns(ZONE)
    found = await locate(dns, "example.net", None, "udp")
    assert found.places == (Place("10.9.0.1", 5060, "udp", 1, 1),)
    assert ("example.net", "NAPTR") not in dns.asked


async def test_without_naptr_srv_is_asked_udp_first_and_without_srv_the_address() -> None:
    zone = {key: value for key, value in ZONE.items() if key[1] != "NAPTR"}
    assert (await locate(FakeDns(zone), "example.net", None, None)).places[0].transport == "udp"
    assert (await locate(FakeDns(ZONE), "a.example.net", None, None)).places == (Place("10.9.0.1", 5060, "udp"),)


async def test_a_given_port_asks_for_addresses_alone() -> None:
    dns = FakeDns(ZONE)
    assert (await locate(dns, "a.example.net", 5090, None)).places == (Place("10.9.0.1", 5090, "udp"),)
    assert {kind for _, kind in dns.asked} == {"A", "AAAA"}


async def test_a_literal_address_asks_nobody() -> None:
    dns = FakeDns({})
    assert (await locate(dns, "2001:db8::9", None, "tcp")).places == (Place("2001:db8::9", 5060, "tcp"),)
    assert dns.asked == []


async def test_one_bad_srv_target_harms_no_other() -> None:
    zone = {**ZONE, ("a.example.net", "A"): DnsError("servfail")}
    assert {place.host for place in (await locate(FakeDns(zone), "example.net", None, "tcp")).places} == {
        "10.9.0.2", "10.9.0.3", "2001:db8::2",
    }


@pytest.mark.parametrize(
    "zone",
    [
        {("_sip._udp.x.net", "SRV"): (Srv(0, 0, 0, "."),)},
        {("_sip._udp.x.net", "SRV"): (Srv(0, 0, 0, "a.example.net."),), ("a.example.net", "A"): ("10.9.0.1",)},
        {},
        {("x.net", "A"): DnsError("servfail"), ("x.net", "AAAA"): DnsError("servfail")},
    ],
)
async def test_no_usable_answer_is_a_dns_error(zone: Mapping[tuple[str, str], object]) -> None:
    with pytest.raises(DnsError):
        await locate(FakeDns(zone), "x.net", None, "udp")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:edge.example.net", ("edge.example.net", None, None)),
        ("sip:Edge.Example.Net;transport=TCP", ("edge.example.net", None, "tcp")),
        ("sip:edge.example.net:5070;lr", ("edge.example.net", 5070, None)),
    ],
)
def test_an_srv_uri_is_read(uri: str, expected: tuple[str, int | None, str | None]) -> None:
    assert srv_target(uri) == expected


@pytest.mark.parametrize("uri", ["sip:", "sip:x;transport=sctp", "sip:x:http", "nonsense"])
def test_what_is_no_srv_uri_is_a_dns_error(uri: str) -> None:
    with pytest.raises(DnsError):
        srv_target(uri)


# -- the keeper ----------------------------------------------------------------------------------------------------------------


class Bench:
    """A keeper of names over a fake DNS and a clock."""

    def __init__(self, topology: Topology, zone: Mapping[tuple[str, str], object]) -> None:
        self.now_s = 100.0
        self.dns = FakeDns(zone)
        self.ids: dict[str, int] = {}
        self.told: list[tuple[Mapping[str, tuple[ResolvedSbc, ...]], Mapping[str, tuple[str, ...]]]] = []
        self.faults: Mapping[str, str] = {}
        self.store_fails = False
        self.names = Names(
            self.dns, lambda: self.now_s, self.allocate, lambda *told: self.told.append(told), self._failed
        )
        self.names.want_plan(topology)

    def _failed(self, faults: Mapping[str, str]) -> None:
        self.faults = faults

    async def allocate(self, names: Iterable[str]) -> Mapping[str, int]:
        if self.store_fails:
            raise StoreError("disk full")
        return {name: self.ids.setdefault(name, FIRST_DNS_SBC_ID + len(self.ids)) for name in names}

    async def later(self, seconds: float) -> None:
        self.now_s += seconds
        await self.names.refresh()

    def hosts(self, key: str = "fra") -> list[str]:
        return [f"{one.name}={one.host}" for one in self.told[-1][0].get(key, ())]


def an_srv_topology(srv: str = "sip:example.net;transport=udp", **pair: object) -> Topology:
    topology = a_topology()
    fra = replace(topology.pairs[0], srv=srv, sbcs=(), **pair)  # type: ignore[arg-type]
    ams = SbcPair(id=2, name="ams", site=1, sbcs=(0, 1))
    return replace(topology, sbcs=tuple(replace(sbc, pair=1) for sbc in topology.sbcs[2:]), pairs=(fra, ams))


async def test_srv_addresses_become_sbcs_with_ids_that_stay() -> None:
    bench = Bench(an_srv_topology(), ZONE)
    await bench.later(0.0)
    assert bench.hosts() == ["fra/10.9.0.1:5060=10.9.0.1"]
    first = bench.told[-1][0]["fra"][0]
    assert first.id == FIRST_DNS_SBC_ID == PLANS_BORDER
    bench.dns.zone[("a.example.net", "A")] = ("10.9.0.7",)
    await bench.later(61.0)
    bench.dns.zone[("a.example.net", "A")] = ("10.9.0.1",)
    await bench.later(61.0)
    assert bench.told[-1][0]["fra"][0] == first and len(bench.told) == 3


async def test_an_answer_is_believed_for_its_ttl() -> None:
    bench = Bench(an_srv_topology(), ZONE)
    await bench.later(0.0)
    asked = len(bench.dns.asked)
    await bench.later(59.0)
    assert len(bench.dns.asked) == asked
    await bench.later(1.5)
    assert len(bench.dns.asked) > asked and len(bench.told) == 1


async def test_when_dns_is_down_the_last_good_answer_is_used_for_days_and_said() -> None:
    bench = Bench(an_srv_topology(), ZONE)
    await bench.later(0.0)
    bench.dns.is_down = True
    for _ in range(9):
        await bench.later(86_000.0)
    assert len(bench.told) == 1 and "the last good answer is used" in bench.faults["fra"]
    bench.dns.is_down = False
    await bench.later(20.0)
    assert bench.faults == {} and bench.hosts() == ["fra/10.9.0.1:5060=10.9.0.1"]


async def test_answers_from_before_a_restart_serve_until_dns_answers() -> None:
    bench = Bench(an_srv_topology(), ZONE)
    await bench.later(0.0)
    again = Bench(an_srv_topology(), ZONE)
    again.names.resolved = bench.told[-1][0]
    again.dns.is_down = True
    await again.later(0.0)
    assert again.told == [] and "fra" in again.names.resolved


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "2001:db8::5", "203.0.113.9"])
async def test_loopback_own_and_unreachable_addresses_are_refused(host: str) -> None:
    zone: dict[tuple[str, str], object] = {
        ("_sip._udp.example.net", "SRV"): (Srv(1, 1, 5060, "a."),),
        ("a", "AAAA" if ":" in host else "A"): (host,),
    }
    bench = Bench(an_srv_topology(), zone)
    await bench.later(0.0)
    assert "leads to no address we can use" in bench.faults["fra"] and bench.names.refused == 1


async def test_loopback_is_fine_where_we_listen_on_loopback() -> None:
    topology = an_srv_topology()
    topology = replace(topology, listens=tuple(replace(one, host="127.0.0.2") for one in topology.listens))
    zone: dict[tuple[str, str], object] = {
        ("_sip._udp.example.net", "SRV"): (Srv(1, 1, 5060, "a."),), ("a", "A"): ("127.0.0.9",),
    }
    bench = Bench(topology, zone)
    await bench.later(0.0)
    assert bench.hosts() == ["fra/127.0.0.9:5060=127.0.0.9"]


async def test_a_bad_answer_of_one_name_harms_no_other() -> None:
    topology = an_srv_topology()
    named = a_sbc(9, "ams-c", "", 1, uri_host="c.example.net")
    pairs = (topology.pairs[0], replace(topology.pairs[1], sbcs=(0, 1, 2)))
    topology = replace(topology, sbcs=(*topology.sbcs, named), pairs=pairs)
    bench = Bench(topology, {**ZONE, ("c.example.net", "A"): DnsError("servfail")})
    await bench.later(0.0)
    assert bench.hosts() == ["fra/10.9.0.1:5060=10.9.0.1"] and set(bench.faults) == {"ams-c"}


async def test_the_first_address_of_a_named_sbc_keeps_its_name_and_stays_the_first() -> None:
    topology = a_topology()
    sbcs = (replace(topology.sbcs[0], host="", uri_host="b.example.net"), *topology.sbcs[1:])
    bench = Bench(replace(topology, sbcs=sbcs), ZONE)
    assert set(wanted_of(replace(topology, sbcs=sbcs))) == {"fra-a"}
    await bench.later(0.0)
    assert bench.hosts("fra-a") == ["fra-a=10.9.0.2", "fra/10.9.0.3:5060=10.9.0.3"]
    bench.dns.zone[("b.example.net", "A")] = ("10.9.0.1", "10.9.0.2")
    await bench.later(61.0)
    assert bench.hosts("fra-a") == ["fra-a=10.9.0.2", "fra/10.9.0.1:5060=10.9.0.1"]


async def test_remote_targets_are_resolved_on_wish_and_forgotten_after_an_hour() -> None:
    bench = Bench(a_topology(), ZONE)
    bench.names.want(["a.example.net", "nowhere.example.net"])
    await bench.later(0.0)
    assert bench.told[-1][1] == {"a.example.net": ("10.9.0.1",)}
    await bench.later(3601.0)
    bench.names.want(["b.example.net"])
    await bench.later(0.0)
    assert set(bench.told[-1][1]) == {"b.example.net"}


async def test_an_id_that_cannot_be_written_is_not_used() -> None:
    bench = Bench(an_srv_topology(), ZONE)
    bench.store_fails = True
    await bench.later(0.0)
    assert bench.told == [] and "could not be written" in bench.faults["fra"]
    bench.store_fails = False
    await bench.later(11.0)
    assert bench.hosts() and bench.faults == {}
