"""What the controller makes of observations: doubts about SBCs, signs that something is wrong, trunks that went quiet.

Pure: the desk's last report and what routers said go in with the time, the next `Watch` and what changed come out. A doubt makes
an SBC come last within its pair, and nothing else: it stays in the table, no tenant is out of service for it, no group moves. One
usable SBC of a pair is never doubtful, nor are more of them than the plan allows (`observe: {most: 50%}`); what would be, but for
that, is a sign: an alarm alone.

A doubt ends by itself after `hold`, twice as long each time within an hour; its SBC is then judged anew, by calls that came
since: `hold` is never shorter than the longest window that is judged. Without a fresh report, or while routers dropped events,
nothing is judged: that is "no samples", never "all is well" and never "all is lost". What stands then stands until its time is
over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from sipctl.control.ports import CallReport, Observe, SbcObservation
from sipctl.failover.tenants import Edge
from sipctl.health.observed import SPANS, Window
from sipctl.health.outliers import HOUR, Finding, Seen, judge_alone, judge_pair
from sipctl.routing.snapshot import Admin, ObserveRules, Operating, SbcPair, Topology

JUDGE_EVERY_S: Final = 1.0
REPORT_FRESH_S: Final = 6.0  # an older report is none: the desk sends one every two seconds
DROPPED_S: Final = 300.0  # for so long after routers dropped events their windows are not whole
MAX_HOLD_S: Final = 3600.0
DOUBT_MEMORY_S: Final = 3600.0  # without a doubt for so long: the next one is a first one again
SIGN_S: Final = 60.0  # a sign stands at least so long
QUIET_EXPECTED: Final = 10.0  # calls a trunk would usually have sent while it was quiet, before that is an alarm
QUIET_BASE_S: Final = 300.0  # a trunk's usual rate is known after so long with calls
MAX_TOLD: Final = 5  # SIP codes shown of a window
MAX_SHOWN: Final = 4096  # windows kept as they are shown

_NO_WINDOWS: Final = tuple(Window() for _ in SPANS)
_NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Doubt:
    """An SBC that live calls speak against."""

    sbc: str
    kind: str  # of the finding: "fails" | "slow" | "drops" | "code"
    sentence: str
    since_unix_s: float
    until_s: float
    until_unix_s: float
    times: int  # how often within an hour, this one included


@dataclass(frozen=True, slots=True)
class Sign:
    """Something is wrong and nothing follows from it but an alarm."""

    text: str
    until_s: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """A trunk from which no call comes though usually some would."""

    text: str
    last_invite_unix_s: float


@dataclass(frozen=True, slots=True)
class Watch:
    """All of it; what a controller knows of observations."""

    report: CallReport | None = None
    reported_s: float = _NEVER
    judged_s: float = _NEVER
    blind: str = "no desk has told what calls show yet"  # why nothing is judged; "" if it is
    doubts: Mapping[str, Doubt] = field(default_factory=dict)  # by SBC
    earlier: Mapping[str, tuple[int, float]] = field(default_factory=dict)  # SBC → (doubts within an hour, end of the last)
    signs: Mapping[str, Sign] = field(default_factory=dict)  # by alarm
    dropped: Mapping[int, int] = field(default_factory=dict)  # events a router dropped, by link
    dropped_s: float = _NEVER
    last_calls: Mapping[str, tuple[float, float]] = field(
        default_factory=dict
    )  # trunk → (last INVITE, unix; when first told, mono)
    quiet: Mapping[str, Quiet] = field(default_factory=dict)  # by trunk


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rest of the World knows, as far as it matters here."""

    topology: Topology
    edge: Edge
    sbcs: Mapping[str, SbcObservation]
    sbc_admin: Mapping[str, Admin]
    trunk_admin: Mapping[str, Admin]
    routers: Mapping[int, Observe]  # by link


@dataclass(frozen=True, slots=True)
class News:
    """A doubt that began or ended: a line of the story, and a record with what it was judged by."""

    sbc: str
    rule: str  # the finding's kind, or "over"
    sentence: str
    begins: bool
    inputs: Mapping[str, Any]


def with_report(watch: Watch, report: CallReport, now_s: float) -> Watch:
    """The desk has spoken."""
    return replace(watch, report=report, reported_s=now_s)


def doubtful(watch: Watch) -> tuple[str, ...]:
    """The SBCs that come last within their pair; as published."""
    return tuple(sorted(watch.doubts))


