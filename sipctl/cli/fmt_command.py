"""`sipctl fmt`: the YAML of a plan in its one canonical form, comments and meaning kept, or nothing written at all."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.files import replace_text
from sipctl.cli.folder import plan_files
from sipctl.cli.output import complain, say
from sipctl.dialplan.compile import compile_plan
from sipctl.dialplan.fmt import FormatError, format_text, is_formatted


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("fmt")(fmt)


def fmt(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds dialplans/ and sbc_configs/.")] = Path(),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; end with 1 if anything would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what changes; with --check, what would.")] = False,
) -> None:
    """Rewrite the plan's YAML: key order, indentation, quotes. Comments, numbers and meaning stay, or nothing is written."""
    files = plan_files(folder)
    changed, refused = _formatted(files)
    for error in refused:
        complain(error.detail, error.hint)
    if changed and not _means_the_same(files, {**files, **{path: text.encode() for path, text in changed.items()}}):
        stop(EXIT_USAGE, "formatting would change what the plan means: nothing is written", "please report this plan")
    for path, text in changed.items():
        if diff:
            _show(path, files[path], text)
        if not check:
            try:
                replace_text(folder / path, text)
            except OSError as error:
                stop(EXIT_USAGE, f"{folder / path} cannot be written: {error.strerror}")
        if not diff:
            say(f"{'would change' if check else 'changed'} {path}")
    count = sum(is_formatted(path) for path in files)
    if not changed and not refused:
        say(f"{count} file{'s' * (count != 1)}: nothing to change")
    raise typer.Exit(EXIT_USAGE if refused else EXIT_UNHEALTHY if check and changed else EXIT_OK)


def _formatted(files: Mapping[str, bytes]) -> tuple[dict[str, str], list[FormatError]]:
    """Files that change, with their new text; and why others cannot be formatted."""
    changed: dict[str, str] = {}
    refused: list[FormatError] = []
    for path, data in files.items():
        if not is_formatted(path):
            continue
        try:
            text = format_text(path, data)
        except FormatError as error:
            refused.append(error)
            continue
        if text.encode() != data:
            changed[path] = text
    return changed, refused


def _means_the_same(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> bool:
    """The same table, byte for byte; or, for a plan that does not compile, the same findings but for their lines."""
    old, new = compile_plan(before, {}, revision=0, tests=False), compile_plan(after, {}, revision=0, tests=False)
    if old.image or new.image:
        return old.image == new.image
    return sorted((finding.path, finding.code) for finding in old.findings) == sorted(
        (finding.path, finding.code) for finding in new.findings
    )


def _show(path: str, before: bytes, after: str) -> None:
    old = before.decode("utf-8", "replace").splitlines()
    say("\n".join(difflib.unified_diff(old, after.splitlines(), path, f"{path} (formatted)", lineterm="")))
