"""What must hold whatever happens: a judge that sees every message the router hears and says, and looks into the parties.

It knows nothing of the core's state. Where a death may have swallowed a message between the socket and the record, the rule that
depends on that message is not applied to that call (`uncertain`): everything else always is. A leg that is answered after its
caller heard a refusal has no caller: it alone may be acknowledged and ended by the router.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sipctl.call.records import ANSWERED, SETUPS
from sipctl.routing.join import RoutingSnapshot
from sipctl.sip.timers import TIMER_B_S
from sipctl.testing.wire import Address, Message, WireError, read
from tests.support.router_host import UNIX_MINUS_MONO_S
from tests.support.world_plan import ANN, REVERSED, SALES, SECOND, SERVICE

if TYPE_CHECKING:
    from tests.support.world import World

SECOND_LEG_S: Final = TIMER_B_S + 1.0  # 64·T1, found a second later at most
LOSSY_LEG_S: Final = SECOND_LEG_S + TIMER_B_S  # where its 2xx or its BYE may have to be repeated for so long
LEGS_EVERY_S: Final = 1.0
MAX_ATTEMPTS: Final = 4
CAPS: Final = {"setups": SETUPS, "answered": ANSWERED}  # records a router's memory has room for
OWN_FINALS: Final = frozenset({100, 408, 481, 482, 483, 500, 503})  # what a proxy may answer by itself inside a call


@dataclass(slots=True)
class _Seen:
    """What was seen of one Call-ID."""

    caller: str  # host
    attempts: dict[str, Address] = field(default_factory=dict)  # branch towards an SBC → where to, in order
    latest: str = ""  # branch of the newest attempt
    progressed: set[str] = field(default_factory=set)  # branches that had 101..199
    answered: dict[str, Address] = field(default_factory=dict)  # to-tag of each 2xx → SBC that answered
    answered_branches: set[str] = field(default_factory=set)
    finals: set[tuple[int, str]] = field(default_factory=set)  # (status, to-tag) of finals said upstream for the first INVITE
    heard: set[tuple[str, int, str, str]] = field(default_factory=set)  # requests: method, CSeq, from-tag, to-tag
    replies: set[tuple[int, int, str, str, str]] = field(default_factory=set)  # responses: status, CSeq, method, tags
    deaths_at_final: int = 0
    began_s: float = 0.0  # when its INVITE was heard first
    number: str = ""  # that it asked for
    uncertain: bool = False
    late: bool = False  # a second leg was found up too long


class Invariants:
    """Raises AssertionError, with the tail of the story, the moment something is broken."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: dict[str, _Seen] = {}
        self.configured = {party.address[0] for party in world.parties.values() if party.name != "stranger"}
        self._ledgers = [party.ledger for party in world.parties.values()]
        self.checked = 0
        self.judged_places = 0  # calls whose first target was judged while an overlay or a kill switch was on
        self.judged_legs = 0  # second legs that were seen to go
        self.second_leg_s: float | None = LOSSY_LEG_S  # how long one may be up; None: a BYE may be lost for good
        self.judges_parties = True  # False where a scenario forges what parties would complain of
        self._fresh: list[str] = []  # Call-IDs of what was heard in this instant: a death now may swallow it
        self._fresh_s = -1.0
        self._published = (0, 0)
        self._legs_since: dict[str, float] = {}
        self._legs_due_s = 0.0
        self._breaches = 0

    # -- the tap ---------------------------------------------------------------------------------------------------------------

    def heard(self, data: bytes, source: Address, now_s: float, stream: Address | None = None) -> None:
        """A message reached the router's socket."""
        try:
            message = read(data)
        except WireError:
            return
        if self._fresh_s != now_s:
            self._fresh, self._fresh_s = [], now_s
        self._fresh.append(message.call_id)
        if self.world.router.core is None or self.world.router.paused:
            seen = self.calls.get(message.call_id)
            if seen is not None:
                seen.uncertain = True  # it waits in the socket: when the router takes it is not seen here
        host = source[0]
        if message.method:
            self._heard_request(message, host)
        else:
            self._heard_response(message, stream or source)

    def _heard_request(self, message: Message, host: str) -> None:
        if message.method == "INVITE" and not message.to_tag:
            number = message.uri.removeprefix("sip:").partition("@")[0]
            seen = self.calls.setdefault(message.call_id, _Seen(host, began_s=self.world.now_s, number=number))
        else:
            seen = self.calls.get(message.call_id) or _Seen(host)
        seen.heard.add((message.method, message.cseq, message.from_tag, message.to_tag))

    def _heard_response(self, message: Message, source: Address) -> None:
        seen = self.calls.get(message.call_id)
        if seen is None:
            return
        seen.replies.add((message.status, message.cseq, message.cseq_method, message.from_tag, message.to_tag))
        if message.cseq_method == "INVITE" and message.branch in seen.attempts:
            if 100 < message.status < 200:
                seen.progressed.add(message.branch)
            elif 200 <= message.status < 300:
                seen.answered[message.to_tag] = source
                seen.answered_branches.add(message.branch)

    def router_died(self, now_s: float) -> None:
        """What was heard in this instant may have died with it."""
        if self._fresh_s == now_s:
            for call_id in self._fresh:
                if call_id in self.calls:
                    self.calls[call_id].uncertain = True

    def said(self, data: bytes, to: Address, now_s: float) -> None:
        """The router sends a message."""
        self.checked += 1
        self._require(to[0] in self.configured, f"a packet to {to}, which nobody configured")
        message = read(data)
        seen = self.calls.get(message.call_id)
        if seen is None:
            self._require(message.method in ("OPTIONS", "") or message.method == "ACK", f"{message.what} of a call nobody placed")
            return
        if message.method:
            self._said_request(message, seen, to)
        else:
            self._said_response(message, seen)

    def _said_request(self, message: Message, seen: _Seen, to: Address) -> None:
        host = to[0]
        if message.method == "INVITE" and not message.to_tag:
            self._said_attempt(message, seen, to)
        elif message.method == "CANCEL":
            answered = message.branch in seen.answered_branches and not seen.uncertain
            wanted = ("CANCEL", message.cseq, message.from_tag, "") in seen.heard  # the caller's own, passed on (CALLS 1.8)
            self._require(wanted or not answered, "CANCEL of an answered leg")
        elif message.to_tag in seen.answered or message.from_tag in seen.answered:
            key = (message.method, message.cseq, message.from_tag, message.to_tag)
            orphan = any(status >= 300 for status, _ in seen.finals) and message.method in ("ACK", "BYE")
            own = orphan or (message.method == "ACK" and self._was_refused(seen, message))
            self._require(own or key in seen.heard, f"{message.what} in an established call that none of its ends sent")
            if message.from_tag in seen.answered:
                self._require(host == seen.caller, f"{message.what} of the SBC goes to {host}, not to the caller")
            else:
                own = self.world.tenant_at.get(seen.answered[message.to_tag]) == self.world.tenant_at.get(to)
                self._require(own, f"{message.what} of the caller goes to {to}, another tenant's")
        elif message.method not in ("ACK", "OPTIONS"):
            key = (message.method, message.cseq, message.from_tag, message.to_tag)
            self._require(key in seen.heard, f"{message.what} that nobody sent")

    def _check_place(self, seen: _Seen, to: Address) -> None:
        """Calls go to the announcements when something that is on sends them there, and only then; stopped ones go nowhere.

        Said here without `resolve`, from what the router holds and the plan of the world.
        """
        snapshot, unix_s = self.world.router.snapshot, seen.began_s + UNIX_MINUS_MONO_S
        assert snapshot is not None
        on = {name for name, until in (*snapshot.state.overlays, *snapshot.state.switches) if not until or until > unix_s}
        if not self.world.plan.ready or not on:
            self._require(self.world.tenant_at.get(to) != ANN, f"a call goes to {to} though nothing sends it there")
            return
        self.judged_places += 1
        group = {SALES: "acme", SERVICE: "acme", SECOND: "beta", REVERSED: "gamma"}[seen.number]
        trunk = "carrier-one" if seen.caller == self.world.callers["carrier-one"].address[0] else "carrier-two"
        stopped = (trunk == "carrier-one" and "carrier-off" in on) or (seen.number == SALES and "sales-off" in on)
        away = group == "acme" and "acme-away" in on
        if not away:  # of switches that fit one call the plan's first counts
            self._require(not stopped, f"a call to {seen.number} by {trunk} goes to {to}, and {sorted(on)} are on")
        named = "evening" in on and seen.number == SALES and not away  # where that sends it, emergency may still come
        wanted = away or "emergency" in on
        fits = wanted == (self.world.tenant_at.get(to) == ANN) or (named and wanted)
        self._require(fits, f"a call to {seen.number} goes to {to}, {sorted(on)} are on")

    def _was_refused(self, seen: _Seen, ack: Message) -> bool:
        """If this ACK is the hop-by-hop one of a re-INVITE that was refused."""
        wanted = (ack.cseq, "INVITE", ack.from_tag, ack.to_tag)
        return any(status >= 300 and rest == wanted for status, *rest_ in seen.replies if (rest := tuple(rest_)))

    def _said_attempt(self, message: Message, seen: _Seen, to: Address) -> None:
        if message.branch in seen.attempts:
            self._require(seen.attempts[message.branch] == to, "one branch towards two targets")
            return
        blocked = seen.latest in seen.progressed and not seen.uncertain
        self._require(not blocked, "the search went on after a provisional other than 100")
        if not seen.attempts:
            seen.finals.clear()  # it was shed: a stateless 503 leaves no memory, so its INVITE may come again (CALLS 1.6)
        self._require(not seen.finals or seen.uncertain, "the search went on after the caller had a final")
        if not seen.attempts and not seen.uncertain and not self.world.router.deaths:
            self._check_place(seen, to)
        seen.attempts[message.branch] = to
        seen.latest = message.branch
        self._require(len(seen.attempts) <= MAX_ATTEMPTS, f"{len(seen.attempts)} attempts")

    def _said_response(self, message: Message, seen: _Seen) -> None:
        key = (message.status, message.cseq, message.cseq_method, message.from_tag, message.to_tag)
        first = ("INVITE", message.cseq, message.from_tag, "") in seen.heard and message.cseq_method == "INVITE"
        if message.status >= 300 and key not in seen.replies:
            self._require(bool(message.first("reason")), f"{message.what} of our own without a Reason")
        if not first:
            own = message.status in OWN_FINALS or message.cseq_method == "CANCEL"
            self._require(own or key in seen.replies, f"{message.what} in a call that none of its ends sent")
        elif message.status >= 200:
            if 200 <= message.status < 300:
                self._require(key in seen.replies, f"{message.what} that no SBC sent")
            shed = any(status == 503 for status, _ in seen.finals)
            if not seen.attempts and (shed or seen.deaths_at_final != self.world.router.deaths):
                seen.finals.clear()  # refused without a record: statelessly, or by a router that died; decided anew
            seen.deaths_at_final = self.world.router.deaths
            seen.finals.add((message.status, message.to_tag))
            failures = {final for final in seen.finals if final[0] >= 300}
            self._require(len(failures) <= 1, f"the caller heard several finals: {sorted(failures)}")
            mixed = failures and len(seen.finals) > 1
            self._require(not mixed, f"the caller heard a refusal and an answer: {sorted(seen.finals)}")

    # -- after every step ------------------------------------------------------------------------------------------------------

    def published(self, snapshot: RoutingSnapshot) -> None:
        """(term, seq) never falls, the table never empties."""
        now = (snapshot.term, snapshot.seq)
        self._require(now >= self._published, f"(term, seq) {now} after {self._published}")
        if now == self._published:
            return  # said again, so that nobody misses it
        self._published = now
        for tenant in range(len(snapshot.tenants)):
            empty = not any(targets for side in snapshot.targets[tenant] for targets in side)
            self._require(not empty, f"tenant {snapshot.tenants[tenant].name} has no target left")

    def after_step(self) -> None:
        """Parties found nothing to complain of; no call has had two legs up for too long."""
        world = self.world
        if world.now_s >= self._legs_due_s:
            self._legs_due_s = world.now_s + LEGS_EVERY_S
            self.check_legs()
            self._check_caps()
        breaches = 0
        for ledger in self._ledgers:
            breaches += len(ledger.breaches)
        if breaches > self._breaches and self.judges_parties:
            self._breaches = breaches
            raise AssertionError(f"{world.breaches[-1]}\n{world.tail()}")
        core = world.router.core
        if core is not None:
            snapshot = world.router.snapshot
            assert snapshot is not None
            self._require((snapshot.term, snapshot.seq) <= self._published, "the router holds what was never published")

    def check_legs(self) -> None:
        """A second answered leg is gone 64·T1 after it was answered; once a second, since it walks all dialogs.

        Over a bad network the 2xx that makes it known, and then the BYE that ends it, may each take that long.
        """
        legs: dict[str, int] = {}
        walked: set[int] = set()
        for sbc in self.world.sbcs.values():
            if id(sbc.dialogs) in walked:
                continue
            walked.add(id(sbc.dialogs))
            for dialog in sbc.legs_up:
                legs[dialog.call_id] = legs.get(dialog.call_id, 0) + 1
        now_s = self.world.now_s
        for call_id, count in legs.items():
            if count > 1:
                since_s = self._legs_since.setdefault(call_id, now_s)
                gone = self.second_leg_s is None or now_s - since_s <= self.second_leg_s
                self._require(gone, f"{count} legs of {call_id} are up since {since_s:.3f}")
        for call_id in [call_id for call_id in self._legs_since if legs.get(call_id, 0) <= 1]:
            del self._legs_since[call_id]
            self.judged_legs += 1

    def _check_caps(self) -> None:
        """What a router keeps stays within its named limits, whatever comes (I9)."""
        if self.world.router.core is not None:
            census = self.world.census()
            over = {name: census[name] for name, cap in CAPS.items() if census[name] > cap}
            self._require(not over, f"beyond its limit: {over}")

    # -- at the end ------------------------------------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Every call is over at both ends, and the router holds nothing any more."""
        world = self.world
        for party in world.parties.values():
            for note in party.ledger.calls.values():
                over = note.is_over or note.answered_s is None
                self._require(over, f"{party.name}: call {note.call_id} is still up")
        for caller in world.callers.values():
            for note in caller.ledger.calls.values():
                self._require(note.is_over, f"{caller.name}: call {note.call_id} never ended")
        for sbc in world.sbcs.values():
            self._require(not sbc.legs_up, f"{sbc.name} still holds {[dialog.call_id for dialog in sbc.legs_up]}")
        self._require(len(world.network) == 0, "something is still on its way")
        left = {name: count for name, count in world.census().items() if count}
        self._require(not left, f"the router still holds {left}")

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            raise AssertionError(f"{text}\n{self.world.tail()}")
