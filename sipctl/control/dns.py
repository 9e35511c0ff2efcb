"""Finding an SBC's addresses by name, as RFC 3263 says: NAPTR, SRV, A and AAAA; in the background, never on the call path.

`locate` is one look-up of one name, with the resolver handed in; `DnsPython` is the real resolver. How long answers live and what
happens when DNS is down is `names.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver

from sipctl.errors import EngineError

MAX_ANSWERS: Final = 64  # addresses of one name
LOOKUP_S: Final = 5.0
DEFAULT_PORT: Final = 5060
_SERVICES: Final = {"SIP+D2U": "udp", "SIP+D2T": "tcp"}
_TRANSPORTS: Final = ("udp", "tcp")


class DnsError(EngineError):
    """A name could not be looked up, or what came back makes no sense; the last good answer is kept."""

    code = "dns.failed"


@dataclass(frozen=True, slots=True)
class Naptr:
    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Srv:
    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one question; none is an answer too."""

    records: tuple[Naptr | Srv | str, ...] = ()
    ttl_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """One address a name stands for."""

    host: str
    port: int
    transport: str
    priority: int = 1
    weight: int = 100


@dataclass(frozen=True, slots=True)
class Located:
    """Where a name leads, best first, and for how long this may be believed."""

    places: tuple[Place, ...]
    ttl_s: float


class Resolver(Protocol):
    """Asks one question; raises DnsError if there is no answer at all (NXDOMAIN and no data are answers without records)."""

    async def ask(self, name: str, kind: str) -> Answer: ...


async def locate(resolver: Resolver, host: str, port: int | None, transport: str | None) -> Located:
    """Find the addresses of a SIP URI's host (RFC 3263 §4).

    Args:
        port: as written in the URI; None: left to SRV. transport: as written; None: left to NAPTR, else UDP before TCP.
    Raises: DnsError if nothing usable was found.
    """
    if _is_literal(host):
        return Located((Place(host, port or DEFAULT_PORT, transport or "udp"),), float("inf"))
    if port is not None:
        return await _addresses(resolver, host, port, transport or "udp")
    for service, over, ttl_s in await _services(resolver, host, transport):
        found = await _by_srv(resolver, service, over, ttl_s)
        if found is not None:
            return found
    return await _addresses(resolver, host, DEFAULT_PORT, transport or "udp")


def srv_target(uri: str) -> tuple[str, int | None, str | None]:
    """Host, port and transport of a pair's `srv` URI, such as sip:edge.example.net;transport=tcp.

    Raises: DnsError if it is none.
    """
    _, _, rest = uri.partition(":")
    address, *parameters = rest.partition("?")[0].split(";")
    host, colon, digits = address.rpartition(":") if not address.startswith("[") else (address, "", "")
    if not colon:
        host, digits = address, ""
    transport = next((text.partition("=")[2].lower() for text in parameters if text.lower().startswith("transport=")), None)
    if not host or (digits and not digits.isdigit()) or transport not in (None, *_TRANSPORTS):
        raise DnsError(f"{uri} is no SIP URI over UDP or TCP")
    return host.strip("[]").lower(), int(digits) if digits else None, transport


async def _services(resolver: Resolver, host: str, transport: str | None) -> list[tuple[str, str, float]]:
    """SRV names to ask for, in order, with their transport."""
    if transport is not None:
        return [(f"_sip._{transport}.{host}", transport, float("inf"))]
    answer = await resolver.ask(host, "NAPTR")
    naptrs = [
        record for record in answer.records
        if isinstance(record, Naptr) and record.flags.lower() == "s" and record.service.upper() in _SERVICES
    ]
    if naptrs:
        naptrs.sort(key=lambda record: (record.order, record.preference))
        return [(record.replacement.rstrip("."), _SERVICES[record.service.upper()], answer.ttl_s) for record in naptrs]
    return [(f"_sip._{over}.{host}", over, answer.ttl_s) for over in _TRANSPORTS]


async def _by_srv(resolver: Resolver, service: str, transport: str, ttl_s: float) -> Located | None:
    """The addresses of one SRV name; None if it has no records, so that the next one is asked."""
    answer = await resolver.ask(service, "SRV")
    records = [record for record in answer.records if isinstance(record, Srv)][:MAX_ANSWERS]
    if not records:
        return None
    if all(record.target in (".", "") for record in records):
        raise DnsError(f"{service} says that it offers no service")
    ttl_s = min(ttl_s, answer.ttl_s)
    places: list[Place] = []
    failures: list[str] = []
    for record in sorted(records, key=lambda one: (one.priority, -one.weight, one.target, one.port)):
        try:
            found = await _addresses(resolver, record.target.rstrip("."), record.port, transport)
        except DnsError as failure:  # one bad target harms no other
            failures.append(failure.detail)
            continue
        ttl_s = min(ttl_s, found.ttl_s)
        places += [Place(one.host, record.port, transport, record.priority, record.weight) for one in found.places]
    if not places:
        raise DnsError("; ".join(failures))
    return Located(tuple(dict.fromkeys(places))[:MAX_ANSWERS], ttl_s)


async def _addresses(resolver: Resolver, host: str, port: int, transport: str) -> Located:
    if _is_literal(host):
        return Located((Place(host, port, transport),), float("inf"))
    if not 0 < port < 65536:
        raise DnsError(f"{host} is offered at port {port}")
    answers = await asyncio.gather(resolver.ask(host, "A"), resolver.ask(host, "AAAA"), return_exceptions=True)
    good = [answer for answer in answers if isinstance(answer, Answer)]
    hosts = [record for answer in good for record in answer.records if isinstance(record, str) and _is_literal(record)]
    if not hosts:
        failed = next((answer for answer in answers if isinstance(answer, BaseException)), None)
        if isinstance(failed, DnsError):
            raise failed
        if failed is not None:
            raise failed
        raise DnsError(f"{host} has no address")
    ttl_s = min(answer.ttl_s for answer in good if answer.records)
    return Located(tuple(Place(one, port, transport) for one in sorted(set(hosts), key=_family_first))[:MAX_ANSWERS], ttl_s)


def _family_first(host: str) -> tuple[bool, str]:
    return ":" in host, host


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class DnsPython:
    """The system's resolver, asked through dnspython.

    Args:
        nameservers: addresses to ask instead of those of the system.
    """

    def __init__(self, nameservers: Sequence[str] = (), port: int = 53) -> None:
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._nameservers = list(nameservers)
        self._port = port

    async def ask(self, name: str, kind: str) -> Answer:
        """One question, answered within LOOKUP_S."""
        try:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
                if self._nameservers:
                    self._resolver.nameservers = self._nameservers
                    self._resolver.port = self._port
            reply: Any = await self._resolver.resolve(name, kind, lifetime=LOOKUP_S, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return Answer()
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise DnsError(f"{name} {kind}: {error or type(error).__name__}") from error
        if reply.rrset is None:
            return Answer()
        return Answer(tuple(_record(one, kind) for one in list(reply.rrset)[:MAX_ANSWERS]), float(reply.rrset.ttl))


def _record(one: Any, kind: str) -> Naptr | Srv | str:
    if kind == "SRV":
        return Srv(int(one.priority), int(one.weight), int(one.port), str(one.target))
    if kind == "NAPTR":
        flags, service = one.flags.decode("ascii", "replace"), one.service.decode("ascii", "replace")
        return Naptr(int(one.order), int(one.preference), flags, service, str(one.replacement))
    return str(one.address)
