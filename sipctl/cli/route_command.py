"""`sipctl route`: where a call would go, live or by a folder, every step to it, and the whole of it saved as a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, Client, stop
from sipctl.cli.findings import finding_lines
from sipctl.cli.folder import plan_files
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, say
from sipctl.cli.save_test import save_test, the_test
from sipctl.cli.tree import shown_glyphs, shown_width, tree_lines
from sipctl.dialplan.check_tests import GROUP_STATES, SBC_STATES, TENANT_STATES
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.plan_tests import Given, settled
from sipctl.dialplan.report import did_you_mean
from sipctl.routing.explain import route_answer
from sipctl.routing.table import Table, load_table


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("route")(route)


def route(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="As the trunk writes it.")],
    trunk: Annotated[str | None, typer.Option("--trunk", help="Needed when there are several.")] = None,
    caller: Annotated[str | None, typer.Option("--from", metavar="NUMBER", help="The calling number.")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Not built yet.")] = None,
    given: Annotated[list[str], typer.Option("--given", metavar="NAME=STATE", help="Assume a state; needs --config.")] = [],  # noqa: B006
    config: Annotated[
        Path | None, typer.Option("--config", metavar="DIR", help="Ask this folder instead of what is live.")
    ] = None,
    save_as_test: Annotated[
        Path | None,
        typer.Option("--save-as-test", metavar="FILE", help="Put question and answer into this file of dialplans/ as a test."),
    ] = None,
    test_name: Annotated[str | None, typer.Option("--test-name", metavar="TEXT", help="What that test is called.")] = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Where a call would go, and every step to it. Ends with 1 if it would be refused."""
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
    if save_as_test is not None:
        done = save_test(save_as_test, config, the_test(body, body.get("given") or {}, at, test_name))
        if output is not Output.json:
            say(done)
    raise typer.Exit(EXIT_UNHEALTHY if body.get("refused") is not None else EXIT_OK)


def _ask_folder(config: Path, number: str, trunk: str | None, caller: str | None, given: Sequence[str]) -> dict[str, Any]:
    compiled = compile_plan(plan_files(config), {}, revision=0, tests=False)
    if not compiled.image:
        for finding in compiled.findings:
            say("\n".join(finding_lines(finding, config)))
        stop(EXIT_USAGE, f"the plan in {config} has errors", "sipctl check")
    table = load_table(compiled.image)
    assumed = _assumed(table, given)
    snapshot, live = settled(table, assumed)
    index = _trunk_index(snapshot.trunk_index, trunk)
    asked = f"folder {config}, every SBC assumed in service" + (f" but {', '.join(given)}" if given else "")
    body = route_answer(snapshot, live, asked, number, index, caller).body()
    return {**body, "given": {section: states for section, states in asdict(assumed).items() if states}}


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


def print_answer(answer: Mapping[str, Any]) -> None:
    """The first line says what was asked, the last one what became of it."""
    say(str(answer["asked"]))
    for line in tree_lines(answer["tree"], shown_width(), shown_glyphs()):
        say(line)
