"""The audit hears of every change and every decision, with who, why, from what and what became of it."""

import dataclasses
import json
from typing import Any

from sipctl.control.audit import MAX_OPEN, AuditEntry, Auditor
from sipctl.control.audit_replay import replayed
from sipctl.control.ports import Ack, Answer, Command, DecisionRecord, Hello, Wishes
from sipctl.control.state import wishes_of
from sipctl.control.world import Effect, Gone, Happening, Heard, Keys, PlanLive, Tell
from sipctl.control.world import Record as RecordEffect
from sipctl.routing.snapshot import SigningKey
from sipctl.store.audit_chain import GENESIS, Record, opened, seal
from sipctl.store.audit_writer import body_of
from tests.control.scene import UNIX_S, Scene, the_plan
from tests.support.plans import a_topology


class AuditedScene(Scene):
    """A scene whose every turn an auditor sees."""

    def __init__(self, **more: Any) -> None:
        self.entries: list[AuditEntry] = []
        self.auditor = Auditor(self.entries.append, lambda: UNIX_S + self.now_s)
        super().__init__(**more)

    def put(self, happening: Happening) -> tuple[Effect, ...]:
        before, acks, self.acks = self.world, self.acks, False
        effects = super().put(happening)
        self.acks = acks
        self.auditor.seen(before, happening, self.world, effects)
        for effect in effects:  # the router's answer is a turn of its own
            if isinstance(effect, Tell) and self.has_router and acks:
                self.put(Heard(1, Ack("r1", effect.state.term, effect.state.seq, effect.state.revision)))
        return effects

    def of(self, kind: str) -> list[AuditEntry]:
        return [entry for entry in self.entries if entry.kind == kind]

    def last(self, kind: str) -> AuditEntry:
        return self.of(kind)[-1]


def on_disk(entry: AuditEntry) -> dict[str, Any]:
    """An entry as it is read back from its line."""
    line, _ = seal(body_of(entry, {"by": "controller/1", "build": "sipctl 1"}), 1, GENESIS)
    record = opened(line[:-1])
    assert isinstance(record, Record)
    return dict(record.body)


def test_an_operators_failover_is_told_with_who_why_what_and_what_it_changed() -> None:
    scene = AuditedScene()
    scene.calls = {"acme-sales": 15}
    scene.run(1)
    answer = scene.order("failover", groups=["acme"], to="bcp", reason="CHG0042 tenant patch")
    operation = next(entry for entry in scene.of("operation") if entry.op == "failover")
    assert (operation.actor, operation.reason, operation.id) == ("ops-1", "CHG0042 tenant patch", answer.id)
    assert (operation.args, operation.groups) == ({"groups": ["acme"], "to": "bcp"}, ("acme",))
    assert operation.effect["calls"] == 15
    assert operation.outcome in ("accepted", "done")
    assert operation.after["groups"]["acme"]["held"] == "bcp" and operation.before.get("groups", {}) == {}
    decision = scene.last("decision")
    assert (decision.actor, decision.groups, decision.epoch) == ("ops-1", ("acme",), scene.world.groups["acme"].epoch)
    assert decision.inputs["order"]["reason"] == "CHG0042 tenant patch"
    assert (decision.before["bcp_percent"], decision.after["bcp_percent"]) == (0, 100)


def test_refusals_dry_runs_and_nonsense_are_told_too_and_change_nothing() -> None:
    scene = AuditedScene()
    scene.kill("acme-bcp")
    scene.run(5)
    scene.order("failover", groups=["acme"], to="bcp")
    refused = scene.last("operation")
    assert (refused.outcome, refused.rule, refused.after) == ("refused", "target-out-of-service", {})
    scene.order("automation", state="pause", dry_run=True)
    dry = scene.last("operation")
    assert (dry.outcome, dry.dry_run, dry.after, dry.op) == ("done", True, {}, "automation")
    scene.order("make-coffee")
    assert (scene.last("operation").outcome, scene.last("operation").rule) == ("invalid", "unknown-command")


def test_admin_states_are_told_as_they_were_and_as_they_are() -> None:
    scene = AuditedScene()
    name = scene.sbcs_of("acme-prod")[0]
    scene.order("sbc-admin", sbc=name, state="draining")
    entry = next(one for one in reversed(scene.of("operation")) if one.op == "sbc-admin")
    assert (entry.before["sbc_admin"], entry.after["sbc_admin"]) == ({}, {name: 1})


def test_an_operation_that_takes_its_time_has_a_record_of_its_end() -> None:
    scene = AuditedScene()
    scene.acks = False
    scene.order("trunk-allow", trunk=scene.topology.trunks[0].name, cidr="198.51.100.0/28", until=UNIX_S + 86_400.0)
    assert scene.last("operation").outcome == "accepted"
    scene.router_dies()
    held = scene.world.published
    assert held is not None
    scene.has_router = scene.acks = True
    scene.put(Heard(1, Hello("r1", 0, 4712, held)))
    scene.put(Heard(1, Ack("r1", held.term, held.seq, held.revision)))
    scene.run(2.0)
    ended = scene.last("operation")
    assert (ended.op, ended.outcome, ended.actor, ended.reason) == ("trunk-allow-ended", "done", "ops-1", "a test")
    assert [entry.op for entry in scene.of("process")][-2:] == ["router-gone", "router-connected"]


