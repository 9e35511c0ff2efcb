"""Whose dialog a request belongs to, and where it goes next (CALLS 1.9).

The token in our Route says who the two parties of a dialog are; without a valid one the call's record does. The next hop comes
from the Route set and the remote target, but only if it is an address of the right party, else it is the address the token
names. Answers are kept per party and host part until the next snapshot: most requests of a carrier go to a handful of places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from sipctl.call.ledger import call_key
from sipctl.errors import SipSyntaxError
from sipctl.routing.snapshot import Operating
from sipctl.sip.grammar import split_list
from sipctl.sip.message import CALL_ID, COMMA, FROM, QUOTE, ROUTE, TO, Message, code_of
from sipctl.sip.route_token import TOKEN_CHARS

if TYPE_CHECKING:
    from sipctl.call.core import Core

MAX_KNOWN: Final = 16_384  # requests remembered whole; beyond it the memory starts anew
MAX_CACHED: Final = 65_536  # hops, and addresses judged; beyond it the cache starts anew
UNREACHABLE_MISSES: Final = 3  # probes lost in a row that make an SBC unreachable, not merely unwilling
MAX_OWN_ROUTES: Final = 2  # we record-route once or twice (RFC 5658)
_TOKEN_END: Final = 5 + TOKEN_CHARS  # in b"<sip:TOKEN@"


class Hop(NamedTuple):
    """Where a request goes next."""

    socket: int
    host: str
    port: int
    code: bytes  # the hop's part of our branch


class Parties:
    """The two ends of a dialog, by numeric id, and which of them sent this request."""

    __slots__ = ("from_caller", "key", "record", "sbc_id", "tenant_id", "trunk_id")

    def __init__(self, trunk_id: int, tenant_id: int, sbc_id: int, from_caller: bool, key: bytes, record: int) -> None:
        self.trunk_id = trunk_id
        self.tenant_id = tenant_id
        self.sbc_id = sbc_id
        self.from_caller = from_caller
        self.key = key  # of the dialog in the ledger
        self.record = record  # index of the answered record, -1 without


class Known:
    """What an in-dialog request with just these lines was found to be."""

    __slots__ = ("call_id", "from_", "hop", "host", "parties", "socket", "to", "uri")

    def __init__(
        self, call_id: bytes, from_: bytes, to: bytes, uri: bytes, host: str, socket: int, parties: Parties, hop: Hop
    ) -> None:
        self.call_id = call_id  # whole lines, as received
        self.from_ = from_
        self.to = to
        self.uri = uri
        self.host = host  # where it came from
        self.socket = socket
        self.parties = parties
        self.hop = hop


class Hops:
    """Judges addresses and finds hops; keeps nothing but caches."""

    __slots__ = ("_allowed", "_core", "_hops", "_known")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._allowed: dict[tuple[bool, int, str], bool] = {}
        self._hops: dict[tuple[int, int, int, bool, bytes, bytes, int], Hop] = {}
        self._known: dict[bytes, Known] = {}  # by Route line

    def on_swap(self) -> None:
        """Another snapshot: addresses may have changed hands."""
        self._allowed.clear()
        self._hops.clear()
        self._known.clear()

    # -- seen before -----------------------------------------------------------------------------------------------------------

    def recall(self, message: Message, host: str, socket: int) -> tuple[Parties, Hop] | None:
        """Parties and hop of a request whose Route, Call-ID, From, To and target were all judged before, octet for octet."""
        at, lines = message.at, message.lines
        if ROUTE not in at or message.repeated & 1 << ROUTE:
            return None
        known = self._known.get(lines[at[ROUTE]])
        if (
            known is None or known.to != lines[at[TO]] or known.from_ != lines[at[FROM]] or known.call_id != lines[at[CALL_ID]]
            or known.uri != message.uri or known.host != host or known.socket != socket
        ):  # fmt: skip
            return None
        parties = known.parties
        parties.record = self._core.ledger.calls.get(parties.key, -1)
        return parties, known.hop

    def remember(self, message: Message, host: str, socket: int, parties: Parties, hop: Hop) -> None:
        """Keep what was found of a request whose routes were all ours."""
        at, lines = message.at, message.lines
        if ROUTE not in at or message.repeated & 1 << ROUTE:
            return
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[lines[at[ROUTE]]] = Known(
            lines[at[CALL_ID]], lines[at[FROM]], lines[at[TO]], message.uri, host, socket, parties, hop
        )

    # -- whose dialog is it? ---------------------------------------------------------------------------------------------------

    def allows(self, trunk: bool, number: int, host: str) -> bool:
        """Whether an address belongs to that trunk (or tenant), numeric id, retired ones included."""
        known = self._allowed.get((trunk, number, host))
        if known is None:
            snapshot = self._core.snapshot
            assert snapshot is not None
            known = snapshot.trunk_allows(number, host) if trunk else snapshot.tenant_allows(number, host)
            if len(self._allowed) >= MAX_CACHED:
                self._allowed.clear()
            self._allowed[trunk, number, host] = known
        return known

    def routes(self, message: Message) -> list[bytes]:
        """Every Route value, in order.

        Raises: SipSyntaxError for a list that cannot be cut.
        """
        if ROUTE not in message.at:
            return []
        routes: list[bytes] = []
        for value in message.values(ROUTE):
            if COMMA not in value:
                routes.append(value)
                continue
            pieces = [piece.strip(b" ") for piece in value.split(b",")]
            plain = QUOTE not in value  # and no comma inside the brackets, else a piece lacks one of them
            for piece in pieces:
                plain = plain and piece[:1] == b"<" and piece.find(b">") == len(piece) - 1
            routes += pieces if plain else split_list(value)
        return routes

    def parties(self, message: Message, routes: list[bytes], host: str) -> tuple[Parties | None, int]:
        """Who talks, if `host` may send for them, and how many Route values at the top are ours."""
        core = self._core
        call_id, from_tag, to_tag = message.value(CALL_ID), message.from_tag(), message.to_tag()
        text = token_in(routes[0] if routes else message.uri)
        token = core.ring.verify(text, call_id, from_tag, to_tag) if text else None
        if token is None:
            own = 0
            while own < MAX_OWN_ROUTES and own < len(routes) and core.is_own(routes[own]):
                own += 1
            found = core.ledger.find(call_id, from_tag, to_tag)
            kept = None if found is None else core.records.answered(found[0])
            if kept is None or found is None:
                return None, own
            parties = Parties(kept.trunk_id, kept.tenant_id, kept.sbc_id, found[1], kept.key, found[0])
        else:
            own = 1 if routes else 0
            while (
                own and own < MAX_OWN_ROUTES and own < len(routes) and (token_in(routes[own]) == text or core.is_own(routes[own]))
            ):
                own += 1
            key = call_key(call_id, from_tag, to_tag) if token.from_caller else call_key(call_id, to_tag, from_tag)
            record = core.ledger.calls.get(key, -1)
            parties = Parties(token.trunk_id, token.tenant_id, token.sbc_id, token.from_caller, key, record)
        if not self.allows(parties.from_caller, parties.trunk_id if parties.from_caller else parties.tenant_id, host):
            return None, own
        return parties, own

    def has_own_token(self, value: bytes, message: Message) -> bool:
        """Whether a URI carries a valid token of this dialog."""
        text = token_in(value)
        if not text:
            return False
        return self._core.ring.verify(text, message.value(CALL_ID), message.from_tag(), message.to_tag()) is not None

    # -- where does it go? -----------------------------------------------------------------------------------------------------

    def next_hop(self, parties: Parties, target: bytes, own_route: bytes, socket: int) -> Hop | str | None:
        """The hop for that target URI; a name that must be resolved first; None if there is no way."""
        key = (
            parties.trunk_id, parties.tenant_id, parties.sbc_id, parties.from_caller, target[target.rfind(b"@") + 1 :],
            own_route[own_route.find(b"@") :], self._core.listen_socket(socket),
        )  # fmt: skip
        hop = self._hops.get(key)
        if hop is not None:
            return hop
        found = self._find(parties, place_of(target), own_route, socket)
        if isinstance(found, Hop) and own_route and (parties.from_caller or found[1:3] == (place_of(target) or ("", 0))[:2]):
            if len(self._hops) >= MAX_CACHED:
                self._hops.clear()
            self._hops[key] = found
        return found

    def _find(self, parties: Parties, place: tuple[str, int, str] | None, own_route: bytes, socket: int) -> Hop | str | None:
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        sbc = snapshot.sbc_by_id.get(parties.sbc_id)
        if place is None or (sbc is not None and snapshot.pairs[snapshot.sbcs[sbc].pair].symmetric):
            return self.symmetric(parties, socket)
        host, port, transport = place
        side_id = parties.tenant_id if parties.from_caller else parties.trunk_id
        hosts: tuple[str, ...] = (host,)
        if not _is_address(host):
            hosts = snapshot.state.names.get(host.lower(), ())
            if not hosts:
                return host.lower()
        for candidate in hosts:
            if self.allows(not parties.from_caller, side_id, candidate):
                spoken = transport or self._spoken_by(parties, own_route, socket)
                via = self._socket_towards(parties, candidate, spoken, own_route, socket)
                if via is not None:
                    return a_hop(via, candidate, port)
        core.count("in_dialog_target_not_ours")
        return self.symmetric(parties, socket)

    def symmetric(self, parties: Parties, socket: int) -> Hop | None:
        """The address the token names: the SBC's, or where the caller's side was heard."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        if parties.from_caller:
            return self.sbc_hop(parties.sbc_id, parties.tenant_id)
        record = core.records.answered(parties.record) if parties.record >= 0 else None
        if record is not None:
            return a_hop(record.socket, record.host, record.port)
        kept = snapshot.retired_by.get(("trunk", parties.trunk_id))
        if kept is not None and kept.host:
            via = core.socket_named(kept.listen)
            return None if via is None else a_hop(via, kept.host, kept.port)
        trunk = snapshot.trunk_by_id.get(parties.trunk_id)
        if trunk is None:
            return None
        sources = snapshot.trunks[trunk].sources
        host, _, bits = sources[0].partition("/") if len(sources) == 1 else ("", "", "")
        if not host or bits not in ("", "32", "128"):
            return None
        listens = snapshot.trunks[trunk].listens
        number = core.socket_of_listen[listens[0]] if listens else core.listen_socket(socket)
        return None if number < 0 else a_hop(number, host, 5060)

    def sbc_hop(self, sbc_id: int, tenant_id: int) -> Hop | None:
        """An SBC's own address, retired ones included."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        at = snapshot.sbc_by_id.get(sbc_id)
        if at is None:
            kept = snapshot.retired_by.get(("sbc", sbc_id))
            if kept is None or not kept.host:
                return None
            via = core.socket_named(kept.listen)
            return None if via is None else a_hop(via, kept.host, self._port_behind(tenant_id, kept.port))
        sbc = snapshot.sbcs[at]
        tenant = snapshot.tenant_by_id.get(tenant_id)
        port = sbc.port
        if tenant is not None:
            ways = [reach.port for reach in snapshot.tenants[tenant].reached_by if at in snapshot.pairs[reach.pair].sbcs]
            port = next((way for way in ways if way), port)
        number = core.socket_of_listen[sbc.listen]
        return a_hop(number, sbc.host, port) if number >= 0 and sbc.host else None

    def _port_behind(self, tenant_id: int, port: int) -> int:
        """The port of a tenant at an SBC that has left its pair: the one it has at every pair, if it has its own."""
        snapshot = self._core.snapshot
        assert snapshot is not None
        tenant = snapshot.tenant_by_id.get(tenant_id)
        ways = set() if tenant is None else {reach.port or port for reach in snapshot.tenants[tenant].reached_by}
        return ways.pop() if len(ways) == 1 else port

    def sibling(self, parties: Parties, hop: Hop) -> Hop | None:
        """The other SBC of a pair that shares dialogs, if this request goes to one of them."""
        snapshot = self._core.snapshot
        assert snapshot is not None
        at = snapshot.sbc_by_id.get(parties.sbc_id)
        if at is None:
            return None
        pair = snapshot.pairs[snapshot.sbcs[at].pair]
        if not pair.shared_dialogs:
            return None
        for other in pair.sbcs:
            if other != at and snapshot.sbcs[other].host != hop.host:
                return self.sbc_hop(int(snapshot.sbcs[other].id), parties.tenant_id)
        return None

    def is_unreachable(self, sbc_id: int) -> bool:
        """Silent to everything, not merely refusing calls."""
        judge = self._core.judge
        if judge.operating(sbc_id) != Operating.OUT_OF_SERVICE:
            return False
        return judge.observation(sbc_id, self._core.now_s).missed_probes >= UNREACHABLE_MISSES

    def _socket_towards(self, parties: Parties, host: str, transport: str, own_route: bytes, socket: int) -> int | None:
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        preferred = [core.own_socket(own_route)] if own_route else []
        if parties.from_caller:
            at = snapshot.sbc_by_id.get(parties.sbc_id)
            if at is not None:
                preferred.insert(0, core.socket_of_listen[snapshot.sbcs[at].listen])
        else:
            record = core.records.answered(parties.record) if parties.record >= 0 else None
            if record is not None:
                preferred.append(record.socket)
        preferred.append(core.listen_socket(socket))
        return core.socket_for(transport, host, preferred)

    def _spoken_by(self, parties: Parties, own_route: bytes, socket: int) -> str:
        """The transport of a target whose URI names none: what its side of the dialog speaks (docs/decisions/0015)."""
        core = self._core
        snapshot = core.snapshot
        assert snapshot is not None
        if own_route:
            return "tcp" if b";transport=tcp" in own_route.lower() else "udp"
        record = core.records.answered(parties.record) if parties.record >= 0 else None
        if parties.from_caller:
            at = snapshot.sbc_by_id.get(parties.sbc_id)
            return "udp" if at is None else snapshot.sbcs[at].transport
        return core.sockets[core.listen_socket(socket) if record is None else record.socket].transport

    # -- Route of an INVITE outside a dialog -----------------------------------------------------------------------------------

    def has_foreign_route(self, message: Message) -> bool:
        """Whether a new INVITE carries a Route that is not ours (CALLS 1.9: 403)."""
        try:
            return any(not self._core.is_own(route) for route in self.routes(message))
        except SipSyntaxError:
            return True


def route_lines(message: Message) -> list[int]:
    """Indexes of every Route line."""
    if not message.repeated & 1 << ROUTE:
        return [message.at[ROUTE]]
    return [number for number, line in enumerate(message.lines) if code_of(line) == ROUTE]


def a_hop(socket: int, host: str, port: int) -> Hop:
    """A hop with its part of our branch."""
    return Hop(socket, host, port, b"%08x" % crc32(b"%b:%d" % (host.encode(), port)))


def token_in(value: bytes) -> bytes:
    """The userinfo of a sip: URI, bare or in angle brackets, if it is as long as a token; else b""."""
    if value[_TOKEN_END : _TOKEN_END + 1] == b"@" and value.startswith(b"<sip:"):
        return value[5:_TOKEN_END]
    start = value.find(b"sip:")
    end = value.find(b"@", start)
    return value[start + 4 : end] if start >= 0 and end - start - 4 == TOKEN_CHARS else b""


def place_of(target: bytes) -> tuple[str, int, str] | None:
    """Host, port and transport ("" if it names none) of a sip: URI (bare or in angle brackets); None if it is none."""
    uri = target[target.find(b"<") + 1 : target.find(b">")] if b"<" in target else target
    if uri[:4].lower() != b"sip:":
        return None
    rest = uri[4:].partition(b"?")[0]
    rest = rest[rest.rfind(b"@") + 1 :]
    where, _, params = rest.partition(b";")
    host, colon, port = where.rpartition(b":")
    if not colon or where.endswith(b"]"):
        host, port = where, b"5060"
    if not host or not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536:
        return None
    named = params.lower()
    transport = "tcp" if b"transport=tcp" in named else "udp" if b"transport=" in named else ""
    return host.decode("latin-1").strip("[]"), int(port), transport


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
