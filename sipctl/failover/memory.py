"""What a group remembers, what one step of it is decided from, and the one way a step changes the memory.

All of it is plain frozen data, so that a decision can be written down whole and replayed. Instants ending in `_s` are monotonic,
`_unix_s` wall time: moves are remembered over restarts, waits begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sipctl.failover.machine import Input, State, fact
from sipctl.routing.snapshot import Decision, Group

MAX_REMEMBERED: Final = 16  # moves and flaps kept

PRIMARY: Final = "primary"
BCP: Final = "bcp"
OUT: Final = "out-of-service"
IN: Final = "in-service"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the plan says of a group."""

    primary: str
    bcp: str
    failover: str = "automatic"
    failback: str = "manual"
    hold_off_s: float = 5.0
    hold_down_s: float = 300.0
    ramp: tuple[int, ...] = (10, 50, 100)
    ramp_step_s: float = 120.0


def policy_of(group: Group, primary: str, bcp: str) -> Policy:
    return Policy(
        primary, bcp, group.failover, group.failback, group.hold_off_s, group.hold_down_s, group.ramp or (100,), group.ramp_step_s
    )


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's wish about one group, already found admissible."""

    kind: str  # "failover" | "failback" | "pin" | "unpin" | "unlatch"
    actor: str
    reason: str
    to: str = PRIMARY
    now: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What a group remembers."""

    state: str = State.NORMAL.value
    bcp_percent: int = 0
    step: int = 0  # of the ramp
    deadline_s: float | None = None
    held: str | None = None  # side an operator's failover holds
    held_by: str = ""
    pinned: str | None = None
    latched: bool = False
    frozen: str | None = None  # why a due move waits
    frozen_s: float | None = None  # since when
    moves: tuple[float, ...] = ()  # automatic moves of the last hour, unix seconds
    flaps: tuple[float, ...] = ()
    epoch: int = 0
    rule: str = "as-planned"
    reason: str = "as planned"
    since_unix_s: float = 0.0

    @property
    def active(self) -> str:
        return PRIMARY if self.bcp_percent == 0 else BCP if self.bcp_percent == 100 else "split"


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that one step is decided from, besides the memory."""

    policy: Policy
    primary: str  # measured state of the primary tenant: in-service, out-of-service, unknown
    bcp: str
    now_s: float
    unix_s: float
    automation: bool = True
    primary_open: bool = True  # not drained or disabled by an operator
    bcp_open: bool = True
    doubt_primary: str = ""  # why a move to the primary must wait
    doubt_bcp: str = ""
    order: Order | None = None

    @property
    def fact(self) -> Input:
        return fact(primary_usable=self.primary != OUT, bcp_usable=self.bcp != OUT)


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of `decide`; `rule` is empty if nothing changed."""

    memory: Memory
    rule: str = ""
    sentence: str = ""


def decision_of(memory: Memory) -> Decision:
    """What the routers are told."""
    left = None if memory.held is None else other(memory.held)
    return Decision(memory.bcp_percent, memory.pinned is not None, left, memory.epoch, memory.reason)


def other(side: str) -> str:
    return BCP if side == PRIMARY else PRIMARY


def resumed(memory: Memory, inputs: Inputs) -> Memory:
    """The memory after a restart: the place is kept, waits begin anew."""
    if memory.state == State.HOLD_OFF.value:
        return replace(memory, state=State.NORMAL.value, deadline_s=None, frozen=None, frozen_s=None)
    if memory.state == State.HOLD_DOWN.value:
        return replace(memory, state=State.ON_BCP.value, deadline_s=None, frozen=None, frozen_s=None)
    armed = inputs.now_s + inputs.policy.ramp_step_s if memory.state == State.RAMP.value else None
    return replace(memory, deadline_s=armed, frozen=None, frozen_s=None)


KEEP: Final = object()  # leave the timer as it is


def stepped(
    memory: Memory, inputs: Inputs, state: State, rule: str, sentence: str, *, bcp_percent: int | None = None,
    step: int | None = None, deadline_s: object = KEEP, frozen: str | None = None,
) -> Step:
    """Change the memory by one step: the next epoch, with its rule and its sentence."""
    deadline = memory.deadline_s if deadline_s is KEEP else deadline_s
    assert deadline is None or isinstance(deadline, float)
    since_unix_s = memory.since_unix_s if state.value == memory.state else inputs.unix_s
    after = replace(
        memory, state=state.value, bcp_percent=memory.bcp_percent if bcp_percent is None else bcp_percent,
        step=memory.step if step is None else step, deadline_s=deadline, frozen=frozen, frozen_s=None,
        epoch=memory.epoch + 1, rule=rule, reason=sentence, since_unix_s=since_unix_s,
    )
    return Step(after, rule, sentence)
