"""What is told, to whom, how often it is tried; and what a URL may not lead to."""

from ipaddress import ip_network
from typing import Any

import pytest

from sipctl.telemetry.alert_config import MAX_WEBHOOKS, AlertsConfigError, Webhook, read_config
from sipctl.telemetry.alert_targets import Targets, check_host, checked, place_of, why_not
from sipctl.telemetry.alerts import (
    CLEAR_HOLD_S,
    FAILING_AFTER,
    MAX_AGE_S,
    MAX_BACKOFF_S,
    MAX_QUEUED,
    MAX_TRIES,
    MAX_TRIES_REFUSED,
    AlarmWatch,
    Alert,
    Outbox,
    a_test,
    of_notice,
    wants,
)

CONFIG = """
webhooks:
  oncall:
    url: https://hooks.example.net:8443/sipctl?team=voice
    secret_file: /etc/sipctl/oncall.secret
    events: [alarm, decision]
    severity: warning
  lab: {url: "http://10.1.2.3/x", secret_env: SIPCTL_LAB}
targets:
  hosts: [hooks.example.net, 10.1.2.3, "*.pager.example"]
  networks: 10.1.2.0/24
"""
LOST = {
    "id": "sbc-lost:fra-a",
    "since": "2026-11-22T10:00:00Z",
    "text": "SBC fra-a is out, +4930901820 rang",
    "severity": "warning",
}


def an_alert(number: int = 1, **more: Any) -> Alert:
    return Alert(f"alert-{number}", more.pop("type", "alarm.raised"), 5.0, "x", **more)


def a_webhook(**more: Any) -> Webhook:
    return Webhook("oncall", place_of("https://hooks.example.net/x"), secret_env="S", **more)


# -- the file ------------------------------------------------------------------------------------------------------------------


def test_the_file_says_who_is_told_of_what_and_where_alerts_may_go() -> None:
    config = read_config(CONFIG.encode())
    oncall, lab = config.webhooks
    assert (oncall.name, oncall.place.host, oncall.place.port, oncall.place.is_tls) == ("oncall", "hooks.example.net", 8443, True)
    assert (oncall.events, oncall.severity, oncall.secret_file) == (("alarm", "decision"), "warning", "/etc/sipctl/oncall.secret")
    assert (lab.events, lab.severity, lab.secret_env) == (("alarm",), "info", "SIPCTL_LAB")
    assert config.targets.networks == (ip_network("10.1.2.0/24"),)
    assert config.targets.allows_host("a.pager.example") and not config.targets.allows_host("pager.example")
    assert not config.targets.allows_host("evil-pager.example")
    assert read_config(b"").webhooks == ()


