"""What `resolve` answers: where one call goes, or why nowhere, and by which ways it got there.

A call that is sent elsewhere (by a kill switch, an overlay, closed hours, a limit, dead tenants) leaves an entry point for
another, for an SBC pair or for an exit: a Retarget each time, from which the headers that tell of it are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sipctl.routing.select import Choice, Target
from sipctl.routing.snapshot import Side

if TYPE_CHECKING:
    from sipctl.routing.join import RoutingSnapshot

# Q.850 causes of our own answers
CAUSE_UNALLOCATED: Final = 1
CAUSE_INVALID_FORMAT: Final = 28
CAUSE_NO_CIRCUIT: Final = 34
CAUSE_TEMPORARY_FAILURE: Final = 41
CAUSE_CONGESTION: Final = 42

# Why a call was sent on: the first words of Retarget.reason
BY_SWITCH: Final = "switch"
BY_OVERLAY: Final = "overlay"
CLOSED: Final = "closed"
OVERFLOW: Final = "overflow"
UNUSABLE: Final = "unusable"

_SIDE_NAMES: Final = ("primary", "bcp")


@dataclass(frozen=True, slots=True)
class Retarget:
    """One step of a call that did not go where it was dialled to."""

    entry_point: int  # index: what it left
    reason: str  # switch | overlay | closed | overflow | unusable
    by: str  # the switch's, overlay's or schedule's name; the limit reached; ""
    called: str  # the number it had reached this entry point with: "+…" or private


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why a call goes nowhere, and what its sender hears."""

    status: int
    cause: int  # Q.850
    reason: str  # one sentence
    limit: str | None = None  # which limit: "trunk-max-calls", "trunk-max-cps", "trunk-admin", "entry-point", "tenant"
    entry_point: int | None = None  # index of the one that refused it
    step: str | None = None  # which judgement refused it: a reason of Retarget, or None: number, limit, group
    retargets: tuple[Retarget, ...] = ()  # by which ways it came to `entry_point`
    by: str = ""  # of `step`: the switch's, overlay's or schedule's name; the limit reached


class Route:
    """Where one call goes."""

    __slots__ = (
        "_snapshot",
        "arranged",
        "called",
        "called_number",
        "chosen",
        "crossing",
        "crossing_candidates",
        "entry_point",
        "group",
        "retargets",
        "rule",
        "side",
        "stand_in",
        "targets",
        "trunk",
    )

    def __init__(
        self,
        snapshot: RoutingSnapshot,
        trunk: int,
        entry_point: int,
        group: int,
        side: int,
        called_number: str,
        called: tuple[str, str],
        choice: Choice,
        targets: tuple[Target, ...],
        crossing: tuple[Target, ...],
        rule: str,
        retargets: tuple[Retarget, ...] = (),
        stand_in: int = -1,
    ) -> None:
        self._snapshot = snapshot
        self.trunk = trunk
        self.entry_point = entry_point
        self.group = group
        self.side = side
        self.called_number = called_number  # as found: "+…" or the private string
        self.called = called  # what to dial at the primary, at the BCP tenant
        self.targets = targets  # the chosen tenant's, in order; out-of-service ones last
        self.crossing = crossing  # the other tenant's, () if this call may not cross
        self.chosen = choice.chosen
        self.crossing_candidates = choice.crossing
        self.arranged = None if choice.weighted else choice.arranged
        self.rule = rule  # "exact number", "range …", "pattern …"
        self.retargets = retargets  # in the order they happened; () for a call that goes where it was dialled to
        self.stand_in = stand_in  # index of the tenant that stands for an SBC pair or exit; -1: goes to its group

    @property
    def tenant(self) -> int:
        """Index of the chosen tenant, or of what stands for an SBC pair or an exit."""
        if self.stand_in >= 0:
            return self.stand_in
        group = self._snapshot.groups[self.group]
        return group.primary if self.side == Side.PRIMARY else group.bcp

    def why(self) -> str:
        """The sentence that explains this route, the same in log, API, UI and test."""
        snapshot = self._snapshot
        name = snapshot.entry_points[self.entry_point].name
        if self.retargets:
            first = self.retargets[0]
            ways = ", then ".join(told(snapshot, step) for step in self.retargets)
            begin = f"{self.called_number} is {snapshot.entry_points[first.entry_point].name} ({self.rule}); {ways}"
            name = f"{begin} → {snapshot.tenants[self.stand_in].name if self.stand_in >= 0 else name}"
        else:
            name = f"{self.called_number} is {name} ({self.rule})"
        if self.stand_in >= 0:
            return f"{name}, dialling {self.called[0]}; {self._ways()}"
        group = snapshot.groups[self.group]
        decision = snapshot.decision[self.group]
        share = decision.bcp_percent
        split = f", {100 - share} % to the primary" if 0 < share < 100 else ""
        return (
            f"{name}; group {group.name} sends it "
            f"to its {_SIDE_NAMES[self.side]} tenant {snapshot.tenants[self.tenant].name} ({decision.reason}{split}); "
            + self._ways()
        )

    def _ways(self) -> str:
        sbcs = self._snapshot.sbcs
        usable = [sbcs[target.sbc].name for target in self.targets[: self.chosen.usable]]
        other = [sbcs[target.sbc].name for target in self.crossing[: self.crossing_candidates.usable]]
        if not usable and not other:
            everything = [sbcs[target.sbc].name for target in (*self.targets, *self.crossing)]
            return f"every SBC is out of service, tried nevertheless: {', '.join(everything)}"
        ways = f"SBCs {', '.join(usable)}" if usable else "none of its SBCs is usable"
        if not other:
            return ways
        return f"{ways}, then {', '.join(other)} of the {_SIDE_NAMES[1 - self.side]} tenant"


def told(snapshot: RoutingSnapshot, step: Retarget) -> str:
    """Why a call left an entry point, for people."""
    name = snapshot.entry_points[step.entry_point].name
    if step.reason == BY_SWITCH:
        return f"kill switch {step.by} takes it from {name}"
    if step.reason == BY_OVERLAY:
        return f"overlay {step.by} takes it from {name}"
    if step.reason == CLOSED:
        return f"{name} is closed (schedule {step.by})"
    if step.reason == OVERFLOW:
        return f"{name} overflows ({step.by})"
    return f"no SBC of {name} is usable"
