"""The group table is complete, and no cell leaves a group without a tenant."""

from __future__ import annotations

import itertools

import pytest

from sipctl.failover.machine import FACTS, ORDERS, TABLE, Act, Input, State, fact


def test_every_state_has_a_cell_for_every_input() -> None:
    assert set(TABLE) == set(State)
    for state in State:
        assert set(TABLE[state]) == set(Input), state
    assert set(FACTS) | set(ORDERS) | {Input.TIMER} == set(Input)


def test_every_act_is_used_and_every_state_reached() -> None:
    cells = [cell for row in TABLE.values() for cell in row.values()]
    assert {act for _, act in cells} == set(Act)
    assert {state for state, _ in cells} == set(State)


def test_staying_never_changes_the_state() -> None:
    for state, what in itertools.product(State, Input):
        after, act = TABLE[state][what]
        if act in (Act.STAY, Act.RELEASE, Act.KEEP_WAITING):
            assert after is state, (state, what)


@pytest.mark.parametrize(
    ("primary", "bcp", "expected"),
    [
        (True, True, Input.REGAINED), (True, False, Input.BCP_LOST), (False, True, Input.PRIMARY_LOST),
        (False, False, Input.BOTH_LOST),
    ],
)
def test_the_fact_follows_from_both_tenants(primary: bool, bcp: bool, expected: Input) -> None:
    assert fact(primary_usable=primary, bcp_usable=bcp) is expected
