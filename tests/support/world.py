"""A deterministic world: one clock, one lossy network, modelled carriers and SBCs, and the real call core between them.

Everything that happens is an event at an instant of one virtual clock; everything random is drawn from one seed. So a run is
a function of its seed: the same seed gives the same bytes in the same order (`digest`), and a broken invariant is found again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Any, Final, cast

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.snapshot import Admin, Decision, RoutingState
from sipctl.testing.caller import Caller, Script
from sipctl.testing.ledger import Breach, CallNote
from sipctl.testing.party import Dialog, Party
from sipctl.testing.sbc import ModelSbc
from sipctl.testing.wire import Address, Output, WireError, host_port, read
from tests.support.invariants import Invariants
from tests.support.network import Network, Weather
from tests.support.router_farm import RouterFarm
from tests.support.router_host import UNIX_MINUS_MONO_S, Doom, Flow, RouterHost
from tests.support.world_control import Control
from tests.support.world_plan import (
    CARRIER_ONE,
    CARRIER_TWO,
    GROUP,
    INSIDE,
    OUTSIDE,
    SALES,
    STRANGER,
    Plan,
    a_snapshot,
    a_state,
    a_table,
    doors,
    inside_of,
    outside_of,
    retired_by,
)

START_S: Final = 1000.0
TAIL_LINES: Final = 120
MONITOR: Final[Address] = ("198.51.100.9", 5060)  # an address of carrier-one that places no calls
CLOSED_DELAY_S: Final = 0.002  # until an ICMP error is back
TCP_DELAY_S: Final = 0.004


class World:
    """Carriers, network, router, SBCs, and whoever edits plans and decides.

    Args:
        seed: of the network's dice.
        plan: what the router boots with.
        weather: how the network treats datagrams.
        bcp_percent: what the group's first decision says; only without a controller.
        routers: how many there are on the machine; with more than one, all is UDP and nobody controls.
        controlled: the real controller decides, and `order` is how the world has its way; else the world itself publishes.
    """

    def __init__(
        self, seed: int = 0, plan: Plan | None = None, weather: Weather | None = None, bcp_percent: int = 0, *,
        controlled: bool = False, routers: int = 1,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.now_s = START_S
        self.plan = plan or Plan()
        self.network = Network(seed, weather)
        self.finishing = False
        self.events = 0
        self.actions: list[str] = []
        self.closed: set[Address] = set()  # addresses where nobody listens: ICMP, refused connections
        self.unclaimed: list[tuple[Address, bytes]] = []  # what arrived where no party stands
        self._tail: deque[tuple[float, str, Address, Address, bytes]] = deque(maxlen=TAIL_LINES)
        self._digest = blake2b(digest_size=16)
        self._schedule: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._connecting: dict[tuple[Address, Address], Flow] = {}
        self.outside, self.inside = outside_of(self.plan, OUTSIDE), inside_of(self.plan, INSIDE)
        self.router_addresses = (self.outside, self.inside)
        self.tenant_at = dict(doors(self.plan).values())
        self.fqdns: dict[str, tuple[str, ...]] = {}  # every name an SBC writes into its Contact, and where it leads
        self.sbcs = self._the_sbcs()
        tcp = self.plan.tcp_trunks
        self.callers = {
            "carrier-one": Caller("carrier-one", outside_of(self.plan, CARRIER_ONE), reliable=tcp),
            "carrier-two": Caller("carrier-two", outside_of(self.plan, CARRIER_TWO), reliable=tcp),
            "stranger": Caller("stranger", outside_of(self.plan, STRANGER)),
        }
        self.parties: dict[Address, Party] = {p.address: p for p in (*self.sbcs.values(), *self.callers.values())}
        listens = a_table(self.plan).topology.listens
        self.invariants = Invariants(self)
        self.router_carries = self._carry
        self.router: RouterHost = RouterHost(listens, self._carry, self._router_died)
        if routers > 1:  # a farm is to the world what one router is
            self.router = cast(RouterHost, RouterFarm(self, listens, routers))
        self.control = Control(self, self.plan) if controlled else None
        if self.control is not None:
            self.control.boot()
            self.router_snapshot = self.control.first_snapshot()
            self.invariants.published(self.router_snapshot)
        else:
            self.state: RoutingState = a_state(bcp_percent=bcp_percent, names=self.fqdns if self.names_known else None)
            self.publish()
        self._router_starts()

    def _the_sbcs(self) -> dict[str, ModelSbc]:
        """One party per signalling address; those of one tenant at one site share their dialogs where the plan says so."""
        found: dict[str, ModelSbc] = {}
        shared: dict[str, dict[tuple[str, str, str], Dialog]] = {}
        for name, (address, tenant) in doors(self.plan).items():
            fqdn = "" if self.plan.contacts == "address" else f"{name[:5]}.sbc.example"
            if fqdn:
                self.fqdns[fqdn] = (address[0],)
            found[name] = ModelSbc(
                name, address, dialogs=shared.setdefault(tenant, {}) if self.plan.shared_dialogs else None,
                reliable=self.plan.tcp_sbcs and name.startswith("ams"), fqdn=fqdn,
            )  # fmt: skip
        return found

    @property
    def names_known(self) -> bool:
        """Whether the routers are told from the start where the SBCs' names lead."""
        return self.plan.contacts == "known"

    # -- what happens in the world ---------------------------------------------------------------------------------------------

    def call(self, called: str = SALES, script: Script | None = None, *, caller: str = "carrier-one") -> CallNote:
        """A carrier places a call now."""
        party = self.callers[caller]
        note, out = party.place(called, self.outside, self.now_s, script)
        self._party_sends(party, out)
        return note

    def at(self, after_s: float, act: Callable[[], None]) -> None:
        """Have something happen `after_s` from now."""
        self._count += 1
        heappush(self._schedule, (self.now_s + after_s, self._count, act))

    def hang_up(self, note: CallNote, caller: str = "carrier-one") -> None:
        """The caller ends a call now."""
        self._party_sends(self.callers[caller], self.callers[caller].hang_up(note.call_id, self.now_s))

    def ask_options(self) -> bytes:
        """What the router answers to OPTIONS of a carrier's monitor."""
        self._count += 1
        host, port = MONITOR
        self.invariants.configured.add(host)
        self.unclaimed.clear()
        self.send_raw(
            MONITOR, OUTSIDE,
            f"OPTIONS sip:{host_port(OUTSIDE)} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKm{self._count}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:m@{host}>;tag=m{self._count}\r\nTo: <sip:{OUTSIDE[0]}>\r\nCSeq: 1 OPTIONS\r\n"
            f"Call-ID: m{self._count}@{host}\r\nContent-Length: 0\r\n\r\n".encode(),
        )  # fmt: skip
        self.run_until(lambda: any(to == MONITOR for to, _ in self.unclaimed), at_most_s=1.0)
        return self.unclaimed[-1][1]

    def send_raw(self, source: Address, to: Address, data: bytes) -> None:
        """Somebody sends bytes of their own making."""
        self.network.send(source, to, data, self.now_s)

    def kill(self, down_s: float = 0.08) -> None:
        """`kill -9` of the router now; a spare takes the slot `down_s` later."""
        self.note(f"router dies, successor in {down_s:.3f} s")
        self.router.kill(down_s)

    def doom(self, doom: Doom) -> None:
        """Have the router die in the midst of what it does next."""
        self.note(f"router is doomed: {doom.outputs} outputs, {doom.lines} lines")
        self.router.doom = doom

    def publish(self, **changes: Any) -> None:
        """The controller publishes: `seq` grows with every change, `term` with every controller."""
        assert self.control is None, "who is controlled does not decide"
        seq = self.state.seq + 1 if "term" not in changes else 1
        before = (self.state.term, self.state.seq)
        self.state = replace(self.state, seq=seq, **changes)
        assert (self.state.term, self.state.seq) > before
        self.router_snapshot = a_snapshot(self.plan, self.state)
        self.invariants.published(self.router_snapshot)
        if hasattr(self, "router"):
            self.router.swap(self.router_snapshot, self.now_s)

    def decide(self, bcp_percent: int, *, pinned: bool = False, left: str | None = None) -> None:
        """The group's decision changes."""
        self.note(f"{GROUP}: {bcp_percent} % to BCP")
        epoch = self.state.decisions[GROUP].epoch + 1
        decision = Decision(bcp_percent, pinned, left, epoch, "as the world wants")
        self.publish(decisions={**self.state.decisions, GROUP: decision})

    def edit(self, **changes: Any) -> bool:
        """A new revision of the plan; what left it is retired. False where there was no controller to take it."""
        plan = replace(self.plan, revision=self.plan.revision + 1, **changes)
        if self.control is not None and not self.control.apply(plan):
            return False
        self.plan = plan
        self.note(f"revision {self.plan.revision}: {sorted(changes)}")
        if self.control is not None:
            return True
        retired = retired_by(self.plan, self.now_s + UNIX_MINUS_MONO_S + self.plan.max_call_age_s)
        self.publish(retired=retired)
        return True

    def order(self, op: str, **args: Any) -> str:
        """An operator's command to the real controller: how its answer begins, "" where nobody answers."""
        assert self.control is not None
        answer = self.control.order(op, **args)
        return "" if answer is None else answer.status

    def take(self, snapshot: RoutingSnapshot) -> None:
        """The router takes what its controller published."""
        self.invariants.published(snapshot)
        self.router_snapshot = snapshot
        self.router.swap(snapshot, self.now_s)

    def sbc_admin(self, name: str, admin: Admin) -> None:
        self.note(f"{name} is {admin.name.lower()}")
        self.publish(sbc_admin={**self.state.sbc_admin, name: admin})

    def node_admin(self, admin: Admin) -> None:
        self.note(f"node is {admin.name.lower()}")
        self.publish(node_admin=admin)

    def new_controller(self) -> None:
        """The controller died; its successor adopts the last decisions under the next term (CALLS 4.6)."""
        self.note("a new controller")
        self.publish(term=self.state.term + 1)

    def stand_still(self, gap_s: float) -> None:
        """The router's loop stands still, as under SIGSTOP, and learns of it afterwards (CALLS 3.5)."""
        self.note(f"the router stands still for {gap_s} s")
        self.router.pause()
        self.at(gap_s, lambda: self.router.resume(gap_s, self.now_s))

    # -- time ------------------------------------------------------------------------------------------------------------------

    def run(self, seconds: float, *, max_events: int | None = None) -> None:
        """Let so much time pass, or so many events."""
        until_s = self.now_s + seconds
        limit = None if max_events is None else self.events + max_events
        while limit is None or self.events < limit:
            due_s = self._next_s()
            if due_s is None or due_s > until_s:
                break
            self.now_s = max(self.now_s, due_s)
            self._step()
        else:
            return
        self.now_s = until_s

    def run_until(self, reached: Callable[[], bool], *, at_most_s: float = 60.0) -> None:
        """Run until something holds; an AssertionError if it does not in time."""
        until_s = self.now_s + at_most_s
        while not reached():
            due_s = self._next_s()
            if due_s is None or due_s > until_s:
                raise AssertionError(f"did not happen within {at_most_s} s\n{self.tail()}")
            self.now_s = max(self.now_s, due_s)
            self._step()

    def finish(self, *, at_most_s: float = 1500.0) -> None:
        """Heal everything, let every call end, and hold the world to what must be true at the end."""
        self.network.weather = Weather()
        self.network.drop = self.network.late = None
        self.closed.clear()
        for sbc in self.sbcs.values():
            sbc.mute = sbc.deaf_to_invites = sbc.deaf_to_options = False
        if self.router.core is None:
            self.run(1.0)
        self._last_edit()
        if self.plan.tcp_trunks or self.plan.tcp_sbcs:
            self.at(400.0, self._end_orphans)
        until_s = self.now_s + at_most_s
        while not self._is_quiet() and (due_s := self._next_s()) is not None and due_s <= until_s:
            self.now_s = max(self.now_s, due_s)
            self._step()
        self.invariants.at_the_end()

    def _last_edit(self) -> None:
        """The last revision probes nobody, so that a world can fall silent; it reaches the router, and then nobody decides."""
        self.finishing = True
        control = self.control
        if control is None:
            self.edit(probe=None)
            return
        for _ in range(60):
            if control.knows is not None and self.plan.probe is not None:
                self.edit(probe=None)
            elif control.knows is not None and self.router.core is not None and control.is_followed:
                break
            self.run(0.5)
        else:
            raise AssertionError(f"the controller's last word did not reach the router\n{self.tail()}")
        control.stop()

    def _end_orphans(self) -> None:
        """A BYE that a dead router had accepted over TCP is lost for good: the far end's own timer ends the call."""
        over = {note.call_id for party in self.callers.values() for note in party.ledger.calls.values() if note.is_over}
        for sbc in self.sbcs.values():
            for dialog in sbc.legs_up:
                if dialog.call_id in over:
                    self._party_sends(sbc, sbc.hang_up(dialog.call_id, self.now_s))

    def _is_quiet(self) -> bool:
        """Nothing is on its way, no party waits for anything, and the router holds nothing."""
        if len(self.network) or self._schedule or any(party.next_due_s is not None for party in self.parties.values()):
            return False
        return self.router.core is not None and not any(self.census().values())

    def _next_s(self) -> float | None:
        best = self.network.next_due_s
        for due_s in (self.router.next_due_s, self._schedule[0][0] if self._schedule else None):
            if due_s is not None and (best is None or due_s < best):
                best = due_s
        for party in self.parties.values():
            due_s = party.next_due_s
            if due_s is not None and (best is None or due_s < best):
                best = due_s
        return best

    def _step(self) -> None:
        """Everything of this instant, in a fixed order: what arrived, then timers, then what the world does."""
        now_s = self.now_s
        while (arrived := self.network.take_due(now_s)) is not None:
            self._arrive(*arrived)
        if (due_s := self.router.next_due_s) is not None and due_s <= now_s:
            self.router.tick(now_s)
            self._check_progress(due_s)
        for party in self.parties.values():
            if (due_s := party.next_due_s) is not None and due_s <= now_s:
                self._party_sends(party, party.tick(now_s))
        while self._schedule and self._schedule[0][0] <= now_s:
            heappop(self._schedule)[2]()
        if self.control is not None:
            self.control.after_step()
        else:
            self._resolve_names()
        self.invariants.after_step()

    def _resolve_names(self) -> None:
        """Publish where the SBCs' names lead once the router has asked for one."""
        if self.plan.contacts != "asked" or self.state.names or not any(note[0] == "name" for note in self.router.notes):
            return
        self.publish(names=self.fqdns)

    def _check_progress(self, due_s: float) -> None:
        after_s = self.router.next_due_s
        if after_s is not None and after_s <= due_s and after_s <= self.now_s:
            self.router.tick(self.now_s)
            after_s = self.router.next_due_s
            assert after_s is None or after_s > due_s, f"tick at {self.now_s} leaves what is due at {after_s}: a loop would spin"

    # -- the wires -------------------------------------------------------------------------------------------------------------

    def _arrive(self, source: Address, to: Address, data: bytes) -> None:
        self.events += 1
        if to in self.router_addresses:
            self._trace("in ", source, to, data)
            self.invariants.heard(data, source, self.now_s)
            self.router.receive(data, self.router_addresses.index(to), source, self.now_s)
        elif to in self.closed or (to in self.parties and self.parties[to].reliable):  # who speaks TCP has no UDP port open
            if source in self.router_addresses:
                socket = self.router_addresses.index(source)
                self.at(CLOSED_DELAY_S, lambda: self.router.send_failed(socket, to, self.now_s))
        elif to in self.parties:
            party = self.parties[to]
            self._party_sends(party, party.receive(data, source, self.now_s))
        else:
            self.unclaimed.append((to, data))

    def _party_sends(self, party: Party, out: Output) -> None:
        for data, to in out:
            if party.reliable and to in self.router_addresses:
                self._stream_to_router(party, to, data)
            else:
                self.network.send(party.address, to, data, self.now_s)

    def _carry(self, socket: int, data: bytes, address: Address) -> None:
        """Something the router sends."""
        self._trace("out", self.router_addresses[socket % 2] if socket < 4 else self.inside, address, data)
        self.invariants.said(data, address, self.now_s)
        if socket < 2:
            self.network.send(self.router_addresses[socket], address, data, self.now_s)
        else:
            self._stream_to_party(socket, data, address)

    def _stream_to_router(self, party: Party, to: Address, data: bytes) -> None:
        key = (party.address, to)
        flow = self._connecting.get(key)
        if flow is None or not flow.alive:
            self._count += 1
            flow = Flow(0, 2 + self.router_addresses.index(to), party.address, (party.address[0], 40_000 + self._count % 20_000))
            self._connecting[key] = flow
        self.at(TCP_DELAY_S, lambda: self._stream_arrives(flow, to, data))

    def _stream_arrives(self, flow: Flow, to: Address, data: bytes) -> None:
        self.events += 1
        self._trace("in ", flow.party, to, data)
        self.invariants.heard(data, flow.peer, self.now_s, stream=flow.party)
        self.router.receive_on(flow, data, self.now_s)

    def _stream_to_party(self, socket: int, data: bytes, address: Address) -> None:
        flow = self.router.flows.get(socket)
        if flow is None and socket >= 4:
            carriers = {caller.address[0] for caller in self.callers.values()}
            socket = 2 if address[0] in carriers else 3  # the flow is gone: by its address
        flow = flow or self.router.flow_to(socket, address)
        if flow is None:
            party = self.parties.get(address)
            if party is None or not party.reliable or address in self.closed:
                self.at(CLOSED_DELAY_S, lambda: self.router.send_failed(socket, address, self.now_s))
                return
            flow = Flow(0, socket, address, address)
            self.router.accept(flow)
            self._connecting[(address, self.router_addresses[socket - 2])] = flow
        here = self.router_addresses[flow.socket - 2]
        party_there = self.parties[flow.party]
        self.at(TCP_DELAY_S, lambda: self._stream_delivered(flow, party_there, here, data))

    def _stream_delivered(self, flow: Flow, party: Party, here: Address, data: bytes) -> None:
        self.events += 1
        self._party_sends(party, party.receive(data, here, self.now_s))

    def _router_died(self, down_s: float) -> None:
        self.note(f"router is dead ({self.router.deaths})")
        self.invariants.router_died(self.now_s)
        if self.control is not None:
            self.control.router_died()
        self.at(down_s, self._succeed)

    def _succeed(self) -> None:
        if self.router.core is None:
            self.note("a successor takes the slot")
            self._router_starts()

    def _router_starts(self) -> None:
        self.router.start(self.router_snapshot, self.now_s)
        if self.control is not None and self.router.core is not None:
            self.control.router_began()

    # -- what can be read of it ------------------------------------------------------------------------------------------------

    @property
    def breaches(self) -> list[Breach]:
        return [breach for party in self.parties.values() for breach in party.ledger.breaches]

    @property
    def notes(self) -> list[Any]:
        return self.router.notes

    def census(self) -> dict[str, int]:
        """What the router holds now."""
        assert self.router.core is not None
        return self.router.core.census()

    def sbc_of(self, note: CallNote) -> str:
        """Name of the SBC that answered a call, '' if none did."""
        if note.answered_at is None:
            return ""
        host, port = note.answered_at
        place = (self.fqdns.get(host, (host,))[0], port)
        return next((name for name, sbc in self.sbcs.items() if sbc.address == place), "")

    @property
    def digest(self) -> str:
        """Hash of everything that was sent and done, in order."""
        return self._digest.hexdigest()

    def tail(self) -> str:
        """The end of the story, for a failure."""
        lines = [_line(*entry) for entry in self._tail]
        return "\n".join([f"seed {self.seed}, {self.events} events, now {self.now_s:.3f}", *lines])

    def note(self, text: str) -> None:
        """One line of the story that is no message."""
        self._digest.update(f"{self.now_s:.6f} {text}".encode())
        self._tail.append((self.now_s, f"-- {text}", ("", 0), ("", 0), b""))

    def _trace(self, way: str, source: Address, to: Address, data: bytes) -> None:
        self._digest.update(f"{self.now_s:.6f} {way} {source} {to}".encode())
        self._digest.update(data)
        probe = data.startswith(b"OPTIONS ") or b" OPTIONS\r\n" in data[:600]
        if not probe or b";tag=f" in data:
            self._tail.append((self.now_s, way, source, to, data))  # probes would fill it


def _line(at_s: float, way: str, source: Address, to: Address, data: bytes) -> str:
    if not data:
        return f"{at_s:10.3f} {way}"
    try:
        message = read(data)
    except WireError as error:
        return f"{at_s:10.3f} {way} {host_port(source):>20} → {host_port(to):<20} unreadable: {error}"
    tag = f" to-tag {message.to_tag}" if message.to_tag else ""
    what = f"{message.what} {message.cseq}{tag} of {message.call_id} branch {message.branch[-12:]}"
    return f"{at_s:10.3f} {way} {host_port(source):>20} → {host_port(to):<20} {what}"
