"""The house rules that a linter cannot express, checked over the whole package (DESIGN: layout and imports).

Rows of LAYERS stand in the order of the design, top first: a package may import itself and any lower row, never a higher one nor
a neighbour in its row. `testing` sits beside `cli`: it may start the product through `app`, but the modelled parties in it
must stay free of the outside world like the call path they talk to.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "sipctl"
LAYERS = [
    ["__main__"],
    ["cli", "testing"],
    ["app"],
    ["supervisor"],
    ["api"],
    ["engine", "store", "telemetry"],
    ["control"],
    ["call", "dialplan", "health", "failover"],
    ["routing", "sip"],
    ["model"],
    ["errors", "clock", "__init__"],
]
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
# Allowed by rank, forbidden by meaning: the surfaces speak to control alone, an engine compiles no plan, a store knows no SIP.
FORBIDDEN = {
    ("api", "engine"), ("api", "sip"), ("api", "call"),
    ("cli", "engine"), ("cli", "sip"), ("cli", "call"),
    ("engine", "dialplan"), ("store", "sip"),
}  # fmt: skip
PURE_PACKAGES = {"model", "sip", "routing", "dialplan", "health", "failover", "call", "errors", "testing"}
PURE_MODULES = {"control/reconcile.py", "engine/kamailio/render.py", "engine/kamailio/diff.py"}
DRIVERS = ("testing/demo",)  # what gives the modelled parties sockets and a clock
OUTSIDE_WORLD = {
    "aiohttp", "asyncio", "concurrent", "glob", "logging", "multiprocessing", "os", "queue", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "structlog", "subprocess", "tempfile", "threading", "time",
    "uuid", "uvloop",
}  # fmt: skip
FILE_CALLS = {"open", "print", "input", "exec", "eval"}
WORLD_ATTRIBUTES = {"now", "utcnow", "today"}  # of datetime and date: a wall clock by another name
MUTABLE_LITERALS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_MAKERS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter"}
MODULES = sorted(ROOT.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def is_pure(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return (package_of(path) in PURE_PACKAGES or name in PURE_MODULES) and not name.startswith(DRIVERS)


def imports(tree: ast.Module) -> set[str]:
    """Every module named by an import, with `from package import module` spelled out to the module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: absolute imports only"
            assert node.module is not None
            if node.module == "pathlib" and all(alias.name.startswith("Pure") for alias in node.names):
                continue  # arithmetic on names, no files
            if node.module == "sipctl":
                found |= {f"sipctl.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


def broken_layers(here: str, names: set[str]) -> list[str]:
    broken = []
    for name in sorted(names):
        top, _, rest = name.partition(".")
        if top != "sipctl" or not rest:
            continue
        there = rest.split(".")[0]
        if there == here:
            continue
        if RANK[there] <= RANK[here] or (here, there) in FORBIDDEN:
            broken.append(f"{here} may not import {there} ({name})")
    return broken


def impurities(tree: ast.Module) -> list[str]:
    """What pure code may not do: reach for the outside world by import, by a file, or by the wall clock."""
    broken = [
        f"pure code may not import {name}"
        for name in sorted(imports(tree))
        if name.split(".")[0] in OUTSIDE_WORLD or name == "sipctl.clock" or name == "pathlib"
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in FILE_CALLS:
            broken.append(f"line {node.lineno}: pure code may not call {node.func.id}()")
        elif (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in WORLD_ATTRIBUTES
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in {"datetime", "date"}
        ):
            broken.append(f"line {node.lineno}: pure code may not read the wall clock")
    return broken


def mutable_globals(tree: ast.Module) -> list[str]:
    """Names bound at module level to something that changes (rule 3); a constant table is a tuple, frozenset or MappingProxyType.

    A literal under an UPPER_CASE name is a constant by house convention when nothing in the module writes to it.
    """
    broken = []
    written = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and isinstance(node.value, ast.Name)
    } | {
        node.func.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"append", "add", "update", "setdefault", "pop", "clear", "extend", "insert", "remove", "discard"}
        and isinstance(node.func.value, ast.Name)
    }
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        makes = isinstance(value, MUTABLE_LITERALS) or (
            isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in MUTABLE_MAKERS
        )
        for target in targets:
            if not makes or not isinstance(target, ast.Name) or target.id == "__all__":
                continue
            if not target.id.lstrip("_").isupper() or target.id in written:
                broken.append(f"line {node.lineno}: module-level mutable state {target.id}")
    return broken


def rude_handlers(tree: ast.Module) -> list[str]:
    return [
        f"line {node.lineno}: name the exception you expect"
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def missing_docstrings(tree: ast.Module) -> list[str]:
    return [
        f"line {node.lineno}: class {node.name} has no docstring"
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node) and not node.bases
        and not node.decorator_list
    ]  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_is_tidy(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    broken = broken_layers(package_of(path), imports(tree))
    broken += rude_handlers(tree) + mutable_globals(tree) + missing_docstrings(tree)
    if is_pure(path):
        broken += impurities(tree)
    assert not broken, "\n".join(broken)


def test_every_package_has_its_row() -> None:
    assert {package_of(path) for path in MODULES} - set(RANK) == set()


@pytest.mark.parametrize(
    ("here", "source", "complaint"),
    [
        ("routing", "from sipctl.call import core", "may not import call"),
        ("routing", "import sipctl.sip.uri", "may not import sip"),
        ("api", "from sipctl import engine", "may not import engine"),
        ("engine", "from sipctl.dialplan.compile import compile_plan", "may not import dialplan"),
        ("cli", "from sipctl.testing.caller import Caller", "may not import testing"),
    ],
)
def test_the_walk_sees_a_forbidden_import(here: str, source: str, complaint: str) -> None:
    assert complaint in "\n".join(broken_layers(here, imports(ast.parse(source))))


@pytest.mark.parametrize(
    "source",
    ["import time", "from os import path", "from pathlib import Path", "open('x')", "datetime.now()", "def f():\n import random"],
)
def test_the_walk_sees_impure_code(source: str) -> None:
    assert impurities(ast.parse(source))


@pytest.mark.parametrize("source", ["cache = {}", "seen: set[str] = set()", "TABLE = {}\nTABLE['a'] = 1"])
def test_the_walk_sees_mutable_module_state(source: str) -> None:
    assert mutable_globals(ast.parse(source))
