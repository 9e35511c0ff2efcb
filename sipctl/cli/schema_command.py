"""`sipctl schema`: what keys a plan may have, for editors and for the documentation."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sipctl.cli.client import EXIT_USAGE, stop
from sipctl.dialplan.report import did_you_mean
from sipctl.dialplan.schema import finding_codes, plan_keys, schemas


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command("schema")(schema)


def schema(
    folder: Annotated[
        str | None, typer.Argument(metavar="[sbc_configs|dialplans]", help="Which folder's; default: both.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Every key as docs/plan-keys.md has it.")] = False,
    findings: Annotated[bool, typer.Option("--findings", help="Every finding's code as docs/findings.md has it.")] = False,
) -> None:
    """JSON Schema of a plan's files, made from the models that read them."""
    if markdown or findings:
        typer.echo(plan_keys() if markdown else finding_codes(), nl=False)
        return
    all_schemas = schemas()
    if folder is not None and folder not in all_schemas:
        stop(EXIT_USAGE, f"there is no schema {folder}", did_you_mean(folder, all_schemas))
    typer.echo(json.dumps(all_schemas if folder is None else all_schemas[folder], indent=2, ensure_ascii=False))
