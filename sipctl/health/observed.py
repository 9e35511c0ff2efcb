"""What live calls showed, in windows that slide: counts, SIP codes and post-dial delay of everything that calls pass.

Who sees what: the desk joins what routers tell of each call and adds it here; nothing of it costs a router anything. Each subject
(an SBC, a pair, a tenant, an entry point, a trunk) has three rings of buckets, for one minute, five minutes and an hour. A window
is the bucket of now and those before it, so it is at most one bucket shorter than its name says; the sum of a ring is kept
beside it, so reading a window costs the same however much was called. Counting touches what is fresh alone; every ten seconds
that goes into the rings.

Of SBCs and pairs every attempt is counted, of tenants, entry points and trunks every call. The ratios leave out what says nothing
of the far end: 503 with Retry-After (busy is not dead) and calls that sipctl itself turned away.

Source: ASR ITU-T E.411, NER ITU-T E.425 (answered, busy, no answer and the caller's own cancel are effective), PDD as SRD of
RFC 6076: INVITE to the first 180, 183 or 200.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import ceil, log
from types import MappingProxyType
from typing import Final

KINDS: Final = ("sbc", "first", "pair", "tenant", "entry_point", "trunk")  # "first": an SBC's calls that tried no other before it
LIMITS: Final[Mapping[str, int]] = MappingProxyType(  # subjects of a kind; beyond it the one unheard of for longest is forgotten
    {"sbc": 1_024, "first": 1_024, "pair": 512, "tenant": 1_024, "entry_point": 4_096, "trunk": 512}
)
SPANS: Final = ("1m", "5m", "1h")
BUCKETS_1M: Final = 6
BUCKETS_5M: Final = 10
BUCKETS_1H: Final = 12
FRESH_S: Final = 10.0  # counted by itself before it goes into the rings; every bucket's width is a multiple of it
MAX_BUCKETS_PER_SUBJECT: Final = BUCKETS_1M + BUCKETS_5M + BUCKETS_1H + 1  # and what is fresh
MAX_CODES: Final = 24  # different SIP codes in a bucket; further ones count as OTHER_CODE
OTHER_CODE: Final = 999
SILENCE: Final = 0  # instead of a SIP code
TRANSPORT_ERROR: Final = 1
EARLY_S: Final = 10.0  # an answered call that ends within so long was dropped early
PDD_BINS: Final = 27
PDD_FIRST_S: Final = 0.02  # upper edge of the first bin; each further one is PDD_RATIO times that, the last one is open
PDD_RATIO: Final = 1.35

EFFECTIVE_CODES: Final = frozenset({480, 486, 487, 600, 603, 607, 608})  # the far end was reached: busy, away, did not want to

_EARLY: Final = 6  # of the cells: after the results
_PDD: Final = 9
_CELLS: Final = _PDD + PDD_BINS


class Result(IntEnum):
    """How a call, or an attempt at an SBC, ended; the cell it is counted in."""

    ANSWERED = 0
    EFFECTIVE = 1  # busy, no answer, refused by a person, or cancelled by the caller
    REJECTED = 2  # any other 3xx, 4xx, 6xx: not reached, and no fault of the box either
    FAILED = 3  # silence, transport error, 408, 5xx
    BUSY = 4  # 503 with Retry-After
    TURNED_AWAY = 5  # by sipctl itself: a limit, an unknown number, a drain


class EndedBy(IntEnum):
    """Who ended a call that ended early."""

    CALLER = 0
    CALLEE = 1
    OTHERS = 2


def result_of_status(status: int, *, has_retry_after: bool = False) -> Result:
    """What a final response says of a call. 5xx about the number or the user (its Q.850 cause) is for the caller to tell apart.

    Args:
        status: 200..699; 0 and 1 stand for silence and a transport error.
    """
    if 200 <= status <= 299:
        return Result.ANSWERED
    if status == 503 and has_retry_after:
        return Result.BUSY
    if status in EFFECTIVE_CODES:
        return Result.EFFECTIVE
    if status < 200 or status == 408 or 500 <= status <= 599:
        return Result.FAILED
    return Result.REJECTED


@dataclass(frozen=True, slots=True)
class Window:
    """One subject over one span; all of it counts, so windows of several subjects may be added."""

    results: tuple[int, ...] = (0, 0, 0, 0, 0, 0)  # by Result
    early: tuple[int, ...] = (0, 0, 0)  # answered calls that ended within EARLY_S, by EndedBy
    codes: tuple[tuple[int, int], ...] = ()  # (SIP code, 0 or 1; how often), of all that was not answered, most first
    pdd: tuple[int, ...] = ()  # by bin; () where there is none

    @property
    def attempts(self) -> int:
        """What ASR and NER are shares of."""
        return self.results[0] + self.results[1] + self.results[2] + self.results[3]

    @property
    def calls(self) -> int:
        """All of them, also those that say nothing of the far end."""
        return sum(self.results)

    @property
    def answered(self) -> int:
        return self.results[Result.ANSWERED]

    @property
    def effective(self) -> int:
        """Answered ones among them."""
        return self.results[Result.ANSWERED] + self.results[Result.EFFECTIVE]

    @property
    def failed(self) -> int:
        return self.results[Result.FAILED]

    @property
    def asr(self) -> float | None:
        """Share of attempts that were answered, 0 to 1; None without attempts."""
        return self.answered / self.attempts if self.attempts else None

    @property
    def ner(self) -> float | None:
        """Share of attempts that reached the far end, 0 to 1; None without attempts."""
        return self.effective / self.attempts if self.attempts else None

    @property
    def early_drops(self) -> int:
        return sum(self.early)

    def pdd_s(self, share: float) -> float | None:
        """Post-dial delay that this share of the calls stays below, in seconds, as near as the bins tell; None without any."""
        total = sum(self.pdd)
        if not total:
            return None
        wanted = share * total
        seen = 0
        for at, count in enumerate(self.pdd):
            if count and seen + count >= wanted:
                low = 0.0 if at == 0 else edge_s(at - 1)
                return low + (edge_s(at) - low) * max(0.0, wanted - seen) / count
            seen += count
        return edge_s(PDD_BINS - 1)

    def slower_than(self, at: int) -> int:
        """How many calls had a post-dial delay beyond the upper edge of this bin."""
        return sum(self.pdd[at + 1 :])


def edge_s(at: int) -> float:
    """Upper edge of a bin of post-dial delays, in seconds; of the last, open one as if it were closed."""
    return float(PDD_FIRST_S * PDD_RATIO**at)


def bin_of(pdd_s: float) -> int:
    """The bin a post-dial delay falls into."""
    if pdd_s <= PDD_FIRST_S:
        return 0
    return min(PDD_BINS - 1, ceil(log(pdd_s / PDD_FIRST_S) / log(PDD_RATIO) - 1e-9))


def added(windows: list[Window]) -> Window:
    """The windows of several subjects as one."""
    codes: dict[int, int] = {}
    for window in windows:
        for code, count in window.codes:
            codes[code] = codes.get(code, 0) + count
    return Window(
        tuple(sum(window.results[at] for window in windows) for at in range(6)),
        tuple(sum(window.early[at] for window in windows) for at in range(3)),
        _most_first(codes),
        tuple(sum(window.pdd[at] for window in windows if window.pdd) for at in range(PDD_BINS)),
    )


def without(whole: Window, part: Window) -> Window:
    """A window without a shorter one that ends with it: what was before. Never less than nothing, since their edges differ."""
    codes = dict(whole.codes)
    for code, count in part.codes:
        codes[code] = max(0, codes.get(code, 0) - count)
    return Window(
        tuple(max(0, a - b) for a, b in zip(whole.results, part.results, strict=True)),
        tuple(max(0, a - b) for a, b in zip(whole.early, part.early, strict=True)),
        _most_first(codes),
        tuple(max(0, a - b) for a, b in zip(whole.pdd, part.pdd, strict=True)) if whole.pdd and part.pdd else whole.pdd,
    )


class Observed:
    """All subjects; one per desk.

    Args:
        limits: most subjects of each kind, LIMITS unless a test says otherwise.
    """

    __slots__ = ("_limits", "_subjects", "evicted")

    def __init__(self, limits: Mapping[str, int] = LIMITS) -> None:
        self._limits = limits
        self._subjects: dict[str, OrderedDict[str, _Subject]] = {kind: OrderedDict() for kind in KINDS}
        self.evicted = 0  # subjects forgotten because their kind was full

    def add(self, kind: str, name: str, result: Result, code: int, now_s: float) -> None:
        """Count one call or attempt; `code`: what it was answered with, SILENCE or TRANSPORT_ERROR."""
        subject = self._subject(kind, name, now_s)
        subject.fresh[result] += 1
        if result is not Result.ANSWERED:
            subject.add_code(code)

    def add_pdd(self, kind: str, name: str, pdd_s: float, now_s: float) -> None:
        """One post-dial delay."""
        self._subject(kind, name, now_s).fresh[_PDD + bin_of(pdd_s)] += 1

    def add_early(self, kind: str, name: str, by: EndedBy, now_s: float) -> None:
        """An answered call ended within EARLY_S."""
        self._subject(kind, name, now_s).fresh[_EARLY + by] += 1

    def windows(self, kind: str, name: str, now_s: float) -> tuple[Window, ...]:
        """What a subject showed over each of SPANS; empty ones of one that was never heard of."""
        subject = self._subjects[kind].get(name)
        if subject is None:
            return tuple(Window() for _ in SPANS)
        subject.settle(now_s)
        return tuple(ring.window(now_s, subject.fresh, subject.fresh_codes) for ring in subject.rings)

    def names(self, kind: str) -> tuple[str, ...]:
        """Who was heard of, most recently heard last."""
        return tuple(self._subjects[kind])

    def forget_silent(self, now_s: float) -> None:
        """Drop subjects of which nothing is left in any window; call it every few minutes."""
        for known in self._subjects.values():
            for name in [name for name, subject in known.items() if not subject.has_any(now_s)]:
                del known[name]

    def buckets(self) -> int:
        """How many buckets are held; at most MAX_BUCKETS_PER_SUBJECT for each subject."""
        return sum(subject.held() for known in self._subjects.values() for subject in known.values())

    def _subject(self, kind: str, name: str, now_s: float) -> _Subject:
        known = self._subjects[kind]
        subject = known.get(name)
        if subject is None:
            if len(known) >= self._limits[kind]:
                known.popitem(last=False)
                self.evicted += 1
            subject = known[name] = _Subject(now_s)
        else:
            known.move_to_end(name)
            subject.settle(now_s)
        return subject


class _Subject:
    """What is new within the bucket of now, and three rings of what was before.

    Invariant: `fresh` began at or after the begin of every ring's newest bucket, so it lies within one bucket of each: their
    widths are multiples of FRESH_S.
    """

    __slots__ = ("_at", "fresh", "fresh_codes", "rings")

    def __init__(self, now_s: float) -> None:
        self._at = int(now_s // FRESH_S)
        self.fresh = array("I", bytes(4 * _CELLS))
        self.fresh_codes: dict[int, int] = {}
        self.rings = (_Ring(60.0, BUCKETS_1M), _Ring(300.0, BUCKETS_5M), _Ring(3600.0, BUCKETS_1H))

    def settle(self, now_s: float) -> None:
        """Move what is not new any more into the rings; time that goes back counts as now."""
        at = int(now_s // FRESH_S)
        if at <= self._at:
            return
        if any(self.fresh):
            for ring in self.rings:
                ring.take(self.fresh, self.fresh_codes, self._at * FRESH_S)
            self.fresh = array("I", bytes(4 * _CELLS))
            self.fresh_codes = {}
        self._at = at

    def add_code(self, code: int) -> None:
        _count(self.fresh_codes, code, 1)

    def has_any(self, now_s: float) -> bool:
        self.settle(now_s)
        return any(self.fresh) or self.rings[-1].has_any(now_s)

    def held(self) -> int:
        return sum(ring.held() for ring in self.rings) + any(self.fresh)


class _Ring:
    """Buckets of one span, and their sum."""

    __slots__ = ("_buckets", "_codes", "_head", "_size", "_sum", "_sum_codes", "_width_s")

    def __init__(self, span_s: float, size: int) -> None:
        self._size = size
        self._width_s = span_s / size
        self._head = 0
        self._buckets: list[array[int] | None] = [None] * size
        self._codes: list[dict[int, int] | None] = [None] * size
        self._sum = [0] * _CELLS
        self._sum_codes: dict[int, int] = {}

    def take(self, cells: array[int], codes: Mapping[int, int], at_s: float) -> None:
        """Add what came from `at_s` on, which is never before what was taken last."""
        self._turn(at_s)
        slot = self._head % self._size
        bucket, kept = self._buckets[slot], self._codes[slot]
        if bucket is None:
            bucket = self._buckets[slot] = array("I", bytes(4 * _CELLS))
        for cell, count in enumerate(cells):
            if count:
                bucket[cell] += count
                self._sum[cell] += count
        if codes and kept is None:
            kept = self._codes[slot] = {}
        for code, count in codes.items():
            assert kept is not None
            counted = _count(kept, code, count)
            self._sum_codes[counted] = self._sum_codes.get(counted, 0) + count

    def window(self, now_s: float, fresh: array[int], fresh_codes: Mapping[int, int]) -> Window:
        """Its sum with what is not in it yet."""
        self._turn(now_s)
        total = [kept + new for kept, new in zip(self._sum, fresh, strict=True)]
        codes = dict(self._sum_codes)
        for code, count in fresh_codes.items():
            codes[code] = codes.get(code, 0) + count
        pdd = total[_PDD:]
        return Window(tuple(total[:_EARLY]), tuple(total[_EARLY:_PDD]), _most_first(codes), tuple(pdd) if any(pdd) else ())

    def has_any(self, now_s: float) -> bool:
        self._turn(now_s)
        return any(bucket is not None for bucket in self._buckets)

    def held(self) -> int:
        return sum(bucket is not None for bucket in self._buckets)

    def _turn(self, now_s: float) -> None:
        """Drop the buckets that have left the span."""
        at = int(now_s // self._width_s)
        for step in range(1, min(at - self._head, self._size) + 1):
            self._drop((self._head + step) % self._size)
        self._head = max(self._head, at)

    def _drop(self, slot: int) -> None:
        bucket, codes = self._buckets[slot], self._codes[slot]
        if bucket is None:
            return
        for cell, count in enumerate(bucket):
            if count:
                self._sum[cell] -= count
        for code, count in codes.items() if codes is not None else ():
            left = self._sum_codes[code] - count
            if left:
                self._sum_codes[code] = left
            else:
                del self._sum_codes[code]
        self._buckets[slot] = self._codes[slot] = None


def _count(codes: dict[int, int], code: int, count: int) -> int:
    """Count a code where MAX_CODES different ones may stand; returns the code it was counted as."""
    counted = code if code in codes or len(codes) < MAX_CODES else OTHER_CODE
    codes[counted] = codes.get(counted, 0) + count
    return counted


def _most_first(codes: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(((code, count) for code, count in codes.items() if count), key=lambda one: (-one[1], one[0])))
