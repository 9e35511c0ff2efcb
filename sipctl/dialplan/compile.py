"""Files in, findings and a table image out: the whole way of a plan, pure.

    files → load (YAML, models) → check (names, addresses) → numbers (expressions, CSV, precedence) → build (ids) → image → tests

The same files and ids give the same image, byte for byte.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sipctl.dialplan.build import Builder, IdBook, Ids
from sipctl.dialplan.check import check
from sipctl.dialplan.check_tests import check_tests
from sipctl.dialplan.check_treatments import check_treatments, check_ways_back
from sipctl.dialplan.flatten import Clash, block_clashes, exact_clashes, flatten
from sipctl.dialplan.inventory import Inventory, read_dial, read_text
from sipctl.dialplan.lint.numbers import lint_numbers
from sipctl.dialplan.load import Draft, load
from sipctl.dialplan.number_files import read_number_file
from sipctl.dialplan.plan_tests import run_tests
from sipctl.dialplan.report import Mark, Report
from sipctl.dialplan.source import EDGE_FOLDER, PLAN_FOLDER, is_plan_file
from sipctl.errors import Finding
from sipctl.routing.numbers import Numbers, digits_of
from sipctl.routing.snapshot import Topology
from sipctl.routing.table import encode_table, load_table


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of a plan."""

    image: bytes  # b"" if anything but its tests is wrong
    topology: Topology | None
    ids: dict[str, dict[str, int]]  # to be kept for the next compilation; unchanged if the plan is wrong
    findings: tuple[Finding, ...]
    numbers: int = 0  # intervals in the table
    expressions: int = 0  # numbers, ranges and patterns as written
    allowed: int = 0  # findings that comments in the plan let stand

    @property
    def is_applicable(self) -> bool:
        """Whether nothing, tests included, stands against it."""
        return bool(self.image) and not any(finding.severity == "error" for finding in self.findings)


def compile_plan(
    files: Mapping[str, bytes],
    ids: Ids,
    *,
    revision: int,
    node: str | None = None,
    tests: bool = True,
    today: date | None = None,
) -> Compiled:
    """Check and compile a whole plan.

    Args:
        files: path relative to DIR, with "/" (`sbc_configs/…`, `dialplans/…`) → content.
        ids: numeric ids given so far, as `Compiled.ids` of the last compilation.
        tests: run the plan's own tests; failed ones are findings (`test.failed`) that leave the image in place.
        today: so that what is near its end can be told (public holidays); the image does not depend on it.
    Returns: every finding, errors and warnings, by place; and the image if there is no error besides failed tests.
    Cost: about 3 µs a number from CSV.
    """
    report = Report(files)
    kept = {kind: dict(names) for kind, names in ids.items()}
    draft = load(files, report)
    check(draft, report)
    check_treatments(draft, report, today)
    check_tests(draft, report)
    inventory, scope_of_trunk = _gather(draft, report)
    _check_numbers(draft, inventory, report)
    lint_numbers(draft, inventory, report)
    _report_ignored(draft, inventory, report)
    expressions = sum(inventory.counts)
    if report.has_errors:
        return Compiled(b"", None, kept, report.findings(), 0, expressions, report.allowed)
    book = IdBook(ids, report)
    topology = Builder(draft, book).topology(revision, node)
    if report.has_errors:
        return Compiled(b"", None, kept, report.findings(), 0, expressions, report.allowed)
    numbers = _lay_out(inventory, scope_of_trunk)
    check_ways_back(draft, numbers, report)
    if report.has_errors:
        return Compiled(b"", None, kept, report.findings(), 0, expressions, report.allowed)
    image = encode_table(topology, numbers)
    report.are_tests_run = tests
    if tests and (draft.tests or draft.rows):
        run_tests(draft, load_table(image), report)
        if report.has_errors:  # of a test that cannot be judged
            return Compiled(b"", None, kept, report.findings(), 0, expressions, report.allowed)
    return Compiled(image, topology, book.ids, report.findings(), len(numbers), expressions, report.allowed)


def numbers_of(files: Mapping[str, bytes], report: Report) -> tuple[Draft, Inventory]:
    """Every number of a plan with the place it stands in, whether the plan compiles or not; findings are for `compile_plan`."""
    draft = load(files, report)
    return draft, _gather(draft, report)[0]


def _gather(draft: Draft, report: Report) -> tuple[Inventory, tuple[int, ...]]:
    """Every number of entry points and files, and the private scope of each trunk (-1: none)."""
    names = draft.names("entry_points")
    index = {name: at for at, name in enumerate(names)}
    scope_of_trunk, scopes_of, scopes = _private_scopes(draft, names)
    holes = [_holes(draft, name, report) for name in names]
    inventory = Inventory(scopes, scopes_of, holes, report)
    for name, entry in draft.entry_points.items():
        primary = read_dial(entry.called_at.primary, draft.mark("entry_points", name, "called_at", "primary"), report)
        bcp = read_dial(entry.called_at.bcp, draft.mark("entry_points", name, "called_at", "bcp"), report)
        for at, text in enumerate(entry.numbers):
            mark = draft.mark("entry_points", name, "numbers", at)
            number = read_text(text, mark, report)
            if number is not None:
                inventory.add(index[name], number, primary, bcp, lambda mark=mark: mark)  # type: ignore[misc]
    for at, item in draft.number_files:
        read_number_file(item, draft.mark("number_files", at, "file"), draft.files, index, draft.entry_points, inventory, report)
    return inventory, scope_of_trunk