@pytest.mark.parametrize(
    ("swap", "place", "words"),
    [
        (("url: https", "uri: https"), "4:5", "no such key here: uri"),
        (("https://hooks.example.net:8443", "https://elsewhere.example"), "4:10", "elsewhere.example is not among targets.hosts"),
        (("https://hooks.example.net:8443", "https://user@hooks.example.net"), "4:10", "names a user"),
        (("https://hooks.example.net:8443", "ftp://hooks.example.net"), "4:10", "must begin with https://"),
        (("secret_file: /etc", "secret_file: etc"), "5:18", "a whole path"),
        (("    secret_file: /etc/sipctl/oncall.secret\n", ""), "4:5", "needs secret_file or secret_env"),
        (("secret_env: SIPCTL_LAB", "secret_env: lab"), "8:47", "no name of an environment variable"),
        (("[alarm, decision]", "[alarm, decisions]"), "6:21", "'decisions' is none of alarm, decision"),
        (("severity: warning", "severity: bad"), "7:15", "'bad' is none of info"),
        (("networks: 10.1.2.0/24", "networks: 10.1.2.1/24"), "11:13", "has host bits set"),
        (("  networks: 10.1.2.0/24\n", ""), "8:14", "without TLS the host must be in one of targets.networks"),
        (("hosts: [hooks", "hosts: [2130706433, hooks"), "10:11", "hosts:"),
        (("  oncall:", "  On Call:"), "3:3", "is no name"),
        (("webhooks:", "webhooks: &a"), "2:11", "anchor"),
        (("targets:", "extra: {}\ntargets:"), "9:1", "no such key here: extra"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_place(swap: tuple[str, str], place: str, words: str) -> None:
    assert swap[0] in CONFIG
    with pytest.raises(AlertsConfigError) as caught:
        read_config(CONFIG.replace(*swap, 1).encode())
    found = [str(one) for one in caught.value.findings]
    assert any(one.startswith(f"alerts.yaml:{place}:") and words in one for one in found), found
    assert not any("team=voice" in one for one in found), "a URL may be a secret"


def test_more_webhooks_than_there_may_be_are_refused() -> None:
    many = "".join(f"  w{number}: {{url: 'https://hooks.example.net/', secret_env: S}}\n" for number in range(MAX_WEBHOOKS + 1))
    with pytest.raises(AlertsConfigError, match=f"{MAX_WEBHOOKS} is the most"):
        read_config(f"webhooks:\n{many}targets: {{hosts: hooks.example.net}}\n".encode())


# -- where they may go ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.net@127.0.0.1/", "https://hooks.example.net\\@127.0.0.1/", "https://127.1/", "https://0x7f000001/",
        "https://2130706433/", "https://0177.0.0.1/", "https://127.0.0.1.:99999/", "https:///x", "//hooks.example.net/", "https://a:/",
        "https://hooks.example.net/#x", "https://hooks.example.net:0/", "https://ho\u00f6ks.example.net/", "https://[::1", "file:///etc",
        "https://[fe80::1%25eth0]/", "https://hooks..example.net/", "https://hooks.example.net/ x", "gopher://hooks.example.net/",
        "https://" + "a" * 3000,
    ],
)  # fmt: skip
def test_urls_that_say_more_than_one_thing_are_no_urls(url: str) -> None:
    with pytest.raises(ValueError):
        place_of(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "168.63.129.16", "100.100.100.200", "::1", "::",
        "fe80::1",
        "fd00:ec2::254", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1", "2001:0:7f00:1::1", "not an address",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_public_internet_are_refused_in_every_disguise(address: str) -> None:
    assert why_not(address, Targets(("x",)))


def test_public_addresses_and_listed_networks_may_be_connected_to() -> None:
    assert why_not("93.184.215.14", Targets()) == "" and why_not("2606:2800:21f::1", Targets()) == ""
    listed = Targets(networks=(ip_network("10.1.2.0/24"), ip_network("fd12::/64")))
    assert why_not("10.1.2.9", listed) == "" and why_not("fd12::9", listed) == ""
    assert why_not("10.1.3.9", listed) and why_not("127.0.0.1", listed) and why_not("::ffff:10.1.3.9", listed)


def test_one_forbidden_address_among_good_ones_refuses_the_name() -> None:
    targets = Targets(("hooks.example.net",))
    place = place_of("https://hooks.example.net/")
    assert checked(["93.184.215.14"], place, targets) == ("93.184.215.14",)
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 is loopback"):
        checked(["93.184.215.14", "127.0.0.1"], place, targets)
    with pytest.raises(ValueError, match="has no address"):
        checked([], place, targets)
    with pytest.raises(ValueError, match="not among the listed hosts"):
        check_host(place_of("https://example.net/"), targets)
    with pytest.raises(ValueError, match="without TLS"):
        checked(["93.184.215.14"], place_of("http://hooks.example.net/"), targets)


# -- what is told --------------------------------------------------------------------------------------------------------------


def test_an_alarm_is_told_once_taken_over_and_over_after_a_while() -> None:
    watch = AlarmWatch()
    (raised,) = watch.turn([LOST], 10.0, 1000.0)
    assert (raised.type, raised.subject, raised.severity) == ("alarm.raised", "sbc-lost:fra-a", "warning")
    assert "+4930901820" not in raised.text
    assert watch.turn([LOST], 11.0, 1001.0) == []
    acked = {**LOST, "acked_by": "ops-1", "acked_reason": "vendor called"}
    (taken,) = watch.turn([acked], 12.0, 1002.0)
    assert taken.type == "alarm.acknowledged" and taken.fields["acked_reason"] == "vendor called"
    assert watch.turn([acked], 13.0, 1003.0) == []
    assert watch.turn([], 20.0, 1010.0) == [] and watch.turn([], 20.0 + CLEAR_HOLD_S - 1, 1019.0) == []
    (cleared,) = watch.turn([], 20.0 + CLEAR_HOLD_S, 1020.0)
    assert (cleared.type, cleared.fields["state"]) == ("alarm.cleared", "over")
    assert len({raised.id, taken.id, cleared.id}) == 3


def test_an_alarm_that_a_new_controller_takes_a_moment_to_see_again_is_not_told_twice() -> None:
    watch = AlarmWatch()
    watch.turn([LOST], 10.0, 1000.0)
    assert watch.turn([], 11.0, 1001.0) == []
    assert watch.turn([{**LOST, "since": "2026-11-22T10:05:00Z"}], 15.0, 1005.0) == []


def test_what_was_told_by_the_desk_before_is_not_told_again() -> None:
    watch = AlarmWatch()
    (first,) = watch.turn([LOST], 10.0, 1000.0)
    assert AlarmWatch(watch.told).turn([LOST], 3.0, 1100.0) == []
    (again,) = AlarmWatch().turn([LOST], 3.0, 1100.0)
    assert again.id == first.id, "and if that was lost, receivers know it by its id"


def test_a_webhook_hears_what_it_asked_for_and_never_of_its_own_failure() -> None:
    assert wants(a_webhook(), an_alert(severity="critical")) and wants(
        a_webhook(severity="critical"), an_alert(severity="critical")
    )
    assert not wants(a_webhook(severity="critical"), an_alert(severity="warning"))
    assert not wants(a_webhook(), an_alert(type="decision")) and wants(a_webhook(events=("decision",)), an_alert(type="decision"))
    assert not wants(a_webhook(), an_alert(subject="desk:webhook:oncall", severity="critical"))
    assert wants(a_webhook(), an_alert(subject="desk:webhook:other"))


def test_lines_of_the_story_are_alerts_with_masked_numbers_and_alarms_are_not_told_twice() -> None:
    alert = of_notice("decision", "acme: +4930901820\n moved", 5.0, {"group": "acme", "called": "+4930901820"})
    assert alert is not None and "\n" not in alert.text and "0901820" not in alert.text + str(alert.fields)
    assert of_notice("alarm", "x", 5.0, {}) is None and of_notice("router", "x", 5.0, {}) is None
    assert a_test("ops-1", 5.0, "a").id != a_test("ops-1", 5.0, "b").id


# -- the queue of one webhook --------------------------------------------------------------------------------------------------


def test_alerts_wait_in_order_and_are_tried_again_with_growing_pauses() -> None:
    box = Outbox("oncall")
    box.put(an_alert(1), 0.0, 1000.0)
    box.put(an_alert(2), 0.0, 1000.0)
    one = box.due(0.0)
    assert one is not None and one.alert.id == "alert-1"
    assert not box.failed(one, "no answer", 0.0, 1000.0, jitter=0.5)
    assert box.due(0.9) is None, "the second waits behind the first"
    assert box.wait_s(0.5, 60.0) == 0.5
    waits = []
    for _ in range(12):
        now_s = one.due_s
        box.failed(one, "no answer", now_s, 1000.0, jitter=0.5)
        waits.append(one.due_s - now_s)
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0] and max(waits) == MAX_BACKOFF_S
    assert box.is_failing and box.failures == 13
    box.sent(one, 1001.0)
    assert (box.failures, box.is_failing, box.delivered) == (0, False, 1)
    two = box.due(0.0)
    assert two is not None and two.alert.id == "alert-2"


def test_tries_end_by_count_by_age_and_sooner_when_refused() -> None:
    for refused, tries in ((False, MAX_TRIES), (True, MAX_TRIES_REFUSED)):
        box = Outbox("oncall")
        box.put(an_alert(), 0.0, 1000.0)
        ended = [box.failed(box.waiting[0], "no", 0.0, 1000.0, jitter=0.0, refused=refused) for _ in range(tries)]
        assert ended == [False] * (tries - 1) + [True] and (box.given_up, len(box.waiting)) == (1, 0)
    box = Outbox("oncall")
    box.put(an_alert(), 0.0, 1000.0)
    assert box.failed(box.waiting[0], "no", 0.0, 1000.0 + MAX_AGE_S, jitter=0.0)


def test_a_receivers_wish_to_be_left_alone_is_heard_within_bounds() -> None:
    box = Outbox("oncall")
    box.put(an_alert(), 0.0, 1000.0)
    box.failed(box.waiting[0], "429", 0.0, 1000.0, jitter=0.0, retry_after_s=60.0)
    assert box.waiting[0].due_s == 60.0
    box.failed(box.waiting[0], "429", 100.0, 1000.0, jitter=0.0, retry_after_s=9999.0)
    assert box.waiting[0].due_s == 100.0 + MAX_BACKOFF_S


def test_a_full_queue_loses_the_oldest_and_counts_them() -> None:
    box = Outbox("oncall")
    box.put(an_alert(0), 0.0, 1000.0)
    first = box.waiting[0]
    for number in range(1, MAX_QUEUED + 3):
        box.put(an_alert(number), 0.0, 1000.0)
    assert (len(box.waiting), box.dropped, box.waiting[0].alert.id) == (MAX_QUEUED, 3, "alert-3")
    box.sent(first, 1001.0)
    assert box.waiting[0].alert.id == "alert-3", "what was under way when it fell out is not taken for another"
    assert FAILING_AFTER > 1
