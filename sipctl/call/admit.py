"""What an INVITE asks for, and whether it may ask: trunk, number, caller, priority, and the checks before routing (CALLS 1.3,
1.4).

Nothing here keeps state but `LoopGuard`; a refusal is a value.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final, NamedTuple

from sipctl.errors import SipSyntaxError
from sipctl.routing.snapshot import Trunk
from sipctl.sip.headers import parse_name_addr, parse_resource_priorities
from sipctl.sip.message import (
    ASSERTED,
    CALL_ID,
    CALLED_PARTY,
    DIVERSION,
    FROM,
    HISTORY_INFO,
    MAX_FORWARDS,
    PREFERRED,
    PROXY_REQUIRE,
    REMOTE_PARTY,
    RESOURCE_PRIORITY,
    TO,
    Message,
    code_of,
    value_of,
)  # fmt: skip
from sipctl.sip.uri import SipUri, TelUri, parse_number_user, parse_uri

LOOP_CALLS: Final = 6  # the 6th INVITE …
LOOP_WINDOW_S: Final = 10.0  # … within so long, with the same calling and called number from an SBC, is a loop
MAX_LOOP_KEYS: Final = 8192

# user part of digits only, host, URI parameters: how nearly every carrier writes a number
_PLAIN_URI: Final = re.compile(rb"sip:(\+?[0-9]{1,32})@([^;?@\s<>]+)(;[^?\s<>]*)?\Z")
_PLAIN_CALLER: Final = re.compile(rb"<sips?:(\+?[0-9]{1,32})@")
_DROPPED_PARAMS: Final = frozenset((b"transport", b"maddr", b"ttl", b"lr", b"method"))  # of the hop we were, not of the number
_TRUNK_GROUP: Final = (b"tgrp", b"trunk-context")  # RFC 4904
_IDENTITIES: Final = {
    ASSERTED: "p-asserted-identity", PREFERRED: "p-preferred-identity", REMOTE_PARTY: "remote-party-id", DIVERSION: "diversion",
}  # fmt: skip
_UNRESERVED: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,/")


_USUAL_HOPS: Final = {b"Max-Forwards: %d" % hops: hops for hops in range(256)}


class Refusal(NamedTuple):
    """Why an INVITE is not routed, and what its sender hears."""

    status: int
    cause: int  # Q.850
    text: str
    extra: bytes = b""  # one more header line


class Asked:
    """Who calls whom."""

    __slots__ = ("caller", "dialled", "pai", "phone_context", "priority", "share_key", "uri_params", "user_params")

    def __init__(
        self, dialled: str, phone_context: str | None, caller: str, share_key: bytes, pai: str, user_params: bytes,
        uri_params: bytes, priority: bool,
    ) -> None:  # fmt: skip
        self.dialled = dialled  # as received
        self.phone_context = phone_context
        self.caller = caller  # calling number for people and records, "" if withheld
        self.share_key = share_key  # caller, or the Call-ID of an anonymous call (CALLS 1.5)
        self.pai = pai
        self.user_params = user_params  # ";isub=…" of the user part, as received, to be kept
        self.uri_params = uri_params  # ";user=phone" of the Request-URI, as received, to be kept
        self.priority = priority


def read_asked(message: Message, trunk: Trunk) -> Asked | Refusal:
    """Number, caller and priority of an INVITE from that trunk."""
    plain = _PLAIN_URI.match(message.uri)
    if plain is not None and trunk.called_from == "request-uri":
        digits, params = plain.group(1), plain.group(3)
        dialled, context = digits.decode(), None
        user_params, uri_params = b"", _kept(params) if params else b""
    else:
        try:
            read = _read_number(message, trunk)
        except SipSyntaxError as bad:
            return Refusal(bad.status, 111, str(bad))
        if isinstance(read, Refusal):
            return read
        dialled, context, user_params, uri_params = read
    pai = ""
    if ASSERTED in message.at and "p-asserted-identity" in trunk.trust:
        pai = caller_of(message.value(ASSERTED))
    caller = pai or caller_of(message.lines[message.at[FROM]])
    priority = bool(trunk.priority) and RESOURCE_PRIORITY in message.at and _is_priority(message, trunk)
    share_key = caller.encode() if caller else message.value(CALL_ID)
    return Asked(dialled, context, caller, share_key, pai, user_params, uri_params, priority)


def check_request(message: Message, hops: int) -> Refusal | None:
    """The checks that need no plan: scheme, Proxy-Require, Max-Forwards (RFC 3261 §16.3)."""
    scheme = message.uri[:5].lower()
    if not scheme.startswith((b"sip:", b"tel:")):
        return Refusal(416, 111, "only sip: and tel: are routed")
    if hops <= 0:
        return Refusal(483, 25, "Max-Forwards is 0")
    if PROXY_REQUIRE in message.at:
        unknown = b", ".join(message.values(PROXY_REQUIRE))
        return Refusal(420, 111, "an extension is required that sipctl has not", b"Unsupported: " + unknown)
    return None


def max_forwards(message: Message) -> int:
    """Hops left as received, 70 if the header is missing (CALLS 1.3).

    Raises: SipSyntaxError (400) unless it is a number 0..255.
    """
    if MAX_FORWARDS not in message.at:
        return 70
    line = message.lines[message.at[MAX_FORWARDS]]
    hops = _USUAL_HOPS.get(line)
    if hops is not None:
        return hops
    text = line.partition(b":")[2].strip()
    if not text.isdigit() or len(text) > 3 or int(text) > 255:
        raise SipSyntaxError("Max-Forwards is not 0 to 255", offset=message.offset_of(MAX_FORWARDS))
    return int(text)


def choose_trunk(candidates: tuple[int, ...], trunks: tuple[Trunk, ...], listen: int, message: Message) -> int | None:
    """Which trunk of one source this INVITE came by: the first, by most conditions, whose `match` holds (CALLS 1.1)."""
    if len(candidates) == 1 and not trunks[candidates[0]].match.conditions:
        return candidates[0]
    for index in candidates:
        if _matches(trunks[index], listen, message):
            return index
    return None


def _matches(trunk: Trunk, listen: int, message: Message) -> bool:
    match = trunk.match
    if match.listen is not None and match.listen != listen:
        return False
    try:
        uri = parse_uri(message.uri)
    except SipSyntaxError:
        return match.conditions == 0
    if match.uri_host is not None and (not isinstance(uri, SipUri) or uri.host.decode("latin-1").lower() != match.uri_host):
        return False
    if match.tgrp is not None or match.called_prefix is not None:
        if not isinstance(uri, SipUri | TelUri):
            return False
        parts = parse_number_user(uri)
        if match.tgrp is not None and (parts.tgrp or b"").decode("latin-1") != match.tgrp:
            return False
        if match.called_prefix is not None and not (parts.digits or parts.user).decode("latin-1").startswith(match.called_prefix):
            return False
    return all(wanted.encode() in message.named(name.encode()) for name, wanted in match.header)


def untrusted_codes(trunk: Trunk) -> tuple[int, ...]:
    """Codes of the identity headers this trunk is not trusted for (FORMATS §1 `trust`)."""
    return tuple(code for code, name in _IDENTITIES.items() if name not in trunk.trust)


def lines_of(message: Message, codes: tuple[int, ...]) -> list[int]:
    """Indexes of every line with one of those codes."""
    at = message.at
    found = [at[code] for code in codes if code in at]
    if found and message.repeated and any(message.repeated & 1 << code for code in codes):
        return [number for number, line in enumerate(message.lines) if code_of(line) in codes]
    return found


def request_uri(asked: Asked, called: str, uri_host: bytes, reach_params: bytes, prefix: str, transport: str) -> bytes:
    """The Request-URI that leaves: user and host change, what else was received stays (CALLS 1.4)."""
    number = prefix + called
    user = number.encode()
    if not _UNRESERVED.issuperset(user):
        user = b"".join(bytes((octet,)) if octet in _UNRESERVED else b"%%%02X" % octet for octet in user)
    user_params = asked.user_params
    if reach_params and user_params:  # the target's trunk group replaces the one received
        pieces = user_params.split(b";")[1:]
        user_params = b"".join(b";" + piece for piece in pieces if piece.partition(b"=")[0].lower() not in _TRUNK_GROUP)
    params = asked.uri_params if transport == "udp" else asked.uri_params + b";transport=" + transport.encode()
    return b"sip:" + user + user_params + reach_params + b"@" + uri_host + params


class LoopGuard:
    """Counts INVITEs with the same calling and called number from SBCs, which reset Max-Forwards (CALLS 1.3)."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str, str], deque[float]] = {}

    def is_loop(self, sbc: int, caller: str, called: str, now_s: float) -> bool:
        """Note one INVITE; True if it is the LOOP_CALLS-th within LOOP_WINDOW_S."""
        key = (sbc, caller, called)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= MAX_LOOP_KEYS:
                self._forget(now_s)
            seen = self._seen[key] = deque(maxlen=LOOP_CALLS)
        seen.append(now_s)
        return len(seen) == LOOP_CALLS and now_s - seen[0] < LOOP_WINDOW_S

    def _forget(self, now_s: float) -> None:
        """Make room: what is over first, else everything."""
        kept = {key: seen for key, seen in self._seen.items() if now_s - seen[-1] < LOOP_WINDOW_S}
        self._seen = kept if len(kept) < MAX_LOOP_KEYS else {}


