"""What a plan becomes: precedence, private scopes, ids, determinism, the example; resolve against a slow obvious reference."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.dialplan.build import FIRST_DNS_SBC_ID
from sipctl.dialplan.compile import Compiled, compile_plan
from sipctl.dialplan.flatten import Block, block_clashes, flatten, in_order, subtract, winners
from sipctl.dialplan.plan_tests import Given, settled
from sipctl.model.numbers import NumberError, read_number
from sipctl.routing.resolve import NoRoute, Route, resolve
from sipctl.routing.select import arrange
from sipctl.routing.snapshot import Topology
from sipctl.routing.table import load_table
from tests.dialplan.support import PLAN, SOUND, plan

ROOT = Path(__file__).parent.parent.parent


def topology(result: Compiled) -> Topology:
    assert result.topology is not None, result.findings
    return result.topology


def entry_of(result: Compiled, number: str, trunk: int = 0) -> str | None:
    snapshot, live = settled(load_table(result.image), Given())
    answer = resolve(snapshot, live, trunk, number, None, b"x", 0.0)
    return None if isinstance(answer, NoRoute) else snapshot.entry_points[answer.entry_point].name


# -- precedence ----------------------------------------------------------------------------------------------------------------

LAYERS = """\
continuity_groups: {acme: {primary: prod, bcp: bcp, failover: manual}}
entry_points:
  exact: {group: acme, numbers: ["+4930500"]}
  range: {group: acme, numbers: ["+4930490..+4930510"]}
  narrow: {group: acme, numbers: ["+49304XX", "+49305XX"]}
  wide: {group: acme, numbers: ["+4930XXX"], except: ["+4930777", "+493079X"]}
  all: {group: acme, numbers: ["+49."]}
