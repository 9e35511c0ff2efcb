"""How INVITEs leave towards pairs with `send`, on a core that is fed by hand: retargeted, advanced, cancelled, adopted."""

from __future__ import annotations

from functools import lru_cache

import pytest

from sipctl.call.records import Records
from sipctl.dialplan.compile import compile_plan
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.table import Table, load_table
from tests.call.support import Bench, Out, a_response, an_invite
from tests.support.plans import a_state

EDGE = """
listen: {outside: {bind: "udp:203.0.113.9:5060"}, inside: {bind: "udp:10.1.0.5:5060"}}
trunks: {carrier: {listen: outside, sources: [198.51.100.0/28], trust: [p-asserted-identity, diversion]}}
sbc_pairs:
  fra:
    listen: inside
    probe: off
    sbcs: {fra-a: {uri: "sip:10.4.1.11"}, fra-b: {uri: "sip:10.4.1.12", priority: 2}}
    send:
      called: "02#{e164}"
      headers: {set: {X-Entry-Point: "{entry_point}", X-Way: "{sbc} {trunk} {side} {calling}"}, remove: [X-Trunk]}
      diversion: dialled
  ams:
    listen: inside
    probe: off
    sbcs: {ams-a: {uri: "sip:10.5.1.11"}, ams-b: {uri: "sip:10.5.1.12", priority: 2}}
    send:
      {called: national, country: DE, identity: strip, uui: strip, diversion: history-info, headers: {set: {X-Who: "{calling}"}}}
  out:
    listen: inside
    probe: off
    sbcs: {out-a: {uri: "sip:10.6.1.11"}, out-b: {uri: "sip:10.6.1.12", priority: 2}}
    send: {called: e164-no-plus, diversion: dialled}
  plain:
    listen: inside
    probe: off
    sbcs: {plain-a: {uri: "sip:10.7.1.11"}, plain-b: {uri: "sip:10.7.1.12", priority: 2}}
tenants: {prod: {reached_by: fra}, bcp: {reached_by: ams}}
"""
PLAN = """
continuity_groups: {acme: {primary: prod, bcp: bcp, failover: automatic}}
exits: {pstn: {sbc_pair: out, allow: ["+44."], max_calls: 50}}
entry_points:
  sales: {group: acme, numbers: ["+4930901820"]}
  night: {group: acme, numbers: ["+4930901821"]}
overlays:
  to-night: {entry_points: {sales: {to: {entry_point: night}}}}
  to-exit: {entry_points: {"*": {to: {number: "+442012345", exit: pstn}}}}
  to-plain: {entry_points: {"*": {to: {sbc_pair: plain, called: "+4930901899"}}}}
"""
PAI = b"P-Asserted-Identity: <sip:+4930555@198.51.100.1>\r\n"
UUI = b"User-to-User: 00414243\r\n"
NIGHT_DIVERSION = b"Diversion: <sip:+4930901820@10.1.0.5;user=phone>;reason=unconditional;counter=1;privacy=off"


@lru_cache(maxsize=1)
def the_table() -> Table:
    compiled = compile_plan({"sbc_configs/a.yaml": EDGE.encode(), "dialplans/a.yaml": PLAN.encode()}, {}, revision=1)
    assert compiled.image, compiled.findings
    return load_table(compiled.image)


def a_bench(*overlays: str, memory: memoryview | None = None) -> Bench:
    table = the_table()
    state = a_state(table, overlays=tuple((name, 0.0) for name in overlays))
    return Bench(RoutingSnapshot.build(table, state), memory=memory)


def invites(out: Out) -> list[tuple[str, list[bytes]]]:
    """(host, start line and headers) of every INVITE sent."""
    return [(to[0], data.partition(b"\r\n\r\n")[0].split(b"\r\n")) for _, data, to in out if data.startswith(b"INVITE")]


def the_invite(out: Out) -> tuple[str, list[bytes]]:
    (found,) = invites(out)
    return found


def test_the_number_and_the_headers_leave_as_the_pair_wants_them_and_forged_ones_do_not() -> None:
    forged = b"x-entry-point: board\r\nX-Trunk: secret\r\nX-Other: stays\r\n"
    host, lines = the_invite(a_bench().receive(an_invite(headers=forged)))
    assert (host, lines[0]) == ("10.4.1.11", b"INVITE sip:02%23+4930901820@10.4.1.11 SIP/2.0")
    assert [line for line in lines if line.lower().startswith(b"x-")] == [
        b"X-Other: stays", b"X-Entry-Point: sales", b"X-Way: fra-a carrier primary +4930123456",
    ]  # fmt: skip
    assert b"To: <sip:+4930901820@203.0.113.9>" in lines, "To is the caller's"
    assert not any(line.startswith(b"Diversion") for line in lines), "it goes where it was dialled to"


def test_a_forged_header_reaches_no_pair_even_one_without_send() -> None:
    host, lines = the_invite(a_bench("to-plain").receive(an_invite(headers=b"X-ENTRY-POINT\t: board\r\nX-Trunk: stays\r\n")))
    assert (host, lines[0]) == ("10.7.1.11", b"INVITE sip:+4930901899@10.7.1.11 SIP/2.0")
    assert [line for line in lines if line.lower().startswith(b"x-")] == [b"X-Trunk: stays"]


def test_a_call_that_an_overlay_sends_on_tells_its_diversion() -> None:
    lines = the_invite(a_bench("to-night").receive(an_invite(headers=b"Diversion: <sip:+4989@a>\r\n")))[1]
    assert [line for line in lines if line.startswith(b"Diversion")] == [NIGHT_DIVERSION, b"Diversion: <sip:+4989@a>"]
    assert b"X-Entry-Point: night" in lines


