"""Addresses and networks: who holds an address, longest network first (CALLS 1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class Networks:
    """Which entities an address belongs to, longest network first."""

    __slots__ = ("_by_length",)

    def __init__(self) -> None:
        self._by_length: dict[tuple[int, int], dict[int, tuple[int, ...]]] = {}  # (version, prefix bits) → network → holders

    def add_all(self, networks: Iterable[str], holder: int) -> None:
        for text in networks:
            network = ip_network(text)
            size = network.prefixlen
            here = self._by_length.setdefault((network.version, size), {})
            bits = int(network.network_address) >> (network.max_prefixlen - size)
            if holder not in here.get(bits, ()):
                here[bits] = (*here.get(bits, ()), holder)
        self._by_length = dict(sorted(self._by_length.items(), reverse=True))

    def all(self, address: IPv4Address | IPv6Address) -> list[tuple[int, ...]]:
        number, version, width = int(address), address.version, address.max_prefixlen
        found = []
        for (family, size), holders in self._by_length.items():
            if family == version:
                here = holders.get(number >> (width - size))
                if here is not None:
                    found.append(here)
        return found

    def longest(self, address: IPv4Address | IPv6Address) -> tuple[int, ...]:
        found = self.all(address)
        return found[0] if found else ()


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """An address as the plan writes it; None for a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def plain_host(host: str) -> str:
    address = address_of(host)
    return host if address is None else str(address)


def is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
