"""What the acceptance items share: one running product among SIPp parties, and the figures taken from what those parties logged.

Every instant is wall-clock time of this one host: SIPp's message logs, ours, and the API's agree on it. A figure that was not met
is a MissError with a sentence; a count that SIPp did not reach is an AssertionError with SIPp's own words.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.configs import BCP_SBCS, PRIMARY_SBCS, Plan, a_plan
from tests.support.processes import Net, Processes, a_net, processes
from tests.support.product import Product, a_running_product
from tests.support.sipp import Message, Sipp

A, B = PRIMARY_SBCS
BCP_A, BCP_B = BCP_SBCS
SBC_NAMES = {A: "fra-a", B: "fra-b", BCP_A: "ams-a", BCP_B: "ams-b"}


class MissError(AssertionError):
    """A figure of the acceptance list was not met."""


def must(holds: bool, sentence: str) -> None:
    """Raises: MissError with the sentence that says what was expected and what came."""
    if not holds:
        raise MissError(sentence)


@dataclass(slots=True)
class Lab:
    """One network, its processes, and the product once it runs."""

    net: Net
    group: Processes

    def plan(self, *, tcp: bool = False) -> Plan:
        return a_plan(self.net, tcp=tcp)

    def start(self, plan: Plan, *in_service: int, env: Mapping[str, str] | None = None) -> Product:
        product = a_running_product(self.group, plan, env)
        for host in in_service:
            product.wait_operating(SBC_NAMES[host], "in-service")
        return product


@contextmanager
def a_lab(work: Path) -> Iterator[Lab]:
    with processes(work) as group:
        yield Lab(a_net(), group)


@dataclass(frozen=True, slots=True)
class SetUp:
    """One call as its carrier saw it begin."""

    call_id: str
    placed_unix_s: float
    answered_unix_s: float | None

    @property
    def delay_s(self) -> float:
        return float("inf") if self.answered_unix_s is None else self.answered_unix_s - self.placed_unix_s


def set_ups(carrier: Sipp) -> list[SetUp]:
    """First INVITE and first 200 to it of every call, in order of placing."""
    placed: dict[str, float] = {}
    answered: dict[str, float] = {}
    for message in carrier.messages():
        if not message.received and message.is_request("INVITE"):
            placed.setdefault(message.call_id, message.at_unix_s)
        elif message.received and message.start_line.startswith("SIP/2.0 200") and message.cseq.endswith("INVITE"):
            answered.setdefault(message.call_id, message.at_unix_s)
    return [SetUp(call_id, at_s, answered.get(call_id)) for call_id, at_s in sorted(placed.items(), key=lambda item: item[1])]


def arrivals(sbc: Sipp, method: str = "INVITE") -> list[Message]:
    """First arrival of every call's request of this kind, in order."""
    seen: set[tuple[str, str]] = set()
    found = []
    for message in sbc.messages():
        key = (message.call_id, message.cseq)
        if message.received and message.is_request(method) and key not in seen:
            seen.add(key)
            found.append(message)
    return found


def call_ids(*parties: Sipp) -> set[str]:
    return {message.call_id for party in parties for message in party.messages() if message.cseq.endswith(("INVITE", "BYE"))}


def sleep_until(unix_s: float) -> None:
    time.sleep(max(0.0, unix_s - time.time()))


def largest(values: Sequence[float]) -> float:
    return max(values, default=0.0)
