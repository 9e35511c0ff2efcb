"""Where one call would go, said whole: the same answer from the command line, the API and a plan's author.

The answer is what `resolve` gives and nothing else. The tree tells how it came about: every step is made from the same snapshot,
the same live lists and the same functions, and a property test holds the steps against the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sipctl.routing.answers import NoRoute, Route, told
from sipctl.routing.explain_judged import SIDES, Asked, acted, entry_steps, place_limits_step
from sipctl.routing.explain_number import number_step, rules_step
from sipctl.routing.explain_sbcs import STATES, Scene, advance_steps, sbcs_step
from sipctl.routing.given import given_now
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.judged import Call, is_stopped
from sipctl.routing.leaves import uri_of, what_leaves
from sipctl.routing.live import Live
from sipctl.routing.resolve import WallTimeNeededError, resolve
from sipctl.routing.rulebook import RuleBook
from sipctl.routing.select import Target, arrange
from sipctl.routing.snapshot import SendRules
from sipctl.routing.steps import FACT, REFUSED, TAKEN, Step, step

ANONYMOUS: Final = b"anonymous"  # who calls without a number, here and in a plan's tests; a router takes the Call-ID


@dataclass(frozen=True, slots=True)
class Attempt:
    """One SBC tried."""

    sbc: str
    tenant: str
    side: str  # "primary" | "bcp"
    uri: str  # the Request-URI
    to: str  # transport:host:port
    operating: str
    trial: bool


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """Where one call would go, or why nowhere."""

    asked: str  # "live revision 812, states now" | "folder ., every SBC assumed in service"
    revision: int
    number: str
    trunk: str
    caller: str | None
    refused: int | None  # SIP status, None if the call is routed
    q850_cause: int | None
    limit: str | None
    entry_point: str | None
    group: str | None
    side: str | None
    tenant: str | None  # or what stands for an SBC pair or an exit: "pair:NAME", "exit:NAME"
    called: str | None  # what is dialled at the chosen tenant
    rule: str | None
    reason: str
    retargets: tuple[str, ...]  # by which ways it left the entry point it was dialled to, a sentence each
    targets: tuple[Attempt, ...]
    given: Mapping[str, Any]  # the state it was asked in, as a test's `given` says it
    at: str | None  # when the call comes (RFC 3339); None if the answer does not depend on it
    tree: Step

    def body(self) -> dict[str, Any]:
        """As JSON bodies say it."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        body["from"] = body.pop("caller")
        body["targets"] = [asdict(target) for target in self.targets]
        body["tree"] = self.tree.body()
        return body


def route_answer(
    snapshot: RoutingSnapshot,
    live: Live,
    asked: str,
    number: str,
    trunk: int,
    caller: str | None = None,
    now_s: float = 0.0,
    unix_s: float | None = None,
    book: RuleBook | None = None,
) -> RouteAnswer:
    """Ask `resolve` for one call and say all of its answer.

    Args:
        asked: the first line of the answer: of what plan and what states.
        number: as the trunk writes it; caller: its number, which shares are drawn from.
        now_s: the clock of `live`; unix_s: wall time; None where the answer does not depend on it.
        book: the table's rules, for whoever asks often; made here otherwise.
    Raises: WallTimeNeededError if the answer depends on the time and `unix_s` is None.
    """
    share_key = caller.encode() if caller else ANONYMOUS
    dialled = number if snapshot.trunks[trunk].called_format == "exact" else number.replace("\u00a0", " ")
    found = resolve(snapshot, live, trunk, dialled, None, share_key, now_s, unix_s=unix_s)
    at = (
        instant_text(unix_s)
        if unix_s is not None and _depends_on_time(snapshot, live, trunk, dialled, share_key, now_s)
        else None
    )
    given = given_now(snapshot, live, found, unix_s)
    steps = _until_entry_point(snapshot, book or RuleBook(snapshot.table.numbers), trunk, dialled)
    if steps[-1].verdict != REFUSED:
        called = str(steps[0].facts["called"])
        treatment, key = snapshot.table.numbers.lookup(trunk, called)
        story = Asked(snapshot, live, Call(trunk, called, key, treatment, share_key, now_s, False, unix_s))
        steps += _judged_steps(story, found, caller)
    by = f"{number} on trunk {snapshot.trunks[trunk].name}" + (f" from {caller}" if caller else "")
    if isinstance(found, NoRoute):
        text = f"refused with {found.status} (Q.850 cause {found.cause}): {found.reason}"
        steps.append(step("answer", REFUSED, text, status=found.status, cause=found.cause, limit=found.limit))
        return _refused(snapshot, found, asked, number, trunk, caller, given, at, step("call", REFUSED, by, *steps))
    steps.append(step("answer", TAKEN, found.why()))
    return _routed(snapshot, live, found, asked, number, caller, now_s, given, at, step("call", TAKEN, by, *steps))


def _refused(
    snapshot: RoutingSnapshot,
    found: NoRoute,
    asked: str,
    number: str,
    trunk: int,
    caller: str | None,
    given: Mapping[str, Any],
    at: str | None,
    tree: Step,
) -> RouteAnswer:
    return RouteAnswer(
        asked=asked,
        revision=snapshot.revision,
        number=number,
        trunk=snapshot.trunks[trunk].name,
        caller=caller,
        refused=found.status,
        q850_cause=found.cause,
        limit=found.limit,
        entry_point=None if found.entry_point is None else snapshot.entry_points[found.entry_point].name,
        group=None,
        side=None,
        tenant=None,
        called=None,
        rule=None,
        reason=found.reason,
        retargets=tuple(told(snapshot, way) for way in found.retargets),
        targets=(),
        given=given,
        at=at,
        tree=tree,
    )


