"""`sipctl diff`: what a folder, a revision or the running system would do to calls that another would not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.findings import finding_lines
from sipctl.cli.options import Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import complain, print_json, say
from sipctl.cli.replay_plans import LIVE, Source, read_source
from sipctl.dialplan.diff import diff_plans
from sipctl.dialplan.diff_text import MAX_SENTENCES, body, sentences
from sipctl.dialplan.load import load
from sipctl.dialplan.report import Report
from sipctl.errors import PlanError
from sipctl.routing.table import Table

FOLDER: Final = "."
MAX_INTERVALS: Final = 10_000  # of one change, in JSON
MAX_TEXT_LINES: Final = 10_000  # of --files

_WHAT: Final = "A folder, a revision's number, or live."


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("diff")(diff)


def diff(
    one: Annotated[str | None, typer.Argument(metavar="[A]", help=f"{_WHAT} Default: live.")] = None,
    other: Annotated[str | None, typer.Argument(metavar="[B]", help=f"{_WHAT} Default: the folder here.")] = None,
    before: Annotated[str | None, typer.Option("--from", metavar="A", help="The same as A.")] = None,
    after: Annotated[str | None, typer.Option("--to", metavar="B", help="The same as B.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every sentence, and in JSON every interval.")] = False,
    files: Annotated[bool, typer.Option("--files", help="Also the lines of the files that differ.")] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """What becomes of calls from A to B, exactly, over all numbers; and what else differs. Exit 1 if anything does.

    One folder alone is B: what applying it would change. One revision alone is A: what the folder here would change.
    """
    where = state_dir(state)
    names = _sides(one, other, before, after)
    later = read_source(names[1], where)  # a folder that is not there is told before anybody is asked for the live revision
    sources = (read_source(names[0], where), later)
    changed = _changed_files(*sources)
    if not changed and not any(source.image for source in sources):
        _same(sources, output, f"{sources[1].label} is {sources[0].label}, file by file")
    found = diff_plans(_table(sources[0], names[0]), _table(sources[1], names[1]))
    tests = _changed_tests(*sources)
    if output is Output.json:
        told = body(found, None if everything else MAX_INTERVALS)
        print_json({"from": sources[0].label, "to": sources[1].label, **told, "files": changed, "tests": tests})
        raise typer.Exit(EXIT_UNHEALTHY if not found.is_empty else EXIT_OK)
    say(f"from {sources[0].label} to {sources[1].label}")
    for line in sentences(found, 1 << 62 if everything else MAX_SENTENCES):
        say(line)
    if tests:
        say(tests)
    if files:
        _say_lines(sources)
    if found.is_empty:
        say(_only_text(changed, bool(tests)))
        raise typer.Exit(EXIT_OK)
    numbers = f"{found.numbers:,} number{'s' * (found.numbers != 1)} in all" if found.numbers else "no number"
    say(f"{numbers}{' meets' if found.numbers in (0, 1) else ' meet'} something else" + _restart(found.needs_restart))
    raise typer.Exit(EXIT_UNHEALTHY)


def _sides(one: str | None, other: str | None, before: str | None, after: str | None) -> tuple[str, str]:
    """What is compared with what, however it was said."""
    if one is not None and other is None and before is None and after is None:
        if one == LIVE or (one.isdigit() and not Path(one).is_dir()):
            return one, FOLDER
        return LIVE, one
    if (one is not None and other is not None and (before, after) != (None, None)) or None not in (one, before, after):
        stop(EXIT_USAGE, "A and B are said twice", "sipctl diff A B, or --from A --to B")
    if before is not None and one is not None:
        return before, one
    return before or one or LIVE, after or other or FOLDER


def _table(source: Source, name: str) -> Table:
    try:
        return source.table()
    except PlanError as error:
        folder = Path(name) if Path(name).is_dir() else Path()
        for finding in error.findings:
            if finding.severity == "error":
                complain("\n".join(finding_lines(finding, folder)))
        stop(EXIT_USAGE, f"{source.label} does not compile, so its calls cannot be compared", "sipctl check; or --files A B")


def _changed_files(old: Source, new: Source) -> list[str]:
    return sorted(path for path in {*old.files, *new.files} if old.files.get(path) != new.files.get(path))


def _changed_tests(old: Source, new: Source) -> str:
    """One line if the plan's own tests differ: they are no part of a table, and yet decide what may be applied."""
    if old.image or new.image:
        return ""
    before, after = (_tests(source.files) for source in (old, new))
    if before == after:
        return ""
    added, gone = [sum(test not in others for test in tests) for tests, others in ((after, before), (before, after))]
    return f"tests of the plan: {added} new or changed, {gone} gone or changed"


def _tests(files: Mapping[str, bytes]) -> list[Any]:
    return [test for _, test in load(files, Report(files)).tests]


def _only_text(changed: list[str], tests_differ: bool) -> str:
    names = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
    what = "tests, comments or formatting" if tests_differ else "comments, formatting or order"
    count = f"{len(changed)} file{'s' * (len(changed) != 1)}"
    return f"same calls: {count} differ{'s' * (len(changed) == 1)} ({names}), only in {what}" if changed else "same calls"


def _restart(is_needed: bool) -> str:
    return "; some of it needs a restart of `sipctl run`" if is_needed else ""


def _same(sources: tuple[Source, Source], output: Output, text: str) -> None:
    """Nothing to compare: end."""
    if output is Output.json:
        print_json({
            "from": sources[0].label, "to": sources[1].label, "same": True, "numbers": 0, "needs_restart": False, "changes": [],
            "other": [], "files": [], "tests": "",
        })  # fmt: skip
    else:
        say(text)
    raise typer.Exit(EXIT_OK)


def _say_lines(sources: tuple[Source, Source]) -> None:
    """The files that differ, line by line, as far as anybody reads."""
    told = 0
    for path in _changed_files(*sources):
        texts = [source.files.get(path) for source in sources]
        names = [f"{path} ({source.label})" if text is not None else f"(not in {source.label})" for source, text in
                 zip(sources, texts, strict=True)]  # fmt: skip
        lines = [(text or b"").decode(errors="replace").splitlines() for text in texts]
        for line in difflib.unified_diff(lines[0], lines[1], names[0], names[1], lineterm=""):
            told += 1
            if told > MAX_TEXT_LINES:
                say(f"… more than {MAX_TEXT_LINES:,} lines")
                return
            say(line)
