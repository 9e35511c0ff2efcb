"""Orders and questions that need no controller: the supervisor asks its routers, writes down, tells them, and answers.

Each is a case of two steps, neither of which is waited for in place: first every router tells what it sees; then, for an order
that no rule forbids, it is written to STATE, told to every router, and answered once each of them follows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sipctl.clock import unix_s
from sipctl.engine.embedded import wire
from sipctl.supervisor.children import Child
from sipctl.supervisor.crew import Crew
from sipctl.supervisor.door import Client
from sipctl.supervisor.local_rules import orders_of, scope_of, sentence
from sipctl.supervisor.local_wire import Ask, End, Give, Picture, Worker
from sipctl.supervisor.order_book import OrderBook
from sipctl.supervisor.snapshots import Snapshots

SEE_S = 1.0  # routers have so long to tell what they see
OBEY_S = 2.0  # and so long to follow an order


@dataclass(slots=True)
class Case:
    """One question or order on its way."""

    client: Client
    asked: Ask | Give
    until_s: float
    waits_for: set[int]  # slots
    seen: dict[int, wire.Seen] = field(default_factory=dict)
    told: str = ""  # what was ordered; "": nothing yet
    number: int = 0
    body: dict[str, Any] = field(default_factory=dict)


class Emergency:
    """See the module's docstring.

    Args:
        serves: does a controller decide and its API answer?
        troubles: what is wrong with processes now, by name.
    """

    def __init__(
        self,
        crew: Crew,
        book: OrderBook,
        snapshots: Snapshots,
        note: Callable[[str], None],
        serves: Callable[[], bool],
        troubles: Callable[[], dict[str, str]],
    ) -> None:
        self._crew = crew
        self._book = book
        self._snapshots = snapshots
        self._note = note
        self._serves = serves
        self._troubles = troubles
        self._cases: list[Case] = []

    def begin(self) -> None:
        """Read what was ordered before."""
        fault = self._book.load()
        if fault:
            self._note(fault)
        self.settle()
        self._crew.orders = self._book.orders
        if self._book.orders:
            self._note(f"{len(self._book.orders)} orders given on this node stand: no controller has taken them yet")
            for router in self._crew.routers():  # one that was silent when they were given follows them from now on
                router.send(wire.Orders(self._book.orders))

    def settle(self) -> None:
        """A snapshot was written: the orders it holds need no file any more."""
        fault = self._book.settle(self._snapshots.orders_taken())
        if fault:
            self._note(fault)
        self._crew.orders = self._book.orders

    def ask(self, client: Client, asked: Ask | Give, now_s: float) -> None:
        waits_for = set()
        for slot in self._crew.slots:
            if slot.router is not None and slot.router.is_ready and slot.router.send(wire.Look()):
                waits_for.add(slot.number)
        self._cases.append(Case(client, asked, now_s + SEE_S, waits_for))

    def heard(self, child: Child, frame: wire.Seen | wire.Obeyed) -> None:
        for case in self._cases:
            if child.slot not in case.waits_for:
                continue
            if isinstance(frame, wire.Seen) and not case.told:
                case.seen[frame.slot] = frame
                case.waits_for.discard(frame.slot)
            elif isinstance(frame, wire.Obeyed) and case.told and frame.number >= case.number:
                case.waits_for.discard(frame.slot)

    def turn(self, now_s: float) -> None:
        """Whatever has all its answers, or waited long enough, goes on."""
        for case in tuple(self._cases):
            if case.waits_for and now_s < case.until_s:
                continue
            if case.told:
                self._cases.remove(case)
                self._answer(case)
            elif isinstance(case.asked, Give):
                self._give(case, case.asked, now_s)
            else:
                self._cases.remove(case)
                case.client.end(self._picture(case, now_s))

    def _give(self, case: Case, give: Give, now_s: float) -> None:
        seen = [case.seen[slot] for slot in sorted(case.seen)]
        scope = scope_of(give, seen, self._snapshots.groups(), serves=self._serves())
        if isinstance(scope, End):
            self._cases.remove(case)
            case.client.end(scope)
            return
        case.body = {"groups": list(scope.groups), "calls": scope.calls, "tenants": scope.tenants}
        text = sentence(give, scope)
        if give.dry_run:
            self._cases.remove(case)
            case.client.end(End("done", f"would do: {text}; {scope.calls} calls that are up stay up", body=case.body))
            return
        last = max([self._book.last, self._snapshots.orders_taken(), *(router.orders_taken for router in seen)])
        orders = orders_of(give, scope, case.client.actor, last, unix_s())
        fault = self._book.add(orders)
        self._note(f"{case.client.actor}: {text} ({give.reason.strip()})")
        if fault:
            self._note(fault)
            case.body["not_written"] = fault
        self._crew.orders = self._book.orders
        case.told, case.number, case.until_s = text, orders[-1].number, now_s + OBEY_S
        for slot in self._crew.slots:
            if slot.router is not None and slot.router.send(wire.Orders(self._book.orders)):
                case.waits_for.add(slot.number)
        if not case.waits_for:
            case.until_s = now_s

    def _answer(self, case: Case) -> None:
        routers = [slot for slot in self._crew.slots if slot.router is not None]
        late = [slot.router_name for slot in routers if slot.number in case.waits_for]
        fault = case.body.get("not_written")
        lost = f"; but {fault}: a router that starts anew does not know of it" if fault else ""
        if late or not routers:
            who = f"{', '.join(late)} did not say so within {OBEY_S:g} s" if late else "no router runs now"
            text = f"{case.told}: ordered, but {who}; it follows as soon as it can{lost}"
            case.client.end(End("late", text, body=case.body))
            return
        count = f"{len(routers)} router{'s' if len(routers) > 1 else ''} follow{'' if len(routers) > 1 else 's'}"
        case.client.end(End("done", f"{case.told}: {count}; a controller that returns takes it over{lost}", body=case.body))

    def _picture(self, case: Case, now_s: float) -> Picture:
        crew = self._crew
        workers = tuple(
            Worker(crew.name(child), child.pid, child.is_at_work, child.build, round(max(now_s - child.beat_s, 0.0), 3))
            for child in crew.children()
        )
        workers = (Worker("supervisor", os.getpid(), True, crew.build), *workers)
        silent = tuple(slot.router_name for slot in crew.slots if slot.number not in case.seen)
        seen = tuple(case.seen[slot] for slot in sorted(case.seen))
        return Picture(workers, seen, self._book.orders, self._troubles(), self._serves(), silent)
