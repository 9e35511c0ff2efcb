"""The one object the call path reads: immutable, checked once, swapped whole.

Two halves arrive apart and are joined by `RoutingSnapshot.build`:

- the **table**: what a revision of the plan says (this module's dataclasses, and the number table in `numbers.py`). It changes
  only with `apply`, is compiled once, and is shared by all routers as a sealed memfd named by its content hash.
- the **state**: what was decided and wished since (`RoutingState`): decisions of groups, admin states, resolved addresses,
  retired sources, keys. It is small and is sent whole at every change, under `(term, seq)`.

Entities refer to each other by index into the snapshot's tuples. Numeric ids are stable for the life of a STATE and never reused:
they stand in route tokens and call records and outlive the plan that named them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

TrunkId = NewType("TrunkId", int)
SbcId = NewType("SbcId", int)
TenantId = NewType("TenantId", int)
GroupId = NewType("GroupId", int)
EntryPointId = NewType("EntryPointId", int)


class Operating(IntEnum):
    """Measured state of an SBC or tenant."""

    UNKNOWN = 0
    IN_SERVICE = 1
    OUT_OF_SERVICE = 2


class Admin(IntEnum):
    """Wished state of an SBC, tenant, trunk or node."""

    ENABLED = 0
    DRAINING = 1
    DISABLED = 2


class Side(IntEnum):
    """Which tenant of a continuity group."""

    PRIMARY = 0
    BCP = 1


# -- the table: one revision of the plan ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listen:
    """One signalling socket of this node."""

    name: str
    transport: str  # "udp" | "tcp"
    host: str  # address bound, IPv6 without brackets; may be a wildcard
    port: int
    advertise_host: str  # what Via and Record-Route say: an address or a name
    advertise_port: int
    dscp: int = 0  # 0..63


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that choose among trunks of one source; all that are set must hold, most conditions first."""

    listen: int | None = None
    uri_host: str | None = None  # lower case
    tgrp: str | None = None
    called_prefix: str | None = None
    header: tuple[tuple[str, str], ...] = ()  # (lower-case name, exact value)

    @property
    def conditions(self) -> int:
        fixed = (self.listen, self.uri_host, self.tgrp, self.called_prefix)
        return sum(value is not None for value in fixed) + len(self.header)


@dataclass(frozen=True, slots=True)
class Trunk:
    """Who may send us calls, and how they write numbers."""

    id: TrunkId
    name: str
    site: int
    listens: tuple[int, ...]  # indexes of Listen this trunk may use
    sources: tuple[str, ...]  # networks in CIDR form
    match: Match = Match()
    called_from: str = "request-uri"  # request-uri | to | p-called-party-id | diversion | header:NAME
    called_format: str = "e164"  # e164 | e164-no-plus | national | exact
    country_code: str | None = None  # digits, for national
    national_prefix: str = ""  # "0" or "1" where national numbers may be written with it; removed
    trust: tuple[str, ...] = ()  # lower-case header names whose identity is believed
    max_calls: int | None = None
    max_cps: int | None = None
    exhausted: int = 503
    overlap: bool = False
    priority: tuple[str, ...] = ()  # namespaces of RFC 4412
    quiet_alarm_s: float | None = None  # alarm when no call came for so long; None: never


@dataclass(frozen=True, slots=True)
class Probe:
    """How an SBC pair is probed; seconds and counts (CALLS 3.2)."""

    interval_s: float = 2.0
    fast_interval_s: float = 0.5
    timeout_s: float = 1.0
    fall: int = 3
    rise: int = 5
    min_up_s: float = 0.0
    replies: tuple[tuple[int, str], ...] = ()  # overrides of the shipped reply table: (status, "alive"|"failed"|"busy")