"""


@pytest.mark.parametrize(
    ("number", "entry"),
    [
        ("+4930500", "exact"),
        ("+4930499", "range"),
        ("+4930501", "range"),
        ("+4930490", "range"),
        ("+4930489", "narrow"),
        ("+4930511", "narrow"),
        ("+4930600", "wide"),
        ("+4930776", "wide"),
        ("+4930777", "all"),
        ("+4930790", "all"),
        ("+4930799", "all"),
        ("+4930800", "wide"),
        ("+493050", "all"),
        ("+49305000", "all"),
        ("+49", "all"),
        ("+49" + "0" * 13, "all"),
        ("+4", None),
        ("+48999", None),
        ("+50", None),
    ],
)
def test_exact_before_range_before_pattern_with_more_fixed_digits(number: str, entry: str | None) -> None:
    result = compile_plan(plan(files={PLAN: LAYERS}), {}, revision=1)
    assert [finding.code for finding in result.findings] == []
    assert entry_of(result, number) == entry


# -- the same against a reference ------------------------------------------------------------------------------------------------

DIGITS = st.text("0123", min_size=1, max_size=3)
EXPRESSIONS = st.one_of(
    DIGITS.map(lambda text: "+1" + text),
    st.tuples(st.integers(0, 333), st.integers(0, 333)).map(lambda ends: f"+1{min(ends):03}..+1{max(ends):03}"),
    st.tuples(
        st.lists(st.sampled_from(["0", "1", "2", "X", "N", "Z", "[1-3]", "[02]"]), min_size=1, max_size=4), st.booleans()
    ).map(lambda parts: "+1" + "".join(parts[0]) + "." * parts[1]),
)
_SETS = {"X": "[0-9]", "N": "[2-9]", "Z": "[1-9]"}


def matches(expression: str, number: str) -> tuple[int, bool]:
    """(precedence, whether it matches): the obvious way, by regular expression and string comparison."""
    if ".." in expression:
        low, high = expression.split("..")
        return 100, len(number) == len(low) and low <= number <= high
    if re.fullmatch(r"\+\d+", expression):
        return 1000, number == expression
    body = expression[1:]
    open_ended = body.endswith(".")
    pattern = "".join(_SETS.get(char, char) for char in body.rstrip("."))
    fixed = sum(char.isdigit() for char in re.sub(r"\[[^]]*\]", "", body))
    return fixed, re.fullmatch(r"\+" + pattern + (r"\d*" if open_ended else ""), number) is not None and len(number) <= 16


def reference(numbers: dict[str, list[str]], number: str) -> set[str]:
    """Entry points whose expressions match with the highest precedence."""
    found = [
        (precedence, entry)
        for entry, expressions in numbers.items()
        for precedence, hit in (matches(expression, number) for expression in expressions)
        if hit
    ]
    best = max((precedence for precedence, _ in found), default=0)
    return {entry for precedence, entry in found if precedence == best}


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.lists(EXPRESSIONS, min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.text("0123459", min_size=0, max_size=5), max_size=10),
)
@settings(max_examples=150, deadline=None)
def test_resolve_equals_the_obvious_reference_on_random_and_boundary_numbers(
    numbers: dict[str, list[str]], more: list[str]
) -> None:
    entries = "".join(f"  {name}: {{group: acme, numbers: {list(texts)}}}\n" for name, texts in numbers.items())
    head = "continuity_groups: {acme: {primary: prod, bcp: bcp, failover: manual}}\nentry_points:\n"
    result = compile_plan(plan(files={PLAN: head + entries}), {}, revision=1)
    tried = {"+1" + text for text in more}
    for expression in (text for texts in numbers.values() for text in texts):
        for low, high in read_number(expression).intervals[:20]:
            tried |= {f"+{str(key)[1:]}" for key in (low, low - 1, low + 1, high, high - 1, high + 1) if key > 10}
    clash = any(len(reference(numbers, number)) > 1 for number in tried)
    if not result.image:
        errors = {finding.code for finding in result.findings if finding.severity == "error"}
        assert errors <= {"number.duplicate", "number.overlap"}
        return
    assert not clash
    snapshot, live = settled(load_table(result.image), Given())
    for number in tried:
        answer = resolve(snapshot, live, 0, number, None, b"x", 0.0)
        wanted = reference(numbers, number) if 2 <= len(number) <= 16 and number[1] != "0" else set()
        got = {snapshot.entry_points[answer.entry_point].name} if isinstance(answer, Route) else set()
        assert got == wanted, number


BLOCKS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20), st.integers(1, 3), st.integers(0, 5)).map(
        lambda parts: Block(parts[0], parts[0] + parts[1], parts[2], parts[3], parts[3])
    ),
    max_size=8,
)


@given(BLOCKS, st.sets(st.integers(0, 90), max_size=12))
@settings(deadline=None)
def test_flattening_equals_asking_for_each_key(blocks: list[Block], exact: set[int]) -> None:
    keys = sorted(exact, key=lambda key: key * 7 % 91)
    rows = flatten(keys, [100 + key for key in keys], in_order(keys), blocks)
    by_key = {
        key: treatment
        for first, last, treatment in zip(rows.first, rows.last, rows.treatment, strict=True)
        for key in range(first, last + 1)
    }
    assert list(rows.first) == sorted(rows.first)
    assert all(last < first for last, first in zip(rows.last, list(rows.first)[1:], strict=False))
    clashing = bool(list(block_clashes(blocks)))
    for key in range(95):
        over = [block for block in blocks if block.first <= key <= block.last]
        if key in exact:
            assert by_key[key] == 100 + key
        elif not over:
            assert key not in by_key
        elif not clashing:
            assert by_key[key] == max(over, key=lambda block: block.precedence).treatment
    overlapping = any(
        one.precedence == other.precedence and one.first <= other.last and other.first <= one.last
        for at, one in enumerate(blocks)
        for other in blocks[at + 1 :]
    )
    assert clashing == overlapping


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=5),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=5),
)
def test_subtracting_holes_leaves_exactly_the_rest(intervals: list[tuple[int, int]], holes: list[tuple[int, int]]) -> None:
    def keys(spans: list[tuple[int, int]]) -> set[int]:
        return {key for low, high in spans for key in range(low, high + 1)}

    whole, gone = [(low, low + size) for low, size in intervals], [(low, low + size) for low, size in holes]
    assert keys(subtract(whole, gone)) == keys(whole) - keys(gone)


def test_winners_of_nothing_are_none() -> None:
    assert list(winners([])) == []


@given(st.text("0123456789XNZ[]-.+", max_size=12))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_expression_or_an_error_with_code_and_intervals_stay_in_order(text: str) -> None:
    try:
        number = read_number(text)
    except NumberError as error:
        assert error.code in ("number.bad", "number.too-wide", "csv.spreadsheet")
        return
    assert all(low <= high for low, high in number.intervals)
    ordered = sorted(number.intervals)
    assert all(one[1] < other[0] for one, other in pairwise(ordered))
    assert all(len(str(low)) == len(str(high)) <= 19 for low, high in number.intervals)


# -- topology --------------------------------------------------------------------------------------------------------------------


def test_ids_stay_with_their_names_and_are_never_given_again() -> None:
    first = compile_plan(plan(), {}, revision=1)
    swapped = plan(("fra-a: {uri", "new-a: {uri"), ("  - name: sales goes to the primary\n", "  - name: sales\n"))
    second = compile_plan(swapped, first.ids, revision=2)
    third = compile_plan(plan(), second.ids, revision=3)
    assert first.ids["sbc"] == {"fra-a": 1, "fra-b": 2, "ams-a": 3, "ams-b": 4}
    assert second.ids["sbc"] == {**first.ids["sbc"], "new-a": 5}
    assert third.ids == second.ids
    assert [int(sbc.id) for sbc in topology(third).sbcs] == [1, 2, 3, 4]


def test_plan_ids_keep_clear_of_those_dns_gives() -> None:
    result = compile_plan(plan(), {"sbc": {"fra/10.0.0.1:5060": FIRST_DNS_SBC_ID + 7}}, revision=1)
    assert result.ids["sbc"]["fra-a"] == 1


def test_faulty_plan_takes_no_ids() -> None:
    ids = {"sbc": {"x": 9}}
    assert compile_plan(plan(("bcp: bcp", "bcp: bccp")), ids, revision=1).ids == ids


def test_same_files_give_the_same_image() -> None:
    one, other = compile_plan(plan(), {}, revision=1), compile_plan(dict(reversed(plan().items())), {}, revision=1)
    assert one.image == other.image


def test_values_reach_the_topology() -> None:
    rich = """\
