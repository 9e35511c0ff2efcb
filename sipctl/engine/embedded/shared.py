"""What the routers of one machine share beside the SIP sockets, as descriptors: every slot's memory, the board, and the doors.

With one router that is its slot's memory and nothing else. With more there is a *board*, on which every router tells the others
how many calls it has and, the lowest of them, how it finds the SBCs (`routing/board.py`), and a *door* to each slot: the end of a
socketpair at which the slot's router reads what others hand to it (`hand_off.py`), and the end into which they all write.

Every router and every spare holds all of it, its own or not: so whichever survives, the next supervisor finds everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipctl.call.owner import MAX_ROUTERS


@dataclass(frozen=True, slots=True)
class Shared:
    """Descriptors, by slot; whoever made or received them closes them."""

    memories: tuple[int, ...]
    board: int = -1  # -1: there is one router, so nothing is handed over
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()

    @property
    def slots(self) -> int:
        return len(self.memories)

    @property
    def fds(self) -> list[int]:
        """All of them, as they travel."""
        return [*self.memories, self.board, *self.reads, *self.writes] if self.board >= 0 else list(self.memories)


def fd_count(slots: int) -> int:
    """How many descriptors so many slots share."""
    return 1 if slots == 1 else 3 * slots + 1


def from_fds(slots: int, fds: Sequence[int]) -> Shared:
    """What a packet brought, read back.

    Raises: ValueError if there are too few descriptors, or the number of slots is out of range.
    """
    if not 1 <= slots <= MAX_ROUTERS or len(fds) < fd_count(slots):
        raise ValueError(f"{slots} slots and {len(fds)} descriptors")
    if slots == 1:
        return Shared((fds[0],))
    reads, writes = slots + 1, 2 * slots + 1
    return Shared(tuple(fds[:slots]), fds[slots], tuple(fds[reads:writes]), tuple(fds[writes : writes + slots]))
