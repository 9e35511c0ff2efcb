"""Cisco IOS dial-peers: patterns and the SIP servers behind them.

Peers with the same pattern are one entry point, their session targets one SBC pair in order of preference. In a
`destination-pattern`, `.` is any digit, `T` at the end any further digits, [1-5] a set, [^1-5] all others; `%`, `?`, `+` after a
digit and groups in parentheses repeat, which a plan cannot say.

Source: Cisco IOS Voice Command Reference, destination-pattern, session target, preference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sipctl.dialplan.importers.gathered import Gathered, Sbc, name_of

_PEER: Final = re.compile(r"dial-peer\s+voice\s+(\d+)\s+(voip|pots|mmoip|vofr|voatm)\s*(?:system)?$", re.IGNORECASE)
_TARGET: Final = re.compile(r"(ipv4|ipv6|dns):(\[[0-9A-Fa-f:.]+\]|[^:\s]+)(?::(\d+))?$", re.IGNORECASE)
_KNOWN: Final = ("description", "preference", "session protocol sipv2", "voice-class codec", "codec", "dtmf-relay", "no vad")
_MAX_TOLD: Final = 5


@dataclass(slots=True)
class _Peer:
    """One dial-peer as written."""

    tag: str
    kind: str
    line: int
    patterns: list[tuple[str, int]] = field(default_factory=list)
    target: str = ""
    target_line: int = 0
    transport: str = "udp"
    preference: int = 0
    is_shut: bool = False
    other: list[str] = field(default_factory=list)


def read(text: str, into: Gathered) -> None:
    """Take every outbound VoIP dial-peer."""
    peers = _peers(text)
    if not peers:
        into.skip(0, "there is no dial-peer in this file")
    by_pattern: dict[str, list[tuple[_Peer, int]]] = {}
    for peer in peers:
        if not _is_taken(peer, into):
            continue
        for written, line in peer.patterns:
            pattern = translate(written)
            if pattern is None:
                into.skip(line, f"dial-peer {peer.tag}: {written} cannot be said as a number, range or pattern")
            else:
                by_pattern.setdefault(pattern, []).append((peer, line))
    pairs: dict[tuple[str, ...], str] = {}
    for pattern, users in by_pattern.items():
        users.sort(key=lambda user: user[0].preference)
        sbcs = [sbc for peer, _ in users if (sbc := _sbc(peer, into)) is not None]
        name = name_of(f"peer-{users[0][0].tag}")
        if sbcs:
            key = tuple(f"{sbc.uri} {sbc.priority}" for sbc in sbcs)
            pair = pairs.setdefault(key, name)
            into.pairs.setdefault(pair, sbcs)
            into.groups[name_of(into.entry_point or pair)] = pair
            name = pair
        into.add(pattern, name, users[0][1])
    if into.numbers and any(not number.expression.endswith(".") for number in into.numbers.values()):
        into.note(0, "IOS lets a pattern without $ take longer numbers as well; here it takes its own length only")


def _peers(text: str) -> list[_Peer]:
    peers: list[_Peer] = []
    peer: _Peer | None = None
    for line, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        written = " ".join(raw.split())
        begins = _PEER.match(written)
        if begins is not None:
            peer = _Peer(begins[1], begins[2].lower(), line)
            peers.append(peer)
        elif peer is not None and raw[:1] in (" ", "\t"):
            _setting(peer, written, line)
        elif written:
            peer = None
    return peers


def _setting(peer: _Peer, written: str, line: int) -> None:
    word, _, rest = written.partition(" ")
    if word == "destination-pattern":
        peer.patterns.append((rest.strip(), line))
    elif written.startswith("session target "):
        peer.target, peer.target_line = written.removeprefix("session target ").strip(), line
    elif written.startswith("session transport "):
        peer.transport = written.removeprefix("session transport ").strip().lower()
    elif word == "preference" and rest.strip().isdigit():
        peer.preference = int(rest)
    elif written == "shutdown":
        peer.is_shut = True
    elif written and written != "!" and not written.startswith(_KNOWN):
        peer.other.append(written)


def _is_taken(peer: _Peer, into: Gathered) -> bool:
    if peer.kind != "voip":
        into.skip(peer.line, f"dial-peer {peer.tag} is {peer.kind}: only voip peers have SIP servers behind them")
        return False
    if peer.is_shut:
        into.skip(peer.line, f"dial-peer {peer.tag} is shut down")
        return False
    if not peer.patterns:
        into.skip(peer.line, f"dial-peer {peer.tag} has no destination-pattern", "incoming peers become trunks, by hand")
        return False
    if peer.other:
        told = "; ".join(peer.other[:_MAX_TOLD]) + (" …" if len(peer.other) > _MAX_TOLD else "")
        into.note(peer.line, f"dial-peer {peer.tag}: not carried over: {told}")
    return True


def _sbc(peer: _Peer, into: Gathered) -> Sbc | None:
    if not peer.target:
        into.note(peer.line, f"dial-peer {peer.tag} has no session target: its calls go to a placeholder")
        return None
    read = _TARGET.match(peer.target)
    if read is None:
        into.note(
            peer.target_line, f"dial-peer {peer.tag}: session target {peer.target} is no address", "a placeholder stands for it"
        )
        return None
    if peer.transport not in ("udp", "tcp"):
        into.note(
            peer.target_line, f"dial-peer {peer.tag}: transport {peer.transport} is not built yet", "a placeholder stands for it"
        )
        return None
    host = f"[{read[2]}]" if read[1].lower() == "ipv6" and not read[2].startswith("[") else read[2]
    port = read[3] or "5060"
    return Sbc(f"sip:{host}:{port};transport={peer.transport}", peer.preference + 1, 100, peer.target_line)


def translate(pattern: str) -> str | None:
    """A destination-pattern as our plans write it; None if they cannot."""
    body = pattern.removeprefix("^").replace("\\+", "+").replace(",", "")
    body = body.removesuffix("$")
    open_ended = body.endswith("T")
    body = body.removesuffix("T")
    plus = body.startswith("+")
    body = re.sub(r"\[\^([0-9-]+)\]", lambda match: _others(match[1]), body.removeprefix("+")).replace(".", "X")
    if not re.fullmatch(r"(?:[0-9X]|\[[0-9-]+\])+", body):
        return None
    return ("+" if plus else "") + body + ("." if open_ended else "")


def _others(inside: str) -> str:
    """The digits a [^…] allows, as a set."""
    excluded: set[str] = set()
    for low, high in re.findall(r"(\d)(?:-(\d))?", inside):
        excluded.update(str(digit) for digit in range(int(low), int(high or low) + 1))
    allowed = [digit for digit in "0123456789" if digit not in excluded]
    return f"[{''.join(allowed)}]" if allowed else "(none)"
