"""The whole matrix, generated: every command × every role × second person or not × glass or not; every rule × every role × forced
or not × glass or not.

It walks the tables the product runs on (OP_ROLES, RULES, ROLES). A command or a rule without a row here fails, so nothing can be
added without saying what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, Final

import pytest

from sipctl.control.case import Change, No
from sipctl.control.changes import OP_ROLES, OPS, plan_change
from sipctl.control.plan_requests import OPS as PLAN_OPS
from sipctl.control.plan_rules import forbidden, may_overrule
from sipctl.control.ports import Command, Nack
from sipctl.control.safety import ROLES, RULES, STALE_S, at_least
from sipctl.control.world import Heard, Ordered, World
from sipctl.routing.snapshot import Approval, Topology
from tests.control.scene import UNIX_S, Scene, the_plan
from tests.control.test_overlays import a_plan

APPROVERS: Final = ("operator", "admin")
# Commands about plans, which go another way (control/plans.py): their rules are those of PLAN_REFUSED.
OF_PLANS: Final = (*PLAN_OPS, "canary-grow", "canary-promote", "canary-abort")


@dataclass(frozen=True, slots=True)
class Row:
    """One command that the world it is given in admits, or that one rule refuses there."""

    op: str
    args: Mapping[str, Any]
    prepare: Callable[[Scene], None] = lambda scene: None
    moves: bool = False  # calls of a group: where it asks for two persons, it takes two
    also: tuple[str, ...] = ()  # rules that must be forced to come as far as the one that is meant
    topology: Callable[[Topology], Topology] = lambda topology: topology


def asking(scene: Scene, op: str, actor: str = "boss", **args: Any) -> None:
    """Somebody else does something first, with the glass broken where it takes that."""
    scene.put(Ordered(Command("op-before", op, args, actor, "before", role="admin", break_glass=True, token_at_unix_s=1.0)))
    scene.put(Ordered(Command("op-seal", "break-glass", {"state": "off"}, actor, "before", role="admin")))


def proposing(scene: Scene) -> None:
    scene.put(
        Ordered(Command("op-asked", "failover", {"group": "acme", "to": "bcp"}, "boss", "why", role="admin", token_at_unix_s=1.0))
    )


def before(op: str, **args: Any) -> Callable[[Scene], None]:
    return lambda scene: asking(scene, op, **args)


# What each command does where nothing forbids it.
ADMITTED: Final[Mapping[str, Row]] = {
    row.op: row
    for row in (
        Row("failover", {"group": "acme", "to": "bcp"}, moves=True),
        Row("failback", {"group": "acme"}, before("failover", group="acme", to="bcp"), moves=True),
        Row("pin", {"group": "acme", "to": "bcp"}, moves=True),
        Row("unpin", {"group": "acme"}, before("pin", group="acme", to="bcp")),
        Row("unlatch", {"group": "acme"}),
        Row("automation", {"state": "pause"}),
        Row("sbc-admin", {"sbc": "fra-a", "state": "draining"}),
        Row("sbc-probe", {"sbc": "fra-a"}),
        Row("trunk-allow", {"trunk": "carrier-one", "cidr": "192.0.2.64/28", "until": UNIX_S + 9e6}),
        Row("trunk-admin", {"trunk": "carrier-one", "state": "disabled"}),
        Row("tenant-admin", {"tenant": "acme-bcp", "state": "draining"}, moves=True),
        Row("node-admin", {"state": "draining"}, moves=True),
        Row("overlay-on", {"overlay": "evening"}, moves=True),
        Row("overlay-off", {"overlay": "evening"}, before("overlay-on", overlay="evening")),
        Row("switch-on", {"switch": "sales-off"}, moves=True),
        Row("switch-off", {"switch": "sales-off"}, before("switch-on", switch="sales-off")),
        Row("alarm-ack", {"id": "automation-paused"}, before("automation", state="pause")),
        Row("op-abort", {"id": "op-before"}, before("sbc-admin", sbc="fra-a", state="draining")),
        Row("op-approve", {"id": "P-asked"}, proposing),
        Row("op-reject", {"id": "P-asked"}, proposing),
        Row("break-glass", {"state": "on"}),
    )
}


def busy(scene: Scene) -> None:
    scene.calls = {"acme-sales": 12}
    scene.run(1.0)


def dead_bcp(scene: Scene) -> None:
    scene.kill("acme-bcp")
    scene.run(8.0)


def refusing(scene: Scene) -> None:
    scene.acks = False
    scene.put(Heard(1, Nack("r1", scene.world.term, scene.world.seq, "no wish to")))


def silent(scene: Scene) -> None:
    scene.now_s += STALE_S + 1.0


def small_bcp(topology: Topology) -> Topology:
    return replace(topology, tenants=(topology.tenants[0], replace(topology.tenants[1], max_calls=5), *topology.tenants[2:]))


TO_BCP: Final = {"group": "acme", "to": "bcp"}
# The command that each rule refuses, and the world in which it does.
REFUSED: Final[Mapping[str, Row]] = {
    "both-tenants-off": Row(
        "tenant-admin", {"tenant": "acme-prod", "state": "disabled"}, before("tenant-admin", tenant="acme-bcp", state="disabled"),
        also=("active-tenant",),
    ),
    "target-out-of-service": Row("failover", TO_BCP, dead_bcp),
    "target-not-enabled": Row("failover", TO_BCP, before("tenant-admin", tenant="acme-bcp", state="draining")),
    "target-too-small": Row("failover", TO_BCP, busy, topology=small_bcp),
    "stale-view": Row("failover", TO_BCP, silent),
    "mixed-routers": Row("failover", TO_BCP, refusing),
    "pinned": Row("failover", TO_BCP, before("pin", group="acme", to="primary")),
    "last-usable-sbc": Row(
        "sbc-admin", {"sbc": "fra-b", "state": "draining"}, before("sbc-admin", sbc="fra-a", state="draining")
    ),
    "active-tenant": Row("tenant-admin", {"tenant": "acme-prod", "state": "draining"}),
    "last-trunk": Row(
        "trunk-admin", {"trunk": "carrier-one", "state": "disabled"},
        before("trunk-admin", trunk="carrier-two", state="disabled"),
    ),
    "overlay-collides": Row("overlay-on", {"overlay": "emergency"}, before("overlay-on", overlay="evening")),
    "switch-collides": Row("switch-on", {"switch": "acme-away"}, before("switch-on", switch="sales-off")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan that one rule keeps from going live."""

    after: Callable[[Topology], Topology] = lambda topology: topology
    prepare: Callable[[Scene], None] = lambda scene: None
    numbers: int | None = None  # of each entry point; None: as many as before


