"""`sipctl route`: where a call would go, live or by a folder, every step to it, and the whole of it saved as a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter, ValidationError

from sipctl import clock
from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, Client, stop
from sipctl.cli.findings import finding_lines
from sipctl.cli.folder import plan_files
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, say
from sipctl.cli.replay_plans import LIVE, read_source
from sipctl.cli.save_test import save_test, the_test
from sipctl.cli.tree import shown_glyphs, shown_width, tree_lines
from sipctl.dialplan.calendars import unix_s_of
from sipctl.dialplan.check_tests import GROUP_STATES, SBC_STATES, TENANT_STATES
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.report import did_you_mean
from sipctl.dialplan.settled import Given, settled
from sipctl.model.times import Instant, InstantText
from sipctl.routing.explain import route_answer
from sipctl.routing.table import Table, load_table

MAX_COUNT_DIGITS: Final = 9
FIRST_UNIX_S: Final = 0  # instants that may be asked about: from 1970
END_UNIX_S: Final = 32_503_680_000  # to the end of 2999
_INSTANT: Final[TypeAdapter[InstantText]] = TypeAdapter(Instant)


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("route")(route)


def route(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="As the trunk writes it.")],
    trunk: Annotated[str | None, typer.Option("--trunk", help="Needed when there are several.")] = None,
    caller: Annotated[str | None, typer.Option("--from", metavar="NUMBER", help="The calling number.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help='When: "2026-12-24 10:00 Europe/Berlin"; default: now.')
    ] = None,
    given: Annotated[
        list[str],
        typer.Option(
            "--given",
            metavar="NAME=STATE",
            help="Assume a state, an overlay or switch (on), or a count of calls; all else is in service.",
        ),
    ] = [],  # noqa: B006
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
    if config is not None:
        body = _ask_folder(config, number, trunk, caller, given, at)
    elif given:
        source = read_source(LIVE, state_dir(state))
        body = _ask_table(source.table(), source.label, number, trunk, caller, given, at)
    else:
        when = None if at is None else datetime.fromtimestamp(_unix_s(at, ""), UTC).isoformat()
        body = Client.find(state_dir(state)).get("/v1/route", {"number": number, "trunk": trunk, "from": caller, "at": when})
    if output is Output.json:
        print_json(body)
    else:
        print_answer(body)
    if save_as_test is not None:
        done = save_test(save_as_test, config, the_test(body, test_name))
        if output is not Output.json:
            say(done)
    raise typer.Exit(EXIT_UNHEALTHY if body.get("refused") is not None else EXIT_OK)


def _ask_folder(
    config: Path, number: str, trunk: str | None, caller: str | None, given: Sequence[str], at: str | None
) -> dict[str, Any]:
    compiled = compile_plan(plan_files(config), {}, revision=0, tests=False)
    if not compiled.image:
        for finding in compiled.findings:
            say("\n".join(finding_lines(finding, config)))
        stop(EXIT_USAGE, f"the plan in {config} has errors", "sipctl check")
    return _ask_table(load_table(compiled.image), f"folder {config}", number, trunk, caller, given, at)


def _ask_table(
    table: Table, label: str, number: str, trunk: str | None, caller: str | None, given: Sequence[str], at: str | None
) -> dict[str, Any]:
    """A plan with every SBC in service but for what is given, whatever a running system measures."""
    assumed = _assumed(table, given)
    snapshot, live = settled(table, assumed)
    index = _trunk_index(snapshot.trunk_index, trunk)
    zones = {zone.name for zone in table.topology.zones}
    unix_s = clock.unix_s() if at is None else _unix_s(at, zones.pop() if len(zones) == 1 else "")
    asked = f"{label}, every SBC assumed in service" + (f" but {', '.join(given)}" if given else "")
    answer = route_answer(snapshot, live, asked, number, index, caller, unix_s=unix_s)
    if answer.at is not None:
        asked += f", at {at or answer.at + ' (now)'}"
    said = {
        section: list(states) if isinstance(states, tuple) else states for section, states in asdict(assumed).items() if states
    }
    return {**answer.body(), "asked": asked, "given": said}


def _unix_s(at: str, default_zone: str) -> float:
    """An instant as plan tests write it."""
    try:
        unix_s = unix_s_of(_INSTANT.validate_python(at), default_zone)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0].get("ctx", {})
        stop(EXIT_USAGE, f"--at: {fault.get('message', 'no date and time')}", str(fault.get("hint", "")))
    if unix_s is None:
        stop(
            EXIT_USAGE,
            f"--at: nobody can tell when {at} is",
            'write "2026-12-24 10:00 Europe/Berlin" or "2026-12-24T10:00+01:00"',
        )
    return unix_s


def _trunk_index(trunks: Mapping[str, int], name: str | None) -> int:
    if name is None and len(trunks) == 1:
        return next(iter(trunks.values()))
    if name is None:
        stop(EXIT_USAGE, f"there are {len(trunks)} trunks", "add --trunk " + " or ".join(trunks))
    if name not in trunks:
        stop(EXIT_USAGE, f"no trunk is called {name}", did_you_mean(name, trunks))
    return trunks[name]


def _assumed(table: Table, given: Sequence[str]) -> Given:
    """--given NAME=STATE, sorted by what NAME is and what STATE may be said of it."""
    topology = table.topology
    counted = {entry.name for entry in topology.entry_points} | {tenant.name for tenant in topology.tenants}
    counted |= {trunk.name for trunk in topology.trunks}
    kinds: dict[str, tuple[set[str], tuple[str, ...]]] = {
        "sbcs": ({sbc.name for sbc in topology.sbcs} | {f"{pair.name}/srv" for pair in topology.pairs if pair.srv}, SBC_STATES),
        "tenants": ({tenant.name for tenant in topology.tenants}, TENANT_STATES),
        "groups": ({group.name for group in topology.groups}, GROUP_STATES),
        "overlays": ({overlay.name for overlay in topology.overlays}, ("on",)),
        "switches": ({switch.name for switch in topology.switches}, ("on",)),
    }
    said: dict[str, dict[str, str]] = {section: {} for section in kinds}
    calls: dict[str, int] = {}
    for wish in given:
        name, _, state = wish.rpartition("=")
        if name in counted and state.isascii() and state.isdigit() and len(state) <= MAX_COUNT_DIGITS:
            calls[name] = int(state)
            continue
        homes = [section for section, (names, _) in kinds.items() if name in names]
        if not homes and name not in counted:
            everything = sorted(counted.union(*(names for names, _ in kinds.values())))
            stop(EXIT_USAGE, f"nothing in this plan is called {name or wish}", did_you_mean(name, everything))
        fitting = [section for section in homes if state in kinds[section][1]]
        if not fitting:
            states = [word for section in homes for word in kinds[section][1]] + ["a count of calls"] * (name in counted)
            stop(EXIT_USAGE, f"{name} cannot be {state or 'nothing'}", "one of " + ", ".join(dict.fromkeys(states)))
        said[fitting[0]][name] = state
    return Given(said["tenants"], said["sbcs"], said["groups"], tuple(said["overlays"]), tuple(said["switches"]), calls)


def print_answer(answer: Mapping[str, Any]) -> None:
    """The first line says what was asked, the last one what became of it."""
    say(str(answer["asked"]))
    for line in tree_lines(answer["tree"], shown_width(), shown_glyphs()):
        say(line)
