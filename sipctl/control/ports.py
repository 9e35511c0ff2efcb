"""What the control half says to the engine, to the desk and to the store, and the Protocols they implement.

Every frame is a tagged msgspec Struct; unknown fields are ignored and new fields have defaults, so neighbours one version
apart understand each other (DESIGN §4.3). On a stream a frame is a 4-byte big-endian length and its msgpack bytes; on a
SOCK_SEQPACKET socketpair one packet is one frame, and descriptors (table memfds) ride with it as SCM_RIGHTS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from sipctl.health.observed import Window
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import RoutingState

MAX_FRAME_BYTES = 64 << 20


# -- router → controller -------------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """First frame on a link: who I am and what I hold, so that a starting controller adopts it (CALLS 4.6)."""

    name: str  # "r1" …
    slot: int
    pid: int
    state: RoutingState | None  # the last state taken, whole; None before the first
    build: str = ""
    orders: tuple[LocalOrder, ...] = ()  # that this router follows and no controller has taken
    slots: int = 1  # routers there are to be on its machine


class Ack(msgspec.Struct, tag="ack", frozen=True):
    name: str
    term: int
    seq: int
    revision: int


class Nack(msgspec.Struct, tag="nack", frozen=True):
    name: str
    term: int
    seq: int
    reason: str


class SbcObservation(msgspec.Struct, frozen=True):
    """What one router measured of one SBC."""

    operating: int  # snapshot.Operating
    reason: str  # one sentence
    since_s: float  # monotonic instant of the last change
    resting_s: float = 0.0  # seconds of rest left
    suspect: bool = False
    calls: int = 0
    missed_probes: int = 0  # in a row, now
    last_missed_s: float | None = None  # monotonic instant of the last probe that failed
    last_heard_s: float | None = None  # monotonic instant anything came from its address
    last_sent_s: float | None = None
    probe_rtt_ms: float | None = None


class TrunkObservation(msgspec.Struct, frozen=True):
    calls: int = 0
    cps: int = 0
    last_invite_unix_s: float | None = None


class CanaryObservation(msgspec.Struct, frozen=True):
    """How set-ups ended in one router since it has this canary: answered, busy, failed, cancelled (call/verdicts.py)."""

    revision: int
    canary: tuple[int, int, int, int]  # of its callers
    others: tuple[int, int, int, int]  # of all others, over the same time
    sbcs: Mapping[str, SbcObservation] = {}  # that only its plan has, or reaches at another address


class Observe(msgspec.Struct, tag="observe", frozen=True):
    """Periodic (every 500 ms) and at once when an operating state changes; the whole view, not a difference."""

    name: str
    at_s: float  # monotonic
    sbcs: Mapping[str, SbcObservation]
    trunks: Mapping[str, TrunkObservation]
    entry_points: Mapping[str, int]  # calls now
    tenants: Mapping[str, int]  # calls now
    calls: int
    loop_gap_s: float  # longest gap of the router's loop since the last Observe
    local_errors: int  # sends that failed for reasons of our own, since start
    strangers: tuple[tuple[str, int, float], ...] = ()  # (address, packets, last seen unix s), bounded
    counters: Mapping[str, int] = {}
    wanted_names: tuple[str, ...] = ()  # FQDNs of remote targets to resolve
    heard_s: float | None = None  # monotonic instant anything at all was heard
    sent_s: float | None = None
    alarms: tuple[tuple[str, str], ...] = ()  # that stand in this router: (slug, sentence)
    canary: CanaryObservation | None = None
    orders: tuple[LocalOrder, ...] = ()  # local orders it follows and that no controller has taken


class Farewell(msgspec.Struct, tag="farewell", frozen=True):
    """The router leaves on purpose (drain done, or told to stop)."""

    name: str
    reason: str


FromRouter = Hello | Ack | Nack | Observe | Farewell


# -- controller → router -------------------------------------------------------------------------------------------------------


class Publish(msgspec.Struct, tag="publish", frozen=True):
    """The whole state; the table's memfd rides along whenever the router may not have that table yet."""

    state: RoutingState
    has_table: bool = False


class ProbeNow(msgspec.Struct, tag="probe-now", frozen=True):
    """`sipctl sbc probe NAME`."""

    sbc: str


ToRouter = Publish | ProbeNow


# -- desk ↔ controller ---------------------------------------------------------------------------------------------------------


