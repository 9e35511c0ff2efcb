"""What the events of a call say of its attempts: a status where one was heard, else why there is none (call/events.py)."""

from __future__ import annotations

import pytest

from sipctl.call.events import Attempt
from tests.call.support import INSIDE, SBC, Bench, a_response, an_invite

CANCEL = an_invite(1).replace(b"INVITE sip:", b"CANCEL sip:").replace(b"1 INVITE", b"1 CANCEL")
SILENCE, TRANSPORT_ERROR, CANCELLED = 0, 1, 2


def the_attempts(bench: Bench) -> list[tuple[str, int]]:
    """Outcome and status of each attempt told so far."""
    events = (note[1] for note in bench.notes if note[0] == "event")
    return [(event.outcome, event.status) for event in events if isinstance(event, Attempt)]


def test_an_attempt_cancelled_before_any_reply_says_so() -> None:
    bench = Bench()
    bench.receive(an_invite(1))
    bench.receive(CANCEL)
    assert sum(bench.core.live.sbc_calls) == 0
    assert the_attempts(bench) == [("cancelled", CANCELLED)]


def test_a_cancelled_attempt_that_never_came_to_a_final_says_so() -> None:
    bench = Bench()
    invite, _ = bench.receive(an_invite(1))
    bench.receive(a_response(invite[1], 180), INSIDE, SBC)
    bench.receive(CANCEL)
    assert the_attempts(bench) == []
    bench.run(40.0)
    assert the_attempts(bench) == [("cancelled", CANCELLED)]
    assert sum(bench.core.live.sbc_calls) == 0, "it counts at its SBC no more"


@pytest.mark.parametrize("status", [487, 486])
def test_a_cancelled_attempt_keeps_the_final_it_was_answered_with(status: int) -> None:
    bench = Bench()
    invite, _ = bench.receive(an_invite(1))
    bench.receive(a_response(invite[1], 180), INSIDE, SBC)
    bench.receive(CANCEL)
    bench.receive(a_response(invite[1], status), INSIDE, SBC)
    assert the_attempts(bench) == [("cancelled", status)]


def test_a_caller_who_gives_up_after_an_adoption_is_told_the_same_way() -> None:
    bench = Bench()
    bench.receive(an_invite(1))
    heir = Bench(bench.snapshot, memory=bench.memory)
    heir.core.adopt(heir.now_s, [], heir.notes)
    heir.receive(CANCEL)
    assert the_attempts(heir) == [("cancelled", CANCELLED)]


def test_silence_a_refused_send_and_a_refusal_differ() -> None:
    bench = Bench()
    invite, _ = bench.receive(an_invite(1))
    bench.run(1.2)
    assert the_attempts(bench) == [("no-reply", SILENCE)]
    bench = Bench()
    invite, _ = bench.receive(an_invite(1))
    bench.core.send_failed(INSIDE, SBC, bench.now_s, [], bench.notes)
    assert the_attempts(bench) == [("transport-error", TRANSPORT_ERROR)]
    bench = Bench()
    invite, _ = bench.receive(an_invite(1))
    bench.receive(a_response(invite[1], 486), INSIDE, SBC)
    assert the_attempts(bench) == [("refused", 486)]
