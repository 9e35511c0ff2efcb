"""How long the calls that are up will last, from how old they are and how long others lasted: the forecast of a drain.

The estimate is Kaplan and Meier's: of calls that ended the duration is known, of calls that are up that it is longer than their
age, and leaving those out would make every drain look short. S(d) is the share of calls that last longer than d; a call of age a
is up t later with S(a + t) / S(a). Nothing is said on few ended calls, nor beyond the longest call that was seen to end.
Source: E. L. Kaplan, P. Meier, "Nonparametric estimation from incomplete observations", JASA 53 (1958).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_ENDED: Final = 5_000  # durations kept, the newest
MIN_ENDED: Final = 20  # on fewer nothing is said
MAX_UP: Final = 2_000  # calls up that are looked at; of more, every nth
HALF: Final = 0.5
MOST: Final = 0.05  # left, when 95 % are gone


@dataclass(frozen=True, slots=True)
class Up:
    """One answered call."""

    tenant: str
    sbc: str
    answered_unix_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the calls that are up will have ended; seconds from now, None where it cannot be told."""

    up: int
    ended: int  # on how many durations it rests
    half_s: float | None = None
    most_s: float | None = None
    oldest_s: float = 0.0
    text: str = ""


class Survival:
    """S(d), the share of calls that last longer than d seconds, as steps."""

    __slots__ = ("_at_s", "_share")

    def __init__(self, ended_s: Sequence[float], ages_s: Sequence[float]) -> None:
        """
        Args:
            ended_s: durations of calls that ended; ages_s: of calls that are up.
        """
        ends, ages = sorted(ended_s), sorted(ages_s)
        self._at_s: list[float] = []
        self._share: list[float] = []
        share, index = 1.0, 0
        while index < len(ends):
            last = bisect_right(ends, ends[index])
            at_risk = len(ends) - index + len(ages) - _below(ages, ends[index])
            share *= 1.0 - (last - index) / at_risk
            self._at_s.append(ends[index])
            self._share.append(share)
            index = last

    @property
    def known_to_s(self) -> float:
        """The longest call that was seen to end."""
        return self._at_s[-1] if self._at_s else 0.0

    def longer_than(self, duration_s: float) -> float:
        index = bisect_right(self._at_s, duration_s)
        return self._share[index - 1] if index else 1.0


def forecast(ended_s: Sequence[float], ages_s: Sequence[float]) -> Forecast:
    """When half and nearly all of the calls that are up will have ended.

    Args:
        ended_s: seconds that calls lasted, of the same kind; ages_s: how old those are that are up.
    Cost: O((ended + up) · log) times 40 steps.
    """
    up, ended, oldest_s = len(ages_s), len(ended_s), max(ages_s, default=0.0)
    if not up:
        return Forecast(0, ended, 0.0, 0.0, 0.0, "no call is up")
    if ended < MIN_ENDED:
        text = f"{up} calls up; {ended} have ended so far, too few to say how long they last"
        return Forecast(up, ended, oldest_s=oldest_s, text=text)
    curve = Survival(ended_s, ages_s)
    sample = ages_s[:: -(-up // MAX_UP)]
    half_s, most_s = _until(curve, sample, HALF), _until(curve, sample, MOST)
    told = [f"{word} gone in {words(at_s)}" for word, at_s in (("half", half_s), ("95 %", most_s)) if at_s is not None]
    beyond = f"longer than the longest call that ended ({words(curve.known_to_s)})"
    text = ", ".join(told) if told else f"how long they last cannot be told: {beyond}"
    if told and most_s is None:
        text += f"; when 95 % are gone cannot be told: {beyond}"
    return Forecast(up, ended, half_s, most_s, oldest_s, f"{up} calls up, the oldest for {words(oldest_s)}: {text} (n = {ended})")


def _until(curve: Survival, ages_s: Sequence[float], left: float) -> float | None:
    """Seconds until no more than this share is expected to be up; None if that lies beyond what was seen."""
    now = [(age_s, curve.longer_than(age_s)) for age_s in ages_s]
    wanted = left * len(now)

    def expected(after_s: float) -> float:
        """How many are up then; of a call older than all that ended, it is only known that it may be."""
        return sum(curve.longer_than(age_s + after_s) / share if share > 0.0 else 1.0 for age_s, share in now)

    low_s, high_s = 0.0, curve.known_to_s
    if expected(high_s) > wanted:
        return None
    for _ in range(40):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (low_s, middle_s) if expected(middle_s) <= wanted else (middle_s, high_s)
    return high_s


def _below(sorted_s: Sequence[float], value_s: float) -> int:
    """How many are below a value: calls up that are younger are not at risk of having lasted so long."""
    low, high = 0, len(sorted_s)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if sorted_s[middle] < value_s else (low, middle)
    return low


def words(seconds: float) -> str:
    """A time as people say it: "40 s", "4 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


class CallAges:
    """What the desk knows of calls' ages and durations.

    Args:
        up: the answered calls that have not ended; may be called from any thread.
    """

    def __init__(self, up: Callable[[], Iterable[Up]], wall_s: Callable[[], float]) -> None:
        self._up = up
        self._wall_s = wall_s
        self._ended: deque[tuple[str, str, float]] = deque(maxlen=MAX_ENDED)

    def note(self, line: Mapping[str, Any]) -> None:
        """Take one call record; those of answered calls count. From the writer's thread."""
        if line.get("type") == "call" and line.get("answered") and isinstance(line.get("duration_ms"), int):
            self._ended.append((str(line.get("tenant") or ""), str(line.get("sbc") or ""), line["duration_ms"] / 1000))

    def forecast(self, what: str, name: str) -> dict[str, Any]:
        """The forecast for an SBC, a tenant, or the node; by the calls of all where too few ended there."""
        now_s = self._wall_s()
        ages_s = [max(0.0, now_s - one.answered_unix_s) for one in self._up() if _is_of(what, name, one.tenant, one.sbc)]
        ended = tuple(self._ended)
        own_s = [duration_s for tenant, sbc, duration_s in ended if _is_of(what, name, tenant, sbc)]
        of_all = what != "node" and len(own_s) < MIN_ENDED <= len(ended)
        found = forecast([duration_s for _, _, duration_s in ended] if of_all else own_s, ages_s)
        return {
            "up": found.up, "ended": found.ended, "of_all_calls": of_all, "half_s": _rounded(found.half_s),
            "most_s": _rounded(found.most_s), "oldest_s": _rounded(found.oldest_s),
            "text": found.text + ("; by the calls of this whole node" if of_all and found.up else ""),
        }  # fmt: skip


def _is_of(what: str, name: str, tenant: str, sbc: str) -> bool:
    return what == "node" or (sbc if what == "sbc" else tenant) == name


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