listen:
  out: {bind: ["udp:0.0.0.0:5060", "tcp:203.0.113.9"], advertise: ["203.0.113.9:5070", sip.example.net], dscp: ef}
  in: {bind: "udp:[2001:db8::9]:5060", dscp: "26"}
sites: {fra: {fallback: ams}, ams: {}}
defaults:
  trunks: {max_cps: 7, match: {tgrp: x}}
  sbc_pairs: {probe: {interval: 4s, fall: 2}, no_reply: 700ms}
trunks:
  one: {site: ams, listen: [out], sources: 198.51.100.7, match: {uri_host: A.Example, header: {X-Trunk: two}},
        called_from: "header:X-DNIS", called_format: national, country: DE,
        trust: [P-Asserted-Identity], exhausted: "480", overlap: "true", priority: [ETS]}
  two: {site: fra, sources: ["2001:db8::/64"], max_cps: 9, country: US}
sbc_pairs:
  p: {site: fra, listen: out, strategy: load-share, shared_dialogs: true, in_dialog: symmetric, advance_on: [503, 580-582],
      sbcs: {b: {uri: "sip:10.0.0.2", priority: 9}, a: {uri: "sip:10.0.0.1;transport=tcp", weight: 3, max_calls: 5}},
      probe: {fall: 9, replies: {404: failed}}, sources: [10.0.0.0/24]}
  q: {site: ams, srv: "sip:edge.example.net;transport=udp", expect: 2, probe: off}
  n: {site: ams, redundancy: virtual-ip, sbcs: {named: {uri: "sip:Edge.Example:5080"}}}
tenants:
  prod:
    reached_by: [p, {sbc_pair: n, port: 5071, host: acme.example, tgrp: t, trunk_context: c.example, called_prefix: "9"}]
    max_calls: 50
  bcp: {reached_by: q}