def watched(watch: Watch, around: Surroundings, now_s: float, unix_s: float) -> tuple[Watch, tuple[News, ...]]:
    """Judge anew, at most every JUDGE_EVERY_S.

    Returns: the same Watch and nothing if it is not time yet.
    """
    if now_s - watch.judged_s < JUDGE_EVERY_S:
        return watch, ()
    watch = _heard(watch, around, now_s)
    blind = _blind(watch, now_s)
    watch = replace(watch, judged_s=now_s, blind=blind)
    watch, news = _ended(watch, around, now_s)
    signs = {name: sign for name, sign in watch.signs.items() if sign.until_s > now_s}
    report = watch.report
    if not blind and report is not None:
        for pair_at, pair in enumerate(around.topology.pairs):
            if pair.observe is not None:
                watch, begun = _judged_pair(watch, report, around, pair, around.edge.sbcs_of_pair[pair_at], signs, now_s, unix_s)
                news += begun
        _judge_tenants(report, around, signs, now_s)
    watch = replace(watch, signs=signs if signs != watch.signs else watch.signs)
    return _judged_trunks(watch, around, now_s), tuple(news)


def alarms(watch: Watch) -> dict[str, str]:
    """Those that stand, id → sentence."""
    due = {
        f"doubtful:{name}": f"SBC {name} is doubtful, so last of its pair: {doubt.sentence}"
        for name, doubt in watch.doubts.items()
    }
    due |= {name: sign.text for name, sign in watch.signs.items()}
    return due | {f"quiet:{trunk}": quiet.text for trunk, quiet in watch.quiet.items()}


# -- what is known ---------------------------------------------------------------------------------------------------------------


def _heard(watch: Watch, around: Surroundings, now_s: float) -> Watch:
    """What routers said: dropped events, and when each trunk called last, by our own clock."""
    dropped = {link: observe.counters.get("events_dropped", 0) for link, observe in around.routers.items()}
    if any(count > watch.dropped.get(link, count) for link, count in dropped.items()):
        watch = replace(watch, dropped_s=now_s)
    if dropped != watch.dropped:
        watch = replace(watch, dropped=dropped)
    last_calls = dict(watch.last_calls)
    for trunk in around.topology.trunks:
        told = [
            observe.trunks[trunk.name].last_invite_unix_s for observe in around.routers.values() if trunk.name in observe.trunks
        ]
        last = max((one for one in told if one is not None), default=None)
        if last is not None and (trunk.name not in last_calls or last > last_calls[trunk.name][0]):
            last_calls[trunk.name] = last, now_s
    return watch if last_calls == watch.last_calls else replace(watch, last_calls=last_calls)


def _blind(watch: Watch, now_s: float) -> str:
    """Why nothing may be judged now; "" if it may."""
    if watch.report is None:
        return "no desk has told what calls show yet"
    if now_s - watch.reported_s > REPORT_FRESH_S:
        return f"the desk has told nothing of calls for {now_s - watch.reported_s:.0f} s"
    if now_s - watch.dropped_s < DROPPED_S:
        return "routers dropped events of calls within the last five minutes: the windows are not whole"
    return ""


def _windows(report: CallReport, kind: str, name: str) -> tuple[Window, ...]:
    found = report.windows.get(kind, {}).get(name, _NO_WINDOWS)
    return found if len(found) == len(SPANS) else _NO_WINDOWS


# -- SBCs ------------------------------------------------------------------------------------------------------------------------


def _ended(watch: Watch, around: Surroundings, now_s: float) -> tuple[Watch, list[News]]:
    """Doubts whose time is over, whose SBC left the plan, or whose pair is not observed any more."""
    observed = {
        name for at, pair in enumerate(around.topology.pairs) if pair.observe is not None for name in around.edge.sbcs_of_pair[at]
    }
    over = [doubt for name, doubt in watch.doubts.items() if doubt.until_s <= now_s or name not in observed]
    if not over:
        return watch, []
    names = {doubt.sbc for doubt in over}
    news = [
        News(doubt.sbc, "over", _over_sentence(doubt, doubt.sbc in observed), False, {"kind": doubt.kind, "times": doubt.times})
        for doubt in over
    ]
    earlier = {name: known for name, known in watch.earlier.items() if now_s - known[1] < DOUBT_MEMORY_S}
    earlier |= {doubt.sbc: (doubt.times, now_s) for doubt in over if doubt.sbc in observed}
    doubts = {name: doubt for name, doubt in watch.doubts.items() if name not in names}
    return replace(watch, doubts=doubts, earlier=earlier), news


