"""Proposals and approvals, the glass, and who counts as a second person: through the whole single writer, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from sipctl.control import approvals
from sipctl.control.approvals import Proposal, may_approve
from sipctl.control.plan_rules import forbidden, may_overrule, weakened
from sipctl.control.ports import Answer, Command, TrunkObservation
from sipctl.control.status import detail, status
from sipctl.control.world import Heard, Ordered
from sipctl.routing.snapshot import Admin, Approval, EntryPoint, Topology
from tests.control.scene import UNIX_S, Scene, the_plan
from tests.support.plans import a_topology

DAY_S = 86_400.0


def asks_for_two(**approval: Any) -> Topology:
    """The plan whose one group asks for two-person moves."""
    topology = a_topology(approval=Approval(**approval))
    return replace(topology, groups=tuple(replace(group, approved_by=("operator", "admin")) for group in topology.groups))


class Office(Scene):
    """A scene with several operators."""

    count = 0

    def tell(
        self, actor: str, op: str, *, role: str = "operator", made_s: float | None = None, made_by: tuple[str, ...] = ("boss",),
        dry_run: bool = False, force: tuple[str, ...] = (), break_glass: bool = False, reason: str = "CHG0042", **args: Any,
    ) -> Answer:  # fmt: skip
        self.count += 1
        made = UNIX_S - 30 * DAY_S if made_s is None else made_s
        command = Command(f"op-{actor}-{self.count}", op, args, actor, reason, dry_run, force, role, made, made_by, break_glass)
        self.put(Ordered(command))
        return [answer for answer in self.answers if answer.id == command.id][-1]

    def proposed(self, actor: str = "ann") -> str:
        answer = self.tell(actor, "failover", group="acme", to="bcp")
        assert answer.status == "proposed", answer
        return str(answer.body["proposal"])


def test_a_move_that_asks_for_two_waits_and_is_done_when_another_agrees() -> None:
    scene = Office(asks_for_two())
    seq = scene.world.seq
    answer = scene.tell("ann", "failover", group="acme", to="bcp")
    assert (answer.status, answer.final) == ("proposed", True)
    assert answer.text.startswith("proposal P-ann-1: needs approval by another token") and "two-person" in answer.text
    assert answer.body["numbers"] == 202 and answer.body["would"] == "acme: new calls go to bcp and stay there until failback"
    assert scene.place() == ("normal", 0) and scene.world.seq == seq, "nothing changed"
    assert [one["id"] for one in detail(scene.world, scene.now_s)["proposals"]] == ["P-ann-1"]
    done = scene.tell("ben", "op-approve", id="P-ann-1", reason="checked with the tenant")
    assert done.status == "done" and done.body["approved_by"] == "ben"
    assert scene.place() == ("on-bcp", 100) and scene.told() == 100
    record = scene.records[-1].record
    assert record.actor == "ann, approved by ben" and "CHG0042" in record.sentence
    assert not scene.world.proposals
    assert any("ann, approved by ben" in notice.text for notice in scene.notices)


def test_automatic_moves_ask_nobody() -> None:
    scene = Office(asks_for_two(above_percent=1))
    scene.kill("acme-prod")
    scene.run(13.0)
    assert scene.place() == ("on-bcp", 100)


@pytest.mark.parametrize(
    ("actor", "facts", "why"),
    [
        ("ann", {}, "somebody else must approve it"),
        ("ann", {"role": "admin"}, "somebody else must approve it"),
        ("eve", {"made_s": UNIX_S + 2000.0}, "was made after the proposal"),
        ("eve", {"made_s": UNIX_S + 900.0, "made_by": ("ann", "boss")}, "was made by ann less than 24 h before"),
        ("eve", {"made_s": UNIX_S + 900.0, "made_by": ("mallory", "ann", "boss")}, "was made by ann less than 24 h before"),
    ],
)  # fmt: skip
def test_one_person_with_two_tokens_is_one(actor: str, facts: dict[str, Any], why: str) -> None:
    scene = Office(asks_for_two())
    name = scene.proposed()
    answer = scene.tell(actor, "op-approve", id=name, **facts)
    assert (answer.status, answer.code) == ("refused", "second-person") and why in answer.text
    assert scene.place() == ("normal", 0) and name in scene.world.proposals


def test_a_maker_does_not_approve_for_the_token_he_made_today_but_for_that_of_last_year() -> None:
    for made_s, code in ((UNIX_S + 900.0, "second-person"), (UNIX_S - 2 * DAY_S, "")):
        scene = Office(asks_for_two())
        asked = scene.tell("puppet", "failover", group="acme", to="bcp", made_s=made_s, made_by=("boss", "first start"))
        answer = scene.tell("boss", "op-approve", role="admin", made_by=("first start",), id=asked.body["proposal"])
        assert answer.code == code


def test_a_role_that_may_not_approve_does_not() -> None:
    topology = asks_for_two()
    topology = replace(topology, groups=tuple(replace(group, approved_by=("admin",)) for group in topology.groups))
    scene = Office(topology)
    name = scene.proposed()
    assert "it takes admin" in scene.tell("ben", "op-approve", id=name).text
    assert scene.tell("cat", "op-approve", id=name, role="editor").code == "role"
    assert scene.tell("dan", "op-approve", id=name, role="admin").status == "done"


def test_what_was_proposed_for_another_world_is_proposed_anew() -> None:
    scene = Office(asks_for_two())
    name = scene.proposed()
    scene.tell("ann", "sbc-admin", sbc="fra-a", state="draining")
    dry = scene.tell("ben", "op-approve", id=name, dry_run=True)
    assert (dry.status, dry.code) == ("conflict", "proposal-stale") and name in scene.world.proposals
    answer = scene.tell("ben", "op-approve", id=name)
    assert (answer.status, answer.code) == ("conflict", "proposal-stale")
    assert "SBC fra-a was enabled, is draining" in answer.text and "proposed anew as P-ben-" in answer.text
    assert scene.place() == ("normal", 0)
    (fresh,) = scene.world.proposals.values()
    assert (fresh.actor, fresh.reason, fresh.id) == ("ann", "CHG0042", answer.body["proposal"])
    assert scene.tell("ann", "op-approve", id=fresh.id).code == "second-person", "it is still hers"
    assert scene.tell("ben", "op-approve", id=fresh.id).status == "done" and scene.place() == ("on-bcp", 100)


def test_rules_are_asked_again_when_it_is_approved() -> None:
    scene = Office(asks_for_two())
    name = scene.proposed()
    scene.kill("acme-bcp")
    scene.run(8.0)
    answer = scene.tell("ben", "op-approve", id=name)
    assert (answer.status, answer.code) == ("refused", "target-out-of-service") and name in scene.world.proposals


def test_a_proposal_ends_by_itself_and_by_being_rejected() -> None:
    scene = Office(asks_for_two(within_s=60.0))
    late, unwanted = scene.proposed(), scene.proposed()
    answer = scene.tell("ann", "op-reject", id=unwanted)
    assert answer.status == "done" and "proposed by ann" in answer.text
    scene.run(61.0)
    assert not scene.world.proposals
    assert any(f"proposal {late} ended, nobody approved it" in notice.text for notice in scene.notices)
    for name in (late, unwanted, "P-none"):
        assert scene.tell("ben", "op-approve", id=name).code == "no-proposal"


def test_proposals_and_the_glass_survive_the_controller() -> None:
    scene = Office(asks_for_two())
    name = scene.proposed()
    scene.tell("cat", "break-glass", state="on")
    scene.restart()
    assert scene.world.glass is not None and scene.world.glass.actor == "cat"
    assert scene.tell("ben", "op-approve", id=name).status == "done" and scene.place() == ("on-bcp", 100)


def test_a_dry_run_says_that_it_takes_two_and_proposes_nothing() -> None:
    scene = Office(asks_for_two())
    answer = scene.tell("ann", "failover", group="acme", to="bcp", dry_run=True)
    assert answer.status == "done" and answer.body["approval"] == "acme asks for two-person moves"
    assert not scene.world.proposals


@pytest.mark.parametrize(("above", "waits"), [(None, False), (100, False), (99, True)])
def test_a_change_that_touches_more_than_a_share_takes_two(above: int | None, waits: bool) -> None:
    scene = Office(a_topology(approval=Approval(above_percent=above)))
    answer = scene.tell("ann", "failover", group="acme", to="bcp")
    assert (answer.status == "proposed") == waits
    if waits:
        assert "it touches 100 % of all numbers, limits.approval_above is 99 %" in answer.text


def test_a_share_of_calls_counts_like_a_share_of_numbers() -> None:
    scene = Office(a_topology(approval=Approval(above_percent=50)))
    told = scene.observation()
    for calls, status_ in ((4, "done"), (6, "proposed")):
        trunk = {"carrier-one": TrunkObservation(calls=calls), "carrier-two": TrunkObservation(calls=10 - calls)}
        scene.put(Heard(1, msgspec.structs.replace(told, at_s=scene.now_s, trunks=trunk, calls=10)))
        assert scene.tell("ann", "trunk-admin", trunk="carrier-one", state="draining").status == status_
        scene.tell("ann", "trunk-admin", trunk="carrier-one", state="enabled")


@pytest.mark.parametrize("state", ["draining", "disabled"])
@pytest.mark.parametrize(("share", "wanted"), [(50, "going"), (51, "proposed")])
def test_an_sbc_with_most_of_the_calls_takes_two(state: str, share: int, wanted: str) -> None:
    """Also where its twin is usable, so that no group moves and none is touched."""
    scene = Office(a_topology(approval=Approval(above_percent=50)))
    told = scene.observation()
    sbcs = {**told.sbcs, "fra-a": msgspec.structs.replace(told.sbcs["fra-a"], calls=share)}
    scene.put(Heard(1, msgspec.structs.replace(told, at_s=scene.now_s, sbcs=sbcs, calls=100)))
    answer = scene.tell("ann", "sbc-admin", sbc="fra-a", state=state)
    assert answer.status == wanted
    if wanted == "proposed":
        assert not scene.world.sbc_admin and "51 % of all calls up" in answer.text
        scene.tell("cat", "sbc-admin", sbc="fra-a", state="draining", break_glass=True)
        stale = scene.tell("ben", "op-approve", id=answer.body["proposal"])
        assert stale.code == "proposal-stale" and "SBC fra-a was enabled, is draining" in stale.text
        assert scene.tell("ann", "sbc-admin", sbc="fra-a", state="enabled").status == "done"


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("failover", {"group": "acme", "to": "bcp"}), ("pin", {"group": "acme", "to": "bcp"}),
        ("failover", {"all": True, "to": "bcp"}), ("failback", {"group": "acme"}),
        ("tenant-admin", {"tenant": "acme-prod", "state": "draining", "move": True}),
        ("tenant-admin", {"tenant": "acme-bcp", "state": "disabled"}), ("node-admin", {"state": "draining"}),
    ],
)  # fmt: skip
def test_whatever_moves_calls_of_the_group_takes_two(op: str, args: dict[str, Any]) -> None:
    assert Office(asks_for_two()).tell("ann", op, **args).status == "proposed"


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("unpin", {"group": "acme"}), ("unlatch", {"group": "acme"}), ("automation", {"state": "resume"}),
        ("tenant-admin", {"tenant": "acme-prod", "state": "enabled"}), ("sbc-admin", {"sbc": "fra-a", "state": "enabled"}),
        ("sbc-admin", {"sbc": "fra-a", "state": "draining"}), ("node-admin", {"state": "enabled"}),
        ("sbc-probe", {"sbc": "fra-a"}),
    ],
)  # fmt: skip
def test_what_gives_calls_their_way_back_takes_one(op: str, args: dict[str, Any]) -> None:
    assert Office(asks_for_two()).tell("ann", op, **args).status in ("done", "going")


# -- the glass -----------------------------------------------------------------------------------------------------------------


def test_broken_glass_needs_no_second_person_shouts_and_ends_by_itself() -> None:
    scene = Office(asks_for_two(glass_s=60.0))
    answer = scene.tell("ann", "failover", group="acme", to="bcp", break_glass=True, reason="tenant burns")
    assert answer.status == "done" and scene.place() == ("on-bcp", 100)
    assert "break-glass:ann" in scene.alarms and "tenant burns" in scene.world.alarms["break-glass:ann"].text
    assert status(scene.world, scene.now_s)["break_glass"]["by"] == "ann"
    records = [one.record for one in scene.records if one.record.kind == "break-glass"]
    assert [record.actor for record in records] == ["ann"] and "tenant burns" in records[0].sentence
    assert any(notice.kind == "break-glass" for notice in scene.notices)
    assert scene.tell("ann", "failover", group="acme", to="primary").status == "done", "it is broken for a time"
    assert scene.tell("ben", "failover", group="acme", to="bcp").status == "proposed", "and for her alone"
    scene.run(61.0)
    assert scene.world.glass is None and "break-glass:ann" not in scene.alarms
    assert [one.record.rule for one in scene.records if one.record.kind == "break-glass"] == ["operator", "until"]
    assert scene.tell("ann", "failover", group="acme", to="bcp").status == "proposed"


def test_a_rule_nobody_may_force_yields_to_broken_glass_and_only_by_name() -> None:
    scene = Office()
    scene.tell("ann", "tenant-admin", tenant="acme-bcp", state="disabled")
    args: dict[str, Any] = {"tenant": "acme-prod", "state": "disabled"}
    for role in ("operator", "admin"):
        answer = scene.tell("ann", "tenant-admin", role=role, force=("active-tenant", "both-tenants-off"), **args)
        assert answer.code == "both-tenants-off" and "no role may force it" in answer.hint
    answer = scene.tell("ann", "tenant-admin", break_glass=True, force=("active-tenant",), **args)
    assert answer.code == "both-tenants-off" and scene.world.glass is None, "a refused command breaks nothing"
    answer = scene.tell("ann", "tenant-admin", break_glass=True, force=("active-tenant", "both-tenants-off"), **args)
    assert answer.status == "going" and answer.body["overruled"] == ["active-tenant", "both-tenants-off"]
    assert scene.world.tenant_admin["acme-prod"] is Admin.DISABLED


def test_who_may_break_the_glass_is_the_plans() -> None:
    scene = Office(asks_for_two(glass_by=("admin",)))
    answer = scene.tell("ann", "failover", group="acme", to="bcp", break_glass=True)
    assert (answer.code, scene.world.glass, scene.place()) == ("break-glass-role", None, ("normal", 0))
    assert scene.tell("dan", "break-glass", role="admin", state="on").status == "done"
    assert scene.tell("eve", "break-glass", role="admin", state="on").code == "break-glass-held"
    assert scene.tell("ann", "break-glass", state="off").status == "done" and scene.world.glass is None


# -- the plan may not be the way round -------------------------------------------------------------------------------------------


def test_a_plan_that_asks_for_fewer_second_persons_is_refused_unless_the_glass_is_broken() -> None:
    scene = Office(asks_for_two())
    plan, _ = the_plan(replace(a_topology(), revision=2))
    force = ("approval-weakened",)
    for role, glass, refused in (("editor", False, True), ("admin", False, True), ("operator", True, False)):
        if glass:
            scene.tell("ann", "break-glass", state="on")
        command = Command("op-1", "apply", {}, "ann", "x", force=force, role=role)
        no = forbidden(scene.world, plan, may_overrule(scene.world, command))
        assert (no is not None and no.code == "approval-weakened") == refused, (role, glass)


def test_each_way_of_asking_for_less_is_seen_and_asking_for_more_is_not() -> None:
    before = asks_for_two(above_percent=30, by=("admin",), glass_by=("admin",))
    group, rules = before.groups[0], before.approval
    assert weakened(before, before) == ""
    weaker = [
        replace(before, groups=()), replace(before, groups=(replace(group, approved_by=()),)),
        replace(before, groups=(replace(group, name="other"),)),
        *(
            replace(before, approval=replace(rules, **change))
            for change in (
                {"above_percent": None}, {"above_percent": 31}, {"by": ("operator", "admin")}, {"token_age_s": 1.0},
                {"glass_by": ("operator", "admin")}, {"glass_s": 3000.0},
            )
        ),
    ]  # fmt: skip
    assert all(weakened(before, after) for after in weaker)
    stronger = [
        replace(before, groups=(replace(group, approved_by=("admin",)),)),
        replace(before, groups=(replace(group, name="other", renamed_from=group.name),)),
        replace(before, approval=replace(rules, above_percent=10)), replace(before, approval=replace(rules, token_age_s=1e6)),
    ]  # fmt: skip
    assert not any(weakened(before, after) for after in stronger)
    assert weakened(a_topology(), before) == ""


def test_entry_points_stay_where_moves_ask_for_two() -> None:
    """Else an editor gives them to a new group that asks nobody, and an operator moves that one alone."""
    before = asks_for_two()
    (group,), (sales, support) = before.groups, before.entry_points
    alone, strict = replace(group, name="alone", approved_by=()), replace(group, name="strict", approved_by=("admin",))
    looser = replace(group, name="looser", approved_by=("operator", "admin", "editor"))
    groups = (group, alone, strict, looser)

    def given(*entries: EntryPoint) -> Topology:
        return replace(before, groups=groups, entry_points=entries)

    assert weakened(before, given(replace(sales, group=1), support)) == "acme-sales leaves acme, which asks for two-person moves"
    assert "acme-support leaves acme" in weakened(before, given(sales, replace(support, group=3)))
    assert "acme-support of acme, which asks for two-person moves, leaves the plan" in weakened(before, given(sales))
    halves = given(replace(sales, split=((0, 50), (1, 50))), support)
    assert "acme-sales leaves acme" in weakened(before, halves)
    assert "acme-sales leaves acme" in weakened(halves, given(replace(sales, split=((0, 49), (1, 51))), support))
    assert "support leaves strict" in weakened(given(sales, replace(support, group=2)), given(sales, support))
    new = replace(sales, name="acme-new", group=1)
    more = replace(sales, split=((0, 60), (1, 40)))
    for old, after in (
        (before, given(sales, support)), (before, given(replace(sales, group=2), support)), (halves, halves),
        (before, given(sales, support, new)), (halves, given(more, support)), (given(sales, support, new), given(sales, support)),
    ):  # fmt: skip
        assert weakened(old, after) == ""


def test_what_is_written_of_a_proposal_is_read_again() -> None:
    proposal = Proposal(
        "P-1", "failover", {"group": "acme"}, ("pinned",), "ann", "operator", 1.0, ("boss",), "why", 2.0, 3.0, "text", "because",
        ("admin",), {"group acme": "at decision 1"}, {"numbers": 2},
    )  # fmt: skip
    assert approvals.read(approvals.written({"P-1": proposal})) == {"P-1": proposal}
    command = Command("op-2", "op-approve", {"id": "P-1"}, "ben", "x", role="viewer")
    assert "it takes admin" in may_approve(proposal, command, 0.0)
