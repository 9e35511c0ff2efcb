"""A canary in one router: another revision, in force for the calls of some callers, beside the live one.

Theory. Everything in the call path asks the core for "the snapshot", "live", "the set-ups". While one of the canary's calls is
worked on, the core and this object exchange those: for that moment the canary's revision is the only one there is, so the call
sees it whole, and no line of the call path needs to know of two. Entered and left here alone; never nested.

What both sides share they share by numeric id: counts are kept in both (`Ledger`), so a limit holds over both; measured states
reach both (`on_change`). What a canary's calls show of an SBC that the live revision uses too, they show to their own side only:
an edit that makes an SBC refuse calls must not take that SBC from anybody else.

Invariant: outside `_enter` … `_leave` the core holds the live revision and this object the canary's; inside it is the other way
round, so at any time `core` and `core.canary` together hold both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipctl.call.admit import caller_of
from sipctl.call.relay import OF_CANARY, SetUp
from sipctl.call.setup import SetUps
from sipctl.call.verdicts import CALL_FAILED
from sipctl.model.outcomes import CallOutcome
from sipctl.routing.canary import canary_takes
from sipctl.routing.counts import ENTRY, SBC, TENANT, TRUNK
from sipctl.routing.live import Live
from sipctl.routing.snapshot import Operating, ProbeSpec, Sbc
from sipctl.sip.message import ASSERTED, CALL_ID, FROM, Message

if TYPE_CHECKING:
    from sipctl.call import wire
    from sipctl.call.core import Core
    from sipctl.call.judging import Change, JudgesCalls
    from sipctl.call.ledger import Names
    from sipctl.call.records import Setup
    from sipctl.call.relay import Attempt, Relay
    from sipctl.routing.join import Party, RoutingSnapshot

MAX_PARTIES: Final = 65_536
MAX_LOST: Final = 4096  # calls from sources that only the live plan has, known by their transactions so long as they are repeated


class OwnJudge:
    """Hands on what the canary's calls show of SBCs that no one else uses; the rest is no evidence."""

    __slots__ = ("_core", "own")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.own: frozenset[int] = frozenset()

    def on_call(self, sbc_id: int, outcome: CallOutcome, caller: int, now_s: float, sent_s: float | None = None) -> None:
        if sbc_id in self.own:
            self._core.judge.on_call(sbc_id, outcome, caller, now_s, sent_s)


