"""A topology as facts: one short text for every field of every entity, names in place of indexes.

Two plans are compared fact by fact, and by **what a call meets**: the facts about the entry point it dialled, its group, both
tenants, the ways to them as the trunk's site sees them, the pairs and SBCs on these ways, and the same of every place the call
may be sent to from there (closed, overflow, unusable, split). What no call can come to does not count: `closed` where it is
always open, `overflow` where nothing is limited. Of an overlay counts where it leads, not what is met there. Ids never count:
they belong to a STATE, not to a plan. Every field of the snapshot's types is spelled, so a field added to them is compared from
its first day on.

A fact is (about, field) → text. `about` is a role ("entry point", "group", "primary", "bcp") for what was dialled itself, and a
kind with a name ("pair fra", "entry point night") for whatever else a call may meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from sipctl.dialplan.diff_hours import ALWAYS_OPEN, Hours, clocks_text, days_text, hours_of, windows_text
from sipctl.routing.numbers import PRIVATE_BIT, digits_of
from sipctl.routing.snapshot import Destination, EntryPoint, Exit, Overlay, Reach, Schedule, Tenant, Topology, Zone

Facts = Mapping[tuple[str, str], str]

NONE: Final = "none"
LIMITS: Final = ("limits", "")  # the entity that holds what the node as a whole is limited to
HOURS: Final = "hours"  # the field that stands for an entry point's schedule, windows, days and `closed`
SCHEDULE_FIELDS: Final = ("open", "closed", "zone", "holidays")  # of a schedule, told by HOURS
DEFAULT_CLOSED: Final = "refused"

# kinds of entities: (kind, field of Topology)
SECTIONS: Final = (
    ("listen", "listens"), ("site", "sites"), ("trunk", "trunks"), ("pair", "pairs"), ("SBC", "sbcs"), ("tenant", "tenants"),
    ("zone", "zones"), ("schedule", "schedules"), ("exit", "exits"), ("group", "groups"), ("entry point", "entry_points"),
    ("overlay", "overlays"), ("switch", "switches"),
)  # fmt: skip
ROLES: Final = frozenset({"entry point", "group", "primary", "bcp"})

# fields that hold an index, or several, into a section of the topology
_INDEXES: Final[Mapping[str, str]] = {
    "site": "sites", "fallback": "sites", "listen": "listens", "listens": "listens", "pair": "pairs", "sbcs": "sbcs",
    "primary": "tenants", "bcp": "tenants", "tenant": "tenants", "tenants": "tenants", "group": "groups", "groups": "groups",
    "trunk": "trunks", "trunks": "trunks", "entry_point": "entry_points", "entry_points": "entry_points", "zone": "zones",
    "schedule": "schedules",
}  # fmt: skip
_NOT_FACTS: Final = frozenset({"id", "name"})
# what no call meets, or meets by a fact of its own
_PAIR_ASIDE: Final = frozenset({"site", "sources", "probe", "observe", "redundancy", "expect", "listens", "srv"})
_GROUP_MET: Final = ("advance_across", "mode")
_ENTRY_ASIDE: Final = frozenset({"group", "trunks", "schedule", "closed", "called_at"})
LIMITED_ONLY: Final = frozenset({"overflow", "over_limit"})
_NOTHING_DIALLED: Final = ((0, 0), (0, 0))
_NOTHING: Final = frozenset({NONE, "''", "[]"})
_RESERVED: Final = frozenset({"", NONE, "true", "false"})
_PUNCTUATION: Final = frozenset(",[]{}'\"\\")
_NAMES: Final[Mapping[str, str]] = {
    "symmetric": "in_dialog symmetric", "advance_on_no_reply": "advance_on no-reply",
    "advance_on_no_progress": "advance_on no-progress", "country_code": "country", "uri_host": "host in Request-URIs",
}  # fmt: skip


class Described:
    """All facts of one topology; what calls meet is made when it is asked for, and kept."""

    __slots__ = ("_groups", "_hours", "_led_to", "_met", "entities", "topology")

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._groups: dict[tuple[int, int], dict[tuple[str, str], str]] = {}
        self._met: dict[tuple[int, int], dict[tuple[str, str], str]] = {}
        self._hours: dict[int, Hours] = {}
        self._led_to = _led_to(topology)
        self.entities: dict[tuple[str, str], dict[str, str]] = {}
        for kind, section in SECTIONS:
            for thing in getattr(topology, section):
                if not (isinstance(thing, Tenant) and thing.kind != "tenant"):
                    self.entities[kind, thing.name] = self._facts(thing)
        approval = {
            f"approval {_label(field.name)}": self._text(field.name, getattr(topology.approval, field.name))
            for field in fields(topology.approval)
        }
        days = NONE if topology.cdr_days is None else str(topology.cdr_days)
        self.entities[LIMITS] = {"max_call_age": _seconds(topology.max_call_age_s), "cdr_days": days, **approval}

    # -- what a call meets -----------------------------------------------------------------------------------------------------

    def met(self, site: int, entry_point: int) -> Facts:
        """Everything a call meets that came from a trunk of a site (-1: of no site) and dialled an entry point."""
        found = self._met.get((site, entry_point))
        if found is not None:
            return found
        entry = self.topology.entry_points[entry_point]
        found = {("entry point", field): text for field, text in self._entry_met(entry_point).items()}
        found.update(self._group_met(site, entry.group))
        entries, groups, tenants = self._reached(entry_point)
        for at in entries:
            other = self.topology.entry_points[at]
            about = f"entry point {other.name}"
            found.update({(about, field): text for field, text in self._entry_met(at).items()})
            found[about, "group"] = self.topology.groups[other.group].name
            found[about, "called_at"] = self.entities["entry point", other.name].get("called_at", NONE)
            for overlay in self.topology.overlays:
                if self._overlay_met(overlay, entry_point) == NONE:  # else it took the call before: it acts once
                    found[about, f"overlay {overlay.name} leads to"] = self._overlay_met(overlay, at)
        for at in groups:
            group = self.topology.groups[at]
            own = self.entities["group", group.name]
            found.update({(f"group {group.name}", field): own[field] for field in ("primary", "bcp", *_GROUP_MET)})
            tenants |= {group.primary, group.bcp}
        for at in tenants:
            found.update(self._place_met(site, at))
        for overlay in self.topology.overlays:
            found[f"overlay {overlay.name}", "leads to"] = self._overlay_met(overlay, entry_point)
        self._met[site, entry_point] = found
        return found

    def owners(self, entry_point: int) -> dict[str, tuple[str, str]]:
        """Which entity each role of `met` is: role → (kind, name)."""
        entry = self.topology.entry_points[entry_point]
        group = self.topology.groups[entry.group]
        tenants = self.topology.tenants
        return {
            "entry point": ("entry point", entry.name),
            "group": ("group", group.name),
            "primary": ("tenant", tenants[group.primary].name),
            "bcp": ("tenant", tenants[group.bcp].name),
        }

    def hours(self, entry_point: int) -> Hours:
        """When an entry point is open."""
        found = self._hours.get(entry_point)
        if found is None:
            entry = self.topology.entry_points[entry_point]
            found = ALWAYS_OPEN
            if entry.schedule is not None:
                schedule = self.topology.schedules[entry.schedule]
                otherwise = DEFAULT_CLOSED if entry.closed is None else self.destination(entry.closed)
                found = hours_of(schedule, self.topology.zones[schedule.zone], otherwise)
            self._hours[entry_point] = found
        return found

    def hours_text(self, name: str) -> str:
        """When the entry point of that name is open, for people."""
        at = next(at for at, entry in enumerate(self.topology.entry_points) if entry.name == name)
        return self.hours(at).text()

    def _entry_met(self, at: int) -> dict[str, str]:
        facts = self.entities["entry point", self.topology.entry_points[at].name]
        aside = _ENTRY_ASIDE
        if not self._is_limited(at):
            aside = aside | ({"overflow"} if self._may_fill_a_place(at) else LIMITED_ONLY)
        return {HOURS: self.hours(at).key(), **{field: text for field, text in facts.items() if field not in aside}}

    def _overlay_met(self, overlay: Overlay, at: int) -> str:
        to = dict(overlay.entry_points).get(at, overlay.everywhere)
        return NONE if to is None else self.destination(to)

    def _is_limited(self, at: int) -> bool:
        """Whether a limit may stand against calls of an entry point: its own, or that of a tenant they may go to."""
        entry, tenants = self.topology.entry_points[at], self.topology.tenants
        sides = {
            side for group in entry.groups for side in (self.topology.groups[group].primary, self.topology.groups[group].bcp)
        }
        return entry.max_calls is not None or any(tenants[side].max_calls is not None for side in sides)

    def _may_fill_a_place(self, at: int) -> bool:
        """Whether a place its calls are sent to may be full: then they hear what its `over_limit` says."""
        tenants = self.topology.tenants
        return any(to.tenant is not None and tenants[to.tenant].max_calls is not None for to in self._ways_on(at))

    def _ways_on(self, at: int) -> Iterator[Destination]:
        """Where an entry point sends calls when its group does not take them, as far as that can happen."""
        entry = self.topology.entry_points[at]
        if entry.closed is not None and self.hours(at) is not ALWAYS_OPEN:
            yield entry.closed
        if self._is_limited(at):
            yield from entry.overflow
        if entry.unusable is not None:
            yield entry.unusable

    def _group_met(self, site: int, group_at: int) -> dict[tuple[str, str], str]:
        found = self._groups.get((site, group_at))
        if found is not None:
            return found
        group = self.topology.groups[group_at]
        own = self.entities["group", group.name]
        found = {("group", "name"): group.name}
        found.update({("group", field): own[field] for field in _GROUP_MET})
        for role, tenant_at in (("primary", group.primary), ("bcp", group.bcp)):
            tenant = self.topology.tenants[tenant_at]
            found[role, "tenant"] = tenant.name
            found[role, "max_calls"] = self._text("max_calls", tenant.max_calls)
            found.update(self._ways_met(site, role, tenant.reached_by))
        self._groups[site, group_at] = found
        return found

    def _place_met(self, site: int, tenant_at: int) -> dict[tuple[str, str], str]:
        """What a call meets at a place it may be sent to: a tenant, an exit, or a pair that takes calls for itself."""
        tenant = self.topology.tenants[tenant_at]
        about = f"tenant {tenant.name}"
        if tenant.kind == "exit":
            name = tenant.name.partition(":")[2]
            about = f"exit {name}"
            found = {(about, field): text for field, text in self.entities["exit", name].items() if field != "allow"}
        else:
            found = {(about, "max_calls"): self._text("max_calls", tenant.max_calls)}
        found.update(self._ways_met(site, about, tenant.reached_by))
        return found

    def _ways_met(self, site: int, about: str, reaches: Sequence[Reach]) -> dict[tuple[str, str], str]:
        ways = self._in_order(site, reaches)
        found = {(about, "ways"): ", ".join(self._reach(reach) for reach in ways)}
        for reach in ways:
            pair = self.topology.pairs[reach.pair]
            for field, text in self.entities["pair", pair.name].items():
                if field.partition(" ")[0] not in _PAIR_ASIDE:
                    found[f"pair {pair.name}", field] = text
            for sbc in pair.sbcs:
                name = self.topology.sbcs[sbc].name
                found.update({(f"SBC {name}", field): text for field, text in self.entities["SBC", name].items()})
        return found

    def _in_order(self, site: int, reaches: Sequence[Reach]) -> list[Reach]:
        """The ways to a tenant as `select.candidates` orders them: own site, its fallback sites, the rest as listed."""
        sites = self.topology.sites
        near = (site, *sites[site].fallback) if 0 <= site < len(sites) else (site,)
        stands = [self.topology.pairs[reach.pair].site for reach in reaches]
        rank = [near.index(at) if at in near else len(near) for at in stands]
        return [reaches[at] for at in sorted(range(len(reaches)), key=rank.__getitem__)]

    def _reached(self, entry_point: int) -> tuple[set[int], set[int], set[int]]:
        """Entry points, groups and tenants that a call may be sent to, one step or many; without those of its own group."""
        entries: set[int] = set()
        groups: set[int] = set(self.topology.entry_points[entry_point].groups[1:])
        tenants: set[int] = set()
        left = [entry_point]
        while left:
            for to in self._ways_on(left.pop()):
                if to.tenant is not None:
                    tenants.add(to.tenant)
                if to.entry_point is not None and to.entry_point != entry_point and to.entry_point not in entries:
                    entries.add(to.entry_point)
                    groups.update(self.topology.entry_points[to.entry_point].groups)
                    left.append(to.entry_point)
        return entries, groups, tenants

    # -- facts as texts --------------------------------------------------------------------------------------------------------

    def destination(self, to: Destination) -> str:
        """Where a call is sent, or how it is refused."""
        if to.refuse is not None:
            return f"refused with {to.refuse[0]} (cause {to.refuse[1]})"
        called = "" if to.called is None else f" as {to.called}"
        if to.entry_point is not None:
            return f"entry point {self.topology.entry_points[to.entry_point].name}{called}"
        assert to.tenant is not None
        kind, _, name = self.topology.tenants[to.tenant].name.partition(":")
        return f"{kind} {name}{called}"

    def _reach(self, reach: Reach) -> str:
        parts = [(field.name, getattr(reach, field.name)) for field in fields(reach) if field.name != "pair"]
        told = [f"{name}={value}" for name, value in parts if value is not None]
        name = self.topology.pairs[reach.pair].name
        return f"{name} ({' '.join(told)})" if told else name

    def _facts(self, thing: Any) -> dict[str, str]:
        if isinstance(thing, Zone):
            return {"clocks": clocks_text(thing)}
        found: dict[str, str] = {}
        for field in fields(thing):
            value = getattr(thing, field.name)
            if field.name in _NOT_FACTS:
                continue
            text = self._own_text(thing, field.name, value)
            if text is not None:
                found[_label(field.name)] = text
            elif is_dataclass(value):
                found[_label(field.name)] = "set"
                for inner in fields(value):
                    text = self._text(inner.name, getattr(value, inner.name))
                    if text not in _NOTHING:
                        found[f"{_label(field.name)} {_label(inner.name)}"] = text
            else:
                found[_label(field.name)] = self._text(field.name, value)
        if isinstance(thing, EntryPoint) and (thing.name not in self._led_to or thing.called_at == _NOTHING_DIALLED):
            del found["called_at"]  # of no use to anybody: its numbers have theirs
        if isinstance(thing, Exit):
            tenant = self.topology.tenants[thing.tenant]
            found.update({"pair": ", ".join(map(self._reach, tenant.reached_by)), "max_calls": str(tenant.max_calls)})
            del found["tenant"]
        return found

    def _own_text(self, thing: Any, field: str, value: Any) -> str | None:
        """The text of fields that are more than a value; None for all others."""
        if field == "reached_by":
            return ", ".join(self._reach(reach) for reach in value)
        if field == "labels":
            return ", ".join(f"{_spelled(name)}: {_spelled(text)}" for name, text in value) or NONE
        if field == "split":
            return ", ".join(f"{self.topology.groups[group].name} {percent}%" for group, percent in value) or NONE
        if isinstance(thing, EntryPoint) and field == "called_at":
            return ", ".join(f"{side} {_dialled(*dial)}" for side, dial in zip(("primary", "bcp"), value, strict=True))
        if isinstance(thing, Schedule) and field == "open":
            return windows_text(value)
        if isinstance(thing, Schedule) and field == "closed":
            return days_text(list(value), len(value)) if value else NONE
        if isinstance(thing, Overlay) and field == "entry_points":
            names = sorted(f"{self.topology.entry_points[at].name}: {self.destination(to)}" for at, to in value)
            return "; ".join(names) or NONE
        return self.destination(value) if isinstance(value, Destination) else None

    def _text(self, name: str, value: Any) -> str:
        """A value as a plan's author would write it, so that different values give different texts."""
        if value is None:
            return NONE
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) and name in _INDEXES:
            return str(getattr(self.topology, _INDEXES[name])[value].name) if value >= 0 else NONE
        if isinstance(value, int | float) and name.endswith("_s"):
            return _seconds(value)
        if isinstance(value, Destination):
            return self.destination(value)
        if is_dataclass(value):
            parts = [f"{_label(field.name)}: {self._text(field.name, getattr(value, field.name))}" for field in fields(value)]
            return "{" + ", ".join(parts) + "}"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{_spelled(str(key))}: {self._text(name, value[key])}" for key in sorted(value)) + "}"
        if isinstance(value, frozenset | set):
            return "[" + ", ".join(sorted(self._text(name, one) for one in value)) + "]"
        if isinstance(value, tuple | list):
            return "[" + ", ".join(self._text(name, one) for one in value) + "]"
        return _spelled(value) if isinstance(value, str) else str(value)