@dataclass(frozen=True, slots=True)
class ObserveRules:
    """When live calls make an SBC of a pair doubtful (health/outliers.py), and for how long."""

    min_calls: int = 20  # on both sides of a comparison
    difference: float = 0.2  # of two shares, 0 to 1
    slower_s: float = 2.0  # longer post-dial delay
    hold_s: float = 300.0  # a first doubt; each further one lasts twice as long, up to an hour
    most: float = 0.5  # share of a pair that may be doubtful at once, 0 to 1; one SBC never is


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One SBC to judge: how, and where; `probe` None: judged by calls alone, `host` "": not resolved yet, not probed."""

    sbc_id: int
    name: str
    probe: Probe | None
    host: str = ""
    port: int = 5060
    transport: str = "udp"


@dataclass(frozen=True, slots=True)
class Sbc:
    """One signalling address of a tenant's edge."""

    id: SbcId
    name: str
    pair: int
    listen: int  # index of the Listen we send from
    host: str  # literal address; "" while a name has not been resolved yet
    port: int
    transport: str  # "udp" | "tcp"
    uri_host: str  # host part to put into Request-URIs: the address or the configured name, IPv6 in brackets
    priority: int = 1
    weight: int = 100
    max_calls: int | None = None


@dataclass(frozen=True, slots=True)
class SendRules:
    """How an INVITE leaves towards a pair, as the plan writes it; templates hold {placeholders} (model/send.py)."""

    called: str = "e164"  # e164 | e164-no-plus | national | a template with one of them: "02#{e164}"
    country_code: str = ""  # digits, for national
    national_prefix: str = ""  # in front of national numbers of that country: "0", or ""
    set_headers: tuple[tuple[str, str], ...] = ()  # (name as it leaves, template)
    remove_headers: tuple[str, ...] = ()  # lower-case names
    diversion: str = "off"  # off | dialled | history-info
    identity: str = "pass"  # pass | strip
    uui: str = "pass"  # pass | strip


@dataclass(frozen=True, slots=True)
class SbcPair:
    """Signalling addresses that back each other up."""

    id: int
    name: str
    site: int
    sbcs: tuple[int, ...]  # indexes of Sbc, in order of priority
    strategy: str = "active-standby"  # or load-share
    sources: tuple[str, ...] = ()
    shared_dialogs: bool = False
    symmetric: bool = False  # in_dialog: symmetric
    redundancy: str = "pair"  # or virtual-ip
    probe: Probe | None = Probe()  # None: probe off
    no_reply_s: float = 1.0
    no_progress_s: float = 6.0
    advance_on: frozenset[int] = frozenset({408, 500, 502, 503, 504})
    advance_on_no_reply: bool = True
    advance_on_no_progress: bool = True
    srv: str | None = None  # the SRV uri, if its SBCs come from DNS
    expect: int | None = None  # how many SBCs the SRV answer should hold
    listens: tuple[int, ...] = ()  # indexes of Listen its SBCs may be reached from; (): all
    send: SendRules | None = None  # None: as it came, but for the Request-URI
    observe: ObserveRules | None = ObserveRules()  # None: its SBCs are never doubtful


@dataclass(frozen=True, slots=True)
class Reach:
    """One way to a tenant: a pair, and what tells this tenant from others behind the same pair."""

    pair: int
    port: int | None = None
    host: str | None = None
    tgrp: str | None = None
    trunk_context: str | None = None
    called_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One contact-centre system that takes calls.

    Two kinds of stand-in let a call go elsewhere by the same rules (tokens, records, counts, limits, admin states): `pair:NAME`
    for an SBC pair that takes calls for itself, `exit:NAME` for an exit.
    """

    id: TenantId
    name: str
    reached_by: tuple[Reach, ...]
    max_calls: int | None = None
    kind: str = "tenant"  # tenant | pair | exit


@dataclass(frozen=True, slots=True)
class Group:
    """A continuity group: primary tenant, BCP tenant, and the policy between them."""

    id: GroupId
    name: str
    primary: int  # index of Tenant
    bcp: int
    failover: str  # "automatic" | "manual"
    advance_across: str  # "never" | "to-bcp" | "both"
    hold_off_s: float = 5.0
    failback: str = "manual"
    hold_down_s: float = 300.0
    ramp: tuple[int, ...] = (10, 50, 100)  # primary's share on the way back, percent
    ramp_step_s: float = 120.0
    mode: str = "proxy"
    renamed_from: str | None = None  # the name whose state goes on under this one
    approved_by: tuple[str, ...] = ()  # roles of which one must approve what operators do to its calls; (): nobody need


@dataclass(frozen=True, slots=True)
class Approval:
    """When an operator's change needs a second person, and what overrides it."""

    above_percent: int | None = None  # of all numbers or of all calls up; None: however many
    by: tuple[str, ...] = ("operator", "admin")
    within_s: float = 1800.0  # a proposal ends after so long
    token_age_s: float = 86400.0  # of one of two tokens of which the other is the maker
    glass_by: tuple[str, ...] = ("operator", "admin")
    glass_s: float = 1800.0  # break-glass ends after so long