class CanarySide:
    """See the module's docstring; one for each canary, made anew with every snapshot."""

    __slots__ = (
        "_core", "_inside", "_judge", "_lost", "_parties", "call_judge", "counts", "listen_of", "live", "names", "others", "own",
        "permille", "revision", "setups", "snapshot", "socket_of_listen",
    )  # fmt: skip

    snapshot: RoutingSnapshot
    live: Live
    setups: SetUps
    call_judge: JudgesCalls
    names: Names
    counts: list[int]
    others: list[int]
    _judge: OwnJudge

    def __init__(self, core: Core, snapshot: RoutingSnapshot, permille: int, known: Live, before: CanarySide | None) -> None:
        """
        Args:
            snapshot: the canary's; permille: of the callers.
            known: what is known of SBCs and counts so far, by id.
            before: the side as it was until now, if it is the same canary's.
        """
        self._core = core
        self._inside = False
        self._parties: dict[tuple[int, str, int], Party | None] = {}
        self._lost: dict[bytes, None] = {} if before is None else before._lost  # transactions of lost calls, oldest first
        self.snapshot = snapshot
        self.revision = snapshot.revision
        self.permille = permille
        self.live = Live.for_snapshot(snapshot, known if before is None else before.live)
        self.setups = SetUps(core) if before is None else before.setups
        self._judge = OwnJudge(core) if before is None else before._judge
        self.call_judge = self._judge
        self.names = ({}, {})
        self.socket_of_listen, self.listen_of = core.places_of(snapshot.listens)
        live = core.snapshot
        assert live is not None
        self.own = tuple(at for at, sbc in enumerate(snapshot.sbcs) if int(sbc.id) not in live.sbc_by_id)
        self._judge.own = frozenset(int(snapshot.sbcs[at].id) for at in self.own)
        self.counts = [0, 0, 0, 0] if before is None else before.counts  # ends of set-ups, this side's
        self.others = [0, 0, 0, 0] if before is None else before.others  # and of all other calls, over the same time

    def begin_with(self) -> None:
        """What its set-ups must know of its snapshot; once, when the core has it."""
        self._enter()
        try:
            self._core.setups.on_swap()
        finally:
            self._leave()

    # -- whose call is it? -----------------------------------------------------------------------------------------------------

    def takes(self, message: Message) -> bool:
        """Whether the caller of an INVITE is the canary's."""
        at = message.at
        caller = caller_of(message.value(ASSERTED)) if ASSERTED in at else ""
        if not caller:
            caller = caller_of(message.lines[at[FROM]])
        return canary_takes(self.revision, self.permille, caller.encode() if caller else message.value(CALL_ID))

    def owns(self, relay: Relay) -> bool:
        return isinstance(relay, SetUp) and relay.revision == self.revision

    def had(self, setup: Setup, message: Message) -> bool:
        """Whether a set-up that a dead router left is the canary's: by what it tried, else by its caller."""
        if setup.attempts:
            return any(attempt.flags & OF_CANARY for attempt in setup.attempts)
        return self.takes(message)

    def claim(self, relay: SetUp) -> None:
        """A set-up begins."""
        if self._inside:
            relay.revision = self.revision

    def begin(self, message: Message, up: wire.Upstream, party: Party, socket: int) -> None:
        """An INVITE that begins a call: by the revision its caller has."""
        core = self._core
        address = (up.host, up.port)
        found: Party | None = party
        taken = self.takes(message)
        if taken:
            found = self._party(socket, up.host, up.port)
        if found is None or not (found.trunks or found.sbc is not None or found.pair is not None):
            core.count("retired_refused")
            if taken and party.trunks:
                self._lose(up.key)
        elif not taken:
            core.setups.begin(message, up, found, socket, address)
        else:
            self._enter()
            try:
                core.setups.begin(message, up, found, socket, address)
            finally:
                self._leave()

    def _lose(self, key: bytes) -> None:
        """The edit took away the source of a call, which hears nothing; once, however often it is sent."""
        if key in self._lost:
            return
        if len(self._lost) >= MAX_LOST:
            self._lost.pop(next(iter(self._lost)))
        self._lost[key] = None
        self.counts[CALL_FAILED] += 1

    def _party(self, socket: int, host: str, port: int) -> Party | None:
        key = (socket, host, port)
        if key in self._parties:
            return self._parties[key]
        core = self._core
        if len(self._parties) >= MAX_PARTIES:
            self._parties.clear()
        listen = self.listen_of.get(core.listen_socket(socket))
        party = self._parties[key] = self.snapshot.identify(host, port, listen, core.is_stream(socket))
        return party

    # -- the policy of its set-ups: the core's, while its own revision is in force ----------------------------------------------

    def on_provisional(self, relay: Relay, attempt: Attempt, status: int, data: bytes) -> None:
        self._enter()
        try:
            self._core.setups.on_provisional(relay, attempt, status, data)
        finally:
            self._leave()

    def on_answer(self, relay: Relay, attempt: Attempt, status: int, raw: bytes, data: bytes) -> None:
        self._enter()
        try:
            self._core.setups.on_answer(relay, attempt, status, raw, data)
        finally:
            self._leave()

    def on_refusal(self, relay: Relay, attempt: Attempt, message: Message, data: bytes) -> None:
        self._enter()
        try:
            self._core.setups.on_refusal(relay, attempt, message, data)
        finally:
            self._leave()

    def on_silence(self, relay: Relay, attempt: Attempt) -> None:
        self._enter()
        try:
            self._core.setups.on_silence(relay, attempt)
        finally:
            self._leave()

    def on_stalled(self, relay: Relay, attempt: Attempt) -> None:
        self._enter()
        try:
            self._core.setups.on_stalled(relay, attempt)
        finally:
            self._leave()

    def on_unreachable(self, relay: Relay, attempt: Attempt) -> None:
        self._enter()
        try:
            self._core.setups.on_unreachable(relay, attempt)
        finally:
            self._leave()

    def on_acknowledged(self, relay: Relay) -> None:
        self._core.setups.on_acknowledged(relay)

    def on_gone(self, relay: Relay, attempt: Attempt) -> None:
        self._core.setups.on_gone(relay, attempt)

    def on_ended(self, relay: Relay) -> None:
        self._core.setups.on_ended(relay)

    def note(self, relay: Relay, attempt: Attempt) -> None:
        self._core.setups.note(relay, attempt)

    def on_cancel(self, relay: SetUp) -> None:
        self._enter()
        try:
            self._core.setups.on_cancel(relay)
        finally:
            self._leave()

    @property
    def is_in_force(self) -> bool:
        """One of its calls is being worked on: the core is its own already."""
        return self._inside

    def _enter(self) -> None:
        assert not self._inside
        self._core.exchange(self)
        self._inside = True

    def _leave(self) -> None:
        assert self._inside
        self._core.exchange(self)
        self._inside = False

    # -- adoption --------------------------------------------------------------------------------------------------------------

    def enter_adopted(self) -> None:
        """Put its revision in force for a set-up that is adopted, until `leave_adopted`."""
        self._enter()

    def leave_adopted(self) -> None:
        self._leave()

    def in_force(self) -> RoutingSnapshot:
        """Its snapshot, while it is in force."""
        snapshot = self._core.snapshot
        assert self._inside and snapshot is not None
        return snapshot

    # -- what both sides share -------------------------------------------------------------------------------------------------

    def add(self, trunk_id: int, entry_id: int, tenant_id: int, step: int) -> None:
        """Count a call also on the side that does not carry it, and tell the other routers: what only that side has, too."""
        snapshot, live = self.snapshot, self.live
        shared = live.shared
        index = snapshot.trunk_by_id.get(trunk_id)
        if index is not None:
            live.trunk_calls[index] += step
            if shared is not None:
                shared.note(TRUNK, trunk_id, live.trunk_calls[index])
        index = snapshot.entry_point_by_id.get(entry_id)
        if index is not None:
            live.entry_calls[index] += step
            if shared is not None:
                shared.note(ENTRY, entry_id, live.entry_calls[index])
        index = snapshot.tenant_by_id.get(tenant_id)
        if index is not None:
            live.tenant_calls[index] += step
            if shared is not None:
                shared.note(TENANT, tenant_id, live.tenant_calls[index])

    def add_sbc(self, sbc_id: int, step: int) -> None:
        index = self.snapshot.sbc_by_id.get(sbc_id)
        if index is not None:
            live = self.live
            live.sbc_calls[index] += step
            if live.shared is not None:
                live.shared.note(SBC, sbc_id, live.sbc_calls[index])

    def note_new_call(self, trunk_id: int, now_s: float) -> None:
        """A new call by a trunk: its calls a second are limited over both sides."""
        index = self.snapshot.trunk_by_id.get(trunk_id)
        if index is not None:
            self.live.note_new_call(index, now_s)

    def ended(self, relay: SetUp, verdict: int) -> None:
        """A set-up ended so: the controller compares the two sides."""
        counts = self.counts if relay.revision == self.revision else self.others
        counts[verdict] += 1

    # -- health ----------------------------------------------------------------------------------------------------------------

    def specs(self) -> list[ProbeSpec]:
        """The SBCs that only this plan has, to be probed."""
        sbcs, pairs = self.snapshot.sbcs, self.snapshot.pairs
        return [
            ProbeSpec(int(sbc.id), sbc.name, pairs[sbc.pair].probe, sbc.host, sbc.port, sbc.transport)
            for sbc in (sbcs[at] for at in self.own)
        ]

    def probed(self, sbc_id: int) -> tuple[Sbc, int] | None:
        """An SBC of this plan and the socket it is reached from."""
        at = self.snapshot.sbc_by_id.get(sbc_id)
        return None if at is None else (self.snapshot.sbcs[at], self.socket_of_listen[self.snapshot.sbcs[at].listen])

    def take_states(self) -> None:
        """Every measured state anew."""
        judge = self._core.judge
        for at, sbc in enumerate(self.snapshot.sbcs):
            self.live.operating[at] = judge.operating(int(sbc.id))
        self.live.version += 1

    def on_change(self, change: Change) -> bool:
        """An SBC's measured state changed. Returns: whether only this plan has that SBC."""
        at = self.snapshot.sbc_by_id.get(change.sbc_id)
        if at is None:
            return False
        live = self.live
        if change.resting_until_s is not None and change.resting_until_s > self._core.now_s:
            live.rest(at, change.resting_until_s)
        if live.operating[at] != change.operating:
            live.operating[at] = change.operating
            live.version += 1
            if change.operating == Operating.IN_SERVICE:
                live.set_suspect(at, False)
        return change.sbc_id in self._judge.own
