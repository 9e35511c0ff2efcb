"""What a desk makes of routers' events: who is counted how, and what a desk that stood still must not believe."""

from __future__ import annotations

import msgspec
import pytest

from sipctl.call.events import Answered, Attempt, Ended, Facts
from sipctl.control.ports import CallReport, FromDesk
from sipctl.health.observed import SILENCE, TRANSPORT_ERROR, Result, Window
from sipctl.telemetry.observing import GAP_S, SETTLE_S, SETUP_MAX_S, CallObserver

UNIX_S = 1_790_000_000.0


def an_attempt(call: str = "aa", number: int = 1, sbc: str = "fra-a", status: int = 200, **more: object) -> Attempt:
    outcome = "answered" if status == 200 else "refused" if status >= 200 else "no-reply"
    plain = Attempt(call, number, "acme-prod", "primary", sbc[:3], sbc, UNIX_S + number - 1, UNIX_S + number, status, outcome)
    return msgspec.structs.replace(plain, **more)


def some_facts(sbc: str = "fra-a", attempts: int = 1, ring_s: float = 0.0) -> Facts:
    return Facts(
        call_id="c", start_unix_s=UNIX_S, trunk="carrier-one", dialled="+4930901820", called="+4930901820", calling="", pai="",
        entry_point="acme-sales", group="acme", tenant="acme-prod", role="primary", pair=sbc[:3], sbc=sbc, attempts=attempts,
        rule="", reason="", revision=1, ring_unix_s=UNIX_S + ring_s if ring_s else 0.0,
    )  # fmt: skip


def refused(call: str = "aa", status: int = 486, by: str = "refused", cause: int = 0, *, facts: Facts | None = None) -> Ended:
    return Ended(call, UNIX_S + 5, status, "", cause, by, False, facts or some_facts())


def minute(observer: CallObserver, kind: str, name: str, now_s: float = 0.0) -> Window:
    return observer.observed.windows(kind, name, now_s)[0]


def test_an_answered_call_counts_at_its_sbc_pair_tenant_entry_point_and_trunk_with_its_delay() -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt(), 0.0)
    observer.take(Answered("aa", UNIX_S + 4, some_facts(ring_s=1.5)), 0.0)
    for kind, name in (("sbc", "fra-a"), ("first", "fra-a"), ("pair", "fra"), ("tenant", "acme-prod"),
                       ("entry_point", "acme-sales"), ("trunk", "carrier-one")):  # fmt: skip
        seen = minute(observer, kind, name)
        assert (seen.answered, seen.attempts, sum(seen.pdd)) == (1, 1, 1), kind
        assert 1.2 < (seen.pdd_s(0.5) or 0.0) < 1.9


def test_an_sbc_that_took_over_is_charged_with_its_own_delay_only_and_with_no_first_call() -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt(status=0), 0.0)
    observer.take(an_attempt(number=2, sbc="fra-b"), 0.0)
    observer.take(Answered("aa", UNIX_S + 4, some_facts("fra-b", 2, ring_s=1.2)), 0.0)
    assert minute(observer, "sbc", "fra-a").codes == ((SILENCE, 1),)
    assert minute(observer, "sbc", "fra-a").failed == minute(observer, "first", "fra-a").failed == 1
    assert minute(observer, "sbc", "fra-b").answered == 1 and minute(observer, "first", "fra-b") == Window()
    assert (minute(observer, "sbc", "fra-b").pdd_s(0.5) or 9) < 0.4, "from its own INVITE on"
    assert (minute(observer, "trunk", "carrier-one").pdd_s(0.5) or 0) > 0.9, "from the call's"
    assert minute(observer, "tenant", "acme-prod").results == (1, 0, 0, 0, 0, 0), "its caller noticed nothing"
    assert minute(observer, "pair", "fra").results == (1, 0, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("status", "cause", "retry_after_s", "result"),
    [
        (486, 17, 0.0, Result.EFFECTIVE), (600, 0, 0.0, Result.EFFECTIVE), (404, 1, 0.0, Result.REJECTED),
        (500, 0, 0.0, Result.FAILED), (500, 17, 0.0, Result.EFFECTIVE), (503, 0, 5.0, Result.BUSY), (503, 0, 0.0, Result.FAILED),
        (408, 0, 0.0, Result.FAILED),
    ],
)  # fmt: skip
def test_what_an_sbc_answers_is_counted_by_what_it_means(status: int, cause: int, retry_after_s: float, result: Result) -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt(status=status, retry_after_s=retry_after_s), 0.0)
    observer.take(refused(status=status, cause=cause), 0.0)
    seen = minute(observer, "sbc", "fra-a")
    assert seen.results[result] == seen.calls == 1 and seen.codes == ((status, 1),)


def test_a_5xx_after_which_the_next_sbc_is_tried_is_a_failure_whatever_the_end_says() -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt(status=500), 0.0)
    observer.take(an_attempt(number=2, sbc="fra-b", status=486), 0.0)
    observer.take(refused(status=486, cause=17, facts=some_facts("fra-b", 2)), 0.0)
    assert minute(observer, "sbc", "fra-a").failed == 1 and minute(observer, "sbc", "fra-b").effective == 1


def test_a_5xx_whose_end_never_came_is_a_failure_in_the_end() -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt(status=502), 0.0)
    now_s = 0.0
    while now_s < SETUP_MAX_S + 2.0:
        now_s += 1.0
        observer.tick(now_s)
    assert minute(observer, "sbc", "fra-a", now_s).failed == 1 and len(observer) == 0


