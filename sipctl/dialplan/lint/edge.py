"""What is legal at the edge and still wrong: sources that overlap, ways back to ourselves, boxes that fail together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from sipctl.dialplan.load import Draft
from sipctl.dialplan.report import Report
from sipctl.model.edge import MatchModel, PairModel, ProbeModel, TrunkModel
from sipctl.model.scalars import show_s

DETECT_WITHIN_S: Final = 10.0  # a silent SBC that nobody calls should be noticed by its probes
SIP_PORT: Final = 5060

Network = IPv4Network | IPv6Network


def lint_edge(draft: Draft, report: Report) -> None:
    """Every such check of `sbc_configs/`, and of what the dial plan makes of it."""
    _overlapping_sources(draft, report)
    _ways_back(draft, report)
    _shared_hosts(draft, report)
    _families(draft, report)
    _slow_probes(draft, report)


# -- trunks ----------------------------------------------------------------------------------------------------------------------


def may_be_one_call(draft: Draft, one: TrunkModel, other: TrunkModel) -> bool:
    """Whether one call could satisfy the conditions of both trunks, and neither has more of them than the other."""
    everywhere = set(draft.names("listen"))
    if not set(one.listen or everywhere) & set(other.listen or everywhere):
        return False
    if _conditions(one.match) != _conditions(other.match):
        return False
    a, b = one.match, other.match
    fixed = ((a.listen, b.listen), (a.uri_host, b.uri_host), (a.tgrp, b.tgrp))
    if any(x is not None and y is not None and x != y for x, y in fixed):
        return False
    if a.called_prefix and b.called_prefix:
        shorter, longer = sorted((a.called_prefix, b.called_prefix), key=len)
        if not longer.startswith(shorter):
            return False
    return not any(name in b.header and b.header[name] != value for name, value in a.header.items())


def _conditions(match: MatchModel) -> int:
    fixed = (match.listen, match.uri_host, match.tgrp, match.called_prefix)
    return sum(value is not None for value in fixed) + len(match.header)


def _sources(draft: Draft) -> list[tuple[int, int, int, str, int, Network]]:
    """(version, first address, prefix length, trunk, place, network) of every source that is not the whole world, ascending."""
    found = []
    for name, trunk in draft.trunks.items():
        for at, source in enumerate(trunk.sources):
            network = ip_network(source)
            if network.prefixlen:
                found.append((network.version, int(network.network_address), network.prefixlen, name, at, network))
    return sorted(found, key=lambda one: one[:5])


def _overlapping_sources(draft: Draft, report: Report) -> None:
    """Networks nest or are disjoint, so in ascending order those that hold the next one are a stack."""
    around: list[tuple[Network, str]] = []
    for _, _, _, name, at, network in _sources(draft):
        while around and network.network_address not in around[-1][0]:
            around.pop()
        for wider, other in around:
            if wider != network and other != name and may_be_one_call(draft, draft.trunks[other], draft.trunks[name]):
                message = f"{network} lies within {wider} of trunk {other}: its calls belong to {name}"
                hint = f"take it out of the sources of {other}, or allow this if it is meant"
                report.add("trunk.overlap", draft.mark("trunks", name, "sources", at), message, hint)
        around.append((network, name))


def _own_addresses(draft: Draft) -> dict[str, str]:
    """Address → listen, of all we bind or advertise."""
    own: dict[str, str] = {}
    for name, listen in draft.listen.items():
        for bind in listen.bind:
            if not bind.is_wildcard:
                own.setdefault(bind.host, name)
        for advertised in listen.advertise or ():
            own.setdefault(advertised.host, name)
    return own


def _ways_back(draft: Draft, report: Report) -> None:
    """Trunks that would take our own packets for a carrier's, SBCs that are ourselves."""
    own = _own_addresses(draft)
    literal = {host: ip_address(host) for host in own if ":" in host or host.replace(".", "").isdigit()}
    for _, _, _, name, at, network in _sources(draft):
        for host, address in literal.items():
            if address in network:
                message = f"{network} holds {host}, which is our own address ({own[host]})"
                hint = "list the carrier's addresses only"
                report.add("trunk.loop", draft.mark("trunks", name, "sources", at), message, hint)
    sockets = {(bind.transport, bind.host, bind.port): name for name, listen in draft.listen.items() for bind in listen.bind}
    for name, listen in draft.listen.items():
        for bind, advertised in zip(listen.bind, listen.advertise or (), strict=False):
            sockets.setdefault((bind.transport, advertised.host, advertised.port or bind.port), name)
    for pair_name, pair in draft.sbc_pairs.items():
        for sbc, model in pair.sbcs.items():
            listen_name = sockets.get((model.uri.transport, model.uri.host, model.uri.port or SIP_PORT))
            if listen_name is not None:
                place = draft.mark("sbc_pairs", pair_name, "sbcs", sbc, "uri")
                report.add("sbc.is-us", place, f"this is our own socket {listen_name}", "name the SBC's address")


