"""What live calls say against an SBC, judged among siblings: who fails, lags, drops calls or answers as the others don't.

Probes ask whether a box lives; its calls tell whether it works (gray failure: both at once). Two comparisons:

- **siblings**, the SBCs of one pair in the same minutes. An SBC is judged by the calls that tried no other before it, against all
  calls of the others: what comes to a stand-by has already failed elsewhere, so this can only spare somebody;
- **its own last hour**, where siblings had too few calls. Then only failures count (silence, 408, 5xx): that callers dial wrong
  numbers is no box's fault; and not if its siblings fell alike, since then it is the tenant behind them.

Nothing is judged on few samples, nor on a difference that chance explains: it must be large (`difference`) *and* have a
probability of at most ALPHA under equal boxes (Fisher's exact test, one-sided). ALPHA is that small because the question is asked
every second, all year, of every SBC. Among SIBLINGS_FOR_SPREAD or more siblings it must also lie SPREAD standard deviations below
their mean, as Envoy's outlier detection has it: where all differ, nobody is the outlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, lgamma, sqrt
from typing import Final

from sipctl.health.observed import (
    EARLY_S,
    EFFECTIVE_CODES,
    SILENCE,
    SPANS,
    TRANSPORT_ERROR,
    Window,
    added,
    bin_of,
    edge_s,
    without,
)
from sipctl.routing.snapshot import ObserveRules

ALPHA: Final = 1e-9
SIBLINGS_FOR_SPREAD: Final = 5
SPREAD: Final = 1.9
MIN_DELAYS: Final = 40  # calls with a post-dial delay, on both sides, before their 95th percentiles are compared
CODE_SHARE: Final = 0.1  # an answer of its own is one that at least so many of its calls get …
OTHERS_CODE_SHARE: Final = 0.01  # … and at most so many of the others'
JUDGED_SPANS: Final = (0, 1)  # indexes into SPANS: the last minute, else the last five
HOUR: Final = 2
_SLOW_SHARE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Seen:
    """One SBC as the judgement sees it."""

    name: str
    first: tuple[Window, ...]  # over each of SPANS: calls that tried no other before it
    every: tuple[Window, ...]  # all attempts at it
    probes_fine: bool = False  # it answers OPTIONS
    judged: bool = True  # False: out of service, not enabled, or doubtful already; still a sibling


@dataclass(frozen=True, slots=True)
class Finding:
    """Something live calls say against a subject."""

    name: str
    kind: str  # "fails" | "slow" | "drops" | "code"
    sentence: str
    samples: int  # its own, that the judgement stands on
    against: str  # "siblings" | "hour"


def judge_pair(seen: Sequence[Seen], rules: ObserveRules) -> tuple[Finding, ...]:
    """The worst finding of each SBC of a pair, at most one for each.

    Cost: a few µs for each SBC while all is well.
    """
    return tuple(finding for one in seen if one.judged and (finding := next(_findings(one, seen, rules), None)) is not None)


def judge_alone(name: str, windows: tuple[Window, ...], rules: ObserveRules) -> Finding | None:
    """A subject without siblings (a tenant) against its own last hour: do its calls fail?"""
    for span in JUDGED_SPANS:
        now, before = windows[span], without(windows[HOUR], windows[1])
        found = _fails(name, now, before, rules, SPANS[span], "in the hour before", failed_only=True)
        if found is not None:
            return Finding(name, "fails", found, now.attempts, "hour")
    return None


def chance(hits: int, size: int, other_hits: int, other_size: int) -> float:
    """Fisher's exact test, one-sided: the probability that so many of all hits or more fall on the first by chance.

    Cost: microseconds for hits that chance does not explain; the terms are summed until they no longer matter.
    """
    assert 0 <= hits <= size and 0 <= other_hits <= other_size
    every, total = hits + other_hits, size + other_size
    whole = _log_choose(total, size)
    probability = 0.0
    for at in range(hits, min(every, size) + 1):
        term = exp(_log_choose(every, at) + _log_choose(total - every, size - at) - whole)
        probability += term
        if term < probability * 1e-9 and at * total > every * size:
            break
    return min(1.0, probability)


def exceeds(hits: int, size: int, other_hits: int, other_size: int, difference: float, least: int) -> bool:
    """Whether one share is larger than another by at least `difference`, with enough samples, and not by chance."""
    if size < least or other_size < least or hits / size - other_hits / other_size < difference:
        return False
    return chance(hits, size, other_hits, other_size) <= ALPHA


def _log_choose(size: int, of: int) -> float:
    return lgamma(size + 1) - lgamma(of + 1) - lgamma(size - of + 1)


# -- one SBC -------------------------------------------------------------------------------------------------------------------


def _findings(one: Seen, seen: Sequence[Seen], rules: ObserveRules) -> Iterator[Finding]:
    """What is wrong with it, worst first, by the shortest window that shows it."""
    spans = [span for span in JUDGED_SPANS if one.first[span].attempts >= rules.min_calls]
    if not spans:
        return
    others = [other for other in seen if other.name != one.name]
    names = "of " + (" and ".join(other.name for other in others) if len(others) <= 2 else f"its {len(others)} siblings")
    rests = {span: added([other.every[span] for other in others]) for span in spans}
    probes = "; it answers OPTIONS all the same" if one.probes_fine else ""
    for kind, judge in (("fails", _fails_among), ("code", _own_code), ("slow", _slow), ("drops", _drops)):
        for span in spans:
            now = one.first[span]
            sentence = judge(one.name, now, rests[span], rules, SPANS[span], names)
            if sentence is not None and (kind != "fails" or _is_apart(now, others, span, rules)):
                yield Finding(one.name, kind, f"{sentence}{probes if kind == 'fails' else ''}", now.attempts, "siblings")
    alone = [span for span in spans if rests[span].attempts < rules.min_calls]
    before = without(one.first[HOUR], one.first[1]) if alone else Window()
    for kind, judge in (("fails", _failed_more), ("slow", _slow), ("drops", _drops)):
        for span in alone:
            now = one.first[span]
            if any(_fell_alike(other, span, rules) for other in others):
                continue
            sentence = judge(one.name, now, before, rules, SPANS[span], "in its own hour before")
            if sentence is not None:
                yield Finding(one.name, kind, f"{sentence}{probes if kind == 'fails' else ''}", now.attempts, "hour")


def _fell_alike(other: Seen, span: int, rules: ObserveRules) -> bool:
    """Whether a sibling's calls fail as well, seen against its own hour or plainly."""
    now = other.every[span]
    return now.attempts >= rules.min_calls // 2 and now.failed / max(1, now.attempts) >= rules.difference


