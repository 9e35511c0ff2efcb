"""Several routers of one machine in the simulated world: one reads, another may own; each dies and stands still on its own.

It is to the world what one `RouterHost` is. Which router reads a datagram is drawn from the seed, among those that run; what it
does not own waits at the owner's door, also while that slot has no router. Board, judgement and flags are the product's own;
only the doors are modelled (`tests/engine/test_hand_off.py` has the real ones). UDP only.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from sipctl.call.owner import owner_of
from sipctl.engine.embedded.observing import ObservedCore
from sipctl.health.judge import Judge
from sipctl.health.together import Together
from sipctl.routing.board import LIVE_S, Board, board_bytes
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import Listen
from sipctl.testing.wire import Address
from tests.support.router_host import UNIX_MINUS_MONO_S, Doom, Flow, RouterHost, Sent

if TYPE_CHECKING:
    from tests.support.world import World

ROUNDS = 4  # of one instant: calls show it, the leader judges, the others follow, their calls act by it


class FarmHost(RouterHost):
    """The router of one slot."""

    def __init__(self, farm: RouterFarm, slot: int, listens: tuple[Listen, ...]) -> None:
        super().__init__(listens, farm.carry, lambda down_s: farm.died(self, down_s))
        self.farm = farm
        self.slot = slot
        self.entropy = bytes(range(100 + slot, 132 + slot))
        self.together: Together | None = None
        self._told = 0  # notes whose flags the others have heard

    def start(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        assert self.core is None
        board = Board(self.farm.memory, len(self.farm.hosts), self.slot)
        self.together = Together(Judge(self.slot * 100 + self.deaths), board)
        core = self.core = ObservedCore(
            slot=self.slot, sockets=self.listens, memory=self.memory, entropy=self.entropy,
            unix_minus_mono_s=UNIX_MINUS_MONO_S, judge=self.together, board=board,
        )  # fmt: skip
        self.snapshot = snapshot
        core.swap(snapshot, now_s)
        self._act(lambda out, notes: core.adopt(now_s, out, notes))
        if self.core is not None:
            self.adopted.append(self.core.census())
        self.farm.attend(now_s)
        self._take_backlog(now_s)

    @property
    def runs(self) -> bool:
        return self.core is not None and not self.paused

    def _act(self, step: Callable[[Sent, list[Any]], None]) -> None:
        super()._act(step)
        fresh, self._told = self.notes[self._told :], len(self.notes)
        for note in fresh:
            if note[0] == "flag":
                self.farm.flag(self, note[1], note[2], note[3])


class FarmCore:
    """All routers as one, for whoever looks into the router of the world."""

    def __init__(self, hosts: list[FarmHost]) -> None:
        self._hosts = hosts

    def census(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for host in self._hosts:
            assert host.core is not None
            for name, count in host.core.census().items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def calls(self) -> int:
        return sum(host.core.calls for host in self._hosts if host.core is not None)


class RouterFarm:
    """Runs as many routers as there are slots."""

    def __init__(self, world: World, listens: tuple[Listen, ...], routers: int) -> None:
        self._world = world
        self.dice = Random(f"routers {world.seed}")
        self.memory = memoryview(mmap.mmap(-1, board_bytes(routers), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._marker = Board(self.memory, routers, -1)
        self.carry = world.router_carries
        self.hosts: list[FarmHost] = []
        self.hosts.extend(FarmHost(self, slot, listens) for slot in range(routers))
        self.flows: dict[int, Flow] = {}
        self.gap_s = 0.0
        self.handed = 0  # datagrams that were another's than their reader's
        self.read: list[int] = [0] * routers
        self.owned: list[int] = [0] * routers
        self.most_calls = 0  # of one trunk, seen at once over all routers
        self._paused: list[FarmHost] = []

    # -- what the world does with its router -------------------------------------------------------------------------------------

    @property
    def core(self) -> FarmCore | None:
        """None while any slot has no router: somebody's calls wait."""
        return FarmCore(self.hosts) if all(host.core is not None for host in self.hosts) else None

    @property
    def snapshot(self) -> RoutingSnapshot | None:
        return self.hosts[0].snapshot

    @property
    def notes(self) -> list[Any]:
        return [note for host in self.hosts for note in host.notes]

    @property
    def deaths(self) -> int:
        return sum(host.deaths for host in self.hosts)

    @property
    def dropped(self) -> int:
        return sum(host.dropped for host in self.hosts)

    @property
    def paused(self) -> bool:
        return bool(self._paused)

    @property
    def doom(self) -> Doom | None:
        return next((host.doom for host in self.hosts if host.doom is not None), None)

    @doom.setter
    def doom(self, doom: Doom | None) -> None:
        """One of them is doomed; None: none any more."""
        for host in self.hosts if doom is None else [self.dice.choice(self.hosts)]:
            host.doom = doom

    def start(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        """All slots begin."""
        for host in self.hosts:
            host.start(snapshot, now_s)

    def swap(self, snapshot: RoutingSnapshot, now_s: float) -> None:
        for host in self.hosts:
            host.swap(snapshot, now_s)

    def kill(self, down_s: float = 0.08, slot: int | None = None) -> None:
        """One of them dies."""
        living = [host for host in self.hosts if host.core is not None and slot in (None, host.slot)]
        if living:
            self.dice.choice(living).kill(down_s)

    def died(self, host: FarmHost, down_s: float) -> None:
        world = self._world
        if host in self._paused:
            self._paused.remove(host)
        self._marker.mark_dead(host.slot)
        world.note(f"router {host.slot} is dead ({self.deaths})")
        world.invariants.router_died(world.now_s)
        world.at(down_s, lambda: self._succeed(host))
        world.at(0.0, lambda: self.attend(world.now_s))

    def _succeed(self, host: FarmHost) -> None:
        if host.core is None:
            self._world.note(f"a successor takes slot {host.slot}")
            host.start(self._world.router_snapshot, self._world.now_s)

    def pause(self) -> None:
        """One of them stands still; a second later the others go on without its probes."""
        running = [host for host in self.hosts if host.runs]
        if running:
            host = self.dice.choice(running)
            host.pause()
            self._paused.append(host)
            self._world.at(LIVE_S + 0.05, lambda: self.attend(self._world.now_s))

    def resume(self, gap_s: float, now_s: float) -> None:
        if self._paused:
            self._paused.pop(0).resume(gap_s, now_s)

    def receive(self, data: bytes, socket: int, address: Address, now_s: float) -> None:
        """A datagram has arrived: somebody who runs reads it, its owner serves it."""
        running = [host for host in self.hosts if host.runs]
        reader = self.dice.choice(running or self.hosts)
        self.read[reader.slot] += 1
        owner = reader
        if reader.core is not None and reader.core.heeds(socket, address):
            owner = self.hosts[owner_of(data, len(self.hosts), reader.slot)]
        self.owned[owner.slot] += 1
        self.handed += owner is not reader
        owner.receive(data, socket, address, now_s)
        self.attend(now_s)

    def send_failed(self, socket: int, address: Address, now_s: float) -> None:
        for host in self.hosts:
            host.send_failed(socket, address, now_s)

    def tick(self, now_s: float) -> None:
        for _ in range(ROUNDS):
            for host in self.hosts:
                if (due_s := host.next_due_s) is not None and due_s <= now_s:
                    host.tick(now_s)
            self.attend(now_s)
            if (next_s := self.next_due_s) is None or next_s > now_s:
                break

    @property
    def next_due_s(self) -> float | None:
        return min((due_s for host in self.hosts if (due_s := host.next_due_s) is not None), default=None)

    # -- what they do with each other --------------------------------------------------------------------------------------------

    def attend(self, now_s: float) -> None:
        """The duties of every router that runs: it lives, follows or leads, and tells what its calls showed."""
        running = [host for host in self.hosts if host.runs]
        for host in running:
            assert host.together is not None
            host.together.attend(now_s)
            Board(self.memory, len(self.hosts), host.slot).beat(now_s)
        for host in running:
            assert host.together is not None
            evidence = host.together.take_evidence(now_s)
            leader = self.hosts[max(host.together.leader, 0)]
            if evidence and leader.together is not None and leader.runs:
                leader.together.heed_evidence(evidence)
        self._count_calls()

    def flag(self, teller: FarmHost, kind: int, sbc_id: int, until_s: float) -> None:
        for host in self.hosts:
            if host is not teller and host.core is not None:
                host.core.hear_flag(kind, sbc_id, until_s)

    def _count_calls(self) -> None:
        lives = [host.core.live for host in self.hosts if host.core is not None]
        for trunk in range(min((len(live.trunk_calls) for live in lives), default=0)):
            self.most_calls = max(self.most_calls, sum(live.trunk_calls[trunk] for live in lives))

    @property
    def leaders(self) -> list[int]:
        """Slots that probe now; one, but for moments."""
        return [host.slot for host in self.hosts if host.runs and host.together is not None and host.together.leads]
