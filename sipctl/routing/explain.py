"""Where one call would go, said whole: the same answer from the command line, the API and a plan's author."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, resolve
from sipctl.routing.select import arrange

_SIDES: Final = ("primary", "bcp")
_STATES: Final = ("unknown", "in-service", "out-of-service")  # in the order of Operating


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

    def body(self) -> dict[str, Any]:
        """As JSON bodies say it."""
        body = asdict(self)
        body["from"] = body.pop("caller")
        body["targets"] = [asdict(target) for target in self.targets]
        return body


def route_answer(
    snapshot: RoutingSnapshot, live: Live, asked: str, number: str, trunk: int, caller: str | None = None, now_s: float = 0.0
) -> RouteAnswer:
    """Ask `resolve` for one call and say all of its answer.

    Args:
        asked: the first line of the answer: of what plan and what states.
        number: as the trunk writes it; caller: its number, which a ramp's share is drawn from.
    """
    found = resolve(snapshot, live, trunk, number, None, (caller or number).encode(), now_s)
    name = snapshot.trunks[trunk].name
    if isinstance(found, NoRoute):
        entry_point = None if found.entry_point is None else snapshot.entry_points[found.entry_point].name
        return RouteAnswer(
            asked=asked,
            revision=snapshot.revision,
            number=number,
            trunk=name,
            caller=caller,
            refused=found.status,
            q850_cause=found.cause,
            limit=found.limit,
            entry_point=entry_point,
            group=None,
            side=None,
            tenant=None,
            called=None,
            rule=None,
            reason=found.reason,
            targets=(),
        )
    targets = tuple(
        Attempt(
            sbc=snapshot.sbcs[target.sbc].name,
            tenant=snapshot.tenants[target.tenant].name,
            side=_SIDES[target.side],
            uri=f"sip:{target.called_prefix}{found.called[target.side]}{target.uri_params.decode()}@{target.uri_host.decode()}",
            to=f"{target.transport}:{target.host}:{target.port}",
            operating=_STATES[live.operating[target.sbc]],
            trial=trial,
        )
        for target, trial in arrange(found, live, now_s).targets
    )
    return RouteAnswer(
        asked=asked,
        revision=snapshot.revision,
        number=number,
        trunk=name,
        caller=caller,
        refused=None,
        q850_cause=None,
        limit=None,
        entry_point=snapshot.entry_points[found.entry_point].name,
        group=snapshot.groups[found.group].name,
        side=_SIDES[found.side],
        tenant=snapshot.tenants[found.tenant].name,
        called=found.called[found.side],
        rule=found.rule,
        reason=found.why(),
        targets=targets,
    )
