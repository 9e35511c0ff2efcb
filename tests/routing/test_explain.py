"""The story of a decision: what `resolve` answered, told step by step, and never anything else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from sipctl.call import setup
from sipctl.routing import explain_sbcs
from sipctl.routing.explain import RouteAnswer, route_answer
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.numbers import EXACT_TEXT
from sipctl.routing.resolve import NoRoute, Route, resolve
from sipctl.routing.select import arrange
from sipctl.routing.snapshot import (
    Admin,
    Decision,
    Destination,
    EntryPoint,
    EntryPointId,
    Exit,
    GroupId,
    Overlay,
    Reach,
    Schedule,
    SendRules,
    Side,
    Switch,
    Tenant,
    TenantId,
    Topology,
    Zone,
)
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


def test_invite_is_told_with_its_address_and_what_the_pair_asks_for() -> None:
    topology = a_topology()
    sets = (("X-Dept", "{label.dept}"), ("X-Who", "{calling} at {entry_point}"))
    send = SendRules("e164-no-plus", set_headers=sets, remove_headers=("x-trunk",), diversion="dialled", uui="strip")
    snapshot = a_snapshot(a_topology(pairs=(replace(topology.pairs[0], send=send), topology.pairs[1])))
    answer = the_answer(snapshot=snapshot, caller="+4930123456")
    tree = answer.tree
    assert texts(tree, "invite") == ["leaves as INVITE sip:4930901820@10.4.1.11 SIP/2.0"]
    assert [target.uri for target in answer.targets][1:3] == ["sip:4930901820@10.4.1.12", "sip:+4930901820@10.5.1.11"]
    assert texts(tree, "header") == ["X-Who: +4930123456 at acme-sales"], "no label, no header"
    assert texts(tree, "sent") == ["to udp:10.4.1.11:5060, from listen inside"]
    assert texts(tree, "send") == [
        "send: the number as e164-no-plus",
        "send: sets X-Dept: {label.dept}",
        "send: sets X-Who: {calling} at {entry_point}",
        "send: removes x-trunk",
        "send: diversion: dialled",
        "send: uui: strip",
    ]
    assert texts(the_answer().tree, "send") == []


def test_waits_told_are_those_of_the_call_core() -> None:
    assert (explain_sbcs.LATER_NO_REPLY_S, explain_sbcs.LAST_NO_REPLY_S) == (setup.NEXT_NO_REPLY_S, setup.LAST_NO_REPLY_S)
    assert texts(the_answer().tree, "advance")[1:] == [
        "fra: on 1 s of silence (later attempts 0.5 s, the last 2 s); 6 s with 100 alone; 408, 500, 502, 503, 504",
        "ams: on 1 s of silence (later attempts 0.5 s, the last 2 s); 6 s with 100 alone; 408, 500, 502, 503, 504",
    ]


# -- the tree never answers otherwise than resolve -------------------------------------------------------------------------------

KIND_OF = {"switch": "switches", "overlay": "overlays", "closed": "schedule", "overflow": "limits", "unusable": "unusable"}
NUMBERS = (SALES, SUPPORT, "+493090182150", "+49309", "+49999", "5501", "030", "x", "+49 30 901820")
PLANS = 250
CALLS_A_PLAN = 6
ASKED_AT_S = 100.0  # a Thursday in 1970, one minute past midnight


class Dice(Random):
    """Draws the parts of a plan; the same number of a plan gives the same plan."""

    def wish(self) -> Admin:
        return self.choice([Admin.ENABLED] * 4 + [Admin.DRAINING, Admin.DISABLED])

    def limit(self) -> int | None:
        return self.choice([None, None, None, 1, 3])

    def few(self) -> int:
        return self.choice([0, 0, 1, 3])

    def decision(self) -> Decision:
        left = self.choice([None, None, "primary", "bcp"])
        return Decision(bcp_percent=self.choice([0, 0, 10, 50, 90, 100]), pinned=self.random() < 0.2, left=left)

    def place(self, is_last: bool = False) -> Destination:
        """A refusal, an SBC pair, an exit, or, but for the last entry point, that one: so no plan goes in circles."""
        kind = self.randrange(3 if is_last else 4)
        if kind == 0:
            return Destination(refuse=(self.choice([480, 503]), 41))
        return Destination(entry_point=2) if kind == 3 else Destination(tenant=kind + 1, called=self.choice(["ann-1", None]))

    def entry_point(self, number: int, name: str) -> EntryPoint:
        is_last = number == 3
        keeps_hours = self.random() < 0.4
        overflow = [self.place(is_last) for _ in range(self.choice([0, 1, 2]))]
        return EntryPoint(
            id=EntryPointId(number),
            name=name,
            group=0,
            max_calls=self.limit(),
            trunks=self.choice([None, None, None, (0,), (1,), (0, 1)]),
            split=self.choice([(), (), ((0, 70), (1, 30))]),
            schedule=0 if keeps_hours else None,
            closed=self.place(is_last) if keeps_hours else None,
            overflow=tuple(to for to in overflow if to.refuse is None),
            unusable=self.place(is_last) if self.random() < 0.5 else None,
        )

    def topology(self) -> Topology:
        plain = a_topology()
        stand_ins = (
            Tenant(id=TenantId(3), name="pair:ams", reached_by=(Reach(1),), kind="pair"),
            Tenant(id=TenantId(4), name="exit:pstn", reached_by=(Reach(0),), kind="exit", max_calls=self.choice([None, 1])),
        )
        groups = tuple(
            replace(plain.groups[0], id=GroupId(1 + at), name=name, primary=at, bcp=1 - at, advance_across=across)
            for at, name in enumerate(("acme", "pilot"))
            for across in [self.choice(["never", "to-bcp", "both"])]
        )

        def some() -> tuple[int, ...] | None:
            return self.choice([None, None, (0,), (1,)])

        windows = self.choice([((0, 10_080),), ((4_320, 4_330),), ((0, 60),)])  # always, now, not now
        return a_topology(
            trunks=tuple(
                replace(one, max_calls=self.limit(), max_cps=self.limit(), overlap=self.few() > 0) for one in plain.trunks
            ),
            sbcs=tuple(replace(sbc, max_calls=self.limit()) for sbc in plain.sbcs),
            pairs=tuple(replace(pair, strategy=self.choice(["active-standby", "load-share"])) for pair in plain.pairs),
            tenants=(*(replace(tenant, max_calls=self.limit()) for tenant in plain.tenants), *stand_ins),
            groups=groups,
            entry_points=tuple(self.entry_point(at, name) for at, name in enumerate(("acme-sales", "acme-support", "night"), 1)),
            zones=(Zone("Etc/UTC", (), (0,)),),
            schedules=(Schedule("hours", 0, windows),),
            exits=(Exit("pstn", 3, ("+49.",)),),
            overlays=(
                Overlay("storm", ((0, self.place()),), self.choice([None, self.place()])),
                Overlay("quiet", ((1, self.place()),)),
            ),
            switches=(
                Switch("stop", self.place(), entry_points=some(), trunks=some()),
                Switch("halt", self.place(), groups=some(), tenants=some()),
            ),
        )

    def on(self, *names: str) -> tuple[tuple[str, float], ...]:
        return tuple((name, self.choice([0.0, 50.0, 500.0])) for name in names if self.random() < 0.25)

    def snapshot(self) -> RoutingSnapshot:
        topology = self.topology()
        return a_snapshot(
            topology,
            decisions={"acme": self.decision(), "pilot": self.decision()},
            sbc_admin={sbc.name: self.wish() for sbc in topology.sbcs},
            tenant_admin={tenant.name: self.wish() for tenant in topology.tenants},
            trunk_admin={trunk.name: self.choice([Admin.ENABLED] * 9 + [Admin.DISABLED]) for trunk in topology.trunks},
            overlays=self.on("storm", "quiet"),
            switches=self.on("stop", "halt"),
        )

    def live(self, snapshot: RoutingSnapshot) -> Live:
        live = Live.for_snapshot(snapshot)
        for index in range(len(snapshot.sbcs)):
            live.operating[index] = self.choice([0, 1, 1, 2])
            live.resting_until_s[index] = self.choice([0.0, 0.0, 30.0])
            live.suspect[index] = self.random() < 0.3
            live.trial_due_s[index] = self.choice([0.0, 5.0])
            live.sbc_calls[index] = self.few()
        live.tenant_calls = [self.few() for _ in snapshot.tenants]
        live.trunk_calls = [self.few() for _ in snapshot.trunks]
        live.entry_calls = [self.few() for _ in snapshot.entry_points]
        for _ in range(self.few()):
            live.note_new_call(0, 0.0)
        live.version += 1
        live.reflag(0.0)
        return live


def test_every_step_agrees_with_what_resolve_answers() -> None:
    """Random plans, states and calls; each way through the story is met by some of them."""
    met: Counter[str] = Counter()
    for plan in range(PLANS):
        dice = Dice(plan)
        snapshot = dice.snapshot()
        live = dice.live(snapshot)
        for _ in range(CALLS_A_PLAN):
            call = (dice.choice([0, 0, 1]), dice.choice(NUMBERS), dice.choice([None, "+4922111", "+4922112"]))
            try:
                met.update(ways_told(snapshot, live, *call))
            except AssertionError as wrong:
                raise AssertionError(f"plan {plan}, call {call}") from wrong
    ways = {*KIND_OF, *KIND_OF.values(), "number", "rules", "place", "sbcs", "routed", "refused", "group", "stand-in"}
    assert min(met[way] for way in ways) >= 3, met


def last_place(truth: Route | NoRoute) -> int | str:
    """The entry point, SBC pair or exit at which a call's ways end."""
    if isinstance(truth, Route) and truth.stand_in >= 0:
        return {2: "SBC pair ams", 3: "exit pstn"}[truth.stand_in]
    assert truth.entry_point is not None or not truth.retargets
    return truth.entry_point if truth.entry_point is not None else ""


