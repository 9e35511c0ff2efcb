"""`diff_plans` where plans send calls elsewhere: it tells a call if and only if some state lets it meet something else."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from sipctl.dialplan.diff import diff_plans
from tests.dialplan.diff_scenes import LONG_SAMPLE, NUMBERS, SAMPLE, TRUNKS, Asked, states, written_edits
from tests.dialplan.test_diff import told

SEEDS = 16


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_call_is_told_if_and_only_if_some_state_lets_it_meet_something_else(seed: int) -> None:
    random = Random(seed)
    plans = written_edits(random)
    tables = (plans[0].table(), plans[1].table())
    diff = diff_plans(*tables)
    calls = {(trunk, number) for trunk in TRUNKS for number in NUMBERS}
    named = told(diff, calls)
    old, new = Asked(tables[0]), Asked(tables[1])
    tried = states(random, tables)
    left = set(named)
    for state in islice(tried, SAMPLE):
        before, after = old.met(state, calls), new.met(state, calls)
        changed = {call for call in calls if before[call] != after[call]}
        assert changed <= named, (state, changed - named)
        left -= changed
    for state in islice(tried, LONG_SAMPLE) if left else ():
        before, after = old.met(state, left), new.met(state, left)
        left -= {call for call in left if before[call] != after[call]}
        if not left:
            break
    assert not left, (left, [(change.kind, change.deltas) for change in diff.changes])
