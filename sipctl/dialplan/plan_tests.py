"""The plan's own tests: each call is routed by the very `resolve` the routers use, in the state the test assumes (settled.py).

Tests that assume the same state share one snapshot; then a test costs a look-up. No clock is read: a test whose answer depends on
opening hours says when it calls, or it is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sipctl.dialplan.calendars import unix_s_of
from sipctl.dialplan.check_tests import sole_zone
from sipctl.dialplan.load import Draft
from sipctl.dialplan.regression import Row
from sipctl.dialplan.report import Mark, Report
from sipctl.dialplan.settled import STAND_IN_ID, Given, settled
from sipctl.model.numbers import strip_separators
from sipctl.model.plan import ExpectModel, GivenModel, RefusedModel, TestModel
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.leaves import Leaves, what_leaves
from sipctl.routing.live import Live
from sipctl.routing.resolve import NoRoute, Route, WallTimeNeededError, resolve
from sipctl.routing.select import arrange
from sipctl.routing.table import Table

__all__ = ["STAND_IN_ID", "Given", "Heard", "ask_all", "run_tests", "settled"]

MAX_STATES_KEPT: Final = 64  # snapshots of assumed states; beyond it they are made anew
_SHARE_KEY: Final = b"anonymous"


@dataclass(frozen=True, slots=True)
class Heard:
    """One test, and what its call met."""

    test: TestModel
    row: Row | None  # of a file of tests; None: `at` is its place in `tests`
    at: int
    snapshot: RoutingSnapshot
    live: Live
    trunk: int
    called: str  # as the trunk writes it
    answer: Route | NoRoute | None  # None: it depends on the time, and the test does not say when


def run_tests(draft: Draft, table: Table, report: Report) -> None:
    """Every test of the plan; a finding at its line for each expectation that is not met."""
    for heard in ask_all(draft, table):
        if heard.answer is None:
            message = f"{heard.test.name}: the answer depends on opening hours, and the test does not say when it calls"
            hint = 'add at: "2026-12-24 10:00 Europe/Berlin"'
            report.add("test.needs-at", _mark(draft, heard), message, hint)
            continue
        for key, message in _misses(heard, heard.answer, heard.test.expect):
            report.add("test.failed", _mark(draft, heard, "expect", key), f"{heard.test.name}: {message}", _why(heard.answer))


def ask_all(draft: Draft, table: Table) -> Iterator[Heard]:
    """Each test with its answer, those of the YAML files first."""
    trunks = {trunk.name: index for index, trunk in enumerate(table.topology.trunks)}
    zone = sole_zone(draft)
    states: dict[str, tuple[RoutingSnapshot, Live]] = {}
    tests: list[tuple[int, TestModel, Row | None]] = [(at, test, None) for at, test in draft.tests]
    tests += [(at, row.test, row) for at, row in enumerate(draft.rows)]
    for at, test, row in tests:
        snapshot, live = _state(table, test.given, states)
        trunk = trunks[test.trunk] if test.trunk else 0
        called = test.call if snapshot.trunks[trunk].called_format == "exact" else strip_separators(test.call)
        share_key = (test.from_ or "").encode() or _SHARE_KEY
        unix_s = None
        if test.at is not None:
            unix_s = unix_s_of(test.at, zone)
            assert unix_s is not None, "check_tests asked for a time somebody can tell"
        answer: Route | NoRoute | None
        try:
            answer = resolve(snapshot, live, trunk, called, None, share_key, 0.0, False, unix_s)
        except WallTimeNeededError:
            answer = None
        yield Heard(test, row, at, snapshot, live, trunk, called, answer)


def given_of(model: GivenModel) -> Given:
    """What a test assumes, as `settled` reads it."""
    return Given(model.tenants, model.sbcs, model.groups, model.overlays, model.switches, model.calls)


def _state(table: Table, model: GivenModel, states: dict[str, tuple[RoutingSnapshot, Live]]) -> tuple[RoutingSnapshot, Live]:
    given = given_of(model)
    key = repr(given)
    state = states.get(key)
    if state is None:
        if len(states) >= MAX_STATES_KEPT:
            states.clear()
        state = states[key] = settled(table, given)
    return state


def _mark(draft: Draft, heard: Heard, *keys: str) -> Mark:
    if heard.row is not None:
        return heard.row.mark(keys[-1] if keys else "call")
    return draft.mark("tests", heard.at, *keys) if keys else draft.mark("tests", heard.at, "call")


def _why(answer: Route | NoRoute) -> str:
    return answer.why() if isinstance(answer, Route) else f"{answer.status}: {answer.reason}"


def _misses(heard: Heard, answer: Route | NoRoute, expect: ExpectModel) -> list[tuple[str, str]]:
    """(key of expect, what is wrong) for each expectation that is not met."""
    wanted = expect.refused
    snapshot = heard.snapshot
    if isinstance(answer, NoRoute):
        if not isinstance(wanted, RefusedModel):
            key = "refused" if wanted is False else next(iter(expect.model_fields_set), "refused")
            return [(key, f"the call is refused with {answer.status}")]
        place = None if answer.entry_point is None else snapshot.entry_points[answer.entry_point].name
        found = [("code", wanted.code, answer.status), ("cause", wanted.cause, answer.cause)]
        misses = [
            ("refused", f"the call is refused with {name} {is_}, not {want}")
            for name, want, is_ in found
            if want not in (None, is_)
        ]
        if expect.entry_point not in (None, place):
            misses.append(("entry_point", f"entry_point is {place or 'none'}, not {expect.entry_point}"))
        return misses
    if isinstance(wanted, RefusedModel):
        return [("refused", "the call is not refused")]
    attempts = arrange(answer, heard.live, 0.0).targets
    first = attempts[0][0]
    tenant = snapshot.tenants[first.tenant].name
    told: list[tuple[str, object, object]] = [
        ("entry_point", expect.entry_point, snapshot.entry_points[answer.entry_point].name),
        ("group", expect.group, snapshot.groups[answer.group].name if answer.stand_in < 0 else "none"),
        ("tenant", expect.tenant, tenant),
        ("sbc_pair", expect.sbc_pair, snapshot.pairs[snapshot.sbcs[first.sbc].pair].name),
        ("exit", expect.exit and f"exit:{expect.exit}", tenant),
        ("called", expect.called and strip_separators(expect.called), first.called_prefix + answer.called[first.side]),
        ("sbcs", expect.sbcs, tuple(snapshot.sbcs[target.sbc].name for target, _ in attempts)),
    ]
    misses = [(key, f"{key} is {_text(is_)}, not {_text(want)}") for key, want, is_ in told if want is not None and want != is_]
    if expect.headers:
        misses += _header_misses(what_leaves(snapshot, answer, first, heard.test.from_), expect.headers)
    return misses


def _header_misses(leaves: Leaves, wanted: Mapping[str, str | bool]) -> list[tuple[str, str]]:
    misses = []
    for name, want in wanted.items():
        values = leaves.values(name)
        if want is False and values:
            misses.append(("headers", f"header {name} is {_text(values)}, and must not be there"))
        elif want is not False and want not in values:
            misses.append(("headers", f"header {name} is {_text(values) if values else 'not there'}, not {want}"))
    return misses


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value).removeprefix("exit:")