def _read_number(message: Message, trunk: Trunk) -> tuple[str, str | None, bytes, bytes] | Refusal:
    place = trunk.called_from
    uri = parse_uri(message.uri)
    kept_user, kept_uri = b"", b""
    if isinstance(uri, SipUri):
        kept_user = b"".join(_param(name, value) for name, value in uri.user_params if name.lower() not in _DROPPED_PARAMS)
        kept_uri = b"".join(_param(name, value) for name, value in uri.params if name.lower() not in _DROPPED_PARAMS)
    elif isinstance(uri, TelUri):
        kept_user = b"".join(
            _param(name, value) for name, value in uri.params if name.lower() not in _DROPPED_PARAMS | {b"phone-context"}
        )
        kept_uri = b";user=phone"
    if place != "request-uri":
        value = _header_for(message, place)
        if not value:
            return Refusal(404, 28, f"the number is looked for in {place}, which is not there")
        if place.startswith("header:") and not value.lstrip().startswith((b"<", b'"', b"sip:", b"tel:")):
            return value.decode("latin-1").strip(), None, kept_user, kept_uri
        uri = parse_name_addr(value).uri
    if not isinstance(uri, SipUri | TelUri):
        return Refusal(416, 111, "only sip: and tel: are routed")
    parts = parse_number_user(uri)
    digits = parts.user if trunk.called_format == "exact" else parts.digits
    if not digits:
        return Refusal(404, 1, "no number was dialled")
    context = None if parts.phone_context is None else parts.phone_context.decode("latin-1")
    return digits.decode("latin-1"), context, kept_user, kept_uri


