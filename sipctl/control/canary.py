"""Judging a canary: does the edit lose calls? Pure.

The two sides are compared over the same time, so whatever happens to everybody (a carrier's bad hour) says nothing. Compared is
the network effectiveness ratio (ITU-T E.425): of the set-ups that came to an end, those that reached somebody. Busy, declined and
not there count as reached: they are people's doing; a caller who gave up counts on neither side.

A canary falls if its ratio is more than MIN_DROP below the others' *and* the difference is beyond chance (two-proportion test,
one-sided, z ≥ MIN_Z), and never on fewer than MIN_CALLS ended set-ups of either side, or MIN_FAILED failures. The test alone
would send an edit back for a tenth of a point where there are many calls; the drop alone would do it by chance where there are
few. It is looked at often, which is why MIN_Z is as high as it is: of a thousand canaries whose edit changes nothing, two go back
(tests/control/test_canary_judge.py counts them).

The window is the last WINDOW_S, or as far back as MIN_CALLS of the canary's set-ups need: a fall after hours is seen as fast as
one at once, and a quiet site is judged all the same. To a controller that began after the canary, what routers tell in
its first seconds is what was before it: its window begins there, as soon as MIN_CALLS have come since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

from sipctl.control.canary_state import Counts, Ratio, Seen
from sipctl.control.ports import CanaryObservation

MIN_CALLS: Final = 50  # ended set-ups, without those their callers gave up, on each side
MIN_FAILED: Final = 5  # of the canary: two or three where next to none fail are beyond the test's arithmetic, not beyond chance
MIN_DROP: Final = 0.02
MIN_Z: Final = 4.0
WINDOW_S: Final = 600.0
MARK_S: Final = 15.0
HEARD_S: Final = 5.0  # within so long every router has told a new controller what it has counted
MAX_MARKS: Final = 400
MAX_SEEN: Final = 64  # router processes whose last word is kept


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the figures say now."""

    fell: bool
    well: bool  # enough calls, and no fall
    text: str  # one sentence with the figures


def judged(ratio: Ratio) -> Judgement:
    """Compare the two sides."""
    ours, theirs = ended(ratio.canary), ended(ratio.others)
    if ours < MIN_CALLS or theirs < MIN_CALLS:
        side, count = ("the canary", ours) if ours < MIN_CALLS else ("the other callers", theirs)
        return Judgement(False, False, f"too few calls to judge: {count} of {side}, {MIN_CALLS} are needed")
    mine, yours = effectiveness(ratio.canary), effectiveness(ratio.others)
    figures = f"of {ours} calls of the canary {mine:.1%} reached somebody, of {theirs} others {yours:.1%} over the same time"
    z = _z(ratio)
    if yours - mine > MIN_DROP and z >= MIN_Z and ratio.canary[2] >= MIN_FAILED:
        return Judgement(True, False, f"{figures}: {(yours - mine) * 100:.1f} points less, which is no chance (z {z:.1f})")
    return Judgement(False, True, figures)


def ended(counts: Counts) -> int:
    """Set-ups that came to a verdict."""
    return counts[0] + counts[1] + counts[2]


def effectiveness(counts: Counts) -> float:
    """The share of them that reached somebody, 0..1; 1 if there were none."""
    whole = ended(counts)
    return (counts[0] + counts[1]) / whole if whole else 1.0


def seen_more(seen: Seen, router: str, told: CanaryObservation | None, revision: int) -> Seen:
    """What a router tells now; its word on another canary does not count."""
    if told is None or told.revision != revision:
        return seen
    routers = {name: word for name, word in seen.routers.items() if name != router}
    while len(routers) >= MAX_SEEN:
        routers.pop(next(iter(routers)))
    return replace(seen, routers={**routers, router: told})


def total(seen: Seen) -> Ratio:
    """All that was told, since the canary began."""
    return sum((Ratio(one.canary, one.others) for one in seen.routers.values()), Ratio())


def marked(seen: Seen, unix_s: float, since_unix_s: float) -> Seen:
    """Note where a window may begin later, every MARK_S; what no window will begin at any more is forgotten.

    Args:
        since_unix_s: when the canary began.
    """
    marks = seen.marks
    if not marks:
        marks = ((since_unix_s, Ratio()),)
        if unix_s - since_unix_s >= MARK_S:  # this controller began later
            marks = (*marks, (unix_s, total(seen)))
    elif len(marks) == 2 and marks[0][0] == since_unix_s and 0.0 <= unix_s - marks[1][0] < HEARD_S:
        whole = total(seen)
        marks = marks if whole == marks[1][1] else (marks[0], (marks[1][0], whole))
    elif unix_s - marks[-1][0] >= MARK_S or unix_s < marks[-1][0]:
        marks = (*marks, (unix_s, total(seen)))
    begin = _begin(marks, total(seen), unix_s)
    marks = marks[begin:]
    if len(marks) > MAX_MARKS:
        marks = (marks[0], *marks[1::2])
    return seen if marks is seen.marks else replace(seen, marks=marks)


def window(seen: Seen, unix_s: float) -> Ratio:
    """What is judged now."""
    whole = total(seen)
    begin = _begin(seen.marks, whole, unix_s)
    return whole - seen.marks[begin][1] if seen.marks else whole


def _begin(marks: tuple[tuple[float, Ratio], ...], whole: Ratio, unix_s: float) -> int:
    """The latest mark that is WINDOW_S old and has MIN_CALLS of either side after it; else the first.

    Where there is no mark of WINDOW_S to twice that, since no controller noted any, a younger one stands for it.
    """
    found = 0
    for at, (at_unix_s, until_then) in enumerate(marks):
        after = whole - until_then
        is_young = unix_s - at_unix_s < WINDOW_S
        if min(ended(after.canary), ended(after.others)) < MIN_CALLS:
            break
        if is_young and (at == 0 or unix_s - marks[found][0] < 2 * WINDOW_S):
            break
        found = at
    return found


def _z(ratio: Ratio) -> float:
    """How many standard errors the canary's ratio lies below the others'; both have calls."""
    ours, theirs = ended(ratio.canary), ended(ratio.others)
    together = effectiveness(
        (ratio.canary[0] + ratio.others[0], ratio.canary[1] + ratio.others[1], ratio.canary[2] + ratio.others[2], 0)
    )
    spread = sqrt(together * (1.0 - together) * (1.0 / ours + 1.0 / theirs))
    return (effectiveness(ratio.others) - effectiveness(ratio.canary)) / spread if spread else 0.0
