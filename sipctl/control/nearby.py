"""Strangers that call from beside a trunk's addresses: a carrier that moved, more often than not.

Neighbours share their /24, or in IPv6 their /56, with one of a trunk's sources. That is a hint for a person and never more: a
neighbour may be anybody, and nobody is let in for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from sipctl.routing.snapshot import Trunk

NEIGHBOUR_BITS: Final = {4: 24, 6: 56}
MAX_NETWORKS_BESIDE: Final = 64  # networks looked at within one neighbourhood

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


@lru_cache(maxsize=4)  # of the live plan; asked for with each view
def _neighbourhoods(sources: tuple[tuple[str, str], ...]) -> dict[tuple[int, int], list[tuple[str, Network]]]:
    """(version, first bits) → trunks and networks that lie there; wider networks are nobody's neighbourhood."""
    found: dict[tuple[int, int], list[tuple[str, Network]]] = {}
    for trunk, source in sources:
        network = ip_network(source)
        bits = NEIGHBOUR_BITS[network.version]
        if network.prefixlen >= bits:
            beside = found.setdefault((network.version, int(network.network_address) >> (network.max_prefixlen - bits)), [])
            if len(beside) < MAX_NETWORKS_BESIDE:
                beside.append((trunk, network))
    return found


def neighbour(address: str, trunks: Sequence[Trunk]) -> tuple[str, str] | None:
    """The trunk nearest to a stranger: (its name, the network beside which the stranger is); None if there is none."""
    try:
        stranger = ip_address(address)
    except ValueError:
        return None
    if isinstance(stranger, IPv6Address) and stranger.ipv4_mapped is not None:
        stranger = stranger.ipv4_mapped
    sources = tuple((trunk.name, source) for trunk in trunks for source in trunk.sources)
    key = stranger.version, int(stranger) >> (stranger.max_prefixlen - NEIGHBOUR_BITS[stranger.version])
    beside = _neighbourhoods(sources).get(key)
    if not beside:
        return None
    trunk, network = min(beside, key=lambda one: (_apart(stranger, one[1]), one[0]))
    return trunk, str(network)


def hint(address: str, trunks: Sequence[Trunk]) -> str | None:
    """The sentence that `strangers` shows beside an address; None if no trunk is near."""
    found = neighbour(address, trunks)
    if found is None:
        return None
    trunk, network = found
    bits = 128 if ":" in address else 32
    return (
        f"near {trunk} {network}: probably its new address; if the carrier says so, "
        f"sipctl trunk allow {trunk} {address}/{bits} --until TIME"
    )


def _apart(address: Address, network: Network) -> int:
    """How many addresses lie between; 0 within."""
    at, first, last = int(address), int(network.network_address), int(network.broadcast_address)
    return max(first - at, at - last, 0)
