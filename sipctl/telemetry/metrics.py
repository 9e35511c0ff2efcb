"""Metrics of one desk, in a registry of its own, shown as Prometheus text.

Gauges are read from the last view at the moment of a scrape; counters come from call records as they are written and from the
routers' own cells. Labels are names of the plan and small words; never a number, a Call-ID, an address of a stranger, or anything
else a caller can choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sipctl.telemetry.cdr import Line

OPERATING: Final = ("in-service", "out-of-service", "unknown")
REACHABLE_WITHIN_S: Final = 5.0  # a controller sends a view each second
GROUP_STATES: Final = ("normal", "hold-off", "on-bcp", "hold-down", "ramp")
MAX_ROUTER_COUNTERS: Final = 500
DELAY_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class Metrics:
    """Counters fed by the desk, and the collector that reads its view."""

    def __init__(self, view: Callable[[], Mapping[str, Any] | None], view_age_s: Callable[[], float | None]) -> None:
        """
        Args:
            view: the last view as {"status": …, "detail": …}, None before the first.
            view_age_s: its age in seconds.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp beside each counter, which nobody asked for
        self.registry = CollectorRegistry()
        self._children: dict[tuple[int, tuple[str, ...]], Any] = {}  # as many as there are series: names of the plan, few words
        build = Gauge("sipctl_build_info", "Which sipctl this is.", ("version",), registry=self.registry)
        build.labels(version("sipctl")).set(1)
        self._calls = Counter(
            "sipctl_calls", "Calls that ended.", ("group", "tenant", "role", "result", "cause_class"), registry=self.registry
        )
        self._attempts = Counter("sipctl_call_attempts", "Targets tried.", ("sbc", "sip_code"), registry=self.registry)
        self._reroutes = Counter(
            "sipctl_reroutes", "Calls that one tenant did not take and the other was tried for.", ("group", "to"),
            registry=self.registry,
        )  # fmt: skip
        self._delay = Histogram(
            "sipctl_post_dial_delay_seconds", "INVITE to the first 180, 183 or 200.", ("tenant",), buckets=DELAY_BUCKETS_S,
            registry=self.registry,
        )  # fmt: skip
        self._notices = Counter("sipctl_notices", "Decisions, alarms and other lines of the running story.", ("kind",),
                                registry=self.registry)  # fmt: skip
        self._requests = Counter("sipctl_api_requests", "API requests.", ("route", "status"), registry=self.registry)
        self.desk: Callable[[], Mapping[str, int]] = dict
        self.registry.register(_FromView(view, view_age_s, self))

    def count_line(self, line: Line) -> None:
        """Count one line of a call record; called from the thread that writes it."""
        if line["type"] == "attempt":
            code = line["sip_code"]
            self._child(self._attempts, (line["sbc"], str(code) if code else line["outcome"])).inc()
            return
        group, tenant, role = line.get("group", ""), line.get("tenant", ""), line.get("role", "")
        self._child(self._calls, (group, tenant, role, result_of(line), cause_class(line.get("q850_cause")))).inc()
        if line.get("failover"):
            self._child(self._reroutes, (group, role)).inc()
        if line.get("pdd_ms") is not None:
            self._child(self._delay, (tenant,)).observe(line["pdd_ms"] / 1000)

    def _child(self, family: Any, labels: tuple[str, ...]) -> Any:
        """One series, found without prometheus_client's own look-up, which costs 8 µs."""
        key = (id(family), labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        return child

    def count_notice(self, kind: str) -> None:
        self._notices.labels(kind if _SLUG.fullmatch(kind) else "other").inc()

    def count_request(self, route: str, status: int) -> None:
        """Count an answered request by the route's pattern, never by the path that was asked for."""
        self._requests.labels(route, str(status)).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


def result_of(line: Line) -> str:
    """One of: answered, busy, cancelled, rejected, failed."""
    code = line.get("sip_code") or 0
    if line["answered"]:
        return "answered"
    if code in (486, 600):
        return "busy"
    if code == 487 or line["released_by"] in ("caller", "cancelled"):
        return "cancelled"
    return "failed" if code == 0 or code >= 500 or code == 408 else "rejected"


def cause_class(cause: int | None) -> str:
    """Class of a Q.850 cause: its upper three bits, Q.850 §2.2.5 table 1."""
    if not cause:
        return "none"
    names = ("normal", "normal", "unavailable", "service-unavailable", "not-implemented", "invalid", "protocol", "interworking")
    return names[cause >> 4] if 0 < cause < 128 else "other"


class _FromView(Collector):
    def __init__(
        self, view: Callable[[], Mapping[str, Any] | None], view_age_s: Callable[[], float | None], metrics: Metrics
    ) -> None:
        self._view = view
        self._view_age_s = view_age_s
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        return []  # otherwise the registry collects once to find the names

    def collect(self) -> Iterator[Metric]:
        yield _labelled_counter("sipctl_desk", "What the desk counts of itself.", "what", self._metrics.desk())
        age_s = self._view_age_s()
        view = self._view()
        yield _gauge(
            "sipctl_controller_reachable",
            "1 while the controller sends views.",
            [((), float(age_s is not None and age_s < REACHABLE_WITHIN_S))],
        )
        if view is None or age_s is None:
            return
        yield _gauge("sipctl_view_age_seconds", "Age of the controller's last view.", [((), age_s)])
        yield from _of_plan(view["status"])
        yield from _of_sbcs(view["status"])
        yield from _of_groups(view["status"])
        yield from _of_trunks(view["status"])
        yield from _of_switched(view["status"])
        yield from _of_detail(view["detail"])


def _of_plan(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge("sipctl_revision", "Number of the live revision.", [((), status.get("revision") or 0)])
    yield _gauge("sipctl_folder_differs", "1 if the folder is not the live revision.", [((), bool(status.get("folder_differs")))])
    yield _gauge("sipctl_automation_on", "1 if automation may move groups.", [((), status.get("automation") == "on")])
    yield _gauge("sipctl_calls_active", "Calls up.", [((), (status.get("calls") or {}).get("active", 0))])
    yield _gauge("sipctl_alarms_active", "Alarms that stand.", [((), len(status.get("alarms") or ()))])
    yield _gauge("sipctl_strangers", "Sources that are in no trunk and no SBC pair.", [((), status.get("strangers") or 0)])
    routers = status.get("routers") or ()
    for name, key in (("term", "term"), ("seq", "seq"), ("revision", "revision")):
        samples = [((str(router.get("name")),), router.get(key) or 0) for router in routers]
        yield _gauge(f"sipctl_router_{name}", f"The {name} a router routes by.", samples, ("router",))


def _of_sbcs(status: Mapping[str, Any]) -> Iterator[Metric]:
    sbcs = sorted((status.get("sbcs") or {}).items())
    yield _gauge(
        "sipctl_sbc_operating", "1 for the measured state of an SBC.",
        [((name, state), sbc.get("operating") == state) for name, sbc in sbcs for state in OPERATING], ("sbc", "state"),
    )  # fmt: skip
    yield _gauge("sipctl_sbc_enabled", "1 unless draining or disabled.",
                 [((name,), sbc.get("admin") == "enabled") for name, sbc in sbcs], ("sbc",))  # fmt: skip
    yield _gauge("sipctl_sbc_doubtful", "1 while live calls speak against an SBC, so that it comes last within its pair.",
                 [((name,), bool(sbc.get("doubtful"))) for name, sbc in sbcs], ("sbc",))  # fmt: skip
    yield _gauge("sipctl_sbc_resting_seconds", "Rest left that the SBC asked for.",
                 [((name,), sbc.get("resting_s") or 0) for name, sbc in sbcs], ("sbc",))  # fmt: skip
    yield _gauge("sipctl_sbc_calls_active", "Calls up through an SBC.",
                 [((name,), sbc.get("calls") or 0) for name, sbc in sbcs], ("sbc",))  # fmt: skip
    yield _gauge("sipctl_drain_calls_remaining", "Calls left on an SBC that drains.",
                 [((name,), sbc.get("calls") or 0) for name, sbc in sbcs if sbc.get("admin") == "draining"],
                 ("sbc",))  # fmt: skip


def _of_groups(status: Mapping[str, Any]) -> Iterator[Metric]:
    groups = sorted((status.get("groups") or {}).items())
    yield _gauge(
        "sipctl_group_state", "1 for the state of a continuity group.",
        [((name, state), group.get("state") == state) for name, group in groups for state in GROUP_STATES], ("group", "state"),
    )  # fmt: skip
    yield _gauge("sipctl_group_bcp_ratio", "Share of new calls that go to BCP, 0 to 1.",
                 [((name,), (group.get("bcp_percent") or 0) / 100) for name, group in groups], ("group",))  # fmt: skip
    yield _gauge("sipctl_group_epoch", "Decisions of a group so far.",
                 [((name,), group.get("epoch") or 0) for name, group in groups], ("group",))  # fmt: skip
    for word in ("held", "pinned", "latched", "frozen"):
        yield _gauge(f"sipctl_group_{word}", f"1 while the group is {word}.",
                     [((name,), bool(group.get(word))) for name, group in groups], ("group",))  # fmt: skip


def _of_trunks(status: Mapping[str, Any]) -> Iterator[Metric]:
    trunks = sorted((status.get("trunks") or {}).items())
    yield _gauge("sipctl_trunk_calls_active", "Calls up from a trunk.",
                 [((name,), trunk.get("calls") or 0) for name, trunk in trunks], ("trunk",))  # fmt: skip
    yield _gauge("sipctl_trunk_calls_per_second", "New calls of a trunk in the last second.",
                 [((name,), trunk.get("cps") or 0) for name, trunk in trunks], ("trunk",))  # fmt: skip
    tenants = sorted((status.get("tenants") or {}).items())
    yield _gauge("sipctl_tenant_calls_active", "Calls up at a tenant.",
                 [((name,), tenant.get("calls") or 0) for name, tenant in tenants], ("tenant",))  # fmt: skip


def _of_switched(status: Mapping[str, Any]) -> Iterator[Metric]:
    for kind, section in (("overlay", "overlays"), ("switch", "switches")):
        found = sorted((status.get(section) or {}).items())
        yield _gauge(f"sipctl_{kind}_on", f"1 while the {kind} is on.",
                     [((name,), one.get("state") == "on") for name, one in found], (kind,))  # fmt: skip
        on = [(name, one) for name, one in found if one.get("state") == "on"]
        ends = [((name,), one["until_unix_s"]) for name, one in on if one.get("until_unix_s") is not None]
        yield _gauge(f"sipctl_{kind}_until_timestamp_seconds", f"When the {kind} goes off by itself.", ends, (kind,))


def _of_detail(detail: Mapping[str, Any]) -> Iterator[Metric]:
    counters = dict(detail.get("counters") or {})
    connections = counters.pop("tcp_connections", None)
    if connections is not None:
        yield _gauge("sipctl_router_tcp_connections", "SIP connections open now.", [((), connections)])
    yield _labelled_counter("sipctl_router_events", "What routers count: messages, retransmissions, drops.", "event", counters)
    entries = sorted((detail.get("entry_points") or {}).items())
    yield _gauge("sipctl_entry_point_calls_active", "Calls up to an entry point.",
                 [((name,), entry.get("calls") or 0) for name, entry in entries], ("entry_point",))  # fmt: skip
    yield _gauge("sipctl_entry_point_numbers", "Numbers of an entry point.",
                 [((name,), entry.get("numbers") or 0) for name, entry in entries], ("entry_point",))  # fmt: skip
    gaps = [
        ((str(router.get("name")),), router["loop_gap_s"])
        for router in detail.get("routers") or ()
        if router.get("loop_gap_s") is not None
    ]
    yield _gauge("sipctl_router_loop_gap_seconds", "Longest gap of a router's loop since it was heard last.", gaps, ("router",))
    probes = sorted((detail.get("probes") or {}).items())
    trips = [((name,), probe["rtt_ms"] / 1000) for name, probe in probes if probe.get("rtt_ms") is not None]
    yield _gauge("sipctl_probe_rtt_seconds", "Round trip of the last answered probe.", trips, ("sbc",))
    missed = [((name,), probe.get("missed") or 0) for name, probe in probes]
    yield _gauge("sipctl_probes_missed", "Probes in a row without a good answer.", missed, ("sbc",))


def _labelled_counter(name: str, text: str, label: str, values: Mapping[str, Any]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, value in sorted(values.items())[:MAX_ROUTER_COUNTERS]:
        if _SLUG.fullmatch(str(key)) and isinstance(value, int | float):
            family.add_metric((str(key),), value)
    return family


def _gauge(
    name: str, text: str, samples: Sequence[tuple[tuple[str, ...], Any]], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family
