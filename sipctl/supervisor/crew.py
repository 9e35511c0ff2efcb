"""Who works under a supervisor: a router in each slot, a spare behind them, a controller and a desk; and how one follows another.

The supervisor (supervisor.py) turns the loop and hears what they say; here they are started, given what they need, joined by
links, buried and replaced.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sipctl.clock import monotonic_s
from sipctl.engine.embedded import wire
from sipctl.engine.embedded.shared import Shared, fd_count
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.children import Child, spawn
from sipctl.supervisor.hand_off import DeathBoard
from sipctl.supervisor.snapshots import Snapshots
from sipctl.supervisor.sockets import ListenError, open_sockets
from sipctl.supervisor.state_dir import StateDir
from sipctl.supervisor.takeover import Inheritance

SPARE_DELAY_S = 0.2  # a new spare's imports leave the CPU to the successor's first calls
MAX_BACKOFF_S = 5.0
CALM_S = 30.0  # a child that lived so long starts anew without delay
STOP_TIMEOUT_S = 5.0
BOOT_DEATHS_BEFORE_OLDEST = 2
LAYOUT_BYTES = 16  # at the start of a slot's memory: how it is laid out (call/records.py)
SNAPSHOT_FDS = 9  # that ride with an assignment: state, table and canary's table of the held, the newest and the older snapshot
LOOP_DEATHS = 3  # so many in a row are told as an alarm


@dataclass(frozen=True, slots=True)
class Settings:
    """What `sipctl run` was asked for."""

    state_dir: Path
    config_dir: Path = Path()
    api: str = "127.0.0.1:8080"
    node: str = ""
    program: tuple[str, ...] = ("-P", "-m", "sipctl.app")  # -P: never from the folder it was started in
    slot_bytes: int = 0
    watch: bool = False  # apply the folder by itself whenever it is saved
    roles: tuple[str, ...] = ("controller", "desk")
    build: str = ""  # version of our code
    routers: int = 1  # slots, fixed until everything has ended


@dataclass(slots=True)
class Slot:
    """The place of one router: its memory outlives each of them (`Crew.shared`)."""

    number: int
    router: Child | None = None
    boot_deaths: int = 0
    distrust: tuple[int, int] | None = None
    assign_at_s: float = 0.0
    successor: Child | None = None  # the spare that is to take this slot next, of another build perhaps

    @property
    def router_name(self) -> str:
        return f"r{self.number + 1}"


@dataclass(slots=True)
class Backoff:
    """When a role may be started again."""

    at_s: float = 0.0
    failures: int = 0

    def died(self, lived_s: float, now_s: float) -> None:
        self.failures = 0 if lived_s > CALM_S else self.failures + 1
        self.at_s = now_s + (min(0.1 * 2 ** (self.failures - 1), MAX_BACKOFF_S) if self.failures > 1 else 0.0)


class Crew:
    """See the module's docstring.

    Args:
        note: writes a line of the supervisor's log.
    """

    def __init__(
        self, settings: Settings, state: StateDir, snapshots: Snapshots, supervisor_pid: int, note: Callable[[str], None]
    ) -> None:
        self.listens: tuple[Listen, ...] = ()
        self.sockets: list[socket.socket] = []
        self.slots: list[Slot] = []
        self.shared = Shared(())
        self._deaths = DeathBoard(self.shared)
        self.spares: list[Child] = []
        self.solo: dict[str, Child] = {}  # controller and desk
        self.backoff = {role: Backoff() for role in (*settings.roles, "router")}
        self.wanted_api = settings.api
        self.build = settings.build
        self.python = sys.executable  # whose build of sipctl new children run
        self.orders: tuple[LocalOrder, ...] = ()  # given on this node, and not taken by a controller yet
        self._settings = settings
        self._state = state
        self._snapshots = snapshots
        self._supervisor_pid = supervisor_pid
        self._note = note
        self._serial = 0
        self._noted: dict[str, tuple[int, bool]] = {}  # run files as we wrote them

    def children(self) -> list[Child]:
        return [*self.routers(), *self.spares, *self.solo.values()]

    def routers(self) -> list[Child]:
        return [slot.router for slot in self.slots if slot.router is not None]

    def name(self, child: Child) -> str:
        if child.slot is not None:
            return f"router-{child.slot}"
        return "spare" if child.role == "router" else child.role

    def note_processes(self) -> None:
        """Keep STATE/run true: the next supervisor, tests and people go by it."""
        running = {self.name(child): child for child in reversed(self.children())}  # the older spare has the name
        for number, spare in enumerate(self.spares[1:], start=2):
            running[f"spare-{number}"] = spare
        told = {name: (child.pid, child.is_at_work) for name, child in running.items()}
        for name in self._noted.keys() - told.keys():
            self._state.remove(f"{name}.json")
        for name, (pid, is_ready) in list(told.items()):
            if self._noted.get(name) != (pid, is_ready) and not self._state.note_process(name, pid, is_ready=is_ready):
                del told[name]  # a full disk: the next round tries again
        self._noted = told

    def troubles(self, now_s: float) -> dict[str, str]:
        """What is wrong with processes now: each an alarm for as long as it stands."""
        found = {}
        for role, backoff in self.backoff.items():
            if backoff.failures < LOOP_DEATHS:
                continue
            now = self.spares if role == "router" else [child for name, child in self.solo.items() if name == role]
            if now and all(child.is_booted and now_s - child.started_s > CALM_S for child in now):
                backoff.failures = 0
                continue
            words = f"its last words are in {self._state.log / (role + '.stderr')}"
            name = "a spare router" if role == "router" else f"the {role}"
            found[role] = f"{name} has ended {backoff.failures} times shortly after its start, and is started again; {words}"
        for slot in self.slots:
            if slot.router is None and self.spares and not any(self._fits_the_others(spare) for spare in self.spares):
                found[slot.router_name] = (
                    f"router {slot.router_name} is dead, and the build of its spares does not work beside the other routers: "
                    "drain the node, stop sipctl and start it"
                )
            elif slot.boot_deaths >= LOOP_DEATHS:
                words = f"its last words are in {self._state.log / 'router.stderr'}"
                found[slot.router_name] = f"router {slot.router_name} has died {slot.boot_deaths} times while booting; {words}"
        return found

    # -- beginning -------------------------------------------------------------------------------------------------------------

    def share(self, shared: Shared) -> None:
        """The slots there are, and what their routers share."""
        self.shared = shared
        self.slots = [Slot(number) for number in range(shared.slots)]
        self._deaths = DeathBoard(shared)

    def take_in(self, inherited: Inheritance) -> None:
        """Go on with the children that answered; a slot has one router, and one spare is enough."""
        for child in inherited.routers:
            slot = self.slots[child.slot] if child.slot is not None and child.slot < len(self.slots) else None
            if slot is None or slot.router is not None:
                child.kill()
                child.reap()
            else:
                slot.router = child
        for child in inherited.spares:
            if self.spares:
                child.kill()
                child.reap()
            else:
                self.spares.append(child)
        self.note_processes()

    def open_sockets(self, listens: Sequence[Listen]) -> None:
        """Raises: ListenError if one cannot be opened, or if they are more than one packet carries to a router."""
        slots, room = len(self.slots), max_listens(len(self.slots))
        if len(listens) > room:
            routers = "1 router" if slots == 1 else f"{slots} routers"
            raise ListenError(
                f"the plan has {len(listens)} listens: {routers} can have {room} at most, since each is given the sockets of all",
                hint="run fewer routers (`sipctl run --routers`), or take listens out of the plan",
            )
        self.sockets = open_sockets(listens, len(self.slots), self._note)
        self.listens = tuple(listens)
        for spare in self.spares:
            self._give_to_keep(spare)

    # -- starting --------------------------------------------------------------------------------------------------------------

    def fill(self, now_s: float) -> None:
        """Whatever should run and does not is started; a free slot takes a spare that has booted."""
        for slot in self.slots:
            if slot.router is None and self.sockets and now_s >= slot.assign_at_s:
                spare = self._successor(slot)
                if spare is not None:
                    self._assign(slot, spare, now_s)
        wanted = 1 + sum(slot.router is None for slot in self.slots)
        if len(self.spares) < wanted and now_s >= self.backoff["router"].at_s:
            self.start_spare(now_s)
        for role in self._settings.roles:
            if role not in self.solo and now_s >= self.backoff[role].at_s:
                self._start_solo(role, now_s)

    def _successor(self, slot: Slot) -> Child | None:
        """Who takes a free slot: the one that is meant to, else the first that can go on with its calls."""
        ready = [spare for spare in self.spares if spare.is_booted and not spare.is_stopping]
        fitting = [spare for spare in ready if self.fits(spare, slot)]
        if slot.successor in fitting:
            return slot.successor
        if fitting or not ready:
            return fitting[0] if fitting else None
        if any(self.fits(spare, slot) and not spare.is_stopping for spare in self.spares):
            return None  # it boots still
        if not self._fits_the_others(ready[0]):
            return None  # `troubles` tells
        self._note(f"slot {slot.number}: no router is left that could read its calls: they are forgotten, new ones are carried")
        self._blank(slot)
        return ready[0]

    def layout(self, slot: Slot) -> str:
        """How its memory is laid out; "" if nobody has written there yet."""
        return os.pread(self.shared.memories[slot.number], LAYOUT_BYTES, 0).rstrip(b"\0").decode("ascii", "replace")

    def fits(self, spare: Child, slot: Slot) -> bool:
        """Can this spare go on with the slot's calls? One of an older build, that does not tell, is asked by trying."""
        calls, layout = _layouts(spare)[0], self.layout(slot)
        if layout and calls and calls != layout:
            return False
        return self._fits_the_others(spare)

    def _fits_the_others(self, spare: Child) -> bool:
        """Does it lay out what all slots share as the routers do that live?"""
        board = _layouts(spare)[1]
        return len(self.slots) == 1 or not board or self.board_layout() in ("", board)

    def board_layout(self) -> str:
        """How what all slots share is laid out: as the routers that live do it; "" if none does, or none tells."""
        return next((board for router in self.routers() if (board := _layouts(router)[1])), "")

    def _blank(self, slot: Slot) -> None:
        memory = self.shared.memories[slot.number]
        size, at = os.fstat(memory).st_size, 0
        while at < size:
            at += os.pwrite(memory, bytes(min(size - at, 1 << 20)), at)

    def dismiss(self, spare: Child, reason: str) -> None:
        """Let a spare go; its end is heard of as any other's."""
        spare.is_stopping = True
        spare.send(wire.Stop(reason))
        spare.signal(signal.SIGTERM)

    def _start(
        self, role: str, arguments: Sequence[str], now_s: float, takeover: str = "", python: str = ""
    ) -> Child | None:
        try:
            child = spawn(
                self._state, self._settings.program, role, arguments, now_s, takeover=takeover, python=python or self.python
            )
        except OSError as error:
            self._note(f"a {role} cannot be started: {error}")
            self.backoff[role].died(0.0, now_s)
            return None
        self._note(f"{role} started as process {child.pid}")
        return child

    def start_spare(self, now_s: float, python: str = "") -> Child | None:
        """One more spare, of this interpreter's build if one is named."""
        self._serial += 1
        takeover = f"{self._supervisor_pid}-{int(now_s)}-{self._serial}.sock"
        spare = self._start("router", (), now_s, takeover=takeover, python=python)
        if spare is not None:
            self.spares.append(spare)
            self.note_processes()
            self._give_to_keep(spare)
        return spare

    def _give_to_keep(self, spare: Child) -> None:
        if self.sockets:
            fds = [sock.fileno() for sock in self.sockets] + self.shared.fds
            spare.send(wire.Keep(self.listens, self.shared.slots), fds)

    def _start_solo(self, role: str, now_s: float) -> None:
        settings = self._settings
        arguments = ["--state", str(self._state.root), "--config", str(settings.config_dir.absolute())]
        arguments += ["--node", settings.node, "--api", self.wanted_api]
        arguments += ["--watch"] if settings.watch and role == "controller" else []
        arguments += ["--routers", str(len(self.slots))]
        child = self._start(role, arguments, now_s)
        if child is None:
            return
        self.solo[role] = child
        self.note_processes()
        other = self.solo.get("desk" if role == "controller" else "controller")
        if other is not None:
            _join(child, role, other, other.role)
        for slot in self.slots:
            if slot.router is not None:
                _join(slot.router, slot.router_name, child, role)

    def _assign(self, slot: Slot, child: Child, now_s: float) -> None:
        """Make a spare the slot's router."""
        self.spares.remove(child)
        slot.successor = None
        child.slot = slot.number
        slot.router = child
        child.started_s = now_s
        fds = [sock.fileno() for sock in self.sockets] + self.shared.fds
        sources = []
        for snapshot in self._snapshots.best_first(oldest_only=slot.boot_deaths >= BOOT_DEATHS_BEFORE_OLDEST):
            sources.append(wire.Source(snapshot.name, len(fds), len(snapshot.table_fds)))
            fds += [snapshot.state_fd, *snapshot.table_fds]
        name, node = slot.router_name, self._settings.node
        frame = wire.Assign(slot.number, name, node, self.listens, tuple(sources), slot.distrust, self.shared.slots, self.orders)
        child.send(frame, fds)
        for role, solo in self.solo.items():
            _join(child, name, solo, role)
        self.note_processes()
        self._note(f"process {child.pid} takes slot {slot.number}")

    # -- ending ----------------------------------------------------------------------------------------------------------------

    def bury(self, child: Child, now_s: float) -> str:
        """A child ended: forget it, and see when another one may follow; tells which it was."""
        name = self.name(child)
        how = child.reap()
        self._note(f"{name}, process {child.pid}, {how}")
        if child.takeover:
            self._state.remove(child.takeover)
        if child.role != "router":
            del self.solo[child.role]
            self.backoff[child.role].died(now_s - child.started_s, now_s)
        elif child.slot is None:
            self.spares.remove(child)
            self.backoff["router"].died(now_s - child.started_s, now_s)
        else:
            self._free(self.slots[child.slot], child, now_s)
        self.note_processes()
        return name

    def _free(self, slot: Slot, child: Child, now_s: float) -> None:
        slot.router = None
        self._deaths.mark_dead(slot.number)
        slot.assign_at_s = now_s
        self.backoff["router"].at_s = now_s + SPARE_DELAY_S if any(spare.is_booted for spare in self.spares) else now_s
        if child.is_ready:
            slot.boot_deaths = 0
            return
        slot.boot_deaths += 1
        if slot.boot_deaths >= BOOT_DEATHS_BEFORE_OLDEST:
            known = self._snapshots.best_first(oldest_only=False)
            if len(known) > 1:
                slot.distrust = known[0].order
                self._note(f"two routers died while booting: slot {slot.number} goes back to the {known[-1].name} snapshot")
            slot.assign_at_s = now_s + min(0.1 * 2 ** (slot.boot_deaths - BOOT_DEATHS_BEFORE_OLDEST), MAX_BACKOFF_S)

    def stop_all(self, reason: str) -> None:
        """Routers first: their last words go to controller and desk, which end after them."""
        self._stop([child for child in self.children() if child.role == "router"], reason)
        for role in ("controller", "desk"):
            if role in self.solo:
                self._stop([self.solo[role]], reason)

    def _stop(self, children: Sequence[Child], reason: str) -> None:
        for child in children:
            child.is_stopping = True
            child.send(wire.Stop(reason))
            child.signal(signal.SIGTERM)
        deadline_s = monotonic_s() + STOP_TIMEOUT_S
        for child in children:
            while not child.has_ended() and monotonic_s() < deadline_s:
                for _, fds in child.frames():
                    wire.close_all(fds)
                poll = select.poll()
                poll.register(child.pidfd, select.POLLIN)
                poll.poll(50)
            if not child.has_ended():
                self._note(f"{self.name(child)}, process {child.pid}, does not end: killed")
                child.kill()
            child.reap()


def max_listens(slots: int) -> int:
    """How many listens so many routers can have: a router is given every slot's sockets, with all else, in one packet."""
    return (wire.MAX_FDS - 1 - fd_count(slots) - SNAPSHOT_FDS) // slots


def _layouts(child: Child) -> tuple[str, str]:
    """(of a slot's calls, of the board all slots share), as it told: two words; "" for what it did not tell."""
    calls, _, board = child.layout.partition(" ")
    return calls, board


def _join(one: Child, one_name: str, other: Child, other_name: str) -> None:
    """A fresh link between two children; what a router tells the desk goes by the name "events" at the router's end."""
    ends = wire.socket_pair()
    to_other = "events" if other_name == "desk" and one.role == "router" else other_name
    one.send(wire.Link(to_other), (ends[0].fileno(),))
    other.send(wire.Link(one_name), (ends[1].fileno(),))
    for end in ends:
        end.close()
