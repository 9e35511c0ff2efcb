"""`GET /v1/route`: where a number would go now, by the live table and the states the controller saw last.

The table file named by the view is mapped and joined once per (file, term, seq); one question then costs what one call costs.
"""

from __future__ import annotations

import mmap
import os
from typing import Any, Final

from sipctl.api.problems import Problem
from sipctl.control.ports import View
from sipctl.errors import SnapshotError
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, Route, resolve
from sipctl.routing.select import Target, arrange
from sipctl.routing.snapshot import Operating
from sipctl.routing.table import Table, load_table

_STATES: Final = ("unknown", "in-service", "out-of-service")  # in the order of Operating
_SIDES: Final = ("primary", "bcp")


class LiveRoutes:
    """Keeps the joined snapshot of the last question."""

    def __init__(self) -> None:
        self._table: Table | None = None
        self._path = ""
        self._snapshot: RoutingSnapshot | None = None

    def answer(self, view: View, number: str, trunk: str | None, caller: str | None) -> dict[str, Any]:
        """Where a call would go. Blocks while a new table is mapped: call it from a thread.

        Raises: Problem 503 without a table, 404 for an unknown trunk, 400 when the trunk is left open and there are several.
        """
        snapshot = self._joined(view)
        index = _trunk_index(snapshot, trunk)
        live = _live(snapshot, view)
        share_key = (caller or number).encode()
        route = resolve(snapshot, live, index, number, None, share_key, 0.0)
        head: dict[str, Any] = {
            "asked": f"live revision {snapshot.revision}, states now",
            "revision": snapshot.revision, "term": snapshot.term, "seq": snapshot.seq,
            "number": number, "trunk": snapshot.trunks[index].name, "from": caller,
        }  # fmt: skip
        return head | (_refusal(snapshot, route) if isinstance(route, NoRoute) else _way(snapshot, live, route))

    def _joined(self, view: View) -> RoutingSnapshot:
        state = view.state
        if state is None or not view.table_path:
            raise Problem(503, "no-view", "no revision is live yet", hint="sipctl check, then sipctl apply")
        known = self._snapshot
        if known is not None and self._path == view.table_path and (known.term, known.seq) == (state.term, state.seq):
            return known
        try:
            if self._table is None or self._path != view.table_path:
                self._table = _mapped(view.table_path)
                self._path = view.table_path
            self._snapshot = RoutingSnapshot.build(self._table, state)
        except (OSError, ValueError, SnapshotError) as error:
            raise Problem(503, "failed", f"the live table cannot be read here: {error}", hint="ask again in a second") from error
        return self._snapshot


def _mapped(path: str) -> Table:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return load_table(memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)))
    finally:
        os.close(descriptor)


def _trunk_index(snapshot: RoutingSnapshot, name: str | None) -> int:
    names = sorted(snapshot.trunk_index)
    if name is None:
        if len(names) == 1:
            return snapshot.trunk_index[names[0]]
        raise Problem(400, "bad-request", f"there are {len(names)} trunks", hint=f"say which: {', '.join(names[:20])}")
    if name not in snapshot.trunk_index:
        raise Problem(404, "unknown-name", f"there is no trunk {name}", hint=f"trunks: {', '.join(names[:20])}")
    return snapshot.trunk_index[name]


def _live(snapshot: RoutingSnapshot, view: View) -> Live:
    """The states of the view, by index."""
    live = Live.for_snapshot(snapshot)
    seen = view.status.get("sbcs") or {}
    for index, sbc in enumerate(snapshot.sbcs):
        state = seen.get(sbc.name) or {}
        word = state.get("operating")
        live.operating[index] = _STATES.index(word) if word in _STATES else int(Operating.UNKNOWN)
        live.sbc_calls[index] = int(state.get("calls") or 0)
        live.resting_until_s[index] = float(state.get("resting_s") or 0)
        live.suspect[index] = bool(state.get("suspect"))
    live.version += 1
    live.reflag(0.0)
    tenants, trunks = view.status.get("tenants") or {}, view.status.get("trunks") or {}
    for index, tenant in enumerate(snapshot.tenants):
        live.tenant_calls[index] = int((tenants.get(tenant.name) or {}).get("calls") or 0)
    for index, trunk in enumerate(snapshot.trunks):
        live.trunk_calls[index] = int((trunks.get(trunk.name) or {}).get("calls") or 0)
    return live


def _refusal(snapshot: RoutingSnapshot, refusal: NoRoute) -> dict[str, Any]:
    entry_point = None if refusal.entry_point is None else snapshot.entry_points[refusal.entry_point].name
    return {
        "refused": refusal.status, "q850_cause": refusal.cause, "limit": refusal.limit, "entry_point": entry_point,
        "reason": refusal.reason, "targets": [],
    }  # fmt: skip


def _way(snapshot: RoutingSnapshot, live: Live, route: Route) -> dict[str, Any]:
    attempts = arrange(route, live, 0.0).targets
    return {
        "refused": None,
        "entry_point": snapshot.entry_points[route.entry_point].name,
        "group": snapshot.groups[route.group].name,
        "side": _SIDES[route.side],
        "tenant": snapshot.tenants[route.tenant].name,
        "called": route.called[route.side],
        "rule": route.rule,
        "reason": route.why(),
        "targets": [_target(snapshot, live, route, target, trial) for target, trial in attempts],
    }


def _target(snapshot: RoutingSnapshot, live: Live, route: Route, target: Target, trial: bool) -> dict[str, Any]:
    user = target.called_prefix + route.called[target.side]
    return {
        "sbc": snapshot.sbcs[target.sbc].name,
        "tenant": snapshot.tenants[target.tenant].name,
        "side": _SIDES[target.side],
        "uri": f"sip:{user}{target.uri_params.decode('latin-1')}@{target.uri_host.decode('latin-1')}",
        "to": f"{target.transport}:{target.host}:{target.port}",
        "operating": _STATES[live.operating[target.sbc]],
        "trial": trial,
    }