limits: {max_call_age: 1d}
"""
    result = compile_plan({"sbc_configs/a.yaml": rich.encode(), "dialplans/a.yaml": LAYERS.encode()}, {}, revision=4, node="n1")
    assert {finding.code for finding in result.findings} == {"trunk.loop", "pair.family", "probe.slow"}
    made = topology(result)
    assert (made.revision, made.node, made.max_call_age_s) == (4, "n1", 86400.0)
    assert [(listen.name, listen.host, listen.port) for listen in made.listens] == [
        ("out/udp", "0.0.0.0", 5060), ("out/tcp", "203.0.113.9", 5060), ("in", "2001:db8::9", 5060),
    ]  # fmt: skip
    assert [(listen.advertise_host, listen.advertise_port, listen.dscp) for listen in made.listens] == [
        ("203.0.113.9", 5070, 46), ("sip.example.net", 5060, 46), ("2001:db8::9", 5060, 26),
    ]  # fmt: skip
    one, two = made.trunks
    assert (one.site, one.listens, one.sources, one.max_cps, one.exhausted, one.overlap) == (
        1,
        (0, 1),
        ("198.51.100.7/32",),
        7,
        480,
        True,
    )
    assert (one.match.uri_host, one.match.tgrp, one.match.header) == ("a.example", "x", (("x-trunk", "two"),))
    assert (one.called_from, one.country_code, one.national_prefix, one.priority) == ("header:x-dnis", "49", "0", ("ets",))
    assert one.trust == ("p-asserted-identity",)
    assert (two.max_cps, two.country_code, two.national_prefix, two.listens) == (9, "1", "1", (0, 1, 2))
    p, q, n = made.pairs
    assert [made.sbcs[sbc].name for sbc in p.sbcs] == ["a", "b"]
    assert (made.sbcs[0].listen, made.sbcs[0].transport, made.sbcs[0].weight, made.sbcs[1].listen) == (1, "tcp", 3, 0)
    assert p.probe is not None and (p.probe.interval_s, p.probe.fall, p.probe.replies) == (4.0, 9, ((404, "failed"),))
    assert (p.no_reply_s, p.advance_on, p.advance_on_no_reply) == (0.7, frozenset({503, 580, 581, 582}), False)
    assert p.shared_dialogs and p.symmetric and p.strategy == "load-share"
    assert (q.srv, q.expect, q.probe, q.sbcs) == ("sip:edge.example.net;transport=udp", 2, None, ())
    assert (made.sbcs[2].host, made.sbcs[2].uri_host, made.sbcs[2].port, n.redundancy) == ("", "edge.example", 5080, "virtual-ip")
    reach = made.tenants[0].reached_by[1]
    assert (reach.port, reach.host, reach.tgrp, reach.trunk_context, reach.called_prefix) == (
        5071,
        "acme.example",
        "t",
        "c.example",
        "9",
    )
    assert (made.groups[0].failover, made.groups[0].advance_across) == ("manual", "never")


@pytest.mark.parametrize(("failover", "policy"), [("automatic", "to-bcp"), ("manual", "never")])
def test_default_of_advance_across_follows_failover(failover: str, policy: str) -> None:
    result = compile_plan(plan(("failover: automatic", f"failover: {failover}")), {}, revision=1)
    assert topology(result).groups[0].advance_across == policy


def test_private_numbers_belong_to_the_trunks_that_are_named() -> None:
    edge = SOUND["sbc_configs/edge.yaml"].replace("  pbx: {", "  pbx2: {sources: [192.0.2.2], called_format: exact}\n  pbx: {")
    result = compile_plan(plan(files={"sbc_configs/edge.yaml": edge}), {}, revision=1)
    assert result.findings == ()
    trunks = {trunk.name: index for index, trunk in enumerate(topology(result).trunks)}
    assert entry_of(result, "5501", trunks["pbx"]) == "support"
    assert entry_of(result, "5501", trunks["pbx2"]) is None
    assert entry_of(result, "5501", trunks["one"]) is None
    assert entry_of(result, "+4930901900", trunks["pbx"]) == "support"


# -- the plan's own tests --------------------------------------------------------------------------------------------------------


def states(**given: Any) -> tuple[str, list[str]]:
    """(tenant, SBCs tried) for the sound plan's sales number."""
    result = compile_plan(plan(), {}, revision=1)
    snapshot, live = settled(load_table(result.image), Given(**given))
    route = resolve(snapshot, live, 0, "+4930901820", None, b"x", 0.0)
    assert isinstance(route, Route)
    return snapshot.tenants[route.tenant].name, [
        snapshot.sbcs[target.sbc].name for target, _ in arrange(route, live, 0.0).targets
    ]


