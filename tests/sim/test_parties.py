"""What an address of the plan may do in a dialog (CALLS 1.9, docs/decisions/0016).

A party is whoever sends from an address of the dialog's own trunk or tenant and knows its Call-ID and both tags: an SBC's sibling
with all of that is one, and may end the call, as a sibling that took over must. Everybody else is nobody, whatever he knows, and
a party reaches the dialog's own addresses and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from sipctl.testing.caller import Script
from sipctl.testing.party import Dialog
from sipctl.testing.sbc import Behaviour
from sipctl.testing.wire import Address, compose, host_port, read
from tests.sim.scenario import behave
from tests.sim.test_attacks import ELSEWHERE, Attack
from tests.support.world import MONITOR, World
from tests.support.world_plan import AMS_A, CARRIER_ONE, FRA_A, FRA_B, INSIDE, OUTSIDE

TRUNK_MATE, SIBLING = MONITOR, FRA_B  # other addresses of the dialogs' own trunk and tenant
OTHER_TRUNK: Address = ("198.51.100.40", 5060)
OTHER_TENANT = AMS_A
LISTED = (TRUNK_MATE, SIBLING, OTHER_TRUNK, OTHER_TENANT)
METHODS = ("BYE", "INVITE", "INFO", "ACK", "UPDATE", "CANCEL")
DIALOGS_OWN = {CARRIER_ONE[0], FRA_A[0]}
GUESSES = 10_000


class Scene(Attack):
    """Three calls up, both ends' views of them, and a tap on everything the router says."""

    def __init__(self) -> None:
        super().__init__()
        self.world.invariants.configured.add(OTHER_TRUNK[0])
        sbc = self.world.sbcs["fra-a"]
        self.at_sbc = [next(d for d in sbc.dialogs.values() if d.call_id == note.call_id) for note in self.notes]
        self.said: list[tuple[Address, bytes]] = []
        self.world.network.drop = self._tap

    def _tap(self, source: Address, to: Address, data: bytes) -> bool:
        if source in (INSIDE, OUTSIDE) and not data.startswith(b"OPTIONS "):
            self.said.append((to, data))
        return False

    def views(self, source: Address) -> list[Dialog]:
        """The dialogs as the end would see them whose side this address is on."""
        return self.at_sbc if source[0].startswith("10.") else self.dialogs

    def reached(self) -> set[str]:
        return {to[0] for to, _ in self.said}

    @property
    def records(self) -> int:
        assert self.world.router.core is not None
        return self.world.router.core.census()["answered"]


def foreign_ways(dialog: Dialog) -> list[tuple[str, list[str]]]:
    """Request-URI and Route set, each with somewhere else in it."""
    away = f"<sip:{ELSEWHERE};lr>"
    return [
        (f"sip:x@{ELSEWHERE}", dialog.route), (dialog.target, [*dialog.route, away]), (dialog.target, [away, *dialog.route]),
        (f"sip:x@{ELSEWHERE}", []), (f"sip:x@{ELSEWHERE}", [away]),
        (f"sip:x@{ELSEWHERE}", [dialog.route[0].replace(";lr", ""), f"<sip:{ELSEWHERE}>"]),
    ]  # fmt: skip


@pytest.mark.parametrize("source", [OTHER_TRUNK, OTHER_TENANT])
def test_who_is_of_another_trunk_or_tenant_moves_nothing_though_he_knows_everything(source: Address) -> None:
    scene = Scene()
    for views in (scene.dialogs, scene.at_sbc):
        for dialog in views:
            for method in METHODS:
                scene.forge(method, dialog, source=source)
                for uri, routes in foreign_ways(dialog):
                    scene.forge(method, dialog, source=source, uri=uri, routes=routes)
                scene.world.run(0.01)
    scene.world.run(2.0)
    assert scene.reached() <= {source[0]}, "answers go to whoever asked, and nothing else leaves"
    assert not [data for _, data in scene.said if data.startswith(b"SIP/2.0 2")]
    assert scene.records == 3
    scene.assert_harmless()


