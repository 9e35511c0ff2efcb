"""F27: a disk that is full, at the start and while running: real file systems of a few KiB, and processes that may write nothing.

The small file system lives in a mount namespace of its own, of a child that ends with it: nothing of the machine is touched.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipctl.engine.generation import Generations
from sipctl.errors import StoreError
from sipctl.store.sqlite import SqliteStore
from tests.engine.test_generation import a_state
from tests.real.conftest import group, net
from tests.real.test_calls import the_sbcs
from tests.support.configs import CARRIER, NUMBER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes, wait_until
from tests.support.product import Product, a_running_product
from tests.support.sipp import start_carrier

__all__ = ["group", "net"]  # the fixtures

SMALL_KIB = 64


def on_a_small_disk(folder: Path, act: str) -> str:
    """What one act of this module prints, run on a file system of SMALL_KIB mounted at `folder`."""
    unshare = shutil.which("unshare")
    assert unshare is not None, "util-linux is part of every system that runs this"
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = f'mount -t tmpfs -o size={SMALL_KIB}k small "$1" && exec "$2" -m tests.faults.test_disks {act} "$1"'
    command = [unshare, "--mount", *own, "sh", "-c", script, "sh", str(folder), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def fill(folder: Path) -> None:
    """Leave no octet free."""
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return


def start(folder: Path) -> None:
    """A store and a generation on a disk that is full from the first moment."""
    fill(folder)
    for attempt in (lambda: SqliteStore(folder / "sipctl.db"), lambda: Generations(folder).write(a_state(seq=1), b"table")):
        try:
            attempt()
        except StoreError as error:
            print(f"{type(error).__name__}: {error.detail} | {error.hint}")
        else:
            print("nothing was noticed")


def run(folder: Path) -> None:
    """Generations on a disk that fills up between two of them, and has room again."""
    generations = Generations(folder)
    generations.write(a_state(seq=1, table="aa" * 32), b"one")
    generations.write(a_state(seq=2, table="bb" * 32), b"two")
    fill(folder)
    try:
        generations.write(a_state(seq=3, table="cc" * 32), b"three" * 4000)
    except StoreError as error:
        print(f"{type(error).__name__}: {error.detail}")
    whole, faults = generations.found()
    print([found.state.seq for found in whole], faults, len(list(folder.rglob("*.tmp"))))
    (folder / "ballast").unlink()
    generations.write(a_state(seq=4, table="dd" * 32), b"four")
    print(generations.found()[0][0].state.seq)


def test_f27_a_disk_that_is_full_at_the_start_is_said_in_a_sentence(tmp_path: Path) -> None:
    lines = on_a_small_disk(tmp_path, "start").splitlines()
    assert len(lines) == 2 and all(line.startswith("StoreError: ") for line in lines), lines


def test_f27_a_disk_that_fills_up_leaves_the_generations_that_were_there(tmp_path: Path) -> None:
    lines = on_a_small_disk(tmp_path, "run").splitlines()
    assert lines[0].startswith("StoreError: ") and "space" in lines[0]
    assert lines[1:] == ["[2, 1] [] 0", "4"], "none damaged, none half written, and the next one is whole"


@contextmanager
def unable_to_write(product: Product, *roles: str) -> Iterator[None]:
    """Every write of these processes fails, as on a full disk."""
    pids = [pid for role in roles if (pid := product.pid(role)) is not None]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[pid][1]))
    try:
        yield
    finally:
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before[pid])


@pytest.mark.timeout(180)
def test_f27_while_nothing_can_be_written_calls_go_on_and_decisions_too(net: Net, group: Processes) -> None:
    the_sbcs(group, net, *PRIMARY_SBCS)
    product = a_running_product(group, a_plan(net))
    product.wait_operating("fra-a", "in-service")
    product.wait_operating("fra-b", "in-service")
    calls = start_carrier(group, net[CARRIER], net[OUTSIDE], NUMBER, calls=200, rate=10, hold_ms=500)
    with unable_to_write(product, "controller", "desk"):
        assert product.post("/v1/sbcs/fra-b/admin", {"state": "draining", "reason": "full disk"}).status in (200, 202)
        wait_until(lambda: any("write" in alarm["id"] for alarm in product.status()["alarms"]), 10, "an alarm within 10 s")
        refused = product.post(
            "/v1/revisions", {"base": 1, "reason": "full disk", "files": a_plan(net, numbers=(NUMBER, "+493090182999")).files()}
        )
        ended = product.finished(refused)
        assert ended.status >= 400 or ended.body["status"] == "failed", ended
        assert "File too large" in str(ended.body) or "store" in str(ended.body), "it says what did not work"
        assert product.status()["revision"] == 1
        assert product.status()["sbcs"]["fra-b"]["admin"] == "draining", "what was decided holds"
    wait_until(lambda: not any("write" in alarm["id"] for alarm in product.status()["alarms"]), 15, "the alarm is over")
    calls.succeed(200, 60)


if __name__ == "__main__":
    {"start": start, "run": run}[sys.argv[1]](Path(sys.argv[2]))
