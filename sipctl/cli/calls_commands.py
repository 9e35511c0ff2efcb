"""`sipctl calls stats`: what live calls show of SBCs, pairs, tenants, entry points and trunks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from sipctl.cli.client import EXIT_USAGE, Client, stop
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table, say

COLUMNS = ("KIND", "NAME", "CALLS", "N", "NER", "ASR", "PDD P50", "PDD P95", "EARLY", "BUSY", "TURNED AWAY", "CODES")


class Window(StrEnum):
    minute = "1m"
    five = "5m"
    hour = "1h"


class By(StrEnum):
    sbc = "sbc"
    pair = "pair"
    tenant = "tenant"
    entry_point = "entry-point"
    trunk = "trunk"


def _name(kind: str) -> Any:
    return typer.Option(f"--{kind}", metavar="NAME", help=f"Of this {kind.replace('-', ' ')} alone.")


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Calls: what they show.")
    group.callback()(_calls)
    group.command("stats")(stats)
    app.add_typer(group, name="calls")


def _calls() -> None:
    """Calls: what they show."""


def stats(
    sbc: Annotated[str | None, _name("sbc")] = None,
    pair: Annotated[str | None, _name("pair")] = None,
    tenant: Annotated[str | None, _name("tenant")] = None,
    entry_point: Annotated[str | None, _name("entry-point")] = None,
    trunk: Annotated[str | None, _name("trunk")] = None,
    by: Annotated[By | None, typer.Option("--by", help="All of a kind; default: all but entry points.")] = None,
    window: Annotated[Window, typer.Option("--window", help="How far back.")] = Window.five,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Calls, NER, ASR, post-dial delay and early drops, each with the number it is made of (N).

    Of SBCs and pairs every attempt counts, of tenants, entry points and trunks every call. NER: share that was answered, busy,
    not answered or cancelled. Busy SBCs (503 with Retry-After) and calls that sipctl turned away are in no share.
    """
    wanted = {"sbc": sbc, "pair": pair, "tenant": tenant, "entry-point": entry_point, "trunk": trunk}
    named = [(kind, name) for kind, name in wanted.items() if name is not None]
    if len(named) + (by is not None) > 1:
        stop(EXIT_USAGE, "one of --sbc, --pair, --tenant, --entry-point, --trunk and --by at a time")
    query: dict[str, Any] = {"window": window.value}
    if named:
        query |= {"kind": named[0][0], "name": named[0][1]}
    elif by is not None:
        query["kind"] = by.value
    body = Client.find(state_dir(state)).get("/v1/observations", query)
    if output is Output.json:
        print_json(body)
        return
    rows = [(one["kind"], one["name"], *_cells(one["windows"][window.value])) for one in body["observations"]]
    print_table(f"calls within {window.value}", COLUMNS, rows)
    for one in body["observations"]:
        if one.get("doubtful"):
            say(f"{one['name']} is doubtful, so last of its pair: {one['doubtful']['reason']}")
    if body.get("reason"):
        say(f"nothing is judged now: {body['reason']}")


def _cells(window: Mapping[str, Any]) -> tuple[Any, ...]:
    codes = ", ".join(f"{count} × {code}" for code, count in window["codes"].items())
    early = f"{window['early_drops']} of {window['answered']}" if window["answered"] else None
    return (
        window["calls"], window["n"], percent(window["ner"]), percent(window["asr"]), _seconds(window["pdd_p50_s"]),
        _seconds(window["pdd_p95_s"]), early, window["busy"] or None, window["turned_away"] or None, codes or None,
    )  # fmt: skip


def percent(share: float | None) -> str | None:
    """A share as people read it; None without samples."""
    return None if share is None else f"{100 * share:.1f} %"


def of_status(observed: Mapping[str, Any] | None) -> str | None:
    """NER of the last five minutes with its number, as lists show it; None where nobody can tell."""
    if not observed or not observed.get("n"):
        return None
    return f"{percent(observed['ner'])} (n={observed['n']})"


def delay_of_status(observed: Mapping[str, Any] | None) -> str | None:
    """95th percentile of the post-dial delay with its number; None where nobody can tell."""
    if not observed or not observed.get("pdd_n"):
        return None
    return f"{_seconds(observed['pdd_p95_s'])} (n={observed['pdd_n']})"


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} s"
