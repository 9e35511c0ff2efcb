"""What the benchmarks beside Kamailio share: both proxies up at once, the same SBC behind them, the same calls through each.

One call is INVITE / 180 / 200 / ACK / 100 ms / BYE / 200 by SIPp, the number the same for both. Absolute figures move with the
machine, so rounds alternate (A B A B …) and what is quoted is the ratio of the medians. A round with a failed call, or with more
than 1 % retransmitted, is shown and not counted.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.accept.lab import set_ups
from tests.support.configs import BCP_SBCS, BENCH_NUMBER, CARRIER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.kamailio import start_kamailio
from tests.support.processes import Net, Processes, a_net, children_of, processes
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier, start_sbc

PEER = 3
PEER_CONFIG = Path(__file__).parent / "kamailio-peer.cfg"
HOLD_MS = 100
MAX_RETRANSMITTED = 0.01
SIPCTL, KAMAILIO, DIRECT = "sipctl", "kamailio", "direct"


@dataclass(slots=True)
class Beside:
    """Everything up: `targets` is where the carrier sends its calls, `pids` what carries a side's SIP path."""

    group: Processes
    net: Net
    product: Product
    targets: dict[str, str]
    pids: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Round:
    """One run of calls through one side."""

    successful: int
    failed: int
    retransmitted: int
    response_times_ms: Sequence[float]

    @property
    def is_clean(self) -> bool:
        return self.failed == 0 and self.retransmitted <= self.successful * MAX_RETRANSMITTED


@contextlib.contextmanager
def both_up() -> Iterator[Beside]:
    """sipctl and Kamailio, each in front of the same SIPp SBC."""
    net = a_net()
    primary = net[PRIMARY_SBCS[0]]
    with tempfile.TemporaryDirectory(prefix="sipctl-bench-") as folder, processes(Path(folder)) as group:
        for host in (primary, net[BCP_SBCS[0]]):
            start_sbc(group, host)
        plan = a_plan(net)
        for pair in plan.sbcs["sbc_pairs"].values():  # one SBC each, so that both sides probe the same
            first = next(iter(pair["sbcs"]))
            pair["sbcs"] = {first: pair["sbcs"][first]}
        product = a_running_product(group, plan)
        product.wait_operating("fra-a", "in-service")
        config = PEER_CONFIG.read_text(encoding="utf-8")
        fill = {"CARRIER": net[CARRIER], "SBC": primary, "NUMBER": BENCH_NUMBER}
        for name, value in fill.items():
            config = config.replace(f"@{name}@", value)
        (group.work / f"kamailio-{net[PEER]}").mkdir(parents=True, exist_ok=True)
        (group.work / f"kamailio-{net[PEER]}" / "dispatcher.list").write_text(
            f"1 sip:{primary}:5060 0 10\n1 sip:{net[BCP_SBCS[0]]}:5060 0 5\n"
        )
        peer = start_kamailio(group, net[PEER], config, "-m", "2048", "-M", "32", "-x", "fm", "-X", "fm")
        router = product.pid("router-0")
        assert router is not None
        yield Beside(
            group, net, product,
            {SIPCTL: net[OUTSIDE], KAMAILIO: net[PEER], DIRECT: primary},
            {SIPCTL: [router], KAMAILIO: [peer.pid, *children_of(peer.pid)]},
        )  # fmt: skip


def place_calls(beside: Beside, side: str, rate: int, seconds: int, *, response_times: bool = False) -> Round:
    """The same calls through one side."""
    carrier = start_carrier(
        beside.group, beside.net[CARRIER], beside.targets[side], BENCH_NUMBER, calls=rate * seconds, rate=rate, hold_ms=HOLD_MS,
        short_messages=response_times,
    )  # fmt: skip
    counts = carrier.finish(seconds * 6 + 60)
    # From the instants of its messages (microseconds): SIPp's own response times come in steps of its 4 ms tick.
    times = [call.delay_s * 1000 for call in set_ups(carrier)] if response_times else []
    return Round(counts.successful, counts.failed, counts.retransmissions, times)
