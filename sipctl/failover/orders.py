"""Orders of operators: from any state, at once, and never stopped by automation's guards (CALLS 4.2).

The checks that may refuse an order lie before (control/changes.py).
"""

from __future__ import annotations

from dataclasses import replace

from sipctl.failover.machine import TABLE, Act, Input, State
from sipctl.failover.memory import BCP, KEEP, PRIMARY, Inputs, Memory, Order, Step, stepped


def obey(memory: Memory, inputs: Inputs, order: Order) -> Step:
    """Carry out an operator's order, from any state; the checks that may refuse it lie before (control/changes.py)."""
    name = {PRIMARY: inputs.policy.primary, BCP: inputs.policy.bcp}
    said = f"{order.actor}: {order.reason}" if order.reason else order.actor
    if order.kind == "unpin":
        return _flag(memory, inputs, "unpin", f"no longer pinned ({said})", replace(memory, pinned=None))
    if order.kind == "unlatch":
        return _flag(
            memory, inputs, "unlatch", f"failbacks are allowed again ({said})", replace(memory, latched=False, moves=(), flaps=())
        )
    if order.kind == "failback":
        what = Input.FAILBACK_NOW if order.now else Input.FAILBACK
    else:
        what = Input.TO_BCP if order.to == BCP else Input.TO_PRIMARY
    state, act = TABLE[State(memory.state)][what]
    free = replace(memory, held=None, held_by="")
    if order.kind == "pin":
        free = replace(free, pinned=order.to)
    held = free if order.kind == "pin" else replace(free, held=order.to, held_by=order.actor)
    stays = "until unpin, nothing automatic moves it" if order.kind == "pin" else "until failback"
    match act:
        case Act.HOLD_BCP:
            return _changed(
                memory, held, inputs, state, order.kind, f"new calls go to {name[BCP]} {stays} ({said})",
                bcp_percent=100, step=0, deadline_s=None,
            )
        case Act.HOLD_PRIMARY:
            keep_s = memory.deadline_s if state is State.HOLD_OFF else None
            return _changed(
                memory, held, inputs, state, order.kind, f"new calls go to {name[PRIMARY]} {stays} ({said})",
                bcp_percent=0, step=0, deadline_s=keep_s,
            )
        case Act.RELEASE:
            return _changed(memory, free, inputs, state, "release", f"no longer held ({said})")
        case Act.RETURN_BY_ORDER:
            return _changed(
                memory, free, inputs, state, "failback", f"new calls go back to {name[PRIMARY]} at once ({said})",
                bcp_percent=0, step=0, deadline_s=None,
            )
    assert act is Act.RAMP_BY_ORDER, act
    share = inputs.policy.ramp[0]
    if share >= 100:
        return _changed(
            memory, free, inputs, State.NORMAL, "failback", f"new calls go back to {name[PRIMARY]} ({said})",
            bcp_percent=0, step=0, deadline_s=None,
        )
    return _changed(
        memory, free, inputs, state, "failback", f"{share} % of new calls go back to {name[PRIMARY]} ({said})",
        bcp_percent=100 - share, step=0, deadline_s=inputs.now_s + inputs.policy.ramp_step_s,
    )


def _flag(memory: Memory, inputs: Inputs, rule: str, sentence: str, wanted: Memory) -> Step:
    if wanted == memory:
        return Step(memory)
    return stepped(wanted, inputs, State(memory.state), rule, sentence, deadline_s=memory.deadline_s)


def _changed(
    before: Memory, flags: Memory, inputs: Inputs, state: State, rule: str, sentence: str, *, bcp_percent: int | None = None,
    step: int | None = None, deadline_s: object = KEEP,
) -> Step:
    """A step, unless the group stands there already with the same flags."""
    deadline = before.deadline_s if deadline_s is KEEP else deadline_s
    assert deadline is None or isinstance(deadline, float)
    percent = before.bcp_percent if bcp_percent is None else bcp_percent
    same_place = (state.value, percent) == (before.state, before.bcp_percent)
    if same_place and (flags.held, flags.pinned) == (before.held, before.pinned):
        return Step(before)
    return stepped(
        flags, inputs, state, rule, sentence, bcp_percent=percent, step=before.step if step is None else step, deadline_s=deadline
    )
