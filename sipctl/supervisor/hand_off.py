"""What the routers of one machine share, made once and held by the supervisor (`engine/embedded/shared.py` says what it is).

A door is a pair of datagram sockets: bounded, never waited for, whole messages only. What is handed to a slot whose router has
died waits in it for the successor.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket

from sipctl.engine.embedded.shared import Shared
from sipctl.engine.embedded.wire import close_all
from sipctl.routing.board import Board, board_bytes

DOOR_BYTES = 8 << 20  # asked for at each door: some 4,000 messages while a successor comes
_SO_SNDBUFFORCE = 32  # linux/socket.h; Python's socket module lacks it


def make_shared(slots: int, slot_bytes: int) -> Shared:
    """Memory of every slot, all zeros; with more than one also the board and the doors."""
    memories = tuple(_memory(f"slot-{slot}", slot_bytes) for slot in range(slots))
    if slots == 1:
        return Shared(memories)
    board = _memory("board", board_bytes(slots))
    reads, writes = zip(*(_door() for _ in range(slots)), strict=True)
    return Shared(memories, board, reads, writes)


def close_shared(shared: Shared) -> None:
    """Let go of it; who else holds it goes on."""
    close_all(shared.fds)


class DeathBoard:
    """The supervisor's view of the board: it knows first of a death, and tells the others there."""

    def __init__(self, shared: Shared) -> None:
        self._board: Board | None = None
        if shared.board >= 0:
            memory = mmap.mmap(shared.board, os.fstat(shared.board).st_size)
            self._board = Board(memoryview(memory), shared.slots, -1)

    def mark_dead(self, slot: int) -> None:
        """The router of that slot has ended: another one probes at once (CALLS 3.1)."""
        if self._board is not None:
            self._board.mark_dead(slot)


def _memory(name: str, size: int) -> int:
    memory = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return memory


def _door() -> tuple[int, int]:
    """(end to read, end to write)."""
    read, write = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (read, write):
        end.setblocking(False)
    write.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DOOR_BYTES)  # as far as net.core.wmem_max goes
    with contextlib.suppress(OSError):
        write.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, DOOR_BYTES)
    return read.detach(), write.detach()
