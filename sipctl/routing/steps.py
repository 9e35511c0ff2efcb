"""The steps of one decision, as a tree: what people read as lines, programs as JSON.

A step judges nothing itself: it tells what was looked at (`kind`), how that went (`verdict`), one sentence (`text`), and the
facts the sentence was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

TAKEN: Final = "taken"  # this is the way the call goes
PASSED: Final = "passed"  # looked at, nothing against the call
SKIPPED: Final = "skipped"  # looked at, not the way, and why
REFUSED: Final = "refused"  # here the call ends
FACT: Final = "fact"  # nothing is judged here
VERDICTS: Final = (TAKEN, PASSED, SKIPPED, REFUSED, FACT)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at."""

    kind: str  # a stable word: "number", "rule", "limit", "sbc" …
    verdict: str  # one of VERDICTS
    text: str
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # scalars and tuples of scalars
    steps: tuple[Step, ...] = ()

    def body(self) -> dict[str, Any]:
        """As JSON bodies say it."""
        body: dict[str, Any] = {"step": self.kind, "verdict": self.verdict, "text": self.text}
        if self.facts:
            body["facts"] = {name: list(value) if isinstance(value, tuple) else value for name, value in self.facts.items()}
        if self.steps:
            body["steps"] = [step.body() for step in self.steps]
        return body

    def walk(self) -> Iterator[Step]:
        """This step and all below it, in order."""
        yield self
        for step in self.steps:
            yield from step.walk()


def step(kind: str, verdict: str, text: str, *steps: Step, **facts: Any) -> Step:
    """A step, with its facts as keywords; a fact that is None is left out."""
    return Step(kind, verdict, text, MappingProxyType({name: value for name, value in facts.items() if value is not None}), steps)
