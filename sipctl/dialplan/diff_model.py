"""What differs between two plans, in terms of calls first and of everything else after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sipctl.dialplan.diff_spans import Spans

Kind = Literal["moved", "treated", "routed", "refused", "dialled"]
How = Literal["gained", "lost", "changed"]

# what became of a set of numbers
MOVED: Final[Kind] = "moved"  # they belong to another entry point
TREATED: Final[Kind] = "treated"  # the same entry point, and calls meet something else there
ROUTED: Final[Kind] = "routed"  # they were refused, now they are routed
REFUSED: Final[Kind] = "refused"  # they were routed, now they are refused
DIALLED: Final[Kind] = "dialled"  # something else is dialled at a tenant


@dataclass(frozen=True, slots=True)
class Delta:
    """One fact that differs."""

    about: str  # "entry point", "group", "primary", "bcp", "pair fra", "SBC fra-a"; or a kind of entity
    field: str
    was: str | None  # None: there was no such fact
    now: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """All numbers that change in one and the same way."""

    kind: Kind
    numbers: Spans
    trunks: tuple[str, ...] | None  # whose calls; None: every trunk that both plans know
    was: str | None  # entry point before; of `moved` and `refused`
    now: str | None  # entry point after; of `moved` and `routed`
    deltas: tuple[Delta, ...]  # what else differs; for `dialled`: one, about "primary" or "bcp", without texts
    how: How  # of `dialled`
    is_by_trunk: bool  # of `routed` and `refused`: the entry point's allow-list decides it
    entry_points: tuple[str, ...]  # where the numbers are, ascending
    examples: tuple[str, ...]  # the first ones: "+4930901820", "+4930901830..+4930901899", with what is dialled


@dataclass(frozen=True, slots=True)
class EntityChange:
    """Something outside the calls that differs: an entity that came or went, or facts no number's call meets at once."""

    kind: str  # "listen", "site", "trunk", "pair", "SBC", "tenant", "group", "entry point", "limits" …
    name: str
    what: Literal["added", "removed", "renamed", "changed"]
    deltas: tuple[Delta, ...]  # of `added`: all its facts
    needs_restart: bool


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """Everything that differs between two plans; the numbers exactly, over the whole number space."""

    changes: tuple[Change, ...]  # most numbers first
    entities: tuple[EntityChange, ...]
    numbers: int  # that meet something else than before, each counted once

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.entities

    @property
    def needs_restart(self) -> bool:
        return any(entity.needs_restart for entity in self.entities)
