"""Where one call would go, said whole: the same answer from the command line, the API and a plan's author.

The answer is what `resolve` gives and nothing else. The tree tells how it came about: every step is made from the same snapshot,
the same live lists and the same functions, and a property test holds the steps against the answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from sipctl.routing.explain_number import number_step, rules_step
from sipctl.routing.explain_sbcs import SIDES, STATES, Scene, advance_steps, sbcs_step
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import SHARE_STEPS, NoRoute, Route, drawn_side, place_of, resolve
from sipctl.routing.rulebook import RuleBook
from sipctl.routing.select import Target, arrange
from sipctl.routing.snapshot import Admin
from sipctl.routing.steps import FACT, PASSED, REFUSED, TAKEN, Step, step

ANONYMOUS: Final = b"anonymous"  # who calls without a number, here and in a plan's tests; a router takes the Call-ID
_SHARE_PERCENT: Final = SHARE_STEPS // 100


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
    tenant: str | None
    called: str | None  # what is dialled at the chosen tenant
    rule: str | None
    reason: str
    targets: tuple[Attempt, ...]
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
    book: RuleBook | None = None,
) -> RouteAnswer:
    """Ask `resolve` for one call and say all of its answer.

    Args:
        asked: the first line of the answer: of what plan and what states.
        number: as the trunk writes it; caller: its number, which a ramp's share is drawn from.
        book: the table's rules, for whoever asks often; made here otherwise.
    """
    share_key = caller.encode() if caller else ANONYMOUS
    dialled = number if snapshot.trunks[trunk].called_format == "exact" else number.replace("\u00a0", " ")
    found = resolve(snapshot, live, trunk, dialled, None, share_key, now_s)
    steps = _until_entry_point(snapshot, book or RuleBook(snapshot.table.numbers), trunk, dialled)
    by = f"{number} on trunk {snapshot.trunks[trunk].name}" + (f" from {caller}" if caller else "")
    if isinstance(found, NoRoute):
        steps += _refused_steps(snapshot, live, found, trunk, share_key, now_s, steps)
        tree = step("call", REFUSED, by, *steps)
        return _refused(snapshot, found, asked, number, trunk, caller, tree)
    steps += _routed_steps(snapshot, live, found, share_key, now_s)
    return _routed(snapshot, live, found, asked, number, caller, now_s, step("call", TAKEN, by, *steps))


def _refused(
    snapshot: RoutingSnapshot, found: NoRoute, asked: str, number: str, trunk: int, caller: str | None, tree: Step
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
        targets=(),
        tree=tree,
    )


def _routed(
    snapshot: RoutingSnapshot, live: Live, route: Route, asked: str, number: str, caller: str | None, now_s: float, tree: Step
) -> RouteAnswer:
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
        group=snapshot.groups[route.group].name,
        side=SIDES[route.side],
        tenant=snapshot.tenants[route.tenant].name,
        called=route.called[route.side],
        rule=route.rule,
        reason=route.why(),
        targets=tuple(
            Attempt(
                sbc=snapshot.sbcs[target.sbc].name,
                tenant=snapshot.tenants[target.tenant].name,
                side=SIDES[target.side],
                uri=_uri(route, target),
                to=f"{target.transport}:{target.host}:{target.port}",
                operating=STATES[live.operating[target.sbc]],
                trial=trial,
            )
            for target, trial in arrange(route, live, now_s).targets
        ),
        tree=tree,
    )


# -- the steps -------------------------------------------------------------------------------------------------------------------


def _until_entry_point(snapshot: RoutingSnapshot, book: RuleBook, trunk: int, number: str) -> list[Step]:
    written = number_step(snapshot.trunks[trunk], number)
    if written.verdict == REFUSED:
        return [written]
    return [written, rules_step(snapshot, book, trunk, str(written.facts["called"]))]


def _refused_steps(
    snapshot: RoutingSnapshot, live: Live, found: NoRoute, trunk: int, share_key: bytes, now_s: float, before: list[Step]
) -> list[Step]:
    """What came after the number was found, up to what refused the call."""
    steps: list[Step] = []
    if before[-1].verdict != REFUSED and found.entry_point is not None:
        group_at = snapshot.entry_points[found.entry_point].group
        group = snapshot.groups[group_at]
        share = snapshot.decision[group_at].bcp_percent
        side = 0 if share <= 0 else 1 if share >= 100 else drawn_side(int(group.id), share, share_key)
        steps.append(_group_step(snapshot, group_at, side, share_key))
        steps.append(_limits_step(snapshot, live, trunk, found.entry_point, (group.primary, group.bcp)[side], now_s))
        if steps[-1].verdict != REFUSED:
            scene = Scene(snapshot, live, trunk, group_at, side, (), False, now_s)
            steps.append(sbcs_step(scene))
    text = f"refused with {found.status} (Q.850 cause {found.cause}): {found.reason}"
    steps.append(step("answer", REFUSED, text, status=found.status, cause=found.cause, limit=found.limit))
    return steps


def _routed_steps(snapshot: RoutingSnapshot, live: Live, route: Route, share_key: bytes, now_s: float) -> list[Step]:
    attempts = arrange(route, live, now_s).targets
    scene = Scene(snapshot, live, route.trunk, route.group, route.side, attempts, bool(route.crossing), now_s)
    return [
        _group_step(snapshot, route.group, route.side, share_key),
        _limits_step(snapshot, live, route.trunk, route.entry_point, route.tenant, now_s),
        sbcs_step(scene),
        advance_steps(scene),
        _invite_step(snapshot, route, attempts[0][0]),
        step("answer", TAKEN, route.why()),
    ]


def _group_step(snapshot: RoutingSnapshot, group_at: int, side: int, share_key: bytes) -> Step:
    """Where the group's new calls go, and on which side of a ramp this caller falls."""
    group, decision = snapshot.groups[group_at], snapshot.decision[group_at]
    share = decision.bcp_percent
    tenant = snapshot.tenants[(group.primary, group.bcp)[side]].name
    steps = [
        step("policy", FACT, f"failover {group.failover}, failback {group.failback}, advance_across {group.advance_across}"),
        step("decision", FACT, f"{decision.reason} (epoch {decision.epoch})", epoch=decision.epoch, bcp_percent=share),
    ]
    if decision.pinned:
        steps.append(step("pin", FACT, "pinned: nothing automatic moves it, and no call crosses"))
    if decision.left is not None:
        steps.append(step("left", FACT, f"an operator left the {decision.left} tenant: no call crosses to it"))
    if 0 < share < 100:
        place = place_of(int(group.id), share_key)
        bounds = f"the primary takes those below {100 - share}"
        text = f"shared, {100 - share} % to the primary: this caller stands at {place / _SHARE_PERCENT:.2f} of 100, {bounds}"
        steps.append(step("share", PASSED, text, place=place, primary_percent=100 - share, side=SIDES[side]))
    text = f"group {group.name} sends this call to its {SIDES[side]} tenant {tenant}"
    return step("group", PASSED, text, *steps, group=group.name, side=SIDES[side], tenant=tenant)


