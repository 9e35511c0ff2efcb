"""The words of a call's record: which group took it and on which side, where a plan splits calls or sends them elsewhere."""

from __future__ import annotations

import pytest

from sipctl.call.events import Answered, Attempt, Facts
from sipctl.dialplan.compile import compile_plan
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.table import load_table
from tests.call.support import INSIDE, Bench, a_response, an_invite
from tests.call.test_send import EDGE, a_bench
from tests.support.plans import a_state

SPLIT = """
continuity_groups:
  acme: {primary: prod, bcp: bcp, failover: automatic}
  other: {primary: bcp, bcp: prod, failover: automatic}
entry_points: {sales: {split: {acme: 50%, other: 50%}, numbers: ["+4930901820"]}}
"""


def the_record(bench: Bench, number: int = 1, caller: bytes = b"+4930123456") -> tuple[Attempt, Facts]:
    """Attempt and facts of a call that its first SBC answers."""
    bench.notes.clear()
    (invite,) = bench.receive(an_invite(number).replace(b"sip:+4930123456@", b"sip:%b@" % caller))[:1]
    bench.receive(a_response(invite[1], 200, b"Contact: <sip:agent@10.9.9.9>\r\n"), INSIDE, invite[2])
    events = [note[1] for note in bench.notes if note[0] == "event"]
    (attempt,) = [event for event in events if isinstance(event, Attempt)]
    (answered,) = [event for event in events if isinstance(event, Answered)]
    return attempt, answered.facts


@pytest.mark.parametrize(("overlay", "tenant", "pair"), [("to-plain", "pair:plain", "plain"), ("to-exit", "exit:pstn", "out")])
def test_a_call_that_a_pair_or_an_exit_took_is_of_no_group_and_no_side(overlay: str, tenant: str, pair: str) -> None:
    attempt, facts = the_record(a_bench(overlay))
    assert (attempt.tenant, attempt.role, attempt.pair) == (tenant, "", pair)
    assert (facts.entry_point, facts.group, facts.tenant, facts.role) == ("sales", "", tenant, "")


def test_a_call_that_its_group_took_names_both() -> None:
    attempt, facts = the_record(a_bench("to-night"))
    assert (attempt.role, facts.group, facts.tenant, facts.role) == ("primary", "acme", "prod", "primary")


def test_of_a_split_each_call_names_the_group_that_took_it() -> None:
    compiled = compile_plan({"sbc_configs/a.yaml": EDGE.encode(), "dialplans/a.yaml": SPLIT.encode()}, {}, revision=1)
    assert compiled.image, compiled.findings
    table = load_table(compiled.image)
    bench = Bench(RoutingSnapshot.build(table, a_state(table)))
    taken = [the_record(bench, number, b"+49301%03d" % number)[1] for number in range(8)]
    assert {facts.group for facts in taken} == {"acme", "other"}
    assert all(facts.tenant == {"acme": "prod", "other": "bcp"}[facts.group] for facts in taken)
