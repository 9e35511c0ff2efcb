"""Observations as metrics: ratios of the last five minutes with the number they are made of, and calls by entry point.

Bounded: at most MAX_SUBJECTS subjects have gauges. Entry points are many, so they have counters only, and only while there are no
more than MAX_ENTRY_POINTS of them; `sipctl_observed_left_out` tells how many subjects are not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sipctl.health.observed import Result, Window
from sipctl.telemetry.observing import CallObserver

KINDS: Final = ("sbc", "pair", "tenant", "trunk")
MAX_SUBJECTS: Final = 1_000
MAX_ENTRY_POINTS: Final = 500
QUANTILES: Final = (0.5, 0.95)
_FIVE_MINUTES: Final = 1  # of health/observed.py SPANS


class ObservedMetrics(Collector):
    """Reads the observer at the moment of a scrape."""

    def __init__(self, observer: CallObserver, mono_s: Callable[[], float]) -> None:
        self._observer = observer
        self._mono_s = mono_s

    def describe(self) -> list[Metric]:
        return []  # otherwise the registry collects once to find the names

    def collect(self) -> Iterator[Metric]:
        now_s = self._mono_s()
        subjects = [
            (kind, name, windows[_FIVE_MINUTES])
            for kind in KINDS
            for name, windows in sorted(self._observer.windows(kind, now_s).items())
        ]
        entries = self._observer.entry_calls
        shown = subjects[:MAX_SUBJECTS]
        yield from _gauges(shown)
        left_out = len(subjects) - len(shown)
        if len(entries) <= MAX_ENTRY_POINTS:
            yield _of_entry_points(entries)
        else:
            left_out += len(entries)
        yield GaugeMetricFamily(
            "sipctl_observed_left_out", "Subjects of observations without series of their own.", value=left_out
        )


def _gauges(subjects: list[tuple[str, str, Window]]) -> Iterator[Metric]:
    labels = ("kind", "name")
    counted = GaugeMetricFamily("sipctl_observed_attempts", "What the ratios of five minutes are made of.", labels=labels)
    ner = GaugeMetricFamily("sipctl_observed_ner_ratio", "Share that reached the far end (NER), 0 to 1.", labels=labels)
    asr = GaugeMetricFamily("sipctl_observed_asr_ratio", "Share that was answered (ASR), 0 to 1.", labels=labels)
    early = GaugeMetricFamily("sipctl_observed_early_drops", "Answered calls that ended within seconds.", labels=labels)
    delay = GaugeMetricFamily(
        "sipctl_observed_post_dial_delay_seconds", "INVITE to the first 180, 183 or 200.", labels=(*labels, "quantile")
    )
    for kind, name, window in subjects:
        counted.add_metric((kind, name), window.attempts)
        early.add_metric((kind, name), window.early_drops)
        if window.ner is not None and window.asr is not None:
            ner.add_metric((kind, name), window.ner)
            asr.add_metric((kind, name), window.asr)
        for quantile in QUANTILES:
            told_s = window.pdd_s(quantile)
            if told_s is not None:
                delay.add_metric((kind, name, str(quantile)), told_s)
    yield from (counted, ner, asr, early, delay)


def _of_entry_points(entries: dict[str, list[int]]) -> Metric:
    family = CounterMetricFamily(
        "sipctl_entry_point_calls", "Calls to an entry point, by how they ended or that they were answered.",
        labels=("entry_point", "result"),
    )  # fmt: skip
    for name, counts in sorted(entries.items()):
        for result in Result:
            family.add_metric((name, result.name.lower().replace("_", "-")), counts[result])
    return family
