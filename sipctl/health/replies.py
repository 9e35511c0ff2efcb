"""What a reply to OPTIONS says about the SBC that sent it (CALLS 3.3).

The shipped table is `replies.csv` beside this module; SHIPPED is the same table as data, so that judging needs no file (a test
holds the two together). A pair's `probe.replies` lies over it. Silence, a transport error and our own time-out are no replies:
they fail.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Verdict(IntEnum):
    """What one result of a probe means."""

    ALIVE = 0
    FAILED = 1
    BUSY = 2  # alive, and asks for a pause


_WORDS: Final = {"alive": Verdict.ALIVE, "failed": Verdict.FAILED, "busy": Verdict.BUSY}
VERDICT_WORDS: Final = tuple(_WORDS)


@dataclass(frozen=True, slots=True)
class ReplyTable:
    """Verdicts by status class, by status, and by status when a Retry-After came with it; the most exact row wins."""

    classes: tuple[Verdict, ...]  # by status // 100, 0 unused
    statuses: tuple[tuple[int, Verdict], ...]
    with_retry_after: tuple[tuple[int, Verdict], ...]

    def verdict(self, status: int, *, has_retry_after: bool, overrides: tuple[tuple[int, str], ...] = ()) -> Verdict:
        """Judge one reply.

        Args:
            status: 100..699; anything else counts as failed.
            overrides: `probe.replies` of the pair, (status, "alive" | "failed" | "busy"); they beat every shipped row.
        """
        for listed, word in overrides:
            if listed == status:
                return _WORDS[word]
        if has_retry_after:
            for listed, verdict in self.with_retry_after:
                if listed == status:
                    return verdict
        for listed, verdict in self.statuses:
            if listed == status:
                return verdict
        return self.classes[status // 100] if 100 <= status <= 699 else Verdict.FAILED


SHIPPED: Final = ReplyTable(
    classes=(
        Verdict.FAILED, Verdict.ALIVE, Verdict.ALIVE, Verdict.ALIVE, Verdict.ALIVE, Verdict.FAILED, Verdict.ALIVE,
    ),
    statuses=tuple((status, Verdict.ALIVE) for status in (401, 403, 404, 405, 407, 420, 483, 501)),
    with_retry_after=((503, Verdict.BUSY),),
)


def parse_replies(lines: Iterable[str]) -> ReplyTable:
    """Read a table in the form of `replies.csv`.

    Raises: ValueError that names the line and what is wrong with it.
    """
    classes = list(SHIPPED.classes)
    statuses: dict[int, Verdict] = {}
    with_retry_after: dict[int, Verdict] = {}
    for number, row in enumerate(csv.DictReader(lines), start=2):
        status, word = (row.get("status") or "").strip(), (row.get("verdict") or "").strip()
        if word not in _WORDS:
            raise ValueError(f"line {number}: verdict {word!r} is none of {', '.join(VERDICT_WORDS)}")
        if len(status) != 3 or status[0] not in "123456" or not (status.isdigit() or status[1:] == "xx"):
            raise ValueError(f"line {number}: status {status!r} is neither 100..699 nor a class such as 5xx")
        if status.endswith("xx"):
            classes[int(status[0])] = _WORDS[word]
        elif (row.get("retry_after") or "").strip() == "yes":
            with_retry_after[int(status)] = _WORDS[word]
        else:
            statuses[int(status)] = _WORDS[word]
    return ReplyTable(tuple(classes), tuple(sorted(statuses.items())), tuple(sorted(with_retry_after.items())))