def _limits_step(snapshot: RoutingSnapshot, live: Live, trunk: int, entry_at: int, tenant: int, now_s: float) -> Step:
    """Every limit with its count of the moment, in the order of `resolve`; the first one reached ends the call."""
    sender, entry, takes = snapshot.trunks[trunk], snapshot.entry_points[entry_at], snapshot.tenants[tenant]
    steps: list[Step] = []
    if snapshot.trunk_admin[trunk] != Admin.ENABLED:
        wish = Admin(snapshot.trunk_admin[trunk]).name.lower()
        steps.append(step("limit", REFUSED, f"trunk {sender.name} is {wish}", limit="trunk-admin"))
    steps += [
        _limit("trunk-max-calls", f"calls of trunk {sender.name}", sender.max_calls, live.trunk_calls[trunk]),
        _limit("trunk-max-cps", f"new calls a second of trunk {sender.name}", sender.max_cps, live.trunk_cps(trunk, now_s)),
        _limit("entry-point", f"calls of entry point {entry.name}", entry.max_calls, live.entry_calls[entry_at]),
        _limit("tenant", f"calls of tenant {takes.name}", takes.max_calls, live.tenant_calls[tenant]),
    ]
    reached = next((one for one in steps if one.verdict == REFUSED), None)
    if reached is not None:
        return step("limits", REFUSED, reached.text, *steps, limit=reached.facts["limit"])
    count = sum("most" in one.facts for one in steps)
    return step("limits", PASSED, f"{count} set, none reached" if count else "none is set", *steps)


def _limit(slug: str, what: str, most: int | None, count: float) -> Step:
    shown = f"{count:.0f}"
    if most is None:
        return step("limit", FACT, f"{what}: {shown}, no limit", limit=slug, count=count)
    full = ": reached" if count >= most else ""
    return step("limit", REFUSED if full else PASSED, f"{what}: {shown} of {most}{full}", limit=slug, count=count, most=most)


def _invite_step(snapshot: RoutingSnapshot, route: Route, target: Target) -> Step:
    """What the first SBC is sent; the others get the same with their own address and number."""
    line = f"INVITE {_uri(route, target)} SIP/2.0"
    to = f"{target.transport}:{target.host}:{target.port}"
    listen = snapshot.listens[target.listen].name
    sent = step("sent", FACT, f"to {to}, from listen {listen}", to=to, listen=listen)
    return step("invite", FACT, f"leaves as {line}", sent, line=line)


def _uri(route: Route, target: Target) -> str:
    called = f"{target.called_prefix}{route.called[target.side]}"
    return f"sip:{called}{target.uri_params.decode()}@{target.uri_host.decode()}"
