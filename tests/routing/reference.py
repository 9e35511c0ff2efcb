"""A slow, obvious judge of calls: reads the plan as it is written, not as it is compiled, and walks it rule by rule.

`plans()` draws whole plans in a small number space (+491 and three digits), with every kind of rule, and a question each.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

Answer = tuple[
    Any, ...
]  # ("route", entry point, tenant, what is dialled, SBCs, why it was sent on) or ("refused", status, cause)

TENANTS = ("t0", "t1", "t2", "t3")
MAX_EDGES = 40  # asked of one plan
ENTRIES = ("e0", "e1", "e2", "e3")
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass
class Scene:
    """A plan, a state and a call."""

    edge: dict[str, Any]
    plan: dict[str, Any]
    out: set[str] = field(default_factory=set)  # SBCs out of service
    draining: set[str] = field(default_factory=set)  # tenants
    overlays: list[str] = field(default_factory=list)
    switches: list[str] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    trunk: str = "one"
    number: str = ""
    caller: str = ""
    unix_s: int = 0

    def files(self) -> dict[str, bytes]:
        return {"sbc_configs/a.yaml": json.dumps(self.edge).encode(), "dialplans/a.yaml": json.dumps(self.plan).encode()}


# -- drawing ---------------------------------------------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn) -> Scene:
    """A scene whose plan is sound."""
    pairs = ("p0", "p1", "p2", "p3", "ann", "out")
    sbcs = {
        pair: {
            f"{pair}{which}": {"uri": f"sip:10.{at}.0.{number}", "priority": str(number)}
            for number, which in ((1, "a"), (2, "b"))
        }
        for at, pair in enumerate(pairs)
    }
    tenants: dict[str, Any] = {tenant: {"reached_by": [f"p{at}"]} for at, tenant in enumerate(TENANTS)}
    for tenant in draw(st.lists(st.sampled_from(TENANTS), min_size=1, max_size=4, unique=True)):
        tenants[tenant]["max_calls"] = "1"
    edge = {
        "listen": {"all": {"bind": "udp:192.0.2.9:5060"}},
        "trunks": {"one": {"sources": ["198.51.100.1"]}, "two": {"sources": ["198.51.100.2"]}},
        "sbc_pairs": {pair: {"sbcs": members} for pair, members in sbcs.items()},
        "tenants": tenants,
    }
    plan: dict[str, Any] = {
        "continuity_groups": {
            "g0": {"primary": "t0", "bcp": "t1", "failover": "automatic"},
            "g1": {"primary": "t2", "bcp": "t3", "failover": "automatic", "advance_across": "never"},
        },
        "schedules": {f"s{at}": draw(_schedules()) for at in range(2)},
        "exits": {"pstn": {"sbc_pair": "out", "allow": ["+44."], "max_calls": "1"}},
        "entry_points": {name: draw(_entries(at)) for at, name in enumerate(ENTRIES)},
        "overlays": {name: {"entry_points": draw(_overlays())} for name in ("o0", "o1")},
        "switches": {name: draw(_switches()) for name in ("k0", "k1")},
    }
    _spread_numbers(draw, plan["entry_points"])
    digits = draw(st.integers(0, 999))
    singles = [f"p{at}{which}" for at in range(4) for which in "ab"]
    start = int(datetime(2026, 3, 27, tzinfo=UTC).timestamp())  # the weekend Europe changes its clocks
    return Scene(
        edge=edge,
        plan=plan,
        out={f"p{at}{which}" for at in draw(st.sets(st.integers(0, 3))) for which in "ab"}
        | draw(st.sets(st.sampled_from(singles))),
        draining=set(draw(st.lists(st.sampled_from(TENANTS), max_size=2))),
        overlays=draw(st.sampled_from([[], [], ["o0"], ["o1"], ["o0", "o1"]])),
        switches=draw(st.sampled_from([[], ["k0"], ["k1"], ["k0", "k1"]])),
        calls=dict.fromkeys(sorted(draw(st.sets(st.sampled_from([*ENTRIES, *TENANTS, "exit:pstn"]), min_size=3))), 1),
        trunk=draw(st.sampled_from(["one", "two"])),
        number=f"+491{digits:03}",
        caller=draw(st.sampled_from(["+4917012345", "+4917012346", "+4917012347", "+33100"])),
        unix_s=start + draw(st.integers(0, 5 * 24 * 60)) * 60,
    )


@st.composite
def _schedules(draw: st.DrawFn) -> dict[str, Any]:
    hours = st.sampled_from(["00:00-24:00", "01:30-02:30", "02:30-03:30", "08:00-18:00", "22:00-06:00"])
    days = st.sampled_from(["Mon-Fri", "Sat,Sun", "Sun", "Fri-Mon"])
    windows = [f"{draw(days)} {draw(hours)}" for _ in range(draw(st.integers(1, 2)))]
    closed = draw(st.lists(st.sampled_from(["2026-03-28", "2026-03-30..2026-03-31"]), max_size=1))
    return {"zone": draw(st.sampled_from(ZONES)), "open": windows, "closed": closed}


@st.composite
def _entries(draw: st.DrawFn, at: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"numbers": []}
    if draw(st.booleans()):
        entry["group"] = draw(st.sampled_from(["g0", "g1"]))
    else:
        share = draw(st.integers(1, 99))
        entry["split"] = {"g0": f"{share}%", "g1": f"{100 - share}%"}
    if draw(st.integers(0, 4)) == 0:
        entry["trunks"] = ["one"]
    if draw(st.booleans()):
        entry["max_calls"] = "1"
        entry["over_limit"] = {"code": "486", "cause": "17"}
    if draw(st.booleans()):
        entry["schedule"] = draw(st.sampled_from(["s0", "s1"]))
        entry["closed"] = draw(_treatments(at))
    if draw(st.integers(0, 3)):
        entry["overflow"] = draw(st.lists(_places(at), min_size=1, max_size=3))
    if draw(st.booleans()):
        entry["unusable"] = draw(_treatments(at))
    if draw(st.booleans()):
        entry["called_at"] = draw(st.sampled_from([{"primary": "+3111"}, {"bcp": "+3120XX"}, {"primary": "77X", "bcp": "+3199"}]))
    return entry


def _places(at: int) -> st.SearchStrategy[dict[str, str]]:
    """Where calls of an entry point may be sent; only to entry points after it, so that nothing goes round."""
    entries = [{"entry_point": name} for name in ENTRIES[at + 1 :]]
    entries += [{"entry_point": name, "called": "+3177"} for name in ENTRIES[at + 1 :]]
    others = [{"sbc_pair": "ann", "called": "ann-1"}, {"sbc_pair": "ann"}, {"number": "+4420", "exit": "pstn"}]
    return st.sampled_from([*entries, *others])


@st.composite
def _treatments(draw: st.DrawFn, at: int) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"to": draw(_places(at))}
    return draw(
        st.sampled_from([{"refuse": "480"}, {"refuse": "603", "cause": "21"}, {"refuse": {"code": "503", "cause": "42"}}])
    )


@st.composite
def _overlays(draw: st.DrawFn) -> dict[str, Any]:
    named = draw(st.lists(st.sampled_from([*ENTRIES, "*"]), min_size=2, max_size=4, unique=True))
    return {name: draw(_treatments(ENTRIES.index(name) if name != "*" else -1)) for name in named}


@st.composite
def _switches(draw: st.DrawFn) -> dict[str, Any]:
    match = draw(
        st.sampled_from(
            [
                {"entry_point": "e0"},
                {"group": "g1"},
                {"trunk": "two"},
                {"tenant": ["t1", "t2"]},
                {"trunk": "one", "group": ["g0"]},
            ]
        )
    )
    return {"match": match, **draw(_treatments(0))}


def _spread_numbers(draw: st.DrawFn, entries: dict[str, Any]) -> None:
    """Patterns, ranges and exact numbers that lie over each other, none equal in precedence."""
    owner = st.sampled_from(ENTRIES)
    for first in draw(st.lists(st.integers(0, 9), min_size=3, max_size=8, unique=True)):
        entries[draw(owner)]["numbers"].append(f"+491{first}XX")
    for two in draw(st.lists(st.integers(0, 99), max_size=6, unique=True)):
        entries[draw(owner)]["numbers"].append(f"+491{two:02}X")
    for two in draw(st.lists(st.integers(0, 99), max_size=6, unique=True)):
        entries[draw(owner)]["numbers"].append(f"+491{two:02}2..+491{two:02}6")
    for three in draw(st.lists(st.integers(0, 999), max_size=20, unique=True)):
        entries[draw(owner)]["numbers"].append(f"+491{three:03}")
    for at, name in enumerate(ENTRIES):  # none without a number
        entries[name]["numbers"].append(f"+499{at}")


def numbers_to_ask(scene: Scene) -> list[str]:
    """The scene's own number, and those at the edges of what its plan writes and next to them."""
    edges: set[int] = set()
    for entry in scene.plan["entry_points"].values():
        for text in entry["numbers"]:
            low, _, high = text.partition("..")
            ends = int(low.replace("X", "0")), int((high or text).replace("X", "9"))
            edges |= {end + step for end in ends for step in (-1, 0, 1)}
    chosen = sorted(edges)[:: max(1, len(edges) // MAX_EDGES)]
    return [scene.number, *(f"+{number}" for number in chosen)]


# -- judging ---------------------------------------------------------------------------------------------------------------------


def judge(scene: Scene) -> Answer:
    """Where the call goes by the plan's own words."""
    entry = _entry_of(scene)
    if entry is None or scene.trunk not in scene.plan["entry_points"][entry].get("trunks", ["one", "two"]):
        return ("refused", 404, 1)
    return _Judge(scene).at(entry, (), None)


def _entry_of(scene: Scene) -> str | None:
    best: tuple[int, str] | None = None
    for name, entry in scene.plan["entry_points"].items():
        for text in entry["numbers"]:
            rank = _rank(text, scene.number)
            if rank is not None and (best is None or rank > best[0]):
                best = (rank, name)
    return None if best is None else best[1]


def _rank(text: str, number: str) -> int | None:
    """Precedence of an expression that holds the number."""
    if ".." in text:
        low, high = text.split("..")
        return 50 if len(number) == len(low) and low <= number <= high else None
    if "X" in text:
        fits = re.fullmatch(re.escape(text).replace("X", r"\d"), number)
        return len(text.replace("X", "")) if fits else None
    return 100 if text == number else None


class _Judge:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.plan = scene.plan
        self.acted: set[str] = set()

    def at(self, name: str, ways: tuple[str, ...], dial: str | None) -> Answer:
        scene, plan = self.scene, self.plan
        entry = plan["entry_points"][name]
        group = self.group_of(name)
        chosen, other = self.sides(group)
        for switch, rule in plan["switches"].items():  # 1. kill switches
            if switch in scene.switches and switch not in self.acted and self.fits(rule["match"], name, group, chosen):
                self.acted.add(switch)
                return self.send(name, rule, (*ways, f"switch {switch}"), "switch")
        for exact in (True, False):  # 2. overlays, those that name the entry point first
            for overlay, change in plan["overlays"].items():
                key = name if exact else "*"
                places = change["entry_points"]
                if overlay in scene.overlays and overlay not in self.acted and key in places and (exact or name not in places):
                    self.acted.add(overlay)
                    return self.send(name, places[key], (*ways, f"overlay {overlay}"), "overlay")
        if "schedule" in entry and not is_open(plan["schedules"][entry["schedule"]], scene.unix_s):  # 3. hours
            return self.send(name, entry["closed"], (*ways, f"closed {entry['schedule']}"), "closed")
        limit = self.limit(name, chosen)  # 4. limits
        if limit is not None:
            for to in entry.get("overflow", ()):
                acted = set(self.acted)
                answer = self.send(name, {"to": to}, (*ways, f"overflow {limit}"), "overflow")
                if answer[0] == "route":
                    return answer
                self.acted = acted
            return ("refused", 486, 17)
        return self.to_group(name, entry, chosen, other, group, ways, dial)  # 5. the group

    def to_group(
        self, name: str, entry: dict[str, Any], chosen: str, other: str, group: str, ways: tuple[str, ...], dial: str | None
    ) -> Answer:
        is_primary = chosen == self.plan["continuity_groups"][group]["primary"]
        ours = self.sbcs(chosen)
        may_cross = is_primary and group == "g0" and not self.is_full(other)
        for switch, rule in self.plan["switches"].items():
            if switch in self.scene.switches and "tenant" in rule["match"] and self.fits(rule["match"], name, group, other):
                may_cross = False
        theirs = self.sbcs(other) if may_cross else []
        usable = [sbc for sbc in ours if sbc not in self.scene.out], [sbc for sbc in theirs if sbc not in self.scene.out]
        # what could be crossed to but for a limit or a switch still tells that a tenant is alive
        if not usable[0] and not usable[1] and "unusable" in entry:
            return self.send(name, entry["unusable"], (*ways, "unusable "), "unusable")
        if not usable[0] and not usable[1]:
            usable = ours, theirs
        attempts = (usable[0][:2] if usable[1] else usable[0][:4]) + usable[1]
        if not attempts:
            return ("refused", 480, 41)
        first_is_ours = bool(usable[0])
        says = "primary" if is_primary == first_is_ours else "bcp"
        tenant = chosen if first_is_ours else other
        return ("route", name, tenant, dial or self.dialled(name, says), tuple(attempts[:4]), ways)

    def send(self, name: str, rule: dict[str, Any], ways: tuple[str, ...], why: str) -> Answer:
        if "refuse" in rule:
            said = (
                rule["refuse"] if isinstance(rule["refuse"], dict) else {"code": rule["refuse"], "cause": rule.get("cause", "41")}
            )
            return ("refused", int(said["code"]), int(said["cause"]))
        to = rule["to"]
        if "entry_point" in to:
            return self.at(to["entry_point"], ways, to.get("called"))
        if "exit" in to:
            if self.scene.calls.get("exit:pstn", 0) >= 1:
                return ("refused", 486, 17)
            return ("route", name, "exit:pstn", to["number"], ("outa", "outb"), ways)
        return ("route", name, "pair:ann", to.get("called", self.scene.number), ("anna", "annb"), ways)

    def group_of(self, name: str) -> str:
        entry = self.plan["entry_points"][name]
        if "group" in entry:
            return str(entry["group"])
        number = ENTRIES.index(name) + 1  # its id: the plan is compiled for the first time
        place = blake2b(f"split:{number}:{self.scene.caller}".encode(), digest_size=8).digest()
        return "g0" if int.from_bytes(place, "big") % 10_000 < int(entry["split"]["g0"][:-1]) * 100 else "g1"

    def sides(self, group: str) -> tuple[str, str]:
        """(the tenant its calls go to once all has settled, the other)."""
        primary, bcp = (self.plan["continuity_groups"][group][side] for side in ("primary", "bcp"))
        dead = [all(sbc in self.scene.out for sbc in self.members(tenant)) for tenant in (primary, bcp)]
        return (bcp, primary) if dead[0] and not dead[1] else (primary, bcp)

    def members(self, tenant: str) -> list[str]:
        return [f"p{TENANTS.index(tenant)}{which}" for which in "ab"]

    def sbcs(self, tenant: str) -> list[str]:
        return [] if tenant in self.scene.draining else self.members(tenant)

    def fits(self, match: dict[str, Any], name: str, group: str, tenant: str) -> bool:
        have = {"entry_point": name, "group": group, "trunk": self.scene.trunk, "tenant": tenant}
        return all(have[key] in ([wanted] if isinstance(wanted, str) else wanted) for key, wanted in match.items())

    def is_full(self, tenant: str) -> bool:
        return "max_calls" in self.scene.edge["tenants"][tenant] and self.scene.calls.get(tenant, 0) >= 1

    def limit(self, name: str, tenant: str) -> str | None:
        if "max_calls" in self.plan["entry_points"][name] and self.scene.calls.get(name, 0) >= 1:
            return "entry-point"
        return "tenant" if self.is_full(tenant) else None

    def dialled(self, name: str, side: str) -> str:
        text = self.plan["entry_points"][name].get("called_at", {}).get(side, self.scene.number)
        copied = len(text) - len(text.rstrip("X"))
        return str(text[:-copied] + self.scene.number[-copied:]) if copied else str(text)


def is_open(schedule: dict[str, Any], unix_s: int) -> bool:
    """What the wall clock of the zone shows, looked up window by window."""
    now = datetime.fromtimestamp(unix_s, ZoneInfo(schedule["zone"]))
    for span in schedule.get("closed", ()):
        first, _, last = span.partition("..")
        if first <= now.date().isoformat() <= (last or first):
            return False
    clock = f"{now.hour:02}:{now.minute:02}"
    today, yesterday = DAYS[now.weekday()], DAYS[(now.date() - timedelta(days=1)).weekday()]
    for window in schedule["open"]:
        days, hours = window.rsplit(" ", 1)
        start, end = hours.split("-")
        if start < end:
            if today in _days(days) and start <= clock < end:
                return True
        elif (today in _days(days) and clock >= start) or (yesterday in _days(days) and clock < end):
            return True
    return False


def _days(text: str) -> list[str]:
    found = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        at = DAYS.index(first)
        while True:
            found.append(DAYS[at])
            if DAYS[at] == (last or first):
                break
            at = (at + 1) % 7
    return found