def test_a_caller_who_gives_up_and_a_transport_error() -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt("aa", status=2, outcome="cancelled"), 0.0)
    observer.take(refused("aa", 487, "cancelled", 16), 0.0)
    observer.take(an_attempt("bb", status=1, outcome="transport-error"), 0.0)
    seen = minute(observer, "sbc", "fra-a")
    assert (seen.effective, seen.failed) == (1, 1) and dict(seen.codes) == {487: 1, TRANSPORT_ERROR: 1}
    assert minute(observer, "trunk", "carrier-one").ner == 1.0


def test_what_sipctl_turns_away_is_in_no_ratio_and_at_no_sbc() -> None:
    observer = CallObserver(0.0)
    facts = msgspec.structs.replace(some_facts(attempts=0), tenant="", sbc="", pair="")
    observer.take(refused("aa", 486, facts=facts), 0.0)
    seen = minute(observer, "entry_point", "acme-sales")
    assert (seen.calls, seen.attempts, seen.results[Result.TURNED_AWAY]) == (1, 0, 1)
    assert observer.observed.names("sbc") == observer.observed.names("tenant") == ()


def test_a_search_that_found_nobody_is_a_failure_of_the_tenant_whatever_code_the_caller_hears() -> None:
    observer = CallObserver(0.0)
    observer.take(refused("aa", 480, "sipctl", 41, facts=some_facts(attempts=2)), 0.0)
    assert minute(observer, "tenant", "acme-prod").failed == 1


@pytest.mark.parametrize("status", [200, 0, 404, 500])
def test_what_a_canarys_calls_show_is_said_of_no_sbc_since_the_live_plan_may_have_another_by_that_name(status: int) -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt(status=status, canary=True), 0.0)
    if status == 200:
        observer.take(Answered("aa", UNIX_S + 1, some_facts(ring_s=1.5)), 0.0)
        observer.take(Ended("aa", UNIX_S + 2, 200, "", 16, "callee", True), 1.0)
    else:
        observer.take(refused(status=status or 504), 0.0)
    assert all(not observer.observed.names(kind) for kind in ("sbc", "first", "pair"))
    assert observer.observed.names("trunk"), "its calls count where calls count"


def test_an_attempt_of_a_router_of_the_version_before_is_read_as_the_live_plans_and_one_of_the_next_is_read_too() -> None:
    plain = msgspec.to_builtins(an_attempt())
    assert msgspec.convert(plain[:-1], Attempt) == an_attempt()
    assert msgspec.convert([*plain, "new"], Attempt) == an_attempt()


def test_calls_that_end_within_seconds_are_early_drops_of_whoever_ended_them() -> None:
    observer = CallObserver(0.0)
    for at, (call, seconds, by) in enumerate([("aa", 3.0, "callee"), ("bb", 9.9, "caller"), ("cc", 10.5, "callee")]):
        observer.take(an_attempt(call), float(at))
        observer.take(Answered(call, UNIX_S, some_facts()), float(at))
        observer.take(Ended(call, UNIX_S + seconds, 200, "", 16, by, True), float(at) + 1.0)
    for kind, name in (("sbc", "fra-a"), ("trunk", "carrier-one"), ("entry_point", "acme-sales"), ("pair", "fra")):
        assert minute(observer, kind, name, 3.0).early == (1, 1, 0), kind


def test_calls_are_forgotten_once_their_end_is_no_early_drop_any_more() -> None:
    observer = CallObserver(0.0)
    for at in range(100):
        observer.take(an_attempt(f"{at}"), 0.0)
        observer.take(Answered(f"{at}", UNIX_S, some_facts()), 0.0)
    for second in range(1, 12):
        observer.tick(float(second))
    assert len(observer) == 0
    observer.take(Ended("5", UNIX_S + 4000, 200, "", 16, "caller", True), 12.0)
    assert minute(observer, "sbc", "fra-a", 12.0).early_drops == 0


def test_the_table_of_open_calls_is_bounded() -> None:
    observer = CallObserver(0.0, max_open=10)
    for at in range(25):
        observer.take(an_attempt(f"{at}", status=500), 0.0)
    assert (len(observer), observer.evicted) == (10, 15)
    assert minute(observer, "sbc", "fra-a").failed == 15, "what waited is counted"


def test_what_waited_while_the_desk_stood_still_is_not_taken_for_now() -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt("aa"), 1.0)
    late_s = 1.0 + GAP_S + 30.0
    for at in range(50):
        observer.take(an_attempt(f"{at}", status=0), late_s + 0.01 * at)
    assert observer.late == 50 and observer.since_s == late_s
    assert minute(observer, "sbc", "fra-a", late_s).failed == 0
    observer.tick(late_s + SETTLE_S)
    observer.take(an_attempt("new", status=0), late_s + SETTLE_S)
    assert minute(observer, "sbc", "fra-a", late_s + SETTLE_S).failed == 1


def test_a_quiet_hour_is_no_gap() -> None:
    observer = CallObserver(0.0)
    for second in range(0, 3600, 2):
        observer.tick(float(second))
    observer.take(an_attempt(), 3600.0)
    assert observer.late == 0 and observer.since_s == 0.0


def test_a_report_travels_and_leaves_entry_points_at_home() -> None:
    observer = CallObserver(0.0)
    observer.take(an_attempt(), 0.0)
    observer.take(Answered("aa", UNIX_S + 4, some_facts(ring_s=1.5)), 0.0)
    report = observer.report(1.0)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=FromDesk)
    assert isinstance(again, CallReport) and again == report
    assert set(again.windows) == {"sbc", "first", "pair", "tenant", "trunk"}
    assert again.windows["sbc"]["fra-a"][0].answered == 1
