"""Commands on a plan: `check` it, ask where a call would go (`route`), and what keys there are (`schema`)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, Client, stop
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, say
from sipctl.cli.route_command import print_answer
from sipctl.dialplan.check import GROUP_STATES, SBC_STATES, TENANT_STATES
from sipctl.dialplan.compile import Compiled, compile_plan
from sipctl.dialplan.plan_tests import Given, settled
from sipctl.dialplan.report import did_you_mean
from sipctl.dialplan.schema import finding_codes, plan_keys, schemas
from sipctl.errors import Finding
from sipctl.model.numbers import strip_separators
from sipctl.routing.explain import route_answer
from sipctl.routing.table import Table, load_table
from sipctl.supervisor.plan_folder import FolderError, read_folder

CHECK_OUTPUTS: Final = ("text", "json")
NOT_BUILT_OUTPUTS: Final = ("sarif", "github")
MAX_CARETS: Final = 60


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command("check")(check)
    app.command("route")(route)
    app.command("schema")(schema)


# -- check -----------------------------------------------------------------------------------------------------------------------


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with sbc_configs/ and dialplans/.")] = Path(),
    output: Annotated[str, typer.Option("-o", "--output", help="text or json (sarif, github: not built yet).")] = "text",
    fail_on: Annotated[str, typer.Option("--fail-on", help="error or warning: what makes it end with 1.")] = "error",
) -> None:
    """Find everything wrong with a plan at once, each with file:line:column, code and hint; runs the plan's own tests."""
    if output in NOT_BUILT_OUTPUTS:
        stop(EXIT_USAGE, f"-o {output} is not built yet", "use -o text or -o json")
    if output not in CHECK_OUTPUTS or fail_on not in ("error", "warning"):
        stop(EXIT_USAGE, "-o is text or json, --fail-on is error or warning")
    started_s = time.monotonic()
    files = _read(folder)
    compiled = compile_plan(files, {}, revision=0)
    took_s = time.monotonic() - started_s
    errors = sum(finding.severity == "error" for finding in compiled.findings)
    warnings = len(compiled.findings) - errors
    if output == "json":
        print_json(
            {
                "files": len(files),
                "expressions": compiled.expressions,
                "errors": errors,
                "warnings": warnings,
                "findings": [_finding_body(finding) for finding in compiled.findings],
            }
        )
    else:
        for finding in compiled.findings:
            _say_all(finding_lines(finding, folder))
        say(_summary(len(files), compiled, errors, warnings, took_s))
    raise typer.Exit(EXIT_UNHEALTHY if errors or (warnings and fail_on == "warning") else EXIT_OK)


def finding_lines(finding: Finding, folder: Path = Path()) -> list[str]:
    """One finding as compilers write them: place, message, the line with a caret, the hint."""
    path = finding.path if folder == Path() else (folder / finding.path).as_posix()
    place = f"{path}:{finding.line}:{finding.column}: " if finding.line else f"{path}: " if finding.path else ""
    lines = [f"{place}{finding.severity} {finding.code}: {finding.message}"]
    if finding.line and finding.excerpt:
        number = str(finding.line)
        margin = " " * len(number)
        excerpt = finding.excerpt.replace("\t", " ")
        indent = max(finding.column - 1, 0)
        lines += [f"{margin} |", f"{number} | {excerpt}"]
        if indent < len(excerpt):
            lines.append(f"{margin} | {' ' * indent}{'^' * _width(excerpt[indent:])}")
    if finding.hint:
        lines.append(f"  = hint: {finding.hint}")
    return lines


def _width(rest: str) -> int:
    """How many carets: the word or quoted text that begins here."""
    if rest[:1] in ("'", '"'):
        end = rest.find(rest[0], 1)
        return min(end + 1 if end > 0 else len(rest), MAX_CARETS)
    end = next((at for at, char in enumerate(rest) if char in " ,]}#:" and at), len(rest))
    return min(max(end, 1), MAX_CARETS)


def _summary(files: int, compiled: Compiled, errors: int, warnings: int, took_s: float) -> str:
    numbers = f"{compiled.expressions:,} numbers, ranges and patterns"
    what = (
        f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}" if errors or warnings else "no findings"
    )
    return f"{what} in {files} file{'s' * (files != 1)} ({numbers}, {took_s:.2f} s)"


def _finding_body(finding: Finding) -> dict[str, Any]:
    return {
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "hint": finding.hint,
        "excerpt": finding.excerpt,
    }


# -- route -----------------------------------------------------------------------------------------------------------------------


