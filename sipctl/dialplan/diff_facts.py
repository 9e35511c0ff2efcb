"""A topology as facts: one short text for every field of every entity, names in place of indexes.

Two plans are compared fact by fact, and by **what a call meets**: the facts about the entry point it dialled, its group, both
tenants, the ways to them as the trunk's site sees them, and the pairs and SBCs on these ways. Ids never count: they belong to a
STATE, not to a plan. Every field of the snapshot's types is spelled, so a field added to them is compared from its first day on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from sipctl.routing.snapshot import EntryPoint, Reach, Topology

Facts = Mapping[tuple[str, str], str]  # (about what, which field) → text

NONE: Final = "none"
LIMITS: Final = ("limits", "")  # the entity that holds what the node as a whole is limited to

# kinds of entities: (kind, field of Topology)
SECTIONS: Final = (
    ("listen", "listens"), ("site", "sites"), ("trunk", "trunks"), ("pair", "pairs"), ("SBC", "sbcs"), ("tenant", "tenants"),
    ("group", "groups"), ("entry point", "entry_points"),
)  # fmt: skip
RESTART_KINDS: Final = frozenset({"listen"})  # sockets are opened once, when `run` starts

# fields that hold an index, or several, into a section of the topology
_INDEXES: Final[Mapping[str, str]] = {
    "site": "sites", "fallback": "sites", "listen": "listens", "listens": "listens", "pair": "pairs", "sbcs": "sbcs",
    "primary": "tenants", "bcp": "tenants", "tenant": "tenants", "group": "groups", "trunks": "trunks", "trunk": "trunks",
    "entry_point": "entry_points",
}  # fmt: skip
_NOT_FACTS: Final = frozenset({"id", "name"})
# what no call meets, or meets by a fact of its own
_PAIR_ASIDE: Final = frozenset({"site", "sources", "probe", "redundancy", "expect", "listens", "srv"})
_GROUP_MET: Final = ("advance_across", "mode")
_ENTRY_ASIDE: Final = frozenset({"group", "trunks"})
_RESERVED: Final = frozenset({"", NONE, "true", "false"})
_PUNCTUATION: Final = frozenset(",[]{}'\"\\")
_NAMES: Final[Mapping[str, str]] = {
    "shared_dialogs": "shared_dialogs", "symmetric": "in_dialog: symmetric", "advance_on_no_reply": "advance_on: no-reply",
    "advance_on_no_progress": "advance_on: no-progress", "country_code": "country", "uri_host": "host in Request-URIs",
    "replies": "probe replies",
}  # fmt: skip


class Described:
    """All facts of one topology; what calls meet is made when it is asked for, and kept."""

    __slots__ = ("_groups", "_met", "entities", "topology")

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.entities: dict[tuple[str, str], dict[str, str]] = {}
        for kind, section in SECTIONS:
            for thing in getattr(topology, section):
                self.entities[kind, thing.name] = self._facts(thing)
        self.entities[LIMITS] = {"max_call_age": _seconds(topology.max_call_age_s)}
        self._groups: dict[tuple[int, int], dict[tuple[str, str], str]] = {}
        self._met: dict[tuple[int, int], dict[tuple[str, str], str]] = {}

    def met(self, site: int, entry_point: int) -> Facts:
        """Everything a call meets that came from a trunk of a site (-1: of no site) and dialled an entry point."""
        found = self._met.get((site, entry_point))
        if found is None:
            entry = self.topology.entry_points[entry_point]
            found = {
                ("entry point", field): text
                for field, text in self.entities["entry point", entry.name].items()
                if field not in _ENTRY_ASIDE
            }
            found.update(self._group_met(site, entry.group))
            self._met[site, entry_point] = found
        return found

    def mentions(self, entry_point: int) -> dict[str, tuple[str, str]]:
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
            for field, text in self.entities["tenant", tenant.name].items():
                if field != "reached_by":
                    found[role, field] = text
            ways = self._in_order(site, tenant.reached_by)
            found[role, "ways"] = ", ".join(self._reach(reach) for reach in ways)
            for reach in ways:
                pair = self.topology.pairs[reach.pair]
                facts = self.entities["pair", pair.name]
                found.update({(f"pair {pair.name}", field): facts[field] for field in facts if field not in _PAIR_ASIDE})
                for sbc in pair.sbcs:
                    name = self.topology.sbcs[sbc].name
                    found.update({(f"SBC {name}", field): text for field, text in self.entities["SBC", name].items()})
        self._groups[site, group_at] = found
        return found

    def _in_order(self, site: int, reaches: Sequence[Reach]) -> list[Reach]:
        """The ways to a tenant as `select.candidates` orders them: own site, its fallback sites, the rest as listed."""
        sites = self.topology.sites
        near = (site, *sites[site].fallback) if 0 <= site < len(sites) else (site,)
        stands = [self.topology.pairs[reach.pair].site for reach in reaches]
        rank = [near.index(at) if at in near else len(near) for at in stands]
        return [reaches[at] for at in sorted(range(len(reaches)), key=rank.__getitem__)]

    def _reach(self, reach: Reach) -> str:
        told = [f"{name}={value}" for name, value in (
            ("port", reach.port), ("host", reach.host), ("tgrp", reach.tgrp), ("trunk_context", reach.trunk_context),
            ("called_prefix", reach.called_prefix),
        ) if value is not None]  # fmt: skip
        name = self.topology.pairs[reach.pair].name
        return f"{name} ({' '.join(told)})" if told else name

    def _facts(self, thing: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for field in fields(thing):
            value = getattr(thing, field.name)
            if field.name in _NOT_FACTS:
                continue
            if field.name == "reached_by":
                text = ", ".join(self._reach(reach) for reach in value)
            else:
                text = self._text(field.name, value)
            found[_label(field.name)] = text
        return found

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


def may_call(entry: EntryPoint, trunk: int) -> bool:
    """Whether an entry point's allow-list lets a trunk call it."""
    return entry.trunks is None or trunk in entry.trunks


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
