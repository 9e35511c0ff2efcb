"""What the audit is told: every change and every decision, made from the World before and after it.

`Auditor.seen` looks at each turn of the single writer from outside, so nothing that changes the World can forget to tell the
audit: an operator's command with its outcome and what it changed, each decision with its inputs, a plan that went live, a process
that came or went, keys and addresses that changed. Entries are plain data; who writes them where is the store's matter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from sipctl.control.ports import Answer, Command, DecisionRecord, Hello, Wishes
from sipctl.control.state import wishes_of
from sipctl.control.world import Effect, Gone, Happening, Heard, Keys, NodeNews, PlanLive, Record, Reply, Resolved, World

MAX_OPEN: Final = 1000  # operations whose end is awaited; of the oldest only the beginning is told then
MAX_GROUPS: Final = 1000  # named in one entry
_NOT_WISHED: Final = ("term", "seq", "retired", "resolved", "pending")  # of the wishes: they change with everything


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, for the audit."""

    kind: str  # "operation" | "denied" | "decision" | "overlay" | "switch" | "plan" | "process" | "key" | "addresses" | …
    op: str
    actor: str  # name of the token, or sipctl
    text: str  # one sentence
    at_unix_s: float
    outcome: str = "done"  # as an Answer's status
    reason: str = ""  # why, in the actor's words
    id: str = ""  # of the operation
    rule: str = ""  # of the decision, or that refused
    dry_run: bool = False
    force: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    term: int = 0
    epoch: int = 0
    revision: int = 0
    args: Mapping[str, Any] = {}
    inputs: Mapping[str, Any] = {}  # what a decision was made from
    before: Mapping[str, Any] = {}
    after: Mapping[str, Any] = {}
    effect: Mapping[str, Any] = {}  # what it touched: numbers, calls; or a plan's differences


Put = Callable[[AuditEntry], None]  # takes an entry; never waits
# Told whom to tell why nothing can be written, and "" when it can be again, it gives what takes entries.
OpenAudit = Callable[[Callable[[str], None]], Put]


def no_audit(_tell: Callable[[str], None]) -> Put:
    """Nobody keeps an audit: tests, simulations."""
    return lambda entry: None


class Auditor:
    """Tells the audit of the controller's turns.

    Args:
        put: takes an entry; must not wait.
    """

    def __init__(self, put: Put, unix_s: Callable[[], float]) -> None:
        self._put = put
        self._unix_s = unix_s
        self._open: OrderedDict[str, Command] = OrderedDict()

    def asked(self, command: Command) -> None:
        """A command that the loop does not see as such (apply, rollback) has come in."""
        args = {name: value for name, value in command.args.items() if name != "files"}
        self._open[command.id] = msgspec.structs.replace(command, args=args)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def answered(self, answer: Answer) -> None:
        """What was asked so got its answer, and nothing changed."""
        command = self._open.get(answer.id)
        if command is not None:
            self._put(_operation(command, answer, self._unix_s()))
            del self._open[answer.id]

    def began(self, stored: Wishes, world: World) -> None:
        """A controller begins: with what the store held, and what its routers held beyond that."""
        now = wishes_of(world)
        before, after = differences(stored, now)
        groups = {
            name: {key: plain[key] for key in ("epoch", "state", "bcp_percent", "held", "pinned", "latched") if plain.get(key)}
            for name, plain in now.groups.items()
        }
        text = f"a controller begins with term {world.term}" + (", and adopts what its routers hold" if after else "")
        self._put(
            AuditEntry(
                "process", "controller-start", "sipctl", text, self._unix_s(), term=world.term, groups=tuple(groups)[:MAX_GROUPS],
                inputs={"groups": groups}, before=before, after=after,
            )
        )  # fmt: skip

    def seen(self, before: World, happening: Happening, after: World, effects: tuple[Effect, ...]) -> None:
        """One turn of the loop."""
        command = getattr(happening, "command", None)  # an operator's, whichever kind of happening carries it
        asked = command if isinstance(command, Command) else None
        entries = self._of_happening(before, happening, after) if asked is None else self._ordered(before, asked, after, effects)
        for entry in entries:
            self._put(entry)
        for effect in effects:
            if isinstance(effect, Record):
                self._put(_decision(effect.record))
            elif isinstance(effect, Reply) and effect.answer.final and asked is None:
                self._ended(effect.answer)

    def _of_happening(self, before: World, happening: Happening, after: World) -> tuple[AuditEntry, ...]:
        now_s = self._unix_s()
        match happening:
            case PlanLive():
                return (_plan(before, happening, after, self._open.get(happening.operation), now_s),)
            case Heard(_, Hello() as hello):
                held = "" if hello.state is None else f", holds term {hello.state.term} seq {hello.state.seq}"
                text = f"router {hello.name} is connected (pid {hello.pid}{held})"
                args = {"name": hello.name, "slot": hello.slot, "pid": hello.pid, "build": hello.build}
                return (AuditEntry("process", "router-connected", "sipctl", text, now_s, args=args),)
            case Gone(link) if link in before.routers:
                left = before.routers[link]
                args = {"name": left.name, "slot": left.slot, "pid": left.pid}
                return (AuditEntry("process", "router-gone", "sipctl", f"router {left.name} is gone", now_s, args=args),)
            case NodeNews(text, actor, reason):
                return (AuditEntry("process", "node", actor, text, now_s, reason=reason),)
            case Resolved() if before.resolved != after.resolved and before.plan is not None:
                old, new = _changed(_addresses(before), _addresses(after))
                text = f"DNS gives other addresses for {', '.join(sorted({*old, *new}))}"
                return (AuditEntry("addresses", "addresses", "sipctl", text, now_s, before=old, after=new),)
            case Keys() if before.keys and (before.keys != after.keys or before.signing_key != after.signing_key):
                old, new = ({"keys": [key.id for key in one.keys], "signing": one.signing_key} for one in (before, after))
                return (AuditEntry("key", "keys", "sipctl", "the ring of signing keys changed", now_s, before=old, after=new),)
        if after.extra_sources is not before.extra_sources and before.extra_sources:
            ended = [list(one) for one in before.extra_sources if one not in after.extra_sources]
            text = "a trunk may no longer call from its extra addresses: their time is over"
            return (AuditEntry("operation", "trunk-allow-expired", "sipctl", text, now_s, rule="until", before={"extra": ended}),)
        return ()

    def _ordered(self, before: World, command: Command, after: World, effects: tuple[Effect, ...]) -> tuple[AuditEntry, ...]:
        answers = [effect.answer for effect in effects if isinstance(effect, Reply)]
        answer = next((one for one in reversed(answers) if one.id == command.id), None)
        for other in answers:
            if other.final and other.id != command.id:
                self._ended(other)
        if answer is None:
            answer = Answer(command.id, "accepted", f"{command.op} was taken", final=False)
        if not answer.final:
            self.asked(command)
        old, new = ({}, {}) if before is after else differences(wishes_of(before), wishes_of(after))
        return (_operation(command, answer, self._unix_s(), old, new),)

    def _ended(self, answer: Answer) -> None:
        command = self._open.pop(answer.id, None)
        if command is not None:
            self._put(_operation(command, answer, self._unix_s(), op=f"{command.op}-ended"))


