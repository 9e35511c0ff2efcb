"""STATE/run/local: where the owner of STATE, and nobody else, speaks to the supervisor without API, desk or controller.

A Unix socket in a folder that only its owner may enter; the kernel tells who is at the other end. One request per connection,
answered by packets of `local_wire`, the last of which is a Picture or an End. Nothing here waits.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import socket

import msgspec

from sipctl.engine.embedded import wire
from sipctl.supervisor import local_wire
from sipctl.supervisor.children import in_run
from sipctl.supervisor.state_dir import StateDir

NAME = "local"  # not *.sock: those are where routers answer the next supervisor
MAX_CLIENTS = 16
SILENT_S = 10.0  # a client that asks nothing for so long is let go


class Client:
    """One connection, and who is at its other end."""

    def __init__(self, sock: socket.socket, actor: str, now_s: float) -> None:
        self.sock: socket.socket | None = sock
        self.actor = actor
        self.since_s = now_s
        self.has_asked = False

    def say(self, frame: local_wire.Answer) -> None:
        """Lost if it does not read or has gone."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                wire.send_packet(self.sock, local_wire.encode(frame))

    def end(self, frame: local_wire.Answer) -> None:
        """The last word."""
        self.say(frame)
        self.close()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Door:
    """The socket and those who came."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._listener: socket.socket | None = None
        self._clients: list[Client] = []

    def open(self) -> str:
        """Returns what went wrong, in a sentence, or nothing: calls do not depend on it."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._state.remove(NAME)
        try:
            in_run(self._state, lambda folder: listener.bind(f"{folder}/{NAME}"))
            (self._state.run / NAME).chmod(0o600)
            listener.listen(MAX_CLIENTS)
        except OSError as error:
            listener.close()
            return f"{self._state.run / NAME} cannot be opened: {error}; commands with --local will not work"
        self._listener = listener
        return ""

    def register(self, poll: select.poll) -> None:
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        for client in self._clients:
            if client.sock is not None and not client.has_asked:
                poll.register(client.sock, select.POLLIN)

    def requests(self, now_s: float) -> list[tuple[Client, local_wire.Request]]:
        """What was asked since the last look."""
        self._let_in(now_s)
        asked = []
        for client in self._clients:
            if client.sock is None or client.has_asked:
                continue
            found = _request(client)
            if found is not None:
                client.has_asked = True
                asked.append((client, found))
            elif now_s - client.since_s > SILENT_S:
                client.close()
        self._clients = [client for client in self._clients if client.sock is not None]
        return asked

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _let_in(self, now_s: float) -> None:
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            actor = _actor(sock)
            client = Client(sock, actor, now_s)
            if not actor:
                client.end(local_wire.End("refused", "only the owner of STATE may give orders here", "owner"))
            elif len(self._clients) >= MAX_CLIENTS:
                client.end(local_wire.End("failed", f"{MAX_CLIENTS} commands wait here already", hint="try again in a moment"))
            else:
                self._clients.append(client)


def _actor(sock: socket.socket) -> str:
    """Who is at the other end, as the history names it; "" for anybody but root and the user we run as."""
    peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(peer[4:8], "little")
    if uid not in (0, os.getuid()):
        return ""
    try:
        return f"local:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"local:{uid}"


def _request(client: Client) -> local_wire.Request | None:
    assert client.sock is not None
    try:
        packet = wire.receive_packet(client.sock)
    except BlockingIOError:
        return None
    except OSError:
        packet = None
    if packet is None:
        client.close()
        return None
    wire.close_all(packet[1])
    try:
        return local_wire.request(packet[0])
    except msgspec.MsgspecError:
        client.end(local_wire.End("invalid", "the command is of another build of sipctl than the supervisor"))
        return None
