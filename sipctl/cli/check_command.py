"""`sipctl check`: find everything wrong with a plan at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.coverage_lines import coverage_lines
from sipctl.cli.findings import finding_body, finding_lines
from sipctl.cli.folder import plan_files
from sipctl.cli.output import print_json, say
from sipctl.dialplan.compile import Compiled, compile_plan
from sipctl.dialplan.coverage import coverage_of
from sipctl.dialplan.lint.explanations import explanation_lines
from sipctl.dialplan.lint.formats import github, sarif
from sipctl.dialplan.report import CODES, did_you_mean

CHECK_OUTPUTS: Final = ("text", "json", "sarif", "github")


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("check")(check)


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with sbc_configs/ and dialplans/.")] = Path(),
    output: Annotated[str, typer.Option("-o", "--output", help="text, json, sarif (2.1.0) or github (annotations).")] = "text",
    fail_on: Annotated[str, typer.Option("--fail-on", help="error or warning: what makes it end with 1.")] = "error",
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="CODE", help="What a finding means, why it hurts, a bad and a good plan.")
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Say which entry points, rules and branches no test reaches.")
    ] = False,
) -> None:
    """Find everything wrong with a plan at once, each with file:line:column, code and hint; runs the plan's own tests."""
    if explain is not None:
        _explain(explain)
        return
    if coverage and output not in ("text", "json"):
        stop(EXIT_USAGE, "--coverage goes with -o text or -o json")
    if output not in CHECK_OUTPUTS or fail_on not in ("error", "warning"):
        stop(EXIT_USAGE, f"-o is {', '.join(CHECK_OUTPUTS[:-1])} or {CHECK_OUTPUTS[-1]}, --fail-on is error or warning")
    started_s = time.monotonic()
    files = plan_files(folder)
    compiled = compile_plan(files, {}, revision=0, today=date.today())
    took_s = time.monotonic() - started_s
    errors = sum(finding.severity == "error" for finding in compiled.findings)
    warnings = len(compiled.findings) - errors
    prefix = "" if folder == Path() else f"{folder.as_posix()}/"
    if output == "json":
        reached = {"coverage": coverage_of(files, compiled.image).body()} if coverage and compiled.image else {}
        print_json({**_body(files, compiled, errors, warnings), **reached})
    elif output == "sarif":
        print_json(sarif(compiled.findings, version("sipctl"), prefix))
    elif output == "github":
        for line in github(compiled.findings, prefix):
            say(line)
    else:
        for finding in compiled.findings:
            say("\n".join(finding_lines(finding, folder)))
        say(_summary(len(files), compiled, errors, warnings, took_s))
        if coverage and compiled.image:
            say("\n".join(coverage_lines(coverage_of(files, compiled.image))))
    raise typer.Exit(EXIT_UNHEALTHY if errors or (warnings and fail_on == "warning") else EXIT_OK)


def _explain(code: str) -> None:
    if code not in CODES:
        stop(EXIT_USAGE, f"there is no finding {code}", did_you_mean(code, CODES))
    say("\n".join(explanation_lines(code)))


def _body(files: Mapping[str, bytes], compiled: Compiled, errors: int, warnings: int) -> dict[str, Any]:
    return {
        "files": len(files),
        "expressions": compiled.expressions,
        "errors": errors,
        "warnings": warnings,
        "allowed": compiled.allowed,
        "findings": [finding_body(finding) for finding in compiled.findings],
    }


def _summary(files: int, compiled: Compiled, errors: int, warnings: int, took_s: float) -> str:
    numbers = f"{compiled.expressions:,} numbers, ranges and patterns"
    what = (
        f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}" if errors or warnings else "no findings"
    )
    what += f", {compiled.allowed} allowed" if compiled.allowed else ""
    return f"{what} in {files} file{'s' * (files != 1)} ({numbers}, {took_s:.2f} s)"
