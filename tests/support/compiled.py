"""The C of the call path, compiled for a test beside the Python it must agree with."""

from __future__ import annotations

import importlib.util
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType

import sipctl

ROOT = Path(sipctl.__file__).parent.parent
FLAGS = (
    "-std=gnu11",
    "-D_GNU_SOURCE",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-missing-field-initializers",
    "-fPIC",
    "-shared",
)


@cache
def compiled(name: str) -> ModuleType:
    """Compile and load `sipctl.a._b` from sipctl/a/_b.c, whatever may be installed; nothing else comes to see it."""
    source = ROOT.joinpath(*name.split(".")).with_suffix(".c")
    built = Path(mkdtemp(prefix="sipctl-c-"), name.rpartition(".")[2] + ".so")
    include = sysconfig.get_path("include")
    subprocess.run(["cc", *FLAGS, f"-I{include}", str(source), "-o", str(built)], check=True, stdin=subprocess.DEVNULL)
    spec = importlib.util.spec_from_file_location(name, built)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
