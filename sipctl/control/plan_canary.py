"""Which plans may be a canary, and what one needs beside its table.

Most edits may. Not those that a router cannot carry beside the live plan: sockets open with a start only, DNS is asked for one
plan's names, and a group's decision names a tenant by its side, so two plans must agree which side is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sipctl.control.case import No
from sipctl.control.names import wanted_of
from sipctl.routing.snapshot import Topology

CANARY_RUNNING: Final = "canary-running"
MAX_NAMED: Final = 5  # names in one sentence
_HINT: Final = "apply it without --canary"


def unfit(live: Topology, other: Topology, restart: Sequence[str]) -> No | None:
    """Why a plan cannot go to a share of the callers first.

    Args:
        restart: what of it takes effect with the next start only.
    """
    if restart:
        text = f"a canary opens no sockets, and some of the edit takes effect with the next start only: {restart[0]}"
        return No("refused", "canary-needs-restart", text, _HINT)
    wanted = wanted_of(live)
    asked = [key for key, one in wanted_of(other).items() if wanted.get(key) != one]
    if asked:
        return No("refused", "canary-asks-dns", f"a canary asks DNS for no names of its own: {_listed(asked)}", _HINT)
    sides = {group.name: _sides(live, group.primary, group.bcp) for group in live.groups}
    exchanged = [
        group.name
        for group in other.groups
        if sides.get(group.name) == _sides(other, group.bcp, group.primary)
        or sides.get(group.renamed_from or "") == _sides(other, group.bcp, group.primary)
    ]
    if exchanged:
        text = f"a canary cannot exchange a group's primary and BCP tenant: {_listed(exchanged)}"
        return No("refused", "canary-exchanges-tenants", text, _HINT)
    return None


def _sides(topology: Topology, primary: int, bcp: int) -> tuple[str, str]:
    return topology.tenants[primary].name, topology.tenants[bcp].name


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
