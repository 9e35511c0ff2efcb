"""Observations as metrics: with their samples, and bounded in number."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from sipctl.health.observed import Result
from sipctl.telemetry.observed_metrics import MAX_ENTRY_POINTS, MAX_SUBJECTS, ObservedMetrics
from sipctl.telemetry.observing import CallObserver


def lines(observer: CallObserver) -> list[str]:
    registry = CollectorRegistry()
    registry.register(ObservedMetrics(observer, lambda: 1.0))
    return generate_latest(registry).decode().splitlines()


def test_a_ratio_without_samples_has_no_series_but_its_count_of_zero() -> None:
    observer = CallObserver(0.0)
    observer.observed.add("sbc", "fra-a", Result.BUSY, 503, 0.0)
    told = lines(observer)
    assert 'sipctl_observed_attempts{kind="sbc",name="fra-a"} 0.0' in told
    assert not any(line.startswith("sipctl_observed_ner_ratio{") for line in told)
    assert not any(line.startswith("sipctl_observed_post_dial_delay_seconds{") for line in told)


def test_subjects_beyond_the_limit_are_counted_and_left_out() -> None:
    observer = CallObserver(0.0)
    for kind, count in (("sbc", 700), ("tenant", 500)):
        for number in range(count):
            observer.observed.add(kind, f"{kind}-{number}", Result.ANSWERED, 200, 0.0)
    told = lines(observer)
    assert sum(line.startswith("sipctl_observed_attempts{") for line in told) == MAX_SUBJECTS
    assert f"sipctl_observed_left_out {700 + 500 - MAX_SUBJECTS}.0" in told


def test_entry_points_have_counters_while_they_are_few() -> None:
    observer = CallObserver(0.0)
    observer.entry_calls = {f"e{number}": [3, 0, 0, 0, 0, 1] for number in range(MAX_ENTRY_POINTS)}
    told = lines(observer)
    assert 'sipctl_entry_point_calls_total{entry_point="e7",result="turned-away"} 1.0' in told
    assert "sipctl_observed_left_out 0.0" in told
    observer.entry_calls["one-more"] = [0] * 6
    told = lines(observer)
    assert not any("entry_point=" in line for line in told)
    assert f"sipctl_observed_left_out {MAX_ENTRY_POINTS + 1}.0" in told


def test_an_sbcs_first_calls_are_no_series_of_their_own() -> None:
    observer = CallObserver(0.0)
    observer.observed.add("first", "fra-a", Result.ANSWERED, 200, 0.0)
    assert not any('kind="first"' in line for line in lines(observer))
