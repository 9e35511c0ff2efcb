"""`sipctl`: the commands, joined; and the one place where what goes wrong becomes an exit code.

0 ok · 1 findings or unhealthy · 2 usage or bad configuration · 3 refused by a safety rule · 4 timed out while the operation goes
on · 5 API not reachable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from sipctl.cli import (
    alert_commands,
    apply_command,
    audit_commands,
    calls_commands,
    canary_commands,
    check_command,
    demo,
    diff_command,
    doctor,
    entity_commands,
    fmt_command,
    group_commands,
    import_commands,
    not_built,
    numbers_commands,
    op_commands,
    overlay_commands,
    replay_command,
    revision_commands,
    route_command,
    run_command,
    schema_command,
    status_commands,
    token_commands,
)
from sipctl.cli.client import EXIT_OK, EXIT_UNREACHABLE, ApiProblemError, UnreachableError
from sipctl.cli.output import complain
from sipctl.errors import SipctlError

PARTS: Final = (
    run_command, demo, check_command, route_command, schema_command, status_commands, group_commands, op_commands,
    entity_commands, overlay_commands, diff_command, numbers_commands, apply_command, canary_commands, revision_commands,
    token_commands, doctor,
    replay_command, fmt_command, import_commands, audit_commands, alert_commands, calls_commands, not_built,
)  # fmt: skip


def build() -> typer.Typer:
    """Every command of every part."""
    app = typer.Typer(
        name="sipctl", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False,
        help="Voice routing: numbers to tenants, tenants to their BCP, calls kept up.",
    )  # fmt: skip
    app.callback()(_root)
    for part in PARTS:
        part.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    try:
        build()(args=None if arguments is None else list(arguments), prog_name="sipctl")
    except UnreachableError as error:
        complain(str(error), "is `sipctl run` up? `sipctl status --local` reads STATE without it")
        sys.exit(EXIT_UNREACHABLE)
    except ApiProblemError as problem:
        rule = problem.body.get("rule") if problem.code == "refused" else None
        complain(f"{problem}{f' (rule {rule})' if rule else ''}", str(problem.body.get("hint") or ""))
        sys.exit(problem.exit_code)
    except SipctlError as error:
        complain(error.detail, error.hint)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nobody reads any more: nor must Python's last flush complain
        sys.exit(EXIT_OK)
    sys.exit(EXIT_OK)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"sipctl {version('sipctl')}")
        raise typer.Exit(EXIT_OK)


def _root(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Say which sipctl this is.")
    ] = False,
) -> None:
    """What stands before every command."""
