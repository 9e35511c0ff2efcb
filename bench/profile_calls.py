"""Where the router's time goes, call by call:  python -m bench.profile_calls [--rate 500] [--seconds 8] [--profile]

The router's loop and core alone in one process, on a plan built in memory (no supervisor, controller or desk), between SIPp on
both sides. Prints CPU per call from the kernel's accounting; with --profile the functions by their own time (which slows the run,
so take shares from it, never totals).
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from sipctl.call.core import Core
from sipctl.call.records import SLOT_BYTES
from sipctl.dialplan.compile import compile_plan
from sipctl.engine.embedded.driver import Driver
from sipctl.health.judge import Judge
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.table import load_table
from tests.support.configs import BENCH_NUMBER, CARRIER, INSIDE, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.plans import a_state
from tests.support.processes import SIP_PORT, Net, a_net, cpu_s, is_bound, processes, wait_until
from tests.support.sipp import start_carrier, start_sbc

ROOT = Path(__file__).parent.parent
BUFFER_BYTES = 8 << 20
HOLD_MS = 100
TOP = 45


def router(prefix: str, profiled: bool) -> None:
    """Carry calls until SIGTERM; then say what it cost."""
    plan = a_plan(Net(prefix))
    compiled = compile_plan({path: text.encode() for path, text in plan.files().items()}, {}, revision=1)
    assert compiled.image, compiled.findings
    table = load_table(compiled.image)
    snapshot = RoutingSnapshot.build(table, a_state(table))
    listens = snapshot.listens
    core = Core(
        slot=0, sockets=listens, memory=memoryview(bytearray(SLOT_BYTES)), entropy=bytes(32),
        unix_minus_mono_s=time.time() - time.monotonic(), judge=Judge(1),
    )  # fmt: skip
    driver = Driver(core, lambda notes, now_s: None)
    sockets = []
    for listen in listens:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        udp.bind((listen.host, listen.port))
        sockets.append(udp)
    core.swap(snapshot, time.monotonic())
    driver.open(listens, sockets)
    signal.signal(signal.SIGTERM, lambda *_: driver.stop())
    gc.collect()
    gc.freeze()
    gc.disable()
    profile = cProfile.Profile()
    if profiled:
        profile.enable()
    driver.run(lambda now_s: None)
    profile.disable()
    print("counters:", {**driver.counters, **core.counters})
    for failure, data in driver.poison:
        print("poison:", failure, data[:200])
    if profiled:
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(TOP)
    sys.stdout.flush()


def measure(rate: int, seconds: int, profiled: bool) -> None:
    net = a_net()
    with tempfile.TemporaryDirectory(prefix="sipctl-bench-") as folder, processes(Path(folder)) as group:
        start_sbc(group, net[PRIMARY_SBCS[0]])
        argv = [sys.executable, "-m", "bench.profile_calls", "--router", net.prefix, *(["--profile"] if profiled else [])]
        child = group.start("router", argv, cwd=ROOT)
        wait_until(lambda: is_bound(net[INSIDE], SIP_PORT) or not child.is_running, 10, "the router is up")
        time.sleep(1)
        for number, count in enumerate((rate * 2, rate * seconds)):
            before = cpu_s([child.pid])
            carrier = start_carrier(
                group, net[CARRIER], net[OUTSIDE], BENCH_NUMBER, calls=count, rate=rate, hold_ms=HOLD_MS, response_times=True
            )
            counts = carrier.finish(seconds * 6 + 60)
            used = (cpu_s([child.pid]) - before) / max(counts.successful, 1) * 1e6
            kind = "warm-up" if number == 0 else "measured"
            print(f"{kind:8} {counts.successful} calls, {counts.failed} failed, {counts.retransmissions} retransmitted, "
                  f"{used:.1f} us CPU per call", flush=True)  # fmt: skip
            if counts.failed:
                print(carrier.errors(1500))
        child.signal(signal.SIGTERM)
        child.wait(10)
        print(child.log.read_text(errors="replace"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--router", metavar="PREFIX", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.router:
        router(args.router, args.profile)
    else:
        measure(args.rate, args.seconds, args.profile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