def differences(before: Wishes, after: Wishes) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of the wishes changed, two levels deep: as it was, as it is."""
    old, new = _changed(
        {name: value for name, value in msgspec.structs.asdict(before).items() if name not in _NOT_WISHED},
        {name: value for name, value in msgspec.structs.asdict(after).items() if name not in _NOT_WISHED},
    )
    for name in sorted({*old, *new}):
        one, two = old.get(name), new.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            old[name], new[name] = _changed(one, two)
    return old, new


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {name: value for name, value in before.items() if name not in after or after[name] != value},
        {name: value for name, value in after.items() if name not in before or before[name] != value},
    )


def _operation(
    command: Command,
    answer: Answer,
    unix_s: float,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    *,
    op: str = "",
) -> AuditEntry:
    old, new = before or {}, after or {}
    args = {name: value for name, value in command.args.items() if name != "files"}
    moved = {*(old.get("groups") or ()), *(new.get("groups") or ()), *_named_groups(args)}
    effect = {name: value for name, value in answer.body.items() if name != "dry_run"}
    return AuditEntry(
        "operation", op or command.op, command.actor, answer.text, unix_s, outcome=answer.status, reason=command.reason,
        id=command.id, rule=answer.code, dry_run=command.dry_run, force=command.force, groups=tuple(sorted(moved))[:MAX_GROUPS],
        args=args, before=old, after=new, effect=effect,
    )  # fmt: skip


def _named_groups(args: Mapping[str, Any]) -> set[str]:
    listed = args.get("groups", ())
    named = {args.get("group"), *(listed if isinstance(listed, list | tuple) else ())}
    return {name for name in named if isinstance(name, str)}


def _decision(record: DecisionRecord) -> AuditEntry:
    is_group = record.kind == "group"
    return AuditEntry(
        "decision" if is_group else record.kind, record.rule, record.actor, record.sentence, record.at_unix_s,
        rule=record.rule, groups=(record.group,) if is_group else (), term=record.term, epoch=record.epoch,
        args={} if is_group else {"name": record.group.partition(" ")[2]}, inputs=record.inputs, before=record.before,
        after=record.after,
    )  # fmt: skip


def _plan(before: World, live: PlanLive, after: World, command: Command | None, unix_s: float) -> AuditEntry:
    old, plan = before.plan, live.plan
    op = command.op if command is not None else "apply" if live.operation else "boot"
    return AuditEntry(
        "plan", op, live.actor, live.text or f"revision {plan.revision} is live", unix_s,
        outcome="accepted" if live.operation else "done", reason=plan.reason, id=live.operation, term=after.term,
        force=command.force if command is not None else (), revision=plan.revision,
        args=command.args if command is not None else {},
        before={} if old is None else {"revision": old.revision, "table": old.table},
        after={"revision": plan.revision, "table": plan.table},
        effect={name: value for name, value in live.body.items() if name != "findings"},
    )  # fmt: skip


def _addresses(world: World) -> dict[str, list[str]]:
    return {
        name: [f"{one.host}:{one.port};transport={one.transport}" for one in answers] for name, answers in world.resolved.items()
    }
