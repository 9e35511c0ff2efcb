"""What somebody at a listed address can try with messages of his own making: no packet leaves for elsewhere, no call ends."""

from __future__ import annotations

from random import Random

import pytest

from sipctl.testing.caller import Script
from sipctl.testing.ledger import CallNote
from sipctl.testing.party import Dialog
from sipctl.testing.sbc import ANSWER, Behaviour
from sipctl.testing.wire import Address, compose, host_port
from tests.support.world import MONITOR, World
from tests.support.world_plan import AMS_A, FRA_A, FRA_B, INSIDE, OUTSIDE, SALES, STRANGER

ELSEWHERE = "192.0.2.99"
LONG = Script(then=((120.0, "BYE"),))


class Attack:
    """A world with three calls up, whose router is sent forged messages; parties stay quiet about what they see of these."""

    def __init__(self) -> None:
        self.world = World()
        self.world.run(3.0)
        self.notes = [self.world.call(script=LONG) for _ in range(3)]
        self.world.run(2.0)
        self.world.invariants.configured.add(MONITOR[0])
        self.world.invariants.judges_parties = False
        self.dialogs = [self._dialog(note) for note in self.notes]
        self._count = 0

    def forge(
        self, method: str, dialog: Dialog, *, source: Address = MONITOR, uri: str | None = None, routes: list[str] | None = None,
        call_id: str | None = None, to_tag: str | None = None, from_tag: str | None = None,
    ) -> None:  # fmt: skip
        """Send one request that resembles one of the caller's."""
        self._count += 1
        headers = [
            ("Via", f"SIP/2.0/UDP {host_port(source)};branch=z9hG4bKforged{self._count}"),
            *(("Route", route) for route in (dialog.route if routes is None else routes)),
            ("Max-Forwards", "70"),
            ("From", f"<sip:x@{source[0]}>;tag={from_tag or dialog.local_tag}"),
            ("To", f"<sip:y@{OUTSIDE[0]}>" + (f";tag={to_tag or dialog.remote_tag}" if to_tag != "" else "")),
            ("Call-ID", call_id or dialog.call_id),
            ("CSeq", f"{900 + self._count} {method}"),
            ("Contact", f"<sip:x@{ELSEWHERE}>"),
        ]
        to = INSIDE if source[0].startswith("10.") else OUTSIDE
        self.world.send_raw(source, to, compose(f"{method} {uri or dialog.target} SIP/2.0", headers))

    def assert_harmless(self) -> None:
        """The calls are up, and end by their own BYE."""
        self.world.run(5.0)
        assert all(note.is_up for note in self.notes), self.world.tail()
        self.world.run(160.0)
        for note in self.notes:
            assert note.ended_by == "me" and note.in_dialog == [("BYE", 200)], f"{note}\n{self.world.tail()}"

    def _dialog(self, note: CallNote) -> Dialog:
        assert note.is_up
        return next(dialog for dialog in self.world.callers["carrier-one"].dialogs.values() if dialog.note is note)


@pytest.mark.parametrize("source", [MONITOR, FRA_A])
def test_a_foreign_route_after_ours_leads_nowhere(source: Address) -> None:
    attack = Attack()
    for method in ("BYE", "INFO", "INVITE", "ACK"):
        for dialog in attack.dialogs:
            attack.forge(method, dialog, source=source, routes=[*dialog.route, f"<sip:{ELSEWHERE};lr>"], to_tag="wrong")
            attack.forge(method, dialog, source=source, routes=[f"<sip:{ELSEWHERE};lr>"], to_tag="wrong")
    attack.assert_harmless()


def test_a_new_call_with_a_foreign_route_is_refused() -> None:
    attack = Attack()
    for routes in ([f"<sip:{ELSEWHERE};lr>"], [f"<sip:{host_port(OUTSIDE)};lr>", f"<sip:{ELSEWHERE};lr>"]):
        uri, call_id = f"sip:{SALES}@{OUTSIDE[0]}", f"new{len(routes)}"
        attack.forge("INVITE", attack.dialogs[0], routes=routes, to_tag="", call_id=call_id, uri=uri)
        attack.world.run(0.5)
        assert any(data.startswith(b"SIP/2.0 403") for _, data in attack.world.unclaimed)
        attack.world.unclaimed.clear()
    attack.assert_harmless()


@pytest.mark.parametrize("source", [MONITOR, FRA_A])
def test_a_foreign_request_uri_in_a_dialog_is_not_where_it_goes(source: Address) -> None:
    attack = Attack()
    for method in ("BYE", "INFO", "ACK"):
        for dialog in attack.dialogs:
            attack.forge(method, dialog, source=source, uri=f"sip:x@{ELSEWHERE}", to_tag="wrong")
            attack.forge(method, dialog, source=source, uri=f"sip:x@{host_port(STRANGER)}", to_tag="wrong", routes=[])
    attack.assert_harmless()


def test_the_token_of_another_call_is_worth_nothing() -> None:
    attack = Attack()
    first, second, third = attack.dialogs
    for mine, other in ((first, second), (second, third), (third, first)):
        attack.forge("BYE", mine, routes=other.route, to_tag="wrong")
        attack.forge("BYE", mine, routes=other.route, from_tag="wrong")
        attack.forge("BYE", mine, routes=mine.route, from_tag="wrong")
    attack.world.run(1.0)
    assert not [data for _, data in attack.world.unclaimed if data.startswith(b"SIP/2.0 200")]
    attack.assert_harmless()