class Command(msgspec.Struct, tag="command", frozen=True):
    """One wish of an operator. `op` is one of OPS in `control/changes.py`."""

    id: str  # operation id, made by the desk: "op-7Q2…"
    op: str
    args: Mapping[str, Any]
    actor: str  # name of the token
    reason: str
    dry_run: bool = False
    force: tuple[str, ...] = ()  # names of safety rules to override
    role: str = "operator"  # of the token
    token_at_unix_s: float = 0.0  # when it was made
    made_by: tuple[str, ...] = ()  # the token that made it, the one that made that one, …
    break_glass: bool = False  # approvals do not stop it, nor rules that are named; who may is the plan's


class Answer(msgspec.Struct, tag="answer", frozen=True):
    """The controller's reply; several may follow one Command (accepted, then done once every router has it)."""

    id: str
    status: str  # "accepted" | "going" | "done" | "proposed" | "refused" | "conflict" | "invalid" | "failed" | "aborted"
    text: str  # one sentence
    code: str = ""  # stable slug: rule name when refused
    hint: str = ""
    body: Mapping[str, Any] = {}
    final: bool = True


class View(msgspec.Struct, tag="view", frozen=True):
    """The whole picture for reads: FORMATS §3 `GET /v1/status` under `status`, the rest beside it."""

    status: Mapping[str, Any]
    detail: Mapping[str, Any]  # "tenants", "probes", "operations", "strangers", "counters", "routers"
    state: RoutingState | None = None  # as last published: `route` with live states
    table_path: str = ""  # file of the live revision's table image, for `route` on the desk


class Notice(msgspec.Struct, tag="notice", frozen=True):
    """One line of the running story (a decision, an alarm, a router come or gone): log, history and SSE show this sentence."""

    kind: str  # "decision" | "overlay" | "switch" | "alarm" | "alarm-cleared" | "router" | "plan" | "sbc" | "operator"
    text: str
    at_unix_s: float
    fields: Mapping[str, Any] = {}


class WriteFailed(msgspec.Struct, tag="write-failed", frozen=True):
    """The desk could not write (CDR, log): the controller turns it into an alarm."""

    what: str
    text: str


class CallReport(msgspec.Struct, tag="call-report", frozen=True):
    """What live calls showed the desk, every REPORT_S; the whole view, not a difference. Entry points stay with the desk."""

    at_s: float  # monotonic
    since_s: float  # monotonic instant since when it has missed nothing that reached it
    windows: Mapping[str, Mapping[str, tuple[Window, ...]]]  # by kind (health/observed.py KINDS) and name, over each of SPANS
    late: int = 0  # events that came while the desk caught up with itself, and were not counted; since its start


FromDesk = Command | WriteFailed | CallReport
ToDesk = Answer | View | Notice


# -- the store -----------------------------------------------------------------------------------------------------------------


class Revision(msgspec.Struct, frozen=True):
    number: int
    at_unix_s: float
    author: str
    reason: str
    commit: str | None
    base: int | None
    files: Mapping[str, str]  # path relative to DIR → text
    live_at_unix_s: float | None = None  # None: kept, and never given to the routers
    content: str = ""  # digest of its files; "" of one kept before there was one
    rollback_to: int | None = None  # the revision whose content this one brings back
    despite: tuple[str, ...] = ()  # what was overruled: "tests"
    again: bool = False  # it was rolled back before, and wanted all the same
    diff: tuple[str, ...] = ()  # what it changed, in sentences; bounded
    canary: int = 0  # permille of the callers that had it first; 0: all at once
    ended: str = ""  # why its canary ended without its becoming live
    fell: bool = False  # it went back by itself


class DecisionRecord(msgspec.Struct, frozen=True):
    """One decision of one group, with all it was made from (CALLS 4.5); or an overlay or kill switch that went on or off."""

    group: str  # of an overlay or a switch: its kind and its name, "overlay emergency", which no group can be called
    epoch: int
    term: int
    at_unix_s: float
    rule: str
    sentence: str
    before: Mapping[str, Any]
    inputs: Mapping[str, Any]
    after: Mapping[str, Any]
    actor: str = "sipctl"
    kind: str = "group"  # "overlay" | "switch"


