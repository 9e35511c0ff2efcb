"""Worlds whose controllers are in trouble: they die, stand still, cannot write, speak late, and their clocks and names lie.

Besides all that happens in the worlds of `seeds.py`. And each world must recover: once its faults have healed, routers follow the
controller, SBCs are in service again and groups are where their policy wants them, within the times that are promised for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sipctl.control.world import Resolved
from sipctl.failover.guards import HOLD_DOWN_MAX_S
from sipctl.failover.memory import BCP, Memory
from sipctl.health.judge import EJECTION_MAX_S
from sipctl.routing.snapshot import Group, Operating, Probe
from sipctl.testing.sbc import ANSWER
from sipctl.testing.wire import Address
from tests.sim.seeds import Fate
from tests.support.world_control import LINK_S, Control
from tests.support.world_plan import INSIDE, Plan

MAX_EVENTS: Final = 8000
FOLLOWS_S: Final = 8.0  # a controller is replaced within 3 s, hears its router for 1 s and says everything again each 3 s
PROBED_S: Final = 15.0  # five replies, of which the first may wait for a whole interval
SLACK_S: Final = 5.0
POISON: Final = ("127.0.0.1", INSIDE[0], "192.0.2.66", "10.9.9.9")
JUMPS_S: Final = (3600.0, -3600.0, 1.0, -86400.0)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What one troubled seed did."""

    digest: str
    events: int
    calls: int
    answered: int
    deaths: int  # of routers
    successions: int  # of controllers
    refused: int  # publications that came too late
    moves: int  # decisions that moved new calls
    recovered_s: float  # from the end of the faults until everything was right again


def run_troubled(seed: int) -> Recovery:
    """Run one troubled world to its end.

    Raises: AssertionError with the seed and the tail of the story, the moment an invariant is broken.
    """
    return Troubled(seed).run_and_recover()


