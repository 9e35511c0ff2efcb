"""`sipctl numbers`: who has a number and by which line, what numbers there are, and all of them as CSV."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.findings import finding_lines
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import complain, print_json, print_table, say
from sipctl.cli.replay_plans import Source, read_source
from sipctl.dialplan.numbers_list import Row, UnsafeCellError, Wanted, export, rows, wanted_entry_points
from sipctl.dialplan.numbers_where import Holder, Where, where
from sipctl.dialplan.report import Mark, did_you_mean
from sipctl.errors import PlanError
from sipctl.model.numbers import NumberError, strip_separators
from sipctl.routing.numbers import E164_SCOPE
from sipctl.routing.table import Table

MAX_ROWS: Final = 1_000
CALLED: Final = "as called"

ConfigOption = Annotated[
    str, typer.Option("--config", metavar="PLAN", help="A folder (default: the one here), a revision's number, or live.")
]
EntryPointOption = Annotated[str | None, typer.Option("--entry-point", metavar="NAME", help="Numbers of this entry point only.")]
GroupOption = Annotated[str | None, typer.Option("--group", metavar="NAME", help="Of entry points of this group only.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Whose primary or BCP tenant is this one.")]
PrefixOption = Annotated[str | None, typer.Option("--prefix", metavar="+49…", help="Numbers that begin so.")]


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    numbers = typer.Typer(no_args_is_help=True, help="Who has a number, what numbers there are.")
    numbers.command("where")(numbers_where)
    numbers.command("list")(numbers_list)
    numbers.command("export")(numbers_export)
    app.add_typer(numbers, name="numbers")


def numbers_where(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="+ and digits, or a private number.")],
    config: ConfigOption = ".",
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Who has a number: by which line of which file, what else claims it, what is next to it. Ends with 1 if nobody has it."""
    source = read_source(config, state_dir(state))
    if source.image:
        stop(EXIT_USAGE, f"{source.label} has no lines to point at", "name a folder, a revision or live")
    try:
        found = where(source.files, number)
    except NumberError as error:
        stop(EXIT_USAGE, str(error), error.hint)
    root = Path(config) if Path(config).is_dir() else Path()
    if output is Output.json:
        print_json({"asked": source.label, **_where_body(found)})
    else:
        _say_where(found, source.label, root)
    raise typer.Exit(EXIT_OK if any(holder.wins for holder in found.holders) else EXIT_UNHEALTHY)


def numbers_list(
    config: ConfigOption = ".",
    entry_point: EntryPointOption = None,
    group: GroupOption = None,
    tenant: TenantOption = None,
    prefix: PrefixOption = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="Rows at most.")] = MAX_ROWS,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """What numbers there are, as calls meet them: after precedence and except. Ends with 1 if there is none."""
    source, table = _table(config, state)
    found = rows(table, _wanted(table, entry_point, group, tenant, prefix))
    told = list(islice(found, limit))
    left = [row.count for row in found]
    count = sum(row.count for row in told) + sum(left)
    if output is Output.json:
        body = [_row_body(table, row) for row in told]
        print_json({"asked": source.label, "numbers": count, "rows": body, "rows_left_out": len(left)})
    else:
        cells = [_row_cells(table, row) for row in told]
        columns = ("NUMBERS", "COUNT", "ENTRY POINT", "GROUP", "AT PRIMARY", "AT BCP", "RULE")
        print_table(f"numbers of {source.label}", columns, cells)
        say(f"{count:,} number{'s' * (count != 1)}" + (f", {len(left):,} more rows: --limit, or numbers export" if left else ""))
    raise typer.Exit(EXIT_OK if told else EXIT_UNHEALTHY)


def numbers_export(
    config: ConfigOption = ".",
    entry_point: EntryPointOption = None,
    group: GroupOption = None,
    tenant: TenantOption = None,
    prefix: PrefixOption = None,
    flat: Annotated[
        bool, typer.Option("--flat", help="Numbers and ranges as routed, instead of expressions as written.")
    ] = False,
    state: StateOption = None,
) -> None:
    """All numbers as CSV that `number_files` reads again: number, entry_point, called_at.primary, called_at.bcp."""
    _, table = _table(config, state)
    try:
        lines = export(table, _wanted(table, entry_point, group, tenant, prefix), flat)
        while chunk := list(islice(lines, MAX_ROWS)):
            typer.echo("\n".join(chunk))
    except UnsafeCellError as error:
        stop(EXIT_USAGE, str(error), "such a plan cannot be exported as CSV")


def _table(config: str, state: Path | None) -> tuple[Source, Table]:
    source = read_source(config, state_dir(state))
    try:
        return source, source.table()
    except PlanError as error:
        root = Path(config) if Path(config).is_dir() else Path()
        for finding in error.findings:
            if finding.severity == "error":
                complain("\n".join(finding_lines(finding, root)))
        stop(EXIT_USAGE, f"{source.label} does not compile, so nobody knows who gets what", "sipctl check")


