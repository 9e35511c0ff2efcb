"""One forwarded request: its server transaction towards the sender, its client transactions towards the targets tried.

Theory. A `Relay` lives from the first copy of a request until nothing more can come of it, from either side. It holds the state
of the server transaction as an int of `sip/transactions.py` and a list of `Attempt`s, each with the state of one client
transaction. `SetUp` is an INVITE that begins a call: it searches, so it may have several attempts. `InDialog` follows its
dialog: one attempt, at most one more at the SBC's sibling. `Errand` is a request of our own.

Deadlines are instants in the relay; the wheel holds one entry per relay, at `armed_s`, and is re-armed lazily. Attempts never
point back at their relay, and tables find the relay by branch: no reference cycles on the call path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sipctl.call.admit import Asked
    from sipctl.call.hops import Hop
    from sipctl.routing.join import RoutingSnapshot
    from sipctl.routing.resolve import Route
    from sipctl.routing.select import Target
    from sipctl.sip.message import Message

NEVER: Final = float("inf")

# Attempt.flags
ABANDONED: Final = 1  # given up: 1xx is swallowed and answered by CANCEL, a non-2xx is acknowledged and swallowed
PROVISIONAL: Final = 2  # something below 200 came back
PROGRESSED: Final = 4  # more than 100 came back: no advance any more
CANCEL_SENT: Final = 8
CANCEL_DONE: Final = 16
TRIAL: Final = 32  # one call a second at a suspect SBC
WANTS_CANCEL: Final = 64  # cancel it as soon as a provisional allows
SETTLED: Final = 128  # its 2xx is in the record
OF_CANARY: Final = 256  # launched by the canary's revision: a successor goes on in it

# SetUp.flags, as kept in call records
CANCELLED: Final = 1  # the caller gave up
FINAL_SENT: Final = 2  # the caller has heard a non-2xx final response
ANSWERED: Final = 4  # the caller has heard a 2xx


class Attempt:
    """One client transaction."""

    __slots__ = (
        "address", "branch", "cancel_interval_s", "cancel_resend_s", "cancel_wire", "deadline_s", "flags", "interval_s",
        "resend_s", "sbc_id", "socket", "started_s", "started_unix_s", "state", "status", "target", "tenant_id", "told", "uri",
        "via", "wire",
    )  # fmt: skip

    branch: bytes
    socket: int
    address: tuple[str, int]
    target: Target | None  # of a set-up; its indexes are those of the snapshot it was resolved in
    sbc_id: int  # of a set-up, else 0
    tenant_id: int
    uri: bytes  # Request-URI as sent
    via: bytes  # our Via line as sent
    wire: bytes  # what is retransmitted; b"" once a response came
    state: int
    flags: int
    status: int  # of the final response
    told: bool  # its CDR event went out
    started_s: float
    started_unix_s: float
    resend_s: float
    interval_s: float
    deadline_s: float
    cancel_wire: bytes
    cancel_resend_s: float
    cancel_interval_s: float

    def __init__(self, branch: bytes, socket: int, address: tuple[str, int], target: Target | None) -> None:
        self.branch = branch
        self.socket = socket
        self.address = address
        self.target = target
        self.uri = self.via = self.wire = self.cancel_wire = b""
        self.state = self.flags = self.status = self.sbc_id = self.tenant_id = 0
        self.told = False
        self.started_s = self.started_unix_s = self.interval_s = self.cancel_interval_s = 0.0
        self.resend_s = self.deadline_s = self.cancel_resend_s = NEVER


class Relay:
    """What every forwarded request has."""

    __slots__ = (
        "address", "armed_s", "attempts", "dead", "interval_s", "invite", "key", "last", "message", "method", "resend_s", "rest",
        "server_due_s", "socket", "state", "status", "to_tag", "via",
    )  # fmt: skip

    key: bytes
    method: bytes
    invite: bool
    socket: int  # where responses go
    address: tuple[str, int]
    via: bytes  # the sender's Via line with received and rport
    message: Message | None  # dropped once nothing has to be made from it any more
    rest: bytes  # the request from the sender's Via on, as every attempt carries it
    to_tag: bytes  # of responses we make ourselves
    state: int  # of the server transaction
    status: int  # of the last response sent, 0 before any
    last: bytes  # the last response sent
    resend_s: float  # timer G
    interval_s: float
    server_due_s: float  # H, I, L, J
    attempts: list[Attempt]
    armed_s: float  # instant of the relay's entry in the wheel
    dead: bool

    def __init__(self, key: bytes, method: bytes, socket: int, address: tuple[str, int]) -> None:
        self.key = key
        self.method = method
        self.invite = method == b"INVITE"
        self.socket = socket
        self.address = address
        self.via = self.rest = self.to_tag = self.last = b""
        self.message = None
        self.state = self.status = 0
        self.interval_s = 0.0
        self.resend_s = self.server_due_s = self.armed_s = NEVER
        self.attempts = []
        self.dead = False

    def next_due_s(self) -> float:
        """The earliest of all its deadlines."""
        due_s = min(self.resend_s, self.server_due_s)
        for attempt in self.attempts:
            if attempt.deadline_s < due_s:
                due_s = attempt.deadline_s
            if attempt.resend_s < due_s:
                due_s = attempt.resend_s
            if attempt.cancel_resend_s < due_s:
                due_s = attempt.cancel_resend_s
        return due_s


class SetUp(Relay):
    """An INVITE that begins a call."""

    __slots__ = (
        "arranged", "asked", "best", "best_status", "call_id", "cdr_id", "counted", "entry_id", "flags", "from_tag", "record",
        "revision", "ring_unix_s", "route", "routed_in", "searching", "start_s", "start_unix_s", "tenant_id", "trunk_id",
    )  # fmt: skip

    asked: Asked  # who calls whom, as read from the INVITE
    call_id: bytes
    from_tag: bytes
    trunk_id: int
    entry_id: int
    tenant_id: int  # whose count it is in
    route: Route | None  # as resolved last; None after adoption, until it has to search again
    routed_in: RoutingSnapshot | None  # the snapshot `route` and `arranged` belong to
    arranged: tuple[tuple[Target, bool], ...]  # (target, trial) still to be tried, in order
    searching: bool
    counted: bool  # in the live counts
    flags: int
    record: int  # index of the set-up record, -1 without
    revision: int  # of the canary that took it; 0: the live one carries it
    start_s: float
    start_unix_s: float
    ring_unix_s: float
    cdr_id: bytes
    best: bytes  # the best final response so far, ready to go upstream
    best_status: int

    def __init__(self, key: bytes, socket: int, address: tuple[str, int], asked: Asked) -> None:
        super().__init__(key, b"INVITE", socket, address)
        self.asked = asked
        self.call_id = self.from_tag = b""
        self.trunk_id = self.entry_id = self.tenant_id = 0
        self.route = self.routed_in = None
        self.arranged = ()
        self.flags = self.best_status = 0
        self.searching = True
        self.counted = False
        self.record = -1
        self.revision = 0
        self.start_s = self.start_unix_s = self.ring_unix_s = 0.0
        self.cdr_id = self.best = b""


class InDialog(Relay):
    """A request within a dialog."""

    __slots__ = ("call", "from_caller", "held_back", "sbc_id", "sibling", "sibling_host")

    call: int  # index of the answered call's record, -1 without
    from_caller: bool
    sbc_id: int
    sibling: Hop | None  # takes over if the SBC is unreachable
    sibling_host: str  # whose answers carry less weight, whichever of the two is asked first; "" without a sibling
    held_back: tuple[int, bytes] | None  # a refusal that waits for what the other sibling says

    def __init__(self, key: bytes, method: bytes, socket: int, address: tuple[str, int]) -> None:
        super().__init__(key, method, socket, address)
        self.call = -1
        self.from_caller = True
        self.sbc_id = 0
        self.sibling = None
        self.sibling_host = ""
        self.held_back = None


class Errand(Relay):
    """A request of our own: the BYE of a leg that answered after its caller was told something else."""

    __slots__ = ()
