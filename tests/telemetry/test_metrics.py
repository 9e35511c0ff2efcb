"""Metrics: read from the view and from call records, without a number in any label."""

from typing import Any

import pytest

from sipctl.call.events import Answered, Attempt
from sipctl.telemetry.cdr import CallJoiner
from sipctl.telemetry.metrics import Metrics, cause_class
from tests.telemetry.test_cdr import attempt, ended, facts

STATUS: dict[str, Any] = {
    "revision": 812, "folder_differs": False, "age_s": 0.4, "automation": "on",
    "routers": [{"name": "r1", "revision": 812, "term": 4, "seq": 97, "pid": 4711}],
    "groups": {"acme": {"state": "on-bcp", "active": "bcp", "bcp_percent": 100, "epoch": 7, "reason": "…", "held": "bcp",
                        "pinned": None, "latched": None, "frozen": None}},
    "sbcs": {"fra-a": {"operating": "out-of-service", "admin": "draining", "resting_s": 0, "calls": 12, "reason": "…"}},
    "trunks": {"carrier-one": {"calls": 12, "cps": 3, "last_invite": "…", "admin": "enabled"}},
    "tenants": {"acme-prod": {"calls": 12}},
    "calls": {"active": 12}, "alarms": [{"id": "a", "since": "…", "text": "+4930901820"}], "strangers": 2,
}  # fmt: skip
DETAIL: dict[str, Any] = {
    "counters": {"invites": 5, "tcp_connections": 3, "limit_trunk-max-cps": 0, "+4930901820": 1, "bad name\n": 2},
    "probes": {"fra-a": {"rtt_ms": 12.5, "missed": 2}, "fra-b": {"rtt_ms": None, "missed": 0}},
    "routers": [{"name": "r1", "loop_gap_s": 0.3}, {"name": "r2", "loop_gap_s": None}],
    "entry_points": {"acme-sales": {"group": "acme", "numbers": 302, "calls": 12}},
    "strangers": [("203.0.113.77", 5, 1.0)],
}


def metrics(view: dict[str, Any] | None, age_s: float | None = 0.4) -> Metrics:
    return Metrics(lambda: view, lambda: age_s)


def test_a_view_becomes_gauges() -> None:
    text = metrics({"status": STATUS, "detail": DETAIL}).text().decode()
    for line in (
        'sipctl_sbc_operating{sbc="fra-a",state="out-of-service"} 1.0',
        'sipctl_sbc_operating{sbc="fra-a",state="in-service"} 0.0',
        'sipctl_group_state{group="acme",state="on-bcp"} 1.0',
        'sipctl_group_bcp_ratio{group="acme"} 1.0',
        'sipctl_group_held{group="acme"} 1.0',
        'sipctl_drain_calls_remaining{sbc="fra-a"} 12.0',
        'sipctl_router_seq{router="r1"} 97.0',
        'sipctl_trunk_calls_per_second{trunk="carrier-one"} 3.0',
        'sipctl_tenant_calls_active{tenant="acme-prod"} 12.0',
        'sipctl_router_events_total{event="invites"} 5.0',
        'sipctl_router_events_total{event="limit_trunk-max-cps"} 0.0',
        "sipctl_router_tcp_connections 3.0",
        'sipctl_probe_rtt_seconds{sbc="fra-a"} 0.0125',
        'sipctl_probes_missed{sbc="fra-a"} 2.0',
        'sipctl_router_loop_gap_seconds{router="r1"} 0.3',
        'sipctl_entry_point_calls_active{entry_point="acme-sales"} 12.0',
        "sipctl_revision 812.0",
        "sipctl_alarms_active 1.0",
        "sipctl_controller_reachable 1.0",
    ):
        assert line in text.splitlines(), line
    assert 'event="tcp_connections"' not in text, "it is no counter"


def test_call_records_are_counted_by_result_and_tenant() -> None:
    ours = metrics(None, None)
    joiner = CallJoiner()
    for event in (attempt(status=0), Attempt("aa", 2, "acme-bcp", "bcp", "ams", "ams-a", 1.0, 2.0, 200, "answered"),
                  Answered("aa", 5.0, facts(role="bcp")), ended(), ended("bb", answered=False, known=facts("bb"))):  # fmt: skip
        for line in joiner.feed(event, 0.0):
            ours.count_line(line)
    text = ours.text().decode()
    answered = 'sipctl_calls_total{cause_class="normal",group="acme",result="answered",role="bcp",tenant="acme-bcp"} 1.0'
    assert answered in text
    assert 'result="busy"' in text
    assert 'sipctl_call_attempts_total{sbc="fra-a",sip_code="no-reply"} 1.0' in text
    assert 'sipctl_reroutes_total{group="acme",to="bcp"} 1.0' in text
    assert 'sipctl_post_dial_delay_seconds_count{tenant="acme-bcp"} 1.0' in text


def test_no_number_call_id_or_stranger_is_ever_a_label() -> None:
    ours = metrics({"status": STATUS, "detail": DETAIL})
    joiner = CallJoiner()
    for event in (attempt(), Answered("aa", 5.0, facts()), ended()):
        for line in joiner.feed(event, 0.0):
            ours.count_line(line)
    text = ours.text().decode()
    for secret in ("4930901820", "491701234567", "aa@carrier", "203.0.113.77", "bad name"):
        assert secret not in text


def test_without_a_view_the_page_still_answers() -> None:
    text = metrics(None, None).text().decode()
    assert "sipctl_build_info{version=" in text and "_created" not in text
    assert "sipctl_controller_reachable 0.0" in text
    assert "sipctl_revision" not in text


def test_an_old_view_is_shown_with_its_age() -> None:
    text = metrics({"status": STATUS, "detail": DETAIL}, 61.0).text().decode()
    assert "sipctl_controller_reachable 0.0" in text and "sipctl_view_age_seconds 61.0" in text


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        (None, "none"),
        (16, "normal"),
        (17, "normal"),
        (41, "unavailable"),
        (63, "service-unavailable"),
        (102, "protocol"),
        (200, "other"),
    ],
)
def test_causes_fall_into_the_classes_of_q_850(cause: int | None, name: str) -> None:
    assert cause_class(cause) == name