def test_a_token_with_any_bit_changed_is_worth_nothing() -> None:
    attack = Attack()
    dialog = attack.dialogs[0]
    route = dialog.route[0]
    token = route.removeprefix("<sip:").partition("@")[0]
    for index in range(len(token)):
        changed = token[:index] + ("b" if token[index] != "b" else "c") + token[index + 1 :]
        attack.forge("BYE", dialog, routes=[route.replace(token, changed)], to_tag="wrong")
        attack.world.run(0.05)
    attack.assert_harmless()


def test_guessed_byes_end_nothing() -> None:
    attack = Attack()
    dice = Random(1)
    for number in range(600):
        dialog = attack.dialogs[number % 3]
        tag = f"{dice.getrandbits(64):x}"
        source = (MONITOR, FRA_A)[number % 2]
        routes = (dialog.route, [], [f"<sip:{dice.getrandbits(128):x}@{host_port(OUTSIDE)};lr>"])[number % 3]
        attack.forge("BYE", dialog, source=source, routes=routes, to_tag=tag, from_tag=tag if number % 2 else None)
        attack.world.run(0.01)
    attack.assert_harmless()


def test_a_response_with_a_forged_via_goes_nowhere() -> None:
    attack = Attack()
    dialog = attack.dialogs[0]
    for number, branch in enumerate(("z9hG4bK", "z9hG4bK0", "z9hG4bKforged", "z9hG4bK-" + "a" * 40, "x")):
        for status in (100, 180, 200, 404, 503):
            headers = [
                ("Via", f"SIP/2.0/UDP {host_port(INSIDE)};branch={branch}{number}"),
                ("Via", f"SIP/2.0/UDP {ELSEWHERE}:5060;branch=z9hG4bKelse"),
                ("From", f"<sip:x@{OUTSIDE[0]}>;tag={dialog.local_tag}"),
                ("To", f"<sip:y@{OUTSIDE[0]}>;tag={dialog.remote_tag}"),
                ("Call-ID", dialog.call_id),
                ("CSeq", "1 INVITE"),
            ]
            attack.world.send_raw(FRA_A, INSIDE, compose(f"SIP/2.0 {status} Forged", headers))
    attack.assert_harmless()


def test_a_strangers_requests_in_a_dialog_he_has_seen_are_not_answered() -> None:
    attack = Attack()
    for dialog in attack.dialogs:
        for method in ("BYE", "INVITE", "ACK", "CANCEL", "OPTIONS"):
            attack.forge(method, dialog, source=STRANGER)
    attack.world.run(2.0)
    assert not [data for to, data in attack.world.unclaimed if to[0] == STRANGER[0]]
    attack.assert_harmless()


RINGS_FIVE_SECONDS = Behaviour(final_s=5.0)
FORGED_STATUSES = (100, 180, 200, 302, 404, 486, 503, 603)


def _forged_response(invite: bytes, status: int, to_tag: str) -> bytes:
    """An answer to a request of the router's, Via lines, branch and all: as an SBC that saw it would write it."""
    kept = [
        line for line in invite.split(b"\r\n") if line.startswith((b"Via:", b"From:", b"Call-ID:", b"CSeq:", b"Record-Route:"))
    ]
    to = next(line for line in invite.split(b"\r\n") if line.startswith(b"To:"))
    to += b"" if b";tag=" in to else b";tag=" + to_tag.encode()
    contact = f"Contact: <sip:x@{ELSEWHERE}>".encode()
    return b"\r\n".join((b"SIP/2.0 %d Forged" % status, *kept, to, contact, b"Content-Length: 0", b"", b""))


@pytest.mark.parametrize("source", [AMS_A, MONITOR, STRANGER])
def test_the_branch_of_a_live_call_is_worth_nothing_to_whom_it_was_not_sent(source: Address) -> None:
    attack = Attack()
    world = attack.world
    seen: list[bytes] = []

    def watch(sender: Address, to: Address, data: bytes) -> bool:
        if sender == INSIDE and data.startswith((b"INVITE", b"BYE", b"INFO")):
            seen.append(data)
        return False

    world.network.drop = watch
    for behaviour, after_s in ((RINGS_FIVE_SECONDS, 0.3), (ANSWER, 2.0)):
        for name in ("fra-a", "fra-b"):
            world.sbcs[name].behave = behaviour
        placed = world.call(script=LONG)
        world.run(after_s)
        assert seen, "the router's own messages were seen"
        for number, status in enumerate(FORGED_STATUSES * 2):
            for message in seen:
                world.send_raw(
                    source, INSIDE if source != MONITOR else OUTSIDE, _forged_response(message, status, f"forged{number}")
                )
        world.run(1.0)
        assert placed.final == (200 if placed.is_up else None), "what was forged reached the caller"
        assert not [tag for tag in placed.tags if tag.startswith("forged")]
        attack.notes.append(placed)
    world.run(10.0)
    assert not [to for to, _ in world.unclaimed if to[0] in (ELSEWHERE, STRANGER[0])]
    attack.assert_harmless()


def test_the_sibling_of_an_sbc_may_answer_for_it() -> None:
    world = World()
    world.run(3.0)
    seen: list[bytes] = []

    def takes(sender: Address, to: Address, data: bytes) -> bool:
        is_invite = to == FRA_A and data.startswith(b"INVITE")
        if is_invite:
            seen.append(data)
        return is_invite

    world.network.drop = takes
    world.invariants.judges_parties = False
    placed = world.call()
    world.run(0.3)
    world.send_raw(FRA_B, INSIDE, _forged_response(seen[0], 486, "sibling"))
    world.run(1.0)
    assert placed.final == 486, world.tail()
