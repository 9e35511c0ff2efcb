"""`sipctl replay`: the calls of the records through two plans: what would move, be refused, or exceed a limit."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.findings import finding_lines
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import print_json, print_table, say
from sipctl.cli.replay_input import CsvForm, Gathered, gather, is_csv, sizes
from sipctl.cli.replay_plans import LIVE, LOGGED, Source, read_source
from sipctl.cli.replay_run import Side, compare, new_side, without_collector
from sipctl.dialplan.replay import DEAD, REFUSED, ROUTED, STRANGER, Replayer
from sipctl.dialplan.replay_report import CHANGES, SAME, Comparison, Logged, meter_bodies, outcome_text
from sipctl.dialplan.replay_rows import read_columns
from sipctl.dialplan.replay_scenes import Scene, check_scenes, read_scenes, unknown_names
from sipctl.errors import PlanError

SHOWN_DIFFERENCES: Final = 30
SHOWN_ENTRY_POINTS: Final = 50
SHOWN_PEAKS: Final = 40
_DURATION: Final = re.compile(r"(-?)(\d{1,6})(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("replay")(replay)


def replay(
    records: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Our call records or CSV, also .gz; default: all of STATE/cdr."),
    ] = None,
    old: Annotated[
        str, typer.Option("--old", metavar="PLAN", help="live, logged (what the records say), REV, DIR or file.")
    ] = LIVE,
    new: Annotated[str, typer.Option("--new", metavar="PLAN", help="live, REV, DIR or file.")] = ".",
    given: Annotated[
        list[str], typer.Option("--given", metavar="NAME=STATE[@FROM..TO]", help="Assume an SBC, tenant or group to be so.")
    ] = [],  # noqa: B006
    only_new: Annotated[bool, typer.Option("--only-new", help="--given holds for the new plan only.")] = False,
    columns: Annotated[str, typer.Option("--columns", metavar="start=…,called=…", help="Which CSV column is what.")] = "",
    trunk: Annotated[str, typer.Option("--trunk", help="Trunk of CSV rows without one.")] = "",
    zone: Annotated[str, typer.Option("--zone", help="Zone of instants without one.")] = "UTC",
    shift: Annotated[str, typer.Option("--shift", metavar="DURATION", help="Pretend the calls came so much later (7d).")] = "",
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Replay calls that were through two plans by the routers' own code. Ends with 1 if anything changes for a caller."""
    started_s = time.monotonic()
    where = state_dir(state)
    zone_ = _zone(zone)
    scenes = read_scenes(given, zone_)
    paths = list(records or _own_records(where))
    form = CsvForm(read_columns(columns) if columns else {}, trunk, zone_)
    shift_s = _shift(shift)
    if new == LOGGED:
        stop(EXIT_USAGE, "what was logged can only be the old side", "--old logged --new DIR")
    new_source = read_source(new, where)
    old_source = None if old == LOGGED else read_source(old, where)
    labels = (LOGGED if old_source is None else old_source.label, new_source.label)
    with tempfile.TemporaryDirectory(prefix="sipctl-replay-") as folder:
        gathered, comparison, sides = _run(
            old_source, new_source, scenes, () if only_new else scenes, paths, Path(folder), form, shift_s
        )
    body = _body(gathered, comparison, sides, labels, given, paths, time.monotonic() - started_s)
    if output is Output.json:
        print_json(body)
    else:
        _print(body)
    changed = body["calls"] - body["changes"].get(SAME, 0)
    raise typer.Exit(EXIT_UNHEALTHY if changed else EXIT_OK)


