"""Everything the controller knows, frozen; what can happen to it, and what may follow.

`reconcile` (reconcile.py) takes a World, one input and the time, and returns the next World and effects. Nothing else changes a
World, and a World does nothing by itself. Instants ending in `_s` are monotonic, `_unix_s` wall time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sipctl.control.approvals import Glass, Proposal
from sipctl.control.canary_state import Fell, Running, Seen
from sipctl.control.following import Follow
from sipctl.control.observed import Watch
from sipctl.control.overlay_scope import Scope
from sipctl.control.overlays import Switched
from sipctl.control.ports import (
    Answer,
    CallReport,
    Command,
    DecisionRecord,
    FromRouter,
    Notice,
    Observe,
    SbcObservation,
    Wishes,
)
from sipctl.failover.memory import Memory
from sipctl.failover.tenants import Edge
from sipctl.health.self_doubt import Ears
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import Admin, Operating, ResolvedSbc, Retired, RoutingState, SigningKey, Topology

_NO_EARS: Final = Ears(0.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """The live revision as the controller needs it: everything but the numbers themselves."""

    topology: Topology
    table: str  # content hash
    revision: int
    numbers: Mapping[str, int] = field(default_factory=dict)  # how many, by entry point
    author: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RouterSeen:
    """One connected router."""

    name: str
    slot: int = 0
    pid: int = 0
    term: int = 0  # of the state it holds
    seq: int = 0
    revision: int = 0
    table: str = ""
    canary_table: str = ""
    refused: str = ""  # why it did not take the last publication
    observe: Observe | None = None
    heard_s: float = 0.0
    orders: tuple[LocalOrder, ...] = ()  # local ones it followed when it said hello
    slots: int = 1  # routers there are to be on its machine


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person should know; it clears by itself when its cause is gone."""

    id: str
    since_unix_s: float
    text: str
    acked_by: str = ""
    acked_reason: str = ""
    acked_unix_s: float = 0.0
    raises: int = 1  # how often its cause came back while it was not told
    is_flapping: bool = False  # it stands until its cause was away for a while
    away_s: float | None = None  # since when its cause is away, while it flaps


