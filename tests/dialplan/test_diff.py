"""`diff_plans` against brute force: every number of a small space, through every trunk, resolved in both plans and compared."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.dialplan.diff import diff_plans, sentences
from sipctl.dialplan.diff_model import DIALLED, MOVED, REFUSED, ROUTED, Change, PlanDiff
from sipctl.dialplan.diff_spans import Agreement, agreement, both, differing
from sipctl.dialplan.diff_text import body
from sipctl.routing.numbers import PRIVATE_BIT, dialled_at, digits_of
from tests.dialplan.diff_plans import DIGITS, PLANS, SCENES, TRUNKS, Plan, edits, met

FEW = settings(max_examples=20, deadline=None)
Calls = set[tuple[str, str]]  # (trunk, number)


def holds(change: Change, trunk: str, called: str) -> bool:
    if change.trunks is not None and trunk not in change.trunks:
        return False
    if change.numbers.is_e164 != called.startswith("+"):
        return False
    digits = called.removeprefix("+")
    return change.numbers.holds(int("1" + digits)) if digits.isdigit() else called in change.numbers.words


def told(diff: PlanDiff, calls: Calls, *kinds: str) -> Calls:
    """The calls that changes of some kinds, or of any, are about."""
    changes = [change for change in diff.changes if not kinds or change.kind in kinds]
    return {call for call in calls if any(holds(change, *call) for change in changes)}


@FEW
@given(edits())
def test_diff_tells_exactly_the_calls_that_meet_something_else(plans: tuple[Plan, Plan]) -> None:
    old, new = (plan.table() for plan in plans)
    before, after = [(met(table), met(table, bcp_percent=100)) for table in (old, new)]
    diff = diff_plans(old, new)
    calls = set(before[0])
    changed = {call for call in calls if (before[0][call], before[1][call]) != (after[0][call], after[1][call])}
    assert told(diff, calls) == changed
    routed = {call for call in calls if isinstance(before[0][call], int) and not isinstance(after[0][call], int)}
    refused = {call for call in calls if not isinstance(before[0][call], int) and isinstance(after[0][call], int)}
    assert told(diff, calls, ROUTED) == routed and told(diff, calls, REFUSED) == refused
    kept = {call for call in calls if not isinstance(before[0][call], int) and not isinstance(after[0][call], int)}
    assert told(diff, calls, MOVED) == {call for call in kept if before[0][call][0] != after[0][call][0]}
    assert told(diff, calls, DIALLED) == {call for call in kept if before[0][call][4] != after[0][call][4]}
    assert diff.numbers == len({called for _, called in changed})


@settings(max_examples=40, deadline=None)
@given(edits(elsewhere=True))
def test_no_call_that_hours_overflow_or_dead_sbcs_send_elsewhere_is_missed(plans: tuple[Plan, Plan]) -> None:
    old, new = (plan.table() for plan in plans)
    before, after = [[met(table, few=True, **scene) for scene in SCENES] for table in (old, new)]
    calls = set(before[0])
    changed = {call for call in calls if any(one[call] != other[call] for one, other in zip(before, after, strict=True))}
    diff = diff_plans(old, new)
    assert changed <= told(diff, calls) and len({called for _, called in changed}) <= diff.numbers
    assert diff_plans(old, old).is_empty


@FEW
@given(PLANS)
def test_a_plan_does_not_differ_from_itself(plan: Plan) -> None:
    diff = diff_plans(plan.table(), plan.table())
    assert diff.is_empty and diff.numbers == 0 and sentences(diff) == [] and body(diff)["same"] is True


@FEW
@given(edits())
def test_counts_and_intervals_agree_and_neighbours_are_joined(plans: tuple[Plan, Plan]) -> None:
    for change in diff_plans(plans[0].table(), plans[1].table()).changes:
        intervals = change.numbers.intervals()
        assert change.numbers.count == sum(one.count for one in intervals) + len(change.numbers.words)
        assert all(one.last < other.first for one, other in pairwise(intervals))
        named = {digits for digits in DIGITS if change.numbers.holds(int("1" + digits))}
        assert len(named) == change.numbers.count - len(change.numbers.words)
        assert change.examples and change.trunks != () and set(change.trunks or ()) <= set(TRUNKS)


_BASES = st.builds(
    lambda fixed, copied, is_private: (int(f"1{fixed}") * 10**copied, copied | (PRIVATE_BIT if is_private else 0)),
    st.integers(0, 99), st.integers(0, 2), st.booleans(),
)  # fmt: skip
_STRETCHES = st.integers(1, 4).flatmap(lambda length: st.tuples(*[st.integers(10**length, 2 * 10**length - 1)] * 2))
_DIALS = st.one_of(st.just((0, 0)), _BASES)


@settings(max_examples=150, deadline=None)
@given(_DIALS, _DIALS, st.booleans(), _STRETCHES)
def test_what_is_dialled_differs_for_exactly_the_numbers_told(
    one: tuple[int, int], other: tuple[int, int], is_e164: bool, stretch: tuple[int, int]
) -> None:
    first, last = min(stretch), max(stretch)
    rule = agreement(*one, *other, is_e164)

    def differs(key: int) -> bool:
        called = ("+" if is_e164 else "") + digits_of(key)
        return dialled_at(called, key, *one) != dialled_at(called, key, *other)

    wanted = [key for key in range(first, last + 1) if differs(key)]
    pieces = list(differing(rule, first, last))
    assert [key for low, high, left_out in pieces for key in range(low, high + 1) if not left_out.among(key, key)] == wanted
    assert rule.among(first, last) == last - first + 1 - len(wanted)


_AGREEMENTS = st.tuples(st.integers(0, 4), st.integers(0, 9_999), st.integers(-1, 9_999)).map(
    lambda made: Agreement(
        10 ** made[0], made[1] % 10 ** made[0], max(made[1] % 10 ** made[0] - 1, min(made[2], 10 ** made[0] - 1))
    )
)


@settings(max_examples=150, deadline=None)
@given(_AGREEMENTS, _AGREEMENTS, st.integers(0, 30_000), st.integers(0, 3_000))
def test_keys_of_two_agreements_are_counted_without_trying_them(one: Agreement, other: Agreement, first: int, more: int) -> None:
    keys = range(first, first + more + 1)
    assert both(one, other, first, first + more) == sum(bool(one.among(key, key) and other.among(key, key)) for key in keys)
