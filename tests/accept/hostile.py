"""Acceptance: what strangers, a hostile trunk and a hostile SBC can make us do, which is nothing."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Sequence

from tests.accept.lab import BCP_A, A, B, Lab, must
from tests.support.configs import CARRIER, INSIDE, NUMBER, OTHER_CARRIER, OUTSIDE, STRANGER
from tests.support.mute import Mute
from tests.support.processes import SIP_PORT, wait_until
from tests.support.sipp import Dialog, start_carrier, start_sbc

FOREIGN, TRUNK_MATE = 98, 13
HELD = 20
GUESSES = 10_000
GUESSES_PER_S = 2_000
TOKEN_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def a_request(method: str, uri: str, me: str, *, dialog: Dialog | None = None, route: str | None = None) -> bytes:
    """A request as a UA at `me` would write it, in a dialog or outside."""
    mark = f"{random.getrandbits(48):x}"
    known = dialog or Dialog(f"{mark}@{me}", mark, "", "")
    to_tag = f";tag={known.callee_tag}" if known.callee_tag else ""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {me}:{SIP_PORT};branch=z9hG4bK{mark}",
        *([f"Route: {route}"] if route else []),
        "Max-Forwards: 70",
        f"From: <sip:+4930555{random.randrange(10000)}@{me}>;tag={known.caller_tag}",
        f"To: <sip:{NUMBER}@{me}>{to_tag}",
        f"Call-ID: {known.call_id}",
        f"CSeq: {random.randrange(2, 1000)} {method}",
        f"Contact: <sip:x@{me}:{SIP_PORT}>",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def a_stranger_gets_no_packet(lab: Lab) -> list[str]:
    net = lab.net
    product = lab.start(lab.plan(tcp=True))
    sent = 0
    with Mute(net[STRANGER]) as stranger:
        for method in ("OPTIONS", "INVITE", "REGISTER", "BYE", "CANCEL", "ACK", "SUBSCRIBE", "NONSENSE"):
            for address in (net[OUTSIDE], net[INSIDE]):
                stranger.send(a_request(method, f"sip:{NUMBER}@{address}", net[STRANGER]), (address, SIP_PORT))
                sent += 1
        for garbage in (b"\r\n\r\n", b"\x00" * 100, b"INVITE", b"SIP/2.0 200 OK\r\n\r\n", b"A" * 60000):
            stranger.send(garbage, (net[OUTSIDE], SIP_PORT))
            sent += 1
        wait_until(lambda: product.status()["strangers"] >= 1, 5, "the stranger is counted")
        time.sleep(1)
        must(stranger.heard == [], f"a stranger heard {stranger.heard[:1]}")
    for address in (net[OUTSIDE], net[INSIDE]):
        heard = _over_tcp(net[STRANGER], address, a_request("INVITE", f"sip:{NUMBER}@{address}", net[STRANGER]))
        must(heard == b"", f"a stranger heard {heard[:60]!r} over TCP")
    return [f"0 packets out for {sent} in, 0 octets over TCP"]


def _over_tcp(me: str, address: str, data: bytes) -> bytes:
    """What somebody hears who connects and sends a message: all that came until the connection ended, or within two seconds."""
    heard = b""
    with socket.socket() as client:
        client.bind((me, 0))
        client.settimeout(2.0)
        with contextlib.suppress(OSError):  # closed in our face is an answer, too
            client.connect((address, SIP_PORT))
            client.sendall(data)
            while part := client.recv(65536):
                heard += part
    return heard


def a_hostile_trunk_and_sbc_reach_nobody_and_end_nothing(lab: Lab) -> list[str]:
    """Foreign Route, foreign Request-URI, another call's token, flipped tokens, forged responses, 10,000 guesses.

    Two attackers know everything, Call-IDs, tags and tokens of all calls: a trunk and a tenant's SBC of the plan, but not those
    of these calls. Two more are neighbours, another address of the calls' own trunk and the sibling of their SBC, and lack a
    Call-ID or a tag: with all of them they would be parties (docs/decisions/0016). Once the calls are over they know all, too.
    """
    net, group = lab.net, lab.group
    start_sbc(group, net[A])
    plan = lab.plan()
    plan.sbcs["trunks"]["carrier"]["sources"] = [f"{net[CARRIER]}/32", f"{net[TRUNK_MATE]}/32"]
    plan.sbcs["trunks"]["hostile"] = {"site": "frankfurt", "listen": "outside", "sources": [f"{net[OTHER_CARRIER]}/32"]}
    product = lab.start(plan, A)
    held = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=HELD, rate=50, hold_ms=40_000, messages=True)
    product.wait_calls(HELD)
    wait_until(lambda: len(held.dialogs()) == HELD, 5, "the tokens of all calls are known")
    dialogs = held.dialogs()
    outside, inside = (net[OUTSIDE], SIP_PORT), (net[INSIDE], SIP_PORT)
    with (
        Mute(net[FOREIGN]) as foreign, Mute(net[OTHER_CARRIER]) as trunk, Mute(net[BCP_A]) as sbc, Mute(net[TRUNK_MATE]) as mate,
        Mute(net[B]) as sibling,
    ):  # fmt: skip
        for attacker, door in ((trunk, outside), (sbc, inside)):
            _attack(attacker, door, net[FOREIGN], dialogs)
        at_sbc = [Dialog(known.call_id, known.callee_tag, known.caller_tag, known.token) for known in dialogs]
        for attacker, door, known in ((mate, outside, dialogs), (sibling, inside, at_sbc)):
            _attack_as_neighbour(attacker, door, net[FOREIGN], known)
            _forge_responses(attacker, door, net[FOREIGN], dialogs)
        guesses = _guess(((trunk, outside), (sbc, inside), (mate, outside), (sibling, inside)), dialogs)
        time.sleep(2)
        must(product.calls() == HELD, f"{product.calls()} of {HELD} calls are left")
        held.succeed(HELD, 60)
        product.wait_calls(0)
        for attacker, door, known in ((mate, outside, dialogs), (sibling, inside, at_sbc)):
            _attack(attacker, door, net[FOREIGN], known)
        time.sleep(2)
        must(foreign.heard == [], f"an unconfigured address heard {foreign.heard[:1]}")
    return [f"0 packets to an unconfigured address, 0 of {HELD} calls ended, {guesses} BYE guesses among the attacks"]


def _attack(attacker: Mute, door: tuple[str, int], foreign: str, dialogs: list[Dialog]) -> None:
    me, away = attacker.host, f"sip:x@{foreign}:{SIP_PORT}"
    attacker.send(a_request("INVITE", f"sip:{NUMBER}@{door[0]}", me, route=f"<sip:{foreign};lr>"), door)
    attacker.send(a_request("INVITE", away, me), door)
    for dialog, other in zip(dialogs, [*dialogs[1:], dialogs[0]], strict=True):
        ours, theirs = (f"<sip:{known.token}@{door[0]}:{SIP_PORT};lr>" for known in (dialog, other))
        stranger = Dialog(f"other-{dialog.call_id}", dialog.caller_tag, dialog.callee_tag, dialog.token)
        reversed_tags = Dialog(dialog.call_id, dialog.callee_tag, dialog.caller_tag, dialog.token)
        for method in ("BYE", "INVITE", "INFO", "ACK"):
            for known in (stranger, dialog, reversed_tags):
                attacker.send(a_request(method, away, me, dialog=known, route=ours), door)
                attacker.send(a_request(method, away, me, dialog=known, route=f"{ours}, <sip:{foreign};lr>"), door)
                attacker.send(a_request(method, away, me, dialog=known), door)
                attacker.send(a_request(method, away, me, dialog=known, route=theirs), door)
        for place in range(len(dialog.token)):
            letter = TOKEN_LETTERS[(TOKEN_LETTERS.index(dialog.token[place]) + 1) % len(TOKEN_LETTERS)]
            flipped = f"<sip:{dialog.token[:place]}{letter}{dialog.token[place + 1 :]}@{door[0]}:{SIP_PORT};lr>"
            attacker.send(a_request("BYE", away, me, dialog=dialog, route=flipped), door)
        time.sleep(0.02)
    _forge_responses(attacker, door, foreign, dialogs)


def _attack_as_neighbour(attacker: Mute, door: tuple[str, int], foreign: str, dialogs: list[Dialog]) -> None:
    """From an address of the dialogs' own trunk or tenant, seen from its side, but without the Call-ID or one of the tags.

    A token together with its own Call-ID and caller's tag is left out: such a request is relayed to the far end, which has to
    refuse a tag it does not know, and SIPp reads no tags (the simulation covers it).
    """
    me, away = attacker.host, f"sip:x@{foreign}:{SIP_PORT}"
    for dialog, other in zip(dialogs, [*dialogs[1:], dialogs[0]], strict=True):
        ours, theirs = (f"<sip:{known.token}@{door[0]}:{SIP_PORT};lr>" for known in (dialog, other))
        other_call = Dialog(f"other-{dialog.call_id}", dialog.caller_tag, dialog.callee_tag, dialog.token)
        no_tags = Dialog(dialog.call_id, "wrong", "wrong", dialog.token)
        no_from = Dialog(dialog.call_id, "wrong", dialog.callee_tag, dialog.token)
        no_to = Dialog(dialog.call_id, dialog.caller_tag, "wrong", dialog.token)
        for method in ("BYE", "INVITE", "INFO", "ACK"):
            for known in (other_call, no_tags):
                for route in (ours, theirs, f"{ours}, <sip:{foreign};lr>", f"<sip:{foreign};lr>", None):
                    attacker.send(a_request(method, away, me, dialog=known, route=route), door)
            for known in (no_from, no_to):
                for route in (theirs, f"{theirs}, <sip:{foreign};lr>", f"<sip:{foreign};lr>", None):
                    attacker.send(a_request(method, away, me, dialog=known, route=route), door)
        time.sleep(0.02)


def _forge_responses(attacker: Mute, door: tuple[str, int], foreign: str, dialogs: list[Dialog]) -> None:
    me = attacker.host
    for status in ("100 Trying", "180 Ringing", "200 OK", "486 Busy Here"):
        for dialog in dialogs:
            response = (
                f"SIP/2.0 {status}\r\nVia: SIP/2.0/UDP {door[0]}:{SIP_PORT};branch=z9hG4bK{random.getrandbits(96):x}\r\n"
                f"Via: SIP/2.0/UDP {foreign}:{SIP_PORT};branch=z9hG4bKx\r\nFrom: <sip:x@{me}>;tag={dialog.caller_tag}\r\n"
                f"To: <sip:{NUMBER}@{me}>;tag={dialog.callee_tag}\r\nCall-ID: {dialog.call_id}\r\nCSeq: 1 INVITE\r\n"
                f"Content-Length: 0\r\n\r\n"
            )
            attacker.send(response.encode(), door)


def _guess(attackers: Sequence[tuple[Mute, tuple[str, int]]], dialogs: list[Dialog]) -> int:
    """BYEs for calls that are up, with guessed tokens and tags, from each attacker in turn."""
    chance = random.Random(20)
    for step in range(GUESSES):
        dialog = dialogs[step % len(dialogs)]
        attacker, door = attackers[step % len(attackers)]
        token = "".join(chance.choice(TOKEN_LETTERS) for _ in dialog.token)
        known = Dialog(dialog.call_id, f"{chance.getrandbits(32):x}", f"{chance.getrandbits(32):x}", token)
        attacker.send(
            a_request("BYE", f"sip:x@{attacker.host}", attacker.host, dialog=known, route=f"<sip:{token}@{door[0]};lr>"), door
        )
        if step % (GUESSES_PER_S // 100) == 0:
            time.sleep(0.01)
    return GUESSES
