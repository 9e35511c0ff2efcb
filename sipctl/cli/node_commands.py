"""`sipctl node restart` and `sipctl node upgrade`: processes of this node replaced one by one, while calls go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from sipctl.cli.client import EXIT_USAGE, stop
from sipctl.cli.local_commands import tell
from sipctl.cli.options import ReasonOption, StateOption, state_dir
from sipctl.cli.output import say
from sipctl.supervisor.ask_local import ask
from sipctl.supervisor.local_wire import Renew
from sipctl.supervisor.rolling import PARTS

STEP_S: Final = 180.0  # the longest a single part may take before it is given up


def register_on(node: typer.Typer) -> None:
    """Add them beside `node drain` and `node enable`."""
    node.command("restart")(restart)
    node.command("upgrade")(upgrade)


def restart(
    reason: ReasonOption,
    routers: Annotated[bool, typer.Option("--routers", help="The routers and the spare.")] = False,
    desk: Annotated[bool, typer.Option("--desk", help="The desk: API, records, logs.")] = False,
    controller: Annotated[bool, typer.Option("--controller", help="The controller: decisions.")] = False,
    supervisor: Annotated[bool, typer.Option("--supervisor", help="The supervisor, in place.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All of them, in this order.")] = False,
    state: StateOption = None,
) -> None:
    """Replace processes one by one while calls go on: after an update of the package, or to shake something off.

    Runs on the node itself, for who owns STATE. The first part that does not come up ends it; the old one goes on.
    """
    chosen = dict(zip(PARTS, (routers, desk, controller, supervisor), strict=True))
    parts = PARTS if every else tuple(part for part in PARTS if chosen[part])
    if not parts:
        stop(EXIT_USAGE, "say which: --routers, --desk, --controller, --supervisor, or --all")
    _renew(state_dir(state), Renew(parts, reason))


def upgrade(
    python: Annotated[Path, typer.Option("--python", help="Interpreter of the environment that holds the new build.")],
    reason: ReasonOption,
    state: StateOption = None,
) -> None:
    """Replace every process by one of another build, which lies in an environment of its own; calls go on.

    With the package updated in place, `node restart --all` is what you want.
    """
    _renew(state_dir(state), Renew(PARTS, reason, str(python.absolute())))
    say(f"the next start by hand or by systemd must name it too: {python.absolute().parent / 'sipctl'} run …")


def _renew(root: Path, renew: Renew) -> None:
    tell(ask(root, renew, say, STEP_S))