def _run(
    old: Source | None, new: Source, new_scenes: Sequence[Scene], old_scenes: Sequence[Scene], paths: Sequence[Path],
    folder: Path, form: CsvForm, shift_s: float,
) -> tuple[Gathered, Comparison, tuple[Side, Side]]:  # fmt: skip
    label = new.label
    if old is None and any(is_csv(path) for path in paths):
        stop(EXIT_USAGE, "a CSV does not say where its calls went", "--old logged needs our own records")
    with new_side(new, new_scenes) as child, _progress() as bar, without_collector():
        task = bar.task("reading records", sum(sizes(paths)))
        gathered = gather(paths, folder, form, shift_s, task, old is None)
        if not gathered.rows:
            stop(EXIT_USAGE, "there is no call in these records", "\n  ".join(gathered.told))
        try:
            judge = Logged() if old is None else _replayer(old, old_scenes)
            topology = child.ready(label)
        except PlanError as error:
            for finding in error.findings:
                say("\n".join(finding_lines(finding)))
            stop(EXIT_USAGE, "one of the plans has errors", "sipctl check")
        known = [topology] if isinstance(judge, Logged) else [topology, judge.topology]
        unknown_names(known, new_scenes)
        task = bar.task("replaying", gathered.rows)
        comparison, mine, theirs = compare(judge, child, gathered.chains, label, task)
    return gathered, comparison, (mine, theirs)


def _replayer(source: Source, scenes: Sequence[Scene]) -> Replayer:
    table = source.table()
    check_scenes(table.topology, scenes)
    return Replayer(table, scenes)


def _own_records(state: Path) -> list[Path]:
    found = sorted((state / "cdr").glob("????-??-??.jsonl*"))
    if not found:
        stop(EXIT_USAGE, f"there are no call records in {state / 'cdr'}", "name files: sipctl replay FILE…")
    return found


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        stop(EXIT_USAGE, f"there is no time zone {name}", "such as Europe/Berlin")


def _shift(text: str) -> float:
    if not text:
        return 0.0
    read = _DURATION.fullmatch(text)
    if read is None:
        stop(EXIT_USAGE, f"--shift {text} is no duration", "such as 7d, 12h or -1d")
    seconds = int(read[2]) * _SECONDS[read[3]]
    return float(-seconds if read[1] else seconds)


# -- progress --------------------------------------------------------------------------------------------------------------------


class _Told(Protocol):
    def __call__(self, step: int) -> None: ...


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def task(self, text: str, total: int) -> _Told:
        progress = self._progress
        if progress is None:
            return lambda step: None
        task = progress.add_task(text, total=total)
        return lambda step: progress.advance(task, step)


