"""A live call's real branch, copied by listed parties it was not sent to: what they answer reaches nobody."""

from __future__ import annotations

from tests.support.configs import BCP_SBCS, CARRIER, INSIDE, NUMBER, OTHER_CARRIER, OUTSIDE, PRIMARY_SBCS, STRANGER, a_plan
from tests.support.mute import Heard, Mute
from tests.support.processes import SIP_PORT, Net, Processes, wait_until
from tests.support.product import a_running_product

FOREIGN = 98
FORGED = (
    "100 Trying",
    "180 Ringing",
    "200 OK",
    "302 Moved",
    "404 Not Found",
    "486 Busy Here",
    "503 Service Unavailable",
    "603 No",
)


def an_invite(me: str, door: str) -> bytes:
    return (
        f"INVITE sip:{NUMBER}@{door} SIP/2.0\r\nVia: SIP/2.0/UDP {me}:{SIP_PORT};branch=z9hG4bKcopied\r\nMax-Forwards: 70\r\n"
        f"From: <sip:+493055501@{me}>;tag=caller\r\nTo: <sip:{NUMBER}@{door}>\r\nCall-ID: copied@{me}\r\nCSeq: 1 INVITE\r\n"
        f"Contact: <sip:caller@{me}:{SIP_PORT}>\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def an_answer(invite: bytes, status: str, tag: str, contact: str) -> bytes:
    """What whoever saw this INVITE would answer, Via lines, branch and all."""
    names = (b"Via:", b"From:", b"Call-ID:", b"CSeq:", b"Record-Route:")
    lines = invite.split(b"\r\n")
    to = next(line for line in lines if line.startswith(b"To:")) + f";tag={tag}".encode()
    kept = [line for line in lines if line.startswith(names)]
    contact_line = f"Contact: <sip:x@{contact}:{SIP_PORT}>".encode()
    return b"\r\n".join((f"SIP/2.0 {status}".encode(), *kept, to, contact_line, b"Content-Length: 0", b"", b""))


def test_answers_with_a_copied_branch_from_elsewhere_are_nobodys(net: Net, group: Processes) -> None:
    plan = a_plan(net)
    for pair in plan.sbcs["sbc_pairs"].values():
        pair["probe"] = "off"
    with (
        Mute(net[CARRIER]) as caller, Mute(net[PRIMARY_SBCS[0]]) as sbc, Mute(net[BCP_SBCS[0]]) as other_tenant,
        Mute(net[OTHER_CARRIER]) as other_trunk, Mute(net[STRANGER]) as stranger, Mute(net[FOREIGN]) as foreign,
    ):  # fmt: skip
        product = a_running_product(group, plan)
        outside, inside = (net[OUTSIDE], SIP_PORT), (net[INSIDE], SIP_PORT)
        caller.send(an_invite(net[CARRIER], net[OUTSIDE]), outside)
        wait_until(lambda: sbc.count("INVITE") > 0, 10, "the SBC hears the call")
        invite = next(one.data for one in sbc.heard if one.method == "INVITE")
        sbc.send(an_answer(invite, "180 Ringing", "sbc", net[PRIMARY_SBCS[0]]), inside)
        wait_until(lambda: any(b"180 Ringing" in one.data for one in caller.heard), 10, "the caller hears it ring")

        def forge() -> None:
            for attacker, door in ((other_tenant, inside), (other_trunk, outside), (stranger, inside), (stranger, outside)):
                for status in FORGED:
                    attacker.send(an_answer(invite, status, "forged", net[FOREIGN]), door)

        forge()
        sbc.send(an_answer(invite, "200 OK", "sbc", net[PRIMARY_SBCS[0]]), inside)  # handed in behind all that was forged
        wait_until(lambda: any(b"200 OK" in one.data for one in caller.heard), 10, "the caller is answered")
        forge()
        product.wait_calls(1)
        sbc.send(an_answer(invite, "200 OK", "sbc", net[PRIMARY_SBCS[0]]), inside)
        before = sum(b"200 OK" in one.data for one in caller.heard)
        wait_until(
            lambda: sum(b"200 OK" in one.data for one in caller.heard) > before or before > 1, 10, "what was forged was read"
        )
        assert product.calls() == 1 and not foreign.heard and not stranger.heard
        assert not [one.start_line for one in caller.heard if b"forged" in one.data]
        assert not [one.start_line for one in _others(other_tenant, other_trunk)], "and its forgers hear nothing"


def _others(*parties: Mute) -> list[Heard]:
    return [one for party in parties for one in party.heard]
