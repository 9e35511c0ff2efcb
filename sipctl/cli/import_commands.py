"""`sipctl import`: what other systems hold, as files of a plan: shown first, written only when asked, and only if it checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.files import replace_text
from sipctl.cli.findings import finding_body, finding_lines
from sipctl.cli.options import Output, OutputOption
from sipctl.cli.output import print_json, say
from sipctl.dialplan.compile import Compiled, compile_plan
from sipctl.dialplan.importers import asterisk, cisco, inventory, kamailio
from sipctl.dialplan.importers.gathered import Gathered, NumberForm
from sipctl.dialplan.importers.written import files
from sipctl.supervisor.plan_folder import FolderError, read_folder

MAX_SOURCE_BYTES: Final = 256 << 20
SHOWN_NOTES: Final = 20
SHOWN_LINES: Final = 12  # of each file


class Kind(StrEnum):
    csv = "csv"
    kamailio = "kamailio"
    asterisk = "asterisk"
    cisco = "cisco"


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("import")(import_)


def import_(
    kind: Annotated[Kind, typer.Argument(metavar="csv|kamailio|asterisk|cisco", help="What FILE is from.")],
    source: Annotated[Path, typer.Argument(metavar="FILE", help="DIDs, a table dump, extensions.conf, a configuration.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The plan's folder; a fresh one gets all it needs.")] = Path(),
    entry_point: Annotated[str, typer.Option("--entry-point", help="Where every number goes, whatever FILE says.")] = "",
    group: Annotated[str, typer.Option("--group", help="An existing continuity group for the new entry points.")] = "",
    columns: Annotated[str, typer.Option("--columns", metavar="number=DID,…", help="Which CSV column is what.")] = "",
    add: Annotated[str, typer.Option("--add", metavar="+49", help="Goes in front of numbers that have no +.")] = "",
    strip: Annotated[str, typer.Option("--strip", metavar="0", help="Removed from them before.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Write the files; else they are only shown.")] = False,
    output: OutputOption = Output.table,
) -> None:
    """Read numbers and gateways of another system into files of a plan. Ends with 1 if anything of FILE is not in them."""
    if add and not add.startswith("+"):
        stop(EXIT_USAGE, f"--add {add} does not begin with +", "--add + or --add +49")
    gathered = Gathered(kind.value, NumberForm(add, strip), entry_point)
    _reader(kind, columns)(_text(source), gathered)
    known = _known(out)
    made = files(gathered, group, known)
    compiled = compile_plan({**known, **{path: text.encode() for path, text in made.items()}}, {}, revision=0)
    body = _body(gathered, made, compiled)
    replaced = sorted(set(made) & set(known))
    if output is Output.json:
        print_json(body)
    else:
        _show(gathered, made, compiled, source, replaced, is_whole=not write)
    errors = [finding for finding in compiled.findings if finding.severity == "error"]
    if errors:
        stop(EXIT_USAGE, f"with these files {out} would have {len(errors)} errors: nothing is written", "sipctl check")
    if write:
        _write(out, made)
        if output is Output.table:
            say(f"wrote {len(made)} files; next: sipctl check {out}")
    elif output is Output.table:
        say("nothing is written yet: --write does")
    raise typer.Exit(EXIT_UNHEALTHY if gathered.left_out else EXIT_OK)


def _reader(kind: Kind, columns: str) -> Callable[[str, Gathered], None]:
    if kind is not Kind.csv and columns:
        stop(EXIT_USAGE, f"--columns is for CSV, not for {kind.value}")
    wanted = inventory.read_columns(columns)
    readers: dict[Kind, Callable[[str, Gathered], None]] = {
        Kind.csv: lambda text, into: inventory.read(text, wanted, into),
        Kind.kamailio: kamailio.read,
        Kind.asterisk: asterisk.read,
        Kind.cisco: cisco.read,
    }
    return readers[kind]


def _text(source: Path) -> str:
    try:
        if source.stat().st_size > MAX_SOURCE_BYTES:
            stop(EXIT_USAGE, f"{source} is larger than {MAX_SOURCE_BYTES >> 20} MiB")
        data = source.read_bytes()
    except OSError as error:
        stop(EXIT_USAGE, f"{source} cannot be read: {error.strerror}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        stop(EXIT_USAGE, f"{source}:{line}: not UTF-8", "iconv -f latin1 -t utf-8, if that is what it is")


def _known(out: Path) -> dict[str, bytes]:
    if not any((out / name).is_dir() for name in ("sbc_configs", "dialplans")):
        return {}
    try:
        return read_folder(out)
    except FolderError as error:
        stop(EXIT_USAGE, str(error), error.hint)


def _write(out: Path, made: Mapping[str, str]) -> None:
    for path, text in made.items():
        try:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            replace_text(out / path, text)
        except OSError as error:
            stop(EXIT_USAGE, f"{out / path} cannot be written: {error.strerror}")


def _body(gathered: Gathered, made: Mapping[str, str], compiled: Compiled) -> dict[str, Any]:
    return {
        "kind": gathered.kind,
        "numbers": len(gathered.numbers),
        "entry_points": dict(gathered.entry_points()),
        "sbc_pairs": {name: [sbc.uri for sbc in sbcs] for name, sbcs in gathered.pairs.items()},
        "left_out": gathered.left_out,
        "notes": [
            {"line": note.line, "severity": note.severity, "text": note.text, "hint": note.hint} for note in gathered.notes
        ],
        "notes_untold": gathered.notes_untold,
        "files": dict(made),
        "findings": [finding_body(finding) for finding in compiled.findings],
    }


def _show(
    gathered: Gathered, made: Mapping[str, str], compiled: Compiled, source: Path, replaced: list[str], *, is_whole: bool
) -> None:
    names, pairs = gathered.entry_points(), gathered.pairs
    say(
        f"{source}: {len(gathered.numbers):,} numbers, ranges and patterns in {len(names)} entry points, "
        f"{sum(map(len, pairs.values()))} SBCs in {len(pairs)} pairs; {gathered.left_out:,} left out"
    )
    for note in gathered.notes[:SHOWN_NOTES]:
        place = f"{source}:{note.line}" if note.line else str(source)
        say(f"{place}: {note.severity}: {note.text}" + (f"\n  = hint: {note.hint}" if note.hint else ""))
    more = len(gathered.notes) - SHOWN_NOTES + gathered.notes_untold
    if more > 0:
        say(f"… and {more:,} more: -o json")
    for path, text in made.items() if is_whole else ():
        lines = text.splitlines()
        say(f"\n--- {path}{' (replaces the one there)' if path in replaced else ''}, {len(lines):,} lines")
        say("\n".join(lines[:SHOWN_LINES]) + (f"\n… {len(lines) - SHOWN_LINES:,} more lines" if len(lines) > SHOWN_LINES else ""))
    if compiled.findings:
        say("")
    for finding in compiled.findings[:SHOWN_NOTES]:
        say("\n".join(finding_lines(finding)))
