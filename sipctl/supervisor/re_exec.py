"""A supervisor that becomes another build of itself in place: same process, same lock, same desk and controller.

Routers are found again by their takeover sockets, as after a death. What cannot be found so is handed through `exec` as open
descriptors: the lock of STATE, the wires of desk and controller, and the client who waits for the end of it. Signals wait
meanwhile: one that came between two images would end the process without ending its children.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

_VARIABLE = "SIPCTL_PASSED_ON"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Kept(msgspec.Struct, frozen=True):
    """A child that goes on: its process and its wire."""

    pid: int
    wire: int
    build: str = ""


class _Passed(msgspec.Struct, frozen=True):
    pid: int
    lock: int
    kept: Mapping[str, Kept] = {}
    client: int = -1
    actor: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class PassedOn:
    """What the image before left to this one."""

    lock: int
    kept: Mapping[str, Kept] = field(default_factory=dict)  # role → child
    client: socket.socket | None = None  # waits for the word that all is well
    actor: str = ""
    text: str = ""  # what that word is


def re_execute(
    argv: Sequence[str], lock: int, kept: Mapping[str, Kept], client: socket.socket | None, actor: str, text: str
) -> str:
    """Become `argv`; returns only if that cannot be, with the reason, and everything as before."""
    client_fd = client.fileno() if client is not None else -1
    fds = [lock, *(one.wire for one in kept.values()), *([client_fd] if client is not None else [])]
    passed = _Passed(os.getpid(), lock, kept, client_fd, actor, text)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        os.execve(argv[0], list(argv), {**os.environ, _VARIABLE: msgspec.json.encode(passed).decode()})
    except OSError as error:
        for fd in fds:
            os.set_inheritable(fd, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return str(error)


def received() -> PassedOn | None:
    """What was handed over, once; None for a process that was started as usual."""
    text = os.environ.pop(_VARIABLE, "")
    if not text:
        return None
    try:
        passed = msgspec.json.decode(text, type=_Passed)
    except msgspec.MsgspecError:
        return None
    if passed.pid != os.getpid():  # inherited by a child of a child: not meant for us
        return None
    for fd in (passed.lock, *(one.wire for one in passed.kept.values())):
        os.set_inheritable(fd, False)
    client = None
    if passed.client >= 0:
        os.set_inheritable(passed.client, False)
        client = socket.socket(fileno=passed.client)
        client.setblocking(False)
    return PassedOn(passed.lock, passed.kept, client, passed.actor, passed.text)


def let_signals_in() -> None:
    """Handlers stand: what came meanwhile may arrive."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
