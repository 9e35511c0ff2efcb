"""Alerts: what is worth telling somebody outside, in which order, how often it is tried, and what is remembered over a restart.

Alarms are told by their level: what a view shows is compared with what was told before, so nothing is lost while the desk is away
and nothing is told twice. An alarm that is gone is told to be over once it was gone for CLEAR_HOLD_S: a controller that begins
anew does not know all at once. Each alert has an id that is the same whenever the same thing is told, so receivers can tell
repeats; delivery is at least once and in order, per webhook. Nothing here waits or sends: `api/alerts.py` does.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sipctl.telemetry.alert_config import SEVERITIES, Webhook
from sipctl.telemetry.mask import mask_text, masked, spell_out

CLEAR_HOLD_S: Final = 10.0
MAX_QUEUED: Final = 500  # alerts that wait for one webhook; the oldest go first, counted
MAX_TOLD: Final = 10_000  # alarms
MAX_TRIES: Final = 20
MAX_TRIES_REFUSED: Final = 3  # if the receiver says that it is our fault
MAX_AGE_S: Final = 86_400.0
FIRST_BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 300.0
FAILING_AFTER: Final = 3  # failures in a row that make an alarm
ALARM_PREFIX: Final = "desk:webhook:"  # of the alarm about a webhook, with its name
NOTICE_EVENTS: Final = frozenset({"decision", "overlay", "switch", "plan", "operator"})


class Alert(msgspec.Struct, frozen=True):
    """One thing to tell."""

    id: str
    type: str  # "alarm.raised" | "alarm.acknowledged" | "alarm.cleared" | "decision" | … | "test"
    at_unix_s: float
    text: str
    severity: str = "info"
    subject: str = ""  # of an alarm: its id
    fields: Mapping[str, Any] = {}

    @property
    def event(self) -> str:
        return self.type.partition(".")[0]


class Told(msgspec.Struct):
    """An alarm that was told and is not over."""

    since: str
    text: str
    severity: str = "warning"
    acked_by: str = ""
    gone_s: float | None = None  # monotonic: since when no view shows it; not kept over a restart


class Waiting(msgspec.Struct):
    """An alert on its way to one webhook."""

    alert: Alert
    first_unix_s: float
    tries: int = 0
    due_s: float = 0.0  # monotonic; not kept over a restart


class AlarmWatch:
    """Which alarms were told."""

    def __init__(self, told: Mapping[str, Told] | None = None) -> None:
        self.told: dict[str, Told] = dict(told or {})

    def turn(self, alarms: Iterable[Mapping[str, Any]], now_s: float, unix_s: float) -> list[Alert]:
        """What is new in the alarms of a view of a living controller."""
        found: list[Alert] = []
        standing = {str(one.get("id")): one for one in alarms}
        for name, one in standing.items():
            known = self.told.get(name)
            if known is None:
                if len(self.told) >= MAX_TOLD:
                    continue
                severity = str(one.get("severity") or "warning")
                known = self.told[name] = Told(str(one.get("since")), str(one.get("text")), severity)
                found.append(_of_alarm("raised", name, known, one, unix_s))
            known.gone_s, known.text = None, str(one.get("text"))
            acked_by = str(one.get("acked_by") or "")
            if acked_by != known.acked_by:
                known.acked_by = acked_by
                if acked_by:
                    found.append(_of_alarm("acknowledged", name, known, one, unix_s))
        for name in [name for name in self.told if name not in standing]:
            known = self.told[name]
            if known.gone_s is None:
                known.gone_s = now_s
            elif now_s - known.gone_s >= CLEAR_HOLD_S:
                del self.told[name]
                found.append(_of_alarm("cleared", name, known, {}, unix_s))
        return found


@dataclass(slots=True)
class Outbox:
    """What waits for one webhook, and how that goes."""

    name: str
    waiting: deque[Waiting] = field(default_factory=deque)
    failures: int = 0  # in a row
    delivered: int = 0
    dropped: int = 0  # the queue was full
    given_up: int = 0  # tried too often or for too long
    last_error: str = ""
    last_ok_unix_s: float | None = None

    def put(self, alert: Alert, now_s: float, unix_s: float) -> None:
        if len(self.waiting) >= MAX_QUEUED:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append(Waiting(alert, unix_s, due_s=now_s))

    def due(self, now_s: float) -> Waiting | None:
        """The next one, if its time has come; the others wait behind it."""
        return self.waiting[0] if self.waiting and self.waiting[0].due_s <= now_s else None

    def wait_s(self, now_s: float, most_s: float) -> float:
        """How long there is nothing to do."""
        return min(most_s, max(0.0, self.waiting[0].due_s - now_s)) if self.waiting else most_s

    def sent(self, one: Waiting, unix_s: float) -> None:
        self._leave(one)
        self.failures, self.last_error, self.last_ok_unix_s = 0, "", unix_s
        self.delivered += 1

    def failed(
        self,
        one: Waiting,
        why: str,
        now_s: float,
        unix_s: float,
        *,
        jitter: float,
        refused: bool = False,
        retry_after_s: float = 0.0,
    ) -> bool:
        """It did not arrive; True if it is given up.

        Args:
            jitter: from 0 to 1; refused: the receiver says it will never take it; retry_after_s: its own wish.
        """
        self.failures += 1
        self.last_error = why
        one.tries += 1
        if one.tries >= (MAX_TRIES_REFUSED if refused else MAX_TRIES) or unix_s - one.first_unix_s >= MAX_AGE_S:
            self._leave(one)
            self.given_up += 1
            return True
        wait_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (one.tries - 1)) * (0.5 + jitter)
        one.due_s = now_s + max(wait_s, min(retry_after_s, MAX_BACKOFF_S))
        return False

    @property
    def is_failing(self) -> bool:
        return self.failures >= FAILING_AFTER

    def _leave(self, one: Waiting) -> None:
        if self.waiting and self.waiting[0] is one:  # else the queue overflowed meanwhile
            self.waiting.popleft()


class Kept(msgspec.Struct):
    """What a desk leaves to the next one."""

    told: dict[str, Told] = {}
    queues: dict[str, list[Waiting]] = {}


def wants(webhook: Webhook, alert: Alert) -> bool:
    """Is this webhook told of this alert? Of its own failure it is not."""
    if alert.subject == f"{ALARM_PREFIX}{webhook.name}" or alert.event not in webhook.events:
        return False
    return alert.event != "alarm" or SEVERITIES.index(alert.severity) >= SEVERITIES.index(webhook.severity)


def of_notice(kind: str, text: str, at_unix_s: float, fields: Mapping[str, Any]) -> Alert | None:
    """The alert a line of the story makes; None if it makes none. Alarms are told by their level instead."""
    if kind not in NOTICE_EVENTS:
        return None
    told = {str(key): masked(str(key), value) for key, value in fields.items()}
    return Alert(_id(kind, text, repr(at_unix_s)), kind, at_unix_s, spell_out(mask_text(text)), fields=told)


def a_test(actor: str, unix_s: float, nonce: str) -> Alert:
    return Alert(_id("test", nonce), "test", unix_s, f"{actor} sends a test: nothing happened")


def _of_alarm(what: str, name: str, known: Told, one: Mapping[str, Any], unix_s: float) -> Alert:
    severity = known.severity if known.severity in SEVERITIES else "warning"
    text = {"raised": "", "acknowledged": f"{known.acked_by} looks after it: ", "cleared": "over: "}[what] + known.text
    state = "over" if what == "cleared" else what
    fields = {
        "alarm": name, "since": known.since, "state": state,
        "raises": one.get("raises", 1), "acked_by": known.acked_by or None, "acked_reason": one.get("acked_reason"),
    }  # fmt: skip
    told = {key: masked(key, value) for key, value in fields.items()}
    return Alert(
        _id(what, name, known.since, known.acked_by if what == "acknowledged" else ""), f"alarm.{what}", unix_s,
        spell_out(mask_text(text)), severity, name, told,
    )  # fmt: skip


def _id(*parts: str) -> str:
    return f"alert-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]}"