class Troubled(Fate):
    """Decides what happens to one world whose controllers are in trouble."""

    controlled_share = 1.0
    ready_share = 0.0

    def __init__(self, seed: int) -> None:
        self._is_over = False  # no misfortune any more
        self._probes_lost_until_s = 0.0
        super().__init__(seed)

    def run_and_recover(self) -> Recovery:
        world = self.world
        self.live()
        lively = world.events
        self._heal_all()
        began_s = world.now_s
        self._comes_right()
        recovered_s = world.now_s - began_s
        world.finish()
        if self.calm:
            self._nothing_was_lost()
        assert world.events <= MAX_EVENTS, f"seed {world.seed}: {world.events} events, {lively} of them lively"
        assert all(note.is_over for note in self.notes), "the ledger accounts for every call"
        control = self._control
        return Recovery(
            world.digest, world.events, len(self.notes), sum(note.answered_s is not None for note in self.notes),
            world.router.deaths, control.deaths, control.refused, len(control.moves), recovered_s,
        )  # fmt: skip

    @property
    def _control(self) -> Control:
        assert self.world.control is not None
        return self.world.control

    def _a_plan(self) -> Plan:
        plan = super()._a_plan()
        ramp = self.wishes.choice(((100,), (10, 50, 100)))
        return replace(plan, probe=Probe(interval_s=self.wishes.choice((2.0, 6.0))), ramp=ramp)

    # -- what happens to it ----------------------------------------------------------------------------------------------------

    def _calm_misfortunes(self) -> list[Callable[[], None]]:
        mine = [
            self._new_controller, self._new_controller, self._controller_stands, self._late_plan,
            self._slow_link, self._store_fails,
            self._wall_clock_jumps,
        ]  # fmt: skip
        return [partial(self._unless_over, one) for one in (*super()._calm_misfortunes(), *mine)]

    def _misfortunes(self) -> list[Callable[[], None]]:
        more = [self._tenant_silent, self._tenant_silent, self._probes_lost, self._names_lie]
        return [partial(self._unless_over, one) for one in (*super()._misfortunes(), *more)]

    def _unless_over(self, misfortune: Callable[[], None]) -> None:
        if not self._is_over:
            misfortune()

    def _controller_stands(self) -> None:
        self._control.stand_still(self.dice.choice((0.3, 1.5, 4.5)))

    def _late_plan(self) -> None:
        """A publication of some time ago, perhaps of a controller that is dead, comes once more."""
        control, dice = self._control, self.dice
        if control.sent:
            state = dice.choice(tuple(control.sent))
            self.world.at(dice.uniform(0.0, 6.0), lambda: control.comes_late(state))

    def _slow_link(self) -> None:
        control = self._control
        control.link_s = self.dice.choice((0.05, 0.5, 2.0))
        self.world.at(self.dice.uniform(1.0, 6.0), lambda: setattr(control, "link_s", LINK_S))

    def _store_fails(self) -> None:
        control = self._control
        control.store_fails = True
        self.world.note("the store fails")
        self.world.at(self.dice.uniform(1.0, 12.0), lambda: setattr(control, "store_fails", False))

    def _wall_clock_jumps(self) -> None:
        self._control.wall_jump_s = self.world.router.wall_jump_s = jump_s = self.dice.choice(JUMPS_S)
        self.world.note(f"the wall clock is {jump_s} s off")

    def _tenant_silent(self) -> None:
        """Both SBCs of one tenant fall silent, as when its site is cut off."""
        tenant = self.dice.choice(("fra", "ams"))
        struck = [sbc for name, sbc in self.world.sbcs.items() if name.startswith(tenant)]
        for sbc in struck:
            sbc.mute = True

        def back() -> None:
            for sbc in struck:
                sbc.mute = False

        self.world.at(self.dice.uniform(2.0, 20.0), back)

    def _probes_lost(self) -> None:
        """Every OPTIONS is lost for a while, and nothing else."""
        self._probes_lost_until_s = self.world.now_s + self.dice.uniform(3.0, 15.0)

    def _is_cut(self, source: Address, to: Address, data: bytes) -> bool:
        lost = self.world.now_s < self._probes_lost_until_s and data.startswith(b"OPTIONS ")
        return lost or super()._is_cut(source, to, data)

    def _names_lie(self) -> None:
        """What DNS says of the SBCs' names leads to ourselves or to strangers; later it is right again."""
        names = dict(self.world.fqdns)
        if not names:
            return
        poisoned = {name: (self.dice.choice(POISON),) for name in names}
        self.world.note("DNS is poisoned")
        self._control.put(Resolved({}, poisoned))
        self.world.at(self.dice.uniform(1.0, 8.0), lambda: self._control.put(Resolved({}, names)))

    # -- and how it ends -------------------------------------------------------------------------------------------------------

    def _heal_all(self) -> None:
        """Every fault ends now; what operators wished stays wished, but for SBCs, tenants and the node, which all are enabled."""
        world, control = self.world, self._control
        self._heal()
        self._is_over = True
        world.note("every fault has ended")
        world.network.drop = None
        world.network.weather = replace(world.network.weather, loss=0.0, duplicate=0.0, jitter_s=0.0)
        world.closed.clear()
        control.store_fails, control.link_s = False, LINK_S
        for sbc in world.sbcs.values():
            sbc.mute = sbc.deaf_to_invites = sbc.deaf_to_options = False
            sbc.behave = ANSWER
        world.run(FOLLOWS_S)
        if control.knows is not None and world.fqdns and world.names_known:
            control.put(Resolved({}, world.fqdns))
        for name in ("acme-prod", "acme-bcp"):
            world.order("tenant-admin", tenant=name, state="enabled")
        for name in world.sbcs:
            world.order("sbc-admin", sbc=name, state="enabled")
        world.order("node-admin", state="enabled")

    def _comes_right(self) -> None:
        """Liveness: routers follow, SBCs return, groups are where their policy wants them; each within its stated time."""
        world, control = self.world, self._control
        world.run_until(lambda: world.router.core is not None and control.is_followed, at_most_s=FOLLOWS_S)
        world.run_until(self._all_in_service, at_most_s=EJECTION_MAX_S + PROBED_S)
        assert world.router.snapshot is not None and control.knows is not None
        at_most_s = return_s(world.router.snapshot.groups[0], control.knows.groups)
        world.run_until(self._places_are_right, at_most_s=at_most_s + SLACK_S)
        world.run_until(lambda: control.is_followed, at_most_s=FOLLOWS_S)
        assert world.router.snapshot is not None and control.knows is not None
        for index, group in enumerate(world.router.snapshot.groups):
            percent = self._memory(group.name).bcp_percent
            assert world.router.snapshot.decision[index].bcp_percent == percent, f"the router goes elsewhere with {group.name}"

    def _all_in_service(self) -> bool:
        core, snapshot = self.world.router.core, self.world.router.snapshot
        if core is None or snapshot is None:
            return False
        return all(core.live.operating[index] == Operating.IN_SERVICE for index in range(len(snapshot.sbcs)))

    def _places_are_right(self) -> bool:
        control, snapshot = self._control, self.world.router.snapshot
        if control.knows is None or snapshot is None:
            return False
        automation = control.knows.automation
        return all(is_right(self._memory(group.name), group.failback, automation=automation) for group in snapshot.groups)

    def _memory(self, group: str) -> Memory:
        assert self._control.knows is not None
        return self._control.knows.groups.get(group, Memory())


def is_right(memory: Memory, failback: str, *, automation: bool) -> bool:
    """Whether a group is where its policy wants it while both tenants are usable."""
    wished = memory.pinned or memory.held
    if wished is not None:
        return memory.bcp_percent == (100 if wished == BCP else 0)
    if automation and failback == "automatic" and not memory.latched:
        return memory.bcp_percent == 0 and memory.deadline_s is None
    return memory.frozen is None


def return_s(group: Group, groups: Mapping[str, Memory]) -> float:
    """How long a return may take: the longest hold-down any group has earned, and its ramp."""
    flaps = max((len(memory.flaps) for memory in groups.values()), default=0)
    hold_s = min(group.hold_down_s * float(1 << (flaps + 1)), HOLD_DOWN_MAX_S)
    return group.hold_off_s + hold_s + len(group.ramp) * group.ramp_step_s
