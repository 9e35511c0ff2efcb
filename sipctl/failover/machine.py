"""The group machine as one complete table: state × input → (next state, act) (CALLS 4.1).

    NORMAL → HOLD_OFF → ON_BCP → HOLD_DOWN → RAMP → NORMAL

Inputs are levels, not edges: the facts about both tenants are put in at every evaluation, so nothing hangs on having seen a
change, and a restart loses nothing. A cell that names an automatic act happens only if its guard allows (`group.py`); otherwise
the group stays where it is. Invariant: every cell exists, and none leaves a group without a tenant.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final


class State(Enum):
    """Where a group is on its way; the values are the words of the API."""

    NORMAL = "normal"  # all new calls to the primary
    HOLD_OFF = "hold-off"  # still to the primary, which is out of service: a moment of patience
    ON_BCP = "on-bcp"
    HOLD_DOWN = "hold-down"  # still to BCP; the primary is back and must stay well for a while
    RAMP = "ramp"  # a growing share to the primary


class Input(Enum):
    """What can happen to a group."""

    PRIMARY_LOST = "primary lost"  # and BCP is usable
    BCP_LOST = "bcp lost"  # and the primary is usable
    BOTH_LOST = "both lost"
    REGAINED = "regained"  # both are usable
    TIMER = "timer"
    TO_BCP = "operator: to bcp"
    TO_PRIMARY = "operator: to primary"
    FAILBACK = "operator: failback"
    FAILBACK_NOW = "operator: failback now"


class Act(Enum):
    """What a cell does besides changing the state."""

    STAY = "stay"
    SETTLE = "settle"  # disarm a timer whose reason is gone
    WAIT = "wait"  # arm hold_off
    NOWHERE_TO_GO = "nowhere to go"  # disarm hold_off: the other tenant must be usable for the whole of it
    FAIL_OVER = "fail over"
    WAIT_TO_LEAVE_BCP = "wait to leave bcp"  # arm hold_off, the other way
    LEAVE_BCP = "leave bcp"
    WAIT_TO_RETURN = "wait to return"  # arm hold_down
    KEEP_WAITING = "keep waiting"  # as long as a return is still wanted
    STOP_WAITING = "stop waiting"  # the primary went again
    START_RAMP = "start ramp"
    STEP_RAMP = "step ramp"
    FALL_BACK = "fall back"  # the primary went during the ramp
    CUT_RAMP = "cut ramp"  # BCP went during the ramp
    HOLD_BCP = "hold bcp"
    HOLD_PRIMARY = "hold primary"
    RELEASE = "release"
    RAMP_BY_ORDER = "ramp by order"
    RETURN_BY_ORDER = "return by order"


FACTS: Final = (Input.PRIMARY_LOST, Input.BCP_LOST, Input.BOTH_LOST, Input.REGAINED)
ORDERS: Final = (Input.TO_BCP, Input.TO_PRIMARY, Input.FAILBACK, Input.FAILBACK_NOW)

_S, _I, _A = State, Input, Act

TABLE: Final = MappingProxyType({
    State.NORMAL: MappingProxyType({
        _I.PRIMARY_LOST: (_S.HOLD_OFF, _A.WAIT),
        _I.BCP_LOST: (_S.NORMAL, _A.STAY),
        _I.BOTH_LOST: (_S.HOLD_OFF, _A.NOWHERE_TO_GO),
        _I.REGAINED: (_S.NORMAL, _A.STAY),
        _I.TIMER: (_S.NORMAL, _A.STAY),
        _I.TO_BCP: (_S.ON_BCP, _A.HOLD_BCP),
        _I.TO_PRIMARY: (_S.NORMAL, _A.HOLD_PRIMARY),
        _I.FAILBACK: (_S.NORMAL, _A.RELEASE),
        _I.FAILBACK_NOW: (_S.NORMAL, _A.RELEASE),
    }),
    State.HOLD_OFF: MappingProxyType({
        _I.PRIMARY_LOST: (_S.HOLD_OFF, _A.WAIT),
        _I.BCP_LOST: (_S.NORMAL, _A.SETTLE),
        _I.BOTH_LOST: (_S.HOLD_OFF, _A.NOWHERE_TO_GO),
        _I.REGAINED: (_S.NORMAL, _A.SETTLE),
        _I.TIMER: (_S.ON_BCP, _A.FAIL_OVER),
        _I.TO_BCP: (_S.ON_BCP, _A.HOLD_BCP),
        _I.TO_PRIMARY: (_S.HOLD_OFF, _A.HOLD_PRIMARY),
        _I.FAILBACK: (_S.HOLD_OFF, _A.RELEASE),
        _I.FAILBACK_NOW: (_S.HOLD_OFF, _A.RELEASE),
    }),
    State.ON_BCP: MappingProxyType({
        _I.PRIMARY_LOST: (_S.ON_BCP, _A.SETTLE),
        _I.BCP_LOST: (_S.ON_BCP, _A.WAIT_TO_LEAVE_BCP),
        _I.BOTH_LOST: (_S.ON_BCP, _A.NOWHERE_TO_GO),
        _I.REGAINED: (_S.HOLD_DOWN, _A.WAIT_TO_RETURN),
        _I.TIMER: (_S.NORMAL, _A.LEAVE_BCP),
        _I.TO_BCP: (_S.ON_BCP, _A.HOLD_BCP),
        _I.TO_PRIMARY: (_S.NORMAL, _A.HOLD_PRIMARY),
        _I.FAILBACK: (_S.RAMP, _A.RAMP_BY_ORDER),
        _I.FAILBACK_NOW: (_S.NORMAL, _A.RETURN_BY_ORDER),
    }),
    State.HOLD_DOWN: MappingProxyType({
        _I.PRIMARY_LOST: (_S.ON_BCP, _A.STOP_WAITING),
        _I.BCP_LOST: (_S.ON_BCP, _A.WAIT_TO_LEAVE_BCP),
        _I.BOTH_LOST: (_S.ON_BCP, _A.STOP_WAITING),
        _I.REGAINED: (_S.HOLD_DOWN, _A.KEEP_WAITING),
        _I.TIMER: (_S.RAMP, _A.START_RAMP),
        _I.TO_BCP: (_S.ON_BCP, _A.HOLD_BCP),
        _I.TO_PRIMARY: (_S.NORMAL, _A.HOLD_PRIMARY),
        _I.FAILBACK: (_S.RAMP, _A.RAMP_BY_ORDER),
        _I.FAILBACK_NOW: (_S.NORMAL, _A.RETURN_BY_ORDER),
    }),
    State.RAMP: MappingProxyType({
        _I.PRIMARY_LOST: (_S.ON_BCP, _A.FALL_BACK),
        _I.BCP_LOST: (_S.NORMAL, _A.CUT_RAMP),
        _I.BOTH_LOST: (_S.RAMP, _A.STAY),
        _I.REGAINED: (_S.RAMP, _A.STAY),
        _I.TIMER: (_S.RAMP, _A.STEP_RAMP),
        _I.TO_BCP: (_S.ON_BCP, _A.HOLD_BCP),
        _I.TO_PRIMARY: (_S.NORMAL, _A.HOLD_PRIMARY),
        _I.FAILBACK: (_S.RAMP, _A.RELEASE),
        _I.FAILBACK_NOW: (_S.NORMAL, _A.RETURN_BY_ORDER),
    }),
})


def fact(*, primary_usable: bool, bcp_usable: bool) -> Input:
    """The fact two tenants' states stand for."""
    if primary_usable:
        return Input.REGAINED if bcp_usable else Input.BCP_LOST
    return Input.PRIMARY_LOST if bcp_usable else Input.BOTH_LOST
