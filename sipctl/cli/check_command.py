"""`sipctl check`: find everything wrong with a plan at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from sipctl.cli.client import EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, stop
from sipctl.cli.findings import finding_body, finding_lines
from sipctl.cli.folder import plan_files
from sipctl.cli.output import print_json, say
from sipctl.dialplan.compile import Compiled, compile_plan

CHECK_OUTPUTS: Final = ("text", "json")
NOT_BUILT_OUTPUTS: Final = ("sarif", "github")


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("check")(check)


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
    files = plan_files(folder)
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
                "findings": [finding_body(finding) for finding in compiled.findings],
            }
        )
    else:
        for finding in compiled.findings:
            say("\n".join(finding_lines(finding, folder)))
        say(_summary(len(files), compiled, errors, warnings, took_s))
    raise typer.Exit(EXIT_UNHEALTHY if errors or (warnings and fail_on == "warning") else EXIT_OK)


def _summary(files: int, compiled: Compiled, errors: int, warnings: int, took_s: float) -> str:
    numbers = f"{compiled.expressions:,} numbers, ranges and patterns"
    what = (
        f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}" if errors or warnings else "no findings"
    )
    return f"{what} in {files} file{'s' * (files != 1)} ({numbers}, {took_s:.2f} s)"