@dataclass(frozen=True, slots=True)
class Destination:
    """What becomes of a call instead of going to its group: exactly one of entry_point, tenant and refuse is set."""

    entry_point: int | None = None  # index: judged as if it had been called
    tenant: int | None = None  # index of the stand-in for an SBC pair or an exit
    called: str | None = None  # what to dial there; None: the called number
    refuse: tuple[int, int] | None = None  # SIP status, Q.850 cause


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A named set of numbers of one group, or of several by share, with limits and treatment."""

    id: EntryPointId
    name: str
    group: int  # the first of `split`, if there is one
    trunks: tuple[int, ...] | None = None  # allow-list of Trunk indexes; None: all
    max_calls: int | None = None
    over_limit: tuple[int, int] = (486, 17)  # SIP status, Q.850 cause
    labels: tuple[tuple[str, str], ...] = ()
    split: tuple[tuple[int, int], ...] = ()  # (group index, percent), 100 together; (): `group` alone
    schedule: int | None = None  # index of Schedule
    closed: Destination | None = None  # outside its schedule
    overflow: tuple[Destination, ...] = ()  # beyond its limit or its tenant's, in order
    unusable: Destination | None = None  # no usable SBC is left; None: out-of-service ones are tried
    called_at: tuple[tuple[int, int], tuple[int, int]] = (
        (0, 0),
        (0, 0),
    )  # (base, copied) at primary and BCP, for calls sent here

    @property
    def groups(self) -> tuple[int, ...]:
        """Every group its calls may go to."""
        return tuple(group for group, _ in self.split) or (self.group,)


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone as a list of changes: from at[i] on (unix seconds) clocks are ahead of UTC by offset_s[i + 1]."""

    name: str
    at: tuple[int, ...]  # ascending
    offset_s: tuple[int, ...]  # one more than `at`: the first holds before all changes


@dataclass(frozen=True, slots=True)
class Schedule:
    """Opening hours as a wall clock in their zone shows them (routing/schedules.py)."""

    name: str
    zone: int  # index of Zone
    open: tuple[tuple[int, int], ...]  # [start, end) minutes of the week from Monday 00:00, ascending and disjoint
    closed: tuple[int, ...] = ()  # whole days, as days since 1970-01-01, ascending: public holidays and those named
    holidays: tuple[str, ...] = ()  # of which country or part of one
    holidays_until: int = 0  # the last year whose holidays are in `closed`; 0: none are asked for


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out to numbers that are nobody's here."""

    name: str
    tenant: int  # index of its stand-in, which holds its pair and its limit
    allow: tuple[str, ...]  # numbers, ranges and patterns, as written


@dataclass(frozen=True, slots=True)
class Overlay:
    """A change kept ready; runtime state says whether it is on."""

    name: str
    entry_points: tuple[tuple[int, Destination], ...]  # by index, those named
    everywhere: Destination | None = None  # for all others ("*")


