"""`sipctl run`: carry calls until told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sipctl import app as product


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    config: Annotated[Path, typer.Option(help="Folder with sbc_configs/ and dialplans/; it seeds an empty STATE.")] = Path(),
    state: Annotated[
        Path | None, typer.Option(envvar="SIPCTL_STATE", help="Where everything is remembered; default .sipctl in the folder.")
    ] = None,
    api: Annotated[str, typer.Option(help="HOST:PORT of the API; port 0 takes a free one.")] = product.DEFAULT_API,
    routers: Annotated[int, typer.Option(min=1, help="Routers on this node, up to 16; fixed until everything has ended.")] = 1,
    node: Annotated[str, typer.Option(help="Which node of the plan this is.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Apply the folder by itself whenever it is saved and sound.")] = False,
) -> None:
    """Carry calls: supervisor, router, spare, controller and desk.

    The first start compiles the folder into an empty STATE. Later ones boot the last live revision, whatever the folder holds:
    edits enter by `sipctl apply`. A second run on the same STATE is refused; one after a `kill -9` of the first takes its calls
    over.
    """
    raise typer.Exit(product.run(config, state if state is not None else config / ".sipctl", api, routers, node, watch))
