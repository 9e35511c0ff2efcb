"""What differs between two plans outside their numbers: entities that came, went or were renamed, and facts no call has told."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from sipctl.dialplan.diff_facts import Described
from sipctl.dialplan.diff_model import Delta, EntityChange

RESTART_KINDS: Final = frozenset({"listen"})  # sockets are opened once, when `run` starts
DERIVED_KINDS: Final = frozenset({"zone"})  # they come and go with what names them

Told = Set[tuple[str, str, str]]  # (kind, name, field)


def entity_changes(old: Described, new: Described, told: Told) -> tuple[EntityChange, ...]:
    """Everything that differs and is not told by a change of numbers already.

    Args:
        told: the facts of entities that some change of numbers names.
    """
    renamed = _renamed_groups(old, new)
    found: list[EntityChange] = []
    for kind, name in {**old.entities, **new.entities}:
        restart = kind in RESTART_KINDS
        before, after = old.entities.get((kind, name)), new.entities.get((kind, name))
        if before is None and after is not None and kind == "group" and name in renamed:
            was = renamed[name]
            deltas = (Delta(kind, "name", was, name), *_deltas(kind, name, old.entities[kind, was], after, told))
            found.append(EntityChange(kind, name, "renamed", deltas, restart))
        elif before is None and after is not None and kind not in DERIVED_KINDS:
            facts = tuple(Delta(kind, field, None, text) for field, text in after.items())
            found.append(EntityChange(kind, name, "added", facts, restart))
        elif after is None and before is not None and kind not in DERIVED_KINDS:
            if kind != "group" or name not in renamed.values():
                found.append(EntityChange(kind, name, "removed", (), restart))
        elif before is not None and after is not None:
            deltas = _deltas(kind, name, before, after, told)
            if deltas:
                found.append(EntityChange(kind, name, "changed", deltas, restart))
    return tuple(found)


def _deltas(kind: str, name: str, before: Mapping[str, str], after: Mapping[str, str], told: Told) -> tuple[Delta, ...]:
    return tuple(
        Delta(kind, field, before.get(field), after.get(field))
        for field in {**before, **after}
        if before.get(field) != after.get(field) and (kind, name, field) not in told
    )


def _renamed_groups(old: Described, new: Described) -> dict[str, str]:
    """New name → old name of groups that go on under another name."""
    before = {group.name for group in old.topology.groups}
    after = {group.name for group in new.topology.groups}
    return {
        group.name: group.renamed_from
        for group in new.topology.groups
        if group.renamed_from is not None and group.renamed_from in before - after and group.name not in before
    }