@dataclass(frozen=True, slots=True)
class Switch:
    """A kill switch; every condition that is set must hold. Runtime state says whether it is on."""

    name: str
    to: Destination
    entry_points: tuple[int, ...] | None = None  # indexes
    groups: tuple[int, ...] | None = None
    trunks: tuple[int, ...] | None = None
    tenants: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    fallback: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything of a revision but the numbers; small (thousands of entries)."""

    revision: int
    node: str
    sites: tuple[Site, ...]
    listens: tuple[Listen, ...]
    trunks: tuple[Trunk, ...]
    sbcs: tuple[Sbc, ...]
    pairs: tuple[SbcPair, ...]
    tenants: tuple[Tenant, ...]
    groups: tuple[Group, ...]
    entry_points: tuple[EntryPoint, ...]
    max_call_age_s: float = 43200.0
    approval: Approval = Approval()
    zones: tuple[Zone, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    exits: tuple[Exit, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    switches: tuple[Switch, ...] = ()
    cdr_days: int | None = None  # days of call records that are kept; None: all


# -- the state: decided, wished and resolved since -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a group's new calls go, as the controller decided it."""

    bcp_percent: int = 0  # 0: all to the primary, 100: all to BCP
    pinned: bool = False  # nothing automatic, not even per-call advance, crosses
    left: str | None = None  # "primary" | "bcp": the tenant an operator left; calls never cross to it
    epoch: int = 0
    reason: str = "as planned"


@dataclass(frozen=True, slots=True)
class ResolvedSbc:
    """One address DNS gave for a pair's `srv`, or for an SBC whose uri holds a name."""

    id: SbcId
    name: str
    host: str
    port: int
    transport: str
    priority: int
    weight: int


@dataclass(frozen=True, slots=True)
class Retired:
    """A trunk or SBC that left the plan or DNS while its calls may be up (CALLS 1.1)."""

    kind: str  # "trunk" | "sbc"
    id: int
    name: str
    tenants: tuple[int, ...]  # numeric tenant ids it served, for an SBC
    networks: tuple[str, ...]  # CIDR
    host: str  # where its in-dialog requests go; "" for a trunk known by network alone
    port: int
    transport: str
    listen: str  # name of the Listen used
    until_unix_s: float


@dataclass(frozen=True, slots=True)
class SigningKey:
    id: int  # 0..255
    secret: bytes  # 32 bytes


@dataclass(frozen=True, slots=True)
class Canary:
    """Another revision that takes a share of the callers first; all else is as the state around it says (routing/canary.py)."""

    revision: int
    table: str  # content hash
    permille: int  # of the callers, 1..999
    sbc_ids: Mapping[str, int] = field(default_factory=dict)  # SBCs of its plan that stand under ids of their own meanwhile
    decisions: Mapping[str, Decision] = field(default_factory=dict)  # of its groups, where the live plan's do not fit


@dataclass(frozen=True, slots=True)
class RoutingState:
    """What changes without the plan changing; names, so that it fits any table of the same STATE."""

    term: int
    seq: int
    revision: int
    table: str  # content hash of the table this state is meant for
    decisions: Mapping[str, Decision] = field(default_factory=dict)  # by group name; missing: Decision()
    sbc_admin: Mapping[str, Admin] = field(default_factory=dict)
    tenant_admin: Mapping[str, Admin] = field(default_factory=dict)
    trunk_admin: Mapping[str, Admin] = field(default_factory=dict)
    node_admin: Admin = Admin.ENABLED
    resolved: Mapping[str, tuple[ResolvedSbc, ...]] = field(default_factory=dict)  # by pair name (srv) or SBC name
    extra_sources: tuple[tuple[str, str, float], ...] = ()  # (trunk, CIDR, until unix seconds): `trunk allow`
    retired: tuple[Retired, ...] = ()
    keys: tuple[SigningKey, ...] = ()
    signing_key: int = 0
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # FQDNs of remote targets → addresses
    overlays: tuple[tuple[str, float], ...] = ()  # (name, until unix seconds; 0: until switched off); routers end them themselves
    switches: tuple[tuple[str, float], ...] = ()  # the same; names this plan does not know are ignored
    doubtful: tuple[str, ...] = ()  # SBCs that live calls speak against: last within their pair (health/outliers.py)
    canary: Canary | None = None
    orders_taken: int = 0  # local orders up to this number are in the decisions (routing/local_orders.py)
