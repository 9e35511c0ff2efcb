"""`sipctl audit`: is the record of every change and decision whole, what does it say, and does each decision still come out so?

`verify` and everything with `--local` read STATE/audit itself, whether sipctl runs or not; the rest asks the API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from sipctl.cli.audit_source import Here, Source, There, every
from sipctl.cli.client import EXIT_UNHEALTHY, EXIT_USAGE, Client, stop
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import complain, moment, print_json, print_table, say
from sipctl.control.audit_replay import replayed
from sipctl.errors import StoreError
from sipctl.store.audit_chain import Record, Verdict, opened_export, verify
from sipctl.store.audit_log import FOLDER, AuditLog, day_files, lines_of
from sipctl.store.audit_query import MAX_ROWS, Query, told_heads

ANCHOR: Final = re.compile(r"(\d{1,12}):([0-9a-f]{64})")
SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final[Mapping[str, str]] = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
TIMES: Final = "such as 2h (ago), 2026-11-22 or 2026-11-22T18:00:00Z"

GroupOption = Annotated[str | None, typer.Option("--group", metavar="GROUP", help="Only what is about this group.")]
ActorOption = Annotated[str | None, typer.Option("--actor", metavar="NAME", help="Only what this token (or `sipctl`) did.")]
OpOption = Annotated[str | None, typer.Option("--op", metavar="OP", help="Only this operation, rule or kind of record.")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help=f"From then on: {TIMES}.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.")]
LocalOption = Annotated[bool, typer.Option("--local", help="From STATE/audit itself, whether sipctl runs or not.")]
UnmaskedOption = Annotated[bool, typer.Option("--unmasked", help="Whole numbers; admins only, and the audit records it.")]


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    audit = typer.Typer(no_args_is_help=True, help="The chained record of every change and decision.")
    audit.command("verify")(verify_command)
    audit.command("show")(show)
    audit.command("export")(export)
    audit.command("replay")(replay)
    app.add_typer(audit, name="audit")


def verify_command(
    path: Annotated[Path | None, typer.Argument(metavar="[FILE|STATE]", help="An export, a day's file, or a STATE.")] = None,
    anchor: Annotated[
        list[str], typer.Option("--anchor", metavar="N:HASH", help="A head noted elsewhere: that record must be there so.")
    ] = [],  # noqa: B006 - typer reads it, nobody writes it
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Walk along the chain. Exit 1 at the first record that does not hold, with its place and why."""
    where = path if path is not None else state_dir(state)
    anchors = [_anchor(text) for text in anchor]
    try:
        verdict = _verified(where, anchors)
    except (StoreError, OSError) as error:
        stop(EXIT_USAGE, f"{where} cannot be read: {error}", "a STATE, its audit folder, or a file of `audit export`")
    if output is Output.json:
        print_json(_verdict_body(verdict))
    elif verdict.broken is None:
        _say_whole(verdict)
    if verdict.broken is not None:
        complain(f"{verdict.broken}", "" if output is Output.json else _after_a_break(verdict))
        raise typer.Exit(EXIT_UNHEALTHY)


def show(
    number: Annotated[int | None, typer.Argument(min=1, metavar="[N]", help="One record, whole.")] = None,
    group: GroupOption = None,
    actor: ActorOption = None,
    op: OpOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=MAX_ROWS, help="How many, newest first.")] = 50,
    local: LocalOption = False,
    unmasked: UnmaskedOption = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """What was done and decided, newest first: when, who, what, why, what became of it."""
    asked = _asked(number, group, actor, op, since, until)
    found = _source(state, local).newest(asked, limit, is_full=unmasked)
    if output is Output.json:
        print_json({"records": found})
    elif number is not None:
        if not found:
            stop(EXIT_USAGE, f"there is no record {number}", "sipctl audit show")
        _say_record(found[0])
    else:
        rows = [
            (one["n"], moment(one.get("at")), one.get("actor"), one.get("op"), _outcome(one), ", ".join(one.get("groups") or ()),
             one.get("reason"), one.get("text"))
            for one in found
        ]  # fmt: skip
        print_table("audit", ("N", "AT", "BY", "OP", "OUTCOME", "GROUPS", "REASON", "WHAT"), rows)


def export(
    group: GroupOption = None,
    actor: ActorOption = None,
    op: OpOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write there; default: standard output.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="jsonl: one record a line.")] = "jsonl",
    local: LocalOption = False,
    unmasked: UnmaskedOption = False,
    state: StateOption = None,
) -> None:
    """Records as lines, oldest first. Unmasked and not filtered but by time, `audit verify FILE` can check them whole."""
    if output != "jsonl":
        stop(EXIT_USAGE, f"an export is jsonl, not {output}")
    asked = _asked(None, group, actor, op, since, until)
    lines = every(_source(state, local), asked, is_full=unmasked)
    try:
        if to is None:
            count = _write(typer.get_binary_stream("stdout"), lines)
        else:
            with to.open("xb") as file:
                to.chmod(0o600)
                count = _write(file, lines)
    except FileExistsError:
        stop(EXIT_USAGE, f"{to} is there already", "an export never overwrites")
    if to is not None:
        say(f"{count} records in {to}")


