from hypothesis import given
from hypothesis import strategies as st

from sipctl.sip import timers
from sipctl.sip.timers import Wheel

INSTANTS = st.floats(min_value=0, max_value=1e7, allow_nan=False, allow_infinity=False)


def test_an_empty_wheel_has_nothing_due() -> None:
    wheel = Wheel()
    assert wheel.next_due_s is None
    assert wheel.pop_due(1e9) == []
    assert len(wheel) == 0


def test_items_come_out_by_tick_and_within_a_tick_in_the_order_they_were_added() -> None:
    wheel = Wheel()
    for at_s, item in ((0.5, "late"), (0.2, "early"), (0.495, "rounded up to late"), (0.21, "second")):
        wheel.add(at_s, item)
    assert wheel.next_due_s == 0.2
    assert wheel.pop_due(0.25) == ["early", "second"]
    assert wheel.pop_due(0.499) == []
    assert wheel.pop_due(0.5) == ["late", "rounded up to late"]
    assert len(wheel) == 0


def test_an_instant_that_has_passed_is_due_at_once() -> None:
    wheel = Wheel()
    wheel.add(5.0, "b")
    assert wheel.pop_due(10.0) == ["b"]
    wheel.add(5.0, "again")
    assert wheel.pop_due(10.0) == ["again"]


def test_an_item_that_re_arms_itself_is_popped_at_its_new_deadline_only() -> None:
    wheel = Wheel()
    wheel.add(1.0, "owner")
    assert wheel.pop_due(1.0) == ["owner"]
    wheel.add(2.0, "owner")
    assert wheel.pop_due(1.99) == []
    assert wheel.pop_due(2.0) == ["owner"]


@given(INSTANTS)
def test_nothing_fires_early_and_nothing_fires_later_than_one_tick(at_s: float) -> None:
    wheel = Wheel()
    wheel.add(at_s, "x")
    due_s = wheel.next_due_s
    assert due_s is not None
    assert at_s <= due_s <= at_s + 0.01 + 1e-6
    assert wheel.pop_due(due_s) == ["x"], "the instant the wheel names is one at which it gives something"


@given(st.lists(INSTANTS, max_size=40), st.lists(INSTANTS, max_size=10))
def test_everything_added_comes_out_once_and_never_before_its_time(deadlines: list[float], looks: list[float]) -> None:
    wheel = Wheel()
    for deadline_s in deadlines:
        wheel.add(deadline_s, deadline_s)
    seen: list[object] = []
    for now_s in sorted(looks):
        for item in wheel.pop_due(now_s):
            assert isinstance(item, float)
            assert item <= now_s
            seen.append(item)
    assert len(wheel) == len(deadlines) - len(seen)
    seen += wheel.pop_due(1e8)
    assert sorted(map(str, seen)) == sorted(map(str, deadlines))
    assert wheel.next_due_s is None


def test_timer_c_is_longer_than_the_three_minutes_of_the_rfc() -> None:
    assert timers.TIMER_C_S > 180
    assert {timers.TIMER_B_S, timers.TIMER_F_S, timers.TIMER_H_S, timers.TIMER_L_S, timers.TIMER_M_S} == {32.0}
