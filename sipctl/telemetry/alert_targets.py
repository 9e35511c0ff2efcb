"""Where alerts may be sent: hosts that the machine's own operator listed, at addresses of the public Internet or listed networks.

A webhook's address comes from a file, its meaning from DNS: either may point a desk that trusts it at a neighbour that trusts the
desk (reference/threats P4). So a host must be on the list, its name is resolved once, every address it gives must be allowed, and
the connection goes to those addresses and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

MAX_URL_CHARACTERS: Final = 2_000
MAX_ADDRESSES: Final = 16  # of one name; more are not looked at
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PLATFORMS: Final = frozenset({IPv4Address("168.63.129.16"), IPv4Address("100.100.100.200")})  # metadata services of hosters
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads."""

    url: str
    host: str  # lower case, without brackets and final dot
    port: int
    is_tls: bool


@dataclass(frozen=True, slots=True)
class Targets:
    """What may be connected to."""

    hosts: tuple[str, ...] = ()  # names or addresses; *.example.net: anything below it
    networks: tuple[Network, ...] = ()  # where those hosts may be, besides the public Internet

    def allows_host(self, host: str) -> bool:
        return any(host == one or (one.startswith("*.") and host.endswith(one[1:]) and host != one[2:]) for one in self.hosts)


def place_of(url: str) -> Place:
    """Take a webhook's URL apart.

    Raises: ValueError saying what is wrong with it, without repeating it: its path may be a secret.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise ValueError(f"it has {len(url)} characters, {MAX_URL_CHARACTERS} is the most")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("it holds a character that no URL may hold as it is")
    parts = urlsplit(url)  # raises ValueError for brackets that do not match
    if parts.scheme not in ("http", "https"):
        raise ValueError("it must begin with https://, or within listed networks with http://")
    if "@" in parts.netloc:
        raise ValueError("it names a user: put nothing before the host")
    if parts.fragment or url.endswith("#"):
        raise ValueError("it has a fragment, which is never sent")
    host = host_of(parts.hostname or "")
    port = parts.port  # raises ValueError beyond 65535
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("its port is none")
    return Place(url, host, port or (443 if parts.scheme == "https" else 80), parts.scheme == "https")


def host_of(text: str) -> str:
    """A host as it is compared. Raises: ValueError for what is neither a name nor an address in its usual form."""
    host = text.lower().removesuffix(".")
    if ":" in host:
        return str(IPv6Address(host.partition("%")[0])) if "%" not in host else _no_host(text)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # whoever reads it will take it for an address: then let it be a plain one
        return str(IPv4Address(host))
    return host if _HOST.fullmatch(host) and len(host) <= 253 else _no_host(text)


def _no_host(text: str) -> str:
    raise ValueError(f"{text!r} is no host")


def why_not(address: str, targets: Targets) -> str:
    """Why an address may not be connected to; "" if it may."""
    try:
        found = ip_address(address)
    except ValueError:
        return f"{address!r} is no address"
    for one in (found, *_inside(found)):
        if any(one.version == network.version and one in network for network in targets.networks):
            continue
        if one in _PLATFORMS:
            return f"{address} is a hoster's metadata service"
        if not one.is_global or one.is_multicast or one.is_reserved:
            kind = "loopback" if one.is_loopback else "link-local" if one.is_link_local else "private or reserved"
            inside = "" if one is found else f", since it stands for {one}"
            return f"{address} is {kind}{inside}, and in none of the listed networks"
    return ""


def check_host(place: Place, targets: Targets) -> None:
    """Before a name is looked up. Raises: ValueError if the host is not listed."""
    if not targets.allows_host(place.host):
        raise ValueError(f"{place.host} is not among the listed hosts")


def checked(addresses: Iterable[str], place: Place, targets: Targets) -> tuple[str, ...]:
    """The addresses to connect to.

    Raises: ValueError if there is no address, or any of them may not be connected to.
    """
    found = tuple(dict.fromkeys(addresses))[:MAX_ADDRESSES]
    if not found:
        raise ValueError(f"{place.host} has no address")
    for address in found:
        if reason := why_not(address, targets):
            raise ValueError(f"{place.host}: {reason}")
        if not place.is_tls and not _is_in(address, targets.networks):
            raise ValueError(
                f"{place.host}: without TLS only addresses of listed networks are connected to, {address} is in none"
            )
    return found


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    found = ip_address(address)
    return any(found.version == network.version and found in network for network in networks)


def _inside(address: Address) -> tuple[Address, ...]:
    """IPv4 addresses that an IPv6 one stands for."""
    if not isinstance(address, IPv6Address):
        return ()
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        found += address.teredo
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(one for one in found if one is not None)


def network_of(text: str) -> Network:
    """Raises: ValueError unless it is a network in CIDR form, or one address."""
    return ip_network(text, strict=True)
