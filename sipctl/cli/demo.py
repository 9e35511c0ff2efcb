"""`sipctl demo`: starts the demo in a process of its own; its parties are no part of the product's command line."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""

    @app.command()
    def demo(
        no_tty: Annotated[bool, typer.Option("--no-tty", help="Print lines instead of a live table.")] = False,
        keep: Annotated[bool, typer.Option("--keep", help="Go on until Ctrl-C, with hints what to try.")] = False,
    ) -> None:
        """Show a failover: a carrier, two SBC pairs and two tenants on loopback; exit 0 only if no call was lost."""
        options = [*(["--no-tty"] if no_tty else []), *(["--keep"] if keep else [])]
        child = subprocess.Popen([sys.executable, "-P", "-m", "sipctl.testing.demo", *options])
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child, which ends in order
        try:
            code = child.wait()
        finally:
            signal.signal(signal.SIGINT, before)
        raise typer.Exit(code if code >= 0 else 1)
