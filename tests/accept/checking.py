"""`sipctl check` at its largest and at its worst: a million numbers over two thousand entry points, and files made to hurt it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sipctl.dialplan.compile import compile_plan
from tests.accept.lab import Lab, MissError
from tests.dialplan.support import SOUND, plan
from tests.dialplan.test_any_bytes import BOMBS

NUMBERS, ENTRY_POINTS, GROUPS = 1_000_000, 2_000, 200
STEP = 618_033_989  # has no factor in common with SPAN: numbers in no order, each once
SPAN = 90_000_000
MOST_S, MOST_MIB = 20.0, 600.0
MOST_BOMB_S = 0.1


def check_of_a_million_numbers(_: Lab) -> list[str]:
    """≤ 20 s and ≤ 600 MB, interpreter and all: sound, with spaces in every number, and with nine of ten numbers twice."""
    kinds: dict[str, tuple[Callable[[int], str], int]] = {
        "sound": (lambda at: f"+49{3_010_000_000 + at * STEP % SPAN}", 0),
        "spaces": (lambda at: f"+49 30 {10_000_000 + at * STEP % SPAN}", 0),
        "doubled": (lambda at: f"+49{3_010_000_000 + at % (NUMBERS // 10)}", 1),
    }
    lines = []
    with tempfile.TemporaryDirectory(prefix="sipctl-check-") as scratch:
        for name, (number, expected_code) in kinds.items():
            folder = _folder(Path(scratch) / name, [number(at) for at in range(NUMBERS)])
            code, took_s, cpu_s, peak_mib = _run(folder)
            lines.append(f"{name}: {took_s:.1f} s ({cpu_s:.1f} s of CPU), {peak_mib:.0f} MiB, exit {code}")
            if took_s > MOST_S or peak_mib > MOST_MIB or code != expected_code:
                raise MissError("; ".join(lines))
    return lines


def bombs_are_refused_at_once(_: Lab) -> list[str]:
    """A MiB of nested YAML of every kind, and aliases of ten levels: each < 100 ms more than the sound plan, best of three."""
    sound_s = min(_compile_s(b"") for _ in range(3))
    lines = []
    for name, data in BOMBS.items():
        took_s = min(_compile_s(data) for _ in range(3)) - sound_s
        lines.append(f"{name}: {took_s * 1000:.0f} ms for {len(data):,} bytes")
        if took_s > MOST_BOMB_S:
            raise MissError(lines[-1])
    return lines


def _compile_s(data: bytes) -> float:
    began_s = time.monotonic()
    result = compile_plan({**plan(), "sbc_configs/bomb.yaml": data}, {}, revision=1)
    took_s = time.monotonic() - began_s
    assert bool(result.image) == (not data)
    return took_s


def _folder(folder: Path, numbers: list[str]) -> Path:
    groups = "".join(f"  g{at}: {{primary: prod, bcp: bcp, failover: automatic}}\n" for at in range(GROUPS))
    entries = "".join(f'  e{at}: {{group: g{at % GROUPS}, called_at: {{bcp: "+312055500000"}}}}\n' for at in range(ENTRY_POINTS))
    files = {
        "sbc_configs/edge.yaml": SOUND["sbc_configs/edge.yaml"],
        "dialplans/plan.yaml": f"continuity_groups:\n{groups}entry_points:\n{entries}number_files: [{{file: numbers.csv}}]\n",
        "dialplans/numbers.csv": "number,entry_point,site\n"
        + "".join(f"{number},e{at % ENTRY_POINTS},berlin\n" for at, number in enumerate(numbers)),
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def _run(folder: Path) -> tuple[int, float, float, float]:
    """(exit code, seconds, seconds of CPU, most MiB resident) of `sipctl check FOLDER` in a process of its own."""
    began_s = time.monotonic()
    out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT, 0o600)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", "from sipctl.cli.main import main; main()", "check", str(folder)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)],
    )
    os.close(out)
    _, status, usage = os.wait4(pid, 0)
    took_s = time.monotonic() - began_s
    return os.waitstatus_to_exitcode(status), took_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
