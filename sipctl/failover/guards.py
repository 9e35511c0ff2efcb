"""What automation may do to a group, and how long it waits (CALLS 4.2, 4.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sipctl.failover.machine import Input
from sipctl.failover.memory import IN, MAX_REMEMBERED, Inputs, Memory

LATCH_MOVES: Final = 3
LATCH_WINDOW_S: Final = 3600.0
HOLD_DOWN_MAX_S: Final = 3600.0
FREEZE_MAX_S: Final = 60.0


def automatic(memory: Memory, inputs: Inputs) -> bool:
    return inputs.automation and inputs.policy.failover == "automatic" and memory.pinned is None


def may_return(memory: Memory, inputs: Inputs) -> bool:
    """Is an automatic failback wanted and allowed now? An unmeasured primary is not well."""
    return (
        automatic(memory, inputs) and inputs.policy.failback == "automatic" and inputs.primary == IN
        and inputs.primary_open and memory.held is None and not memory.latched
    )


def may_freeze(memory: Memory, inputs: Inputs) -> bool:
    """Doubt holds a due move for FREEZE_MAX_S at most, then it goes ahead."""
    return memory.frozen_s is None or inputs.now_s - memory.frozen_s < FREEZE_MAX_S


def recent(instants: tuple[float, ...], unix_s: float) -> tuple[float, ...]:
    return tuple(at_s for at_s in instants if -LATCH_WINDOW_S < unix_s - at_s < LATCH_WINDOW_S)[-MAX_REMEMBERED:]


def hold_down_s(memory: Memory, inputs: Inputs) -> float:
    """The wait before an automatic return: doubled by each flap of the last hour, at most an hour."""
    wanted_s = inputs.policy.hold_down_s
    flaps = len(recent(memory.flaps, inputs.unix_s))
    return min(wanted_s * float(1 << min(flaps, 32)), max(HOLD_DOWN_MAX_S, wanted_s))


def flapped(memory: Memory, inputs: Inputs) -> Memory:
    return replace(memory, flaps=(*recent(memory.flaps, inputs.unix_s), inputs.unix_s)[-MAX_REMEMBERED:])


def lost_words(inputs: Inputs) -> str:
    match inputs.fact:
        case Input.PRIMARY_LOST:
            return f"{inputs.policy.primary} is out of service"
        case Input.BCP_LOST:
            return f"{inputs.policy.bcp} is out of service"
        case Input.BOTH_LOST:
            return f"{inputs.policy.primary} and {inputs.policy.bcp} are out of service"
    return f"{inputs.policy.primary} and {inputs.policy.bcp} are usable"


def why_not(memory: Memory, inputs: Inputs) -> str:
    if memory.pinned is not None:
        return "the group is pinned"
    if memory.held is not None:
        return f"held by {memory.held_by}"
    if memory.latched:
        return "latched"
    if not inputs.automation:
        return "automation is paused"
    return "the plan or an admin state forbids it" if inputs.primary == IN else f"{inputs.policy.primary} is {inputs.primary}"
