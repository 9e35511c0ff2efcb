"""Limits over all routers of one machine: each tells its own counts on the board, a limit reads the sum (DESIGN §4.2).

Only what has a limit is told. Everything goes by numeric id, so it does not matter that one router holds the next revision a
moment before another.

Two routers may let a call in at the same instant, each counting on the last place. So whoever lets one in counts it first and
looks again (`is_over`): nobody ever has a call too many, and in such an instant both may be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sipctl.routing.board import Board

if TYPE_CHECKING:
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.live import Live

# Kinds of what is counted: the upper octet of a key, its numeric id below.
ENTRY: Final = 1 << 24
TENANT: Final = 2 << 24
TRUNK: Final = 3 << 24
SBC: Final = 4 << 24
NEW_CALLS: Final = 5 << 24  # of a trunk, a second
WINDOW_S: Final = 1.0


class Counts:
    """One router's counts of what has a limit, and the sum of all others'."""

    __slots__ = ("_board", "_place_of")

    def __init__(self, board: Board) -> None:
        self._board = board
        self._place_of: dict[int, int] = {}

    def publish(self, counts: Mapping[int, int]) -> int:
        """Tell these, by key, and no others; returns how many found no room, so are limited per router."""
        keys = list(counts)
        left_out = self._board.lay_out(keys, list(counts.values()))
        self._place_of = {key: place for place, key in enumerate(keys[: len(keys) - left_out])}
        return left_out

    def note(self, kind: int, number: int, count: int) -> None:
        """The own count of one entity, by its id."""
        place = self._place_of.get(kind | number)
        if place is not None:
            self._board.write(place, count)

    def elsewhere(self, kind: int, number: int) -> int:
        """What all other routers count of it."""
        place = self._place_of.get(kind | number)
        return 0 if place is None else self._board.elsewhere(place)

    def note_window(self, trunk: int, start_s: float, now: int, last: int) -> None:
        """The own new calls of a trunk: since `start_s`, and in the second before."""
        place = self._place_of.get(NEW_CALLS | trunk)
        if place is not None:
            self._board.write_window(place, start_s, now, last)

    def cps_elsewhere(self, trunk: int, now_s: float) -> float:
        """New calls of a trunk within the last second at all other routers."""
        place = self._place_of.get(NEW_CALLS | trunk)
        if place is None:
            return 0.0
        return sum(cps_of(start_s, now, last, now_s) for start_s, now, last in self._board.windows_elsewhere(place))


def cps_of(start_s: float, now: int, last: int, now_s: float) -> float:
    """New calls within the last second, by a window that its owner may not have turned for a while."""
    seen = (now_s - start_s) / WINDOW_S
    if seen >= 2.0:
        return 0.0
    if seen >= 1.0:
        return now * max(0.0, 2.0 - seen)
    return now + last * max(0.0, 1.0 - seen)


def counts_of(snapshot: RoutingSnapshot, live: Live) -> dict[int, int]:
    """Key and own count of everything in a plan that has a limit."""
    found: dict[int, int] = {}
    for at, entry in enumerate(snapshot.entry_points):
        if entry.max_calls is not None:
            found[ENTRY | int(entry.id)] = live.entry_calls[at]
    for at, tenant in enumerate(snapshot.tenants):
        if tenant.max_calls is not None:
            found[TENANT | int(tenant.id)] = live.tenant_calls[at]
    for at, sbc in enumerate(snapshot.sbcs):
        if sbc.max_calls is not None:
            found[SBC | int(sbc.id)] = live.sbc_calls[at]
    for at, trunk in enumerate(snapshot.trunks):
        if trunk.max_calls is not None:
            found[TRUNK | int(trunk.id)] = live.trunk_calls[at]
        if trunk.max_cps is not None:
            found[NEW_CALLS | int(trunk.id)] = 0
    return found


def is_over(snapshot: RoutingSnapshot, live: Live, trunk: int, entry_at: int, tenant: int) -> bool:
    """Whether a call that is counted already is one too many: another router let one in at the same instant."""
    limits = (
        (snapshot.trunks[trunk].max_calls, live.trunk_total(trunk)),
        (snapshot.entry_points[entry_at].max_calls, live.entry_total(entry_at)),
        (snapshot.tenants[tenant].max_calls, live.tenant_total(tenant)),
    )
    return any(most is not None and count > most for most, count in limits)
