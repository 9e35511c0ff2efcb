"""A controller's World and one modelled router with its real Judge, in virtual time: no process, no socket, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sipctl.control.ports import Ack, Answer, Command, Hello, Notice, Observe, SbcObservation, TrunkObservation
from sipctl.control.reconcile import reconcile
from sipctl.control.state import adopted, world_of
from sipctl.control.world import (
    Effect,
    Gone,
    Happening,
    Heard,
    Keys,
    Ordered,
    Persist,
    Plan,
    PlanLive,
    Record,
    Reply,
    SaveTerm,
    Say,
    Tell,
    Tick,
    World,
)
from sipctl.failover.memory import Memory
from sipctl.failover.records import replay
from sipctl.health.judge import Judge
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import (
    EntryPoint,
    EntryPointId,
    Group,
    GroupId,
    ProbeSpec,
    Reach,
    RoutingState,
    SbcPair,
    SigningKey,
    Site,
    Tenant,
    TenantId,
    Topology,
)
from sipctl.routing.table import Table
from tests.support.plans import a_sbc, a_table, a_topology, the_numbers

UNIX_S = 1_800_000_000.0
STEP_S = 0.05


def a_wide_topology(tenants: Sequence[tuple[str, int]], groups: Sequence[tuple[str, str]], **policy: Any) -> Topology:
    """Tenants (name, site), each behind a pair of its own with two SBCs; groups of (primary, bcp), named g0, g1 …"""
    names = [name for name, _ in tenants]
    sites = max(site for _, site in tenants) + 1
    sbcs = []
    pairs = []
    for index, (name, site) in enumerate(tenants):
        sbcs += [
            a_sbc(10 + 2 * index + twin, f"{name}-{'ab'[twin]}", f"10.{20 + index}.0.{twin + 1}", index) for twin in (0, 1)
        ]
        pairs.append(SbcPair(id=index + 1, name=name, site=site, sbcs=(2 * index, 2 * index + 1)))
    made = [
        replace(Group(GroupId(i + 1), f"g{i}", names.index(primary), names.index(bcp), "automatic", "to-bcp"), **policy)
        for i, (primary, bcp) in enumerate(groups)
    ]
    return a_topology(
        sites=tuple(Site(f"site-{index}") for index in range(sites)), sbcs=tuple(sbcs), pairs=tuple(pairs),
        trunks=tuple(replace(trunk, site=0) for trunk in a_topology().trunks),
        tenants=tuple(Tenant(TenantId(i + 1), name, (Reach(i),)) for i, name in enumerate(names)),
        groups=tuple(made),
        entry_points=tuple(EntryPoint(EntryPointId(i + 1), f"e{i}", i) for i in range(len(made))),
    )


def the_plan(topology: Topology) -> tuple[Plan, Table]:
    entry = topology.entry_points[0].name
    numbers = the_numbers(topology, {"+4930901820": entry, "+493090182100..+493090182199": entry}, {})
    table = a_table(topology, numbers)
    return Plan(table.topology, table.hash, topology.revision, {one.name: 101 for one in topology.entry_points}), table


class Scene:
    """See the module's docstring.

    Args:
        seed: of the router's jitter.
        start: let the first probes come in before the test begins.
    """

    def __init__(self, topology: Topology | None = None, seed: int = 1, *, start: bool = True, **group: Any) -> None:
        topology = topology or a_topology()
        if group:
            topology = replace(topology, groups=tuple(replace(one, **group) for one in topology.groups))
        self.now_s = 1000.0
        self.seed = seed
        self.silent: set[str] = set()
        self.alive_but_gone = False  # the router's own ears: nothing arrives at all
        self.tables: dict[str, Table] = {}
        self.world = replace(World(term=1), term=1)
        self.records: list[Record] = []
        self.answers: list[Answer] = []
        self.notices: list[Notice] = []
        self.effects: list[Effect] = []
        self.published: list[RoutingState] = []
        self.heard_s: float | None = None
        self.sent_s: float | None = None
        self.local_errors = 0
        self.router_alarms: tuple[tuple[str, str], ...] = ()
        self.calls: dict[str, int] = {}  # by entry point
        self.has_router = True
        self.acks = True
        self._gap_s = 0.0
        self._observe_s = 0.0
        self._commands = 0
        self.judge = Judge(seed)
        self.put(Keys((SigningKey(1, bytes(32)),), 1))
        self.put(Heard(1, Hello("r1", 0, 4711, None)))
        self.live(topology)
        if start:
            self.run(6.0)
            assert all(one["operating"] == "in-service" for one in self.status_sbcs().values())

    # -- the controller ----------------------------------------------------------------------------------------------------

    def put(self, happening: Happening) -> tuple[Effect, ...]:
        before = self.world
        self.world, effects = reconcile(before, happening, self.now_s, UNIX_S + self.now_s)
        assert (self.world.term, self.world.seq) >= (before.term, before.seq), "(term, seq) never falls"
        for name, memory in self.world.groups.items():
            assert name not in before.groups or memory.epoch >= before.groups[name].epoch, "epochs grow"
        self.effects.extend(effects)
        for effect in effects:
            match effect:
                case Tell(state):
                    self._take(state)
                case Record():
                    self._check_record(effect)
                case Reply(answer):
                    self.answers.append(answer)
                case Say(notice):
                    self.notices.append(notice)
        for effect in effects:
            if isinstance(effect, Tell) and self.has_router and self.acks:
                self.put(Heard(1, Ack("r1", effect.state.term, effect.state.seq, effect.state.revision)))
        return effects

    def _take(self, state: RoutingState) -> None:
        """What a router does with a publication: it must fit, and its order must never fall."""
        RoutingSnapshot.build(self.tables[state.table], state)
        if self.published:
            last = self.published[-1]
            assert (state.term, state.seq) >= (last.term, last.seq)
            if (state.term, state.seq) == (last.term, last.seq):
                assert state == last, "equal is a no-op"
        self.published.append(state)

    def _check_record(self, effect: Record) -> None:
        record = effect.record
        self.records.append(effect)
        if record.kind != "group":
            assert record.before != record.after and record.sentence.startswith(record.group), "it says what changed"
            return
        again = replay(record.before, record.inputs)
        assert (again.rule, again.sentence) == (record.rule, record.sentence), "a record replays"

    def live(self, topology: Topology) -> None:
        plan, table = the_plan(topology)
        self.tables[table.hash] = table
        self.put(PlanLive(plan))
        self.judge.swap(
            [
                ProbeSpec(int(sbc.id), sbc.name, topology.pairs[sbc.pair].probe, sbc.host, sbc.port, sbc.transport)
                for sbc in topology.sbcs
            ],
            self.now_s,
        )

    def order(
        self, op: str, *, dry_run: bool = False, force: tuple[str, ...] = (), reason: str = "a test", **args: Any
    ) -> Answer:
        """One command; the last answer to it."""
        self._commands += 1
        command = Command(f"op-{self._commands}", op, args, "ops-1", reason, dry_run, force)
        self.put(Ordered(command))
        return [answer for answer in self.answers if answer.id == command.id][-1]

    def restart(self, *, lost_writes: bool = False, wishes: Any = None) -> None:
        """The controller dies; the next one reads the store and hears the router."""
        written = [effect.wishes for effect in self.effects if isinstance(effect, Persist)]
        saved = wishes if wishes is not None else written[0 if lost_writes else -1]
        held = self.published[-1]
        plan = self.world.plan
        assert plan is not None
        world = adopted(world_of(saved), held)
        self.world = replace(world, term=max(world.term, held.term) + 1, seq=0)
        self.put(Keys((SigningKey(1, bytes(32)),), 1))
        self.put(Heard(1, Hello("r1", 0, 4711, held)))
        self.put(PlanLive(plan))

    # -- the router --------------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now_s = round(self.now_s + STEP_S, 6)
            self._probe()
            if self.has_router and (self.judge.changes() or self.now_s >= self._observe_s):
                self._observe_s = self.now_s + 0.5
                self.put(Heard(1, self.observation()))
            self.put(Tick())

    def _probe(self) -> None:
        names = {int(sbc.id): sbc.name for sbc in self.topology.sbcs}
        for sbc_id in self.judge.due(self.now_s):
            self.judge.sent(sbc_id, self.now_s)
            self.sent_s = self.now_s
            if names[sbc_id] not in self.silent and not self.alive_but_gone:
                self.judge.on_reply(sbc_id, 200, None, self.now_s)
                self.heard_s = self.now_s

    def observation(self) -> Observe:
        seen: dict[str, SbcObservation] = {}
        for sbc in self.topology.sbcs:
            one = self.judge.observation(int(sbc.id), self.now_s)
            seen[sbc.name] = SbcObservation(
                one.operating, one.reason, one.since_s, one.resting_s, False, 0, one.missed_probes, one.last_missed_s,
                one.last_heard_s, one.last_sent_s, one.probe_rtt_ms,
            )
        gap_s, self._gap_s = self._gap_s, 0.0
        return Observe(
            "r1", self.now_s, seen, {trunk.name: TrunkObservation() for trunk in self.topology.trunks}, self.calls, {},
            sum(self.calls.values()), gap_s, self.local_errors, heard_s=self.heard_s, sent_s=self.sent_s,
            alarms=self.router_alarms,
        )

    def gap(self, gap_s: float) -> None:
        self.now_s += gap_s
        self._gap_s = max(self._gap_s, gap_s)
        self.judge.on_gap(gap_s, self.now_s)

    def router_dies(self) -> None:
        self.has_router = False
        self.put(Gone(1))

    # -- what tests look at ------------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        assert self.world.plan is not None
        return self.world.plan.topology

    def place(self, group: str = "acme") -> tuple[str, int]:
        memory = self.world.groups.get(group, Memory())
        return memory.state, memory.bcp_percent

    def told(self, group: str = "acme") -> int:
        """BCP's share as the router has it."""
        return self.published[-1].decisions[group].bcp_percent

    def kill(self, *tenants: str) -> None:
        """Every SBC of these tenants falls silent."""
        self.silent |= {name for tenant in tenants for name in self.sbcs_of(tenant)}

    def heal(self, *tenants: str) -> None:
        self.silent -= {name for tenant in tenants for name in self.sbcs_of(tenant)}

    def sbcs_of(self, tenant: str) -> tuple[str, ...]:
        edge = self.world.edge
        assert edge is not None
        index = next(i for i, one in enumerate(self.topology.tenants) if one.name == tenant)
        return edge.sbcs_of_tenant[index]

    @property
    def alarms(self) -> set[str]:
        return set(self.world.alarms)

    def status_sbcs(self) -> Mapping[str, Any]:
        from sipctl.control.status import status

        found: Mapping[str, Any] = status(self.world, self.now_s)["sbcs"]
        return found

    @property
    def saved_terms(self) -> list[int]:
        return [effect.term for effect in self.effects if isinstance(effect, SaveTerm)]
