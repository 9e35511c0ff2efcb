"""`GET /v1/route`: where a number would go now, by the live table and the states the controller saw last, and every step to it.

The table file named by the view is mapped once, its rules are gathered once, and it is joined once per (file, term, seq).
"""

from __future__ import annotations

import mmap
import os
from typing import Any, Final

from sipctl.api.problems import Problem
from sipctl.control.ports import View
from sipctl.errors import SnapshotError
from sipctl.routing.explain import instant_text, route_answer
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.rulebook import RuleBook
from sipctl.routing.snapshot import Operating
from sipctl.routing.table import Table, load_table

MAX_CPS_TOLD: Final = 100_000  # new calls a second of one trunk, counted one by one into the live lists

_STATES: Final = ("unknown", "in-service", "out-of-service")  # in the order of Operating


class LiveRoutes:
    """Keeps the joined snapshot of the last question."""

    def __init__(self) -> None:
        self._table: Table | None = None
        self._path = ""
        self._snapshot: RoutingSnapshot | None = None
        self._book: RuleBook | None = None

    def answer(
        self, view: View, number: str, trunk: str | None, caller: str | None, unix_s: float, is_asked: bool = False
    ) -> dict[str, Any]:
        """Where a call would go. Blocks while a new table is mapped: call it from a thread.

        Args:
            unix_s: when the call comes: hours are kept by it, and overlays and kill switches end by it; is_asked: not now.
        Raises: Problem 503 without a table, 404 for an unknown trunk, 400 when the trunk is left open and there are several.
        """
        snapshot = self._joined(view)
        index = _trunk_index(snapshot, trunk)
        asked = f"live revision {snapshot.revision}, states now"
        live = _live(snapshot, view)
        answer = route_answer(snapshot, live, asked, number, index, caller, unix_s=unix_s, book=self._book)
        if is_asked:
            asked += f", at {instant_text(unix_s)}"
        return {**answer.body(), "asked": asked, "term": snapshot.term, "seq": snapshot.seq}

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
                self._book = RuleBook(self._table.numbers)
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
        said = trunks.get(trunk.name) or {}
        live.trunk_calls[index] = int(said.get("calls") or 0)
        for _ in range(min(int(said.get("cps") or 0), MAX_CPS_TOLD)):
            live.note_new_call(index, 0.0)
    entries = view.detail.get("entry_points") or {}
    for index, entry in enumerate(snapshot.entry_points):
        live.entry_calls[index] = int((entries.get(entry.name) or {}).get("calls") or 0)
    return live