@dataclass(frozen=True, slots=True)
class Ack:
    """Somebody looks after an alarm."""

    by: str
    reason: str
    at_unix_s: float
    since_unix_s: float  # of the alarm
    carried: bool = False  # from before a restart: its alarm has not been seen since
    waits_s: float | None = None  # since when it waits for that


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that waits until every router has its seq, or goes on after that."""

    id: str
    term: int
    seq: int
    text: str
    body: Mapping[str, Any] = field(default_factory=dict)
    since_s: float = 0.0
    missing: tuple[str, ...] | None = None  # routers that have not taken it, as was told last
    op: str = ""
    actor: str = ""
    at_unix_s: float = 0.0
    follow: Follow | None = None  # what it waits for once every router has it
    everywhere_s: float | None = None  # since when every router has it


@dataclass(frozen=True, slots=True)
class World:
    """The controller's whole knowledge."""

    term: int
    seq: int = 0
    plan: Plan | None = None
    edge: Edge | None = None
    scopes: Mapping[str, Mapping[str, Scope]] = field(default_factory=dict)  # of the plan's overlays and switches, by kind
    groups: Mapping[str, Memory] = field(default_factory=dict)
    sbc_admin: Mapping[str, Admin] = field(default_factory=dict)
    tenant_admin: Mapping[str, Admin] = field(default_factory=dict)
    trunk_admin: Mapping[str, Admin] = field(default_factory=dict)
    node_admin: Admin = Admin.ENABLED
    automation: bool = True
    extra_sources: tuple[tuple[str, str, float], ...] = ()
    overlays: Switched = field(default_factory=dict)  # those that are on
    switches: Switched = field(default_factory=dict)
    proposals: Mapping[str, Proposal] = field(default_factory=dict)  # changes that wait for a second person
    glass: Glass | None = None  # broken now
    orders_taken: int = 0  # local orders up to this number were adopted
    canary: Running | None = None  # another revision that takes a share of the callers
    canary_seen: Seen = field(default_factory=Seen)
    canary_fell: Fell | None = None  # the last one that went back by itself
    canary_promoting: bool = False  # its revision is being written as the live one: it neither falls nor takes orders
    canary_retired_unix_s: float = 0.0  # when what only it has was last said to stay known
    watch: Watch = field(default_factory=Watch)  # what live calls showed
    doubtful: tuple[str, ...] = ()  # SBCs that come last within their pair
    retired: tuple[Retired, ...] = ()
    resolved: Mapping[str, tuple[ResolvedSbc, ...]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keys: tuple[SigningKey, ...] = ()
    signing_key: int = 0
    routers: Mapping[int, RouterSeen] = field(default_factory=dict)  # by link
    met_router: bool = False  # one has been connected since this controller began
    alone_since_s: float | None = None  # when it began without any
    sbcs: Mapping[str, SbcObservation] = field(default_factory=dict)  # as measured last, also if that router is gone
    tenants: Mapping[str, Operating] = field(default_factory=dict)
    ears: Ears = _NO_EARS
    local_errors: Mapping[int, int] = field(default_factory=dict)  # count told last, by link
    faults: Mapping[str, str] = field(default_factory=dict)  # causes told from outside: a failed write, a DNS answer, …
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    acks: Mapping[str, Ack] = field(default_factory=dict)  # by alarm
    raised_lately: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by alarm: monotonic instants
    pending: tuple[Pending, ...] = ()
    published: RoutingState | None = None
    published_s: float = 0.0
    generation: tuple[int, int] = (0, 0)  # (term, seq) that was given to be written to disk last
    folder_differs: bool = False


# -- what can happen -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A router said something."""

    link: int
    frame: FromRouter


@dataclass(frozen=True, slots=True)
class Gone:
    """A router's link ended."""

    link: int


@dataclass(frozen=True, slots=True)
class Ordered:
    """An operator's command; `apply` comes as PlanLive instead."""

    command: Command


@dataclass(frozen=True, slots=True)
class PlanLive:
    """A plan was compiled and written; from now on it carries the calls."""

    plan: Plan
    operation: str = ""  # id to answer once every router has it
    body: Mapping[str, Any] = field(default_factory=dict)
    actor: str = "sipctl"
    text: str = ""  # what the operation is told; "": that the revision is live


@dataclass(frozen=True, slots=True)
class CanaryLive:
    """A plan was compiled and written; from now on it carries a share of the callers."""

    running: Running
    operation: str = ""  # id to answer once every router has it
    body: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class CanaryOrdered:
    """An operator's command about the canary that runs: `canary-grow`, `canary-abort`."""

    command: Command


@dataclass(frozen=True, slots=True)
class CanaryPromoting:
    """The one write that makes its revision live begins, or has failed."""

    is_on: bool


@dataclass(frozen=True, slots=True)
class CanaryStuck:
    """It could not be promoted; "": that is over."""

    text: str


@dataclass(frozen=True, slots=True)
class CanaryLost:
    """A controller that began could not go on with it."""

    revision: int
    text: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """DNS gave other answers than before; whole, last good ones included."""

    resolved: Mapping[str, tuple[ResolvedSbc, ...]]
    names: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Faults:
    """All faults of one kind, whole: those not named are over."""

    kind: str  # "write", "dns", "desk", "generation"
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Folder:
    """Whether the folder differs from the live revision."""

    differs: bool


@dataclass(frozen=True, slots=True)
class Keys:
    """The key ring, as it is to be published."""

    keys: tuple[SigningKey, ...]
    signing_key: int


@dataclass(frozen=True, slots=True)
class Reported:
    """The desk told what live calls showed."""

    report: CallReport


@dataclass(frozen=True, slots=True)
class NodeNews:
    """Something was done to this node's processes, or happened to them: a line of the story."""

    text: str
    actor: str = "sipctl"
    reason: str = ""


Happening = (  # fmt: skip
    Tick
    | NodeNews
    | Heard
    | Gone
    | Ordered
    | PlanLive
    | Resolved
    | Faults
    | Folder
    | Keys
    | Reported
    | CanaryLive
    | CanaryOrdered
    | CanaryPromoting
    | CanaryStuck
    | CanaryLost
)


# -- what may follow -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tell:
    """Send the whole state to one router, or to all (link None)."""

    state: RoutingState
    link: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask every router to probe an SBC now."""

    sbc: str


@dataclass(frozen=True, slots=True)
class Persist:
    """Write the wishes."""

    wishes: Wishes


@dataclass(frozen=True, slots=True)
class Record:
    """Write a decision."""

    record: DecisionRecord


@dataclass(frozen=True, slots=True)
class Say:
    """One line of the story, for the desk."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a command, for the desk."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class SaveTerm:
    """Make sure no term up to this one is ever taken again."""

    term: int


@dataclass(frozen=True, slots=True)
class KeepGeneration:
    """Every connected router carries this state: write it to disk."""

    state: RoutingState


@dataclass(frozen=True, slots=True)
class PromoteCanary:
    """Make the canary's revision live: its time is over, and it was judged well."""

    revision: int


@dataclass(frozen=True, slots=True)
class EndCanary:
    """Let go of a canary's table, and write why it ended."""

    revision: int
    text: str
    fell: bool


Effect = Tell | Probe | Persist | Record | Say | Reply | SaveTerm | KeepGeneration | PromoteCanary | EndCanary
