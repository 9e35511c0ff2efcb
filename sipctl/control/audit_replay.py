"""A decision again, from what its audit record holds (CALLS 4.5): the same inputs must give the same decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sipctl.failover.records import replay, written_memory


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one replay."""

    number: int
    verdict: str  # "same" | "different" | "unreadable" | "no-decision"
    text: str

    @property
    def is_fault(self) -> bool:
        return self.verdict in ("different", "unreadable")


def replayed(body: Mapping[str, Any], build: str) -> Replayed:
    """Decide again.

    Args:
        body: an audit record's fields. What a newer sipctl wrote beside those known here is left out of account.
        build: which sipctl decides now.
    """
    number = int(body.get("n") or 0)
    if body.get("kind") != "decision":
        return Replayed(number, "no-decision", f"record {number} is no decision of a group but {body.get('kind')}")
    recorded_by = str(body.get("build") or "an unknown build")
    try:
        step = replay(body.get("before") or {}, body.get("inputs") or {})
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        return Replayed(number, "unreadable", f"record {number}, made by {recorded_by}, cannot be read by {build}: {error}")
    after = body.get("after") or {}
    now = {name: value for name, value in msgspec.to_builtins(written_memory(step.memory)).items() if name in after}
    was = {name: value for name, value in after.items() if name in now}
    differ = [
        f"{name} was {one!r}, is {two!r}"
        for name, one, two in (
            ("rule", body.get("rule"), step.rule), ("sentence", body.get("text"), step.sentence),
            *((name, was[name], _plain(now[name])) for name in was),
        )
        if one != two
    ]  # fmt: skip
    if not differ:
        return Replayed(number, "same", f"record {number}: {step.rule}: {step.sentence}")
    by = "" if recorded_by == build else f" (recorded by {recorded_by}, replayed by {build})"
    return Replayed(number, "different", f"record {number}: decided otherwise now{by}: {'; '.join(differ)}")


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value
