"""What one real call leaves behind: its lines in the call records field by field, its counts, and no number in log or metrics."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from tests.real.test_calls import running_with, the_sbcs
from tests.support.configs import CARRIER, NUMBER, OUTSIDE, PRIMARY_SBCS, STRANGER, a_plan
from tests.support.mute import Mute
from tests.support.processes import SIP_PORT, Net, Processes, wait_until
from tests.support.product import Product
from tests.support.sipp import start_carrier, start_refusing_sbc

A, B = PRIMARY_SBCS
HOLD_MS = 700
CALLING = "+493012341"  # of SIPp's first call
WHO = {
    "node": "local", "trunk": "carrier", "entry_point": "acme-sales", "group": "acme", "dialled": NUMBER, "called": NUMBER,
    "calling": CALLING, "pai": CALLING, "tenant": "acme-prod", "role": "primary", "pair": "fra",
}  # fmt: skip


def one_call_that_advances(net: Net, group: Processes) -> Product:
    """fra-a refuses and asks for a pause, fra-b answers, the caller hangs up."""
    start_refusing_sbc(group, net[A], 503, "Service Unavailable", ["Retry-After: 30"])
    the_sbcs(group, net, B)
    product = running_with(group, a_plan(net), A, B)
    start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, hold_ms=HOLD_MS).succeed(1, 15)
    wait_until(lambda: len(records(product)) == 3, 10, "two attempt lines and one call line")
    return product


def records(product: Product) -> list[dict[str, Any]]:
    files = sorted((product.state / "cdr").glob("????-??-??.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def unix_ms(text: str) -> int:
    """An instant of a record: RFC 3339, UTC, milliseconds."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_call_that_advances_is_told_field_by_field(net: Net, group: Processes) -> None:
    before_ms = round(datetime.now(UTC).timestamp() * 1000)
    first, second, call = records(one_call_that_advances(net, group))
    after_ms = round(datetime.now(UTC).timestamp() * 1000)
    who = {**WHO, "call": call["call"], "call_id": call["call_id"]}
    assert re.fullmatch(r"[0-9a-f]{16}", call["call"]) and call["call_id"].endswith(f"@{net[CARRIER]}")

    times = {"start", "start_epoch_ms", "end", "duration_ms"}
    assert {key: value for key, value in first.items() if key not in times} == {
        "type": "attempt", **who, "sbc": "fra-a", "attempt_no": 1, "sip_code": 503, "outcome": "refused", "retry_after_s": 30.0,
    }  # fmt: skip
    assert {key: value for key, value in second.items() if key not in times} == {
        "type": "attempt", **who, "sbc": "fra-b", "attempt_no": 2, "sip_code": 200, "outcome": "answered", "retry_after_s": None,
    }  # fmt: skip
    times |= {"ring", "answer", "pdd_ms", "ring_ms"}
    assert {key: value for key, value in call.items() if key not in times} == {
        "type": "call", **who, "sbc": "fra-b", "attempts": 2, "rule": "exact number", "reason": "as planned", "revision": 1,
        "failover": False, "answered": True, "sip_code": 200, "sip_reason": "", "q850_cause": 16, "released_by": "caller",
    }  # fmt: skip

    start, ring, answer, end = (unix_ms(call[key]) for key in ("start", "ring", "answer", "end"))
    assert before_ms <= start <= unix_ms(first["start"]) <= unix_ms(first["end"]) <= unix_ms(second["start"]) <= ring
    assert ring <= answer <= unix_ms(second["end"]) + 1 and answer <= end <= after_ms
    for line in (first, second, call):
        assert line["start_epoch_ms"] == unix_ms(line["start"])
    for told, began, ended in (
        (first["duration_ms"], unix_ms(first["start"]), unix_ms(first["end"])),
        (second["duration_ms"], unix_ms(second["start"]), unix_ms(second["end"])),
        (call["pdd_ms"], start, ring), (call["ring_ms"], ring, answer), (call["duration_ms"], answer, end),
    ):  # fmt: skip
        assert abs(told - (ended - began)) <= 1, "each is rounded by itself"
    assert HOLD_MS <= call["duration_ms"] < HOLD_MS + 1000


def test_metrics_count_a_call_and_name_no_number_and_no_call(net: Net, group: Processes) -> None:
    product = one_call_that_advances(net, group)
    with Mute(net[STRANGER]) as stranger:
        stranger.send(b"OPTIONS sip:x SIP/2.0\r\n\r\n", (net[OUTSIDE], SIP_PORT))
        wait_until(lambda: sample(product, 'sipctl_router_events_total{event="strangers"}') == 1, 5, "the stranger is counted")
    for series, value in (
        ('sipctl_calls_total{cause_class="normal",group="acme",result="answered",role="primary",tenant="acme-prod"}', 1),
        ('sipctl_call_attempts_total{sbc="fra-a",sip_code="503"}', 1),
        ('sipctl_call_attempts_total{sbc="fra-b",sip_code="200"}', 1),
        ('sipctl_post_dial_delay_seconds_count{tenant="acme-prod"}', 1),
        ('sipctl_router_events_total{event="answered"}', 1),
        ('sipctl_router_events_total{event="attempts"}', 2),
        ('sipctl_router_events_total{event="ended_caller"}', 1),
        ('sipctl_router_events_total{event="retransmissions"}', 0),
        ('sipctl_router_events_total{event="late_answers_ended"}', 0),
        ('sipctl_router_events_total{event="responses_forged"}', 0),
        ('sipctl_router_events_total{event="in_dialog_unknown"}', 0),
        ('sipctl_router_events_total{event="limit_trunk-max-cps"}', 0),
        ('sipctl_router_events_total{event="shed"}', 0),
        ("sipctl_calls_active", 0),
        ("sipctl_controller_reachable", 1),
    ):
        assert sample(product, series) == value, series
    assert 0 < (sample(product, 'sipctl_sbc_resting_seconds{sbc="fra-a"}') or 0) <= 30
    text = str(product.get("/metrics").body)
    for secret in (NUMBER[1:], CALLING[1:], records(product)[0]["call_id"], net[CARRIER], net[STRANGER]):
        assert secret not in text


def test_no_number_stands_in_a_log_whole(net: Net, group: Processes) -> None:
    product = one_call_that_advances(net, group)
    product.failover("acme", "primary", f"{CALLING} cannot reach {NUMBER}")
    logs = product.state / "log"
    wait_until(lambda: "cannot reach" in (logs / "sipctl.jsonl").read_text(), 5, "the reason is logged")
    text = "".join(path.read_text() for path in logs.iterdir())
    assert "+******341 cannot reach +******1820" in text
    for number in (NUMBER, CALLING):
        assert number[1:] not in text
    for line in (logs / "sipctl.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert entry["event"] and unix_ms(entry["at"])
    assert {path.stat().st_mode & 0o077 for path in (*logs.iterdir(), *(product.state / "cdr").iterdir())} == {0}


def sample(product: Product, series: str) -> float | None:
    """The value of one series; None if it is not there."""
    for line in str(product.get("/metrics").body).splitlines():
        name, _, value = line.rpartition(" ")
        if name == series:
            return float(value)
    return None
