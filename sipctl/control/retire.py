"""Addresses that left the plan or DNS while their calls may be up: kept for `max_call_age` (CALLS 1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address

from sipctl.routing.snapshot import ResolvedSbc, Retired, Sbc, SbcPair, Topology

Answers = Mapping[str, tuple[ResolvedSbc, ...]]


def retired_now(
    before: Topology, before_dns: Answers, after: Topology, after_dns: Answers, kept: tuple[Retired, ...], unix_s: float
) -> tuple[Retired, ...]:
    """The retired sources after a change of plan or DNS: those still kept, and those that left now.

    One that is back in the plan as it was is retired no longer; of two that are the same, the one that stays longer counts.
    """
    until_unix_s = unix_s + max(before.max_call_age_s, after.max_call_age_s)
    left = {_key(one): one for one in _split(unexpired(kept, unix_s))}
    now = {_key(one) for one in (*_trunks(after, 0.0), *_sbcs(after, after_dns, 0.0))}
    for one in (*_trunks(before, until_unix_s), *_sbcs(before, before_dns, until_unix_s)):
        if _key(one) not in now:
            left[_key(one)] = one
    return _merged(one for key, one in left.items() if key not in now)


def with_trunk_source(
    kept: tuple[Retired, ...], topology: Topology, trunk: str, network: str, unix_s: float
) -> tuple[Retired, ...]:
    """Retire one source of a trunk: one that was allowed for a time only."""
    until_unix_s = unix_s + topology.max_call_age_s
    more = [replace(one, networks=(network,)) for one in _trunks(topology, until_unix_s) if one.name == trunk][:1]
    return _merged((*_split(kept), *more))


def unexpired(kept: tuple[Retired, ...], unix_s: float) -> tuple[Retired, ...]:
    """Those whose calls may still be up."""
    return kept if all(one.until_unix_s > unix_s for one in kept) else tuple(one for one in kept if one.until_unix_s > unix_s)


def _split(kept: Iterable[Retired]) -> list[Retired]:
    """A trunk's entry per network, as `_trunks` makes them."""
    return [
        part
        for one in kept
        for part in ([replace(one, networks=(network,)) for network in one.networks] if one.kind == "trunk" else [one])
    ]


def _merged(parts: Iterable[Retired]) -> tuple[Retired, ...]:
    """One entry per trunk again; it stays until its last network's time is over."""
    whole: dict[tuple[object, ...], Retired] = {}
    for one in parts:
        key = ("trunk", one.id) if one.kind == "trunk" else _key(one)
        known = whole.get(key)
        if known is None:
            whole[key] = one
        else:
            networks = tuple(dict.fromkeys((*known.networks, *one.networks)))
            whole[key] = replace(known, networks=networks, until_unix_s=max(known.until_unix_s, one.until_unix_s))
    return tuple(whole.values())


def _key(one: Retired) -> tuple[object, ...]:
    return one.kind, one.id, one.networks, one.host, one.port, one.transport, one.tenants


def _trunks(topology: Topology, until_unix_s: float) -> list[Retired]:
    """One entry per trunk and network, so that a trunk that loses one of its sources retires that one alone."""
    return [
        Retired(
            kind="trunk", id=int(trunk.id), name=trunk.name, tenants=(), networks=(network,), host="", port=0, transport="",
            listen=topology.listens[trunk.listens[0]].name if trunk.listens else "", until_unix_s=until_unix_s,
        )
        for trunk in topology.trunks
        for network in trunk.sources
    ]


def _sbcs(topology: Topology, answers: Answers, until_unix_s: float) -> list[Retired]:
    """Every SBC with an address, the plan's and those DNS gave."""
    found: list[Retired] = []
    for index, pair in enumerate(topology.pairs):
        tenants = tuple(
            int(tenant.id) for tenant in topology.tenants if any(reach.pair == index for reach in tenant.reached_by)
        )
        fixed = [topology.sbcs[member] for member in pair.sbcs]
        places = [(int(sbc.id), sbc.name, sbc.host, sbc.port, sbc.transport, topology.listens[sbc.listen].name) for sbc in fixed
                  if sbc.host]
        for answer in _answers_of(pair, fixed, answers):
            listen = _listen_name(topology, answer)
            places.append((int(answer.id), answer.name, answer.host, answer.port, answer.transport, listen))
        for number, name, host, port, transport, listen in places:
            networks = (*pair.sources, _network(host)) if _network(host) else pair.sources
            found.append(
                Retired(
                    kind="sbc", id=number, name=name, tenants=tenants, networks=networks, host=host, port=port,
                    transport=transport, listen=listen, until_unix_s=until_unix_s,
                )
            )
    return found


def _answers_of(pair: SbcPair, fixed: list[Sbc], answers: Answers) -> list[ResolvedSbc]:
    names = [pair.name] if pair.srv is not None else [sbc.name for sbc in fixed if not sbc.host]
    return [answer for name in names for answer in answers.get(name, ())]


def _listen_name(topology: Topology, answer: ResolvedSbc) -> str:
    for listen in topology.listens:
        if listen.transport == answer.transport and (":" in listen.host) == (":" in answer.host):
            return listen.name
    return topology.listens[0].name if topology.listens else ""


def _network(host: str) -> str:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return ""
    return f"{address}/{address.max_prefixlen}"
