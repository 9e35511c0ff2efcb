"""What is legal in a policy and still wrong: BCP tenants that fail with the primary, limits that never hold, tests of nothing."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from sipctl.dialplan.lint.secrets import secret_lines
from sipctl.dialplan.load import Draft
from sipctl.dialplan.report import Mark, Report
from sipctl.dialplan.source import MAX_YAML_BYTES
from sipctl.model.edge import PairModel
from sipctl.model.plan import EntryPointModel, GroupModel, TestModel

_BRANCHES: Final = frozenset({"schedule", "closed", "overflow", "unusable", "split"})  # calls may come from elsewhere


def lint_policy(draft: Draft, report: Report) -> None:
    """Every such check of groups, limits and tests, and a look for secrets in all files."""
    _lint_groups(draft, report)
    _lint_limits(draft, report)
    _lint_tests(draft, report)
    for path, data in draft.files.items():
        if path.endswith((".yaml", ".yml")) and len(data) <= MAX_YAML_BYTES:
            for line, column in secret_lines(data):
                message = "this looks like a secret: every revision keeps it, and many may read it"
                report.add("plan.secret", Mark(path, line, column), message, "change it at once, and keep it out of the plan")


# -- groups ----------------------------------------------------------------------------------------------------------------------


def _pairs_of(draft: Draft, tenant: str) -> dict[str, PairModel]:
    """The pairs that reach a tenant, as far as all is known; else none."""
    model = draft.tenants.get(tenant)
    names = [reach.sbc_pair for reach in model.reached_by] if model is not None else []
    return {name: draft.sbc_pairs[name] for name in names} if all(name in draft.sbc_pairs for name in names) else {}


def _lint_groups(draft: Draft, report: Report) -> None:
    for name, group in draft.continuity_groups.items():
        if "by" in group.approval.model_fields_set and group.approval.moves == "none":
            place = draft.mark("continuity_groups", name, "approval")
            message = f"{name} says who may approve its moves, and none of them needs approval"
            report.add("group.approval-unused", place, message, "moves: two-person, or leave approval out")
        if group.primary == group.bcp:
            continue
        primary, bcp = _pairs_of(draft, group.primary), _pairs_of(draft, group.bcp)
        if not primary or not bcp:
            continue
        if not set(primary) & set(bcp):
            if not report.has("sbc.same-address"):  # else told already
                _lint_hosts(draft, name, primary, bcp, report)
            _lint_sites(draft, name, primary, bcp, report)
        most, most_bcp = capacity(draft, group.primary), capacity(draft, group.bcp)
        if most is not None and most_bcp is not None and most_bcp < most:
            message = f"{group.bcp} takes {most_bcp} calls at once, {group.primary} {most}: the rest is refused after a failover"
            place = draft.mark("continuity_groups", name, "bcp")
            report.add("group.bcp-smaller", place, message, "raise its max_calls, or allow this if it is accepted")


def _lint_hosts(draft: Draft, name: str, primary: dict[str, PairModel], bcp: dict[str, PairModel], report: Report) -> None:
    hosts = [{model.uri.host for pair in pairs.values() for model in pair.sbcs.values()} for pairs in (primary, bcp)]
    both = ", ".join(sorted(hosts[0] & hosts[1]))
    if both:
        message = f"both tenants of group {name} have SBCs on {both}: one host takes both down"
        report.add("group.same-host", draft.mark("continuity_groups", name, "bcp"), message, "put them on other hosts")


def _lint_sites(draft: Draft, name: str, primary: dict[str, PairModel], bcp: dict[str, PairModel], report: Report) -> None:
    if len(draft.names("sites")) < 2:
        return  # who names no sites says nothing of where things stand
    sites = {pair.site for pairs in (primary, bcp) for pair in pairs.values()}
    site = next(iter(sites))
    if len(sites) == 1 and site is not None:
        message = f"all SBCs of both tenants of group {name} stand in {site}: losing the site loses both"
        hint = "reach the BCP tenant through another site, or allow this if there is none"
        report.add("group.same-site", draft.mark("continuity_groups", name, "bcp"), message, hint)


# -- limits ----------------------------------------------------------------------------------------------------------------------


def _room_of_sbcs(draft: Draft, tenant: str) -> int | None:
    """Calls at once that the SBCs of a tenant take; None if one has no limit, or only DNS knows them."""
    total = 0
    for pair in _pairs_of(draft, tenant).values():
        if not pair.sbcs:
            return None
        for sbc in pair.sbcs.values():
            if sbc.max_calls is None:
                return None
            total += sbc.max_calls
    return total or None


def capacity(draft: Draft, tenant: str) -> int | None:
    """Calls at once that a tenant takes, by its own limit and its SBCs'; None: no limit is known."""
    model = draft.tenants.get(tenant)
    limits = [limit for limit in (model.max_calls if model else None, _room_of_sbcs(draft, tenant)) if limit is not None]
    return min(limits, default=None)


