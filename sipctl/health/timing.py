"""When probes leave: jittered, faster while in doubt, drawn from a seeded hash so that a simulation repeats itself."""

from __future__ import annotations

from typing import Final

from sipctl.routing.snapshot import Probe

JITTER: Final = 0.2
_MASK: Final = (1 << 64) - 1


def unit(seed: int, key: int, count: int) -> float:
    """A number in [0, 1) fixed by its arguments (splitmix64 finaliser over their mixture)."""
    z = (seed * 0x9E3779B97F4A7C15 + key * 0xBF58476D1CE4E5B9 + count * 0x94D049BB133111EB + 0x2545F4914F6CDD1D) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)


def wait_s(probe: Probe, *, in_doubt: bool, seed: int, key: int, count: int) -> float:
    """Seconds from one OPTIONS to the next, ±20 %."""
    base_s = probe.fast_interval_s if in_doubt else probe.interval_s
    return base_s * (1.0 - JITTER + 2.0 * JITTER * unit(seed, key, count))