def test_settled_state_is_what_failover_would_have_made_of_it() -> None:
    assert states() == ("prod", ["fra-a", "fra-b", "ams-a", "ams-b"])
    assert states(tenants={"prod": "out-of-service"}) == ("bcp", ["ams-a", "ams-b"])
    assert states(sbcs={"fra-a": "out-of-service", "fra-b": "out-of-service"}) == ("bcp", ["ams-a", "ams-b"])
    assert states(sbcs={"fra-a": "out-of-service"}) == ("prod", ["fra-b", "ams-a", "ams-b"])
    assert states(sbcs={"fra-a": "unknown"}) == ("prod", ["fra-b", "fra-a", "ams-a", "ams-b"])
    assert states(groups={"acme": "on-bcp"}) == ("bcp", ["ams-a", "ams-b"])
    assert states(tenants={"prod": "draining"}) == ("prod", ["ams-a", "ams-b"])
    both = {"prod": "out-of-service", "bcp": "out-of-service"}
    assert states(tenants=both) == ("prod", ["fra-a", "fra-b", "ams-a", "ams-b"])


def test_failed_test_keeps_the_image_and_can_be_left_out() -> None:
    files = plan(("tenant: prod}", "tenant: bcp}"))
    result = compile_plan(files, {}, revision=1)
    assert [finding.code for finding in result.findings] == ["test.failed"]
    assert result.image and not result.is_applicable
    assert "tenant is prod, not bcp" in result.findings[0].message
    assert compile_plan(files, {}, revision=1, tests=False).is_applicable


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("{refused: 404}", "the call is not refused"),
        ('{called: "+49"}', "called is +4930901820, not +49"),
        ("{sbcs: [fra-b]}", "sbcs is fra-a, fra-b, ams-a, ams-b, not fra-b"),
        ("{sbcs: [fra-a, fra-b, ams-a, ams-b], refused: false}", ""),
    ],
)
def test_each_expectation_is_compared(expect: str, message: str) -> None:
    result = compile_plan(plan(("{entry_point: sales, tenant: prod}", expect)), {}, revision=1)
    assert [finding.message.partition(": ")[2] for finding in result.findings] == ([message] if message else [])


@pytest.mark.parametrize(
    ("expect", "passes"),
    [("{refused: 404}", True), ("{refused: true}", True), ("{refused: 486}", False), ("{tenant: prod}", False)],
)
def test_refused_calls_are_compared_too(expect: str, passes: bool) -> None:
    swaps = (("{entry_point: sales, tenant: prod}", expect), ('    call: "+4930901820"', '    call: "+4999"'))
    assert compile_plan(plan(*swaps), {}, revision=1).is_applicable is passes


def test_srv_pair_is_stood_for_in_tests() -> None:
    sbcs = '    sbcs:\n      ams-a: {uri: "sip:10.5.1.11:5060"}\n      ams-b: {uri: "sip:10.5.1.12:5060"}\n'
    swaps = (
        (sbcs, "    srv: sip:edge.example.net\n"),
        ("    trunk: one\n", "    trunk: one\n    given: {groups: {acme: on-bcp}}\n"),
        ("{entry_point: sales, tenant: prod}", "{tenant: bcp, sbcs: ams/srv}"),
    )
    assert compile_plan(plan(*swaps), {}, revision=1).findings == ()


# -- the repository's own plan ---------------------------------------------------------------------------------------------------


def test_the_example_is_clean_and_uses_loopback_addresses_only() -> None:
    files = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for folder in ("sbc_configs", "dialplans")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    result = compile_plan(files, {}, revision=1)
    assert result.findings == ()
    made = topology(result)
    assert len(made.sites) == len(made.trunks) == len(made.pairs) == len(made.tenants) == len(made.entry_points) == 2
    addresses = [listen.host for listen in made.listens] + [sbc.host for sbc in made.sbcs]
    addresses += [source for trunk in made.trunks for source in trunk.sources]
    assert all(address.startswith("127.") for address in addresses)