PLAN_REFUSED: Final[Mapping[str, PlanRow]] = {
    "group-not-normal": PlanRow(
        lambda topology: replace(topology, groups=(replace(topology.groups[0], name="other", approved_by=APPROVERS),)),
        before("failover", group="acme", to="bcp"),
    ),
    "active-overlay": PlanRow(lambda topology: replace(topology, overlays=()), before("overlay-on", overlay="evening")),
    "active-switch": PlanRow(lambda topology: replace(topology, switches=()), before("switch-on", switch="sales-off")),
    "approval-weakened": PlanRow(lambda topology: replace(topology, groups=(replace(topology.groups[0], approved_by=()),))),
    "shrunken-plan": PlanRow(numbers=1),
}


@cache
def prepared(name: str, two_persons: bool) -> tuple[World, float]:
    """The world of one row and what the clock shows there; (world, now_s)."""
    row = REFUSED.get(name) or ADMITTED.get(name) or PLAN_REFUSED[name]
    topology = replace(a_plan(), approval=Approval(glass_by=("admin",)))
    if isinstance(row, Row):
        topology = row.topology(topology)
    if two_persons:
        topology = replace(topology, groups=tuple(replace(group, approved_by=APPROVERS) for group in topology.groups))
    scene = Scene(topology)
    row.prepare(scene)
    return scene.world, scene.now_s


def given(row: Row, role: str, force: tuple[str, ...], glass: bool) -> Command:
    return Command("op-1", row.op, row.args, "ann", "a test", False, force, role, UNIX_S - 9e7, ("first start",), glass)


def said(result: Change | No) -> str:
    return result.code if isinstance(result, No) else "proposed" if result.status == "proposed" else "does"


