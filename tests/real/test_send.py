"""INVITEs on the wire, as an SBC hears them: the number, headers set and removed, forged ones gone, who sent the call on."""

from __future__ import annotations

import re

from tests.real.test_calls import without_probes
from tests.real.test_overlays import sipctl
from tests.support.configs import BCP_SBCS, CARRIER, INSIDE, NUMBER, OUTSIDE, PRIMARY_SBCS, Plan, a_pair, a_plan
from tests.support.mute import Mute
from tests.support.processes import SIP_PORT, Net, Processes, wait_until
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier, start_sbc

ABROAD = 41
FORGED = "x-entry-POINT: board\r\nX-Trunk: secret\r\nX-Other: stays\r\n"
IDENTITY = "P-Asserted-Identity: <sip:+4930555@carrier.example>\r\nUser-to-User: 00414243\r\nSubject: hello\r\n"


def a_plan_that_sends(net: Net) -> Plan:
    plan = without_probes(a_plan(net), "fra", "ams")
    pairs = plan.sbcs["sbc_pairs"]
    pairs["fra"]["send"] = {
        "called": "02#{e164}",
        "headers": {"set": {"X-Entry-Point": "{entry_point}", "X-Dept": "{label.dept}"}, "remove": ["X-Trunk"]},
        "diversion": "dialled",
    }
    pairs["ams"]["send"] = {
        "called": "national", "country": "DE", "identity": "strip", "uui": "strip", "diversion": "history-info",
    }  # fmt: skip
    pairs["abroad"] = a_pair(net, "abroad", (ABROAD,), "frankfurt", send={"called": "e164-no-plus", "diversion": "dialled"})
    plan.dialplan["entry_points"]["acme-sales"] |= {"labels": {"dept": "sales"}, "called_at": {"bcp": "+493055512"}}
    plan.dialplan["exits"] = {"pstn": {"sbc_pair": "abroad", "allow": ["+44."], "max_calls": 5}}
    away = {"number": "+442012345", "exit": "pstn"}
    plan.dialplan["overlays"] = {"away": {"entry_points": {"acme-sales": {"to": away}}}}
    return plan


def an_invite(net: Net) -> bytes:
    return (
        f"INVITE sip:{NUMBER}@{net[OUTSIDE]} SIP/2.0\r\nVia: SIP/2.0/UDP {net[CARRIER]}:{SIP_PORT};branch=z9hG4bKsend\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:+4930123456@{net[CARRIER]}>;tag=1\r\nTo: <sip:{NUMBER}@{net[OUTSIDE]}>\r\n"
        f"Call-ID: send@carrier\r\nCSeq: 1 INVITE\r\nContact: <sip:c@{net[CARRIER]}:{SIP_PORT}>\r\n"
        f"{FORGED}{IDENTITY}Content-Length: 0\r\n\r\n"
    ).encode()


def the_invite(mute: Mute) -> list[str]:
    """Start line and headers of the INVITE an SBC heard; the same each time it was repeated."""
    wait_until(lambda: mute.count("INVITE") >= 1, 15, f"an INVITE at {mute.host}")
    (heard,) = {one.data for one in mute.heard if one.method == "INVITE"}
    return heard.decode().split("\r\n")


def named(lines: list[str], *names: str) -> list[str]:
    return [line for line in lines if line.lower().startswith(names)]


def test_each_pair_hears_the_invite_as_its_send_says(net: Net, group: Processes) -> None:
    first, _, other = PRIMARY_SBCS[0], PRIMARY_SBCS[1], BCP_SBCS[0]
    with Mute(net[first]) as fra, Mute(net[other]) as ams, Mute(net[CARRIER]) as carrier:
        a_running_product(group, a_plan_that_sends(net))
        carrier.send(an_invite(net), (net[OUTSIDE], SIP_PORT))
        lines = the_invite(fra)
        assert lines[0] == f"INVITE sip:02%23{NUMBER}@{net[first]} SIP/2.0"
        assert named(lines, "x-") == ["X-Other: stays", "X-Entry-Point: acme-sales", "X-Dept: sales"]
        assert named(lines, "p-asserted", "user-to", "subject") == IDENTITY.rstrip().split("\r\n")
        assert named(lines, "diversion", "history-info") == []
        lines = the_invite(ams)
        assert lines[0] == f"INVITE sip:03055512@{net[other]} SIP/2.0"
        assert named(lines, "x-", "p-asserted", "user-to", "subject") == ["X-Trunk: secret", "X-Other: stays", "Subject: hello"]
        assert named(lines, "diversion", "history-info") == [
            f"History-Info: <sip:{NUMBER}@{net[OUTSIDE]}>;index=1",
            f"History-Info: <sip:03055512@{net[other]};cause=302>;index=1.1;mp=1",
        ]


def test_a_call_that_leaves_through_an_exit_says_whose_it_was_and_is_answered(net: Net, group: Processes) -> None:
    abroad = start_sbc(group, net[ABROAD], messages=True)
    product: Product = a_running_product(group, a_plan_that_sends(net))
    wait_until(lambda: product.operating("abroad-a") == "in-service", 15, "abroad-a in service", 0.05)
    assert sipctl(product, "overlay", "on", "away", "--reason", "CHG9 move").returncode == 0
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=2).succeed(2, 20)
    abroad.wait_received("INVITE", 2)
    (log,) = abroad.folder.glob("*_messages.log")
    text = log.read_text(errors="replace")
    assert len(re.findall(rf"^INVITE sip:442012345@{re.escape(net[ABROAD])} SIP/2\.0", text, re.MULTILINE)) == 2
    diversion = f"Diversion: <sip:{NUMBER}@{net[INSIDE]};user=phone>;reason=unconditional;counter=1;privacy=off"
    assert text.count(diversion) == 2
