"""How alarms begin, are taken over by somebody, come back, and end.

An alarm stands while its cause does (`alarms.due_alarms`), and is told when it is raised and when it is over. Who acknowledges
it says who looks after it and why; that holds until it is over, also over a restart of the controller. One that was over and
comes back is raised anew, with no one looking after it. One that is raised FLAP_RAISES times within FLAP_WINDOW_S flaps: it is
told once more, then stands until its cause has been away for FLAP_QUIET_S; what happens in between is counted and not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sipctl.control.world import Ack, Alarm, World

FLAP_WINDOW_S: Final = 600.0
FLAP_RAISES: Final = 4
FLAP_QUIET_S: Final = 300.0
CARRIED_ACK_S: Final = 600.0  # an acknowledgement from before a restart waits so long for its alarm
MAX_REMEMBERED: Final = 10_000  # alarms whose last raises are known; the oldest go first
CRITICAL: Final = "critical"
WARNING: Final = "warning"
INFO: Final = "info"
SEVERITIES: Final = (INFO, WARNING, CRITICAL)
_CRITICAL: Final = frozenset(
    {"no-router", "both-lost", "not-moved", "bug", "break-glass", "router-refused", "write", "desk:audit-chain"}
)
_INFO: Final = frozenset({"node-draining", "overlay-on", "switch-on"})


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the story about an alarm."""

    kind: str  # "alarm" | "alarm-cleared"
    alarm: Alarm
    text: str


def severity_of(identifier: str) -> str:
    """How much an alarm matters, by what its id begins with."""
    parts = identifier.split(":")
    names = {parts[0], ":".join(parts[:2])}
    return CRITICAL if names & _CRITICAL else INFO if names & _INFO else WARNING


def turned(world: World, due: Mapping[str, str], now_s: float, unix_s: float) -> tuple[World, tuple[Told, ...]]:
    """The alarms under what is due now (id → sentence), and what there is to tell."""
    alarms = world.alarms
    if (
        due.keys() == alarms.keys()
        and all(alarms[name].text == text and alarms[name].away_s is None for name, text in due.items())
        and not any(ack.carried for ack in world.acks.values())
    ):
        return world, ()
    told: list[Told] = []
    past, acks = dict(world.raised_lately), dict(world.acks)
    after: dict[str, Alarm] = {}
    for name, text in due.items():
        known = alarms.get(name)
        if known is None:
            after[name] = _raised(name, text, past, acks, now_s, unix_s, told)
        else:
            after[name] = replace(known, text=text, away_s=None, raises=known.raises + (known.away_s is not None))
    for name, alarm in alarms.items():
        if name in due:
            continue
        if alarm.is_flapping and (alarm.away_s is None or now_s - alarm.away_s < FLAP_QUIET_S):
            after[name] = alarm if alarm.away_s is not None else replace(alarm, away_s=now_s)
            continue
        acks.pop(name, None)
        often = f", after it was raised {alarm.raises} times" if alarm.is_flapping else ""
        told.append(Told("alarm-cleared", alarm, f"over: {alarm.text}{often}"))
    waiting = {name: _waiting(ack, name in after, now_s) for name, ack in acks.items()}
    acks = {name: ack for name, ack in waiting.items() if ack is not None}
    past = {name: times for name, times in past.items() if now_s - times[-1] < FLAP_WINDOW_S}
    while len(past) > MAX_REMEMBERED:
        del past[next(iter(past))]
    if after == dict(alarms) and acks == dict(world.acks):
        return world, ()
    kept = world.acks if acks == dict(world.acks) else acks
    return replace(world, alarms=after, acks=kept, raised_lately=past), tuple(told)


def acknowledged(world: World, name: str, actor: str, reason: str, unix_s: float) -> World:
    """Somebody looks after an alarm that stands."""
    alarm = world.alarms[name]
    ack = Ack(actor, reason, unix_s, alarm.since_unix_s)
    return replace(
        world,
        acks={**world.acks, name: ack},
        alarms={**world.alarms, name: replace(alarm, acked_by=actor, acked_reason=reason, acked_unix_s=unix_s)},
    )


def shown(alarm: Alarm, rfc3339: Callable[[float], str]) -> dict[str, Any]:
    """An alarm in the status."""
    state = "flapping" if alarm.is_flapping else "acknowledged" if alarm.acked_by else "raised"
    return {
        "id": alarm.id, "since": rfc3339(alarm.since_unix_s), "text": alarm.text, "severity": severity_of(alarm.id),
        "state": state, "raises": alarm.raises, "acked_by": alarm.acked_by or None, "acked_reason": alarm.acked_reason or None,
        "acked_at": rfc3339(alarm.acked_unix_s) if alarm.acked_by else None,
    }  # fmt: skip


def written(acks: Mapping[str, Ack]) -> dict[str, Any]:
    """The acknowledgements as plain data."""
    return {name: [ack.by, ack.reason, ack.at_unix_s, ack.since_unix_s] for name, ack in acks.items()}


def read(plain: Mapping[str, Any]) -> dict[str, Ack]:
    """Those of before a restart. Raises: ValueError if they are none."""
    found: dict[str, Ack] = {}
    for name, one in plain.items():
        if not isinstance(one, list | tuple) or len(one) != 4:
            raise ValueError(f"the acknowledgement of {name} is damaged")
        found[name] = Ack(str(one[0]), str(one[1]), float(one[2]), float(one[3]), carried=True)
    return found


def _raised(
    name: str,
    text: str,
    past: dict[str, tuple[float, ...]],
    acks: dict[str, Ack],
    now_s: float,
    unix_s: float,
    told: list[Told],
) -> Alarm:
    times = (*(at_s for at_s in past.pop(name, ()) if now_s - at_s < FLAP_WINDOW_S), now_s)[-FLAP_RAISES:]
    past[name] = times
    is_flapping = len(times) >= FLAP_RAISES
    ack = acks.get(name)
    alarm = Alarm(name, unix_s, text, raises=len(times), is_flapping=is_flapping)
    if ack is not None:  # from before a restart: it stood all the time
        acks[name] = replace(ack, carried=False)
        alarm = replace(
            alarm, since_unix_s=ack.since_unix_s, acked_by=ack.by, acked_reason=ack.reason, acked_unix_s=ack.at_unix_s
        )
    more = f"; raised {len(times)} times within {FLAP_WINDOW_S / 60:g} minutes, so it stands until it was away for "
    told.append(Told("alarm", alarm, text + (f"{more}{FLAP_QUIET_S / 60:g}" if is_flapping else "")))
    return alarm


def _waiting(ack: Ack, stands: bool, now_s: float) -> Ack | None:
    """An acknowledgement from before a restart, while its alarm has not come back; None: it does not come any more."""
    if stands or not ack.carried:
        return ack
    if ack.waits_s is None:
        return replace(ack, waits_s=now_s)
    return ack if now_s - ack.waits_s < CARRIED_ACK_S else None