class Wishes(msgspec.Struct, frozen=True):
    """Runtime wishes and memory that survive restart, apply and rollback."""

    groups: Mapping[str, Mapping[str, Any]] = {}  # machine state, holds, pins, latch, last moves, by group
    sbc_admin: Mapping[str, int] = {}
    tenant_admin: Mapping[str, int] = {}
    trunk_admin: Mapping[str, int] = {}
    node_admin: int = 0
    automation: bool = True
    extra_sources: tuple[tuple[str, str, float], ...] = ()
    overlays: Mapping[str, Any] = {}  # those that are on: since, until, who, why
    switches: Mapping[str, Any] = {}
    proposals: Mapping[str, Any] = {}  # changes that wait for a second person
    glass: Mapping[str, Any] = {}  # broken now: by whom, why, until when
    acks: Mapping[str, Any] = {}  # of alarms that stand: by whom, why, when
    pending: tuple[Any, ...] = ()  # operations that go on
    canary: Mapping[str, Any] = {}  # the one that runs, and the one that fell last (canary_state.py)
    retired: tuple[Any, ...] = ()
    resolved: Mapping[str, Any] = {}  # last good DNS answers
    orders_taken: int = 0  # number of the newest local order that was adopted
    term: int = 0
    seq: int = 0


class Store(Protocol):
    """Durable memory. Every method may block and may raise StoreError: call it from the store's own thread."""

    def load_wishes(self) -> Wishes: ...
    def save_wishes(self, wishes: Wishes) -> None: ...
    def take_term(self, at_least: int) -> int: ...
    def append_decision(self, record: DecisionRecord) -> None: ...
    def decisions(self, group: str | None, limit: int) -> list[DecisionRecord]: ...
    def add_revision(self, revision: Revision) -> None: ...
    def end_canary(self, number: int, text: str, fell: bool) -> None:
        """Say why a revision's canary ended without its becoming live."""

    def revision(self, number: int) -> Revision | None: ...
    def revisions(self, limit: int) -> list[Revision]: ...
    def live_revision(self) -> Revision | None: ...
    def set_live(
        self, number: int, at_unix_s: float, wishes: Wishes | None = None, renamed: Mapping[str, Mapping[str, str]] = {}
    ) -> None: ...
    def ids(self) -> dict[str, dict[str, int]]: ...
    def save_ids(self, ids: Mapping[str, Mapping[str, int]]) -> None: ...
    def keys(self) -> list[tuple[int, bytes, float]]: ...
    def save_key(self, key_id: int, secret: bytes, at_unix_s: float) -> None: ...


# -- the controller's surroundings ---------------------------------------------------------------------------------------------


class CompileResult(msgspec.Struct, frozen=True):
    """What the compiler child made of a plan."""

    findings: tuple[Mapping[str, Any], ...]  # path, line, column, code, severity, message, hint, excerpt (errors.Finding)
    image_path: str = ""  # file of the table image; "": the plan has errors
    ids: Mapping[str, Mapping[str, int]] = {}  # kind → name → id: all that were handed in, and the new ones
    diff: tuple[str, ...] = ()  # what it changes against the table it was compared with, in sentences; bounded
    restart: tuple[str, ...] = ()  # of these, what takes effect with the next start only

    @property
    def ok(self) -> bool:
        return bool(self.image_path)


class CompilePlan(Protocol):
    """Compiles in a child process; a plan with errors is a result, a child that dies raises EngineError.

    `against` is the image of the live plan, which the result is compared with; "": with none.
    """

    async def __call__(
        self, files: Mapping[str, str], revision: int, ids: Mapping[str, Mapping[str, int]], despite: tuple[str, ...] = (),
        against: str = "",
    ) -> CompileResult: ...


class RouterLink(Protocol):
    """One router's connection, as the supervisor handed it out."""

    async def receive(self) -> FromRouter | None:
        """The next frame; None once the router is gone."""

    def send(self, frame: ToRouter, fds: Sequence[int] = ()) -> None:
        """Never blocks: a link whose bounded queue is full is closed. The descriptors stay the caller's."""

    def close(self) -> None: ...


class DeskLink(Protocol):
    """The desk's connection."""

    async def receive(self) -> FromDesk | None: ...
    def send(self, frame: ToDesk) -> None:
        """Never blocks: a View that finds the queue full is dropped, the next one holds all of it."""

    def close(self) -> None: ...


class Links(Protocol):
    """New connections, one after the other, for as long as the controller lives."""

    async def router(self) -> RouterLink:
        """The next new router link."""

    async def desk(self) -> DeskLink:
        """The next new desk link."""
