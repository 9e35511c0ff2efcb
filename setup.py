"""Builds sipctl; with SIPCTL_NATIVE=1 its call path is compiled: by mypyc (docs/decisions/0018), its scans from C (0021).

Compiled are the modules every message passes through. What they are handed (plans, snapshots, events) stays interpreted: pydantic
and msgspec read those classes' fields, which a compiled class does not show.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

PACKAGES = ("sip", "call", "health")
INTERPRETED = {
    "sipctl/call/events.py", "sipctl/call/judging.py", "sipctl/health/observed.py", "sipctl/health/outliers.py",
    "sipctl/sip/native.py",
}
ROUTING = ("addresses", "board", "counts", "live", "numbers", "resolve", "select", "answers", "rewrite", "diverted")
LOOP = ("driver", "observing", "desk_link")
SCANS = ("sipctl/sip/_scan", "sipctl/engine/embedded/_datagrams")


def compiled_modules() -> list[str]:
    found = [path.as_posix() for package in PACKAGES for path in sorted(Path("sipctl", package).glob("*.py"))]
    found = [path for path in found if path not in INTERPRETED and not path.endswith("__init__.py")]
    found += [f"sipctl/routing/{name}.py" for name in ROUTING]
    return found + [f"sipctl/engine/embedded/{name}.py" for name in LOOP]


def extensions() -> list:
    if os.environ.get("SIPCTL_NATIVE") != "1":
        return []
    from mypyc.build import mypycify

    scans = [
        Extension(path.replace("/", "."), [f"{path}.c"], define_macros=[("_GNU_SOURCE", None)], extra_compile_args=["-std=gnu11"])
        for path in SCANS
    ]
    return scans + mypycify(compiled_modules(), opt_level="3", debug_level="0", target_dir="build/native")


setup(ext_modules=extensions())