def _over_sentence(doubt: Doubt, is_observed: bool) -> str:
    if not is_observed:
        return f"SBC {doubt.sbc} is no longer doubtful: the plan does not observe it any more"
    return f"SBC {doubt.sbc} has its place in its pair again and is judged anew; it was doubtful: {doubt.sentence}"


def _judged_pair(
    watch: Watch, report: CallReport, around: Surroundings, pair: SbcPair, names: tuple[str, ...], signs: dict[str, Sign],
    now_s: float, unix_s: float,
) -> tuple[Watch, list[News]]:  # fmt: skip
    assert pair.observe is not None
    seen = [_seen(watch, report, around, pair, name) for name in names]
    news: list[News] = []
    for finding in judge_pair(seen, pair.observe):
        why_not = _why_not(watch, around, pair, names, finding.name, pair.observe)
        if why_not:
            text = f"SBC {finding.name}: {finding.sentence}; it keeps its place, since {why_not}"
            signs[f"doubted:{finding.name}"] = Sign(text, now_s + SIGN_S)
            continue
        signs.pop(f"doubted:{finding.name}", None)
        doubt = _doubt(watch, finding, pair.observe, now_s, unix_s)
        watch = replace(watch, doubts={**watch.doubts, finding.name: doubt})
        text = (
            f"SBC {finding.name} is doubtful, so last of pair {pair.name} for {doubt.until_s - now_s:.0f} s: {finding.sentence}"
        )
        news.append(News(finding.name, finding.kind, text, True, _inputs(report, names, finding, pair.observe)))
    return watch, news


def _seen(watch: Watch, report: CallReport, around: Surroundings, pair: SbcPair, name: str) -> Seen:
    measured = around.sbcs.get(name)
    enabled = around.sbc_admin.get(name, Admin.ENABLED) is Admin.ENABLED
    out = measured is not None and measured.operating == Operating.OUT_OF_SERVICE
    probed = pair.probe is not None and measured is not None
    fine = probed and measured is not None and measured.operating == Operating.IN_SERVICE and not measured.missed_probes
    return Seen(
        name,
        _windows(report, "first", name),
        _windows(report, "sbc", name),
        probes_fine=fine,
        judged=enabled and not out and name not in watch.doubts,
    )


def _why_not(watch: Watch, around: Surroundings, pair: SbcPair, names: tuple[str, ...], name: str, rules: ObserveRules) -> str:
    """Why an SBC may not be doubtful; "" if it may."""
    left = [
        other
        for other in names
        if other != name and other not in watch.doubts
        and around.sbc_admin.get(other, Admin.ENABLED) is Admin.ENABLED
        and (other not in around.sbcs or around.sbcs[other].operating != Operating.OUT_OF_SERVICE)
    ]  # fmt: skip
    if not left:
        return f"it is the last usable SBC of pair {pair.name} without a doubt"
    standing = sum(other in watch.doubts for other in names)
    allowed = max(1, int(rules.most * len(names)))
    if standing >= allowed:
        return f"{standing} of {len(names)} SBCs of pair {pair.name} are doubtful already, the most that are"
    return ""


def _doubt(watch: Watch, finding: Finding, rules: ObserveRules, now_s: float, unix_s: float) -> Doubt:
    times, ended_s = watch.earlier.get(finding.name, (0, _NEVER))
    times = times + 1 if now_s - ended_s < DOUBT_MEMORY_S else 1
    hold_s = min(MAX_HOLD_S, rules.hold_s * 2 ** min(times - 1, 16))
    return Doubt(finding.name, finding.kind, finding.sentence, unix_s, now_s + hold_s, unix_s + hold_s, times)


def _inputs(report: CallReport, names: tuple[str, ...], finding: Finding, rules: ObserveRules) -> dict[str, Any]:
    """What a doubt was judged by, so that its record explains it."""
    return {
        "against": finding.against, "samples": finding.samples, "min_calls": rules.min_calls, "difference": rules.difference,
        "sbcs": {name: shown(_windows(report, "sbc", name)) for name in names},
    }  # fmt: skip