@pytest.mark.parametrize("source", [TRUNK_MATE, SIBLING])
@pytest.mark.parametrize("missing", ["call_id", "from_tag", "to_tag"])
def test_a_neighbour_without_the_call_id_or_one_of_the_tags_ends_nothing(missing: str, source: Address) -> None:
    scene = Scene()

    def forge(method: str, dialog: Dialog, *, uri: str | None = None, routes: list[str] | None = None) -> None:
        call_id, from_tag, to_tag = ("wrong" if missing == name else None for name in ("call_id", "from_tag", "to_tag"))
        scene.forge(method, dialog, source=source, uri=uri, routes=routes, call_id=call_id, from_tag=from_tag, to_tag=to_tag)

    views = scene.views(source)
    for dialog, other in zip(views, [*views[1:], views[0]], strict=True):
        for method in METHODS:
            forge(method, dialog)  # with the call's own token
            forge(method, dialog, routes=other.route)
            forge(method, dialog, routes=[])
            for uri, routes in foreign_ways(dialog):
                forge(method, dialog, uri=uri, routes=routes)
            scene.world.run(0.01)
    scene.world.run(40.0)
    assert scene.reached() <= DIALOGS_OWN | {source[0]}
    assert scene.records == 3
    scene.assert_harmless()


@pytest.mark.parametrize("source", [TRUNK_MATE, SIBLING])
def test_a_neighbour_who_knows_everything_is_a_party_of_that_dialog_and_of_no_other(source: Address) -> None:
    scene = Scene()
    mine = scene.views(source)[0]
    far_end = {FRA_A[0]} if source is TRUNK_MATE else {CARRIER_ONE[0]}
    for uri, routes in foreign_ways(mine):
        scene.forge("INFO", mine, source=source, uri=uri, routes=routes)
    scene.forge("BYE", mine, source=source, uri=f"sip:x@{ELSEWHERE}", routes=[*mine.route, f"<sip:{ELSEWHERE};lr>"])
    scene.world.run(2.0)
    assert scene.reached() <= far_end | {source[0]}, "only the dialog's other end, whatever Route and Request-URI say"
    assert {data.partition(b" ")[0] for to, data in scene.said if to[0] in far_end} <= {b"INFO", b"BYE"}
    assert scene.records == 2, "the BYE of a party ends its call"
    scene.world.run(160.0)
    assert [note.ended_by for note in scene.notes[1:]] == ["me", "me"]


@pytest.mark.parametrize("source", LISTED)
def test_nobody_else_cancels_a_ringing_call_though_he_copies_the_callers_own_branch(source: Address) -> None:
    world = World()
    world.run(3.0)
    world.invariants.configured |= {MONITOR[0], OTHER_TRUNK[0]}
    behave(world, fra_a=Behaviour(final_s=3.0))
    heard: list[bytes] = []

    def tap(sender: Address, to: Address, data: bytes) -> bool:
        if sender == CARRIER_ONE and data.startswith(b"INVITE "):
            heard.append(data)
        return False

    world.network.drop = tap
    note = world.call(script=Script(then=((5.0, "BYE"),)))
    world.run(1.0)
    invite = read(heard[0])
    for via in (invite.first("via"), f"SIP/2.0/UDP {host_port(source)};branch={invite.branch}"):
        headers = [
            ("Via", via), ("Max-Forwards", "70"), ("From", invite.first("from")), ("To", invite.first("to")),
            ("Call-ID", invite.call_id), ("CSeq", f"{invite.cseq} CANCEL"),
        ]  # fmt: skip
        world.send_raw(
            source, INSIDE if source[0].startswith("10.") else OUTSIDE, compose(f"CANCEL {invite.uri} SIP/2.0", headers)
        )
    world.run(20.0)
    assert note.final == 200 and note.ended_by == "me", world.tail()


@pytest.mark.parametrize("source", LISTED)
def test_guessed_byes_reach_nobody_and_end_nothing(source: Address) -> None:
    """Call-IDs are known, and now and then one of the tags or the token; 2,500 from each of four addresses."""
    scene = Scene()
    dice = Random(source[0])
    guess: Callable[[], str] = lambda: f"{dice.getrandbits(64):x}"  # noqa: E731
    for number in range(GUESSES // len(LISTED)):
        dialog = scene.views(source)[number % 3]
        known = number % 4
        scene.forge(
            "BYE", dialog, source=source, routes=dialog.route if known == 3 else [], uri=f"sip:x@{ELSEWHERE}",
            from_tag=None if known == 1 else guess(), to_tag=None if known == 2 else guess(),
        )  # fmt: skip
        if number % 50 == 0:
            scene.world.run(0.02)
    scene.world.run(2.0)
    assert scene.reached() <= {source[0]}
    assert scene.records == 3
    scene.assert_harmless()
