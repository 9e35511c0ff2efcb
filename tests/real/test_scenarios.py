"""The judges judged: SIPp's scenarios against each other with nothing in between, so that a red test elsewhere is ours."""

import time

from tests.accept.hostile import a_request
from tests.support.kamailio import start_proxy
from tests.support.mute import Mute
from tests.support.processes import SIP_PORT, Net, Processes, wait_until
from tests.support.sipp import (
    ENDED_BY_CALLEE,
    Dialog,
    start_carrier,
    start_deaf_later_sbc,
    start_refusing_sbc,
    start_sbc,
)

NUMBER = "+4930901820"


def test_carrier_and_sbc_agree_on_a_call_ended_by_the_caller(net: Net, group: Processes) -> None:
    sbc = start_sbc(group, net[21])
    carrier = start_carrier(group, net[11], net[21], NUMBER, calls=20, rate=50, response_times=True)
    carrier.succeed(20, 15)
    sbc.wait_received("INVITE", 20)
    sbc.wait_received("BYE", 20)
    assert len(carrier.response_times_ms()) == 20


def test_carrier_and_sbc_agree_over_tcp(net: Net, group: Processes) -> None:
    start_sbc(group, net[21], transport="t1")
    start_carrier(group, net[11], net[21], NUMBER, calls=5, rate=50, transport="t1").succeed(5, 15)


def test_carrier_and_sbc_agree_on_a_call_ended_by_the_callee(net: Net, group: Processes) -> None:
    start_sbc(group, net[21], "sbc_answer_and_hang_up", hold_ms=100)
    start_carrier(group, net[11], net[21], NUMBER, "carrier_hangup_by_callee", calls=5, rate=50).succeed(5, 15)


def test_carrier_cancels_a_ringing_call(net: Net, group: Processes) -> None:
    sbc = start_sbc(group, net[21], "sbc_ring")
    start_carrier(group, net[11], net[21], NUMBER, "carrier_cancel", calls=3, rate=50).succeed(3, 15)
    wait_until(lambda: sbc.counts().successful == 3, 5, "the SBC saw three cancelled calls end")


def test_carrier_is_refused(net: Net, group: Processes) -> None:
    start_refusing_sbc(group, net[21], 503, "Service Unavailable", ["Retry-After: 30"])
    start_carrier(group, net[11], net[21], NUMBER, "carrier_refused", calls=3, fill={"STATUS": "503"}).succeed(3, 15)


def test_a_wrong_answer_fails_the_call(net: Net, group: Processes) -> None:
    start_refusing_sbc(group, net[21], 486, "Busy Here")
    counts = start_carrier(group, net[11], net[21], NUMBER, "carrier_refused", calls=1, fill={"STATUS": "503"}).finish(15)
    assert (counts.successful, counts.failed) == (0, 1)


def test_an_sbc_goes_deaf_to_new_calls_and_the_callers_hang_up(net: Net, group: Processes) -> None:
    deaf_from_unix_s = int(time.time()) + 2
    sbc = start_deaf_later_sbc(group, net[21], deaf_from_unix_s)
    start_carrier(group, net[11], net[21], NUMBER, calls=5, rate=50, hold_ms=3000).succeed(5, 15)
    sbc.wait_received("BYE", 5)


def test_sbc_goes_deaf_and_its_calls_go_on(net: Net, group: Processes) -> None:
    deaf_from_unix_s = int(time.time()) + 3
    sbc = start_deaf_later_sbc(group, net[21], deaf_from_unix_s, ended_by=ENDED_BY_CALLEE, hold_ms=5000)
    before = start_carrier(group, net[11], net[21], NUMBER, "carrier_hangup_by_callee", calls=5, rate=50)
    before.wait_for_calls(5, 5)
    wait_until(lambda: time.time() > deaf_from_unix_s + 0.2, 10, "the SBC is deaf")
    after = start_carrier(group, net[12], net[21], NUMBER, calls=1)
    before.succeed(5, 15)
    wait_until(lambda: sbc.counts().successful >= 5, 5, "five calls ended by the SBC")
    assert after.counts().successful == 0
    after.child.end()


def test_a_call_passes_kamailio_both_ways_of_hanging_up(net: Net, group: Processes) -> None:
    start_sbc(group, net[21])
    start_sbc(group, net[22], "sbc_answer_and_hang_up", hold_ms=100)
    start_proxy(group, net[41], net[21])
    start_proxy(group, net[42], net[22])
    start_carrier(group, net[11], net[41], NUMBER, calls=3).succeed(3, 15)
    start_carrier(group, net[12], net[42], NUMBER, "carrier_hangup_by_callee", calls=3).succeed(3, 15)


def test_a_slow_sbc_answers_after_its_silence(net: Net, group: Processes) -> None:
    start_sbc(group, net[21], "sbc_slow", hold_ms=700)
    carrier = start_carrier(group, net[11], net[21], NUMBER, calls=3, rate=50, response_times=True)
    carrier.succeed(3, 15)
    assert min(carrier.response_times_ms()) >= 690


def test_an_sbc_begins_to_refuse_and_its_calls_go_on(net: Net, group: Processes) -> None:
    refuses_from_unix_s = int(time.time()) + 2
    sbc = start_deaf_later_sbc(group, net[21], refuses_from_unix_s, refuses=True)
    held = start_carrier(group, net[11], net[21], NUMBER, calls=5, rate=50, hold_ms=4000)
    held.wait_for_calls(5, 5)
    wait_until(lambda: time.time() > refuses_from_unix_s + 0.2, 10, "the SBC refuses")
    start_carrier(group, net[12], net[21], NUMBER, "carrier_refused", calls=2, fill={"STATUS": "500"}).succeed(2, 10)
    held.succeed(5, 15)
    sbc.wait_received("BYE", 5)


def test_a_sibling_answers_the_bye_of_a_call_it_never_saw(net: Net, group: Processes) -> None:
    sibling = start_sbc(group, net[21], "sbc_sibling")
    with Mute(net[11]) as carrier:
        bye = a_request("BYE", f"sip:{net[21]}", net[11], dialog=Dialog("a@b", "1", "2", ""))
        carrier.send(bye, (net[21], SIP_PORT))
        wait_until(lambda: carrier.heard, 5, "the BYE is answered")
        assert carrier.heard[0].start_line == "SIP/2.0 200 OK"
    sibling.wait_received("BYE", 1)