def route(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="As the trunk writes it.")],
    trunk: Annotated[str | None, typer.Option("--trunk", help="Needed when there are several.")] = None,
    caller: Annotated[str | None, typer.Option("--from", metavar="NUMBER", help="The calling number.")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Not built yet.")] = None,
    given: Annotated[list[str], typer.Option("--given", metavar="NAME=STATE", help="Assume a state; needs --config.")] = [],  # noqa: B006
    config: Annotated[
        Path | None, typer.Option("--config", metavar="DIR", help="Ask this folder instead of what is live.")
    ] = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Where a call would go, and why. Ends with 1 if it would be refused."""
    if at is not None:
        stop(EXIT_USAGE, "--at is not built yet")
    if config is not None:
        body = _ask_folder(config, number, trunk, caller, given)
    elif given:
        stop(EXIT_USAGE, "--given assumes a state, so it asks a folder", "add --config DIR")
    else:
        body = Client.find(state_dir(state)).get("/v1/route", {"number": number, "trunk": trunk, "from": caller})
    if output is Output.json:
        print_json(body)
    else:
        print_answer(body)
    raise typer.Exit(EXIT_UNHEALTHY if body.get("refused") is not None else EXIT_OK)


def _ask_folder(config: Path, number: str, trunk: str | None, caller: str | None, given: Sequence[str]) -> dict[str, Any]:
    compiled = compile_plan(_read(config), {}, revision=0, tests=False)
    if not compiled.image:
        for finding in compiled.findings:
            _say_all(finding_lines(finding, config))
        stop(EXIT_USAGE, f"the plan in {config} has errors", "sipctl check")
    table = load_table(compiled.image)
    assumed = _assumed(table, given)
    snapshot, live = settled(table, assumed)
    index = _trunk_index(snapshot.trunk_index, trunk)
    asked = f"folder {config}, every SBC assumed in service" + (f" but {', '.join(given)}" if given else "")
    dialled = number if snapshot.trunks[index].called_format == "exact" else strip_separators(number)
    return route_answer(snapshot, live, asked, dialled, index, caller).body()


def _trunk_index(trunks: Mapping[str, int], name: str | None) -> int:
    if name is None and len(trunks) == 1:
        return next(iter(trunks.values()))
    if name is None:
        stop(EXIT_USAGE, f"there are {len(trunks)} trunks", "add --trunk " + " or ".join(trunks))
    if name not in trunks:
        stop(EXIT_USAGE, f"no trunk is called {name}", did_you_mean(name, trunks))
    return trunks[name]


def _assumed(table: Table, given: Sequence[str]) -> Given:
    """--given NAME=STATE, sorted by what NAME is."""
    topology = table.topology
    kinds: tuple[tuple[set[str], tuple[str, ...], dict[str, str]], ...] = (
        ({sbc.name for sbc in topology.sbcs} | {f"{pair.name}/srv" for pair in topology.pairs if pair.srv}, SBC_STATES, {}),
        ({tenant.name for tenant in topology.tenants}, TENANT_STATES, {}),
        ({group.name for group in topology.groups}, GROUP_STATES, {}),
    )
    for wish in given:
        name, _, state = wish.partition("=")
        homes = [(states, found) for names, states, found in kinds if name in names]
        if not homes:
            everything = [known for names, _, _ in kinds for known in names]
            stop(EXIT_USAGE, f"no SBC, tenant or group is called {name}", did_you_mean(name, everything))
        fitting = [found for states, found in homes if state in states]
        if not fitting:
            stop(EXIT_USAGE, f"{name} cannot be {state or 'nothing'}", "states: " + ", ".join(homes[0][0]))
        fitting[0][name] = state
    return Given(sbcs=kinds[0][2], tenants=kinds[1][2], groups=kinds[2][2])


# -- schema ----------------------------------------------------------------------------------------------------------------------


def schema(
    folder: Annotated[
        str | None, typer.Argument(metavar="[sbc_configs|dialplans]", help="Which folder's; default: both.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Every key as docs/plan-keys.md has it.")] = False,
    findings: Annotated[bool, typer.Option("--findings", help="Every finding's code as docs/findings.md has it.")] = False,
) -> None:
    """JSON Schema of a plan's files, made from the models that read them."""
    if markdown or findings:
        typer.echo(plan_keys() if markdown else finding_codes(), nl=False)
        return
    all_schemas = schemas()
    if folder is not None and folder not in all_schemas:
        stop(EXIT_USAGE, f"there is no schema {folder}", did_you_mean(folder, all_schemas))
    typer.echo(json.dumps(all_schemas if folder is None else all_schemas[folder], indent=2, ensure_ascii=False))


def _say_all(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _read(folder: Path) -> dict[str, bytes]:
    try:
        return read_folder(folder)
    except FolderError as error:
        stop(EXIT_USAGE, str(error), error.hint)
