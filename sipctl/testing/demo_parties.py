"""Sockets and a clock for the modelled parties, and the traffic of the demo: calls placed at a steady rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final, cast

from sipctl.testing.caller import Caller, Script
from sipctl.testing.demo_plan import NUMBER, DemoAddresses
from sipctl.testing.ledger import CallNote
from sipctl.testing.party import Party
from sipctl.testing.sbc import Behaviour, ModelSbc
from sipctl.testing.wire import Message, Output

CALLS_PER_S: Final = 5.0
SHORTEST_S, LONGEST_S = 6.0, 18.0  # how long a call lasts
LONG_CALL_EVERY: Final = 10  # one call in so many stays up until the end
FORGET_AFTER_S: Final = 150.0  # calls that are over leave the ledgers, for `--keep`


class Wire(asyncio.DatagramProtocol):
    """Gives one party a UDP socket and the loop's clock."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.send(self.party.receive(data, (addr[0], addr[1]), self._loop.time()))

    def error_received(self, exc: Exception) -> None:
        """ICMP: retransmission will tell."""

    def send(self, out: Output) -> None:
        """Send what the party wants sent, and be there when it wants to be asked again."""
        if self._transport is not None and not self._transport.is_closing():
            for data, to in out:
                self._transport.sendto(data, to)
        due_s = self.party.next_due_s
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_s is not None:
            self._timer = self._loop.call_at(due_s, self._due)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def _due(self) -> None:
        self._timer = None
        self.send(self.party.tick(self._loop.time()))


class Traffic:
    """The carrier's calls: who answered them, how long they took, how they ended."""

    def __init__(self, where: DemoAddresses, seed: int = 1) -> None:
        self._where = where
        self._random = Random(seed)
        self._sbc_names = {address: name for name, address in where.sbcs.items()}
        self.caller = Caller("carrier", where.carrier)
        self.sbcs = {name: ModelSbc(name, address, behave=self._behave) for name, address in where.sbcs.items()}
        self.notes: list[CallNote] = []
        self.answered_before = 0  # calls that left `notes`
        self.ended_well_before = 0
        self._wires: dict[str, Wire] = {}
        self._placing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open every party's socket."""
        loop = asyncio.get_running_loop()
        for party in (self.caller, *self.sbcs.values()):
            _, wire = await loop.create_datagram_endpoint(_wire_of(party), local_addr=party.address)
            self._wires[party.name] = wire

    def begin(self) -> None:
        """Place calls from now on."""
        self._placing = asyncio.get_running_loop().create_task(self._place())

    async def stop_placing(self) -> None:
        if self._placing is not None:
            self._placing.cancel()
            await asyncio.gather(self._placing, return_exceptions=True)
            self._placing = None

    def hang_up_all(self) -> None:
        """End every call from the carrier's side."""
        now_s = asyncio.get_running_loop().time()
        for note in self.notes:
            if not note.is_over:
                self._wires["carrier"].send(self.caller.hang_up(note.call_id, now_s))

    def silence(self, sbcs: tuple[str, ...], mute: bool) -> None:
        """Stop these SBCs wholly, sockets open, or let them go on."""
        for name in sbcs:
            self.sbcs[name].mute = mute

    async def close(self) -> None:
        await self.stop_placing()
        for wire in self._wires.values():
            wire.close()

    def sbc_of(self, note: CallNote) -> str:
        """Name of the SBC that answered, '' while none has."""
        return self._sbc_names.get(note.answered_at or ("", 0), "")

    def up_at(self, name: str) -> int:
        return sum(note.is_up and self.sbc_of(note) == name for note in self.notes)

    def tidy(self, now_s: float) -> None:
        """Forget calls that are long over."""
        keep = []
        for note in self.notes:
            if note.ended_s is not None and now_s - note.ended_s > FORGET_AFTER_S and is_well(note):
                self.ended_well_before += 1
                self.caller.forget(note.call_id)
                for sbc in self.sbcs.values():
                    sbc.ledger.calls.pop(note.call_id, None)
            else:
                keep.append(note)
        self.notes = keep

    async def _place(self) -> None:
        loop = asyncio.get_running_loop()
        number, next_s = 0, loop.time()
        while True:
            number += 1
            lasts_s = 1e9 if number % LONG_CALL_EVERY == 0 else self._random.uniform(SHORTEST_S, LONGEST_S)
            calling = f"+4915{self._random.randrange(10**8):08d}"
            script = Script(then=((lasts_s, "BYE"),), calling=calling)
            note, out = self.caller.place(NUMBER, self._where.outside, loop.time(), script)
            self.notes.append(note)
            self._wires["carrier"].send(out)
            next_s += 1.0 / CALLS_PER_S
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    def _behave(self, _invite: Message) -> Behaviour:
        return Behaviour(ring_s=0.05, final_s=self._random.uniform(0.1, 0.4))


def is_well(note: CallNote) -> bool:
    """If a call that is over was answered and ended by an ordinary BYE."""
    return note.answered_s is not None and note.ended_by in ("me", "peer") and note.in_dialog[-1:] in ([("BYE", 200)], [])


def is_settled(note: CallNote) -> bool:
    """If nothing more can happen to a call: it is over, and its BYE, if the carrier sent one, has its answer."""
    return note.is_over and (note.answered_s is None or note.ended_by == "peer" or note.in_dialog[-1:] != [])


def is_lost(note: CallNote) -> bool:
    """If a call that is over was not answered, or did not end by an ordinary BYE."""
    return note.is_over and not is_well(note)


def _wire_of(party: Party) -> Callable[[], Wire]:
    return lambda: Wire(party)