# -- pairs -----------------------------------------------------------------------------------------------------------------------


def _shared_hosts(draft: Draft, report: Report) -> None:
    for name, pair in draft.sbc_pairs.items():
        seen: dict[str, tuple[str, int]] = {}
        for sbc, model in pair.sbcs.items() if pair.redundancy == "pair" else ():
            host, port = model.uri.host, model.uri.port or SIP_PORT
            first = seen.setdefault(host, (sbc, port))
            if first[0] != sbc and first[1] != port:
                message = f"{first[0]} and {sbc} of pair {name} are one host, {host}: they fail together"
                hint = "name two hosts, or say redundancy: virtual-ip if two boxes share the address"
                report.add("pair.same-host", draft.mark("sbc_pairs", name, "sbcs", sbc, "uri"), message, hint)


def _families(draft: Draft, report: Report) -> None:
    """Callers whose trunk speaks one family of addresses only, and SBCs that speak the other only."""
    of_pair = {name: family for name, pair in draft.sbc_pairs.items() if (family := _family_of_pair(pair))}
    of_trunk = {name: family for name, trunk in draft.trunks.items() if (family := _family_of_trunk(trunk))}
    if len({*of_pair.values(), *of_trunk.values()}) < 2:
        return
    told: dict[str, list[str]] = {}
    for trunk, pair in sorted(set(_ways(draft, of_trunk))):
        if of_pair.get(pair, of_trunk[trunk]) != of_trunk[trunk]:
            told.setdefault(pair, []).append(trunk)
    for pair, trunks in told.items():
        message = (
            f"pair {pair} speaks {of_pair[pair]} only, and callers of {', '.join(trunks)} {of_trunk[trunks[0]]} only: no audio"
        )
        place = draft.mark("sbc_pairs", pair, at_key=True)
        report.add("pair.family", place, message, "give the SBCs addresses of both families, or allow this if media is relayed")


def _ways(draft: Draft, trunks: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(trunk, pair) for each pair a trunk's calls may reach."""
    seen: set[tuple[str | None, tuple[str, ...]]] = set()
    for entry in draft.entry_points.values():
        callers = tuple(entry.trunks) if entry.trunks is not None else tuple(trunks)
        way = (entry.group, callers)
        if way in seen:
            continue
        seen.add(way)
        group = draft.continuity_groups.get(entry.group or "")
        for tenant in (group.primary, group.bcp) if group is not None else ():
            for reach in draft.tenants[tenant].reached_by if tenant in draft.tenants else ():
                yield from ((trunk, reach.sbc_pair) for trunk in callers if trunk in trunks)


def _family_of_pair(pair: PairModel) -> str:
    hosts = [model.uri for model in pair.sbcs.values()]
    if not hosts or not all(uri.is_literal for uri in hosts):
        return ""
    families = {"IPv6" if ":" in uri.host else "IPv4" for uri in hosts}
    return families.pop() if len(families) == 1 else ""


def _family_of_trunk(trunk: TrunkModel) -> str:
    families = {"IPv6" if ":" in source else "IPv4" for source in trunk.sources}
    return families.pop() if len(families) == 1 else ""


def _slow_probes(draft: Draft, report: Report) -> None:
    for name, pair in draft.sbc_pairs.items():
        if pair.probe is None:
            continue
        after_s = noticed_after_s(pair.probe)
        if after_s > DETECT_WITHIN_S:
            message = f"a silent SBC of pair {name} is noticed after {show_s(round(after_s, 3))} only"
            hint = f"shorten interval, timeout or fall: {show_s(DETECT_WITHIN_S)} is the most that makes sense"
            report.add("probe.slow", draft.mark("sbc_pairs", name, "probe"), message, hint)


def noticed_after_s(probe: ProbeModel) -> float:
    """How long an SBC that fell silent right after a probe stays in service: the wait, then `fall` losses in a row."""
    return probe.interval + probe.timeout + (probe.fall - 1) * max(probe.fast_interval, probe.timeout)
