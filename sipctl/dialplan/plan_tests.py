"""The plan's own tests: each call is routed by the very `resolve` the routers use, in the state the test assumes.

The state is settled, all waits over: a group with automatic failover whose primary is out of service has moved, an SBC named is
what it is said to be, everything else is in service. An SRV pair, whose SBCs only DNS knows, is stood for by one SBC named
PAIR/srv.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sipctl.dialplan.load import Draft
from sipctl.dialplan.report import Report
from sipctl.model.numbers import strip_separators
from sipctl.model.plan import ExpectModel, RefusedModel
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, Route, resolve
from sipctl.routing.select import arrange
from sipctl.routing.snapshot import Admin, Decision, Operating, ResolvedSbc, RoutingState, SbcId, Topology
from sipctl.routing.table import Table

STAND_IN_ID: Final = (1 << 24) - 1  # of SBCs that stand for an SRV answer, downwards
_SHARE_KEY: Final = b"anonymous"
_MEASURED: Final = {
    "in-service": Operating.IN_SERVICE,
    "out-of-service": Operating.OUT_OF_SERVICE,
    "unknown": Operating.UNKNOWN,
}
_WISHED: Final = {"draining": Admin.DRAINING, "disabled": Admin.DISABLED}


@dataclass(frozen=True, slots=True)
class Given:
    """States that differ from in service, by name."""

    tenants: Mapping[str, str] = field(default_factory=dict)
    sbcs: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


def settled(table: Table, given: Given) -> tuple[RoutingSnapshot, Live]:
    """A snapshot and live lists in the state assumed, all waits over."""
    topology = table.topology
    state = RoutingState(
        term=1,
        seq=1,
        revision=topology.revision,
        table=table.hash,
        sbc_admin={name: _WISHED[state] for name, state in given.sbcs.items() if state in _WISHED},
        tenant_admin={name: _WISHED[state] for name, state in given.tenants.items() if state in _WISHED},
        resolved=_stand_ins(topology),
    )
    snapshot = RoutingSnapshot.build(table, state)
    operating = _operating(snapshot, given)
    decisions = _decisions(snapshot, operating, given)
    if decisions:
        state = RoutingState(
            term=1,
            seq=2,
            revision=state.revision,
            table=state.table,
            decisions=decisions,
            sbc_admin=state.sbc_admin,
            tenant_admin=state.tenant_admin,
            resolved=state.resolved,
        )
        snapshot = RoutingSnapshot.build(table, state)
    live = Live.for_snapshot(snapshot)
    live.operating = operating
    live.version += 1
    return snapshot, live


def run_tests(draft: Draft, table: Table, report: Report) -> None:
    """Every test of the plan; a finding at its line for each expectation that is not met."""
    trunks = {trunk.name: index for index, trunk in enumerate(table.topology.trunks)}
    for at, test in draft.tests:
        given = Given(test.given.tenants, test.given.sbcs, test.given.groups)
        snapshot, live = settled(table, given)
        trunk = trunks[test.trunk] if test.trunk else 0
        share_key = (test.from_ or "").encode() or _SHARE_KEY
        answer = resolve(snapshot, live, trunk, _as_dialled(snapshot, trunk, test.call), None, share_key, 0.0)
        for key, message in _misses(snapshot, live, answer, test.expect):
            report.add("test.failed", draft.mark("tests", at, "expect", key), f"{test.name}: {message}", _why(answer))


def _as_dialled(snapshot: RoutingSnapshot, trunk: int, call: str) -> str:
    return call if snapshot.trunks[trunk].called_format == "exact" else strip_separators(call)


def _why(answer: Route | NoRoute) -> str:
    return answer.why() if isinstance(answer, Route) else f"{answer.status}: {answer.reason}"


def _misses(snapshot: RoutingSnapshot, live: Live, answer: Route | NoRoute, expect: ExpectModel) -> list[tuple[str, str]]:
    """(key of expect, what is wrong) for each expectation that is not met."""
    wanted = expect.refused
    if isinstance(answer, NoRoute):
        if not isinstance(wanted, RefusedModel):
            key = "refused" if wanted is False else next(iter(expect.model_fields_set), "refused")
            return [(key, f"the call is refused with {answer.status}")]
        found = [("code", wanted.code, answer.status), ("cause", wanted.cause, answer.cause)]
        return [
            ("refused", f"the call is refused with {name} {is_}, not {want}")
            for name, want, is_ in found
            if want not in (None, is_)
        ]
    if isinstance(wanted, RefusedModel):
        return [("refused", "the call is not refused")]
    attempts = arrange(answer, live, 0.0).targets
    first = attempts[0][0]
    told: list[tuple[str, object, object]] = [
        ("entry_point", expect.entry_point, snapshot.entry_points[answer.entry_point].name),
        ("tenant", expect.tenant, snapshot.tenants[first.tenant].name),
        ("called", expect.called and strip_separators(expect.called), first.called_prefix + answer.called[first.side]),
        ("sbcs", expect.sbcs, tuple(snapshot.sbcs[target.sbc].name for target, _ in attempts)),
    ]
    return [(key, f"{key} is {_text(is_)}, not {_text(want)}") for key, want, is_ in told if want is not None and want != is_]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _stand_ins(topology: Topology) -> dict[str, tuple[ResolvedSbc, ...]]:
    """Addresses for what only DNS knows: documentation addresses, never sent to."""
    found: dict[str, tuple[ResolvedSbc, ...]] = {}
    count = 0
    for pair in topology.pairs:
        if pair.srv:
            transport = pair.srv.rpartition("=")[2]
            fit = [index for index in pair.listens if topology.listens[index].transport == transport]
            host = _documentation_address(count, ":" in topology.listens[fit[0]].host)
            found[pair.name] = (ResolvedSbc(SbcId(STAND_IN_ID - count), f"{pair.name}/srv", host, 5060, transport, 1, 1),)
            count += 1
        for index in pair.sbcs:
            sbc = topology.sbcs[index]
            if not sbc.host:
                host = _documentation_address(count, ":" in topology.listens[sbc.listen].host)
                found[sbc.name] = (ResolvedSbc(sbc.id, sbc.name, host, sbc.port, sbc.transport, sbc.priority, sbc.weight),)
                count += 1
    return found


def _documentation_address(count: int, is_v6: bool) -> str:
    return f"2001:db8::{count + 1:x}" if is_v6 else f"198.18.{count // 250 % 250}.{count % 250 + 1}"


def _operating(snapshot: RoutingSnapshot, given: Given) -> list[int]:
    """Measured states: a tenant out of service takes down the SBCs that serve no other tenant."""
    operating = [int(_MEASURED.get(given.sbcs.get(sbc.name, ""), Operating.IN_SERVICE)) for sbc in snapshot.sbcs]
    down = {index for index, tenant in enumerate(snapshot.tenants) if given.tenants.get(tenant.name) == "out-of-service"}
    for index, tenants in enumerate(snapshot.tenants_of_sbc):
        if tenants and set(tenants) <= down:
            operating[index] = int(Operating.OUT_OF_SERVICE)
    return operating


def _decisions(snapshot: RoutingSnapshot, operating: list[int], given: Given) -> dict[str, Decision]:
    """Where each group's calls go once everything has settled."""

    def is_out(tenant: int) -> bool:
        if given.tenants.get(snapshot.tenants[tenant].name) == "out-of-service":
            return True
        sbcs = [index for index, tenants in enumerate(snapshot.tenants_of_sbc) if tenant in tenants]
        return all(operating[index] == Operating.OUT_OF_SERVICE for index in sbcs)

    decisions: dict[str, Decision] = {}
    for group in snapshot.groups:
        said = given.groups.get(group.name)
        if said is not None:
            if said == "on-bcp":
                decisions[group.name] = Decision(bcp_percent=100, reason="given on BCP")
        elif group.failover == "automatic" and is_out(group.primary) and not is_out(group.bcp):
            decisions[group.name] = Decision(bcp_percent=100, reason="primary out of service")
    return decisions
