"""However a plan is damaged, it compiles or has findings; it never raises."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.dialplan.compile import compile_plan
from sipctl.errors import Finding
from tests.dialplan.support import CSV, EDGE, PLAN, plan

FRAGMENTS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "\n",
    "  ",
    "- ",
    "null",
    "''",
    "&a ",
    "*a",
    "!!int ",
    "#",
    "X",
    "+49",
    "..",
    "~",
    "\t",
    "é",
    "\x00",
    "? ",
]
FILES = plan(
    ("tests:\n", "number_files: [{file: numbers.csv}]\ntests:\n"),
    files={CSV: "number,entry_point\n+4940100,sales\n+4940101,support\n"},
)
EDITS = st.lists(
    st.tuples(st.sampled_from([EDGE, PLAN, CSV]), st.floats(0, 1), st.integers(0, 12), st.sampled_from(FRAGMENTS)),
    min_size=1,
    max_size=4,
)


def compiles_or_tells(files: dict[str, bytes]) -> tuple[Finding, ...]:
    result = compile_plan(files, {}, revision=1)
    errors = [finding for finding in result.findings if finding.severity == "error" and finding.code != "test.failed"]
    assert bool(result.image) == (not errors)
    assert all(finding.message and finding.path and finding.line >= 0 for finding in errors)
    return result.findings


@given(EDITS)
@settings(max_examples=150, deadline=None)
def test_damaged_plan_compiles_or_tells(edits: list[tuple[str, float, int, str]]) -> None:
    files = dict(FILES)
    for path, place, cut, fragment in edits:
        data = files[path]
        at = int(place * len(data))
        files[path] = data[:at] + fragment.encode() + data[at + cut :]
    compiles_or_tells(files)


VALUES = st.recursive(
    st.sampled_from(["x", "1", "acme", "one", "fra", "+49", "true", "2s", "10%", "", "off", "udp:127.0.0.1", "sip:127.0.0.1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "sbc_pair", "bind", "group", "uri"]), inner, max_size=3)
    ),
    max_leaves=4,
)
EDGE_KEYS = ("listen", "sites", "trunks", "sbc_pairs", "tenants", "limits", "nodes", "tls", "defaults", "x")
PLAN_KEYS = ("continuity_groups", "entry_points", "number_files", "tests", "defaults", "overlays", "x")
KEYS = [*((EDGE, key) for key in EDGE_KEYS), *((PLAN, key) for key in PLAN_KEYS)]


@given(st.sampled_from(KEYS), VALUES, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_compiles_or_is_told(place: tuple[str, str], value: object, named: bool) -> None:
    path, key = place
    text = _flow({"name": value} if named else value)
    lines = FILES[path].decode().splitlines(keepends=True)
    keep = [line for line in lines if not line.startswith(f"{key}:")]
    compiles_or_tells({**FILES, path: "".join(keep).encode(), path.replace(".yaml", "2.yaml"): f"{key}: {text}\n".encode()})


def _flow(value: object) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return f'"{value}"'