def test_every_command_and_every_rule_has_a_row() -> None:
    assert set(OPS) == set(ADMITTED) | set(OF_PLANS), "a command without a row, or a row without a command"
    assert set(RULES) == set(REFUSED) | set(PLAN_REFUSED), "a rule without a row, or a row without a rule"
    assert not set(REFUSED) & set(PLAN_REFUSED) and not set(ADMITTED) & set(OF_PLANS)
    assert set(OP_ROLES.values()) <= set(ROLES) and {rule.forced_by for rule in RULES.values()} <= {"", *ROLES}


@pytest.mark.parametrize("op", ADMITTED)
@pytest.mark.parametrize("two_persons", [False, True], ids=["one person", "two persons"])
def test_each_command_for_each_role(op: str, two_persons: bool) -> None:
    row = ADMITTED[op]
    needs_two = two_persons or op in ("op-approve", "op-reject")
    world, now_s = prepared(op, needs_two)
    for role, glass in product(ROLES, (False, True)):
        if not at_least(role, OP_ROLES[op]):
            wanted = "role"
        elif (glass or op == "break-glass") and role != "admin":
            wanted = "break-glass-role"
        elif needs_two and row.moves and not glass:
            wanted = "proposed"
        else:
            wanted = "does"
        found = said(plan_change(world, given(row, role, (), glass), UNIX_S + now_s, now_s))
        assert found == wanted, f"{role}{' with broken glass' if glass else ''}: {found}"


@pytest.mark.parametrize("rule", REFUSED)
@pytest.mark.parametrize("two_persons", [False, True], ids=["one person", "two persons"])
def test_each_rule_for_each_role(rule: str, two_persons: bool) -> None:
    row = REFUSED[rule]
    world, now_s = prepared(rule, two_persons)
    for role, named, glass in product(ROLES, (False, True), (False, True)):
        forced_by = RULES[rule].forced_by
        if not at_least(role, OP_ROLES[row.op]):
            wanted = "role"
        elif glass and role != "admin":
            wanted = "break-glass-role"
        elif not named or not (glass or (forced_by and at_least(role, forced_by))):
            wanted = rule
        else:
            wanted = "proposed" if two_persons and not glass and _moves(row) else "does"
        force = (*row.also, *((rule,) if named else ()))
        result = plan_change(world, given(row, role, force, glass), UNIX_S + now_s, now_s)
        told = f"{role}{' forcing it' if named else ''}{' with broken glass' if glass else ''}"
        assert said(result) == wanted, f"{told}: {said(result)}"
        if isinstance(result, Change) and result.status != "proposed":
            assert rule in result.body["overruled"], f"{told}: what was overruled is told"


def _moves(row: Row) -> bool:
    return row.op in ("failover", "overlay-on", "switch-on", "tenant-admin", "sbc-admin")


@pytest.mark.parametrize("rule", PLAN_REFUSED)
def test_each_rule_of_plans_for_each_role(rule: str) -> None:
    row = PLAN_REFUSED[rule]
    world, now_s = prepared(rule, True)
    assert world.plan is not None
    plan = the_plan(row.after(replace(world.plan.topology, revision=2)))[0]
    if row.numbers is not None:
        plan = replace(plan, numbers=dict.fromkeys(plan.numbers, row.numbers))
    for role, named, glass in product(ROLES, (False, True), (False, True)):
        seen = world
        if glass:
            opened = plan_change(world, given(ADMITTED["break-glass"], "admin", (), False), UNIX_S + now_s, now_s)
            assert isinstance(opened, Change)
            seen = replace(world, glass=opened.glass)
        forced_by = RULES[rule].forced_by
        passes = named and (glass or bool(forced_by and at_least(role, forced_by)))
        command = Command("op-1", "apply", {}, "ann", "a test", force=(rule,) if named else (), role=role)
        no = forbidden(seen, plan, may_overrule(seen, command))
        assert (no.code if no is not None else "") in (({""} | set(PLAN_REFUSED)) - {rule} if passes else {rule}), (
            f"{role} {named} {glass}"
        )


@pytest.mark.parametrize("op", ADMITTED)
def test_no_command_names_a_rule_that_there_is_not(op: str) -> None:
    world, now_s = prepared(op, op in ("op-approve", "op-reject"))
    result = plan_change(world, given(ADMITTED[op], "admin", ("no-such-rule",), False), UNIX_S + now_s, now_s)
    assert isinstance(result, No) and result.code == "unknown-rule"
