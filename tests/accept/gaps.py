"""The machine's own loop gap: a process that only looks at the clock, so that a slow figure can be told from a slow host."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized

STEP_S = 0.005
INCONCLUSIVE_S = 0.5


def _watch(largest: Synchronized[float]) -> None:
    last_s = time.monotonic()
    while True:
        time.sleep(STEP_S)
        now_s = time.monotonic()
        if now_s - last_s - STEP_S > largest.value:
            largest.value = now_s - last_s - STEP_S
        last_s = now_s


@contextmanager
def gap_watch() -> Iterator[Synchronized[float]]:
    """The largest gap seen so far, in seconds; set it to 0 to begin anew."""
    context = multiprocessing.get_context("spawn")
    largest: Synchronized[float] = context.Value("d", 0.0)
    watcher = context.Process(target=_watch, args=(largest,), daemon=True)
    watcher.start()
    try:
        yield largest
    finally:
        watcher.kill()
        watcher.join()
