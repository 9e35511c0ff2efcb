"""What `sbc_configs/` may say: sockets, sites, who calls us, and the SBCs that take the calls."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sipctl.model.approval import APPROVERS, BreakGlassModel, Roles
from sipctl.model.base import Plain
from sipctl.model.scalars import (
    AdvanceOn,
    Advertises,
    Age,
    Also,
    Binds,
    CalledFrom,
    Calls,
    Country,
    Cps,
    Days,
    Dscp,
    Failure,
    Few,
    Flag,
    Format,
    HeaderName,
    HeaderNames,
    Hold,
    Host,
    InDialog,
    Label,
    Minutes,
    Name,
    Names,
    Networks,
    NotBuilt,
    Period,
    Port,
    Priority,
    Redundancy,
    Replies,
    Samples,
    Share,
    Short,
    Strategy,
    Token,
    Uri,
    Wait,
    fault,
    one_or_many,
)
from sipctl.model.send import SendModel


class ListenModel(Plain):
    """A named signalling socket, or several."""

    bind: Binds = Field(description="where to listen: udp: or tcp:, an address and a port")
    advertise: Advertises | None = Field(default=None, description="what Via and Record-Route say; needed for a wildcard bind")
    dscp: Dscp = Field(default=0, description="marking of the packets sent")


class SiteModel(Plain):
    """Where trunks, pairs and routers stand."""

    fallback: Names = Field(default=(), description="sites whose pairs come next, in order")


class MatchModel(Plain):
    """What tells this trunk from others of the same source; all conditions must hold."""

    listen: Name | None = Field(default=None, description="came in on this listen")
    uri_host: Host | None = Field(default=None, description="host of the Request-URI")
    tgrp: Token | None = Field(default=None, description="trunk group of the Request-URI (RFC 4904)")
    called_prefix: Token | None = Field(default=None, description="the dialled digits begin so")
    header: dict[HeaderName, Label] = Field(default_factory=dict, description="headers and the values they must have")
    tls_name: NotBuilt = Field(default=None, description="name in the peer's certificate")


class TrunkModel(Plain):
    """Who may send us calls, and how they write numbers."""

    site: Name | None = Field(default=None, description="needed when there are several sites")
    listen: Names | None = Field(default=None, description="listens it may use; default: all")
    sources: Networks = Field(description="addresses and networks its calls come from", min_length=1)
    match: MatchModel = Field(default_factory=MatchModel, description="chooses among trunks of one source")
    called_from: CalledFrom = Field(default="request-uri", description="where the dialled number stands")
    called_format: Format = Field(default="e164", description="how it writes numbers; never guessed")
    country: Country | None = Field(default=None, description="whose national numbers; needed for called_format: national")
    trust: HeaderNames = Field(default=(), description="identity headers that are believed; all others are removed")
    max_calls: Calls | None = Field(default=None, description="calls at once")
    max_cps: Cps | None = Field(default=None, description="new calls a second")
    exhausted: Failure = Field(default=503, description="what it hears when every attempt failed with 5xx, 408 or silence")
    overlap: Flag = Field(default=False, description="answer 484 to a proper prefix of a number")
    priority: Names = Field(default=(), description="namespaces of RFC 4412 it is trusted for")
    quiet_alarm: Minutes | None = Field(
        default=None, description="alarm when no call came for so long, though at its usual rate some would have"
    )


class SbcModel(Plain):
    """One signalling address of a tenant's edge."""

    uri: Uri = Field(description="sip:HOST[:PORT][;transport=udp|tcp]")
    priority: Priority = Field(default=1, description="lower is tried first")
    weight: Priority = Field(default=100, description="share among equal priorities (load-share)")
    max_calls: Calls | None = Field(default=None, description="calls at once; a full one comes last")


class ProbeModel(Plain):
    """How an SBC is asked whether it lives."""

    interval: Period = Field(default=2.0, description="between OPTIONS")
    fast_interval: Period = Field(default=0.5, description="between OPTIONS while in doubt")
    timeout: Short = Field(default=1.0, description="an OPTIONS without answer for so long has failed")
    fall: Few = Field(default=3, description="failures in a row that take it down")
    rise: Few = Field(default=5, description="answers in a row that bring it back")
    min_up: Wait = Field(default=0.0, description="well for so long before its return counts")
    replies: Replies = Field(default=(), description="what a status means, over the shipped table")


def _read_probe(value: Any) -> Any:
    if value == "off":
        return None
    if isinstance(value, str):
        raise fault("plan.bad-value", f"{value!r} is no probe", "write off, or a map such as {interval: 2s}")
    return value


class ObserveModel(Plain):
    """When live calls make an SBC doubtful, so that it comes last within its pair."""

    min_calls: Samples = Field(default=20, description="on both sides of a comparison; nothing is judged on fewer")
    difference: Share = Field(default=20, description="how far two shares must lie apart: failed calls, calls that end early")
    slower: Wait = Field(default=2.0, description="how much longer the post-dial delay must be, and at least twice as long")
    hold: Hold = Field(default=300.0, description="a first doubt; each further one within an hour lasts twice as long, up to 1h")
    most: Share = Field(default=50, description="share of the pair that may be doubtful at once; one SBC never is")


