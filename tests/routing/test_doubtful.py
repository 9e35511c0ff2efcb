"""SBCs that live calls speak against: last within their pair, never out of the table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from sipctl.routing.snapshot import Admin
from tests.routing.test_explain import the_answer
from tests.routing.test_select import attempts
from tests.support.plans import a_live, a_sbc, a_snapshot, a_topology


def test_a_doubtful_sbc_comes_last_within_its_pair_and_before_any_other() -> None:
    snapshot = a_snapshot(doubtful=("fra-a",))
    assert attempts(snapshot, a_live(snapshot)) == ["fra-b", "fra-a", "ams-a", "ams-b"]


def test_a_doubtful_sbc_is_used_as_soon_as_it_is_the_last_of_its_pair() -> None:
    snapshot = a_snapshot(doubtful=("fra-a",))
    assert attempts(snapshot, a_live(snapshot, out=["fra-b"]))[0] == "fra-a"
    drained = a_snapshot(doubtful=("fra-a",), sbc_admin={"fra-b": Admin.DRAINING})
    assert attempts(drained, a_live(drained))[0] == "fra-a"


def test_names_that_the_plan_does_not_know_are_ignored() -> None:
    snapshot = a_snapshot(doubtful=("gone", "fra-b"))
    assert snapshot.doubtful == {1}


@pytest.mark.parametrize("doubtful", [(), ("s1",), ("s1", "s3")])
def test_load_is_shared_by_those_without_a_doubt_and_then_by_the_doubtful(doubtful: tuple[str, ...]) -> None:
    topology = a_topology()
    sbcs = tuple(a_sbc(10 + n, f"s{n}", f"10.4.1.{n}", 0, priority=1) for n in range(4))
    pairs = (replace(topology.pairs[0], sbcs=(0, 1, 2, 3), strategy="load-share"), replace(topology.pairs[1], sbcs=()))
    group = replace(topology.groups[0], advance_across="never")
    snapshot = a_snapshot(replace(topology, sbcs=sbcs, pairs=pairs, groups=(group,)), doubtful=doubtful)
    orders = [attempts(snapshot, a_live(snapshot), str(n).encode()) for n in range(2_000)]
    first = Counter(order[0] for order in orders)
    assert first.keys() == {f"s{n}" for n in range(4)} - set(doubtful)
    assert max(first.values()) < 1.3 * min(first.values()), "the others share evenly"
    assert all(set(order[4 - len(doubtful) :]) == set(doubtful) for order in orders)


def test_the_explanation_says_why_it_comes_last() -> None:
    told = str(the_answer(snapshot=a_snapshot(doubtful=("fra-a",))).body())
    assert told.count("doubtful by its calls, so last of its pair") == 1