def test_a_call_that_leaves_through_an_exit_says_whose_it_was() -> None:
    host, lines = the_invite(a_bench("to-exit").receive(an_invite(headers=PAI)))
    assert (host, lines[0]) == ("10.6.1.11", b"INVITE sip:442012345@10.6.1.11 SIP/2.0")
    assert NIGHT_DIVERSION in lines and PAI.strip() in lines


def test_the_next_attempt_leaves_as_its_own_pair_wants_it() -> None:
    bench = a_bench("to-night")
    first = the_invite(bench.receive(an_invite(headers=PAI + UUI)))
    found = [first, *invites(bench.run(8.0))]
    hosts = list(dict.fromkeys(host for host, _ in found))
    assert hosts == ["10.4.1.11", "10.4.1.12", "10.5.1.11", "10.5.1.12"]
    assert b"X-Way: fra-b carrier primary +4930555" in next(lines for host, lines in found if host == "10.4.1.12")
    lines = next(lines for host, lines in found if host == "10.5.1.11")
    assert lines[0] == b"INVITE sip:030901820@10.5.1.11 SIP/2.0"
    assert b"X-Who: +4930123456" in lines, "not the asserted number, which is stripped"
    assert not any(line.startswith((b"P-Asserted", b"User-to-User", b"Diversion", b"X-Way")) for line in lines)
    assert [line for line in lines if line.startswith(b"History-Info")] == [
        b"History-Info: <sip:+4930901820@203.0.113.9>;index=1",
        b"History-Info: <sip:030901820@10.5.1.11;cause=302>;index=1.1;np=1",
    ]


def test_retransmissions_are_the_same_bytes() -> None:
    bench = a_bench("to-night")
    out = bench.receive(an_invite()) + bench.run(0.9)
    assert len({data for _, data, to in out if data.startswith(b"INVITE")}) == 1
    assert len(invites(out)) >= 2


def test_cancel_and_ack_have_the_request_uri_of_their_invite() -> None:
    bench = a_bench()
    invite = next(entry for entry in bench.receive(an_invite()) if entry[1].startswith(b"INVITE"))
    bench.receive(a_response(invite[1], 180), 1, invite[2])
    cancel = an_invite().replace(b"INVITE", b"CANCEL")
    sent = [data for _, data, to in bench.receive(cancel) if to == invite[2]]
    assert [data.split(b" ")[:2] for data in sent] == [[b"CANCEL", b"sip:02%23+4930901820@10.4.1.11"]]


def test_a_cancel_nobody_remembers_has_the_request_uri_its_invite_had() -> None:
    sent = [data for _, data, to in a_bench().receive(an_invite().replace(b"INVITE", b"CANCEL")) if to[0].startswith("10.")]
    assert sorted({data.split(b" ")[1] for data in sent}) == [
        b"sip:02%23+4930901820@10.4.1.11", b"sip:02%23+4930901820@10.4.1.12",
        b"sip:030901820@10.5.1.11", b"sip:030901820@10.5.1.12",
    ]  # fmt: skip


# -- adoption --------------------------------------------------------------------------------------------------------------------


def adopted(before: Bench, *overlays: str) -> Out:
    """What a successor sends at once."""
    bench = a_bench(*overlays, memory=before.memory)
    bench.now_s = before.now_s
    out: Out = []
    bench.core.adopt(bench.now_s, out, bench.notes)
    return out


@pytest.mark.parametrize("seconds", [0.0, 1.2, 1.8, 2.4])
def test_a_successor_sends_the_same_bytes_for_the_same_attempt(seconds: float) -> None:
    bench = a_bench("to-night")
    sent = bench.receive(an_invite(headers=PAI + UUI)) + bench.run(seconds)
    last = [data for _, data, _ in sent if data.startswith(b"INVITE")][-1]
    assert [data for _, data, _ in adopted(bench, "to-night") if data.startswith(b"INVITE")] == [last]


def test_the_same_bytes_also_if_the_overlay_was_switched_off_meanwhile() -> None:
    bench = a_bench("to-night")
    sent = bench.receive(an_invite())
    assert NIGHT_DIVERSION in the_invite(sent)[1]
    assert invites(adopted(bench)) == invites(sent)


def test_an_invite_whose_edit_found_no_room_is_not_made_anew_but_searched_on() -> None:
    bench = a_bench("to-night")
    fill = b"X-Fill: " + b"x" * 2300 + b"\r\n"
    invite = an_invite(headers=fill)
    assert len(invites(bench.receive(invite))) == 1
    assert bench.core.counters["edits_without_record"] == 1
    successor = a_bench("to-night", memory=bench.memory)
    successor.now_s = bench.now_s
    out: Out = []
    successor.core.adopt(successor.now_s, out, successor.notes)
    assert invites(out) == []
    assert invites(successor.run(2.5))[0][0] == "10.4.1.12"


def test_an_edit_that_is_torn_or_of_another_call_is_none() -> None:
    bench = a_bench("to-night")
    bench.receive(an_invite())
    (setup,) = Records(bench.memory).setups()
    assert setup.edit is not None and setup.edit.number == 0
    at = bytes(bench.memory).find(setup.edit.edit.add)
    for place in (at, at - 5, at + len(setup.edit.edit.add) - 1):
        before = bench.memory[place]
        bench.memory[place] = before ^ 1
        (torn,) = Records(bench.memory).setups()
        assert torn.edit is None
        bench.memory[place] = before
    (whole,) = Records(bench.memory).setups()
    assert whole.edit == setup.edit