def _wanted(table: Table, entry_point: str | None, group: str | None, tenant: str | None, prefix: str | None) -> Wanted:
    """The filters; ends the command with 2 if one names what is not there."""
    topology = table.topology
    for kind, name, known in (
        ("entry point", entry_point, [entry.name for entry in topology.entry_points]),
        ("group", group, [one.name for one in topology.groups]),
        ("tenant", tenant, [one.name for one in topology.tenants]),
    ):
        if name is not None and name not in known:
            stop(EXIT_USAGE, f"no {kind} is called {name}", did_you_mean(name, known))
    bare = None if prefix is None else strip_separators(prefix)
    return Wanted(wanted_entry_points(table, entry_point, group, tenant), bare)


# -- where -----------------------------------------------------------------------------------------------------------------------


def _say_where(found: Where, asked: str, root: Path) -> None:
    say(f"{found.number} in {asked}")
    if not found.holders:
        say("nobody has it: calls are refused with 404")
    elif found.is_clash:
        say("several have it with the same precedence: the plan does not compile")
    for holder in found.holders:
        _say_holder(holder, found, root)
    for exclusion in found.exclusions:
        say(f"{_place(exclusion.mark, root)}: {exclusion.entry_point} leaves it out (except {exclusion.text})")
    for way, near in (("below", found.below), ("above", found.above)):
        if near is not None:
            say(f"next {way}: {near.number} of {near.entry_point}, {_place(near.mark, root)}")


def _say_holder(holder: Holder, found: Where, root: Path) -> None:
    group = f", group {holder.group}" if holder.group else ""
    outcome = "" if holder.wins else " and clashes" if found.is_clash else " but an earlier one wins"
    say(f"{_place(holder.mark, root)}: {holder.entry_point}{group} has it by {holder.rule}{outcome}")
    say(f"    {holder.excerpt}")
    if holder.wins:
        trunks = "" if holder.trunks is None else f"; for calls by {', '.join(holder.trunks)} only"
        primary, bcp = (_dialled(found.number, text) for text in (holder.primary, holder.bcp))
        say(f"    dialled at the primary: {primary}; at BCP: {bcp}{trunks}")


def _dialled(number: str, text: str) -> str:
    """What is dialled for one number: trailing Xs copy its last digits."""
    fixed = text.rstrip("X")
    copied = len(text) - len(fixed)
    return (fixed + number[len(number) - copied :]) if text else f"{number}, {CALLED}"


def _where_body(found: Where) -> dict[str, Any]:
    return {
        "number": found.number,
        "holders": [
            {
                **_mark_body(holder.mark),
                "excerpt": holder.excerpt,
                "entry_point": holder.entry_point,
                "group": holder.group or None,
                "rule": holder.rule,
                "wins": holder.wins,
                "called_at": {"primary": holder.primary or None, "bcp": holder.bcp or None},
                "trunks": None if holder.trunks is None else list(holder.trunks),
            }
            for holder in found.holders
        ],
        "clash": found.is_clash,
        "left_out_by": [{**_mark_body(one.mark), "entry_point": one.entry_point, "except": one.text} for one in found.exclusions],
        "near": {
            way: None if near is None else {**_mark_body(near.mark), "number": near.number, "entry_point": near.entry_point}
            for way, near in (("below", found.below), ("above", found.above))
        },
    }


def _mark_body(mark: Mark) -> dict[str, Any]:
    return {"path": mark.path, "line": mark.line, "column": mark.column}


def _place(mark: Mark, root: Path) -> str:
    path = mark.path if root == Path() else (root / mark.path).as_posix()
    return f"{path}:{mark.line}:{mark.column}"


# -- list ------------------------------------------------------------------------------------------------------------------------


def _row_cells(table: Table, row: Row) -> tuple[Any, ...]:
    text = row.first if row.first == row.last else f"{row.first}..{row.last}"
    trunks = _scope_trunks(table, row.scope)
    entry = table.topology.entry_points[row.entry_point]
    if trunks:
        text = f"{text} (by {', '.join(trunks)})"
    group = table.topology.groups[entry.group].name
    return text, f"{row.count:,}", entry.name, group, row.primary or CALLED, row.bcp or CALLED, row.rule


def _row_body(table: Table, row: Row) -> dict[str, Any]:
    entry = table.topology.entry_points[row.entry_point]
    return {
        "first": row.first,
        "last": row.last,
        "count": row.count,
        "entry_point": entry.name,
        "group": table.topology.groups[entry.group].name,
        "called_at": {"primary": row.primary or None, "bcp": row.bcp or None},
        "rule": row.rule,
        "private_to": _scope_trunks(table, row.scope) or None,
    }


def _scope_trunks(table: Table, scope: int) -> list[str]:
    """Trunks that may dial a scope's private numbers; [] for E.164."""
    if scope == E164_SCOPE:
        return []
    owners = table.numbers.scope_of_trunk
    return [trunk.name for at, trunk in enumerate(table.topology.trunks) if owners[at] == scope]
