"""The signalling sockets: opened once by the supervisor, read by routers, outliving each of them."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Sequence

from sipctl.errors import EngineError
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.steering import steer

RECEIVE_BUFFER_BYTES = 8 << 20
BACKLOG = 1024

# linux/socket.h, linux/in.h; Python's socket module lacks them.
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0
_IPV6_MTU_DISCOVER = 23
_HINTS = {
    errno.EADDRINUSE: "another program has this address; `ss -lnp` shows which",
    errno.EADDRNOTAVAIL: "this machine does not have this address",
    errno.EACCES: "ports below 1024 need the right to bind them",
}


class ListenError(EngineError):
    """A signalling socket cannot be opened."""

    code = "listen.failed"
    exit_code = 2


def open_sockets(listens: Sequence[Listen], slots: int = 1, note: Callable[[str], object] = str) -> list[socket.socket]:
    """One bound socket per listen, in order; with several slots once for each, slot after slot.

    A UDP listen has a socket for every slot, and the kernel chooses (`steering`); a TCP listen has one that all accept from.

    Args:
        note: told why the kernel cannot choose as we do, if so: routers then hand over more.
    Raises: ListenError naming the listen that cannot be opened; none is left open then.
    """
    opened: list[list[socket.socket]] = []
    try:
        for listen in listens:
            opened.append([])
            _open_for_all(listen, slots, opened[-1], note)
    except ListenError:
        for sock in {sock for group in opened for sock in group}:
            sock.close()
        raise
    return [group[slot] for slot in range(slots) for group in opened]


def _open_for_all(listen: Listen, slots: int, opened: list[socket.socket], note: Callable[[str], object]) -> None:
    if slots == 1 or listen.transport == "tcp":
        opened += [open_socket(listen)] * slots
        return
    open_socket(listen).close()  # sockets bound together would also go together with those of another program of this user
    for slot in range(slots):
        opened.append(open_socket(listen, together=True))
        if slot == 0:
            try:
                steer(opened[0], slots)
            except OSError as error:
                note(f"listen {listen.name}: the kernel cannot choose between routers ({error.strerror}); they hand over instead")


def open_socket(listen: Listen, *, together: bool = False) -> socket.socket:
    """The bound socket of one listen; a TCP socket listens already.

    Args:
        together: others of ours are bound to the same address.
    Raises: ListenError with a hint.
    """
    six = ":" in listen.host
    stream = listen.transport == "tcp"
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        _tune(sock, six=six, stream=stream, dscp=listen.dscp)
        if together:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((listen.host, listen.port))
        if stream:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        at = f"{listen.transport}:{'[' + listen.host + ']' if six else listen.host}:{listen.port}"
        hint = _HINTS.get(error.errno or 0, "")
        raise ListenError(f"listen {listen.name} ({at}) cannot be opened: {error.strerror}", hint=hint) from error
    return sock


def _tune(sock: socket.socket, *, six: bool, stream: bool, dscp: int) -> None:
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    if stream:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return
    # A router's successor needs 100 ms: what arrives meanwhile waits here.
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, RECEIVE_BUFFER_BYTES)  # as far as net.core.rmem_max goes
    # A large INVITE is fragmented, not refused.
    with contextlib.suppress(OSError):
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