def _read_observe(value: Any) -> Any:
    if value == "off":
        return None
    if isinstance(value, str):
        raise fault("plan.bad-value", f"{value!r} says nothing of observing", "write off, or a map such as {min_calls: 50}")
    return value


class PairModel(Plain):
    """Signalling addresses that back each other up."""

    site: Name | None = Field(default=None, description="needed when there are several sites")
    listen: Names | None = Field(default=None, description="listens its calls leave by; default: all")
    strategy: Strategy = Field(default="active-standby", description="in order of priority, or by weight within one priority")
    sbcs: dict[Name, SbcModel] = Field(default_factory=dict, description="its SBCs by name")
    srv: Uri | None = Field(default=None, description="instead of sbcs: each SRV address is an SBC named PAIR/host:port")
    expect: Few | None = Field(default=None, description="how many addresses the SRV answer should hold")
    sources: Networks = Field(default=(), description="where its own requests may come from, besides its addresses")
    shared_dialogs: Flag = Field(default=False, description="the pair shares call state")
    in_dialog: InDialog = Field(default="remote-target", description="where in-dialog requests go; symmetric: the known address")
    redundancy: Redundancy = Field(default="pair", description="virtual-ip: one address, backed by two boxes")
    probe: Annotated[ProbeModel | None, BeforeValidator(_read_probe), Also({"enum": ["off", False]})] = Field(
        default_factory=ProbeModel, description="or off"
    )
    observe: Annotated[ObserveModel | None, BeforeValidator(_read_observe), Also({"enum": ["off", False]})] = Field(
        default_factory=ObserveModel, description="what its live calls may be held against its SBCs; or off"
    )
    no_reply: Short = Field(default=1.0, description="nothing at all for so long: the next SBC")
    no_progress: Wait = Field(default=6.0, description="only 100 for so long: the next SBC")
    advance_on: AdvanceOn = Field(
        default=frozenset({"no-reply", "no-progress", 408, 500, 502, 503, 504}), description="what makes a call try the next SBC"
    )
    send: SendModel | None = Field(default=None, description="how calls leave: form of the number, headers, identity")


def _read_reach(value: Any) -> Any:
    return {"sbc_pair": value} if isinstance(value, str) else value


class ReachModel(Plain):
    """A way to a tenant; a pair's name alone means the pair as it is."""

    sbc_pair: Name = Field(description="the pair")
    port: Port | None = Field(default=None, description="instead of the SBCs' own port")
    host: Host | None = Field(default=None, description="host of the Request-URI")
    tgrp: Token | None = Field(default=None, description="trunk group put into the Request-URI (RFC 4904)")
    trunk_context: Host | None = Field(default=None, description="its context")
    called_prefix: Token | None = Field(default=None, description="put in front of the called number")


class TenantModel(Plain):
    """One contact-centre system that takes calls."""

    reached_by: Annotated[
        tuple[Annotated[ReachModel, BeforeValidator(_read_reach), Also({"type": "string"})], ...],
        BeforeValidator(one_or_many),
        Also(),
    ] = Field(description="pairs in order: own site first, then fallback sites, then as listed", min_length=1)
    max_calls: Calls | None = Field(default=None, description="calls at once")


class LimitsModel(Plain):
    """Limits of the whole node."""

    max_call_age: Age = Field(default=43200.0, description="an answered call not ended after so long is forgotten")
    cdr_days: Days | None = Field(
        default=None, description="whole days of call records that are kept beside today's; older files are deleted; default: all"
    )
    approval_above: Share | None = Field(
        default=None, description="an operator's change needs a second person if it touches more of all numbers or calls up"
    )
    approval_by: Roles = Field(default=APPROVERS, description="who may approve such a change: roles of the other token")
    approval_within: Age = Field(default=1800.0, description="a proposal nobody approved ends after so long")
    approver_age: Wait = Field(
        default=86400.0, description="a token approves for the one that made it only when it is so old; also the other way round"
    )
    break_glass: BreakGlassModel = Field(
        default_factory=BreakGlassModel, description="the way round approvals and safety rules for an emergency"
    )


class EdgeDocument(Plain):
    """All of `sbc_configs/`."""

    listen: dict[Name, ListenModel] = Field(default_factory=dict, description="signalling sockets of this node")
    nodes: NotBuilt = Field(default=None, description="long form of listen, for several nodes")
    sites: dict[Name, SiteModel] = Field(default_factory=dict, description="optional; one site is implied")
    trunks: dict[Name, TrunkModel] = Field(default_factory=dict, description="who may send us calls")
    sbc_pairs: dict[Name, PairModel] = Field(default_factory=dict, description="SBCs that back each other up")
    tenants: dict[Name, TenantModel] = Field(default_factory=dict, description="contact-centre systems")
    limits: LimitsModel = Field(default_factory=LimitsModel, description="limits of the whole node")
    tls: NotBuilt = Field(default=None, description="certificates")
