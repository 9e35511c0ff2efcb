"""The controller's one decision function: World × what happened × now → the next World and what follows.

Order of effects: routers are told first, then people, then the store; so a failover is published before it is written. (A plan is
written before it gets here, as `PlanLive`.) Publication carries (term, seq): seq grows with every change, term with every
controller; a router that holds a higher term than ours makes us take one above it (CALLS 4.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from sipctl.control import alarm_states, approvals, canary_turn, local_orders, observed, operations, overlay_scope, overlays
from sipctl.control.alarms import due_alarms
from sipctl.control.canary_state import share_text
from sipctl.control.case import No
from sipctl.control.changes import plan_change, with_change
from sipctl.control.following import Follow
from sipctl.control.groups import OPERATING_WORDS, decided, placed, resumed_groups
from sipctl.control.ports import Ack, Answer, Command, DecisionRecord, Farewell, Hello, Nack, Notice, Observe
from sipctl.control.retire import retired_now, unexpired, with_trunk_source
from sipctl.control.state import MEASURED_FROM, PUBLISHED_FROM, WRITTEN_FROM, routing_state, same_content, unchanged, wishes_of
from sipctl.control.vantage import with_calls_of_all
from sipctl.control.world import (
    CanaryLive,
    CanaryLost,
    CanaryOrdered,
    CanaryPromoting,
    CanaryStuck,
    Effect,
    EndCanary,
    Faults,
    Folder,
    Gone,
    Happening,
    Heard,
    KeepGeneration,
    Keys,
    NodeNews,
    Ordered,
    Pending,
    Persist,
    Plan,
    PlanLive,
    Probe,
    PromoteCanary,
    Record,
    Reply,
    Reported,
    Resolved,
    RouterSeen,
    SaveTerm,
    Say,
    Tell,
    Tick,
    World,
)
from sipctl.failover.memory import Order
from sipctl.failover.records import written_inputs, written_memory
from sipctl.failover.tenants import edge, tenant_operating
from sipctl.health.self_doubt import GAP_S, Ears
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import Operating, RoutingState

RESEND_S: Final = 3.0  # the whole state goes to every router so often, changed or not
FRESH_S: Final = 3.0  # an observation older than this is not the vantage's any more
MAX_PENDING: Final = 1000


@dataclass(frozen=True, slots=True)
class Begun:
    """An operation that was admitted, to be followed from here on."""

    id: str
    text: str
    body: Mapping[str, object]
    op: str = "apply"
    actor: str = ""
    follow: Follow | None = None


def reconcile(world: World, happening: Happening, now_s: float, unix_s: float) -> tuple[World, tuple[Effect, ...]]:
    """Take one input in."""
    turn = _Turn(world, now_s, unix_s)
    orders: tuple[tuple[str, Order], ...] = ()
    operation: Begun | None = None
    match happening:
        case Heard(link, frame):
            turn.heard(link, frame)
            if isinstance(frame, Hello | Observe) and frame.orders:
                orders = turn.adopt(frame.orders)
        case Gone(link):
            turn.gone(link)
        case Ordered(command):
            orders, operation = turn.ordered(command)
        case PlanLive(plan):
            turn.plan_live(plan, happening.actor)
            orders = turn.adopt([order for router in turn.world.routers.values() for order in router.orders])
            if happening.operation:
                operation = Begun(happening.operation, happening.text or f"revision {plan.revision} is live", happening.body)
        case CanaryLive():
            operation = turn.canary_live(happening)
        case CanaryOrdered(command):
            operation = turn.canary_ordered(command)
        case CanaryPromoting(is_on):
            turn.set(canary_promoting=is_on)
        case CanaryStuck(text):
            turn.set(canary_seen=replace(turn.world.canary_seen, stuck=text))
        case CanaryLost(revision, text):
            turn.canary_over(canary_turn.Ended(revision, text, True, "lost"))
        case Resolved(resolved, names):
            turn.resolved(resolved, names)
        case Faults(kind, texts):
            rest = {name: text for name, text in turn.world.faults.items() if not name.startswith(f"{kind}:")}
            turn.set(faults={**rest, **{f"{kind}:{name}": text for name, text in texts.items()}})
        case Folder(differs):
            turn.set(folder_differs=differs)
        case NodeNews(text, actor, reason):
            turn.say("operator" if reason else "router", text, actor=actor, reason=reason)
        case Keys(keys, signing_key):
            turn.set(keys=keys, signing_key=signing_key)
        case Reported(report):
            turn.set(watch=observed.with_report(turn.world.watch, report, now_s))
        case Tick():
            turn.expire()
            turn.judge_canary()
            orders = turn.spread()
    asked = happening.command if isinstance(happening, Ordered) else None
    turn.tell_switched(before=world, command=asked)
    turn.tell_second_persons(before=world, command=asked)
    turn.measure(before=world)
    turn.watch()
    turn.decide(dict(orders))
    turn.publish(before=world)
    if operation is not None:
        turn.begin_operation(operation)
    turn.finish_operations()
    turn.raise_alarms()
    return turn.world, turn.effects(before=world)


class _Turn:
    """One call of `reconcile`; the only mutable thing in it."""

    def __init__(self, world: World, now_s: float, unix_s: float) -> None:
        self.world = world
        self._now_s = now_s
        self._unix_s = unix_s
        self._tells: list[Effect] = []
        self._says: list[Effect] = []
        self._writes: list[Effect] = []

    def set(self, **changes: object) -> None:
        self.world = replace(self.world, **changes)  # type: ignore[arg-type]

    def say(self, kind: str, text: str, **fields: object) -> None:
        self._says.append(Say(Notice(kind, text, self._unix_s, fields)))

    def effects(self, before: World) -> tuple[Effect, ...]:
        if not unchanged(before, self.world, WRITTEN_FROM):
            self._writes.append(Persist(wishes_of(self.world)))
        return (*self._tells, *self._says, *self._writes)

    # -- routers ---------------------------------------------------------------------------------------------------------------

    def heard(self, link: int, frame: Hello | Ack | Nack | Observe | Farewell) -> None:
        known = self.world.routers.get(link) or RouterSeen(frame.name, heard_s=self._now_s)
        match frame:
            case Hello():
                self._hello(link, frame)
                return
            case Ack():
                published = self.world.published
                table = known.table
                if published is not None and (frame.term, frame.seq) == (published.term, published.seq):
                    table = published.table
                    known = replace(known, canary_table="" if published.canary is None else published.canary.table)
                known = replace(known, term=frame.term, seq=frame.seq, revision=frame.revision, table=table, refused="")
            case Nack():
                if not known.refused:
                    self.say("router", f"router {frame.name} refused term {frame.term} seq {frame.seq}: {frame.reason}")
                    if self.world.published is not None:  # once at once, with the table: it may not have had it
                        self._tells.append(Tell(self.world.published, link))
                known = replace(known, refused=frame.reason, table="", canary_table="")
            case Observe():
                self._ears(link, frame)
                self.world = canary_turn.heard(self.world, link, frame)
                known = replace(known, observe=frame)
            case Farewell():
                self.say("router", f"router {frame.name} leaves: {frame.reason}")
        self.set(routers={**self.world.routers, link: replace(known, heard_s=self._now_s)})

    def _hello(self, link: int, hello: Hello) -> None:
        seen = RouterSeen(hello.name, hello.slot, hello.pid, heard_s=self._now_s, orders=hello.orders, slots=hello.slots)
        held = hello.state
        if held is not None:
            seen = replace(seen, term=held.term, seq=held.seq, revision=held.revision, table=held.table)
            if held.canary is not None:
                seen = replace(seen, canary_table=held.canary.table)
            if (held.term, held.seq) > (self.world.term, self.world.seq) or self._is_anothers(held):
                self.set(term=held.term + 1, seq=0)
                self._writes.append(SaveTerm(self.world.term))
                self.say("router", f"router {hello.name} holds term {held.term}; this controller goes on with {self.world.term}")
        self.set(routers={**self.world.routers, link: seen})
        self.say("router", f"router {hello.name} is connected", pid=hello.pid)
        if self.world.published is not None:
            self._tells.append(Tell(self.world.published, link))

    def _is_anothers(self, held: RoutingState) -> bool:
        """Another state under our own (term, seq): its controller could not write its term, and was not heard of by us."""
        mine = self.world.published
        return mine is not None and (held.term, held.seq) == (mine.term, mine.seq) and held != mine

    def gone(self, link: int) -> None:
        left = self.world.routers.get(link)
        if left is None:
            return
        self.set(
            routers={key: router for key, router in self.world.routers.items() if key != link},
            local_errors={key: count for key, count in self.world.local_errors.items() if key != link},
        )
        self.say("router", f"router {left.name} is gone", pid=left.pid)

    def _ears(self, link: int, observe: Observe) -> None:
        """What this router's hearing tells of ourselves; local errors and gaps are remembered by their instant.

        Routers of one machine hear with the same ears: what any of them heard or sent counts, since all but one probe nobody.
        """
        ears = self.world.ears
        heard = [at_s for at_s in (ears.heard_s, observe.heard_s) if at_s is not None]
        sent = [at_s for at_s in (ears.sent_s, observe.sent_s) if at_s is not None]
        before = self.world.local_errors.get(link, observe.local_errors)
        self.set(
            local_errors={**self.world.local_errors, link: observe.local_errors},
            ears=Ears(
                observe.at_s,
                max(heard, default=None),
                max(sent, default=None),
                observe.at_s if observe.local_errors > before else ears.local_error_s,
                observe.at_s if observe.loop_gap_s > GAP_S else ears.gap_s,
            ),
        )

    def measure(self, before: World) -> None:
        """The SBCs' and tenants' states as the vantage sees them: on one host, the lowest live router."""
        fresh = [
            router
            for router in self.world.routers.values()
            if router.observe is not None and self._now_s - router.heard_s <= FRESH_S
        ]
        vantage = min(fresh, key=lambda router: router.slot, default=None)
        moved = len(fresh) == 1 or self.world.routers is not before.routers  # else the sum of several stands
        if vantage is not None and vantage.observe is not None and vantage.observe.sbcs is not self.world.sbcs and moved:
            for name, seen in vantage.observe.sbcs.items():
                old = self.world.sbcs.get(name)
                if (old.operating if old is not None else Operating.UNKNOWN) != seen.operating:
                    word = OPERATING_WORDS[Operating(seen.operating)]
                    self.say("sbc", f"SBC {name} is {word}: {seen.reason}", sbc=name, operating=word)
            self.set(sbcs=vantage.observe.sbcs)
        if len(fresh) > 1 and self.world.routers is not before.routers:
            self.set(sbcs=with_calls_of_all(self.world.sbcs, fresh))
        if self.world.plan is None or self.world.edge is None or unchanged(before, self.world, MEASURED_FROM):
            return
        operating = {name: seen.operating for name, seen in self.world.sbcs.items()}
        tenants = {
            tenant.name: tenant_operating(self.world.edge.sbcs_of_tenant[index], operating, self.world.sbc_admin)
            for index, tenant in enumerate(self.world.plan.topology.tenants)
        }
        if tenants != self.world.tenants:
            self.set(tenants=tenants)

    def watch(self) -> None:
        """What live calls say: SBCs that come last within their pair from now on, or have their place again."""
        world = self.world
        if world.plan is None or world.edge is None or self._now_s - world.watch.judged_s < observed.JUDGE_EVERY_S:
            return
        around = observed.Surroundings(
            world.plan.topology, world.edge, world.sbcs, world.sbc_admin, world.trunk_admin,
            {link: router.observe for link, router in world.routers.items() if router.observe is not None},
        )  # fmt: skip
        watch, news = observed.watched(world.watch, around, self._now_s, self._unix_s)
        self.set(watch=watch)
        if observed.doubtful(watch) != world.doubtful:
            self.set(doubtful=observed.doubtful(watch))
        for one in news:
            before, after = {"doubtful": not one.begins}, {"doubtful": one.begins}
            record = DecisionRecord(
                f"SBC {one.sbc}", 0, world.term, self._unix_s, one.rule, one.sentence, before, one.inputs, after, kind="doubt"
            )
            self._writes.append(Record(record))
            self.say("sbc", one.sentence, sbc=one.sbc, rule=one.rule, doubtful=one.begins)

    # -- orders, plans, names --------------------------------------------------------------------------------------------------

    def ordered(self, command: Command) -> tuple[tuple[tuple[str, Order], ...], Begun | None]:
        change = plan_change(self.world, command, self._unix_s, self._now_s)
        if isinstance(change, No):
            self._says.append(Reply(Answer(command.id, change.status, change.text, change.code, change.hint, change.body)))
            return (), None
        if command.dry_run:
            body = {**change.body, "dry_run": True}
            self._says.append(Reply(Answer(command.id, "done", f"would do: {change.text}", body=body)))
            return (), None
        if change.extra_sources is not None:
            self._retire_extra({one[:2] for one in change.extra_sources})
        self.world = with_change(self.world, change)
        if change.probe is not None:
            self._tells.append(Probe(change.probe))
        if change.acked is not None:
            self.world = alarm_states.acknowledged(self.world, change.acked, command.actor, command.reason, self._unix_s)
        actor, reason = change.actor or command.actor, change.reason or command.reason
        self.say("operator", f"{actor}: {change.text}", op=command.op, actor=actor, reason=reason)
        for name, status, text in change.ended:
            self._says.append(Reply(Answer(name, status, text, body=change.body)))
        if change.status:
            code = "proposal-stale" if change.status == "conflict" else ""
            self._says.append(Reply(Answer(command.id, change.status, change.text, code, body=change.body)))
            return change.orders, None
        return change.orders, Begun(command.id, change.text, change.body, command.op, actor, change.follow)

    def adopt(self, given: Sequence[LocalOrder]) -> tuple[tuple[str, Order], ...]:
        """Make the orders of a node its own, that were given while no controller served: as an operator's, never reverted."""
        adoption = local_orders.adoption(self.world, given)
        if adoption is None:
            return ()
        for order, text in adoption.story:
            self.say("operator", text, op=order.kind, actor=order.actor, reason=order.reason, ordered_at_unix_s=order.at_unix_s)
        self.set(orders_taken=adoption.taken)
        return adoption.orders

    def plan_live(self, plan: Plan, actor: str) -> None:
        """Another plan carries the calls: its sources retire, its groups keep their place, its addresses join."""
        before = self.world.plan
        if before is not None:
            self._canary_gives_way(plan, actor)
            self.set(
                retired=retired_now(
                    before.topology, self.world.resolved, plan.topology, self.world.resolved, self.world.retired, self._unix_s
                ),
                groups=placed(before, plan, self.world.groups),
            )
        self.set(
            plan=plan, edge=edge(plan.topology, self.world.resolved), scopes=overlay_scope.scopes(plan.topology, plan.numbers)
        )
        if before is None:
            self.set(groups=resumed_groups(self.world, plan, self._now_s, self._unix_s))
            self.expire()
        self.say("plan", f"revision {plan.revision} is live", revision=plan.revision, actor=actor, reason=plan.reason)

    # -- a canary --------------------------------------------------------------------------------------------------------------

    def canary_live(self, live: CanaryLive) -> Begun | None:
        """Another revision takes a share of the callers."""
        wish = live.running.wish
        self.world = canary_turn.begun(self.world, live.running, self._unix_s)
        share = share_text(wish.permille)
        self.say("plan", f"revision {wish.revision} takes {share} of the callers: {wish.actor}: {wish.reason}", actor=wish.actor)
        return Begun(live.operation, live.text, live.body, actor=wish.actor) if live.operation else None

    def canary_ordered(self, command: Command) -> Begun | None:
        """Grow it or abort it."""
        outcome = canary_turn.ordered(self.world, command)
        if isinstance(outcome, No):
            self._says.append(Reply(Answer(command.id, outcome.status, outcome.text, outcome.code, outcome.hint)))
            return None
        text = outcome.text if isinstance(outcome, canary_turn.Ended) else outcome[1]
        body: Mapping[str, object] = {} if isinstance(outcome, canary_turn.Ended) else outcome[2]
        if command.dry_run:
            self._says.append(Reply(Answer(command.id, "done", f"would do: {text}", body={**body, "dry_run": True})))
            return None
        if isinstance(outcome, canary_turn.Ended):
            self.canary_over(outcome)
        else:
            self.world = outcome[0]
            self.say("operator", f"{command.actor}: {text}", op=command.op, actor=command.actor, reason=command.reason)
        return Begun(command.id, text, body, command.op, command.actor)

    def judge_canary(self) -> None:
        """Does it lose calls? Then it is over with the next publication, which is this turn's."""
        self.world, ended, due = canary_turn.ticked(self.world, self._unix_s)
        if ended is not None:
            self.canary_over(ended)
        elif due is not None:
            self._writes.append(PromoteCanary(due))

    def canary_over(self, ended: canary_turn.Ended) -> None:
        """It ends without its revision becoming live."""
        self._record_canary(ended)
        self.world = canary_turn.without(self.world, ended, self._unix_s)
        self._writes.append(EndCanary(ended.revision, ended.text, ended.fell))

    def _canary_gives_way(self, plan: Plan, actor: str) -> None:
        """Another plan is live: the canary's own, or one that somebody went back to."""
        running = self.world.canary
        if running is not None and running.revision == plan.revision:
            text = f"the canary of revision {plan.revision} is promoted: {canary_turn.figures(self.world)}"
            promoted = canary_turn.Ended(plan.revision, text, False, "promoted", actor)
            self._record_canary(promoted)
            self.world = canary_turn.without(self.world, promoted, self._unix_s)
        elif running is not None:
            text = f"the canary of revision {running.revision} is aborted: {actor} made revision {plan.revision} live; "
            text += canary_turn.figures(self.world)
            self.canary_over(canary_turn.Ended(running.revision, text, False, "aborted", actor))
        self.set(canary_fell=None)

    def _record_canary(self, ended: canary_turn.Ended) -> None:
        running = self.world.canary
        before = {} if running is None else {"revision": running.revision, "permille": running.wish.permille}
        record = DecisionRecord(
            f"canary {ended.revision}", 0, self.world.term, self._unix_s, ended.rule, ended.text, before, ended.inputs or {}, {},
            ended.actor, "canary",
        )  # fmt: skip
        self._writes.append(Record(record))
        self.say("plan", ended.text, revision=ended.revision, rule=ended.rule, actor=ended.actor)

    def resolved(self, resolved: Mapping[str, object], names: Mapping[str, tuple[str, ...]]) -> None:
        plan, before = self.world.plan, self.world.resolved
        if dict(names) != dict(self.world.names):
            self.set(names=names)
        if resolved == before:
            return
        self.set(resolved=resolved)
        if plan is not None:
            self.set(
                retired=retired_now(plan.topology, before, plan.topology, self.world.resolved, self.world.retired, self._unix_s),
                edge=edge(plan.topology, self.world.resolved),
            )
        self.say("plan", "DNS gives other addresses than before", pairs=sorted(resolved))

    def expire(self) -> None:
        """What was allowed or kept for a time only."""
        kept = tuple(one for one in self.world.extra_sources if one[2] > self._unix_s)
        if len(kept) != len(self.world.extra_sources):
            self._retire_extra({one[:2] for one in kept})
            self.set(extra_sources=kept)
        self.set(
            retired=unexpired(self.world.retired, self._unix_s),
            overlays=overlays.unexpired(self.world.overlays, self._unix_s),
            switches=overlays.unexpired(self.world.switches, self._unix_s),
            proposals=approvals.unexpired(self.world.proposals, self._unix_s),
        )
        if self.world.glass is not None and self.world.glass.until_unix_s <= self._unix_s:
            self.set(glass=None)

    def tell_switched(self, before: World, command: Command | None) -> None:
        """Each overlay and kill switch that went on or off, or got another end: a record and a line of the story."""
        actor, why = ("sipctl", "its time is over") if command is None else (command.actor, f"{command.actor}: {command.reason}")
        for kind, section in overlays.FIELDS.items():
            old: overlays.Switched = getattr(before, section)
            new: overlays.Switched = getattr(self.world, section)
            for name in sorted({*old, *new}) if new is not old else ():
                one, two = old.get(name), new.get(name)
                if one == two:
                    continue
                rule, text = "until" if command is None else "operator", overlays.sentence(kind, name, one, two, why)
                record = DecisionRecord(
                    f"{kind} {name}",
                    0,
                    self.world.term,
                    self._unix_s,
                    rule,
                    text,
                    overlays.written(one),
                    {"reason": command.reason if command is not None else ""},
                    overlays.written(two),
                    actor,
                    kind,
                )
                self._writes.append(Record(record))
                fields = {"state": "off" if two is None else "on", "until_unix_s": two.until_unix_s if two is not None else None}
                self.say(kind, text, name=name, rule=rule, actor=actor, **fields)

    def tell_second_persons(self, before: World, command: Command | None) -> None:
        """Proposals whose time is over; and the glass, broken or whole again: a record and a line of the story, loud."""
        if command is None:
            for name, one in before.proposals.items():
                if name not in self.world.proposals:
                    self.say("operator", f"proposal {name} ended, nobody approved it: {one.text}", op=one.op, actor=one.actor)
        old, new = before.glass, self.world.glass
        if old == new:
            return
        one_of = new or old
        assert one_of is not None
        why = f"{one_of.actor}: {one_of.reason}" if new is not None else "its time is over" if command is None else command.actor
        named = f"break-glass {one_of.actor}"
        text = f"{named} is {'on' if new is not None else 'over'}: {why}"
        if new is not None:
            text += "; approvals do not stop it, nor safety rules it names"
        record = DecisionRecord(
            named, 0, self.world.term, self._unix_s, "operator" if command is not None else "until", text,
            approvals.written_glass(old), {"reason": command.reason if command is not None else ""},
            approvals.written_glass(new), command.actor if command is not None else "sipctl", "break-glass",
        )  # fmt: skip
        self._writes.append(Record(record))
        self.say("break-glass", text, actor=one_of.actor, until_unix_s=new.until_unix_s if new is not None else None)

    def _retire_extra(self, staying: AbstractSet[tuple[str, str]]) -> None:
        if self.world.plan is None:
            return
        for trunk, network, _ in self.world.extra_sources:
            if (trunk, network) not in staying:
                topology = self.world.plan.topology
                self.set(retired=with_trunk_source(self.world.retired, topology, trunk, network, self._unix_s))

    # -- groups ----------------------------------------------------------------------------------------------------------------

    def decide(self, orders: Mapping[str, Order]) -> None:
        """Let every group come to rest under its inputs; each step is a record, a line of the story and a new epoch."""
        groups, steps = decided(self.world, orders, self._now_s, self._unix_s)
        for name, before, given, step in steps:
            actor = given.order.actor if given.order is not None else "sipctl"
            record = DecisionRecord(
                name,
                step.memory.epoch,
                self.world.term,
                self._unix_s,
                step.rule,
                step.sentence,
                written_memory(before),
                written_inputs(given),
                written_memory(step.memory),
                actor,
            )
            self._writes.append(Record(record))
            self.say(
                "decision",
                f"{name}: {step.sentence}",
                group=name,
                rule=step.rule,
                epoch=step.memory.epoch,
                state=step.memory.state,
                active=step.memory.active,
                actor=actor,
            )
        if steps:
            self.set(groups=groups)

    # -- what follows ----------------------------------------------------------------------------------------------------------

    def publish(self, before: World) -> None:
        """Tell all routers if anything they carry changed, and once in a while anyway."""
        world = self.world
        if world.plan is None:
            return
        published = world.published
        if published is None or not (
            unchanged(before, world, PUBLISHED_FROM) or same_content(published, routing_state(world, world.seq))
        ):
            state = routing_state(world, world.seq + 1)
            self.set(seq=state.seq, published=state, published_s=self._now_s)
            self._tells = [tell for tell in self._tells if not isinstance(tell, Tell)]
            self._tells.append(Tell(state))
        elif self._now_s - world.published_s >= RESEND_S:
            self.set(published_s=self._now_s)
            self._tells.append(Tell(published))

    def begin_operation(self, one: Begun) -> None:
        """Answer at once if there is nothing to wait for, else when every router has it."""
        state = self.world.published
        assert state is not None
        if len(self.world.pending) >= MAX_PENDING:
            text = f"{one.text}; too many operations wait to be followed"
            self._says.append(Reply(Answer(one.id, "done", text, body=one.body)))
            return
        pending = Pending(
            one.id, state.term, state.seq, one.text, one.body, self._now_s, None, one.op, one.actor, self._unix_s, one.follow
        )
        self.set(pending=(*self.world.pending, pending))
        if not operations.carried(self.world, state.term, state.seq):
            self._says.append(Reply(Answer(one.id, "accepted", one.text, body=one.body, final=False)))

    def finish_operations(self) -> None:
        """Tell what became of the operations under way; keep on disk what every router carries."""
        pending, answers = operations.judged(self.world, self._now_s)
        self.set(pending=pending)
        self._says.extend(Reply(answer) for answer in answers)
        state = self.world.published
        if state is None or (state.term, state.seq) == self.world.generation:
            return
        if operations.carried(self.world, state.term, state.seq):
            self.set(generation=(state.term, state.seq))
            self._writes.append(KeepGeneration(state))

    def spread(self) -> tuple[tuple[str, Order], ...]:
        """The next groups of moves that are spread over time."""
        pending, orders, story = operations.moved_on(self.world, self._unix_s, self._now_s)
        self.set(pending=pending)
        for command, text in story:
            self.say("operator", text, op=command.op, actor=command.actor, reason=command.reason)
        return orders

    def raise_alarms(self) -> None:
        if not self.world.met_router:
            if self.world.routers:
                self.set(met_router=True)
            elif self.world.alone_since_s is None:
                self.set(alone_since_s=self._now_s)
        self.world, told = alarm_states.turned(self.world, due_alarms(self.world, self._now_s), self._now_s, self._unix_s)
        for one in told:
            self.say(one.kind, one.text, id=one.alarm.id, severity=alarm_states.severity_of(one.alarm.id))