# -- tenants and trunks ----------------------------------------------------------------------------------------------------------


def _judge_tenants(report: CallReport, around: Surroundings, signs: dict[str, Sign], now_s: float) -> None:
    for tenant in around.topology.tenants:
        rules = around.topology.pairs[tenant.reached_by[0].pair].observe if tenant.reached_by else None
        found = judge_alone(tenant.name, _windows(report, "tenant", tenant.name), rules) if rules is not None else None
        if found is not None:
            signs[f"calls-fail:{tenant.name}"] = Sign(f"tenant {tenant.name}: {found.sentence}", now_s + SIGN_S)


def _judged_trunks(watch: Watch, around: Surroundings, now_s: float) -> Watch:
    quiet: dict[str, Quiet] = {}
    for trunk in around.topology.trunks:
        known = watch.last_calls.get(trunk.name)
        if trunk.quiet_alarm_s is None or known is None or around.trunk_admin.get(trunk.name, Admin.ENABLED) is not Admin.ENABLED:
            continue
        last_unix_s, told_s = known
        before = watch.quiet.get(trunk.name)
        if before is not None and before.last_invite_unix_s == last_unix_s:
            quiet[trunk.name] = before  # until its next call
        elif watch.report is not None and not watch.blind and now_s - told_s >= trunk.quiet_alarm_s:
            text = _quiet_text(trunk.name, watch.report, now_s - told_s, now_s)
            if text:
                quiet[trunk.name] = Quiet(text, last_unix_s)
    return watch if quiet == watch.quiet else replace(watch, quiet=quiet)


def _quiet_text(trunk: str, report: CallReport, silent_s: float, now_s: float) -> str:
    """Why its silence is unusual; "" if it is not, or if nobody can tell."""
    calls = _windows(report, "trunk", trunk)[HOUR].calls
    active_s = min(3600.0, now_s - report.since_s) - silent_s
    if active_s < QUIET_BASE_S or calls / active_s * silent_s < QUIET_EXPECTED:
        return ""
    return (
        f"trunk {trunk} is quiet: no call for {silent_s / 60:.0f} minutes, in which {calls / active_s * silent_s:.0f} would be "
        f"usual ({calls} calls in the {active_s / 60:.0f} minutes before)"
    )


# -- for people ------------------------------------------------------------------------------------------------------------------


def shown(windows: tuple[Window, ...]) -> dict[str, Any]:
    """The windows of a subject as the API tells them, by span; every ratio with the number it is made of."""
    return {span: shown_window(window) for span, window in zip(SPANS, windows, strict=True)}


@lru_cache(maxsize=MAX_SHOWN)  # views are made more often than reports come
def shown_window(window: Window) -> Mapping[str, Any]:
    """One window: ratios 0 to 1 or null without samples, delays in seconds."""
    return {
        "calls": window.calls, "n": window.attempts, "asr": _rounded(window.asr), "ner": _rounded(window.ner),
        "answered": window.results[0], "effective": window.results[1], "rejected": window.results[2], "failed": window.results[3],
        "busy": window.results[4], "turned_away": window.results[5],
        "pdd_n": sum(window.pdd), "pdd_p50_s": _rounded(window.pdd_s(0.5)), "pdd_p95_s": _rounded(window.pdd_s(0.95)),
        "early_drops": window.early_drops,
        "early_by": {"caller": window.early[0], "callee": window.early[1], "others": window.early[2]},
        "codes": {_code(code): count for code, count in window.codes[:MAX_TOLD]},
    }  # fmt: skip


def shown_doubt(watch: Watch, sbc: str) -> dict[str, Any] | None:
    """Of the status of one SBC: why it is doubtful, since when and until when."""
    doubt = watch.doubts.get(sbc)
    if doubt is None:
        return None
    return {"kind": doubt.kind, "reason": doubt.sentence, "times": doubt.times, "since_unix_s": doubt.since_unix_s,
            "until_unix_s": doubt.until_unix_s}  # fmt: skip


def shown_of(watch: Watch, kind: str, name: str) -> Mapping[str, Any] | None:
    """The last five minutes of a subject, for lists; None where nobody can tell."""
    if watch.report is None or watch.blind:
        return None
    return shown_window(_windows(watch.report, kind, name)[1])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _code(code: int) -> str:
    return {0: "silence", 1: "transport-error", 999: "others"}.get(code, str(code))
