"""F13, F36: plans that lost most of their numbers, and orders that would leave nobody to take calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipctl.control.plan_rules import MIN_JUDGED_NUMBERS, forbidden
from sipctl.control.ports import Hello
from sipctl.control.world import Heard, Persist, Plan
from sipctl.routing.snapshot import Decision
from tests.control.scene import Scene


def with_numbers(plan: Plan | None, count: int) -> Plan:
    assert plan is not None
    first = next(iter(plan.numbers))
    return replace(plan, numbers={name: count if name == first else 0 for name in plan.numbers})


@pytest.mark.parametrize(("had", "left", "refused"), [(1000, 0, True), (1000, 499, True), (1000, 500, False), (99, 1, False)])
def test_f13_a_plan_that_lost_most_of_its_numbers_is_refused_unless_it_is_meant(had: int, left: int, refused: bool) -> None:
    assert MIN_JUDGED_NUMBERS == 100
    scene = Scene()
    world = replace(scene.world, plan=with_numbers(scene.world.plan, had))
    no = forbidden(world, with_numbers(scene.world.plan, left), ())
    assert (no is not None and no.code == "shrunken-plan") is refused
    if no is not None:
        assert str(left) in no.text and str(had) in no.text and "--force shrunken-plan" in no.hint
    assert forbidden(world, with_numbers(scene.world.plan, left), ("shrunken-plan",)) is None


def test_f36_both_tenants_are_never_drained_in_any_order_of_the_orders() -> None:
    for first, second in (("acme-prod", "acme-bcp"), ("acme-bcp", "acme-prod")):
        scene = Scene()
        for tenant in (first, second):
            scene.order("tenant-admin", tenant=tenant, state="disabled", move=True)
        scene.run(2.0)
        side = "bcp" if scene.place()[1] == 100 else "primary"
        open_tenants = {"primary": "acme-prod", "bcp": "acme-bcp"}[side]
        assert open_tenants not in scene.world.tenant_admin or scene.world.tenant_admin[open_tenants].name == "ENABLED"


def test_f36_a_wrong_name_is_told_with_the_right_one_and_changes_nothing() -> None:
    scene = Scene()
    before = scene.published[-1]
    answer = scene.order("failover", group="acmee", to="bcp")
    assert answer.status == "invalid" and "acme" in answer.hint
    assert scene.published[-1] == before


def test_f05_another_state_under_our_own_term_and_seq_makes_the_controller_go_above_it() -> None:
    """Two controllers that could not write their terms, while neither heard the other's routers."""
    scene = Scene()
    mine = scene.published[-1]
    anothers = replace(mine, decisions={**mine.decisions, "acme": Decision(100, False, None, 7, "somebody else's")})
    scene.put(Heard(2, Hello("r2", 1, 4713, anothers)))
    assert scene.world.term == mine.term + 1
    assert scene.published[-1].term == mine.term + 1
    again = scene.world.term
    scene.put(Heard(3, Hello("r3", 2, 4714, scene.published[-1])))
    assert scene.world.term == again, "who holds what we said is one of ours"


def test_f05_a_pin_that_was_told_and_not_written_outweighs_the_pin_of_before() -> None:
    scene = Scene()
    scene.order("pin", group="acme", to="bcp")
    written = [effect.wishes for effect in scene.effects if isinstance(effect, Persist)][-1]
    scene.order("pin", group="acme", to="primary")
    scene.restart(wishes=written)
    assert scene.world.groups["acme"].pinned == "primary" and scene.place()[1] == 0