def test_every_automatic_decision_is_told_and_replays_from_its_line_on_disk() -> None:
    scene = AuditedScene(failback="automatic", hold_down_s=2.0, ramp=(50, 100), ramp_step_s=1.0)
    for _ in range(2):
        scene.kill("acme-prod")
        scene.run(15)
        scene.heal("acme-prod")
        scene.run(60)
    decisions = scene.of("decision")
    assert len(decisions) == len(scene.records) >= 7
    for entry in decisions:
        found = replayed(on_disk(entry), "sipctl 1")
        assert (found.verdict, found.is_fault) == ("same", False), found.text


def test_a_record_that_does_not_give_its_decision_says_what_differs_and_who_wrote_it() -> None:
    scene = AuditedScene()
    scene.order("failover", groups=["acme"], to="bcp")
    body = on_disk(scene.last("decision"))
    newer = {**body, "inputs": {**body["inputs"], "moon": "full"}, "after": {**body["after"], "mood": "good"}}
    assert replayed(newer, "sipctl 1").verdict == "same", "what a newer build adds is left out of account"
    tampered = json.loads(json.dumps(body))
    tampered["after"]["bcp_percent"] = 0
    found = replayed(tampered, "sipctl 2")
    assert found.verdict == "different" and "bcp_percent was 0, is 100" in found.text
    assert "recorded by sipctl 1, replayed by sipctl 2" in found.text
    assert replayed({**body, "inputs": {}}, "sipctl 2").verdict == "unreadable"
    assert replayed({**body, "kind": "operation"}, "sipctl 2").verdict == "no-decision"


def test_a_plan_that_goes_live_is_told_with_its_revision_its_difference_and_whose_it_is() -> None:
    scene = AuditedScene()
    plan, table = the_plan(a_topology(revision=7))
    scene.tables[table.hash] = table
    live = dataclasses.replace(plan, author="ops-2", reason="CHG0043")
    scene.auditor.asked(Command("op-77", "rollback", {"revision": 3, "files": {"a": "b"}}, "ops-2", "CHG0043"))
    scene.put(
        PlanLive(live, "op-77", {"revision": 7, "diff": ["1 number moves"], "findings": [1]}, "ops-2", "revision 7 is live")
    )
    entry = scene.last("plan")
    assert (entry.op, entry.actor, entry.revision, entry.id, entry.reason) == ("rollback", "ops-2", 7, "op-77", "CHG0043")
    assert entry.args == {"revision": 3}, "the files stand in the revision"
    assert entry.after == {"revision": 7, "table": table.hash} and entry.before["revision"] != 7
    assert entry.effect == {"revision": 7, "diff": ["1 number moves"]}
    scene.auditor.asked(Command("op-78", "apply", {"files": {}}, "ops-2", "again"))
    scene.auditor.answered(Answer("op-78", "invalid", "1 error in the plan", "plan.invalid"))
    assert (scene.last("operation").op, scene.last("operation").outcome) == ("apply", "invalid")
    scene.auditor.answered(Answer("op-78", "invalid", "once is enough"))
    assert scene.last("operation").text == "1 error in the plan"


def test_a_controller_that_begins_tells_what_it_goes_on_with_and_what_it_adopted() -> None:
    scene = AuditedScene()
    scene.auditor.began(wishes_of(scene.world), scene.world)
    assert scene.last("process").after == {}
    scene.order("failover", groups=["acme"], to="bcp")
    scene.auditor.began(Wishes(), scene.world)
    began = scene.last("process")
    assert began.op == "controller-start" and "adopts what its routers hold" in began.text
    assert began.inputs["groups"]["acme"]["held"] == "bcp" and began.after["groups"]["acme"]["bcp_percent"] == 100


def test_keys_are_told_by_their_numbers_never_by_their_secrets() -> None:
    scene = AuditedScene()
    scene.put(Keys((SigningKey(1, bytes(32)), SigningKey(2, b"\x07" * 32)), 1))
    entry = scene.last("key")
    assert entry.after == {"keys": [1, 2], "signing": 1}
    assert ("07" * 32) not in json.dumps(on_disk(entry))


def test_extra_addresses_whose_time_is_over_are_told() -> None:
    scene = AuditedScene()
    until = UNIX_S + scene.now_s + 5
    scene.order("trunk-allow", trunk=scene.topology.trunks[0].name, cidr="198.51.100.0/28", until=until)
    scene.run(6)
    entry = scene.last("operation")
    assert (entry.op, entry.rule, entry.actor) == ("trunk-allow-expired", "until", "sipctl")
    assert entry.before["extra"][0][1] == "198.51.100.0/28"


def test_a_quiet_minute_is_not_told() -> None:
    scene = AuditedScene()
    before = len(scene.entries)
    scene.run(60)
    assert len(scene.entries) == before
    scene.put(Gone(99))
    assert len(scene.entries) == before


def test_operations_that_never_end_are_forgotten_the_oldest_first() -> None:
    entries: list[AuditEntry] = []
    auditor = Auditor(entries.append, lambda: 0.0)
    for number in range(MAX_OPEN + 1):
        auditor.asked(Command(f"op-{number}", "apply", {}, "ops-1", "x"))
    auditor.answered(Answer("op-0", "failed", "too late"))
    auditor.answered(Answer("op-1", "failed", "in time"))
    assert [entry.id for entry in entries] == ["op-1"]


def test_what_is_switched_is_told_by_its_name() -> None:
    scene = AuditedScene()
    record = DecisionRecord("overlay fire", 0, 1, 5.0, "operator", "…", {}, {}, {"on": True}, "ops-1", "overlay")
    scene.auditor.seen(scene.world, Gone(99), scene.world, (RecordEffect(record),))
    entry = scene.last("overlay")
    assert (entry.args, entry.groups, entry.after) == ({"name": "fire"}, (), {"on": True})
