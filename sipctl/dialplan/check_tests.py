"""Checks of the plan's tests before they are run: names that exist, states that can be, a trunk where there are several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from sipctl.dialplan.calendars import unix_s_of
from sipctl.dialplan.load import Draft
from sipctl.dialplan.report import Mark, Report, did_you_mean
from sipctl.model.plan import TestModel

TENANT_STATES: Final = ("in-service", "out-of-service", "draining", "disabled")
SBC_STATES: Final = (*TENANT_STATES, "unknown")
GROUP_STATES: Final = ("normal", "on-bcp")

Place = Callable[[tuple[str, ...], bool], Mark]  # keys within the test, at the key itself → where they stand


def check_tests(draft: Draft, report: Report) -> None:
    """All tests, those of files too."""
    zone = sole_zone(draft)
    for at, test in draft.tests:
        _check_test(draft, report, zone, test, partial(_place_in_list, draft, at))
    for row in draft.rows:
        _check_test(draft, report, zone, row.test, lambda keys, _, row=row: row.mark(_column(keys)))  # type: ignore[misc]


def sole_zone(draft: Draft) -> str:
    """The zone of all schedules, for times that name none; "" if they differ or there are none."""
    zones = {schedule.zone for schedule in draft.schedules.values()}
    return zones.pop() if len(zones) == 1 else ""


def _place_in_list(draft: Draft, at: int, keys: tuple[str, ...], at_key: bool) -> Mark:
    return draft.mark("tests", at, *keys, at_key=at_key)


def _column(keys: tuple[str, ...]) -> str:
    return "call" if not keys else keys[0] if keys[0] == "given" else keys[-1]


def _check_test(draft: Draft, report: Report, zone: str, test: TestModel, place: Place) -> None:
    expect, given = test.expect, test.given

    def known(section: str, kind: str, name: str | None, keys: tuple[str, ...], at_key: bool = False) -> None:
        names = draft.names(section)
        if name is not None and name not in names:
            report.add("plan.unknown-name", place(keys, at_key), f"no {kind} is called {name}", did_you_mean(name, names))

    known("trunks", "trunk", test.trunk, ("trunk",))
    known("entry_points", "entry point", expect.entry_point, ("expect", "entry_point"))
    known("continuity_groups", "continuity group", expect.group, ("expect", "group"))
    known("exits", "exit", expect.exit, ("expect", "exit"))
    known("tenants", "tenant", expect.tenant, ("expect", "tenant"))
    known("sbc_pairs", "SBC pair", expect.sbc_pair, ("expect", "sbc_pair"))
    for section, kind, names in (("overlays", "overlay", given.overlays), ("switches", "kill switch", given.switches)):
        for name in names:
            known(section, kind, name, ("given", section))
    if test.at is not None and unix_s_of(test.at, zone) is None:
        hint = 'write "2026-12-24 10:00 Europe/Berlin" or "2026-12-24T10:00+01:00"'
        report.add("test.at", place(("at",), False), f"{test.name}: no clock shows this, or its zone is not said", hint)
    if test.trunk is None and len(draft.names("trunks")) > 1:
        hint = "add trunk: " + " or ".join(draft.names("trunks"))
        report.add("test.trunk", place((), False), f"the test {test.name!r} names no trunk", hint)
    for name in given.tenants:
        known("tenants", "tenant", name, ("given", "tenants", name), True)
    for name in given.groups:
        known("continuity_groups", "group", name, ("given", "groups", name), True)
    _check_sbcs(draft, report, given.sbcs, place)
    counted = {*draft.names("entry_points"), *draft.names("tenants"), *draft.names("trunks")}
    counted |= {f"exit:{name}" for name in draft.names("exits")}
    for name in given.calls:
        if name not in counted:
            message = f"no entry point, tenant, trunk or exit:NAME is called {name}"
            report.add("plan.unknown-name", place(("given", "calls", name), True), message, did_you_mean(name, counted))
    for part, kind, states, choices in (
        ("tenants", "tenant", given.tenants, TENANT_STATES),
        ("groups", "group", given.groups, GROUP_STATES),
        ("sbcs", "SBC", given.sbcs, SBC_STATES),
    ):
        for name, state in states.items():
            if state not in choices:
                hint = did_you_mean(state, choices)
                report.add("test.given", place(("given", part, name), False), f"{state} is no state of a {kind}", hint)


def _check_sbcs(draft: Draft, report: Report, names: Iterable[str], place: Place) -> None:
    """SBCs of an SRV pair are known to DNS alone, so a plan with one may name any."""
    known = {sbc for pair in draft.sbc_pairs.values() for sbc in pair.sbcs}
    has_srv = any(pair.srv is not None for pair in draft.sbc_pairs.values())
    for name in names:
        if name not in known and not has_srv and len(draft.sbc_pairs) == len(draft.names("sbc_pairs")):
            hint = did_you_mean(name, known)
            report.add("plan.unknown-name", place(("given", "sbcs", name), True), f"no SBC is called {name}", hint)
