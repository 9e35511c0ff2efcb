"""The modelled caller and SBC, with a stateless proxy between them: they do what RFC 3261 says, and they notice who does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipctl.testing.caller import Caller, Script
from sipctl.testing.ledger import TIMED_OUT
from sipctl.testing.sbc import ANSWER, RING_FOR_EVER, SILENT, TRYING_ONLY, Behaviour, ModelSbc, refuse
from sipctl.testing.wire import Message, WireError, address_of, an_sdp, compose, is_intact, parameter, read, split_list
from tests.support.network import Network, Node, Weather, play
from tests.support.stateless import StatelessProxy

CALLER, PROXY, SBC = ("198.51.100.1", 5060), ("203.0.113.9", 5060), ("10.4.1.11", 5060)


class Trio:
    """Caller, stateless proxy, SBC and the network between them."""

    def __init__(
        self, behave: Behaviour | Callable[[Message], Behaviour] = ANSWER, *, weather: Weather | None = None, seed: int = 0,
        tamper: Callable[[bytes], bytes] | None = None,
    ) -> None:  # fmt: skip
        self.caller = Caller("caller", CALLER)
        self.sbc = ModelSbc("sbc", SBC, behave=behave)
        self.proxy = StatelessProxy(PROXY, SBC, tamper)
        self.network = Network(seed, weather)
        self.nodes: dict[tuple[str, int], Node] = {CALLER: self.caller, PROXY: self.proxy, SBC: self.sbc}
        self.now_s = 0.0

    def call(self, script: Script | None = None) -> str:
        note, out = self.caller.place("+4930901820", PROXY, self.now_s, script)
        for data, to in out:
            self.network.send(CALLER, to, data, self.now_s)
        return note.call_id

    def run(self, until_s: float) -> None:
        self.now_s = play(self.network, self.nodes, now_s=self.now_s, until_s=until_s)

    def tap(self, to: tuple[str, int] | None = None) -> list[bytes]:
        """Everything sent from now on, to one address or to all."""
        seen: list[bytes] = []

        def note(source: tuple[str, int], where: tuple[str, int], data: bytes) -> bool:
            if to in (None, where):
                seen.append(data)
            return False

        self.network.drop = note
        return seen

    @property
    def breaches(self) -> list[str]:
        return [str(breach) for breach in self.caller.ledger.breaches + self.sbc.ledger.breaches]


def test_a_call_is_answered_refreshed_and_ended_by_the_caller_without_a_breach() -> None:
    trio = Trio()
    call_id = trio.call(Script(then=((1.0, "INFO"), (2.0, "INVITE"), (3.0, "OPTIONS"), (4.0, "UPDATE"), (5.0, "BYE"))))
    trio.run(200.0)
    caller, sbc = trio.caller.ledger.calls[call_id], trio.sbc.ledger.calls[call_id]
    assert caller.final == 200 and caller.ended_by == "me" and sbc.ended_by == "peer"
    assert 180 in caller.provisionals
    assert caller.in_dialog == [("INFO", 200), ("INVITE", 200), ("OPTIONS", 200), ("UPDATE", 200), ("BYE", 200)]
    assert sbc.heard == ["INFO", "INVITE", "OPTIONS", "UPDATE", "BYE"]
    assert trio.breaches == []


def test_the_sbc_ends_a_call_too() -> None:
    trio = Trio(Behaviour(then=((1.0, "INVITE"), (2.0, "BYE"))))
    call_id = trio.call(Script())
    trio.run(200.0)
    assert trio.caller.ledger.calls[call_id].ended_by == "peer"
    assert trio.sbc.ledger.calls[call_id].in_dialog == [("INVITE", 200), ("BYE", 200)]
    assert trio.breaches == []


@pytest.mark.parametrize("status", [302, 404, 486, 500, 503, 603])
def test_a_refusal_is_acknowledged_and_ends_the_call(status: int) -> None:
    trio = Trio(refuse(status, retry_after_s=7, cause=17))
    call_id = trio.call()
    trio.run(200.0)
    note = trio.caller.ledger.calls[call_id]
    assert (note.final, note.ended_by) == (status, "refused")
    assert note.headers == {"retry-after": "7", "reason": "Q.850;cause=17"}
    assert trio.sbc.retransmissions == 0, "the ACK stopped the final"
    assert trio.breaches == []


def test_cancel_waits_for_a_provisional_and_ends_in_487() -> None:
    trio = Trio(Behaviour(trying_s=2.0, ring_s=None, final_s=None))
    call_id = trio.call(Script(cancel_after_s=0.5))
    trio.run(1.9)
    assert trio.caller.ledger.calls[call_id].cancelled_s is None
    trio.run(200.0)
    note = trio.caller.ledger.calls[call_id]
    assert note.cancelled_s == pytest.approx(2.0, abs=0.1)
    assert (note.final, note.ended_by) == (487, "cancelled")
    assert trio.breaches == []


def test_an_answer_that_crosses_cancel_is_acknowledged_and_ended() -> None:
    trio = Trio(Behaviour(final_s=1.0, answers_despite_cancel=True))
    call_id = trio.call(Script(cancel_after_s=0.9))
    trio.run(200.0)
    note = trio.caller.ledger.calls[call_id]
    assert (note.final, note.ended_by, note.in_dialog) == (200, "cancelled", [("BYE", 200)])
    assert trio.sbc.ledger.calls[call_id].ended_by == "peer" and not trio.sbc.legs_up
    assert trio.breaches == []


def test_a_forked_second_answer_is_acknowledged_and_ended_while_the_first_goes_on() -> None:
    trio = Trio(Behaviour(forks=1))
    call_id = trio.call(Script(then=((20.0, "BYE"),)))
    trio.run(10.0)
    note = trio.caller.ledger.calls[call_id]
    assert note.extra_legs == 1 and note.is_up and len(trio.sbc.legs_up) == 1
    trio.run(200.0)
    assert note.ended_by == "me" and not trio.sbc.legs_up
    assert trio.breaches == []


def test_silence_means_seven_invites_and_the_end_after_32_seconds() -> None:
    trio = Trio(SILENT)
    call_id = trio.call()
    trio.run(200.0)
    note = trio.caller.ledger.calls[call_id]
    assert (note.final, note.ended_s) == (TIMED_OUT, 32.0)
    assert trio.caller.retransmissions == 6


@pytest.mark.parametrize("behaviour", [TRYING_ONLY, RING_FOR_EVER])
def test_a_call_that_nobody_answers_is_cancelled_when_patience_ends(behaviour: Behaviour) -> None:
    trio = Trio(behaviour)
    call_id = trio.call(Script(patience_s=60.0))
    trio.run(300.0)
    assert trio.caller.ledger.calls[call_id].final == 487
    assert trio.breaches == []


def test_a_deaf_sbc_keeps_its_calls_and_a_mute_one_says_nothing() -> None:
    trio = Trio()
    up = trio.call(Script(then=((30.0, "BYE"),)))
    trio.run(5.0)
    trio.sbc.deaf_to_invites = trio.sbc.deaf_to_options = True
    lost = trio.call(Script())
    trio.run(100.0)
    assert trio.caller.ledger.calls[up].ended_by == "me"
    assert trio.caller.ledger.calls[lost].final == TIMED_OUT
    trio.sbc.deaf_to_invites, trio.sbc.mute = False, True
    lost = trio.call(Script())
    trio.run(200.0)
    assert trio.caller.ledger.calls[lost].final == TIMED_OUT and trio.sbc.invites == 1
    assert trio.breaches == []


def test_an_answer_that_is_never_acknowledged_ends_in_bye_after_32_seconds() -> None:
    trio = Trio()
    call_id = trio.call(Script())
    trio.network.drop = lambda source, to, data: data.startswith(b"ACK ")
    trio.run(200.0)
    note = trio.sbc.ledger.calls[call_id]
    assert note.ended_by == "no-ack" and note.ended_s == pytest.approx(32.5, abs=0.1)
    assert trio.sbc.retransmissions >= 9
    assert not trio.sbc.legs_up


@pytest.mark.parametrize("seed", range(40))
def test_loss_duplication_and_reordering_cause_no_breach_and_everything_ends(seed: int) -> None:
    weather = Weather(delay_s=0.01, jitter_s=0.4, loss=0.15, duplicate=0.15)
    trio = Trio(Behaviour(ring_s=0.3, final_s=1.0, forks=seed % 2), weather=weather, seed=seed)
    talk, cancel = Script(then=((1.0, "INFO"), (3.0, "INVITE"), (9.0, "BYE"))), Script(cancel_after_s=0.9)
    scripts = [talk, cancel, Script(then=((6.0, "BYE"),))]
    calls = [trio.call(scripts[index % 3]) for index in range(6)]
    trio.run(2000.0)
    assert all(trio.caller.ledger.calls[call_id].is_over for call_id in calls)
    assert not trio.sbc.legs_up and not trio.caller.open_transactions and not trio.sbc.open_transactions
    assert trio.caller.next_due_s is None and trio.sbc.next_due_s is None
    assert trio.breaches == []


def _swap(old: bytes, new: bytes, start: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new) if data.startswith(start) else data


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        (_swap(b"m=audio 40000", b"m=audio 40002", b"INVITE"), "the body changed"),
        (_swap(b"max-forwards: 69", b"max-forwards: 70", b"INVITE"), "not decremented"),
        (_swap(b"record-route: ", b"x-route: ", b"INVITE"), "without Record-Route"),
        (_swap(b"X-Seal", b"X-Other", b"INFO"), "did not make"),
        (_swap(b";tag=t", b";tag=u", b"BYE"), "never had"),
        (_swap(b";branch=z9hG4bKb", b";branch=z9hG4bKx", b"SIP/2.0 180"), "answers nothing"),
        (_swap(b";tag=f", b";tag=g", b"SIP/2.0 200"), "differ"),
        (_swap(b"SIP/2.0/UDP 198.51.100.1:5060", b"SIP/2.0/UDP 198.51.100.2:5060", b"SIP/2.0 180"), "not mine alone"),
        (_swap(b"cseq: ", b"xcseq: ", b"BYE"), "unreadable"),
        (_swap(b"content-length: 0", b"content-length: 5", b"ACK"), "unreadable"),
    ],
)
def test_parties_notice_what_a_broken_proxy_does(tamper: Callable[[bytes], bytes], finding: str) -> None:
    swap = tamper
    trio = Trio(tamper=lambda data: swap(data.replace(b"x-seal", b"X-Seal")))
    trio.call(Script(then=((1.0, "INFO"), (2.0, "BYE"))))
    trio.run(200.0)
    assert any(finding in breach for breach in trio.breaches), trio.breaches


def test_a_second_final_is_noticed() -> None:
    trio = Trio(refuse(486))
    trio.call()
    trio.run(0.02)
    finals = trio.tap(CALLER)
    trio.run(0.1)
    refused = next(data for data in finals if b" 486 " in data)
    for data in (refused, refused, refused.replace(b"486 Busy Here", b"500 Server Internal Error")):
        trio.caller.receive(data, PROXY, 0.1)
    assert [breach.partition("two finals")[1] for breach in trio.breaches] == ["two finals"]


def test_the_same_request_under_another_branch_is_noticed() -> None:
    trio = Trio(SILENT)
    trio.call()
    trio.run(0.3)
    seen = trio.tap(SBC)
    trio.run(0.6)
    trio.sbc.receive(seen[0].replace(b"branch=z9hG4bKp", b"branch=z9hG4bKq", 1), PROXY, 0.6)
    assert "another branch" in trio.breaches[0]


def test_two_runs_of_one_seed_send_the_same_bytes() -> None:
    def trace(seed: int) -> list[bytes]:
        trio = Trio(weather=Weather(jitter_s=0.3, loss=0.2, duplicate=0.2), seed=seed)
        sent = trio.tap()
        trio.call(Script(then=((1.0, "INVITE"), (2.0, "BYE"))))
        trio.run(500.0)
        return sent

    assert trace(3) == trace(3) != trace(4)


def test_wire_splits_lists_and_reads_parameters() -> None:
    assert split_list('"a, b" <sip:x@y;p="1,2">, <sip:z>;q=1') == ['"a, b" <sip:x@y;p="1,2">', "<sip:z>;q=1"]
    assert parameter('"x;tag=no" <sip:a;tag=no@b>;tag=yes', "tag") == "yes"
    assert parameter("SIP/2.0/UDP h:1;rport=9;branch=z9hG4bKx", "branch") == "z9hG4bKx"
    assert address_of("sip:u@[2001:db8::1]:5070;lr") == ("2001:db8::1", 5070)
    assert address_of("sip:10.0.0.1") == ("10.0.0.1", 5060)


@pytest.mark.parametrize(
    "start", ["SIP/2.0 99 No", "SIP/2.0 OK", "INVITE sip:a@b", "INVITE  sip:a@b SIP/2.0", "INVITE sip:a@b SIP/3.0"]
)
def test_wire_refuses_bad_start_lines(start: str) -> None:
    via = ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1")
    rest = [via, ("From", "<sip:a>;tag=1"), ("To", "<sip:b>"), ("Call-ID", "x"), ("CSeq", "1 INVITE"), ("Max-Forwards", "70")]
    assert read(compose("INVITE sip:a@b SIP/2.0", rest)).method == "INVITE"
    with pytest.raises(WireError):
        read(compose(start, rest))


def test_only_an_unchanged_body_counts_as_intact() -> None:
    body = an_sdp("x", CALLER)
    assert is_intact(body) and is_intact(b"made by somebody else") and not is_intact(body.replace(b"sendrecv", b"sendonly"))