def replay(
    number: Annotated[int | None, typer.Argument(min=1, metavar="[N]", help="The record of the decision.")] = None,
    every_one: Annotated[bool, typer.Option("--all", help="Every decision there is.")] = False,
    local: LocalOption = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Decide again from what a record holds. Exit 1 if it does not come out the same."""
    if (number is None) != every_one:
        stop(EXIT_USAGE, "say either the number of a record or --all", "sipctl audit show --op decision")
    asked = Query(number=number) if number is not None else Query(op="decision")
    lines = every(_source(state, local), asked, is_full=True)
    build = f"sipctl {version('sipctl')}"
    found = [replayed({**record.body, "n": record.number}, build) for record in map(_record, lines)]
    if number is not None and not found:
        stop(EXIT_USAGE, f"there is no record {number}", "sipctl audit show")
    faults = [one for one in found if one.is_fault or (number is not None and one.verdict == "no-decision")]
    if output is Output.json:
        print_json([{"n": one.number, "verdict": one.verdict, "text": one.text} for one in found])
    else:
        for one in found if number is not None else faults:
            say(f"{one.verdict}: {one.text}")
        if every_one:
            say(f"{len(found)} decisions, {len(found) - len(faults)} come out the same")
    if faults:
        raise typer.Exit(EXIT_UNHEALTHY if faults[0].is_fault else EXIT_USAGE)


# -- where records come from -----------------------------------------------------------------------------------------------


def _verified(where: Path, anchors: list[tuple[int, str]]) -> Verdict:
    """Raises: StoreError, OSError."""
    if where.is_file():
        return verify([(where.name, lines_of(where))], anchors=anchors, is_export=True)
    folder = where / FOLDER if (where / FOLDER).is_dir() else where
    if not day_files(folder):
        raise StoreError("there is no audit")
    return AuditLog(folder).verify((*anchors, *told_heads(folder.parent)))


def _source(state: Path | None, is_local: bool) -> Source:
    root = state_dir(state)
    return Here(root / FOLDER) if is_local else There(Client.find(root))


def _record(line: bytes) -> Record:
    record = opened_export(line.removesuffix(b"\n"))
    if isinstance(record, str):
        stop(EXIT_UNHEALTHY, f"a record does not hold: {record}", "sipctl audit verify")
    return record


def _write(file: BinaryIO, lines: Iterable[bytes]) -> int:
    count = 0
    for line in lines:
        file.write(line)
        count += 1
    file.flush()
    return count


# -- what is asked ---------------------------------------------------------------------------------------------------------


def _asked(
    number: int | None, group: str | None, actor: str | None, op: str | None, since: str | None, until: str | None
) -> Query:
    return Query(number, None, group, actor, op, _instant("--since", since), _instant("--until", until))


def _instant(option: str, text: str | None) -> float | None:
    """Unix seconds; ends the command with 2 for what is no time."""
    if text is None:
        return None
    span = SPAN.fullmatch(text.strip())
    if span is not None:
        return (datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})).timestamp()
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        stop(EXIT_USAGE, f"{option} {text}: {error}", TIMES)
    if at.tzinfo is None and len(text.strip()) > len("2026-11-22"):
        stop(EXIT_USAGE, f"{option} {text}: it says no time zone", TIMES)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _anchor(text: str) -> tuple[int, str]:
    found = ANCHOR.fullmatch(text.strip())
    if found is None:
        stop(EXIT_USAGE, f"--anchor {text}: no head", "NUMBER:HASH, as the log and `sipctl audit verify` tell it")
    return int(found[1]), found[2]


# -- what is said ----------------------------------------------------------------------------------------------------------


def _say_whole(verdict: Verdict) -> None:
    if not verdict.records:
        say("the audit is empty")
        return
    say(f"{verdict.records} records hold, {verdict.first} to {verdict.last}; {verdict.anchors} heads told elsewhere agree")
    if verdict.torn:
        say(f"{verdict.torn} writes were cut short by crashes; what is left of them is kept and covered")
    if verdict.missing:
        say(f"{verdict.missing} entries could not be written while the disk refused: gap records say when")
    if verdict.masked:
        say(f"{verdict.masked} records are masked: their links hold, their contents cannot be checked")
    say(f"head {verdict.last}:{verdict.head}")


def _after_a_break(verdict: Verdict) -> str:
    assert verdict.broken is not None
    if verdict.broken.is_torn_end:
        return f"{verdict.records} records before it hold; the next record that is written tells of it"
    return f"{verdict.records} records before it hold; compare with a copy, or with heads that the log was told"


def _verdict_body(verdict: Verdict) -> dict[str, Any]:
    broken = verdict.broken
    place = {"file": broken.file, "line": broken.line, "record": broken.record, "why": broken.why} if broken else None
    return {
        "ok": broken is None, "records": verdict.records, "first": verdict.first, "last": verdict.last, "head": verdict.head,
        "torn": verdict.torn, "missing": verdict.missing, "masked": verdict.masked, "anchors": verdict.anchors, "broken": place,
        "torn_end": broken is not None and broken.is_torn_end,
    }  # fmt: skip


def _outcome(one: Mapping[str, Any]) -> str:
    said = str(one.get("outcome") or "done")
    rule = f" ({one['rule']})" if said == "refused" and one.get("rule") else ""
    return f"{said}{rule}{' (dry run)' if one.get('dry_run') else ''}"


def _say_record(one: Mapping[str, Any]) -> None:
    for name in ("n", "at", "actor", "kind", "op", "outcome", "reason", "text"):
        if one.get(name):
            say(f"{name}: {one[name]}")
    for name, value in one.items():
        if name not in ("n", "at", "actor", "kind", "op", "outcome", "reason", "text") and value not in ("", [], {}, None):
            say(f"{name}: {value}")
