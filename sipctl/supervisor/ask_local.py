"""The client's end of STATE/run/local, for commands with `--local`; and, where no supervisor runs, the same without one.

Without a supervisor whoever holds the lock of STATE may write: so the order is taken down, and the routers that went on by
themselves are told through the sockets at which they wait for the next supervisor.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from sipctl.clock import monotonic_s, unix_s
from sipctl.engine.embedded import wire
from sipctl.engine.generation import Generations
from sipctl.errors import EngineError
from sipctl.supervisor import local_wire
from sipctl.supervisor.children import Child, in_run
from sipctl.supervisor.door import NAME
from sipctl.supervisor.local_rules import orders_of, scope_of, sentence
from sipctl.supervisor.local_wire import End, Give, Picture, Worker
from sipctl.supervisor.order_book import OrderBook
from sipctl.supervisor.snapshots import Snapshots
from sipctl.supervisor.state_dir import StateDir
from sipctl.supervisor.takeover import call_router

ANSWER_S = 5.0  # the supervisor answers within the times of `emergency`, unless it stands still
ROUTER_S = 2.0


class NobodyError(EngineError):
    """No supervisor answers at this STATE."""

    code = "local.nobody"
    exit_code = 5


def ask(
    root: Path, request: local_wire.Request, on_said: Callable[[str], None] | None = None, timeout_s: float = ANSWER_S
) -> Picture | End:
    """Ask the supervisor of a STATE.

    Args:
        timeout_s: between two words of it.
    Raises: NobodyError if none is there, or it does not answer.
    """
    state = StateDir(root)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(timeout_s)
        try:
            in_run(state, lambda folder: sock.connect(f"{folder}/{NAME}"))
            wire.send_packet(sock, local_wire.encode(request))
            while (packet := wire.receive_packet(sock)) is not None:
                wire.close_all(packet[1])
                frame = local_wire.answer(packet[0])
                if not isinstance(frame, local_wire.Said):
                    return frame
                if on_said is not None:
                    on_said(frame.text)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NobodyError(f"no supervisor runs on {state.root}", hint="`sipctl run` on it takes its calls over") from error
        except TimeoutError as error:
            raise NobodyError(f"the supervisor of {state.root} does not answer within {timeout_s:g} s") from error
        except PermissionError as error:
            hint = "run it as the user sipctl runs as, or as root"
            raise NobodyError(f"{state.run / NAME} is not yours", hint=hint) from error
        except (OSError, msgspec.MsgspecError) as error:
            raise NobodyError(f"the supervisor of {state.root} cannot be asked: {error}") from error
    raise NobodyError(f"the supervisor of {state.root} ended before it answered")


def give_alone(root: Path, give: Give) -> End:
    """Give an order where no supervisor runs: written to STATE, and told to the routers that live.

    Raises: OccupiedError if a supervisor runs after all.
    """
    state = StateDir(root)
    state.lock()
    routers: list[Child] = []
    try:
        routers = [child for child in _routers(state) if child.slot is not None]
        snapshots, book = Snapshots(Generations(state.snapshots)), OrderBook(state.root)
        snapshots.refresh()
        fault = book.load()
        seen = sorted(_seen(routers), key=lambda one: one.slot)
        scope = scope_of(give, seen, snapshots.groups(), serves=False)
        if isinstance(scope, End):
            return scope
        text, body = sentence(give, scope), {"groups": list(scope.groups), "calls": scope.calls, "tenants": scope.tenants}
        if give.dry_run:
            return End("done", f"would do: {text}; {scope.calls} calls that are up stay up", body=body)
        last = max([book.last, snapshots.orders_taken(), *(one.orders_taken for one in seen)])
        orders = orders_of(give, scope, f"local:{pwd.getpwuid(os.getuid()).pw_name}", last, unix_s())
        fault = book.add(orders) or fault
        obeyed = _obeyed(routers, wire.Orders(book.orders), orders[-1].number)
        told = f"{len(obeyed)} of {len(routers)} routers follow" if routers else "no router runs"
        after = f"; but {fault}" if fault else "; written to STATE for the next `sipctl run`"
        return End("done" if len(obeyed) == len(routers) else "late", f"{text}: {told}{after}", body=body)
    finally:
        for child in routers:
            _leave(child)
        state.unlock()


def look_alone(root: Path) -> Picture | None:
    """What the routers tell where no supervisor runs; None if one does after all, or STATE cannot be used."""
    state = StateDir(root)
    if not state.run.is_dir():
        return None
    try:
        state.lock()
    except (EngineError, OSError):
        return None
    routers: list[Child] = []
    try:
        routers = _routers(state)
        book = OrderBook(state.root)
        book.load()
        seen = tuple(sorted(_seen([child for child in routers if child.slot is not None]), key=lambda one: one.slot))
        workers = tuple(
            Worker("spare" if child.slot is None else f"router-{child.slot}", child.pid, True, child.build)
            for child in routers
        )
        return Picture(workers, seen, book.orders, {}, False)
    finally:
        for child in routers:
            _leave(child)
        state.unlock()


def _routers(state: StateDir) -> list[Child]:
    found = []
    for path in sorted(state.run.glob("*.sock")):
        called = call_router(state, path.name)
        if called is not None:
            child, _, fds = called
            wire.close_all(fds)
            found.append(child)
    return found


def _seen(routers: list[Child]) -> list[wire.Seen]:
    told = _answers(routers, wire.Look(), lambda frame: isinstance(frame, wire.Seen))
    return [frame for frame in told if isinstance(frame, wire.Seen)]


def _obeyed(routers: list[Child], orders: wire.Orders, number: int) -> list[wire.FromChild]:
    return _answers(routers, orders, lambda frame: isinstance(frame, wire.Obeyed) and frame.number >= number)


def _answers(routers: list[Child], asked: msgspec.Struct, fits: Callable[[wire.FromChild], bool]) -> list[wire.FromChild]:
    """Ask each of them, and wait a little for the one frame of each that fits."""
    waiting = [child for child in routers if child.send(asked)]
    deadline_s = monotonic_s() + ROUTER_S
    found = []
    while waiting and (left_s := deadline_s - monotonic_s()) > 0:
        poll = select.poll()
        for child in waiting:
            assert child.sock is not None
            poll.register(child.sock, select.POLLIN)
        poll.poll(left_s * 1000)
        for child in tuple(waiting):
            frames = child.frames()
            for _, fds in frames:
                wire.close_all(fds)
            fitting = [frame for frame, _ in frames if fits(frame)]
            if fitting or child.sock is None:
                waiting.remove(child)
                found += fitting[:1]
    return found


def _leave(child: Child) -> None:
    """Let go of a router that goes on."""
    if child.sock is not None:
        child.sock.close()
        child.sock = None
    with contextlib.suppress(OSError):
        os.close(child.pidfd)