def _header_for(message: Message, place: str) -> bytes:
    if place == "to":
        return message.value(TO)
    if place == "p-called-party-id":
        return message.value(CALLED_PARTY)
    if place == "diversion":
        return message.value(DIVERSION)
    if place == "history-info":
        return message.value(HISTORY_INFO)
    found = message.named(place.removeprefix("header:").encode())
    return found[0] if found else b""


def caller_of(value: bytes) -> str:
    """The calling number in a From line or an identity's value; "" if there is none, or it is withheld."""
    plain = _PLAIN_CALLER.search(value)
    if plain is not None:
        return plain.group(1).decode()
    try:
        uri = parse_name_addr(value_of(value) if value[:1].isalpha() and b":" in value[:32] else value).uri
    except SipSyntaxError:
        return ""
    if not isinstance(uri, SipUri | TelUri):
        return ""
    parts = parse_number_user(uri)
    user = (parts.digits or parts.user).decode("latin-1")
    return "" if user.lower() in ("anonymous", "restricted", "unavailable", "unknown") else user


def _is_priority(message: Message, trunk: Trunk) -> bool:
    try:
        asked = parse_resource_priorities(message.value(RESOURCE_PRIORITY))
    except SipSyntaxError:
        return False
    return any(value.namespace.decode("latin-1").lower() in trunk.priority for value in asked)


def _kept(params: bytes) -> bytes:
    kept = [piece for piece in params.split(b";")[1:] if piece.partition(b"=")[0].lower() not in _DROPPED_PARAMS]
    return b"".join(b";" + piece for piece in kept)


def _param(name: bytes, value: bytes | None) -> bytes:
    return b";" + name if value is None else b";" + name + b"=" + value