def _lint_limits(draft: Draft, report: Report) -> None:
    for name, tenant in draft.tenants.items():
        room = _room_of_sbcs(draft, name)
        if tenant.max_calls is not None and room is not None and tenant.max_calls > room:
            message = f"{name} may have {tenant.max_calls} calls, its SBCs take {room} together"
            report.add("tenant.max-calls", draft.mark("tenants", name, "max_calls"), message, f"write {room} or less")
    rooms = {name: capacity(draft, group.primary) for name, group in draft.continuity_groups.items()}
    for name, entry in draft.entry_points.items():
        most = rooms.get(entry.group or "")
        if entry.max_calls is not None and most is not None and entry.max_calls > most:
            message = f"{name} may have {entry.max_calls} calls, its primary tenant takes {most}"
            report.add("entry.max-calls", draft.mark("entry_points", name, "max_calls"), message, f"write {most} or less")


# -- tests -----------------------------------------------------------------------------------------------------------------------


def _lint_tests(draft: Draft, report: Report) -> None:
    seen: dict[bytes, str] = {}
    branches = any(entry.model_fields_set & _BRANCHES for entry in draft.entry_points.values())
    for at, test in draft.tests:
        _lint_test(test, draft.mark("tests", at, "expect", at_key=True), draft.mark("tests", at, "name"), seen, report)
        entry = draft.entry_points.get(test.expect.entry_point or "")
        if entry is not None and not branches and not test.given.overlays and not test.given.switches:
            _lint_given(draft, at, test, entry, report)
    for row in draft.rows:
        _lint_test(row.test, row.mark(), row.mark(), seen, report)


def _lint_test(test: TestModel, expect: Mark, name: Mark, seen: dict[bytes, str], report: Report) -> None:
    """One test, wherever it is written; `seen` holds a digest of each question and its answer."""
    if not test.expect.model_fields_set:
        report.add("test.nothing", expect, f"the test {test.name!r} expects nothing", "say where the call must go")
    asked = repr((test.call, test.trunk, test.from_, test.at, test.given, test.expect))
    digest = blake2b(asked.encode(errors="replace"), digest_size=16).digest()
    if digest in seen:
        report.add("test.same", name, f"it asks and expects what {seen[digest]!r} does", "change or remove one")
    else:
        seen[digest] = test.name


def _lint_given(draft: Draft, at: int, test: TestModel, entry: EntryPointModel, report: Report) -> None:
    """States assumed of what the call's way does not touch."""
    group = draft.continuity_groups.get(entry.group or "")
    if group is None or not _pairs_of(draft, group.primary) or not _pairs_of(draft, group.bcp):
        return
    for part, names, touched in (
        ("tenants", test.given.tenants, {group.primary, group.bcp}),
        ("groups", test.given.groups, {entry.group}),
        ("sbcs", test.given.sbcs, _sbcs_of(draft, group)),
    ):
        known = _all_sbcs(draft) if part == "sbcs" else set(draft.names("continuity_groups" if part == "groups" else part))
        for name in names:
            if touched is not None and name in known and name not in touched:
                message = f"{name} has nothing to do with calls to {test.expect.entry_point}"
                hint = "name one of " + ", ".join(sorted(str(one) for one in touched))
                report.add("test.given-idle", draft.mark("tests", at, "given", part, name, at_key=True), message, hint)


def _all_sbcs(draft: Draft) -> set[str]:
    return {sbc for pair in draft.sbc_pairs.values() for sbc in pair.sbcs}


def _sbcs_of(draft: Draft, group: GroupModel) -> set[str | None] | None:
    """The SBCs of both tenants; None if only DNS knows them."""
    pairs = [*_pairs_of(draft, group.primary).values(), *_pairs_of(draft, group.bcp).values()]
    if any(pair.srv is not None for pair in pairs):
        return None
    return {sbc for pair in pairs for sbc in pair.sbcs}