def _routed(
    snapshot: RoutingSnapshot,
    live: Live,
    route: Route,
    asked: str,
    number: str,
    caller: str | None,
    now_s: float,
    given: Mapping[str, Any],
    at: str | None,
    tree: Step,
) -> RouteAnswer:
    in_group = route.stand_in < 0
    return RouteAnswer(
        asked=asked,
        revision=snapshot.revision,
        number=number,
        trunk=snapshot.trunks[route.trunk].name,
        caller=caller,
        refused=None,
        q850_cause=None,
        limit=None,
        entry_point=snapshot.entry_points[route.entry_point].name,
        group=snapshot.groups[route.group].name if in_group else None,
        side=SIDES[route.side] if in_group else None,
        tenant=snapshot.tenants[route.tenant].name,
        called=route.called[route.side],
        rule=route.rule,
        reason=route.why(),
        retargets=tuple(told(snapshot, way) for way in route.retargets),
        targets=tuple(
            Attempt(
                sbc=snapshot.sbcs[target.sbc].name,
                tenant=snapshot.tenants[target.tenant].name,
                side=SIDES[target.side],
                uri=uri_of(route, target),
                to=f"{target.transport}:{target.host}:{target.port}",
                operating=STATES[live.operating[target.sbc]],
                trial=trial,
            )
            for target, trial in arrange(route, live, now_s).targets
        ),
        given=given,
        at=at,
        tree=tree,
    )


def _depends_on_time(snapshot: RoutingSnapshot, live: Live, trunk: int, dialled: str, share_key: bytes, now_s: float) -> bool:
    try:
        resolve(snapshot, live, trunk, dialled, None, share_key, now_s)
    except WallTimeNeededError:
        return True
    return False


def instant_text(unix_s: float) -> str:
    """An instant as answers say it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# -- the steps -------------------------------------------------------------------------------------------------------------------


def _until_entry_point(snapshot: RoutingSnapshot, book: RuleBook, trunk: int, number: str) -> list[Step]:
    written = number_step(snapshot.trunks[trunk], number)
    if written.verdict == REFUSED:
        return [written]
    return [written, rules_step(snapshot, book, trunk, str(written.facts["called"]))]


def _judged_steps(story: Asked, found: Route | NoRoute, caller: str | None) -> list[Step]:
    """What came after the number was found: the entry points it left, the one it came to, and the SBCs."""
    snapshot = story.snapshot
    steps: list[Step] = []
    for way in found.retargets:
        steps.append(
            step("sent-on", TAKEN, told(snapshot, way), *entry_steps(story, way.entry_point), reason=way.reason, by=way.by)
        )
        acted(story, way)
    if isinstance(found, Route):
        return [*steps, *_arrived(story, found, caller)]
    assert found.entry_point is not None
    told_here = entry_steps(story, found.entry_point)
    steps += told_here
    if told_here[-1].verdict == TAKEN:  # it was sent to an SBC pair or an exit, which does not take it
        steps.append(step("place", REFUSED, found.reason, limit=found.limit))
    elif told_here[-1].verdict != REFUSED:
        group, side = story.drawn(found.entry_point)
        steps.append(sbcs_step(Scene(snapshot, story.live, story.call.trunk, group, side, (), False, story.call.now_s)))
    return steps


def _arrived(story: Asked, route: Route, caller: str | None) -> list[Step]:
    snapshot, live = story.snapshot, story.live
    attempts = arrange(route, live, story.call.now_s).targets
    judged = snapshot.judged[route.entry_point]
    group = snapshot.groups[route.group]
    other = group.primary if route.side else group.bcp
    stopped = judged is not None and is_stopped(judged, story.call, route.group, other)
    scene = Scene(
        snapshot,
        live,
        route.trunk,
        route.group,
        route.side,
        attempts,
        bool(route.crossing),
        story.call.now_s,
        route.stand_in,
        stopped,
    )
    to_place = route.stand_in >= 0
    before = [place_limits_step(story, route.stand_in)] if to_place else entry_steps(story, route.entry_point)
    return [*before, sbcs_step(scene), advance_steps(scene), _invite_step(snapshot, route, attempts[0][0], caller)]


def _invite_step(snapshot: RoutingSnapshot, route: Route, target: Target, caller: str | None) -> Step:
    """What the first SBC is sent; the others get the same with their own address and number."""
    leaves = what_leaves(snapshot, route, target, caller)
    line = f"INVITE {leaves.uri} SIP/2.0"
    to = f"{target.transport}:{target.host}:{target.port}"
    listen = snapshot.listens[target.listen].name
    sent = step("sent", FACT, f"to {to}, from listen {listen}", to=to, listen=listen)
    rules = () if target.send is None else _send_steps(target.send)
    added = (step("header", FACT, text) for text in leaves.set)
    return step("invite", FACT, f"leaves as {line}", sent, *rules, *added, line=line)


def _send_steps(send: SendRules) -> list[Step]:
    """What the pair's `send` asks for beside the Request-URI's place, as the plan writes it."""
    said = [("called", f"the number as {send.called}", send.called != "e164")]
    said += [("header", f"sets {name}: {template}", True) for name, template in send.set_headers]
    said += [
        ("removed", f"removes {', '.join(send.remove_headers)}", bool(send.remove_headers)),
        ("diversion", f"diversion: {send.diversion}", send.diversion != "off"),
        ("identity", f"identity: {send.identity}", send.identity != "pass"),
        ("uui", f"uui: {send.uui}", send.uui != "pass"),
    ]
    return [step("send", FACT, f"send: {text}", rule=kind) for kind, text, asked in said if asked]