def _fails_among(name: str, now: Window, rest: Window, rules: ObserveRules, span: str, names: str) -> str | None:
    return _fails(name, now, rest, rules, span, names, failed_only=False)


def _failed_more(name: str, now: Window, rest: Window, rules: ObserveRules, span: str, names: str) -> str | None:
    return _fails(name, now, rest, rules, span, names, failed_only=True)


def _fails(name: str, now: Window, other: Window, rules: ObserveRules, span: str, whose: str, *, failed_only: bool) -> str | None:
    hits = now.failed if failed_only else now.attempts - now.effective
    other_hits = other.failed if failed_only else other.attempts - other.effective
    if not exceeds(hits, now.attempts, other_hits, other.attempts, rules.difference, rules.min_calls):
        return None
    return (
        f"NER {_percent(now.attempts - hits, now.attempts)} of {now.attempts} calls within {span} ({_worst_codes(now)}), "
        f"{_percent(other.attempts - other_hits, other.attempts)} of {other.attempts} {whose}"
    )


def _is_apart(now: Window, others: Sequence[Seen], span: int, rules: ObserveRules) -> bool:
    """Among many siblings: below their mean by SPREAD standard deviations too."""
    ratios = [
        ner for other in others if other.every[span].attempts >= rules.min_calls and (ner := other.every[span].ner) is not None
    ]
    if len(ratios) + 1 < SIBLINGS_FOR_SPREAD or now.ner is None:
        return True
    ratios.append(now.ner)
    mean = sum(ratios) / len(ratios)
    deviation = sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios))
    return now.ner < mean - SPREAD * deviation


def _own_code(name: str, now: Window, rest: Window, rules: ObserveRules, span: str, names: str) -> str | None:
    theirs = dict(rest.codes)
    for code, count in now.codes:
        if code in EFFECTIVE_CODES or rest.attempts < rules.min_calls or theirs.get(code, 0) > OTHERS_CODE_SHARE * rest.attempts:
            continue
        hits, other = min(count, now.attempts), min(theirs.get(code, 0), rest.attempts)  # busy answers are in no attempts
        if exceeds(hits, now.attempts, other, rest.attempts, CODE_SHARE, rules.min_calls):
            met = f"{other} of {rest.attempts}" if other else f"none of {rest.attempts}"
            return f"{_code_word(code)} met {hits} of {now.attempts} calls within {span}, {met} {names}"
    return None


def _slow(name: str, now: Window, rest: Window, rules: ObserveRules, span: str, names: str) -> str | None:
    size, other_size = sum(now.pdd), sum(rest.pdd)
    if min(size, other_size) < max(MIN_DELAYS, rules.min_calls):
        return None
    mine_s, theirs_s = now.pdd_s(_SLOW_SHARE), rest.pdd_s(_SLOW_SHARE)
    assert mine_s is not None and theirs_s is not None
    at = bin_of(max(2 * theirs_s, theirs_s + rules.slower_s))
    if mine_s <= edge_s(at) or not exceeds(now.slower_than(at), size, rest.slower_than(at), other_size, 0.05, MIN_DELAYS):
        return None
    return f"post-dial delay of {mine_s:.1f} s (p95 of {size} calls within {span}), {theirs_s:.1f} s of {other_size} {names}"


def _drops(name: str, now: Window, rest: Window, rules: ObserveRules, span: str, names: str) -> str | None:
    dropped, other = min(now.early_drops, now.answered), min(rest.early_drops, rest.answered)
    if not exceeds(dropped, now.answered, other, rest.answered, rules.difference, rules.min_calls):
        return None
    return (
        f"{_percent(dropped, now.answered)} of {now.answered} calls answered within {span} ended within {EARLY_S:.0f} s "
        f"({_enders(now)}), "
        f"{_percent(other, rest.answered)} of {rest.answered} {names}"
    )


# -- words ---------------------------------------------------------------------------------------------------------------------


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _worst_codes(window: Window) -> str:
    told = [f"{count} × {_code_word(code)}" for code, count in window.codes if code not in EFFECTIVE_CODES]
    return ", ".join(told[:3]) or "no code"


def _code_word(code: int) -> str:
    return "silence" if code == SILENCE else "a transport error" if code == TRANSPORT_ERROR else str(code)


def _enders(window: Window) -> str:
    """Who ended them, most first."""
    words = ("the caller", "the callee", "others")
    told = sorted(zip(window.early, words, strict=True), key=lambda one: -one[0])
    return ", ".join(f"{count} by {word}" for count, word in told if count)
