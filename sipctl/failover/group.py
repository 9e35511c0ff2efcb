"""One group's decision: the guards around the table of `machine.py` and the sentences that explain it (CALLS 4.1, 4.2, 4.4).

`decide` makes at most one step; `settle` repeats it until nothing changes. What a step read (memory and inputs) is the record of
the decision, and the same two give the same step again (`records.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sipctl.failover.guards import (
    FREEZE_MAX_S,
    LATCH_MOVES,
    automatic,
    flapped,
    hold_down_s,
    lost_words,
    may_freeze,
    may_return,
    recent,
    why_not,
)
from sipctl.failover.machine import TABLE, Act, Input, State
from sipctl.failover.memory import MAX_REMEMBERED, Inputs, Memory, Step, stepped
from sipctl.failover.orders import obey

MAX_STEPS: Final = 8  # steps of one evaluation; more would be a loop


def decide(memory: Memory, inputs: Inputs) -> Step:
    """Make the next step of one group, or none."""
    if inputs.order is not None:
        return obey(memory, inputs, inputs.order)
    if memory.frozen is not None and not (may_freeze(memory, inputs) and (inputs.doubt_primary or inputs.doubt_bcp)):
        return _thaw(memory, inputs)
    step = _apply(memory, inputs, inputs.fact)
    if step.rule:
        return step
    if memory.deadline_s is not None and memory.deadline_s <= inputs.now_s:
        return _apply(memory, inputs, Input.TIMER)
    return step


def settle(memory: Memory, inputs: Inputs) -> tuple[Memory, tuple[tuple[Memory, Inputs, Step], ...]]:
    """Repeat `decide` until nothing changes; the order, if any, is obeyed once and first.

    Returns: the memory at the end, and each step with what it was decided from.
    """
    steps: list[tuple[Memory, Inputs, Step]] = []
    for _ in range(MAX_STEPS):
        step = decide(memory, inputs)
        if step.rule:
            steps.append((memory, inputs, step))
        elif inputs.order is None:
            break
        memory, inputs = step.memory, replace(inputs, order=None)
    assert len(steps) < MAX_STEPS, f"a group that does not come to rest: {memory}"
    return memory, tuple(steps)


def _apply(memory: Memory, inputs: Inputs, what: Input) -> Step:
    state, act = TABLE[State(memory.state)][what]
    policy, to_bcp, to_primary = inputs.policy, f"new calls go to {inputs.policy.bcp}", f"new calls go to {inputs.policy.primary}"
    lost = lost_words(inputs)
    match act:
        case Act.WAIT if automatic(memory, inputs) and (memory.deadline_s is None or memory.state != state.value):
            return stepped(
                memory, inputs, state, "hold-off", f"{lost}: waiting {policy.hold_off_s:g} s before leaving it",
                deadline_s=inputs.now_s + policy.hold_off_s,
            )
        case Act.WAIT | Act.NOWHERE_TO_GO if memory.state == State.HOLD_OFF.value and not automatic(memory, inputs):
            return stepped(
                memory, inputs, State.NORMAL, "hold-off-ended", f"{lost}, but nothing automatic may move the group",
                deadline_s=None,
            )
        case Act.SETTLE if memory.state == State.HOLD_OFF.value:
            return stepped(
                memory, inputs, state, "hold-off-ended", f"{policy.primary} is back before the wait was over", deadline_s=None
            )
        case Act.SETTLE if memory.deadline_s is not None:
            return stepped(
                memory, inputs, state, "hold-off-ended", f"{policy.bcp} is usable again: staying there", deadline_s=None
            )
        case Act.NOWHERE_TO_GO if automatic(memory, inputs) and (memory.state != state.value or memory.deadline_s is not None):
            return stepped(
                memory, inputs, state, "both-lost", f"{lost}: there is no better place, so new calls stay", deadline_s=None
            )
        case Act.NOWHERE_TO_GO if automatic(memory, inputs) and (doubt := inputs.doubt_bcp or inputs.doubt_primary):
            return _freeze(memory, inputs, doubt)
        case Act.FAIL_OVER if inputs.fact is Input.PRIMARY_LOST and inputs.bcp_open and automatic(memory, inputs):
            return _move(
                memory, inputs, state, "failover",
                f"{policy.primary} has been out of service for {policy.hold_off_s:g} s, {policy.bcp} is {inputs.bcp}: {to_bcp}",
                bcp_percent=100, doubt=inputs.doubt_bcp, is_flap=bool(recent(memory.moves, inputs.unix_s)),
            )
        case Act.WAIT_TO_LEAVE_BCP if automatic(memory, inputs) and (memory.deadline_s is None or memory.state != state.value):
            return stepped(
                memory, inputs, state, "hold-off", f"{lost}: waiting {policy.hold_off_s:g} s before leaving it",
                deadline_s=inputs.now_s + policy.hold_off_s,
            )
        case Act.LEAVE_BCP if inputs.fact is Input.BCP_LOST and inputs.primary_open and automatic(memory, inputs):
            return _move(
                memory, inputs, state, "bcp-lost",
                f"{policy.bcp} has been out of service for {policy.hold_off_s:g} s, {policy.primary} is {inputs.primary}: "
                f"{to_primary}",
                bcp_percent=0, doubt=inputs.doubt_primary,
            )
        case Act.WAIT_TO_RETURN:
            return _wait_to_return(memory, inputs, state)
        case Act.KEEP_WAITING if not may_return(memory, inputs):
            return stepped(
                memory, inputs, State.ON_BCP, "hold-down-ended", f"no return now: {why_not(memory, inputs)}", deadline_s=None
            )
        case Act.STOP_WAITING:
            return stepped(
                flapped(memory, inputs), inputs, state, "hold-down-ended",
                f"{policy.primary} went again: staying at {policy.bcp}", deadline_s=None,
            )
        case Act.START_RAMP if may_return(memory, inputs):
            return _start_ramp(memory, inputs, state)
        case Act.STEP_RAMP if inputs.fact is Input.REGAINED and inputs.automation and memory.pinned is None:
            return _step_ramp(memory, inputs)
        case Act.FALL_BACK if automatic(memory, inputs) and inputs.bcp_open:
            return _move(
                memory, inputs, state, "primary-lost-again",
                f"{policy.primary} went out of service on the way back: {to_bcp}",
                bcp_percent=100, doubt=inputs.doubt_bcp, is_flap=True,
            )
        case Act.CUT_RAMP if automatic(memory, inputs) and inputs.primary_open:
            return _move(
                memory, inputs, state, "bcp-lost", f"{policy.bcp} went out of service during the ramp: {to_primary}",
                bcp_percent=0, doubt=inputs.doubt_primary,
            )
    return Step(memory)


def _wait_to_return(memory: Memory, inputs: Inputs, state: State) -> Step:
    """Both are usable: begin the hold-down if a return is wanted, else only forget a wait to leave BCP."""
    if may_return(memory, inputs):
        wait_s = hold_down_s(memory, inputs)
        return stepped(
            memory, inputs, state, "hold-down", f"{inputs.policy.primary} is back and must stay well for {wait_s:g} s",
            deadline_s=inputs.now_s + wait_s,
        )
    if memory.deadline_s is None:
        return Step(memory)
    return stepped(
        memory, inputs, State.ON_BCP, "hold-off-ended", f"{inputs.policy.bcp} is usable again: staying there", deadline_s=None
    )


def _start_ramp(memory: Memory, inputs: Inputs, state: State) -> Step:
    share, waited_s = inputs.policy.ramp[0], hold_down_s(memory, inputs)
    why = f"{inputs.policy.primary} has been well for {waited_s:g} s"
    if share >= 100:
        return _move(
            memory, inputs, State.NORMAL, "failback", f"{why}: new calls go back to it", bcp_percent=0, doubt=inputs.doubt_primary
        )
    return _move(
        memory, inputs, state, "failback", f"{why}: {share} % of new calls go back to it", bcp_percent=100 - share,
        doubt=inputs.doubt_primary, deadline_s=inputs.now_s + inputs.policy.ramp_step_s,
    )


def _step_ramp(memory: Memory, inputs: Inputs) -> Step:
    """The next share of the ramp; a plan edit may have shortened it."""
    if inputs.doubt_primary and may_freeze(memory, inputs):
        return _freeze(memory, inputs, inputs.doubt_primary)
    ramp, index = inputs.policy.ramp, memory.step + 1
    share = ramp[index] if index < len(ramp) else 100
    if share >= 100:
        return stepped(
            memory, inputs, State.NORMAL, "ramp-done", f"all new calls go to {inputs.policy.primary} again",
            bcp_percent=0, step=0, deadline_s=None,
        )
    return stepped(
        memory, inputs, State.RAMP, "ramp-step", f"{share} % of new calls go to {inputs.policy.primary}",
        bcp_percent=100 - share, step=index, deadline_s=inputs.now_s + inputs.policy.ramp_step_s,
    )


def _move(
    memory: Memory, inputs: Inputs, state: State, rule: str, sentence: str, *, bcp_percent: int, doubt: str,
    is_flap: bool = False, deadline_s: float | None = None,
) -> Step:
    """An automatic move: counted, latching after the third of an hour, ending a hold; it waits while we doubt ourselves."""
    if doubt and may_freeze(memory, inputs):
        return _freeze(memory, inputs, doubt)
    moved = flapped(memory, inputs) if is_flap else memory
    moves = (*recent(memory.moves, inputs.unix_s), inputs.unix_s)[-MAX_REMEMBERED:]
    if len(moves) >= LATCH_MOVES and not memory.latched:
        moved = replace(moved, latched=True)
        sentence = f"{sentence}; {len(moves)} automatic moves within an hour: no failback until unlatch"
    if memory.held is not None:
        sentence = f"{sentence}; the hold by {memory.held_by} ends"
    return stepped(
        replace(moved, moves=moves, held=None, held_by=""), inputs, state, rule, sentence,
        bcp_percent=bcp_percent, step=0, deadline_s=deadline_s,
    )


def _freeze(memory: Memory, inputs: Inputs, doubt: str) -> Step:
    if memory.frozen is not None or not may_freeze(memory, inputs):
        return Step(memory)
    step = stepped(memory, inputs, State(memory.state), "self-doubt", f"a due move waits: {doubt}", frozen=doubt)
    since_s = inputs.now_s if memory.frozen_s is None else memory.frozen_s
    return replace(step, memory=replace(step.memory, frozen_s=since_s))


def _thaw(memory: Memory, inputs: Inputs) -> Step:
    """The doubt is gone or has lasted long enough; since when it lasted is kept, so that it cannot begin anew for this move."""
    why = "we doubt ourselves no longer" if may_freeze(memory, inputs) else f"{FREEZE_MAX_S:g} s of doubt are enough"
    step = stepped(memory, inputs, State(memory.state), "self-doubt-ended", why)
    return replace(step, memory=replace(step.memory, frozen_s=memory.frozen_s))