def owner_of(about: str) -> tuple[str, str]:
    """The entity a fact is about that is no role: (kind, name)."""
    kind = next((kind for kind, _ in SECTIONS if about.startswith(f"{kind} ")), about)
    return kind, about[len(kind) + 1 :]


def may_call(entry: EntryPoint, trunk: int) -> bool:
    """Whether an entry point's allow-list lets a trunk call it."""
    return entry.trunks is None or trunk in entry.trunks


def _destinations(entry: EntryPoint) -> Iterable[Destination]:
    """Where an entry point sends calls when its group does not take them."""
    if entry.closed is not None and entry.schedule is not None:
        yield entry.closed
    yield from entry.overflow
    if entry.unusable is not None:
        yield entry.unusable


def _led_to(topology: Topology) -> frozenset[str]:
    """Names of entry points to which something sends calls."""
    led = [to for entry in topology.entry_points for to in (*_destinations(entry), entry.closed) if to is not None]
    for overlay in topology.overlays:
        led += [to for _, to in overlay.entry_points] + ([] if overlay.everywhere is None else [overlay.everywhere])
    led += [switch.to for switch in topology.switches]
    return frozenset(topology.entry_points[to.entry_point].name for to in led if to.entry_point is not None)


def _dialled(base: int, copied: int) -> str:
    """A `called_at` as a plan writes it."""
    if not base:
        return "the called number"
    count = copied & ~PRIVATE_BIT
    digits = digits_of(base)
    return ("" if copied & PRIVATE_BIT else "+") + digits[: len(digits) - count] + "X" * count


def _spelled(text: str) -> str:
    """A text as it is, or in quotes where it could be taken for something else."""
    return repr(text) if text in _RESERVED or not _PUNCTUATION.isdisjoint(text) else text


def _label(field: str) -> str:
    return _NAMES.get(field, field.removesuffix("_s"))


def _seconds(value: float) -> str:
    if value >= 3600 and value % 3600 == 0:
        return f"{value / 3600:g}h"
    if value >= 60 and value % 60 == 0:
        return f"{value / 60:g}m"
    return f"{value:.12g}s" if value >= 1 or value == 0 else f"{value * 1000:.12g}ms"