def ways_told(snapshot: RoutingSnapshot, live: Live, trunk: int, number: str, caller: str | None) -> set[str]:
    """Hold one call's tree against `resolve`; returns what the call met."""
    answer = route_answer(snapshot, live, "asked", number, trunk, caller, unix_s=ASKED_AT_S)
    truth = resolve(snapshot, live, trunk, number, None, (caller or "anonymous").encode(), 0.0, unix_s=ASKED_AT_S)
    tree = answer.tree
    top = list(tree.steps)
    refusing = [step for step in top if step.verdict == REFUSED]
    assert all(step.verdict in VERDICTS for step in tree.walk())
    assert answer.body()["tree"]["verdict"] == tree.verdict == top[-1].verdict
    hops = [step for step in top if step.kind == "sent-on"]
    assert [(step.facts["reason"], step.facts["by"]) for step in hops] == [(way.reason, way.by) for way in truth.retargets]
    for hop in hops:  # the last thing judged there is what sent the call on, and nothing before it ended anything
        assert [step.verdict for step in hop.steps if step.verdict in (TAKEN, REFUSED)] == [TAKEN]
        assert hop.steps[-1].verdict == TAKEN and hop.steps[-1].kind == KIND_OF[hop.facts["reason"]]
        assert hop.steps[-1].facts.get("by", "") == hop.facts["by"]
    for hop, after in zip(hops, [*(way.entry_point for way in truth.retargets[1:]), last_place(truth)], strict=False):
        where = snapshot.entry_points[after].name if isinstance(after, int) else after
        assert f"goes on to {where}" in hop.steps[-1].text.replace("entry point ", "")
    met = {str(hop.facts["reason"]) for hop in hops}
    if isinstance(truth, NoRoute):
        assert (answer.refused, answer.q850_cause, answer.reason) == (truth.status, truth.cause, truth.reason)
        assert len(refusing) == 2 and top[-1].kind == "answer" and refusing[0] is top[-2]  # one step refuses, the answer says so
        assert refusing[0].facts.get("limit") == truth.limit
        assert refusing[0].kind != "place" or truth.step is not None  # a place refuses only what was sent there
        assert refusing[0].facts.get("status", truth.status) == truth.status
        if truth.step is not None and truth.limit is None and refusing[0].kind != "place":
            assert (refusing[0].kind, refusing[0].facts.get("by", "")) == (KIND_OF[truth.step], truth.by)
        return met | {"refused", refusing[0].kind}
    assert refusing == [] and answer.refused is None
    judged = {step.kind: step for step in top}
    taken = [step for step in found(tree, "rule") if step.verdict == TAKEN]
    assert [step.facts["rule"] for step in taken] == [truth.rule] or truth.rule == EXACT_TEXT
    assert answer.entry_point == snapshot.entry_points[truth.entry_point].name
    if truth.stand_in < 0:
        assert judged["group"].facts["group"] == answer.group == snapshot.groups[truth.group].name
        assert judged["group"].facts["side"] == answer.side == ("primary" if truth.side == Side.PRIMARY else "bcp")
        assert not [step for step in top[:-1] if step.verdict == TAKEN and step.kind != "sent-on"]
    tried = arrange(truth, live, 0.0).targets
    told = [step for step in found(tree, "sbc") if step.verdict == TAKEN]
    assert [(step.facts["sbc"], step.facts["trial"]) for step in told] == [
        (snapshot.sbcs[target.sbc].name, trial) for target, trial in tried
    ]
    assert {step.facts["sbc"] for step in found(tree, "sbc") if step.verdict != TAKEN}.isdisjoint(
        snapshot.sbcs[target.sbc].name for target, _ in tried
    )
    assert judged["answer"].text == truth.why()
    return met | {"routed", "stand-in" if truth.stand_in >= 0 else "group"}