@contextmanager
def _progress() -> Iterator[_Bar]:
    if not sys.stderr.isatty():
        yield _Bar(None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        yield _Bar(progress)


# -- what is told ----------------------------------------------------------------------------------------------------------------


def _body(
    gathered: Gathered, comparison: Comparison, sides: tuple[Side, Side], labels: tuple[str, str], given: Sequence[str],
    paths: Sequence[Path], took_s: float,
) -> dict[str, Any]:  # fmt: skip
    old, new = sides[0].outcomes, sides[1].outcomes
    differences, untold = comparison.differences(old, new)
    return {
        "old": labels[0],
        "new": labels[1],
        "given": list(given),
        "files": [str(path) for path in paths],
        "calls": comparison.rows,
        "first": _instant(gathered.first_s),
        "last": _instant(gathered.last_s),
        "unreadable": gathered.bad,
        "unreadable_first": gathered.told,
        "early_ends": max(side.early_ends for side in sides),
        "changes": dict(comparison.changes(old, new)),
        "totals": {"old": comparison.totals(0, old), "new": comparison.totals(1, new)},
        "differences": differences,
        "differences_untold_calls": untold,
        "entry_points": comparison.entry_points(old, new),
        "peaks": meter_bodies(sides[0].meters, sides[1].meters),
        "took_s": round(took_s, 2),
    }


def _print(body: Mapping[str, Any]) -> None:
    say(f"{body['calls']:,} calls, {body['first']} to {body['last']}: old {body['old']}, new {body['new']}")
    if body["given"]:
        say("given " + ", ".join(body["given"]))
    if body["unreadable"]:
        say(f"{body['unreadable']:,} records left out, such as:")
        for line in body["unreadable_first"]:
            say(f"  {line}")
    if body["early_ends"]:
        say(f"{body['early_ends']:,} calls were ended early: more at once than replay keeps")
    for side in ("old", "new"):
        say(f"{side}: {_totals(body['totals'][side])}")
    changed = body["calls"] - body["changes"].get(SAME, 0)
    if not changed:
        say(f"nothing changes for any caller ({body['took_s']:.1f} s)")
    else:
        words = [f"{body['changes'][word]:,} {word}" for word in CHANGES if word in body["changes"]]
        say(f"{changed:,} calls change ({100 * changed / body['calls']:.2f} %): {', '.join(words)} ({body['took_s']:.1f} s)")
        _print_differences(body)
        _print_entry_points(body["entry_points"])
    _print_peaks(body["peaks"])


def _totals(totals: Mapping[str, Any]) -> str:
    parts = [f"{totals[ROUTED]:,} routed"]
    if totals[REFUSED]:
        by = [f"{status} {count:,}" for status, count in sorted(totals["by_status"].items())]
        by += [f"{limit} {count:,}" for limit, count in sorted(totals["by_limit"].items())]
        parts.append(f"{totals[REFUSED]:,} refused ({', '.join(by)})")
    if totals[DEAD]:
        parts.append(f"{totals[DEAD]:,} with no SBC in service")
    if totals[STRANGER]:
        parts.append(f"{totals[STRANGER]:,} from trunks the plan does not have")
    return ", ".join(parts)


def _print_differences(body: Mapping[str, Any]) -> None:
    rows = [
        (entry["change"], f"{entry['calls']:,}", outcome_text(entry["old"]), outcome_text(entry["new"]), _example(entry))
        for entry in body["differences"][:SHOWN_DIFFERENCES]
    ]
    print_table("what changes", ("CHANGE", "CALLS", "FROM", "TO", "FOR EXAMPLE"), rows)
    more = len(body["differences"]) - SHOWN_DIFFERENCES
    if more > 0 or body["differences_untold_calls"]:
        say(f"… and {max(more, 0)} more kinds of change: -o json")


def _example(entry: Mapping[str, Any]) -> str:
    first = entry["examples"][0] if entry["examples"] else None
    return f"{first['dialled']} at {first['start']}" if first else ""


def _print_entry_points(entry_points: Mapping[str, Mapping[str, Any]]) -> None:
    touched = [(name or "(no entry point)", entry) for name, entry in entry_points.items() if entry["changes"] or entry["gained"]]
    touched.sort(key=lambda item: -sum(item[1]["changes"].values()) - item[1]["gained"])
    rows = [
        (
            name, f"{entry['calls']:,}", f"{sum(entry['changes'].values()):,}", f"{entry['gained']:,}",
            ", ".join(f"{count:,} {word}" for word, count in entry["changes"].items()),
            ", ".join(f"{count:,} × {what}" for what, count in sorted(entry["refused"].items())),
        )
        for name, entry in touched[:SHOWN_ENTRY_POINTS]
    ]  # fmt: skip
    print_table("entry points", ("ENTRY POINT", "CALLS", "CHANGE", "GAINED", "WHAT", "REFUSED NOW"), rows)
    if len(touched) > SHOWN_ENTRY_POINTS:
        say(f"… and {len(touched) - SHOWN_ENTRY_POINTS} more: -o json")


def _print_peaks(peaks: Sequence[Mapping[str, Any]]) -> None:
    shown = [peak for peak in peaks if peak["kind"] != "entry_point"][:SHOWN_PEAKS]
    rows = [
        (
            peak["kind"], peak["name"], _both(peak, "calls_at_once"), (peak["new"] or peak["old"])["max_calls"],
            (peak["new"] or peak["old"])["calls_at_once_at"], _both(peak, "calls_per_second"),
        )
        for peak in shown
    ]  # fmt: skip
    print_table("peaks (old → new)", ("KIND", "NAME", "CALLS AT ONCE", "MAX", "AT", "CALLS A SECOND"), rows)


def _both(peak: Mapping[str, Any], key: str) -> str:
    old, new = (side[key] if side else 0 for side in (peak["old"], peak["new"]))
    return str(new) if old == new else f"{old} → {new}"


def _instant(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