def _report_ignored(draft: Draft, inventory: Inventory, report: Report) -> None:
    """YAML where no YAML is read, CSV that nobody names: a file one may take for part of the plan."""
    read = inventory.read_files | set(draft.test_files)
    for path in draft.files:
        folder = EDGE_FOLDER if path.startswith(EDGE_FOLDER) else PLAN_FOLDER
        hidden = any(part.startswith(".") for part in path.split("/"))
        if hidden or not path.startswith(folder):
            continue
        if path.endswith((".yaml", ".yml")) and not is_plan_file(path, folder):
            report.add("file.ignored", Mark(path), "sbc_configs has no subfolders: this file is not read", f"move it to {folder}")
        elif path.endswith(".csv") and path not in read:
            hint = "name it under number_files or tests_file, or remove it"
            report.add("file.ignored", Mark(path), "nothing names this file: it is not read", hint)


def _private_scopes(draft: Draft, names: tuple[str, ...]) -> tuple[tuple[int, ...], list[tuple[int, ...]], int]:
    """Scope of each trunk, scopes of each entry point, how many there are: trunks with the same entry points share one."""
    callers: dict[str, tuple[str, ...]] = {}
    for trunk, model in draft.trunks.items():
        if model.called_format == "exact":
            callers[trunk] = tuple(name for name, entry in draft.entry_points.items() if trunk in (entry.trunks or ()))
    numbered: dict[tuple[str, ...], int] = {}
    for entries in callers.values():
        if entries:
            numbered.setdefault(entries, len(numbered) + 1)
    unknown = len(numbered) + 1  # takes private numbers of entry points whose trunks did not read
    scopes_of: list[tuple[int, ...]] = []
    for name in names:
        entry = draft.entry_points.get(name)
        trunks = (entry.trunks or ()) if entry else ()
        scopes = {numbered[callers[trunk]] for trunk in trunks if trunk in callers}
        if any(trunk not in draft.trunks for trunk in trunks):
            scopes.add(unknown)
        scopes_of.append(tuple(sorted(scopes)))
    scope_of_trunk = tuple(numbered.get(callers.get(trunk, ()), -1) for trunk in draft.trunks)
    return scope_of_trunk, scopes_of, unknown + 1


def _holes(draft: Draft, name: str, report: Report) -> dict[bool, list[tuple[int, int]]]:
    """What an entry point's `except` takes away: E.164 (True) and private (False) intervals."""
    holes: dict[bool, list[tuple[int, int]]] = {}
    entry = draft.entry_points.get(name)
    for at, text in enumerate(entry.except_ if entry else ()):
        number = read_text(text, draft.mark("entry_points", name, "except", at), report)
        if number is not None:
            holes.setdefault(number.is_e164, []).extend(number.intervals)
    return holes


def _check_numbers(draft: Draft, inventory: Inventory, report: Report) -> None:
    for scope in inventory.scopes:
        for clash in exact_clashes(scope.keys, scope.origins, scope.order()):
            _report_clash(clash, inventory, report)
        for clash in block_clashes(scope.blocks):
            _report_clash(clash, inventory, report)
    for at, name in enumerate(draft.names("entry_points")):
        entry = draft.entry_points.get(name)
        if entry is None:
            continue
        if not inventory.counts[at]:
            place = draft.mark("entry_points", name, at_key=True)
            report.add("entry.no-numbers", place, f"entry point {name} has no number", "list some, or feed it from a number file")
        if entry.except_ and at not in inventory.used_holes:
            place = draft.mark("entry_points", name, "except")
            report.add(
                "except.unused", place, f"no number of {name} lies in its except", "remove it, or mend the block it belongs to"
            )


def _report_clash(clash: Clash, inventory: Inventory, report: Report) -> None:
    code = "number.duplicate" if clash.is_exact else "number.overlap"
    if report.is_full(code):
        report.drop(code)
        return
    first, second = inventory.mark(clash.one), inventory.mark(clash.other)
    if clash.is_exact:
        message = f"{digits_of(clash.key)} stands also in {first.path}:{first.line}"
        report.add(code, second, message, "remove one: the order of lines never decides")
    else:
        message = (
            f"this has the same precedence as {first.path}:{first.line}:{first.column}, and both hold {digits_of(clash.key)}"
        )
        report.add(code, second, message, "make one more precise, or use except")


def _lay_out(inventory: Inventory, scope_of_trunk: tuple[int, ...]) -> Numbers:
    """All scopes as rows behind each other, treatments as columns."""
    first, last, row = array("Q"), array("Q"), array("I")
    scopes: list[tuple[int, int]] = []
    for scope in inventory.scopes[:-1]:  # the last one held what had no trunk
        start = len(first)
        rows = flatten(scope.keys, scope.treatments, scope.order(), scope.blocks)
        first += rows.first
        last += rows.last
        row += rows.treatment
        scopes.append((start, len(first)))
    columns = inventory.columns
    return Numbers(
        first=first,
        last=last,
        row=row,
        entry_point=columns.entry_point,
        rule=columns.rule,
        primary_base=columns.primary_base,
        bcp_base=columns.bcp_base,
        copied=columns.copied,
        rules=tuple(inventory.rules),
        scopes=tuple(scopes),
        words=tuple({word: treatment for word, (treatment, _) in scope.words.items()} for scope in inventory.scopes[:-1]),
        scope_of_trunk=scope_of_trunk,
    )
