"""The story of a decision: what `resolve` answered, told step by step, and never anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.call import setup
from sipctl.routing import explain_sbcs
from sipctl.routing.explain import RouteAnswer, route_answer
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.numbers import EXACT_TEXT
from sipctl.routing.resolve import NoRoute, resolve
from sipctl.routing.select import arrange
from sipctl.routing.snapshot import Admin, Decision, Side
from sipctl.routing.steps import REFUSED, SKIPPED, TAKEN, VERDICTS, Step
from tests.support.plans import a_live, a_snapshot, a_topology, the_numbers

SALES, SUPPORT = "+4930901820", "+4930901900"


def the_answer(
    number: str = SALES, *, trunk: int = 0, live: Live | None = None, snapshot: RoutingSnapshot | None = None, **more: Any
) -> RouteAnswer:
    snapshot = snapshot or a_snapshot()
    return route_answer(snapshot, live or a_live(snapshot), "as asked", number, trunk, **more)


def found(tree: Step, kind: str) -> list[Step]:
    return [step for step in tree.walk() if step.kind == kind]


def texts(tree: Step, kind: str) -> list[str]:
    return [step.text for step in found(tree, kind)]


# -- the number ------------------------------------------------------------------------------------------------------------------


def test_national_number_is_told_from_the_trunks_writing_to_e164() -> None:
    topology = a_topology()
    trunk = replace(topology.trunks[0], called_format="national", country_code="49", national_prefix="0")
    snapshot = a_snapshot(a_topology(trunks=(trunk, topology.trunks[1])))
    tree = the_answer("030 90-1820", snapshot=snapshot).tree
    assert [step.text for step in tree.steps[0].steps] == [
        "030 90-1820, as trunk carrier-one writes it (called_format: national)",
        "without separators: 030901820",
        "without the national prefix 0: 30901820",
        "country code 49 in front: +4930901820",
    ]
    assert (tree.steps[0].text, tree.steps[0].facts["called"]) == ("030 90-1820 is +4930901820 (E.164)", SALES)


def test_number_without_its_plus_ends_the_story_at_the_first_step() -> None:
    tree = the_answer("4930901820").tree
    assert [(step.kind, step.verdict) for step in tree.steps] == [("number", REFUSED), ("answer", REFUSED)]
    assert tree.steps[0].facts["status"] == 404


# -- the rules -------------------------------------------------------------------------------------------------------------------


def test_number_nobody_has_is_told_with_its_neighbours() -> None:
    tree = the_answer("+4930901850").tree
    assert tree.steps[1].verdict == REFUSED
    assert texts(tree, "near") == ["nearest below: +4930901820 of acme-sales", "nearest above: +4930901900 of acme-support"]
    assert texts(the_answer("+49301").tree, "near") == []  # none of that length


def test_the_rule_that_counts_and_those_that_do_not() -> None:
    topology = a_topology()
    numbers = the_numbers(topology, {"+493090182100..+493090182199": "acme-sales", "+493090182107": "acme-support"}, {})
    numbers.first, numbers.last, numbers.row, numbers.scopes = [1493090182107], [1493090182107], [1], ((0, 1),)
    tree = the_answer("+493090182107", snapshot=a_snapshot(topology, numbers)).tree
    assert [(step.verdict, step.text) for step in found(tree, "rule")] == [
        (TAKEN, "exact number of acme-support"),
        (SKIPPED, "range +493090182100..+493090182199 of acme-sales holds it, but comes later"),
        (SKIPPED, "pattern: none holds it"),
    ]


def test_rule_that_would_come_first_lost_its_number_to_except() -> None:
    topology = a_topology()
    numbers = the_numbers(topology, {"+493090182100..+493090182199": "acme-sales"}, {})
    numbers.first, numbers.last = [1493090182100], [1493090182150]
    tree = the_answer("+493090182160", snapshot=a_snapshot(topology, numbers)).tree
    assert "range +493090182100..+493090182199 of acme-sales would hold it, but `except` takes it out" in texts(tree, "rule")
    assert tree.verdict == REFUSED


def test_private_rule_of_another_trunk_is_told_apart() -> None:
    topology = a_topology()
    numbers = the_numbers(topology, {"5500..5599": "acme-sales"}, {"carrier-two": {}})
    tree = the_answer("5501", trunk=1, snapshot=a_snapshot(topology, numbers)).tree
    assert "range 5500..5599 of acme-sales: private, for other trunks" in texts(tree, "rule")


def test_trunk_that_is_not_on_the_allow_list_is_named() -> None:
    topology = a_topology()
    entries = (replace(topology.entry_points[0], trunks=(1,)), topology.entry_points[1])
    answer = the_answer(snapshot=a_snapshot(a_topology(entry_points=entries)))
    assert texts(answer.tree, "allow-list") == ["carrier-one is not among the trunks of acme-sales: carrier-two"]
    assert (answer.refused, answer.tree.steps[1].verdict) == (404, REFUSED)


# -- limits, group, share --------------------------------------------------------------------------------------------------------


def test_limits_are_told_with_their_counts_and_the_one_reached_ends_the_call() -> None:
    topology = a_topology()
    trunk = replace(topology.trunks[0], max_calls=10, max_cps=5)
    entries = (replace(topology.entry_points[0], max_calls=2), topology.entry_points[1])
    snapshot = a_snapshot(a_topology(trunks=(trunk, topology.trunks[1]), entry_points=entries))
    live = a_live(snapshot)
    live.trunk_calls[0], live.entry_calls[0] = 7, 2
    live.note_new_call(0, 0.0)
    answer = the_answer(snapshot=snapshot, live=live)
    assert texts(answer.tree, "limit") == [
        "calls of trunk carrier-one: 7 of 10",
        "new calls a second of trunk carrier-one: 1 of 5",
        "calls of entry point acme-sales: 2 of 2: reached",
        "calls of tenant acme-prod: 0, no limit",
    ]
    assert (answer.refused, answer.limit) == (486, "entry-point")


def test_ramp_says_where_the_caller_stands() -> None:
    snapshot = a_snapshot(decisions={"acme": Decision(bcp_percent=90, epoch=3, reason="ramp 10 %")})
    live = a_live(snapshot)
    for caller in ("+4922111", "+4922112", "+4922113", "+4922119", "+49221140", "+49221177"):
        answer = the_answer(snapshot=snapshot, live=live, caller=caller)
        share = found(answer.tree, "share")[0].facts
        assert (answer.side == "primary") == (share["place"] < 1_000) and share["side"] == answer.side


# -- SBCs ------------------------------------------------------------------------------------------------------------------------


def test_every_sbc_is_told_with_its_state_and_why_it_is_last_or_left_out() -> None:
    snapshot = a_snapshot(sbc_admin={"ams-b": Admin.DRAINING})
    live = a_live(snapshot, out=("fra-a",))
    live.rest(1, 30.0)
    answer = the_answer(snapshot=snapshot, live=live)
    assert texts(answer.tree, "sbc") == [
        "1. ams-a of ams (bcp tenant acme-bcp, fallback site amsterdam): in-service",
        "2. fra-b of fra (primary tenant acme-prod, own site frankfurt): in-service, rests 30 s more, so last",
        "fra-a: out-of-service; not tried: only when nothing else is left",
        "ams-b: in-service; not tried: it is draining",
    ]


def test_suspect_sbc_has_a_trial_or_is_skipped() -> None:
    snapshot = a_snapshot()
    live = a_live(snapshot)
    live.set_suspect(0, True)
    assert (
        "a trial: its last INVITE got no reply, so it has 0.5 s" in texts(the_answer(snapshot=snapshot, live=live).tree, "sbc")[0]
    )
    live.trial_due_s[0] = 5.0
    skipped = [step for step in found(the_answer(snapshot=snapshot, live=live).tree, "sbc") if step.verdict == SKIPPED]
    assert [step.facts["sbc"] for step in skipped] == ["fra-a"] and "one trial a second" in skipped[0].text


def test_call_that_may_not_cross_says_why() -> None:
    reasons = {
        "pinned": Decision(pinned=True),
        "an operator left it": Decision(left="bcp"),
        "to-bcp allows only the other way": Decision(bcp_percent=100),
    }
    for reason, decision in reasons.items():
        assert reason in texts(the_answer(snapshot=a_snapshot(decisions={"acme": decision})).tree, "crossing")[0]
    disabled = a_snapshot(tenant_admin={"acme-bcp": Admin.DISABLED})
    assert "it is disabled" in texts(the_answer(snapshot=disabled).tree, "crossing")[0]


def test_call_that_nobody_may_take_lists_all_that_may_not() -> None:
    snapshot = a_snapshot(tenant_admin={"acme-prod": Admin.DISABLED, "acme-bcp": Admin.DRAINING})
    answer = the_answer(snapshot=snapshot)
    assert (answer.refused, answer.tree.steps[-2].kind, answer.tree.steps[-2].verdict) == (480, "sbcs", REFUSED)
    assert texts(answer.tree, "sbc")[0] == "fra-a: in-service; not tried: its tenant is disabled"


def test_waits_told_are_those_of_the_call_core() -> None:
    assert (explain_sbcs.LATER_NO_REPLY_S, explain_sbcs.LAST_NO_REPLY_S) == (setup.NEXT_NO_REPLY_S, setup.LAST_NO_REPLY_S)
    assert texts(the_answer().tree, "advance")[1:] == [
        "fra: on 1 s of silence (later attempts 0.5 s, the last 2 s); 6 s with 100 alone; 408, 500, 502, 503, 504",
        "ams: on 1 s of silence (later attempts 0.5 s, the last 2 s); 6 s with 100 alone; 408, 500, 502, 503, 504",
    ]


# -- the tree never answers otherwise than resolve -------------------------------------------------------------------------------

WISHES = st.sampled_from([Admin.ENABLED, Admin.ENABLED, Admin.ENABLED, Admin.DRAINING, Admin.DISABLED])
LIMITS = st.sampled_from([None, None, None, 1, 3])
DECISIONS = st.builds(
    Decision,
    bcp_percent=st.sampled_from([0, 0, 10, 50, 90, 100]),
    pinned=st.booleans(),
    left=st.sampled_from([None, None, "primary", "bcp"]),
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[RoutingSnapshot, Live, int, str, str | None]:
    """A plan in some state, counts, rests, suspicion, and one call."""
    plain = a_topology()
    topology = a_topology(
        trunks=tuple(
            replace(trunk, max_calls=draw(LIMITS), max_cps=draw(LIMITS), overlap=draw(st.booleans())) for trunk in plain.trunks
        ),
        sbcs=tuple(replace(sbc, max_calls=draw(LIMITS)) for sbc in plain.sbcs),
        pairs=tuple(replace(pair, strategy=draw(st.sampled_from(["active-standby", "load-share"]))) for pair in plain.pairs),
        tenants=tuple(replace(tenant, max_calls=draw(LIMITS)) for tenant in plain.tenants),
        groups=(replace(plain.groups[0], advance_across=draw(st.sampled_from(["never", "to-bcp", "both"]))),),
        entry_points=tuple(
            replace(entry, max_calls=draw(LIMITS), trunks=draw(st.sampled_from([None, None, (0,), (1,), (0, 1)])))
            for entry in plain.entry_points
        ),
    )
    snapshot = a_snapshot(
        topology,
        decisions={"acme": draw(DECISIONS)},
        sbc_admin={sbc.name: draw(WISHES) for sbc in plain.sbcs},
        tenant_admin={tenant.name: draw(WISHES) for tenant in plain.tenants},
        trunk_admin={trunk.name: draw(WISHES) for trunk in plain.trunks},
    )
    live = Live.for_snapshot(snapshot)
    few = st.integers(0, 3)
    for index in range(len(snapshot.sbcs)):
        live.operating[index] = draw(st.integers(0, 2))
        live.resting_until_s[index] = draw(st.sampled_from([0.0, 0.0, 30.0]))
        live.suspect[index] = draw(st.booleans())
        live.trial_due_s[index] = draw(st.sampled_from([0.0, 5.0]))
        live.sbc_calls[index] = draw(few)
    live.tenant_calls = [draw(few) for _ in snapshot.tenants]
    live.trunk_calls = [draw(few) for _ in snapshot.trunks]
    live.entry_calls = [draw(few) for _ in snapshot.entry_points]
    for trunk in range(len(snapshot.trunks)):
        for _ in range(draw(few)):
            live.note_new_call(trunk, 0.0)
    live.version += 1
    live.reflag(0.0)
    number = draw(st.sampled_from([SALES, SUPPORT, "+493090182150", "+49309", "+49999", "5501", "030", "x", "+49 30 901820"]))
    return snapshot, live, draw(st.integers(0, 1)), number, draw(st.sampled_from([None, "+4922111", "+4922112"]))


@settings(max_examples=150, deadline=None)
@given(call=calls())
def test_every_step_agrees_with_what_resolve_answers(call: tuple[RoutingSnapshot, Live, int, str, str | None]) -> None:
    snapshot, live, trunk, number, caller = call
    answer = route_answer(snapshot, live, "asked", number, trunk, caller)
    truth = resolve(snapshot, live, trunk, number, None, (caller or "anonymous").encode(), 0.0)
    tree = answer.tree
    judged = {step.kind: step for step in tree.steps}
    refusing = [step for step in tree.steps if step.verdict == REFUSED]
    assert all(step.verdict in VERDICTS for step in tree.walk())
    assert answer.body()["tree"]["verdict"] == tree.verdict == tree.steps[-1].verdict
    if isinstance(truth, NoRoute):
        assert (answer.refused, answer.q850_cause, answer.reason) == (truth.status, truth.cause, truth.reason)
        assert [step.kind for step in refusing][-1] == "answer" and len(refusing) == 2  # one step refuses, the answer says so
        assert refusing[0].facts.get("limit") == truth.limit
        assert refusing[0].facts.get("status", truth.status) == truth.status
        return
    assert refusing == [] and answer.refused is None
    taken = [step for step in found(tree, "rule") if step.verdict == TAKEN]
    assert [step.facts["rule"] for step in taken] == [truth.rule] or truth.rule == EXACT_TEXT
    assert judged["rules"].facts["entry_point"] == answer.entry_point == snapshot.entry_points[truth.entry_point].name
    assert judged["group"].facts["side"] == answer.side == ("primary" if truth.side == Side.PRIMARY else "bcp")
    tried = arrange(truth, live, 0.0).targets
    told = [step for step in found(tree, "sbc") if step.verdict == TAKEN]
    assert [(step.facts["sbc"], step.facts["trial"]) for step in told] == [
        (snapshot.sbcs[target.sbc].name, trial) for target, trial in tried
    ]
    assert {step.facts["sbc"] for step in found(tree, "sbc") if step.verdict != TAKEN}.isdisjoint(
        snapshot.sbcs[target.sbc].name for target, _ in tried
    )
    assert judged["answer"].text == truth.why()
