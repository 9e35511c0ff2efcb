"""A canary as the controller keeps it: what it is, what has been seen of it, and why the last one ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

import msgspec

from sipctl.control.ports import CanaryObservation
from sipctl.routing.canary import PERMILLE
from sipctl.routing.snapshot import Topology

Counts = tuple[int, int, int, int]  # ends of set-ups: answered, busy, failed, cancelled (call/verdicts.py)
NONE: Counts = (0, 0, 0, 0)
SHARE_HINT: Final = "from 0.1% to 99.9% of the callers, such as 5%"
_SHARE: Final = re.compile(r"(\d{1,2})(?:\.(\d))?%")


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator wants of a canary; survives restarts."""

    revision: int
    permille: int  # of the callers
    since_unix_s: float
    until_unix_s: float | None  # then it is promoted, if it is judged well; None: an operator promotes it
    actor: str
    reason: str
    sbc_ids: Mapping[str, int] = field(default_factory=dict)  # of SBCs its plan reaches otherwise than the live one


@dataclass(frozen=True, slots=True)
class Running:
    """A canary that carries its callers."""

    wish: Wish
    topology: Topology  # its plan but for the numbers; SBC ids as in the plan
    table: str  # content hash
    numbers: Mapping[str, int] = field(default_factory=dict)  # how many, by entry point

    @property
    def revision(self) -> int:
        return self.wish.revision


@dataclass(frozen=True, slots=True)
class Ratio:
    """How set-ups of both sides ended over the same time."""

    canary: Counts = NONE
    others: Counts = NONE

    def __add__(self, more: Ratio) -> Ratio:
        return Ratio(_plus(self.canary, more.canary), _plus(self.others, more.others))

    def __sub__(self, less: Ratio) -> Ratio:
        return Ratio(_minus(self.canary, less.canary), _minus(self.others, less.others))


@dataclass(frozen=True, slots=True)
class Seen:
    """What routers told of a canary, and when."""

    routers: Mapping[str, CanaryObservation] = field(default_factory=dict)  # the last word of each process, dead ones too
    marks: tuple[tuple[float, Ratio], ...] = ()  # (unix seconds, all until then), oldest first: where windows may begin
    judged: str = ""  # the sentence of the last judgement
    is_well: bool = False
    asked_unix_s: float | None = None  # when it was last asked to be promoted
    stuck: str = ""  # why it could not be promoted


@dataclass(frozen=True, slots=True)
class Fell:
    """The last canary that went back by itself; an alarm until the next change of the plan."""

    revision: int
    text: str
    at_unix_s: float


def written(wish: Wish | None, fell: Fell | None) -> Mapping[str, Any]:
    """For the store."""
    found: dict[str, Any] = {}
    if wish is not None:
        found["wish"] = msgspec.to_builtins(wish)
    if fell is not None:
        found["fell"] = msgspec.to_builtins(fell)
    return found


def read_wish(plain: Mapping[str, Any]) -> Wish | None:
    """Raises: msgspec.ValidationError if it is not ours."""
    return msgspec.convert(plain["wish"], Wish) if "wish" in plain else None


def read_fell(plain: Mapping[str, Any]) -> Fell | None:
    """Raises: msgspec.ValidationError if it is not ours."""
    return msgspec.convert(plain["fell"], Fell) if "fell" in plain else None


def is_share(permille: object) -> TypeGuard[int]:
    """Whether a share leaves callers on both sides."""
    return isinstance(permille, int) and not isinstance(permille, bool) and 0 < permille < PERMILLE


def permille_of(text: str) -> int | None:
    """A share as people write it, "5%" or "0.5%"; None if it is none that leaves callers on both sides."""
    match = _SHARE.fullmatch(text.strip())
    permille = None if match is None else int(match[1]) * 10 + int(match[2] or 0)
    return permille if is_share(permille) else None


def share_text(permille: int) -> str:
    return f"{permille / 10:g}%"


def _plus(one: Counts, two: Counts) -> Counts:
    return one[0] + two[0], one[1] + two[1], one[2] + two[2], one[3] + two[3]


def _minus(one: Counts, two: Counts) -> Counts:
    return one[0] - two[0], one[1] - two[1], one[2] - two[2], one[3] - two[3]
